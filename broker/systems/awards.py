"""System F, after the close: the winner confirms and delivers, or the next one is asked.

What the customer paid lies in ``bid_margin``; a delivered award is paid out of it, and what is left
there is our margin. A default costs the bidder what the next bid is dearer, at most a tenth of its
own, and us the rest; the customer's price stands. When nobody is left the customer gets all back.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.chart import payable
from broker.database import Row, Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import bids, charges, funds, merchant_notices, merchants
from broker.systems.bid_rules import (
    AWARD_STATES,
    CONFIRM_S,
    AwardSignal,
    AwardState,
    LoggedBid,
    RequestSignal,
)
from broker.systems.states import advance

DELIVER_S = 7 * 24 * 3600  # from confirmation
DEPOSIT_PERMILLE = 100  # of its own bid: the most that a default costs a bidder
LAPSED_AT_ONCE = 50
MARGIN = "bid_margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """What a winner is asked to do, for what. ``penalty_minor``: of a default."""

    request: str
    rank: int
    bid_id: str
    merchant: str
    total_minor: int
    state: str
    deadline_s: int
    penalty_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What a customer bought. ``price_minor`` stands, whoever delivers."""

    sale: str
    account: str
    request: str
    price_minor: int
    currency: str
    state: str


async def first_award(db: Transaction, request: str, ranking: list[LoggedBid], now_s: int) -> None:
    """Offer a closed request to its best bidder, or give the customer's money back."""
    if ranking:
        await bids.signal(db, request, RequestSignal.AWARD)
        await _offer(db, request, 1, ranking[0], now_s)
    else:
        await _refund(db, request, now_s)


