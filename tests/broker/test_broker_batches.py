"""Transfers that arrive together are one transaction; each is as if it had come alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from both_databases import Databases, Ledger, claim_of, transfer_of
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import books
from broker.idempotency import Answer
from broker.problems import ProblemError

WALLETS = ("wallet:anna", "wallet:ben", "psp_clearing")
SHOPS = ("merchant_payable:shop", "fees", "wallet:ben")
FUNDS_MINOR = 60
wishes = st.lists(
    st.tuples(
        st.integers(0, 12),  # its key
        st.integers(0, 12),  # its id
        st.sampled_from(WALLETS),
        st.sampled_from(SHOPS),
        st.integers(1, 30),
    ).filter(lambda wish: wish[2] != wish[3]),
    min_size=1,
    max_size=24,
)


@settings(max_examples=12, deadline=None)
@given(rounds=st.lists(wishes, min_size=1, max_size=2))
def test_what_is_said_together_is_said_again_alone(
    databases: Databases, rounds: list[list[tuple[int, int, str, str, int]]]
) -> None:
    """Repeated keys and ids, other bodies, empty wallets, credits to floors: in one batch."""
    for kind in ("postgresql", "sqlite"):
        where = databases.new(kind)
        ledger = Ledger(where)
        for name in WALLETS[:2]:
            ledger.transfer(claim_of(name), transfer_of(name, FUNDS_MINOR, credit=name))
        for wanted in rounds:
            said = ledger.together([_asked(ledger, wish) for wish in wanted])
            for wish, first in zip(wanted, said, strict=True):
                (again,) = ledger.together([_asked(ledger, wish)])
                _compare(first, again)
        assert ledger.ask(books.breaches) == {}
        ids = ledger.rows("SELECT reference FROM journal WHERE kind = 'transfer'")
        assert len(ids) == len(set(ids))
        ledger.close()
        databases.drop(where)


def _asked(ledger: Ledger, wish: tuple[int, int, str, str, int]) -> Callable[[], Awaitable[Answer]]:
    key, name, debit, credit, amount_minor = wish
    request = transfer_of(f"t{name}", amount_minor, debit, credit)
    claim = claim_of(f"k{key}", repr(wish[1:]).encode())
    return lambda: ledger.database.transfer(claim, request, 0)


def _compare(first: Any, again: Any) -> None:
    if isinstance(first, Answer):
        assert isinstance(again, Answer)
        assert (again.status, again.body, again.replayed) == (first.status, first.body, True)
        return
    assert isinstance(first, ProblemError)
    if first.slug == "idempotency-key-reused":
        assert isinstance(again, ProblemError)
        assert again.slug == first.slug
    else:  # another body under this id; its key is free again, and somebody may have it since
        assert first.slug == "transfer-exists"
