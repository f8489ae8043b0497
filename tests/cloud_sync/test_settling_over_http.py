"""The whole sync process against a broker, a retailer and a receiver that fail on schedule."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from second_systems import (
    KEYS,
    SECRET,
    Arrival,
    Fate,
    JournalFile,
    SecondSystems,
    cart_closed,
    serving,
    store_config,
    visit_started,
    whole_visit,
)

from cloud_sync import service, views
from cloud_sync.database import SyncStoreError
from messages.events import VisitKind
from messages.store_config import StoreConfig


def settle(
    tmp_path: Path, systems: SecondSystems, *events: Any, status: int = 0, **cloud: Any
) -> StoreConfig:
    """Write the events to a journal, run the sync process until nothing is left."""

    async def story() -> StoreConfig:
        async with serving(systems):
            config = store_config(tmp_path, systems.url, **cloud)
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*events)
            assert await asyncio.wait_for(service.run(config, drain=True), 30) == status
            journal.close()
            return config

    config = asyncio.run(story())
    assert systems.faults == []
    return config


def receipts(config: StoreConfig) -> dict[str, dict[str, Any]]:
    return {row["visit"]: row for row in views.receipts(Path(config.paths.sync))}


def only_once(arrival_of: str, *fates: Fate) -> Any:
    """A fate for each of the first attempts of one operation."""
    left = list(fates)

    def fate(arrival: Arrival) -> Fate:
        return left.pop(0) if arrival.operation == arrival_of and left else None

    return fate


def test_a_cart_becomes_a_receipt_and_a_webhook(tmp_path: Path) -> None:
    systems = SecondSystems()
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple", "bread"))
    receipt = receipts(config)["v1"]
    assert (receipt["state"], receipt["total_minor"]) == ("paid", 120 + 2 * 349)
    assert [line["sku"] for line in receipt["lines"]] == ["apple", "bread"]
    assert systems.captured == {"capture-v1": 818}
    assert systems.sent("ann") == ["v1:hold", "v1:price", "v1:capture"]
    ((message, told),) = systems.webhooks
    assert (message, told["type"], told["total"]) == (
        "msg_v1:receipt-issued",
        "receipt.issued",
        818,
    )
    events = types_of_events(config)
    assert events == ["PaymentAuthorized", "PurchasePriced", "PaymentCaptured", "ReceiptIssued"]


def types_of_events(config: StoreConfig) -> list[str]:
    with sqlite3.connect(config.paths.sync) as db:
        return [t for (t,) in db.execute("SELECT type FROM settlement_event ORDER BY seq")]


def test_a_broken_answer_is_asked_again_under_the_same_key(tmp_path: Path) -> None:
    systems = SecondSystems(fate=only_once("capture", (500, {}, b"oh"), (503, {}, b"")))
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    captures = [a for a in systems.arrivals if a.operation == "capture"]
    assert [a.attempt for a in captures] == [1, 2, 3]
    assert {a.idem for a in captures} == {"v1:capture"}
    assert len({a.seq for a in captures}) == 1
    assert receipts(config)["v1"]["state"] == "paid"


def test_a_lost_answer_charges_once(tmp_path: Path) -> None:
    systems = SecondSystems(fate=only_once("capture", "lost", "lost", "dropped"))
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    assert systems.effects["capture-v1"] == 1
    assert systems.fates == {"lost": 2, "dropped": 1}
    assert receipts(config)["v1"]["state"] == "paid"


def test_a_wait_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    systems = SecondSystems(
        fate=only_once("hold", (429, {"Retry-After": "1"}, b""), (409, {"Retry-After": "0"}, b""))
    )
    times: list[float] = []

    def noted(arrival: Arrival) -> float:
        if arrival.operation == "hold":
            times.append(asyncio.get_running_loop().time())
        return 0.0

    systems.delay_s = noted
    settle(tmp_path, systems, visit_started("v1", "ann"))
    assert len(times) == 3
    assert times[1] - times[0] >= 1.0
    assert times[2] - times[1] < 1.0


def test_a_total_that_does_not_add_up_is_never_captured(tmp_path: Path) -> None:
    systems = SecondSystems(twist=lambda reply: reply | {"total": reply["total"] + 1})
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"), status=1)
    assert systems.captured == {}
    receipt = receipts(config)["v1"]
    assert receipt["state"] == "parked"
    assert "PriceMismatch" in receipt["detail"]
    (parked,) = views.summary(Path(config.paths.sync))["parked"]
    assert "PriceMismatch" in parked["error"]
    assert "resume" in parked["remedy"]


def test_an_sku_the_retailer_does_not_know_is_named_and_settles_once_it_is_known(
    tmp_path: Path,
) -> None:
    systems = SecondSystems()
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple", "ufo"), status=1)
    receipt = receipts(config)["v1"]
    assert receipt["state"] == "bad_cart"
    assert "ufo" in receipt["detail"]
    assert systems.captured == {}
    systems.prices["ufo"] = 100
    service.resume(Path(config.paths.sync), "ann", operator="ops")
    settle(tmp_path, systems)
    assert receipts(config)["v1"]["state"] == "paid"
    assert systems.captured == {"capture-v1": 320}
    assert systems.sent("ann") == ["v1:hold", "v1:price", "v1:price~1", "v1:capture"]
    (row,) = views.audit(Path(config.paths.sync))
    assert (row["operator"], row["action"], row["target"]) == ("ops", "resume", "ann")


def test_a_voided_pricing_releases_the_hold_and_charges_nothing(tmp_path: Path) -> None:
    systems = SecondSystems()
    visits = [*whole_visit("v1", "ann", "ufo"), *whole_visit("v2", "ann", "apple")]
    config = settle(tmp_path, systems, *visits, status=1)
    assert systems.sent("ann") == ["v1:hold", "v1:price"]
    service.void(Path(config.paths.sync), "ann", operator="ops", reason="test article")
    settle(tmp_path, systems)
    assert receipts(config)["v1"]["state"] == "void"
    assert receipts(config)["v2"]["state"] == "paid"
    assert systems.effects["void-hold-v1"] == 1
    assert "capture-v1" not in systems.captured
    assert systems.sent("ann")[2:] == ["v1:void", "v2:hold", "v2:price", "v2:capture"]
    assert "test article" in views.audit(Path(config.paths.sync))[0]["reason"]


def test_a_parked_group_stops_only_itself(tmp_path: Path) -> None:
    systems = SecondSystems(
        fate=lambda a: (422, {}, b"no") if a.idem == "v1:hold" else None,
    )
    visits = [e for i in range(1, 6) for e in whole_visit(f"v{i}", f"a{i % 3}", "apple")]
    config = settle(tmp_path, systems, *visits, status=1)
    found = receipts(config)
    assert {v for v, r in found.items() if r["state"] == "paid"} == {"v2", "v3", "v5"}
    assert systems.sent("a1") == ["v1:hold"]  # v4 is of the same account: it waits
    (parked,) = views.summary(Path(config.paths.sync))["parked"]
    assert (parked["grp"], parked["status"], parked["waiting"]) == ("a1", 422, 2)


def test_declined_at_the_exit_is_an_unpaid_receipt(tmp_path: Path) -> None:
    systems = SecondSystems(declines={"capture"})
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    receipt = receipts(config)["v1"]
    assert (receipt["state"], receipt["detail"]) == ("unpaid", "card expired")
    assert systems.effects["void-hold-v1"] == 1
    ((_, told),) = systems.webhooks
    assert told["type"] == "payment.declined"


def test_declined_at_the_entry_lets_in_and_is_unpaid_at_the_exit(tmp_path: Path) -> None:
    systems = SecondSystems(declines={"hold"})
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    receipt = receipts(config)["v1"]
    assert (receipt["state"], receipt["total_minor"]) == ("unpaid", 120)
    assert systems.sent("ann") == ["v1:hold", "v1:price"]


def test_a_purchase_above_the_hold_asks_for_a_raise_first(tmp_path: Path) -> None:
    systems = SecondSystems()
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "wine", "wine"), hold_minor=2000)
    assert systems.sent("ann") == ["v1:hold", "v1:price", "v1:adjust", "v1:capture"]
    assert receipts(config)["v1"]["total_minor"] == 3 * 1899


def test_nothing_taken_costs_nothing_and_frees_the_hold(tmp_path: Path) -> None:
    systems = SecondSystems()
    config = settle(
        tmp_path,
        systems,
        *whole_visit("v1", "ann"),
        visit_started("v2", "bob"),
        cart_closed("v2", "bob", in_review=("wine",)),
        cart_closed("v3", "eve", "wine", kind=VisitKind.STAFF),
    )
    assert {r["state"] for r in receipts(config).values()} == {"free"}
    assert systems.captured == {}
    assert systems.effects["void-hold-v1"] == systems.effects["void-hold-v2"] == 1
    assert [line["sku"] for line in receipts(config)["v2"]["in_review"]] == ["wine"]
    assert systems.sent("eve") == []


def test_webhooks_are_tried_again_in_order(tmp_path: Path) -> None:
    systems = SecondSystems(
        fate=only_once("webhook", (500, {}, b""), (404, {}, b""), "lost"),
    )
    visits = [e for i in range(1, 4) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    config = settle(tmp_path, systems, *visits, backoff_start_s=0.0001)
    ids = [message for message, _ in systems.webhooks]
    assert len(set(ids)) == 3
    assert ids[0] == ids[1]  # the lost answer: told twice under one id
    assert all(row["state"] == "done" for row in views.deliveries(Path(config.paths.sync)))


def test_a_webhook_can_be_sent_again_under_its_own_id(tmp_path: Path) -> None:
    systems = SecondSystems()
    config = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    (delivery,) = views.deliveries(Path(config.paths.sync))
    service.replay(Path(config.paths.sync), delivery["id"])
    settle(tmp_path, systems)
    assert [message for message, _ in systems.webhooks] == [delivery["id"]] * 2
    assert [d["idem"] for d in views.deliveries(Path(config.paths.sync))] == [
        "v1:receipt.issued",
        "v1:receipt.issued~1",
    ]


def test_a_slow_group_does_not_hold_up_the_others(tmp_path: Path) -> None:
    systems = SecondSystems(delay_s=lambda a: 0.5 if a.group == "slow" else 0.0)
    visits = [e for i in range(1, 9) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    settle(tmp_path, systems, *whole_visit("v0", "slow", "apple"), *visits)
    order = [a.idem for a in systems.arrivals]
    assert all(order.index(f"v{i}:capture") < order.index("v0:price") for i in range(1, 9))


def test_a_rejected_key_stops_the_destination_and_names_it(tmp_path: Path) -> None:
    systems = SecondSystems(fate=lambda a: (401, {}, b"bad key") if a.system == "broker" else None)
    visits = [visit_started(f"v{i}", f"a{i}") for i in range(40)]
    config = settle(tmp_path, systems, *visits, status=1)
    assert len(systems.arrivals) < 10  # the first few, then single probes: not all forty
    (alarm,) = views.summary(Path(config.paths.sync))["alarms"]
    assert alarm["key"] == "barred:broker"
    systems.fate = lambda arrival: None
    settle(tmp_path, systems)
    assert sum(systems.effects.values()) == 40
    assert views.summary(Path(config.paths.sync))["alarms"] == []


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    systems = SecondSystems()
    systems.fate = lambda a: (307, {"Location": f"{systems.url}/hook"}, b"")
    config = settle(tmp_path, systems, visit_started("v1", "ann"), status=1)
    assert {a.system for a in systems.arrivals} == {"broker"}
    assert views.summary(Path(config.paths.sync))["alarms"][0]["key"] == "barred:broker"


def test_a_flood_as_an_answer_is_cut_off(tmp_path: Path) -> None:
    systems = SecondSystems(fate=lambda a: (201, {}, b"x" * (3 * 2**20)))
    config = settle(tmp_path, systems, visit_started("v1", "ann"), status=1)
    (parked,) = views.summary(Path(config.paths.sync))["parked"]
    assert "larger than" in parked["error"]


def test_keys_are_nowhere_in_the_file_even_when_echoed(tmp_path: Path) -> None:
    def echo(arrival: Arrival) -> Fate:
        return 400, {}, f"you sent {arrival.headers.get('Authorization')}".encode()

    config = settle(tmp_path, SecondSystems(fate=echo), visit_started("v1", "ann"), status=1)
    content = b"".join(p.read_bytes() for p in tmp_path.glob("sync.db*") if p.is_file())
    assert b"you sent Bearer [secret]" in content
    assert all(k.encode() not in content for k in (*KEYS.values(), SECRET, SECRET[6:]))
    assert config.paths.sync


def test_a_mended_key_file_is_read_at_the_next_probe(tmp_path: Path) -> None:
    systems = SecondSystems()

    async def story() -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            JournalFile(Path(config.paths.journal)).append(*whole_visit("v1", "ann", "apple"))
            (tmp_path / "broker.key").write_text("an-old-key")
            running = asyncio.create_task(service.run(config))
            while "barred:broker" not in {a["key"] for a in alarms(config)}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            (tmp_path / "broker.key").write_text(KEYS["broker"])
            await asyncio.wait_for(systems.told.wait(), 10)
            assert alarms(config) == []
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())
    assert systems.captured == {"capture-v1": 120}


def alarms(config: StoreConfig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = views.summary(Path(config.paths.sync))["alarms"]
    return found


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    systems = SecondSystems()
    visits = [e for i in range(40) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    config = settle(tmp_path, systems, *visits)
    file = Path(config.paths.sync)
    content = bytearray(file.read_bytes())
    content[40_000:44_000] = b"\x99" * 4_000
    file.write_bytes(content)

    async def story() -> None:
        async with serving(systems):
            await asyncio.wait_for(service.run(store_config(tmp_path, systems.url)), 10)

    with pytest.raises((SyncStoreError, sqlite3.DatabaseError), match=r"damaged|malformed"):
        asyncio.run(story())
