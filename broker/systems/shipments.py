"""System G, on the way: shipments are packed, handed over, delivered, perhaps returned.

Handing over captures the shipment's share of the order: its lines, and with the last one whatever
is left of the total, so that all shipments together are the total to the cent. Events come from
carriers, twice and late: an event id counts once, and one that says less than is known does
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker import accounts, store_rows
from broker.chart import payable
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import HoldStatus
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import charges, checkouts, events, funds, merchant_notices, merchants, orders
from broker.systems.orders import ORDER_STATES, OrderRow, OrderSignal, OrderState
from broker.systems.states import advance

SHIPMENTS_MAX = 50
EVENTS_MAX = 200  # of one shipment


class ShipmentState(StrEnum):
    PACKED = "packed"
    HANDED_OVER = "handed_over"
    DELIVERED = "delivered"
    RETURNED = "returned"


SHIPMENT_STATES: Mapping[tuple[ShipmentState, ShipmentState], ShipmentState] = {
    (ShipmentState.PACKED, ShipmentState.HANDED_OVER): ShipmentState.HANDED_OVER,
    (ShipmentState.PACKED, ShipmentState.DELIVERED): ShipmentState.DELIVERED,
    (ShipmentState.HANDED_OVER, ShipmentState.DELIVERED): ShipmentState.DELIVERED,
    (ShipmentState.HANDED_OVER, ShipmentState.RETURNED): ShipmentState.RETURNED,
    (ShipmentState.DELIVERED, ShipmentState.RETURNED): ShipmentState.RETURNED,
}
_ORDER = list(ShipmentState)  # what comes later says more


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentRequest:
    """POST /v1/orders/{order}/shipments: lines that are packed together."""

    shipment: str
    line_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """``amount_minor``: captured when it is handed over; 0 before."""

    order_id: str
    shipment: str
    state: str
    line_ids: list[str]
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentEventRequest:
    """POST /v1/orders/{order}/shipments/{shipment}/events, by the merchant or its carrier."""

    event: str
    happened: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    shipment: str
    state: ShipmentState
    line_ids: list[str]
    amount_minor: int
    fee_minor: int


async def pack(db: Transaction, call: Call, asked: ShipmentRequest) -> Answer:
    """Lines of an accepted order, each in one shipment.

    Raises:
        ProblemError: 409 not accepted, or a line is in another shipment; 422 an unknown line.
    """
    row = await orders.locked(db, call)
    known = await _row(db, row.order_id, asked.shipment)
    if known is not None:
        if known.line_ids != sorted(asked.line_ids):
            raise funds.same_id_other_content("shipment")
        return answer(201, _reply(row, known), replayed=True)
    if row.state is not OrderState.ACCEPTED:
        raise ProblemError(409, "wrong-state", f"the order is {row.state.value}, not accepted")
    packed = await _rows(db, row.order_id)
    if len(packed) >= SHIPMENTS_MAX:
        raise ProblemError(409, "too-many-shipments", f"{SHIPMENTS_MAX} are the most")
    wanted = set(asked.line_ids)
    if unknown := sorted(wanted - set(await _lines(db, row))):
        detail = f"the order has no line {unknown[0]}"
        raise ProblemError(422, "unknown-line", detail, param="$.line_ids")
    if taken := wanted & {name for one in packed for name in one.line_ids}:
        detail = f"line {sorted(taken)[0]} is in another shipment"
        raise ProblemError(409, "line-shipped", detail, param="$.line_ids")
    await db.run(_INSERT, row.order_id, asked.shipment, "packed", " ".join(sorted(wanted)))
    made = await _row(db, row.order_id, asked.shipment)
    assert made is not None
    return answer(201, _reply(row, made))


async def event(db: Transaction, call: Call, asked: ShipmentEventRequest) -> Answer:
    """What happened to a shipment; the same event again, or an earlier one late, changes nothing.

    Raises:
        ProblemError: 404; 409 what cannot follow, or a hold that is over.
        LedgerRefusalError: never more than was authorised.
    """
    order = await orders.locked(db, call)
    found = await _row(db, order.order_id, call.path["shipment"])
    if found is None:
        raise ProblemError(404, "unknown-shipment", "the order has no such shipment")
    heard = await db.all(_EVENTS, order.order_id, found.shipment)
    same = [status for name, status in heard if name == asked.event]
    if same:
        if same[0] != asked.happened:
            raise funds.same_id_other_content("event")
        return answer(200, _reply(order, found), replayed=True)
    if len(heard) >= EVENTS_MAX:
        raise ProblemError(409, "too-many-events", f"{EVENTS_MAX} of one shipment are the most")
    status = ShipmentState(asked.happened)
    news = _ORDER.index(status) > _ORDER.index(found.state)
    if news:
        found = await _advanced(db, order, found, status, call.now_s)
    given = (order.order_id, found.shipment, asked.event, asked.happened, int(news), call.now_s)
    await db.run("INSERT INTO shipment_event VALUES ($1, $2, $3, $4, $5, $6)", *given)
    return answer(200, _reply(await orders.row_of(db, order.order_id), found))


async def shipment(db: Transaction, call: Call, order_id: str, name: str) -> Shipment:
    order = await orders.row_of(db, order_id)
    merchants.check_party(call, order.merchant)
    found = await _row(db, order_id, name)
    if found is None:
        raise ProblemError(404, "unknown-shipment", "the order has no such shipment")
    return _reply(order, found)


# --- helpers ----------------------------------------------------------------------------------


async def _advanced(
    db: Transaction, order: OrderRow, found: _Row, status: ShipmentState, now_s: int
) -> _Row:
    after = advance(SHIPMENT_STATES, found.state, status, "shipment")
    await db.run(_STATE, order.order_id, found.shipment, after)
    if found.state is ShipmentState.PACKED:
        await _capture(db, order, found, now_s)
    elif after is ShipmentState.RETURNED:
        await _give_back(db, order, found, now_s)
    made = await _row(db, order.order_id, found.shipment)
    assert made is not None
    about, data = f"{order.order_id}/{found.shipment}", {"amount_minor": made.amount_minor}
    await events.tell(
        db, f"{events.MERCHANT}{order.merchant}", f"shipment.{after.value}", about, now_s, data
    )
    return made


async def _capture(db: Transaction, order: OrderRow, found: _Row, now_s: int) -> None:
    """Take the shipment's share out of the order's hold; with the last one all that is left."""
    await store_rows.locked_account(db, order.account, now_s)
    hold = await funds.hold_of(db, order.hold, now_s)
    if hold.status is not HoldStatus.HELD:
        detail = f"the order's hold is {hold.status.value}: nothing can be captured"
        raise ProblemError(409, "hold-over", detail)
    lines = await _lines(db, order)
    shipped = {
        name for one in await _rows(db, order.order_id, handed=True) for name in one.line_ids
    }
    last = shipped | set(found.line_ids) >= set(lines)
    share_minor = sum(lines[name] for name in found.line_ids)
    amount_minor = hold.amount_minor if last else min(share_minor, hold.amount_minor)
    left_minor = hold.amount_minor - amount_minor
    await db.run("UPDATE hold SET amount_minor = $2 WHERE hold = $1", hold.hold, left_minor)
    await accounts.hold_more(db, hold.account, hold.currency, -amount_minor)
    if last:
        await funds.release(db, await funds.hold_of(db, order.hold, now_s), "all shipped")
        after = advance(ORDER_STATES, order.state, OrderSignal.FULFILL, "order")
        await db.run("UPDATE shop_order SET state = $2 WHERE order_id = $1", order.order_id, after)
        await merchant_notices.tell(db, order.merchant, "order.fulfilled", order.order_id, now_s)
    if not amount_minor:
        return
    fee_minor = (await merchants.merchant(db, order.merchant)).fee_minor(amount_minor)
    lines_of = {
        hold.account: amount_minor,
        payable(order.merchant): fee_minor - amount_minor,
        "fees": -fee_minor,
    }
    reference = f"{order.order_id}/{found.shipment}"
    journal = await funds.post(db, "shipment", reference, lines_of, order.currency, now_s)
    await db.run(_CAPTURED, order.order_id, found.shipment, amount_minor, fee_minor, journal)
    await db.run(_ADD_CAPTURED, order.order_id, amount_minor)


async def _give_back(db: Transaction, order: OrderRow, found: _Row, now_s: int) -> None:
    """A parcel that came back is paid back, at the merchant's cost."""
    if not found.amount_minor:
        return
    reference = f"{order.order_id}/{found.shipment}"
    debits = {payable(order.merchant): found.amount_minor}
    journal = await charges.give_back(
        db, order.account, "shipment-return", reference, debits, order.currency, now_s
    )
    await db.run(_RETURNED, order.order_id, found.shipment, journal)


