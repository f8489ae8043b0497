"""System C's states and messages: statements, purchases, refunds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class StatementState(StrEnum):
    OPEN = "open"
    CLOSING = "closing"
    ISSUED = "issued"
    PAID = "paid"
    DUNNING = "dunning"
    WRITTEN_OFF = "written-off"


class StatementSignal(StrEnum):
    CLOSE = "close"
    ISSUE = "issue"
    PAY = "pay"
    DECLINE = "decline"
    WRITE_OFF = "write-off"


STATEMENT_STATES: Mapping[tuple[StatementState, StatementSignal], StatementState] = {
    (StatementState.OPEN, StatementSignal.CLOSE): StatementState.CLOSING,
    (StatementState.CLOSING, StatementSignal.ISSUE): StatementState.ISSUED,
    (StatementState.ISSUED, StatementSignal.PAY): StatementState.PAID,
    (StatementState.ISSUED, StatementSignal.DECLINE): StatementState.DUNNING,
    (StatementState.DUNNING, StatementSignal.DECLINE): StatementState.DUNNING,
    (StatementState.DUNNING, StatementSignal.PAY): StatementState.PAID,
    (StatementState.DUNNING, StatementSignal.WRITE_OFF): StatementState.WRITTEN_OFF,
}

# What a purchase is follows from its statement.
PURCHASE_STATE: Mapping[StatementState, str] = {
    StatementState.OPEN: "accrued",
    StatementState.CLOSING: "stated",
    StatementState.ISSUED: "stated",
    StatementState.PAID: "paid",
    StatementState.DUNNING: "debt",
    StatementState.WRITTEN_OFF: "written-off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseLine:
    """``gross_minor``: what was charged, VAT included; ``vat_bp``: 1900 = 19 %."""

    line_id: str
    name: str
    quantity: int
    gross_minor: int
    vat_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseRequest:
    """POST /v1/micro-purchases: a captured visit of a buyer, with its lines for the invoice."""

    capture: str
    purchase_lines: list[PurchaseLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroPurchase:
    """``payout``: "" until the seller's is made."""

    capture: str
    account: str
    merchant: str
    statement: str
    payout: str
    state: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroRefundRequest:
    """POST /v1/micro-purchases/{id}/refunds: pieces of one line came back."""

    refund: str
    line_id: str
    quantity: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroRefund:
    """``credit_note``: its number when the purchase was invoiced already, else ""."""

    refund: str
    capture: str
    amount_minor: int
    currency: str
    credit_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """``total_minor``: its purchases less what was refunded before it was issued.

    ``due_minor``: what is to be collected; a refund while it is in dunning makes that smaller.
    """

    statement: str
    account: str
    currency: str
    state: str
    total_minor: int
    due_minor: int
    purchases: list[str]
    invoices: list[str]
    opened_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPage:
    """Go on from ``after`` while ``more``."""

    statements: list[Statement]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPayment:
    """POST /v1/statements/{id}/payments: the provider collected exactly what is due."""

    payment: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementReason:
    """POST /v1/statements/{id}/decline, /write-off."""

    reason: str = ""
