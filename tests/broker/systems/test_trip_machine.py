"""Visits in any order on both databases at once: they say the same, and the books stay sound."""

from __future__ import annotations

from typing import Any

from both_databases import Databases, Ledger
from desk import Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from market import paid, shopper

from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.routes import Nothing
from broker.systems import debts, disputes, entries, trips
from broker.systems.debts import DenyRequest, RecoveryRequest
from broker.systems.disputes import ContestedLine, DecisionRequest, DisputeRequest
from broker.systems.entries import EntryRequest
from broker.systems.trips import PricedLine, SettleRequest, TripCart, TripLine, TripRequest
from messages.contract import VoidRequest

number = st.integers(0, 3)
minor = st.sampled_from([0, 1, 40, 700, 2_500])
steps = st.one_of(
    st.tuples(st.just("enter"), number, st.sampled_from(["anna", "ben", "nobody"]), minor),
    st.tuples(st.just("begin"), number, number, number),
    st.tuples(st.just("cart"), number, number, st.sampled_from(["draft", "final"])),
    st.tuples(st.just("settle"), number, number, minor),
    st.tuples(st.just("void"), number, st.just(0), st.just(0)),
    st.tuples(st.just("contest"), number, number, st.just(0)),
    st.tuples(st.just("decide"), number, st.booleans(), st.just(0)),
    st.tuples(st.just("recover"), number, number, minor),
    st.tuples(st.just("deny"), st.just(0), st.booleans(), st.just(0)),
    st.tuples(st.just("pay"), st.just(0), st.sampled_from([1, 40]), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from([60, 8 * 86_400]), st.just(0)),
)


def done(desk: Desk, step: tuple[Any, ...]) -> Any:
    """One step; the reply without ids of chance, or the slug of the refusal."""
    verb, n, other, more = step
    try:
        reply = _STEPS[verb](desk, n, other, more)
    except ProblemError as problem:
        return problem.slug
    except LedgerRefusalError as refusal:
        return refusal.reason.value
    return {key: value for key, value in (reply or {}).items() if key != "account_ref"}


def _enter(desk: Desk, n: int, who: str, least: int) -> Any:
    asked = EntryRequest(
        entry=f"e{n}",
        merchant="shop",
        store="lab",
        gate="g",
        credential_kind="app",
        presented=who,
        currency="EUR",
        wanted_minor=1_500,
        least_minor=max(1, least),
    )
    return desk.do(entries.enter, asked)


def _begin(desk: Desk, n: int, first: int, second: int) -> Any:
    party = list(dict.fromkeys((f"e{first}", f"e{second}")))
    return desk.do(trips.begin, TripRequest(trip=f"t{n}", entries=party))


def _cart(desk: Desk, n: int, lines: int, state: str) -> Any:
    desk.if_match = desk.ask(trips.trip, f"t{n}").version
    taken = [TripLine(line_id=f"l{i}", gtin="", units=1, shelf_minor=50) for i in range(lines)]
    return desk.do(trips.set_cart, TripCart(cart_state=state, cart_lines=taken), id=f"t{n}")


def _settle(desk: Desk, n: int, lines: int, each: int) -> Any:
    asked = SettleRequest(
        purchase=f"p{n}",
        priced=[PricedLine(line_id=f"l{i}", total_minor=each) for i in range(lines)],
        total_minor=lines * each,
        currency="EUR",
    )
    return desk.do(trips.settle, asked, id=f"t{n}")


def _contest(desk: Desk, n: int, line: int, _: int) -> Any:
    lines = [ContestedLine(line_id=f"l{line}")]
    asked = DisputeRequest(dispute=f"d{n}", capture=f"trip:t{n}", contested=lines, reason="")
    return desk.do(disputes.contest, asked)


def _decide(desk: Desk, n: int, right: bool, _: int) -> Any:
    found = desk.ask(disputes.dispute, f"d{n}")
    upheld = [line.line_id for line in found.lines] if right else []
    return desk.do(disputes.decide, DecisionRequest(upheld=upheld, note=""), id=f"d{n}")


def _recover(desk: Desk, n: int, name: int, amount: int) -> Any:
    asked = RecoveryRequest(recovery=f"r{name}", amount_minor=max(1, amount), currency="EUR")
    return desk.do(debts.recover, asked, id=f"t{n}")


def _deny(desk: Desk, _: int, on: bool, __: int) -> Any:
    if on:
        return desk.do(debts.deny, DenyRequest(account="ben", reason=""))
    return desk.do(debts.allow, Nothing(), id="ben")


def _pay(desk: Desk, _: int, amount: int, __: int) -> None:
    paid(desk, "anna", amount)


def _wait(desk: Desk, _: int, seconds: int, __: int) -> None:
    desk.now_s += seconds
    desk.ledger.do(lambda db: trips.lapse(db, desk.now_s))


_STEPS = {
    "enter": _enter,
    "begin": _begin,
    "cart": _cart,
    "settle": _settle,
    "void": lambda desk, n, *_: desk.do(trips.void, VoidRequest(reason=""), id=f"t{n}"),
    "contest": _contest,
    "decide": _decide,
    "recover": _recover,
    "deny": _deny,
    "pay": _pay,
    "wait": _wait,
}
# A visit that goes well, so that what follows has something to stand on.
BEGUN = [
    ("enter", 0, "anna", 1),
    ("begin", 0, 0, 0),
    ("cart", 0, 2, "final"),
    ("settle", 0, 2, 700),
]


@settings(max_examples=6, deadline=None)
@given(wished=st.lists(steps, min_size=4, max_size=30))
def test_visits_in_any_order_say_the_same_and_keep_the_books_sound(
    databases: Databases, wished: list[tuple[Any, ...]]
) -> None:
    desks = [Desk(Ledger(databases.new(kind))) for kind in ("sqlite", "postgresql")]
    for desk in desks:
        shopper(desk, "anna", 2_000)
        shopper(desk, "ben", 900)
    for step in (*BEGUN, *wished):
        first, second = (done(desk, step) for desk in desks)
        assert first == second, step
    for desk in desks:
        assert desk.breaches() == {}
        desk.ledger.close()
        databases.drop(desk.ledger.where)
