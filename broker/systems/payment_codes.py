"""System I, the one-time code: a shown QR code that pays once, one merchant, at most its maximum.

``POST /v1/payment-requests`` holds the maximum on the wallet and gives a code that lives 60 s. A
gate reserves it for a visit, or a till charges it at once; the rest of the hold returns. A payment
above the wallet's limit waits for the shopper's yes. A merchant that got no answer asks for its
transaction, or revokes it: a revoked id never pays any more, also when the charge comes later.

The state of a code is that of its hold: there is no second record that could say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.credentials import rfc3339
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import HoldState, HoldStatus
from broker.problems import ProblemError
from broker.routes import GIVEN, Call, Nothing
from broker.systems import funds, wallets
from broker.systems.merchants import check_party
from broker.systems.secret_codes import code_of, hashed
from broker.systems.states import advance
from messages.contract import CaptureRequest
from messages.money import Money

PURPOSE = "payment-request"
CODE_VALIDITY_S = 60  # a photographed code is worth little (facts of the field: at most 60 s)
RESERVED_S = 6 * 3600  # nobody shops longer; then the money is the shopper's again
CONFIRM_S = 60  # WeChat Pay polls for 30 s; twice that, then the answer is no


class CodeState(StrEnum):
    ISSUED = "issued"
    RESERVED = "reserved"
    CONSUMED = "consumed"
    EXPIRED = "expired"
    CANCELED = "canceled"


class CodeSignal(StrEnum):
    RESERVE = "reserve"
    PAY = "pay"
    CANCEL = "cancel"
    EXPIRE = "expire"


CODE_STATES: Mapping[tuple[CodeState, CodeSignal], CodeState] = {
    (CodeState.ISSUED, CodeSignal.RESERVE): CodeState.RESERVED,
    (CodeState.ISSUED, CodeSignal.PAY): CodeState.CONSUMED,
    (CodeState.RESERVED, CodeSignal.PAY): CodeState.CONSUMED,
    (CodeState.ISSUED, CodeSignal.CANCEL): CodeState.CANCELED,
    (CodeState.ISSUED, CodeSignal.EXPIRE): CodeState.EXPIRED,
    (CodeState.RESERVED, CodeSignal.EXPIRE): CodeState.EXPIRED,
}
_OF_HOLD = {
    HoldStatus.CAPTURED: CodeState.CONSUMED,
    HoldStatus.VOID: CodeState.CANCELED,
    HoldStatus.EXPIRED: CodeState.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCodeRequest:
    """POST /v1/payment-requests: hold an amount and show a code.

    ``only_merchant``: whom alone it pays; "" = whoever is shown it first.
    """

    payment_request: str
    wallet: str
    max_amount_minor: int
    only_merchant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCode:
    """``code``: what the QR code says; empty when only asked for."""

    payment_request: str
    wallet: str
    max_amount_minor: int
    currency: str
    merchant: str
    state: str
    expires_at: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveRequest:
    """POST /v1/payment-requests/reserve: the code opens the gate for a visit."""

    code: str
    merchant: str
    store: str
    visit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRow:
    payment_request: str
    wallet: str
    merchant: str
    max_amount_minor: int
    hold: str
    reserved: bool
    kid: str


# --- effects ----------------------------------------------------------------------------------


async def issue(db: Transaction, call: Call, asked: PaymentCodeRequest) -> Answer:
    """Hold the maximum; the stored answer has the key's id where the code belongs."""
    wallet = await wallets.usable_wallet(db, call, asked.wallet)
    known = await _row(db, "p.payment_request", asked.payment_request)
    if known is not None:
        if (known.wallet, known.max_amount_minor) != (asked.wallet, asked.max_amount_minor):
            raise funds.same_id_other_content("payment request")
        return answer(201, await _reply(db, call, known, code=known.kid), replayed=True)
    key = call.service.signing[0]
    amount = Money(minor=asked.max_amount_minor, currency=wallet.currency)
    hold = funds.new_hold(
        f"payment-request:{asked.payment_request}",
        wallet.account,
        amount,
        now_s=call.now_s,
        expires_s=call.now_s + CODE_VALIDITY_S,
    )
    await funds.reserve(db, hold)
    row = CodeRow(
        payment_request=asked.payment_request,
        wallet=asked.wallet,
        merchant=asked.only_merchant,
        max_amount_minor=asked.max_amount_minor,
        hold=hold.hold,
        reserved=False,
        kid=key.kid,
    )
    code_hash = hashed(code_of(key, PURPOSE, asked.payment_request))
    await _insert(db, row, code_hash, call.now_s)
    return answer(201, await _reply(db, call, row, code=key.kid))


async def reserve(db: Transaction, call: Call, asked: ReserveRequest) -> Answer:
    """Bind the code to one merchant and one visit; the hold now lives as long as a visit."""
    check_party(call, asked.merchant)
    row, hold = await locked_code(db, call, asked.code, asked.merchant)
    if row.reserved and state_of(row, hold) is CodeState.RESERVED and hold.visit == asked.visit:
        return answer(200, await _reply(db, call, row), replayed=True)
    advance(CODE_STATES, state_of(row, hold), CodeSignal.RESERVE, "code")
    until_s = call.now_s + RESERVED_S
    await db.run(_RESERVE, row.payment_request, asked.merchant)
    await db.run(_BIND, hold.hold, until_s, asked.store, asked.visit)
    bound = await _row(db, "p.payment_request", row.payment_request)
    assert bound is not None
    return answer(200, await _reply(db, call, bound))


