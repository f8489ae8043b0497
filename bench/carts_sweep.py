"""Where it breaks: accuracy against cell noise, people density, camera misses and position error.

Two scenarios with shoppers of their own mind are played while one thing at a time gets worse and
everything else stays as it is. Levels are multiples of what the simulator takes for a real store
(docs/SCENARIOS.md), people at most inside, and the share of visible people that get no box; what a
level came to (people inside on average, error of tracks on the floor) is measured beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.carts_baselines import METHODS
from bench.carts_figures import of_scores
from bench.carts_run import OURS, Played
from sim.script import Scenario

SCENARIOS = "ordinary-busy-hour,adversarial-crowd"
SEEDS = "101"
STAY_S = 35.0  # a shopper's stay, about: sets how often somebody comes for a density
SHOWN = (
    "visit_f1_mean",
    "item_precision",
    "item_recall",
    "review_rate",
    "overcharged_per_1000_lines",
    "calibration_error",
    "charged_lines",
    "visits",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that gets worse."""

    name: str
    label: str  # of the picture, with the unit
    levels: tuple[float, ...]
    worse: Callable[[Scenario, float], Scenario]


def _noisier(scenario: Scenario, times: float) -> Scenario:
    return replace(scenario, quirks=replace(scenario.quirks, noise=times))


def _denser(scenario: Scenario, people: float) -> Scenario:
    background = replace(
        scenario.background, people_max=round(people), every_s=STAY_S / people, first_s=1.0
    )
    return replace(scenario, background=background)


def _blinder(scenario: Scenario, misses: float) -> Scenario:
    return replace(scenario, detector=replace(scenario.detector, misses=misses))


def _coarser(scenario: Scenario, times: float) -> Scenario:
    usual = scenario.detector
    detector = replace(
        usual,
        jitter=times * usual.jitter,
        jitter_px=times * usual.jitter_px,
        bias=times * usual.bias,
    )
    return replace(scenario, detector=detector)


AXES = (
    Axis(
        name="noise",
        label="noise of the load cells, times that of a real store",
        levels=(1.0, 5.0, 15.0, 40.0),
        worse=_noisier,
    ),
    Axis(
        name="density",
        label="people at most inside",
        levels=(2, 5, 10, 20),
        worse=_denser,
    ),
    Axis(
        name="misses",
        label="share of visible people without a box",
        levels=(0.0, 0.1, 0.4, 0.7),
        worse=_blinder,
    ),
    Axis(
        name="position_error",
        label="error of boxes, times that of a usual detector",
        levels=(0.5, 1.0, 3.0, 8.0),
        worse=_coarser,
    ),
)

Job = tuple[Scenario, int]


def jobs(chosen: Sequence[Scenario], seeds: Sequence[int]) -> list[Job]:
    """Every level of every axis, in the order that ``table`` reads them."""
    return [
        (axis.worse(scenario, level), seed)
        for axis in AXES
        for level in axis.levels
        for scenario in chosen
        for seed in seeds
    ]


def table(runs: Sequence[Played]) -> dict[str, Any]:
    """Axis -> label and one row a level; ``runs`` in the order of ``jobs``."""
    each = len(runs) // sum(len(axis.levels) for axis in AXES)
    found, at = {}, 0
    for axis in AXES:
        rows = []
        for level in axis.levels:
            rows.append({"level": level, **_row(runs[at : at + each])})
            at += each
        found[axis.name] = {"label": axis.label, "rows": rows}
    return found


def _row(runs: Sequence[Played]) -> dict[str, Any]:
    methods = {
        name: {k: v for k, v in of_scores([r.scores[name] for r in runs]).items() if k in SHOWN}
        for name in (OURS, *METHODS)
    }
    return {
        "people_inside_mean": round(float(np.mean([r.people_mean for r in runs])), 2),
        "floor_error_m_median": round(float(np.median([r.floor_error_m for r in runs])), 3),
        **methods,
    }
