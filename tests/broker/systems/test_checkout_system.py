"""System G: checkouts with shipping, orders and shipments, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk
from hypothesis import given
from hypothesis import strategies as st
from market import held, owed, paid, private_key, registered, shopper

from broker.routes import Nothing
from broker.systems import checkouts, merchant_notices, merchants, orders, shipments
from broker.systems.checkouts import (
    CheckoutRequest,
    ChoiceRequest,
    CompleteRequest,
    Destination,
    Extra,
    Offer,
    OfferLine,
    Way,
)
from broker.systems.shipments import ShipmentEventRequest, ShipmentRequest, ShipmentState

HOME = Destination(region="DE-BY", address="Lindenweg 3, Hof")
LINES = {"lamp": 4_000, "bulb": 500}


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger)
    registered(desk, "lights", "other", fee_permille=10)
    shopper(desk, "anna", 20_000)
    return desk


def offer_of(desk: Desk, name: str = "k1", lines: dict[str, int] | None = None) -> CheckoutRequest:
    offer = Offer(
        currency="EUR",
        lines=[
            OfferLine(line_id=line, name=line, quantity=1, total_minor=minor)
            for line, minor in (lines or LINES).items()
        ],
        ways=[
            Way(way="home", by="ship", price_minor=490, regions=["DE-BY", "AT"]),
            Way(way="counter", by="pick_up", price_minor=0),
        ],
        extras=[Extra(extra="gift_wrap", price_minor=250)],
        tax_minor=95,
        discount_minor=300,
        valid_until_s=desk.now_s + 3_600,
    )
    asked = CheckoutRequest(
        checkout=name, account="anna", merchant="lights", offer=offer, merchant_signature=""
    )
    signature = merchants.sign(private_key("lights"), checkouts.PURPOSE, checkouts.promised(asked))
    return replace(asked, merchant_signature=signature)


def chosen(desk: Desk, name: str = "k1", way: str = "home", *extras: str) -> dict[str, Any]:
    """The checkout as the shopper sees it after choosing."""
    desk.if_match = desk.ask(checkouts.checkout, name).version
    choice = ChoiceRequest(way=way, chosen_extras=list(extras), destination=HOME)
    reply: dict[str, Any] = desk.do(checkouts.choose, choice, id=name)
    desk.if_match = None
    return reply


def ordered(desk: Desk, name: str = "k1") -> dict[str, Any]:
    desk.do(checkouts.open_checkout, offer_of(desk, name))
    seen = chosen(desk, name, "home", "gift_wrap")
    wish = CompleteRequest(order_id=f"o-{name}", totals_hash=seen["totals_hash"])
    reply: dict[str, Any] = desk.do(checkouts.complete, wish, id=name)
    return reply


def accepted(desk: Desk, name: str = "k1") -> str:
    order = str(ordered(desk, name)["order_id"])
    desk.do(orders.accept, Nothing(), id=order)
    return order


def pack(desk: Desk, order: str, shipment: str, *lines: str) -> Any:
    wish = ShipmentRequest(shipment=shipment, line_ids=list(lines))
    return desk.do(shipments.pack, wish, id=order)


def happens(desk: Desk, order: str, shipment: str, what: str, event: str = "") -> Any:
    wish = ShipmentEventRequest(event=event or f"{shipment}-{what}", happened=what)
    return desk.do(shipments.event, wish, id=order, shipment=shipment)


def test_total_is_the_exact_sum_and_is_held_when_it_is_completed(desk: Desk) -> None:
    order = ordered(desk)
    total = 4_500 + 490 + 250 + 95 - 300
    assert order["authorised_minor"] == total
    assert (held(desk, "anna"), owed(desk, "anna")) == (total, 0)
    notices = desk.ask(lambda db, call: merchant_notices.page(db, desk.call(id="lights"), 0, 10))
    assert [(one.what, one.about) for one in notices.notices] == [("order.placed", "o-k1")]
    assert desk.breaches() == {}


def test_shipments_capture_their_share_and_together_the_total(desk: Desk) -> None:
    order = accepted(desk)
    pack(desk, order, "s1", "lamp")
    assert owed(desk, "anna") == 0  # packed is not handed over
    assert happens(desk, order, "s1", "handed_over")["amount_minor"] == 4_000
    pack(desk, order, "s2", "bulb")
    assert happens(desk, order, "s2", "delivered")["amount_minor"] == 1_035
    assert (held(desk, "anna"), owed(desk, "anna")) == (0, 5_035)
    assert desk.balance("merchant_payable:lights") == 5_035 - 40 - 10
    assert desk.ask(orders.order, order).state == "fulfilled"
    assert desk.breaches() == {}


def test_cart_that_was_altered_on_the_way_is_refused(desk: Desk) -> None:
    good = offer_of(desk)
    cheaper = replace(good.offer, lines=[replace(good.offer.lines[0], total_minor=1)])
    free = replace(good.offer, ways=[replace(good.offer.ways[0], price_minor=0)])
    for forged in (
        replace(good, offer=cheaper),
        replace(good, offer=free),
        replace(good, checkout="k2"),
        replace(good, merchant="other"),
    ):
        assert desk.refused(checkouts.open_checkout, forged) == "merchant-signature"
    desk.do(checkouts.open_checkout, good)
    assert desk.do(checkouts.open_checkout, good)["state"] == "incomplete"
    dearer = offer_of(desk, "k1", {"lamp": 9_000})
    assert desk.refused(checkouts.open_checkout, dearer) == "id-taken"


def test_completed_total_is_the_one_last_shown(desk: Desk) -> None:
    desk.do(checkouts.open_checkout, offer_of(desk))
    nothing = CompleteRequest(order_id="o1", totals_hash="")
    assert desk.refused(checkouts.complete, nothing, id="k1") == "wrong-state"
    first = chosen(desk)
    chosen(desk, "k1", "counter")
    stale = CompleteRequest(order_id="o1", totals_hash=first["totals_hash"])
    assert desk.refused(checkouts.complete, stale, id="k1") == "totals-changed"
    desk.if_match = 1
    choice = ChoiceRequest(way="home", destination=HOME)
    assert desk.refused(checkouts.choose, choice, id="k1") == "version-mismatch"
    desk.now_s += 3_600
    late = replace(stale, totals_hash=desk.ask(checkouts.checkout, "k1").totals_hash)
    assert desk.refused(checkouts.complete, late, id="k1") == "quote-expired"
    assert held(desk, "anna") == 0


def test_option_of_another_address_or_of_nobody_is_refused(desk: Desk) -> None:
    desk.do(checkouts.open_checkout, offer_of(desk))
    desk.if_match = 1
    abroad = ChoiceRequest(way="home", destination=replace(HOME, region="FR"))
    assert desk.refused(checkouts.choose, abroad, id="k1") == "other-region"
    nowhere = ChoiceRequest(way="home")
    assert desk.refused(checkouts.choose, nowhere, id="k1") == "other-region"
    drone = ChoiceRequest(way="drone")
    assert desk.refused(checkouts.choose, drone, id="k1") == "unknown-option"
    bow = ChoiceRequest(way="counter", chosen_extras=["bow"])
    assert desk.refused(checkouts.choose, bow, id="k1") == "unknown-option"
    assert desk.do(checkouts.choose, ChoiceRequest(way="counter"), id="k1")["way_minor"] == 0


def test_sixty_four_racers_on_one_checkout_place_one_order(desk: Desk) -> None:
    desk.do(checkouts.open_checkout, offer_of(desk))
    seen = chosen(desk)
    wishes = [
        CompleteRequest(order_id=f"o{i}", totals_hash=seen["totals_hash"]) for i in range(RACERS)
    ]
    done, slugs = desk.race(checkouts.complete, wishes, id="k1")
    assert len(done) == 1
    assert set(slugs) == {"wrong-state"}
    assert held(desk, "anna") == seen["total_minor"]
    again = CompleteRequest(order_id=done[0]["order_id"], totals_hash=seen["totals_hash"])
    assert desk.do(checkouts.complete, again, id="k1") == done[0]  # page and webhook raced
    desk.if_match = 3
    choice = ChoiceRequest(way="counter")
    assert desk.refused(checkouts.choose, choice, id="k1") == "wrong-state"
    assert desk.breaches() == {}


def test_sixty_four_carriers_hand_one_shipment_over_once(desk: Desk) -> None:
    order = accepted(desk)
    pack(desk, order, "s1", "lamp")
    wishes = [ShipmentEventRequest(event=f"e{i}", happened="handed_over") for i in range(RACERS)]
    done, slugs = desk.race(shipments.event, wishes, id=order, shipment="s1")
    assert (len(done), slugs) == (RACERS, [])  # each is heard, one has an effect
    assert owed(desk, "anna") == 4_000
    effects = desk.ledger.rows("SELECT event FROM shipment_event WHERE took_effect = 1")
    assert len(effects) == 1
    assert desk.breaches() == {}


@given(st.permutations(["packed", "handed_over", "delivered"]), st.integers(0, 2))
def test_events_twice_late_and_in_any_order_end_the_same(order: list[str], twice: int) -> None:
    """The table alone: what says less than is known does nothing."""
    known, rank = ShipmentState.PACKED, list(ShipmentState)
    for what in [*order, order[twice]]:
        status = ShipmentState(what)
        if rank.index(status) > rank.index(known):
            known = shipments.SHIPMENT_STATES[(known, status)]
    assert known is ShipmentState.DELIVERED


def test_events_that_come_again_or_late_change_nothing(desk: Desk) -> None:
    order = accepted(desk)
    pack(desk, order, "s1", "lamp", "bulb")
    done = happens(desk, order, "s1", "delivered", "e1")
    assert happens(desk, order, "s1", "delivered", "e1") == done
    assert happens(desk, order, "s1", "handed_over", "e2") == done  # late
    other = ShipmentEventRequest(event="e1", happened="returned")
    assert desk.refused(shipments.event, other, id=order, shipment="s1") == "id-taken"
    assert owed(desk, "anna") == 5_035
    assert desk.refused(shipments.event, other, id=order, shipment="s9") == "unknown-shipment"


def test_returned_shipment_is_paid_back_at_the_merchants_cost(desk: Desk) -> None:
    order = accepted(desk)
    pack(desk, order, "s1", "lamp", "bulb")
    happens(desk, order, "s1", "handed_over")
    paid(desk, "anna", 5_000)
    happens(desk, order, "s1", "returned")
    assert owed(desk, "anna") == 0
    assert desk.balance("refund_clearing") == 5_000
    assert desk.balance("merchant_payable:lights") == -50  # our fee
    assert desk.breaches() == {}


def test_merchant_that_never_answers_or_never_ships_loses_the_order(desk: Desk) -> None:
    silent = ordered(desk, "k1")["order_id"]
    desk.now_s += orders.ACCEPT_S
    desk.ledger.do(lambda db: orders.lapse(db, desk.now_s))
    assert desk.ask(orders.order, silent).state == "canceled"
    slow = accepted(desk, "k2")
    pack(desk, slow, "s1", "lamp")
    happens(desk, slow, "s1", "handed_over")
    pack(desk, slow, "s2", "bulb")
    desk.now_s += orders.SHIP_S
    desk.ledger.do(lambda db: orders.lapse(db, desk.now_s))
    assert desk.ask(orders.order, slow).state == "closed"
    assert (held(desk, "anna"), owed(desk, "anna")) == (0, 4_000)
    late = ShipmentEventRequest(event="e", happened="handed_over")
    assert desk.refused(shipments.event, late, id=slow, shipment="s2") == "hold-over"
    assert desk.refused(orders.accept, Nothing(), id=silent) == "wrong-state"
    assert desk.breaches() == {}


def test_canceled_order_gives_all_back_and_a_shipped_one_cannot_be_canceled(desk: Desk) -> None:
    order = ordered(desk)["order_id"]
    assert desk.do(orders.cancel, Nothing(), id=order)["state"] == "canceled"
    assert held(desk, "anna") == 0
    shipped = accepted(desk, "k2")
    pack(desk, shipped, "s1", "lamp")
    happens(desk, shipped, "s1", "handed_over")
    assert desk.refused(orders.cancel, Nothing(), id=shipped) == "wrong-state"
    assert desk.breaches() == {}


def test_a_line_is_in_one_shipment_of_its_own_merchant(desk: Desk) -> None:
    order = ordered(desk)["order_id"]
    wish = ShipmentRequest(shipment="s1", line_ids=["lamp"])
    assert desk.refused(shipments.pack, wish, id=order) == "wrong-state"
    desk.do(orders.accept, Nothing(), id=order)
    pack(desk, order, "s1", "lamp")
    twice = replace(wish, shipment="s2")
    assert desk.refused(shipments.pack, twice, id=order) == "line-shipped"
    unknown = ShipmentRequest(shipment="s2", line_ids=["sofa"])
    assert desk.refused(shipments.pack, unknown, id=order) == "unknown-line"
    desk.party = "other"
    assert desk.refused(shipments.pack, twice, id=order) == "unknown-merchant"
    assert desk.refused(orders.accept, Nothing(), id=order) == "unknown-merchant"
    with pytest.raises(Exception, match="unknown-merchant"):
        desk.ask(orders.order, order)


PLANTED = {
    "a total is the sum of what it is made of": "UPDATE checkout SET tax_minor = 96",
    "a completed checkout has one order, every other none": "UPDATE checkout SET state = 'ready'",
    "what is authorised is the total that was shown": "UPDATE checkout SET totals_hash = 'x'",
    "captures and what is still held are within what was authorised": (
        "UPDATE shop_order SET captured_minor = captured_minor - 1"
    ),
    "a shipment is charged to its shopper, to the cent": (
        "UPDATE shipment SET amount_minor = amount_minor + 1"
    ),
    "an order that is over holds nothing": "UPDATE hold SET status = 'held'",
    "a canceled order captured nothing, a fulfilled one all of it": (
        "UPDATE shop_order SET state = 'canceled'"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_is_found(desk: Desk, name: str) -> None:
    order = accepted(desk)
    pack(desk, order, "s1", "lamp", "bulb")
    happens(desk, order, "s1", "handed_over")
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert f"checkouts: {name}" in desk.breaches()
