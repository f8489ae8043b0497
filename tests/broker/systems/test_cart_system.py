"""System D: one cart over several merchants, and references to it, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk
from market import filled_cart, owed, paid, part_of, private_key, registered, shopper, shown_cart

from broker import store
from broker.routes import Nothing
from broker.systems import cart_refs, carts, merchants
from broker.systems.cart_refs import CopyRequest, PickedLine, RefRequest, SharedPurchaseRequest
from broker.systems.cart_types import CartPurchaseRequest, CartRefundRequest, CartRequest

LUNCH = {"bakery": {"roll": 333, "cake": 250}, "grill": {"fish": 1_100}}
TOTAL = 1_683


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger)
    registered(desk, "bakery", "grill", fee_permille=25)
    shopper(desk, "anna")
    shopper(desk, "ben")
    return desk


def buy(seen: dict[str, Any], purchase: str = "p1") -> CartPurchaseRequest:
    return CartPurchaseRequest(
        purchase=purchase, total_minor=seen["total_minor"], shown=seen["shown"]
    )


def test_one_charge_is_split_to_the_cent_and_the_fees_are_ours(desk: Desk) -> None:
    seen = filled_cart(desk, "c1", "anna", LUNCH)
    assert seen["total_minor"] == TOTAL
    done = desk.do(carts.purchase, buy(seen), id="c1")
    assert done["splits"] == [
        {"merchant": "bakery", "amount_minor": 583, "fee_minor": 14},
        {"merchant": "grill", "amount_minor": 1_100, "fee_minor": 27},
    ]
    assert owed(desk, "anna") == TOTAL
    assert desk.balance("merchant_payable:bakery") == 569
    assert desk.balance("merchant_payable:grill") == 1_073
    assert desk.balance("fees") == 41
    assert desk.do(carts.purchase, buy(seen), id="c1") == done  # told again
    assert desk.refused(carts.purchase, buy(seen, "p2"), id="c1") == "wrong-state"
    assert desk.breaches() == {}


def test_rejected_part_is_not_charged_and_a_pending_one_stops_the_purchase(desk: Desk) -> None:
    filled_cart(desk, "c1", "anna", LUNCH)
    desk.do(carts.reject, Nothing(), id="c1", merchant="grill")
    done = desk.do(carts.purchase, buy(shown_cart(desk, "c1")), id="c1")
    assert [one["merchant"] for one in done["splits"]] == ["bakery"]
    assert owed(desk, "anna") == 583
    assert desk.breaches() == {}


def test_buyer_pays_what_was_shown_or_nothing(desk: Desk) -> None:
    seen = filled_cart(desk, "c1", "anna", LUNCH)
    dearer = part_of(desk, "c1", "grill", {"fish": 1_100, "slipped in": 1})
    desk.do(carts.quote, dearer, id="c1")
    assert desk.refused(carts.purchase, buy(seen), id="c1") == "cart-changed"
    now = shown_cart(desk, "c1")
    assert now["total_minor"] == TOTAL + 1
    desk.now_s += 601
    assert desk.refused(carts.purchase, buy(now), id="c1") == "quote-expired"
    assert owed(desk, "anna") == 0


def test_merchants_price_is_its_own_signature_over_this_cart(desk: Desk) -> None:
    filled_cart(desk, "c1", "anna", {})
    filled_cart(desk, "c2", "anna", {})
    good = part_of(desk, "c1", "bakery", {"roll": 333})
    cheaper = replace(good, lines=[replace(good.lines[0], total_minor=1)])
    for forged in (
        cheaper,
        replace(good, merchant="grill"),
        replace(good, merchant_signature="A" * 86 + "=="),
        replace(good, merchant_signature="not base64"),
        replace(good, valid_until_s=good.valid_until_s + 1),
    ):
        assert desk.refused(carts.quote, forged, id="c1") == "merchant-signature"
    assert desk.refused(carts.quote, good, id="c2") == "merchant-signature"
    nobody = part_of(desk, "c1", "nobody", {"x": 1})
    assert desk.refused(carts.quote, nobody, id="c1") == "unknown-merchant"
    old = part_of(replace_time(desk, -700), "c1", "bakery", {"roll": 333})
    desk.now_s += 700
    assert desk.refused(carts.quote, old, id="c1") == "quote-expired"


def replace_time(desk: Desk, seconds: int) -> Desk:
    desk.now_s += seconds
    return desk


def test_merchant_sees_and_does_its_own_part_alone(desk: Desk) -> None:
    seen = filled_cart(desk, "c1", "anna", LUNCH)
    desk.party = "bakery"
    with pytest.raises(Exception, match="merchants-key"):
        desk.ask(carts.cart, "c1")
    assert desk.refused(carts.purchase, buy(seen), id="c1") == "merchants-key"
    assert [line.line_id for line in desk.ask(carts.part, "c1", "bakery").lines] == ["cake", "roll"]
    with pytest.raises(Exception, match="unknown-merchant"):
        desk.ask(carts.part, "c1", "grill")
    reject = desk.refused(carts.reject, Nothing(), id="c1", merchant="grill")
    assert reject == "unknown-merchant"
    other = part_of(desk, "c1", "grill", {"fish": 5})
    assert desk.refused(carts.quote, other, id="c1") == "unknown-merchant"


def test_account_without_room_or_blocked_leaves_no_trace(desk: Desk) -> None:
    shopper(desk, "poor", 1_000)
    seen = filled_cart(desk, "c1", "poor", LUNCH)
    assert desk.refused(carts.purchase, buy(seen), id="c1") == "limit-exceeded"
    seen = filled_cart(desk, "c2", "ben", LUNCH)
    desk.ledger.do(lambda db: store.block_account(db, "ben", True, desk.now_s))
    assert desk.refused(carts.purchase, buy(seen), id="c2") == "account-blocked"
    assert desk.ledger.rows("SELECT cart FROM market_split") == []
    usd = CartRequest(cart="c3", account="anna", currency="USD")
    assert desk.refused(carts.open_cart, usd) == "currency-mismatch"
    assert desk.breaches() == {}


def test_refund_touches_one_split_and_no_more_than_it_is(desk: Desk) -> None:
    desk.do(carts.purchase, buy(filled_cart(desk, "c1", "anna", LUNCH)), id="c1")
    paid(desk, "anna", 1_500)  # 183 are still owed
    back = CartRefundRequest(refund="r1", merchant="grill", amount_minor=1_000)
    done = desk.do(carts.refund, back, id="c1")
    assert desk.do(carts.refund, back, id="c1") == done
    assert owed(desk, "anna") == 0
    assert desk.balance("refund_clearing") == 817
    assert desk.balance("merchant_payable:grill") == 73
    assert desk.balance("merchant_payable:bakery") == 569
    more = replace(back, refund="r2", amount_minor=101)
    assert desk.refused(carts.refund, more, id="c1") == "refund-above-split"
    assert desk.refused(carts.refund, replace(back, amount_minor=1), id="c1") == "id-taken"
    nobody = replace(back, refund="r3", merchant="kiosk")
    assert desk.refused(carts.refund, nobody, id="c1") == "unknown-split"
    assert desk.breaches() == {}


def test_sixty_four_racers_on_one_cart_make_one_charge(desk: Desk) -> None:
    seen = filled_cart(desk, "c1", "anna", LUNCH)
    done, slugs = desk.race(carts.purchase, [buy(seen, f"p{i}") for i in range(RACERS)], id="c1")
    assert len(done) == 1
    assert set(slugs) == {"wrong-state"}
    assert owed(desk, "anna") == TOTAL
    assert desk.breaches() == {}


# --- references -------------------------------------------------------------------------------


def published(desk: Desk, mode: str, name: str = "lunch") -> str:
    filled_cart(desk, f"cart-{name}", "anna", LUNCH)
    asked = RefRequest(ref=name, mode=mode)
    desk.do(cart_refs.publish, asked, id=f"cart-{name}")
    return desk.code(cart_refs.PURPOSE, name)


def share_of(code: str, cart: str, *lines: str, account: str = "ben") -> SharedPurchaseRequest:
    prices = {"roll": 333, "cake": 250, "fish": 1_100}
    picked = [PickedLine(merchant="grill" if n == "fish" else "bakery", line_id=n) for n in lines]
    return SharedPurchaseRequest(
        code=code,
        cart=cart,
        purchase=f"p-{cart}",
        account=account,
        lines=picked,
        total_minor=sum(prices[name] for name in lines),
    )


def everything(desk: Desk) -> list[Any]:
    tables = ("market_cart", "market_line", "market_part", "hold", "posting", "cart_ref")
    return [sorted(desk.ledger.rows(f"SELECT * FROM {table}"), key=str) for table in tables]


def test_opening_a_reference_has_no_effect_and_tells_no_person(desk: Desk) -> None:
    code = published(desk, "shared")
    before = everything(desk)
    for _ in range(3):
        view = desk.ask(cart_refs.opened, code)
    assert everything(desk) == before
    assert "anna" not in str(view)
    assert [part.merchant for part in view.parts] == ["bakery", "grill"]
    with pytest.raises(Exception, match="unknown-ref"):
        desk.ask(cart_refs.opened, "A" * 26)


def test_copy_is_priced_anew_before_anybody_pays(desk: Desk) -> None:
    code = published(desk, "copy")
    asked = CopyRequest(code=code, cart="mine", account="ben")
    made = desk.do(cart_refs.copy, asked)
    assert made["total_minor"] == 0
    assert {part["state"] for part in made["parts"]} == {"pending"}
    assert desk.do(cart_refs.copy, asked) == made
    seen = shown_cart(desk, "mine")
    assert desk.refused(carts.purchase, buy(seen), id="mine") == "part-pending"
    for merchant, prices in LUNCH.items():
        desk.do(carts.quote, part_of(desk, "mine", merchant, prices), id="mine")
    desk.do(carts.purchase, buy(shown_cart(desk, "mine")), id="mine")
    assert (owed(desk, "ben"), owed(desk, "anna")) == (TOTAL, 0)
    assert desk.refused(cart_refs.purchase, share_of(code, "x", "roll")) == "other-mode"
    assert desk.breaches() == {}


def test_shared_lines_are_bought_once_each_and_together_or_not_at_all(desk: Desk) -> None:
    code = published(desk, "shared")
    edit = part_of(desk, "cart-lunch", "bakery", {"roll": 1})
    assert desk.refused(carts.quote, edit, id="cart-lunch") == "wrong-state"  # frozen
    desk.do(cart_refs.purchase, share_of(code, "bens", "roll", "fish"))
    assert owed(desk, "ben") == 1_433
    both = share_of(code, "annas", "cake", "fish", account="anna")
    assert desk.refused(cart_refs.purchase, both) == "line-taken"
    assert owed(desk, "anna") == 0
    cheap = replace(share_of(code, "annas", "cake", account="anna"), total_minor=1)
    assert desk.refused(cart_refs.purchase, cheap) == "cart-changed"
    desk.do(cart_refs.purchase, share_of(code, "annas", "cake", account="anna"))
    view = desk.ask(cart_refs.opened, code)
    assert all(line.taken for part in view.parts for line in part.lines)
    unknown = replace(share_of(code, "z"), lines=[PickedLine(merchant="grill", line_id="no")])
    assert desk.refused(cart_refs.purchase, unknown) == "unknown-line"
    assert desk.breaches() == {}


def test_sixty_four_racers_on_one_shared_line_buy_it_once(desk: Desk) -> None:
    code = published(desk, "shared")
    done, slugs = desk.race(
        cart_refs.purchase, [share_of(code, f"r{i}", "cake") for i in range(RACERS)]
    )
    assert len(done) == 1
    assert set(slugs) == {"line-taken"}
    assert owed(desk, "ben") == 250
    assert desk.breaches() == {}


def test_reference_ends_with_its_prices_and_when_it_is_taken_back(desk: Desk) -> None:
    code = published(desk, "shared")
    desk.now_s += 600
    assert desk.refused(cart_refs.purchase, share_of(code, "late", "roll")) == "ref-over"
    assert desk.ask(cart_refs.opened, code).state == "expired"
    other = published(desk, "copy", "other")
    desk.do(cart_refs.revoke, Nothing(), id="other")
    asked = CopyRequest(code=other, cart="mine", account="ben")
    assert desk.refused(cart_refs.copy, asked) == "ref-over"
    assert desk.ask(cart_refs.opened, other).parts == []


def test_merchants_key_and_fee_change_from_the_version_that_was_read(desk: Desk) -> None:
    asked = merchants.MerchantRequest(
        public_key=private_key("new").public_key().public_bytes_raw().hex(), fee_permille=10
    )
    desk.if_match = 7
    assert desk.refused(merchants.set_merchant, asked, id="bakery") == "version-mismatch"
    desk.if_match = 1
    assert desk.do(merchants.set_merchant, asked, id="bakery")["version"] == 2
    stale = part_of(desk, "c1", "bakery", {"roll": 1})
    filled_cart(desk, "c1", "anna", {})
    assert desk.refused(carts.quote, stale, id="c1") == "merchant-signature"


PLANTED = {
    "splits are the charge, to the cent": "UPDATE market_cart SET total_minor = total_minor + 1",
    "a split is its part's lines, and only confirmed parts have one": (
        "UPDATE market_line SET total_minor = total_minor + 1 WHERE line_id = 'fish'"
    ),
    "each merchant is credited its split less the fee": "market_split",
    "a refund touches its own split and no more than is left of it": "market_refund",
    "a shared line is bought once, by a cart that paid for it": (
        "UPDATE market_line SET taken_by = 'nobody' WHERE line_id = 'fish'"
    ),
    "nothing is split or charged before the purchase": (
        "INSERT INTO market_split VALUES ('c2', 'grill', 5, 0)"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_is_found(desk: Desk, name: str) -> None:
    desk.do(carts.purchase, buy(filled_cart(desk, "c1", "anna", LUNCH)), id="c1")
    filled_cart(desk, "c2", "anna", {"grill": {"soup": 5}})
    back = CartRefundRequest(refund="r1", merchant="grill", amount_minor=1_000)
    desk.do(carts.refund, back, id="c1")
    assert desk.breaches() == {}
    fault = PLANTED[name]
    if fault == "market_split":
        desk.ledger.unprotected(fault, "UPDATE market_split SET fee_minor = fee_minor + 1")
    elif fault == "market_refund":
        desk.ledger.unprotected(fault, "UPDATE market_refund SET amount_minor = 5000")
    else:
        desk.ledger.change(fault)
    assert f"carts: {name}" in desk.breaches()


def test_fee_is_rounded_down_and_never_more_than_the_split() -> None:
    of = merchants.Merchant(merchant="m", version=1, public_key="", fee_permille=25)
    assert [of.fee_minor(minor) for minor in (1, 39, 40, 583)] == [0, 0, 1, 14]
