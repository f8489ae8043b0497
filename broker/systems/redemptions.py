"""System B, the taking: which lines of a cart the sponsor pays, piece by piece.

Under the lock of the sponsor's budget the cart is covered in its order: a piece whose kind, price
and number are within the grant's limits, this interval's rest and what the budget has free is the
sponsor's, every other piece the consumer's, exactly. What the sponsor will pay is held; it is paid
when the goods are handed over or shipped, and then, once, the sponsor is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple

from broker import accounts, store
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import HoldStatus
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import events, funds, invitations, item_stores
from broker.systems.goods import CartLine, normal, unit_prices
from broker.systems.item_stores import Params, StoreRow
from broker.systems.merchants import check_party
from broker.systems.redemption_types import (
    REDEMPTION_STATES,
    CoveredLine,
    FulfilRequest,
    Limits,
    Redemption,
    RedemptionRequest,
    RedemptionRow,
    RedemptionSignal,
    RedemptionState,
)
from broker.systems.states import advance
from messages.contract import CaptureRequest
from messages.money import Money

RESERVED_S = 6 * 3600  # a visit; what is shipped is reserved longer
SHIPPING_S = 14 * 24 * 3600


# --- rules ------------------------------------------------------------------------------------


def cover(lines: Sequence[CartLine], params: Params, left: Limits) -> list[CoveredLine]:
    """Piece by piece in the cart's order, while the limits last."""
    items, amount_minor = left.items, left.amount_minor
    covered = list[CoveredLine]()
    for line in lines:
        eligible = line.gtin in params.gtins or line.category in params.categories
        taken = list[int]()
        for price in unit_prices(line) if eligible else ():
            if len(taken) < items and price <= left.item_minor:
                if sum(taken) + price > amount_minor:
                    break
                taken.append(price)
        items, amount_minor = items - len(taken), amount_minor - sum(taken)
        covered.append(_covered(line, taken))
    return covered


def _covered(line: CartLine, taken: Sequence[int]) -> CoveredLine:
    return CoveredLine(
        line_id=line.line_id,
        gtin=line.gtin,
        quantity=line.quantity,
        total_minor=line.total_minor,
        covered_quantity=len(taken),
        covered_minor=sum(taken),
    )


# --- effects ----------------------------------------------------------------------------------


async def reserve(db: Transaction, call: Call, asked: RedemptionRequest) -> Answer:
    """Cover what the limits allow, and hold it on the budget.

    Raises:
        ProblemError: 404, or 409 for a revoked grant, a store that is not open, another place.
    """
    grant = await invitations.grant_row(db, asked.grant)
    sponsor = await item_stores.locked_row(db, grant.item_store, call.now_s)
    known = await _row_or_none(db, asked.redemption)
    if known is not None:
        if (known.grant, known.visit) != (asked.grant, asked.visit):
            raise funds.same_id_other_content("redemption")
        return answer(201, await _reply(db, call, known), replayed=True)
    await _check_usable(db, call, sponsor, asked)
    left = await _left(db, call, sponsor, asked.grant)
    lines = cover(normal(asked.lines), sponsor.params, left)
    row = _new(asked, sponsor, lines, call.now_s)
    if row.hold is not None:
        await _hold(db, call, sponsor, row)
    await _insert(db, row, lines, call.now_s)
    return answer(201, await _reply(db, call, row))


async def fulfil(db: Transaction, call: Call, asked: FulfilRequest) -> Answer:
    """The merchant gets the sponsor's part, and the consumer's from its own hold; one notice.

    Raises:
        ProblemError: 404, 409 when it is not reserved any more, or the consumer's part is unpaid.
    """
    check_party(call, asked.merchant)
    row, sponsor = await _locked(db, call, call.named)
    if row.state is RedemptionState.FULFILLED:
        return await _fulfilled_before(db, call, row, asked)
    state = advance(REDEMPTION_STATES, row.state, RedemptionSignal.FULFIL, "redemption")
    hold = await funds.hold_of(db, row.hold or "", call.now_s)
    request = _capture(asked.capture, asked, row.sponsor_minor, sponsor.currency)
    journal = await funds.capture(db, hold, request, call.now_s)
    if row.consumer_minor and asked.consumer_hold:
        own = _capture(f"{asked.capture}:own", asked, row.consumer_minor, sponsor.currency)
        await store.capture_hold(db, asked.consumer_hold, own, call.now_s)
    await db.run(_FULFILLED, row.redemption, state.value, asked.handover)
    await _tell(db, row, sponsor, journal, call.now_s)
    return answer(200, await _reply(db, call, await _row(db, row.redemption)))


