"""What the shelves remember: units put back in a wrong place, and things that are no products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.carts.outcomes import WRONG, Kind, Outcomes, StepView
from edge.carts.planogram import ForeignObject, Misplaced, Planogram
from messages.arrays import Bools, Floats

MISPLACED_MAX = 256  # the oldest are forgotten first; staff tidy up long before
FOREIGN_MAX = 64
REMEMBER_MIN = 0.05  # less probable than this is not worth remembering
LIKELY = 0.5
WRONG_MIN, WRONG_MAX = 0.0005, 0.95  # one take proves nothing for good
CHANGED = 0.05  # staff took goods off a facing: others may stand there now


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    misplaced: list[Misplaced]
    foreign: list[ForeignObject]


def after_take(memory: Memory, outcomes: Outcomes) -> Memory:
    """Units that were taken from a wrong place are there no longer, as far as that is certain."""
    item, foreign = outcomes.kind == Kind.ITEM, outcomes.kind == Kind.FOREIGN
    misplaced = [
        left
        for i, units in enumerate(memory.misplaced)
        if (left := _less(units, *_taken(outcomes, item, i))) is not None
    ]
    gone = {i for i in range(len(memory.foreign)) if _taken(outcomes, foreign, i)[0] >= LIKELY}
    things = [thing for i, thing in enumerate(memory.foreign) if i not in gone]
    return Memory(misplaced=misplaced, foreign=things)


def after_put(
    memory: Memory, outcomes: Outcomes, step: StepView, planogram: Planogram, at_ns: int
) -> Memory:
    """Remember what now stands where it does not belong."""
    plates, share = planogram.share(step.shelf, step.plate_mass_g)
    shelf = planogram.config.shelves[step.shelf]
    shares = tuple(float(s) for s in share)
    added = [
        Misplaced(
            shelf=shelf,
            sku=planogram.config.products[product].id,
            plates=plates,
            share=shares,
            units=units,
            probability=probability,
            at_ns=at_ns,
        )
        for product, units, probability in _misplaced(outcomes)
    ]
    unknown = float(outcomes.probability[outcomes.kind == Kind.UNKNOWN].sum())
    thing = ForeignObject(
        shelf=shelf,
        plates=plates,
        share=shares,
        mass_g=step.size_g,
        mass_sd_g=step.mass_sd_g + 0.02 * step.size_g,  # two weighings on one plate: no gain error
        at_ns=at_ns,
    )
    foreign = [*memory.foreign, thing] if unknown >= LIKELY else memory.foreign
    return Memory(
        misplaced=[*memory.misplaced, *added][-MISPLACED_MAX:], foreign=foreign[-FOREIGN_MAX:]
    )


def wrong_facings(known: Mapping[str, float], facing_ids: Sequence[str]) -> Floats:
    """(f,) probability that each facing holds other goods than the books say."""
    return np.array([known.get(facing, WRONG) for facing in facing_ids], dtype=np.float64)


def after_look_at_facings(
    known: Mapping[str, float], outcomes: Outcomes, facing_ids: Sequence[str], staff: Bools
) -> dict[str, float]:
    """What a take says of the facing it came from; ``staff``: (v + 1,).

    P(wrong | step) is the posterior of the outcomes that say so; where a step may have come from
    elsewhere, the old belief keeps that part. Staff who take goods off may change what stands
    there.
    """
    result = dict(known)
    for facing in np.unique(outcomes.facing[outcomes.facing >= 0]).tolist():
        rows = outcomes.facing == facing
        here = float(outcomes.probability[rows].sum())
        if here < REMEMBER_MIN:
            continue
        wrong = float(outcomes.probability[rows & outcomes.wrong].sum())
        before = known.get(facing_ids[facing], WRONG)
        after = wrong + (1.0 - min(here, 1.0)) * before
        by_staff = float(outcomes.probability[rows & staff[outcomes.actor[:, 0]]].sum())
        after = by_staff * max(after, CHANGED) + (1.0 - by_staff) * after
        result[facing_ids[facing]] = float(np.clip(after, WRONG_MIN, WRONG_MAX))
    return result


def _taken(outcomes: Outcomes, kind: Bools, entry: int) -> tuple[float, int]:
    """Probability that something was taken from an entry, and the likeliest number of units."""
    rows, columns = np.nonzero((outcomes.entry == entry) & kind[:, None])
    if not len(rows):
        return 0.0, 0
    probability = outcomes.probability[rows]
    best = int(np.argmax(probability))
    return float(probability.sum()), int(outcomes.quantity[rows[best], columns[best]])


def _less(units: Misplaced, probability: float, taken: int) -> Misplaced | None:
    if probability < LIKELY:
        left = replace(units, probability=units.probability * (1.0 - probability))
    else:
        left = replace(units, units=units.units - taken)
    return left if left.units > 0 and left.probability >= REMEMBER_MIN else None


def _misplaced(outcomes: Outcomes) -> Sequence[tuple[int, int, float]]:
    """(product, units, probability) of what was put where it does not belong."""
    rows = np.flatnonzero(outcomes.misplaced)
    products = np.unique(outcomes.product[rows, 0]).tolist()
    result = []
    for product in products:
        mine = rows[outcomes.product[rows, 0] == product]
        probability = outcomes.probability[mine]
        units = int(outcomes.quantity[mine[int(np.argmax(probability))], 0])
        if probability.sum() >= REMEMBER_MIN:
            result.append((int(product), units, float(min(probability.sum(), 1.0))))
    return result
