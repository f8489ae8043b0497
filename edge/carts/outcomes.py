"""Explanations of one weight step, each with its probability.

An *outcome* says what moved and who moved it: one SKU and how many, two SKUs at once, an object
that is no product, or nothing at all. The probability of an outcome is prior x mass x place x who,
normalized over all outcomes of the step. docs/CARTS.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from edge.carts.likelihood import (
    GAIN_SD,
    log_normal,
    log_sum,
    log_weight,
    mass_log_likelihood,
    mess_log_likelihood,
    pair_log_likelihood,
)
from edge.carts.planogram import Planogram
from edge.carts.who import Actors
from messages.arrays import Bools, Floats, Ints

# Priors: our judgement of a convenience store, to be learned from recordings later.
TAKE_QUANTITY = np.array([0.86, 0.10, 0.03, 0.006, 0.002, 0.001])  # 1 .. 6 units at once
PUT_QUANTITY = np.array([0.90, 0.07, 0.02, 0.005, 0.003, 0.002])
STOCK_QUANTITY = np.full(12, 1.0 / 12)  # staff fill a facing with one to a dozen
PAIR = 0.01  # one step covers two different things
ONE_PERSON = 0.5  # ... moved by one person; otherwise by two at the same time
SAME_SOURCE = 0.5  # two people at the same time: how often they want the same product
SAME_SOURCE_MAX = 3  # units of it
HOME = 0.9  # a shopper puts an item back where it belongs
NOT_HELD = 0.003  # a shopper puts back an item that we never saw being taken
EXCHANGED = (
    0.002  # ... while another thing is taken from the same plates, so that both weigh as one
)
# An object that is no product is laid down now and then; it can only be taken where one lies,
# unless we missed that.
TAKE_UNKNOWN, PUT_UNKNOWN = 0.0005, 0.02
LOOSE = 0.05  # a hand, a bag or half a lift is in the measured mass: it fits only roughly
LOOSE_SD = 0.30  # ... of the mass
LOOSE_FROM = 0.15  # beyond this share of the mass it is only a guess
LOOSE_SIGMAS = 2.0  # ... and of the spread of goods that differ among themselves
LOOSE_QUANTITIES = 2
WRONG = 0.002  # a facing holds other goods than the books say; learned for each facing
WRONG_QUANTITIES = 2
TAKE_FOREIGN = 0.5  # an object that was laid here before is taken away again
MESS = 0.0005  # several things at once, without a pattern
NOTHING = 0.05  # noise, a hand, a knock
NOTHING_SD_G, KNOCK_SD_G, KNOCK = 4.0, 12.0, 0.1  # knocked gondolas kept -5 to +4 g
LOG_MASS_RANGE = float(np.log(5_000.0 / 5.0))  # unknown objects: 5 g to 5 kg, log-uniform
WORTH_LOG = 14.0  # explanations e^-14 below the best one are dropped
ACTOR_MIN = 1e-3  # less probable actors cannot change any decision

NONE = -1


class Kind(IntEnum):
    NOTHING = 0
    UNKNOWN = 1  # something that is no product, or several things
    FOREIGN = 2  # an object known to lie there
    ITEM = 3
    NOT_HELD = 4  # an item put back by somebody whose cart does not have it
    EXCHANGE = 5  # one thing came as another went from the same plates: the first and the second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepView:
    """One step on its own shelf; plates in their order along the shelf."""

    shelf: int
    mass_g: float
    mass_sd_g: float
    plate_mass_g: Floats  # (c,)
    plate_sd_g: Floats  # (c,)

    @property
    def size_g(self) -> float:
        return abs(self.mass_g)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """n outcomes; the second of two things stands in column 1, -1 where there is none."""

    kind: Ints  # (n,)
    actor: Ints  # (n, 2) index into Actors.visits, its length = nobody
    product: Ints  # (n, 2)
    quantity: Ints  # (n, 2)
    entry: Ints  # (n, 2) misplaced units it came from; or foreign object of kind FOREIGN
    misplaced: Bools  # (n,) put where it does not belong
    facing: Ints  # (n,) of config.facings that the first thing came from; -1 = none, or not known
    wrong: Bools  # (n,) ... and it holds other goods than the books say
    loose: Bools  # (n,) the mass fits only roughly
    probability: Floats  # (n,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Outcomes before normalization."""

    kind: int
    log_w: Floats
    actor: Ints
    product: Ints
    quantity: Ints
    entry: Ints
    misplaced: bool = False
    facing: Ints | None = None
    wrong: bool = False
    loose: Bools | None = None


def anything(
    step: StepView, planogram: Planogram, actors: Actors, centre: Floats, unknown: float
) -> list[Rows]:
    """Nothing at all, an unknown object at one place, or a mess."""
    size = max(step.size_g, 1.0)
    any_mass = -np.log(size * LOG_MASS_RANGE)
    churn = max(float(np.abs(step.plate_mass_g).sum()), 1.0)
    mess = mess_log_likelihood(step.plate_mass_g, step.plate_sd_g, churn)
    quiet = mess_log_likelihood(step.plate_mass_g, step.plate_sd_g, NOTHING_SD_G)
    sd = np.array([NOTHING_SD_G, KNOCK_SD_G])
    noise = log_normal(np.asarray(step.mass_g), np.zeros(2), step.mass_sd_g**2 + sd**2)
    noise = log_sum(noise + np.log([1.0 - KNOCK, KNOCK]), axis=0)
    one_place = float(log_sum(centre, axis=0)) - np.log(len(centre))
    log_unknown = np.array(
        [
            np.log(unknown) + any_mass + one_place,
            np.log(MESS) - np.log(churn * LOG_MASS_RANGE) + mess,
        ]
    )
    lightest = planogram.unit_mass_g.min() if len(planogram.unit_mass_g) else 0.0
    too_light = step.size_g < 0.5 * lightest  # lighter than half of anything we sell
    none = np.full(2, NONE)
    kind = Kind.NOTHING if too_light else Kind.UNKNOWN
    silent = np.atleast_1d(np.log(NOTHING) + noise + quiet)
    nobody = np.full(1, actors.nobody)
    return [
        by_actor(kind, log_unknown, none, none * 0 + 1, none, actors),
        rows_of_one(Kind.NOTHING, silent, nobody, none[:1], none[:1] * 0),
    ]


