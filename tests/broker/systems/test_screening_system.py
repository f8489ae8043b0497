"""System E: screening tokens, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from both_databases import Ledger, account_of, capture_of, hold_of
from desk import RACERS, Desk, a_key
from hypothesis import given
from hypothesis import strategies as st

from broker import store
from broker.problems import ProblemError
from broker.routes import Nothing
from broker.systems import screenings
from broker.systems.screenings import (
    Evidence,
    FactSource,
    Policy,
    PolicyRequest,
    PolicyRule,
    RedeemRequest,
    ScreeningRequest,
)

POLICY = PolicyRequest(
    rules=[
        PolicyRule(needs=["over18"], features=["alcohol_door"]),
        PolicyRule(needs=["regular", "no_debt"], features=["self_return"], limit_minor=20_000),
    ],
    sources=[FactSource(fact="over18", sources=["staff"])],
)
OVER_18 = Evidence(fact="over18", answer=True, source="staff")


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger, if_match=0)
    desk.do(screenings.set_policy, POLICY, id="lab")
    return desk


def code_of(desk: Desk, name: str, *evidence: Evidence, account: str | None = None) -> str:
    wish = ScreeningRequest(
        screening=name, store="lab", evidence=list(evidence or (OVER_18,)), account=account
    )
    assert desk.do(screenings.issue, wish)["code"] == a_key().kid
    return desk.code(screenings.PURPOSE, name)


def at(code: str, gate: str = "g1", store: str = "lab") -> RedeemRequest:
    return RedeemRequest(code=code, store=store, gate=gate)


def test_facts_open_what_the_policy_says_and_nothing_by_default(desk: Desk) -> None:
    opened = desk.do(screenings.redeem, at(code_of(desk, "s1")))
    assert (opened["features"], opened["limit_minor"]) == (["alcohol_door"], 0)
    for number, evidence in enumerate(
        (
            replace(OVER_18, answer=False),
            replace(OVER_18, source="kiosk"),  # may not say so
            replace(OVER_18, fact="tall"),
            replace(OVER_18, fact="regular"),  # the broker's own facts cannot be claimed
        )
    ):
        code = code_of(desk, f"no-{number}", evidence)
        assert desk.do(screenings.redeem, at(code))["features"] == []
    both = code_of(desk, "doubt", OVER_18, replace(OVER_18, answer=False))
    assert desk.do(screenings.redeem, at(both))["features"] == []
    assert desk.breaches() == {}


def test_past_trips_count_and_a_debt_closes_again(desk: Desk) -> None:
    desk.ledger.do(lambda db: store.open_account(db, account_of("anna", 90_000), 0))
    for number in range(screenings.REGULAR_TRIPS):
        hold = hold_of(f"v{number}", "anna", 500)
        desk.ledger.do(lambda db, h=hold: store.place_hold(db, h, desk.now_s))
        paid = capture_of(f"c{number}", 300)
        desk.ledger.do(lambda db, h=hold, c=paid: store.capture_hold(db, h.hold, c, desk.now_s))
    in_debt = code_of(desk, "debt", account="anna")
    assert desk.do(screenings.redeem, at(in_debt))["features"] == ["alcohol_door"]
    owed = screenings.REGULAR_TRIPS * 300
    payment = store.PaymentRequest(payment="p", account="anna", amount_minor=owed, currency="EUR")
    desk.ledger.do(lambda db: store.record_payment(db, payment, desk.now_s))
    opened = desk.do(screenings.redeem, at(code_of(desk, "paid", account="anna")))
    assert (opened["features"], opened["limit_minor"]) == (["alcohol_door", "self_return"], 20_000)


def test_used_old_foreign_altered_and_revoked_tokens_open_nothing(desk: Desk) -> None:
    code = code_of(desk, "s1")
    assert desk.refused(screenings.redeem, at(code, store="elsewhere")) == "token-elsewhere"
    assert desk.do(screenings.redeem, at(code))["features"]
    assert desk.refused(screenings.redeem, at(code, "g2")) == "token-used"
    altered = ("B" if code[0] == "A" else "A") + code[1:]
    assert desk.refused(screenings.redeem, at(altered)) == "unknown-token"
    gone = code_of(desk, "s2")
    desk.do(screenings.revoke, Nothing(), id="s2")
    assert desk.refused(screenings.redeem, at(gone)) == "token-revoked"
    old = code_of(desk, "s3")
    desk.now_s += screenings.VALIDITY_S
    assert desk.refused(screenings.redeem, at(old)) == "token-expired"
    assert desk.ask(screenings.screening, "s3").state == "expired"
    stolen = code_of(desk, "s4")
    desk.service.signing = (replace(a_key(), kid="another"),)  # the stolen key was taken away
    assert desk.refused(screenings.redeem, at(stolen)) == "unknown-token"
    assert desk.ask(screenings.screening, "s4").state == "issued"
    assert desk.breaches() == {}


def test_sixty_four_gates_on_one_token_open_once(desk: Desk) -> None:
    code = code_of(desk, "race")
    done, slugs = desk.race(screenings.redeem, [at(code, f"g{i}") for i in range(RACERS)])
    assert len(done) == 1
    assert set(slugs) == {"token-used"}
    assert desk.breaches() == {}


def test_collector_of_tokens_is_slowed_down_and_ids_do_not_change(desk: Desk) -> None:
    desk.ledger.do(lambda db: store.open_account(db, account_of("farm"), 0))
    for number in range(screenings.PER_HOUR_MAX):
        code_of(desk, f"f{number}", account="farm")
    wish = ScreeningRequest(screening="more", store="lab", evidence=[], account="farm")
    assert desk.refused(screenings.issue, wish) == "too-many-screenings"
    desk.now_s += 3600
    assert desk.do(screenings.issue, wish)["state"] == "issued"
    assert desk.do(screenings.issue, wish)["code"] == a_key().kid  # told again
    other = replace(wish, account=None)
    assert desk.refused(screenings.issue, other) == "id-taken"
    nowhere = replace(wish, screening="x", store="nowhere")
    assert desk.refused(screenings.issue, nowhere) == "unknown-policy"


def test_policy_changes_from_the_version_that_was_read(desk: Desk) -> None:
    assert desk.refused(screenings.set_policy, POLICY, id="lab") == "version-mismatch"
    desk.if_match = 1
    none = PolicyRequest(rules=[])
    assert desk.do(screenings.set_policy, none, id="lab")["version"] == 2
    opened = desk.do(screenings.redeem, at(code_of(desk, "s1")))
    assert (opened["features"], opened["policy_version"]) == ([], 2)
    with pytest.raises(Exception, match="append-only"):
        desk.ledger.change("UPDATE screening_policy SET rules = '[]'")


@given(
    st.sets(st.sampled_from("abcd")),
    st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.sampled_from("xyz")), max_size=6),
)
def test_features_are_those_of_rules_that_are_met_in_full(
    facts: set[str], rules: list[tuple[set[str], str]]
) -> None:
    policy = Policy(
        store="lab",
        version=1,
        ttl_s=60,
        sources=[],
        rules=[PolicyRule(needs=sorted(needs), features=[f]) for needs, f in rules],
    )
    opened, _ = screenings.opened(policy, facts)
    assert set(opened) == {f for needs, f in rules if not needs - facts}
    assert set(opened) <= set(screenings.opened(policy, facts | {"a"})[0])


PLANTED = {
    "screenings: a used token has one use, every other none": (
        "UPDATE screening SET state = 'issued'",
    ),
    "screenings: a token is used while it lives": ("UPDATE screening SET expires_s = issued_s",),
    "screenings: what was opened follows a policy of the token's own store": (
        "UPDATE screening SET store = 'elsewhere'",
    ),
    "screenings: policies have versions without gaps": (
        "INSERT INTO screening_policy VALUES ('lab', 7, 60, '[]', '[]', 0)",
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_is_found(desk: Desk, name: str) -> None:
    desk.do(screenings.redeem, at(code_of(desk, "s1")))
    assert desk.breaches() == {}
    for statement in PLANTED[name]:
        desk.ledger.change(statement)
    assert desk.breaches() == {name: 1}


def test_raised_refusal_undoes_the_use(desk: Desk) -> None:
    with pytest.raises(ProblemError):
        desk.do(screenings.redeem, at("A" * 26))
    assert desk.ledger.rows("SELECT screening FROM screening_use") == []