async def cancel_asked(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The shopper takes a shown code back; one that opened a gate stays until its visit ends."""
    row = await code_row(db, call.named)
    await wallets.locked_wallet(db, call, row.wallet)
    row = await code_row(db, call.named)
    hold = await funds.hold_of(db, row.hold, call.now_s)
    if state_of(row, hold) is not CodeState.CANCELED:
        advance(CODE_STATES, state_of(row, hold), CodeSignal.CANCEL, "code")
        await funds.release(db, hold, "canceled by the shopper")
    return answer(200, await _reply(db, call, row))


async def pay(
    db: Transaction, row: CodeRow, hold: HoldState, request: CaptureRequest, now_s: int
) -> int:
    """Consume a locked code; the journal's number.

    Raises:
        ProblemError: 409, it is spent, expired or canceled.
    """
    advance(CODE_STATES, state_of(row, hold), CodeSignal.PAY, "code")
    return await funds.capture(db, hold, request, now_s)


# --- questions --------------------------------------------------------------------------------


async def payment_code(db: Transaction, call: Call, name: str) -> PaymentCode:
    """A code's state, without the code."""
    return await _reply(db, call, await code_row(db, name))


async def code_row(db: Transaction, name: str) -> CodeRow:
    """Raises ProblemError 404."""
    row = await _row(db, "p.payment_request", name)
    if row is None:
        raise _unknown()
    return row


async def locked_code(
    db: Transaction, call: Call, code: str, merchant: str
) -> tuple[CodeRow, HoldState]:
    """The code that was shown to a merchant, with its wallet locked.

    Raises:
        ProblemError: 404, no such code (guessed), or 409, it is another merchant's.
    """
    row = await _row(db, "p.code_hash", hashed(code))
    if row is None:
        raise _unknown()
    await wallets.locked_wallet(db, call, row.wallet)
    row = await code_row(db, row.payment_request)
    if row.merchant not in ("", merchant):
        raise ProblemError(409, "other-merchant", "the code is for another merchant")
    return row, await funds.hold_of(db, row.hold, call.now_s)


def state_of(row: CodeRow, hold: HoldState) -> CodeState:
    """The code's state, from its hold."""
    held = CodeState.RESERVED if row.reserved else CodeState.ISSUED
    return _OF_HOLD.get(hold.status, held)


async def _reply(db: Transaction, call: Call, row: CodeRow, code: str = "") -> PaymentCode:
    hold = await funds.hold_of(db, row.hold, call.now_s)
    return PaymentCode(
        payment_request=row.payment_request,
        wallet=row.wallet,
        max_amount_minor=row.max_amount_minor,
        currency=hold.currency,
        merchant=row.merchant,
        state=state_of(row, hold).value,
        expires_at=rfc3339(hold.expires_s),
        code=code,
    )


async def _row(db: Transaction, column: str, value: str) -> CodeRow | None:
    row = await db.one(f"{_CODE} WHERE {column} = $1", value)
    if row is None:
        return None
    name, wallet, merchant, most_minor, hold, reserved, kid = row
    return CodeRow(
        payment_request=name,
        wallet=wallet,
        merchant=merchant,
        max_amount_minor=most_minor,
        hold=hold,
        reserved=bool(reserved),
        kid=kid,
    )


def issue_at_once(call: Call, asked: PaymentCodeRequest) -> tuple[dict[str, object], PaymentCode]:
    """The plain case for ``show_code`` of the migrations, which gives the wallet's currency."""
    key, expires_s = call.service.signing[0], call.now_s + CODE_VALIDITY_S
    arguments: dict[str, object] = {
        "request": asked.payment_request,
        "wallet": asked.wallet,
        "merchant": asked.only_merchant,
        "max": asked.max_amount_minor,
        "code_hash": hashed(code_of(key, PURPOSE, asked.payment_request)),
        "kid": key.kid,
        "hold": f"payment-request:{asked.payment_request}",
        "now_s": call.now_s,
        "expires_s": expires_s,
    }
    reply = PaymentCode(
        payment_request=asked.payment_request,
        wallet=asked.wallet,
        max_amount_minor=asked.max_amount_minor,
        currency=GIVEN,
        merchant=asked.only_merchant,
        state=CodeState.ISSUED.value,
        expires_at=rfc3339(expires_s),
        code=key.kid,
    )
    return arguments, reply


async def _insert(db: Transaction, row: CodeRow, code_hash: str, now_s: int) -> None:
    given = (row.payment_request, row.wallet, row.merchant, row.max_amount_minor, code_hash)
    await db.run(_INSERT, *given, row.kid, row.hold, now_s)


def _unknown() -> ProblemError:
    return ProblemError(404, "unknown-code", "no payment request is known by this")


_CODE = (
    "SELECT p.payment_request, p.wallet, p.merchant, p.max_amount_minor, p.hold, p.reserved, p.kid"
    " FROM payment_request p"
)
_INSERT = "INSERT INTO payment_request VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)"
_RESERVE = "UPDATE payment_request SET reserved = 1, merchant = $2 WHERE payment_request = $1"
_BIND = "UPDATE hold SET expires_s = $2, store = $3, visit = $4 WHERE hold = $1"
