"""Rows of system C: statements, purchases, and what of them was refunded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from broker.database import Transaction
from broker.problems import ProblemError
from broker.systems.statement_types import (
    PURCHASE_STATE,
    MicroPurchase,
    PurchaseLine,
    Statement,
    StatementState,
)

DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    statement: str
    account: str
    currency: str
    state: StatementState
    opened_s: int
    payment: str


async def statement_row(db: Transaction, name: str) -> StatementRow:
    """Raises ProblemError 404."""
    row = await db.one(f"{_STATEMENT} WHERE statement = $1", name)
    if row is None:
        raise ProblemError(404, "unknown-statement", "no statement has this id")
    return _statement(row)


async def open_of(db: Transaction, account: str) -> StatementRow | None:
    row = await db.one(f"{_STATEMENT} WHERE account = $1 AND state = 'open'", account)
    return None if row is None else _statement(row)


async def insert(db: Transaction, account: str, currency: str, now_s: int) -> StatementRow:
    """The buyer's next statement; its account is locked."""
    found = await db.one("SELECT COUNT(*) FROM statement WHERE account = $1", account)
    assert found is not None
    row = StatementRow(
        statement=f"{account}:{found[0] + 1:06d}",
        account=account,
        currency=currency,
        state=StatementState.OPEN,
        opened_s=now_s,
        payment="",
    )
    await db.run(_INSERT, row.statement, account, currency, row.state.value, now_s)
    return row


async def set_state(db: Transaction, row: StatementRow, state: StatementState) -> StatementRow:
    await db.run("UPDATE statement SET state = $2 WHERE statement = $1", row.statement, state.value)
    return replace(row, state=state)


async def fix_total(db: Transaction, name: str, total_minor: int, now_s: int) -> None:
    await db.run(_FIX, name, total_minor, now_s)


async def total(db: Transaction, name: str) -> int:
    """Its purchases, less what was refunded of them before it was issued."""
    row = await db.one(_TOTAL, name)
    assert row is not None
    return int(row[0])


async def due_minor(db: Transaction, name: str) -> int:
    """What of its total is to be collected: less what came back while it was in dunning."""
    row = await db.one(_SET_OFF, name)
    assert row is not None
    return await total(db, name) - int(row[0])


async def block(db: Transaction, name: str) -> None:
    """Note that this statement's debt is why its buyer is blocked."""
    await db.run("UPDATE statement SET blocks = 1 WHERE statement = $1", name)


async def unblock(db: Transaction, account: str) -> bool:
    """Whether the account was blocked for its debts, of which none is left."""
    if await debts(db, account):
        return False
    return bool(await db.run(_UNBLOCK, account))


async def count(db: Transaction, name: str) -> int:
    row = await db.one("SELECT COUNT(*) FROM micro_purchase WHERE statement = $1", name)
    assert row is not None
    return int(row[0])


async def debts(db: Transaction, account: str) -> int:
    """How many of the account's statements are in dunning or given up."""
    row = await db.one(_DEBTS, account)
    assert row is not None
    return int(row[0])


async def due(db: Transaction, now_s: int, most: int) -> list[str]:
    """Open statements that reached their buyer's amount or age."""
    return [row[0] for row in await db.all(_DUE, now_s, most)]


async def closing(db: Transaction, most: int) -> list[str]:
    return [row[0] for row in await db.all(_CLOSING, most)]


async def page(db: Transaction, account: str, after: str, limit: int) -> list[StatementRow]:
    """``account`` "": everybody's."""
    who = "(CAST($1 AS TEXT) = '' OR account = $1)"
    where = f"WHERE {who} AND statement > $2 ORDER BY statement LIMIT $3"
    return [_statement(row) for row in await db.all(f"{_STATEMENT} {where}", account, after, limit)]


