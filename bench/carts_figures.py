"""Figures of the bench of carts: pooled, by kind, times, and the bound of over-charges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

from bench.carts_run import Played
from sim.score import RunScore
from sim.score_metrics import percentiles, rates, table_of, totals

KINDS = ("hard", "adversarial", "ordinary")
LEVEL = 0.95  # of the upper bound, one-sided


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