async def release(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Put back, or not shipped: the sponsor's money is free again."""
    row, _sponsor = await _locked(db, call, call.named)
    if row.state is not RedemptionState.RELEASED:
        after = advance(REDEMPTION_STATES, row.state, RedemptionSignal.RELEASE, "redemption")
        hold = await funds.hold_of(db, row.hold or "", call.now_s)
        await funds.release(db, hold, "not taken")
        await db.run(_STATE, row.redemption, after.value)
    return answer(200, await _reply(db, call, await _row(db, row.redemption)))


async def redemption(db: Transaction, call: Call, name: str) -> Redemption:
    """A redemption with its lines; raises ProblemError 404."""
    return await _reply(db, call, await _row(db, name))


# --- helpers ----------------------------------------------------------------------------------


async def _check_usable(
    db: Transaction, call: Call, sponsor: StoreRow, asked: RedemptionRequest
) -> None:
    item_stores.check_usable(sponsor, call.now_s, asked.store)
    if not (await invitations.grant_row(db, asked.grant)).active:  # read under the lock
        raise ProblemError(409, "grant-revoked", "the sponsor took the grant back")
    if asked.ship_to and not sponsor.params.ship:
        detail = "this sponsor pays what is taken along, nothing is shipped"
        raise ProblemError(409, "no-shipping", detail, param="$.ship_to")


async def _left(db: Transaction, call: Call, sponsor: StoreRow, grant: str) -> Limits:
    """What this grant may still take in this interval, and the budget has free."""
    used = await db.one(_USED, grant, sponsor.interval_no(call.now_s))
    assert used is not None
    state = await accounts.state(db, sponsor.account, sponsor.currency, call.now_s)
    free_minor = state.balance_minor - state.held_minor
    return Limits(
        items=sponsor.params.max_items - used[0],
        amount_minor=min(sponsor.params.max_amount_minor - used[1], free_minor),
        item_minor=sponsor.params.max_item_minor,
    )


def _new(
    asked: RedemptionRequest, sponsor: StoreRow, lines: Sequence[CoveredLine], now_s: int
) -> RedemptionRow:
    sponsor_minor = sum(line.covered_minor for line in lines)
    signal = RedemptionSignal.COVER if sponsor_minor else RedemptionSignal.REFUSE
    state = advance(REDEMPTION_STATES, RedemptionState.REQUESTED, signal, "redemption")
    return RedemptionRow(
        redemption=asked.redemption,
        grant=asked.grant,
        store=asked.store,
        visit=asked.visit,
        interval_no=sponsor.interval_no(now_s),
        sponsor_minor=sponsor_minor,
        consumer_minor=sum(line.total_minor for line in lines) - sponsor_minor,
        hold=f"redemption:{asked.redemption}" if sponsor_minor else None,
        ship_to=asked.ship_to,
        handover="",
        state=state,
    )


async def _hold(db: Transaction, call: Call, sponsor: StoreRow, row: RedemptionRow) -> None:
    lasts_s = SHIPPING_S if row.ship_to else RESERVED_S
    hold = funds.new_hold(
        row.hold or "",
        sponsor.account,
        Money(minor=row.sponsor_minor, currency=sponsor.currency),
        now_s=call.now_s,
        expires_s=call.now_s + lasts_s,
        visit=row.visit,
    )
    await funds.reserve(db, hold)


async def _insert(
    db: Transaction, row: RedemptionRow, lines: Sequence[CoveredLine], now_s: int
) -> None:
    who = (row.redemption, row.grant, row.store, row.visit, row.interval_no)
    money = (row.sponsor_minor, row.consumer_minor, row.hold)
    await db.run(_INSERT, *who, *money, row.ship_to, row.handover, row.state.value, now_s)
    rows = [(row.redemption, place, *astuple(line)) for place, line in enumerate(lines)]
    await db.many("INSERT INTO redemption_line VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", rows)


async def _tell(
    db: Transaction, row: RedemptionRow, sponsor: StoreRow, journal: int, now_s: int
) -> None:
    """The sponsor's notice; its table allows one a redemption. Never who took it."""
    items = [
        {"gtin": line.gtin, "quantity": line.covered_quantity, "covered_minor": line.covered_minor}
        for line in await _lines(db, row.redemption)
        if line.covered_quantity
    ]
    given = (row.redemption, journal, now_s, json.dumps(items))
    await db.run("INSERT INTO sponsor_notice VALUES ($1, $2, $3, $4)", *given)
    party = f"{events.SPONSOR}{sponsor.organizer}"
    said: dict[str, object] = {
        "item_store": sponsor.item_store,
        "sponsor_minor": row.sponsor_minor,
        "currency": sponsor.currency,
        "handover": row.handover,
    }
    if sponsor.params.privacy == "items":
        said["items"] = items
    await events.tell(db, party, "redemption.fulfilled", row.redemption, now_s, said)


async def _fulfilled_before(
    db: Transaction, call: Call, row: RedemptionRow, asked: FulfilRequest
) -> Answer:
    known = await db.one("SELECT capture FROM capture WHERE hold = $1", row.hold)
    if known is None or known[0] != asked.capture:
        raise ProblemError(409, "wrong-state", "the redemption was fulfilled by another capture")
    return answer(200, await _reply(db, call, row), replayed=True)


async def _locked(db: Transaction, call: Call, name: str) -> tuple[RedemptionRow, StoreRow]:
    row = await _row(db, name)
    grant = await invitations.grant_row(db, row.grant)
    sponsor = await item_stores.locked_row(db, grant.item_store, call.now_s)
    row = await _row(db, name)
    if row.state is RedemptionState.RESERVED:
        hold = await funds.hold_of(db, row.hold or "", call.now_s)
        if hold.status is HoldStatus.EXPIRED:
            after = advance(REDEMPTION_STATES, row.state, RedemptionSignal.EXPIRE, "redemption")
            await db.run(_STATE, name, after.value)
            row = await _row(db, name)
    return row, sponsor


async def _reply(db: Transaction, call: Call, row: RedemptionRow) -> Redemption:
    sponsor = await item_stores.store_row(
        db, (await invitations.grant_row(db, row.grant)).item_store
    )
    state = row.state
    if state is RedemptionState.RESERVED and row.hold:
        hold = await funds.hold_of(db, row.hold, call.now_s)
        if hold.status is HoldStatus.EXPIRED:
            state = advance(REDEMPTION_STATES, state, RedemptionSignal.EXPIRE, "redemption")
    return Redemption(
        redemption=row.redemption,
        grant=row.grant,
        state=state.value,
        currency=sponsor.currency,
        sponsor_minor=row.sponsor_minor,
        consumer_minor=row.consumer_minor,
        handover=row.handover,
        lines=await _lines(db, row.redemption),
    )


async def _lines(db: Transaction, name: str) -> list[CoveredLine]:
    return [
        CoveredLine(
            line_id=line_id,
            gtin=gtin,
            quantity=quantity,
            total_minor=total_minor,
            covered_quantity=covered,
            covered_minor=covered_minor,
        )
        for line_id, gtin, quantity, total_minor, covered, covered_minor in await db.all(
            _LINES, name
        )
    ]


async def _row(db: Transaction, name: str) -> RedemptionRow:
    row = await _row_or_none(db, name)
    if row is None:
        raise ProblemError(404, "unknown-redemption", "no redemption has this id")
    return row


async def _row_or_none(db: Transaction, name: str) -> RedemptionRow | None:
    row = await db.one(_SELECT, name)
    if row is None:
        return None
    return RedemptionRow(
        redemption=row[0],
        grant=row[1],
        store=row[2],
        visit=row[3],
        interval_no=row[4],
        sponsor_minor=row[5],
        consumer_minor=row[6],
        hold=row[7],
        ship_to=row[8],
        handover=row[9],
        state=RedemptionState(row[10]),
    )


def _capture(name: str, asked: FulfilRequest, amount_minor: int, currency: str) -> CaptureRequest:
    return CaptureRequest(
        capture=name,
        merchant=asked.merchant,
        purchase=asked.purchase,
        amount_minor=amount_minor,
        currency=currency,
        line_totals=[amount_minor],
    )


_SELECT = (
    "SELECT redemption, item_grant, store, visit, interval_no, sponsor_minor, consumer_minor, hold,"
    " ship_to, handover, state FROM redemption WHERE redemption = $1"
)
_INSERT = "INSERT INTO redemption VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_STATE = "UPDATE redemption SET state = $2 WHERE redemption = $1"
_FULFILLED = "UPDATE redemption SET state = $2, handover = $3 WHERE redemption = $1"
_LINES = (
    "SELECT line_id, gtin, quantity, total_minor, covered_quantity, covered_minor"
    " FROM redemption_line WHERE redemption = $1 ORDER BY place"
)
_USED = """
SELECT CAST(COALESCE(SUM(l.covered_quantity), 0) AS BIGINT),
    CAST(COALESCE(SUM(l.covered_minor), 0) AS BIGINT)
FROM redemption r JOIN redemption_line l ON l.redemption = r.redemption
JOIN hold h ON h.hold = r.hold
WHERE r.item_grant = $1 AND r.interval_no = $2
    AND (r.state = 'fulfilled' OR (r.state = 'reserved' AND h.status = 'held'))
"""
