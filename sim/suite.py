"""``walkout suite``: scenarios x seeds, side by side, resumed where it stopped, summed up.

``summary.json`` says what the store concluded and is the same bytes for any number of workers;
what a clock measured is in ``timing.json``. A run that crashed counts as crashed: it is listed,
told loudly, and makes the exit status 1, as does a breach that the referee saw.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.script import Scenario
from sim.suite_job import Job, fingerprint, is_done, write_json
from sim.suite_summary import summary, timing
from sim.version import version

SEEDS_MAX = 10_000
LIMIT_START_S, LIMIT_PER_STORE_S = 120.0, 6.0  # wall; the core runs many times faster than this
DRAIN_S = 60.0  # of store time after the doors close, about
PEOPLE_STAY_S = 60.0  # a shopper's stay, about


class SuiteError(ValueError):
    """The suite cannot start: what is wrong, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asked for."""

    out: Path
    seeds: tuple[int, ...]
    workers: int = 2
    dask: str | None = None
    keep_recordings: bool = False
    fresh: bool = False


Told = Callable[[Job], None]


def run(
    request: Request,
    chosen: Sequence[Scenario],
    started: Callable[[list[Job], list[Job]], Told] = lambda jobs, todo: lambda job: None,
) -> dict[str, Any]:
    """Carry out what is missing and write ``summary.json`` and ``timing.json``; the summary.

    ``started`` gets all jobs and those to do, and returns what is called after each one.
    """
    jobs = plan(request, chosen)
    todo = [job for job in jobs if request.fresh or not is_done(job, request.out)]
    request.out.mkdir(parents=True, exist_ok=True)
    tell, began_s = started(jobs, todo), time.monotonic()
    ended = _runner(request, todo)
    try:
        for job in ended:
            tell(job)
    finally:
        ended.close()
    found = summary(jobs, request.out)
    write_json(request.out / "summary.json", found)
    measured = timing(jobs, request.out)
    here = {"suite_wall_s": time.monotonic() - began_s, "runs_carried_out": len(todo)}
    write_json(request.out / "timing.json", measured | here | {"workers": _crew(request)})
    return found


def plan(request: Request, chosen: Sequence[Scenario]) -> list[Job]:
    """Every run of the suite, in the order of the summary: by name, then by seed."""
    from sim.layouts import layout

    jobs = []
    for scenario in sorted(chosen, key=lambda s: s.name):
        store = layout(scenario.store)
        job = Job(
            scenario=scenario,
            seed=0,
            sha=fingerprint(scenario, store),
            version=version(),
            limit_s=LIMIT_START_S + LIMIT_PER_STORE_S * scenario.duration_s,
            cost=_cost(scenario, len(store.plates)),
            keep_recording=request.keep_recordings,
        )
        jobs += [replace(job, seed=seed) for seed in request.seeds]
    return jobs


def select(scenarios: str, *, with_long: bool) -> list[Scenario]:
    """Scenarios of the library by globs, or from files, separated by commas.

    Raises:
        SuiteError: nothing fits, or only day-long ones do and they were not asked for.
    """
    from sim import scenario as files

    library = {found.name: found for found in files.library()}
    chosen: dict[str, Scenario] = {}
    for word in filter(None, (part.strip() for part in scenarios.split(","))):
        if word.endswith(".toml"):
            own = files.load(Path(word))
            chosen[own.name] = own
            continue
        names = fnmatch.filter(library, word)
        if not names:
            raise SuiteError(f"no scenario fits {word!r}; {_nearest(word, library)}")
        short = {name for name in names if with_long or not library[name].long}
        if not short:
            raise SuiteError(f"{', '.join(sorted(names))}: day-long; add --long")
        chosen |= {name: library[name] for name in short}
    return [chosen[name] for name in sorted(chosen)]


def seeds_of(text: str) -> tuple[int, ...]:
    """``1-10``, ``7`` or ``1-3,8``: sorted, each once.

    Raises:
        SuiteError: anything else.
    """
    found: set[int] = set()
    for part in text.split(","):
        fits = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if fits is None:
            raise SuiteError(f"--seeds {text!r} is not like 1-10, 7 or 1-3,8")
        first, last = int(fits[1]), int(fits[2] or fits[1])
        if not 0 <= last - first < SEEDS_MAX:
            raise SuiteError(f"--seeds {part}: from low to high, at most {SEEDS_MAX}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _runner(request: Request, todo: list[Job]) -> Any:
    from sim.suite_runners import run_here, run_on_dask

    if not todo:
        return _nothing()
    if request.dask is not None:
        return run_on_dask(todo, request.out, request.dask)
    return run_here(todo, request.out, request.workers)


def _nothing() -> Iterator[Job]:
    yield from ()


def _crew(request: Request) -> str:
    return f"dask {request.dask}" if request.dask else str(request.workers)


def _cost(scenario: Scenario, plates: int) -> float:
    """Expected wall time in an arbitrary unit: store seconds times what moves in them."""
    scripted = sum(len(party.members) for party in scenario.parties)
    every_s = scenario.background.every_s
    strangers = min(PEOPLE_STAY_S / every_s, scenario.background.people_max) if every_s else 0.0
    return (scenario.duration_s + DRAIN_S) * (1 + plates / 100 + (scripted + strangers) / 4)


def _nearest(word: str, library: dict[str, Scenario]) -> str:
    near = difflib.get_close_matches(word.strip("*?"), library, n=3, cutoff=0.4)
    return f"near it: {', '.join(near)}" if near else "`walkout sim list` names all"
