"""What the shelves tell the store: other goods than the books say, and facings that are sold out.

**Changed products.** A take from a facing whose mass does not fit its product, but another one's,
says that the other one stands there. One such take may be a mistake; after ``TAKES_MIN`` in a row
the change is proposed. Their probabilities multiply, so that products of nearly one mass are told
apart as far as their masses allow, and stay side by side as candidates where they do not. A take
that fits the books again ends the suspicion, and so do staff who take goods off.

**Sold out.** The level of a facing's plates against n = 0, 1, 2 ... units of its product:
P(n) ~ N(level; n m, zero^2 + (4 % n m)^2 + n s^2). The zero of a plate wanders, so of light goods
it stays unknown whether the last one is gone, and nothing is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.carts.likelihood import log_normal
from edge.carts.outcomes import Outcomes
from edge.carts.planogram import Planogram
from edge.sensors.shelf_changes import SPAN_SD
from messages.arrays import Bools, Floats, Ints
from messages.events import Candidate, Evidence, FacingRefilled, FacingSoldOut, PlanogramProposed
from messages.ids import FacingId, Sku

TAKES_MIN = 2  # in a row that say so: one may be half a lift, or somebody's own thing
FROM_HERE, SAYS_SO, FITS = 0.5, 0.5, 0.9  # probabilities that make a take count, either way
PROPOSE_MIN = 0.8  # that the facing holds other goods
CANDIDATE_MIN = 0.05
PLAINLY = 0.8  # another product must fit so much better than all others to be proposed instead
FIT_MIN = 1e-3  # of a product that one take makes unlikely: it may have been that take's mistake
EVIDENCE_STEPS_MAX = 16  # of a suspicion, the newest
SUSPICIONS_MAX = 256  # facings; beyond, the books are of another store
ZERO_SD_G = 8.0  # of one plate's zero: hours of drift since it was tared (a few grams an hour)
SOLD_OUT_MIN, REFILLED_MAX = 0.95, 0.5  # P(nothing is left): reported, and taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Takes in a row from a facing that fit other goods. ``fit``: of each product, a product of
    probabilities, added up to 1."""

    takes: int
    fit: tuple[tuple[Sku, float], ...]
    step_ids: tuple[int, ...]
    proposed: Sku | None = None

    @property
    def best(self) -> tuple[Sku, float]:
        return max(self.fit, key=lambda one: (one[1], one[0]))


def after_take_here(
    known: Mapping[str, Suspicion],
    outcomes: Outcomes,
    planogram: Planogram,
    staff: Bools,
    step_id: int,
) -> dict[str, Suspicion]:
    """What one more take says of the facing it came from."""
    result = dict(known)
    for facing in np.unique(outcomes.facing[outcomes.facing >= 0]).tolist():
        rows = outcomes.facing == facing
        here = float(outcomes.probability[rows].sum())
        if here < FROM_HERE:
            continue
        name = str(planogram.facing_ids[facing])
        wrong = float(outcomes.probability[rows & outcomes.wrong].sum()) / here
        by_staff = float(outcomes.probability[rows & staff[outcomes.actor[:, 0]]].sum()) / here
        if by_staff >= FROM_HERE or 1.0 - wrong >= FITS:
            result.pop(name, None)
        elif wrong >= SAYS_SO:
            fit = _fit(outcomes, rows & outcomes.wrong, planogram)
            result.pop(name, None)
            result[name] = _more(known.get(name), fit, step_id)
    return dict(list(result.items())[-SUSPICIONS_MAX:])


def proposals(
    known: Mapping[str, Suspicion],
    wrong: Mapping[str, float],
    planogram: Planogram,
    evidence: Evidence,
    at_ns: int,
) -> tuple[dict[str, Suspicion], list[PlanogramProposed]]:
    """New proposals of facings that were touched by the evidence's step, and who has them."""
    result, events = dict(known), list[PlanogramProposed]()
    for name, suspicion in known.items():
        probability = wrong.get(name, 0.0)
        touched = bool(set(suspicion.step_ids) & set(evidence.step_ids))
        sure = suspicion.takes >= TAKES_MIN and probability >= PROPOSE_MIN
        if not touched or not sure or not _is_news(suspicion):
            continue
        result[name] = replace(suspicion, proposed=suspicion.best[0])
        events.append(_event(name, suspicion, probability, planogram, evidence, at_ns))
    return result, events


def _is_news(suspicion: Suspicion) -> bool:
    """The first proposal of a facing, or another product that is plainly likelier by now."""
    sku, share = suspicion.best
    return suspicion.proposed is None or (sku != suspicion.proposed and share >= PLAINLY)


