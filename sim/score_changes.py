"""Two versions on the same recordings: what moved, by how much, and which visits changed.

Runs match by scenario and seed, or by their path below the folder where a run does not say both.
Two runs of one key are comparable when their truth is the same; differences are then paired, visit
by visit, so that the luck of the recordings cancels out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.score import RunScore, ScoreError, pool, score_run
from sim.score_input import run_folders
from sim.score_metrics import differences, table_of
from sim.score_visits import VisitScore

Key = tuple[str, str]  # scenario and seed, or "" and the path
NOWHERE = VisitScore(
    visit="",
    credential="",
    receipt=None,
    entered_at_s=None,
    exited_at_s=None,
    closed_at_s=None,
    truth={},
    charged={},
    review={},
    reviewed=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A visit whose receipt differs. ``how``: better, worse or other."""

    run: RunScore
    a: VisitScore
    b: VisitScore
    how: str

    def row(self) -> dict[str, Any]:
        known = self.a if self.a is not NOWHERE else self.b
        return {
            "run": self.run.name,
            "scenario": self.run.scenario,
            "seed": self.run.seed,
            "visit": known.visit,
            "credential": known.credential,
            "how": self.how,
            "truth": dict(known.truth),
            "a": _receipt(self.a),
            "b": _receipt(self.b),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A and B beside each other, run i of both from the same recording."""

    a: tuple[RunScore, ...]
    b: tuple[RunScore, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    other_truth: tuple[str, ...]  # matched, but what happened was not the same

    @property
    def complete(self) -> bool:
        """Every run has its counterpart: these are two versions on the same recordings."""
        return bool(self.a) and not (self.only_in_a or self.only_in_b or self.other_truth)

    def changes(self) -> list[Change]:
        """Visits whose receipts differ, the worse ones first."""
        found = [
            Change(run=run, a=a, b=b, how=_how(a, b))
            for run, other in zip(self.a, self.b, strict=True)
            for a, b in _aligned(run, other)
            if _receipt(a) != _receipt(b)
        ]
        rank = {"worse": 0, "better": 1, "other": 2}
        return sorted(found, key=lambda change: rank[change.how])

    def document(self) -> dict[str, Any]:
        """What ``walkout score A B --changes --json`` prints."""
        changes = self.changes()
        counted = Counter(change.how for change in changes)
        pairs = [
            pair for run, other in zip(self.a, self.b, strict=True) for pair in _aligned(run, other)
        ]
        a, b = (table_of([pair[side] for pair in pairs]) for side in (0, 1))
        return {
            "a": pool(self.a),
            "b": pool(self.b),
            "difference": differences(a, b),
            "changed": [change.row() for change in changes],
            "changed_counts": {how: counted[how] for how in ("better", "worse", "other")},
            "runs_compared": len(self.a),
            "only_in_a": list(self.only_in_a),
            "only_in_b": list(self.only_in_b),
            "other_truth": list(self.other_truth),
        }


def compare(a: Path, b: Path) -> Comparison:
    """Match the runs of two folders.

    Raises:
        ScoreError: a run cannot be read.
    """
    before, after = _by_key(a), _by_key(b)
    both = sorted(before.keys() & after.keys())
    same = [key for key in both if _same_truth(before[key], after[key])]
    return Comparison(
        a=tuple(before[key] for key in same),
        b=tuple(after[key] for key in same),
        only_in_a=tuple(before[key].name for key in sorted(before.keys() - after.keys())),
        only_in_b=tuple(after[key].name for key in sorted(after.keys() - before.keys())),
        other_truth=tuple(before[key].name for key in both if key not in same),
    )


def compared(a: Path, b: Path) -> Comparison:
    """``compare``, for one who asked for it.

    Raises:
        ScoreError: nothing can be compared.
    """
    found = compare(a, b)
    if not found.a and found.other_truth:
        raise ScoreError(
            f"{a} and {b}: what happened in {found.other_truth[0]} differs; replay the same "
            "recordings with both versions (`walkout replay`), then compare"
        )
    if not found.a:
        raise ScoreError(
            f"{a} and {b} have no run in common; runs match by scenario and seed, or by their "
            "path below the folder"
        )
    return found


def _by_key(folder: Path) -> dict[Key, RunScore]:
    found = [(path, score_run(at, path)) for at, path in run_folders([folder])]
    named = Counter((run.scenario, str(run.seed)) for _, run in found)
    keyed: dict[Key, RunScore] = {}
    for path, run in found:
        key = (run.scenario, str(run.seed))
        alone = run.seed is not None and named[key] == 1
        keyed[key if alone else ("", path)] = run
    return keyed


def _same_truth(a: RunScore, b: RunScore) -> bool:
    return _truths(a) == _truths(b)


def _truths(run: RunScore) -> list[tuple[object, ...]]:
    return [
        (v.visit, v.credential, v.entered_at_s, v.exited_at_s, dict(v.truth))
        for v in run.visits
        if not v.phantom
    ]


def _aligned(a: RunScore, b: RunScore) -> list[tuple[VisitScore, VisitScore]]:
    """The same visits side by side; phantom receipts by credential and order."""
    before, after = _by_visit(a), _by_visit(b)
    keys = dict.fromkeys((*before, *after))
    return [(before.get(key, NOWHERE), after.get(key, NOWHERE)) for key in keys]


def _by_visit(run: RunScore) -> Mapping[tuple[str, str, int], VisitScore]:
    times: Counter[tuple[str, str]] = Counter()
    found = {}
    for visit in run.visits:
        name = (visit.visit, visit.credential)
        found[*name, times[name]] = visit
        times[name] += 1
    return found


def _how(a: VisitScore, b: VisitScore) -> str:
    """Better: nothing got worse and something better, of guess, over-charge, and sure and right."""
    before, after = _quality(a), _quality(b)
    pairs: Sequence[tuple[float, float]] = list(zip(before, after, strict=True))
    if all(new >= old for old, new in pairs) and before != after:
        return "better"
    if all(new <= old for old, new in pairs) and before != after:
        return "worse"
    return "other"


def _quality(visit: VisitScore) -> tuple[float, ...]:
    f1 = 1.0 if visit is NOWHERE else visit.f1
    right_alone = visit.exact and not visit.reviewed
    return (f1, -float(sum(visit.over_charged.values())), float(right_alone))


def _receipt(visit: VisitScore) -> dict[str, Any]:
    """What a receipt says; ``state`` "none" where there is none."""
    state = "review" if visit.reviewed else "closed"
    return {
        "state": "none" if visit.receipt is None else state,
        "charged": dict(visit.charged),
        "review": dict(visit.review),
        "f1": round(visit.f1, 9),
    }
