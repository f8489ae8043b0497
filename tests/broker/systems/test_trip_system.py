"""System A: entries, carts, prices, captures, debts, the deny list, disputes, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_databases import Ledger, account_of
from desk import RACERS, Desk
from market import held, owed, paid, shopper

from broker import privacy, store
from broker.problems import ProblemError
from broker.routes import Nothing
from broker.systems import debts, disputes, entries, receipts, trips
from broker.systems.disputes import (
    ContestedLine,
    DecisionRequest,
    DisputeRequest,
    EvidenceRequest,
)
from broker.systems.entries import EntryRequest
from broker.systems.trips import PricedLine, SettleRequest, TripCart, TripLine, TripRequest
from messages.contract import Credential, CredentialRequest, VoidRequest

DAY_S = 86_400


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger)
    shopper(desk, "anna", 10_000)
    return desk


def entry_of(name: str = "e1", presented: str = "anna", **more: Any) -> EntryRequest:
    asked = EntryRequest(
        entry=name,
        merchant="shop",
        store="lab",
        gate="north",
        credential_kind="app",
        presented=presented,
        currency="EUR",
        wanted_minor=5_000,
    )
    return replace(asked, **more)


def entered(desk: Desk, name: str = "e1", presented: str = "anna", **more: Any) -> Any:
    return desk.do(entries.enter, entry_of(name, presented, **more))


def begun(desk: Desk, name: str = "t1", *party: str) -> Any:
    return desk.do(trips.begin, TripRequest(trip=name, entries=list(party or ("e1",))))


def cart(desk: Desk, lines: dict[str, int], name: str = "t1", state: str = "final") -> Any:
    """``lines``: line -> what the shelf said."""
    desk.if_match = desk.ask(trips.trip, name).version
    taken = [
        TripLine(line_id=line, gtin="", units=1, shelf_minor=minor, confidence_permille=987)
        for line, minor in lines.items()
    ]
    return desk.do(trips.set_cart, TripCart(cart_state=state, cart_lines=taken), id=name)


def price(lines: dict[str, int], purchase: str = "p1") -> SettleRequest:
    return SettleRequest(
        purchase=purchase,
        priced=[PricedLine(line_id=line, total_minor=minor) for line, minor in lines.items()],
        total_minor=sum(lines.values()),
        currency="EUR",
    )


def visit(desk: Desk, lines: dict[str, int], number: int = 1, **more: Any) -> Any:
    """From the gate to the settled purchase."""
    entered(desk, f"e{number}", **more)
    begun(desk, f"t{number}", f"e{number}")
    cart(desk, lines, f"t{number}")
    return desk.do(trips.settle, price(lines, f"p{number}"), id=f"t{number}")


def test_visit_is_charged_what_the_retailer_says_and_the_rest_of_the_hold_returns(
    desk: Desk,
) -> None:
    gate = entered(desk)
    assert (gate["decision"], gate["held_minor"], gate["reason"]) == ("admit", 5_000, "")
    assert begun(desk)["account_ref"] == gate["account_ref"] != "anna"
    cart(desk, {"milk": 120}, state="draft")
    cart(desk, {"milk": 120, "bread": 300})
    asked = price({"milk": 120, "bread": 290})
    done = desk.do(trips.settle, asked, id="t1")
    assert (done["state"], done["captured_minor"], done["debt_minor"]) == ("captured", 410, 0)
    assert desk.do(trips.settle, asked, id="t1") == done  # sent again: the same purchase
    assert desk.refused(trips.settle, price({"milk": 1}, "p2"), id="t1") == "id-taken"
    assert (owed(desk, "anna"), held(desk, "anna")) == (410, 0)
    assert desk.balance("merchant_payable:shop") == 410
    told = desk.ledger.rows("SELECT kind, data FROM event")
    assert told == [
        ("trip.settled", '{"captured_minor": 410, "purchase": "p1", "total_minor": 410}')
    ]
    assert desk.breaches() == {}


def test_empty_cart_costs_nothing_and_gives_the_hold_back(desk: Desk) -> None:
    done = visit(desk, {})
    assert (done["state"], done["total_minor"], done["capture"]) == ("void", 0, "")
    assert (owed(desk, "anna"), held(desk, "anna")) == (0, 0)
    assert desk.breaches() == {}


def test_price_has_the_lines_of_the_final_cart_and_adds_up(desk: Desk) -> None:
    entered(desk)
    begun(desk)
    assert desk.refused(trips.settle, price({"a": 5}), id="t1") == "wrong-state"
    cart(desk, {"a": 5, "b": 6})
    for wrong, slug in (
        (price({"a": 5}), "lines-differ"),
        (price({"a": 5, "b": 6, "c": 1}), "lines-differ"),
        (replace(price({"a": 5, "b": 6}), total_minor=12), "lines-do-not-add-up"),
        (replace(price({"a": 5, "b": 6}), currency="JPY"), "currency-mismatch"),
        (replace(price({"a": 5, "b": 6}), priced=[PricedLine(line_id="a", total_minor=11)] * 1,
                 total_minor=11), "lines-differ"),
    ):  # fmt: skip
        assert desk.refused(trips.settle, wrong, id="t1") == slug
    desk.if_match = desk.ask(trips.trip, "t1").version
    late = TripCart(cart_state="draft", cart_lines=[])
    assert desk.refused(trips.set_cart, late, id="t1") == "wrong-state"
    desk.if_match = 1
    assert desk.refused(trips.set_cart, late, id="t1") == "version-mismatch"
    desk.do(trips.settle, price({"a": 5, "b": 6}), id="t1")
    entered(desk, "e2")
    begun(desk, "t2", "e2")
    cart(desk, {"a": 5}, "t2")
    assert desk.refused(trips.settle, price({"a": 5}), id="t2") == "purchase-settled"
    assert desk.breaches() == {}


def test_dearer_than_the_shelf_is_said(desk: Desk) -> None:
    entered(desk)
    begun(desk)
    cart(desk, {"wine": 900, "cork": 100})
    done = desk.do(trips.settle, price({"wine": 1_050, "cork": 90}), id="t1")
    assert done["above_shelf_minor"] == 150


def test_gate_turns_away_with_a_reason_and_holds_nothing(desk: Desk) -> None:
    shopper(desk, "poor", 40)
    shopper(desk, "bad", 9_000)
    desk.ledger.do(lambda db: store.block_account(db, "bad", True, 0))
    reasons = {
        "nobody": "unknown-credential",
        "bad": "account-blocked",
        "poor": "limit-exceeded",
    }
    for name, reason in reasons.items():
        reply = entered(desk, f"e-{name}", name, least_minor=41)
        assert (reply["decision"], reply["reason"], reply["hold"]) == ("deny", reason, "")
        assert reply["account_ref"] == ""
        assert desk.do(entries.enter, entry_of(f"e-{name}", name, least_minor=41)) == reply
    yen = entered(desk, "e-yen", "anna", currency="JPY")
    assert yen["reason"] == "currency-mismatch"
    small = entered(desk, "e-small", "poor", least_minor=40)
    assert (small["decision"], small["held_minor"]) == ("limited", 40)
    again = TripRequest(trip="t", entries=["e-bad"])
    assert desk.refused(trips.begin, again) == "wrong-entry"
    assert desk.breaches() == {}


def test_code_opens_once_for_its_own_store_whoever_races(desk: Desk) -> None:
    asked = CredentialRequest(account="anna", store="lab")
    issued = Credential(credential="code1", token="t", expires_at="")
    desk.ledger.do(lambda db: store.record_credential(db, asked, issued, desk.now_s))
    wrong = entered(desk, "e0", "code1", credential_kind="code", store="other")
    assert wrong["reason"] == "unknown-credential"
    wishes = [
        entry_of(f"r{n}", "code1", credential_kind="code", wanted_minor=100) for n in range(RACERS)
    ]
    done, _ = desk.race(entries.enter, wishes)
    admitted = [reply for reply in done if reply["decision"] == "admit"]
    assert len(admitted) == 1
    assert {reply["reason"] for reply in done if reply["decision"] == "deny"} == {"credential-used"}
    assert held(desk, "anna") == 100
    assert desk.breaches() == {}


def test_merchants_call_a_shopper_by_names_of_their_own(desk: Desk) -> None:
    first = entered(desk, "e1", wanted_minor=10)["account_ref"]
    again = entered(desk, "e2", wanted_minor=10)["account_ref"]
    other = entered(desk, "e3", wanted_minor=10, merchant="rival")["account_ref"]
    assert first == again != other
    desk.party = "rival"
    asked = TripRequest(trip="t", entries=["e1"])
    assert desk.refused(trips.begin, asked) == "unknown-entry"
    assert desk.refused(entries.enter, entry_of("e4")) == "unknown-merchant"
    named = entry_of("e5", "anna", merchant="rival")  # an account's id is no credential
    assert desk.refused(entries.enter, named) == "merchants-key"
    shown = entry_of("e5", "tok_unknown", merchant="rival", credential_kind="card")
    assert desk.do(entries.enter, shown)["reason"] == "unknown-credential"


def test_party_pays_with_its_first_entry_and_the_others_are_let_go(desk: Desk) -> None:
    shopper(desk, "ben", 9_000)
    entered(desk, "e1")
    entered(desk, "e2", "ben")
    begun(desk, "t1", "e2", "e1")
    assert (held(desk, "anna"), held(desk, "ben")) == (0, 5_000)
    assert desk.refused(trips.begin, TripRequest(trip="t2", entries=["e1"])) == "wrong-entry"
    cart(desk, {"a": 7})
    desk.do(trips.settle, price({"a": 7}), id="t1")
    assert (owed(desk, "anna"), owed(desk, "ben")) == (0, 7)


def test_settling_sixty_four_times_at_once_charges_once(desk: Desk) -> None:
    entered(desk)
    begun(desk)
    cart(desk, {"a": 300})
    done, slugs = desk.race(trips.settle, [price({"a": 300})] * RACERS, id="t1")
    assert len(done) == RACERS
    assert slugs == []
    assert owed(desk, "anna") == 300
    assert len(desk.ledger.rows("SELECT * FROM capture")) == 1
    assert desk.breaches() == {}


def test_debt_shuts_the_gate_for_the_account_and_its_card_until_it_is_paid(desk: Desk) -> None:
    card = replace(account_of("twin", 9_000), payment_ref="tok_one")
    desk.ledger.do(lambda db: store.open_account(db, card, 0))
    same_card = replace(card, account="second")
    desk.ledger.do(lambda db: store.open_account(db, same_card, 0))
    done = visit(desk, {"ring": 8_000}, presented="twin")
    assert (done["state"], done["captured_minor"], done["debt_minor"]) == ("debt", 5_000, 3_000)
    for number, (presented, kind) in enumerate(
        (("twin", "app"), ("second", "app"), ("tok_one", "card"))
    ):
        asked = entry_of(f"x{number}", presented, credential_kind=kind)
        assert desk.do(entries.enter, asked)["reason"] == "debt-open"
    assert desk.do(entries.enter, entry_of("x0", "twin"))["debt_minor"] == 3_000
    part = debts.RecoveryRequest(recovery="r1", amount_minor=1_000, currency="EUR")
    assert desk.do(debts.recover, part, id="t1")["state"] == "open"
    assert desk.do(debts.recover, part, id="t1")["recovered_minor"] == 1_000
    more = replace(part, recovery="r2", amount_minor=2_001)
    assert desk.refused(debts.recover, more, id="t1") == "payment-above-debt"
    rest = replace(part, recovery="r3", amount_minor=2_000)
    assert desk.do(debts.recover, rest, id="t1")["state"] == "recovered"
    assert entered(desk, "y", "second")["decision"] == "admit"
    assert desk.balance("merchant_payable:shop") == 8_000
    assert desk.balance("psp_clearing") == -3_000
    kinds = [kind for (kind,) in desk.ledger.rows("SELECT kind FROM event ORDER BY event")]
    assert kinds == ["trip.debt", "debt.recovered", "debt.recovered"]
    assert desk.breaches() == {}


def test_paid_debt_lifts_no_word_of_the_operator(desk: Desk) -> None:
    visit(desk, {"ring": 6_000})
    desk.do(debts.deny, debts.DenyRequest(account="anna", reason="rude"))
    assert entered(desk, "e2")["reason"] == "deny-listed"
    desk.do(debts.write_off, Nothing(), id="t1")
    whole = debts.RecoveryRequest(recovery="r", amount_minor=1_000, currency="EUR")
    desk.do(debts.recover, whole, id="t1")
    assert entered(desk, "e3")["reason"] == "deny-listed"
    assert desk.do(debts.allow, Nothing(), id="anna")["causes"] == []
    assert entered(desk, "e4", wanted_minor=100)["decision"] == "admit"
    assert desk.refused(debts.deny, debts.DenyRequest(account="x", reason="")) == "unknown-account"
    assert desk.breaches() == {}


def test_recovering_a_debt_sixty_four_times_at_once_takes_what_is_left(desk: Desk) -> None:
    visit(desk, {"ring": 5_640})
    wishes = [
        debts.RecoveryRequest(recovery=f"r{n}", amount_minor=20, currency="EUR")
        for n in range(RACERS)
    ]
    done, slugs = desk.race(debts.recover, wishes, id="t1")
    assert (len(done), set(slugs)) == (32, {"payment-above-debt", "wrong-state"} & set(slugs))
    assert desk.balance("psp_clearing") == -640
    assert desk.breaches() == {}


def dispute_of(*lines: str, name: str = "d1", capture: str = "trip:t1") -> DisputeRequest:
    contested = [ContestedLine(line_id=line) for line in lines]
    return DisputeRequest(dispute=name, capture=capture, contested=contested, reason="not mine")


def test_contested_lines_are_reviewed_with_evidence_and_given_back(desk: Desk) -> None:
    visit(desk, {"milk": 120, "wine": 900, "ham": 400})
    paid(desk, "anna", 1_420)
    opened = desk.do(disputes.contest, dispute_of("wine", "ham"))
    assert (opened["state"], opened["asked_minor"]) == ("contested", 1_300)
    assert [line["confidence_permille"] for line in opened["lines"]] == [987, 987]
    seen = EvidenceRequest(evidence_id="cam-4", said="the wine went back to bay 3")
    desk.do(disputes.add_evidence, seen, id="d1")
    assert desk.refused(disputes.add_evidence, replace(seen, said="other"), id="d1") == "id-taken"
    done = desk.do(disputes.decide, DecisionRequest(upheld=["wine"], note="seen"), id="d1")
    assert (done["state"], done["upheld_minor"], done["refund"]) == ("refunded", 900, "dispute:d1")
    assert done == desk.do(disputes.decide, DecisionRequest(upheld=["wine"], note="x"), id="d1")
    other = DecisionRequest(upheld=["ham"], note="")
    assert desk.refused(disputes.decide, other, id="d1") == "wrong-state"
    assert desk.refused(disputes.add_evidence, replace(seen, evidence_id="b"), id="d1") == (
        "wrong-state"
    )
    receipt = desk.ledger.ask(lambda db: receipts.receipt(db, "t1"))
    states = {line.line_id: line.dispute_state for line in receipt.lines}
    assert states == {"milk": "", "wine": "refunded", "ham": "refunded"}
    assert (receipt.total_minor, receipt.refunded_minor) == (1_420, 900)
    assert desk.balance("merchant_payable:shop") == 520
    assert desk.balance("refund_clearing") == 900
    assert desk.breaches() == {}


def test_line_is_contested_once_and_only_where_it_was_bought(desk: Desk) -> None:
    visit(desk, {"milk": 120})
    wishes = [dispute_of("milk", name=f"d{n}") for n in range(RACERS)]
    done, slugs = desk.race(disputes.contest, wishes)
    assert (len(done), set(slugs)) == (1, {"line-contested"})
    assert desk.refused(disputes.contest, dispute_of("beer", name="x")) == "lines-differ"
    nowhere = dispute_of("milk", name="x", capture="no")
    assert desk.refused(disputes.contest, nowhere) == "unknown-capture"
    (name,) = [reply["dispute"] for reply in done]
    kept = desk.do(disputes.decide, DecisionRequest(upheld=[], note="he took it"), id=name)
    assert (kept["state"], kept["upheld_minor"]) == ("reviewed", 0)
    wrong = DecisionRequest(upheld=["beer"], note="")
    assert desk.refused(disputes.decide, wrong, id=name) == "lines-differ"
    desk.party = "rival"
    seen = EvidenceRequest(evidence_id="x", said="x")
    assert desk.refused(disputes.add_evidence, seen, id=name) == "unknown-merchant"
    assert desk.ask(disputes.page, "", 10).disputes == []


def test_upheld_line_comes_off_the_debt_first(desk: Desk) -> None:
    visit(desk, {"ring": 4_000, "watch": 2_500})
    desk.do(disputes.contest, dispute_of("watch"))
    done = desk.do(disputes.decide, DecisionRequest(upheld=["watch"], note="never"), id="d1")
    assert (done["forgiven_minor"], done["upheld_minor"]) == (1_500, 2_500)
    assert desk.ledger.ask(lambda db: debts.debt(db, "t1")).state == "recovered"
    assert owed(desk, "anna") == 4_000
    assert entered(desk, "e2", wanted_minor=100)["decision"] == "admit"
    assert desk.breaches() == {}


def test_purchase_that_cloud_sync_captured_is_contested_by_its_amounts(desk: Desk) -> None:
    from both_databases import capture_of, hold_of

    desk.ledger.do(lambda db: store.place_hold(db, hold_of("v1", "anna", 900), desk.now_s))
    asked = capture_of("c1", 800)
    desk.ledger.do(lambda db: store.capture_hold(db, "hold-v1", asked, desk.now_s))
    lines = [ContestedLine(line_id="a", total_minor=300), ContestedLine(line_id="b", total_minor=1)]
    wish = DisputeRequest(dispute="d", capture="c1", contested=lines, reason="")
    desk.do(disputes.contest, wish)
    more = [ContestedLine(line_id="c", total_minor=500)]
    over = DisputeRequest(dispute="d2", capture="c1", contested=more, reason="")
    assert desk.refused(disputes.contest, over) == "refund-above-capture"
    desk.do(disputes.decide, DecisionRequest(upheld=["a"], note=""), id="d")
    assert owed(desk, "anna") == 500
    desk.now_s += disputes.PERIOD_S + 1
    late = replace(over, contested=[ContestedLine(line_id="z", total_minor=1)])
    assert desk.refused(disputes.contest, late) == "too-late"
    assert desk.breaches() == {}


def test_trip_that_nobody_settles_ends_by_itself_and_holds_nothing(desk: Desk) -> None:
    entered(desk)
    begun(desk)
    cart(desk, {"a": 5})
    desk.now_s += 8 * DAY_S
    assert desk.ledger.do(lambda db: trips.lapse(db, desk.now_s)) == 1
    assert desk.ask(trips.trip, "t1").state == "void"
    assert held(desk, "anna") == 0
    assert desk.refused(trips.settle, price({"a": 5}), id="t1") == "wrong-state"
    entered(desk, "e2")
    begun(desk, "t2", "e2")
    done = desk.do(trips.void, VoidRequest(reason="left at once"), id="t2")
    assert done == desk.do(trips.void, VoidRequest(reason="again"), id="t2") | {"version": 2}
    assert desk.breaches() == {}


def test_expired_hold_leaves_the_whole_price_as_a_debt(desk: Desk) -> None:
    entered(desk)
    begun(desk)
    cart(desk, {"a": 500})
    desk.now_s += 8 * DAY_S
    done = desk.do(trips.settle, price({"a": 500}), id="t1")
    assert (done["state"], done["captured_minor"], done["debt_minor"]) == ("debt", 0, 500)
    assert desk.breaches() == {}


def test_erasure_waits_for_debts_and_then_forgets_where_and_what(desk: Desk) -> None:
    visit(desk, {"ring": 5_500})
    paid(desk, "anna", 5_000)
    with pytest.raises(ProblemError, match="settle"):
        desk.ledger.do(lambda db: privacy.erase(db, "anna", desk.now_s, "test"))
    whole = debts.RecoveryRequest(recovery="r", amount_minor=500, currency="EUR")
    desk.do(debts.recover, whole, id="t1")
    desk.ledger.do(lambda db: privacy.erase(db, "anna", desk.now_s, "test"))
    assert desk.ledger.rows("SELECT account, store, gate FROM entry") == [("", "erased", "erased")]
    assert desk.ledger.rows("SELECT * FROM account_ref") == []
    assert desk.ledger.rows("SELECT gtin, evidence FROM trip_line") == [("", "")]
    assert desk.breaches() == {}


PLANTED = {
    "a trip costs what its lines cost": "UPDATE trip_line SET total_minor = total_minor + 1",
    "a trip that has ended holds nothing": "UPDATE trip SET state = 'void'",
    "every trip ends": "UPDATE trip SET state = 'exited', due_s = 1",
    "a code opened one entry": ("UPDATE entry SET trip = 'elsewhere' WHERE trip IS NOT NULL"),
    "a debt is what was recovered": "UPDATE trip_debt SET recovered_minor = 1",
    "who owes a visit is on the deny list": "DELETE FROM denied",
    "a dispute gave back what was upheld": "UPDATE dispute_line SET upheld = 0",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_in_a_visit_is_found(desk: Desk, name: str) -> None:
    visit(desk, {"ring": 5_500, "milk": 100})
    desk.do(disputes.contest, dispute_of("milk"))
    desk.do(disputes.decide, DecisionRequest(upheld=["milk"], note=""), id="d1")
    assert desk.breaches() == {}
    desk.ledger.change(PLANTED[name])
    assert [found for found in desk.breaches() if name in found]
