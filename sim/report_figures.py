"""The report's figures beyond the tables: calibration, latency, kinds of error, review economics.

``charts`` computes them from scored runs for ``summary.json``; the other functions draw them from
there, so that a report can be drawn again without the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from sim.report_svg import calibration, histogram, share_bars
from sim.score import RunScore
from sim.score_visits import VisitScore

BINS = 10  # of calibration, of equal count, as the calibration error has
LATENCY_BINS = 16
ERROR_NAMES = {
    "wrong_shopper": "wrong shopper",
    "wrong_sku": "wrong SKU",
    "wrong_quantity": "wrong quantity",
    "missed": "missed",
    "phantom": "phantom",
    "not_reviewed": "charged, not reviewed",
}


def charts(runs: Sequence[RunScore]) -> dict[str, Any]:
    """Bins and sums of all visits of the runs."""
    visits = [visit for run in runs for visit in run.visits if not visit.lost]
    rows = sorted(row for visit in visits for row in visit.rows)
    latencies = [v.latency_s for v in visits if v.latency_s is not None]
    return {
        "calibration": _bins(rows),
        "latency": _latency(latencies),
        "reviews": _reviews(visits),
    }


def interval(metrics: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The 95 % interval of a figure, where it has one."""
    ends = metrics.get("intervals", {}).get(key)
    return None if ends is None else (ends[0], ends[1])


def _bins(rows: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Ten bins of equal count in order of probability; fewer rows, fewer bins."""
    parts = np.array_split(np.array(rows, dtype=np.float64).reshape(-1, 2), BINS)
    return [
        {
            "probability": round(float(part[:, 0].mean()), 6),
            "right": round(float(part[:, 1].mean()), 6),
            "lines": len(part),
        }
        for part in parts
        if len(part)
    ]


def _latency(latencies: Sequence[float]) -> dict[str, Any]:
    """Counts over even bins from 0 to the 99th percentile; the last bin holds what is above."""
    if not latencies:
        return {"edges_s": [0.0, 1.0], "counts": [0]}
    values = np.array(latencies)
    top = max(1.0, float(np.ceil(np.percentile(values, 99))))
    edges = np.linspace(min(0.0, float(np.floor(values.min()))), top, LATENCY_BINS + 1)
    counts, _ = np.histogram(np.minimum(values, top), bins=edges)
    return {"edges_s": [round(float(e), 4) for e in edges], "counts": [int(c) for c in counts]}


def _reviews(visits: Sequence[VisitScore]) -> dict[str, int]:
    """What people would look at, and what their look would change."""
    real = [v for v in visits if not v.phantom]
    return {
        "visits": len(real),
        "visits_reviewed": sum(v.reviewed for v in real),
        "visits_reviewed_although_exact": sum(v.reviewed and v.exact for v in real),
        "visits_wrong": sum(not v.exact for v in real),
        "visits_wrong_and_reviewed": sum(v.reviewed and not v.exact for v in real),
        "units_true": sum(sum(v.truth.values()) for v in real),
        "units_reviewed": sum(sum(v.review.values()) for v in visits),
        "units_reviewed_right": sum(_right_in_review(v) for v in real),
        "units_overcharged": sum(sum(v.over_charged.values()) for v in visits),
    }


def _right_in_review(visit: VisitScore) -> int:
    """Units that a person would confirm."""
    left = {sku: n - visit.charged.get(sku, 0) for sku, n in visit.truth.items()}
    return sum(min(n, max(0, left.get(sku, 0))) for sku, n in visit.review.items())


# --- drawing --------------------------------------------------------------------------------------


def cards(total: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures at the top."""
    return [
        _card(total, "visit_f1_mean", "F1 per visit, mean"),
        _card(total, "receipts_exact_rate", "receipts exactly right", percent=True),
        _card(total, "overcharged_per_1000_lines", "over-charged of 1,000 charged lines"),
        _card(total, "missed_per_1000_lines", "missed of 1,000 true lines"),
        _card(total, "review_rate", "visits in review", percent=True),
        {
            "key": "crashed_runs",
            "label": "runs crashed",
            "value": str(total["crashed_runs"]),
            "note": f"{total['breaches']} breach{'' if total['breaches'] == 1 else 'es'}",
            "bad": bool(total["crashed_runs"] or total["breaches"]),
        },
    ]


def _card(
    total: Mapping[str, Any], key: str, label: str, *, percent: bool = False
) -> dict[str, Any]:
    ends = interval(total, key)
    note = f"{_short(ends[0], key, percent)} to {_short(ends[1], key, percent)}" if ends else ""
    value = _short(total[key], key, percent)
    return {"key": key, "label": label, "value": value, "note": note, "bad": False}


def _short(value: float | None, key: str, percent: bool) -> str:
    if value is None:
        return "–"
    if percent:
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if "per_1000" in key else f"{value:.3f}"


def error_chart(total: Mapping[str, Any]) -> Markup:
    found = total["errors"]
    rows = [(name, found.get(kind, 0)) for kind, name in ERROR_NAMES.items()]
    return share_bars(rows, label="Units of each kind of error")


def calibration_chart(summary: Mapping[str, Any]) -> tuple[Markup, str]:
    bins = [(b["probability"], b["right"], b["lines"]) for b in summary["charts"]["calibration"]]
    error = summary["total"]["calibration_error"]
    note = "Lines of the best guess in ten bins of equal count; on the dashed line words keep"
    said = "–" if error is None else f"{error:.3f}"
    return calibration(bins, label="Reliability"), f"{note}. Expected error {said}"


def latency_chart(summary: Mapping[str, Any]) -> tuple[Markup, str]:
    found, both = summary["charts"]["latency"], summary["total"]["receipt_latency_s"]
    picture = histogram(
        found["counts"], found["edges_s"], x_label="seconds of store time", label="Receipt latency"
    )
    if both["p50"] is None:
        return picture, "No receipt was issued"
    note = f"From the exit to the closed cart: median {both['p50']:.1f} s, 99 % {both['p99']:.1f} s"
    return picture, f"{note}. The last bar holds what is above"


def economics(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of name, value and what it means."""
    found = summary["charts"]["reviews"]
    needless = found["visits_reviewed_although_exact"]
    return [
        ("visits in review", _of(found["visits_reviewed"], found["visits"]), ""),
        (
            "of them exact already",
            _of(needless, found["visits_reviewed"]),
            "a person looks and changes nothing",
        ),
        (
            "wrong visits that were in review",
            _of(found["visits_wrong_and_reviewed"], found["visits_wrong"]),
            "the rest is wrong without anybody asking",
        ),
        (
            "units in review",
            _of(found["units_reviewed"], found["units_true"]),
            "of the units that left the store; not charged until somebody decides",
        ),
        (
            "of them right",
            _of(found["units_reviewed_right"], found["units_reviewed"]),
            "what a yes to every question would earn",
        ),
        ("units charged to somebody who does not hold them", str(found["units_overcharged"]), ""),
    ]


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else f"{part}"
