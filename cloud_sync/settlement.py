"""Settlement: from a visit's start to its receipt, as a transition table.

    (stage, signal) -> (stage, requests to make, events, receipt)

Pure. Signals are facts of the journal (the visit started, the cart closed), answers of the broker
and the retailer, and an operator's decision to give a request up. What is unknown is no signal: the
outbox sends the same request again under the same key until an answer comes. The hold is the
ceiling of a capture; a purchase above it asks for a raise first. Money moves in one place only, the
capture, and only after the retailer's reply was checked line by line. The picture of the table is
in docs/guides/settlement.md; a test draws it from TABLE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cloud_sync.purchase import (
    ENDS,
    AdjustDeclined,
    Adjusted,
    Ask,
    Captured,
    CaptureDeclined,
    CartRefused,
    GivenUp,
    Held,
    HoldDeclined,
    HoldVoided,
    Operation,
    Priced,
    PriceRefused,
    Purchase,
    Receipt,
    SettlementError,
    Signal,
    Stage,
    Step,
    Terms,
    charged_lines,
    reviewed_lines,
)
from messages.contract import AdjustRequest, CaptureRequest, HoldRequest, VoidRequest
from messages.events import (
    CartClosed,
    CloudEvent,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentDeclined,
    PurchasePriced,
    ReceiptIssued,
    VisitKind,
    VisitStarted,
)
from messages.ids import EventId
from messages.money import Money


def settle(purchase: Purchase, signal: Signal, now_wall_ns: int, terms: Terms) -> Step:
    """One transition.

    Raises:
        SettlementError: the table has no row for it, or the answer is to another question.
    """
    row = TABLE.get((purchase.stage, type(signal)))
    if row is None:
        name = type(signal).__name__
        raise SettlementError(f"{purchase.visit} is {purchase.stage}: {name} has no place there")
    step = row.act(_Turn(purchase=purchase, now_wall_ns=now_wall_ns, terms=terms), signal)
    if step.purchase.stage not in row.to:
        raise SettlementError(f"{purchase.visit}: {step.purchase.stage} is no end of this row")
    return step


# --- what the rows do -------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Turn:
    """One transition in the making: numbers events, stamps them, builds receipts."""

    purchase: Purchase
    now_wall_ns: int
    terms: Terms

    def stamp(self) -> tuple[EventId, int]:
        """The id of the next event and its instant in store time."""
        made = self.purchase.events + 1
        self.purchase = replace(self.purchase, events=made)
        at_ns = max(0, self.now_wall_ns - self.purchase.wall_minus_store_ns)
        return EventId(f"{self.purchase.visit}-s{made}"), at_ns

    def money(self, minor: int) -> Money:
        return Money(minor=minor, currency=self.terms.currency)

    def to(self, stage: Stage) -> Purchase:
        return replace(self.purchase, stage=stage)

    def receipt(self, state: str, total: Money | None = None, detail: str = "") -> Receipt:
        done, cart = self.purchase, self.purchase.cart
        issued = state not in ("pending", "parked", "bad_cart")
        return Receipt(
            visit=done.visit,
            account=done.account,
            state=state,
            total=total or done.total or self.money(0),
            purchase=done.purchase,
            capture=done.capture,
            lines=done.lines,
            in_review=reviewed_lines(cart) if cart else (),
            started_wall_ns=cart.started_at_wall_ns if cart else 0,
            exit_wall_ns=cart.ended_at_wall_ns if cart else 0,
            issued_wall_ns=self.now_wall_ns if issued else 0,
            detail=detail,
        )


def _started(turn: _Turn, signal: VisitStarted) -> Step:
    turn.purchase = replace(
        turn.purchase,
        account=signal.account,
        credential=signal.credential,
        kind=signal.kind,
        wall_minus_store_ns=turn.now_wall_ns - signal.at_ns,
    )
    if signal.kind is VisitKind.STAFF:
        return Step(purchase=turn.to(Stage.NO_HOLD))
    hold = HoldRequest(
        hold=turn.purchase.hold,
        account=signal.account,
        store=turn.terms.store,
        visit=signal.visit,
        credential=signal.credential,
        amount_minor=turn.terms.hold_minor,
        currency=turn.terms.currency,
    )
    ask = Ask(operation=Operation.HOLD, body=hold, hold=turn.purchase.hold)
    return Step(purchase=turn.to(Stage.HOLD_REQUESTED), asks=(ask,))


def _held(turn: _Turn, signal: Held) -> Step:
    turn.purchase = replace(turn.purchase, held_minor=signal.amount_minor)
    event_id, at_ns = turn.stamp()
    authorized = PaymentAuthorized(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        hold=turn.purchase.hold,
        amount=turn.money(signal.amount_minor),
    )
    return _hold_answered(turn, Stage.HELD, authorized)


def _declined_at_entry(turn: _Turn, signal: HoldDeclined | GivenUp) -> Step:
    turn.purchase = replace(turn.purchase, decline_reason=signal.reason or "declined")
    return _hold_answered(turn, Stage.NO_HOLD, _declined(turn, signal.reason))


def _hold_answered(turn: _Turn, waiting: Stage, event: CloudEvent) -> Step:
    """Wait for the cart, or go on with the one that came before the answer."""
    if turn.purchase.cart is None:
        return Step(purchase=turn.to(waiting), events=(event,))
    step = _price_or_free(turn)
    return replace(step, events=(event, *step.events))


def _cart_early(turn: _Turn, signal: CartClosed) -> Step:
    _remember(turn, signal)
    return Step(purchase=turn.to(Stage.CLOSING), receipt=turn.receipt("pending"))


def _cart(turn: _Turn, signal: CartClosed) -> Step:
    _remember(turn, signal)
    return _price_or_free(turn)


def _remember(turn: _Turn, cart: CartClosed) -> None:
    turn.purchase = replace(
        turn.purchase,
        cart=cart,
        account=cart.account,
        credential=cart.credential,
        kind=cart.kind,
        wall_minus_store_ns=cart.ended_at_wall_ns - cart.ended_at_ns,
    )


def _price_or_free(turn: _Turn) -> Step:
    """A cart with nothing charged costs nothing; any other is priced by the retailer."""
    cart = turn.purchase.cart
    assert cart is not None
    if not charged_lines(cart):
        return _nothing_to_pay(turn)
    return Step(
        purchase=turn.to(Stage.PRICING),
        asks=(Ask(operation=Operation.PRICE, body=cart),),
        receipt=turn.receipt("pending"),
    )


def _nothing_to_pay(turn: _Turn, *events: CloudEvent) -> Step:
    if not turn.purchase.held_minor:
        return _free(turn, *events)
    return Step(
        purchase=turn.to(Stage.VOIDING),
        asks=(_void(turn, "nothing to pay"),),
        events=events,
        receipt=turn.receipt("pending"),
    )


def _released(turn: _Turn, signal: HoldVoided | GivenUp) -> Step:
    turn.purchase = replace(turn.purchase, held_minor=0)
    return _free(turn)


def _free(turn: _Turn, *events: CloudEvent) -> Step:
    issued = _receipt_issued(turn, turn.money(0), None)
    step = Step(purchase=turn.to(Stage.FREE), events=(*events, issued))
    return replace(step, receipt=turn.receipt("free", turn.money(0)))


def _priced(turn: _Turn, signal: Priced) -> Step:
    turn.purchase = replace(
        turn.purchase, purchase=signal.purchase, lines=signal.lines, total=signal.total
    )
    event_id, at_ns = turn.stamp()
    priced = PurchasePriced(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        purchase=signal.purchase,
        total=signal.total,
        lines=signal.lines,
    )
    if signal.total.minor == 0:
        return _nothing_to_pay(turn, priced)
    if not turn.purchase.held_minor:
        return _unpaid(turn, turn.purchase.decline_reason or "no hold", priced)
    if signal.total.minor > turn.purchase.held_minor:
        raise_to = AdjustRequest(amount_minor=signal.total.minor)
        ask = Ask(operation=Operation.ADJUST, body=raise_to, hold=turn.purchase.hold)
        return _open(turn, Stage.ADJUSTING, ask, priced)
    return _open(turn, Stage.CAPTURING, _capture(turn), priced)


def _open(turn: _Turn, stage: Stage, ask: Ask, *events: CloudEvent) -> Step:
    return Step(
        purchase=turn.to(stage), asks=(ask,), events=events, receipt=turn.receipt("pending")
    )


def _cart_refused(turn: _Turn, signal: CartRefused) -> Step:
    receipt = turn.receipt("bad_cart", detail=signal.detail)
    return Step(purchase=turn.to(Stage.BAD_CART), receipt=receipt, refused=signal.detail)


def _price_refused(turn: _Turn, signal: PriceRefused) -> Step:
    receipt = turn.receipt("parked", detail=signal.detail)
    return Step(purchase=turn.to(Stage.BAD_PRICE), receipt=receipt, refused=signal.detail)


def _adjusted(turn: _Turn, signal: Adjusted) -> Step:
    assert turn.purchase.total is not None
    if signal.amount_minor < turn.purchase.total.minor:
        raise SettlementError(
            f"the hold was raised to {signal.amount_minor}, asked for {turn.purchase.total.minor}"
        )
    turn.purchase = replace(turn.purchase, held_minor=signal.amount_minor)
    return _open(turn, Stage.CAPTURING, _capture(turn))


def _captured(turn: _Turn, signal: Captured) -> Step:
    total = turn.purchase.total
    assert total is not None
    if signal.amount_minor != total.minor:
        raise SettlementError(f"captured {signal.amount_minor}, the purchase is {total.minor}")
    turn.purchase = replace(turn.purchase, capture=signal.capture, held_minor=0)
    event_id, at_ns = turn.stamp()
    captured = PaymentCaptured(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        hold=turn.purchase.hold,
        capture=signal.capture,
        amount=total,
    )
    issued = _receipt_issued(turn, total, signal.capture)
    step = Step(purchase=turn.to(Stage.PAID), events=(captured, issued))
    return replace(step, receipt=turn.receipt("paid"))


def _declined_at_exit(turn: _Turn, signal: AdjustDeclined | CaptureDeclined | GivenUp) -> Step:
    """Not paid: what was held is released, so that nobody is blocked and in debt at once."""
    step = _unpaid(turn, signal.reason or "declined")
    return replace(step, asks=(_void(turn, "unpaid"),))


def _unpaid(turn: _Turn, reason: str, *events: CloudEvent) -> Step:
    declined = _declined(turn, reason)
    receipt = turn.receipt("unpaid", detail=reason)
    return Step(purchase=turn.to(Stage.UNPAID), events=(*events, declined), receipt=receipt)


def _given_up(turn: _Turn, signal: GivenUp) -> Step:
    """An operator gave the pricing up: nothing is charged, what was held is released."""
    asks = (_void(turn, "cancelled"),) if turn.purchase.held_minor else ()
    receipt = turn.receipt("void", turn.money(0), detail=signal.reason)
    return Step(purchase=turn.to(Stage.CANCELLED), asks=asks, receipt=receipt)


def _released_late(turn: _Turn, signal: HoldVoided | GivenUp) -> Step:
    return Step(purchase=replace(turn.purchase, held_minor=0))


def _capture(turn: _Turn) -> Ask:
    total = turn.purchase.total
    assert total is not None
    body = CaptureRequest(
        capture=f"capture-{turn.purchase.visit}",
        merchant=turn.terms.merchant,
        purchase=turn.purchase.purchase,
        amount_minor=total.minor,
        currency=total.currency,
        line_totals=[line.total_minor for line in turn.purchase.lines],
    )
    return Ask(operation=Operation.CAPTURE, body=body, hold=turn.purchase.hold)


def _void(turn: _Turn, reason: str) -> Ask:
    body = VoidRequest(reason=reason)
    return Ask(operation=Operation.VOID, body=body, hold=turn.purchase.hold)


def _declined(turn: _Turn, reason: str) -> PaymentDeclined:
    event_id, at_ns = turn.stamp()
    return PaymentDeclined(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        hold=turn.purchase.hold,
        reason=reason or "declined",
    )


def _receipt_issued(turn: _Turn, total: Money, capture: str | None) -> ReceiptIssued:
    event_id, at_ns = turn.stamp()
    cart = turn.purchase.cart
    return ReceiptIssued(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        account=turn.purchase.account,
        purchase=turn.purchase.purchase,
        capture=capture,
        total=total,
        lines=turn.purchase.lines,
        in_review=reviewed_lines(cart) if cart else (),
    )


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What one signal does in one stage, and every stage it can lead to."""

    act: Callable[..., Step]
    to: tuple[Stage, ...]


