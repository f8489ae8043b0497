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

from dataclasses import replace

from cloud_sync import disputes, entry_questions, payment_mode
from cloud_sync.demands import Admitted, NotAdmitted, Verified
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
    SettlementError,
    Signal,
    Stage,
    Step,
    Terms,
    charged_lines,
)
from cloud_sync.turn import Row, Turn, capture, declined_event, hold, receipt_issued, void
from messages.contract import AdjustRequest
from messages.events import (
    CartClosed,
    CloudEvent,
    EndReason,
    LineState,
    PaymentAuthorized,
    PaymentCaptured,
    PurchasePriced,
    VisitEnded,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef


def settle(purchase: Purchase, signal: Signal, now_wall_ns: int, terms: Terms) -> Step:
    """One transition.

    Raises:
        SettlementError: the table has no row for it, or the answer is to another question.
    """
    row = TABLE.get((purchase.stage, type(signal)))
    if row is None:
        name = type(signal).__name__
        raise SettlementError(f"{purchase.visit} is {purchase.stage}: {name} has no place there")
    step = row.act(Turn(purchase=purchase, now_wall_ns=now_wall_ns, terms=terms), signal)
    if step.purchase.stage not in row.to:
        raise SettlementError(f"{purchase.visit}: {step.purchase.stage} is no end of this row")
    if step.receipt is None or not step.receipt.issued_wall_ns:
        return step
    return replace(  # final receipts are numbered: each is told once
        step,
        purchase=replace(step.purchase, told=purchase.told + 1),
        receipt=replace(step.receipt, number=purchase.told),
    )


# --- what the rows do -------------------------------------------------------------------------


def _started(turn: Turn, signal: VisitStarted) -> Step:
    turn.purchase = replace(
        turn.purchase,
        account=signal.account,
        credential=signal.credential,
        kind=signal.kind,
        party_size=signal.party_size,
        started_wall_ns=turn.now_wall_ns,
        wall_minus_store_ns=turn.now_wall_ns - signal.at_ns,
    )
    if signal.kind is VisitKind.STAFF:
        return Step(purchase=turn.to(Stage.NO_HOLD))
    if turn.terms.entry_check:
        return entry_questions.verify(turn)
    return hold(turn, turn.terms.hold_minor)


def _left(turn: Turn, signal: VisitEnded) -> Step:
    """The party is out: what its cart holds as far as known, and until when that may change."""
    now_ns = turn.now_wall_ns  # of this process: it says when the shopper could know
    turn.purchase = replace(turn.purchase, left_wall_ns=signal.ended_at_wall_ns or now_ns)
    if signal.reason is EndReason.NO_PASSAGE or turn.purchase.kind is VisitKind.STAFF:
        return Step(purchase=turn.purchase)
    turn.purchase = replace(turn.purchase, provisional_wall_ns=now_ns)
    receipt = replace(
        turn.receipt("provisional"),
        started_wall_ns=turn.purchase.started_wall_ns,
        exit_wall_ns=turn.purchase.left_wall_ns,
        in_review=tuple(one for one in signal.lines if one.state is not LineState.CHARGED),
        provisional=signal.lines,
        due_wall_ns=signal.due_at_wall_ns,
    )
    return Step(purchase=turn.purchase, receipt=receipt)


def _held(turn: Turn, signal: Held) -> Step:
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


def _declined_at_entry(turn: Turn, signal: HoldDeclined | NotAdmitted | GivenUp) -> Step:
    turn.purchase = replace(turn.purchase, decline_reason=signal.reason or "declined")
    return _hold_answered(turn, Stage.NO_HOLD, declined_event(turn, signal.reason))


def _hold_answered(turn: Turn, waiting: Stage, event: CloudEvent) -> Step:
    """Wait for the cart, or go on with the one that came before the answer."""
    if turn.purchase.cart is None:
        inside = "" if turn.purchase.left_wall_ns else turn.purchase.decline_reason
        return Step(purchase=turn.to(waiting), events=(event,), inside=inside)
    step = _price_or_free(turn)
    return replace(step, events=(event, *step.events))


def _cart_early(turn: Turn, signal: CartClosed) -> Step:
    _remember(turn, signal)
    return Step(purchase=turn.to(Stage.CLOSING), receipt=turn.receipt("pending"))


def _cart(turn: Turn, signal: CartClosed) -> Step:
    _remember(turn, signal)
    return _price_or_free(turn)


def _remember(turn: Turn, cart: CartClosed) -> None:
    turn.purchase = replace(
        turn.purchase,
        cart=cart,
        account=cart.account,
        credential=cart.credential,
        kind=cart.kind,
        wall_minus_store_ns=cart.ended_at_wall_ns - cart.ended_at_ns,
    )


def _price_or_free(turn: Turn) -> Step:
    """A cart with nothing charged costs nothing; any other is priced by the retailer."""
    cart = turn.purchase.cart
    assert cart is not None
    if not charged_lines(cart):
        return _nothing_to_pay(turn)
    return Step(
        purchase=turn.to(Stage.PRICING),
        asks=(Ask(operation=Operation.PRICE, body=_as_known_there(turn, cart)),),
        receipt=turn.receipt("pending"),
    )


def _as_known_there(turn: Turn, cart: CartClosed) -> CartClosed:
    """The cart under the retailer's own name for the account, where it gave one."""
    return replace(cart, account=AccountRef(turn.purchase.shopper or cart.account))


def _not_admitted(turn: Turn, signal: NotAdmitted) -> Step:
    turn.purchase = replace(turn.purchase, unpaid_minor=signal.unpaid_minor)
    return _declined_at_entry(turn, signal)


def _cart_in_question(turn: Turn, signal: CartClosed) -> Step:
    """The cart came before the retailer answered who entered."""
    _remember(turn, signal)
    return Step(purchase=turn.purchase, receipt=turn.receipt("pending"))


def _nothing_to_pay(turn: Turn, *events: CloudEvent) -> Step:
    if not turn.purchase.held_minor:
        return _free(turn, *events)
    return Step(
        purchase=turn.to(Stage.VOIDING),
        asks=(void(turn, "nothing to pay"),),
        events=events,
        receipt=turn.receipt("pending"),
    )


def _released(turn: Turn, signal: HoldVoided | GivenUp) -> Step:
    turn.purchase = replace(turn.purchase, held_minor=0)
    return _free(turn)


def _free(turn: Turn, *events: CloudEvent) -> Step:
    issued = receipt_issued(turn, turn.money(0), None)
    step = Step(purchase=turn.to(Stage.FREE), events=(*events, issued))
    return replace(step, receipt=turn.receipt("free", turn.money(0)))


def _priced(turn: Turn, signal: Priced) -> Step:
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
    if turn.terms.retailer_charges:
        step = Step(purchase=turn.to(Stage.PRICED), events=(priced,))
        return replace(step, receipt=turn.receipt("priced"))
    if signal.total.minor > turn.purchase.held_minor:
        raise_to = AdjustRequest(amount_minor=signal.total.minor)
        ask = Ask(operation=Operation.ADJUST, body=raise_to, hold=turn.purchase.hold)
        return _open(turn, Stage.ADJUSTING, ask, priced)
    return _open(turn, Stage.CAPTURING, capture(turn), priced)


def _open(turn: Turn, stage: Stage, ask: Ask, *events: CloudEvent) -> Step:
    return Step(
        purchase=turn.to(stage), asks=(ask,), events=events, receipt=turn.receipt("pending")
    )


def _cart_refused(turn: Turn, signal: CartRefused) -> Step:
    receipt = turn.receipt("bad_cart", detail=signal.detail)
    return Step(purchase=turn.to(Stage.BAD_CART), receipt=receipt, refused=signal.detail)


def _price_refused(turn: Turn, signal: PriceRefused) -> Step:
    receipt = turn.receipt("parked", detail=signal.detail)
    return Step(purchase=turn.to(Stage.BAD_PRICE), receipt=receipt, refused=signal.detail)


def _adjusted(turn: Turn, signal: Adjusted) -> Step:
    assert turn.purchase.total is not None
    if turn.terms.retailer_charges:
        return payment_mode.adjusted(turn, signal)
    if signal.amount_minor < turn.purchase.total.minor:
        raise SettlementError(
            f"the hold was raised to {signal.amount_minor}, asked for {turn.purchase.total.minor}"
        )
    turn.purchase = replace(turn.purchase, held_minor=signal.amount_minor)
    return _open(turn, Stage.CAPTURING, capture(turn))


def _captured(turn: Turn, signal: Captured) -> Step:
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
    issued = receipt_issued(turn, total, signal.capture)
    step = Step(purchase=turn.to(Stage.PAID), events=(captured, issued))
    return replace(step, receipt=turn.receipt("paid"))


def _adjust_declined(turn: Turn, signal: AdjustDeclined | GivenUp) -> Step:
    if turn.terms.retailer_charges:
        return payment_mode.adjust_declined(turn, signal.reason)
    return _declined_at_exit(turn, signal)


def _declined_at_exit(turn: Turn, signal: AdjustDeclined | CaptureDeclined | GivenUp) -> Step:
    """Not paid: what was held is released, so that nobody is blocked and in debt at once."""
    step = _unpaid(turn, signal.reason or "declined")
    return replace(step, asks=(void(turn, "unpaid"),))


def _unpaid(turn: Turn, reason: str, *events: CloudEvent) -> Step:
    declined = declined_event(turn, reason)
    receipt = turn.receipt("unpaid", detail=reason)
    return Step(purchase=turn.to(Stage.UNPAID), events=(*events, declined), receipt=receipt)


def _given_up(turn: Turn, signal: GivenUp) -> Step:
    """An operator gave the pricing up: nothing is charged, what was held is released."""
    asks = (void(turn, "cancelled"),) if turn.purchase.held_minor else ()
    receipt = turn.receipt("void", turn.money(0), detail=signal.reason)
    return Step(purchase=turn.to(Stage.CANCELLED), asks=asks, receipt=receipt)


def _released_late(turn: Turn, signal: HoldVoided | GivenUp) -> Step:
    return Step(purchase=replace(turn.purchase, held_minor=0))


# --- the table --------------------------------------------------------------------------------


S = Stage
INSIDE = (S.VERIFYING, S.DECIDING, S.HOLD_REQUESTED, S.HELD, S.NO_HOLD)
_HELD_CART = (S.PRICING, S.VOIDING)
_UNHELD_CART = (S.PRICING, S.FREE)
_AFTER_PRICE = (S.CAPTURING, S.ADJUSTING, S.PRICED, S.VOIDING, S.FREE, S.UNPAID)
_HOLD_ASKED = (S.HOLD_REQUESTED, S.CLOSING)
_REFUSED_ENTRY = (S.NO_HOLD, *_UNHELD_CART)


def _answers_to_pricing(stage: Stage) -> dict[tuple[Stage, type], Row]:
    return {
        (stage, Priced): Row(_priced, _AFTER_PRICE),
        (stage, CartRefused): Row(_cart_refused, (S.BAD_CART,)),
        (stage, PriceRefused): Row(_price_refused, (S.BAD_PRICE,)),
        (stage, GivenUp): Row(_given_up, (S.CANCELLED,)),
    }


TABLE: dict[tuple[Stage, type], Row] = {
    **{(stage, VisitEnded): Row(_left, (stage,)) for stage in INSIDE},
    (S.NEW, VisitStarted): Row(_started, (S.HOLD_REQUESTED, S.NO_HOLD, S.VERIFYING)),
    (S.VERIFYING, Verified): Row(entry_questions.verified, (S.DECIDING,)),
    (S.VERIFYING, NotAdmitted): Row(_not_admitted, _REFUSED_ENTRY),
    (S.VERIFYING, GivenUp): Row(entry_questions.unasked, _HOLD_ASKED),
    (S.VERIFYING, CartClosed): Row(_cart_in_question, (S.VERIFYING,)),
    (S.DECIDING, Admitted): Row(entry_questions.admitted, _HOLD_ASKED),
    (S.DECIDING, NotAdmitted): Row(_not_admitted, _REFUSED_ENTRY),
    (S.DECIDING, GivenUp): Row(entry_questions.unasked, _HOLD_ASKED),
    (S.DECIDING, CartClosed): Row(_cart_in_question, (S.DECIDING,)),
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
    **payment_mode.ROWS,
    (S.ADJUSTING, Adjusted): Row(_adjusted, (S.CAPTURING, S.PRICED)),
    (S.ADJUSTING, AdjustDeclined): Row(_adjust_declined, (S.UNPAID, S.PRICED)),
    (S.ADJUSTING, GivenUp): Row(_adjust_declined, (S.UNPAID, S.PRICED)),
    (S.CAPTURING, Captured): Row(_captured, (S.PAID,)),
    (S.CAPTURING, CaptureDeclined): Row(_declined_at_exit, (S.UNPAID,)),
    (S.CAPTURING, GivenUp): Row(_declined_at_exit, (S.UNPAID,)),
    (S.VOIDING, HoldVoided): Row(_released, (S.FREE,)),
    (S.VOIDING, GivenUp): Row(_released, (S.FREE,)),
    (S.UNPAID, HoldVoided): Row(_released_late, (S.UNPAID,)),
    (S.UNPAID, GivenUp): Row(_released_late, (S.UNPAID,)),
    (S.CANCELLED, HoldVoided): Row(_released_late, (S.CANCELLED,)),
    (S.CANCELLED, GivenUp): Row(_released_late, (S.CANCELLED,)),
    (S.PAID, HoldVoided): Row(_released_late, (S.PAID,)),  # settled elsewhere meanwhile
    (S.PAID, GivenUp): Row(_released_late, (S.PAID,)),
    **disputes.ROWS,
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
