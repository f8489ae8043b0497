"""What a passing from hand to hand means for two carts.

Nothing weighed what went over, so no line that it may concern is charged. Below one half the goods
stay where they were, as a doubt; above, they go to the other cart (``ItemHandedOver``), as a doubt
there. Who puts the goods back later proves who had them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.carts.decision import Doubt
from edge.carts.meetings import Meeting, passings, shared
from edge.carts.touches import Touch
from messages.cart import Cart
from messages.events import Candidate, CartLine, LineState, ReviewRequested
from messages.ids import ReviewId, Sku, VisitId

LIKELY = 0.5
STOOPED = 0.35  # who stoops away from the shelves leaves something: 11 of 35 in the library did
FLOOR = "A hand went down to the floor: this may have been left there."
PICKED_UP = 0.8  # somebody else stoops at the very place: something lay there, and is his now
PICKED = "Another shopper stooped where this may have been left: it may have been picked up."
REASON = "The hands of two people met: this may have been passed on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """One line of ``giver`` that may have gone to ``taker``; None: to somebody without a cart."""

    giver: VisitId
    taker: VisitId | None
    sku: Sku
    quantity: int
    claim: float  # that the giver took it
    probability: float  # that it went over
    reason: str = REASON

    @property
    def moves(self) -> bool:
        return self.taker is not None and self.probability >= LIKELY

    def doubt(self) -> Doubt:
        """The question about it; after an ``ItemHandedOver`` it is whether that is true."""
        q, p = self.quantity, self.probability
        holder, other, back = self.giver, self.taker, p
        if self.moves and self.taker is not None:
            holder, other, back = self.taker, self.giver, 1.0 - p
        rows = [Candidate(visit=holder, sku=self.sku, quantity=-q, probability=back)]
        if other is not None:
            rows.append(Candidate(visit=other, sku=self.sku, quantity=q, probability=back))
        visits = (holder,) if other is None else (holder, other)
        return Doubt(reason=self.reason, candidates=tuple(rows), visits=visits)


def handed(
    meeting: Meeting,
    touches: Sequence[Touch],
    carts: Mapping[VisitId, Cart],
    shoppers: Sequence[VisitId],
    charge_min: float,
) -> list[Handed]:
    """Sure lines of the two that the meeting makes too doubtful to charge.

    Args:
        carts: open ones. shoppers: visits that may be charged; others only take or give unseen.
    """
    sides = [(visit, other) for visit, other in (meeting.visits, meeting.visits[::-1])]
    held = {v: _goods(carts[v], meeting.at_ns) for v in meeting.visits if v in carts}
    goods = sum(len({line.sku for line in lines}) for lines in held.values())
    chance = shared(passings(meeting, touches), goods)
    return [
        Handed(
            giver=giver,
            taker=taker if taker in carts and taker in shoppers else None,
            sku=line.sku,
            quantity=line.quantity,
            claim=line.probability,
            probability=chance,
        )
        for giver, taker in sides
        if giver in shoppers
        for line in held.get(giver, ())
        if _concerned(line, chance, charge_min)
    ]


def left_behind(visit: VisitId, cart: Cart, at_ns: int, charge_min: float) -> list[Handed]:
    """Sure lines of one who stooped: one of them may lie on the floor now."""
    goods = _goods(cart, at_ns)
    chance = STOOPED / max(len({line.sku for line in goods}), 1)
    return [
        Handed(
            giver=visit,
            taker=None,
            sku=line.sku,
            quantity=line.quantity,
            claim=line.probability,
            probability=chance,
            reason=FLOOR,
        )
        for line in goods
        if line.state is LineState.CHARGED and line.probability * (1.0 - chance) < charge_min
    ]


def picked_up(
    giver: VisitId, taker: VisitId, cart: Cart, at_ns: int, charge_min: float
) -> list[Handed]:
    """Lines of one who stooped at ``at_ns``, when another one stoops at that place later on."""
    goods = _goods(cart, at_ns)
    chance = PICKED_UP / max(len({line.sku for line in goods}), 1)
    return [
        Handed(
            giver=giver,
            taker=taker,
            sku=line.sku,
            quantity=line.quantity,
            claim=line.probability,
            probability=chance,
            reason=PICKED,
        )
        for line in goods
        if _concerned(line, chance, charge_min)
    ]


def _concerned(line: CartLine, chance: float, charge_min: float) -> bool:
    """Sure lines that are so no longer; lines in doubt where the goods probably went."""
    if line.state is LineState.CHARGED:
        return line.probability * (1.0 - chance) < charge_min
    return chance >= LIKELY


def _goods(cart: Cart, at_ns: int) -> list[CartLine]:
    """What a cart held at an instant, as far as it is known."""
    return [line for line in cart.lines if line.taken_at_ns <= at_ns]


def proven(
    visit: VisitId, sku: Sku, cart: Cart, reviews: Mapping[ReviewId, ReviewRequested]
) -> tuple[ReviewRequested, int] | None:
    """The open question about a passing that a sure return by ``visit`` answers.

    Returns:
        The question, and how many units went to ``visit``: 0 means that it had them all along.
    """
    if cart.quantity(sku, charged_only=True):
        return None  # it had others of its own: nothing is proven
    for open_ in cart.reviews:
        review = reviews.get(open_.review)
        if review is None or review.reason != REASON:
            continue
        for candidate in review.candidates:
            if candidate.visit == visit and candidate.sku == sku:
                return review, max(candidate.quantity, 0)
    return None
