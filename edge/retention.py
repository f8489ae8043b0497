"""What the journal forgets, in small chunks, and a look at its pages in the background.

An observation is kept for the days of its row in the catalogue. Steps lose what is too old, class
by class (3 days, 30 days, ...), and go when nothing is left; never a step that a kept snapshot
still needs. Used credentials and ended commands stay as long as gate signals. The outbox is not
touched: the journal cannot know what the second systems have taken.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec
import zstandard

from edge.journal import BLOCK_LEVEL, Journal, JournalError, Statement, unpacked
from messages.catalogue import BY_NAME, CATALOGUE, ENTRY_OF, MessageKind
from messages.commands import UnlockGate
from messages.observations import GateSignal

DAY_NS = 86_400_000_000_000
CLASSES = sorted({e.retention_days for e in CATALOGUE if e.kind is MessageKind.OBSERVATION})
CHUNK_STEPS = 32  # one commit of a few ms; ten a second suffice for 10 steps a second
CREDENTIAL_DAYS = ENTRY_OF[GateSignal].retention_days  # a token is valid for a minute
COMMAND_DAYS = ENTRY_OF[UnlockGate].retention_days

_NAMED = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])


async def prune(journal: Journal, now_ns: int) -> int:
    """Forget one chunk of what is too old; the number of steps looked at, 0 when none is due."""
    oldest_needed = journal.snapshots.oldest_step()
    if oldest_needed is None:
        return 0
    looked_at = 0
    for days in CLASSES:
        looked_at += await _thin(journal, days, now_ns, oldest_needed)
    for sql, kept_days in ((_COMMANDS, COMMAND_DAYS), (_CREDENTIALS, CREDENTIAL_DAYS)):
        before_ns = now_ns - round(kept_days * DAY_NS)
        if before_ns > 0:
            await journal.write([(sql, [(before_ns,)])])
    journal.counts.pruned += looked_at
    return looked_at


async def _thin(journal: Journal, days: float, now_ns: int, oldest_needed: int) -> int:
    """Take what is kept for ``days`` or less out of the next steps that are older than that."""
    mark = f"thinned {days:g}"
    rows = await journal.fetch("SELECT value FROM meta WHERE key = ?", (mark,))
    done = rows[0][0] if rows else 0
    next_step = await journal.fetch(_NEXT_STEP, (done, oldest_needed))
    if not next_step or next_step[0][0] >= now_ns - round(days * DAY_NS):
        return 0  # the oldest one left is young: nothing behind it needs a look
    old = await journal.fetch(_OLD_STEPS, (done, oldest_needed, CHUNK_STEPS))
    old = [row for row in old if row[1] < now_ns - round(days * DAY_NS)]
    thinned = [(step, thin(block, days)) for step, _, block in old]
    statements: list[Statement] = [
        ("DELETE FROM step WHERE step = ?", [(step,) for step, block in thinned if block is None]),
        (
            "UPDATE step SET block = ? WHERE step = ?",
            [(block, step) for step, block in thinned if block is not None],
        ),
        ("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(mark, old[-1][0])]),
    ]
    await journal.write(statements)
    return len(old)


def thin(block: bytes, days: float) -> bytes | None:
    """The block without observations kept for ``days`` or less; None when nothing is left.

    Works on names and raw fields: arrays are never decoded.
    """
    named = _NAMED.decode(unpacked(block))
    kept = [(name, raw) for name, raw in named if _retention_days(name) > days]
    if not kept:
        return None
    return zstandard.ZstdCompressor(level=BLOCK_LEVEL).compress(msgspec.msgpack.encode(kept))


def _retention_days(name: str) -> float:
    """An observation of a newer version stays: its own version knows what to do."""
    kind = BY_NAME.get(name)
    return float("inf") if kind is None else ENTRY_OF[kind].retention_days


async def quick_check(path: Path) -> None:
    """SQLite's own check of every page, by a reader in a thread.

    Raises:
        JournalError: a page is damaged.
    """
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    check = asyncio.ensure_future(asyncio.to_thread(_checked, reader))
    try:
        found = await asyncio.shield(check)
    except asyncio.CancelledError:
        reader.interrupt()
        await asyncio.wait([check])
        raise
    finally:
        reader.close()
    if found != ["ok"]:
        remedy = "copy it aside and restore a backup"
        raise JournalError(f"{path}: damaged: {'; '.join(found[:3])}; {remedy}")


def _checked(reader: sqlite3.Connection) -> list[str]:
    try:
        rows: Iterable[tuple[str]] = reader.execute("PRAGMA quick_check(10)")
        return [text for (text,) in rows]
    except sqlite3.Error as error:
        return [str(error)]


_NEXT_STEP = "SELECT now_ns FROM step WHERE step > ? AND step <= ? ORDER BY step LIMIT 1"
_OLD_STEPS = (
    "SELECT step, now_ns, block FROM step WHERE step > ? AND step <= ? ORDER BY step LIMIT ?"
)
_COMMANDS = (
    "DELETE FROM command WHERE rowid IN (SELECT rowid FROM command ORDER BY rowid LIMIT 32)"
    " AND state != 'pending' AND not_after_ns < ?"
)
_CREDENTIALS = (
    "DELETE FROM used_credential WHERE rowid IN"
    " (SELECT rowid FROM used_credential ORDER BY rowid LIMIT 32) AND at_ns < ?"
)
