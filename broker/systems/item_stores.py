"""System B, the sponsor's side: an item store with its limits and its budget.

A sponsor opens a store of goods that others may take at its cost: which goods, how dear, how many
and how much in an interval, where and until when. The budget is the ledger account
``sponsor_budget:<id>`` with floor 0: what is reserved counts, so a race for the last euro has one
winner. A store whose budget has nothing free is *exhausted*; money, or a reservation that ends,
opens it again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from broker import accounts, chart
from broker.credentials import rfc3339
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.store_rows import named
from broker.systems import funds
from broker.systems.goods import gtins14
from broker.systems.states import advance
from messages.money import Money

DAY_S = 24 * 3600
INTERVAL_S = {"day": DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S, "once": 0}


class StoreStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    PAUSED = "paused"
    EXHAUSTED = "exhausted"
    CLOSED = "closed"


class StoreSignal(StrEnum):
    OPEN = "open"
    PAUSE = "pause"
    CLOSE = "close"
    EXHAUST = "exhaust"
    REFILL = "refill"


STORE_STATES: Mapping[tuple[StoreStatus, StoreSignal], StoreStatus] = {
    (StoreStatus.DRAFT, StoreSignal.OPEN): StoreStatus.OPEN,
    (StoreStatus.OPEN, StoreSignal.OPEN): StoreStatus.OPEN,
    (StoreStatus.PAUSED, StoreSignal.OPEN): StoreStatus.OPEN,
    (StoreStatus.OPEN, StoreSignal.PAUSE): StoreStatus.PAUSED,
    (StoreStatus.PAUSED, StoreSignal.PAUSE): StoreStatus.PAUSED,
    (StoreStatus.OPEN, StoreSignal.EXHAUST): StoreStatus.EXHAUSTED,
    (StoreStatus.EXHAUSTED, StoreSignal.REFILL): StoreStatus.OPEN,
    (StoreStatus.DRAFT, StoreSignal.CLOSE): StoreStatus.CLOSED,
    (StoreStatus.OPEN, StoreSignal.CLOSE): StoreStatus.CLOSED,
    (StoreStatus.PAUSED, StoreSignal.CLOSE): StoreStatus.CLOSED,
    (StoreStatus.CLOSED, StoreSignal.CLOSE): StoreStatus.CLOSED,
}
ASKED = (StoreSignal.OPEN, StoreSignal.PAUSE, StoreSignal.CLOSE)  # the others follow from money


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What a consumer may take.

    ``max_item_minor``: of one piece; ``max_items`` and ``max_amount_minor``: of one consumer in one
    ``interval`` (day, week, month of 30 days, or once). ``places``: empty = every store.
    ``privacy``: what the organizer sees of redemptions, amounts alone or the goods too.
    """

    max_item_minor: int
    max_items: int
    max_amount_minor: int
    valid_until_s: int
    gtins: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    interval: str = "once"
    places: list[str] = field(default_factory=list)
    ship: bool = False
    privacy: str = "amounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStoreRequest:
    """POST /v1/item-stores. ``payment_ref``: the provider's token of the sponsor."""

    item_store: str
    organizer: str
    payment_ref: str
    currency: str
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStore:
    """``available_minor``: the budget less what is reserved. The payment reference is not told."""

    item_store: str
    organizer: str
    currency: str
    status: str
    budget_minor: int
    available_minor: int
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    funding: str
    item_store: str
    amount_minor: int
    currency: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One fulfilled redemption as the organizer may see it."""

    redemption: str
    sponsor_minor: int
    at: str
    handover: str
    consumer: str
    items: list[dict[str, str | int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticePage:
    """Oldest first; go on from ``after`` while ``more``."""

    notices: list[Notice]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRow:
    item_store: str
    organizer: str
    currency: str
    params: Params
    created_s: int
    status: StoreStatus

    @property
    def account(self) -> str:
        return f"sponsor_budget:{self.item_store}"

    def interval_no(self, now_s: int) -> int:
        """Which interval an instant is in, from when the store was made."""
        length_s = INTERVAL_S[self.params.interval]
        return (now_s - self.created_s) // length_s if length_s else 0


# --- effects ----------------------------------------------------------------------------------


async def create(db: Transaction, call: Call, asked: ItemStoreRequest) -> Answer:
    """A draft without money."""
    gtins = gtins14(asked.params.gtins, "$.params.gtins")
    if not (gtins or asked.params.categories):
        detail = "name the goods it covers: gtins, categories, or both"
        raise ProblemError(422, "nothing-covered", detail, param="$.params")
    params = json.dumps(asdict(asked.params) | {"gtins": gtins}, sort_keys=True)
    known = await db.one(_CONTENT, asked.item_store)
    if known is not None:
        if known != (asked.organizer, asked.payment_ref, asked.currency, params):
            raise funds.same_id_other_content("item store")
        return answer(201, await item_store(db, call, asked.item_store), replayed=True)
    given = (asked.item_store, asked.organizer, asked.payment_ref, asked.currency, params)
    await db.run(_INSERT, *given, StoreStatus.DRAFT.value, call.now_s)
    await funds.open_fund(db, f"sponsor_budget:{asked.item_store}", asked.currency)
    return answer(201, await item_store(db, call, asked.item_store))


def signalled(signal: StoreSignal) -> Callable[[Transaction, Call, Nothing], Awaitable[Answer]]:
    """The effect of open, pause or close on the store of the path."""
    return lambda db, call, _: set_status(db, call, signal)


async def set_status(db: Transaction, call: Call, signal: StoreSignal) -> Answer:
    """Closing gives the unspent budget back; what is reserved is waited for.

    Raises:
        ProblemError: 409.
    """
    row = await locked_row(db, call.named, call.now_s)
    after = advance(STORE_STATES, row.status, signal, "item store")
    if after is StoreStatus.CLOSED and row.status is not after:
        await _give_back(db, row, call.now_s)
    await db.run(_STATUS, row.item_store, after.value)
    return answer(200, await item_store(db, call, row.item_store))


async def fund(db: Transaction, call: Call, asked: funds.FundingRequest) -> Answer:
    """The budget grows by what the provider collected."""
    row = await locked_row(db, call.named, call.now_s)
    known = await db.one(_FUNDING, asked.funding)
    if known is not None:
        if known[1:4] != (row.item_store, asked.amount_minor, asked.currency):
            raise funds.same_id_other_content("funding")
        return answer(201, Funding(**named(Funding, known)), replayed=True)
    if row.status is StoreStatus.CLOSED or asked.currency != row.currency:
        detail = f"the store is {row.status.value} and in {row.currency}"
        raise ProblemError(409, "store-not-open", detail)
    amount = Money(minor=asked.amount_minor, currency=asked.currency)
    journal = await funds.move(
        db, "sponsor-funding", asked.funding, chart.PSP_CLEARING, row.account, amount, call.now_s
    )
    done = (asked.funding, row.item_store, asked.amount_minor, asked.currency, journal)
    await db.run("INSERT INTO item_store_funding VALUES ($1, $2, $3, $4, $5)", *done)
    return answer(201, Funding(**named(Funding, done)))


# --- questions --------------------------------------------------------------------------------


async def item_store(db: Transaction, call: Call, name: str) -> ItemStore:
    """The store as it is now; exhausted when its budget has nothing free."""
    row = await store_row(db, name)
    state = await accounts.state(db, row.account, row.currency, call.now_s)
    free_minor = state.balance_minor - state.held_minor
    status = row.status
    if status is StoreStatus.OPEN and free_minor == 0:
        status = advance(STORE_STATES, status, StoreSignal.EXHAUST, "item store")
    return ItemStore(
        item_store=row.item_store,
        organizer=row.organizer,
        currency=row.currency,
        status=status.value,
        budget_minor=state.balance_minor,
        available_minor=free_minor,
        params=row.params,
    )


async def notices(db: Transaction, call: Call, name: str, after: int, limit: int) -> NoticePage:
    """What was taken at the sponsor's cost, no more of it than ``privacy`` allows."""
    row = await store_row(db, name)
    found = await db.all(_NOTICES, row.item_store, after, limit + 1)
    page = [_notice(row, one[1:]) for one in found[:limit]]
    last = found[: limit or 1][len(page) - 1][0] if page else after
    return NoticePage(notices=page, after=last, more=len(found) > limit)


