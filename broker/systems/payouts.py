"""System C: what a seller sold is paid out in one, each sale once.

A payout takes every sale and refund of the seller that is in none yet. Money leaves when it is
sent; one that comes back is returned to the seller's account here, and can be sent again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker import chart
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import events, funds, micro_parties
from broker.systems.merchants import check_party
from broker.systems.states import advance
from broker.systems.vat import BP


class PayoutState(StrEnum):
    DUE = "due"
    SENT = "sent"
    CONFIRMED = "confirmed"
    RETURNED = "returned"


class PayoutSignal(StrEnum):
    SEND = "send"
    CONFIRM = "confirm"
    RETURN = "return"


PAYOUT_STATES: Mapping[tuple[PayoutState, PayoutSignal], PayoutState] = {
    (PayoutState.DUE, PayoutSignal.SEND): PayoutState.SENT,
    (PayoutState.SENT, PayoutSignal.CONFIRM): PayoutState.CONFIRMED,
    (PayoutState.SENT, PayoutSignal.RETURN): PayoutState.RETURNED,
    (PayoutState.RETURNED, PayoutSignal.SEND): PayoutState.SENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutRequest:
    """POST /v1/payouts: all that the merchant sold and nobody paid it for yet."""

    payout: str
    merchant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """``net_minor`` = gross - refunds - fee."""

    payout: str
    merchant: str
    currency: str
    state: str
    gross_minor: int
    refunds_minor: int
    fee_minor: int
    net_minor: int
    attempt: int


async def make(db: Transaction, call: Call, asked: PayoutRequest) -> Answer:
    """Gather what is due.

    Raises:
        ProblemError: 404 without such a seller, 409 when nothing is left after refunds and fees.
    """
    await db.one("SELECT 1 FROM seller WHERE merchant = $1 FOR UPDATE", asked.merchant)
    seller = await micro_parties.seller(db, asked.merchant)
    known = await _or_none(db, asked.payout)
    if known is not None:
        if known.merchant != asked.merchant:
            raise funds.same_id_other_content("payout")
        return answer(201, known, replayed=True)
    gross_minor, refunds_minor = await _take(db, asked)
    fee_minor = seller.fee_minor + (2 * gross_minor * seller.fee_bp + BP) // (2 * BP)
    net_minor = gross_minor - refunds_minor - fee_minor
    if net_minor <= 0:
        detail = f"{gross_minor} sold, {refunds_minor} refunded, {fee_minor} of fees"
        raise ProblemError(409, "nothing-due", detail)
    money = (gross_minor, refunds_minor, fee_minor, net_minor)
    row = (asked.payout, asked.merchant, seller.currency, PayoutState.DUE.value, *money)
    await db.run(_INSERT, *row, call.now_s)
    return answer(201, await payout(db, asked.payout))


def signalled(signal: PayoutSignal) -> Callable[[Transaction, Call, Nothing], Awaitable[Answer]]:
    """The effect of send, confirm or return on the payout of the path."""
    return lambda db, call, _: _signal(db, call, signal)


async def _signal(db: Transaction, call: Call, signal: PayoutSignal) -> Answer:
    await db.one("SELECT 1 FROM micro_payout WHERE payout = $1 FOR UPDATE", call.named)
    row = await payout(db, call.named)
    state = PayoutState(row.state)
    after = advance(PAYOUT_STATES, state, signal, "payout")
    attempt = row.attempt + (after is PayoutState.SENT)
    if after is PayoutState.SENT:
        await _post(db, row, "payout", attempt, first=state is PayoutState.DUE, now_s=call.now_s)
    elif after is PayoutState.RETURNED:
        lines = {chart.PSP_CLEARING: row.net_minor, chart.payable(row.merchant): -row.net_minor}
        reference = f"{row.payout}:{attempt}"
        await funds.post(db, "payout-returned", reference, lines, row.currency, call.now_s)
    await db.run(_STATE, row.payout, after.value, attempt)
    if after is not state:
        said = {"net_minor": row.net_minor, "currency": row.currency}
        await events.tell(
            db, f"{events.MERCHANT}{row.merchant}", f"payout.{after.value}", row.payout, call.now_s,
            said, once=f"{row.payout}:{attempt}",
        )  # fmt: skip
    return answer(200, await payout(db, row.payout))


async def payout(db: Transaction, name: str) -> Payout:
    """Raises ProblemError 404."""
    found = await _or_none(db, name)
    if found is None:
        raise ProblemError(404, "unknown-payout", "no payout has this id")
    return found


async def shown(db: Transaction, call: Call) -> Payout:
    """A payout to whom it concerns; raises ProblemError 404."""
    found = await payout(db, call.named)
    check_party(call, found.merchant)
    return found


async def _take(db: Transaction, asked: PayoutRequest) -> tuple[int, int]:
    """Every sale and refund of the seller that is in no payout; what they come to."""
    sums = list[int]()
    for mark, total in ((_TAKE_SALES, _SALES), (_TAKE_REFUNDS, _REFUNDS)):
        await db.run(mark, asked.payout, asked.merchant)
        row = await db.one(total, asked.payout)
        assert row is not None
        sums.append(int(row[0]))
    return sums[0], sums[1]


async def _post(
    db: Transaction, row: Payout, kind: str, attempt: int, *, first: bool, now_s: int
) -> None:
    """The fee is taken once, with the first try."""
    fee_minor = row.fee_minor if first else 0
    lines = {
        chart.payable(row.merchant): row.net_minor + fee_minor,
        "fees": -fee_minor,
        chart.PSP_CLEARING: -row.net_minor,
    }
    reference = row.payout if attempt == 1 else f"{row.payout}:{attempt}"
    await funds.post(db, kind, reference, lines, row.currency, now_s)


async def _or_none(db: Transaction, name: str) -> Payout | None:
    row = await db.one(_PAYOUT, name)
    if row is None:
        return None
    return Payout(
        payout=row[0],
        merchant=row[1],
        currency=row[2],
        state=row[3],
        gross_minor=row[4],
        refunds_minor=row[5],
        fee_minor=row[6],
        net_minor=row[7],
        attempt=row[8],
    )


_PAYOUT = (
    "SELECT payout, merchant, currency, state, gross_minor, refunds_minor, fee_minor, net_minor,"
    " attempt FROM micro_payout WHERE payout = $1"
)
_INSERT = "INSERT INTO micro_payout VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)"
_STATE = "UPDATE micro_payout SET state = $2, attempt = $3 WHERE payout = $1"
_TAKE_SALES = "UPDATE micro_purchase SET payout = $1 WHERE merchant = $2 AND payout IS NULL"
_SALES = (
    "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM micro_purchase WHERE payout = $1"
)
_TAKE_REFUNDS = (
    "UPDATE micro_refund SET payout = $1 WHERE payout IS NULL AND capture IN"
    " (SELECT capture FROM micro_purchase WHERE merchant = $2)"
)
_REFUNDS = (
    "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM micro_refund WHERE payout = $1"
)
