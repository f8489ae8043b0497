"""System F, the auction: requests open, sealed bids come in, the close decides.

Nobody reads a bid before the close, the operator's keys included: there is no route for it. Each
bidder gets a receipt, the head of a hash chain over all bids, and finds it in the log that is
public after the close. Who wins is computed by ``bid_rules.py`` from that log alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec

from broker.database import Row, Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import bid_rules, funds, merchant_notices, merchants
from broker.systems.bid_rules import (
    GENESIS,
    REQUEST_STATES,
    LoggedBid,
    RequestSignal,
    RequestState,
    Terms,
)
from broker.systems.states import advance

CLOSES_IN_S_MAX = 24 * 3600
BIDS_MAX = 500  # of one request
DEFAULTS_MAX = 3  # within ``DEFAULTS_S``: who wins and does not deliver bids no more
DEFAULTS_S = 30 * 24 * 3600
CLOSED_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BidCall:
    """POST /v1/bid-requests: before a sale. No field says who asks: bidders see a region."""

    request: str
    items: list[str]
    region: str
    currency: str
    ceiling_minor: int
    closes_in_s: int
    criteria: list[str]
    margin_permille: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BidCallState:
    """What everybody may see of a request; not how many bids there are."""

    request: str
    mode: str
    state: str
    items: list[str]
    region: str
    currency: str
    ceiling_minor: int
    criteria: list[str]
    closes_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BidRequest:
    """POST /v1/bid-requests/{request}/bids: a merchant's; its last one counts."""

    bid_id: str
    merchant: str
    price_minor: int
    shipping_minor: int
    eta_days: int
    stock_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BidReceipt:
    """``digest``: the head of the log with this bid in it; keep it."""

    request: str
    bid_id: str
    seq: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BidLog:
    """GET /v1/bid-requests/{request}/log: everything that the winner follows from."""

    terms: Terms
    bids: list[LoggedBid]
    digests: list[str]
    ranking: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    mode: str
    state: RequestState
    terms: Terms
    margin_permille: int
    head: str
    ranking: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BidCallPage:
    """GET /v1/bid-requests: those that are open; ``after`` is where the next page starts."""

    requests: list[BidCallState]
    after: str
    more: bool


# --- effects ----------------------------------------------------------------------------------


async def call_for_bids(db: Transaction, call: Call, asked: BidCall) -> Answer:
    """Open a request before a sale."""
    known = await db.one(f"{_SELECT} WHERE request = $1", asked.request)
    if known is not None:
        row = _read(known)
        same = (row.terms.items, row.terms.region, row.terms.ceiling_minor, row.mode)
        if same != (asked.items, asked.region, asked.ceiling_minor, "before"):
            raise funds.same_id_other_content("request")
        return answer(201, state_of(row), replayed=True)
    terms = Terms(
        request=asked.request,
        items=asked.items,
        region=asked.region,
        currency=asked.currency,
        ceiling_minor=asked.ceiling_minor,
        criteria=asked.criteria,
        closes_s=call.now_s + asked.closes_in_s,
    )
    await open_request(db, "before", terms, asked.margin_permille, call.now_s)
    return answer(201, state_of(await row_of(db, asked.request)))


async def open_request(
    db: Transaction, mode: str, terms: Terms, margin_permille: int, now_s: int
) -> None:
    """Write a new request; its id is free."""
    given = (terms.request, mode, _list(terms.items), terms.region, terms.currency)
    rules = (terms.ceiling_minor, _list(terms.criteria), margin_permille)
    await db.run(_INSERT, *given, *rules, now_s, terms.closes_s, GENESIS)


