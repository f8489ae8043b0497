"""What others read from the sync file: receipts, the queue's state, webhook deliveries.

Each opens the file read-only for one consistent look, also while the sync process writes. A file
that is not there yet is an empty one: the process has not run.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from cloud_sync import metrics
from cloud_sync.database import read_only_uri
from cloud_sync.standing import STANDING

ROWS_MAX = 10_000  # of one listing
_JSON = ("lines", "in_review", "auth_events", "provisional")  # the last since schema 3


def summary(path: Path) -> dict[str, Any]:
    """The state in one dictionary, JSON-able.

    Keys: ``receipts`` (count per state), ``captured_minor`` (per currency), ``queue`` (depth,
    oldest_s, sent), ``metrics`` (of ``metrics.py``), ``destinations`` (availability of each
    second system), ``parked`` and ``alarms`` (lists), ``imported`` (journal rows), ``status``.
    """
    with _look(path) as db:
        if db is None:
            return deepcopy(_EMPTY)
        return {
            "receipts": dict(_all(db, "SELECT state, count(*) FROM receipt GROUP BY state")),
            "captured_minor": dict(
                _all(
                    db,
                    "SELECT currency, sum(total_minor) FROM receipt WHERE state='paid'"
                    " GROUP BY currency",
                )
            ),
            "queue": _queue(db),
            "metrics": metrics.figures(db),
            "destinations": destinations(db),
            "parked": parked(db),
            "alarms": _records(
                db,
                "SELECT key, severity, detail, raised_ns FROM alarm WHERE cleared_ns IS NULL"
                " ORDER BY raised_ns",
            ),
            "imported": sum(seq for (seq,) in _all(db, "SELECT seq FROM journal_cursor")),
            "status": dict(_all(db, "SELECT name, value FROM status")),
        }


def receipts(path: Path) -> list[dict[str, Any]]:
    """Receipts in order of exit, as dictionaries; lists decoded."""
    query = "SELECT * FROM receipt ORDER BY exit_wall_ns, visit LIMIT ?"
    with _look(path) as db:
        found = [] if db is None else _records(db, query, ROWS_MAX)
    return [row | {name: json.loads(row.get(name, "[]")) for name in _JSON} for row in found]


def deliveries(path: Path) -> list[dict[str, Any]]:
    """Webhook deliveries, oldest first; ``id`` is the webhook id that ``replay`` takes."""
    query = (
        "SELECT subject AS id, message, idem, visit, state, attempts, status, last_error,"
        " created_ns, answered_ns, destination FROM request WHERE operation='webhook'"
        " ORDER BY request.id"
        " LIMIT ?"
    )
    with _look(path) as db:
        return [] if db is None else _records(db, query, ROWS_MAX)


def delivery(path: Path, webhook_id: str) -> dict[str, Any] | None:
    """One delivery with all its sendings, its headers' id and its body; None if there is none."""
    query = (
        "SELECT idem, grp, generation, seq, state, attempts, status, last_error, created_ns,"
        " answered_ns, visit, body FROM request WHERE operation='webhook' AND subject=?"
        " ORDER BY generation"
    )
    with _look(path) as db:
        rows = [] if db is None else _records(db, query, webhook_id)
    if not rows:
        return None
    bodies = [row.pop("body") for row in rows]
    return {"id": webhook_id, "body": json.loads(bodies[0]), "sendings": rows}


def destinations(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """The second systems: state, why, since when, how many heads wait, the oldest of them."""
    found = _records(
        db,
        "SELECT d.*, count(h.grp) AS groups_waiting, min(r.created_ns) AS oldest_ns"
        " FROM destination d LEFT JOIN grp_head h"
        "  ON h.destination=d.name AND h.head IS NOT NULL AND h.state='ready'"
        " LEFT JOIN request r ON r.id=h.head GROUP BY d.name ORDER BY d.name",
    )
    return [row | {"oldest_s": _age_s(row.pop("oldest_ns"))} for row in found]


def audit(path: Path) -> list[dict[str, Any]]:
    """What operators had done, oldest first."""
    query = "SELECT at_ns, operator, action, target, reason, detail FROM audit ORDER BY id LIMIT ?"
    with _look(path) as db:
        return [] if db is None else _records(db, query, ROWS_MAX)


def parked(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Groups that wait for an operator: the request, its answer and what to do."""
    return _records(
        db,
        "SELECT h.grp AS grp, r.idem AS request, r.destination AS destination, r.visit AS visit,"
        " r.attempts AS attempts, r.status AS status, r.last_error AS error,"
        " (SELECT detail FROM alarm WHERE key='group:'||h.grp) AS remedy,"
        " (SELECT count(*) FROM request o WHERE o.grp=h.grp"
        " AND o.state IN ('queued','sending','parked'))"
        " AS waiting FROM grp_head h JOIN request r ON r.id=h.head WHERE h.state='parked'"
        " ORDER BY h.grp",
    )


def _queue(db: sqlite3.Connection) -> dict[str, Any]:
    """``oldest_s``: how long the oldest open request has been waiting, None for none."""
    query = (
        "SELECT count(*), min(created_ns) FROM request WHERE state IN ('queued','sending','parked')"
    )
    ((depth, oldest_ns),) = _all(db, query)
    ((sent,),) = _all(db, "SELECT count(*) FROM request WHERE state='done'")
    return {"depth": depth, "oldest_s": _age_s(oldest_ns), "sent": sent}


def _age_s(since_ns: int | None) -> float | None:
    return None if since_ns is None else max(0.0, (time.time_ns() - since_ns) / 1e9)


_EMPTY: dict[str, Any] = {
    "receipts": {},
    "captured_minor": {},
    "queue": {"depth": 0, "oldest_s": None, "sent": 0},
    "metrics": {
        "groups": [],
        "groups_waiting": 0,
        "groups_parked": 0,
        "attempts": {"count": 0, "mean": 0.0, "max": 0},
        "standing": {stage.value: {"count": 0, "oldest_s": 0.0} for stage in STANDING},
        "answer_s": {"count": 0},
        "receipt_s": {"count": 0},
    },
    "destinations": [],
    "parked": [],
    "alarms": [],
    "imported": 0,
    "status": {},
}


@contextmanager
def _look(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A read-only connection inside one transaction; None where there is no file or no table."""
    if not Path(path).exists():
        yield None
        return
    with closing(sqlite3.connect(read_only_uri(Path(path)), uri=True, isolation_level=None)) as db:
        db.execute("BEGIN")
        tables = {name for (name,) in _all(db, "SELECT name FROM sqlite_master")}
        yield db if {"request", "receipt", "destination"} <= tables else None


def _all(db: sqlite3.Connection, query: str, *values: object) -> list[Any]:
    return db.execute(query, values).fetchall()


def _records(db: sqlite3.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
