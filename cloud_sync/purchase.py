"""What settlement is made of: the stages of a purchase, signals in, requests and receipt out.

Pure types; ``settlement.py`` holds the table that joins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cloud_sync.amounts import Amounts
from cloud_sync.demands import Demand, Reply
from messages.contract import (
    AdjustRequest,
    AuthEvent,
    CaptureRequest,
    HoldRequest,
    VoidRequest,
)
from messages.events import (
    CartClosed,
    CartLine,
    CloudEvent,
    LineState,
    PricedLine,
    VisitEnded,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CredentialId, StoreId, VisitId
from messages.money import Money
from messages.retailer_contract import EntryRequest, IdentityRequest


class SettlementError(ValueError):
    """A signal that has no row in the table for this stage, or an answer to another question."""


class Stage(StrEnum):
    NEW = "new"
    VERIFYING = "verifying"  # the retailer is asked whose key it is
    DECIDING = "deciding"  # the retailer is asked how much to hold
    HOLD_REQUESTED = "hold_requested"
    HELD = "held"  # inside, a hold in force: waits for the cart
    NO_HOLD = "no_hold"  # inside, declined at entry or staff: waits for the cart
    CLOSING = "closing"  # the cart is known, the hold is not answered yet
    PRICING = "pricing"
    BAD_CART = "bad_cart"  # the retailer does not know an SKU: its group is parked
    BAD_PRICE = "bad_price"  # the reply does not add up: its group is parked
    ADJUSTING = "adjusting"
    CAPTURING = "capturing"
    PRICED = "priced"  # payment mode: waits for the retailer's word
    VOIDING = "voiding"  # nothing to pay: the hold is being released
    PAID = "paid"
    FREE = "free"
    UNPAID = "unpaid"
    CANCELLED = "cancelled"  # given up by an operator before it was priced, or by the retailer
    CONTESTED = "contested"  # a person has to look
    REVIEWED = "reviewed"  # looked at, and it stands
    REFUNDING = "refunding"
    REFUNDED = "refunded"  # all of it


ENDS = frozenset(
    {Stage.PAID, Stage.FREE, Stage.UNPAID, Stage.CANCELLED, Stage.REVIEWED, Stage.REFUNDED}
)


class Operation(StrEnum):
    VERIFY = "verify"
    ADMIT = "admit"
    HOLD = "hold"
    PRICE = "price"
    ADJUST = "adjust"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    WEBHOOK = "webhook"


# --- signals ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDeclined:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A reply that ``pricing.check_reply`` accepted."""

    purchase: str
    total: Money
    lines: tuple[PricedLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRefused:
    """The retailer cannot price the cart; ``detail`` names the SKU."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRefused:
    """We do not accept the retailer's price; ``detail`` says where it does not add up."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustDeclined:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    capture: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureDeclined:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldVoided:
    """The hold is released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """An operator voided the request that the purchase waits for."""

    reason: str


Signal: TypeAlias = (
    VisitStarted
    | VisitEnded
    | CartClosed
    | Held
    | HoldDeclined
    | Priced
    | CartRefused
    | PriceRefused
    | Adjusted
    | AdjustDeclined
    | Captured
    | CaptureDeclined
    | HoldVoided
    | GivenUp
    | Demand
    | Reply
)

# --- state and outputs ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What settlement takes from store.toml."""

    store: StoreId
    merchant: str
    currency: str
    hold_minor: int
    amounts: Amounts = Amounts.MINOR  # on the retailer's wire
    entry_check: bool = False  # the retailer is asked who enters, and how much to hold
    payments: str = "broker"  # the destination of holds and captures
    retailer_charges: bool = False  # payment mode: the retailer says what to capture


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One visit's settlement. ``held_minor`` 0: no hold in force."""

    visit: VisitId
    stage: Stage = Stage.NEW
    account: AccountRef = AccountRef("")
    credential: CredentialId = CredentialId("")
    kind: VisitKind = VisitKind.SHOPPER
    held_minor: int = 0
    decline_reason: str = ""
    cart: CartClosed | None = None
    purchase: str = ""
    lines: tuple[PricedLine, ...] = ()
    total: Money | None = None
    capture: str = ""
    wall_minus_store_ns: int = 0
    events: int = 0  # made so far: numbers their ids
    shopper: str = ""  # the retailer's name for the account
    party_size: int = 1
    started_wall_ns: int = 0
    unpaid_minor: int = 0  # owed from earlier visits, as the retailer says
    adjusts: int = 0  # asked for so far
    told: int = 0  # final receipts so far
    left_wall_ns: int = 0  # the party is out since then; 0: inside, as far as we know
    provisional_wall_ns: int = 0  # when the provisional receipt was told
    refund: str = ""  # the one under way
    refund_minor: int = 0
    refunds: tuple[str, ...] = ()  # done
    refund_minors: tuple[int, ...] = ()  # of those; fewer in a purchase of an older version
    refunded_minor: int = 0

    @property
    def hold(self) -> str:
        return f"hold-{self.visit}"


def charged_lines(cart: CartClosed) -> tuple[CartLine, ...]:
    """What is priced: nothing of a staff visit, and no doubtful line."""
    if cart.kind is VisitKind.STAFF:
        return ()
    return tuple(line for line in cart.lines if line.state is LineState.CHARGED)


def reviewed_lines(cart: CartClosed) -> tuple[CartLine, ...]:
    """What is shown to the shopper and not charged."""
    return tuple(line for line in cart.lines if line.state is not LineState.CHARGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundBody:
    """POST /v1/captures/{capture}/refund."""

    refund: str
    amount_minor: int
    currency: str
    reason: str


Body: TypeAlias = (
    HoldRequest
    | CartClosed
    | AdjustRequest
    | CaptureRequest
    | VoidRequest
    | RefundBody
    | IdentityRequest
    | EntryRequest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to make; of a pricing, ``body`` is the cart. ``hold``: the id in its path, of a
    refund the capture's. ``name``: tells requests of one operation apart."""

    operation: Operation
    body: Body
    hold: str = ""
    name: str = ""


OPEN_RECEIPTS = frozenset({"provisional", "pending", "priced", "parked", "bad_cart"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the shopper and the retailer are shown.

    ``state``: provisional (the cart as known at the exit), pending, priced, parked or bad_cart
    while open; paid, free, unpaid or void at the end; then contested, reviewed, refunded, settled.
    ``number``: of the final receipts of this visit.
    """

    visit: VisitId
    account: AccountRef
    state: str
    total: Money
    purchase: str = ""
    capture: str = ""
    lines: tuple[PricedLine, ...] = ()
    in_review: tuple[CartLine, ...] = ()
    started_wall_ns: int = 0
    exit_wall_ns: int = 0
    issued_wall_ns: int = 0
    detail: str = ""
    refunded_minor: int = 0
    number: int = 0
    auth_events: tuple[AuthEvent, ...] = ()  # every credential of the trip
    party_size: int = 1
    provisional: tuple[CartLine, ...] = ()  # the cart as it was known at the exit
    provisional_wall_ns: int = 0  # when that was told
    due_wall_ns: int = 0  # of a provisional one: final, or told what is in review, by then
    kind: str = ""  # of its webhook, where the state does not say it


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The outcome of one signal. ``refused``: why the request's group has to park; ``inside``: why
    the shopper, who is in the store, will not pay."""

    purchase: Purchase
    asks: tuple[Ask, ...] = ()
    events: tuple[CloudEvent, ...] = ()
    receipt: Receipt | None = None
    refused: str = ""
    inside: str = ""
