"""The book's tables, and how a round writes them. Every function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable

import aiosqlite
import msgspec

from cloud_sync.purchase import Purchase, Receipt
from messages import codec
from messages.events import CloudEvent

SCHEMA = """
CREATE TABLE IF NOT EXISTS purchase(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL, stage TEXT NOT NULL, data BLOB NOT NULL,
  updated_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS purchase_standing ON purchase(stage, updated_ns)
  WHERE stage IN ('priced','contested');
CREATE TABLE IF NOT EXISTS receipt(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('provisional','pending','priced','parked','bad_cart','paid','free','unpaid','void',
     'settled','contested','reviewed','refunded')),
  currency TEXT NOT NULL, total_minor INTEGER NOT NULL,
  purchase TEXT NOT NULL, capture TEXT NOT NULL,
  lines TEXT NOT NULL, in_review TEXT NOT NULL,           -- JSON
  started_wall_ns INTEGER NOT NULL, exit_wall_ns INTEGER NOT NULL,
  issued_wall_ns INTEGER NOT NULL,                        -- 0 while open
  detail TEXT NOT NULL,
  refunded_minor INTEGER NOT NULL DEFAULT 0,
  auth_events TEXT NOT NULL DEFAULT '[]',                 -- JSON
  party_size INTEGER NOT NULL DEFAULT 1,
  provisional TEXT NOT NULL DEFAULT '[]',                 -- JSON: the cart as known at the exit
  provisional_wall_ns INTEGER NOT NULL DEFAULT 0,
  due_wall_ns INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS receipt_unpaid ON receipt(account, issued_wall_ns) WHERE state='unpaid';
CREATE TABLE IF NOT EXISTS settlement_event(
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, visit TEXT NOT NULL,
  at_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
  type TEXT NOT NULL, body BLOB NOT NULL);                -- messages.codec
CREATE TABLE IF NOT EXISTS journal_cursor(
  one INTEGER PRIMARY KEY CHECK(one=1), store TEXT NOT NULL,
  seq INTEGER NOT NULL, event_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS destination(
  name TEXT PRIMARY KEY, state TEXT NOT NULL, detail TEXT NOT NULL,
  since_wall_ns INTEGER NOT NULL, probe_wall_ns INTEGER NOT NULL,  -- 0: no probe planned
  parallel INTEGER NOT NULL, in_flight INTEGER NOT NULL,
  latency_ms REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disabled(                      -- destinations that get nothing
  name TEXT PRIMARY KEY, reason TEXT NOT NULL, at_wall_ns INTEGER NOT NULL) WITHOUT ROWID;
"""


async def write_purchases(
    db: aiosqlite.Connection, purchases: Iterable[Purchase], wall_ns: int
) -> None:
    await db.executemany(
        "INSERT INTO purchase VALUES(?,?,?,?,?) ON CONFLICT(visit) DO UPDATE SET"
        " account=excluded.account, stage=excluded.stage, data=excluded.data,"
        " updated_ns=excluded.updated_ns",
        [(p.visit, p.account, p.stage, codec.encode_state(p), wall_ns) for p in purchases],
    )


async def write_receipts(db: aiosqlite.Connection, receipts: Iterable[Receipt]) -> None:
    await db.executemany(
        "INSERT OR REPLACE INTO receipt VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [_receipt_row(receipt) for receipt in receipts],
    )


async def write_events(
    db: aiosqlite.Connection, events: Iterable[CloudEvent], wall_ns: int
) -> None:
    await db.executemany(
        "INSERT INTO settlement_event(id,visit,at_ns,wall_ns,type,body) VALUES(?,?,?,?,?,?)",
        [(e.id, e.visit, e.at_ns, wall_ns, type(e).__name__, codec.encode(e)) for e in events],
    )


async def park_receipt(db: aiosqlite.Connection, visit: str, error: str) -> None:
    await db.execute(
        "UPDATE receipt SET state='parked', detail=? WHERE visit=? AND state='pending'",
        (error, visit),
    )


async def write_cursor(db: aiosqlite.Connection, store: str, seq: int, event_id: str) -> None:
    await db.execute(
        "INSERT OR REPLACE INTO journal_cursor VALUES(1,?,?,?)", (store, seq, event_id)
    )


async def write_switch(
    db: aiosqlite.Connection, destination: str, reason: str, wall_ns: int
) -> None:
    """A destination is disabled for this reason, or enabled with an empty one."""
    await db.execute("DELETE FROM disabled WHERE name=?", (destination,))
    if reason:
        await db.execute("INSERT INTO disabled VALUES(?,?,?)", (destination, reason, wall_ns))


def _receipt_row(receipt: Receipt) -> tuple[object, ...]:
    return (
        receipt.visit,
        receipt.account,
        receipt.state,
        receipt.total.currency,
        receipt.total.minor,
        receipt.purchase,
        receipt.capture,
        msgspec.json.encode(receipt.lines).decode(),
        msgspec.json.encode(receipt.in_review).decode(),
        receipt.started_wall_ns,
        receipt.exit_wall_ns,
        receipt.issued_wall_ns,
        receipt.detail,
        receipt.refunded_minor,
        msgspec.json.encode(receipt.auth_events).decode(),
        receipt.party_size,
        msgspec.json.encode(receipt.provisional).decode(),
        receipt.provisional_wall_ns,
        receipt.due_wall_ns,
    )
