"""The ledger in the database: what each request does to the tables, by the rules of ``ledger.py``.

Every effect runs inside a transaction (``database.py``) and gets the time from its caller. An id
that comes again with the same content gets the same answer, even with a new Idempotency-Key: ids
are made by whoever asks first. The row of the account is locked before anything that counts
against it is read, so on PostgreSQL too an account's requests go one after another.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass

import msgspec

from broker import accounts, ledger, store_rows
from broker.chart import receivable, shopper_of
from broker.database import Transaction
from broker.idempotency import Answer
from broker.ledger import HoldState, HoldStatus
from broker.problems import ProblemError, problem_body
from messages.contract import (
    Account,
    AccountRequest,
    AdjustRequest,
    Capture,
    CaptureRequest,
    Credential,
    CredentialRequest,
    Hold,
    HoldRequest,
    VoidRequest,
)
from messages.money import Money


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
class RefundRequest:
    """POST /v1/captures/{capture}/refund -> 201: give back part or all of it."""

    refund: str
    amount_minor: int
    currency: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """``to_provider_minor``: what was paid already and goes back; the rest was still owed."""

    refund: str
    capture: str
    amount_minor: int
    currency: str
    to_provider_minor: int
    reason: str
    journal: int


async def open_account(db: Transaction, request: AccountRequest, now_s: int) -> Answer:
    row = await db.one(
        "SELECT currency, limit_minor, payment_ref FROM account WHERE account = $1",
        request.account,
    )
    if row is not None:
        same = row == (request.currency, request.limit_minor, request.payment_ref)
        _same_content(same, "account-exists", "$.account")
        known = await store_rows.account_state(db, request.account, now_s)
        return _answer(201, store_rows.account_reply(known), replayed=True)
    state = ledger.open_account(request)
    await db.run(
        "INSERT INTO account VALUES ($1, $2, $3, 0, $4, $5)",
        state.account,
        state.currency,
        state.limit_minor,
        request.payment_ref,
        now_s,
    )
    name = receivable(state.account)
    await accounts.open_floored(db, name, state.currency, -state.limit_minor)
    return _answer(201, store_rows.account_reply(state))


async def block_account(db: Transaction, name: str, blocked: bool, now_s: int) -> Answer:
    await db.run("UPDATE account SET blocked = $2 WHERE account = $1", name, int(blocked))
    return _answer(200, await account(db, name, now_s))


async def record_credential(
    db: Transaction, request: CredentialRequest, issued: Credential, now_s: int
) -> Answer:
    """Note who may enter; staff need no account, they are never charged."""
    if request.kind == "shopper":
        state = await store_rows.account_state(db, request.account, now_s)
        if state.blocked:
            return _declined(ledger.Reason.ACCOUNT_BLOCKED.value)
    await db.run(
        "INSERT INTO credential VALUES ($1, $2, $3, $4, $5, $6)",
        issued.credential,
        request.account,
        request.store,
        request.party_size,
        request.kind,
        now_s,
    )
    return _answer(201, issued)


async def place_hold(db: Transaction, request: HoldRequest, now_s: int) -> Answer:
    state = await store_rows.locked_account(db, request.account, now_s)
    known = await store_rows.hold_or_none(db, request.hold, now_s)
    if known is not None:
        same = shopper_of(known.account) == request.account and all(
            getattr(known, name) == getattr(request, name)
            for name in ("store", "visit", "credential", "currency")
        )
        _same_content(same, "hold-exists", "$.hold")
        return _hold_answer(known, replayed=True)
    await _check_credential(db, request)
    hold = ledger.place(request, state, now_s)
    await accounts.hold_more(db, hold.account, hold.currency, hold.reserved_minor)
    await db.run(_INSERT_HOLD, *astuple(hold))
    return _hold_answer(hold)


async def adjust_hold(db: Transaction, name: str, request: AdjustRequest, now_s: int) -> Answer:
    hold, state = await _locked_hold(db, name, now_s)
    try:
        adjusted = ledger.adjust(hold, state, request.amount_minor)
    except ledger.LedgerRefusalError as refusal:
        if refusal.reason in ledger.DECLINES:
            return _declined(refusal.reason.value)
        raise
    await _save_hold(db, hold, adjusted)
    return _answer(200, store_rows.hold_reply(adjusted))


async def capture_hold(db: Transaction, name: str, request: CaptureRequest, now_s: int) -> Answer:
    before, _ = await _locked_hold(db, name, now_s)
    known = await store_rows.capture_or_none(db, request.capture)
    if known is not None:
        given = (name, request.merchant, request.purchase, request.amount_minor, request.currency)
        found = (known.hold, known.merchant, known.purchase, known.amount_minor, known.currency)
        _same_content(given == found, "capture-exists", "$.capture")
        return _answer(201, known, replayed=True)
    hold, journal = ledger.capture(before, request, now_s)
    await _save_hold(db, before, hold)
    done = Capture(
        capture=request.capture,
        hold=name,
        account=shopper_of(hold.account),
        merchant=request.merchant,
        purchase=request.purchase,
        amount_minor=request.amount_minor,
        currency=request.currency,
        journal=await accounts.post(db, journal),
    )
    await db.run(_INSERT_CAPTURE, *astuple(done)[:8])
    return _answer(201, done)


async def void_hold(db: Transaction, name: str, request: VoidRequest, now_s: int) -> Answer:
    before, _ = await _locked_hold(db, name, now_s)
    hold = ledger.void(before, request.reason)
    await _save_hold(db, before, hold)
    return _answer(200, store_rows.hold_reply(hold))


async def record_payment(db: Transaction, request: PaymentRequest, now_s: int) -> Answer:
    state = await store_rows.locked_account(db, request.account, now_s)
    row = await db.one(
        "SELECT payment, account, amount_minor, currency, journal FROM payment WHERE payment = $1",
        request.payment,
    )
    if row is not None:
        _same_content(row[:4] == astuple(request), "payment-exists", "$.payment")
        return _answer(201, Payment(**store_rows.named(Payment, row)), replayed=True)
    amount = Money(minor=request.amount_minor, currency=request.currency)
    journal = await accounts.post(db, ledger.pay(state, request.payment, amount, now_s))
    done = Payment(**asdict(request), journal=journal)
    await db.run("INSERT INTO payment VALUES ($1, $2, $3, $4, $5)", *astuple(done))
    return _answer(201, done)


async def refund_capture(db: Transaction, name: str, request: RefundRequest, now_s: int) -> Answer:
    captured = await store_rows.capture_or_none(db, name)
    if captured is None:
        raise ProblemError(404, "unknown-capture", "no capture has this id")
    state = await store_rows.locked_account(db, captured.account, now_s)
    row = await db.one(
        "SELECT refund, capture, amount_minor, currency, to_provider_minor, reason, journal"
        " FROM refund WHERE refund = $1",
        request.refund,
    )
    if row is not None:
        same = row[:4] == (request.refund, name, request.amount_minor, request.currency)
        _same_content(same, "refund-exists", "$.refund")
        return _answer(201, Refund(**store_rows.named(Refund, row)), replayed=True)
    amount = Money(minor=request.amount_minor, currency=request.currency)
    about = ledger.Captured(
        account=receivable(captured.account),
        merchant=captured.merchant,
        amount_minor=captured.amount_minor,
        currency=captured.currency,
        refunded_minor=await store_rows.refunded_minor(db, name),
        owed_minor=state.owed_minor,
    )
    journal = ledger.refund(about, request.refund, amount, now_s)
    done = Refund(
        refund=request.refund,
        capture=name,
        amount_minor=request.amount_minor,
        currency=request.currency,
        to_provider_minor=max(0, request.amount_minor - state.owed_minor),
        reason=request.reason,
        journal=await accounts.post(db, journal),
    )
    await db.run("INSERT INTO refund VALUES ($1, $2, $3, $4, $5, $6, $7)", *astuple(done))
    return _answer(201, done)


async def sweep(db: Transaction, now_s: int, most: int = 500) -> int:
    """Write down which holds have expired, whoever's; how many accounts had some."""
    due = await db.all(_DUE, now_s, most)
    for name, currency in due:
        await accounts.lock(db, name, currency)
        await accounts.expire_due(db, name, currency, now_s)
    return len(due)


