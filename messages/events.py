"""Events: what we concluded. Durable, never edited; a correction is a new event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from messages.ids import (
    AccountRef,
    CredentialId,
    DeviceId,
    EventId,
    FacingId,
    GateId,
    LineId,
    PlateId,
    ReviewId,
    ShelfId,
    Sku,
    VisitId,
)
from messages.money import Money


class VisitKind(StrEnum):
    SHOPPER = "shopper"
    STAFF = "staff"  # never charged


class RefusalReason(StrEnum):
    MALFORMED = "malformed"  # not one of our tokens
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    WRONG_STORE = "wrong_store"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ALREADY_USED = "already_used"
    DENIED = "denied"  # on the deny list
    STORE_CLOSED = "store_closed"
    GATE_BUSY = "gate_busy"  # another party is passing; the token stays unused
    CLOCK_UNCERTAIN = "clock_uncertain"  # wall time unknown: validity cannot be judged
    STORE_FULL = "store_full"
    OFFLINE_LIMIT = "offline_limit"  # nobody can be asked now, and this account came in often


class EndReason(StrEnum):
    EXIT = "exit"
    NO_PASSAGE = "no_passage"  # the gate opened and nobody came in
    TIMEOUT = "timeout"  # inside for longer than the store allows: somebody left unseen
    STORE_CLOSED = "store_closed"
    EMPTY_STORE = "empty_store"  # all cameras see, and nobody is inside: an exit was not counted


class LineState(StrEnum):
    CHARGED = "charged"
    REVIEW = "review"  # in doubt: shown, not charged


class CartState(StrEnum):
    CLOSED = "closed"
    REVIEW = "review"  # closed with at least one doubtful line that nobody resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base: the engine stamps ``id``; ``at_ns`` is store time at which it was concluded."""

    id: EventId = EventId("")
    at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why we think so: the step of mass, where and when, and who was near."""

    started_at_ns: int = 0
    ended_at_ns: int = 0
    shelf: ShelfId | None = None
    plates: tuple[PlateId, ...] = ()
    plate_share: tuple[float, ...] = ()  # parallel to plates, adds up to 1
    mass_g: float = 0.0  # negative: removed from the shelf
    mass_sd_g: float = 0.0
    step_ids: tuple[int, ...] = ()
    track_ids: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One explanation of a doubt. ``visit`` None = nobody; quantity > 0 taken, < 0 returned."""

    visit: VisitId | None
    sku: Sku | None
    quantity: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitStarted(Event):
    """A credential was accepted; emitted before the gate is unlocked."""

    visit: VisitId
    credential: CredentialId
    account: AccountRef
    gate: GateId
    party_size: int
    kind: VisitKind = VisitKind.SHOPPER


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitJoined(Event):
    """Another credential of the account lets ``party_size`` more people into its visit."""

    visit: VisitId
    credential: CredentialId
    account: AccountRef
    gate: GateId
    party_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitEnded(Event):
    """The party is out. ``lines``: its cart as it is known now, evidence left out; what was taken
    last is still being weighed, and doubtful lines wait for an answer until ``due_at_wall_ns``."""

    visit: VisitId
    reason: EndReason
    gate: GateId | None = None
    lines: tuple[CartLine, ...] = ()
    ended_at_wall_ns: int = 0  # 0: the wall clock is unknown
    due_at_wall_ns: int = 0  # the cart is closed by then


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRefused(Event):
    gate: GateId
    reason: RefusalReason
    credential: CredentialId | None = None  # None where no valid signature was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class TailgateSuspected(Event):
    gate: GateId
    visit: VisitId | None
    people: int  # passages above the party size


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTaken(Event):
    visit: VisitId
    sku: Sku
    quantity: int  # > 0, in the SKU's unit
    probability: float
    line: LineId
    evidence: Evidence = Evidence()
    unit: str = "piece"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReturned(Event):
    visit: VisitId
    sku: Sku
    quantity: int  # > 0
    probability: float
    line: LineId
    evidence: Evidence = Evidence()
    unit: str = "piece"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHandedOver(Event):
    from_visit: VisitId
    to_visit: VisitId
    sku: Sku
    quantity: int
    probability: float
    evidence: Evidence = Evidence()
    line: LineId = LineId("")  # of the taker's cart; "" = the event's id


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRequested(Event):
    """A doubt: nobody is charged for it until a person, or better evidence, decides."""

    review: ReviewId
    reason: str
    candidates: tuple[Candidate, ...]  # most probable first
    evidence: Evidence = Evidence()
    visits: tuple[VisitId, ...] = ()  # whose carts wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResolved(Event):
    """``visit`` None: nobody is charged. ``by``: operator role, "evidence" or "deadline"."""

    review: ReviewId
    visit: VisitId | None
    sku: Sku | None
    quantity: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CartLine:
    line: LineId
    sku: Sku
    quantity: int
    probability: float
    state: LineState
    taken_at_ns: int
    unit: str = "piece"
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A further credential of a visit, and when it was accepted."""

    credential: CredentialId
    at_ns: int
    gate: GateId
    party_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CartClosed(Event):
    """Final: what settlement prices. Only lines in state ``charged`` are priced."""

    visit: VisitId
    credential: CredentialId
    account: AccountRef
    kind: VisitKind
    party_size: int
    entry_gate: GateId
    exit_gate: GateId | None
    started_at_ns: int
    ended_at_ns: int
    started_at_wall_ns: int
    ended_at_wall_ns: int
    state: CartState
    lines: tuple[CartLine, ...]
    joined: tuple[Joined, ...] = ()  # credentials after the first


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised(Event):
    """Something a person should look at; ``key`` is stable so that it can be cleared."""

    key: str
    severity: str  # "warning" | "critical"
    detail: str
    device: DeviceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCleared(Event):
    key: str
    device: DeviceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanogramProposed(Event):
    """What is taken off a facing weighs like another product, again and again.

    A planogram change by an operator accepts it. ``candidates``: products that fit, likeliest
    first, ``visit`` None; ``evidence``: the latest take, with the steps of all of them.
    """

    facing: FacingId
    sku: Sku
    instead_of: Sku
    probability: float  # that this SKU stands there
    takes: int
    candidates: tuple[Candidate, ...] = ()
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class FacingSoldOut(Event):
    """The plates of a facing weigh nothing any more, with the probability that nothing is left."""

    facing: FacingId
    sku: Sku
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FacingRefilled(Event):
    """Something stands on a facing again that was sold out; ``units`` of its SKU, estimated."""

    facing: FacingId
    sku: Sku
    units: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLine:
    """The retailer's answer for one line, minor units of the purchase's currency."""

    line: LineId
    sku: Sku
    name: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasePriced(Event):
    visit: VisitId
    purchase: str
    total: Money
    lines: tuple[PricedLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAuthorized(Event):
    visit: VisitId
    hold: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCaptured(Event):
    visit: VisitId
    hold: str
    capture: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentDeclined(Event):
    visit: VisitId
    hold: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRefunded(Event):
    visit: VisitId
    capture: str
    amount: Money
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptIssued(Event):
    visit: VisitId
    account: AccountRef
    purchase: str
    capture: str | None  # None: nothing to pay
    total: Money
    lines: tuple[PricedLine, ...]
    in_review: tuple[CartLine, ...] = ()  # shown to the shopper, not charged


StoreEvent: TypeAlias = (
    VisitStarted
    | VisitJoined
    | VisitEnded
    | EntryRefused
    | TailgateSuspected
    | ItemTaken
    | ItemReturned
    | ItemHandedOver
    | ReviewRequested
    | ReviewResolved
    | CartClosed
    | AlarmRaised
    | AlarmCleared
    | PlanogramProposed
    | FacingSoldOut
    | FacingRefilled
)
CloudEvent: TypeAlias = (
    PurchasePriced
    | PaymentAuthorized
    | PaymentCaptured
    | PaymentDeclined
    | PaymentRefunded
    | ReceiptIssued
)
