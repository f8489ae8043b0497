"""System A, the visit: entry, cart, the retailer's price, capture; or a debt, or nothing at all.

The retailer prices (``cloud_sync`` asks it); the broker never does. ``settle`` takes that price
once: its lines must be the final cart's, their sum the total, the purchase nobody else's. At most
the hold is captured, since that is what the shopper saw at the gate; the rest is a debt. A cart is
not edited once it is final; what was wrong is a dispute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from enum import StrEnum

from broker import store, store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import HoldStatus, LedgerRefusalError, Reason
from broker.problems import ProblemError
from broker.routes import Call, same_version
from broker.systems import debts, entries, events, funds
from broker.systems.entries import Decision, EntryRow
from broker.systems.merchants import check_party
from broker.systems.states import advance
from messages.contract import CaptureRequest, VoidRequest
from messages.money import Money

LAPSED_AT_ONCE = 100
ENTRIES_MAX = 20  # of one party
DRAFT, FINAL = "draft", "final"


class TripState(StrEnum):
    OPEN = "open"
    EXITED = "exited"  # the cart is final
    CAPTURED = "captured"
    DEBT = "debt"  # charged as far as the hold went
    VOID = "void"  # cost nothing, or nobody settled it


class TripSignal(StrEnum):
    FINISH = "finish"
    CAPTURE = "capture"
    FALL_SHORT = "fall short"
    VOID = "void"


TRIP_STATES: Mapping[tuple[TripState, TripSignal], TripState] = {
    (TripState.OPEN, TripSignal.FINISH): TripState.EXITED,
    (TripState.EXITED, TripSignal.CAPTURE): TripState.CAPTURED,
    (TripState.EXITED, TripSignal.FALL_SHORT): TripState.DEBT,
    (TripState.OPEN, TripSignal.VOID): TripState.VOID,
    (TripState.EXITED, TripSignal.VOID): TripState.VOID,
    (TripState.VOID, TripSignal.VOID): TripState.VOID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TripRequest:
    """POST /v1/trips. The first entry pays; the others of the party are let go."""

    trip: str
    entries: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TripLine:
    """``shelf_minor``: what the shelf said for all of it when it was taken; 0 = not known."""

    line_id: str
    gtin: str
    units: int
    unit: str = "piece"
    confidence_permille: int = 1000
    shelf_minor: int = 0
    seen: str = ""  # where the evidence is


@dataclass(frozen=True, slots=True, kw_only=True)
class TripCart:
    """PUT /v1/trips/{trip}/cart, If-Match. A final one is the last."""

    cart_state: str
    cart_lines: list[TripLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLine:
    line_id: str
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRequest:
    """POST /v1/trips/{trip}/settle: the retailer's price, discounts included."""

    purchase: str
    priced: list[PricedLine]
    total_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """``above_shelf_minor``: how much dearer than the shelf the price is; an alarm when not 0."""

    trip: str
    version: int
    merchant: str
    store: str
    state: str
    account_ref: str
    purchase: str
    currency: str
    total_minor: int
    captured_minor: int
    debt_minor: int
    above_shelf_minor: int
    capture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TripRow:
    trip: str
    merchant: str
    store: str
    account: str
    hold: str
    currency: str
    state: TripState
    version: int
    purchase: str
    total_minor: int
    captured_minor: int
    above_shelf_minor: int
    capture: str | None
    due_s: int


# --- effects ----------------------------------------------------------------------------------


async def begin(db: Transaction, call: Call, asked: TripRequest) -> Answer:
    """A visit begins with those who came in together.

    Raises:
        ProblemError: 404 without such an entry, 409 one of another trip, store, or turned away.
    """
    party = [await _entry(db, call, name) for name in sorted(set(asked.entries))]
    payer = next(row for row in party if row.entry == asked.entries[0])
    known = await row_or_none(db, asked.trip)
    if known is not None:
        if any(row.trip != asked.trip for row in party) or known.hold != payer.hold:
            raise funds.same_id_other_content("trip")
        return answer(201, await reply(db, known), replayed=True)
    for row in party:
        if row.trip or (row.merchant, row.store) != (payer.merchant, payer.store):
            raise ProblemError(409, "wrong-entry", "of another trip, or another store")
    await store_rows.locked_account(db, payer.account, call.now_s)
    hold = await funds.hold_of(db, payer.hold or "", call.now_s)
    head = (asked.trip, payer.merchant, payer.store, payer.account, payer.hold, hold.currency)
    if not await db.run(_INSERT, *head, hold.expires_s, call.now_s):
        raise funds.same_id_other_content("trip")
    for row in party:
        await db.run("UPDATE entry SET trip = $2 WHERE entry = $1", row.entry, asked.trip)
        if row is not payer:
            guest = VoidRequest(reason=f"a guest of {payer.entry}")
            await store.void_hold(db, row.hold or "", guest, call.now_s)
    return answer(201, await reply(db, await row_of(db, asked.trip)))


