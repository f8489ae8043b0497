"""The ledger on one SQLite file: one writer thread, many callers a commit (``group_commit.py``)."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from broker import idempotency, schema, transfers
from broker.database import HotCommand, Job, Row, finished
from broker.group_commit import Writer, connect
from broker.idempotency import Answer, Claim

T = TypeVar("T")
_VALUE = re.compile(r"\$(\d+)")


class SqliteTransaction:
    """A transaction that is open on a connection; none of its methods ever waits."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    async def all(self, statement: str, *values: object) -> list[Row]:
        return self._db.execute(dialect(statement), values).fetchall()

    async def one(self, statement: str, *values: object) -> Row | None:
        row: Row | None = self._db.execute(dialect(statement), values).fetchone()
        return row

    async def run(self, statement: str, *values: object) -> int:
        return self._db.execute(dialect(statement), values).rowcount

    async def many(self, statement: str, rows: Sequence[Row]) -> None:
        self._db.executemany(dialect(statement), rows)


class SqliteDatabase:
    """One file, served by this process alone."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    async def start(self) -> None:
        """Make or update the file.

        Raises:
            DatabaseError, sqlite3.Error: it cannot be used.
        """
        with closing(connect(self.path)) as db:
            schema.migrate_sqlite(db)
        self._writer = Writer(self.path, "")
        self._reader = connect(self.path, read_only=True)

    async def close(self) -> None:
        self._writer.close()
        self._reader.close()

    async def submit(self, job: Job[T]) -> T:
        return await self._writer.submit(lambda db: finished(job(SqliteTransaction(db))))

    async def read(self, job: Job[T], *, whole: bool = False) -> T:
        if whole:
            return await asyncio.to_thread(self.in_one_snapshot, job)
        return finished(job(SqliteTransaction(self._reader)))

    async def transfer(
        self, claim: Claim, request: transfers.TransferRequest, now_s: int
    ) -> Answer:
        return await self.submit(
            lambda db: idempotency.claimed(
                db, claim, now_s, lambda: transfers.effect(db, request, now_s)
            )
        )

    async def hot(self, claim: Claim, command: HotCommand, now_s: int) -> Answer | None:
        return None  # a statement is a call here, no round trip: the effect is as fast

    def in_one_snapshot(self, job: Job[T]) -> T:
        """Ask on a connection of its own; needs no ``start``, and may run beside a broker."""
        with closing(connect(self.path, read_only=True)) as db:
            db.execute("BEGIN")
            return finished(job(SqliteTransaction(db)))


@lru_cache(maxsize=2048)
def dialect(statement: str) -> str:
    """The statement as SQLite writes it: numbered values, no row locks."""
    return _VALUE.sub(r"?\1", statement).replace(" FOR UPDATE", "")
