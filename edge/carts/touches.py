"""Whose hand was at which shelf when: nobody reaches into two places at once.

Steps of people side by side are judged by places and hands one by one, and hands are seen roughly.
But two things that move within a second of each other were hardly moved by one person, so what is
known of one step says who the other was not.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edge.carts.who import Actors
from messages.arrays import Floats
from messages.ids import PlateId, VisitId

# Of 428 pairs of steps that ended within 0.8 s of each other one was one person's; by places and
# hands alone 50 would have been (seeds 1 and 3 of the library). A hand needs about a second.
BETWEEN_NS = (0.8e9, 1.6e9)
ONE_PERSON = (0.05, 1.0)
NEAR_NS = round(BETWEEN_NS[-1])
LIKELY_MIN = 0.02
MASS_MIN_G = 12.0  # less may be a knock, or what a hand leaves behind


class HeldStep(Protocol):
    """A step that is judged; ``edge.carts.state.HeldStep`` is one."""

    @property
    def step_id(self) -> int: ...
    @property
    def plates(self) -> tuple[PlateId, ...]: ...
    @property
    def plate_mass_g(self) -> Floats: ...
    @property
    def mass_g(self) -> float: ...
    @property
    def started_at_ns(self) -> int: ...
    @property
    def ended_at_ns(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A visit's hand was probably at a shelf then; by that step alone."""

    step_id: int
    visit: VisitId
    plate: PlateId  # that saw most of it
    started_at_ns: int
    ended_at_ns: int
    probability: float


def touches_of(held: HeldStep, actors: Actors) -> list[Touch]:
    """What one step says of everybody who may have made it; nothing where it may be a knock."""
    if abs(held.mass_g) < MASS_MIN_G:
        return []
    plate = held.plates[int(np.argmax(np.abs(held.plate_mass_g)))]
    likely = zip(actors.visits, actors.probability[:-1, 0].tolist(), strict=True)
    return [
        Touch(
            step_id=held.step_id,
            visit=visit,
            plate=plate,
            started_at_ns=held.started_at_ns,
            ended_at_ns=held.ended_at_ns,
            probability=probability,
        )
        for visit, probability in likely
        if probability >= LIKELY_MIN
    ]


def apart(actors: Actors, held: HeldStep, others: Sequence[Touch], several: Set[VisitId]) -> Actors:
    """Who made a step, knowing who may have made others at about the same time.

    For two steps this is the joint distribution in which one person for both has the odds of
    ``one_person``, summed over the other step; ``others`` must not have used this one.

    Args:
        several: visits of more than one person, of whom one may be here and one there.
    """
    if not others:
        return actors
    factor = np.ones(len(actors.probability))
    row = {visit: i for i, visit in enumerate(actors.visits) if visit not in several}
    for other in others:
        if other.visit in row:
            both = one_person(other.ended_at_ns - held.ended_at_ns)
            factor[row[other.visit]] *= 1.0 - (1.0 - both) * other.probability
    probability = actors.probability * factor[:, None]
    return replace(actors, probability=probability / probability.sum(axis=0))


def near(held: HeldStep, step_id: int, plate: PlateId, ended_at_ns: int) -> bool:
    """True for another step of about the same time; the same plate may only give in two parts."""
    together = abs(ended_at_ns - held.ended_at_ns) < NEAR_NS and step_id != held.step_id
    return together and plate != held.plates[int(np.argmax(np.abs(held.plate_mass_g)))]


def one_person(between_ns: int) -> float:
    """Odds that one person ended two steps, against two people; 1 where time says nothing."""
    return float(np.interp(abs(between_ns), BETWEEN_NS, ONE_PERSON))
