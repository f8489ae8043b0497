"""Purchases that stand still because a person or the retailer has not acted: alarms and figures.

    priced      payment mode: the retailer never captured, adjusted or cancelled
    contested   nobody looked

Nothing is decided here: an alarm names the visit and how long it has been standing, and goes away
when the purchase moves. Everything else that waits is a request, and the outbox watches those.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import aiosqlite

from cloud_sync.database import Database
from cloud_sync.purchase import Stage

LOOK_EVERY_NS = 60_000_000_000
NAMED_MAX = 100  # alarms in one look, the oldest first; the figures count them all
DAY_NS = 86_400_000_000_000
# The broker's hold expires after seven days: a day is a slip, after six nearly nothing can be done.
CAPTURE_LATE_NS, CAPTURE_LAST_NS = 1 * DAY_NS, 6 * DAY_NS
REVIEW_LATE_NS = 3 * DAY_NS  # an answer within three days is what receipts promise elsewhere
STANDING = {Stage.PRICED: CAPTURE_LATE_NS, Stage.CONTESTED: REVIEW_LATE_NS}
REMEDIES = {
    Stage.PRICED: "The retailer has to capture or cancel it; its hold expires seven days after the"
    " entry",
    Stage.CONTESTED: "Refund it, or say that it stands: walkout sync reviewed",
}


def key(visit: str) -> str:
    """Of its alarm."""
    return f"standing:{visit}"


async def look(database: Database, now_ns: int, wall_ns: int) -> int:
    """(tx) Raise the alarms that are due; how many purchases stand too long, of those looked at."""
    found = 0
    for stage, late_ns in STANDING.items():
        rows = await _late(database.connection, stage, wall_ns - late_ns)
        for visit, account, since_ns in rows:
            await _alarm(database, stage, str(visit), str(account), wall_ns - since_ns, now_ns)
        found += len(rows)
    return found


def figures(db: sqlite3.Connection, wall_ns: int) -> dict[str, dict[str, float]]:
    """By stage: how many, and for how long the oldest has been standing."""
    query = "SELECT count(*), min(updated_ns) FROM purchase WHERE stage=?"
    found = dict[str, dict[str, float]]()
    for stage in STANDING:
        count, oldest_ns = db.execute(_indexed(query), (stage,)).fetchone()
        oldest_s = 0.0 if oldest_ns is None else max(0.0, (wall_ns - oldest_ns) / 1e9)
        found[stage.value] = {"count": count, "oldest_s": oldest_s}
    return found


async def _late(db: aiosqlite.Connection, stage: Stage, until_ns: int) -> list[Any]:
    query = "SELECT visit, account, updated_ns FROM purchase WHERE stage=? AND updated_ns<?"
    query = f"{_indexed(query)} ORDER BY updated_ns LIMIT ?"
    return list(await db.execute_fetchall(query, (stage, until_ns, NAMED_MAX)))


def _indexed(query: str) -> str:
    """The index's own condition has to stand in a query word for word, else the table is read."""
    return f"{query} AND stage IN ('priced','contested')"


async def _alarm(
    database: Database, stage: Stage, visit: str, account: str, stood_ns: int, now_ns: int
) -> None:
    last = stage is Stage.PRICED and stood_ns >= CAPTURE_LAST_NS
    detail = (
        f"visit {visit} of account {account} has been {stage} for {stood_ns // DAY_NS} days."
        f" {REMEDIES[stage]}."
    )
    await database.raise_alarm(key(visit), "critical" if last else "warning", detail, now_ns)
