"""Who took what, beside two published ways: the figures of ``walkout score`` on one recording.

Scenarios of the library are played in virtual time with seeds that nobody tuned on; ours and the
baselines (``carts_baselines``) get the same stream and are judged by the same scorer. Over-charged
lines have an exact upper bound (Clopper and Pearson, 1934), since none in a thousand proves little.
Everything but times is the same for the same seeds, whatever the number of workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from bench.carts_baselines import METHODS
from bench.carts_crowd import step_ms_by_people
from bench.carts_run import OURS, Played, played
from bench.measured import ONE_THREAD, machine
from sim.score import RunScore
from sim.score_metrics import percentiles, rates, table_of, totals
from sim.script import Scenario
from sim.suite import cores, seeds_of, select

SEEDS = "101"  # held out: 1-34, 51-54, 71-74, 81-83 and 91-94 were looked at while it was built
SCENARIOS = "hard-*,adversarial-*,ordinary-*"
KINDS = ("hard", "adversarial", "ordinary")
LEVEL = 0.95  # of the upper bound, one-sided


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asked for."""

    seeds: str = SEEDS
    scenarios: str = SCENARIOS
    workers: int = 1
    long: bool = False

    @staticmethod
    def of(*, seeds: str, scenarios: str, workers: int, long: bool) -> Request:
        """With the defaults for what was not said."""
        return Request(
            seeds=seeds or SEEDS,
            scenarios=scenarios or SCENARIOS,
            workers=workers or cores(),
            long=long,
        )


def main(json_output: bool, request: Request | None = None) -> int:
    """Run and print: one JSON object, or a table; 1 when a run crashed."""
    found = run(request or Request(workers=cores()))
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        show(found)
    return int(found["figures"]["crashed_runs"] > 0)


def run(request: Request) -> dict[str, Any]:
    """All figures; some three minutes on two cores with the defaults.

    Raises:
        SuiteError: no such scenario, or seeds that are none.
    """
    seeds = seeds_of(request.seeds)
    chosen = select(request.scenarios, with_long=request.long)
    runs = play_all([(one, seed) for one in chosen for seed in seeds], request.workers)
    ours = figures(runs, OURS)
    return {
        "bench": "carts",
        "figures": {
            **ours,
            **step_ms_by_people(),
            "runs": len(runs),
            "scenarios": len(chosen),
            "seeds": request.seeds,
        },
        "peers": {name: figures(runs, name) for name in METHODS},
        "where_time_goes": where_time_goes(runs),
        "machine": machine(),
    }


def show(found: dict[str, Any]) -> None:
    """For people: a row a figure, ours beside the baselines."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="bench carts", title_justify="left")
    table.add_column("figure")
    columns = {"ours": found["figures"], **found["peers"]}
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for figure in found["figures"]:
        cells = [one.get(figure, "") for one in columns.values()]
        table.add_row(figure, *("-" if cell is None else str(cell) for cell in cells))
    table.add_section()
    for stage, share in found["where_time_goes"].items():
        table.add_row(f"time in {stage}", str(share))
    Console().print(table)


Job = tuple[Scenario, int]


def play_all(jobs: Sequence[Job], workers: int) -> list[Played]:
    """Every job's run, in the order of jobs, with a bar on the error stream."""
    from rich.console import Console
    from rich.progress import track

    order = sorted(range(len(jobs)), key=lambda i: -jobs[i][0].duration_s)
    ended = _ended([(i, *jobs[i]) for i in order], max(1, min(workers, len(jobs))))
    bar = track(ended, "carts", len(jobs), console=Console(stderr=True), transient=True)
    return [one for _, one in sorted(bar, key=lambda pair: pair[0])]


def _ended(jobs: Sequence[tuple[int, Scenario, int]], workers: int) -> Iterator[tuple[int, Played]]:
    """As they end. One BLAS thread a process: results do not hang on how many go side by side."""
    if workers == 1:
        yield from map(_played, jobs)
        return
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            yield from pool.imap_unordered(_played, jobs)
    finally:
        for name in ONE_THREAD:
            os.environ.pop(name, None)
        os.environ.update({k: v for k, v in before.items() if k in ONE_THREAD})


def _played(job: tuple[int, Scenario, int]) -> tuple[int, Played]:
    index, scenario, seed = job
    return index, played(scenario, seed)


# --- figures ------------------------------------------------------------------------------------


def figures(runs: Sequence[Played], method: str) -> dict[str, Any]:
    """Pooled, then each kind with its prefix, then the times."""
    scores = [one.scores[method] for one in runs]
    found = of_scores(scores)
    for kind in KINDS:
        mine = [score for score in scores if score.kind == kind]
        if mine:
            found |= {f"{kind}_{name}": value for name, value in of_scores(mine).items()}
    spent_ms = np.concatenate([np.zeros(1), *(one.step_ms[method] for one in runs)])
    store_s = sum(one.store_s for one in runs)
    return found | {
        "crashed_runs": sum(score.crashed is not None for score in scores),
        "realtime_factor": round(1000 * store_s / max(float(spent_ms.sum()), 1e-9), 2),
        "step_ms_p50": round(float(np.percentile(spent_ms, 50)), 3),
        "step_ms_p99": round(float(np.percentile(spent_ms, 99)), 3),
    }


def of_scores(scores: Sequence[RunScore]) -> dict[str, Any]:
    """The measures of ``walkout score``, flat, with counts and the bound of over-charges."""
    visits = [visit for score in scores for visit in score.visits]
    table = table_of(visits)
    sums = totals(table)
    over, charged = sums["over_lines"], sums["charged_lines"]
    latency = percentiles([v.latency_s for v in visits if v.latency_s is not None])
    known = {name: None if x is None else round(x, 5) for name, x in rates(table).items()}
    return {
        "visits": sums["visits"],
        **known,
        "overcharged_per_1000_lines_upper95": upper_per_1000(over, charged),
        "overcharged_lines": over,
        "charged_lines": charged,
        "true_lines": sums["true_lines"],
        **{f"receipt_latency_s_{name}": value for name, value in latency.items()},
    }


def upper_per_1000(over: int, lines: int) -> float | None:
    """One-sided 95 % upper bound of a rate: exact for any count; None of no lines."""
    if not lines:
        return None
    bound = 1.0 if over >= lines else float(beta.ppf(LEVEL, over + 1, lines - over))
    return round(1000 * bound, 3)


def where_time_goes(runs: Sequence[Played]) -> dict[str, float]:
    """Shares of the engine's CPU time."""
    total_s = sum(one.stage_s.get("engine", 0.0) for one in runs) or 1.0
    names = sorted({name for one in runs for name in one.stage_s} - {"engine"})
    shares = {n: sum(one.stage_s.get(n, 0.0) for one in runs) / total_s for n in names}
    shares["other"] = 1 - sum(shares.values())
    return {name: round(share, 4) for name, share in shares.items()}
