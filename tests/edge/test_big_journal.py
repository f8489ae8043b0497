"""A start must not get slower as the journal grows: nothing is scanned, whatever its size."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest
import zstandard
from test_durable_engine import CONFIG, TinyEngine, credential, feed, tiny_engine

from edge import retention
from edge.durable_engine import DurableEngine
from edge.journal import Journal
from edge.snapshots import Snapshot
from messages import codec

STEP_NS = 100_000_000
BLOCK_BYTES = 9_000  # a step of 350 plates, compressed


def fill(folder: Path, steps: int, *, tail: int = 20) -> None:
    """A journal of many steps, quickly: repeated blocks, a snapshot near the end, a real tail."""

    async def told() -> None:
        journal = await Journal.open(folder / "journal.db", store="s1")
        try:
            await journal.save_snapshot(
                Snapshot(
                    step=steps - tail,
                    now_ns=(steps - tail) * STEP_NS,
                    toml=CONFIG.toml,
                    state=codec.encode_state(_state_at(steps - tail)),
                )
            )
        finally:
            await journal.close()

    asyncio.run(told())
    block = zstandard.ZstdCompressor().compress(codec.encode_many([]))
    padded = block + b"\x50\x2a\x4d\x18" + (BLOCK_BYTES).to_bytes(4, "little") + bytes(BLOCK_BYTES)
    writer = sqlite3.connect(folder / "journal.db")
    writer.execute("PRAGMA synchronous = OFF")
    writer.executemany(
        "INSERT INTO step VALUES (?, ?, ?)",
        ((n, n * STEP_NS, padded if n <= steps - tail else block) for n in range(1, steps + 1)),
    )
    writer.executemany(
        "INSERT INTO event (id, step, at_ns, type, body) VALUES (?, ?, ?, 'Old', x'00')",
        ((f"s1-{n}-0", n, n * STEP_NS) for n in range(1, steps - tail, 10)),
    )
    writer.commit()
    writer.close()


def _state_at(step: int) -> object:
    engine = TinyEngine(CONFIG)
    engine.state.step = step
    return engine.state


async def started(folder: Path, told: list[str]) -> DurableEngine:
    """Open and recover, noting each statement that SQLite runs."""
    journal = await Journal.open(folder / "journal.db", store="s1")
    try:
        await journal._db.set_trace_callback(told.append)
        engine = DurableEngine(journal, CONFIG, tiny_engine())
        await engine.recover()
        await journal.pending_commands()
        await journal.kept("clock")
        await feed(engine, [credential("a")])
        await retention.prune(journal, engine.now_ns)
        return engine
    finally:
        await journal.close()


def scans(folder: Path, statements: list[str]) -> list[str]:
    """Steps of the query plans that walk through a whole table that grows."""
    reader = sqlite3.connect(folder / "journal.db")
    found = []
    for sql in statements:
        if not sql.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
            continue
        for *_, plan in reader.execute(f"EXPLAIN QUERY PLAN {sql}"):
            if plan.startswith("SCAN") and "INDEX command_pending" not in plan:
                found.append(f"{plan}: {sql[:80]}")
    reader.close()
    return found


def test_start_and_step_of_a_big_journal_scan_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 4000)
    statements: list[str] = []
    began = time.perf_counter()
    engine = asyncio.run(started(tmp_path, statements))
    assert time.perf_counter() - began < 2.0
    assert engine.report.steps_replayed == 20
    bounded = [  # 32 rows in order of age, then none
        sql for sql in statements if "ORDER BY rowid LIMIT 32" in sql
    ]
    assert scans(tmp_path, [sql for sql in statements if sql not in bounded]) == []
    assert len(bounded) <= 2
    assert len(statements) > 10


@pytest.mark.parametrize(
    "sql", ["SELECT count(*) FROM step", "SELECT id FROM event WHERE at_ns > 5"]
)
def test_query_that_scans_would_be_reported(tmp_path: Path, sql: str) -> None:
    fill(tmp_path, 100)
    assert scans(tmp_path, [sql])
