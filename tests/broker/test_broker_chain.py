"""The hash chain: whoever changes the past breaks it, on both databases."""

from __future__ import annotations

import pytest
from both_databases import Ledger, claim_of, transfer_of

from broker import books, chain
from broker.chain import Verified


@pytest.fixture
def sealed(ledger: Ledger) -> Ledger:
    """Twelve journals in two seals."""
    for i in range(12):
        ledger.transfer(claim_of(f"k{i}"), transfer_of(f"t{i}", 10 + i), now_s=i)
        if i == 5:
            assert ledger.do(chain.seal) == 6
    assert ledger.do(chain.seal) == 6
    return ledger


def verified(ledger: Ledger, expected: str = "") -> Verified:
    found: Verified = ledger.ask(lambda db: chain.verify(db, expected))
    return found


def test_untouched_chain_holds_and_counts_what_is_not_sealed_yet(sealed: Ledger) -> None:
    before = verified(sealed)
    assert (before.links, before.unsealed, before.broken) == (12, 0, ())
    sealed.transfer(claim_of("later"), transfer_of("later", 1))
    assert verified(sealed).unsealed == 1
    assert sealed.do(chain.seal) == 1
    after = verified(sealed, before.head)
    assert (after.links, after.broken) == (13, ())
    assert after.head != before.head


@pytest.mark.parametrize(
    ("table", "statement", "said"),
    [
        ("posting", "UPDATE posting SET amount_minor = 99 WHERE journal = 4", "journal 4 (link 4)"),
        ("posting", "UPDATE posting SET account = 'fees' WHERE journal = 7", "journal 7"),
        ("posting", "DELETE FROM posting WHERE journal = 12", "journal 12"),
        ("journal", "UPDATE journal SET at_s = 0 WHERE journal = 3", "journal 3"),
        ("journal", "UPDATE journal SET reference = 'x' WHERE journal = 1", "journal 1"),
        ("chain", "DELETE FROM chain WHERE seq = 5", "link 5 is missing"),
        ("chain", "UPDATE chain SET journal = -9 WHERE seq = 9", "journal -9"),
    ],
)
def test_each_change_of_the_past_is_named(
    sealed: Ledger, table: str, statement: str, said: str
) -> None:
    sealed.unprotected(table, statement)
    found = verified(sealed)
    assert any(said in text for text in found.broken), found


def test_chain_that_was_cut_off_and_grown_anew_is_found_by_a_head_kept_elsewhere(
    sealed: Ledger,
) -> None:
    kept = verified(sealed).head
    sealed.unprotected("chain", "DELETE FROM chain WHERE seq > 10")
    sealed.change("INSERT INTO outbox SELECT journal FROM journal WHERE journal > 10")
    sealed.unprotected("posting", "UPDATE posting SET account = 'fees' WHERE journal = 12")
    sealed.do(chain.seal)
    assert verified(sealed).broken == ()
    assert verified(sealed, kept).broken == (f"{kept} is not in the chain",)


def test_journals_sealed_by_several_at_once_are_sealed_once(ledger: Ledger) -> None:
    for i in range(30):
        ledger.transfer(claim_of(f"k{i}"), transfer_of(f"t{i}", 1))
    sealed = ledger.together([lambda: ledger.database.submit(chain.seal)] * 6)
    assert sum(sealed) == 30
    assert (verified(ledger).links, verified(ledger).broken) == (30, ())
    assert ledger.ask(books.breaches) == {}


def test_journal_in_no_link_is_named(sealed: Ledger) -> None:
    sealed.transfer(claim_of("loose"), transfer_of("loose", 1))
    sealed.change("DELETE FROM outbox")
    ((number,),) = sealed.rows("SELECT MAX(journal) FROM journal")
    assert verified(sealed).broken == (f"journal {number} is in no link",)