async def reply(db: Transaction, row: StatementRow) -> Statement:
    bought = await db.all(_PURCHASES, row.statement)
    written = await db.all(_INVOICES, row.statement)
    return Statement(
        statement=row.statement,
        account=row.account,
        currency=row.currency,
        state=row.state.value,
        total_minor=await total(db, row.statement),
        due_minor=await _due(db, row),
        purchases=[name for (name,) in bought],
        invoices=[number for (number,) in written],
        opened_s=row.opened_s,
    )


async def _due(db: Transaction, row: StatementRow) -> int:
    unpaid = PURCHASE_STATE[row.state] in ("accrued", "stated", "debt")
    return await due_minor(db, row.statement) if unpaid else 0


async def purchase_or_none(db: Transaction, capture: str) -> MicroPurchase | None:
    row = await db.one(_PURCHASE, capture)
    if row is None:
        return None
    return MicroPurchase(
        capture=row[0],
        account=row[1],
        merchant=row[2],
        statement=row[3],
        amount_minor=row[4],
        currency=row[5],
        payout=row[6] or "",
        state=PURCHASE_STATE[StatementState(row[7])],
    )


async def lines(db: Transaction, capture: str) -> list[PurchaseLine]:
    """A purchase's lines as they were bought."""
    return [
        PurchaseLine(line_id=line, name=name, quantity=quantity, gross_minor=minor, vat_bp=bp)
        for line, name, quantity, minor, bp in await db.all(_LINES, capture)
    ]


async def is_insider(db: Transaction, merchant: str, account: str) -> bool:
    """Whether the account is the merchant's own, or its staff's."""
    found = await db.one(_INSIDER, merchant, account)
    return found is not None


def _statement(row: tuple[object, ...]) -> StatementRow:
    name, account, currency, state, opened_s, payment = row
    return StatementRow(
        statement=str(name),
        account=str(account),
        currency=str(currency),
        state=StatementState(str(state)),
        opened_s=int(str(opened_s)),
        payment=str(payment),
    )


_STATEMENT = "SELECT statement, account, currency, state, opened_s, payment FROM statement"
_INSERT = "INSERT INTO statement VALUES ($1, $2, $3, $4, 0, $5, NULL, '', 0)"
_FIX = "UPDATE statement SET total_minor = $2, issued_s = $3 WHERE statement = $1"
_TOTAL = """
SELECT CAST((SELECT COALESCE(SUM(amount_minor), 0) FROM micro_purchase WHERE statement = $1)
    - (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_refund WHERE statement = $1) AS BIGINT)
"""
_SET_OFF = (
    "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM micro_refund WHERE set_off = $1"
)
_UNBLOCK = "UPDATE statement SET blocks = 0 WHERE account = $1 AND blocks = 1"
_DEBTS = "SELECT COUNT(*) FROM statement WHERE account = $1 AND state IN ('dunning', 'written-off')"
_DUE = """
SELECT s.statement FROM statement s JOIN buyer b ON b.account = s.account
WHERE s.state = 'open' AND (s.opened_s + b.close_after_days * 86400 <= $1
    OR (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_purchase p
            WHERE p.statement = s.statement)
        - (SELECT COALESCE(SUM(amount_minor), 0) FROM micro_refund r
            WHERE r.statement = s.statement) >= b.close_minor)
ORDER BY s.statement LIMIT $2
"""
_CLOSING = "SELECT statement FROM statement WHERE state = 'closing' ORDER BY statement LIMIT $1"
_PURCHASES = "SELECT capture FROM micro_purchase WHERE statement = $1 ORDER BY accrued_s, capture"
_INVOICES = "SELECT invoice FROM invoice WHERE statement = $1 ORDER BY issued_s, invoice"
_PURCHASE = """
SELECT p.capture, p.account, p.merchant, p.statement, p.amount_minor, p.currency, p.payout, s.state
FROM micro_purchase p JOIN statement s ON s.statement = p.statement WHERE p.capture = $1
"""
_LINES = (
    "SELECT line_id, name, quantity, gross_minor, vat_bp FROM micro_line WHERE capture = $1"
    " ORDER BY place"
)
_INSIDER = "SELECT 1 FROM merchant_insider WHERE merchant = $1 AND account = $2"
