"""One scenario under one seed for the bench of carts: ours and each baseline on the same stream.

The world plays to the end in virtual time against the real engine. What the engine receives in each
step, its weight steps and its tracks go to the baselines too, so all methods see one recording.
Their receipts are files in a folder each, and ``sim.score`` judges them beside the same truth.
Times are CPU times of this process.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.carts_baselines import METHODS, Baseline, events_of_reports, events_of_steps
from bench.measured import Stopwatch, watch_engine
from bench.weight_rules import WINNER_LEARNED, Detector
from edge.engine import Engine
from edge.sensors.weight_steps import WeightSteps
from messages.arrays import Floats
from messages.commands import Command
from messages.events import Event, VisitKind, VisitStarted
from messages.observations import Observation, ShelfSamples
from sim import replay
from sim.in_process import NS, Run, play, prepared
from sim.layouts import layout
from sim.scenario_run import json_bytes, run_document
from sim.score import RunScore, score_run
from sim.script import Scenario
from sim.world import Options

OURS = "ours"
TRUTH_STEPS = 8  # tracks are of up to half a second ago
LOOK_STEPS = 5  # two looks a second are enough for a median
INSIDE_M = 0.5  # beyond the wall with the gates, which stands at y = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """One run: its score and CPU milliseconds of each step, by method; and where ours went."""

    scores: dict[str, RunScore]
    step_ms: dict[str, Floats]
    stage_s: dict[str, float]
    store_s: float
    weight_steps: int
    people_mean: float  # inside
    floor_error_m: float  # median distance of somebody inside from the nearest track


def played(scenario: Scenario, seed: int) -> Played:
    """Play and score it."""
    done, seen = prepared(
        layout(scenario.store),
        Options(seed=seed),
        script=scenario,
        review_deadline_s=scenario.review_deadline_s,
    )
    stand, crashed = _Stand(done), None
    try:
        play(done, seen, duration_s=scenario.duration_s, tap=stand)
    except Exception as error:  # the outermost loop of a run: whatever it was, it is reported
        crashed = f"{type(error).__name__}: {error}"
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as folder:
        scores = stand.scores(run_document(scenario, seed, crashed), Path(folder))
    return Played(
        scores=scores,
        step_ms={name: np.array(ms) for name, ms in stand.step_ms.items()},
        stage_s=stand.watch.spent_s,
        store_s=done.now_ns / NS,
        weight_steps=stand.weight_steps,
        people_mean=float(np.mean(stand.inside or [0])),
        floor_error_m=float(np.median(stand.errors_m or [0.0])),
    )


class _Stand:
    """Looks over the engine's shoulder and carries the baselines along."""

    def __init__(self, done: Run) -> None:
        self.done, self.watch = done, Stopwatch(clock=time.process_time)
        self.step_ms: dict[str, list[float]] = {name: [] for name in (OURS, *METHODS)}
        self.weight_steps = 0
        self.inside: list[int] = []
        self.errors_m: list[float] = []
        self._where: deque[tuple[int, list[tuple[str, float, float]]]] = deque(maxlen=TRUTH_STEPS)
        self._baselines = {name: Baseline(done.config, method) for name, method in METHODS.items()}
        self._detector = Detector(done.config, WINNER_LEARNED)
        self._batches: list[ShelfSamples] = []
        self._steps: WeightSteps | None = None
        self._before: dict[str, float] = {}
        self._look_at(done.engine)

    def _look_at(self, engine: Engine) -> None:
        watch_engine(engine, self.watch)
        sense = engine.sensing.step

        def sensed(now_ns: int, batches: Sequence[ShelfSamples]) -> WeightSteps:
            self._steps = sense(now_ns, batches)
            return self._steps

        engine.sensing.step = sensed  # type: ignore[method-assign]
        engine.step = self.watch.timed("engine", engine.step)  # type: ignore[method-assign]

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        """Before the engine's step."""
        del step, now_ns
        self._batches = [seen for seen in observations if isinstance(seen, ShelfSamples)]
        self._before = dict(self.watch.spent_s)

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None:
        """After it: the baselines' turn."""
        del commands
        spent_s = {k: s - self._before.get(k, 0.0) for k, s in self.watch.spent_s.items()}
        self.step_ms[OURS].append(1000 * spent_s["engine"])
        for event in events:
            if isinstance(event, VisitStarted):
                for baseline in self._baselines.values():
                    baseline.visit_started(event.visit, event.kind)
        assert self._steps is not None
        self.weight_steps += len(self._steps)
        self._look_at_people(now_ns)
        shared_s = spent_s["engine"] - spent_s["carts"] - spent_s["sensors"]
        people, plates = self.done.engine.people, len(self.done.config.plates)
        for name, baseline in self._baselines.items():
            began_s = time.process_time()
            if METHODS[name].own_events:
                found = events_of_reports(self._detector.run(self._batches), plates)
                own_s = shared_s
            else:
                found, own_s = events_of_steps(self._steps), shared_s + spent_s["sensors"]
            baseline.step(now_ns, found, people)
            self.step_ms[name].append(1000 * (own_s + time.process_time() - began_s))

    def _look_at_people(self, now_ns: int) -> None:
        """How far everybody is from the nearest track, at the instant that the tracks are of."""
        self._where.append((now_ns, self.done.world.positions()))
        self.inside.append(self.done.world.people_inside)
        tracks = self.done.engine.people.tracks
        if len(self.inside) % LOOK_STEPS or not len(tracks.track_id):
            return
        there = min(self._where, key=lambda one: abs(one[0] - tracks.at_ns))[1]
        for _, x_m, y_m in there:
            if y_m > INSIDE_M:
                apart_m = np.linalg.norm(tracks.position_store_m - (x_m, y_m), axis=1)
                self.errors_m.append(float(apart_m.min()))

    def scores(self, about: dict[str, Any], folder: Path) -> dict[str, RunScore]:
        """Every method's receipts beside the truth; of a crashed run, all of them crashed."""
        ours = replay.receipts(self.done.events, self.done.zero_ns)
        shoppers = [c for c in self.done.carts if c.kind is VisitKind.SHOPPER]
        rows = {OURS: ours} | {
            name: [baseline.receipt(cart) for cart in shoppers]
            for name, baseline in self._baselines.items()
        }
        truth, found = json_bytes(self.done.truth.document()), {}
        for name, receipts in rows.items():
            (folder / name).mkdir()
            (folder / name / "run.json").write_bytes(json_bytes(about))
            if about["crashed"] is None:
                (folder / name / "truth.json").write_bytes(truth)
                replay.write_json(folder / name / "receipts.json", receipts)
            found[name] = score_run(folder / name, f"{about['scenario']}-{about['seed']}")
        return found