# --- for the neighbours -----------------------------------------------------------------------


async def store_row(db: Transaction, name: str) -> StoreRow:
    """Raises ProblemError 404."""
    row = await db.one(_STORE, name)
    if row is None:
        raise ProblemError(404, "unknown-item-store", "no item store has this id")
    return StoreRow(
        item_store=row[0],
        organizer=row[1],
        currency=row[2],
        params=Params(**json.loads(row[3])),
        created_s=row[4],
        status=StoreStatus(row[5]),
    )


async def locked_row(db: Transaction, name: str, now_s: int) -> StoreRow:
    """The store once no other transaction has its budget; raises ProblemError 404."""
    row = await store_row(db, name)
    await funds.locked(db, row.account, row.currency, now_s)
    return await store_row(db, name)


def check_usable(row: StoreRow, now_s: int, place: str = "") -> None:
    """Open, in time, and good at this place.

    Raises:
        ProblemError: 409.
    """
    if row.status is not StoreStatus.OPEN or now_s >= row.params.valid_until_s:
        detail = f"the item store is {row.status.value}, valid until {row.params.valid_until_s}"
        raise ProblemError(409, "store-not-open", detail)
    if place and row.params.places and place not in row.params.places:
        raise ProblemError(409, "other-place", "the item store is not good at this store")


