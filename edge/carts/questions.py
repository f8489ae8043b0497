"""Events of the cart tracker as values, and the pieces they are made of."""

from __future__ import annotations

from edge.carts.decision import Doubt, SurePart
from edge.carts.handing import Handed
from edge.carts.outcomes import StepView
from edge.carts.planogram import Planogram
from edge.carts.state import HeldStep
from edge.carts.who import Actors
from messages.cart import DEADLINE, Cart
from messages.events import (
    Candidate,
    Evidence,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
)
from messages.ids import LineId, VisitId
from messages.store_config import Product

DOUBT_ALL = 0.5  # after a failure: nobody knows whether an item is still held


def evidence_of(held: HeldStep, view: StepView, actors: Actors, planogram: Planogram) -> Evidence:
    """Where and when a step was, what it weighed, and who was near."""
    plates, share = planogram.share(view.shelf, view.plate_mass_g)
    return Evidence(
        started_at_ns=held.started_at_ns,
        ended_at_ns=held.ended_at_ns,
        shelf=held.shelf,
        plates=plates,
        plate_share=tuple(float(s) for s in share),
        mass_g=held.mass_g,
        mass_sd_g=held.mass_sd_g,
        step_ids=(*held.earlier, held.step_id),
        track_ids=actors.tracks,
        note="" if actors.seen else "nobody seen near the shelf",
    )


def taken(
    now_ns: int, part: SurePart, product: Product, line: LineId, evidence: Evidence
) -> ItemTaken:
    return ItemTaken(
        at_ns=now_ns,
        visit=part.visit,
        sku=product.id,
        quantity=part.quantity,
        probability=part.probability,
        line=line,
        evidence=evidence,
        unit=product.unit,
    )


def returned(
    now_ns: int, part: SurePart, product: Product, line: LineId, evidence: Evidence
) -> ItemReturned:
    return ItemReturned(
        at_ns=now_ns,
        visit=part.visit,
        sku=product.id,
        quantity=part.quantity,
        probability=part.probability,
        line=line,
        evidence=evidence,
        unit=product.unit,
    )


def handed_over(
    now_ns: int, line: Handed, taker: VisitId, name: LineId, evidence: Evidence
) -> ItemHandedOver:
    """``probability`` is the claim that the giver took it; the question after it has the rest."""
    return ItemHandedOver(
        at_ns=now_ns,
        from_visit=line.giver,
        to_visit=taker,
        sku=line.sku,
        quantity=line.quantity,
        probability=line.claim,
        evidence=evidence,
        line=name,
    )


def undecided(review: ReviewRequested, now_ns: int) -> ReviewResolved:
    """Nobody is charged for it; units that were in doubt stay as they are shown."""
    return ReviewResolved(
        at_ns=now_ns, review=review.review, visit=None, sku=None, quantity=0, by=DEADLINE
    )


def all_in_doubt(cart: Cart, reason: str) -> Doubt:
    """Each unit of the cart may have been put back, or more may have been taken."""
    sure = [line for line in cart.lines if line.state is LineState.CHARGED]
    candidates = tuple(
        Candidate(
            visit=cart.visit,
            sku=sku,
            quantity=-cart.quantity(sku, charged_only=True),
            probability=DOUBT_ALL,
        )
        for sku in dict.fromkeys(line.sku for line in sure)
    )
    reason = f"Part of what the sensors saw was lost: {reason}"
    return Doubt(reason=reason, candidates=candidates, visits=(cart.visit,))
