"""The retailer's part: a purchase request from a closed cart, and the check of its reply.

We never send prices, and we never capture a reply that does not add up: each line we asked for
comes back once, with its SKU and quantity, ``total = unitPrice * quantity - discount``, and the
total is the sum of the lines. A total that differs by one cent is a named error, not a rounding.
What is sold by weight has its quantity in grams and its unit price per kilogram; its gross is
rounded half up, the one rounding there is.
"""

from __future__ import annotations

from cloud_sync.entries import auth_events, wall_ns
from cloud_sync.purchase import charged_lines
from cloud_sync.wall_time import rfc3339
from messages.contract import (
    CartItem,
    PurchaseLine,
    PurchaseReply,
    PurchaseRequest,
    Quantity,
    ShopperIdentity,
    ShoppingTrip,
)
from messages.events import CartClosed, CartLine, Evidence, PricedLine
from messages.ids import LineId, Sku, StoreId
from messages.money import EXPONENT, Money

TOTAL_WHOLE_MAX = 100_000  # units of the currency; no basket costs more, a slipped point does
NAME_LENGTH_MAX = 200  # characters of a product name on a receipt
GRAM = "gram"  # the unit of what is sold by weight; its unit price is per kilogram


class PriceMismatch(ValueError):  # noqa: N818 - the word that alarms and docs use
    """The reply contradicts the request or itself; says where. Such a price is never captured."""


def purchase_request(cart: CartClosed, store: StoreId) -> PurchaseRequest:
    """The body of POST /v1/order/purchases: the charged lines alone, no prices."""
    trip = ShoppingTrip(
        startTime=rfc3339(cart.started_at_wall_ns),
        endTime=rfc3339(cart.ended_at_wall_ns),
        authEvents=auth_events(cart),
        partySize=cart.party_size,
    )
    return PurchaseRequest(
        requestId=f"{cart.visit}:price",
        idempotentShoppingTripId=cart.visit,
        storeId=store,
        shoppingTrip=trip,
        cartItems=[_item(line, cart) for line in charged_lines(cart)],
        shopperIdentity=ShopperIdentity(id=cart.account),
    )


def check_reply(
    asked: PurchaseRequest, reply: PurchaseReply, currency: str
) -> tuple[tuple[PricedLine, ...], Money]:
    """The priced lines in the order asked, and their total.

    Raises:
        PriceMismatch: a line unknown, missing or twice; another SKU or quantity; an amount that
            is negative, out of bounds or does not add up; another currency.
    """
    _require(reply.currency == currency, f"currency {reply.currency!r}, the store's is {currency}")
    _require(0 < len(reply.purchaseId) <= NAME_LENGTH_MAX, "purchaseId is empty or too long")
    replied = {line.lineItemId: line for line in reply.lines}
    wanted = {item.lineItemId for item in asked.cartItems}
    _require(len(replied) == len(reply.lines), "a line comes twice")
    _require(replied.keys() <= wanted, f"unknown lines {sorted(replied.keys() - wanted)[:3]}")
    _require(replied.keys() >= wanted, f"missing lines {sorted(wanted - replied.keys())[:3]}")
    lines = tuple(_priced(item, replied[item.lineItemId], currency) for item in asked.cartItems)
    total = sum(line.total_minor for line in lines)
    _require(reply.total == total, f"total is {reply.total}, the lines add up to {total}")
    _require(total <= _most_minor(currency), f"total {total} is beyond reason")
    return lines, Money(minor=total, currency=currency)


def gross_minor(unit_price: int, quantity: int, unit: str) -> int:
    """What a line costs before its discount."""
    if unit == GRAM:
        return (2 * unit_price * quantity + 1000) // 2000  # half up; neither is negative
    return unit_price * quantity


def _item(line: CartLine, cart: CartClosed) -> CartItem:
    return CartItem(
        id=line.sku,
        quantity=Quantity(value=line.quantity, unit=line.unit),
        lineItemId=line.line,
        confidence=round(line.probability, 6),
        takenAt=rfc3339(wall_ns(line.taken_at_ns, cart)),
        evidence=_evidence(line.evidence, cart),
    )


def _evidence(evidence: Evidence, cart: CartClosed) -> dict[str, str]:
    """What a dispute needs, as text; empty fields are left out."""
    fields = {
        "shelf": evidence.shelf or "",
        "plates": ",".join(evidence.plates),
        "plateShare": ",".join(f"{share:.3f}" for share in evidence.plate_share),
        "massG": f"{evidence.mass_g:.1f}" if evidence.mass_g else "",
        "massSdG": f"{evidence.mass_sd_g:.1f}" if evidence.mass_sd_g else "",
        "steps": ",".join(str(step) for step in evidence.step_ids),
        "tracks": ",".join(str(track) for track in evidence.track_ids),
        "note": evidence.note,
    }
    if evidence.ended_at_ns:
        fields["startedAt"] = rfc3339(wall_ns(evidence.started_at_ns, cart))
        fields["endedAt"] = rfc3339(wall_ns(evidence.ended_at_ns, cart))
    return {name: text for name, text in fields.items() if text}


def _priced(item: CartItem, line: PurchaseLine, currency: str) -> PricedLine:
    """One line of the reply, checked against what was asked."""
    where = f"line {item.lineItemId}"
    most = _most_minor(currency)
    _require(line.id == item.id, f"{where}: SKU {line.id!r}, asked for {item.id!r}")
    _require(
        line.quantity == item.quantity.value,
        f"{where}: quantity {line.quantity}, asked for {item.quantity.value}",
    )
    _require(0 <= line.unitPrice <= most, f"{where}: unitPrice {line.unitPrice} out of bounds")
    gross = gross_minor(line.unitPrice, line.quantity, item.quantity.unit)
    _require(0 <= line.discount <= gross, f"{where}: discount {line.discount} of {gross}")
    due = gross - line.discount
    _require(line.total == due, f"{where}: total {line.total}, it should be {due}")
    _require(0 <= line.tax <= line.total, f"{where}: tax {line.tax} of {line.total}")
    return PricedLine(
        line=LineId(item.lineItemId),
        sku=Sku(line.id),
        name=line.name[:NAME_LENGTH_MAX],
        quantity=line.quantity,
        unit_price_minor=line.unitPrice,
        discount_minor=line.discount,
        tax_minor=line.tax,
        total_minor=line.total,
    )


def _most_minor(currency: str) -> int:
    return int(TOTAL_WHOLE_MAX * 10 ** EXPONENT[currency])


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PriceMismatch(otherwise)
