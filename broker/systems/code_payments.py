"""System I, the merchant's side: a transaction charges a code, or waits for the shopper's yes.

A transaction is settled at once, or waits for the shopper (the merchant asks again, at most
``CONFIRM_S``), or is refused. *Unknown* is the merchant's own state, when no answer came: it asks
by the id it made, or revokes; a revoked id that we never saw is kept, so that a late charge fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.chart import payable
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import GIVEN, Call, Nothing
from broker.systems import funds, payment_codes, wallets
from broker.systems.merchants import check_party
from broker.systems.payment_codes import CONFIRM_S, CodeSignal
from broker.systems.secret_codes import hashed
from broker.systems.states import advance
from messages.contract import CaptureRequest


class PaymentState(StrEnum):
    RECEIVED = "received"
    AWAITING = "awaiting-confirmation"
    SETTLED = "settled"
    REFUSED = "refused"
    REVOKED = "revoked"


class PaymentSignal(StrEnum):
    SETTLE = "settle"
    ASK = "ask"
    CONFIRM = "confirm"
    DENY = "deny"
    LAPSE = "lapse"
    REVOKE = "revoke"


PAYMENT_STATES: Mapping[tuple[PaymentState, PaymentSignal], PaymentState] = {
    (PaymentState.RECEIVED, PaymentSignal.SETTLE): PaymentState.SETTLED,
    (PaymentState.RECEIVED, PaymentSignal.ASK): PaymentState.AWAITING,
    (PaymentState.RECEIVED, PaymentSignal.REVOKE): PaymentState.REVOKED,
    (PaymentState.AWAITING, PaymentSignal.CONFIRM): PaymentState.SETTLED,
    (PaymentState.AWAITING, PaymentSignal.DENY): PaymentState.REFUSED,
    (PaymentState.AWAITING, PaymentSignal.LAPSE): PaymentState.REFUSED,
    (PaymentState.AWAITING, PaymentSignal.REVOKE): PaymentState.REVOKED,
    (PaymentState.SETTLED, PaymentSignal.REVOKE): PaymentState.REVOKED,
    (PaymentState.REFUSED, PaymentSignal.REVOKE): PaymentState.REVOKED,
    (PaymentState.REVOKED, PaymentSignal.REVOKE): PaymentState.REVOKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRequest:
    """POST /v1/transactions: charge a code, at most its maximum."""

    transaction: str
    code: str
    merchant: str
    amount_minor: int
    currency: str
    purchase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePayment:
    """201 settled, 202 awaiting the shopper's confirmation."""

    transaction: str
    payment_request: str
    merchant: str
    amount_minor: int
    currency: str
    purchase: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest:
    """POST /v1/transactions/{id}/confirm: the shopper's answer, from the app."""

    approve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRefundRequest:
    """POST /v1/transactions/{id}/refund: part or all goes back into the wallet."""

    refund: str
    amount_minor: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRow:
    transaction: str
    payment_request: str | None
    merchant: str
    amount_minor: int
    currency: str
    purchase: str
    state: PaymentState
    confirm_until_s: int

    @property
    def capture(self) -> str:
        return f"transaction:{self.transaction}"

    def as_of(self, now_s: int) -> PaymentRow:
        """One that nobody confirmed in time is refused."""
        if self.state is PaymentState.AWAITING and now_s >= self.confirm_until_s:
            after = advance(PAYMENT_STATES, self.state, PaymentSignal.LAPSE, "transaction")
            return replace(self, state=after)
        return self

    @property
    def reply(self) -> CodePayment:
        return CodePayment(
            transaction=self.transaction,
            payment_request=self.payment_request or "",
            merchant=self.merchant,
            amount_minor=self.amount_minor,
            currency=self.currency,
            purchase=self.purchase,
            state=self.state.value,
        )


# --- effects ----------------------------------------------------------------------------------