S = Stage
_HELD_CART = (S.PRICING, S.VOIDING)
_UNHELD_CART = (S.PRICING, S.FREE)
_AFTER_PRICE = (S.CAPTURING, S.ADJUSTING, S.VOIDING, S.FREE, S.UNPAID)


def _answers_to_pricing(stage: Stage) -> dict[tuple[Stage, type], Row]:
    return {
        (stage, Priced): Row(_priced, _AFTER_PRICE),
        (stage, CartRefused): Row(_cart_refused, (S.BAD_CART,)),
        (stage, PriceRefused): Row(_price_refused, (S.BAD_PRICE,)),
        (stage, GivenUp): Row(_given_up, (S.CANCELLED,)),
    }


TABLE: dict[tuple[Stage, type], Row] = {
    (S.NEW, VisitStarted): Row(_started, (S.HOLD_REQUESTED, S.NO_HOLD)),
    (S.NEW, CartClosed): Row(_cart, _UNHELD_CART),  # staff, or a start before our first journal
    (S.HOLD_REQUESTED, Held): Row(_held, (S.HELD,)),
    (S.HOLD_REQUESTED, HoldDeclined): Row(_declined_at_entry, (S.NO_HOLD,)),
    (S.HOLD_REQUESTED, GivenUp): Row(_declined_at_entry, (S.NO_HOLD,)),
    (S.HOLD_REQUESTED, CartClosed): Row(_cart_early, (S.CLOSING,)),
    (S.CLOSING, Held): Row(_held, _HELD_CART),
    (S.CLOSING, HoldDeclined): Row(_declined_at_entry, _UNHELD_CART),
    (S.CLOSING, GivenUp): Row(_declined_at_entry, _UNHELD_CART),
    (S.HELD, CartClosed): Row(_cart, _HELD_CART),
    (S.NO_HOLD, CartClosed): Row(_cart, _UNHELD_CART),
    **_answers_to_pricing(S.PRICING),
    **_answers_to_pricing(S.BAD_CART),  # a resumed request may be answered anew
    **_answers_to_pricing(S.BAD_PRICE),
    (S.ADJUSTING, Adjusted): Row(_adjusted, (S.CAPTURING,)),
    (S.ADJUSTING, AdjustDeclined): Row(_declined_at_exit, (S.UNPAID,)),
    (S.ADJUSTING, GivenUp): Row(_declined_at_exit, (S.UNPAID,)),
    (S.CAPTURING, Captured): Row(_captured, (S.PAID,)),
    (S.CAPTURING, CaptureDeclined): Row(_declined_at_exit, (S.UNPAID,)),
    (S.CAPTURING, GivenUp): Row(_declined_at_exit, (S.UNPAID,)),
    (S.VOIDING, HoldVoided): Row(_released, (S.FREE,)),
    (S.VOIDING, GivenUp): Row(_released, (S.FREE,)),
    (S.UNPAID, HoldVoided): Row(_released_late, (S.UNPAID,)),
    (S.UNPAID, GivenUp): Row(_released_late, (S.UNPAID,)),
    (S.CANCELLED, HoldVoided): Row(_released_late, (S.CANCELLED,)),
    (S.CANCELLED, GivenUp): Row(_released_late, (S.CANCELLED,)),
}


def diagram_markdown() -> str:
    """The table as a Mermaid diagram, one arrow for each pair of stages."""
    arrows: dict[tuple[Stage, Stage], list[str]] = {}
    for (stage, signal), row in TABLE.items():
        for to in row.to:
            arrows.setdefault((stage, to), []).append(signal.__name__)
    drawn = [f"    {a} --> {b}: {', '.join(on)}" for (a, b), on in arrows.items() if a != b]
    ends = [f"    {stage} --> [*]" for stage in Stage if stage in ENDS]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Stage.NEW}", *drawn, *ends, "```"]
    return "\n".join(lines) + "\n"
