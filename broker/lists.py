"""What an operator leafs through: accounts and visits, page by page in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass

from broker import books
from broker.chart import shopper_of
from broker.database import Transaction
from broker.systems import invariants


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccount:
    account: str
    currency: str
    limit_minor: int
    held_minor: int
    owed_minor: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPage:
    """GET /v1/accounts: ``after`` is where the next page starts."""

    accounts: list[ListedAccount]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedHold:
    """A visit as the ledger sees it: what was reserved, what became of it."""

    hold: str
    account: str
    store: str
    visit: str
    status: str
    amount_minor: int
    captured_minor: int
    currency: str
    created_s: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPage:
    """GET /v1/holds: ``after`` is where the next page starts."""

    holds: list[ListedHold]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """GET /v1/invariants: what does not hold, and in how many rows; empty in sound books."""

    asked: int
    breaches: dict[str, int]


async def accounts(db: Transaction, after: str, limit: int) -> AccountPage:
    rows = await db.all(_ACCOUNTS, after, limit + 1)
    page = [
        ListedAccount(
            account=name,
            currency=currency,
            limit_minor=limit_minor,
            held_minor=held_minor,
            owed_minor=owed_minor,
            status="blocked" if blocked else "active",
        )
        for name, currency, limit_minor, held_minor, owed_minor, blocked in rows[:limit]
    ]
    last = page[-1].account if page else after
    return AccountPage(accounts=page, after=last, more=len(rows) > limit)


async def holds(db: Transaction, after: str, limit: int) -> HoldPage:
    rows = await db.all(_HOLDS, after, limit + 1)
    page = [
        ListedHold(
            hold=row[0],
            account=shopper_of(row[1]),
            store=row[2],
            visit=row[3],
            status=row[4],
            amount_minor=row[5],
            captured_minor=row[6],
            currency=row[7],
            created_s=row[8],
            reason=row[9],
        )
        for row in rows[:limit]
    ]
    last = page[-1].hold if page else after
    return HoldPage(holds=page, after=last, more=len(rows) > limit)


async def soundness(db: Transaction) -> Soundness:
    """Ask every invariant of the ledger and of the systems."""
    asked = len(books.INVARIANTS) + sum(len(one) for one in invariants.REGISTRY.values())
    breaches = await books.breaches(db) | await invariants.breaches(db)
    return Soundness(asked=asked, breaches=breaches)


_ACCOUNTS = (
    "SELECT a.account, a.currency, a.limit_minor, l.held_minor, -l.balance_minor, a.blocked"
    " FROM account a JOIN ledger_account l ON l.account = 'shopper_receivable:' || a.account"
    " AND l.currency = a.currency WHERE a.account > $1 ORDER BY a.account LIMIT $2"
)
_HOLDS = (
    "SELECT hold, account, store, visit, status, amount_minor, captured_minor, currency, created_s,"
    " reason FROM hold WHERE hold > $1 ORDER BY hold LIMIT $2"
)
