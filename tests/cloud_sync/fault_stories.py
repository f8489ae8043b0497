"""Stories of trouble: the quick tests tell them once, ``make soak`` for as long as asked."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

from bad_network import FATES, BadNetwork, between
from second_systems import JournalFile, SecondSystems, serving, store_config, whole_visit

from cloud_sync import service, views
from messages.store_config import StoreConfig
from sim.store_toml import store_toml

ACCOUNTS = 4
WAIT_S = 120.0
CHILD = """
import os, pathlib, resource, signal, sys
import aiosqlite, cloud_sync.service as service
config, kind, number = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if kind == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))
left = [number]
commit = aiosqlite.Connection.commit
async def counted(self):
    left[0] -= 1
    if kind == "before" and left[0] == 0:
        os.kill(os.getpid(), 9)
    await commit(self)
    if kind == "after" and left[0] == 0:
        os.kill(os.getpid(), 9)
aiosqlite.Connection.commit = counted
if kind == "planted":  # the bug that power cuts have to show: commits that are not flushed
    import cloud_sync.database as database
    database.FULL = 0
sys.exit(service.main(config, drain=True))
"""


def over_a_bad_network(
    tmp_path: Path, seed: int, visits: int, share: float = 0.5
) -> tuple[SecondSystems, Counter[str]]:
    """Visits settled through a network that cuts, stalls and repeats."""
    systems = SecondSystems()

    async def story() -> Counter[str]:
        async with (
            serving(systems),
            between(BadNetwork(target=systems.url, seed=seed, share=share)) as network,
        ):
            waits = {"request_timeout_s": 0.25, "backoff_start_s": 0.001}
            config = store_config(tmp_path, network.url, **waits)
            journal = written(config, visits)
            assert await asyncio.wait_for(service.run(config, drain=True), WAIT_S) == 0
            journal.close()
            return network.happened

    return systems, asyncio.run(story())


def killed_at(tmp_path: Path, kills: list[tuple[str, int]], visits: int) -> SecondSystems:
    """A process for each (kind, number), then one that is let be; each must die as planned."""
    systems = SecondSystems()

    async def story() -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            (tmp_path / "store.toml").write_text(store_toml(config))
            written(config, visits).close()
            for kind, number in kills:
                status = await ended(tmp_path / "store.toml", kind, number)
                assert status == (1 if kind == "full" else -9), (kind, number, status)
            assert await ended(tmp_path / "store.toml", "let be", 0) == 0

    asyncio.run(story())
    return systems


async def ended(config: Path, kind: str, number: int) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(config), kind, str(number)),
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    return await asyncio.wait_for(process.wait(), WAIT_S)


def written(config: StoreConfig, visits: int) -> JournalFile:
    journal = JournalFile(Path(config.paths.journal))
    for number in range(visits):
        journal.append(*whole_visit(f"v{number}", f"a{number % ACCOUNTS}", "apple", "bread"))
    return journal


def broken_promises(systems: SecondSystems, sync: Path, visits: int) -> list[str]:
    """What is wrong with the outcome; nothing, where every purchase was settled once, in order."""
    wrong = list(systems.faults)
    wrong += [f"{name} took effect {n} times" for name, n in systems.effects.items() if n != 1]
    if systems.captured != {f"capture-v{i}": 818 for i in range(visits)}:
        wrong.append(f"captured {systems.captured}")
    for account in range(ACCOUNTS):
        own = range(account, visits, ACCOUNTS)
        wanted = [f"v{i}:{step}" for i in own for step in ("hold", "price", "capture")]
        sent = systems.sent(f"a{account}")
        if sent != wanted:
            wrong.append(f"a{account} sent {sent}")
    states = Counter(row["state"] for row in views.receipts(sync))
    if states != {"paid": visits}:
        wrong.append(f"receipts {states}")
    told = {message for message, _ in systems.webhooks}
    if len(told) != visits:
        wrong.append(f"{len(told)} receipts told")
    return wrong


__all__ = ["FATES", "broken_promises", "killed_at", "over_a_bad_network", "written"]
