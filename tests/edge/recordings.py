"""A small recorded store day for tests: made once, replayed by the plain engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge.config import parse
from edge.engine import Engine, restore
from edge.recording import Recording, RecordingWriter
from messages import codec
from messages.observations import Observation
from sim.first_store import scaled
from sim.in_process import STEP_NS, observed
from sim.store_toml import store_toml
from sim.world import Options


@dataclass(frozen=True, eq=False)
class Day:
    """What an engine was given and what it concluded, each step."""

    toml: str
    steps: list[tuple[int, list[Observation]]]
    events: list[list[bytes]]


@cache
def small_day(seconds: int = 20, plates: int = 24) -> Day:
    config, seen = observed(scaled(plates), Options(seed=5, arrival_every_s=2.0, people_max=3))
    toml = store_toml(config)
    engine = Engine(parse(toml))
    day = Day(toml, [], [])
    for number in range(1, seconds * 10 + 1):
        now_ns = number * STEP_NS
        observations = seen.observations(now_ns)
        outputs = engine.step(now_ns, observations)
        seen.obey(outputs.commands, now_ns)
        day.steps.append((now_ns, observations))
        day.events.append([codec.to_json(event) for event in outputs.events])
    return day


def record(day: Day, path: Path, *, truth: bytes | None = None, scene: bool = False) -> Path:
    """Replay the day and record it with its events."""
    engine = Engine(parse(day.toml))
    with RecordingWriter(path, toml=day.toml) as writer:
        for number, (now_ns, observations) in enumerate(day.steps, start=1):
            writer.step(number, now_ns, observations)
            outputs = engine.step(now_ns, observations)
            writer.events(now_ns, outputs.events, outputs.commands)
            if scene:
                writer.scene(now_ns, engine.view())
        if truth is not None:
            writer.attach("truth.json", "application/json", truth)
    return path


def replayed(recording: Recording) -> list[bytes]:
    """The lines of ``events.jsonl``, as a replay makes them."""
    config = parse(recording.toml)
    if recording.snapshot is None:
        engine = Engine(config)
    else:
        engine = restore(config, recording.snapshot.state)
    lines = []
    for step in recording.steps():
        engine.state.step = step.step - 1
        outputs = engine.step(step.now_ns, step.observations)
        lines += [codec.to_json(event) for event in outputs.events]
    return lines
