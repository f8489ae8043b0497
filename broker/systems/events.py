"""What parties are told: an event is written in the transaction of what it is about, once.

A party is ``merchant:<name>``, ``sponsor:<organizer>`` or ``store:<name>``. An event holds ids and
amounts and never a shopper; who wants to know more asks for the thing itself, since a message may
come late. From here the event goes into the queue of every endpoint that wants it
(``deliveries.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from broker.database import Transaction

MERCHANT, SPONSOR, STORE = "merchant:", "sponsor:", "store:"
KEPT_S = 30 * 24 * 3600  # for replay; a receiver that is away for longer asks for the things
PURGE_MAX = 500

# Every kind there is, and what it says; an endpoint names those that it wants.
KINDS: Mapping[str, str] = {
    "order.placed": "a checkout was completed: accept it and ship",
    "order.canceled": "the order is over, nothing was captured",
    "order.closed": "part was shipped, the rest is over",
    "order.fulfilled": "all of it was handed over",
    "shipment.handed_over": "a parcel left; its share was captured",
    "shipment.delivered": "a parcel arrived",
    "shipment.returned": "a parcel came back, and was paid back",
    "bid.won": "your bid is the best: confirm it",
    "bid.lost": "another bid is better",
    "award.defaulted": "you won and did not deliver",
    "association.joined": "somebody follows you now: ask for the followers",
    "association.removed": "somebody follows you no more: ask for the followers",
    "payout.sent": "what you sold was paid out",
    "payout.confirmed": "the payout arrived",
    "payout.returned": "the payout came back",
    "redemption.fulfilled": "a guest took what you sponsor",
    "coupon.stored": "a client keeps a coupon of one of your shelves",
    "trip.settled": "a visit was charged, or cost nothing",
    "trip.debt": "a visit could not be charged in full",
    "debt.recovered": "part or all of a debt was collected",
    "dispute.opened": "a shopper contests lines of a purchase",
    "dispute.decided": "a dispute was decided, and what was given back",
}


async def tell(
    db: Transaction,
    party: str,
    kind: str,
    about: str,
    now_s: int,
    data: Mapping[str, object] | None = None,
    *,
    once: str = "",
) -> None:
    """Once per party, kind and ``once`` (``about`` when left out); a second telling is none.

    Raises:
        KeyError: a kind that is not in the table.
    """
    assert KINDS[kind]
    text = json.dumps(dict(data or {}), sort_keys=True)
    row = await db.one(_INSERT, party, kind, about, once or about, text, now_s)
    if row is not None:
        await db.run("INSERT INTO event_due VALUES ($1)", row[0])


async def purge(db: Transaction, now_s: int) -> int:
    """Forget events of long ago that nobody waits for; how many."""
    done = await db.run(_PURGE, now_s - KEPT_S, PURGE_MAX)
    if done:
        await db.run("UPDATE event_kept SET since_s = $1 WHERE since_s < $1", now_s - KEPT_S)
    return done


_INSERT = """
INSERT INTO event (party, kind, about, once, data, at_s) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (party, kind, once) DO NOTHING RETURNING event
"""
_PURGE = """
DELETE FROM event WHERE event IN (SELECT e.event FROM event e WHERE e.at_s <= $1
    AND NOT EXISTS (SELECT 1 FROM event_due d WHERE d.event = e.event)
    AND NOT EXISTS (SELECT 1 FROM webhook_message m WHERE m.event = e.event)
    ORDER BY e.at_s LIMIT $2)
"""
