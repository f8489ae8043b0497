"""Requests that wait together share one call of a database function and one flush to the disk.

A row of arguments goes in, a row of the function's answer comes out, once it is durable. What goes
wrong in company is tried alone, so that nobody is refused for a neighbour.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import asyncpg

from broker.database import CommitError, Row, StoreFullError

WAITING_MAX = 2048  # requests that may wait
BATCH_MAX = 256  # requests a commit
ATTEMPTS = 8  # of a job that lost a race

AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,  # two came with one new id: the second sees the first's now
)
UNUSABLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)


@dataclass(slots=True)
class _Waiting:
    row: Row
    future: asyncio.Future[Row]


class Lane:
    """One function, ``carriers`` at work: while one waits for the server, another is written down.

    ``function``: takes an array for each of ``columns`` and then ``more``, and returns a row for
    each element.
    """

    def __init__(
        self, pool: Any, function: str, columns: int, *more: object, carriers: int = 1
    ) -> None:
        values = ", ".join(f"${n}" for n in range(1, columns + len(more) + 1))
        self._pool, self._more = pool, more
        self._statement = f"SELECT * FROM {function}({values})"
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(maxsize=WAITING_MAX)
        self._carriers = [
            asyncio.create_task(self._carry(), name=f"{function} {n}") for n in range(carriers)
        ]

    async def close(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    async def submit(self, row: Row) -> Row:
        """The function's answer to this row, durable.

        Raises:
            StoreFullError, CommitError: nothing was done, or nobody knows.
        """
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(row, future))
        except asyncio.QueueFull:
            raise StoreFullError(f"{WAITING_MAX} requests are waiting") from None
        return await future

    async def _carry(self) -> None:
        """All that waits, in one transaction; then again."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                _resolve(batch, await self._call(batch))
            except Exception:  # one of them, or the connection: each alone finds out
                for waiting in batch:
                    await self._carry_one(waiting)

    async def _carry_one(self, waiting: _Waiting) -> None:
        try:
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(*AGAIN):
                    return _resolve([waiting], await self._call([waiting]))
            _resolve([waiting], await self._call([waiting]))
        except UNUSABLE as error:
            failure = CommitError(f"the commit failed: {type(error).__name__}")
            failure.__cause__ = error
            if not waiting.future.done():
                waiting.future.set_exception(failure)

    async def _call(self, batch: list[_Waiting]) -> list[Any]:
        columns = list(zip(*(waiting.row for waiting in batch), strict=True))
        async with self._pool.acquire() as connection:
            found: list[Any] = await connection.fetch(self._statement, *columns, *self._more)
            return found


def _resolve(batch: list[_Waiting], rows: list[Any]) -> None:
    for waiting, row in zip(batch, rows, strict=True):
        if not waiting.future.done():  # else the caller went away; the effect stands
            waiting.future.set_result(tuple(row))
