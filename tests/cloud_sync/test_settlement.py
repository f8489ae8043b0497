"""The transition table: where each signal leads, and what holds on every path through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from second_systems import STORE, WALL_NS, cart_closed, visit_ended, visit_started

from cloud_sync.demands import (
    Admitted,
    ChargeAdjust,
    ChargeCancel,
    ChargeCapture,
    Contested,
    NotAdmitted,
    RefundAsked,
    RefundDeclined,
    Refunded,
    Reviewed,
    SettledElsewhere,
    Verified,
)
from cloud_sync.purchase import (
    ENDS,
    AdjustDeclined,
    Adjusted,
    Captured,
    CaptureDeclined,
    CartRefused,
    GivenUp,
    Held,
    HoldDeclined,
    HoldVoided,
    Operation,
    Priced,
    PriceRefused,
    Purchase,
    SettlementError,
    Stage,
    Step,
    Terms,
)
from cloud_sync.settlement import TABLE, diagram_markdown, settle
from messages import codec
from messages.events import CartClosed, PricedLine, VisitEnded, VisitKind, VisitStarted
from messages.ids import LineId, Sku, VisitId
from messages.money import Money

TERMS = Terms(store=STORE, merchant="m1", currency="EUR", hold_minor=5000)
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "settlement.md"


def eur(minor: int) -> Money:
    return Money(minor=minor, currency="EUR")


def priced(total: int) -> Priced:
    line = PricedLine(
        line=LineId("v1-l0"),
        sku=Sku("apple"),
        name="Apple",
        quantity=1,
        unit_price_minor=total,
        discount_minor=0,
        tax_minor=0,
        total_minor=total,
    )
    return Priced(purchase="p1", total=eur(total), lines=(line,))


def walk(*signals: Any) -> list[Step]:
    purchase, steps = Purchase(visit=VisitId("v1")), []
    for signal in signals:
        steps.append(settle(purchase, signal, WALL_NS, TERMS))
        purchase = steps[-1].purchase
    return steps


def asked(steps: list[Step]) -> list[str]:
    return [ask.operation for step in steps for ask in step.asks]


STARTED, CART = visit_started("v1", "ann"), cart_closed("v1", "ann", "apple")


def test_the_usual_way_ends_paid() -> None:
    steps = walk(
        STARTED,
        Held(amount_minor=5000),
        CART,
        priced(120),
        Captured(capture="capture-v1", amount_minor=120),
    )
    assert [s.purchase.stage for s in steps] == [
        Stage.HOLD_REQUESTED,
        Stage.HELD,
        Stage.PRICING,
        Stage.CAPTURING,
        Stage.PAID,
    ]
    assert asked(steps) == ["hold", "price", "capture"]


def test_a_cart_that_closes_before_the_hold_is_answered_waits_for_it() -> None:
    steps = walk(STARTED, CART, Held(amount_minor=5000))
    assert [s.purchase.stage for s in steps][1:] == [Stage.CLOSING, Stage.PRICING]
    assert asked(steps) == ["hold", "price"]


def test_a_capture_of_another_amount_is_refused() -> None:
    before = [STARTED, Held(amount_minor=5000), CART, priced(120)]
    with pytest.raises(SettlementError, match="captured 119"):
        walk(*before, Captured(capture="capture-v1", amount_minor=119))


def test_a_raise_that_falls_short_is_refused() -> None:
    before = [STARTED, Held(amount_minor=100), CART, priced(120)]
    with pytest.raises(SettlementError, match="raised to 110"):
        walk(*before, Adjusted(amount_minor=110))


def test_a_raise_that_is_declined_ends_unpaid_and_frees_the_hold() -> None:
    before = [STARTED, Held(amount_minor=100), CART, priced(120)]
    steps = walk(*before, AdjustDeclined(reason="limit"), HoldVoided())
    assert steps[-1].purchase.stage is Stage.UNPAID
    assert asked(steps) == ["hold", "price", "adjust", "void"]


def test_a_price_of_nothing_frees_the_hold_and_is_free() -> None:
    steps = walk(STARTED, Held(amount_minor=5000), CART, priced(0), HoldVoided())
    assert steps[-1].purchase.stage is Stage.FREE
    assert steps[-1].receipt is not None
    assert steps[-1].receipt.total == eur(0)


def test_staff_are_never_charged_even_with_a_hold() -> None:
    staff = cart_closed("v1", "ann", "wine", kind=VisitKind.STAFF)
    assert asked(walk(STARTED, Held(amount_minor=5000), staff)) == ["hold", "void"]


def test_a_second_cart_of_one_visit_has_no_place() -> None:
    with pytest.raises(SettlementError, match="v1 is pricing: CartClosed"):
        walk(STARTED, Held(amount_minor=1), CART, CART)


def test_a_purchase_survives_its_file() -> None:
    purchase = walk(STARTED, Held(amount_minor=5000), CART, priced(120))[-1].purchase
    assert codec.decode_state(codec.encode_state(purchase), Purchase) == purchase


SIGNALS: dict[type, Any] = {
    VisitStarted: st.just(STARTED),
    VisitEnded: st.sampled_from([visit_ended("v1"), visit_ended("v1", "apple", in_review=("b",))]),
    CartClosed: st.sampled_from(
        [CART, cart_closed("v1", "ann"), cart_closed("v1", "ann", "apple", kind=VisitKind.STAFF)]
    ),
    Held: st.builds(Held, amount_minor=st.sampled_from([100, 5000])),
    Priced: st.sampled_from([0, 120, 6000]).map(priced),
    Adjusted: st.builds(Adjusted, amount_minor=st.sampled_from([120, 6000])),
    Captured: st.builds(
        Captured, capture=st.just("capture-v1"), amount_minor=st.sampled_from([120, 6000])
    ),
    HoldVoided: st.just(HoldVoided()),
    CartRefused: st.just(CartRefused(detail="no such SKU")),
    PriceRefused: st.just(PriceRefused(detail="off by one")),
    Verified: st.just(Verified(shopper="shopper-7")),
    Admitted: st.builds(Admitted, hold_minor=st.sampled_from([100, 2000, 9000])),
    ChargeAdjust: st.builds(ChargeAdjust, amount_minor=st.sampled_from([0, 50, 120, 6000])),
    ChargeCapture: st.builds(ChargeCapture, amount_minor=st.sampled_from([0, 120, 6000])),
    ChargeCancel: st.just(ChargeCancel()),
    RefundAsked: st.builds(
        RefundAsked,
        refund=st.sampled_from(["r1", "r2", "r3"]),
        amount_minor=st.sampled_from([0, 20, 60, 120, 6000]),
        reason=st.just("NOT_TAKEN"),
    ),
    Refunded: st.builds(
        Refunded, refund=st.just("r"), amount_minor=st.sampled_from([20, 60, 120, 6000])
    ),
    Contested: st.builds(
        Contested, reason=st.just("NOT_TAKEN"), lines=st.sampled_from([(), ("v1-l0",), ("x",)])
    ),
    SettledElsewhere: st.builds(SettledElsewhere, amount_minor=st.sampled_from([0, 6000])),
    **{
        kind: st.builds(kind, reason=st.just("no"))
        for kind in (
            *(HoldDeclined, AdjustDeclined, CaptureDeclined, GivenUp),
            *(NotAdmitted, RefundDeclined, Reviewed),
        )
    },
}
WAYS = [
    replace(TERMS, entry_check=check, retailer_charges=charges)
    for check in (False, True)
    for charges in (False, True)
]
REPEATABLE = ("adjust", "refund")  # told apart by a name


@given(st.data(), st.sampled_from(WAYS))
@settings(max_examples=400, deadline=None)
def test_on_every_path_money_moves_once_and_only_under_a_hold(
    data: st.DataObject, terms: Terms
) -> None:
    purchase, steps = Purchase(visit=VisitId("v1")), list[Step]()
    captured = back = 0
    for _ in range(data.draw(st.integers(1, 16))):
        choices = [signal for (stage, signal) in TABLE if stage is purchase.stage]
        if not choices:
            break
        signal = data.draw(SIGNALS[data.draw(st.sampled_from(choices))])
        held_before = purchase.held_minor
        try:
            step = settle(purchase, signal, WALL_NS, terms)
        except SettlementError:
            continue  # an answer to another question: the outbox parks, the purchase stays
        for ask in step.asks:
            if ask.operation is Operation.CAPTURE:
                assert step.purchase.total is not None
                assert 0 < step.purchase.total.minor <= step.purchase.held_minor
                assert sum(ask.body.line_totals) == ask.body.amount_minor  # type: ignore[union-attr]
            if ask.operation is Operation.HOLD:
                assert ask.body.amount_minor <= terms.hold_minor  # type: ignore[union-attr]
        if isinstance(signal, Captured):
            captured += signal.amount_minor
            assert held_before >= captured > 0
        if isinstance(signal, Refunded):
            back += signal.amount_minor
            assert back <= captured
        steps.append(step)
        purchase = step.purchase
    asks = [(ask.operation, ask.name) for step in steps for ask in step.asks]
    assert len(asks) == len(set(asks))
    assert all(
        name or operation not in REPEATABLE or not terms.retailer_charges
        for operation, name in asks
    )
    ids = [event.id for step in steps for event in step.events]
    assert len(ids) == len(set(ids))
    final = [s.receipt.number for s in steps if s.receipt and s.receipt.issued_wall_ns]
    assert final == list(range(len(final)))
    assert bool(final) >= (purchase.stage in ENDS)


def test_the_retailers_answers_at_the_entry_set_the_hold() -> None:
    terms = replace(TERMS, entry_check=True)
    purchase, asks = Purchase(visit=VisitId("v1")), []
    for signal in (STARTED, Verified(shopper="shopper-7"), CART, Admitted(hold_minor=2000)):
        step = settle(purchase, signal, WALL_NS, terms)
        purchase, asks = step.purchase, [*asks, *step.asks]
    assert [ask.operation for ask in asks] == ["verify", "admit", "hold"]
    assert (asks[-1].body.amount_minor, purchase.stage) == (2000, Stage.CLOSING)
    step = settle(purchase, Held(amount_minor=2000), WALL_NS, terms)
    assert step.asks[0].body.account == "shopper-7"  # the retailer's own name for the account


def test_in_payment_mode_the_retailer_has_the_word_and_the_hold_the_limit() -> None:
    terms = replace(TERMS, retailer_charges=True)
    purchase = walk(STARTED, Held(amount_minor=100), CART)[-1].purchase
    purchase = settle(purchase, priced(120), WALL_NS, terms).purchase
    assert purchase.stage is Stage.PRICED
    with pytest.raises(SettlementError, match="adjust first"):
        settle(purchase, ChargeCapture(amount_minor=120), WALL_NS, terms)
    raised = settle(purchase, ChargeAdjust(amount_minor=120), WALL_NS, terms)
    purchase = settle(raised.purchase, Adjusted(amount_minor=120), WALL_NS, terms).purchase
    step = settle(purchase, ChargeCapture(amount_minor=110), WALL_NS, terms)
    assert step.asks[0].body.line_totals == [110]  # another amount than the lines'
    done = settle(step.purchase, Captured(capture="c", amount_minor=110), WALL_NS, terms)
    assert done.receipt is not None
    assert (done.receipt.state, done.receipt.total.minor) == ("paid", 110)


def test_refunds_together_stay_within_the_capture_and_each_counts_once() -> None:
    paid = walk(
        STARTED,
        Held(amount_minor=5000),
        CART,
        priced(120),
        Captured(capture="capture-v1", amount_minor=120),
    )[-1].purchase
    ask = RefundAsked(refund="r1", amount_minor=50, reason="NOT_TAKEN")
    contested = settle(paid, Contested(reason="NOT_TAKEN", lines=("v1-l0",)), WALL_NS, TERMS)
    first = settle(contested.purchase, ask, WALL_NS, TERMS)
    back = settle(first.purchase, Refunded(refund="r1", amount_minor=50), WALL_NS, TERMS)
    assert back.receipt is not None
    assert (back.receipt.state, back.receipt.refunded_minor) == ("paid", 50)
    for wrong, words in (
        (ask, "made already"),
        (replace(ask, refund="r2", amount_minor=71), "70 that are left"),
    ):
        with pytest.raises(SettlementError, match=words):
            settle(back.purchase, wrong, WALL_NS, TERMS)
    rest = settle(back.purchase, replace(ask, refund="r2", amount_minor=70), WALL_NS, TERMS)
    end = settle(rest.purchase, Refunded(refund="r2", amount_minor=70), WALL_NS, TERMS)
    assert end.purchase.stage is Stage.REFUNDED
    assert [s.receipt.number for s in (contested, back, end) if s.receipt] == [1, 2, 3]


def test_every_stage_can_be_reached_and_left_but_the_ends() -> None:
    left = {stage for stage, _ in TABLE}
    reached = {stage for row in TABLE.values() for stage in row.to}
    assert reached | {Stage.NEW} == set(Stage)
    assert set(Stage) - left == {Stage.FREE, Stage.REFUNDED}


def test_the_guide_draws_the_table_as_it_is() -> None:
    assert diagram_markdown() in GUIDE.read_text()