async def charge(db: Transaction, call: Call, asked: TransactionRequest) -> Answer:
    """Settle a code's payment, or ask the shopper first.

    Raises:
        ProblemError: 404 or 409 for codes that are unknown, spent, expired or another merchant's,
            422 above the code's maximum.
    """
    check_party(call, asked.merchant)
    known = await _row(db, asked.transaction, call.now_s)
    if known is not None:
        return _again(known, asked)
    code, hold = await payment_codes.locked_code(db, call, asked.code, asked.merchant)
    again = await _row(db, asked.transaction, call.now_s)  # while we waited for the wallet
    if again is not None:
        return _again(again, asked)
    wallets.check_currency(asked.currency, hold.currency)
    if asked.amount_minor > code.max_amount_minor:
        detail = f"the shopper agreed to {code.max_amount_minor} at most"
        raise ProblemError(422, "above-code", detail, param="$.amount_minor")
    if await db.one(_OF_CODE, code.payment_request) is not None:
        raise ProblemError(409, "code-spent", "another transaction has this code")
    advance(payment_codes.CODE_STATES, payment_codes.state_of(code, hold), CodeSignal.PAY, "code")
    row = PaymentRow(
        transaction=asked.transaction,
        payment_request=code.payment_request,
        merchant=asked.merchant,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        purchase=asked.purchase,
        state=PaymentState.RECEIVED,
        confirm_until_s=0,
    )
    wallet = await wallets.wallet_row(db, code.wallet)
    if asked.amount_minor > wallet.confirm_above_minor:
        return await _ask(db, call, row, hold.hold)
    await payment_codes.pay(db, code, hold, _capture(row), call.now_s)
    return await _insert(db, call, _after(row, PaymentSignal.SETTLE), 201)


async def confirm(db: Transaction, call: Call, asked: ConfirmRequest) -> Answer:
    """The shopper says yes or no; too late is no."""
    row = await _locked(db, call, call.named)
    signal = PaymentSignal.CONFIRM if asked.approve else PaymentSignal.DENY
    wanted = PaymentState.SETTLED if asked.approve else PaymentState.REFUSED
    if row.state is wanted and row.payment_request:
        return answer(200, row.reply, replayed=True)
    after = _after(row, signal)
    code = await payment_codes.code_row(db, row.payment_request or "")
    hold = await funds.hold_of(db, code.hold, call.now_s)
    if after.state is PaymentState.SETTLED:
        await payment_codes.pay(db, code, hold, _capture(row), call.now_s)
    else:
        await funds.release(db, hold, "refused by the shopper")
    return await _save(db, after)


async def revoke(db: Transaction, call: Call, _: Nothing) -> Answer:
    """No answer came, so it must not have been: give back, release, or keep it from ever coming."""
    if await _row(db, call.named, call.now_s) is None:
        await _tombstone(db, call)
    row = await _locked(db, call, call.named)
    after = _after(row, PaymentSignal.REVOKE)
    if row.state is PaymentState.SETTLED:
        back = f"revoked:{row.transaction}"
        left_minor = row.amount_minor - await _refunded(db, row)
        if left_minor:
            await funds.give_back(db, row.capture, back, left_minor, "revoked", call.now_s)
    elif row.state is PaymentState.AWAITING:
        code = await payment_codes.code_row(db, row.payment_request or "")
        await funds.release(db, await funds.hold_of(db, code.hold, call.now_s), "revoked")
    return await _save(db, after)


async def refund(db: Transaction, call: Call, asked: CodeRefundRequest) -> Answer:
    """Part of a settled payment goes back into the wallet it came from."""
    row = await _locked(db, call, call.named)
    if row.state is not PaymentState.SETTLED:
        detail = f"the transaction is {row.state.value}; only a settled one is refunded"
        raise ProblemError(409, "wrong-state", detail)
    given = await funds.give_back(
        db, row.capture, asked.refund, asked.amount_minor, asked.reason, call.now_s
    )
    return answer(201, given)


async def transaction(db: Transaction, call: Call, name: str) -> CodePayment:
    """What became of it; raises ProblemError 404."""
    row = await _row(db, name, call.now_s)
    if row is None:
        raise ProblemError(404, "unknown-transaction", "no transaction has this id")
    check_party(call, row.merchant)
    return row.reply


# --- helpers ----------------------------------------------------------------------------------


def _again(known: PaymentRow, asked: TransactionRequest) -> Answer:
    given = (asked.merchant, asked.amount_minor, asked.currency, asked.purchase)
    found = (known.merchant, known.amount_minor, known.currency, known.purchase)
    if known.state is PaymentState.REVOKED:
        raise ProblemError(409, "transaction-revoked", "it was revoked: take a new id, a new code")
    if given != found:
        raise funds.same_id_other_content("transaction")
    return answer(_status(known), known.reply, replayed=True)