async def bid(db: Transaction, call: Call, asked: BidRequest) -> Answer:
    """A sealed bid.

    Raises:
        ProblemError: 409 the request is closed, or the id came otherwise; 403 too many defaults.
    """
    merchants.check_party(call, asked.merchant)
    await merchants.merchant(db, asked.merchant)
    if not asked.price_minor:
        raise ProblemError(422, "invalid-body", "a price is at least 1", param="$.price_minor")
    row = await row_of(db, call.named, " FOR UPDATE")
    same = await db.one(f"{_BIDS} AND bid_id = $2", call.named, asked.bid_id)
    if same is not None:
        return _again(call.named, same, asked)
    if row.state is not RequestState.OPEN or call.now_s >= row.terms.closes_s:
        raise ProblemError(409, "bids-closed", "the request takes no bids any more")
    defaults = await defaults_of(db, asked.merchant, call.now_s)
    if defaults >= DEFAULTS_MAX:
        detail = f"{defaults} awards were not delivered within 30 days"
        raise ProblemError(403, "too-many-defaults", detail)
    count = await db.one("SELECT COUNT(*) FROM bid WHERE request = $1", call.named)
    assert count is not None
    if count[0] >= BIDS_MAX:
        raise ProblemError(409, "too-many-bids", f"{BIDS_MAX} of one request are the most")
    made = LoggedBid(
        seq=count[0] + 1,
        bid_id=asked.bid_id,
        merchant=asked.merchant,
        price_minor=asked.price_minor,
        shipping_minor=asked.shipping_minor,
        eta_days=asked.eta_days,
        stock_until_s=asked.stock_until_s,
        defaults=defaults,
        received_s=call.now_s,
    )
    head = bid_rules.link(row.head, row.terms, made)
    await db.run(_ADD_BID, call.named, *asdict(made).values(), head)
    await db.run("UPDATE bid_request SET head = $2 WHERE request = $1", call.named, head)
    receipt = BidReceipt(request=call.named, bid_id=made.bid_id, seq=made.seq, digest=head)
    return answer(201, receipt)


async def close(db: Transaction, name: str, now_s: int) -> list[LoggedBid]:
    """End a request whose time is over; the valid bids, best first. Again: as it was decided.

    Raises:
        ProblemError: 409, its time is not over.
    """
    row = await row_of(db, name, " FOR UPDATE")
    bids = await _bids(db, name)
    best = bid_rules.ranked(row.terms, bids)
    if row.state is not RequestState.OPEN:
        return best
    if now_s < row.terms.closes_s:
        raise ProblemError(409, "bids-sealed", "bids come in until closes_s, sealed")
    closed = advance(REQUEST_STATES, row.state, RequestSignal.CLOSE, "request")
    state = closed if best else advance(REQUEST_STATES, closed, RequestSignal.FAIL, "request")
    await db.run(_CLOSE, name, state, _list([one.bid_id for one in best]))
    for lost in {one.merchant for one in bids} - {one.merchant for one in best[:1]}:
        await merchant_notices.tell(db, lost, "bid.lost", name, now_s)
    return best


async def signal(db: Transaction, name: str, what: RequestSignal) -> None:
    """Bring a request's state forward."""
    row = await row_of(db, name, " FOR UPDATE")
    after = advance(REQUEST_STATES, row.state, what, "request")
    await db.run("UPDATE bid_request SET state = $2 WHERE request = $1", name, after)


async def defaults_of(db: Transaction, merchant: str, now_s: int) -> int:
    """How often a merchant won and did not deliver, of late."""
    row = await db.one(_DEFAULTS, merchant, now_s - DEFAULTS_S)
    assert row is not None
    return int(row[0])


# --- questions --------------------------------------------------------------------------------


async def request(db: Transaction, call: Call, name: str) -> BidCallState:
    return state_of(await row_of(db, name))


async def open_requests(db: Transaction, after: str, limit: int) -> BidCallPage:
    """What a merchant may bid for, in the order of ids."""
    rows = await db.all(_OPEN, after, limit + 1)
    found = [state_of(_read(row)) for row in rows[:limit]]
    last = found[-1].request if found else after
    return BidCallPage(requests=found, after=last, more=len(rows) > limit)


