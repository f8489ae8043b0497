"""The measures over many visits, and how far they may be off.

A visit is one row of counts; every measure is a ratio of sums over rows, so a resample of the
visits is a row of weights, and a thousand resamples are one matrix product. The calibration error
needs the receipts' rows in order of probability; it is a cumulative sum over the same weights.
Intervals are the 2.5 and 97.5 percentiles of the resamples (percentile bootstrap: Efron and
Tibshirani, An Introduction to the Bootstrap, chapter 13), widened where they miss the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from messages.arrays import Bools, Floats, Ints
from sim.score_visits import VisitScore

RESAMPLES = 1_000
SEED = 20_240_229  # fixed: the same runs give the same intervals
LEVEL = (0.025, 0.975)
BINS = 10
CELLS_MAX = 500_000  # weights at once: 4 MB, and a few times that for rows; larger is slower
F1_PARTS = 10**9  # F1 as an integer, so that sums of it do not depend on their order

COLUMNS = (
    "visits",
    "exact",
    "reviewed",
    "unreviewed",
    "auto_exact",
    "right_units",
    "guessed_units",
    "true_units",
    "f1_parts",
    "charged_lines",
    "over_lines",
    "true_lines",
    "missed_lines",
)
RATES = (
    "receipts_exact_rate",
    "auto_exact_rate",
    "review_rate",
    "item_precision",
    "item_recall",
    "item_f1",
    "visit_f1_mean",
    "overcharged_per_1000_lines",
    "missed_per_1000_lines",
    "calibration_error",
)
HIGHER_IS_BETTER = frozenset(
    {
        "receipts_exact_rate",
        "auto_exact_rate",
        "item_precision",
        "item_recall",
        "item_f1",
        "visit_f1_mean",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """n visits and m receipt rows, the rows in order of probability.

    counts: (n, len(COLUMNS)). row_visit, row_probability, row_right: (m,).
    """

    counts: Floats
    row_visit: Ints
    row_probability: Floats
    row_right: Bools

    def __len__(self) -> int:
        return len(self.counts)


def table_of(visits: Sequence[VisitScore]) -> Table:
    """Struct of arrays over visits; correct for none."""
    counts = np.array([_counts(v) for v in visits], dtype=np.float64).reshape(-1, len(COLUMNS))
    rows = [(i, p, right) for i, v in enumerate(visits) for p, right in v.rows]
    visit = np.array([i for i, _, _ in rows], dtype=np.int64)
    probability = np.array([p for _, p, _ in rows], dtype=np.float64)
    right = np.array([r for _, _, r in rows], dtype=bool)
    order = np.argsort(probability, kind="stable")
    return Table(counts, visit[order], probability[order], right[order])


def rates(table: Table) -> dict[str, float | None]:
    """Every rate of the table; None where there is nothing to rate."""
    values = _rates(table, np.ones((1, len(table))))
    return {name: _known(values[name][0]) for name in RATES}


def totals(table: Table) -> dict[str, int]:
    """The sums behind the rates."""
    sums = table.counts.sum(axis=0)
    return {name: int(sums[i]) for i, name in enumerate(COLUMNS) if name != "f1_parts"}


def intervals(table: Table) -> dict[str, list[float] | None]:
    """95 % interval of each rate, resampling visits; it always contains the rate itself."""
    samples = _resampled(len(table), lambda weights: _rates(table, weights))
    point = rates(table)
    return {name: _interval(samples[name], point[name]) for name in RATES}


def differences(a: Table, b: Table) -> dict[str, dict[str, object]]:
    """b - a of each rate with its paired 95 % interval: row i of both is the same visit."""
    assert len(a) == len(b)
    before, after = rates(a), rates(b)
    samples = _resampled(len(a), lambda weights: _minus(_rates(b, weights), _rates(a, weights)))
    found: dict[str, dict[str, object]] = {}
    for name in RATES:
        old, new = before[name], after[name]
        by = None if old is None or new is None else new - old
        between = _interval(samples[name], by)
        found[name] = {"a": old, "b": new, "by": by, "interval": between}
    return found


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50 and p99 by linear interpolation; None of nothing."""
    if not values:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(np.array(values), [50, 99])
    return {"p50": round(float(p50), 6), "p99": round(float(p99), 6)}


# --- rates of weighted visits -----------------------------------------------------------------


def _counts(visit: VisitScore) -> tuple[int, ...]:
    """One row; a phantom receipt is no visit, but its units and lines count."""
    guess, here = visit.guess, not visit.phantom
    unreviewed = here and not visit.reviewed
    return (
        here,
        here and visit.exact,
        here and visit.reviewed,
        unreviewed,
        unreviewed and visit.exact,
        visit.right_units,
        sum(guess.values()),
        sum(visit.truth.values()),
        round(visit.f1 * F1_PARTS) if here else 0,
        len(visit.charged),
        len(visit.over_charged),
        len(visit.truth),
        len(visit.missing),
    )


