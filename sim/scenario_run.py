"""One scenario under one seed, in virtual time: the run's folder with everything that judges need.

The world (with its faults) and the real engine go to the end; each step is recorded as it happens;
then the recording is replayed by a fresh engine, which must conclude the same, byte for byte, and
the referee looks at the whole. A run that raises is written as crashed, with seed and store time;
its recording holds the step that broke it.
"""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.recording import Recording, RecordingWriter
from messages.commands import Command
from messages.events import Event
from messages.observations import Observation
from sim import replay
from sim.in_process import NS, Run, play, prepared
from sim.layouts import layout
from sim.referee import Breach, check
from sim.script import Scenario
from sim.version import version
from sim.world import Options

RECORDING, TRUTH, RUN = "recording.mcap", "truth.json", "run.json"
EVENTS, RECEIPTS, REFEREE = "events.jsonl", "receipts.json", "referee.json"
TIMING, PATHS, CRASH = "timing.json", "paths.json", "crash.txt"
FILES = (RECORDING, TRUTH, RUN, EVENTS, RECEIPTS, REFEREE, TIMING, PATHS, CRASH)
SCENE_EVERY_STEPS = 2  # pictures for Foxglove, five a second
CRASH_CHARS_MAX = 300  # in run.json; the whole traceback lies in crash.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to; its files lie in ``folder``."""

    folder: Path
    scenario: str
    seed: int
    store_s: float
    wall_s: float
    visits: int
    receipts: int
    in_review: int
    breaches: tuple[Breach, ...]
    crashed: str | None

    @property
    def ok(self) -> bool:
        return self.crashed is None and not self.breaches

    def document(self) -> dict[str, Any]:
        """What ``walkout sim run --json`` prints."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "folder": str(self.folder),
            "store_s": round(self.store_s, 3),
            "wall_s": round(self.wall_s, 3),
            "visits": self.visits,
            "receipts": self.receipts,
            "in_review": self.in_review,
            "breaches": [breach_row(breach) for breach in self.breaches],
            "crashed": self.crashed,
        }

    def complaints(self) -> list[str]:
        """One loud line for each thing that is broken; none: []."""
        head = f"{self.scenario} seed {self.seed}"
        crashed = [f"{head} CRASHED {self.crashed}"] if self.crashed else []
        return crashed + [
            f"{head} BREACH at {breach.at_s:.1f} s, {breach.kind}: {breach.text}"
            for breach in self.breaches
        ]


def run_scenario(
    scenario: Scenario,
    seed: int,
    out: Path,
    *,
    keep_recording: bool = True,
    progress: Callable[[int], None] = lambda now_ns: None,
) -> RunResult:
    """Run it and write its folder; what lies there from an earlier run is replaced.

    Args:
        keep_recording: False deletes the recording once it was replayed, unless the run crashed
            or the referee found a breach.
        progress: called now and then with the store time reached.

    Raises:
        LayoutError: there is no such store.
        RecordingError, OSError: the folder cannot be written.
    """
    started = time.perf_counter()
    config = layout(scenario.store)
    done, seen = prepared(
        config,
        Options(seed=seed),
        script=scenario,
        review_deadline_s=scenario.review_deadline_s,
    )
    clear(out)
    with RecordingWriter(
        out / RECORDING, toml=done.config.toml, meta=recording_meta(scenario, seed)
    ) as writer:
        try:
            tap = _Tap(done, writer, progress)
            play(done, seen, duration_s=scenario.duration_s, tap=tap)
            crashed = None
        except Exception as error:  # the outermost loop of a run: whatever it was, it is reported
            crashed = crash_text(error, done.now_ns, out)
        about = run_document(scenario, seed, crashed)
        writer.attach(TRUTH, "application/json", json_bytes(done.truth.document()))
        writer.attach(RUN, "application/json", json_bytes(about))
    return conclude(
        done, about, out, started=started, keep_recording=keep_recording, progress=progress
    )


def conclude(
    done: Run,
    about: dict[str, Any],
    out: Path,
    *,
    started: float,
    keep_recording: bool = True,
    progress: Callable[[int], None] = lambda now_ns: None,
) -> RunResult:
    """Replay, judge and write what a finished run left: its recording lies in ``out``.

    A replay that raises where the run did not is a crash of its own.
    """
    try:
        replayed = _replayed(out, about, progress)
    except replay.ReplayError as error:
        replayed, about = None, about | {"crashed": crash_text(error, done.now_ns, out)}
    events = done.events if replayed is None else replayed.events
    sha = None if replayed is None else replay.events_sha(replayed.events)
    zero_s = done.zero_ns / NS
    breaches = [
        dataclasses.replace(breach, at_s=breach.at_s - zero_s)
        for breach in check(done, sha, crashed=about["crashed"] is not None)
    ]
    wall_s = time.perf_counter() - started
    rows = replay.receipts(events, done.zero_ns)
    (out / EVENTS).write_bytes(replay.events_text(events))
    replay.write_json(out / RECEIPTS, rows)
    replay.write_json(out / TRUTH, done.truth.document())
    replay.write_json(out / RUN, about)
    replay.write_json(out / PATHS, done.world.paths())
    replay.write_json(out / REFEREE, {"breaches": [breach_row(breach) for breach in breaches]})
    store_s = (done.now_ns - done.zero_ns) / NS
    timing = replay.timing(wall_s, store_s)
    if replayed is not None:
        timing |= {"replay_realtime_factor": round(replayed.realtime_factor, 2)}
    replay.write_json(out / TIMING, timing)
    if not keep_recording and not about["crashed"] and not breaches:
        (out / RECORDING).unlink()
    return RunResult(
        folder=out,
        scenario=about["scenario"],
        seed=about["seed"],
        store_s=store_s,
        wall_s=wall_s,
        visits=sum(v.entered_at_ns is not None for v in done.truth.visits.values()),
        receipts=len(rows),
        in_review=sum(row["state"] == "review" for row in rows),
        breaches=tuple(breaches),
        crashed=about["crashed"],
    )


def run_document(scenario: Scenario, seed: int, crashed: str | None) -> dict[str, Any]:
    """``run.json``: which run this is; no wall-clock figures."""
    return {
        "scenario": scenario.name,
        "kind": scenario.kind.value,
        "hard_cases": list(scenario.hard_cases),
        "title": scenario.title,
        "seed": seed,
        "store": scenario.store,
        "duration_s": scenario.duration_s,
        "version": version(),
        "crashed": crashed,
    }


def recording_meta(scenario: Scenario, seed: int, zero_ns: int = 0) -> dict[str, str]:
    """Rows of the recording's metadata."""
    return {"scenario": scenario.name, "seed": str(seed), replay.ZERO: str(zero_ns)}


