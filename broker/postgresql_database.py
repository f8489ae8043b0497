"""The ledger on PostgreSQL: a pool for effects, and lanes of hot requests that share commits.

An effect runs in READ COMMITTED and takes row locks; a deadlock, or a race for the same new id, is
tried again. Transfers, and codes that are shown and paid, go through ``postgresql_lanes.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import asyncpg

from broker import chart, schema, transfers
from broker.database import (
    CommitError,
    DatabaseError,
    DatabaseUrl,
    HotCommand,
    Job,
    Row,
    StoreFullError,
)
from broker.idempotency import KEPT_S, Answer, Claim, key_reused
from broker.postgresql_lanes import AGAIN, ATTEMPTS, UNUSABLE, WAITING_MAX, Lane

POOL_MAX = 8  # connections of one process: past twice the cores they only wait for each other
CARRIERS = 2  # of transfers: while one waits for the flush, the other is written down
TIMEOUT_S = 60  # no statement, and no idle transaction, lives longer
CONNECT_S = 10.0

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)
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
        self._transfers = Lane(self._pool, "transfers", 17, transfers.DECLINED, carriers=CARRIERS)
        self._hot = Lane(self._pool, "hot_commands", 14)

    async def close(self) -> None:
        await self._transfers.close()
        await self._hot.close()
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
        status, body, replayed = await self._transfers.submit(_arguments(claim, request, now_s))
        if status == 0:
            raise key_reused()
        if status == 409:
            raise transfers.conflict()
        return Answer(status=status, body=body, replayed=replayed)

    async def hot(self, claim: Claim, command: HotCommand, now_s: int) -> Answer | None:
        claimed = (*claim.scope, claim.digest, claim.group, claim.sequence, claim.attempt, now_s)
        said = (command.actor, command.action, command.function, command.arguments)
        row = (*claimed, *said, command.head, command.tail)
        (body,) = await self._hot.submit(row)
        return None if body is None else Answer(status=201, body=body)

    async def _attempt(self, job: Job[T]) -> T:
        async with self._pool.acquire() as connection, connection.transaction():
            return await job(PostgresTransaction(connection))


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
