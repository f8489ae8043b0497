"""The ledger on disk: what each request does to the tables, by the rules of ``ledger.py``.

Every function runs inside a transaction of the one writer (``group_commit.py``) or on a read-only
connection, and gets the time from its caller. An id that comes again with the same content gets
the same answer, even with a new Idempotency-Key: ids are made by whoever asks first.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any, TypeVar

import msgspec

from broker import ledger
from broker.idempotency import Answer
from broker.ledger import AccountState, HoldState, HoldStatus, Journal
from broker.problems import ProblemError, problem_body
from messages.contract import (
    Account,
    AccountRequest,
    AdjustRequest,
    Books,
    Capture,
    CaptureRequest,
    Credential,
    CredentialRequest,
    Hold,
    HoldRequest,
    VoidRequest,
)
from messages.money import Money

CAPTURES_PAGE_MAX = 500
DEFAULT_CURRENCY = "EUR"  # of empty books

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """POST /v1/payments -> 201: the payment provider collected from a shopper."""

    payment: str
    account: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    payment: str
    account: str
    amount_minor: int
    currency: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePage:
    """GET /v1/captures: ``after`` is where the next page starts."""

    captures: list[Capture]
    after: int
    more: bool


# --- requests that change something -----------------------------------------------------------


def open_account(db: sqlite3.Connection, request: AccountRequest, now_s: int) -> Answer:
    row = db.execute(
        "SELECT currency, limit_minor, payment_ref FROM account WHERE account = ?",
        (request.account,),
    ).fetchone()
    if row is not None:
        same = row == (request.currency, request.limit_minor, request.payment_ref)
        _same_content(same, "account-exists", "$.account")
        return _answer(201, account(db, request.account, now_s), replayed=True)
    state = ledger.open_account(request)
    db.execute(
        "INSERT INTO account (account, currency, limit_minor, payment_ref, created_s)"
        " VALUES (?, ?, ?, ?, ?)",
        (state.account, state.currency, state.limit_minor, request.payment_ref, now_s),
    )
    return _answer(201, _account_reply(state))


def block_account(db: sqlite3.Connection, name: str, blocked: bool, now_s: int) -> Answer:
    _account_state(db, name, now_s)
    db.execute("UPDATE account SET blocked = ? WHERE account = ?", (int(blocked), name))
    return _answer(200, account(db, name, now_s))


def record_credential(
    db: sqlite3.Connection, request: CredentialRequest, issued: Credential, now_s: int
) -> Answer:
    """Note who may enter; staff need no account, they are never charged."""
    if request.kind == "shopper" and _account_state(db, request.account, now_s).blocked:
        return _declined(ledger.Reason.ACCOUNT_BLOCKED.value)
    db.execute(
        "INSERT INTO credential VALUES (?, ?, ?, ?, ?, ?)",
        (
            issued.credential,
            request.account,
            request.store,
            request.party_size,
            request.kind,
            now_s,
        ),
    )
    return _answer(201, issued)


def place_hold(db: sqlite3.Connection, request: HoldRequest, now_s: int) -> Answer:
    known = _hold_or_none(db, request.hold, now_s)
    if known is not None:
        same = all(
            getattr(known, name) == getattr(request, name)
            for name in ("account", "store", "visit", "credential", "currency")
        )
        _same_content(same, "hold-exists", "$.hold")
        return _hold_answer(known, replayed=True)
    _check_credential(db, request)
    _expire_due(db, request.account, now_s)
    hold = ledger.place(request, _account_state(db, request.account, now_s), now_s)
    db.execute("INSERT INTO hold VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(hold))
    return _hold_answer(hold)


def adjust_hold(db: sqlite3.Connection, name: str, request: AdjustRequest, now_s: int) -> Answer:
    hold = _hold(db, name, now_s)
    _expire_due(db, hold.account, now_s)
    try:
        adjusted = ledger.adjust(
            hold, _account_state(db, hold.account, now_s), request.amount_minor
        )
    except ledger.LedgerRefusalError as refusal:
        if refusal.reason in ledger.DECLINES:
            return _declined(refusal.reason.value)
        raise
    _save_hold(db, adjusted)
    return _answer(200, _hold_reply(adjusted))


def capture_hold(db: sqlite3.Connection, name: str, request: CaptureRequest, now_s: int) -> Answer:
    known = _capture_or_none(db, request.capture)
    if known is not None:
        given = (name, request.merchant, request.purchase, request.amount_minor, request.currency)
        same = given == (
            known.hold,
            known.merchant,
            known.purchase,
            known.amount_minor,
            known.currency,
        )
        _same_content(same, "capture-exists", "$.capture")
        return _answer(201, known, replayed=True)
    hold, journal = ledger.capture(_hold(db, name, now_s), request, now_s)
    _save_hold(db, hold)
    _owe(db, hold.account, request.amount_minor)
    done = Capture(
        capture=request.capture,
        hold=name,
        account=hold.account,
        merchant=request.merchant,
        purchase=request.purchase,
        amount_minor=request.amount_minor,
        currency=request.currency,
        journal=_post(db, journal),
    )
    db.execute("INSERT INTO capture VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(done)[:8])
    return _answer(201, done)


def void_hold(db: sqlite3.Connection, name: str, request: VoidRequest, now_s: int) -> Answer:
    hold = ledger.void(_hold(db, name, now_s), request.reason)
    _save_hold(db, hold)
    return _answer(200, _hold_reply(hold))


def record_payment(db: sqlite3.Connection, request: PaymentRequest, now_s: int) -> Answer:
    row = db.execute(
        "SELECT payment, account, amount_minor, currency, journal FROM payment WHERE payment = ?",
        (request.payment,),
    ).fetchone()
    if row is not None:
        _same_content(row[:4] == astuple(request), "payment-exists", "$.payment")
        return _answer(201, Payment(**_named(Payment, row)), replayed=True)
    amount = Money(minor=request.amount_minor, currency=request.currency)
    state = _account_state(db, request.account, now_s)
    journal = _post(db, ledger.pay(state, request.payment, amount, now_s))
    _owe(db, request.account, -request.amount_minor)
    done = Payment(**asdict(request), journal=journal)
    db.execute("INSERT INTO payment VALUES (?, ?, ?, ?, ?)", astuple(done))
    return _answer(201, done)


# --- questions --------------------------------------------------------------------------------


def account(db: sqlite3.Connection, name: str, now_s: int) -> Account:
    return _account_reply(_account_state(db, name, now_s))


def hold(db: sqlite3.Connection, name: str, now_s: int) -> Hold:
    return _hold_reply(_hold(db, name, now_s))


def captures(db: sqlite3.Connection, after: int, limit: int) -> CapturePage:
    """Captures in the order of their journals, after the given journal number."""
    rows = db.execute(
        f"SELECT {_CAPTURE} FROM capture WHERE journal > ? ORDER BY journal LIMIT ?",  # noqa: S608
        (after, limit + 1),
    ).fetchall()
    page = [Capture(**_named(Capture, row)) for row in rows[:limit]]
    last = page[-1].journal if page else after
    return CapturePage(captures=page, after=last, more=len(rows) > limit)


def books(db: sqlite3.Connection, currency: str | None, now_s: int) -> Books:
    """The books of one currency: the given one, or the only one there is."""
    used = [row[0] for row in db.execute("SELECT DISTINCT currency FROM account ORDER BY 1")]
    if currency is None and len(used) > 1:
        detail = f"the ledger holds {', '.join(used)}; name one: ?currency={used[0]}"
        raise ProblemError(422, "currency-needed", detail, param="currency")
    chosen = currency or (used[0] if used else DEFAULT_CURRENCY)
    totals = db.execute(
        "SELECT account, SUM(amount_minor) FROM posting WHERE currency = ? GROUP BY 1 ORDER BY 1",
        (chosen,),
    )
    captured = _one(
        db,
        "SELECT COUNT(*), COALESCE(SUM(amount_minor), 0) FROM capture WHERE currency = ?",
        chosen,
    )
    return Books(
        currency=chosen,
        balances=dict(totals.fetchall()),
        journals=_one(db, "SELECT COUNT(DISTINCT journal) FROM posting WHERE currency = ?", chosen)[
            0
        ],
        captures=captured[0],
        captured_minor=captured[1],
        holds_open=_one(db, _OPEN_HOLDS, chosen, now_s)[0],
        unbalanced_journals=_one(db, _UNBALANCED)[0],
    )


_OPEN_HOLDS = "SELECT COUNT(*) FROM hold WHERE status = 'held' AND currency = ? AND expires_s > ?"
# A journal without postings counts as well: half of it was lost.
_UNBALANCED = (
    "SELECT (SELECT COUNT(DISTINCT journal) FROM (SELECT journal FROM posting"
    " GROUP BY journal, currency HAVING SUM(amount_minor) <> 0))"
    " + (SELECT COUNT(*) FROM journal WHERE NOT EXISTS"
    " (SELECT 1 FROM posting WHERE posting.journal = journal.journal))"
)
_CAPTURE = "capture, hold, account, merchant, purchase, amount_minor, currency, journal"
_HOLD = ", ".join(field.name for field in fields(HoldState))


# --- rows and values --------------------------------------------------------------------------


def _account_state(db: sqlite3.Connection, name: str, now_s: int) -> AccountState:
    row = db.execute(
        "SELECT currency, limit_minor, owed_minor, blocked, (SELECT COALESCE(SUM(amount_minor), 0)"
        " FROM hold WHERE hold.account = account.account AND status = 'held' AND expires_s > ?)"
        " FROM account WHERE account = ?",
        (now_s, name),
    ).fetchone()
    if row is None:
        raise ProblemError(404, "unknown-account", "no account has this id")
    return AccountState(
        account=name,
        currency=row[0],
        limit_minor=row[1],
        owed_minor=row[2],
        blocked=bool(row[3]),
        held_minor=row[4],
    )


def _hold_or_none(db: sqlite3.Connection, name: str, now_s: int) -> HoldState | None:
    row = db.execute(f"SELECT {_HOLD} FROM hold WHERE hold = ?", (name,)).fetchone()  # noqa: S608
    if row is None:
        return None
    named = _named(HoldState, row)
    named["status"] = HoldStatus(named["status"])
    return ledger.as_of(HoldState(**named), now_s)


def _hold(db: sqlite3.Connection, name: str, now_s: int) -> HoldState:
    known = _hold_or_none(db, name, now_s)
    if known is None:
        raise ProblemError(404, "unknown-hold", "no hold has this id")
    return known


def _save_hold(db: sqlite3.Connection, state: HoldState) -> None:
    db.execute(
        "UPDATE hold SET amount_minor = ?, status = ?, captured_minor = ?, reason = ?"
        " WHERE hold = ?",
        (state.amount_minor, state.status, state.captured_minor, state.reason, state.hold),
    )


def _expire_due(db: sqlite3.Connection, name: str, now_s: int) -> None:
    """Write down what ``ledger.as_of`` says, so that a clock set back revives no hold."""
    db.execute(
        "UPDATE hold SET status = 'expired'"
        " WHERE account = ? AND status = 'held' AND expires_s <= ?",
        (name, now_s),
    )


def _capture_or_none(db: sqlite3.Connection, name: str) -> Capture | None:
    row = db.execute(f"SELECT {_CAPTURE} FROM capture WHERE capture = ?", (name,)).fetchone()  # noqa: S608
    return None if row is None else Capture(**_named(Capture, row))


def _check_credential(db: sqlite3.Connection, request: HoldRequest) -> None:
    """A credential of ours opens one visit, of its own account, in its own store.

    Others are let through: a card terminal at the gate makes its own.
    """
    row = db.execute(
        "SELECT account, store FROM credential WHERE credential = ?", (request.credential,)
    ).fetchone()
    if row is None:
        return
    if row != (request.account, request.store):
        detail = "the credential was issued for another account or store"
        raise ProblemError(409, "credential-mismatch", detail, param="$.credential")
    other = db.execute(
        "SELECT 1 FROM hold WHERE credential = ? AND visit <> ?",
        (request.credential, request.visit),
    ).fetchone()
    if other is not None:
        detail = "the credential opened another visit before"
        raise ProblemError(409, "credential-used", detail, param="$.credential")


def _post(db: sqlite3.Connection, journal: Journal) -> int:
    number = db.execute(
        "INSERT INTO journal (kind, reference, at_s) VALUES (?, ?, ?) RETURNING journal",
        (journal.kind, journal.reference, journal.at_s),
    ).fetchone()[0]
    rows = [
        (number, line, posting.account, posting.amount.minor, posting.amount.currency)
        for line, posting in enumerate(journal.postings)
    ]
    db.executemany("INSERT INTO posting VALUES (?, ?, ?, ?, ?)", rows)
    return int(number)


def _owe(db: sqlite3.Connection, name: str, more_minor: int) -> None:
    db.execute(
        "UPDATE account SET owed_minor = owed_minor + ? WHERE account = ?", (more_minor, name)
    )


def _account_reply(state: AccountState) -> Account:
    return Account(
        account=state.account,
        currency=state.currency,
        limit_minor=state.limit_minor,
        held_minor=state.held_minor,
        owed_minor=state.owed_minor,
        status="blocked" if state.blocked else "active",
    )


def _hold_reply(state: HoldState) -> Hold:
    return Hold(
        hold=state.hold,
        account=state.account,
        status=state.status.value,
        amount_minor=state.amount_minor,
        captured_minor=state.captured_minor,
        currency=state.currency,
        reason=state.reason,
    )


def _hold_answer(state: HoldState, *, replayed: bool = False) -> Answer:
    if state.status is HoldStatus.DECLINED:
        return _declined(state.reason, replayed=replayed)
    return _answer(201, _hold_reply(state), replayed=replayed)


def _declined(reason: str, *, replayed: bool = False) -> Answer:
    detail = ledger.DECLINE_TEXT[ledger.Reason(reason)]
    return Answer(status=402, body=problem_body(402, reason, detail), replayed=replayed)


def _answer(status: int, reply: object, *, replayed: bool = False) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(reply), replayed=replayed)


def _same_content(same: bool, slug: str, param: str) -> None:
    if not same:
        raise ProblemError(409, slug, "this id came before with other content", param=param)


def _named(kind: type, row: tuple[Any, ...]) -> dict[str, Any]:
    return {field.name: value for field, value in zip(fields(kind), row, strict=False)}


def _one(db: sqlite3.Connection, statement: str, *values: object) -> Any:
    return db.execute(statement, values).fetchone()
