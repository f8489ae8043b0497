"""Routes of system D: merchants, carts, references."""

from __future__ import annotations

from broker.routes import Command, Nothing, Question, Route
from broker.systems import cart_refs, cart_types, carts, merchants
from broker.systems.parties import operators
from broker.systems.secret_codes import CodeCommand
from broker.validation import ID, NAMED, OneOf, Text, Whole, also

also(
    {
        "cart": ID,
        "ref": ID,
        "name": NAMED,
        "mode": OneOf(("copy", "shared")),
        "lives_s": Whole(60, cart_refs.LIVES_S_MAX),
        "merchant_signature": Text(r"[A-Za-z0-9+/]{86}==", 88),
        "public_key": Text(r"[0-9a-f]{64}", 64),
        "fee_permille": Whole(0, 500),
        "shown": Text(r"[0-9a-f]{64}", 64),
    }
)

_MERCHANTS: tuple[Route, ...] = (
    Command(
        path="/v1/merchants/{id}",
        scope="admin",
        takes=merchants.MerchantRequest,
        gives=merchants.Merchant,
        effect=merchants.set_merchant,
        method="PUT",
        status=200,
        edits=True,
    ),
    Question(
        path="/v1/merchants/{id}",
        scope="merchants",
        gives=merchants.Merchant,
        ask=lambda call: lambda db: merchants.seen(db, call),
    ),
)

_CARTS: tuple[Route, ...] = (
    Command(
        path="/v1/carts",
        scope="carts",
        takes=cart_types.CartRequest,
        gives=cart_types.MarketCart,
        effect=carts.open_cart,
    ),
    Question(
        path="/v1/carts/{id}",
        scope="carts",
        gives=cart_types.MarketCart,
        ask=lambda call: lambda db: carts.cart(db, call, call.named),
    ),
    Command(
        path="/v1/carts/{id}/parts",
        scope="merchants",
        takes=cart_types.PartRequest,
        gives=cart_types.MarketPart,
        effect=carts.quote,
    ),
    Question(
        path="/v1/carts/{id}/parts/{merchant}",
        scope="merchants",
        gives=cart_types.MarketPart,
        ask=lambda call: lambda db: carts.part(db, call, call.named, call.path["merchant"]),
    ),
    Command(
        path="/v1/carts/{id}/parts/{merchant}/reject",
        scope="merchants",
        takes=Nothing,
        gives=cart_types.MarketPart,
        effect=carts.reject,
        status=200,
    ),
    Command(
        path="/v1/carts/{id}/purchase",
        scope="carts",
        takes=cart_types.CartPurchaseRequest,
        gives=cart_types.CartPurchase,
        effect=carts.purchase,
    ),
    Command(
        path="/v1/carts/{id}/cancel",
        scope="carts",
        takes=Nothing,
        gives=cart_types.MarketCart,
        effect=carts.cancel,
        status=200,
    ),
    Command(
        path="/v1/carts/{id}/refunds",
        scope="merchants",
        takes=cart_types.CartRefundRequest,
        gives=cart_types.CartRefund,
        effect=carts.refund,
    ),
    CodeCommand(
        path="/v1/carts/{id}/refs",
        scope="carts",
        takes=cart_refs.RefRequest,
        gives=cart_refs.CartRef,
        effect=cart_refs.publish,
        purpose=cart_refs.PURPOSE,
        names="ref",
    ),
)

_REFS: tuple[Route, ...] = (
    Command(
        path="/v1/cart-refs/copy",
        scope="carts",
        takes=cart_refs.CopyRequest,
        gives=cart_types.MarketCart,
        effect=cart_refs.copy,
    ),
    Command(
        path="/v1/cart-refs/purchase",
        scope="carts",
        takes=cart_refs.SharedPurchaseRequest,
        gives=cart_types.CartPurchase,
        effect=cart_refs.purchase,
    ),
    Question(
        path="/v1/cart-refs/{id}",
        scope="carts",
        gives=cart_refs.RefView,
        ask=lambda call: lambda db: cart_refs.opened(db, call, call.named),
    ),
    Command(
        path="/v1/cart-refs/{id}/revoke",
        scope="carts",
        takes=Nothing,
        gives=cart_refs.RefView,
        effect=cart_refs.revoke,
        status=200,
    ),
)

ROUTES = operators(
    (*_MERCHANTS, *_CARTS, *_REFS),
    but=(
        "GET /v1/merchants/{id}",
        "POST /v1/carts/{id}/parts",
        "GET /v1/carts/{id}/parts/{merchant}",
        "POST /v1/carts/{id}/parts/{merchant}/reject",
        "POST /v1/carts/{id}/refunds",
    ),
)