async def set_cart(db: Transaction, call: Call, asked: TripCart) -> Answer:
    """What was taken so far, or in the end.

    Raises:
        ProblemError: 404, 409 it was final, 412, 422 a line twice.
    """
    row = await locked(db, call)
    same_version(call, row.version)
    if row.state is not TripState.OPEN:
        raise ProblemError(409, "wrong-state", f"the trip is {row.state.value}: its cart is final")
    if len({line.line_id for line in asked.cart_lines}) != len(asked.cart_lines):
        raise ProblemError(422, "line-twice", "a line_id comes twice", param="$.cart_lines")
    await db.run("DELETE FROM trip_line WHERE trip = $1", row.trip)
    await db.many(_LINE, [(row.trip, *astuple(line)) for line in asked.cart_lines])
    final = asked.cart_state == FINAL
    after = advance(TRIP_STATES, row.state, TripSignal.FINISH, "trip") if final else row.state
    await db.run(_STATE, row.trip, after.value)
    return answer(200, await reply(db, await row_of(db, row.trip)))


async def settle(db: Transaction, call: Call, asked: SettleRequest) -> Answer:
    """Charge what the retailer's price says, as far as the hold goes.

    Raises:
        ProblemError: 404, 409 not final or priced otherwise before, 422 other lines or sum.
    """
    row = await locked(db, call)
    if row.purchase:
        return await _settled_before(db, row, asked)
    await _check_price(db, row, asked)
    await store_rows.locked_account(db, row.account, call.now_s)
    hold = await funds.hold_of(db, row.hold, call.now_s)
    held_minor = hold.amount_minor if hold.status is HoldStatus.HELD else 0
    paid_minor = min(asked.total_minor, held_minor)
    signal = TripSignal.CAPTURE if paid_minor == asked.total_minor else TripSignal.FALL_SHORT
    signal = signal if asked.total_minor else TripSignal.VOID
    after = advance(TRIP_STATES, row.state, signal, "trip")
    await db.many(_PRICE, [(row.trip, one.line_id, one.total_minor) for one in asked.priced])
    capture = await _capture(db, row, asked, paid_minor, call.now_s)
    if asked.total_minor > paid_minor:
        rest = Money(minor=asked.total_minor - paid_minor, currency=row.currency)
        await debts.owe(db, row.trip, row.account, row.merchant, rest, call.now_s)
    dearer = await db.one(_DEARER, row.trip)
    assert dearer is not None
    price = (asked.purchase, asked.total_minor, paid_minor, dearer[0], capture)
    await db.run(_SETTLED, row.trip, after.value, *price)
    return answer(201, await _told(db, await row_of(db, row.trip), call.now_s))


async def void(db: Transaction, call: Call, asked: VoidRequest) -> Answer:
    """Nothing is charged: the hold goes back.

    Raises:
        ProblemError: 404, 409 it was charged.
    """
    row = await locked(db, call)
    after = advance(TRIP_STATES, row.state, TripSignal.VOID, "trip")
    await store.void_hold(db, row.hold, asked, call.now_s)
    await db.run(_STATE, row.trip, after.value)
    return answer(200, await reply(db, await row_of(db, row.trip)))


async def lapse(db: Transaction, now_s: int) -> int:
    """End trips that nobody settled while their hold lived; how many. For housekeeping."""
    due = await db.all(_DUE, now_s, LAPSED_AT_ONCE)
    for (name,) in due:
        row = await row_of(db, name, " FOR UPDATE")
        if row.state in (TripState.OPEN, TripState.EXITED):
            await store_rows.locked_account(db, row.account, now_s)  # writes the expiry down
            await db.run(_STATE, name, advance(TRIP_STATES, row.state, TripSignal.VOID, "trip"))
    return len(due)


# --- questions --------------------------------------------------------------------------------


async def trip(db: Transaction, call: Call, name: str) -> Trip:
    """Raises ProblemError 404."""
    row = await row_of(db, name)
    check_party(call, row.merchant)
    return await reply(db, row)


async def reply(db: Transaction, row: TripRow) -> Trip:
    return Trip(
        trip=row.trip,
        version=row.version,
        merchant=row.merchant,
        store=row.store,
        state=row.state.value,
        account_ref=await entries.ref_of(db, row.account, row.merchant),
        purchase=row.purchase,
        currency=row.currency,
        total_minor=row.total_minor,
        captured_minor=row.captured_minor,
        debt_minor=row.total_minor - row.captured_minor,
        above_shelf_minor=row.above_shelf_minor,
        capture=row.capture or "",
    )


async def locked(db: Transaction, call: Call) -> TripRow:
    """The trip of the path, once no other transaction has it, if it is the key's own."""
    row = await row_of(db, call.named, " FOR UPDATE")
    check_party(call, row.merchant)
    return row


async def row_of(db: Transaction, name: str, lock: str = "") -> TripRow:
    """Raises ProblemError 404."""
    found = await row_or_none(db, name, lock)
    if found is None:
        raise ProblemError(404, "unknown-trip", "no trip has this id")
    return found


async def row_or_none(db: Transaction, name: str, lock: str = "") -> TripRow | None:
    row = await db.one(f"{_SELECT} WHERE trip = $1{lock}", name)
    if row is None:
        return None
    found = TripRow(**store_rows.named(TripRow, row))
    return replace(found, state=TripState(found.state))


