"""System F: sealed bids choose the merchant, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk
from hypothesis import given
from hypothesis import strategies as st
from market import owed, paid, registered, shopper

from broker.routes import Nothing
from broker.systems import awards, bid_rules, bids, display_sales, merchant_notices
from broker.systems.bid_rules import LoggedBid, Terms
from broker.systems.bids import BidCall, BidRequest
from broker.systems.display_sales import (
    AcceptRequest,
    DisplayItemRequest,
    QuoteRequest,
    SaleRequest,
)

SHOPS = ("near", "cheap", "fast")
PRICE = 10_000


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger)
    registered(desk, *SHOPS, fee_permille=10)
    shopper(desk, "anna")
    desk.if_match = 0
    item = DisplayItemRequest(name="sofa", price_minor=PRICE, currency="EUR")
    desk.do(display_sales.set_item, item, id="sofa")
    desk.if_match = None
    return desk


def sold(desk: Desk, name: str = "s1") -> str:
    """Sold from the display; the request for bids is open for a minute."""
    wish = SaleRequest(
        sale=name, account="anna", item="sofa", region="DE-BY", price_minor=PRICE,
        closes_in_s=60, criteria=["total", "eta"],
    )  # fmt: skip
    return str(desk.do(display_sales.sell, wish)["request"])


def bid_of(desk: Desk, shop: str, price: int, shipping: int = 500, eta: int = 3) -> BidRequest:
    return BidRequest(
        bid_id=f"b-{shop}-{price}", merchant=shop, price_minor=price, shipping_minor=shipping,
        eta_days=eta, stock_until_s=desk.now_s + 90_000,
    )  # fmt: skip


def three_bids(desk: Desk, request: str) -> list[Any]:
    wishes = (
        bid_of(desk, "near", 7_000),
        bid_of(desk, "cheap", 6_000),
        bid_of(desk, "fast", 8_000, eta=1),
    )
    return [desk.do(bids.bid, wish, id=request) for wish in wishes]


def closed(desk: Desk, seconds: int = 60) -> None:
    desk.now_s += seconds
    desk.ledger.do(lambda db: display_sales.close_due(db, desk.now_s))


def winner(desk: Desk, request: str) -> tuple[str, str]:
    found = desk.ask(awards.award, request)
    return found.merchant, found.state


def delivered(desk: Desk, request: str) -> None:
    desk.do(awards.confirm, Nothing(), id=request)
    desk.do(awards.fulfill, Nothing(), id=request)


def sound(desk: Desk) -> None:
    assert desk.breaches() == {}
    assert desk.ledger.ask(bids.misjudged) == []


def test_sale_first_then_the_best_sealed_bid_delivers(desk: Desk) -> None:
    request = sold(desk)
    assert (owed(desk, "anna"), desk.balance("bid_margin")) == (PRICE, PRICE)
    receipts = three_bids(desk, request)
    for question in (bids.log, awards.award):
        with pytest.raises(Exception, match=r"bids-sealed|unknown-award"):
            desk.ask(question, request)
    closed(desk)
    assert winner(desk, request) == ("cheap", "offered")
    delivered(desk, request)
    assert desk.balance("merchant_payable:cheap") == 6_500 - 65
    assert desk.balance("bid_margin") == PRICE - 6_500
    assert owed(desk, "anna") == PRICE  # whoever wins
    log = desk.ask(bids.log, request)
    assert log.digests == [one["digest"] for one in receipts]
    assert [one.bid_id for one in bid_rules.ranked(log.terms, log.bids)] == log.ranking
    told = desk.ask(lambda db, call: merchant_notices.page(db, desk.call(id="near"), 0, 9))
    assert [one.what for one in told.notices] == ["bid.lost"]
    sound(desk)


def test_bids_first_then_a_quote_and_the_sale(desk: Desk) -> None:
    wish = BidCall(
        request="r1", items=["sofa"], region="AT", currency="EUR", ceiling_minor=9_000,
        closes_in_s=5, criteria=["eta", "total"], margin_permille=25,
    )  # fmt: skip
    desk.do(bids.call_for_bids, wish)
    three_bids(desk, "r1")
    early = QuoteRequest(quote="q1", request="r1")
    assert desk.refused(display_sales.quote, early) == "bids-sealed"
    desk.now_s += 5
    quote = desk.do(display_sales.quote, early)
    assert quote["price_minor"] == 8_713  # 8,500 of the fastest and 2.5 %, rounded up
    take = AcceptRequest(sale="s1", account="anna", price_minor=8_713)
    cheaper = replace(take, price_minor=8_712)
    assert desk.refused(display_sales.accept, cheaper, id="q1") == "price-changed"
    assert desk.do(display_sales.accept, take, id="q1")["state"] == "sold"
    assert winner(desk, "r1") == ("fast", "offered")
    delivered(desk, "r1")
    assert desk.balance("bid_margin") == 213
    sound(desk)


def test_quote_ends_and_is_accepted_once(desk: Desk) -> None:
    for number in (1, 2):
        wish = BidCall(
            request=f"r{number}", items=["sofa"], region="AT", currency="EUR",
            ceiling_minor=9_000, closes_in_s=5, criteria=["total"],
        )  # fmt: skip
        desk.do(bids.call_for_bids, wish)
        three_bids(desk, f"r{number}")
        desk.now_s += 5
        desk.do(display_sales.quote, QuoteRequest(quote=f"q{number}", request=f"r{number}"))
        if number == 1:
            desk.now_s += display_sales.QUOTE_S
    takes = [AcceptRequest(sale=f"s{i}", account="anna", price_minor=6_500) for i in range(RACERS)]
    assert desk.refused(display_sales.accept, takes[0], id="q1") == "wrong-state"
    done, slugs = desk.race(display_sales.accept, takes, id="q2")
    assert len(done) == 1
    assert set(slugs) == {"wrong-state"}
    assert owed(desk, "anna") == 6_500
    sound(desk)


def test_late_bids_are_out_and_the_last_of_a_merchant_counts(desk: Desk) -> None:
    request = sold(desk)
    three_bids(desk, request)
    desk.do(bids.bid, bid_of(desk, "cheap", 9_400), id=request)  # thinks again: worse
    desk.now_s += 60
    assert desk.refused(bids.bid, bid_of(desk, "fast", 1), id=request) == "bids-closed"
    closed(desk, 0)
    assert winner(desk, request) == ("near", "offered")
    assert len(desk.ask(bids.log, request).bids) == 4
    sound(desk)


def test_defaults_cost_the_bidder_and_never_the_customer(desk: Desk) -> None:
    request = sold(desk)
    three_bids(desk, request)
    closed(desk)
    desk.do(awards.decline, Nothing(), id=request)  # cheap says no
    assert winner(desk, request) == ("near", "offered")
    assert desk.balance("merchant_payable:cheap") == -650  # a tenth of 65.00 at most
    desk.now_s += bid_rules.CONFIRM_S
    assert desk.refused(awards.confirm, Nothing(), id=request) == "award-over"
    desk.ledger.do(lambda db: awards.lapse(db, desk.now_s))  # near is silent
    assert winner(desk, request) == ("fast", "offered")
    assert desk.balance("merchant_payable:near") == -750
    delivered(desk, request)
    assert owed(desk, "anna") == PRICE
    assert desk.balance("bid_margin") == PRICE - 8_500 + 650 + 750
    sound(desk)


def test_customer_gets_all_back_when_nobody_delivers(desk: Desk) -> None:
    nobody = sold(desk, "s1")
    request = sold(desk, "s2")
    paid(desk, "anna", 15_000)
    desk.do(bids.bid, bid_of(desk, "near", 7_000), id=request)
    closed(desk)
    assert desk.ask(bids.request, nobody).state == "failed"
    desk.do(awards.decline, Nothing(), id=request)
    assert [desk.ask(awards.sale, name).state for name in ("s1", "s2")] == ["refunded"] * 2
    assert owed(desk, "anna") == 0
    assert desk.balance("refund_clearing") == 15_000
    assert desk.balance("bid_margin") == 750  # of who said no
    sound(desk)


def test_who_does_not_deliver_bids_no_more(desk: Desk) -> None:
    for number in range(bids.DEFAULTS_MAX):
        request = sold(desk, f"s{number}")
        desk.do(bids.bid, bid_of(desk, "near", 7_000), id=request)
        closed(desk)
        desk.do(awards.decline, Nothing(), id=request)
    request = sold(desk, "last")
    wish = bid_of(desk, "near", 7_000)
    assert desk.refused(bids.bid, wish, id=request) == "too-many-defaults"
    desk.party = "near"
    assert desk.refused(bids.bid, bid_of(desk, "fast", 1), id=request) == "unknown-merchant"
    sound(desk)


def test_merchant_acts_for_itself_and_sees_no_person(desk: Desk) -> None:
    request = sold(desk)
    three_bids(desk, request)
    assert "anna" not in str(desk.ask(bids.request, request))
    page = desk.ledger.ask(lambda db: bids.open_requests(db, "", 5))
    assert [one.request for one in page.requests] == [request]
    closed(desk)
    assert "anna" not in str(desk.ask(bids.log, request))
    desk.party = "near"
    assert desk.refused(awards.confirm, Nothing(), id=request) == "unknown-merchant"
    desk.party = "cheap"
    assert desk.do(awards.confirm, Nothing(), id=request)["state"] == "confirmed"


def test_sixty_four_racers_on_one_sale_are_charged_once_and_bids_lose_no_link(desk: Desk) -> None:
    wish = SaleRequest(
        sale="s1", account="anna", item="sofa", region="DE", price_minor=PRICE, closes_in_s=60,
        criteria=["total"],
    )  # fmt: skip
    done, slugs = desk.race(display_sales.sell, [wish] * RACERS)
    assert (len(done), slugs) == (RACERS, [])  # one effect, told to all
    assert owed(desk, "anna") == PRICE
    wishes = [replace(bid_of(desk, SHOPS[i % 3], 7_000 - i), bid_id=f"b{i}") for i in range(RACERS)]
    done, slugs = desk.race(bids.bid, wishes, id="sale:s1")
    assert (len({one["digest"] for one in done}), slugs) == (RACERS, [])
    closed(desk)
    sound(desk)


def test_price_is_the_displays_and_ids_do_not_change(desk: Desk) -> None:
    wish = SaleRequest(
        sale="s1", account="anna", item="sofa", region="DE", price_minor=1, closes_in_s=60,
        criteria=["total"],
    )  # fmt: skip
    assert desk.refused(display_sales.sell, wish) == "price-changed"
    assert desk.refused(display_sales.sell, replace(wish, item="moon")) == "unknown-item"
    sold(desk)
    assert desk.refused(display_sales.sell, wish) == "id-taken"
    request, good = "sale:s1", bid_of(desk, "near", 7_000)
    assert desk.do(bids.bid, good, id=request) == desk.do(bids.bid, good, id=request)
    assert desk.refused(bids.bid, replace(good, price_minor=1), id=request) == "id-taken"
    free = replace(good, bid_id="free", price_minor=0)
    assert desk.refused(bids.bid, free, id=request) == "invalid-body"


# --- the rules alone --------------------------------------------------------------------------

TERMS = Terms(
    request="r", items=["x"], region="DE", currency="EUR", ceiling_minor=1_000,
    criteria=["total", "eta"], closes_s=100,
)  # fmt: skip
LATE_ENOUGH = 100 + bid_rules.CONFIRM_S


def logged(seq: int, merchant: str, price: int, eta: int, stock: int, received: int) -> LoggedBid:
    return LoggedBid(
        seq=seq, bid_id=f"b{seq}", merchant=merchant, price_minor=price, shipping_minor=0,
        eta_days=eta, stock_until_s=stock, defaults=0, received_s=received,
    )  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"),
            st.integers(900, 1_010),
            st.integers(1, 3),
            st.sampled_from([LATE_ENOUGH - 1, LATE_ENOUGH]),
            st.sampled_from([99, 100]),
        ),
        max_size=12,
    )
)
def test_winner_is_the_best_valid_bid_whatever_order_the_log_is_read_in(
    found: list[tuple[str, int, int, int, int]],
) -> None:
    log = [logged(i + 1, *one) for i, one in enumerate(found)]
    ranking = bid_rules.ranked(TERMS, log)
    last = {bid.merchant: bid for bid in log}
    valid = [
        bid
        for bid in last.values()
        if bid.total_minor <= 1_000 and bid.stock_until_s >= LATE_ENOUGH and bid.received_s < 100
    ]
    assert {bid.bid_id for bid in ranking} == {bid.bid_id for bid in valid}
    merits = [(bid.total_minor, bid.eta_days) for bid in ranking]
    assert merits == sorted(merits)
    if ranking:
        assert merits[0] == min((bid.total_minor, bid.eta_days) for bid in valid)
    altered = [replace(log[0], eta_days=9), *log[1:]] if log else []
    assert not log or bid_rules.head_of(TERMS, altered) != bid_rules.head_of(TERMS, log)


PLANTED = {
    "no bid is late": "",
    "a customer pays the price that was quoted": "UPDATE display_sale SET price_minor = 1",
    "an accepted quote is a sale, and every sale before bids has one": (
        "UPDATE bid_request SET mode = 'before'"
    ),
    "after the sale: it is recorded before any bid is opened": (
        "UPDATE display_sale SET sold_s = sold_s + 61"
    ),
    "one award counts, those before it are defaults": (
        "UPDATE award SET state = 'offered' WHERE rank = 1"
    ),
    "a delivered award is paid its bid, nothing else is": (
        "UPDATE award SET total_minor = total_minor - 1 WHERE rank = 2"
    ),
    "a default never costs the customer": (
        "UPDATE display_sale SET state = 'refunded', refund_journal = journal"
    ),
    "a sale ends as its award does": "UPDATE bid_request SET state = 'failed'",
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_is_found(desk: Desk, name: str) -> None:
    request = sold(desk)
    three_bids(desk, request)
    closed(desk)
    desk.do(awards.decline, Nothing(), id=request)
    delivered(desk, request)
    sound(desk)
    if name == "no bid is late":
        desk.ledger.unprotected("bid", "UPDATE bid SET received_s = received_s + 60")
    else:
        desk.ledger.change(PLANTED[name])
    assert f"bids: {name}" in desk.breaches()


def test_changed_bid_or_ranking_is_found_by_computing_the_winner_anew(desk: Desk) -> None:
    request = sold(desk)
    three_bids(desk, request)
    closed(desk)
    desk.ledger.change("UPDATE bid_request SET ranking = '[\"b-near-7000\"]'")
    assert desk.ledger.ask(bids.misjudged) == [request]
    assert desk.breaches() == {"bids: a winner follows from its log": 1}
    desk.ledger.change(
        'UPDATE bid_request SET ranking = \'["b-cheap-6000","b-near-7000","b-fast-8000"]\''
    )
    assert desk.ledger.ask(bids.misjudged) == []
    desk.ledger.unprotected("bid", "UPDATE bid SET eta_days = 1 WHERE merchant = 'cheap'")
    assert desk.ledger.ask(bids.misjudged) == [request]
