"""Trouble below the sync process: bad networks, kills at a commit, a full disk, damaged files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fault_stories import FATES, broken_promises, killed_at, over_a_bad_network, written
from second_systems import SecondSystems, serving, store_config

from cloud_sync import http_sender, service
from cloud_sync.database import SyncStoreError

VISITS = 16


def test_over_a_network_that_cuts_stalls_and_repeats_everything_happens_once(
    tmp_path: Path,
) -> None:
    systems, happened = over_a_bad_network(tmp_path, seed=5, visits=VISITS)
    assert broken_promises(systems, tmp_path / "sync.db", VISITS) == []
    assert set(happened) == set(FATES), happened  # every fault was really met


def test_a_sender_with_a_new_key_for_each_attempt_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = http_sender.headers

    def forgetful(request: Any, *rest: Any) -> dict[str, str]:
        key = f"{request.idem}-{request.attempt}"
        return honest(request, *rest) | {"Idempotency-Key": key}

    monkeypatch.setattr(http_sender, "headers", forgetful)
    systems, _ = over_a_bad_network(tmp_path, seed=5, visits=8)
    wrong = broken_promises(systems, tmp_path / "sync.db", 8)
    assert any("took effect 2 times" in one for one in wrong), wrong


def test_killed_before_and_after_commits_and_with_a_full_disk_it_settles_once(
    tmp_path: Path,
) -> None:
    kills = [("before", 2), ("after", 2), ("full", 150_000), ("before", 5), ("after", 4)]
    systems = killed_at(tmp_path, kills, VISITS)
    assert broken_promises(systems, tmp_path / "sync.db", VISITS) == []


def test_a_damaged_page_is_found_and_the_process_ends(tmp_path: Path) -> None:
    systems = killed_at(tmp_path, [], VISITS)
    path = tmp_path / "sync.db"
    whole = path.read_bytes()
    assert len(whole) > 8 * 4096
    pages = [i for i in range(2, len(whole) // 4096) if any(whole[i * 4096 : i * 4096 + 100])]
    damaged = bytearray(whole)
    for page in pages[::2]:
        damaged[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(damaged)

    async def story() -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            await asyncio.wait_for(service.run(config), 30)

    with pytest.raises(Exception, match=r"damaged|malformed|disk image"):
        asyncio.run(story())


def test_a_truncated_log_loses_nothing_that_was_checkpointed_and_settles_once(
    tmp_path: Path,
) -> None:
    systems = SecondSystems()

    async def story() -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            written(config, VISITS).close()
            for _ in range(2):
                assert await asyncio.wait_for(service.run(config, drain=True), 60) == 0
                log = tmp_path / "sync.db-wal"
                log.write_bytes(log.read_bytes()[:1000] if log.exists() else b"torn")

    asyncio.run(story())
    assert broken_promises(systems, tmp_path / "sync.db", VISITS) == []


def test_a_file_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "sync.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    config = store_config(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(SyncStoreError, match="version 99"):
        asyncio.run(service.run(config, drain=True))
    assert path.read_bytes()[100:] == before[100:]
