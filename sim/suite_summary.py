"""What a suite came to: ``summary.json`` and ``timing.json``, read from the run folders.

The summary is a function of the runs' conclusions alone, in an order that the plan gives, so one
worker, many and a cluster write the same bytes. Figures of the wall clock are taken out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.report_figures import charts
from sim.score import RunScore, pool, score_run
from sim.script import Kind
from sim.suite_job import Job, read_json

WALL_FIGURES = frozenset({"realtime_factor", "wall_s", "replay_realtime_factor"})
BREACHES_LISTED_MAX = 200  # the counts are whole


@dataclass(frozen=True, slots=True)
class _Scored:
    job: Job
    score: RunScore


def summary(jobs: Sequence[Job], out: Path) -> dict[str, Any]:
    """Scores pooled over everything, over kinds, hard cases and scenarios."""
    runs = [_scored(job, out) for job in jobs]
    kinds = [kind.value for kind in Kind if any(r.job.scenario.kind is kind for r in runs)]
    tags = sorted({tag for r in runs for tag in r.job.scenario.hard_cases})
    names = sorted({r.job.scenario.name for r in runs})
    return {
        "version": jobs[0].version if jobs else "",
        "seeds": sorted({job.seed for job in jobs}),
        "runs": len(runs),
        "total": _pooled(runs),
        "charts": charts([run.score for run in runs]),
        "kinds": {k: _part(runs, lambda s, k=k: s.kind.value == k) for k in kinds},  # type: ignore[misc]
        "hard_cases": {t: _part(runs, lambda s, t=t: t in s.hard_cases) for t in tags},  # type: ignore[misc]
        "scenarios": {n: _of_scenario(runs, n) for n in names},
        "crashed": [
            _at(r) | {"text": r.score.crashed} for r in runs if r.score.crashed is not None
        ],
        "breaches": [_at(r) | b for r in runs for b in r.score.breaches][:BREACHES_LISTED_MAX],
    }


def timing(jobs: Sequence[Job], out: Path) -> dict[str, Any]:
    """What the clock said of each run, and altogether."""
    rows = {job.name: read_json(job.folder(out) / "timing.json") for job in jobs}
    found = {name: row for name, row in rows.items() if row is not None}
    wall_s = sum(float(row["wall_s"]) for row in found.values())
    store_s = sum(float(row["store_s"]) for row in found.values())
    return {
        "wall_s": round(wall_s, 3),
        "store_s": round(store_s, 3),
        "realtime_factor": round(store_s / wall_s, 2) if wall_s > 0 else 0.0,
        "runs": found,
    }


def failed(found: dict[str, Any]) -> bool:
    """Did a run crash, or break what the referee watches?"""
    return bool(found["crashed"] or found["breaches"])


def without_wall_figures(value: Any) -> Any:
    """The same, at any depth."""
    if isinstance(value, dict):
        kept = ((k, v) for k, v in value.items() if k not in WALL_FIGURES)
        return {k: without_wall_figures(v) for k, v in kept}
    return [without_wall_figures(v) for v in value] if isinstance(value, list) else value


def _scored(job: Job, out: Path) -> _Scored:
    folder = job.folder(out)
    return _Scored(job, score_run(folder))


def _part(runs: Iterable[_Scored], fits: Callable[[Any], bool]) -> dict[str, Any]:
    return _pooled([run for run in runs if fits(run.job.scenario)])


def _of_scenario(runs: Iterable[_Scored], name: str) -> dict[str, Any]:
    mine = [run for run in runs if run.job.scenario.name == name]
    scenario = mine[0].job.scenario
    said = {
        "kind": scenario.kind.value,
        "title": scenario.title,
        "hard_cases": list(scenario.hard_cases),
    }
    return said | _pooled(mine)


def _pooled(runs: Sequence[_Scored]) -> dict[str, Any]:
    found: dict[str, Any] = without_wall_figures(pool([run.score for run in runs]))
    return found


def _at(run: _Scored) -> dict[str, Any]:
    return {"scenario": run.job.scenario.name, "seed": run.job.seed}
