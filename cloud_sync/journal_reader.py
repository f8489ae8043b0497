"""Read the daemon's outbox rows from its journal: read-only, by sequence, never blocking it.

The journal is written by another process and may not be there yet. What may not happen is that it
is gone, or another one, once we have read from it: visit numbers would begin anew and collide with
ones already charged. Both are named errors; the queue goes on, the import stops.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import aiosqlite

from cloud_sync.book import Fact
from cloud_sync.database import read_only_uri
from messages import codec
from messages.events import CartClosed, VisitEnded, VisitStarted

ROWS_MAX = 500  # a read: bounds memory and the length of one commit
KINDS = (VisitStarted, CartClosed, VisitEnded)


class JournalMissing(RuntimeError):  # noqa: N818 - what it is
    """The journal is not there; before the first row that is normal, afterwards it is not."""


class JournalReplaced(RuntimeError):  # noqa: N818 - what it is
    """The journal is not the one we read from before."""


class JournalReader:
    """Rows after a cursor. ``path``: the daemon's journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: aiosqlite.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode of the open file

    async def close(self) -> None:
        if self._db is not None:
            await self._db.close()
        self._db, self._file = None, None

    async def read(self, seq: int, event_id: str) -> list[Fact]:
        """Up to ``ROWS_MAX`` rows after the cursor.

        Raises:
            JournalMissing: no such file, no database, damaged, or no outbox table in it yet.
            JournalReplaced: the row at the cursor is another one, or rows we read are not in it.
        """
        db = await self._open()
        try:
            await self._check(db, seq, event_id)
            rows = await db.execute_fetchall(
                "SELECT seq, event_id, body, created_wall_ns FROM outbox"
                " WHERE seq>? ORDER BY seq LIMIT ?",
                (seq, ROWS_MAX),
            )
        except sqlite3.DatabaseError as error:  # damaged, no database, or without its tables yet
            await self.close()
            raise JournalMissing(f"{self.path} cannot be read yet: {error}") from None
        return [_fact(*row) for row in rows]

    async def _open(self) -> aiosqlite.Connection:
        """The connection, opened anew where the path leads to another file than before."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            await self.close()
            raise JournalMissing(f"{self.path} is not there") from None
        file = (found.st_dev, found.st_ino)
        if self._db is None or file != self._file:
            await self.close()
            try:
                self._db = await aiosqlite.connect(read_only_uri(self.path), uri=True)
            except sqlite3.OperationalError as error:
                raise JournalMissing(f"{self.path} cannot be opened: {error}") from None
            self._file = file
        return self._db

    async def _check(self, db: aiosqlite.Connection, seq: int, event_id: str) -> None:
        if seq == 0:
            return
        query = "SELECT event_id FROM outbox WHERE seq=?"
        for (found,) in await db.execute_fetchall(query, (seq,)):
            if found != event_id:
                raise JournalReplaced(
                    f"{self.path}: row {seq} is {found}, we had imported {event_id} there"
                )
            return
        query = "SELECT seq FROM sqlite_sequence WHERE name='outbox'"
        last = max([int(row[0]) for row in await db.execute_fetchall(query)], default=0)
        if last < seq:  # a pruned row leaves the sequence behind, a new journal begins at 1
            raise JournalReplaced(f"{self.path} ends at row {last}, we had imported up to {seq}")


def _fact(seq: int, event_id: str, body: bytes, wall_ns: int) -> Fact:
    try:
        event = codec.decode(body)
        if not isinstance(event, KINDS):
            raise codec.CodecError(f"{type(event).__name__} is none of ours")
    except codec.CodecError as error:
        return Fact(seq=seq, event_id=event_id, event=None, wall_ns=wall_ns, error=str(error))
    return Fact(seq=seq, event_id=event_id, event=event, wall_ns=wall_ns)
