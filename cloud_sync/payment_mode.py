"""Rows of the settlement table in payment mode: the retailer adjusts, captures or cancels.

Its amounts are whole ones, never differences. What is captured is at most what is held; the total
of the receipt is then what was captured.
"""

from __future__ import annotations

from dataclasses import replace

from cloud_sync.demands import ChargeAdjust, ChargeCancel, ChargeCapture
from cloud_sync.purchase import Adjusted, Ask, Operation, SettlementError, Stage, Step
from cloud_sync.turn import Row, Turn, capture, void
from messages.contract import AdjustRequest
from messages.money import MINOR_MAX


def _adjust(turn: Turn, signal: ChargeAdjust) -> Step:
    """Raise the hold; one that is high enough stays as it is."""
    _positive(signal.amount_minor)
    if signal.amount_minor <= turn.purchase.held_minor:
        return Step(purchase=turn.purchase)
    turn.purchase = replace(turn.purchase, adjusts=turn.purchase.adjusts + 1)
    ask = Ask(
        operation=Operation.ADJUST,
        body=AdjustRequest(amount_minor=signal.amount_minor),
        hold=turn.purchase.hold,
        name=str(turn.purchase.adjusts),
    )
    return Step(purchase=turn.to(Stage.ADJUSTING), asks=(ask,))


def adjusted(turn: Turn, signal: Adjusted) -> Step:
    """The hold is raised; the retailer has the next word."""
    turn.purchase = replace(turn.purchase, held_minor=signal.amount_minor)
    return Step(purchase=turn.to(Stage.PRICED), receipt=turn.receipt("priced"))


def adjust_declined(turn: Turn, reason: str) -> Step:
    """Not raised: what is held still is, and the retailer can capture that."""
    receipt = turn.receipt("priced", detail=f"the hold was not raised: {reason}")
    return Step(purchase=turn.to(Stage.PRICED), receipt=receipt)


def _capture(turn: Turn, signal: ChargeCapture) -> Step:
    _positive(signal.amount_minor)
    held = turn.purchase.held_minor
    if signal.amount_minor > held:
        raise SettlementError(f"{signal.amount_minor} is more than the {held} held: adjust first")
    turn.purchase = replace(turn.purchase, total=turn.money(signal.amount_minor))
    receipt = turn.receipt("pending")
    return Step(purchase=turn.to(Stage.CAPTURING), asks=(capture(turn),), receipt=receipt)


def _cancel(turn: Turn, signal: ChargeCancel) -> Step:
    asks = (void(turn, "cancelled"),)
    receipt = turn.receipt("void", turn.money(0), detail=signal.reason)
    return Step(purchase=turn.to(Stage.CANCELLED), asks=asks, receipt=receipt)


def _positive(amount_minor: int) -> None:
    if not 0 < amount_minor <= MINOR_MAX:
        raise SettlementError(f"an amount of {amount_minor} cannot be held or captured")


ROWS: dict[tuple[Stage, type], Row] = {
    (Stage.PRICED, ChargeAdjust): Row(_adjust, (Stage.ADJUSTING, Stage.PRICED)),
    (Stage.PRICED, ChargeCapture): Row(_capture, (Stage.CAPTURING,)),
    (Stage.PRICED, ChargeCancel): Row(_cancel, (Stage.CANCELLED,)),
}