# --- questions --------------------------------------------------------------------------------


async def account(db: Transaction, name: str, now_s: int) -> Account:
    return store_rows.account_reply(await store_rows.account_state(db, name, now_s))


async def hold(db: Transaction, name: str, now_s: int) -> Hold:
    return store_rows.hold_reply(await store_rows.hold(db, name, now_s))


# --- helpers ----------------------------------------------------------------------------------

_INSERT_HOLD = "INSERT INTO hold VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_INSERT_CAPTURE = "INSERT INTO capture VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_DUE = (
    "SELECT DISTINCT account, currency FROM (SELECT account, currency FROM hold"
    " WHERE status = 'held' AND expires_s <= $1 ORDER BY expires_s LIMIT $2) AS due"
    " ORDER BY account, currency"
)


async def _locked_hold(
    db: Transaction, name: str, now_s: int
) -> tuple[HoldState, ledger.AccountState]:
    found = await store_rows.hold(db, name, now_s)  # its account never changes
    state = await store_rows.locked_account(db, shopper_of(found.account), now_s)
    return await store_rows.hold(db, name, now_s), state


async def _save_hold(db: Transaction, before: HoldState, after: HoldState) -> None:
    await db.run(
        "UPDATE hold SET amount_minor = $2, status = $3, captured_minor = $4, reason = $5"
        " WHERE hold = $1",
        after.hold,
        after.amount_minor,
        after.status,
        after.captured_minor,
        after.reason,
    )
    more_minor = after.reserved_minor - before.reserved_minor
    await accounts.hold_more(db, after.account, after.currency, more_minor)


async def _check_credential(db: Transaction, request: HoldRequest) -> None:
    """A credential of ours opens one visit, of its own account, in its own store.

    Others are let through: a card terminal at the gate makes its own.
    """
    row = await db.one(
        "SELECT account, store FROM credential WHERE credential = $1", request.credential
    )
    if row is None:
        return
    if row != (request.account, request.store):
        detail = "the credential was issued for another account or store"
        raise ProblemError(409, "credential-mismatch", detail, param="$.credential")
    other = await db.one(
        "SELECT 1 FROM hold WHERE credential = $1 AND visit <> $2",
        request.credential,
        request.visit,
    )
    if other is not None:
        detail = "the credential opened another visit before"
        raise ProblemError(409, "credential-used", detail, param="$.credential")


def _hold_answer(state: HoldState, *, replayed: bool = False) -> Answer:
    if state.status is HoldStatus.DECLINED:
        return _declined(state.reason, replayed=replayed)
    return _answer(201, store_rows.hold_reply(state), replayed=replayed)


def _declined(reason: str, *, replayed: bool = False) -> Answer:
    detail = ledger.DECLINE_TEXT[ledger.Reason(reason)]
    return Answer(status=402, body=problem_body(402, reason, detail), replayed=replayed)


def _answer(status: int, reply: object, *, replayed: bool = False) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(reply), replayed=replayed)


def _same_content(same: bool, slug: str, param: str) -> None:
    if not same:
        raise ProblemError(409, slug, "this id came before with other content", param=param)
