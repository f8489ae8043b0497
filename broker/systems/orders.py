"""System G, the merchant's side: orders, their deadline, and the hold behind them.

The merchant reads its orders from its notices, accepts, and ships. One that is silent past its
deadline loses the order: what is still held goes back to the shopper by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker import store_rows
from broker.chart import receivable
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import HOLD_VALIDITY_S, HoldStatus
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import charges, funds, merchant_notices, merchants
from broker.systems.states import advance
from messages.money import Money

ACCEPT_S = 24 * 3600  # a merchant that has not answered by the next day is not there
SHIP_S = 5 * 24 * 3600  # from acceptance; ends before the hold's seven days do
LAPSED_AT_ONCE = 100


class OrderState(StrEnum):
    PLACED = "placed"
    ACCEPTED = "accepted"
    FULFILLED = "fulfilled"
    CANCELED = "canceled"
    CLOSED = "closed"  # part was shipped, the rest never came


class OrderSignal(StrEnum):
    ACCEPT = "accept"
    FULFILL = "fulfill"
    CANCEL = "cancel"
    CLOSE = "close"


ORDER_STATES: Mapping[tuple[OrderState, OrderSignal], OrderState] = {
    (OrderState.PLACED, OrderSignal.ACCEPT): OrderState.ACCEPTED,
    (OrderState.ACCEPTED, OrderSignal.ACCEPT): OrderState.ACCEPTED,
    (OrderState.ACCEPTED, OrderSignal.FULFILL): OrderState.FULFILLED,
    (OrderState.PLACED, OrderSignal.CANCEL): OrderState.CANCELED,
    (OrderState.ACCEPTED, OrderSignal.CANCEL): OrderState.CANCELED,
    (OrderState.CANCELED, OrderSignal.CANCEL): OrderState.CANCELED,
    (OrderState.ACCEPTED, OrderSignal.CLOSE): OrderState.CLOSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What becomes an order."""

    order_id: str
    checkout: str
    account: str
    merchant: str
    currency: str
    total_minor: int
    totals_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopOrder:
    """``authorised_minor``: what the shopper saw; never more is captured, over all shipments."""

    order_id: str
    checkout: str
    merchant: str
    state: str
    currency: str
    authorised_minor: int
    captured_minor: int
    deadline_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    order_id: str
    checkout: str
    merchant: str
    account: str
    currency: str
    state: OrderState
    hold: str
    authorised_minor: int
    captured_minor: int
    deadline_s: int


async def place(db: Transaction, asked: Placing, now_s: int) -> OrderRow:
    """Hold the total on the shopper's account, write the order, tell the merchant.

    Raises:
        ProblemError: 409, the id is another checkout's.
        LedgerRefusalError: the account is blocked or has no room.
    """
    if await db.one("SELECT 1 FROM shop_order WHERE order_id = $1", asked.order_id) is not None:
        raise funds.same_id_other_content("order")
    await charges.chargeable(db, asked.account, asked.currency, asked.total_minor, now_s)
    hold = funds.new_hold(
        f"order:{asked.order_id}",
        receivable(asked.account),
        Money(minor=asked.total_minor, currency=asked.currency),
        now_s=now_s,
        expires_s=now_s + HOLD_VALIDITY_S,
        visit=asked.order_id,
    )
    await funds.reserve(db, hold)
    head = (asked.order_id, asked.checkout, asked.merchant, asked.account, asked.currency)
    rest = (hold.hold, asked.total_minor, asked.totals_hash, now_s + ACCEPT_S, now_s)
    await db.run(_INSERT, *head, *rest)
    await merchant_notices.tell(db, asked.merchant, "order.placed", asked.order_id, now_s)
    return await row_of(db, asked.order_id)


