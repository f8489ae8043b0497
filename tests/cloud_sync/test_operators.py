"""What operators can do: edit a refused request, switch webhooks off and on, replay by time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from second_systems import (
    Arrival,
    Fate,
    JournalFile,
    SecondSystems,
    serving,
    store_config,
    visit_started,
    whole_visit,
)

from cloud_sync import desk, service, views
from messages.store_config import StoreConfig


def settle(
    tmp_path: Path, systems: SecondSystems, *events: Any, status: int = 0, **cloud: Any
) -> Path:
    """Run the sync process until nothing is left; its file."""

    async def story() -> StoreConfig:
        async with serving(systems):
            config = store_config(tmp_path, systems.url, **cloud)
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*events)
            assert await asyncio.wait_for(service.run(config, drain=True), 30) == status
            journal.close()
            return config

    path = Path(asyncio.run(story()).paths.sync)
    assert systems.faults == []
    return path


def body_of(path: Path, idem: str) -> dict[str, Any]:
    with sqlite3.connect(path) as db:
        ((body,),) = db.execute("SELECT body FROM request WHERE idem=?", (idem,))
    found: dict[str, Any] = json.loads(body)
    return found


def test_an_edited_request_goes_under_a_new_key_and_the_former_body_is_kept(
    tmp_path: Path,
) -> None:
    systems = SecondSystems()
    path = settle(tmp_path, systems, *whole_visit("v1", "ann", "aple"), status=1)
    body = body_of(path, "v1:price")
    body["cartItems"][0]["id"] = "apple"
    desk.edit(path, "ann", json.dumps(body), operator="ops", reason="a slip in the catalogue")
    settle(tmp_path, systems)
    assert systems.sent("ann") == ["v1:hold", "v1:price", "v1:price~1", "v1:capture"]
    assert [r["state"] for r in views.receipts(path)] == ["paid"]
    with sqlite3.connect(path) as db:
        ((former,),) = db.execute("SELECT body FROM former_body")
    assert json.loads(former)["cartItems"][0]["id"] == "aple"
    (row,) = views.audit(path)
    assert (row["action"], row["reason"]) == ("edit", "a slip in the catalogue")
    assert "sha256" in row["detail"]


@pytest.mark.parametrize("body", ['{"requestId": 7}', "[]", '{"unknown": 1}'])
def test_an_edited_body_that_is_not_the_contracts_is_refused_and_audited(
    tmp_path: Path, body: str
) -> None:
    systems = SecondSystems()
    path = settle(tmp_path, systems, *whole_visit("v1", "ann", "ufo"), status=1)
    desk.edit(path, "ann", body, operator="ops", reason="try")
    settle(tmp_path, systems, status=1)
    (row,) = views.audit(path)
    assert row["detail"].startswith("refused: the body is not a PurchaseRequest")
    assert systems.sent("ann") == ["v1:hold", "v1:price"]


@pytest.mark.parametrize(("body", "reason"), [("{", "x"), ("{}", " "), ("1" * 2**21, "x")])
def test_an_edit_without_a_reason_or_json_is_refused_at_once(
    tmp_path: Path, body: str, reason: str
) -> None:
    with pytest.raises(desk.CommandError):
        desk.edit(tmp_path / "sync.db", "ann", body, operator="ops", reason=reason)


def gone(arrival: Arrival) -> Fate:
    return (410, {}, b"moved") if arrival.system == "webhook" else None


@pytest.mark.parametrize("order", ["ordered", "parallel"])
def test_a_receiver_that_is_gone_gets_nothing_until_an_operator_enables_it(
    tmp_path: Path, order: str
) -> None:
    systems = SecondSystems(fate=gone)
    visits = [e for i in range(1, 9) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    path = settle(tmp_path, systems, *visits, status=1, webhook_order=order)
    assert 1 <= sum(a.system == "webhook" for a in systems.arrivals) <= 8
    sent = len(systems.arrivals)
    found = views.summary(path)
    assert [a["key"] for a in found["alarms"]] == ["disabled:webhook"]
    assert {d["name"]: d["state"] for d in found["destinations"]} == {
        **{"broker": "up", "retailer": "up", "webhook": "disabled"}
    }
    systems.fate = lambda arrival: None
    settle(tmp_path, systems, status=1, webhook_order=order)
    assert len(systems.arrivals) == sent  # over a restart too
    desk.switch(path, True, operator="ops")
    settle(tmp_path, systems, webhook_order=order)
    assert sorted(message for message, _ in systems.webhooks) == [
        f"msg_v{i}:receipt-issued" for i in range(1, 9)
    ]
    assert views.summary(path)["alarms"] == []


def test_webhooks_that_an_operator_switched_off_wait_and_payments_go_on(tmp_path: Path) -> None:
    systems = SecondSystems()
    path = settle(tmp_path, systems)
    desk.switch(path, False, operator="ops", reason="their migration")
    settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"), status=1)
    assert systems.captured == {"capture-v1": 120}
    assert systems.webhooks == []
    with pytest.raises(desk.CommandError, match="reason"):
        desk.switch(path, False, operator="ops")


def test_deliveries_of_a_span_are_sent_again_under_their_own_ids(tmp_path: Path) -> None:
    systems = SecondSystems()
    path = settle(tmp_path, systems, *whole_visit("v1", "ann", "apple"))
    between_ns = time.time_ns()
    visits = [e for i in range(2, 5) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    settle(tmp_path, systems, *visits)
    desk.replay_span(path, between_ns, time.time_ns())
    settle(tmp_path, systems)
    ids = [message for message, _ in systems.webhooks]
    assert sorted(ids[4:]) == sorted(ids[1:4])
    shown = views.delivery(path, ids[1])
    assert shown is not None
    assert [s["state"] for s in shown["sendings"]] == ["done", "done"]
    assert shown["body"]["type"] == "receipt.issued"
    assert views.delivery(path, "msg_none") is None


def test_a_system_that_is_down_gets_single_probes_and_is_shown(tmp_path: Path) -> None:
    """Forty groups wait for a broker that fails: not forty tries, but one probe at a time."""
    systems = SecondSystems(fate=lambda a: (500, {}, b"oh"))

    async def story() -> dict[str, Any]:
        async with serving(systems):
            config = store_config(
                tmp_path, systems.url, backoff_start_s=0.2, backoff_max_s=0.5, hold_minor=1
            )
            journal = JournalFile(Path(config.paths.journal))
            journal.append(*(visit_started(f"v{i}", f"a{i}") for i in range(40)))
            running = asyncio.create_task(service.run(config))
            await asyncio.sleep(1.5)
            seen = views.summary(Path(config.paths.sync))
            tried = len(systems.arrivals)
            systems.fate = lambda arrival: None
            while len(systems.effects) < 40:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            journal.close()
            return seen | {"tried": tried}

    seen = asyncio.run(asyncio.wait_for(story(), 20))
    assert 5 <= seen["tried"] < 20
    (broker,) = [d for d in seen["destinations"] if d["name"] == "broker"]
    assert broker["state"] == "down"
    assert broker["groups_waiting"] in (39, 40)  # a probe may be under way
    assert broker["oldest_s"] > 0.5
    assert [a["key"] for a in seen["alarms"]] == ["failing:broker"]
    assert systems.faults == []


def test_requests_can_be_grouped_by_merchant(tmp_path: Path) -> None:
    systems = SecondSystems()
    visits = [e for i in range(1, 4) for e in whole_visit(f"v{i}", f"a{i}", "apple")]
    settle(tmp_path, systems, *visits, request_group="merchant")
    assert {a.group for a in systems.arrivals if a.system != "webhook"} == {"merchant:m1"}
    assert len(systems.captured) == 3
