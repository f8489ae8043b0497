"""System H, as operator and parties see it: the queue, its parked groups, each message."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from broker.database import Row, Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.store_rows import named
from broker.systems import deliveries
from broker.systems.deliveries import DONE, PARKED, QUEUED, VOID
from broker.systems.events import MERCHANT
from broker.systems.webhook_endpoints import check_party, row_of

PARKED_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """``state``: queued, done or void. ``last_error`` of the last try that did not succeed."""

    message: str
    endpoint: str
    group: str
    place: int
    kind: str
    about: str
    state: str
    attempts: int
    status: int
    last_error: str
    at_s: int
    answered_s: int
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """GET /v1/webhook-messages, newest events last."""

    messages: list[WebhookMessage]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGroup:
    """A group that is parked: nothing of it leaves until somebody decides."""

    group: str
    endpoint: str
    message: str
    kind: str
    about: str
    status: int
    last_error: str
    attempts: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """GET /v1/queue. ``oldest_s``: when the oldest that waits was told, 0 of none."""

    depth: int
    oldest_s: int
    untold: int
    held: list[HeldGroup]
    disabled: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueGroup:
    """A group after an operator's word."""

    group: str
    state: str
    head: str


async def queue(db: Transaction) -> Queue:
    depth = await db.one(_DEPTH)
    untold = await db.one("SELECT COUNT(*) FROM event_due")
    assert depth is not None
    assert untold is not None
    off = "SELECT endpoint FROM webhook_endpoint WHERE status = 'disabled' ORDER BY endpoint"
    return Queue(
        depth=depth[0],
        oldest_s=depth[1],
        untold=untold[0],
        held=[HeldGroup(**named(HeldGroup, row)) for row in await db.all(_HELD, PARKED_SHOWN_MAX)],
        disabled=[name for (name,) in await db.all(off)],
    )


async def messages(
    db: Transaction, call: Call, endpoint: str, after: int, limit: int
) -> MessagePage:
    """Of one endpoint, by event.

    Raises:
        ProblemError: 404, no such endpoint of this key.
    """
    check_party(call, (await row_of(db, endpoint)).shown.party)
    rows = await db.all(
        f"{_MESSAGE} WHERE m.endpoint = $1 AND m.event > $2{_PAGE}", endpoint, after, limit + 1
    )
    page = [_shown(row) for row in rows[:limit]]
    last = rows[:limit][-1][13] if page else after
    return MessagePage(messages=page, after=last, more=len(rows) > limit)


async def message(db: Transaction, call: Call) -> WebhookMessage:
    """With what it says; raises ProblemError 404."""
    return await _own(db, call)


async def replay(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Send it once more, under the same id; one that waits anyway stays as it is."""
    found = await _own(db, call, " FOR UPDATE")
    if found.state in (DONE, VOID):
        await deliveries.queue_again(db, found.message, found.group, call.now_s)
    return answer(200, await _own(db, call))


async def retry(db: Transaction, call: Call, _: Nothing) -> Answer:
    """A parked group goes on with its head."""
    await _parked(db, call)
    await db.run(_RESUME, call.named, call.now_s)
    return await _group_answer(db, call)


async def skip(db: Transaction, call: Call, _: Nothing) -> Answer:
    """A parked group goes on behind its head, which is given up."""
    head = await _parked(db, call)
    await deliveries.next_of(db, call.named, head, VOID, call.now_s)
    return await _group_answer(db, call)


async def cancel(db: Transaction, call: Call, _: Nothing) -> Answer:
    """All that waits in a parked group is given up."""
    await _parked(db, call)
    await deliveries.void_all(db, call.named, call.now_s)
    return await _group_answer(db, call)


# --- helpers ----------------------------------------------------------------------------------


async def _parked(db: Transaction, call: Call) -> str:
    row = await db.one(
        "SELECT head, state FROM webhook_group WHERE grp = $1 FOR UPDATE", call.named
    )
    if row is None:
        raise ProblemError(404, "unknown-group", "no group of the queue has this name")
    if row[1] != PARKED:
        raise ProblemError(409, "wrong-state", f"the group is {row[1]}: it needs nobody")
    return str(row[0])


async def _group_answer(db: Transaction, call: Call) -> Answer:
    row = await db.one("SELECT grp, state, head FROM webhook_group WHERE grp = $1", call.named)
    assert row is not None
    return answer(200, QueueGroup(group=row[0], state=row[1], head=row[2]))


async def _own(db: Transaction, call: Call, lock: str = "") -> WebhookMessage:
    row = await db.one(f"{_MESSAGE} WHERE m.message = $1{lock}", call.named)
    if row is None or (call.key.party and row[14] != f"{MERCHANT}{call.key.party}"):
        raise ProblemError(404, "unknown-message", "no webhook message has this id")
    return _shown(row, whole=True)


def _shown(row: Row, *, whole: bool = False) -> WebhookMessage:
    found = WebhookMessage(**named(WebhookMessage, row[:12]))
    if not whole:
        return found
    return replace(found, data=msgspec.json.decode(str(row[12])))


_DEPTH = (
    "SELECT COUNT(*), COALESCE(MIN(e.at_s), 0) FROM webhook_message m"
    " JOIN event e ON e.event = m.event WHERE m.state = 'queued'"
)
_HELD = f"""
SELECT g.grp, g.endpoint, g.head, e.kind, e.about, m.status, m.last_error, m.attempts,
    (SELECT COUNT(*) FROM webhook_message w WHERE w.grp = g.grp AND w.state = '{QUEUED}')
FROM webhook_group g JOIN webhook_message m ON m.message = g.head JOIN event e ON e.event = m.event
WHERE g.state = 'parked' ORDER BY g.grp LIMIT $1
"""
_MESSAGE = (
    "SELECT m.message, m.endpoint, m.grp, m.place, e.kind, e.about, m.state, m.attempts, m.status,"
    " m.last_error, e.at_s, m.answered_s, e.data, m.event, w.party FROM webhook_message m"
    " JOIN event e ON e.event = m.event JOIN webhook_endpoint w ON w.endpoint = m.endpoint"
)
_PAGE = " ORDER BY m.event LIMIT $3"
_RESUME = "UPDATE webhook_group SET state = 'ready', failures = 0, not_before_s = $2 WHERE grp = $1"
