"""Ledger accounts in the database: floors, what is held, and posting a journal.

The row of an account with a floor is the lock of everything that counts against the floor, its
holds included: lock it first, then read.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker import chart
from broker.database import Transaction
from broker.ledger import DECLINE_TEXT, Journal, LedgerRefusalError, Posting, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAccount:
    """GET /v1/ledger-accounts: ``balance_minor`` is what we owe the owner, credits less debits."""

    account: str
    currency: str
    balance_minor: int
    held_minor: int
    floor_minor: int | None  # None: no floor, nothing is stored


async def open_floored(db: Transaction, account: str, currency: str, floor_minor: int) -> None:
    """A row for an account that has a floor of its own."""
    await db.run(_OPEN, account, currency, floor_minor)


async def lock(db: Transaction, account: str, currency: str) -> bool:
    """Wait for the account's row; False when there is none yet."""
    return await db.one(_LOCK, account, currency) is not None


async def expire_due(db: Transaction, account: str, currency: str, now_s: int) -> None:
    """Write down which holds have expired, so that a clock set back revives none."""
    due = await db.all(_EXPIRE, account, currency, now_s)
    if due:
        await hold_more(db, account, currency, -sum(row[0] for row in due))


async def hold_more(db: Transaction, account: str, currency: str, more_minor: int) -> None:
    """Reserve or release.

    Raises:
        LedgerRefusalError: the floor would be broken.
    """
    if more_minor and not await db.run(_HOLD, account, currency, more_minor):
        raise _insufficient()


async def post(db: Transaction, journal: Journal) -> int:
    """Write a journal; its number. Floors come first, so that a refusal has written nothing.

    Raises:
        LedgerRefusalError: a floor would be broken.
    """
    floored = [p for p in journal.postings if chart.kind_of(p.account).floor is not None]
    if len(floored) > 1:  # in one order everywhere: nobody waits in a circle
        for posting in sorted(floored, key=lambda p: (p.account, p.amount.currency)):
            await lock(db, posting.account, posting.amount.currency)
    for posting in sorted(floored, key=lambda p: -p.amount.minor):  # what can be refused first
        await _move(db, posting)
    row = await db.one(_JOURNAL, journal.kind, journal.reference, journal.at_s)
    assert row is not None
    number = int(row[0])
    lines = [
        (number, line, posting.account, posting.amount.minor, posting.amount.currency)
        for line, posting in enumerate(journal.postings)
    ]
    await db.many("INSERT INTO posting VALUES ($1, $2, $3, $4, $5)", lines)
    await db.run("INSERT INTO outbox VALUES ($1)", number)
    return number


async def state(db: Transaction, account: str, currency: str, now_s: int) -> LedgerAccount:
    """An account's balance: stored when it has a floor, else snapshot plus postings since.

    Raises:
        UnknownAccountError: none of the chart.
    """
    floor = chart.kind_of(account).floor
    stored = await db.one(_STORED, account, currency, now_s)
    if stored is not None:
        balance, held, floor = stored
        return LedgerAccount(
            account=account,
            currency=currency,
            balance_minor=balance,
            held_minor=held,
            floor_minor=floor,
        )
    row = await db.one(_SUMMED, account, currency)
    assert row is not None
    return LedgerAccount(
        account=account,
        currency=currency,
        balance_minor=row[0],
        held_minor=0,
        floor_minor=floor,
    )


async def snapshot(db: Transaction, now_s: int) -> int:
    """Sum up accounts without a floor, so that later sums are short; how many journals are in.

    Up to the last journal of an hour ago: journals take their numbers before they are committed,
    and none is an hour on its way (``postgresql_database.TIMEOUT_S``).
    """
    row = await db.one(_CUT, now_s - SETTLED_S)
    if row is None:
        return 0
    stored = await db.all("SELECT DISTINCT account FROM ledger_account")
    kept = {account for (account,) in stored}
    for account, currency, journal, balance in await db.all(_SUMS, row[0]):
        if account not in kept:
            await db.run(_KEEP, account, currency, journal, balance)
    return int(row[0])


SETTLED_S = 3600


async def _move(db: Transaction, posting: Posting) -> None:
    account, minor, currency = posting.account, posting.amount.minor, posting.amount.currency
    if minor < 0 and not chart.kind_of(account).opened:
        floor = chart.kind_of(account).floor
        await db.run(_CREDIT, account, currency, floor, -minor)
    elif not await db.run(_DEBIT, account, currency, minor):
        raise _insufficient()


def _insufficient() -> LedgerRefusalError:
    reason = Reason.INSUFFICIENT_FUNDS
    return LedgerRefusalError(reason, DECLINE_TEXT[reason])


_ROW = "account = $1 AND currency = $2"
_OPEN = "INSERT INTO ledger_account VALUES ($1, $2, $3, 0, 0)"
_LOCK = f"SELECT 1 FROM ledger_account WHERE {_ROW} FOR UPDATE"
_EXPIRE = (
    f"UPDATE hold SET status = 'expired' WHERE {_ROW} AND status = 'held' AND expires_s <= $3"
    " RETURNING amount_minor"
)
_HOLD = (
    f"UPDATE ledger_account SET held_minor = held_minor + $3 WHERE {_ROW}"
    " AND balance_minor - held_minor - $3 >= floor_minor"
)
_DEBIT = (
    f"UPDATE ledger_account SET balance_minor = balance_minor - $3 WHERE {_ROW}"
    " AND balance_minor - held_minor - $3 >= floor_minor"
)
_CREDIT = (
    "INSERT INTO ledger_account VALUES ($1, $2, $3, $4, 0) ON CONFLICT (account, currency)"
    " DO UPDATE SET balance_minor = ledger_account.balance_minor + excluded.balance_minor"
)
_JOURNAL = "INSERT INTO journal (kind, reference, at_s) VALUES ($1, $2, $3) RETURNING journal"
_DUE = (
    "SELECT COALESCE(SUM(amount_minor), 0) FROM hold"
    f" WHERE {_ROW} AND status = 'held' AND expires_s <= $3"
)
_STORED = (
    f"SELECT balance_minor, CAST(held_minor - ({_DUE}) AS BIGINT), floor_minor"
    f" FROM ledger_account WHERE {_ROW}"
)
_SUMMED = (
    "SELECT CAST(COALESCE(SUM(s), 0) AS BIGINT) FROM ("
    f" SELECT balance_minor AS s FROM balance_snapshot WHERE {_ROW}"
    f" UNION ALL SELECT -amount_minor FROM posting WHERE {_ROW} AND journal >"
    f" COALESCE((SELECT journal FROM balance_snapshot WHERE {_ROW}), 0)) AS parts"
)
_CUT = "SELECT journal FROM journal WHERE at_s <= $1 ORDER BY journal DESC LIMIT 1"
_SUMS = (
    "SELECT account, currency, CAST($1 AS BIGINT), CAST(-SUM(amount_minor) AS BIGINT) FROM posting"
    " WHERE journal <= $1 GROUP BY account, currency"
)
_KEEP = (
    "INSERT INTO balance_snapshot VALUES ($1, $2, $3, $4) ON CONFLICT (account, currency)"
    " DO UPDATE SET journal = excluded.journal, balance_minor = excluded.balance_minor"
)
