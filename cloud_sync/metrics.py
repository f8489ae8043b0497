"""Figures of the sync process, read from its file: as a dictionary, and as Prometheus text.

    oldest unsent age per group, parked groups, attempts, latency of answers and of receipts

Groups can be many thousands: only the ``GROUPS_MAX`` oldest are named, the rest is in the totals.
Latencies are over the newest ``NEWEST`` rows, so that a look costs the same on any file.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Any

from cloud_sync import standing

GROUPS_MAX = 50  # named groups: labels of a time series are not for free
NEWEST = 1_000
NS = 1_000_000_000
QUANTILES = (0.5, 0.99)
PREFIX = "walkout_sync"


def figures(db: sqlite3.Connection, now_ns: int | None = None) -> dict[str, Any]:
    """The figures now; ``db`` is a read-only look at the sync file."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    return {
        "groups": groups(db, now_ns),
        "groups_waiting": _one(db, "SELECT count(*) FROM grp_head WHERE head IS NOT NULL"),
        "groups_parked": _one(db, "SELECT count(*) FROM grp_head WHERE state='parked'"),
        "attempts": _attempts(db),
        "standing": standing.figures(db, now_ns),
        "answer_s": quantiles(
            age / NS
            for (age,) in db.execute(
                "SELECT answered_ns-created_ns FROM request WHERE state IN ('done','void')"
                " ORDER BY answered_ns DESC LIMIT ?",
                (NEWEST,),
            )
        ),
        "receipt_s": quantiles(
            age / NS
            for (age,) in db.execute(
                "SELECT issued_wall_ns-exit_wall_ns FROM receipt WHERE issued_wall_ns>0"
                " AND exit_wall_ns>0 ORDER BY issued_wall_ns DESC LIMIT ?",
                (NEWEST,),
            )
        ),
    }


def groups(db: sqlite3.Connection, now_ns: int) -> list[dict[str, Any]]:
    """The groups whose head has been waiting longest."""
    rows = db.execute(
        "SELECT h.grp, h.destination, h.state, r.created_ns, r.attempts FROM grp_head h"
        " JOIN request r ON r.id=h.head ORDER BY r.created_ns LIMIT ?",
        (GROUPS_MAX,),
    )
    return [
        {
            "group": group,
            "destination": destination,
            "state": state,
            "oldest_s": max(0.0, (now_ns - created_ns) / NS),
            "attempts": attempts,
        }
        for group, destination, state, created_ns, attempts in rows
    ]


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """``count``, ``p50``, ``p99``, ``max``; only a count of 0 where there are none."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    at = {f"p{round(q * 100)}": ordered[int(q * (len(ordered) - 1))] for q in QUANTILES}
    return {"count": len(ordered), **at, "max": ordered[-1]}


def prometheus(summary: dict[str, Any]) -> str:
    """``cloud_sync.views.summary`` in the text format of Prometheus, version 0.0.4."""
    lines = list[str]()
    for name, kind, help_, rows in _series(summary):
        lines += [f"# HELP {PREFIX}_{name} {help_}", f"# TYPE {PREFIX}_{name} {kind}"]
        lines += [f"{PREFIX}_{name}{_labels(labels)} {value:g}" for labels, value in rows]
    return "\n".join(lines) + "\n"


def _series(
    summary: dict[str, Any],
) -> Iterator[tuple[str, str, str, list[tuple[dict[str, str], float]]]]:
    shown, queue = summary["metrics"], summary["queue"]
    yield "queue_depth", "gauge", "Requests that wait or are under way.", [({}, queue["depth"])]
    yield "sent_total", "counter", "Requests answered (pruned ones left).", [({}, queue["sent"])]
    yield (
        "oldest_unsent_seconds",
        "gauge",
        "How long the head of a group has been waiting; the oldest groups alone.",
        [(_of(one, "group", "destination"), one["oldest_s"]) for one in shown["groups"]],
    )
    yield (
        "head_attempts",
        "gauge",
        "Attempts of the head of a group.",
        [(_of(one, "group", "destination"), one["attempts"]) for one in shown["groups"]],
    )
    for name in ("groups_waiting", "groups_parked"):
        yield name, "gauge", "Groups, all of them.", [({}, shown[name])]
    yield (
        "attempts_mean",
        "gauge",
        "Attempts per answered request, of the newest.",
        [({}, shown["attempts"]["mean"])],
    )
    for name, field in (("standing", "count"), ("standing_oldest_seconds", "oldest_s")):
        told = "Purchases that wait for the retailer's capture or a person's look."
        rows = [({"stage": stage}, one[field]) for stage, one in shown["standing"].items()]
        yield name, "gauge", told, rows
    for name in ("answer_s", "receipt_s"):
        found = shown[name].items()
        rows = [({"quantile": key}, value) for key, value in found if key != "count"]
        yield f"{name.removesuffix('_s')}_seconds", "gauge", "Of the newest.", rows
    yield (
        "destination_up",
        "gauge",
        "1 where a second system is up or degraded.",
        [
            (_of(one, "name", "state"), float(one["state"] in ("up", "degraded")))
            for one in summary["destinations"]
        ],
    )
    yield (
        "destination_latency_seconds",
        "gauge",
        "Mean time of its last answers.",
        [(_of(one, "name"), one["latency_ms"] / 1e3) for one in summary["destinations"]],
    )
    yield (
        "receipts",
        "gauge",
        "Receipts by state.",
        [({"state": state}, count) for state, count in summary["receipts"].items()],
    )
    yield "alarms", "gauge", "Alarms that are up.", [({}, len(summary["alarms"]))]


def _attempts(db: sqlite3.Connection) -> dict[str, float]:
    query = (
        "SELECT count(*), coalesce(avg(attempts), 0), coalesce(max(attempts), 0) FROM (SELECT"
        " attempts FROM request WHERE state IN ('done','void') ORDER BY answered_ns DESC LIMIT ?)"
    )
    count, mean, most = db.execute(query, (NEWEST,)).fetchone()
    return {"count": count, "mean": round(mean, 4), "max": most}


def _of(row: dict[str, Any], *names: str) -> dict[str, str]:
    return {name: str(row[name]) for name in names}


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    """Label values: backslash, quote and line feed (Prometheus, exposition formats)."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _one(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])
