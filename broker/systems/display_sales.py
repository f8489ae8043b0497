"""System F, the customer's side: sold from a display, before or after the bids.

*After the sale*: the broker sells at the display's price and then takes bids for who delivers.
*Before*: bids come in for a short while, the best one with our margin is quoted, the customer
accepts. Either way the price is the same for everybody and stands, whoever delivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.database import Row, Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, same_version
from broker.systems import awards, bid_rules, bids, charges, funds
from broker.systems.awards import MARGIN
from broker.systems.bid_rules import RequestState, Terms
from broker.systems.states import advance

QUOTE_S = 120  # a customer at a display decides within


class QuoteState(StrEnum):
    OFFERED = "offered"
    ACCEPTED = "accepted"
    EXPIRED = "expired"


class QuoteSignal(StrEnum):
    ACCEPT = "accept"
    EXPIRE = "expire"


QUOTE_STATES: Mapping[tuple[QuoteState, QuoteSignal], QuoteState] = {
    (QuoteState.OFFERED, QuoteSignal.ACCEPT): QuoteState.ACCEPTED,
    (QuoteState.OFFERED, QuoteSignal.EXPIRE): QuoteState.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayItemRequest:
    """PUT /v1/display-items/{item}, If-Match "0" at first: the rule price."""

    name: str
    price_minor: int
    currency: str
    gtin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayItem:
    item: str
    version: int
    name: str
    price_minor: int
    currency: str
    gtin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleRequest:
    """POST /v1/display-sales: sold now; bids decide later who delivers to ``region``."""

    sale: str
    account: str
    item: str
    region: str
    price_minor: int
    closes_in_s: int
    criteria: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest:
    """POST /v1/quotes: after the close of a request."""

    quote: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    quote: str
    request: str
    price_minor: int
    currency: str
    state: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptRequest:
    """POST /v1/quotes/{quote}/accept: ``price_minor`` as it was quoted."""

    sale: str
    account: str
    price_minor: int


# --- effects ----------------------------------------------------------------------------------


async def set_item(db: Transaction, call: Call, asked: DisplayItemRequest) -> Answer:
    """Raises ProblemError 412 when somebody was faster."""
    if not asked.price_minor:
        raise ProblemError(422, "invalid-body", "a price is at least 1", param="$.price_minor")
    known = await _item(db, call.named)
    same_version(call, known.version if known else 0)
    version = (known.version if known else 0) + 1
    row = (call.named, version, asked.name, asked.gtin, asked.price_minor, asked.currency)
    if not await db.run(_SET_ITEM, *row, call.now_s):
        raise ProblemError(412, "version-mismatch", "somebody was faster", param="If-Match")
    return answer(200, await item(db, call, call.named))


async def sell(db: Transaction, call: Call, asked: SaleRequest) -> Answer:
    """Charge the display's price and open the request for bids, in one transaction.

    Raises:
        ProblemError: 404, 409 the price is another now or the id came otherwise.
        LedgerRefusalError: the account is blocked or has no room.
    """
    known = await db.one(_SOLD, asked.sale)
    if known is not None:
        return _again(known, asked.account, asked.price_minor)
    of = await item(db, call, asked.item)
    _same_price(of.price_minor, asked.price_minor)
    request = f"sale:{asked.sale}"
    if await db.one("SELECT 1 FROM bid_request WHERE request = $1", request) is not None:
        raise funds.same_id_other_content("sale")
    terms = Terms(
        request=request,
        items=[of.name],
        region=asked.region,
        currency=of.currency,
        ceiling_minor=of.price_minor,
        criteria=asked.criteria,
        closes_s=call.now_s + asked.closes_in_s,
    )
    await bids.open_request(db, "after", terms, 0, call.now_s)
    await _charge(db, asked.sale, asked.account, request, of.price_minor, of.currency, call.now_s)
    return answer(201, await awards.sale(db, call, asked.sale))


async def quote(db: Transaction, call: Call, asked: QuoteRequest) -> Answer:
    """The best bid with our margin; the price does not know who asks.

    Raises:
        ProblemError: 404; 409 bids still come in, nobody bid, or a quote was given.
    """
    known = await _quote(db, "quote", asked.quote, call.now_s)
    if known is not None:
        if known.request != asked.request:
            raise funds.same_id_other_content("quote")
        return answer(201, known, replayed=True)
    ranking = await bids.close(db, asked.request, call.now_s)
    row = await bids.row_of(db, asked.request)
    if row.mode != "before":
        raise ProblemError(409, "wrong-state", "this request follows a sale")
    if not ranking:
        raise ProblemError(409, "no-bids", "nobody made a valid bid")
    if await db.one("SELECT 1 FROM bid_quote WHERE request = $1", asked.request) is not None:
        raise ProblemError(409, "quoted", "a quote was given for this request")
    price_minor = bid_rules.quoted_minor(ranking[0].total_minor, row.margin_permille)
    given = (asked.quote, asked.request, price_minor, call.now_s + QUOTE_S)
    await db.run("INSERT INTO bid_quote VALUES ($1, $2, $3, 'offered', $4)", *given)
    return answer(201, await _quote(db, "quote", asked.quote, call.now_s))


async def accept(db: Transaction, call: Call, asked: AcceptRequest) -> Answer:
    """Sell at the quoted price and award the request.

    Raises:
        ProblemError: 404; 409 expired, accepted before, or another price.
        LedgerRefusalError: the account is blocked or has no room.
    """
    known = await db.one(_SOLD, asked.sale)
    if known is not None:
        return _again(known, asked.account, asked.price_minor)
    found = await _quote(db, "quote", call.named, call.now_s)
    if found is None:
        raise ProblemError(404, "unknown-quote", "no quote has this id")
    await bids.row_of(db, found.request, " FOR UPDATE")
    found = await _quote(db, "quote", call.named, call.now_s)  # once the request is ours
    assert found is not None
    after = advance(QUOTE_STATES, QuoteState(found.state), QuoteSignal.ACCEPT, "quote")
    _same_price(found.price_minor, asked.price_minor)
    await _charge(
        db, asked.sale, asked.account, found.request, found.price_minor, found.currency, call.now_s
    )
    await db.run("UPDATE bid_quote SET state = $2 WHERE quote = $1", call.named, after)
    ranking = await bids.close(db, found.request, call.now_s)
    await awards.first_award(db, found.request, ranking, call.now_s)
    return answer(201, await awards.sale(db, call, asked.sale))


async def close_due(db: Transaction, now_s: int) -> int:
    """End requests whose time is over; those of sales are awarded. For housekeeping."""
    due = await db.all(_DUE, now_s, bids.CLOSED_AT_ONCE)
    for (name,) in due:
        row = await bids.row_of(db, name, " FOR UPDATE")
        if row.state is not RequestState.OPEN:
            continue
        ranking = await bids.close(db, name, now_s)
        if row.mode == "after":
            await awards.first_award(db, name, ranking, now_s)
    return len(due)


async def item(db: Transaction, call: Call, name: str) -> DisplayItem:
    found = await _item(db, name)
    if found is None:
        raise ProblemError(404, "unknown-item", "no display item has this id: PUT it first")
    return found


async def one_quote(db: Transaction, call: Call, name: str) -> Quote:
    found = await _quote(db, "quote", name, call.now_s)
    if found is None:
        raise ProblemError(404, "unknown-quote", "no quote has this id")
    return found


# --- helpers ----------------------------------------------------------------------------------


async def _charge(
    db: Transaction,
    sale: str,
    account: str,
    request: str,
    price_minor: int,
    currency: str,
    now_s: int,
) -> None:
    journal = await charges.charge(
        db, account, "display-sale", sale, {MARGIN: price_minor}, currency, now_s
    )
    await db.run(_SELL, sale, account, request, price_minor, currency, journal, now_s)


def _same_price(price_minor: int, asked_minor: int) -> None:
    if price_minor != asked_minor:
        detail = f"the price is {price_minor}: show it again"
        raise ProblemError(409, "price-changed", detail, param="$.price_minor")


def _again(row: Row, account: str, price_minor: int) -> Answer:
    if (row[1], row[3]) != (account, price_minor):
        raise funds.same_id_other_content("sale")
    return answer(201, awards.sale_reply(row), replayed=True)


async def _item(db: Transaction, name: str) -> DisplayItem | None:
    row = await db.one(_ITEM, name)
    if row is None:
        return None
    return DisplayItem(
        item=row[0], version=row[1], name=row[2], gtin=row[3], price_minor=row[4], currency=row[5]
    )


async def _quote(db: Transaction, column: str, name: str, now_s: int) -> Quote | None:
    row = await db.one(f"{_QUOTE} WHERE q.{column} = $1", name)
    if row is None:
        return None
    state = QuoteState(row[3])
    if state is QuoteState.OFFERED and now_s >= row[4]:
        state = advance(QUOTE_STATES, state, QuoteSignal.EXPIRE, "quote")
    return Quote(
        quote=row[0],
        request=row[1],
        price_minor=row[2],
        state=state.value,
        expires_s=row[4],
        currency=row[5],
    )


_ITEM = "SELECT item, version, name, gtin, price_minor, currency FROM display_item WHERE item = $1"
_SET_ITEM = (
    "INSERT INTO display_item VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (item) DO UPDATE"
    " SET version = excluded.version, name = excluded.name, gtin = excluded.gtin,"
    " price_minor = excluded.price_minor, currency = excluded.currency"
    " WHERE display_item.version = excluded.version - 1"
)
_SOLD = (
    "SELECT sale, account, request, price_minor, currency, state FROM display_sale WHERE sale = $1"
)
_SELL = (
    "INSERT INTO display_sale (sale, account, request, price_minor, currency, state, journal,"
    " refund_journal, sold_s) VALUES ($1, $2, $3, $4, $5, 'sold', $6, NULL, $7)"
)
_QUOTE = (
    "SELECT q.quote, q.request, q.price_minor, q.state, q.expires_s, r.currency FROM bid_quote q"
    " JOIN bid_request r ON r.request = q.request"
)
_DUE = (
    "SELECT request FROM bid_request WHERE state = 'open' AND closes_s <= $1"
    " ORDER BY request LIMIT $2"
)
