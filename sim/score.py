"""Scores of runs whose truth is known: ``walkout score``.

``score_run`` reads one run's folder, ``pool`` sums runs up, ``score`` does both for folders of
runs and breaks the result down. Names and definitions: docs/SCORES.md. The files are read in
``score_input.py``, visits matched in ``score_visits.py``, measures taken in ``score_metrics.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.score_input import ScoreError, read_run, run_folders
from sim.score_metrics import intervals, percentiles, rates, table_of, totals
from sim.score_visits import ErrorKind, UnitError, VisitScore, errors_of, visits_of

__all__ = ["RunScore", "ScoreError", "Scores", "pool", "score", "score_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScore:
    """One run: its visits beside the truth, and what is wrong. ``name``: for people."""

    name: str
    folder: Path
    scenario: str
    kind: str = ""
    hard_cases: tuple[str, ...] = ()
    seed: int | None = None
    crashed: str | None = None
    visits: tuple[VisitScore, ...] = ()
    errors: tuple[UnitError, ...] = ()
    findings: dict[str, int] = field(default_factory=dict)
    breaches: tuple[dict[str, Any], ...] = ()
    wall_s: float | None = None
    store_s: float | None = None

    @property
    def wrong(self) -> list[VisitScore]:
        """Visits whose best guess differs from the truth, and receipts of nobody."""
        return [v for v in self.visits if v.phantom or not v.exact]


def score_run(folder: Path, name: str = "") -> RunScore:
    """Score one run's folder.

    Raises:
        ScoreError: a file is missing or broken.
    """
    files = read_run(folder)
    visits, findings = visits_of(files)
    timing, run = files.timing, files.run
    label = name if name not in ("", ".") else folder.name or folder.resolve().name
    return RunScore(
        name=label,
        folder=folder,
        scenario=run.scenario or label,
        kind=run.kind,
        hard_cases=tuple(dict.fromkeys(run.hard_cases)),
        seed=run.seed,
        crashed=run.crashed,
        visits=visits,
        errors=errors_of(visits),
        findings=findings,
        breaches=tuple(
            {"kind": b.kind, "at_s": b.at_s, "visit": b.visit, "text": b.text}
            for b in files.breaches
        ),
        wall_s=timing.wall_s if timing else None,
        store_s=timing.store_s if timing else None,
    )


def pool(runs: Sequence[RunScore]) -> dict[str, Any]:
    """The measures of design.md section 7 over all visits of the runs, with their intervals.

    ``realtime_factor`` is the only figure that a wall clock made. None: nothing to rate.
    """
    runs = _in_order(runs)
    table = table_of([visit for run in runs for visit in run.visits])
    sums = totals(table)
    latencies = [v.latency_s for run in runs for v in run.visits if v.latency_s is not None]
    return {
        "visits": sums["visits"],
        **rates(table),
        "receipt_latency_s": percentiles(latencies),
        "realtime_factor": _realtime_factor(runs),
        "intervals": intervals(table),
        "errors": errors(runs),
        "counts": sums,
        "runs": len(runs),
        "crashed_runs": sum(run.crashed is not None for run in runs),
        "breaches": sum(len(run.breaches) for run in runs),
        "findings": _findings(runs),
    }


def errors(runs: Iterable[RunScore]) -> dict[str, int]:
    """Units of each kind of error."""
    found = dict.fromkeys((kind.value for kind in ErrorKind), 0)
    for run in runs:
        for error in run.errors:
            found[error.kind.value] += error.quantity
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Some runs, scored."""

    runs: tuple[RunScore, ...]

    def document(self) -> dict[str, Any]:
        """What ``walkout score --json`` prints: the pooled measures, then each break-down."""
        return {
            **pool(self.runs),
            "scenarios": self.by(lambda run: (run.scenario,)),
            "hard_cases": self.by(lambda run: run.hard_cases),
            "kinds": self.by(lambda run: (run.kind,) if run.kind else ()),
            "crashed": [
                {"run": run.name, "seed": run.seed, "text": run.crashed}
                for run in self.runs
                if run.crashed is not None
            ],
            "breached": [
                {"run": run.name, "seed": run.seed, **breach}
                for run in self.runs
                for breach in run.breaches
            ],
        }

    def by(self, names: Callable[[RunScore], Sequence[str]]) -> dict[str, dict[str, Any]]:
        """The measures of each group, by name; a run may stand in several."""
        groups: dict[str, list[RunScore]] = {}
        for run in self.runs:
            for name in names(run):
                groups.setdefault(name, []).append(run)
        return {name: pool(groups[name]) for name in sorted(groups)}


def score(dirs: Sequence[Path]) -> Scores:
    """Every run at or below the folders, each once.

    Raises:
        ScoreError: no run there, or one that cannot be read.
    """
    runs = [score_run(folder, name) for folder, name in run_folders(dirs)]
    return Scores(runs=tuple(_in_order(runs)))


def _in_order(runs: Iterable[RunScore]) -> list[RunScore]:
    """The same whoever found them first: resampling depends on the order."""
    return sorted(runs, key=lambda r: (r.scenario, r.seed is None, r.seed or 0, r.name))


def _realtime_factor(runs: Sequence[RunScore]) -> float | None:
    """Store time over wall time, of the runs that say both."""
    timed = [(r.store_s, r.wall_s) for r in runs if r.store_s is not None and r.wall_s]
    wall_s = sum(wall for _, wall in timed if wall)
    return sum(store for store, _ in timed if store) / wall_s if wall_s else None


def _findings(runs: Iterable[RunScore]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.findings)
    return dict(sorted(total.items()))
