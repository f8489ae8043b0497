"""A cart is a fold of events: ``cart = cart.after(event)``, the same in store and cloud.

A line is *charged* when the cart tracker was sure, and in *review* while a doubt is open. A doubt
about a take adds its best guess as a review line; a doubt about a return turns units that the
visit may have put back into review units. A resolved doubt settles exactly those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from messages.events import (
    Candidate,
    CartLine,
    CartState,
    Event,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
)
from messages.ids import LineId, ReviewId, Sku, VisitId


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReview:
    """A doubt this cart waits for. ``restores``: units that come back if nothing was returned."""

    review: ReviewId
    lines: tuple[LineId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """What one visit holds, in order of taking. Quantities are always positive."""

    visit: VisitId
    lines: tuple[CartLine, ...] = ()
    reviews: tuple[OpenReview, ...] = ()

    @property
    def state(self) -> CartState:
        doubtful = any(line.state is LineState.REVIEW for line in self.lines)
        return CartState.REVIEW if doubtful or self.reviews else CartState.CLOSED

    def quantity(self, sku: Sku, *, charged_only: bool = False) -> int:
        return sum(
            line.quantity
            for line in self.lines
            if line.sku == sku and not (charged_only and line.state is LineState.REVIEW)
        )

    def after(self, event: Event) -> Cart:
        """The cart once the event is known; events of other visits leave it as it is."""
        match event:
            case ItemTaken(visit=self.visit):
                return replace(self, lines=(*self.lines, _taken_line(event)))
            case ItemReturned(visit=self.visit):
                lines = _without(self.lines, event.sku, event.quantity, event.line)
                return replace(self, lines=lines)
            case ItemHandedOver(from_visit=self.visit):
                lines = _without(self.lines, event.sku, event.quantity, None)
                return replace(self, lines=lines)
            case ItemHandedOver(to_visit=self.visit):
                return replace(self, lines=(*self.lines, _handed_line(event)))
            case ReviewRequested() if self.visit in event.visits:
                return self._in_doubt(event)
            case ReviewResolved():
                return self._resolved(event)
            case _:
                return self

    def _in_doubt(self, event: ReviewRequested) -> Cart:
        best = event.candidates[0] if event.candidates else None
        mine_returns = [c for c in event.candidates if c.visit == self.visit and c.quantity < 0]
        lines, touched = self.lines, list[LineId]()
        if mine_returns:
            chosen = max(mine_returns, key=lambda c: c.probability)
            lines, touched = _doubt_units(lines, chosen, event.review)
        elif best is not None and best.visit == self.visit and best.quantity > 0 and best.sku:
            line = LineId(f"{event.review}")
            lines = (*lines, _review_line(event, best, best.sku, line))
            touched = [line]
        review = OpenReview(review=event.review, lines=tuple(touched))
        return replace(self, lines=lines, reviews=(*self.reviews, review))

    def _resolved(self, event: ReviewResolved) -> Cart:
        open_ = next((r for r in self.reviews if r.review == event.review), None)
        if open_ is None:
            return self
        reviews = tuple(r for r in self.reviews if r.review != event.review)
        if event.by == "deadline":  # nobody decided: doubtful units stay shown, never charged
            return replace(self, reviews=reviews)
        lines = tuple(_settled(self.lines, open_, event, self.visit))
        mine = event.visit == self.visit and event.quantity > 0 and event.sku is not None
        if mine and LineId(event.review) not in {line.line for line in lines}:
            assert event.sku is not None
            lines = (*lines, _resolved_line(event, event.sku))
        return replace(self, lines=lines, reviews=reviews)


def _taken_line(event: ItemTaken) -> CartLine:
    return CartLine(
        line=event.line,
        sku=event.sku,
        quantity=event.quantity,
        probability=event.probability,
        state=LineState.CHARGED,
        taken_at_ns=event.evidence.started_at_ns or event.at_ns,
        unit=event.unit,
        evidence=event.evidence,
    )


def _handed_line(event: ItemHandedOver) -> CartLine:
    return CartLine(
        line=LineId(f"{event.id}"),
        sku=event.sku,
        quantity=event.quantity,
        probability=event.probability,
        state=LineState.CHARGED,
        taken_at_ns=event.at_ns,
        evidence=event.evidence,
    )


def _review_line(event: ReviewRequested, best: Candidate, sku: Sku, line: LineId) -> CartLine:
    return CartLine(
        line=line,
        sku=sku,
        quantity=best.quantity,
        probability=best.probability,
        state=LineState.REVIEW,
        taken_at_ns=event.evidence.started_at_ns or event.at_ns,
        evidence=event.evidence,
    )


def _resolved_line(event: ReviewResolved, sku: Sku) -> CartLine:
    return CartLine(
        line=LineId(event.review),
        sku=sku,
        quantity=event.quantity,
        probability=1.0,
        state=LineState.CHARGED,
        taken_at_ns=event.at_ns,
    )


def _without(
    lines: tuple[CartLine, ...], sku: Sku, quantity: int, first: LineId | None
) -> tuple[CartLine, ...]:
    """Take units of a SKU off: the named line first, then the latest; never below zero."""
    order = sorted(range(len(lines)), key=lambda i: (lines[i].line != first, -i))
    left = {i: line.quantity for i, line in enumerate(lines)}
    for i in order:
        if lines[i].sku == sku and quantity > 0:
            taken = min(left[i], quantity)
            left[i], quantity = left[i] - taken, quantity - taken
    return tuple(replace(line, quantity=left[i]) for i, line in enumerate(lines) if left[i] > 0)


def _doubt_units(
    lines: tuple[CartLine, ...], candidate: Candidate, review: ReviewId
) -> tuple[tuple[CartLine, ...], list[LineId]]:
    """Turn up to -quantity charged units of the SKU into review units, latest first."""
    wanted, kept, touched = -candidate.quantity, list[CartLine](), list[LineId]()
    for line in reversed(lines):
        if line.sku != candidate.sku or line.state is LineState.REVIEW or wanted == 0:
            kept.append(line)
            continue
        units = min(wanted, line.quantity)
        wanted -= units
        doubtful = LineId(f"{line.line}~{review}")
        touched.append(doubtful)
        kept.append(
            replace(
                line,
                line=doubtful,
                quantity=units,
                state=LineState.REVIEW,
                probability=line.probability * (1.0 - candidate.probability),
            )
        )
        if line.quantity > units:
            kept.append(replace(line, quantity=line.quantity - units))
    return tuple(reversed(kept)), touched


def _settled(
    lines: tuple[CartLine, ...], open_: OpenReview, event: ReviewResolved, visit: VisitId
) -> Iterable[CartLine]:
    """The lines after the answer: a doubtful take is charged or dropped, a return restored."""
    returned = -event.quantity if event.visit == visit and event.quantity < 0 else 0
    for line in lines:
        if line.line not in open_.lines:
            yield line
        elif line.line == LineId(event.review):  # a take in doubt
            if event.visit == visit and event.quantity > 0 and event.sku is not None:
                yield replace(
                    line,
                    sku=event.sku,
                    quantity=event.quantity,
                    state=LineState.CHARGED,
                    probability=1.0,
                )
        else:  # a return in doubt: what did not come back is charged again
            left = line.quantity - min(returned, line.quantity)
            returned -= line.quantity - left
            if left:
                yield replace(line, quantity=left, state=LineState.CHARGED)


def fold(visit: VisitId, events: Iterable[Event]) -> Cart:
    """The cart of a visit after a whole history."""
    cart = Cart(visit=visit)
    for event in events:
        cart = cart.after(event)
    return cart
