"""System B: a sponsor's store, single-use invitations, what the sponsor pays, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from both_databases import Ledger, account_of, hold_of
from desk import RACERS, Desk
from hypothesis import given
from hypothesis import strategies as st

from broker import store
from broker.routes import Nothing
from broker.systems import invitations, item_stores, redemptions
from broker.systems.funds import FundingRequest
from broker.systems.goods import CartLine
from broker.systems.invitations import ClaimRequest, InvitationRequest
from broker.systems.item_stores import ItemStoreRequest, Params, StoreSignal
from broker.systems.redemption_types import FulfilRequest, Limits, RedemptionRequest
from broker.systems.redemptions import cover

COLA, CRISPS = "04006381333931", "00012345678905"
FOREVER_S = 2**40


def params(**more: Any) -> Params:
    limits = {"max_item_minor": 300, "max_items": 3, "max_amount_minor": 600}
    return Params(**({"gtins": [COLA], "valid_until_s": FOREVER_S} | limits | more))


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """A pantry with ten euro in it, for cola."""
    desk = Desk(ledger)
    opened(desk, "pantry", params(interval="day"), 1_000)
    return desk


def opened(desk: Desk, name: str, limits: Params, budget_minor: int) -> None:
    asked = ItemStoreRequest(
        item_store=name, organizer="Office", payment_ref="tok_1", currency="EUR", params=limits
    )
    desk.do(item_stores.create, asked)
    paid = FundingRequest(funding=f"f-{name}", amount_minor=budget_minor, currency="EUR")
    desk.do(item_stores.fund, paid, id=name)
    desk.do(item_stores.signalled(StoreSignal.OPEN), Nothing(), id=name)


def granted(desk: Desk, name: str, consumer: str = "", at: str = "pantry") -> str:
    desk.do(invitations.invite, InvitationRequest(invitation=name), id=at)
    code = desk.code(invitations.PURPOSE, name)
    claim = ClaimRequest(code=code, consumer=consumer or name)
    grant: str = desk.do(invitations.claim, claim)["grant"]
    return grant


def wish(grant: str, name: str, *lines: CartLine, **more: str) -> RedemptionRequest:
    cart = list(lines) or [CartLine(line_id="1", gtin=COLA, quantity=2, total_minor=400)]
    given = {"store": "lab", "visit": f"v-{name}"} | more
    return RedemptionRequest(redemption=name, grant=grant, lines=cart, **given)


def done(name: str, hold: str = "") -> FulfilRequest:
    return FulfilRequest(
        capture=f"c-{name}", merchant="shop", purchase="p", handover="gate", consumer_hold=hold
    )


def test_sponsor_pays_what_is_covered_and_the_consumer_exactly_the_rest(desk: Desk) -> None:
    desk.ledger.do(lambda db: store.open_account(db, account_of("anna", 1_000), desk.now_s))
    desk.ledger.do(lambda db: store.place_hold(db, hold_of("v1", "anna", 1_000), desk.now_s))
    grant = granted(desk, "i1", "anna")
    cart = (
        CartLine(line_id="1", gtin="4006381333931", quantity=4, total_minor=799),  # 200 200 200 199
        CartLine(line_id="2", gtin=CRISPS, quantity=1, total_minor=150),
    )
    reply = desk.do(redemptions.reserve, wish(grant, "r1", *cart))
    assert (reply["state"], reply["sponsor_minor"], reply["consumer_minor"]) == (
        "reserved", 600, 349,
    )  # fmt: skip
    assert [line["covered_quantity"] for line in reply["lines"]] == [3, 0]
    for _ in range(2):
        reply = desk.do(redemptions.fulfil, done("r1", "hold-v1"), id="r1")
    assert reply["state"] == "fulfilled"
    assert desk.balance("merchant_payable:shop") == 949
    assert desk.balance("shopper_receivable:anna") == -349
    assert desk.balance("sponsor_budget:pantry") == 400
    page = desk.ask(item_stores.notices, "pantry", 0, 10)
    assert [one.sponsor_minor for one in page.notices] == [600]
    assert desk.breaches() == {}


def test_sixty_four_claimers_of_a_forwarded_link_make_one_grant(desk: Desk) -> None:
    desk.do(invitations.invite, InvitationRequest(invitation="i1"), id="pantry")
    code = desk.code(invitations.PURPOSE, "i1")
    claims = [ClaimRequest(code=code, consumer=f"c{i}") for i in range(RACERS)]
    won, slugs = desk.race(invitations.claim, claims)
    assert len(won) == 1
    assert set(slugs) == {"invitation-spent"}
    assert desk.breaches() == {}


def test_sixty_four_hands_at_the_last_euros_never_overdraw_the_budget(desk: Desk) -> None:
    opened(desk, "party", params(max_items=1), 950)
    grants = [granted(desk, f"g{i}", at="party") for i in range(RACERS)]
    one = CartLine(line_id="1", gtin=COLA, quantity=1, total_minor=200)
    made, slugs = desk.race(
        redemptions.reserve, [wish(grant, f"r{i}", one) for i, grant in enumerate(grants)]
    )
    assert slugs == []
    assert sum(reply["sponsor_minor"] for reply in made) == 800  # four of 200 fit into 950
    assert sorted({reply["state"] for reply in made}) == ["refused", "reserved"]
    assert desk.breaches() == {}


def test_split_visits_share_the_interval_and_a_new_day_starts_anew(desk: Desk) -> None:
    grant = granted(desk, "i1")
    assert desk.do(redemptions.reserve, wish(grant, "r1"))["sponsor_minor"] == 400
    assert desk.do(redemptions.reserve, wish(grant, "r2"))["sponsor_minor"] == 200
    assert desk.do(redemptions.reserve, wish(grant, "r3"))["state"] == "refused"
    assert desk.refused(redemptions.fulfil, done("r3"), id="r3") == "wrong-state"
    desk.do(redemptions.release, Nothing(), id="r1")
    assert desk.do(redemptions.reserve, wish(grant, "r4"))["sponsor_minor"] == 400
    desk.now_s += item_stores.DAY_S
    assert desk.do(redemptions.reserve, wish(grant, "r5"))["sponsor_minor"] == 400
    assert desk.refused(redemptions.fulfil, done("r2"), id="r2") == "wrong-state"  # its visit ended
    assert desk.breaches() == {}


def test_leaver_loses_the_grant_and_a_code_is_the_addressees(desk: Desk) -> None:
    grant = granted(desk, "i1")
    desk.do(invitations.revoke, Nothing(), id="i1")
    assert desk.refused(redemptions.reserve, wish(grant, "r1")) == "grant-revoked"
    bound = InvitationRequest(invitation="i2", contact="carla@example.org")
    desk.do(invitations.invite, bound, id="pantry")
    claim = ClaimRequest(code=desk.code(invitations.PURPOSE, "i2"), consumer="thief")
    assert desk.refused(invitations.claim, claim) == "not-the-addressee"
    assert desk.refused(invitations.claim, ClaimRequest(code="A" * 26, consumer="x")) == (
        "unknown-invitation"
    )
    assert desk.breaches() == {}


def test_organizer_sees_no_more_than_privacy_allows_and_nobody_the_payment(desk: Desk) -> None:
    opened(desk, "open-pantry", params(privacy="items"), 1_000)
    for at, seen in (("pantry", ""), ("open-pantry", "anna")):
        grant = granted(desk, f"i-{at}", "anna", at)
        desk.do(redemptions.reserve, wish(grant, f"r-{at}"))
        desk.do(redemptions.fulfil, done(f"r-{at}"), id=f"r-{at}")
        (notice,) = desk.ask(item_stores.notices, at, 0, 10).notices
        assert (notice.consumer, bool(notice.items)) == (seen, bool(seen))
        assert desk.ask(invitations.invitation, f"i-{at}").claimed_by == seen
    assert "tok_1" not in repr(desk.ask(invitations.grant, "grant:i-pantry"))
    assert "tok_1" not in repr(desk.ask(item_stores.item_store, "pantry"))


def test_goods_are_shipped_only_where_the_sponsor_says_so_and_places_count(desk: Desk) -> None:
    grant = granted(desk, "i1")
    assert desk.refused(redemptions.reserve, wish(grant, "r1", ship_to="Street 1")) == (
        "no-shipping"
    )
    opened(desk, "crew", params(ship=True, places=["lab"]), 1_000)
    crew = granted(desk, "i2", at="crew")
    assert desk.refused(redemptions.reserve, wish(crew, "r2", store="other")) == "other-place"
    desk.do(redemptions.reserve, wish(crew, "r3", ship_to="Street 1"))
    desk.now_s += 2 * item_stores.DAY_S  # shipping takes longer than a visit
    sent = FulfilRequest(capture="c3", merchant="shop", purchase="p", handover="shipped")
    assert desk.do(redemptions.fulfil, sent, id="r3")["handover"] == "shipped"


def test_store_is_exhausted_and_refilled_and_closing_returns_the_rest(desk: Desk) -> None:
    opened(desk, "small", params(), 400)
    grant = granted(desk, "i1", at="small")
    desk.do(redemptions.reserve, wish(grant, "r1"))
    assert desk.ask(item_stores.item_store, "small").status == "exhausted"
    close = item_stores.signalled(StoreSignal.CLOSE)
    assert desk.refused(close, Nothing(), id="small") == "reservations-open"
    desk.do(redemptions.release, Nothing(), id="r1")
    assert desk.ask(item_stores.item_store, "small").status == "open"
    assert desk.do(close, Nothing(), id="small")["status"] == "closed"
    assert (desk.balance("refund_clearing"), desk.balance("sponsor_budget:small")) == (400, 0)
    assert desk.refused(redemptions.reserve, wish(grant, "r2")) == "store-not-open"
    assert desk.breaches() == {}


LINES = st.lists(
    st.builds(
        CartLine,
        line_id=st.uuids().map(str),
        gtin=st.sampled_from([COLA, CRISPS, ""]),
        quantity=st.integers(1, 5),
        total_minor=st.integers(0, 900),
    ),
    max_size=5,
)


@given(lines=LINES, items=st.integers(0, 6), amount=st.integers(0, 900), item=st.integers(1, 400))
def test_cover_never_exceeds_a_limit_and_every_cent_has_one_payer(
    lines: list[CartLine], items: int, amount: int, item: int
) -> None:
    left = Limits(items=items, amount_minor=amount, item_minor=item)
    covered = cover(lines, params(), left)
    assert sum(line.covered_quantity for line in covered) <= items
    assert sum(line.covered_minor for line in covered) <= amount
    for line, one in zip(lines, covered, strict=True):
        assert 0 <= one.covered_minor <= line.total_minor
        assert one.covered_minor <= one.covered_quantity * item
        assert line.gtin == COLA or one.covered_quantity == 0
        assert one.covered_quantity < line.quantity or one.covered_minor == line.total_minor


PLANTED = {
    "item stores: an invitation was claimed by one consumer at most": (
        "UPDATE invitation SET state = 'issued'"
    ),
    "item stores: the budget is what came in less what was spent": (
        "UPDATE ledger_account SET balance_minor = balance_minor + 1"
        " WHERE account = 'sponsor_budget:pantry'"
    ),
    "item stores: each line is covered within itself, and the parts add up": (
        "UPDATE redemption_line SET covered_minor = covered_minor - 1"
    ),
    "item stores: a redemption is paid exactly when it is fulfilled, and then exactly": (
        "UPDATE redemption SET state = 'released'"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_in_an_item_store_is_found(desk: Desk, name: str) -> None:
    desk.do(redemptions.reserve, wish(granted(desk, "i1"), "r1"))
    desk.do(redemptions.fulfil, done("r1"), id="r1")
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert name in desk.breaches()


def test_a_lost_notice_is_found(desk: Desk) -> None:
    desk.do(redemptions.reserve, wish(granted(desk, "i1"), "r1"))
    desk.do(redemptions.fulfil, done("r1"), id="r1")
    desk.ledger.unprotected("sponsor_notice", "DELETE FROM sponsor_notice")
    assert "item stores: each fulfilled redemption is told to its sponsor once" in desk.breaches()
