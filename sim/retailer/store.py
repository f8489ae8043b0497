"""``retailer.db``: purchases by trip, webhooks by id; each is kept once.

Functions run inside a transaction of the one writer or on a read-only connection.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

import msgspec

from broker import idempotency
from broker.idempotency import Answer
from broker.problems import ProblemError
from messages.contract import PurchaseReply, PurchaseRequest
from sim.retailer.catalogue import Catalogue
from sim.retailer.pricing import CartError, price
from sim.retailer.webhooks import RECEIPT, Received

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS purchase (
    number INTEGER PRIMARY KEY AUTOINCREMENT, trip TEXT NOT NULL UNIQUE, purchase TEXT NOT NULL,
    store TEXT NOT NULL, shopper TEXT NOT NULL, digest BLOB NOT NULL, total_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, status INTEGER NOT NULL, reply BLOB NOT NULL,
    received_s INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS webhook (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    total_minor INTEGER NOT NULL, body BLOB NOT NULL, received_s INTEGER NOT NULL
) STRICT;
"""
    + idempotency.SCHEMA
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetailerBooks:
    """GET /v1/books: what was sold, and what the receipts that came back say was paid."""

    currency: str
    purchases: int
    purchased_minor: int
    webhooks: int
    receipts: int
    paid_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """One purchase as it was answered."""

    number: int
    trip: str
    store: str
    shopper: str
    purchase: PurchaseReply


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldPage:
    """GET /v1/purchases; ``after`` is where the next page starts."""

    purchases: list[Sold]
    after: int
    more: bool


def purchase(
    db: sqlite3.Connection, request: PurchaseRequest, catalogue: Catalogue, now_s: int
) -> Answer:
    """Price a trip's cart once; the same cart again gets the same answer under any key."""
    digest = idempotency.digest(msgspec.to_builtins(replace(request, requestId="")))
    trip = request.idempotentShoppingTripId
    known = db.execute(
        "SELECT digest, status, reply FROM purchase WHERE trip = ?", (trip,)
    ).fetchone()
    if known is not None:
        if known[0] != digest:
            detail = "this trip came before with another cart"
            raise ProblemError(422, "trip-changed", detail, param="$.idempotentShoppingTripId")
        return Answer(status=known[1], body=known[2], replayed=True)
    number = db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM purchase").fetchone()[0]
    try:
        reply = price(request, catalogue, f"purchase-{number}")
    except CartError as error:
        raise ProblemError(422, error.slug, error.detail, param=error.param) from None
    answer = Answer(status=201 if reply.purchaseId else 200, body=msgspec.json.encode(reply))
    db.execute(
        "INSERT INTO purchase VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            trip,
            reply.purchaseId,
            request.storeId,
            request.shopperIdentity.id,
            digest,
            reply.total,
            reply.currency,
            answer.status,
            answer.body,
            now_s,
        ),
    )
    return answer


def keep_webhook(db: sqlite3.Connection, received: Received, now_s: int) -> bool:
    """Store it; False when its id was stored before."""
    done = db.execute(
        "INSERT OR IGNORE INTO webhook (id, type, total_minor, body, received_s)"
        " VALUES (?, ?, ?, ?, ?)",
        (received.id, received.type, received.total_minor, received.body, now_s),
    )
    return done.rowcount == 1


def books(db: sqlite3.Connection, currency: str) -> RetailerBooks:
    sold = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(total_minor), 0) FROM purchase WHERE purchase <> ''"
    ).fetchone()
    told = db.execute(
        "SELECT COUNT(*), COALESCE(SUM(type = ?), 0), COALESCE(SUM(total_minor), 0) FROM webhook",
        (RECEIPT,),
    ).fetchone()
    return RetailerBooks(
        currency=currency,
        purchases=sold[0],
        purchased_minor=sold[1],
        webhooks=told[0],
        receipts=told[1],
        paid_minor=told[2],
    )


def purchases(db: sqlite3.Connection, after: int, limit: int) -> SoldPage:
    """Purchases in the order they came, after the given number."""
    rows = db.execute(
        "SELECT number, trip, store, shopper, reply FROM purchase"
        " WHERE number > ? AND purchase <> '' ORDER BY number LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    page = [
        Sold(
            number=row[0],
            trip=row[1],
            store=row[2],
            shopper=row[3],
            purchase=msgspec.json.decode(row[4], type=PurchaseReply),
        )
        for row in rows[:limit]
    ]
    last = page[-1].number if page else after
    return SoldPage(purchases=page, after=last, more=len(rows) > limit)
