"""kill -9 of a real sync process, at the moments that hurt: no double charge, nothing lost."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from second_systems import (
    Arrival,
    Fate,
    JournalFile,
    SecondSystems,
    serving,
    store_config,
    whole_visit,
)

from cloud_sync import views
from messages.store_config import StoreConfig
from sim.store_toml import store_toml

VISITS, ACCOUNTS, KILLS = 30, 6, 3
CHILD = (
    "import sys, pathlib, cloud_sync.service as s;"
    "sys.exit(s.main(pathlib.Path(sys.argv[1]), drain=len(sys.argv) > 2))"
)


async def started(config_file: Path, *, drain: bool = True) -> asyncio.subprocess.Process:
    arguments = [sys.executable, "-c", CHILD, str(config_file), *(["drain"] if drain else [])]
    return await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.DEVNULL)


def written(folder: Path, url: str) -> tuple[StoreConfig, Path]:
    config = store_config(folder, url)
    file = folder / "store.toml"
    file.write_text(store_toml(config))
    return config, file


@dataclass
class Killer:
    """Kills the process while chosen attempts are in its hands, before or after their effect."""

    seed: int
    process: asyncio.subprocess.Process | None = None
    arrivals: int = 0
    kills: int = 0
    chance: random.Random = field(init=False)
    moments: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.moments = sorted(self.chance.sample(range(2, VISITS * 3), KILLS))

    def fate(self, arrival: Arrival) -> Fate:
        self.arrivals += 1
        if self.moments and self.arrivals >= self.moments[0]:
            self.moments.pop(0)
            self.kills += 1
            assert self.process is not None
            self.process.kill()
            return self.chance.choice(["lost", "dropped", None])
        return None


@pytest.mark.parametrize("seed", [11, 12])
def test_kill_nine_between_requests_charges_once_and_loses_nothing(
    tmp_path: Path, seed: int
) -> None:
    killer = Killer(seed=seed)
    systems = SecondSystems(fate=killer.fate, delay_s=lambda a: 0.002)

    async def story() -> Path:
        async with serving(systems):
            config, file = written(tmp_path, systems.url)
            journal = JournalFile(Path(config.paths.journal))
            for i in range(VISITS):
                journal.append(*whole_visit(f"v{i}", f"a{i % ACCOUNTS}", "apple", "bread"))
            for _ in range(KILLS + 1):
                killer.process = await started(file)
                status = await asyncio.wait_for(killer.process.wait(), 30)
                if status == 0:
                    break
                assert status == -9
            assert status == 0
            return Path(config.paths.sync)

    sync = asyncio.run(story())
    assert killer.kills == KILLS
    assert systems.faults == []  # one in flight per group, sequence never backwards, same bodies
    assert systems.captured == {f"capture-v{i}": 818 for i in range(VISITS)}
    assert set(systems.effects.values()) == {1}
    assert {r["state"] for r in views.receipts(sync)} == {"paid"}
    assert len(views.receipts(sync)) == VISITS
    for account in range(ACCOUNTS):
        visits = range(account, VISITS, ACCOUNTS)
        wanted = [f"v{i}:{step}" for i in visits for step in ("hold", "price", "capture")]
        assert systems.sent(f"a{account}") == wanted


def test_a_second_process_on_one_file_is_refused(tmp_path: Path) -> None:
    systems = SecondSystems()

    async def story() -> tuple[int, int]:
        async with serving(systems):
            config, file = written(tmp_path, systems.url)
            JournalFile(Path(config.paths.journal)).append(*whole_visit("v1", "ann", "apple"))
            first = await started(file, drain=False)
            await asyncio.wait_for(systems.told.wait(), 20)
            second = await started(file)
            refused = await asyncio.wait_for(second.wait(), 20)
            first.terminate()
            return refused, await asyncio.wait_for(first.wait(), 20)

    assert asyncio.run(story()) == (2, 0)  # and the first one ends in peace on SIGTERM
    assert systems.effects["capture-v1"] == 1
