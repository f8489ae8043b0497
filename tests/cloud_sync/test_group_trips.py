"""Several codes of one account: their entries reach the retailer, the receipt and the webhook."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

from second_systems import SecondSystems, cart_closed, visit_started
from test_settling_over_http import receipts, settle

from cloud_sync import book, outbox
from cloud_sync.database import SCHEMA_VERSION, Database
from messages import codec
from messages.events import CartClosed, Joined
from messages.ids import CredentialId, GateId

CART = replace(
    cart_closed("v1", "ann", "apple"),
    party_size=3,
    joined=(
        Joined(credential=CredentialId("c-two"), at_ns=8_000_000_000, gate=GateId("g")),
        Joined(
            credential=CredentialId("c-three"), at_ns=15_500_000_000, gate=GateId("g"), party_size=1
        ),
    ),
)
ADDED = ("auth_events", "party_size", "provisional", "provisional_wall_ns", "due_wall_ns")
ENTRIES = [
    {"id": "c-v1", "timestamp": "2026-09-21T14:13:20.000Z"},
    {"id": "c-two", "timestamp": "2026-09-21T14:13:27.000Z"},
    {"id": "c-three", "timestamp": "2026-09-21T14:13:34.500Z"},
]


def test_every_entry_of_a_group_is_in_the_purchase_the_receipt_and_the_webhook(
    tmp_path: Path,
) -> None:
    systems = SecondSystems()
    config = settle(tmp_path, systems, visit_started("v1", "ann"), CART)
    (price,) = [a.body for a in systems.arrivals if a.operation == "price"]
    trip = price["shoppingTrip"]
    assert [{n: e[n] for n in ("id", "timestamp")} for e in trip["authEvents"]] == ENTRIES
    assert {e["location"] for e in trip["authEvents"]} == {"ENTRY"}
    assert trip["partySize"] == 3
    receipt = receipts(config)["v1"]
    assert [one["id"] for one in receipt["auth_events"]] == ["c-v1", "c-two", "c-three"]
    assert (receipt["state"], receipt["party_size"]) == ("paid", 3)
    ((_, told),) = systems.webhooks
    assert (told["auth_events"], told["party_size"]) == (ENTRIES, 3)
    assert list(systems.captured.values()) == [120]  # one trip, one payment


def test_a_cart_of_an_older_journal_has_one_entry(tmp_path: Path) -> None:
    fields = codec.encode(CART)
    older = codec.encode(replace(CART, joined=()))
    assert isinstance(codec.decode(fields), CartClosed)
    assert codec.decode(older).joined == ()


def test_a_kill_while_the_file_was_new_leaves_one_that_opens(tmp_path: Path) -> None:
    """Its tables are there, its version is not; found by kills at the k-th system call."""
    path = tmp_path / "sync.db"
    settle(tmp_path, SecondSystems(), visit_started("v1", "ann"), CART)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=0")

    async def opened() -> None:
        await (await Database.open(path, outbox.SCHEMA, book.SCHEMA)).close()

    asyncio.run(opened())
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT state FROM receipt").fetchall() == [("paid",)]
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_file_of_version_2_gets_the_new_columns_and_keeps_its_receipts(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    settle(tmp_path, SecondSystems(), visit_started("v1", "ann"), CART)
    with sqlite3.connect(path) as db:  # as version 2 had it
        db.executescript(
            "".join(f"ALTER TABLE receipt DROP COLUMN {name};" for name in ADDED)
            + "PRAGMA user_version=2;"
        )

    async def opened() -> None:
        for _ in range(2):  # the second start finds nothing to do
            await (await Database.open(path, outbox.SCHEMA, book.SCHEMA)).close()

    asyncio.run(opened())
    with sqlite3.connect(path) as db:
        query = "SELECT visit, state, auth_events, party_size FROM receipt"
        assert db.execute(query).fetchall() == [("v1", "paid", "[]", 1)]
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
