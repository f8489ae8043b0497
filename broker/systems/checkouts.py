"""System G: a merchant's signed offer becomes a checkout, and a completed one an order.

The merchant signs lines, ways to get them (carry out, pick up, locker, ship) with the regions they
serve, extras, tax and discount; the shopper chooses. The total is their exact sum; what is
completed is what was last shown, by its hash. Completing holds the total on the shopper's account
and places one order, in one transaction: *completing* is never seen from outside; racers wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import msgspec

from broker.database import Row, Transaction
from broker.idempotency import Answer, answer, digest
from broker.problems import ProblemError
from broker.routes import Call, Nothing, same_version
from broker.systems import funds, merchants, orders
from broker.systems.states import advance

PURPOSE = "checkout"


class CheckoutState(StrEnum):
    INCOMPLETE = "incomplete"
    READY = "ready"
    COMPLETING = "completing"
    COMPLETED = "completed"
    CANCELED = "canceled"


class CheckoutSignal(StrEnum):
    CHOOSE = "choose"
    COMPLETE = "complete"
    ORDER = "order"
    CANCEL = "cancel"


CHECKOUT_STATES: Mapping[tuple[CheckoutState, CheckoutSignal], CheckoutState] = {
    (CheckoutState.INCOMPLETE, CheckoutSignal.CHOOSE): CheckoutState.READY,
    (CheckoutState.READY, CheckoutSignal.CHOOSE): CheckoutState.READY,
    (CheckoutState.READY, CheckoutSignal.COMPLETE): CheckoutState.COMPLETING,
    (CheckoutState.COMPLETING, CheckoutSignal.ORDER): CheckoutState.COMPLETED,
    (CheckoutState.INCOMPLETE, CheckoutSignal.CANCEL): CheckoutState.CANCELED,
    (CheckoutState.READY, CheckoutSignal.CANCEL): CheckoutState.CANCELED,
    (CheckoutState.CANCELED, CheckoutSignal.CANCEL): CheckoutState.CANCELED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferLine:
    line_id: str
    name: str
    quantity: int
    total_minor: int
    gtin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the goods get there. ``regions``: where it goes to; none = no address is needed."""

    way: str
    by: str
    price_minor: int
    regions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    extra: str
    price_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the merchant signs, with the checkout's id and its own name."""

    currency: str
    lines: list[OfferLine]
    ways: list[Way]
    extras: list[Extra] = field(default_factory=list)
    tax_minor: int = 0  # what comes on top; 0 where prices contain it
    discount_minor: int = 0
    valid_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutRequest:
    """POST /v1/checkouts: for ``checkout`` it signs ``{checkout, merchant, offer}``."""

    checkout: str
    account: str
    merchant: str
    offer: Offer
    merchant_signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to: a region for the price, an address for the parcel (erased with the shopper)."""

    region: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRequest:
    """PUT /v1/checkouts/{checkout} with If-Match."""

    way: str
    chosen_extras: list[str] = field(default_factory=list)
    destination: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """``total_minor = lines + way + extras + tax - discount``; ``totals_hash``: of all that."""

    checkout: str
    account: str
    merchant: str
    currency: str
    state: str
    version: int
    way: str
    chosen_extras: list[str]
    lines_minor: int
    way_minor: int
    extras_minor: int
    tax_minor: int
    discount_minor: int
    total_minor: int
    totals_hash: str
    valid_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRequest:
    """POST /v1/checkouts/{checkout}/complete: ``totals_hash`` of what the shopper saw last."""

    order_id: str
    totals_hash: str


# --- effects ----------------------------------------------------------------------------------


async def open_checkout(db: Transaction, call: Call, asked: CheckoutRequest) -> Answer:
    """Raises ProblemError 403 unless the merchant signed this offer for this checkout."""
    of = await merchants.merchant(db, asked.merchant)
    promise = promised(asked)
    merchants.check_signature(of, asked.merchant_signature, PURPOSE, promise)
    known = await db.one(f"{_SELECT} WHERE checkout = $1", asked.checkout)
    if known is not None:
        if (known[1], known[7]) != (asked.account, asked.merchant_signature):
            raise funds.same_id_other_content("checkout")
        return answer(201, _reply(known), replayed=True)
    _check_fresh(asked.offer.valid_until_s, call.now_s)
    if len({line.line_id for line in asked.offer.lines}) != len(asked.offer.lines):
        raise ProblemError(422, "invalid-body", "a line_id comes twice", param="$.offer.lines")
    lines_minor = sum(line.total_minor for line in asked.offer.lines)
    if asked.offer.discount_minor > lines_minor:
        detail = "the discount is more than the lines"
        raise ProblemError(422, "invalid-body", detail, param="$.offer.discount_minor")
    await _same_currency(db, asked.account, asked.offer.currency)
    fixed = (asked.offer.tax_minor, asked.offer.discount_minor)
    total_minor = lines_minor + fixed[0] - fixed[1]
    offer = msgspec.json.encode(asked.offer).decode()
    head = (asked.checkout, asked.account, asked.merchant, asked.offer.currency)
    state = (CheckoutState.INCOMPLETE.value, 1, offer, asked.merchant_signature)
    chosen = (asked.offer.valid_until_s, "", "", "[]")
    sums = (lines_minor, 0, 0, *fixed, total_minor)
    await db.run(_INSERT, *head, *state, *chosen, *sums, "", call.now_s)
    return answer(201, await checkout(db, call, asked.checkout))


async def choose(db: Transaction, call: Call, asked: ChoiceRequest) -> Answer:
    """Way, extras and destination; the totals follow.

    Raises:
        ProblemError: 412 not the version that was read, 422 the way does not go there.
    """
    row = await _locked(db, call.named)
    same_version(call, row[5])
    after = advance(CHECKOUT_STATES, CheckoutState(row[4]), CheckoutSignal.CHOOSE, "checkout")
    offer = read_offer(row[6])
    way = _way(offer, asked)
    prices = {extra.extra: extra.price_minor for extra in offer.extras}
    if unknown := [name for name in asked.chosen_extras if name not in prices]:
        detail = f"the merchant does not offer {unknown[0]}"
        raise ProblemError(422, "unknown-option", detail, param="$.chosen_extras")
    chosen = sorted(set(asked.chosen_extras))
    extras_minor = sum(prices[name] for name in chosen)
    total_minor = row[12] + way.price_minor + extras_minor + row[15] - row[16]
    where = msgspec.json.encode(asked.destination).decode() if asked.destination else ""
    totals = [row[12], way.price_minor, extras_minor, row[15], row[16], total_minor]
    shown = digest([row[0], row[3], row[7], way.way, chosen, where, totals]).hex()
    extras = msgspec.json.encode(chosen).decode()
    given = (way.way, extras, way.price_minor, extras_minor, total_minor, shown)
    await db.run(_CHOOSE, call.named, after, where, *given)
    return answer(200, await checkout(db, call, call.named))


async def complete(db: Transaction, call: Call, asked: CompleteRequest) -> Answer:
    """Hold the total and place one order.

    Raises:
        ProblemError: 409 not what was shown, not ready, or completed before.
        LedgerRefusalError: the account is blocked or has no room.
    """
    row = await _locked(db, call.named)
    if row[4] == CheckoutState.COMPLETED:
        known = await orders.of_checkout(db, call.named)
        if known is not None and known.order_id == asked.order_id:
            return answer(201, orders.reply(known), replayed=True)
    state = CheckoutState(row[4])
    completing = advance(CHECKOUT_STATES, state, CheckoutSignal.COMPLETE, "checkout")
    if asked.totals_hash != row[18]:
        detail = f"the totals are others now, {row[17]} in all: show them again"
        raise ProblemError(409, "totals-changed", detail, param="$.totals_hash")
    _check_fresh(row[8], call.now_s)
    placed = await orders.place(
        db,
        orders.Placing(
            order_id=asked.order_id,
            checkout=row[0],
            account=row[1],
            merchant=row[2],
            currency=row[3],
            total_minor=row[17],
            totals_hash=row[18],
        ),
        call.now_s,
    )
    done = advance(CHECKOUT_STATES, completing, CheckoutSignal.ORDER, "checkout")
    await db.run(_STATE, call.named, done)
    return answer(201, orders.reply(placed))


async def cancel(db: Transaction, call: Call, _: Nothing) -> Answer:
    row = await _locked(db, call.named)
    after = advance(CHECKOUT_STATES, CheckoutState(row[4]), CheckoutSignal.CANCEL, "checkout")
    await db.run(_STATE, call.named, after)
    return answer(200, await checkout(db, call, call.named))


async def checkout(db: Transaction, call: Call, name: str) -> Checkout:
    row = await db.one(f"{_SELECT} WHERE checkout = $1", name)
    if row is None:
        raise _unknown()
    return _reply(row)


def promised(asked: CheckoutRequest) -> dict[str, object]:
    """What the merchant's signature covers."""
    return {"checkout": asked.checkout, "merchant": asked.merchant, "offer": asdict(asked.offer)}


