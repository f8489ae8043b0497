"""What each visit may hold: sure units of its cart, and units that open questions may give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.carts.outcomes import Kind, Outcomes
from edge.carts.put import Holdings
from messages.cart import Cart
from messages.events import LineState, ReviewRequested
from messages.ids import LineId, ReviewId, Sku, VisitId


@dataclass(slots=True)
class _Row:
    sure: int = 0
    possible: int = 0
    probability: float = 0.0


def holdings(
    visits: Sequence[VisitId],
    carts: Mapping[VisitId, Cart],
    reviews: Mapping[ReviewId, ReviewRequested],
    product_index: Mapping[Sku, int],
) -> Holdings:
    """Rows of every visit and SKU that a return may concern."""
    rows: dict[tuple[int, int], _Row] = {}
    for i, visit in enumerate(visits):
        asked = {LineId(review.review) for review in carts[visit].reviews}
        for line in carts[visit].lines:
            row = rows.setdefault((i, product_index.get(line.sku, -1)), _Row())
            if line.state is LineState.CHARGED:
                row.sure += line.quantity
            elif line.line not in asked:  # a return in doubt: it may still be held
                row.possible += line.quantity
                row.probability = max(row.probability, line.probability)
        for sku, quantity, probability in _in_question(visit, carts[visit], reviews):
            row = rows.setdefault((i, product_index.get(sku, -1)), _Row())
            row.possible += quantity
            row.probability = max(row.probability, probability)
    known = [(key, row) for key, row in rows.items() if key[1] >= 0]
    return Holdings(
        actor=np.array([a for (a, _), _ in known], dtype=np.int64),
        product=np.array([x for (_, x), _ in known], dtype=np.int64),
        sure=np.array([row.sure for _, row in known], dtype=np.int64),
        possible=np.array([row.possible for _, row in known], dtype=np.int64),
        possible_probability=np.array([row.probability for _, row in known], dtype=np.float64),
    )


def _in_question(
    visit: VisitId, cart: Cart, reviews: Mapping[ReviewId, ReviewRequested]
) -> Iterator[tuple[Sku, int, float]]:
    """(SKU, units, probability) of takes that open questions may give this visit."""
    for open_ in cart.reviews:
        best: dict[Sku, tuple[int, float]] = {}
        for c in reviews[open_.review].candidates if open_.review in reviews else ():
            if c.visit == visit and c.sku is not None and c.quantity > 0:
                units, probability = best.get(c.sku, (0, 0.0))
                best[c.sku] = max(units, c.quantity), min(probability + c.probability, 1.0)
        yield from ((sku, units, probability) for sku, (units, probability) in best.items())


def line_of_return(cart: Cart, sku: Sku) -> LineId:
    """The line that a return comes off: the latest sure one, else the latest doubtful one."""
    mine = [line for line in cart.lines if line.sku == sku]
    sure = [line for line in mine if line.state is LineState.CHARGED]
    if sure or mine:
        return (sure or mine)[-1].line
    asked = (r.review for r in reversed(cart.reviews) if sku in r.skus)
    return LineId(next(asked, ReviewId("")))


def probability_of_coming_back(
    review: ReviewRequested,
    outcomes: Outcomes,
    held: Holdings,
    visits: Sequence[VisitId],
    skus: Sequence[Sku],
) -> float:
    """That this put returned exactly the units that a take in question is about.

    Counts outcomes in which one of the question's visits puts back the very units that it may
    have taken, and that its cart does not hold for sure.
    """
    asked = _exactly(review)
    sure = {
        (a, x): units
        for a, x, units in zip(
            held.actor.tolist(), held.product.tolist(), held.sure.tolist(), strict=True
        )
    }
    total = 0.0
    for i in np.flatnonzero((outcomes.kind == Kind.ITEM) & (outcomes.quantity[:, 1] == 0)):
        actor, product = int(outcomes.actor[i, 0]), int(outcomes.product[i, 0])
        if actor < len(visits) and sure.get((actor, product), 0) == 0:
            what = (visits[actor], skus[product], int(outcomes.quantity[i, 0]))
            total += float(outcomes.probability[i]) * asked.get(what, 0.0)
    return total


def _exactly(review: ReviewRequested) -> dict[tuple[VisitId | None, Sku | None, int], float]:
    """Of (visit, SKU, units): that the take was of so many units, if that visit took any."""
    takes = [c for c in review.candidates if c.quantity > 0]
    any_units: dict[tuple[VisitId | None, Sku | None], float] = {}
    for c in takes:
        any_units[c.visit, c.sku] = any_units.get((c.visit, c.sku), 0.0) + c.probability
    return {
        (c.visit, c.sku, c.quantity): c.probability / max(any_units[c.visit, c.sku], 1e-9)
        for c in takes
    }