async def _give_back(db: Transaction, row: StoreRow, now_s: int) -> None:
    state = await accounts.state(db, row.account, row.currency, now_s)
    if state.held_minor:
        detail = f"{state.held_minor} are reserved: wait until they are taken or released"
        raise ProblemError(409, "reservations-open", detail)
    if state.balance_minor:
        amount = Money(minor=state.balance_minor, currency=row.currency)
        await funds.move(
            db, "sponsor-return", row.item_store, row.account, chart.REFUND_CLEARING, amount, now_s
        )


def _notice(row: StoreRow, found: tuple[object, ...]) -> Notice:
    redemption, sponsor_minor, at_s, handover, consumer, items = found
    open_to_see = row.params.privacy == "items"
    return Notice(
        redemption=str(redemption),
        sponsor_minor=int(str(sponsor_minor)),
        at=rfc3339(int(str(at_s))),
        handover=str(handover),
        consumer=str(consumer) if open_to_see else "",
        items=json.loads(str(items)) if open_to_see else [],
    )


_STORE = (
    "SELECT item_store, organizer, currency, params, created_s, status FROM item_store"
    " WHERE item_store = $1"
)
_CONTENT = "SELECT organizer, payment_ref, currency, params FROM item_store WHERE item_store = $1"
_INSERT = "INSERT INTO item_store VALUES ($1, $2, $3, $4, $5, $6, $7)"
_STATUS = "UPDATE item_store SET status = $2 WHERE item_store = $1"
_FUNDING = (
    "SELECT funding, item_store, amount_minor, currency, journal FROM item_store_funding"
    " WHERE funding = $1"
)
_NOTICES = """
SELECT n.journal, n.redemption, r.sponsor_minor, n.at_s, r.handover, g.consumer, n.items
FROM sponsor_notice n JOIN redemption r ON r.redemption = n.redemption
JOIN item_grant g ON g.item_grant = r.item_grant
WHERE g.item_store = $1 AND n.journal > $2 ORDER BY n.journal LIMIT $3
"""