def _rates(table: Table, weights: Floats) -> dict[str, Floats]:
    """(b,) of each rate for (b, n) weights; NaN where there is nothing to rate."""
    sums = weights @ table.counts
    s = {name: sums[:, i] for i, name in enumerate(COLUMNS)}
    right, guessed, true = s["right_units"], s["guessed_units"], s["true_units"]
    return {
        "receipts_exact_rate": _ratio(s["exact"], s["visits"]),
        "auto_exact_rate": _ratio(s["auto_exact"], s["unreviewed"]),
        "review_rate": _ratio(s["reviewed"], s["visits"]),
        "item_precision": _ratio(right, guessed, empty=1.0),
        "item_recall": _ratio(right, true, empty=1.0),
        "item_f1": _ratio(2 * right, guessed + true, empty=1.0),
        "visit_f1_mean": _ratio(s["f1_parts"], s["visits"]) / F1_PARTS,
        "overcharged_per_1000_lines": 1000 * _ratio(s["over_lines"], s["charged_lines"], empty=0.0),
        "missed_per_1000_lines": 1000 * _ratio(s["missed_lines"], s["true_lines"], empty=0.0),
        "calibration_error": calibration_error(table, weights),
    }


def calibration_error(table: Table, weights: Floats) -> Floats:
    """(b,) expected calibration error: mean |probability - part right| over bins of equal count.

    Bins are those of ``numpy.array_split``: the first ones are longer by one where ten does not
    divide the count, and with fewer than ten rows each is a bin of its own. Rows of equal
    probability are indistinguishable, so each counts with the mean of all of them.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    if not len(table.row_visit):
        return np.full(len(weights), np.nan)
    probability, group = np.unique(table.row_probability, return_inverse=True)
    shape = (len(probability), len(table))
    ones, right = np.ones(len(group)), table.row_right.astype(np.float64)
    # (groups, visits): rows of each probability that a visit has; times the visits' weights.
    rows = csr_array((ones, (group, table.row_visit)), shape) @ weights.T
    rights = csr_array((right, (group, table.row_visit)), shape) @ weights.T
    pairs = zip(np.ascontiguousarray(rows.T), np.ascontiguousarray(rights.T), strict=True)
    return np.array([_binned(count, count * probability, r) for count, r in pairs])


def _binned(count: Floats, claimed: Floats, right: Floats) -> float:
    """One resample: cumulative sums, read off at the bins' ends."""
    rank = np.concatenate(([0.0], np.cumsum(count)))
    total = int(rank[-1])
    if not total:
        return float("nan")
    size, longer = divmod(total, BINS)
    ends = np.cumsum([size + (i < longer) for i in range(BINS)])
    gap = np.concatenate(([0.0], np.cumsum(claimed - right)))
    at_ends = np.interp(np.concatenate(([0], ends)), rank, gap)
    return float(np.abs(np.diff(at_ends)).sum() / total)


def _ratio(part: Floats, whole: Floats, *, empty: float = np.nan) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), empty), where=whole > 0))


# --- resampling -------------------------------------------------------------------------------


def _resampled(visits: int, measure: Callable[[Floats], dict[str, Floats]]) -> dict[str, Floats]:
    """(RESAMPLES,) of each measure over visits drawn with replacement."""
    parts = [measure(weights) for weights in _weights(visits)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _weights(visits: int) -> Iterator[Floats]:
    """Blocks (b, n) of how often each visit was drawn."""
    rng, left = np.random.default_rng(SEED), RESAMPLES
    block = max(1, min(RESAMPLES, CELLS_MAX // max(visits, 1)))
    while left > 0:
        rows = min(block, left)
        drawn = rng.integers(max(visits, 1), size=(rows, visits))
        drawn += np.arange(rows)[:, None] * visits
        times = np.bincount(drawn.ravel(), minlength=rows * visits)
        yield times.reshape(rows, visits).astype(np.float64)
        left -= rows


def _interval(samples: Floats, point: float | None) -> list[float] | None:
    known = samples[~np.isnan(samples)]
    if point is None or not len(known):
        return None
    low, high = np.quantile(known, LEVEL)
    return [min(float(low), point), max(float(high), point)]


def _minus(b: dict[str, Floats], a: dict[str, Floats]) -> dict[str, Floats]:
    return {name: b[name] - a[name] for name in RATES}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
