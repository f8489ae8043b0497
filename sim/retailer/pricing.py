"""What a cart costs at the reference retailer: integer prices, tax included.

A promotion counts over the whole cart, as at a till: three waters on three lines are "3 for 2".
A line is charged what the item cost when it was taken, and goods by weight per kilogram.
Its discount is spread over the lines by quantity with the largest remainder, so that the lines
add up to the cent. Pure; a cart that cannot be priced is a ``CartError`` that names the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloud_sync.pricing import gross_minor
from cloud_sync.wall_time import unix_ns
from messages.contract import (
    CartItem,
    PurchaseLine,
    PurchaseReply,
    PurchaseRequest,
    ShoppingTrip,
)
from messages.money import Money, allocate
from sim.retailer.catalogue import PROMOTION_PATTERN, Catalogue, Item

LINES_MAX = 1000
ENTRIES_MAX = 100  # credentials of one trip
PARTY_MAX = 1_000  # people of one trip
QUANTITY_MAX = {"piece": 999, "gram": 100_000}
TEXT_MAX = 200


class CartError(ValueError):
    """A cart that cannot be priced. ``slug``: of the problem; ``param``: JSONPath."""

    def __init__(self, slug: str, detail: str, param: str) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.param = slug, detail, param


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    item: Item  # with the price that held when it was taken
    line: str
    quantity: int


def price(request: PurchaseRequest, catalogue: Catalogue, purchase_id: str) -> PurchaseReply:
    """Every line priced, in the order asked; an empty cart costs nothing and is no purchase.

    Raises:
        CartError: an unknown SKU, a repeated line, or a field out of bounds.
    """
    check(request)
    wanted = [_wanted(i, item, catalogue) for i, item in enumerate(request.cartItems)]
    discounts = _discounts(wanted, catalogue.currency)
    lines = [_line(one, discount) for one, discount in zip(wanted, discounts, strict=True)]
    return PurchaseReply(
        purchaseId=purchase_id if lines else "",
        currency=catalogue.currency,
        lines=lines,
        total=sum(line.total for line in lines),
    )


def check(request: PurchaseRequest) -> None:
    """What the types do not say; raises CartError."""
    for name in ("requestId", "idempotentShoppingTripId", "storeId"):
        _text(getattr(request, name), f"$.{name}")
    _text(request.shopperIdentity.id, "$.shopperIdentity.id")
    _check_trip(request.shoppingTrip)
    if len(request.cartItems) > LINES_MAX:
        raise CartError("invalid-body", f"more than {LINES_MAX} lines", "$.cartItems")
    seen = set[str]()
    for i, item in enumerate(request.cartItems):
        _check_item(item, f"$.cartItems[{i}]")
        if item.lineItemId in seen:
            param = f"$.cartItems[{i}].lineItemId"
            raise CartError("duplicate-line", "this lineItemId came before in the cart", param)
        seen.add(item.lineItemId)


def discount_minor(item: Item, quantity: int) -> int:
    """What the item's promotion takes off ``quantity`` pieces."""
    match = PROMOTION_PATTERN.fullmatch(item.promotion)
    if match is None:
        return 0
    if match[3] is not None:
        return _rounded(item.price_minor * quantity * int(match[3]), 100)
    taken, paid = int(match[1]), int(match[2])
    return quantity // taken * (taken - paid) * item.price_minor


def tax_within(total_minor: int, tax_permille: int) -> int:
    """The tax that a price with tax contains, rounded half up."""
    return _rounded(total_minor * tax_permille, 1000 + tax_permille)


