"""A cart is a fold of events: ``cart = cart.after(event)``, the same in store and cloud.

A line is *charged* when the cart tracker was sure, and in *review* while a doubt is open. A doubt
about a take adds its best guess as a review line; a doubt about a return turns every unit that the
visit may have put back into a review unit. An answer settles exactly those. Where the question is
whether units were passed on, an answer that gives them to another visit takes them off this cart.
Units come off sure lines first: what is left charged is then right whichever way the open doubts
are answered. What comes off a take that is still in doubt is *owed*: an answer that gives the take
to this visit charges only what is left of it. What nobody answered in time is never charged: a
unit that was probably returned goes off, any other stays as a review unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from messages.events import (
    Candidate,
    CartLine,
    CartState,
    Event,
    Evidence,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
)
from messages.ids import LineId, ReviewId, Sku, VisitId

DEADLINE = "deadline"  # ``ReviewResolved.by`` when nobody decided in time
HELD_MIN = 0.5  # units that were returned with more than the rest are off at the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReview:
    """A doubt this cart waits for: the lines that it made, and what this visit may have taken.

    ``probabilities``: of each line before the doubt; parallel to ``lines``.
    """

    review: ReviewId
    lines: tuple[LineId, ...] = ()
    probabilities: tuple[float, ...] = ()
    skus: tuple[Sku, ...] = ()
    at_ns: int = 0
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedUnits:
    """Units that came back, of a take that is still in doubt."""

    sku: Sku
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """What one visit holds, in order of taking. Quantities are always positive."""

    visit: VisitId
    lines: tuple[CartLine, ...] = ()
    reviews: tuple[OpenReview, ...] = ()
    owed: tuple[OwedUnits, ...] = ()
    unanswered: bool = False  # nobody said whether units that are off were really returned

    @property
    def state(self) -> CartState:
        doubtful = any(line.state is LineState.REVIEW for line in self.lines)
        return CartState.REVIEW if doubtful or self.reviews or self.unanswered else CartState.CLOSED

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
                return self._without(event.sku, event.quantity, event.line)
            case ItemHandedOver() if event.from_visit == event.to_visit:
                return self
            case ItemHandedOver(from_visit=self.visit):
                return self._without(event.sku, event.quantity, None)
            case ItemHandedOver(to_visit=self.visit):
                return replace(self, lines=(*self.lines, _handed_line(event)))
            case ReviewRequested() if self.visit in event.visits:
                return self._in_doubt(event)
            case ReviewResolved():
                return self._resolved(event)
            case _:
                return self

    def _without(self, sku: Sku, quantity: int, first: LineId | None) -> Cart:
        """Units off: sure lines first, of these the named one, then the latest."""
        doubts = {LineId(review.review) for review in self.reviews}
        left = {i: line.quantity for i, line in enumerate(self.lines)}
        owed = 0
        for i in _order_of_return(self.lines, sku, first):
            units = min(left[i], quantity)
            left[i], quantity = left[i] - units, quantity - units
            owed += units if self.lines[i].line in doubts else 0
        lines = tuple(
            replace(line, quantity=left[i]) for i, line in enumerate(self.lines) if left[i] > 0
        )
        more = OwedUnits(sku=sku, quantity=owed + quantity)
        return replace(self, lines=lines, owed=(*self.owed, more))._with_owed_in_doubt()

    def _with_owed_in_doubt(self) -> Cart:
        """Units stay owed only while an open doubt may still give this visit their SKU."""
        open_skus = {sku for review in self.reviews for sku in review.skus}
        totals: dict[Sku, int] = {}
        for debt in self.owed:
            totals[debt.sku] = totals.get(debt.sku, 0) + debt.quantity
        kept = ((sku, units) for sku, units in totals.items() if sku in open_skus and units > 0)
        owed = tuple(OwedUnits(sku=sku, quantity=units) for sku, units in kept)
        return replace(self, owed=owed)

    def _in_doubt(self, event: ReviewRequested) -> Cart:
        mine = [c for c in event.candidates if c.visit == self.visit and c.sku]
        lines, touched = _doubt_units(self.lines, mine, event.review)
        best = event.candidates[0] if event.candidates else None
        if best is not None and best.visit == self.visit and best.quantity > 0 and best.sku:
            lines = (*lines, _review_line(event, best, best.sku))
            touched[LineId(event.review)] = best.probability
        review = OpenReview(
            review=event.review,
            lines=tuple(touched),
            probabilities=tuple(touched.values()),
            skus=tuple(dict.fromkeys(c.sku for c in mine if c.quantity > 0 and c.sku)),
            at_ns=event.evidence.started_at_ns or event.at_ns,
            evidence=event.evidence,
        )
        return replace(self, lines=lines, reviews=(*self.reviews, review))

    def _resolved(self, event: ReviewResolved) -> Cart:
        decided = event.by != DEADLINE  # else doubtful units stay shown, never charged
        mine = decided and event.visit == self.visit and event.sku is not None
        open_ = next((r for r in self.reviews if r.review == event.review), None)
        if open_ is None:  # an answer may name a visit that the doubt did not
            return self._answered(event, OpenReview(review=event.review)) if mine else self
        cart = replace(self, reviews=tuple(r for r in self.reviews if r is not open_))
        keeps = mine and event.quantity > 0 and _doubted(cart.lines, open_, event.sku)
        if decided:
            lines = cart.lines if mine else _without_passed_on(cart.lines, open_, event)
            cart = replace(cart, lines=_restored(lines, open_))
        else:
            kept = _probably_held(cart.lines, open_)
            cart = replace(cart, lines=kept, unanswered=cart.unanswered or kept != cart.lines)
        cart = cart._answered(event, open_) if mine and not keeps else cart
        return cart._with_owed_in_doubt()

    def _answered(self, event: ReviewResolved, open_: OpenReview) -> Cart:
        """This visit did it: units taken become a charged line, units returned come off."""
        assert event.sku is not None
        if event.quantity < 0:
            return self._without(event.sku, -event.quantity, _first_doubted(open_))
        if any(line.line == LineId(event.review) for line in self.lines):
            return self  # answered before
        owed = sum(debt.quantity for debt in self.owed if debt.sku == event.sku)
        paid = OwedUnits(sku=event.sku, quantity=-min(owed, event.quantity))
        line = _answered_line(event, open_, event.sku, event.quantity + paid.quantity)
        lines = (*self.lines, line) if line.quantity else self.lines
        return replace(self, lines=lines, owed=(*self.owed, paid))._with_owed_in_doubt()


def fold(visit: VisitId, events: Iterable[Event]) -> Cart:
    """The cart of a visit after a whole history."""
    cart = Cart(visit=visit)
    for event in events:
        cart = cart.after(event)
    return cart


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
        line=event.line or LineId(f"{event.id}"),
        sku=event.sku,
        quantity=event.quantity,
        probability=event.probability,
        state=LineState.CHARGED,
        taken_at_ns=event.at_ns,
        evidence=event.evidence,
    )


def _review_line(event: ReviewRequested, best: Candidate, sku: Sku) -> CartLine:
    return CartLine(
        line=LineId(event.review),
        sku=sku,
        quantity=best.quantity,
        probability=best.probability,
        state=LineState.REVIEW,
        taken_at_ns=event.evidence.started_at_ns or event.at_ns,
        evidence=event.evidence,
    )


def _answered_line(event: ReviewResolved, open_: OpenReview, sku: Sku, quantity: int) -> CartLine:
    return CartLine(
        line=LineId(event.review),
        sku=sku,
        quantity=quantity,
        probability=1.0,
        state=LineState.CHARGED,
        taken_at_ns=open_.at_ns or event.at_ns,
        evidence=open_.evidence,
    )


def _order_of_return(lines: tuple[CartLine, ...], sku: Sku, first: LineId | None) -> Iterable[int]:
    """Indices of the SKU's lines in the order in which returned units come off."""
    return sorted(
        (i for i, line in enumerate(lines) if line.sku == sku),
        key=lambda i: (lines[i].state is LineState.REVIEW, lines[i].line != first, -i),
    )


