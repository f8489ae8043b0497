"""One SQLite file, one writer thread, many callers a commit.

Each flush to the disk costs milliseconds however much it carries, so the writer takes all that is
waiting into one transaction (``synchronous=FULL``) and answers only after COMMIT: what was
acknowledged survives a crash. A job runs in a savepoint of its own: one that fails undoes itself
and leaves its neighbours alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from broker.database import CommitError, StoreFullError

BATCH_MAX = 256  # jobs a commit: about 50 ms of work
WAITING_MAX = 2048  # jobs that may wait; beyond, callers are told to come back
BUSY_TIMEOUT_S = 5.0  # a backup tool may hold the file for a moment

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@dataclass(slots=True)
class _Waiting(Generic[T]):
    job: Job[T]
    future: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the settings that durability and the append-only triggers rest on."""
    mode = "ro" if read_only else "rwc"
    db = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    if not read_only:
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA recursive_triggers = ON")  # REPLACE counts as a deletion
    db.execute("PRAGMA foreign_keys = ON")
    return db


class Writer:
    """The only writer of a file. ``submit`` from one event loop; ``close`` drains and joins."""

    def __init__(self, path: Path, schema: str) -> None:
        self._db = connect(path)
        self._db.executescript(schema)
        self._waiting: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def submit(self, job: Job[T]) -> T:
        """Run the job in the next transaction; returns or raises once that is on the disk.

        Raises:
            StoreFullError, CommitError: nothing was done; or what the job itself raised.
        """
        if self._waiting.qsize() >= WAITING_MAX:
            raise StoreFullError(f"{WAITING_MAX} requests are waiting")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting: _Waiting[T] = _Waiting(job=job, future=future)
        self._waiting.put(waiting)
        return await future

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while True:
            batch, last = self._next_batch()
            if batch:
                self._commit(batch)
                _report(batch)
            if last:
                return

    def _next_batch(self) -> tuple[list[_Waiting[Any]], bool]:
        batch = list[_Waiting[Any]]()
        try:
            item = self._waiting.get()
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH_MAX:
                    return batch, False
                item = self._waiting.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _commit(self, batch: list[_Waiting[Any]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for waiting in batch:
                self._attempt(waiting)
            self._db.execute("COMMIT")
        except Exception as error:  # disk full, file locked: every caller of the batch hears it
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            for waiting in batch:
                waiting.error = CommitError(f"the commit failed: {type(error).__name__}")
                waiting.error.__cause__ = error

    def _attempt(self, waiting: _Waiting[Any]) -> None:
        self._db.execute("SAVEPOINT job")
        try:
            waiting.result = waiting.job(self._db)
        except Exception as error:
            if not self._db.in_transaction:  # SQLite rolled all of it back by itself
                raise
            self._db.execute("ROLLBACK TO job")
            waiting.error = error
        self._db.execute("RELEASE job")


def _report(batch: list[_Waiting[Any]]) -> None:
    """Hand the results to their callers, one wake-up a batch."""
    with contextlib.suppress(RuntimeError):  # the loop closed while the disk worked
        batch[0].future.get_loop().call_soon_threadsafe(_resolve, batch)


def _resolve(batch: list[_Waiting[Any]]) -> None:
    for waiting in batch:
        if waiting.future.done():  # the caller went away; the effect stands
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
