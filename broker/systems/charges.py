"""A shopper's account charged in one journal for several parties, and money given back.

The account's limit is the authorisation: its floor is asked in the same transaction as the journal
is written, so there is one charge or none.
"""

from __future__ import annotations

from broker import ledger, store_rows
from broker.chart import REFUND_CLEARING, receivable
from broker.database import Transaction
from broker.ledger import DECLINE_TEXT, AccountState, LedgerRefusalError, Reason
from broker.systems import funds


async def chargeable(
    db: Transaction, account: str, currency: str, amount_minor: int, now_s: int
) -> AccountState:
    """The account, locked, with room for the amount.

    Raises:
        ProblemError: 404.
        LedgerRefusalError: blocked, another currency, or above the limit.
    """
    state = await store_rows.locked_account(db, account, now_s)
    if state.blocked:
        raise _declined(Reason.ACCOUNT_BLOCKED)
    if state.currency != currency:
        detail = f"{currency} asked, the account is in {state.currency}"
        raise LedgerRefusalError(Reason.CURRENCY_MISMATCH, detail, "$.account")
    if amount_minor > state.room_minor:
        raise _declined(Reason.LIMIT_EXCEEDED)
    return state


async def charge(
    db: Transaction,
    account: str,
    kind: str,
    reference: str,
    credits: dict[str, int],
    currency: str,
    now_s: int,
) -> int:
    """Debit the shopper the sum of ``credits`` (ledger account -> minor); the journal's number.

    Raises:
        As ``chargeable``.
    """
    total_minor = sum(credits.values())
    await chargeable(db, account, currency, total_minor, now_s)
    lines = {receivable(account): total_minor} | {name: -minor for name, minor in credits.items()}
    return await funds.post(db, kind, reference, lines, currency, now_s)


async def give_back(
    db: Transaction,
    account: str,
    kind: str,
    reference: str,
    debits: dict[str, int],
    currency: str,
    now_s: int,
) -> int:
    """Return the sum of ``debits``: what is owed shrinks first, the rest goes by the provider."""
    state = await store_rows.locked_account(db, account, now_s)
    total_minor = sum(debits.values())
    unpaid_minor = min(total_minor, state.owed_minor)
    lines = {
        **debits,
        receivable(account): -unpaid_minor,
        REFUND_CLEARING: unpaid_minor - total_minor,
    }
    return await funds.post(db, kind, reference, lines, currency, now_s)


def _declined(reason: Reason) -> LedgerRefusalError:
    return ledger.LedgerRefusalError(reason, DECLINE_TEXT[reason])
