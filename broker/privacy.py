"""Personal data: where it is, what a shopper gets to see of it, and what erasure leaves.

One table says for every table and column group what it holds about a shopper, how rows are found,
and what erasure does: ``delete`` the rows, ``blank`` some columns, or keep them with the reason.
docs/privacy.md is drawn from it, and a test refuses a new table that is not in it. What is kept are
the books: journals are sealed by a hash chain and the law wants them; of the shopper they hold an
opaque account id alone, which after erasure leads nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker import audit, idempotency, store_rows
from broker.chart import receivable
from broker.database import Transaction
from broker.problems import ProblemError

EXPORT_ROWS_MAX = 10_000  # of each table; more is told, not silently cut
ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Personal:
    """What one table holds about a shopper.

    ``where``: finds a shopper's rows; $1 is the account id, $2 its receivable. ``blank``: columns
    that erasure empties; ``delete``: it removes the rows; neither: kept, and ``why`` says why.
    """

    table: str
    columns: str  # what an export shows
    holds: str
    where: str
    why: str
    delete: bool = False
    blank: Mapping[str, str | int] | None = None

    @property
    def erasure(self) -> str:
        if self.delete:
            return "deleted"
        return f"{', '.join(self.blank)} emptied" if self.blank else "kept"


OWN = "account = $1"
OWN_OR_WALLET = "account = $1 OR account = 'wallet:' || $1"  # a shopper's wallet has the same id
RECEIVABLE_OR_WALLET = "account = $2 OR account = 'wallet:' || $1"
HOLDS = f"""{RECEIVABLE_OR_WALLET} OR hold IN (SELECT r.hold FROM redemption r
    JOIN item_grant g ON g.item_grant = r.item_grant WHERE g.consumer = $1)
    OR hold IN (SELECT s.hold FROM coupon_share s
    JOIN coupon_lock l ON l.coupon_lock = s.coupon_lock WHERE l.client = $1)"""
LEDGER: tuple[Personal, ...] = (
    Personal(
        table="account",
        columns="account, currency, limit_minor, blocked, payment_ref, created_s",
        holds="account id, limit, the provider's token",
        where=OWN,
        why="the id stays so that it is never given to somebody else; blocked for good",
        blank={"payment_ref": "", "blocked": 1, "limit_minor": 0},
    ),
    Personal(
        table="credential",
        columns="credential, account, store, party_size, kind, issued_s",
        holds="which entry tokens, for which store and when",
        where=OWN,
        why="a token lives a minute",
        delete=True,
    ),
    Personal(
        table="hold",
        columns="hold, store, visit, credential, amount_minor, currency, created_s, expires_s,"
        " status, captured_minor, reason",
        holds="store, visit and credential of each reservation",
        where=HOLDS,
        why="amounts stay for the books; where and when the shopper was does not",
        blank={"store": ERASED, "visit": ERASED, "credential": ERASED},
    ),
    Personal(
        table="capture",
        columns="capture, hold, merchant, purchase, amount_minor, currency, journal",
        holds="account id, merchant, purchase id and amount",
        where=OWN_OR_WALLET,
        why="books (append-only); commercial law keeps them for years",
    ),
    Personal(
        table="payment",
        columns="payment, amount_minor, currency, journal",
        holds="account id and amount",
        where=OWN,
        why="books (append-only)",
    ),
    Personal(
        table="refund",
        columns="refund, capture, amount_minor, currency, to_provider_minor, reason",
        holds="amount and reason",
        where=f"capture IN (SELECT capture FROM capture WHERE {OWN_OR_WALLET})",
        why="books (append-only)",
    ),
    Personal(
        table="posting",
        columns="journal, line, account, amount_minor, currency",
        holds="the account id in what the shopper owed and paid",
        where=RECEIVABLE_OR_WALLET,
        why="books (append-only, sealed by the hash chain)",
    ),
    Personal(
        table="ledger_account",
        columns="account, currency, floor_minor, balance_minor, held_minor",
        holds="what is owed and held",
        where=RECEIVABLE_OR_WALLET,
        why="zero when erasure is possible at all",
    ),
    Personal(
        table="balance_snapshot",
        columns="account, currency, journal, balance_minor",
        holds="sums of postings",
        where="account = $2",
        why="follows from the postings",
    ),
    Personal(
        table="audit",
        columns="at_s, action, object, status",
        holds="the account id of commands on it",
        where="object = $1",
        why="who did what, 400 days",
    ),
    Personal(
        table="erased",
        columns="account, at_s",
        holds="that and when it was erased",
        where=OWN,
        why="proof of it",
    ),
)

# Tables that hold nothing about a shopper, or what erasure reaches another way.
IMPERSONAL: Mapping[str, str] = {
    "journal": "kind, reference, time; its postings are listed above",
    "chain": "digests",
    "outbox": "journal numbers",
    "answer": "stored answers, 30 days; those that name the account are deleted at once",
    "migration": "names of migrations",
    "tenant": "names of tenants",
    "api_key": "keys of systems, hashed",
}


def personal() -> tuple[Personal, ...]:
    """Everything, the systems' tables too."""
    from broker import systems  # late: they stand on the routes

    return (*LEDGER, *systems.PERSONAL)


