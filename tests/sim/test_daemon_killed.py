"""The daemon killed with SIGKILL at ten random moments of a store day, on devices and processes.

It is up again within seconds, goes on with the visits that were open, and nobody pays for what they
did not take. Afterwards the whole journal, replayed through a fresh engine, gives the recorded
events with the same ids.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.config import load
from edge.engine import Engine
from edge.journal import Journal
from messages.codec import encode

KILLS = 10
DAY_S = 180
SEED = 7
UP_AGAIN_S = 3.0  # the promise, on a machine that has a core for the daemon
YARDSTICK = "import asyncio, numpy, cryptography.fernet, msgspec, zstandard, cv2"


class Watcher:
    """Looks at the daemon's status file as an operator would, and kills on schedule."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.down_s: list[float] = []
        self.crowding: list[float] = []  # wall over processor time of a start beside the store
        self.open_at_kill: list[set[str]] = []
        self.open_after: list[set[str]] = []

    def status(self) -> dict:
        try:
            return json.loads((self.folder / "run" / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    def kill_once(self) -> None:
        before = self.status()
        os.kill(before["pid"], signal.SIGKILL)
        killed = time.monotonic()
        while time.monotonic() - killed < 30:
            after = self.status()
            if after and after["pid"] != before["pid"] and after["step"] >= before["step"]:
                break
            time.sleep(0.02)
        else:
            pytest.fail("the daemon did not come back within 30 s")
        self.down_s.append(time.monotonic() - killed)
        self.crowding.append(crowding())
        self.open_at_kill.append(visits_inside(before))
        self.open_after.append({visit["visit"] for visit in after["visits"]})


def crowding() -> float:
    """How long a start takes here and now, over what it would take with a core of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", YARDSTICK], check=True)
    wall_s, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return max(1.0, wall_s / cpu_s)


def visits_inside(status: dict) -> set[str]:
    return {visit["visit"] for visit in status.get("visits", []) if visit["inside"]}


def kill_moments(seed: int) -> list[float]:
    """Ten random moments, at least 6 s apart, while people are inside."""
    rng = np.random.default_rng(seed)
    slots = 14.0 + np.arange(KILLS) * (DAY_S - 20.0) / KILLS
    return list(slots + rng.uniform(0.0, (DAY_S - 20.0) / KILLS - 6.0, KILLS))


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> tuple[Watcher, dict, int]:
    folder = tmp_path_factory.mktemp("killed") / "day"
    command = [sys.executable, "-m", "walkout", "demo", "--headless", "--json"]
    command += ["--duration", str(DAY_S), "--seed", str(SEED), "--out", str(folder)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watcher = Watcher(folder)
    try:
        until(lambda: watcher.status().get("step", 0) > 0, 60)
        opened = time.monotonic()
        for moment in kill_moments(SEED):
            time.sleep(max(0.0, opened + moment - time.monotonic()))
            watcher.kill_once()
        output, _ = demo.communicate(timeout=500)
    finally:
        demo.terminate()
        demo.wait(30)
    return watcher, json.loads(output), demo.returncode


def until(ready, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "the store did not open"
        time.sleep(0.05)


async def read_journal(folder: Path):
    config = load(folder / "store.toml")
    journal = await Journal.open(Path(config.paths.journal), store=config.store)
    try:
        return (
            config,
            [step async for step in journal.steps_after(0)],
            await journal.events_after(0),
        )
    finally:
        await journal.close()


@pytest.mark.slow
def test_it_was_killed_ten_times_and_came_back_within_the_promised_time(day):
    watcher, report, _ = day
    print(f"down for {[round(s, 2) for s in watcher.down_s]} s")
    assert report["restarts"] == {"daemon": KILLS}
    assert len(watcher.down_s) == KILLS
    # The machine runs the world, its devices and three services beside it, and may be anybody's:
    # what a start waited for a core is taken off by a yardstick of the same kind. The median keeps
    # the promise; a single start may have been unlucky.
    print(f"crowding {[round(c, 2) for c in watcher.crowding]}")
    crowding = sorted(watcher.crowding)[KILLS // 2]
    assert sorted(watcher.down_s)[KILLS // 2] / crowding < UP_AGAIN_S
    assert max(watcher.down_s) / crowding < 2 * UP_AGAIN_S


@pytest.mark.slow
def test_open_visits_go_on_after_each_kill(day):
    watcher, report, _ = day
    assert any(watcher.open_at_kill), "nobody was inside at any kill: the test shows nothing"
    for before, after in zip(watcher.open_at_kill, watcher.open_after, strict=True):
        assert before <= after
    assert all(visit["left"] for visit in report["visits"])


@pytest.mark.slow
def test_nobody_is_charged_wrongly_or_twice(day):
    _, report, returncode = day
    assert report["problems"] == []
    assert report["totals"]["over_charged_lines"] == 0
    assert report["totals"]["paid"]["agree"]
    assert report["totals"]["paid_receipts"] > 0
    assert returncode == 0


@pytest.mark.slow
def test_the_whole_journal_replays_to_the_recorded_events_and_ids(day):
    watcher, _, _ = day
    config, steps, recorded = asyncio.run(read_journal(watcher.folder))
    engine = Engine(config)
    for step in steps:
        events = engine.step(step.now_ns, step.observations).events
        assert [encode(event) for event in events] == recorded.get(step.step, []), step.step
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert sum(map(len, recorded.values())) > 20
