"""The ledger on PostgreSQL: a pool for effects, and two lanes of transfers that share commits.

An effect runs in READ COMMITTED and takes row locks; a deadlock, or a race for the same new id, is
tried again. Transfers that wait together go as one call of a database function and one flush to
the disk; what goes wrong in company is tried alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from broker import chart, schema, transfers
from broker.database import CommitError, DatabaseError, DatabaseUrl, Job, Row, StoreFullError
from broker.idempotency import KEPT_S, Answer, Claim, key_reused

POOL_MAX = 8  # connections of one process: past twice the cores they only wait for each other
WAITING_MAX = 2048  # requests that may wait
BATCH_MAX = 256  # transfers a commit
LANES = 2  # while one waits for the server or its flush, the other is written down
ATTEMPTS = 8  # of a job that lost a race
TIMEOUT_S = 60  # no statement, and no idle transaction, lives longer
CONNECT_S = 10.0

AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,  # two came with one new id: the second sees the first's now
)
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)
UNUSABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)
T = TypeVar("T")


class PostgresTransaction:
    """A transaction that is open on a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def all(self, statement: str, *values: object) -> list[Row]:
        return [tuple(row) for row in await self._connection.fetch(statement, *values)]

    async def one(self, statement: str, *values: object) -> Row | None:
        row = await self._connection.fetchrow(statement, *values)
        return None if row is None else tuple(row)

    async def run(self, statement: str, *values: object) -> int:
        done: str = await self._connection.execute(statement, *values)
        last = done.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def many(self, statement: str, rows: Sequence[Row]) -> None:
        await self._connection.executemany(statement, rows)


@dataclass(slots=True)
class _Waiting:
    row: tuple[object, ...]  # of the arguments of ``transfers``, but for the last
    future: asyncio.Future[Answer]


class PostgresDatabase:
    """One database; several broker processes may serve it."""

    kind = "postgresql"

    def __init__(self, where: DatabaseUrl) -> None:
        self._where = where
        self._waiting = 0

    async def start(self) -> None:
        """Connect.

        Raises:
            DatabaseError: no connection, migrations are missing, or commits are not durable.
        """
        try:
            self._pool = await asyncpg.create_pool(
                self._where.url,
                password=self._where.password(),
                min_size=1,
                max_size=POOL_MAX,
                timeout=CONNECT_S,
                server_settings=_SETTINGS | {"search_path": self._where.schema},
            )
            async with self._pool.acquire() as connection:
                await _check(connection)
        except UNUSABLE as error:
            raise DatabaseError(f"PostgreSQL: {error or type(error).__name__}") from error
        self._lane: asyncio.Queue[_Waiting] = asyncio.Queue(maxsize=WAITING_MAX)
        self._carriers = [
            asyncio.create_task(self._carry(), name=f"transfers {n}") for n in range(LANES)
        ]

    async def close(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        await self._pool.close()

    async def submit(self, job: Job[T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise StoreFullError(f"{WAITING_MAX} requests are waiting")
        self._waiting += 1
        try:
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(*AGAIN):
                    return await self._attempt(job)
            return await self._attempt(job)
        except (*LOST, *AGAIN) as error:
            raise CommitError(f"the commit failed: {type(error).__name__}") from error
        finally:
            self._waiting -= 1

    async def read(self, job: Job[T], *, whole: bool = False) -> T:
        try:
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await job(PostgresTransaction(connection))
        except LOST as error:
            raise CommitError(f"the database is away: {type(error).__name__}") from error

    async def transfer(
        self, claim: Claim, request: transfers.TransferRequest, now_s: int
    ) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._lane.put_nowait(_Waiting(_arguments(claim, request, now_s), future))
        except asyncio.QueueFull:
            raise StoreFullError(f"{WAITING_MAX} requests are waiting") from None
        return await future

    async def _attempt(self, job: Job[T]) -> T:
        async with self._pool.acquire() as connection, connection.transaction():
            return await job(PostgresTransaction(connection))

    async def _carry(self) -> None:
        """All that waits, in one transaction; then again."""
        while True:
            batch = [await self._lane.get()]
            while len(batch) < BATCH_MAX and not self._lane.empty():
                batch.append(self._lane.get_nowait())
            try:
                _resolve(batch, await self._transfers(batch))
            except Exception:  # one of them, or the connection: each alone finds out
                for waiting in batch:
                    await self._carry_one(waiting)

    async def _carry_one(self, waiting: _Waiting) -> None:
        try:
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(*AGAIN):
                    return _resolve([waiting], await self._transfers([waiting]))
            _resolve([waiting], await self._transfers([waiting]))
        except UNUSABLE as error:
            failure = CommitError(f"the commit failed: {type(error).__name__}")
            failure.__cause__ = error
            if not waiting.future.done():
                waiting.future.set_exception(failure)

    async def _transfers(self, batch: list[_Waiting]) -> list[Any]:
        columns = list(zip(*(waiting.row for waiting in batch), strict=True))
        async with self._pool.acquire() as connection:
            found: list[Any] = await connection.fetch(_TRANSFERS, *columns, transfers.DECLINED)
            return found


def _arguments(claim: Claim, request: transfers.TransferRequest, now_s: int) -> tuple[object, ...]:
    return (
        *claim.scope,
        claim.digest,
        claim.group,
        claim.sequence,
        claim.attempt,
        now_s,
        now_s - KEPT_S,
        request.transfer,
        request.debit,
        chart.kind_of(request.debit).floor,
        request.credit,
        chart.kind_of(request.credit).floor,
        request.amount_minor,
        request.currency,
        transfers.body_head(request),
    )


def _resolve(batch: list[_Waiting], rows: list[Any]) -> None:
    for waiting, (status, body, replayed) in zip(batch, rows, strict=True):
        if waiting.future.done():  # the caller went away; the effect stands
            continue
        if status == 0:
            waiting.future.set_exception(key_reused())
        elif status == 409:
            waiting.future.set_exception(transfers.conflict())
        else:
            waiting.future.set_result(Answer(status=status, body=body, replayed=replayed))


async def migrate(where: DatabaseUrl, role: str = "") -> list[schema.Migration]:
    """Run the migrations that are missing; raises DatabaseError."""
    try:
        connection = await asyncpg.connect(where.url, password=where.password(), timeout=CONNECT_S)
        try:
            return await schema.migrate_postgresql(connection, role, where.schema)
        finally:
            await connection.close()
    except UNUSABLE as error:
        raise DatabaseError(f"PostgreSQL: {error or type(error).__name__}") from error


async def _check(connection: Any) -> None:
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        detail = "synchronous_commit is off: what was answered could be lost"
        raise DatabaseError(f"{detail}; set it to on for this role")
    noted = await connection.fetchval("SELECT to_regclass('migration') IS NOT NULL")
    rows = await connection.fetch("SELECT number FROM migration") if noted else []
    if missing := schema.behind("postgresql", {row[0] for row in rows}):
        detail = f"{len(missing)} migrations are missing"
        raise DatabaseError(f"{detail}: run walkout broker migrate --db URL")


_SETTINGS = {
    "application_name": "walkout-broker",
    "statement_timeout": f"{TIMEOUT_S}s",
    "idle_in_transaction_session_timeout": f"{TIMEOUT_S}s",
    "jit": "off",  # short statements
}
_TRANSFERS = f"SELECT * FROM transfers({', '.join(f'${i}' for i in range(1, 19))})"
