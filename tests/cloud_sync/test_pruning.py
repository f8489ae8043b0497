"""Settled requests are forgotten in small chunks, late enough, and nothing else ever is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from test_outbox_rules import queued

from cloud_sync import outbox as outbox_module
from cloud_sync.database import Database
from cloud_sync.outbox import KEEP_SETTLED_NS, PRUNE_ROWS, Outbox

OLD_NS = 1_000
NOW_NS = OLD_NS + KEEP_SETTLED_NS + 1


async def filled(path: Path, settled: int, waiting: int) -> Database:
    """So many requests that were answered long ago, and so many that still wait."""
    database = await Database.open(path, outbox_module.SCHEMA)
    outbox = Outbox(database)
    async with database.transaction():
        await outbox.add([queued("a", i) for i in range(waiting)], OLD_NS)
        await database.connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?)"
            " INSERT INTO request(grp,cause,message,idem,operation,destination,visit,subject,path,"
            "body,state,created_ns,answered_ns) SELECT 'b',i,'d'||i,'d'||i,'x','broker','','','/',"
            "x'7b',iif(i%7=0,'void','done'),1,? FROM n WHERE ?>0",
            (settled, OLD_NS, settled),
        )
    return database


async def states(database: Database) -> dict[str, int]:
    query = "SELECT state, count(*) FROM request GROUP BY state"
    return {state: count for state, count in await database.connection.execute_fetchall(query)}


def test_a_pass_takes_one_chunk_and_the_passes_take_all(tmp_path: Path) -> None:
    async def story() -> list[Any]:
        database = await filled(tmp_path / "sync.db", settled=3 * PRUNE_ROWS - 100, waiting=50)
        outbox, gone = Outbox(database), []
        for _ in range(4):
            async with database.transaction():
                gone.append(await outbox.prune(NOW_NS))
        found = await states(database)
        await database.close()
        return [gone, found]

    gone, left = asyncio.run(story())
    assert gone == [PRUNE_ROWS, PRUNE_ROWS, PRUNE_ROWS - 100, 0]
    assert left == {"queued": 50}


def test_what_is_young_or_open_stays(tmp_path: Path) -> None:
    async def story() -> dict[str, int]:
        database = await filled(tmp_path / "sync.db", settled=70, waiting=10)
        outbox = Outbox(database)
        async with database.transaction():
            assert await outbox.prune(OLD_NS + KEEP_SETTLED_NS) == 0  # not a moment too early
        async with database.transaction():
            (head,) = await outbox.claim("broker", 1, NOW_NS)
            await outbox.park(head, 404, "no", "look", NOW_NS)
            assert await outbox.prune(NOW_NS) == 70
        found = await states(database)
        await database.close()
        return found

    assert asyncio.run(story()) == {"queued": 9, "parked": 1}


def test_a_pass_costs_its_chunk_whatever_else_there_is(tmp_path: Path) -> None:
    async def steps(settled: int, waiting: int) -> int:
        database = await filled(tmp_path / f"{settled}.db", settled, waiting)
        counted = 0

        def tick() -> int:
            nonlocal counted
            counted += 1
            return 0

        await database.connection.set_progress_handler(tick, 10)
        async with database.transaction():
            await Outbox(database).prune(NOW_NS)
        await database.connection.set_progress_handler(lambda: 0, 0)
        await database.close()
        return counted

    few = asyncio.run(steps(PRUNE_ROWS, 100))
    many = asyncio.run(steps(20 * PRUNE_ROWS, 10_000))
    assert many < 2 * few, (few, many)


def test_a_clock_that_was_set_holds_nothing_back_and_forgets_nothing_early(tmp_path: Path) -> None:
    """A restart after the clock went back a year: waits are at most as long as they were meant."""
    year_ns, wait_ns = 365 * 86_400 * 10**9, 5 * 10**9

    async def story() -> tuple[int | None, int, dict[str, int]]:
        database = await filled(tmp_path / "sync.db", settled=5, waiting=3)
        outbox = Outbox(database)
        then_ns = NOW_NS + year_ns
        async with database.transaction():
            (head,) = await outbox.claim("broker", 1, then_ns)
            again = outbox_module.Postponed(
                request=head, not_before_ns=then_ns + wait_ns, wait_ns=wait_ns, error="x"
            )
            await outbox.again([again])
        back_ns = then_ns - year_ns - KEEP_SETTLED_NS
        await outbox.recover(back_ns)
        due = await outbox.next_due_ns("broker")
        async with database.transaction():
            gone = await outbox.prune(back_ns)
        found = await states(database)
        await database.close()
        assert due is not None
        return due - back_ns, gone, found

    waits_ns, gone, left = asyncio.run(story())
    assert waits_ns == wait_ns
    assert gone == 0
    assert left == {"queued": 3, "done": 5}