async def accept(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The merchant will ship; from now on it has ``SHIP_S``."""
    row = await locked(db, call)
    after = advance(ORDER_STATES, row.state, OrderSignal.ACCEPT, "order")
    if row.state is OrderState.PLACED:
        await db.run(_ACCEPT, row.order_id, after, call.now_s + SHIP_S)
    return answer(200, reply(await row_of(db, row.order_id)))


async def cancel(db: Transaction, call: Call, _: Nothing) -> Answer:
    """By the merchant or the shopper's app, before anything was captured."""
    row = await locked(db, call)
    if row.captured_minor:
        detail = "part of it is on its way: it is returned, not canceled"
        raise ProblemError(409, "wrong-state", detail)
    after = advance(ORDER_STATES, row.state, OrderSignal.CANCEL, "order")
    await _end(db, row, after, "canceled", call.now_s)
    return answer(200, reply(await row_of(db, row.order_id)))


async def lapse(db: Transaction, now_s: int) -> int:
    """End orders whose merchants were silent past their deadline; how many. For housekeeping."""
    due = await db.all(_DUE, now_s, LAPSED_AT_ONCE)
    for (name,) in due:
        row = await row_of(db, name, " FOR UPDATE")
        if row.state not in (OrderState.PLACED, OrderState.ACCEPTED) or now_s < row.deadline_s:
            continue  # the merchant was faster
        signal = OrderSignal.CLOSE if row.captured_minor else OrderSignal.CANCEL
        after = advance(ORDER_STATES, row.state, signal, "order")
        await _end(db, row, after, "the merchant was silent", now_s)
    return len(due)


async def order(db: Transaction, call: Call, name: str) -> ShopOrder:
    """Raises ProblemError 404."""
    row = await row_of(db, name)
    merchants.check_party(call, row.merchant)
    return reply(row)


async def locked(db: Transaction, call: Call) -> OrderRow:
    """The order of the path, once no other transaction has it, if it is the key's own."""
    row = await row_of(db, call.path["id"], " FOR UPDATE")
    merchants.check_party(call, row.merchant)
    return row


async def row_of(db: Transaction, name: str, lock: str = "") -> OrderRow:
    return await _found(db, f"order_id = $1{lock}", name)


async def of_checkout(db: Transaction, checkout: str) -> OrderRow | None:
    row = await db.one("SELECT order_id FROM shop_order WHERE checkout = $1", checkout)
    return None if row is None else await row_of(db, row[0])


async def release(db: Transaction, row: OrderRow, reason: str, now_s: int) -> None:
    """Give back what the order still holds."""
    await store_rows.locked_account(db, row.account, now_s)
    hold = await funds.hold_of(db, row.hold, now_s)
    if hold.status is HoldStatus.HELD:
        await funds.release(db, hold, reason)


def reply(row: OrderRow) -> ShopOrder:
    return ShopOrder(
        order_id=row.order_id,
        checkout=row.checkout,
        merchant=row.merchant,
        state=row.state.value,
        currency=row.currency,
        authorised_minor=row.authorised_minor,
        captured_minor=row.captured_minor,
        deadline_s=row.deadline_s,
    )


async def _end(db: Transaction, row: OrderRow, after: OrderState, reason: str, now_s: int) -> None:
    await release(db, row, reason, now_s)
    await db.run("UPDATE shop_order SET state = $2 WHERE order_id = $1", row.order_id, after)
    await merchant_notices.tell(db, row.merchant, f"order.{after.value}", row.order_id, now_s)


async def _found(db: Transaction, where: str, value: str) -> OrderRow:
    row = await db.one(f"{_SELECT} WHERE {where}", value)
    if row is None:
        raise ProblemError(404, "unknown-order", "no order has this id")
    return OrderRow(
        order_id=row[0],
        checkout=row[1],
        merchant=row[2],
        account=row[3],
        currency=row[4],
        state=OrderState(row[5]),
        hold=row[6],
        authorised_minor=row[7],
        captured_minor=row[8],
        deadline_s=row[9],
    )


_SELECT = (
    "SELECT order_id, checkout, merchant, account, currency, state, hold, authorised_minor,"
    " captured_minor, deadline_s FROM shop_order"
)
_INSERT = (
    "INSERT INTO shop_order (order_id, checkout, merchant, account, currency, state, hold,"
    " authorised_minor, captured_minor, totals_hash, deadline_s, created_s)"
    " VALUES ($1, $2, $3, $4, $5, 'placed', $6, $7, 0, $8, $9, $10)"
)
_ACCEPT = "UPDATE shop_order SET state = $2, deadline_s = $3 WHERE order_id = $1"
_DUE = (
    "SELECT order_id FROM shop_order WHERE state IN ('placed', 'accepted') AND deadline_s <= $1"
    " ORDER BY order_id LIMIT $2"
)