def fits(outcomes: Outcomes, units_max: int = len(TAKE_QUANTITY)) -> float:
    """Probability of the outcomes in which goods where they belong have the mass of the step."""
    item = (outcomes.kind == Kind.ITEM) & ~outcomes.wrong & ~outcomes.loose
    item &= outcomes.quantity.sum(axis=1) <= units_max
    return float(outcomes.probability[item].sum())


def single_mass(step: StepView, planogram: Planogram, product: Ints, quantity: Ints) -> Floats:
    mass, sd = planogram.unit_mass_g[product], planogram.unit_sd_g[product]
    return mass_log_likelihood(step.size_g, step.mass_sd_g, mass, sd, quantity.astype(np.float64))


def loose_mass(step: StepView, planogram: Planogram, product: Ints, quantity: Ints) -> Floats:
    """As ``single_mass``, when something else was weighed along."""
    mean = quantity * planogram.unit_mass_g[product]
    return log_normal(np.asarray(step.size_g), mean, (LOOSE_SD * mean) ** 2 + step.mass_sd_g**2)


def pair_mass(step: StepView, planogram: Planogram, i: Ints, j: Ints, q1: Ints, q2: Ints) -> Floats:
    mean = q1 * planogram.unit_mass_g[i] + q2 * planogram.unit_mass_g[j]
    spread = q1 * planogram.unit_sd_g[i] ** 2 + q2 * planogram.unit_sd_g[j] ** 2
    variance = spread + step.mass_sd_g**2 + (GAIN_SD * mean) ** 2
    return log_normal(np.asarray(step.size_g), mean, variance)


def place(step: StepView, centre: Floats, stands: Floats) -> Floats:
    """(n, 2) place of one unit, and of several: in one heap or on two of the source's plates."""
    one = log_sum(log_weight(stands) + centre, axis=1)
    half = np.array([0.5])
    two = pair_log_likelihood(step.plate_mass_g, step.plate_sd_g, stands, stands, half)
    several = np.logaddexp(one, two) - np.log(2.0)
    return np.stack([one, several], axis=1)


def worth(log_w: Floats) -> Ints:
    """Rows whose mass alone does not rule them out."""
    best = log_w.max(initial=-1e300)
    return np.flatnonzero((log_w > best - WORTH_LOG) & np.isfinite(log_w))


def by_actor(
    kind: Kind,
    log_w: Floats,
    product: Ints,
    quantity: Ints,
    entry: Ints,
    actors: Actors,
    *,
    facing: Ints | None = None,
    wrong: bool = False,
    loose: Bools | None = None,
) -> Rows:
    """Each explanation once per actor, by who stood at the step's own place."""
    keep = worth(log_w)
    who = np.flatnonzero(actors.probability[:, 0] >= ACTOR_MIN)
    i, a = (grid.ravel() for grid in np.meshgrid(keep, who, indexing="ij"))
    log_p = log_w[i] + log_weight(actors.probability[a, 0])
    rows = rows_of_one(kind, log_p, a, product[i], quantity[i], entry=entry[i])
    return replace(
        rows,
        facing=None if facing is None else facing[i],
        wrong=wrong,
        loose=None if loose is None else loose[i],
    )


def rows_of_one(
    kind: Kind,
    log_w: Floats,
    actor: Ints,
    product: Ints,
    quantity: Ints,
    *,
    entry: Ints | None = None,
    misplaced: bool = False,
) -> Rows:
    """Rows of one thing each."""
    none = np.full(len(log_w), NONE)
    return Rows(
        kind=kind,
        log_w=log_w,
        actor=np.stack([actor, none], axis=1),
        product=np.stack([product, none], axis=1),
        quantity=np.stack([quantity, none * 0], axis=1),
        entry=np.stack([none if entry is None else entry, none], axis=1),
        misplaced=misplaced,
    )


def normalized(rows: Sequence[Rows]) -> Outcomes:
    """All rows together, without the hopeless ones, adding up to 1."""
    log_w = np.concatenate([r.log_w for r in rows])
    keep = worth(log_w)
    weight = np.exp(log_w[keep] - log_w[keep].max())
    kind = np.concatenate([np.full(len(r.log_w), r.kind, dtype=np.int64) for r in rows])
    misplaced, wrong = (
        np.concatenate([np.full(len(r.log_w), getattr(r, name)) for r in rows])
        for name in ("misplaced", "wrong")
    )
    loose = [np.zeros(len(r.log_w), dtype=bool) if r.loose is None else r.loose for r in rows]
    facing = [np.full(len(r.log_w), NONE) if r.facing is None else r.facing for r in rows]
    return Outcomes(
        kind=kind[keep],
        actor=np.concatenate([r.actor for r in rows])[keep],
        product=np.concatenate([r.product for r in rows])[keep],
        quantity=np.concatenate([r.quantity for r in rows])[keep],
        entry=np.concatenate([r.entry for r in rows])[keep],
        misplaced=misplaced[keep],
        facing=np.concatenate(facing)[keep],
        wrong=wrong[keep],
        loose=np.concatenate(loose)[keep],
        probability=weight / weight.sum(),
    )
