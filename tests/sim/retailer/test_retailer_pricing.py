"""What a cart costs, to the cent."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_retailer import cart

from messages.contract import PurchaseReply, PurchaseRequest
from sim.retailer.catalogue import CATALOGUE, catalogue_of
from sim.retailer.pricing import CartError, discount_minor, price, tax_within

GOODS = catalogue_of(CATALOGUE)
ITEMS = GOODS.items


def priced(*items: tuple[str, int]) -> PurchaseReply:
    return price(msgspec.convert(cart("t", *items), PurchaseRequest), GOODS, "p1")


def test_line_is_unit_price_times_quantity_with_the_tax_it_contains() -> None:
    (line,) = priced(("milk-1l", 2)).lines
    assert (line.unitPrice, line.discount, line.total) == (129, 0, 258)
    assert line.tax == 17  # 2.58 EUR with 7 % in it: 2.58 * 7 / 107 = 0.1688


def test_three_for_two_counts_over_lines_and_not_for_a_pair() -> None:
    reply = priced(("water-500ml", 1), ("milk-1l", 1), ("water-500ml", 1), ("water-500ml", 1))
    assert [line.discount for line in reply.lines] == [23, 0, 23, 23]
    assert reply.total == 2 * 69 + 129
    assert priced(("water-500ml", 2)).total == 2 * 69
    assert priced(("water-500ml", 7)).total == 5 * 69


def test_percent_off_is_rounded_once_and_not_per_piece() -> None:
    assert discount_minor(ITEMS["hummus-200g"], 1) == 38  # 20 % of 1.89 is 0.378
    assert discount_minor(ITEMS["hummus-200g"], 3) == 113  # of 5.67: 1.134


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ITEMS)), st.integers(1, 30)), max_size=20),
)
def test_lines_always_add_up_and_are_never_negative(items: list[tuple[str, int]]) -> None:
    reply = priced(*items)
    assert reply.total == sum(line.total for line in reply.lines)
    for line, (sku, quantity) in zip(reply.lines, items, strict=True):
        assert (line.id, line.quantity) == (sku, quantity)
        assert line.total == line.unitPrice * quantity - line.discount >= 0
        assert 0 <= line.tax <= line.total
    for sku in {sku for sku, _ in items}:
        quantity = sum(q for s, q in items if s == sku)
        discount = sum(line.discount for line in reply.lines if line.id == sku)
        assert discount == discount_minor(ITEMS[sku], quantity)


@given(st.integers(0, 10**7), st.sampled_from([0, 70, 190, 250]))
def test_tax_is_the_exact_share_rounded_half_up(total: int, permille: int) -> None:
    exact = Fraction(total * permille, 1000 + permille)
    assert tax_within(total, permille) == floor(exact + Fraction(1, 2))


def test_bar_code_finds_the_same_good_in_any_length() -> None:
    wanted = cart("t", ("milk-1l", 1))
    for code in (ITEMS["milk-1l"].gtin, "0" + ITEMS["milk-1l"].gtin):
        wanted["cartItems"][0] |= {"type": "SCANCODE", "id": code}
        assert price(msgspec.convert(wanted, PurchaseRequest), GOODS, "p").lines[0].id == "milk-1l"


@pytest.mark.parametrize(
    ("change", "slug", "param"),
    [
        ({"id": "caviar"}, "unknown-sku", "$.cartItems[1].id"),
        ({"lineItemId": "t-l0"}, "duplicate-line", "$.cartItems[1].lineItemId"),
        ({"lineItemId": ""}, "invalid-body", "$.cartItems[1].lineItemId"),
        ({"type": "GUESS"}, "invalid-body", "$.cartItems[1].type"),
        ({"quantity": {"value": 0}}, "invalid-body", "$.cartItems[1].quantity.value"),
        ({"quantity": {"value": 1_000}}, "invalid-body", "$.cartItems[1].quantity.value"),
        (
            {"quantity": {"value": 1, "unit": "gram"}},
            "invalid-body",
            "$.cartItems[1].quantity.unit",
        ),
        ({"confidence": 1.5}, "invalid-body", "$.cartItems[1].confidence"),
    ],
)
def test_cart_that_cannot_be_priced_names_the_place(
    change: dict[str, object], slug: str, param: str
) -> None:
    wanted = cart("t", ("milk-1l", 1), ("banana", 1))
    wanted["cartItems"][1] |= change
    with pytest.raises(CartError) as error:
        price(msgspec.convert(wanted, PurchaseRequest), GOODS, "p")
    assert (error.value.slug, error.value.param) == (slug, param)
