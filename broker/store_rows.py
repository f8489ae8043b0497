"""Rows as values of the rules, and values as answers of the API."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from broker import accounts, ledger
from broker.chart import receivable, shopper_of
from broker.database import Row, Transaction
from broker.ledger import AccountState, HoldState, HoldStatus
from broker.problems import ProblemError
from messages.contract import Account, Capture, Hold


async def account_state(db: Transaction, name: str, now_s: int) -> AccountState:
    """A shopper's account at an instant; holds that nobody resolved in time count no more.

    Raises:
        ProblemError: 404.
    """
    row = await db.one(_ACCOUNT, name, receivable(name), now_s)
    if row is None:
        raise _unknown_account()
    return AccountState(
        account=name,
        currency=row[0],
        limit_minor=row[1],
        owed_minor=row[2],
        blocked=bool(row[3]),
        held_minor=row[4],
    )


async def locked_account(db: Transaction, name: str, now_s: int) -> AccountState:
    """The same once no other transaction has the account; due holds are written down.

    Raises:
        ProblemError: 404.
    """
    row = await db.one("SELECT currency FROM account WHERE account = $1", name)
    if row is None:
        raise _unknown_account()
    await accounts.lock(db, receivable(name), row[0])
    await accounts.expire_due(db, receivable(name), row[0], now_s)
    return await account_state(db, name, now_s)


async def hold_or_none(db: Transaction, name: str, now_s: int) -> HoldState | None:
    row = await db.one(f"SELECT {_HOLD} FROM hold WHERE hold = $1", name)
    if row is None:
        return None
    values = named(HoldState, row)
    values["status"] = HoldStatus(values["status"])
    return ledger.as_of(HoldState(**values), now_s)


async def hold(db: Transaction, name: str, now_s: int) -> HoldState:
    """The hold at an instant; raises ProblemError 404."""
    known = await hold_or_none(db, name, now_s)
    if known is None:
        raise ProblemError(404, "unknown-hold", "no hold has this id")
    return known


async def capture_or_none(db: Transaction, name: str) -> Capture | None:
    row = await db.one(f"SELECT {CAPTURE} FROM capture WHERE capture = $1", name)
    return None if row is None else Capture(**named(Capture, row))


async def refunded_minor(db: Transaction, capture: str) -> int:
    """What was given back of a capture so far."""
    row = await db.one(_REFUNDED, capture)
    assert row is not None
    return int(row[0])


def account_reply(state: AccountState) -> Account:
    return Account(
        account=state.account,
        currency=state.currency,
        limit_minor=state.limit_minor,
        held_minor=state.held_minor,
        owed_minor=state.owed_minor,
        status="blocked" if state.blocked else "active",
    )


def hold_reply(state: HoldState) -> Hold:
    return Hold(
        hold=state.hold,
        account=shopper_of(state.account),
        status=state.status.value,
        amount_minor=state.amount_minor,
        captured_minor=state.captured_minor,
        currency=state.currency,
        reason=state.reason,
    )


def named(kind: type, row: Row) -> dict[str, Any]:
    """The row's values by the names of the type's fields."""
    return {field.name: value for field, value in zip(fields(kind), row, strict=False)}


def _unknown_account() -> ProblemError:
    return ProblemError(404, "unknown-account", "no account has this id")


CAPTURE = "capture, hold, account, merchant, purchase, amount_minor, currency, journal"
_HOLD = ", ".join(field.name for field in fields(HoldState))
_ACCOUNT = (
    "SELECT a.currency, a.limit_minor, -l.balance_minor, a.blocked, CAST(l.held_minor -"
    " (SELECT COALESCE(SUM(amount_minor), 0) FROM hold WHERE account = $2"
    " AND currency = a.currency AND status = 'held' AND expires_s <= $3) AS BIGINT)"
    " FROM account a JOIN ledger_account l ON l.account = $2 AND l.currency = a.currency"
    " WHERE a.account = $1"
)
_REFUNDED = "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM refund WHERE capture = $1"
