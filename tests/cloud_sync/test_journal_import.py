"""Reading the journal from beside: not there yet, gone, replaced, garbage, exactly once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from second_systems import (
    JournalFile,
    SecondSystems,
    cart_closed,
    serving,
    store_config,
    visit_started,
    whole_visit,
)

from cloud_sync import service, views
from cloud_sync.database import AlreadyRunning, Database, SyncStoreError
from cloud_sync.journal_reader import JournalMissing, JournalReader, JournalReplaced
from cloud_sync.purchase import SettlementError
from messages.store_config import StoreConfig


def run(story: Callable[[StoreConfig, SecondSystems], Awaitable[Any]], folder: Path) -> Any:
    async def inside() -> Any:
        systems = SecondSystems()
        async with serving(systems):
            return await asyncio.wait_for(story(store_config(folder, systems.url), systems), 30)

    return asyncio.run(inside())


def journal(config: StoreConfig, *events: Any) -> None:
    file = JournalFile(Path(config.paths.journal))
    file.append(*events)
    file.close()


def alarms(config: StoreConfig) -> dict[str, str]:
    summary = views.summary(Path(config.paths.sync))
    return {alarm["key"]: alarm["detail"] for alarm in summary["alarms"]}


def test_a_journal_that_comes_later_is_imported_then(tmp_path: Path) -> None:
    async def story(config: StoreConfig, systems: SecondSystems) -> None:
        running = asyncio.create_task(service.run(config))
        await asyncio.sleep(0.3)
        assert alarms(config) == {}
        journal(config, *whole_visit("v1", "ann", "apple"))
        await systems.told.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert systems.captured == {"capture-v1": 120}

    run(story, tmp_path)


def test_a_journal_that_is_gone_or_another_stops_the_import_with_an_alarm(tmp_path: Path) -> None:
    async def story(config: StoreConfig, systems: SecondSystems) -> None:
        journal(config, *whole_visit("v1", "ann", "apple"), visit_started("v2", "bob"))
        assert await service.run(config, drain=True) == 0
        kept = Path(config.paths.journal).read_bytes()
        os.unlink(config.paths.journal)
        with pytest.raises(JournalMissing):
            await service.run(config, drain=True)
        journal(config, *whole_visit("v1", "ann", "wine"))
        with pytest.raises(JournalReplaced):
            await service.run(config, drain=True)
        running = asyncio.create_task(service.run(config))
        await asyncio.sleep(0.3)
        assert "JournalReplaced" in alarms(config)["journal"]
        for end in ("", "-wal", "-shm"):
            Path(config.paths.journal + end).unlink(missing_ok=True)
        Path(config.paths.journal).write_bytes(kept)
        await asyncio.sleep(0.5)
        assert alarms(config) == {}
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert systems.captured == {"capture-v1": 120}

    run(story, tmp_path)


def test_a_row_that_cannot_be_settled_is_set_aside_with_an_alarm(tmp_path: Path) -> None:
    async def story(config: StoreConfig, systems: SecondSystems) -> None:
        file = JournalFile(Path(config.paths.journal))
        insert = "INSERT INTO outbox(event_id,grp,kind,body,created_wall_ns) VALUES(?,?,?,?,1)"
        file.db.execute(insert, ("e-1", "ann", "cart_closed", b"garbage"))
        file.append(*whole_visit("v1", "ann", "apple"))
        twice = cart_closed("v1", "ann", "wine")
        file.db.execute("UPDATE outbox SET event_id='first' WHERE event_id='v1-closed'")
        file.append(twice)
        assert await service.run(config, drain=True) == 0
        assert set(alarms(config)) == {"fact:e-1", "fact:v1-closed"}
        assert "by hand" in alarms(config)["fact:e-1"]
        assert systems.captured == {"capture-v1": 120}

    run(story, tmp_path)


def test_a_reader_follows_rows_in_order_and_bounded(tmp_path: Path) -> None:
    async def story(config: StoreConfig, systems: SecondSystems) -> None:
        journal(config, *(visit_started(f"v{i}", "ann") for i in range(1200)))
        reader = JournalReader(Path(config.paths.journal))
        seq, event_id, seen = 0, "", list[str]()
        while facts := await reader.read(seq, event_id):
            assert len(facts) <= 500
            seen += [fact.event_id for fact in facts]
            seq, event_id = facts[-1].seq, facts[-1].event_id
        await reader.close()
        assert seen == [f"v{i}-started" for i in range(1200)]

    run(story, tmp_path)


def test_another_stores_file_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    async def story(config: StoreConfig, systems: SecondSystems) -> None:
        journal(config, visit_started("v1", "ann"))
        assert await service.run(config, drain=True) == 0
        with pytest.raises(SettlementError, match="belongs to store s1"):
            await service.run(replace(config, store="s2"), drain=True)

    run(story, tmp_path)


def test_a_second_writer_is_refused_and_named(tmp_path: Path) -> None:
    async def story() -> None:
        first = await Database.open(tmp_path / "sync.db")
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            await Database.open(tmp_path / "sync.db")
        await first.close()
        await (await Database.open(tmp_path / "sync.db")).close()

    asyncio.run(story())


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        database = await Database.open(tmp_path / "sync.db")
        await database.connection.execute("PRAGMA user_version=99")
        await database.close()
        with pytest.raises(SyncStoreError, match="version 99"):
            await Database.open(tmp_path / "sync.db")

    asyncio.run(story())


def test_before_the_first_run_there_is_nothing_to_see(tmp_path: Path) -> None:
    summary = views.summary(tmp_path / "sync.db")
    assert (summary["queue"]["depth"], summary["receipts"]) == (0, {})
    assert views.receipts(tmp_path / "sync.db") == views.deliveries(tmp_path / "sync.db") == []