def impersonal() -> Mapping[str, str]:
    """Tables without a shopper in them, the systems' too."""
    from broker import systems

    return {**IMPERSONAL, **systems.IMPERSONAL}


async def export(db: Transaction, account: str) -> dict[str, Any]:
    """All that is held about a shopper, by table.

    Raises:
        ProblemError: 404.
    """
    await _must_exist(db, account)
    found: dict[str, Any] = {"account": account, "tables": {}}
    for one in personal():
        rows = await db.all(
            f"SELECT {one.columns} FROM {one.table} WHERE {_both(one.where)}"
            f" LIMIT {EXPORT_ROWS_MAX + 1}",
            account,
            receivable(account),
        )
        names = one.columns.split(", ")
        shown = [dict(zip(names, map(_plain, row), strict=True)) for row in rows]
        found["tables"][one.table] = {
            "holds": one.holds,
            "on_erasure": one.erasure,
            "rows": shown[:EXPORT_ROWS_MAX],
            "more": len(rows) > EXPORT_ROWS_MAX,
        }
    return found


async def erase(db: Transaction, account: str, now_s: int, actor: str) -> dict[str, int]:
    """Remove what may be removed; how many rows of each table. Twice is once.

    Raises:
        ProblemError: 404; 409 while money is held or owed.
    """
    await _must_exist(db, account)
    state = await store_rows.locked_account(db, account, now_s)
    if state.held_minor or state.owed_minor:
        detail = f"{state.held_minor} held and {state.owed_minor} owed: settle or void them first"
        raise ProblemError(409, "account-not-settled", detail)
    if await db.one(_PREPAID, account) is not None:
        detail = "a wallet, a gift, a visit or a dispute of it is not settled: settle it first"
        raise ProblemError(409, "account-not-settled", detail)
    done: dict[str, int] = {}
    for one in personal():
        if one.delete:
            statement = f"DELETE FROM {one.table} WHERE {_both(one.where)}"
        elif one.blank:
            sets = ", ".join(f"{name} = {_literal(value)}" for name, value in one.blank.items())
            statement = f"UPDATE {one.table} SET {sets} WHERE {_both(one.where)}"
        else:
            continue
        done[one.table] = await db.run(statement, account, receivable(account))
    await db.run(_CLOSE, receivable(account), state.currency)
    done["answer"] = await _forget_answers(db, account)
    await db.run(_NOTE, account, now_s)
    await audit.record(db, now_s, actor, "erase shopper", account, 200)
    return done


def page() -> str:
    """The table of docs/privacy.md."""
    lines = ["| table | holds | on erasure | why |", "|---|---|---|---|"]
    lines += [f"| `{o.table}` | {o.holds} | {o.erasure} | {o.why} |" for o in personal()]
    return "\n".join(lines)


async def _must_exist(db: Transaction, account: str) -> None:
    if await db.one("SELECT 1 FROM account WHERE account = $1", account) is None:
        raise ProblemError(404, "unknown-account", "no account has this id")


async def _forget_answers(db: Transaction, account: str) -> int:
    """Stored answers that name the account; a key that comes again then finds the account gone."""
    wanted, done, after = idempotency.canonical(account), 0, ("", "", "")
    while rows := await db.all(_ANSWERS, *after):
        after = rows[-1][:3]
        for tenant, path, key, body in rows:
            if wanted in bytes(body) or f"/{account}/" in f"{path}/":
                done += await db.run(_FORGET_ANSWER, tenant, path, key)
    return done


def _both(where: str) -> str:
    """Both values are given to every statement, so every statement names both."""
    return f"({where}) AND CAST($1 AS TEXT) IS NOT NULL AND CAST($2 AS TEXT) IS NOT NULL"


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes | memoryview) else value


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


_PREPAID = """
SELECT 1 FROM ledger_account WHERE account = 'wallet:' || $1 AND balance_minor <> 0
UNION ALL SELECT 1 FROM gift WHERE wallet = $1 AND state = 'sent'
UNION ALL SELECT 1 FROM trip_debt WHERE account = $1 AND state <> 'recovered'
UNION ALL SELECT 1 FROM dispute WHERE account = $1 AND state = 'contested'
"""
_CLOSE = "UPDATE ledger_account SET floor_minor = 0 WHERE account = $1 AND currency = $2"
_NOTE = "INSERT INTO erased VALUES ($1, $2) ON CONFLICT (account) DO NOTHING"
_ANSWERS = (
    "SELECT tenant, path, key, body FROM answer WHERE (tenant, path, key) > ($1, $2, $3)"
    " ORDER BY tenant, path, key LIMIT 500"
)
_FORGET_ANSWER = "DELETE FROM answer WHERE tenant = $1 AND path = $2 AND key = $3"
