"""A disk that loses power, tears writes, breaks or is full, under the real outbox: a SQLite VFS.

Every write goes to a real file and is noted here; a flush makes what is noted durable. ``cut``
gives what a disk may hold after the power went: of the writes since the last flush each is kept,
dropped or torn at a sector, independently. ``fault`` makes the k-th call fail, once or for ever.
The SQLite library is apsw's own copy; what is left is read with Python's, from copied files.

Source: SQLite, "How SQLite Is Tested" (crash VFS, I/O error injection).
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import apsw

from cloud_sync import outbox as outbox_module
from cloud_sync.database import FULL, SCHEMA, Database

T = TypeVar("T")
SECTOR = 512
DROPPED, TORN = 0.4, 0.2  # shares of the writes that no flush has covered
CHECKPOINT_PAGES = 20  # often, so that many cuts fall into one


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset; ``data`` None: the file gets this length."""

    offset: int
    data: bytes | None


@dataclass
class Disk:
    """What is durable, and what was written since, by file name."""

    durable: dict[str, bytes] = field(default_factory=dict)
    pending: dict[str, list[Write]] = field(default_factory=dict)
    writes: int = 0
    lies: bool = False  # a flush returns, and nothing is durable

    def wrote(self, name: str, write: Write) -> None:
        self.pending.setdefault(name, []).append(write)
        self.writes += 1

    def flushed(self, name: str) -> None:
        if not self.lies:
            self.durable[name] = applied(self.durable.get(name, b""), self.pending.pop(name, []))

    def deleted(self, name: str) -> None:
        self.durable.pop(name, None)
        self.pending.pop(name, None)

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Write the files as they may be after the power went."""
        for name in sorted(self.durable.keys() | self.pending.keys()):
            kept = [one for w in self.pending.get(name, []) if (one := _survives(w, chance))]
            if name in self.durable or kept:
                whole = applied(self.durable.get(name, b""), kept)
                (folder / Path(name).name).write_bytes(whole)


def applied(image: bytes, writes: Iterable[Write]) -> bytes:
    whole = bytearray(image)
    for write in writes:
        end = write.offset + (len(write.data) if write.data is not None else 0)
        if len(whole) < end or write.data is None:
            whole.extend(bytes(max(0, end - len(whole))))
        if write.data is None:
            del whole[write.offset :]
        else:
            whole[write.offset : end] = write.data
    return bytes(whole)


def _survives(write: Write, chance: random.Random) -> Write | None:
    luck = chance.random()
    if luck < DROPPED:
        return None
    if luck >= DROPPED + TORN or write.data is None:
        return write
    sectors = chance.randrange(max(1, len(write.data) // SECTOR))
    return Write(write.offset, write.data[: sectors * SECTOR])


@dataclass
class Fault:
    """The ``at``-th call fails, and with ``for_ever`` all after it. ``kind``: "io" or "full"."""

    at: int
    kind: str
    for_ever: bool
    calls: int = 0
    hits: int = 0

    def call(self, *, grows: bool) -> None:
        self.calls += 1
        if self.calls == self.at or (self.for_ever and self.calls > self.at):
            self.hits += 1
            raise (
                apsw.FullError("full") if self.kind == "full" and grows else apsw.IOError("broken")
            )


class ModelVFS(apsw.VFS):
    def __init__(self, name: str, disk: Disk, fault: Fault | None = None) -> None:
        self.name, self.disk, self.fault = name, disk, fault
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> ModelFile:
        return ModelFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.disk.deleted(filename)
        super().xDelete(filename, syncdir)


class ModelFile(apsw.VFSFile):
    def __init__(self, vfs: ModelVFS, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name or "")
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self._may_fail(grows=True)
        super().xWrite(data, offset)
        self._vfs.disk.wrote(self._name, Write(offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._may_fail(grows=False)
        super().xTruncate(newsize)
        self._vfs.disk.wrote(self._name, Write(newsize, None))

    def xSync(self, flags: int) -> None:
        self._may_fail(grows=False)
        self._vfs.disk.flushed(self._name)  # the model is the disk: no real flush

    def _may_fail(self, *, grows: bool) -> None:
        if self._vfs.fault is not None:
            self._vfs.fault.call(grows=grows)


class _Cursor(Awaitable["_Cursor"]):
    """What ``execute`` gives: a cursor to await."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __await__(self) -> Generator[Any, None, _Cursor]:
        return self
        yield


class ModelConnection:
    """aiosqlite's calls over a connection of apsw, answered at once."""

    def __init__(self, path: Path, vfs: str) -> None:
        self.db = apsw.Connection(str(path), vfs=vfs)

    def execute(self, query: str, values: Iterable[Any] = ()) -> _Cursor:
        return _Cursor(list(self.db.execute(query, tuple(values))))

    async def executemany(self, query: str, rows: Iterable[Any]) -> None:
        self.db.executemany(query, [tuple(row) for row in rows])

    async def execute_fetchall(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        return list(self.db.execute(query, tuple(values)))

    async def commit(self) -> None:
        self.db.execute("COMMIT")

    async def rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


def opened(folder: Path, vfs: str, synchronous: int = FULL) -> Database:
    """The sync file with its outbox on a model disk."""
    connection = ModelConnection(folder / "sync.db", vfs)
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    for schema in (SCHEMA, outbox_module.SCHEMA):
        connection.db.execute(schema)
    lock = os.open(os.devnull, os.O_RDONLY)
    return Database(folder / "sync.db", connection, lock)  # type: ignore[arg-type]
