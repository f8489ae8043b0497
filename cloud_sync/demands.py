"""Signals beside the usual way: the entry's questions, payment mode, disputes and refunds.

What the retailer (``connector.py``) or an operator demands of a purchase, and what the other side
answers to it. Pure types; ``settlement.py`` holds the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The retailer knows the key; ``shopper``: its own name for who it is."""

    shopper: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The retailer lets the shopper buy; ``hold_minor``: at most this may be held."""

    hold_minor: int
    unpaid_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAdmitted:
    reason: str
    unpaid_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeAdjust:
    """Payment mode: raise the hold to this whole amount."""

    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeCapture:
    """Payment mode: take this, at most what is held."""

    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeCancel:
    """Payment mode: take nothing."""

    reason: str = "cancelled by the retailer"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAsked:
    """Give back part of a captured amount. ``refund``: the demand's own id, done once."""

    refund: str
    amount_minor: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    refund: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundDeclined:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """The shopper says that lines are wrong. ``lines`` empty: all of them."""

    reason: str
    lines: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A person looked at a contested purchase, and it stands."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledElsewhere:
    """An unpaid purchase was paid by other means; the retailer says so."""

    amount_minor: int
    at: str = ""


Demand: TypeAlias = (
    ChargeAdjust
    | ChargeCapture
    | ChargeCancel
    | RefundAsked
    | Contested
    | Reviewed
    | SettledElsewhere
)
Reply: TypeAlias = Verified | Admitted | NotAdmitted | Refunded | RefundDeclined
