"""The HTTP contracts as types: the retailer's pricing, the broker, and webhook bodies.

Plain dataclasses, so that the services (FastAPI) and the clients (msgspec) share one definition.
The retailer contract keeps the camelCase names of the connector it is shaped after (Amazon's
public ``POST /v1/order/purchases``), with ``confidence``, ``takenAt`` and ``evidence`` added per
line; the broker's is our own and speaks snake_case. Amounts are integer minor units; instants are
RFC 3339 text. Every POST carries ``Idempotency-Key``; errors are RFC 9457 problem documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Headers beside Idempotency-Key that the outbox adds to each request of a serialization group.
HEADER_GROUP = "Walkout-Group"
HEADER_SEQUENCE = "Walkout-Sequence"
HEADER_ATTEMPT = "Walkout-Attempt"

PROBLEM_BASE = "https://walkout.example/problems/"  # + a slug such as "unknown-sku"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str = ""
    param: str = ""  # JSONPath of what is wrong


# --- retailer: POST /v1/order/purchases -> 201 ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthEvent:
    id: str  # credential id
    timestamp: str
    location: str = "ENTRY"
    payloadType: str = "SCAN_CODE"  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class ShoppingTrip:
    startTime: str  # noqa: N815
    endTime: str  # noqa: N815
    authEvents: list[AuthEvent]  # one for each credential of a group  # noqa: N815
    partySize: int = 1  # people who came in on them  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    value: int
    unit: str = "piece"  # or "gram"


@dataclass(frozen=True, slots=True, kw_only=True)
class CartItem:
    id: str  # SKU
    type: str = "SKU"
    quantity: Quantity
    lineItemId: str  # noqa: N815
    confidence: float
    takenAt: str  # noqa: N815
    evidence: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopperIdentity:
    id: str  # account reference, opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseRequest:
    requestId: str  # noqa: N815
    idempotentShoppingTripId: str  # the visit  # noqa: N815
    storeId: str  # noqa: N815
    shoppingTrip: ShoppingTrip  # noqa: N815
    cartItems: list[CartItem]  # noqa: N815
    shopperIdentity: ShopperIdentity  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseLine:
    """``total = unitPrice * quantity - discount``; tax is included in the price.

    Of what is sold by weight ``quantity`` is in grams and ``unitPrice`` per kilogram.
    """

    lineItemId: str  # noqa: N815
    id: str
    name: str
    quantity: int
    unitPrice: int  # noqa: N815
    discount: int
    tax: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseReply:
    purchaseId: str  # noqa: N815
    currency: str
    lines: list[PurchaseLine]
    total: int


# --- broker -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRequest:
    """POST /v1/accounts -> 201. ``payment_ref``: the provider's opaque token, no card data."""

    account: str
    currency: str
    limit_minor: int  # most that may be held and owed at once
    payment_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    account: str
    currency: str
    limit_minor: int
    held_minor: int
    owed_minor: int
    status: str  # "active" | "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRequest:
    """POST /v1/entry-credentials -> 201."""

    account: str
    store: str
    party_size: int = 1
    kind: str = "shopper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    credential: str  # jti
    token: str  # PASETO v4.public, what the QR code shows
    expires_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """POST /v1/holds -> 201 Hold; the id comes from the store: "hold-<visit>"."""

    hold: str
    account: str
    store: str
    visit: str
    credential: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    hold: str
    account: str
    status: str  # "held" | "captured" | "void" | "declined" | "expired"
    amount_minor: int
    captured_minor: int
    currency: str
    reason: str = ""  # of a decline


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustRequest:
    """POST /v1/holds/{hold}/adjust -> 200 Hold: raise a hold before a larger capture."""

    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """POST /v1/holds/{hold}/capture -> 201 Capture; the rest of the hold is released.

    ``capture``: "capture-<visit>". ``lines`` adds up to ``amount_minor``; the broker checks it.
    """

    capture: str
    merchant: str
    purchase: str
    amount_minor: int
    currency: str
    line_totals: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    capture: str
    hold: str
    account: str
    merchant: str
    purchase: str
    amount_minor: int
    currency: str
    journal: int  # number of the ledger journal
    status: str = "captured"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidRequest:
    """POST /v1/holds/{hold}/void -> 200 Hold."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """GET /v1/books: what the ledger says, per currency. ``balances``: account -> minor."""

    currency: str
    balances: dict[str, int]
    journals: int
    captures: int
    captured_minor: int
    holds_open: int
    unbalanced_journals: int  # always 0; a check anybody can make


# --- webhooks ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookBody:
    """Body of a Standard Webhooks delivery, a CloudEvent too; ``type`` e.g. "receipt.issued"."""

    type: str
    timestamp: str
    data: dict[str, object]
    specversion: str = "1.0"
    id: str = ""  # the webhook-id; of one event in a batch its own
    source: str = ""  # "/stores/<store>"
    subject: str = ""  # the visit
    time: str = ""  # the same instant as ``timestamp``
    datacontenttype: str = "application/json"
