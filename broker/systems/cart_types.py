"""System D: what carts, parts and purchases are; their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class CartState(StrEnum):
    OPEN = "open"
    FROZEN = "frozen"
    PAID = "paid"
    CANCELED = "canceled"


class CartSignal(StrEnum):
    EDIT = "edit"
    PUBLISH = "publish"
    PAY = "pay"
    CANCEL = "cancel"


CART_STATES: Mapping[tuple[CartState, CartSignal], CartState] = {
    (CartState.OPEN, CartSignal.EDIT): CartState.OPEN,
    (CartState.OPEN, CartSignal.PUBLISH): CartState.FROZEN,
    (CartState.FROZEN, CartSignal.PUBLISH): CartState.FROZEN,
    (CartState.OPEN, CartSignal.PAY): CartState.PAID,
    (CartState.OPEN, CartSignal.CANCEL): CartState.CANCELED,
    (CartState.FROZEN, CartSignal.CANCEL): CartState.CANCELED,
    (CartState.CANCELED, CartSignal.CANCEL): CartState.CANCELED,
}


class PartState(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


class PartSignal(StrEnum):
    QUOTE = "quote"
    REJECT = "reject"


PART_STATES: Mapping[tuple[PartState, PartSignal], PartState] = {
    (PartState.PENDING, PartSignal.QUOTE): PartState.CONFIRMED,
    (PartState.CONFIRMED, PartSignal.QUOTE): PartState.CONFIRMED,
    (PartState.REJECTED, PartSignal.QUOTE): PartState.CONFIRMED,
    (PartState.PENDING, PartSignal.REJECT): PartState.REJECTED,
    (PartState.CONFIRMED, PartSignal.REJECT): PartState.REJECTED,
    (PartState.REJECTED, PartSignal.REJECT): PartState.REJECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRequest:
    """POST /v1/carts: an empty cart of a shopper."""

    cart: str
    account: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketLine:
    """``total_minor``: the merchant's price of all of the line; 0 while it is pending."""

    line_id: str
    name: str
    quantity: int
    total_minor: int
    gtin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRequest:
    """POST /v1/carts/{cart}/parts: a merchant's signed quote of its part.

    Signed is ``{cart, merchant, currency, lines, valid_until_s}`` for ``cart part``.
    """

    merchant: str
    lines: list[MarketLine]
    valid_until_s: int
    merchant_signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPart:
    cart: str
    merchant: str
    state: str
    currency: str
    lines: list[MarketLine]
    total_minor: int
    valid_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCart:
    """``total_minor``: of the confirmed parts; ``shown``: the digest that a purchase confirms."""

    cart: str
    account: str
    currency: str
    state: str
    version: int
    parts: list[MarketPart]
    total_minor: int
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CartPurchaseRequest:
    """POST /v1/carts/{cart}/purchase. ``shown``: of the cart as the shopper saw it."""

    purchase: str
    total_minor: int
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    merchant: str
    amount_minor: int
    fee_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CartPurchase:
    purchase: str
    cart: str
    total_minor: int
    currency: str
    splits: list[Split]
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRefundRequest:
    """POST /v1/carts/{cart}/refunds: at one merchant's cost."""

    refund: str
    merchant: str
    amount_minor: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRefund:
    refund: str
    cart: str
    merchant: str
    amount_minor: int
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRow:
    cart: str
    account: str
    currency: str
    state: CartState
    version: int
    total_minor: int
    purchase: str | None
    journal: int | None
