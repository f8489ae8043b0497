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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import carts_picture, carts_sweep
from bench.carts_baselines import METHODS
from bench.carts_crowd import step_ms_by_people
from bench.carts_figures import figures, where_time_goes
from bench.carts_run import OURS, Played, played
from bench.measured import ONE_THREAD, machine
from sim.script import Scenario
from sim.suite import cores, seeds_of, select

SEEDS = "101"  # held out: 1-34, 51-54, 71-74, 81-83 and 91-94 were looked at while it was built
SCENARIOS = "hard-*,adversarial-*,ordinary-*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asked for."""

    seeds: str = SEEDS
    scenarios: str = SCENARIOS
    workers: int = 1
    long: bool = False
    sweep: bool = False
    picture: Path | None = None

    @staticmethod
    def of(
        *,
        seeds: str,
        scenarios: str,
        workers: int,
        long: bool,
        sweep: bool = False,
        picture: Path | None = None,
    ) -> Request:
        """With the defaults for what was not said."""
        return Request(
            seeds=seeds or (carts_sweep.SEEDS if sweep else SEEDS),
            scenarios=scenarios or (carts_sweep.SCENARIOS if sweep else SCENARIOS),
            workers=workers or cores(),
            long=long,
            sweep=sweep,
            picture=picture,
        )


def main(json_output: bool, request: Request | None = None) -> int:
    """Run and print: one JSON object, or a table; 1 when a run crashed."""
    asked = request or Request(workers=cores())
    if asked.sweep:
        return _sweep(asked, json_output=json_output)
    found = run(asked)
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


def sweep(request: Request) -> dict[str, Any]:
    """Accuracy while one thing gets worse; some six minutes of one core with the defaults."""
    chosen = select(request.scenarios, with_long=request.long)
    jobs = carts_sweep.jobs(chosen, seeds_of(request.seeds))
    runs = play_all(jobs, request.workers)
    return {
        "bench": "carts",
        "sweep": carts_sweep.table(runs),
        "scenarios": [one.name for one in chosen],
        "seeds": request.seeds,
        "crashed_runs": sum(one.scores[OURS].crashed is not None for one in runs),
        "machine": machine(),
    }


def _sweep(request: Request, *, json_output: bool) -> int:
    found = sweep(request)
    if request.picture is not None:
        request.picture.write_text(carts_picture.draw(found), encoding="utf-8")
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        carts_picture.show(found)
    return int(found["crashed_runs"] > 0)


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
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            for done in as_completed([pool.submit(_played, job) for job in jobs]):
                yield done.result()
    finally:
        for name in ONE_THREAD:
            os.environ.pop(name, None)
        os.environ.update({k: v for k, v in before.items() if k in ONE_THREAD})


def _played(job: tuple[int, Scenario, int]) -> tuple[int, Played]:
    index, scenario, seed = job
    return index, played(scenario, seed)
