"""Replay on one core: a recording on disk -> chunks -> observations -> engine -> events.jsonl.

350 plates at 60 Hz, 4 cameras at 15 Hz, 10 shoppers: the store of ``bench pipeline``. The world is
simulated beforehand; the recording begins when the store is full and carries the engine's snapshot.
A child process on one core (BLAS threads off) then replays the file as ``walkout replay`` does:
opening, checking, decompressing, decoding, the engine, and the text of the events; seconds of store
time over seconds of wall time is the real-time factor. Peers in the same run: steps of one
observation each (no recorded boundaries), and the same steps from lines of JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.measured import Stopwatch, in_child, machine, on_one_core, print_table, watch_engine
from edge.collector import look_seldom
from edge.engine import Engine, snapshot
from edge.recording import RecordedStep, Recording, RecordingWriter
from edge.snapshots import Snapshot
from edge.vision.assignment import preload
from messages.catalogue import BY_NAME
from messages.codec import to_json
from messages.observations import Observation, PersonDetections, ShelfSamples
from sim.appearance import DIMENSIONS
from sim.first_store import scaled
from sim.in_process import NS, STEP_NS, ObservedWorld, observed
from sim.replay import Player, events_text
from sim.world import Options

PLATES, SHOPPERS = 350, 10
WARM_S, TIMED_S = 40, 120  # shoppers come in while it warms up
PEER_S = 10  # store time that the slow peers get
RUNS = 3  # the median counts: the machine may have been busy once


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run() -> dict[str, Any]:
    """All figures; about two minutes on a laptop, most of it the simulation beforehand."""
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as folder:
        path = Path(folder) / "recording.mcap"
        people_mean = record(path)
        runs = [in_child("bench.replay", path, "replay") for _ in range(RUNS)]
        middle = sorted(runs, key=lambda one: one["figures"]["realtime_factor"])[RUNS // 2]
        singles = in_child("bench.replay", path, "one_observation_a_step")
        lines = in_child("bench.replay", path, "json_lines")
    factors = [one["figures"]["realtime_factor"] for one in runs]
    return {
        "bench": "replay",
        "figures": {
            **middle["figures"],
            "realtime_factor": statistics.median(factors),
            "realtime_factor_min": min(factors),
            "plates": PLATES,
            "people_inside_mean": round(people_mean, 1),
        },
        "peers": {
            "one_observation_a_step": singles["figures"],
            "json_lines": lines["figures"],
        },
        "where_time_goes": middle["where_time_goes"],
        "machine": machine(),
    }


def record(path: Path) -> float:
    """Simulate the store and record it once it is full; mean number of people inside."""
    busy = Options(seed=7, arrival_every_s=1.5, people_max=SHOPPERS)
    config, seen = observed(scaled(PLATES), busy)
    engine = Engine(config)
    for _ in _steps(engine, seen, 0, WARM_S):
        pass
    kept = Snapshot(
        step=engine.state.step, now_ns=WARM_S * NS, toml=config.toml, state=snapshot(engine)
    )
    inside = []
    with RecordingWriter(path, toml=config.toml, snapshot=kept) as writer:
        for now_ns, observations in _steps(engine, seen, WARM_S, WARM_S + TIMED_S):
            writer.step(engine.state.step, now_ns, observations)
            inside.append(seen.world.people_inside)
    return float(np.mean(inside))


def _steps(
    engine: Engine, seen: ObservedWorld, from_s: float, until_s: float
) -> Iterator[tuple[int, list[Observation]]]:
    """The live run, step by step."""
    for step in range(round(from_s * NS / STEP_NS) + 1, round(until_s * NS / STEP_NS) + 1):
        observations = seen.observations(step * STEP_NS)
        seen.obey(engine.step(step * STEP_NS, observations).commands, step * STEP_NS)
        yield step * STEP_NS, observations


# --- the child ------------------------------------------------------------------------------------


def child(path: Path, what: str) -> dict[str, Any]:
    """One measured way of replaying."""
    on_one_core()
    look_seldom()
    preload()
    if what == "replay":
        return _replay(path)
    recording = Recording.open(path)
    steps = list(islice(recording.steps(), round(PEER_S * NS / STEP_NS)))
    if what == "json_lines":
        return {"figures": _timed(recording, _from_json(_as_json(steps)))}
    singles = (
        RecordedStep(step=k + 1, now_ns=step.now_ns, observations=[one])
        for step in steps
        for k, one in enumerate(step.observations)
    )
    return {"figures": _timed(recording, singles)}


def _replay(path: Path) -> dict[str, Any]:
    """What ``sim.replay.replay`` and ``write`` do, with a stopwatch around the parts."""
    watch = Stopwatch()
    started, cpu_s = time.perf_counter(), time.process_time()
    recording = watch.timed("open", Recording.open)(path)
    player = watch.timed("snapshot", Player)(recording, None, name=path.name)
    watch_engine(player.engine, watch)
    observations = 0
    for step in player.ahead(_read(recording, watch)):
        observations += len(step.observations)
        player.play(step)
    text = watch.timed("events as text", events_text)(player.events)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    shares = {stage: round(s / wall_s, 4) for stage, s in sorted(watch.spent_s.items())}
    shares["other"] = round(1 - sum(shares.values()), 4)
    figures = {
        "realtime_factor": round(TIMED_S / wall_s, 2),
        "cpu_realtime_factor": round(TIMED_S / cpu_s, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "observations_per_s": round(observations / wall_s),
        "read_us_per_observation": round(watch.spent_s["read and decode"] / observations * 1e6, 2),
        "recording_mb_per_hour": round(path.stat().st_size / 1e6 * 3600 / TIMED_S, 1),
        "events": len(player.events),
        "events_bytes": len(text),
    }
    return {"figures": figures, "where_time_goes": shares}


def _read(recording: Recording, watch: Stopwatch) -> Iterator[RecordedStep]:
    """The steps, with a stopwatch around the reading of each."""
    steps = recording.steps()
    while (step := watch.timed("read and decode", next)(steps, None)) is not None:
        yield step


def _timed(recording: Recording, steps: Iterable[RecordedStep]) -> dict[str, float]:
    """``PEER_S`` of store time through a fresh engine."""
    player = Player(recording, None, name="peer")
    started = time.perf_counter()
    for step in steps:
        player.play(step)
    wall_s = time.perf_counter() - started
    return {"realtime_factor": round(PEER_S / wall_s, 2)}


def _as_json(steps: Iterable[RecordedStep]) -> list[tuple[int, int, list[bytes]]]:
    return [(s.step, s.now_ns, [to_json(one) for one in s.observations]) for s in steps]


def _from_json(lines: Iterable[tuple[int, int, list[bytes]]]) -> Iterator[RecordedStep]:
    """The plain way: ``json.loads``, lists into arrays."""
    for step, now_ns, texts in lines:
        seen = [_message(json.loads(text)) for text in texts]
        yield RecordedStep(step=step, now_ns=now_ns, observations=seen)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Element type and trailing shape of an array field."""

    dtype: type
    tail: tuple[int, ...] = ()


ARRAYS = {
    ShelfSamples: {"flags": _Shape(np.uint8), "readings": _Shape(np.int32)},
    PersonDetections: {
        "boxes_px": _Shape(np.float32, (4,)),
        "feet_px": _Shape(np.float32, (2,)),
        "scores": _Shape(np.float32),
        "wrists_px": _Shape(np.float32, (2, 2)),
        "embeddings": _Shape(np.float32, (DIMENSIONS,)),
    },
}


def _message(fields: dict[str, Any]) -> Observation:
    kind = BY_NAME[fields.pop("type")]
    arrays = ARRAYS.get(kind)
    if arrays is None:
        plain: Observation = msgspec.convert(fields, kind)
        return plain
    for name, shape in arrays.items():
        if fields[name] is not None:
            found: Any = np.array(fields[name], dtype=shape.dtype)
            fields[name] = found.reshape((len(found), *shape.tail)) if shape.tail else found
    made: Observation = kind(**fields)
    return made


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--child":
        sys.stdout.write(json.dumps(child(Path(sys.argv[2]), sys.argv[3])) + "\n")
        sys.exit(0)
    sys.exit(main("--json" in sys.argv))