def read_offer(text: str) -> Offer:
    """The stored offer, as the merchant signed it."""
    return msgspec.json.decode(text, type=Offer)


# --- helpers ----------------------------------------------------------------------------------


def _way(offer: Offer, asked: ChoiceRequest) -> Way:
    found = [way for way in offer.ways if way.way == asked.way]
    if not found:
        detail = "the merchant does not offer this way"
        raise ProblemError(422, "unknown-option", detail, param="$.way")
    region = asked.destination.region if asked.destination else ""
    if found[0].regions and region not in found[0].regions:
        detail = "this way does not go there; its regions are in the offer"
        raise ProblemError(422, "other-region", detail, param="$.destination")
    return found[0]


def _check_fresh(valid_until_s: int, now_s: int) -> None:
    if valid_until_s <= now_s:
        raise ProblemError(409, "quote-expired", "the merchant's offer is too old: get a new one")


async def _same_currency(db: Transaction, account: str, currency: str) -> None:
    row = await db.one("SELECT currency FROM account WHERE account = $1", account)
    if row is None:
        raise ProblemError(404, "unknown-account", "no account has this id")
    if row[0] != currency:
        detail = f"{currency} asked, the account is in {row[0]}"
        raise ProblemError(422, "currency-mismatch", detail, param="$.offer.currency")


