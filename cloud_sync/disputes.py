"""Rows of the settlement table after the receipt: contested, reviewed, refunded, paid elsewhere.

All refunds of a purchase together never exceed what was captured, and each demand has an id of its
own that counts once.
"""

from __future__ import annotations

from dataclasses import replace

from cloud_sync.demands import (
    Contested,
    RefundAsked,
    RefundDeclined,
    Refunded,
    Reviewed,
    SettledElsewhere,
)
from cloud_sync.purchase import (
    Ask,
    GivenUp,
    Operation,
    RefundBody,
    SettlementError,
    Stage,
    Step,
)
from cloud_sync.turn import Row, Turn
from messages.events import PaymentRefunded

REFUND_MADE, REFUND_NOT_MADE = "payment.refunded", "payment.refund_failed"


def _contested(turn: Turn, signal: Contested) -> Step:
    known = {line.line for line in turn.purchase.lines}
    unknown = [line for line in signal.lines if line not in known]
    if unknown:
        raise SettlementError(f"{turn.purchase.visit} has no line {unknown[0]}")
    which = ", ".join(signal.lines) or "all lines"
    detail = f"{signal.reason}: {which}" + (f": {signal.note}" if signal.note else "")
    receipt = turn.receipt("contested", detail=detail)
    return Step(purchase=turn.to(Stage.CONTESTED), receipt=receipt)


def _reviewed(turn: Turn, signal: Reviewed) -> Step:
    receipt = turn.receipt("reviewed", detail=signal.reason)
    return Step(purchase=turn.to(Stage.REVIEWED), receipt=receipt)


def _refund(turn: Turn, signal: RefundAsked) -> Step:
    purchase = turn.purchase
    left = (purchase.total.minor if purchase.total else 0) - purchase.refunded_minor
    if not purchase.capture:
        raise SettlementError(f"{purchase.visit}: nothing was captured here")
    if signal.refund in purchase.refunds:
        raise SettlementError(f"refund {signal.refund} was made already")
    if not 0 < signal.amount_minor <= left:
        raise SettlementError(f"{signal.amount_minor} is not within the {left} that are left")
    turn.purchase = replace(purchase, refund=signal.refund, refund_minor=signal.amount_minor)
    body = RefundBody(
        refund=f"refund-{purchase.visit}-{signal.refund}",
        amount_minor=signal.amount_minor,
        currency=turn.terms.currency,
        reason=signal.reason,
    )
    name = f"{purchase.told}:{signal.refund}"  # one that was given up may be demanded again
    ask = Ask(operation=Operation.REFUND, body=body, hold=purchase.capture, name=name)
    return Step(purchase=turn.to(Stage.REFUNDING), asks=(ask,))


def _refunded(turn: Turn, signal: Refunded) -> Step:
    purchase = turn.purchase
    assert purchase.total is not None
    if signal.amount_minor != purchase.refund_minor:
        asked = purchase.refund_minor
        raise SettlementError(f"refunded {signal.amount_minor}, asked for {asked}")
    back = purchase.refunded_minor + signal.amount_minor
    turn.purchase = replace(
        purchase,
        refunded_minor=back,
        refunds=(*purchase.refunds, purchase.refund),
        refund_minors=(*purchase.refund_minors, signal.amount_minor),
        refund="",
        refund_minor=0,
    )
    event_id, at_ns = turn.stamp()
    event = PaymentRefunded(
        id=event_id,
        at_ns=at_ns,
        visit=purchase.visit,
        capture=purchase.capture,
        amount=turn.money(signal.amount_minor),
        reason=purchase.refund,
    )
    whole = back == purchase.total.minor
    state, detail = "refunded" if whole else "paid", f"refund {purchase.refund}"
    receipt = turn.receipt(state, detail=detail, kind=REFUND_MADE)
    stage = Stage.REFUNDED if whole else Stage.PAID
    return Step(purchase=turn.to(stage), events=(event,), receipt=receipt)


def _not_refunded(turn: Turn, signal: RefundDeclined | GivenUp) -> Step:
    """The money stays where it is; the same demand may come again under another id."""
    detail = f"refund {turn.purchase.refund} was not made: {signal.reason}"
    turn.purchase = replace(turn.purchase, refund="", refund_minor=0)
    receipt = turn.receipt("paid", detail=detail, kind=REFUND_NOT_MADE)
    return Step(purchase=turn.to(Stage.PAID), receipt=receipt)


def _settled(turn: Turn, signal: SettledElsewhere) -> Step:
    owed = turn.purchase.total.minor if turn.purchase.total else 0
    if signal.amount_minor < owed:
        raise SettlementError(f"{signal.amount_minor} settled of {owed}: still unpaid")
    detail = f"settled elsewhere {signal.at}".strip()
    return Step(purchase=turn.to(Stage.PAID), receipt=turn.receipt("settled", detail=detail))


_AFTER_REFUND = (Stage.PAID, Stage.REFUNDED)
ROWS: dict[tuple[Stage, type], Row] = {
    (Stage.PAID, Contested): Row(_contested, (Stage.CONTESTED,)),
    (Stage.CONTESTED, Reviewed): Row(_reviewed, (Stage.REVIEWED,)),
    (Stage.PAID, RefundAsked): Row(_refund, (Stage.REFUNDING,)),
    (Stage.CONTESTED, RefundAsked): Row(_refund, (Stage.REFUNDING,)),
    (Stage.REVIEWED, RefundAsked): Row(_refund, (Stage.REFUNDING,)),
    (Stage.REFUNDING, Refunded): Row(_refunded, _AFTER_REFUND),
    (Stage.REFUNDING, RefundDeclined): Row(_not_refunded, (Stage.PAID,)),
    (Stage.REFUNDING, GivenUp): Row(_not_refunded, (Stage.PAID,)),
    (Stage.UNPAID, SettledElsewhere): Row(_settled, (Stage.PAID,)),
}
