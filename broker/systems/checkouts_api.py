"""Routes of system G: checkouts, orders, shipments, merchants' notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi, web
from broker.database import Transaction
from broker.routes import PAGE, PAGE_MAX, Call, Command, Nothing, Question, Route
from broker.systems import checkouts, merchant_notices, orders, shipments
from broker.systems.parties import operators
from broker.validation import ID, NAMED, NOT_NEGATIVE, Listed, OneOf, Text, also

OPTION = Text(r"[a-z0-9_-]*", 32)
HAPPENED = tuple(state.value for state in shipments.ShipmentState)

also(
    {
        "checkout": ID,
        "order_id": ID,
        "shipment": ID,
        "event": ID,
        "happened": OneOf(HAPPENED),
        "way": OPTION,
        "by": OneOf(("carry_out", "pick_up", "locker", "ship")),
        "ways": Listed(50, 1),
        "extra": OPTION,
        "extras": Listed(50),
        "chosen_extras": Listed(50, 0, OPTION),
        "region": Text(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", 6),  # ISO 3166
        "regions": Listed(300, 0, Text(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", 6)),
        "address": NAMED,
        "line_ids": Listed(1000, 1, ID),
        "price_minor": NOT_NEGATIVE,
        "tax_minor": NOT_NEGATIVE,
        "discount_minor": NOT_NEGATIVE,
        "totals_hash": Text(r"([0-9a-f]{64})?", 64),
    }
)


def _notices(
    call: Call,
) -> Callable[[Transaction], Awaitable[merchant_notices.MerchantNoticePage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = max(1, web.query_counter(call.query, "limit", PAGE, PAGE_MAX))
    return lambda db: merchant_notices.page(db, call, after, limit)


_CHECKOUTS: tuple[Route, ...] = (
    Command(
        path="/v1/checkouts",
        scope="checkouts",
        takes=checkouts.CheckoutRequest,
        gives=checkouts.Checkout,
        effect=checkouts.open_checkout,
    ),
    Question(
        path="/v1/checkouts/{id}",
        scope="checkouts",
        gives=checkouts.Checkout,
        ask=lambda call: lambda db: checkouts.checkout(db, call, call.named),
    ),
    Command(
        path="/v1/checkouts/{id}",
        scope="checkouts",
        takes=checkouts.ChoiceRequest,
        gives=checkouts.Checkout,
        effect=checkouts.choose,
        method="PUT",
        status=200,
        edits=True,
    ),
    Command(
        path="/v1/checkouts/{id}/complete",
        scope="checkouts",
        takes=checkouts.CompleteRequest,
        gives=orders.ShopOrder,
        effect=checkouts.complete,
    ),
    Command(
        path="/v1/checkouts/{id}/cancel",
        scope="checkouts",
        takes=Nothing,
        gives=checkouts.Checkout,
        effect=checkouts.cancel,
        status=200,
    ),
)

_ORDERS: tuple[Route, ...] = (
    Question(
        path="/v1/merchants/{id}/notices",
        scope="merchants",
        gives=merchant_notices.MerchantNoticePage,
        ask=_notices,
        query=(openapi.whole("after", 0, web.COUNTER_MAX), openapi.LIMIT),
    ),
    Question(
        path="/v1/orders/{id}",
        scope="merchants",
        gives=orders.ShopOrder,
        ask=lambda call: lambda db: orders.order(db, call, call.named),
    ),
    Command(
        path="/v1/orders/{id}/accept",
        scope="merchants",
        takes=Nothing,
        gives=orders.ShopOrder,
        effect=orders.accept,
        status=200,
    ),
    Command(
        path="/v1/orders/{id}/cancel",
        scope="merchants",
        takes=Nothing,
        gives=orders.ShopOrder,
        effect=orders.cancel,
        status=200,
    ),
    Command(
        path="/v1/orders/{id}/shipments",
        scope="merchants",
        takes=shipments.ShipmentRequest,
        gives=shipments.Shipment,
        effect=shipments.pack,
    ),
    Question(
        path="/v1/orders/{id}/shipments/{shipment}",
        scope="merchants",
        gives=shipments.Shipment,
        ask=lambda call: lambda db: shipments.shipment(db, call, call.named, call.path["shipment"]),
    ),
    Command(
        path="/v1/orders/{id}/shipments/{shipment}/events",
        scope="merchants",
        takes=shipments.ShipmentEventRequest,
        gives=shipments.Shipment,
        effect=shipments.event,
        status=200,
    ),
)

ROUTES = (*operators(_CHECKOUTS), *_ORDERS)  # orders look at the merchant themselves
