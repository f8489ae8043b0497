"""The sync process's one file: SQLite in WAL mode, FULL, one writer, a lock against a second one.

A row is promised to nobody before COMMIT returned, and COMMIT returns after the disk's flush.
One connection writes, so that nothing but it checkpoints; readers open the file with ``mode=ro``.
An I/O error is not retried: the process ends and its supervisor starts it anew, because a second
flush after a failed one proves nothing (PostgreSQL's "fsyncgate").
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiosqlite

SCHEMA_VERSION = 3
WAL_BYTES_MAX = 64 * 2**20  # the WAL file is cut back to this after a checkpoint
CACHE_KIB = 16 * 1024
FULL = 2  # PRAGMA synchronous
REMEDY = (  # nobody is charged twice: the other side remembers the keys
    "Put a copy back; or move it aside, and what its journal still holds is asked again under the"
    " same keys"
)
ALARM_KEPT_NS = 30 * 86_400 * 1_000_000_000  # after it was cleared
ALARMS_PRUNED = 100  # a pass

SCHEMA = """
CREATE TABLE IF NOT EXISTS status(
  name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm(
  key TEXT PRIMARY KEY, severity TEXT NOT NULL, detail TEXT NOT NULL,
  raised_ns INTEGER NOT NULL, cleared_ns INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alarm_over ON alarm(cleared_ns) WHERE cleared_ns IS NOT NULL;
CREATE TABLE IF NOT EXISTS audit(
  id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, operator TEXT NOT NULL, action TEXT NOT NULL,
  target TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  command TEXT UNIQUE);  -- the operator's command this row carried out, so that it runs once
"""


FROM_VERSION_1 = """
BEGIN IMMEDIATE;
ALTER TABLE receipt RENAME TO receipt_1;
CREATE TABLE receipt(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('pending','priced','parked','bad_cart','paid','free','unpaid','void',
     'settled','contested','reviewed','refunded')),
  currency TEXT NOT NULL, total_minor INTEGER NOT NULL,
  purchase TEXT NOT NULL, capture TEXT NOT NULL,
  lines TEXT NOT NULL, in_review TEXT NOT NULL,
  started_wall_ns INTEGER NOT NULL, exit_wall_ns INTEGER NOT NULL,
  issued_wall_ns INTEGER NOT NULL, detail TEXT NOT NULL,
  refunded_minor INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO receipt SELECT *, 0 FROM receipt_1;
DROP TABLE receipt_1;
PRAGMA user_version=2;
COMMIT;
"""

# Receipts name every credential of a group, and begin at the exit.
FROM_VERSION_2 = """
BEGIN IMMEDIATE;
ALTER TABLE receipt RENAME TO receipt_2;
CREATE TABLE receipt(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('provisional','pending','priced','parked','bad_cart','paid','free','unpaid','void',
     'settled','contested','reviewed','refunded')),
  currency TEXT NOT NULL, total_minor INTEGER NOT NULL,
  purchase TEXT NOT NULL, capture TEXT NOT NULL,
  lines TEXT NOT NULL, in_review TEXT NOT NULL,
  started_wall_ns INTEGER NOT NULL, exit_wall_ns INTEGER NOT NULL,
  issued_wall_ns INTEGER NOT NULL, detail TEXT NOT NULL,
  refunded_minor INTEGER NOT NULL DEFAULT 0,
  auth_events TEXT NOT NULL DEFAULT '[]',
  party_size INTEGER NOT NULL DEFAULT 1,
  provisional TEXT NOT NULL DEFAULT '[]',
  provisional_wall_ns INTEGER NOT NULL DEFAULT 0,
  due_wall_ns INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO receipt SELECT visit, account, state, currency, total_minor, purchase, capture, lines,
  in_review, started_wall_ns, exit_wall_ns, issued_wall_ns, detail, refunded_minor,
  '[]', 1, '[]', 0, 0 FROM receipt_2;
DROP TABLE receipt_2;
PRAGMA user_version=3;
COMMIT;
"""
MIGRATIONS = {1: FROM_VERSION_1, 2: FROM_VERSION_2}


class SyncStoreError(RuntimeError):
    """The sync file cannot be used safely; says why and what to do."""


class AlreadyRunning(SyncStoreError):  # noqa: N818 - what it is, not what went wrong
    """Another process has this file: two writers would send everything twice."""


class Database:
    """The writing connection and its lock. Build with ``await Database.open(...)``."""

    def __init__(self, path: Path, connection: aiosqlite.Connection, lock: int) -> None:
        self.path = path
        self.connection = connection
        self.commits = 0  # since the start; each is one flush of the WAL
        self._lock = lock

    @classmethod
    async def open(cls, path: Path, *schemas: str) -> Database:
        """Lock, open, check the modes, create what is missing.

        Raises:
            AlreadyRunning: another process holds the file.
            SyncStoreError: WAL or FULL refused, or the file is of a newer version.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        try:
            connection = await aiosqlite.connect(path, isolation_level=None)
            try:
                await _prepare(connection, path, (SCHEMA, *schemas))
            except sqlite3.DatabaseError as error:
                await connection.close()
                if isinstance(error, sqlite3.OperationalError):  # the disk is full, broken or busy
                    raise
                raise SyncStoreError(f"{path} cannot be used: {error}. {REMEDY}") from None
            except BaseException:
                await connection.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return cls(path, connection, lock)

    async def close(self) -> None:
        await self.connection.close()
        os.close(self._lock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing; on return it is on the disk."""
        await self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            await self.connection.rollback()
            raise
        await self.connection.commit()
        self.commits += 1

    async def raise_alarm(self, key: str, severity: str, detail: str, now_ns: int) -> None:
        """Inside a transaction. An alarm that is up already keeps its first instant."""
        await self.connection.execute(
            "INSERT INTO alarm(key,severity,detail,raised_ns) VALUES(?,?,?,?)"
            " ON CONFLICT(key) DO UPDATE SET severity=excluded.severity, detail=excluded.detail,"
            " raised_ns=iif(cleared_ns IS NULL, raised_ns, excluded.raised_ns), cleared_ns=NULL",
            (key, severity, detail, now_ns),
        )

    async def prune_alarms(self, now_ns: int) -> None:
        """(tx) Forget a few alarms that are over for longer than we keep them."""
        await self.connection.execute(
            "DELETE FROM alarm WHERE key IN (SELECT key FROM alarm WHERE cleared_ns<? LIMIT ?)",
            (now_ns - ALARM_KEPT_NS, ALARMS_PRUNED),
        )

    async def clear_alarm(self, key: str, now_ns: int) -> None:
        await self.connection.execute(
            "UPDATE alarm SET cleared_ns=? WHERE key=? AND cleared_ns IS NULL", (now_ns, key)
        )

    async def audit(
        self,
        now_ns: int,
        operator: str,
        action: str,
        target: str,
        *,
        reason: str = "",
        detail: str = "",
        command: str | None = None,
    ) -> None:
        """Who did what to which request or group, and why. Rows are never changed."""
        await self.connection.execute(
            "INSERT INTO audit(at_ns,operator,action,target,reason,detail,command)"
            " VALUES(?,?,?,?,?,?,?)",
            (now_ns, operator, action, target, reason, detail, command),
        )

    async def set_status(self, **values: str) -> None:
        await self.connection.executemany(
            "INSERT INTO status VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value",
            list(values.items()),
        )


def read_only_uri(path: Path) -> str:
    """The URI that opens a database for reading alone."""
    return f"file:{quote(str(path))}?mode=ro"


def _lock(path: Path) -> int:
    """An exclusive lock beside the file, freed by the kernel when the process ends."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise AlreadyRunning(f"{path} is in use by process {holder}: stop that one first") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


async def _prepare(db: aiosqlite.Connection, path: Path, schemas: tuple[str, ...]) -> None:
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={FULL}",
        f"journal_size_limit={WAL_BYTES_MAX}",
        f"cache_size=-{CACHE_KIB}",
        "foreign_keys=ON",
    ):
        await db.execute(f"PRAGMA {pragma}")
    mode, level, version = [
        await _value(db, f"PRAGMA {name}")
        for name in ("journal_mode", "synchronous", "user_version")
    ]
    if mode != "wal" or level != FULL:
        raise SyncStoreError(
            f"{path}: journal_mode {mode}, synchronous {level}: a power cut could lose money rows;"
            " keep the file on a local disk"
        )
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise SyncStoreError(f"{path} is of version {version}, this program knows {SCHEMA_VERSION}")
    for old in range(version, SCHEMA_VERSION) if version else ():  # 0: new, or killed when new
        await _migrate(db, old)
    for schema in schemas:
        await db.executescript(schema)
    await db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


async def _migrate(db: aiosqlite.Connection, version: int) -> None:
    """One version further.

    From 1: receipts got states and a column, so the table moves aside and comes back under the new
    rules. From 2: receipts name every credential. One transaction each, so that a kill leaves the
    version before or the one after; waiting requests are not touched.
    """
    if "receipt" in await _tables(db):
        await db.executescript(MIGRATIONS[version])


async def _value(db: aiosqlite.Connection, query: str) -> object:
    async with db.execute(query) as cursor:
        row = await cursor.fetchone()
    return row[0] if row else None


async def _tables(db: aiosqlite.Connection) -> set[str]:
    rows = await db.execute_fetchall("SELECT name FROM sqlite_master WHERE type='table'")
    return {str(name) for (name,) in rows}