def charge_at_once(call: Call, asked: TransactionRequest) -> tuple[dict[str, object], CodePayment]:
    """The plain case for ``pay_code`` of the migrations, which gives the code's request."""
    check_party(call, asked.merchant)
    row = PaymentRow(
        transaction=asked.transaction,
        payment_request=GIVEN,
        merchant=asked.merchant,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        purchase=asked.purchase,
        state=PaymentState.SETTLED,
        confirm_until_s=0,
    )
    arguments: dict[str, object] = {
        "txn": row.transaction,
        "code_hash": hashed(asked.code),
        "merchant": row.merchant,
        "payable": payable(row.merchant),
        "amount": row.amount_minor,
        "currency": row.currency,
        "purchase": row.purchase,
        "capture": row.capture,
        "now_s": call.now_s,
    }
    return arguments, row.reply


async def _ask(db: Transaction, call: Call, row: PaymentRow, hold: str) -> Answer:
    until_s = call.now_s + CONFIRM_S
    state = await funds.hold_of(db, hold, call.now_s)
    await funds.keep_until(db, state, until_s)  # unanswered, the money returns by itself
    asking = replace(_after(row, PaymentSignal.ASK), confirm_until_s=until_s)
    return await _insert(db, call, asking, 202)


async def _locked(db: Transaction, call: Call, name: str) -> PaymentRow:
    row = await _row(db, name, call.now_s)
    if row is None:
        raise ProblemError(404, "unknown-transaction", "no transaction has this id")
    if row.payment_request is None:
        return row
    check_party(call, row.merchant)
    code = await payment_codes.code_row(db, row.payment_request)
    await wallets.locked_wallet(db, call, code.wallet)
    again = await _row(db, name, call.now_s)
    assert again is not None
    return again


async def _row(db: Transaction, name: str, now_s: int) -> PaymentRow | None:
    row = await db.one(_TXN, name)
    if row is None:
        return None
    txn, code, merchant, amount_minor, currency, purchase, state, until_s = row
    return PaymentRow(
        transaction=txn,
        payment_request=code,
        merchant=merchant,
        amount_minor=amount_minor,
        currency=currency,
        purchase=purchase,
        state=PaymentState(state),
        confirm_until_s=until_s,
    ).as_of(now_s)


async def _insert(db: Transaction, call: Call, row: PaymentRow, status: int) -> Answer:
    if not await _add(db, call, row):  # revoked a moment ago
        raise funds.same_id_other_content("transaction")
    return answer(status, row.reply)


async def _add(db: Transaction, call: Call, row: PaymentRow) -> int:
    given = (row.transaction, row.payment_request, row.merchant)
    money = (row.amount_minor, row.currency, row.purchase)
    return await db.run(_INSERT, *given, *money, row.state.value, row.confirm_until_s, call.now_s)


async def _save(db: Transaction, row: PaymentRow) -> Answer:
    await db.run("UPDATE code_payment SET state = $2 WHERE txn = $1", row.transaction, row.state)
    return answer(200, row.reply)


async def _tombstone(db: Transaction, call: Call) -> None:
    """An id that never came: it is there now, and revoked."""
    row = PaymentRow(
        transaction=call.named,
        payment_request=None,
        merchant=call.key.party,
        amount_minor=0,
        currency="",
        purchase="",
        state=PaymentState.REVOKED,
        confirm_until_s=0,
    )
    await _add(db, call, row)  # unless the charge came in this moment: then that is revoked


async def _refunded(db: Transaction, row: PaymentRow) -> int:
    found = await db.one(_REFUNDED, row.capture)
    assert found is not None
    return int(found[0])


def _after(row: PaymentRow, signal: PaymentSignal) -> PaymentRow:
    return replace(row, state=advance(PAYMENT_STATES, row.state, signal, "transaction"))


def _capture(row: PaymentRow) -> CaptureRequest:
    return CaptureRequest(
        capture=row.capture,
        merchant=row.merchant,
        purchase=row.purchase,
        amount_minor=row.amount_minor,
        currency=row.currency,
        line_totals=[row.amount_minor],
    )


def _status(row: PaymentRow) -> int:
    return 202 if row.state is PaymentState.AWAITING else 201


_TXN = (
    "SELECT txn, payment_request, merchant, amount_minor, currency, purchase, state,"
    " confirm_until_s FROM code_payment WHERE txn = $1"
)
_INSERT = (
    "INSERT INTO code_payment VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " ON CONFLICT (txn) DO NOTHING"
)
_OF_CODE = "SELECT 1 FROM code_payment WHERE payment_request = $1"
_REFUNDED = "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM refund WHERE capture = $1"
