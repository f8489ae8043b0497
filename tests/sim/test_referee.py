"""The referee: every kind of error is seen, and a right cart passes."""

from __future__ import annotations

from dataclasses import replace

from messages.contract import Books, Capture
from messages.events import (
    CartClosed,
    CartLine,
    CartState,
    LineState,
    PricedLine,
    ReceiptIssued,
    VisitKind,
)
from messages.ids import AccountRef, CredentialId, GateId, LineId, Sku, VisitId
from messages.money import Money
from sim.referee import books_problems, judge, money_problems
from sim.truth import TrueAction, Truth

GATE = GateId("gate-in")


def _truth(**held: dict[str, int]) -> Truth:
    truth = Truth()
    for name, lines in held.items():
        visit = truth.visit(name)
        visit.credential = f"code-{name}"
        visit.entered_at_ns, visit.exited_at_ns = 0, 9
        truth.actions += [
            TrueAction(at_ns=5, kind="take", visit=name, sku=sku, quantity=n, facing="f1")
            for sku, n in lines.items()
        ]
    return truth


def _cart(name: str, charged: dict[str, int], review: dict[str, int] | None = None) -> CartClosed:
    states = [(s, n, LineState.CHARGED) for s, n in charged.items()]
    states += [(s, n, LineState.REVIEW) for s, n in (review or {}).items()]
    lines = tuple(
        CartLine(
            line=LineId(f"{name}-{i}"),
            sku=Sku(sku),
            quantity=n,
            probability=0.99,
            state=state,
            taken_at_ns=1,
        )
        for i, (sku, n, state) in enumerate(states)
    )
    return CartClosed(
        visit=VisitId(f"v-{name}"),
        credential=CredentialId(f"code-{name}"),
        account=AccountRef(f"acc-{name}"),
        kind=VisitKind.SHOPPER,
        party_size=1,
        entry_gate=GATE,
        exit_gate=GATE,
        started_at_ns=0,
        ended_at_ns=9,
        started_at_wall_ns=0,
        ended_at_wall_ns=9,
        state=CartState.REVIEW if review else CartState.CLOSED,
        lines=lines,
    )


def test_right_carts_are_exact() -> None:
    verdict = judge(_truth(a={"x": 2}, b={}), [_cart("a", {"x": 2}), _cart("b", {})])
    assert (verdict.visits, verdict.exact, verdict.auto_exact) == (2, 2, 2)
    assert verdict.precision == verdict.recall == 1.0
    assert not verdict.over_charged
    assert not verdict.missed


def test_charge_above_the_truth_is_over_charged() -> None:
    verdict = judge(_truth(a={"x": 1}), [_cart("a", {"x": 2, "y": 1})])
    assert [(e.sku, e.charged_units) for e in verdict.over_charged] == [("x", 2), ("y", 1)]
    assert verdict.figures()["overcharged_per_1000_lines"] == 1000.0
    assert verdict.precision == 1 / 3


def test_doubtful_line_is_neither_charged_nor_missed() -> None:
    verdict = judge(_truth(a={"x": 1}), [_cart("a", {}, {"x": 1})])
    assert not verdict.over_charged
    assert not verdict.missed
    assert (verdict.review_rate, verdict.recall, verdict.charged_recall) == (1.0, 1.0, 0.0)


def test_wrong_doubtful_line_is_no_over_charge() -> None:
    verdict = judge(_truth(a={}), [_cart("a", {}, {"x": 1})])
    assert not verdict.over_charged
    assert verdict.exact == 0


def test_item_charged_to_the_other_visit_is_named_so() -> None:
    truth = _truth(a={"x": 1}, b={})
    verdict = judge(truth, [_cart("a", {}), _cart("b", {"x": 1})])
    assert [e.wrong_visit for e in verdict.over_charged] == [True]
    assert [e.credential for e in verdict.missed] == ["code-a"]


def test_lost_and_invented_carts_are_reported() -> None:
    verdict = judge(_truth(a={"x": 1}), [_cart("y", {}), _cart("z", {"x": 1})])
    assert verdict.carts_missing == ["code-a"]
    assert verdict.carts_unknown == ["code-z"]


def test_returned_and_handed_over_items_leave_the_truth() -> None:
    truth = _truth(a={"x": 2, "y": 1}, b={})
    base = truth.actions[0]
    truth.actions.append(replace(base, kind="return", quantity=1))
    truth.actions.append(replace(base, kind="hand_over", sku="y", quantity=1, to_visit="b"))
    assert truth.lines("a") == {"x": 1}
    assert truth.lines("b") == {"y": 1}


def test_visits_that_are_still_inside_are_not_judged() -> None:
    truth = _truth(a={"x": 1})
    truth.visits["a"].exited_at_ns = None
    assert judge(truth, []).visits == 0
    assert judge(truth, []).carts_missing == []


def _receipt(cart: CartClosed, units: dict[str, int], price: int = 100) -> ReceiptIssued:
    lines = tuple(
        PricedLine(
            line=LineId(sku),
            sku=Sku(sku),
            name=sku,
            quantity=n,
            unit_price_minor=price,
            discount_minor=0,
            tax_minor=0,
            total_minor=price * n,
        )
        for sku, n in units.items()
    )
    total = Money(minor=sum(x.total_minor for x in lines), currency="EUR")
    return ReceiptIssued(
        visit=cart.visit, account=cart.account, purchase="p", capture="c", total=total, lines=lines
    )


def _capture(cart: CartClosed, amount: int) -> Capture:
    return Capture(
        capture=f"capture-{cart.visit}",
        hold=f"hold-{cart.visit}",
        account=cart.account,
        merchant="m",
        purchase="p",
        amount_minor=amount,
        currency="EUR",
        journal=1,
    )


def test_cart_captured_once_for_its_price_is_fine() -> None:
    paid, empty = _cart("a", {"x": 2}), _cart("b", {})
    receipts = [_receipt(paid, {"x": 2}), _receipt(empty, {})]
    assert money_problems([paid, empty], receipts, [_capture(paid, 200)]) == []


def test_every_money_fault_is_reported() -> None:
    cart = _cart("a", {"x": 2})
    fine = _receipt(cart, {"x": 2})
    other = _capture(_cart("q", {}), 5)
    assert money_problems([cart], [], [])  # no receipt
    assert money_problems([cart], [fine], [])  # never captured
    assert money_problems([cart], [fine], [_capture(cart, 200)] * 2)  # twice
    assert money_problems([cart], [fine], [_capture(cart, 199)])  # another amount
    assert money_problems([cart], [_receipt(cart, {"x": 3})], [_capture(cart, 300)])  # more units
    assert money_problems([cart], [fine], [_capture(cart, 200), other])  # nobody's cart


def test_books_must_balance_and_agree_with_the_captures() -> None:
    capture = _capture(_cart("a", {"x": 1}), 100)
    books = Books(
        currency="EUR",
        balances={"a": -100, "m": 100},
        journals=1,
        captures=1,
        captured_minor=100,
        holds_open=0,
        unbalanced_journals=0,
    )
    assert books_problems(books, [capture]) == []
    assert books_problems(replace(books, balances={"a": -99, "m": 100}), [capture])
    assert books_problems(replace(books, unbalanced_journals=1), [capture])
    assert books_problems(replace(books, captured_minor=99), [capture])
    assert books_problems(books, [])