def _doubt_units(
    lines: tuple[CartLine, ...], candidates: list[Candidate], review: ReviewId
) -> tuple[tuple[CartLine, ...], dict[LineId, float]]:
    """Turn the units of each SKU that may have been returned into review units.

    Also gives the new lines' ids, each with its probability before the doubt.
    """
    touched: dict[LineId, float] = {}
    returned: dict[Sku, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.quantity < 0 and candidate.sku:
            returned.setdefault(candidate.sku, []).append(candidate)
    for sku, doubts in returned.items():
        units = max(-c.quantity for c in doubts)
        kept = 1.0 - min(sum(c.probability for c in doubts), 1.0)
        lines = _doubt_sku(lines, sku, units, kept, review, touched)
    return lines, touched


def _doubt_sku(
    lines: tuple[CartLine, ...],
    sku: Sku,
    wanted: int,
    kept_probability: float,
    review: ReviewId,
    touched: dict[LineId, float],
) -> tuple[CartLine, ...]:
    """Turn up to ``wanted`` charged units of the SKU into review units, latest first."""
    kept = list[CartLine]()
    for line in reversed(lines):
        sure = line.sku == sku and line.state is LineState.CHARGED
        units = min(wanted, line.quantity) if sure else 0
        wanted -= units
        if units:
            doubtful = replace(
                line,
                line=LineId(f"{line.line}~{review}"),
                quantity=units,
                state=LineState.REVIEW,
                probability=line.probability * kept_probability,
            )
            touched[doubtful.line] = line.probability
            kept.append(doubtful)
        if line.quantity > units:
            kept.append(replace(line, quantity=line.quantity - units))
    return tuple(reversed(kept))


def _restored(lines: tuple[CartLine, ...], open_: OpenReview) -> tuple[CartLine, ...]:
    """Without the doubt: a take in doubt is dropped, units maybe returned are charged again."""
    before = dict(zip(open_.lines, open_.probabilities, strict=True))
    kept: dict[LineId, CartLine] = {}
    for line in lines:
        if line.line == LineId(open_.review):
            continue
        if line.line in before:
            probability = before[line.line]
            name = _undoubted(line.line, open_)
            line = replace(line, line=name, state=LineState.CHARGED, probability=probability)
        same = kept.get(line.line)
        quantity = line.quantity + (same.quantity if same else 0)
        kept[line.line] = replace(line, quantity=quantity)
    return tuple(kept.values())


def _doubted(lines: tuple[CartLine, ...], open_: OpenReview, sku: Sku | None) -> bool:
    """True when the question is whether units of this SKU left the cart."""
    asked = LineId(open_.review)
    return any(
        line.line in open_.lines and line.line != asked and line.sku == sku for line in lines
    )


def _probably_held(lines: tuple[CartLine, ...], open_: OpenReview) -> tuple[CartLine, ...]:
    """Without the units that were more probably returned, or passed on, than not."""
    doubted = {name for name in open_.lines if name != LineId(open_.review)}
    return tuple(line for line in lines if line.line not in doubted or line.probability >= HELD_MIN)


def _without_passed_on(
    lines: tuple[CartLine, ...], open_: OpenReview, event: ReviewResolved
) -> tuple[CartLine, ...]:
    """Another visit has the units that this cart was asked about: they were passed on."""
    if event.visit is None or event.quantity <= 0:
        return lines
    asked, left, kept = LineId(open_.review), event.quantity, list[CartLine]()
    for line in lines:
        ours = line.line in open_.lines and line.line != asked and line.sku == event.sku
        units = min(left, line.quantity) if ours else 0
        left -= units
        if line.quantity > units:
            kept.append(replace(line, quantity=line.quantity - units))
    return tuple(kept)


def _undoubted(line: LineId, open_: OpenReview) -> LineId:
    return LineId(line.removesuffix(f"~{open_.review}"))


def _first_doubted(open_: OpenReview) -> LineId | None:
    """The line that an answered return comes off first: one that this review doubted."""
    return next((_undoubted(line, open_) for line in open_.lines), None)
