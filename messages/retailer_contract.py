"""The rest of retailer contract v1: who enters, what may be held, and what the retailer asks of us.

``contract.py`` has the purchase; here are the two questions at the entry that a store may ask, and
the calls of the retailer's side (``cloud_sync/connector.py``): payment mode, disputes, catalogue.
Names and paths follow Amazon's public connector where it has them. An ``Amount`` is in minor units
(1299) or text with the currency's decimals ("12.99"), by the configuration of the adapter; the
types here hold minor units, ``cloud_sync/amounts.py`` translates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from messages.contract import AuthEvent, ShopperIdentity

IDENTITY_PATH = "/v1/identity/identity-keys"
ENTRY_PATH = "/v1/fraudandabuse/shopperauthorization"
PURCHASES_PATH = "/v1/order/purchases"


class Choice(StrEnum):
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"


class EntryReason(StrEnum):
    """Why somebody is not authorized, or for less."""

    NONE = ""
    UNKNOWN_SHOPPER = "UNKNOWN_SHOPPER"
    CUSTOMER_FRAUD = "CUSTOMER_FRAUD"
    BAD_DEBT = "BAD_DEBT"
    INVALID_PAYMENT = "INVALID_PAYMENT"
    OTHER = "OTHER"


class ReasonCode(StrEnum):
    """Why a line or a purchase is contested or refunded."""

    NOT_TAKEN = "NOT_TAKEN"
    PUT_BACK = "PUT_BACK"
    WRONG_ITEM = "WRONG_ITEM"
    WRONG_QUANTITY = "WRONG_QUANTITY"
    WRONG_PRICE = "WRONG_PRICE"
    DAMAGED_ITEM = "DAMAGED_ITEM"
    NOT_MY_VISIT = "NOT_MY_VISIT"
    GOODWILL = "GOODWILL"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    amount: int
    currencyCode: str  # noqa: N815


# --- the store asks: POST /v1/identity/identity-keys -> 200 -----------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRequest:
    requestId: str  # noqa: N815
    storeId: str  # noqa: N815
    identityKey: str  # what the credential says about the shopper, opaque  # noqa: N815
    keyChannel: str = "OPTICAL"  # noqa: N815
    authEvent: AuthEvent  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityReply:
    """``shopperIdentity``: of an accepted key."""

    decision: Choice
    shopperIdentity: ShopperIdentity | None = None  # noqa: N815
    reason: EntryReason = EntryReason.NONE


# --- the store asks: POST /v1/fraudandabuse/shopperauthorization -> 200 -----------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRequest:
    requestId: str  # noqa: N815
    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815
    shopperIdentity: ShopperIdentity  # noqa: N815
    authEvent: AuthEvent  # noqa: N815
    authorizedAmount: Amount  # what we are about to hold  # noqa: N815
    partySize: int = 1  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``ADJUST``: hold this much instead; never more than was asked for."""

    type: str
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReply:
    shopperAuthorized: bool  # noqa: N815
    authorizationConditions: list[Condition] = field(default_factory=list)  # noqa: N815
    reason: EntryReason = EntryReason.NONE
    unpaidBalance: Amount | None = None  # owed from earlier visits  # noqa: N815


# --- the retailer asks: payment mode ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """POST /v1/adjust/charge, /v1/capture/charge: the whole amount, never the difference."""

    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815
    amount: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """POST /v1/cancel/charge: nothing is charged, what is held is released."""

    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """POST /v1/refund: give back part of a captured amount, or all of it."""

    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815
    refundRequestId: str  # noqa: N815
    amount: Amount
    refundReasonCode: ReasonCode  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestRequest:
    """POST /v1/contest: the shopper says that lines are wrong; a person looks."""

    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815
    reasonCode: ReasonCode  # noqa: N815
    lineItemIds: list[str] = field(default_factory=list)  # empty: all of it  # noqa: N815
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentStatusRequest:
    """POST /v1/feedback/payment-status: an unpaid purchase was settled elsewhere."""

    storeId: str  # noqa: N815
    shoppingTripId: str  # noqa: N815
    totalAmount: Amount  # noqa: N815
    settledAmount: Amount  # noqa: N815
    paymentStatusTime: str  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class TripState:
    """GET /v1/trips/{shoppingTripId}: where a purchase stands; amounts in minor units."""

    shoppingTripId: str  # noqa: N815
    state: str
    heldMinor: int  # noqa: N815
    totalMinor: int  # noqa: N815
    capture: str
    refundedMinor: int  # noqa: N815
    currencyCode: str  # noqa: N815
    refused: str = ""  # why nothing is held, where the entry was refused
    unpaidMinor: int = 0  # owed from earlier visits, as the entry decision said  # noqa: N815


# --- the retailer asks: catalogue -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueItem:
    """``standard_price`` holds from ``valid_from`` on; of a gram item it is per kilogram."""

    item_sku: str
    item_name: str
    standard_price: Amount
    external_product_id: str = ""  # GTIN
    unit: str = "piece"  # or "gram"
    valid_from: str = ""  # RFC 3339; empty: now


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueUpload:
    """POST /v1/catalog/upload -> 202 ``IngestionAccepted``. At most 5,000 items a call."""

    storeId: str  # noqa: N815
    items: list[CatalogueItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestionAccepted:
    ingestionId: str  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedItem:
    index: int
    item_sku: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestionReport:
    """GET /v1/catalog/uploads/{ingestionId}; ``missing``: on our shelves, not in the catalogue."""

    ingestionId: str  # noqa: N815
    status: str  # "PENDING" | "DONE"
    accepted: int = 0
    refused: list[RefusedItem] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
