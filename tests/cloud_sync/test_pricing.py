"""The purchase request, and every way in which a reply can fail to add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from second_systems import STORE, cart_closed

from cloud_sync import retailer
from cloud_sync.outcomes import BadAnswer
from cloud_sync.pricing import PriceMismatch, check_reply, purchase_request
from cloud_sync.purchase import CartRefused, Operation, PriceRefused, Terms
from messages.contract import Problem, PurchaseLine, PurchaseReply

CART = cart_closed("v1", "ann", "apple", "bread", in_review=("wine",))
TERMS = Terms(store=STORE, merchant="m1", currency="EUR", hold_minor=5000)
ASKED = purchase_request(CART, STORE)


def line(number: int, sku: str, quantity: int, price: int, discount: int = 0) -> PurchaseLine:
    return PurchaseLine(
        lineItemId=f"v1-l{number}",
        id=sku,
        name=sku,
        quantity=quantity,
        unitPrice=price,
        discount=discount,
        tax=0,
        total=price * quantity - discount,
    )


LINES = [line(0, "apple", 1, 120), line(1, "bread", 2, 349, 100)]
REPLY = PurchaseReply(purchaseId="p1", currency="EUR", lines=LINES, total=718)


def test_only_charged_lines_are_priced_and_no_price_is_sent() -> None:
    assert [item.id for item in ASKED.cartItems] == ["apple", "bread"]
    assert b"nitPrice" not in msgspec.json.encode(ASKED)
    assert ASKED.shoppingTrip.endTime == "2026-09-21T14:14:19.000Z"
    assert ASKED.cartItems[0].takenAt == "2026-09-21T14:13:49.000Z"  # 30 s before the end
    assert ASKED.cartItems[0].evidence["massG"] == "-150.0"


def test_a_reply_that_adds_up_is_taken_in_the_order_asked() -> None:
    lines, total = check_reply(ASKED, replace(REPLY, lines=LINES[::-1]), "EUR")
    assert [one.sku for one in lines] == ["apple", "bread"]
    assert (total.minor, total.currency) == (718, "EUR")


def with_line(number: int, **fields: object) -> Callable[[], PurchaseReply]:
    lines = list(LINES)
    lines[number] = replace(lines[number], **fields)  # type: ignore[arg-type]
    return lambda: replace(REPLY, lines=lines, total=sum(one.total for one in lines))


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (lambda: replace(REPLY, total=719), "total is 719"),
        (lambda: replace(REPLY, currency="USD"), "currency 'USD'"),
        (lambda: replace(REPLY, purchaseId=""), "purchaseId"),
        (lambda: replace(REPLY, lines=LINES[:1], total=120), "missing lines"),
        (
            lambda: replace(REPLY, lines=[*LINES, line(7, "apple", 1, 1)], total=719),
            "unknown lines",
        ),
        (lambda: replace(REPLY, lines=[*LINES, LINES[0]], total=838), "comes twice"),
        (with_line(0, id="pear"), "SKU 'pear'"),
        (with_line(0, quantity=2, total=240), "quantity 2"),
        (with_line(0, total=121), "total 121, it should be 120"),
        (with_line(0, unitPrice=-5, total=-5), "out of bounds"),
        (with_line(0, unitPrice=10**12, total=10**12), "out of bounds"),
        (with_line(0, discount=-1, total=121), "discount -1"),
        (with_line(0, discount=121, total=-1), "discount 121"),
        (with_line(0, tax=121), "tax 121"),
        (with_line(1, unitPrice=9_000_000, total=17_999_900), "beyond reason"),
    ],
)
def test_a_reply_that_does_not_add_up_is_named(
    reply: Callable[[], PurchaseReply], says: str
) -> None:
    with pytest.raises(PriceMismatch, match=says):
        check_reply(ASKED, reply(), "EUR")


@given(st.lists(st.integers(-10, 10), min_size=9, max_size=9).filter(any))
def test_no_change_of_any_number_slips_through(change: list[int]) -> None:
    lines = [
        replace(
            one,
            unitPrice=one.unitPrice + change[4 * i],
            quantity=one.quantity + change[4 * i + 1],
            discount=one.discount + change[4 * i + 2],
            total=one.total + change[4 * i + 3],
        )
        for i, one in enumerate(LINES)
    ]
    reply = replace(REPLY, lines=lines, total=REPLY.total + change[8])
    try:
        accepted, total = check_reply(ASKED, reply, "EUR")
    except PriceMismatch:
        return
    assert [one.quantity for one in accepted] == [1, 2]
    assert total.minor == sum(
        one.unit_price_minor * one.quantity - one.discount_minor for one in accepted
    )


def test_a_price_mismatch_parks_and_an_unreadable_reply_is_another_error() -> None:
    asked = msgspec.json.encode(ASKED)
    wrong = msgspec.json.encode(replace(REPLY, total=1))
    assert isinstance(retailer.signal(Operation.PRICE, asked, wrong, TERMS), PriceRefused)
    for body in (b"", b"[]", b'{"total": 1.5}', b"\xff", b"[" * 100_000):
        with pytest.raises(BadAnswer):
            retailer.signal(Operation.PRICE, asked, body, TERMS)


@pytest.mark.parametrize("param", ["$.cartItems[1].id", "", "$.cartItems[99].id"])
def test_an_unknown_sku_is_named(param: str) -> None:
    problem = Problem(
        type=retailer.UNKNOWN_SKU, title="x", status=422, detail="no bread here", param=param
    )
    said = retailer.refusal(msgspec.json.encode(ASKED), 422, msgspec.json.encode(problem))
    assert isinstance(said, CartRefused)
    assert "SKU bread" in said.detail


def test_other_refusals_say_nothing_about_the_cart() -> None:
    asked = msgspec.json.encode(ASKED)
    other = msgspec.json.encode(Problem(type="x", title="x", status=422))
    assert retailer.refusal(asked, 422, other) is None
    assert retailer.refusal(asked, 422, b"<html>") is None
    assert retailer.refusal(asked, 400, other) is None
