"""System J: who follows a shop, by settled visits and consent, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from both_databases import Ledger, account_of, capture_of, hold_of
from desk import RACERS, Desk

from broker import privacy, store
from broker.routes import Nothing
from broker.systems import association_rules, associations
from broker.systems.association_rules import InsiderRequest, RuleRequest, SettingRequest
from broker.systems.associations import InteractionRequest
from messages.contract import CaptureRequest


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """Three visits of ten euro together in thirty days make a customer; none with tools."""
    desk = Desk(ledger)
    ledger.do(lambda db: store.open_account(db, account_of("anna", 100_000), desk.now_s))
    wish = RuleRequest(
        min_trips=3,
        min_minor=1_000,
        currency="EUR",
        window_days=30,
        exclude_categories=["tools"],
    )
    desk.if_match = 0
    desk.do(association_rules.set_rule, wish, id="shop")
    return desk


def visited(desk: Desk, name: str, amount_minor: int = 400, *, account: str = "anna") -> str:
    """A captured visit at the shop."""
    hold = hold_of(name, account, amount_minor)
    desk.ledger.do(lambda db: store.place_hold(db, hold, desk.now_s))
    capture = capture_of(name, amount_minor)
    desk.ledger.do(lambda db: store.capture_hold(db, f"hold-{name}", capture, desk.now_s))
    return name


def told(desk: Desk, name: str, *categories: str) -> str:
    wish = InteractionRequest(capture=name, categories=list(categories))
    state: str = desk.do(associations.record, wish)["state"]
    return state


def visits(desk: Desk, count: int, first: int = 0, *categories: str) -> str:
    names = [visited(desk, f"v{i}") for i in range(first, first + count)]
    return [told(desk, name, *categories) for name in names][-1]


def allow(desk: Desk, auto_join: str, *, profiling: bool = False, version: int = 0) -> None:
    desk.if_match = version
    wish = SettingRequest(auto_join=auto_join, profiling=profiling)
    desk.do(association_rules.set_setting, wish, id="anna")


def test_shopper_is_asked_first_and_the_merchant_learns_of_nobody_until_yes(desk: Desk) -> None:
    assert visits(desk, 2) == "none"
    assert visits(desk, 1, 2) == "proposed"
    assert _followers(desk) == []
    reply = desk.do(associations.accept, Nothing(), id="anna", merchant="shop")
    assert (reply["state"], reply["trips"]) == ("active", 3)
    (follower,) = _followers(desk)
    assert "anna" not in follower.pairwise
    assert desk.breaches() == {}


def _followers(desk: Desk, merchant: str = "shop") -> list[associations.Follower]:
    page = desk.ledger.ask(lambda db: associations.followers(db, merchant, "", 10))
    found: list[associations.Follower] = page.followers
    return found


def test_joining_unasked_needs_consent_to_profiling(desk: Desk) -> None:
    desk.if_match = 0
    wish = SettingRequest(auto_join="on")
    assert desk.refused(association_rules.set_setting, wish, id="anna") == "consent-needed"
    allow(desk, "on", profiling=True)
    assert visits(desk, 3) == "active"
    desk.if_match = 0  # somebody else's older view
    late = SettingRequest(auto_join="off")
    assert desk.refused(association_rules.set_setting, late, id="anna") == "version-mismatch"
    assert desk.breaches() == {}


def test_off_is_off_and_removed_stays_removed(desk: Desk) -> None:
    allow(desk, "off")
    assert visits(desk, 4) == "none"
    allow(desk, "on", profiling=True, version=1)
    assert visits(desk, 1, 4) == "active"
    gone = desk.do(associations.remove, Nothing(), id="anna", merchant="shop")
    assert (gone["state"], gone["trips"]) == ("removed", 0)
    assert visits(desk, 5, 5) == "removed"
    assert desk.refused(associations.accept, Nothing(), id="anna", merchant="shop") == "wrong-state"
    assert _followers(desk) == []
    assert desk.breaches() == {}


def test_old_refunded_excluded_and_sensitive_visits_count_for_nothing(desk: Desk) -> None:
    visits(desk, 2)
    desk.now_s += 31 * 24 * 3600
    assert visits(desk, 2, 2) == "none"
    assert visits(desk, 1, 4, "tools") == "none"
    assert visits(desk, 1, 5, "alcohol", "bread") == "none"
    kept = desk.ledger.rows("SELECT category FROM interaction_category WHERE capture = 'v5'")
    assert kept == [("bread",)]
    back = store.RefundRequest(refund="r", amount_minor=1, currency="EUR")
    desk.ledger.do(lambda db: store.refund_capture(db, "v2", back, desk.now_s))
    assert visits(desk, 1, 6) == "none"
    assert visits(desk, 1, 7) == "proposed"
    assert desk.breaches() == {}


def test_staff_and_the_merchants_own_visits_make_no_customer(desk: Desk) -> None:
    desk.do(association_rules.add_insider, InsiderRequest(account="anna"), id="shop")
    assert visits(desk, 4) == "none"
    desk.do(association_rules.remove_insider, Nothing(), id="shop", account="anna")
    assert visits(desk, 1, 4) == "proposed"
    assert desk.breaches() == {}


def test_sixty_four_reports_at_once_make_one_association(desk: Desk) -> None:
    allow(desk, "on", profiling=True)
    names = [visited(desk, f"v{i}", 100) for i in range(RACERS)]
    done, slugs = desk.race(
        associations.record, [InteractionRequest(capture=name) for name in names]
    )
    assert (len(done), slugs) == (RACERS, [])
    assert desk.ledger.rows("SELECT state FROM association") == [("active",)]
    assert desk.breaches() == {}


def test_two_merchants_cannot_join_their_lists(desk: Desk) -> None:
    allow(desk, "on", profiling=True)
    visits(desk, 3)
    desk.if_match = 0
    wish = RuleRequest(min_trips=2, min_minor=0, currency="EUR", window_days=30)
    desk.do(association_rules.set_rule, wish, id="bakery")
    for i in range(2):
        name = f"b{i}"
        desk.ledger.do(lambda db, n=name: store.place_hold(db, hold_of(n, "anna", 100), desk.now_s))
        capture = _at_bakery(name)
        desk.ledger.do(
            lambda db, n=name, c=capture: store.capture_hold(db, f"hold-{n}", c, desk.now_s)
        )
        told(desk, name)
    ids = {one.pairwise for at in ("shop", "bakery") for one in _followers(desk, at)}
    assert len(ids) == 2
    assert desk.breaches() == {}


def _at_bakery(name: str) -> CaptureRequest:
    return replace(capture_of(name, 100), merchant="bakery")


def test_erasure_erases_and_the_rule_can_be_recomputed_in_its_old_version(desk: Desk) -> None:
    assert visits(desk, 3) == "proposed"
    desk.if_match = 1
    strict = RuleRequest(min_trips=100, min_minor=0, currency="EUR", window_days=30)
    desk.do(association_rules.set_rule, strict, id="shop")
    assert desk.breaches() == {}  # it was judged by version 1
    paid = store.PaymentRequest(payment="p", account="anna", amount_minor=1_200, currency="EUR")
    desk.ledger.do(lambda db: store.record_payment(db, paid, desk.now_s))
    desk.ledger.do(lambda db: privacy.erase(db, "anna", desk.now_s, "test"))
    for table in ("association", "association_evidence", "interaction", "association_setting"):
        assert desk.ledger.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert desk.breaches() == {}


PLANTED = {
    "the condition held on the kept visits when it was judged": (
        "DELETE FROM association_evidence WHERE capture = 'v0'"
    ),
    "each kept visit was settled, in the window, and not refunded then": (
        "UPDATE association_evidence SET amount_minor = amount_minor + 1"
    ),
    "no kept visit has sensitive or excluded goods": "UPDATE interaction SET sensitive = 1",
    "what was removed keeps nothing but the mark": "UPDATE association SET state = 'removed'",
    "nobody is joined who belonged to the merchant": (
        "INSERT INTO merchant_insider VALUES ('shop', 'anna', 0)"
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_in_an_association_is_found(desk: Desk, name: str) -> None:
    allow(desk, "ask")
    visits(desk, 3)
    if "belonged" in name:
        desk.do(associations.accept, Nothing(), id="anna", merchant="shop")
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert f"associations: {name}" in desk.breaches()