def _check_trip(trip: ShoppingTrip) -> None:
    """A trip has at least one entry, all of them at instants."""
    if not 1 <= len(trip.authEvents) <= ENTRIES_MAX:
        said = f"not within 1 and {ENTRIES_MAX} entries"
        raise CartError("invalid-body", said, "$.shoppingTrip.authEvents")
    if not 1 <= trip.partySize <= PARTY_MAX:
        said = f"not within 1 and {PARTY_MAX}"
        raise CartError("invalid-body", said, "$.shoppingTrip.partySize")
    _instant(trip.startTime, "$.shoppingTrip.startTime")
    _instant(trip.endTime, "$.shoppingTrip.endTime")
    for i, event in enumerate(trip.authEvents):
        _text(event.id, f"$.shoppingTrip.authEvents[{i}].id")
        _instant(event.timestamp, f"$.shoppingTrip.authEvents[{i}].timestamp")


def _check_item(item: CartItem, path: str) -> None:
    _text(item.lineItemId, f"{path}.lineItemId")
    _text(item.id, f"{path}.id")
    if item.type not in ("SKU", "SCANCODE"):
        raise CartError("invalid-body", "neither SKU nor SCANCODE", f"{path}.type")
    most = QUANTITY_MAX.get(item.quantity.unit, 0)
    if not most:
        raise CartError("invalid-body", "neither piece nor gram", f"{path}.quantity.unit")
    if not 1 <= item.quantity.value <= most:
        raise CartError("invalid-body", f"not within 1 and {most}", f"{path}.quantity.value")
    _instant(item.takenAt, f"{path}.takenAt")
    if not 0.0 <= item.confidence <= 1.0:
        raise CartError("invalid-body", "not a probability", f"{path}.confidence")


def _instant(text: str, path: str) -> None:
    try:
        unix_ns(text)
    except ValueError:
        raise CartError("invalid-body", "not an RFC 3339 instant", path) from None


def _text(text: str, path: str) -> None:
    if not 1 <= len(text) <= TEXT_MAX or not text.isprintable():
        raise CartError("invalid-body", f"not 1 to {TEXT_MAX} printable characters", path)


def _wanted(i: int, item: CartItem, catalogue: Catalogue) -> _Wanted:
    found = catalogue.items.get(item.id)
    if item.type == "SCANCODE":
        by_code = (one for one in catalogue.items.values() if _gtin14(one.gtin) == _gtin14(item.id))
        found = next(by_code, None)
    if found is None:
        detail = f"{item.type} {item.id} is not in the catalogue"
        raise CartError("unknown-sku", detail, f"$.cartItems[{i}].id")
    if item.quantity.unit != found.unit:
        detail = f"{found.id} is sold by the {found.unit}"
        raise CartError("invalid-body", detail, f"$.cartItems[{i}].quantity.unit")
    then = replace(found, price_minor=found.price_at(unix_ns(item.takenAt)))
    return _Wanted(item=then, line=item.lineItemId, quantity=item.quantity.value)


def _gtin14(code: str) -> str:
    """GTINs of all lengths compare as fourteen digits (GS1 General Specifications)."""
    return code.rjust(14, "0")


def _discounts(wanted: Sequence[_Wanted], currency: str) -> list[int]:
    """The discount of each line: its SKU's, spread by quantity."""
    discounts = [0] * len(wanted)
    for sku in dict.fromkeys(one.item.id for one in wanted):
        places = [i for i, one in enumerate(wanted) if one.item.id == sku]
        shares = [wanted[i].quantity for i in places]
        cheapest = min((wanted[i].item for i in places), key=lambda item: item.price_minor)
        total = discount_minor(cheapest, sum(shares))
        parts = allocate(Money(minor=total, currency=currency), shares)
        for i, part in zip(places, parts, strict=True):
            discounts[i] = part.minor
    return discounts


def _line(one: _Wanted, discount: int) -> PurchaseLine:
    total = gross_minor(one.item.price_minor, one.quantity, one.item.unit) - discount
    return PurchaseLine(
        lineItemId=one.line,
        id=one.item.id,
        name=one.item.name,
        quantity=one.quantity,
        unitPrice=one.item.price_minor,
        discount=discount,
        tax=tax_within(total, one.item.tax_permille),
        total=total,
    )


def _rounded(numerator: int, denominator: int) -> int:
    """Half up; both are not negative."""
    return (2 * numerator + denominator) // (2 * denominator)
