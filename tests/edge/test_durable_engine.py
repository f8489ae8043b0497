"""What survives: steps, events and ids through crashes, poison steps, torn snapshots."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from test_journal import rows, weighed
from tiny_engine import TinyEngine, TinyOutputs, raised_once, tiny_engine

from edge.config import parse
from edge.durable_engine import DEATHS_MAX, DurableEngine, EngineKind, store_engine
from edge.journal import Journal, JournalError
from messages import codec
from messages.events import AlarmRaised
from messages.ids import DeviceId, GateId
from messages.observations import (
    ConfigLoaded,
    GateSignal,
    GateSignalKind,
    Observation,
    ShelfSamples,
)
from messages.store_config import StoreConfig

T = TypeVar("T")
CONFIG = StoreConfig(store="s1", toml="# one\n")  # type: ignore[arg-type]


def credential(text: str, at_ns: int = 1) -> GateSignal:
    return GateSignal(
        gate=GateId("g"),
        device=DeviceId("r"),
        kind=GateSignalKind.CREDENTIAL,
        received_at_ns=at_ns,
        credential=text,
    )


def with_engine(
    folder: Path,
    story: Callable[[DurableEngine], Awaitable[T]],
    *,
    kind: EngineKind | None = None,
    config: StoreConfig = CONFIG,
) -> T:
    """One run of the daemon's inner part: open, recover, tell the story, close."""

    async def told() -> T:
        journal = await Journal.open(folder / "journal.db", store="s1")
        try:
            engine = DurableEngine(journal, config, kind or tiny_engine(), wall_ns=lambda: 7)
            await engine.recover()
            return await story(engine)
        finally:
            await journal.close()

    return asyncio.run(told())


async def feed(engine: DurableEngine, *steps: Sequence[Observation]) -> None:
    for observations in steps:
        await engine.step(engine.now_ns + 100, list(observations))


async def state_of(engine: DurableEngine) -> Any:
    return codec.encode_state(engine.core.state)


async def nothing(engine: DurableEngine) -> DurableEngine:
    return engine


def event_rows(folder: Path) -> list[tuple[Any, ...]]:
    return rows(folder, "SELECT step, id, type, body FROM event ORDER BY seq")


