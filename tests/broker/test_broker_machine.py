"""Any requests in any order, at any time, on both databases at once: same answers, sound books."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from both_databases import (
    KINDS,
    LIMIT_MINOR,
    Databases,
    Ledger,
    account_of,
    capture_of,
    claim_of,
    hold_of,
    transfer_of,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from broker import books, chain, store
from broker.ledger import HOLD_VALIDITY_S, LedgerRefusalError
from broker.problems import ProblemError
from messages.contract import AdjustRequest, VoidRequest


class BothBooks(RuleBasedStateMachine):
    """Each step goes to both ledgers; what they say must be the same."""

    databases: ClassVar[Databases]
    holds = Bundle("holds")
    captures = Bundle("captures")
    amounts = st.integers(1, LIMIT_MINOR + 200)
    shoppers = st.sampled_from(["anna", "ben"])
    accounts = st.sampled_from(["psp_clearing", "wallet:anna", "wallet:ben", "merchant_payable:m"])

    def __init__(self) -> None:
        super().__init__()
        self.ledgers = [Ledger(self.databases.new(kind)) for kind in KINDS]
        self.now_s = 0
        self.numbers = itertools.count()
        for name in ("anna", "ben"):
            self.both(lambda db, n=name: store.open_account(db, account_of(n), 0))

    def teardown(self) -> None:
        while any(ledger.do(chain.seal) for ledger in self.ledgers):
            pass
        assert all(ledger.ask(chain.verify).broken == () for ledger in self.ledgers)
        assert all(ledger.ask(books.breaches) == {} for ledger in self.ledgers)
        for ledger in self.ledgers:
            ledger.close()
            self.databases.drop(ledger.where)

    def both(self, effect: Callable[..., Any]) -> Any:
        return self.same(lambda ledger: ledger.do(effect))

    def same(self, work: Callable[[Ledger], Any]) -> Any:
        said = [self.said(work, ledger) for ledger in self.ledgers]
        assert said[0] == said[1]
        return said[0]

    def said(self, work: Callable[[Ledger], Any], ledger: Ledger) -> Any:
        """Answer or refusal, without journal numbers: PostgreSQL's have gaps."""
        try:
            answer = work(ledger)
        except LedgerRefusalError as refusal:
            return refusal.reason
        except ProblemError as problem:
            return problem.slug
        return answer.status, answer.body.partition(b'"journal":')[0], answer.replayed

    @rule(target=holds, account=shoppers, amount=amounts)
    def place(self, account: str, amount: int) -> str:
        visit = f"v{next(self.numbers)}"
        self.both(lambda db: store.place_hold(db, hold_of(visit, account, amount), self.now_s))
        return f"hold-{visit}"

    @rule(hold=holds, amount=amounts)
    def adjust(self, hold: str, amount: int) -> None:
        wish = AdjustRequest(amount_minor=amount)
        self.both(lambda db: store.adjust_hold(db, hold, wish, self.now_s))

    @rule(target=captures, hold=holds, amount=amounts)
    def capture(self, hold: str, amount: int) -> Any:
        wish = capture_of(f"capture-{next(self.numbers)}", amount)
        said = self.both(lambda db: store.capture_hold(db, hold, wish, self.now_s))
        return wish.capture if said[0] == 201 else multiple()

    @rule(hold=holds)
    def void(self, hold: str) -> None:
        self.both(lambda db: store.void_hold(db, hold, VoidRequest(), self.now_s))

    @rule(account=shoppers, amount=amounts)
    def pay(self, account: str, amount: int) -> None:
        name = f"pay-{next(self.numbers)}"
        wish = store.PaymentRequest(
            payment=name, account=account, amount_minor=amount, currency="EUR"
        )
        self.both(lambda db: store.record_payment(db, wish, self.now_s))

    @rule(capture=captures, amount=st.integers(1, 400))
    def refund(self, capture: str, amount: int) -> None:
        name = f"refund-{next(self.numbers)}"
        wish = store.RefundRequest(refund=name, amount_minor=amount, currency="EUR")
        self.both(lambda db: store.refund_capture(db, capture, wish, self.now_s))

    @rule(number=st.integers(0, 12), key=st.integers(0, 12), amount=amounts, debit=accounts,
          credit=accounts)  # fmt: skip
    def transfer(self, number: int, key: int, amount: int, debit: str, credit: str) -> None:
        """Few ids and keys, so that many come again."""
        if debit != credit:
            wish, claim = transfer_of(f"t{number}", amount, debit, credit), claim_of(f"k{key}")
            self.same(lambda ledger: ledger.transfer(claim, wish, self.now_s))

    @rule()
    def seal_and_sweep(self) -> None:
        for ledger in self.ledgers:
            ledger.do(chain.seal)
            ledger.do(lambda db: store.sweep(db, self.now_s))

    @rule(seconds=st.sampled_from([1, HOLD_VALIDITY_S // 2, HOLD_VALIDITY_S]))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(back=st.integers(1, HOLD_VALIDITY_S))
    def clock_is_set_back(self, back: int) -> None:
        self.now_s = max(0, self.now_s - back)

    @invariant()
    def limits_hold(self) -> None:
        states = [
            [
                ledger.ask(lambda db, n=name: store.account(db, n, self.now_s))
                for name in ("anna", "ben")
            ]
            for ledger in self.ledgers
        ]
        assert states[0] == states[1]
        assert all(0 <= one.held_minor + one.owed_minor <= LIMIT_MINOR for one in states[0])


def test_both_databases_say_the_same_and_their_books_stay_sound(databases: Databases) -> None:
    databases.new("postgresql")  # skipped here where there is none
    case = type("Case", (BothBooks,), {"databases": databases})
    case.TestCase.settings = settings(
        max_examples=20, stateful_step_count=40, deadline=None, database=None
    )
    case.TestCase().runTest()


@pytest.mark.parametrize("kind", KINDS)
def test_the_machine_would_notice_a_broken_floor(databases: Databases, kind: str) -> None:
    ledger = Ledger(databases.new(kind))
    ledger.do(lambda db: store.open_account(db, account_of("anna"), 0))
    ledger.change("UPDATE ledger_account SET floor_minor = -99999")
    ledger.do(lambda db: store.place_hold(db, hold_of("v1", "anna", LIMIT_MINOR), 0))
    ledger.change("UPDATE ledger_account SET held_minor = 0")
    assert ledger.ask(books.breaches) == {"what is held is the sum of open holds": 1}
    ledger.close()
    databases.drop(ledger.where)