def breach_row(breach: Breach) -> dict[str, Any]:
    return {
        "kind": breach.kind,
        "at_s": round(breach.at_s, 3),
        "visit": breach.visit,
        "text": breach.text,
    }


@dataclass(slots=True)
class _Tap:
    """Writes each step, what followed, and pictures of the engine's view."""

    done: Run
    writer: RecordingWriter
    progress: Callable[[int], None]
    steps: int = field(default=0)

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        self.writer.step(step, now_ns, observations)

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None:
        self.writer.events(now_ns, events, commands)
        self.steps += 1
        if self.steps % SCENE_EVERY_STEPS == 0:
            self.writer.scene(now_ns, self.done.engine.view())
        if self.steps % replay.PROGRESS_EVERY_STEPS == 0:
            self.progress(now_ns)


def _replayed(
    out: Path, about: dict[str, Any], progress: Callable[[int], None]
) -> replay.Replayed | None:
    """The recording through a fresh engine; None for a crashed run, which would crash again."""
    if about["crashed"]:
        return None
    return replay.replay(Recording.open(out / RECORDING), progress=progress)


def crash_text(error: Exception, now_ns: int, out: Path) -> str:
    """For run.json; paths of this machine stay in the traceback's file."""
    (out / CRASH).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    text = f"after {now_ns / NS:.1f} s of store time: {type(error).__name__}: {error}"
    return text.replace(str(out), ".")[:CRASH_CHARS_MAX]


def clear(out: Path) -> None:
    """An empty folder for a run: files of an earlier one are gone."""
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