def test_restart_without_a_snapshot_replays_the_journal_to_the_same_state(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> Any:
        await feed(engine, [weighed(1), weighed(2)], [], [credential("a")], [weighed(9)])
        return await state_of(engine)

    assert with_engine(tmp_path, first) == with_engine(tmp_path, state_of)


def test_restart_from_a_snapshot_replays_the_tail_alone(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> Any:
        await feed(engine, *[[weighed(n)] for n in range(8)])
        await engine.journal.save_snapshot(engine.snapshot())
        await feed(engine, [credential("a")], [weighed(3)])
        return await state_of(engine)

    expected = with_engine(tmp_path, first)
    engine = with_engine(tmp_path, nothing)
    assert codec.encode_state(engine.core.state) == expected
    assert (engine.report.snapshot_step, engine.report.steps_replayed) == (8, 2)
    assert engine.now_ns == 1000


def test_outputs_cut_off_by_a_crash_are_committed_with_the_same_ids(tmp_path: Path) -> None:
    async def crash_between_append_and_commit(engine: DurableEngine) -> None:
        await feed(engine, [credential("a")])
        await engine.journal.append_step(2, 200, [credential("b")])

    async def pending(engine: DurableEngine) -> list[str]:
        return [c.id for c in await engine.journal.pending_commands()]

    with_engine(tmp_path, crash_between_append_and_commit)
    assert [row[1] for row in event_rows(tmp_path)] == ["s1-1-0"]
    assert with_engine(tmp_path, pending) == ["s1-1-c0", "s1-2-c0"]
    assert [row[1] for row in event_rows(tmp_path)] == ["s1-1-0", "s1-2-0"]
    assert with_engine(tmp_path, pending) == ["s1-1-c0", "s1-2-c0"]  # nothing twice
    assert rows(tmp_path, "SELECT event_id FROM outbox") == [("s1-1-0",), ("s1-2-0",)]


def test_torn_newest_snapshot_falls_back_to_the_older_one(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> Any:
        for n in range(3):
            await feed(engine, [weighed(n)], [weighed(n + 5)])
            await engine.journal.save_snapshot(engine.snapshot())
        return await state_of(engine)

    expected = with_engine(tmp_path, first)
    newest = sorted((tmp_path / "journal.db.snapshots").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-5])
    engine = with_engine(tmp_path, nothing)
    assert engine.report.snapshot_step == 4
    assert codec.encode_state(engine.core.state) == expected


def test_snapshot_of_another_version_falls_back_too(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> Any:
        await feed(engine, [weighed(1)])
        await engine.journal.save_snapshot(engine.snapshot())
        await feed(engine, [weighed(2)])
        odd = replace(engine.snapshot(), state=b"\xc1 from the future")
        await engine.journal.save_snapshot(odd)
        return await state_of(engine)

    expected = with_engine(tmp_path, first)
    engine = with_engine(tmp_path, nothing)
    assert engine.report.snapshot_step == 1
    assert codec.encode_state(engine.core.state) == expected


def test_state_that_cannot_be_rebuilt_is_refused(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> None:
        await feed(engine, [weighed(1)], [weighed(2)])

    with_engine(tmp_path, first)
    writer = sqlite3.connect(tmp_path / "journal.db")
    writer.execute("DELETE FROM step WHERE step = 1")
    writer.commit()
    writer.close()
    with pytest.raises(JournalError, match="step 1 is missing"):
        with_engine(tmp_path, nothing)


def test_step_that_raises_once_is_tried_again_and_counts(tmp_path: Path) -> None:
    raised_once.clear()

    async def story(engine: DurableEngine) -> list[str]:
        await feed(engine, [weighed(1)], [credential("a")])
        _, commands = await engine.step(500, [credential("boom-once"), weighed(2)])
        return [c.id for c in commands]

    assert with_engine(tmp_path, story) == ["s1-3-c0"]
    assert rows(tmp_path, "SELECT step, errors, set_aside FROM failure") == [(3, 1, 0)]
    assert [row[1] for row in event_rows(tmp_path)] == ["s1-2-0", "s1-3-0"]


def test_poison_step_is_set_aside_and_the_next_step_tells_the_engine(tmp_path: Path) -> None:
    async def story(engine: DurableEngine) -> Any:
        await feed(engine, [credential("a")], [credential("boom")], [credential("b")])
        return await state_of(engine)

    expected = with_engine(tmp_path, story)
    steps = [(row[0], row[2]) for row in event_rows(tmp_path)]
    assert steps == [(1, "VisitStarted"), (3, "AlarmRaised"), (3, "VisitStarted")]
    alarm = codec.decode(event_rows(tmp_path)[1][3])
    assert alarm.key == "step:2"
    assert "ArithmeticError: boom" in alarm.detail
    assert "c2VjcmV0" not in alarm.detail  # a token in an exception's text is cut out
    failure = rows(tmp_path, "SELECT step, errors, set_aside FROM failure")
    assert failure == [(2, 2, 1)]
    engine = with_engine(tmp_path, nothing)
    assert codec.encode_state(engine.core.state) == expected
    assert engine.report.set_aside == [2]


def test_step_set_aside_before_a_crash_is_told_after_the_restart(tmp_path: Path) -> None:
    async def first(engine: DurableEngine) -> None:
        await feed(engine, [credential("a")], [credential("boom")])

    async def second(engine: DurableEngine) -> None:
        await feed(engine, [])

    with_engine(tmp_path, first)
    with_engine(tmp_path, nothing)  # killed before it could tell
    with_engine(tmp_path, second)
    with_engine(tmp_path, second)
    alarms = [row[:2] for row in event_rows(tmp_path) if row[2] == "AlarmRaised"]
    assert alarms == [(3, "s1-3-0")]


def test_step_that_poisons_the_start_itself_is_set_aside(tmp_path: Path) -> None:
    async def crash(engine: DurableEngine) -> None:
        await engine.journal.append_step(1, 100, [credential("boom")])

    async def second(engine: DurableEngine) -> None:
        assert engine.report.set_aside == [1]
        await feed(engine, [])

    with_engine(tmp_path, crash)
    with_engine(tmp_path, second)
    assert [row[:3] for row in event_rows(tmp_path)] == [(2, "s1-2-0", "AlarmRaised")]


def test_two_visits_on_one_credential_are_a_failed_step_and_open_no_gate(tmp_path: Path) -> None:
    async def story(engine: DurableEngine) -> list[str]:
        await feed(engine, [credential("a")], [credential("a")], [])
        return [c.id for c in await engine.journal.pending_commands()]

    assert with_engine(tmp_path, story) == ["s1-1-c0"]
    assert [row[2] for row in event_rows(tmp_path)] == ["VisitStarted", "AlarmRaised"]


class ChangedEngine(TinyEngine):
    """The same engine after an upgrade that concludes something else."""

    def step(self, now_ns: int, observations: Sequence[Observation]) -> TinyOutputs:
        outputs = super().step(now_ns, observations)
        changed = (replace(e, at_ns=e.at_ns + 1) for e in outputs.events)
        return replace(outputs, events=tuple(changed))


def test_replay_that_differs_from_the_record_keeps_the_record_and_raises_an_alarm(
    tmp_path: Path,
) -> None:
    async def first(engine: DurableEngine) -> None:
        await feed(engine, [credential("a")], [credential("b")])

    async def second(engine: DurableEngine) -> None:
        assert engine.report.differences == [1, 2]
        await feed(engine, [])

    with_engine(tmp_path, first)
    recorded = event_rows(tmp_path)
    changed = replace(tiny_engine(), fresh=ChangedEngine)
    with_engine(tmp_path, second, kind=changed)
    assert event_rows(tmp_path)[:2] == recorded
    (alarm,) = event_rows(tmp_path)[2:]
    assert codec.decode(alarm[3]).severity == "critical"


def test_tail_is_replayed_under_the_configuration_of_its_time(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watching(TinyEngine):
        def step(self, now_ns: int, observations: Sequence[Observation]) -> TinyOutputs:
            seen.append(self.config.toml)
            return super().step(now_ns, observations)

    kind = EngineKind(
        fresh=Watching,
        restore=lambda config, data: Watching(config, tiny_engine().restore(config, data).state),  # type: ignore[arg-type]
        snapshot=tiny_engine().snapshot,
    )
    new = StoreConfig(store="s1", toml="# two\n")  # type: ignore[arg-type]

    def loaded(config: StoreConfig) -> ConfigLoaded:
        return ConfigLoaded(received_at_ns=1, digest="", toml=config.toml)

    async def first(engine: DurableEngine) -> None:
        await feed(engine, [loaded(CONFIG)], [weighed(1)])

    async def second(engine: DurableEngine) -> None:
        seen.clear()
        await feed(engine, [loaded(new)], [weighed(2)])

    with_engine(tmp_path, first, kind=kind)
    with_engine(tmp_path, second, kind=kind, config=new)
    assert seen == ["# two\n", "# two\n"]
    seen.clear()
    with_engine(tmp_path, nothing, kind=kind, config=new)
    assert seen == ["# one\n", "# one\n", "# two\n", "# two\n"]


def test_observation_without_a_wire_form_is_dropped_and_counted_not_fatal(tmp_path: Path) -> None:
    async def story(engine: DurableEngine) -> int:
        bad = replace(credential("x"), received_at_ns=np.int64(3))
        await feed(engine, [credential("a"), bad, credential("b")])
        return engine.refused

    assert with_engine(tmp_path, story) == 1
    assert len(event_rows(tmp_path)) == 2


def test_copy_of_a_running_journal_is_restored_as_the_guide_says(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    copy.mkdir()

    async def first(engine: DurableEngine) -> Any:
        await feed(engine, [credential("a")], [weighed(4)])
        await engine.journal.save_snapshot(engine.snapshot())
        shutil.copytree(live / "journal.db.snapshots", copy / "journal.db.snapshots")
        await feed(engine, [credential("b")])
        reader = sqlite3.connect(live / "journal.db")
        reader.execute(f"VACUUM INTO '{copy / 'journal.db'}'")
        reader.close()
        return await state_of(engine)

    expected = with_engine(live, first)
    engine = with_engine(copy, nothing)
    assert codec.encode_state(engine.core.state) == expected
    assert engine.report.snapshot_step == 2
    assert event_rows(copy) == event_rows(live)


def test_the_stores_own_engine_is_replayed_to_the_same_bytes(tmp_path: Path) -> None:
    plate = "[[plate]]\nid='{0}'\nshelf='s'\nx_m={1}\ny_m=1\nz_m=1\nwidth_m=0.3\ndepth_m=0.3\n"
    text = "[store]\nid='s1'\n" + "".join(plate.format(f"p{i}", i) for i in range(2))
    text += (
        "[[gate]]\nid='g'\nx_m=0\ny_m=0\n[[shelf_node]]\nid='n1'\nport='x'\nplates=['p0','p1']\n"
    )
    config = parse(text)
    chance = np.random.default_rng(5)

    def batch(n: int) -> ShelfSamples:
        load = 20_000 if n < 40 else 12_000
        noise = chance.integers(-9, 9, (8, 2)).astype(np.int32)
        return replace(
            weighed(n),
            received_at_ns=n * 100_000_000,
            ticks_us=n * 100_000,
            sample_period_us=12_500,
            readings=(load + noise).astype(np.int32),
        )

    async def first(engine: DurableEngine) -> Any:
        for n in range(10, 90):
            seen: list[Observation] = [batch(n)]
            if n % 20 == 0:
                seen.append(credential(f"no token {n}", n * 100_000_000))
            await engine.step(n * 100_000_000, seen)
            if n == 50:
                await engine.journal.save_snapshot(engine.snapshot())
        return await state_of(engine)

    expected = with_engine(tmp_path, first, kind=store_engine(), config=config)
    engine = with_engine(tmp_path, nothing, kind=store_engine(), config=config)
    assert engine.report.steps_replayed == 39
    assert engine.report.differences == []
    assert codec.encode_state(engine.core.state) == expected
    assert [row[2] for row in event_rows(tmp_path)].count("EntryRefused") == 4


# --- real processes and SIGKILL ------------------------------------------------------------------

CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_durable_engine import credential, weighed, tiny_engine, DurableEngine, Journal, CONFIG

async def story():
    journal = await Journal.open(Path(sys.argv[1]) / "journal.db", store="s1")
    engine = DurableEngine(journal, CONFIG, tiny_engine())
    await engine.recover()
    os.write(1, b"R\\n")
    saving = None
    while True:
        n = engine.core.state.step + 1
        seen = [weighed(n)] + [credential(f"c{n}")] * (n % 3 == 0)
        events, _ = await engine.step(n * 100, seen)
        os.write(1, f"A {n} {' '.join(e.id for e in events)}\\n".encode())
        if n % 17 == 0:
            if saving: await saving
            saving = asyncio.ensure_future(journal.save_snapshot(engine.snapshot()))
asyncio.run(story())
"""


def killed_after(folder: Path, seconds: float, *, code: str = CHILD) -> list[str]:
    """What a child acknowledged before SIGKILL, given some time after its recovery."""
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        if seconds > 0:
            child.stdout.readline()  # recovered
            child.stdout.flush()
        try:
            child.wait(abs(seconds))
        except subprocess.TimeoutExpired:
            pass
        else:
            raise AssertionError(f"the child ended by itself: {child.returncode}")
    finally:
        child.kill()
    lines = child.stdout.read().decode().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    return [line[2:] for line in lines if line.startswith("A ")]


def recorded_as_a_fresh_engine_concludes(folder: Path) -> list[str]:
    """The oracle: every journalled step through a new engine gives exactly the recorded rows."""

    async def told() -> list[str]:
        journal = await Journal.open(folder / "journal.db", store="s1")
        try:
            engine, wanted = TinyEngine(CONFIG), []
            async for step in journal.steps_after(0):
                for event in engine.step(step.now_ns, step.observations).events:
                    wanted.append((step.step, event.id, codec.encode(event)))
            got = await journal.fetch("SELECT step, id, body FROM event ORDER BY seq")
            assert [tuple(row) for row in got] == wanted
            return [event_id for _, event_id, _ in wanted]
        finally:
            await journal.close()

    return asyncio.run(told())


def test_no_acknowledged_event_is_lost_or_doubled_by_ten_kills(tmp_path: Path) -> None:
    chance = np.random.default_rng(20)
    acknowledged: list[str] = []
    for round_ in range(10):
        during_start = round_ % 4 == 3  # a second SIGKILL, while recovery runs
        seconds = -chance.uniform(0.25, 0.6) if during_start else chance.uniform(0.02, 0.35)
        acknowledged += killed_after(tmp_path, float(seconds))
    with_engine(tmp_path, nothing)  # the last start commits what the last kill cut off
    recorded = recorded_as_a_fresh_engine_concludes(tmp_path)
    steps = [int(line.split()[0]) for line in acknowledged]
    assert len(steps) > 50
    assert len(set(steps)) == len(steps)
    told = [event_id for line in acknowledged for event_id in line.split()[1:]]
    assert told
    assert len(set(recorded)) == len(recorded)
    assert set(told) <= set(recorded)
    lost = rows(tmp_path, f"SELECT count(*) FROM step WHERE step <= {max(steps)}")
    assert lost == [(max(steps),)]


def test_oracle_of_the_kills_sees_one_event_that_was_lost(tmp_path: Path) -> None:
    async def story(engine: DurableEngine) -> None:
        await feed(engine, [credential("a")], [credential("b")])

    with_engine(tmp_path, story)
    recorded_as_a_fresh_engine_concludes(tmp_path)
    writer = sqlite3.connect(tmp_path / "journal.db")
    writer.execute("DELETE FROM event WHERE step = 1")
    writer.commit()
    writer.close()
    with pytest.raises(AssertionError):
        recorded_as_a_fresh_engine_concludes(tmp_path)


DYING_CHILD = CHILD.replace("seen = [weighed(n)]", 'seen = [credential("die")]')


def test_step_that_kills_the_process_at_every_start_is_set_aside(tmp_path: Path) -> None:
    for _ in range(1 + DEATHS_MAX):
        command = [sys.executable, "-c", DYING_CHILD, str(tmp_path), str(Path(__file__).parent)]
        child = subprocess.run(command, capture_output=True, timeout=30, check=False)
        assert child.returncode == -signal.SIGKILL

    async def second(engine: DurableEngine) -> None:
        assert engine.report.set_aside == [1]
        await feed(engine, [weighed(1)])

    with_engine(tmp_path, second)
    assert isinstance(codec.decode(event_rows(tmp_path)[0][3]), AlarmRaised)
