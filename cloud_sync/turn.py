"""One transition in the making, and the row of the table that makes it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cloud_sync.entries import auth_events
from cloud_sync.purchase import (
    OPEN_RECEIPTS,
    Ask,
    Operation,
    Purchase,
    Receipt,
    Stage,
    Step,
    Terms,
    reviewed_lines,
)
from messages.contract import CaptureRequest, HoldRequest, VoidRequest
from messages.events import PaymentDeclined, ReceiptIssued
from messages.ids import EventId
from messages.money import Money


@dataclass(frozen=True, slots=True)
class Row:
    """What one signal does in one stage, and every stage it can lead to."""

    act: Callable[..., Step]
    to: tuple[Stage, ...]


@dataclass(slots=True, kw_only=True)
class Turn:
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

    def receipt(
        self, state: str, total: Money | None = None, detail: str = "", kind: str = ""
    ) -> Receipt:
        issued = state not in OPEN_RECEIPTS
        done, cart = self.purchase, self.purchase.cart
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
            refunded_minor=done.refunded_minor,
            provisional_wall_ns=done.provisional_wall_ns,
            auth_events=tuple(auth_events(cart)) if cart else (),
            party_size=cart.party_size if cart else done.party_size,
            kind=kind,
        )


def capture(turn: Turn) -> Ask:
    """The capture of the purchase's total."""
    total = turn.purchase.total
    assert total is not None
    body = CaptureRequest(
        capture=f"capture-{turn.purchase.visit}",
        merchant=turn.terms.merchant,
        purchase=turn.purchase.purchase,
        amount_minor=total.minor,
        currency=total.currency,
        line_totals=_line_totals(turn.purchase, total),
    )
    return Ask(operation=Operation.CAPTURE, body=body, hold=turn.purchase.hold)


def _line_totals(purchase: Purchase, total: Money) -> list[int]:
    """What each line costs; one sum where the retailer captures another amount (payment mode)."""
    totals = [line.total_minor for line in purchase.lines]
    return totals if sum(totals) == total.minor else [total.minor]


def hold(turn: Turn, amount_minor: int) -> Step:
    """Ask the broker to hold so much; a cart that came already goes on waiting."""
    purchase = turn.purchase
    body = HoldRequest(
        hold=purchase.hold,
        account=purchase.account,
        store=turn.terms.store,
        visit=purchase.visit,
        credential=purchase.credential,
        amount_minor=amount_minor,
        currency=turn.terms.currency,
    )
    ask = Ask(operation=Operation.HOLD, body=body, hold=purchase.hold)
    stage = Stage.HOLD_REQUESTED if purchase.cart is None else Stage.CLOSING
    return Step(purchase=turn.to(stage), asks=(ask,))


def void(turn: Turn, reason: str) -> Ask:
    """The release of what is held."""
    body = VoidRequest(reason=reason)
    return Ask(operation=Operation.VOID, body=body, hold=turn.purchase.hold)


def declined_event(turn: Turn, reason: str) -> PaymentDeclined:
    event_id, at_ns = turn.stamp()
    return PaymentDeclined(
        id=event_id,
        at_ns=at_ns,
        visit=turn.purchase.visit,
        hold=turn.purchase.hold,
        reason=reason or "declined",
    )


def receipt_issued(turn: Turn, total: Money, capture: str | None) -> ReceiptIssued:
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