async def _locked(db: Transaction, name: str) -> Row:
    row = await db.one(f"{_SELECT} WHERE checkout = $1 FOR UPDATE", name)
    if row is None:
        raise _unknown()
    return row


def _unknown() -> ProblemError:
    return ProblemError(404, "unknown-checkout", "no checkout has this id")


def _reply(row: Row) -> Checkout:
    return Checkout(
        checkout=row[0],
        account=row[1],
        merchant=row[2],
        currency=row[3],
        state=row[4],
        version=row[5],
        way=row[10],
        chosen_extras=msgspec.json.decode(row[11], type=list[str]),
        lines_minor=row[12],
        way_minor=row[13],
        extras_minor=row[14],
        tax_minor=row[15],
        discount_minor=row[16],
        total_minor=row[17],
        totals_hash=row[18],
        valid_until_s=row[8],
    )


_SELECT = (
    "SELECT checkout, account, merchant, currency, state, version, offer, merchant_signature,"
    " valid_until_s, destination, way, extras, lines_minor, way_minor, extras_minor, tax_minor,"
    " discount_minor, total_minor, totals_hash FROM checkout"
)
_INSERT = f"INSERT INTO checkout VALUES ({', '.join(f'${i}' for i in range(1, 21))})"
_CHOOSE = (
    "UPDATE checkout SET state = $2, version = version + 1, destination = $3, way = $4,"
    " extras = $5, way_minor = $6, extras_minor = $7, total_minor = $8, totals_hash = $9"
    " WHERE checkout = $1"
)
_STATE = "UPDATE checkout SET state = $2, version = version + 1 WHERE checkout = $1"
