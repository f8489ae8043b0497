"""System K: campaigns, signed frames, tokens, coupons at the exit, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from both_databases import Ledger
from desk import RACERS, Desk, a_key
from hypothesis import given
from hypothesis import strategies as st

from broker.routes import Nothing
from broker.systems import campaigns, coupon_returns, coupons, frames, promo_tokens
from broker.systems.campaigns import CampaignRequest, CampaignSignal, Terms
from broker.systems.coupon_returns import ReturnRequest
from broker.systems.coupon_rows import Allocation
from broker.systems.coupons import CommitRequest, LockRequest, RejectedError, discounts
from broker.systems.frames import FrameRequest, SignedFrame
from broker.systems.funds import FundingRequest
from broker.systems.goods import CartLine, unit_prices
from broker.systems.promo_tokens import StoreTokenRequest, TokenRequest

COLA, CRISPS = "04006381333931", "00012345678905"
FOREVER_S = 2**40


def terms(**more: Any) -> Terms:
    given = {"gtins": [COLA], "max_discount_minor": 300, "domain": "shop.example"}
    return Terms(**(given | {"percent_bp": 2_500, "max_pieces": 3} | more))


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """A quarter off cola, ten euro in the fund, a frame on shelf A of the lab."""
    desk = Desk(ledger)
    running(desk, "cola", terms(), 1_000)
    shown(desk, "f1", "cola")
    return desk


def running(desk: Desk, name: str, what: Terms, fund_minor: int) -> None:
    desk.do(campaigns.create, CampaignRequest(campaign=name, brand="B", currency="EUR", terms=what))
    paid = FundingRequest(funding=f"f-{name}", amount_minor=fund_minor, currency="EUR")
    desk.do(campaigns.fund, paid, id=name)
    desk.do(campaigns.signalled(CampaignSignal.START), Nothing(), id=name)


def shown(desk: Desk, name: str, campaign: str, store: str = "lab") -> str:
    wish = FrameRequest(
        frame=name, campaign=campaign, store=store, shelf="A", valid_until_s=FOREVER_S
    )
    sig: str = desk.do(frames.create, wish)["frame_sig"]
    desk.do(frames.distribute, SignedFrame(frame_sig=sig), id=name)
    return sig


def minted(desk: Desk, name: str, client: str = "anna", frame: str = "f1") -> str:
    """A token that the client keeps."""
    sig = desk.ask(frames.frame, frame).frame_sig
    reply = desk.do(
        promo_tokens.mint, TokenRequest(token_id=name, frame_sig=sig, client=client), id=frame
    )
    token = promo_tokens.signed_token(a_key(), reply)
    desk.do(promo_tokens.store_token, StoreTokenRequest(promo_token=token))
    return token


def cart(*tokens: str, name: str = "l1", client: str = "anna", **more: Any) -> LockRequest:
    lines = [
        CartLine(line_id="1", gtin=COLA, quantity=3, total_minor=500),
        CartLine(line_id="2", gtin=CRISPS, quantity=1, total_minor=200),
    ]
    given: dict[str, Any] = {"store": "lab", "visit": f"v-{name}", "currency": "EUR"}
    return LockRequest(
        coupon_lock=name,
        client=client,
        promo_tokens=list(tokens),
        **(given | {"lines": lines} | more),
    )


def whys(reply: Any) -> list[str]:
    return [one["why"] for one in reply["rejected"]]


PAID = CommitRequest(merchant="shop", purchase="p")


def test_token_comes_off_its_line_and_the_brands_fund_pays_the_shop(desk: Desk) -> None:
    token = minted(desk, "t1")
    reply = desk.do(coupons.lock, cart(token))
    assert (reply["discount_minor"], whys(reply)) == (125, [])
    assert [(one["line_id"], one["discount_minor"]) for one in reply["allocations"]] == [("1", 125)]
    assert desk.ask(campaigns.campaign, "cola").available_minor == 875
    for _ in range(2):
        assert desk.do(coupons.commit, PAID, id="l1")["state"] == "committed"
    assert desk.balance("merchant_payable:shop") == 125
    assert desk.balance("promo_fund:cola") == 875
    assert whys(desk.do(coupons.lock, cart(token, name="l2"))) == ["already-used"]
    told = desk.ask(campaigns.stats, "cola")
    assert (told.issued, told.stored, told.redeemed, told.redeemed_minor) == (1, 1, 1, 125)
    assert desk.breaches() == {}


def test_altered_frame_or_a_sticker_over_its_code_gets_no_token(desk: Desk) -> None:
    sig = desk.ask(frames.frame, "f1").frame_sig
    other = shown(desk, "f2", "cola", "other")
    for wrong in (other, sig[:-1] + ("A" if sig[-1] != "A" else "B"), "A" * 86):
        wish = TokenRequest(token_id="t1", frame_sig=wrong, client="anna")
        assert desk.refused(promo_tokens.mint, wish, id="f1") == "frame-altered"
    desk.ledger.change("UPDATE frame SET shelf = 'B' WHERE frame = 'f1'")
    whole = TokenRequest(token_id="t1", frame_sig=sig, client="anna")
    assert desk.refused(promo_tokens.mint, whole, id="f1") == "frame-altered"
    assert desk.ask(frames.frame, "f2").link.startswith(f"https://shop.example/01/{COLA}?frame=f2")


def test_sixty_four_carts_race_for_one_token_and_one_gets_it(desk: Desk) -> None:
    token = minted(desk, "t1")
    done, slugs = desk.race(coupons.lock, [cart(token, name=f"l{i}") for i in range(RACERS)])
    assert slugs == []
    assert sum(reply["discount_minor"] for reply in done) == 125
    assert [why for reply in done for why in whys(reply)] == ["already-used"] * (RACERS - 1)
    assert desk.breaches() == {}


def test_sixty_four_tokens_never_take_more_than_the_fund_has(desk: Desk) -> None:
    running(desk, "small", terms(per_frame_max=100), 1_000)
    shown(desk, "fs", "small")
    tokens = [minted(desk, f"t{i}", f"c{i}", "fs") for i in range(RACERS)]
    wishes = [cart(token, name=f"l{i}", client=f"c{i}") for i, token in enumerate(tokens)]
    done, _ = desk.race(coupons.lock, wishes)
    assert sum(reply["discount_minor"] for reply in done) == 1_000
    assert {why for reply in done for why in whys(reply)} == {"fund-exhausted"}
    assert desk.breaches() == {}


def test_token_is_of_one_client_one_store_and_some_time(desk: Desk) -> None:
    token = minted(desk, "t1")
    body, _, rest = token.rpartition(".")
    forged = f"{body[:-4]}AAAA.{rest}"
    reply = desk.do(coupons.lock, cart(forged, "v4.public.x", "rubbish", token, token))
    assert whys(reply) == ["bad-token"] * 4  # and once more is once too often
    assert whys(desk.do(coupons.lock, cart(token, name="a", client="eve"))) == ["other-client"]
    assert whys(desk.do(coupons.lock, cart(token, name="b", store="x"))) == ["wrong-store"]
    desk.do(coupons.release, Nothing(), id="l1")
    dollars = desk.do(coupons.lock, cart(token, name="c", currency="USD"))
    assert whys(dollars) == ["other-currency"]
    desk.do(frames.withdraw, Nothing(), id="f1")
    assert whys(desk.do(coupons.lock, cart(token, name="d"))) == ["withdrawn"]
    desk.now_s += 7 * 24 * 3600
    assert whys(desk.do(coupons.lock, cart(token, name="e"))) == ["expired"]
    assert desk.refused(
        promo_tokens.store_token, StoreTokenRequest(promo_token=forged)
    ) == "bad-token"  # fmt: skip
    assert desk.breaches() == {}


def test_frame_and_client_have_their_share_of_tokens_and_no_more(desk: Desk) -> None:
    minted(desk, "t1")
    sig = desk.ask(frames.frame, "f1").frame_sig
    wishes = [TokenRequest(token_id=f"x{i}", frame_sig=sig, client="eve") for i in range(RACERS)]
    done, slugs = desk.race(promo_tokens.mint, wishes, id="f1")
    assert (len(done), set(slugs)) == (1, {"no-more-tokens"})
    assert desk.breaches() == {}


def test_tokens_stack_only_where_the_terms_allow_and_never_below_zero(desk: Desk) -> None:
    running(desk, "more", terms(off_minor=400, percent_bp=0, stackable=True), 5_000)
    shown(desk, "f2", "more")
    first, second = minted(desk, "t1"), minted(desk, "t2", frame="f2")
    reply = desk.do(coupons.lock, cart(first, second))
    assert [one["discount_minor"] for one in reply["allocations"]] == [125, 300]
    reply = desk.do(coupons.lock, cart(minted(desk, "t3", "ben", "f2"), minted(desk, "t4", "ben"),
                                       name="l2", client="ben"))  # fmt: skip
    assert whys(reply) == ["not-stackable"]
    assert desk.breaches() == {}


def test_returned_pieces_give_back_their_share_and_no_more(desk: Desk) -> None:
    desk.do(coupons.lock, cart(minted(desk, "t1")))
    desk.do(coupons.commit, PAID, id="l1")
    shares = [
        desk.do(coupon_returns.give_back, wish, id="l1")["discount_minor"]
        for wish in (
            ReturnRequest(coupon_return="r1", line_id="1", quantity=1),
            ReturnRequest(coupon_return="r1", line_id="1", quantity=1),  # told again
            ReturnRequest(coupon_return="r2", line_id="1", quantity=2),
        )
    ]
    assert shares == [42, 42, 83]
    more = ReturnRequest(coupon_return="r3", line_id="1", quantity=1)
    assert desk.refused(coupon_returns.give_back, more, id="l1") == "more-than-bought"
    assert (desk.balance("promo_fund:cola"), desk.balance("merchant_payable:shop")) == (1_000, 0)
    assert desk.ask(campaigns.stats, "cola").returned_minor == 125
    assert desk.breaches() == {}


def test_visit_that_never_ends_frees_its_tokens_and_the_fund(desk: Desk) -> None:
    token = minted(desk, "t1")
    desk.do(coupons.lock, cart(token))
    desk.now_s += coupons.LOCKED_S
    assert desk.refused(coupons.commit, PAID, id="l1") == "lock-lapsed"
    desk.ledger.do(lambda db: coupons.release_lapsed(db, desk.now_s))
    assert desk.do(coupons.lock, cart(token, name="l2"))["discount_minor"] == 125
    end = campaigns.signalled(CampaignSignal.END)
    assert desk.refused(end, Nothing(), id="cola") == "reservations-open"
    desk.do(coupons.release, Nothing(), id="l2")
    assert desk.do(end, Nothing(), id="cola")["fund_minor"] == 0
    assert desk.balance("refund_clearing") == 1_000
    assert whys(desk.do(coupons.lock, cart(token, name="l3"))) == ["ended"]
    assert desk.breaches() == {}


def test_retailer_learns_of_kept_coupons_of_its_store_alone(desk: Desk) -> None:
    minted(desk, "t1")
    page = desk.ledger.ask(lambda db: promo_tokens.coupons(db, "lab", "", 10))
    (told,) = page.coupons
    assert told.frame_sig == desk.ask(frames.frame, "f1").frame_sig
    assert told.terms_hash == desk.ask(campaigns.campaign, "cola").terms_hash
    assert desk.ledger.ask(lambda db: promo_tokens.coupons(db, "other", "", 10)).coupons == []
    stored = json.dumps(desk.ledger.rows("SELECT * FROM promo_token"), default=str)
    assert "v4.public" not in stored


LINES = st.lists(
    st.builds(
        CartLine,
        line_id=st.uuids().map(str),
        gtin=st.sampled_from([COLA, CRISPS]),
        quantity=st.integers(1, 6),
        total_minor=st.integers(0, 900),
    ),
    min_size=1,
    max_size=5,
)


@given(lines=LINES, bp=st.integers(1, 10_000), most=st.integers(1, 400), pieces=st.integers(1, 5))
def test_discount_is_within_its_terms_and_its_lines(
    lines: list[CartLine], bp: int, most: int, pieces: int
) -> None:
    what = terms(percent_bp=bp, max_discount_minor=most, max_pieces=pieces)
    try:
        off = discounts(what, lines, {}, "EUR")
    except RejectedError:  # nothing, or less than a cent
        off = {}
    left, worth = pieces, 0
    for line in lines:
        if line.gtin == COLA:
            prices = unit_prices(line)[:left]
            left, worth = left - len(prices), worth + sum(prices) * bp // 10_000
    assert sum(off.values()) == min(worth, most)
    by_id = {line.line_id: line for line in lines}
    assert all(0 < minor <= by_id[name].total_minor for name, minor in off.items())
    assert all(by_id[name].gtin == COLA for name in off)


@given(minor=st.integers(1, 500), pieces=st.integers(1, 9), cut=st.integers(0, 9))
def test_pieces_together_give_back_the_whole_discount(minor: int, pieces: int, cut: int) -> None:
    one = Allocation(line_id="1", token_id="t", campaign="c", quantity=pieces, discount_minor=minor)
    first = min(cut, pieces)
    parts = (
        coupon_returns.share(one, 0, first),
        coupon_returns.share(one, first, pieces - first),
    )
    assert sum(parts) == minor


PLANTED = {
    "promotions: a token is of one frame, which is what was signed over its campaign's terms": (
        "UPDATE frame SET terms_hash = 'x'"
    ),
    "promotions: a token is redeemed once, and while it is locked its lock is open": (
        "UPDATE promo_token SET state = 'released'"
    ),
    "promotions: the allocations of a fund are its share, held or paid": (
        "UPDATE coupon_allocation SET discount_minor = discount_minor - 1"
    ),
    "promotions: a fund pays exactly when the visit was paid": (
        "UPDATE coupon_lock SET state = 'released'"
    ),
    "promotions: no line costs less than nothing": ("UPDATE coupon_allocation SET total_minor = 1"),
    "promotions: the fund is what came in, less what it paid, and what came back": (
        "UPDATE ledger_account SET balance_minor = balance_minor + 1"
        " WHERE account = 'promo_fund:cola'"
    ),
    "promotions: what came back is within what was taken off": (
        "INSERT INTO coupon_return VALUES ('r', 'l1', '1', 9, 999, 0)"
    ),
    "promotions: statistics are counts of events": (
        "INSERT INTO promo_event VALUES ('t1', 9, 'issued', 0, 0)"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_in_a_promotion_is_found(desk: Desk, name: str) -> None:
    desk.do(coupons.lock, cart(minted(desk, "t1")))
    desk.do(coupons.commit, PAID, id="l1")
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert name in desk.breaches()
