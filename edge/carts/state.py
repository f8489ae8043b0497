"""The cart tracker's state: visits, carts, open questions, held steps, memory of the shelves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edge.carts.gains import Gain, known_gains, true_mass
from edge.carts.meetings import Meeting
from edge.carts.outcomes import StepView
from edge.carts.planogram import ForeignObject, Misplaced, Planogram
from edge.carts.proposals import Suspicion
from edge.carts.stoops import Stoop
from edge.carts.touches import Touch
from edge.sensors.shelf_changes import SPAN_SD
from edge.sensors.weight_steps import WeightSteps
from messages.arrays import Floats
from messages.cart import Cart
from messages.events import ReviewRequested, VisitKind
from messages.ids import PlateId, ReviewId, ShelfId, Sku, VisitId
from messages.observations import ItemSightings
from messages.store_config import StoreConfig

LIFT_NS = 15_000_000_000  # longest time that an item is held half lifted
SAME_PLATES = 0.85  # cosine of the two parts over the plates
PARTS_MAX = 32
# Mass that went the other way than the rest of a step: lighter than this is spill or noise.
OTHER_WAY_MIN_G, OTHER_WAY_SIGMAS, OTHER_WAY_SHARE = 12.0, 5.0, 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldStep:
    """A step that waits; ids instead of indices, so that it outlives a change of the layout."""

    step_id: int
    shelf: ShelfId
    plates: tuple[PlateId, ...]  # in their order along the shelf
    started_at_ns: int
    ended_at_ns: int
    mass_g: float
    mass_sd_g: float
    plate_mass_g: Floats
    plate_sd_g: Floats
    flags: int
    held_at_ns: int
    earlier: tuple[int, ...] = ()  # steps of the same lift, whose mass is in here
    rivals: bool | None = None  # two visits may have made it; None until people are known


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOfLift:
    """A take that fits nothing, and its question: the rest of the lift may follow."""

    held: HeldStep
    review: ReviewId


@dataclass(slots=True)
class VisitRecord:
    """What the tracker knows of a visit beside its cart."""

    kind: VisitKind
    started_at_ns: int
    left_at_ns: int | None = None
    lines_made: int = 0
    people: int = 1
    mistakable_ns: int = 0  # when one left, booked as another's, who may have been theirs; 0 never

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """True when the visit was inside at some time of the interval."""
        left = self.left_at_ns
        return self.started_at_ns <= end_ns and (left is None or start_ns <= left)


@dataclass(slots=True)
class CartTrackerState:
    """Everything a restart needs."""

    visits: dict[VisitId, VisitRecord] = field(default_factory=dict)
    carts: dict[VisitId, Cart] = field(default_factory=dict)
    reviews: dict[ReviewId, ReviewRequested] = field(default_factory=dict)  # open ones
    held: list[HeldStep] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    foreign: list[ForeignObject] = field(default_factory=list)
    facing_sku: dict[str, Sku] = field(default_factory=dict)  # planogram changes since the config
    reviews_made: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    parts: list[PartOfLift] = field(default_factory=list)
    facing_wrong: dict[str, float] = field(default_factory=dict)  # probability, where it is known
    meetings: list[Meeting] = field(default_factory=list)  # hands that met, until they part
    stooped_ns: dict[str, int] = field(default_factory=dict)  # visit -> when last
    suspicions: dict[str, Suspicion] = field(default_factory=dict)  # facing -> other goods on it
    sold_out: dict[str, float] = field(default_factory=dict)  # facing -> P(nothing is left)
    touches: list[Touch] = field(default_factory=list)  # whose hands were at shelves lately
    stoops: list[Stoop] = field(default_factory=list)  # where something may lie on the floor
    looked_at_ns: int = 0  # when meetings were last looked for
    in_hands: list[ItemSightings] = field(default_factory=list)  # of the last seconds
    gains: dict[PlateId, Gain] = field(default_factory=dict)  # of the plates that sold something


def held_steps(
    now_ns: int, steps: WeightSteps, config: StoreConfig, planogram: Planogram
) -> list[HeldStep]:
    """New steps, each cut to the plates of its own shelf. Unknown plates count as unchanged."""
    result = []
    for i in range(len(steps.step_id)):
        shelf = int(steps.shelf[i])
        order = planogram.shelves[shelf].plates
        held = HeldStep(
            step_id=int(steps.step_id[i]),
            shelf=config.shelves[shelf],
            plates=tuple(config.plates[p].id for p in order),
            started_at_ns=int(steps.started_at_ns[i]),
            ended_at_ns=int(steps.ended_at_ns[i]),
            mass_g=float(steps.mass_g[i]),
            mass_sd_g=float(steps.mass_sd_g[i]),
            plate_mass_g=np.nan_to_num(steps.plate_mass_g[i, order]),
            plate_sd_g=np.nan_to_num(steps.plate_sd_g[i, order]),
            flags=int(steps.flags[i]),
            held_at_ns=now_ns,
        )
        result += both_ways(held)
    return result


def both_ways(held: HeldStep) -> list[HeldStep]:
    """A step in which some plates lost mass while others gained it: first a take, then a put.

    Spill moves mass between neighbours by shares of one item, so all its plates change one way;
    where they plainly do not, one thing came as another went, or something changed its place.
    """
    mass, variance = held.plate_mass_g, held.plate_sd_g**2
    parts = [np.where(mass < 0.0, mass, 0.0), np.where(mass > 0.0, mass, 0.0)]
    size = np.array([abs(part.sum()) for part in parts])
    noise = np.sqrt([variance[part != 0.0].sum() for part in parts])
    if (size < np.maximum(OTHER_WAY_MIN_G, OTHER_WAY_SIGMAS * noise)).any():
        return [held]
    if size.min() < OTHER_WAY_SHARE * size.max():
        return [held]
    return [_only_plates(held, part) for part in parts]


def _only_plates(held: HeldStep, mass_g: Floats) -> HeldStep:
    """The step as far as these plates saw it; its span error is a share of what they saw."""
    total = float(mass_g.sum())
    noise = float(np.linalg.norm(held.plate_sd_g[mass_g != 0.0]))
    return replace(
        held,
        mass_g=total,
        mass_sd_g=max(noise, SPAN_SD * abs(total)),
        plate_mass_g=mass_g,
        plate_sd_g=held.plate_sd_g,
    )


def joined(part: HeldStep, rest: HeldStep) -> HeldStep | None:
    """Two steps down on one shelf as one lift; None where they cannot be that.

    An item that is held half lifted for seconds comes in two steps: the same plates give first a
    part of its mass, then the rest.
    """
    soon = 0 <= rest.started_at_ns - part.ended_at_ns <= LIFT_NS
    if part.shelf != rest.shelf or part.plates != rest.plates or not soon:
        return None
    a, b = part.plate_mass_g, rest.plate_mass_g
    if float(a @ b) < SAME_PLATES * float(np.linalg.norm(a) * np.linalg.norm(b)):
        return None
    return replace(
        rest,
        started_at_ns=part.started_at_ns,
        mass_g=part.mass_g + rest.mass_g,
        mass_sd_g=float(np.hypot(part.mass_sd_g, rest.mass_sd_g)),
        plate_mass_g=a + b,
        plate_sd_g=np.hypot(part.plate_sd_g, rest.plate_sd_g),
        flags=part.flags | rest.flags,
        earlier=(*part.earlier, part.step_id),
    )


def step_view(
    held: HeldStep, config: StoreConfig, planogram: Planogram, gains: Mapping[PlateId, Gain]
) -> StepView | None:
    """The step on today's shelf; None when it has no mass or the layout changed under it."""
    shelf = config.shelf_index.get(held.shelf, -1)
    if shelf < 0 or not np.isfinite(held.mass_g) or not np.isfinite(held.mass_sd_g):
        return None
    today = tuple(config.plates[p].id for p in planogram.shelves[shelf].plates)
    if held.plates != today or not held.plate_mass_g.any():
        return None
    mass_g, mass_sd_g, plate_mass_g, plate_sd_g = true_mass(
        held.mass_g,
        held.mass_sd_g,
        held.plate_mass_g,
        held.plate_sd_g,
        *known_gains(gains, held.plates),
    )
    return StepView(
        shelf=shelf,
        mass_g=mass_g,
        mass_sd_g=mass_sd_g,
        plate_mass_g=plate_mass_g,
        plate_sd_g=plate_sd_g,
    )
