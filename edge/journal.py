"""The journal: what the engine was given, what it concluded, what devices were asked. SQLite.

Step n is durable before the engine sees it; its events, outbox rows, commands and used credentials
are one commit, durable before a command runs. One connection writes (WAL, ``synchronous=FULL``),
a lock file refuses a second writer, and callers that wait together share one flush. Others read
with ``mode=ro``. Any error of the disk ends writing: ``JournalError``, and the daemon exits so that
nothing is acknowledged that is not there.

A store clock derives from this journal (``edge/store_clock.py``), so its newest row cannot lie in
the future of store time. What can lie is wall time; then the clock's anchors say so, and the gates
refuse by ``clock_uncertain`` instead of the journal refusing to open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import aiosqlite
import zstandard

from edge.journal_schema import BYTES_CACHED, MIGRATIONS, SCHEMA, VERSION, WAL_BYTES_KEPT
from edge.snapshots import Snapshot, SnapshotError, Snapshots
from messages import codec
from messages.commands import AnyCommand, Command
from messages.events import CartClosed, Event, VisitEnded, VisitJoined, VisitKind, VisitStarted
from messages.ids import CommandId
from messages.observations import Observation

BLOCK_LEVEL = 1  # zstd: 0.1 ms a step; level 3 takes three times that for 5 % less
BLOCK_BYTES_MAX = 64 * 2**20
OUTBOX_KIND: dict[type, str] = {
    VisitStarted: "visit_started",
    VisitEnded: "visit_ended",
    CartClosed: "cart_closed",
}

Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, Sequence[Row]]


class JournalError(RuntimeError):
    """The journal cannot be used, or can no longer be written; says what to do."""


class CredentialReusedError(ValueError):
    """Events would admit a credential that an earlier step already used. Nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStep:
    """One call of the engine, as it was and will be replayed."""

    step: int
    now_ns: int
    observations: list[Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A step that raised (``errors``) or under which the process died at a start (``deaths``)."""

    errors: int = 0
    deaths: int = 0
    set_aside: bool = False
    error: str = ""


@dataclass(slots=True)
class _Waiting:
    statements: list[Statement]
    done: asyncio.Future[None]


@dataclass(slots=True)
class JournalCounts:
    """For ``status.json``."""

    steps: int = 0
    commits: int = 0
    writes: int = 0  # above commits: several callers shared a flush
    commit_ms_last: float = 0.0
    commit_ms_max: float = 0.0
    pruned: int = 0


@dataclass
class Journal:
    """An open journal; make it with ``Journal.open``."""

    path: Path
    snapshots: Snapshots
    counts: JournalCounts = field(default_factory=JournalCounts)
    broken: str = ""  # why nothing is written any more
    committed: Callable[[], None] = lambda: None  # for the watchdog
    _db: aiosqlite.Connection = field(init=False, repr=False)
    _lock_file: int = field(init=False, repr=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _waiting: list[_Waiting] = field(default_factory=list, repr=False)

    # --- opening and closing -----------------------------------------------------------------

    @classmethod
    async def open(cls, path: Path, *, store: str) -> Journal:
        """Open or create the journal of a store and keep others from writing it.

        Raises:
            JournalError: another process writes it, it is another store's or a newer version's,
                it is damaged, or its disk cannot promise durability.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock_file = _lock(path)
            journal = cls(path=path, snapshots=Snapshots(path.with_name(path.name + ".snapshots")))
        except OSError as error:
            raise JournalError(f"{path}: {error}; check [paths] journal and its disk") from error
        journal._lock_file = lock_file
        try:
            journal._db = await aiosqlite.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            os.close(lock_file)
            raise JournalError(f"{path}: {error}") from error
        try:
            await journal._prepare(store)
        except sqlite3.Error as error:
            await journal.close()
            raise JournalError(f"{path}: {error}; copy it aside and restore a backup") from error
        except JournalError:
            await journal.close()
            raise
        return journal

    async def _prepare(self, store: str) -> None:
        await self._demand("journal_mode = WAL", "journal_mode", "wal")
        await self._demand("synchronous = FULL", "synchronous", 2)
        await self._db.execute(f"PRAGMA cache_size = -{BYTES_CACHED // 1024}")
        await self._db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        await self._migrate()
        await self._db.execute("INSERT OR IGNORE INTO meta VALUES ('store', ?)", (store,))
        owner = await self.kept("store")
        if owner != store:
            remedy = "give [paths] journal another file"
            raise JournalError(f"{self.path}: belongs to store {owner!r}, not {store!r}; {remedy}")

    async def _demand(self, setting: str, name: str, wanted: object) -> None:
        await self._db.execute(f"PRAGMA {setting}")
        ((got,),) = await self._db.execute_fetchall(f"PRAGMA {name}")
        if got != wanted:
            why = "a power cut could lose what was acknowledged"
            raise JournalError(f"{self.path}: {name} is {got!r}, not {wanted!r}: {why}")

    async def _migrate(self) -> None:
        ((version,),) = await self._db.execute_fetchall("PRAGMA user_version")
        if version > VERSION:
            what = f"written by a newer version (schema {version}, this one knows {VERSION})"
            raise JournalError(f"{self.path}: {what}; install that version again")
        scripts = [SCHEMA] if version == 0 else [MIGRATIONS[v] for v in range(version, VERSION)]
        for script in scripts:
            await self._db.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {VERSION}; COMMIT;"
            )

    async def close(self) -> None:
        """Close the files and let go of the lock."""
        async with self._turn:
            try:
                await self._db.close()
            finally:
                os.close(self._lock_file)

    # --- writing -----------------------------------------------------------------------------

    async def append_step(
        self, step: int, now_ns: int, observations: Sequence[Observation]
    ) -> list[Observation]:
        """Make a step durable; give back its observations as every replay will see them."""
        plain = codec.encode_many(list(observations))
        row = (step, now_ns, zstandard.ZstdCompressor(level=BLOCK_LEVEL).compress(plain))
        await self.write([("INSERT INTO step VALUES (?, ?, ?)", [row])])
        self.counts.steps += 1
        return codec.decode_many(plain)

    async def commit_outputs(
        self,
        step: int,
        events: Sequence[Event],
        commands: Sequence[Command],
        *,
        wall_ns: int,
    ) -> None:
        """Events, outbox rows, commands and used credentials of a step in one commit.

        Raises:
            CredentialReusedError: a visit would start on a credential of an earlier step.
        """
        if not events and not commands:
            return
        started = [e for e in events if isinstance(e, VisitStarted)]
        let_in = [e for e in events if isinstance(e, VisitStarted | VisitJoined)]
        await self._refuse_reused(step, let_in)
        used = [(e.credential, step, e.at_ns) for e in let_in]
        visits = [(e.visit, e.account, e.kind.value) for e in started]
        asked = [(c.id, step, c.not_after_ns, type(c).__name__, codec.encode(c)) for c in commands]
        await self.write(
            [
                (
                    "INSERT INTO event (id, step, at_ns, type, body) VALUES (?, ?, ?, ?, ?)",
                    [(e.id, step, e.at_ns, type(e).__name__, codec.encode(e)) for e in events],
                ),
                ("INSERT INTO used_credential VALUES (?, ?, ?)", used),
                ("INSERT INTO visit VALUES (?, ?, ?)", visits),
                (_TO_OUTBOX, list(_outbox_rows(events, wall_ns))),
                (_TO_COMMAND, asked),
            ]
        )

    async def _refuse_reused(self, step: int, let_in: Sequence[VisitStarted | VisitJoined]) -> None:
        seen: set[str] = set()
        for event in let_in:
            rows = await self.fetch(
                "SELECT step FROM used_credential WHERE jti = ?", (event.credential,)
            )
            if rows or event.credential in seen:
                at = rows[0][0] if rows else step
                raise CredentialReusedError(
                    f"credential {event.credential!r} was used in step {at}"
                )
            seen.add(event.credential)

    async def mark_commands(self, ids: Iterable[CommandId], state: str, at_ns: int) -> None:
        """The end of commands: ``done``, ``expired`` or ``failed``; only pending ones change."""
        sql = "UPDATE command SET state = ?, ended_at_ns = ? WHERE id = ? AND state = 'pending'"
        await self.write([(sql, [(state, at_ns, id_) for id_ in ids])])

    async def mark_failure(self, step: int, error: str) -> int:
        """Count that the engine raised in a step; the count so far."""
        return await self._count_failure(step, "errors", error)

    async def mark_death(self, step: int) -> int:
        """Count that a start tries this step; ``forgive_deaths`` follows if it lives through it."""
        return await self._count_failure(step, "deaths", "")

    async def forgive_deaths(self, step: int) -> None:
        await self.write([("UPDATE failure SET deaths = 0 WHERE step = ?", [(step,)])])

    async def set_aside(self, step: int, error: str) -> None:
        """Mark a step that no replay shall run again."""
        sql = (
            "INSERT INTO failure VALUES (?, 0, 0, 1, ?)"
            " ON CONFLICT (step) DO UPDATE SET set_aside = 1, error = excluded.error"
        )
        await self.write([(sql, [(step, error)])])

    async def _count_failure(self, step: int, column: str, error: str) -> int:
        first = (step, int(column == "errors"), int(column == "deaths"), error)
        await self.write([(_COUNT_FAILURE[column], [first])])
        ((errors, deaths),) = await self.fetch(_FAILURE, (step,))
        count = errors if column == "errors" else deaths
        return int(count)

    async def keep(self, key: str, data: bytes) -> None:
        """Keep some bytes under a name, in place of those kept before; for the store clock."""
        await self.write([("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, data)])])

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, off the path of the steps; durable when it returns."""
        try:
            await asyncio.to_thread(self.snapshots.save, snapshot)
        except OSError as error:
            self.broken = f"snapshot: {error}"
            raise JournalError(f"{self.snapshots.folder}: {error}") from error

    async def write(self, statements: list[Statement]) -> None:
        """Durable when it returns; those who wait while another commits share the next one."""
        waiting = _Waiting([s for s in statements if s[1]], asyncio.Future())
        self._waiting.append(waiting)
        async with self._turn:
            if not waiting.done.done():
                await _finished(self._commit_waiting())
        await waiting.done

    async def _commit_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        started = time.perf_counter()
        try:
            if self.broken:
                raise JournalError(f"{self.path}: writing ended: {self.broken}")
            await self._transaction([s for waiting in group for s in waiting.statements])
        except BaseException as error:
            self.broken = self.broken or f"{type(error).__name__}: {error}"
            failed = JournalError(f"{self.path}: {self.broken}; nothing more is acknowledged")
            for waiting in group:
                waiting.done.set_exception(failed)
                waiting.done.exception()  # seen: those who wait may be cancelled already
            if not isinstance(error, Exception):
                raise
            return
        self.committed()
        self._count_commit(len(group), (time.perf_counter() - started) * 1000.0)
        for waiting in group:
            waiting.done.set_result(None)

    async def _transaction(self, statements: list[Statement]) -> None:
        if len(statements) == 1 and len(statements[0][1]) == 1:
            await self._db.execute(statements[0][0], statements[0][1][0])  # commits by itself
            return
        await self._db.execute("BEGIN IMMEDIATE")
        for sql, rows in statements:
            await self._db.executemany(sql, rows)
        await self._db.execute("COMMIT")

    def _count_commit(self, writes: int, ms: float) -> None:
        self.counts.commits += 1
        self.counts.writes += writes
        self.counts.commit_ms_last = ms
        self.counts.commit_ms_max = max(self.counts.commit_ms_max, ms)

    # --- reading -----------------------------------------------------------------------------

    async def last_step(self) -> tuple[int, int]:
        """Number and store time of the newest step; (0, 0) when there is none."""
        newest = "SELECT step, now_ns FROM step WHERE step = (SELECT max(step) FROM step)"
        rows = await self.fetch(newest)
        return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)

    async def latest_snapshots(self) -> list[Snapshot | SnapshotError]:
        """Kept snapshots, newest first, or why one cannot be read; the reader stops at the first
        that serves."""
        return await asyncio.to_thread(lambda: list(self.snapshots.newest_first()))

    async def steps_after(self, step: int) -> AsyncIterator[JournalStep]:
        """The steps that follow, in order. Raises JournalError at a gap or a damaged block."""
        expected = step
        sql = "SELECT step, now_ns, block FROM step WHERE step > ? ORDER BY step LIMIT 128"
        while rows := await self.fetch(sql, (expected,)):
            for number, now_ns, block in rows:
                expected += 1
                if number != expected:
                    raise JournalError(f"{self.path}: step {expected} is missing")
                seen = self._seen(number, block)
                yield JournalStep(step=number, now_ns=now_ns, observations=seen)

    def _seen(self, step: int, block: bytes) -> list[Observation]:
        try:
            return codec.decode_many(unpacked(block))
        except (zstandard.ZstdError, codec.CodecError) as error:
            raise JournalError(f"{self.path}: step {step} is damaged: {error}") from error

    async def events_after(self, step: int) -> dict[int, list[bytes]]:
        """Recorded events of later steps, encoded, in order; to compare with a replay."""
        sql = "SELECT step, body FROM event WHERE step > ? ORDER BY step, seq"
        found: dict[int, list[bytes]] = {}
        for number, body in await self.fetch(sql, (step,)):
            found.setdefault(number, []).append(body)
        return found

    async def steps_with_commands_after(self, step: int) -> set[int]:
        rows = await self.fetch("SELECT DISTINCT step FROM command WHERE step > ?", (step,))
        return {int(number) for (number,) in rows}

    async def failures_after(self, step: int) -> dict[int, Failure]:
        sql = "SELECT step, errors, deaths, set_aside, error FROM failure WHERE step > ?"
        return {
            number: Failure(errors=errors, deaths=deaths, set_aside=bool(aside), error=error)
            for number, errors, deaths, aside, error in await self.fetch(sql, (step,))
        }

    async def pending_commands(self) -> list[AnyCommand]:
        """Commands that no device has been asked, oldest first."""
        sql = "SELECT body FROM command WHERE state = 'pending' ORDER BY rowid"
        return [codec.decode(body) for (body,) in await self.fetch(sql)]

    async def kept(self, key: str) -> Any:
        """What is kept under a name, or None."""
        rows = await self.fetch("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    async def fetch(self, sql: str, values: Row = ()) -> list[Any]:
        try:
            return list(await self._db.execute_fetchall(sql, values))
        except sqlite3.Error as error:
            self.broken = self.broken or str(error)
            raise JournalError(f"{self.path}: {error}") from error


_COUNT_FAILURE = {
    "errors": (
        "INSERT INTO failure VALUES (?, ?, ?, 0, ?) ON CONFLICT (step)"
        " DO UPDATE SET errors = errors + 1, error = excluded.error"
    ),
    "deaths": (
        "INSERT INTO failure VALUES (?, ?, ?, 0, ?) ON CONFLICT (step)"
        " DO UPDATE SET deaths = deaths + 1"
    ),
}
_FAILURE = "SELECT errors, deaths FROM failure WHERE step = ?"
_TO_OUTBOX = (
    "INSERT INTO outbox (event_id, grp, kind, body, created_wall_ns) VALUES"
    " (?, coalesce(?, (SELECT account FROM visit WHERE visit = ?), ''), ?, ?, ?)"
)
_TO_COMMAND = (
    "INSERT INTO command (id, step, not_after_ns, type, body, state) VALUES"
    " (?, ?, ?, ?, ?, 'pending')"
)


def _outbox_rows(events: Sequence[Event], wall_ns: int) -> Iterable[Row]:
    """Rows for the second systems; staff are never charged, so their start is not sent."""
    for event in events:
        kind = OUTBOX_KIND.get(type(event))
        if kind is None or (isinstance(event, VisitStarted) and event.kind is VisitKind.STAFF):
            continue
        account = getattr(event, "account", None)
        visit = getattr(event, "visit", None)
        yield (event.id, account, visit, kind, codec.encode(event), wall_ns)


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end even if the caller is cancelled: a commit cut in two helps nobody."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def unpacked(block: bytes) -> bytes:
    """The encoded observations of a step's block."""
    return zstandard.ZstdDecompressor().decompress(block, max_output_size=BLOCK_BYTES_MAX)


def _lock(path: Path) -> int:
    """Hold the lock file for as long as the process lives, and write our pid into it."""
    file = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
        os.close(file)
        remedy = "stop it first (systemctl stop walkout-daemon)"
        raise JournalError(f"{path} is being written by process {holder}; {remedy}") from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file