def facings_left(planogram: Planogram, level_g: Floats) -> tuple[Floats, Floats]:
    """(f,) expected units on each facing, and the probability that none is left.

    NaN where a plate is unknown, shared with another facing, or the product has no known mass.

    Args:
        level_g: (p,) mass on each plate of the configuration, NaN where unknown.
    """
    units = np.full(len(planogram.facing_ids), np.nan)
    none_left = units.copy()
    for f, plates in enumerate(_own_plates(planogram)):
        product = planogram.facing_product[f]
        if not len(plates) or product < 0 or not np.isfinite(level_g[plates]).all():
            continue
        mass_g, sd_g = planogram.unit_mass_g[product], planogram.unit_sd_g[product]
        total_g = float(level_g[plates].sum())
        most = max(int(np.ceil(total_g / mass_g)), 0) + 2
        n = np.arange(most + 1)
        variance = len(plates) * ZERO_SD_G**2 + (SPAN_SD * n * mass_g) ** 2 + n * sd_g**2
        weight = log_normal(np.asarray(total_g), n * mass_g, variance)
        weight = np.exp(weight - weight.max())
        units[f] = float(weight @ n / weight.sum())
        none_left[f] = float(weight[0] / weight.sum())
    return units, none_left


def after_look_at_levels(
    sold_out: Mapping[str, float], planogram: Planogram, level_g: Floats, at_ns: int
) -> tuple[dict[str, float], list[FacingSoldOut | FacingRefilled]]:
    """Facings that are newly empty, or no longer."""
    units, none_left = facings_left(planogram, level_g)
    result, events = dict(sold_out), list[FacingSoldOut | FacingRefilled]()
    for f in np.flatnonzero(np.isfinite(none_left)).tolist():
        name, left = planogram.facing_ids[f], float(none_left[f])
        sku = planogram.config.products[int(planogram.facing_product[f])].id
        if left >= SOLD_OUT_MIN and name not in sold_out:
            result[name] = left
            events.append(FacingSoldOut(at_ns=at_ns, facing=name, sku=sku, probability=left))
        elif left < REFILLED_MAX and name in sold_out:
            del result[name]
            count = float(units[f])
            events.append(FacingRefilled(at_ns=at_ns, facing=name, sku=sku, units=count))
    return result, events


def _fit(outcomes: Outcomes, rows: Bools, planogram: Planogram) -> dict[Sku, float]:
    """Probability of each product, given that it is one of these rows."""
    products, which = np.unique(outcomes.product[rows, 0], return_inverse=True)
    share = np.bincount(which, weights=outcomes.probability[rows])
    share = share / share.sum()
    skus = (planogram.config.products[p].id for p in products.tolist())
    return dict(zip(skus, share.tolist(), strict=True))


def _more(before: Suspicion | None, fit: Mapping[Sku, float], step_id: int) -> Suspicion:
    if before is None:
        fits = tuple(sorted(fit.items()))
        return Suspicion(takes=1, fit=fits, step_ids=(step_id,))
    old = dict(before.fit)
    both = {
        sku: max(old.get(sku, 0.0), FIT_MIN) * max(fit.get(sku, 0.0), FIT_MIN)
        for sku in sorted(old.keys() | fit.keys())
    }
    total = sum(both.values())
    return replace(
        before,
        takes=before.takes + 1,
        fit=tuple((sku, p / total) for sku, p in both.items()),
        step_ids=(*before.step_ids, step_id)[-EVIDENCE_STEPS_MAX:],
    )


def _event(
    name: str,
    suspicion: Suspicion,
    probability: float,
    planogram: Planogram,
    evidence: Evidence,
    at_ns: int,
) -> PlanogramProposed:
    ranked = sorted(suspicion.fit, key=lambda one: (-one[1], one[0]))
    booked = int(planogram.facing_product[planogram.facing_ids.index(FacingId(name))])
    return PlanogramProposed(
        at_ns=at_ns,
        facing=FacingId(name),
        sku=ranked[0][0],
        instead_of=planogram.config.products[booked].id,
        probability=probability * ranked[0][1],
        takes=suspicion.takes,
        candidates=tuple(
            Candidate(visit=None, sku=sku, quantity=1, probability=probability * p)
            for sku, p in ranked
            if p >= CANDIDATE_MIN
        ),
        evidence=replace(evidence, step_ids=suspicion.step_ids),
    )


def _own_plates(planogram: Planogram) -> Sequence[Ints]:
    """Of each facing the plates that it alone stands on; none where it shares one."""
    index, facings = planogram.config.plate_index, planogram.config.facings
    rows = [[index[p] for p in facing.plates if p in index] for facing in facings]
    used = np.bincount(
        np.array([p for row in rows for p in row], dtype=np.int64),
        minlength=len(planogram.config.plates),
    )
    return [np.array([] if (used[row] > 1).any() else row, dtype=np.int64) for row in rows]
