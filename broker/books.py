"""Questions about the whole books: balances, captures page by page, and every ledger invariant.

The invariants are queries that count what breaks them; zero each in sound books.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.database import Transaction
from broker.problems import ProblemError
from broker.store_rows import CAPTURE, named
from messages.contract import Books, Capture

CAPTURES_PAGE_MAX = 500
DEFAULT_CURRENCY = "EUR"  # of empty books


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePage:
    """GET /v1/captures: ``after`` is where the next page starts."""

    captures: list[Capture]
    after: int
    more: bool


async def captures(db: Transaction, after: int, limit: int) -> CapturePage:
    """Captures in the order of their journals, after the given journal number."""
    rows = await db.all(
        f"SELECT {CAPTURE} FROM capture WHERE journal > $1 ORDER BY journal LIMIT $2",
        after,
        limit + 1,
    )
    page = [Capture(**named(Capture, row)) for row in rows[:limit]]
    last = page[-1].journal if page else after
    return CapturePage(captures=page, after=last, more=len(rows) > limit)


async def books(db: Transaction, currency: str | None, now_s: int) -> Books:
    """The books of one currency: the given one, or the only one there is."""
    used = [row[0] for row in await db.all(_CURRENCIES)]
    if currency is None and len(used) > 1:
        detail = f"the ledger holds {', '.join(used)}; name one: ?currency={used[0]}"
        raise ProblemError(422, "currency-needed", detail, param="currency")
    chosen = currency or (used[0] if used else DEFAULT_CURRENCY)
    totals = await db.all(_TOTALS, chosen)
    captured = await db.one(_CAPTURED, chosen)
    assert captured is not None
    return Books(
        currency=chosen,
        balances={account: minor for account, minor in totals},
        journals=await _count(db, _JOURNALS, chosen),
        captures=captured[0],
        captured_minor=captured[1],
        holds_open=await _count(db, _OPEN_HOLDS, chosen, now_s),
        unbalanced_journals=await _count(db, INVARIANTS["every journal sums to zero"]),
    )


async def breaches(db: Transaction) -> dict[str, int]:
    """The invariants that do not hold, with how many rows break each; empty in sound books."""
    counts = {name: await _count(db, query) for name, query in INVARIANTS.items()}
    return {name: count for name, count in counts.items() if count}


async def _count(db: Transaction, query: str, *values: object) -> int:
    row = await db.one(query, *values)
    assert row is not None
    return int(row[0])


_CURRENCIES = "SELECT currency FROM account UNION SELECT currency FROM posting ORDER BY 1"
_TOTALS = (
    "SELECT account, CAST(SUM(amount_minor) AS BIGINT) FROM posting WHERE currency = $1"
    " GROUP BY account ORDER BY account"
)
_CAPTURED = (
    "SELECT COUNT(*), CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM capture"
    " WHERE currency = $1"
)
_JOURNALS = "SELECT COUNT(DISTINCT journal) FROM posting WHERE currency = $1"
_OPEN_HOLDS = "SELECT COUNT(*) FROM hold WHERE status = 'held' AND currency = $1 AND expires_s > $2"

# Numbers of facts: 1 to 7, 9 and 11 of the broker's invariants. A journal without postings counts
# as unbalanced: half of it was lost.
INVARIANTS: Mapping[str, str] = {
    "every journal sums to zero": """
        SELECT (SELECT COUNT(*) FROM (SELECT journal FROM posting GROUP BY journal, currency
            HAVING SUM(amount_minor) <> 0) AS unbalanced)
        + (SELECT COUNT(*) FROM journal
            WHERE NOT EXISTS (SELECT 1 FROM posting WHERE posting.journal = journal.journal))""",
    "a stored balance is the sum of its postings": """
        SELECT COUNT(*) FROM ledger_account l WHERE balance_minor <> (
            SELECT COALESCE(-SUM(amount_minor), 0) FROM posting p
            WHERE p.account = l.account AND p.currency = l.currency)""",
    "what is held is the sum of open holds": """
        SELECT COUNT(*) FROM ledger_account l WHERE held_minor <> (
            SELECT COALESCE(SUM(amount_minor), 0) FROM hold h
            WHERE h.account = l.account AND h.currency = l.currency AND h.status = 'held')""",
    "no floor is broken, holds counted": """
        SELECT COUNT(*) FROM ledger_account
        WHERE balance_minor - held_minor < floor_minor OR held_minor < 0""",
    "nobody owes less than nothing": """
        SELECT COUNT(*) FROM ledger_account
        WHERE account LIKE 'shopper_receivable:%' AND balance_minor > 0""",
    "a captured hold has one capture, within its amount": """
        SELECT COUNT(*) FROM hold h LEFT JOIN capture c ON c.hold = h.hold
        WHERE (h.status = 'captured') <> (c.hold IS NOT NULL)
           OR c.amount_minor > h.amount_minor OR c.amount_minor <> h.captured_minor""",
    "an unresolved or released hold captured nothing": """
        SELECT COUNT(*) FROM hold WHERE status <> 'captured' AND captured_minor <> 0""",
    "refunds are within their capture": """
        SELECT COUNT(*) FROM capture c WHERE amount_minor < (
            SELECT COALESCE(SUM(amount_minor), 0) FROM refund r WHERE r.capture = c.capture)""",
    "a journal is in the outbox or sealed, never both": """
        SELECT COUNT(*) FROM journal j
        LEFT JOIN outbox o ON o.journal = j.journal LEFT JOIN chain c ON c.journal = j.journal
        WHERE (o.journal IS NULL) = (c.journal IS NULL)""",
    "every capture, payment and refund is its journal": """
        SELECT COUNT(*) FROM (
            SELECT journal, 'capture' AS kind, capture AS reference FROM capture
            UNION ALL SELECT journal, 'payment', payment FROM payment
            UNION ALL SELECT journal, 'refund', refund FROM refund) AS done
        LEFT JOIN journal j ON j.journal = done.journal AND j.kind = done.kind
            AND j.reference = done.reference
        WHERE j.journal IS NULL""",
    "what the provider collected or gives back is what clearing shows": """
        SELECT (SELECT COUNT(*) FROM payment p WHERE amount_minor <> (
            SELECT COALESCE(SUM(amount_minor), 0) FROM posting o
            WHERE o.journal = p.journal AND o.account = 'psp_clearing'))
        + (SELECT COUNT(*) FROM refund r WHERE to_provider_minor <> (
            SELECT COALESCE(-SUM(amount_minor), 0) FROM posting o
            WHERE o.journal = r.journal AND o.account = 'refund_clearing'))""",
    "every claimed key has its answer": "SELECT COUNT(*) FROM answer WHERE status = 0",
    "every snapshot is the sum of its postings": """
        SELECT COUNT(*) FROM balance_snapshot s WHERE balance_minor <> (
            SELECT COALESCE(-SUM(amount_minor), 0) FROM posting p WHERE p.account = s.account
            AND p.currency = s.currency AND p.journal <= s.journal)""",
}