async def log(db: Transaction, call: Call, name: str) -> BidLog:
    """Raises ProblemError 409 while the bids are sealed."""
    row = await row_of(db, name)
    if row.state is RequestState.OPEN:
        raise ProblemError(409, "bids-sealed", "the log is public after the close")
    digests = await db.all("SELECT digest FROM bid WHERE request = $1 ORDER BY seq", name)
    return BidLog(
        terms=row.terms,
        bids=await _bids(db, name),
        digests=[one[0] for one in digests],
        ranking=row.ranking,
    )


async def misjudged(db: Transaction) -> list[str]:
    """Closed requests whose log or ranking is not what the bids give: none in sound books."""
    wrong = list[str]()
    for (name,) in await db.all("SELECT request FROM bid_request WHERE state <> 'open'"):
        row, bids = await row_of(db, name), await _bids(db, name)
        best = [one.bid_id for one in bid_rules.ranked(row.terms, bids)]
        if best != row.ranking or bid_rules.head_of(row.terms, bids) != row.head:
            wrong.append(name)
    return wrong


# --- helpers ----------------------------------------------------------------------------------


async def row_of(db: Transaction, name: str, lock: str = "") -> RequestRow:
    row = await db.one(f"{_SELECT} WHERE request = $1{lock}", name)
    if row is None:
        raise ProblemError(404, "unknown-request", "no bid request has this id")
    return _read(row)


def state_of(row: RequestRow) -> BidCallState:
    return BidCallState(
        mode=row.mode,
        state=row.state.value,
        request=row.terms.request,
        items=row.terms.items,
        region=row.terms.region,
        currency=row.terms.currency,
        ceiling_minor=row.terms.ceiling_minor,
        criteria=row.terms.criteria,
        closes_s=row.terms.closes_s,
    )


def _read(row: Row) -> RequestRow:
    return RequestRow(
        mode=row[1],
        state=RequestState(row[2]),
        terms=Terms(
            request=row[0],
            items=msgspec.json.decode(row[3], type=list[str]),
            region=row[4],
            currency=row[5],
            ceiling_minor=row[6],
            criteria=msgspec.json.decode(row[7], type=list[str]),
            closes_s=row[9],
        ),
        margin_permille=row[8],
        head=row[10],
        ranking=msgspec.json.decode(row[11], type=list[str]),
    )


async def _bids(db: Transaction, name: str) -> list[LoggedBid]:
    names = tuple(LoggedBid.__dataclass_fields__)
    rows = await db.all(f"{_BIDS} ORDER BY seq", name)
    return [LoggedBid(**dict(zip(names, row, strict=False))) for row in rows]


def _again(request: str, row: Row, asked: BidRequest) -> Answer:
    given = (asked.merchant, asked.price_minor, asked.shipping_minor, asked.eta_days)
    if row[2:6] != given or row[6] != asked.stock_until_s:
        raise funds.same_id_other_content("bid")
    receipt = BidReceipt(request=request, bid_id=row[1], seq=row[0], digest=row[9])
    return answer(201, receipt, replayed=True)


def _list(words: list[str]) -> str:
    return msgspec.json.encode(words).decode()


_SELECT = (
    "SELECT request, mode, state, items, region, currency, ceiling_minor, criteria,"
    " margin_permille, closes_s, head, ranking FROM bid_request"
)
_OPEN = f"{_SELECT} WHERE state = 'open' AND request > $1 ORDER BY request LIMIT $2"
_INSERT = (
    "INSERT INTO bid_request (request, mode, state, items, region, currency, ceiling_minor,"
    " criteria, margin_permille, opened_s, closes_s, head, ranking)"
    " VALUES ($1, $2, 'open', $3, $4, $5, $6, $7, $8, $9, $10, $11, '[]')"
)
_BIDS = (
    "SELECT seq, bid_id, merchant, price_minor, shipping_minor, eta_days, stock_until_s, defaults,"
    " received_s, digest FROM bid WHERE request = $1"
)
_ADD_BID = "INSERT INTO bid VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_CLOSE = "UPDATE bid_request SET state = $2, ranking = $3 WHERE request = $1"
_DEFAULTS = "SELECT COUNT(*) FROM award WHERE merchant = $1 AND state = 'defaulted' AND at_s > $2"
