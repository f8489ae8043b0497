"""Files deleted, cut and swapped, configurations changed, commands while requests are under way."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from second_systems import (
    Arrival,
    JournalFile,
    SecondSystems,
    serving,
    store_config,
    whole_visit,
)
from test_settling_over_http import receipts, settle

from cloud_sync import desk, service, views
from cloud_sync.service import main
from messages.store_config import StoreConfig, WebhookTarget
from sim.store_toml import store_toml

VISITS = [e for i in range(4) for e in whole_visit(f"v{i}", f"a{i % 2}", "apple")]


def rerun(tmp_path: Path, systems: SecondSystems) -> int:
    """Another process on the same files, as a supervisor starts it; its exit status."""

    async def story() -> int:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            (tmp_path / "store.toml").write_text(store_toml(config))
            return await asyncio.to_thread(main, tmp_path / "store.toml", drain=True)

    return asyncio.run(story())


@pytest.mark.parametrize("emptied", [False, True])
def test_a_deleted_or_emptied_sync_file_charges_nobody_again(tmp_path: Path, emptied: bool) -> None:
    """Everything is asked again under the same keys, which the other side remembers."""
    systems = SecondSystems()
    settle(tmp_path, systems, *VISITS)
    for file in tmp_path.glob("sync.db*"):
        file.unlink()
    if emptied:
        (tmp_path / "sync.db").touch()
    systems._last_seq.clear()  # a new file counts its groups anew
    config = settle(tmp_path, systems)
    assert {row["state"] for row in receipts(config).values()} == {"paid"}
    assert set(systems.effects.values()) == {1}
    assert len({message for message, _ in systems.webhooks}) == len(VISITS) // 2


@pytest.mark.parametrize("left", [100, 4096, 10_000, 0.5])
def test_a_sync_file_that_was_cut_is_refused_in_one_line(
    tmp_path: Path, left: float, capsys: pytest.CaptureFixture[str]
) -> None:
    systems = SecondSystems()
    settle(tmp_path, systems, *VISITS)
    sync = tmp_path / "sync.db"
    with closing(sqlite3.connect(sync)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = sync.stat().st_size
    with sync.open("r+b") as file:
        file.truncate(round(left * size) if left < 1 else int(left))
    for wal in tmp_path.glob("sync.db-*"):
        wal.unlink()
    before = sync.read_bytes()
    assert rerun(tmp_path, systems) == 2
    told = capsys.readouterr().err
    assert "sync.db" in told
    assert "Traceback" not in told
    assert sync.read_bytes()[:100] == before[:100]


def test_a_file_that_is_no_database_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sync.db").write_bytes(b"<html>not a database</html>" * 400)
    JournalFile(tmp_path / "journal.db").close()
    assert rerun(tmp_path, SecondSystems()) == 2
    assert "sync.db" in capsys.readouterr().err


def test_an_older_copy_of_the_sync_file_charges_nobody_again(tmp_path: Path) -> None:
    """A restored backup knows less than the other side does."""
    systems = SecondSystems()
    settle(tmp_path, systems, *VISITS[:4])
    with closing(sqlite3.connect(tmp_path / "sync.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "sync.db", tmp_path / "backup.db")
    settle(tmp_path, systems, *VISITS[4:])
    for file in tmp_path.glob("sync.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "sync.db")
    systems._last_seq.clear()  # a restored file counts its groups anew
    config = settle(tmp_path, systems)
    assert {row["state"] for row in receipts(config).values()} == {"paid"}
    assert set(systems.effects.values()) == {1}


def test_a_damaged_journal_stops_the_import_and_not_the_queue(tmp_path: Path) -> None:
    systems = SecondSystems()

    async def story() -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*VISITS)
            running = asyncio.create_task(service.run(config))
            await until(lambda: len(systems.webhooks) == 4)
            journal.close()
            for file in tmp_path.glob("journal.db*"):
                file.unlink()
            Path(config.paths.journal).write_bytes(b"\xde\xad\xbe\xef" * 4096)
            await until(lambda: "journal" in alarms(tmp_path))
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())
    assert "Put the right journal back" in alarms(tmp_path)["journal"]


async def until(good: Any) -> None:
    async with asyncio.timeout(30):
        while not good():  # noqa: ASYNC110 - files of another task
            await asyncio.sleep(0.02)


def alarms(tmp_path: Path) -> dict[str, str]:
    return {one["key"]: one["detail"] for one in views.summary(tmp_path / "sync.db")["alarms"]}


def test_rows_of_a_newer_daemon_are_set_aside_by_name(tmp_path: Path) -> None:
    systems = SecondSystems()

    async def story() -> StoreConfig:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*VISITS[:2])
            for number, body in enumerate((b"", b"\xc1", b"\x92\xa7NewType\x80", b"\x00" * 1000)):
                journal.db.execute(
                    "INSERT INTO outbox(event_id,grp,kind,body,created_wall_ns) VALUES(?,?,?,?,?)",
                    (f"n{number}", "a0", "from_the_future", body, 5),
                )
            journal.append(*VISITS[2:])
            assert await asyncio.wait_for(service.run(config, drain=True), 30) == 0
            journal.close()
            return config

    config = asyncio.run(story())
    assert len(receipts(config)) == 4
    assert {row["state"] for row in receipts(config).values()} == {"paid"}
    found = alarms(tmp_path)
    assert sorted(found) == ["fact:n0", "fact:n1", "fact:n2", "fact:n3"]
    assert "NewType" in found["fact:n2"]


def test_what_waits_for_a_receiver_that_was_taken_away_is_said_and_holds_up_no_drain(
    tmp_path: Path,
) -> None:
    systems = SecondSystems(fate=lambda a: (500, {}, b"") if a.operation == "webhook" else None)

    async def once(*webhooks: WebhookTarget, **cloud: Any) -> int:
        config = store_config(tmp_path, systems.url, **cloud)
        object.__setattr__(config, "webhooks", webhooks)
        return await asyncio.wait_for(service.run(config, drain=True), 30)

    async def story() -> int:
        async with serving(systems):
            journal = JournalFile(tmp_path / "journal.db")
            journal.append(*VISITS[:2])
            url, key = f"{systems.url}/hook", str(tmp_path / "webhook.key")
            loyalty = WebhookTarget(name="loyalty", url=url, secret_file=key, network="private")
            running = asyncio.create_task(once(loyalty, backoff_start_s=0.5))
            await until(lambda: any(a.operation == "webhook" for a in systems.arrivals))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            systems.fate = lambda a: None
            status = await once(backoff_start_s=0.0001)
            journal.close()
            return status

    assert asyncio.run(story()) == 1  # something is left, and that is said
    (key,) = [k for k in alarms(tmp_path) if k.startswith("gone:")]
    assert key == "gone:webhook:loyalty"
    assert "[[webhook]]" in alarms(tmp_path)[key]


def test_commands_while_the_request_is_under_way_are_refused_and_change_nothing(
    tmp_path: Path,
) -> None:
    """Edit, void and resume are about parked groups; one that is being sent is none."""
    sync = tmp_path / "sync.db"
    left: list[str] = []

    def delay_s(arrival: Arrival) -> float:
        if arrival.operation == "price" and not left:
            body = json.dumps(arrival.body | {"cartItems": []})
            left.append(desk.edit(sync, "a0", body, operator="x", reason="y"))
            left.append(desk.void(sync, "a0", operator="x", reason="y"))
            left.append(desk.resume(sync, "a0", operator="x"))
        return 0.6 if arrival.operation == "price" else 0.0

    systems = SecondSystems(delay_s=delay_s)
    config = settle(tmp_path, systems, *VISITS[:2])
    assert receipts(config)["v0"]["state"] == "paid"
    assert systems.captured == {"capture-v0": 120}
    assert len(left) == 3
    said = [row["detail"] for row in views.audit(sync)]
    assert said == ["refused: group 'a0' is not parked"] * 3


def test_a_second_word_about_a_parked_request_finds_it_gone(tmp_path: Path) -> None:
    sync = tmp_path / "sync.db"
    systems = SecondSystems(prices={})
    settle(tmp_path, systems, *VISITS[:2], status=1)
    desk.resume(sync, "a0", operator="x")
    desk.void(sync, "a0", operator="y", reason="both of us")
    systems.prices["apple"] = 120
    config = settle(tmp_path, systems)
    assert receipts(config)["v0"]["state"] == "paid"
    assert [row["detail"] for row in views.audit(sync)] == [
        "resumed v0:price",
        "refused: group 'a0' is not parked",
    ]
