"""System B's redemptions: states, messages, rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.systems.goods import CartLine


class RedemptionState(StrEnum):
    REQUESTED = "requested"
    RESERVED = "reserved"
    FULFILLED = "fulfilled"
    RELEASED = "released"
    REFUSED = "refused"


class RedemptionSignal(StrEnum):
    COVER = "cover"
    REFUSE = "refuse"
    FULFIL = "fulfil"
    RELEASE = "release"
    EXPIRE = "expire"


REDEMPTION_STATES: Mapping[tuple[RedemptionState, RedemptionSignal], RedemptionState] = {
    (RedemptionState.REQUESTED, RedemptionSignal.COVER): RedemptionState.RESERVED,
    (RedemptionState.REQUESTED, RedemptionSignal.REFUSE): RedemptionState.REFUSED,
    (RedemptionState.RESERVED, RedemptionSignal.FULFIL): RedemptionState.FULFILLED,
    (RedemptionState.RESERVED, RedemptionSignal.RELEASE): RedemptionState.RELEASED,
    (RedemptionState.RESERVED, RedemptionSignal.EXPIRE): RedemptionState.RELEASED,
    (RedemptionState.RELEASED, RedemptionSignal.RELEASE): RedemptionState.RELEASED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionRequest:
    """POST /v1/redemptions. ``ship_to``: an address, where the sponsor lets goods be shipped."""

    redemption: str
    grant: str
    store: str
    visit: str
    lines: list[CartLine]
    ship_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredLine:
    """How many pieces of a line, and how much of its total, the sponsor pays."""

    line_id: str
    gtin: str
    quantity: int
    total_minor: int
    covered_quantity: int
    covered_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """``refused``: nothing is covered, all of it is the consumer's."""

    redemption: str
    grant: str
    state: str
    currency: str
    sponsor_minor: int
    consumer_minor: int
    handover: str
    lines: list[CoveredLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class FulfilRequest:
    """POST /v1/redemptions/{id}/fulfil: the goods are with the consumer, or on their way.

    ``consumer_hold``: the consumer's own; exactly the uncovered part is captured from it.
    """

    capture: str
    merchant: str
    purchase: str
    handover: str
    consumer_hold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is left for one redemption."""

    items: int
    amount_minor: int
    item_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionRow:
    redemption: str
    grant: str
    store: str
    visit: str
    interval_no: int
    sponsor_minor: int
    consumer_minor: int
    hold: str | None
    ship_to: str
    handover: str
    state: RedemptionState
