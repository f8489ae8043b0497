"""System A, what a shopper and an operator read of visits: receipts, and trips page by page."""

from __future__ import annotations

from dataclasses import dataclass

from broker import store_rows
from broker.database import Transaction
from broker.routes import Call
from broker.systems import debts, trips


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLine:
    """``dispute_state``: "" of a line that nobody contested."""

    line_id: str
    gtin: str
    units: int
    unit: str
    confidence_permille: int
    seen: str
    total_minor: int
    dispute_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """GET /v1/trips/{trip}/receipt: total = captured + debt; refunds are named apart."""

    trip: str
    state: str
    merchant: str
    store: str
    purchase: str
    currency: str
    total_minor: int
    captured_minor: int
    refunded_minor: int
    debt_left_minor: int
    lines: list[ReceiptLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTrip:
    trip: str
    merchant: str
    store: str
    state: str
    purchase: str
    currency: str
    total_minor: int
    captured_minor: int
    above_shelf_minor: int
    created_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TripPage:
    """GET /v1/trips: ``after`` is where the next page starts."""

    trips: list[ListedTrip]
    after: str
    more: bool


async def receipt(db: Transaction, name: str) -> Receipt:
    """Raises ProblemError 404."""
    row = await trips.row_of(db, name)
    states: dict[str, str] = dict(await db.all(_DISPUTED, row.capture or ""))
    refunded_minor = await store_rows.refunded_minor(db, row.capture) if row.capture else 0
    owed = row.total_minor - row.captured_minor
    return Receipt(
        trip=row.trip,
        state=row.state.value,
        merchant=row.merchant,
        store=row.store,
        purchase=row.purchase,
        currency=row.currency,
        total_minor=row.total_minor,
        captured_minor=row.captured_minor,
        refunded_minor=refunded_minor,
        debt_left_minor=(await debts.debt(db, name)).left_minor if owed else 0,
        lines=[
            ReceiptLine(
                line_id=line_id,
                gtin=gtin,
                units=units,
                unit=unit,
                confidence_permille=permille,
                seen=seen,
                total_minor=total_minor,
                dispute_state=states.get(line_id, ""),
            )
            for line_id, gtin, units, unit, permille, seen, total_minor in await trips.lines_of(
                db, name
            )
        ],
    )


async def trips_page(db: Transaction, call: Call, after: str, limit: int) -> TripPage:
    """A merchant's key sees its own."""
    rows = await db.all(_PAGE, after, call.key.party, limit + 1)
    page = [ListedTrip(**store_rows.named(ListedTrip, row)) for row in rows[:limit]]
    last = page[-1].trip if page else after
    return TripPage(trips=page, after=last, more=len(rows) > limit)


_DISPUTED = (
    "SELECT l.line_id, d.state FROM dispute_line l JOIN dispute d ON d.dispute = l.dispute"
    " WHERE l.capture = $1"
)
_PAGE = (
    "SELECT trip, merchant, store, state, purchase, currency, total_minor, captured_minor,"
    " above_shelf_minor, created_s FROM trip WHERE trip > $1"
    " AND (CAST($2 AS TEXT) = '' OR merchant = $2) ORDER BY trip LIMIT $3"
)