async def confirm(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The winner will deliver."""
    row = await _own(db, call)
    after = advance(AWARD_STATES, AwardState(row[5]), AwardSignal.CONFIRM, "award")
    if row[5] == AwardState.OFFERED and call.now_s >= row[6]:
        raise ProblemError(409, "award-over", "too late: the next one is asked")
    if row[5] == AwardState.OFFERED:
        await db.run(_STATE, row[0], row[1], after, call.now_s + DELIVER_S)
    return answer(200, await award(db, call, call.named))


async def fulfill(db: Transaction, call: Call, _: Nothing) -> Answer:
    """It has delivered: its bid is paid, less our fee."""
    row = await _own(db, call)
    if row[5] == AwardState.FULFILLED:
        return answer(200, _reply(row), replayed=True)
    after = advance(AWARD_STATES, AwardState(row[5]), AwardSignal.FULFILL, "award")
    fee_minor = (await merchants.merchant(db, row[3])).fee_minor(row[4])
    lines = {MARGIN: row[4], payable(row[3]): fee_minor - row[4], "fees": -fee_minor}
    sale = await _sale(db, row[0])
    journal = await funds.post(db, "award", row[0], lines, sale[4], call.now_s)
    await db.run(_PAID, row[0], row[1], after, journal)
    await db.run("UPDATE display_sale SET state = 'fulfilled' WHERE request = $1", row[0])
    return answer(200, await award(db, call, call.named))


async def decline(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The winner says no: a default, and the next one is asked."""
    row = await _own(db, call)
    await _default(db, row, call.now_s)
    defaulted = await db.one(f"{_SELECT} WHERE request = $1 AND rank = $2", row[0], row[1])
    assert defaulted is not None
    return answer(200, _reply(defaulted))


async def lapse(db: Transaction, now_s: int) -> int:
    """Winners that were silent past their deadline default; how many. For housekeeping."""
    due = await db.all(_DUE, now_s, LAPSED_AT_ONCE)
    for request, rank in due:
        await bids.row_of(db, request, " FOR UPDATE")
        row = await _live(db, request)
        if row is not None and row[1] == rank and now_s >= row[6]:
            await _default(db, row, now_s)
    return len(due)


async def award(db: Transaction, call: Call, request: str) -> Award:
    """Who is asked to deliver now; raises ProblemError 404."""
    row = await db.one(_LAST, request)
    if row is None:
        raise ProblemError(404, "unknown-award", "nobody has won this request")
    merchants.check_party(call, row[3])
    return _reply(row)


async def sale(db: Transaction, call: Call, name: str) -> Sale:
    row = await db.one(f"{_SALE} WHERE sale = $1", name)
    if row is None:
        raise ProblemError(404, "unknown-sale", "no sale has this id")
    return sale_reply(row)


def sale_reply(row: Row) -> Sale:
    return Sale(
        sale=row[0],
        account=row[1],
        request=row[2],
        price_minor=row[3],
        currency=row[4],
        state=row[5],
    )


# --- helpers ----------------------------------------------------------------------------------


async def _offer(db: Transaction, request: str, rank: int, won: LoggedBid, now_s: int) -> None:
    given = (request, rank, won.bid_id, won.merchant, won.total_minor)
    await db.run(_INSERT, *given, now_s + CONFIRM_S, now_s)
    await merchant_notices.tell(db, won.merchant, "bid.won", request, now_s)


async def _default(db: Transaction, row: Row, now_s: int) -> None:
    request, rank, _, merchant, total_minor, state = row[:6]
    after = advance(AWARD_STATES, AwardState(state), AwardSignal.DEFAULT, "award")
    ranking = await bids.close(db, request, now_s)
    follows = ranking[rank] if rank < len(ranking) else None
    penalty_minor = _penalty_minor(total_minor, follows)
    journal = None
    if penalty_minor:
        sold = await _sale(db, request)
        lines = {payable(merchant): penalty_minor, MARGIN: -penalty_minor}
        reference = f"{request}/{rank}"
        journal = await funds.post(db, "bid-default", reference, lines, sold[4], now_s)
    await db.run(_DEFAULTED, request, rank, after, penalty_minor, journal, now_s)
    await merchant_notices.tell(db, merchant, "award.defaulted", request, now_s)
    if follows is not None:
        await _offer(db, request, rank + 1, follows, now_s)
    else:
        await bids.signal(db, request, RequestSignal.FAIL)
        await _refund(db, request, now_s)


def _penalty_minor(total_minor: int, follows: LoggedBid | None) -> int:
    most_minor = total_minor * DEPOSIT_PERMILLE // 1000
    if follows is None:
        return most_minor
    return min(most_minor, max(0, follows.total_minor - total_minor))


async def _refund(db: Transaction, request: str, now_s: int) -> None:
    """Nobody delivers: the customer gets all back; nothing to do before there is a sale."""
    row = await db.one(f"{_SALE} WHERE request = $1", request)
    if row is None:
        return
    journal = await charges.give_back(
        db, row[1], "display-refund", row[0], {MARGIN: row[3]}, row[4], now_s
    )
    await db.run(_REFUNDED, row[0], journal)


async def _own(db: Transaction, call: Call) -> Row:
    """The award that counts now, if it is the key's own; its request is locked."""
    await bids.row_of(db, call.named, " FOR UPDATE")
    row = await _live(db, call.named) or await db.one(_LAST, call.named)
    if row is None:
        raise ProblemError(404, "unknown-award", "nobody has won this request")
    merchants.check_party(call, row[3])
    return row


async def _live(db: Transaction, request: str) -> Row | None:
    return await db.one(f"{_SELECT} WHERE request = $1 AND state IN ('offered', 'confirmed')",
                        request)  # fmt: skip


async def _sale(db: Transaction, request: str) -> Row:
    row = await db.one(f"{_SALE} WHERE request = $1", request)
    assert row is not None
    return row


def _reply(row: Row) -> Award:
    return Award(
        request=row[0],
        rank=row[1],
        bid_id=row[2],
        merchant=row[3],
        total_minor=row[4],
        state=row[5],
        deadline_s=row[6],
        penalty_minor=row[7],
    )


_SELECT = (
    "SELECT request, rank, bid_id, merchant, total_minor, state, deadline_s, penalty_minor"
    " FROM award"
)
_LAST = f"{_SELECT} WHERE request = $1 ORDER BY rank DESC LIMIT 1"
_SALE = "SELECT sale, account, request, price_minor, currency, state FROM display_sale"
_INSERT = (
    "INSERT INTO award (request, rank, bid_id, merchant, total_minor, state, deadline_s, journal,"
    " penalty_minor, penalty_journal, at_s)"
    " VALUES ($1, $2, $3, $4, $5, 'offered', $6, NULL, 0, NULL, $7)"
)
_STATE = "UPDATE award SET state = $3, deadline_s = $4 WHERE request = $1 AND rank = $2"
_PAID = "UPDATE award SET state = $3, journal = $4 WHERE request = $1 AND rank = $2"
_DEFAULTED = (
    "UPDATE award SET state = $3, penalty_minor = $4, penalty_journal = $5, at_s = $6"
    " WHERE request = $1 AND rank = $2"
)
_DUE = (
    "SELECT request, rank FROM award WHERE state IN ('offered', 'confirmed') AND deadline_s <= $1"
    " ORDER BY request, rank LIMIT $2"
)
_REFUNDED = "UPDATE display_sale SET state = 'refunded', refund_journal = $2 WHERE sale = $1"
