"""System H, the queue of webhooks: serialization groups, each with one head that may leave.

An event becomes a message of every endpoint that wants it, at the next place of its group: the
endpoint's, or that of the thing it is about. The group's row is its lock, so places are given in
the order of commits and at most one message of a group is under way, over all brokers of one
database. What is answered moves the group on; what is not goes again by the standard's schedule,
under the same id; when that is used up the group is parked for an operator: it alone stops.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from broker.database import Transaction
from broker.systems.events import KEPT_S
from broker.systems.webhook_endpoints import PARALLEL, EndpointRow, all_of

HANDED_ON_MAX = 200
PURGE_MAX = 500
LEASE_S = 90  # three times the time-out of a delivery: then its broker is gone
ERROR_LENGTH_MAX = 300
READY, SENDING, PARKED = "ready", "sending", "parked"
QUEUED, DONE, VOID = "queued", "done", "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A message that was taken from the queue. ``attempts`` is the lease: the newest one counts."""

    message: str
    endpoint: str
    group: str
    place: int
    attempts: int
    failures: int
    kind: str
    about: str
    data: str
    at_s: int


async def hand_on(db: Transaction, now_s: int) -> int:
    """Put what was told into the queues of those who want it; how many events.

    Events that are caused by one another come in the order of their numbers.
    """
    due = await db.all(_DUE, HANDED_ON_MAX)
    endpoints = await all_of(db, now_s) if due else []
    for number, party, kind, about in due:
        for row in endpoints:
            if _wants(row, party, kind):
                await _queue(db, row, number, about, now_s)
        await db.run("DELETE FROM event_due WHERE event = $1", number)
    return len(due)


async def waiting(db: Transaction, now_s: int) -> list[str]:
    """Enabled endpoints with a head that is due; "" when something was told and not handed on."""
    told = await db.one("SELECT 1 FROM event_due LIMIT 1")
    found = [name for (name,) in await db.all(_WAITING, now_s)]
    return [*([""] if told else []), *found]


async def claim(db: Transaction, room: Mapping[str, int], now_s: int) -> list[Head]:
    """Take heads that are due, so many of each endpoint; a lease that ran out is due too."""
    taken = list[Head]()
    for endpoint, most in sorted(room.items()):
        for group, message in await db.all(_READY, endpoint, now_s, most):
            if await db.run(_TAKE, group, message, now_s, now_s + LEASE_S):
                await db.run(_SENT, message)
                taken.append(await _head(db, message))
    return taken


async def delivered(db: Transaction, head: Head, status: int, now_s: int) -> None:
    """Answered: the group goes on to its next message."""
    if await _still_ours(db, head):
        await _settle(db, head.group, head.message, DONE, status, now_s)


async def postpone(db: Transaction, head: Head, status: int, error: str, not_before_s: int) -> None:
    """Again later; the whole group waits."""
    if await _still_ours(db, head):
        await db.run(_ERROR, head.message, status, error[:ERROR_LENGTH_MAX])
        await db.run(_LATER, head.group, not_before_s)


async def park(db: Transaction, head: Head, status: int, error: str) -> None:
    """The schedule is used up: the group waits for an operator."""
    if await _still_ours(db, head):
        await db.run(_ERROR, head.message, status, error[:ERROR_LENGTH_MAX])
        await db.run("UPDATE webhook_group SET state = 'parked' WHERE grp = $1", head.group)


async def queue_again(db: Transaction, message: str, group: str, now_s: int) -> None:
    """Behind all that waits, under the same id: the receiver dedupes by it."""
    place = await _next_place(db, group, group.partition("~")[0], now_s)
    await db.run(_AGAIN, message, place)
    await _set_head(db, group, now_s)


async def next_of(db: Transaction, group: str, message: str, state: str, now_s: int) -> None:
    """The operator gave the head up."""
    await _settle(db, group, message, state, 0, now_s)


async def void_all(db: Transaction, group: str, now_s: int) -> int:
    """Give up all that waits in a group; how many."""
    count = await db.run(_VOID_ALL, group, now_s)
    await db.run("UPDATE webhook_group SET head = '', state = 'ready' WHERE grp = $1", group)
    return count


async def purge(db: Transaction, now_s: int) -> int:
    """Forget messages that ended long ago; how many."""
    return await db.run(_PURGE, now_s - KEPT_S, PURGE_MAX)


def group_of(row: EndpointRow, about: str) -> str:
    """The serialization group: the endpoint, or one thing of it."""
    name = row.shown.endpoint
    if row.shown.ordering != PARALLEL:
        return name
    short = base64.b32encode(hashlib.sha256(about.encode()).digest()[:10]).decode().lower()
    return f"{name}~{short}"


def _wants(row: EndpointRow, party: str, kind: str) -> bool:
    shown = row.shown
    return shown.party in ("", party) and (not shown.kinds or kind in shown.kinds)


