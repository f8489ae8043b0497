"""Virtual time for the sync process: a loop that never waits, a database without threads.

``VirtualLoop`` jumps to the next timer when nothing is ready, and runs what is ready in an order
that its seed decides, so that a week passes in seconds and the same seed is the same week.
``InlineConnection`` is the real SQLite behind aiosqlite's calls, without its thread: a thread's
answer would come in real time, which does not pass here.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud_sync import book as book_module
from cloud_sync import outbox as outbox_module
from cloud_sync.book import Fact
from cloud_sync.database import SCHEMA, Database
from cloud_sync.http_sender import Endpoint
from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer

NS = 1_000_000_000


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop but for the waiting."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now_s = 0.0
        self.chance = random.Random(seed)
        self._clock_resolution = 1e-9
        self._selector = None

    def time(self) -> float:
        return self.now_s

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nothing waits in a selector."""

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready:
            if not self._scheduled:
                raise RuntimeError("nothing can ever run again")
            self.now_s = max(self.now_s, self._scheduled[0]._when)
        while self._scheduled and self._scheduled[0]._when <= self.now_s:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)
        batch = list(self._ready)
        self._ready.clear()
        self.chance.shuffle(batch)
        for handle in batch:
            if not handle._cancelled:
                handle._run()


class _Rows(Awaitable[sqlite3.Cursor]):
    """What ``execute`` gives: a cursor to await, or to use in ``async with``."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def __await__(self) -> Generator[Any, None, sqlite3.Cursor]:
        return self._cursor
        yield


class InlineConnection:
    """aiosqlite's calls, answered at once."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)

    def execute(self, query: str, values: Iterable[Any] = ()) -> _Rows:
        return _Rows(self.db.execute(query, tuple(values)))

    async def executemany(self, query: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        return self.db.executemany(query, rows)

    async def execute_fetchall(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        return self.db.execute(query, tuple(values)).fetchall()

    async def commit(self) -> None:
        self.db.commit()

    async def rollback(self) -> None:
        self.db.rollback()

    async def close(self) -> None:
        self.db.close()


def database(path: Path) -> Database:
    """The sync file with all its tables. Order is checked here, not the disk: no flushes."""
    connection = InlineConnection(path)
    connection.db.execute("PRAGMA synchronous=OFF")
    for schema in (SCHEMA, outbox_module.SCHEMA, book_module.SCHEMA):
        connection.db.executescript(schema)
    return Database(path, connection, os.open(os.devnull, os.O_RDONLY))  # type: ignore[arg-type]


@dataclass(slots=True)
class VirtualClock:
    loop: VirtualLoop
    start_ns: int = 1_790_000_000 * NS

    def now_ns(self) -> int:
        return self.start_ns + round(self.loop.now_s * NS)

    wall_ns = now_ns


@dataclass(slots=True)
class MemoryJournal:
    """The daemon's journal: rows are appended, read by cursor."""

    facts: list[Fact] = field(default_factory=list)

    async def read(self, seq: int, event_id: str) -> list[Fact]:
        assert seq == 0 or self.facts[seq - 1].event_id == event_id
        return self.facts[seq : seq + 500]

    async def close(self) -> None:
        """It holds nothing."""


@dataclass(slots=True)
class Link:
    """The network between the store and ``answer``: down for a while, losing things when up."""

    loop: VirtualLoop
    answer: Callable[[Request], Answer]
    endpoints: dict[str, Endpoint]
    down_s: tuple[float, float]
    lost_share: float
    lost_requests: int = 0
    lost_answers: int = 0
    refused: int = 0
    most_at_once: int = 0
    at_once: int = 0

    def reload(self, name: str) -> None:
        """Keys do not change here."""

    async def send(self, request: Request) -> Answer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._pass(request)
        finally:
            self.at_once -= 1

    async def _pass(self, request: Request) -> Answer:
        chance = self.loop.chance
        await asyncio.sleep(chance.expovariate(20.0))
        if self.down_s[0] <= self.loop.now_s < self.down_s[1]:
            self.refused += 1
            return Answer(status=None, error="the link is down")
        if chance.random() < self.lost_share:
            self.lost_requests += 1
            await asyncio.sleep(10.0)
            return Answer(status=None, error="no answer within the time-out")
        answer = self.answer(request)
        await asyncio.sleep(chance.expovariate(20.0))
        if chance.random() < self.lost_share:
            self.lost_answers += 1
            await asyncio.sleep(10.0)
            return Answer(status=None, error="no answer within the time-out")
        return answer
