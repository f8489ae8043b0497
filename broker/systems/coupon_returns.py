"""System K, goods that come back: each piece gives back its share of the discount to its fund."""

from __future__ import annotations

from dataclasses import dataclass

from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import campaigns, coupon_rows, funds
from broker.systems.coupon_rows import Allocation
from broker.systems.coupons import LockState
from broker.systems.goods import equal_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRequest:
    """POST /v1/coupon-locks/{id}/returns: pieces of one line came back."""

    coupon_return: str
    line_id: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponReturn:
    """``discount_minor``: what the shopper does not get back, since it was never paid."""

    coupon_return: str
    coupon_lock: str
    line_id: str
    quantity: int
    discount_minor: int


async def give_back(db: Transaction, call: Call, asked: ReturnRequest) -> Answer:
    """The share of the pieces, at the merchant's cost.

    Raises:
        ProblemError: 404, 409 when it was not redeemed, 422 for more pieces than were bought.
    """
    row = await coupon_rows.locked_lock(db, call.named)
    known = await db.one(_RETURN, asked.coupon_return)
    if known is not None:
        if known[1:4] != (call.named, asked.line_id, asked.quantity):
            raise funds.same_id_other_content("return")
        return answer(201, _reply(known), replayed=True)
    if row.state != LockState.COMMITTED:
        raise ProblemError(409, "wrong-state", f"the coupon lock is {row.state}")
    before = await _returned_pieces(db, call.named, asked.line_id)
    discount_minor = 0
    for one in await coupon_rows.allocations(db, call.named):
        if one.line_id == asked.line_id:
            discount_minor += await _return_share(db, call, asked, one, before)
    done = (asked.coupon_return, call.named, asked.line_id, asked.quantity, discount_minor)
    await db.run("INSERT INTO coupon_return VALUES ($1, $2, $3, $4, $5, $6)", *done, call.now_s)
    return answer(201, _reply(done))


def share(one: Allocation, before: int, pieces: int) -> int:
    """What the next pieces give back, after some that came back already."""
    return sum(equal_parts(one.discount_minor, one.quantity)[before : before + pieces])


async def _return_share(
    db: Transaction, call: Call, asked: ReturnRequest, one: Allocation, before: int
) -> int:
    if before + asked.quantity > one.quantity:
        detail = f"{one.quantity - before} of the line are left to come back"
        raise ProblemError(422, "more-than-bought", detail, param="$.quantity")
    await campaigns.locked_row(db, one.campaign, call.now_s)
    minor = share(one, before, asked.quantity)
    if minor:
        capture = f"coupon:{call.named}:{one.campaign}"
        name = f"{asked.coupon_return}:{one.token_id}"
        await funds.give_back(db, capture, name, minor, "goods returned", call.now_s)
    await campaigns.note(db, one.token_id, "returned", call.now_s, minor)
    return minor


async def _returned_pieces(db: Transaction, lock: str, line: str) -> int:
    row = await db.one(_PIECES, lock, line)
    assert row is not None
    return int(row[0])


def _reply(row: tuple[object, ...]) -> CouponReturn:
    name, lock, line, quantity, minor = row
    return CouponReturn(
        coupon_return=str(name),
        coupon_lock=str(lock),
        line_id=str(line),
        quantity=int(str(quantity)),
        discount_minor=int(str(minor)),
    )


_RETURN = (
    "SELECT coupon_return, coupon_lock, line_id, quantity, discount_minor FROM coupon_return"
    " WHERE coupon_return = $1"
)
_PIECES = (
    "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) FROM coupon_return"
    " WHERE coupon_lock = $1 AND line_id = $2"
)