async def _queue(db: Transaction, row: EndpointRow, event: int, about: str, now_s: int) -> None:
    group = group_of(row, about)
    place = await _next_place(db, group, row.shown.endpoint, now_s)
    chance = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    await db.run(_MESSAGE, f"msg_{chance}", row.shown.endpoint, event, group, place)
    await _set_head(db, group, now_s)


async def _next_place(db: Transaction, group: str, endpoint: str, now_s: int) -> int:
    row = await db.one(_PLACE, group, endpoint, now_s)
    assert row is not None
    return int(row[0])


async def _set_head(db: Transaction, group: str, now_s: int) -> None:
    """The first that waits, when nothing is at the head."""
    await db.run(_HEAD, group, now_s)


async def _still_ours(db: Transaction, head: Head) -> bool:
    """Whether the lease is the newest; locks the group."""
    group = await db.one(_GROUP, head.group)
    row = await db.one("SELECT attempts FROM webhook_message WHERE message = $1", head.message)
    ours = group is not None and group == (head.message, SENDING)
    return ours and row is not None and row[0] == head.attempts


async def _settle(
    db: Transaction, group: str, message: str, state: str, status: int, now_s: int
) -> None:
    await db.run(_ENDED, message, state, status, now_s)
    await db.run(_FREE, group)
    await _set_head(db, group, now_s)


async def _head(db: Transaction, message: str) -> Head:
    row = await db.one(_HEAD_ROW, message)
    assert row is not None
    return Head(
        message=row[0],
        endpoint=row[1],
        group=row[2],
        place=row[3],
        attempts=row[4],
        failures=row[5],
        kind=row[6],
        about=row[7],
        data=row[8],
        at_s=row[9],
    )


_DUE = (
    "SELECT e.event, e.party, e.kind, e.about FROM event_due d JOIN event e ON e.event = d.event"
    " ORDER BY e.event LIMIT $1 FOR UPDATE"
)
_PLACE = """
INSERT INTO webhook_group AS g VALUES ($1, $2, '', 'ready', $3, 0, 2)
ON CONFLICT (grp) DO UPDATE SET next_place = g.next_place + 1 RETURNING next_place - 1
"""
_MESSAGE = "INSERT INTO webhook_message VALUES ($1, $2, $3, $4, $5, 'queued', 0, 0, '', 0)"
_HEAD = """
UPDATE webhook_group SET not_before_s = $2, failures = 0, head = COALESCE((SELECT message
    FROM webhook_message m WHERE m.grp = $1 AND m.state = 'queued' ORDER BY m.place LIMIT 1), '')
WHERE grp = $1 AND head = ''
"""
_OPEN = "head <> '' AND state <> 'parked' AND not_before_s <="
_G_OPEN = "g.head <> '' AND g.state <> 'parked' AND g.not_before_s <="
_WAITING = (
    "SELECT endpoint FROM webhook_endpoint e WHERE status = 'enabled' AND EXISTS (SELECT 1"
    f" FROM webhook_group g WHERE g.endpoint = e.endpoint AND {_G_OPEN} $1)"
)
_READY = (
    f"SELECT grp, head FROM webhook_group WHERE endpoint = $1 AND {_OPEN} $2"
    " ORDER BY not_before_s, grp LIMIT $3"
)
_TAKE = (
    "UPDATE webhook_group SET state = 'sending', not_before_s = $4 WHERE grp = $1 AND head = $2"
    " AND state <> 'parked' AND not_before_s <= $3"
)
_SENT = "UPDATE webhook_message SET attempts = attempts + 1 WHERE message = $1"
_ERROR = "UPDATE webhook_message SET status = $2, last_error = $3 WHERE message = $1"
_LATER = (
    "UPDATE webhook_group SET state = 'ready', failures = failures + 1, not_before_s = $2"
    " WHERE grp = $1"
)
_ENDED = (
    "UPDATE webhook_message SET state = $2, status = $3, last_error = '', answered_s = $4"
    " WHERE message = $1"
)
_FREE = "UPDATE webhook_group SET head = '', state = 'ready' WHERE grp = $1"
_GROUP = "SELECT head, state FROM webhook_group WHERE grp = $1 FOR UPDATE"
_AGAIN = "UPDATE webhook_message SET state = 'queued', place = $2 WHERE message = $1"
_VOID_ALL = (
    "UPDATE webhook_message SET state = 'void', answered_s = $2 WHERE grp = $1 AND state = 'queued'"
)
_HEAD_ROW = """
SELECT m.message, m.endpoint, m.grp, m.place, m.attempts, g.failures, e.kind, e.about, e.data,
    e.at_s
FROM webhook_message m JOIN webhook_group g ON g.grp = m.grp JOIN event e ON e.event = m.event
WHERE m.message = $1
"""
_PURGE = """
DELETE FROM webhook_message WHERE message IN (SELECT message FROM webhook_message
    WHERE state IN ('done', 'void') AND answered_s <= $1 ORDER BY answered_s LIMIT $2)
"""