# --- helpers ----------------------------------------------------------------------------------


async def _entry(db: Transaction, call: Call, name: str) -> EntryRow:
    row = await entries.row_or_none(db, name, " FOR UPDATE")
    if row is None or (call.key.party and call.key.party != row.merchant):
        raise ProblemError(404, "unknown-entry", "no entry has this id")
    if row.decision is Decision.DENY:
        raise ProblemError(409, "wrong-entry", "this one was turned away")
    return row


async def _check_price(db: Transaction, row: TripRow, asked: SettleRequest) -> None:
    if row.state is not TripState.EXITED:
        raise ProblemError(409, "wrong-state", f"the trip is {row.state.value}: it has no price")
    if asked.currency != row.currency:
        detail = f"the trip is in {row.currency}"
        raise LedgerRefusalError(Reason.CURRENCY_MISMATCH, detail, "$.currency")
    if (total := sum(line.total_minor for line in asked.priced)) != asked.total_minor:
        detail = f"the lines add up to {total}, not to {asked.total_minor}"
        raise LedgerRefusalError(Reason.LINES_DO_NOT_ADD_UP, detail, "$.priced")
    cart = sorted(name for (name,) in await db.all(_LINE_IDS, row.trip))
    if sorted(line.line_id for line in asked.priced) != cart:
        detail = "the price has other lines than the final cart"
        raise ProblemError(422, "lines-differ", detail, param="$.priced")
    if await db.one(_TAKEN, row.merchant, asked.purchase) is not None:
        raise ProblemError(409, "purchase-settled", "another trip has this purchase")


async def _settled_before(db: Transaction, row: TripRow, asked: SettleRequest) -> Answer:
    same = (asked.purchase, asked.total_minor) == (row.purchase, row.total_minor)
    if not same:
        raise funds.same_id_other_content("price")
    return answer(201, await reply(db, row), replayed=True)


async def _capture(
    db: Transaction, row: TripRow, asked: SettleRequest, paid_minor: int, now_s: int
) -> str | None:
    """By the hold; a visit that costs nothing gives it back."""
    if not paid_minor:
        await store.void_hold(db, row.hold, VoidRequest(reason="nothing to pay"), now_s)
        return None
    wish = CaptureRequest(
        capture=f"trip:{row.trip}",
        merchant=row.merchant,
        purchase=asked.purchase,
        amount_minor=paid_minor,
        currency=row.currency,
        line_totals=[paid_minor],
    )
    await store.capture_hold(db, row.hold, wish, now_s)
    return wish.capture


async def _told(db: Transaction, row: TripRow, now_s: int) -> Trip:
    done = await reply(db, row)
    said: dict[str, object] = {
        name: getattr(done, name) for name in ("purchase", "total_minor", "captured_minor")
    }
    kind = "trip.debt" if row.state is TripState.DEBT else "trip.settled"
    await events.tell(db, f"{events.MERCHANT}{row.merchant}", kind, row.trip, now_s, said)
    return done


async def lines_of(
    db: Transaction, name: str
) -> Sequence[tuple[str, str, int, str, int, str, int]]:
    """Line id, GTIN, units, unit, confidence in permille, evidence, total."""
    rows: Sequence[tuple[str, str, int, str, int, str, int]] = await db.all(_LINES, name)
    return rows


_SELECT = (
    "SELECT trip, merchant, store, account, hold, currency, state, version, purchase, total_minor,"
    " captured_minor, above_shelf_minor, capture, due_s FROM trip"
)
_INSERT = (
    "INSERT INTO trip VALUES ($1, $2, $3, $4, $5, $6, 'open', 1, '', 0, 0, 0, NULL, $7, $8)"
    " ON CONFLICT DO NOTHING"
)
_LINE = "INSERT INTO trip_line VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)"
_LINE_IDS = "SELECT line_id FROM trip_line WHERE trip = $1"
_LINES = (
    "SELECT line_id, gtin, units, unit, confidence_permille, evidence, total_minor"
    " FROM trip_line WHERE trip = $1 ORDER BY line_id"
)
_STATE = "UPDATE trip SET state = $2, version = version + 1 WHERE trip = $1"
_PRICE = "UPDATE trip_line SET total_minor = $3 WHERE trip = $1 AND line_id = $2"
_DEARER = """
SELECT CAST(COALESCE(SUM(CASE WHEN shelf_minor > 0 AND total_minor > shelf_minor
    THEN total_minor - shelf_minor ELSE 0 END), 0) AS BIGINT) FROM trip_line WHERE trip = $1
"""
_SETTLED = (
    "UPDATE trip SET state = $2, version = version + 1, purchase = $3, total_minor = $4,"
    " captured_minor = $5, above_shelf_minor = $6, capture = $7 WHERE trip = $1"
)
_TAKEN = "SELECT 1 FROM trip WHERE merchant = $1 AND purchase = $2"
_DUE = (
    "SELECT trip FROM trip WHERE state IN ('open', 'exited') AND due_s <= $1"
    " ORDER BY due_s LIMIT $2"
)