async def _lines(db: Transaction, order: OrderRow) -> dict[str, int]:
    """The order's lines with their prices, as the merchant signed them."""
    row = await db.one("SELECT offer FROM checkout WHERE checkout = $1", order.checkout)
    assert row is not None
    return {line.line_id: line.total_minor for line in checkouts.read_offer(row[0]).lines}


async def _row(db: Transaction, order_id: str, name: str) -> _Row | None:
    row = await db.one(f"{_SELECT} WHERE order_id = $1 AND shipment = $2", order_id, name)
    return None if row is None else _read(row)


async def _rows(db: Transaction, order_id: str, *, handed: bool = False) -> list[_Row]:
    more = " AND state <> 'packed'" if handed else ""
    return [_read(row) for row in await db.all(f"{_SELECT} WHERE order_id = $1{more}", order_id)]


def _read(row: tuple[str, str, str, int, int]) -> _Row:
    return _Row(
        shipment=row[0],
        state=ShipmentState(row[1]),
        line_ids=row[2].split(),
        amount_minor=row[3],
        fee_minor=row[4],
    )


def _reply(order: OrderRow, row: _Row) -> Shipment:
    return Shipment(
        order_id=order.order_id,
        shipment=row.shipment,
        state=row.state.value,
        line_ids=row.line_ids,
        amount_minor=row.amount_minor,
    )


_SELECT = "SELECT shipment, state, line_ids, amount_minor, fee_minor FROM shipment"
_INSERT = "INSERT INTO shipment VALUES ($1, $2, $3, $4, 0, 0, NULL, NULL)"
_EVENTS = "SELECT event, status FROM shipment_event WHERE order_id = $1 AND shipment = $2"
_STATE = "UPDATE shipment SET state = $3 WHERE order_id = $1 AND shipment = $2"
_CAPTURED = (
    "UPDATE shipment SET amount_minor = $3, fee_minor = $4, journal = $5"
    " WHERE order_id = $1 AND shipment = $2"
)
_ADD_CAPTURED = "UPDATE shop_order SET captured_minor = captured_minor + $2 WHERE order_id = $1"
_RETURNED = "UPDATE shipment SET returned_journal = $3 WHERE order_id = $1 AND shipment = $2"
