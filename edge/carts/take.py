"""Explanations of a take: mass left a shelf."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.carts.likelihood import (
    centre_log_likelihood,
    log_normal,
    log_sum,
    log_weight,
    pair_log_likelihood,
)
from edge.carts.outcomes import (
    ACTOR_MIN,
    LOOSE,
    LOOSE_FROM,
    LOOSE_QUANTITIES,
    LOOSE_SIGMAS,
    NONE,
    ONE_PERSON,
    PAIR,
    SAME_SOURCE,
    SAME_SOURCE_MAX,
    TAKE_FOREIGN,
    TAKE_QUANTITY,
    TAKE_UNKNOWN,
    WRONG_QUANTITIES,
    Kind,
    Outcomes,
    Rows,
    StepView,
    anything,
    by_actor,
    loose_mass,
    normalized,
    pair_mass,
    place,
    single_mass,
    worth,
)
from edge.carts.planogram import ForeignObject, Planogram, Sources
from edge.carts.sightings import with_looks
from edge.carts.who import Actors
from messages.arrays import Floats, Ints


def explain_take(
    step: StepView,
    planogram: Planogram,
    sources: Sources,
    foreign: Sequence[ForeignObject],
    actors: Actors,
    wrong: Floats,
    looks: Floats | None = None,
) -> Outcomes:
    """Mass left the shelf.

    Args:
        actors: at the step's own place, then at each source.
        wrong: (config.facings,) probability that each holds other goods than the books say.
        looks: (config.products,) log ratio of what hands were seen to hold; None: nobody looked.
    """
    right = np.where(sources.facing >= 0, 1.0 - wrong[sources.facing], 1.0)
    centre = centre_log_likelihood(step.plate_mass_g, step.plate_sd_g)
    rows = [
        _single_takes(step, planogram, sources, actors, centre, right),
        _loose_takes(step, planogram, sources, actors, centre),
        _wrong_takes(step, planogram, sources, actors, centre, 1.0 - right),
        _pair_takes(step, planogram, sources, actors),
        _known_foreign(step, planogram, foreign, actors, centre),
        *anything(step, planogram, actors, centre, TAKE_UNKNOWN),
    ]
    return normalized([with_looks(row, looks) for row in rows])


def _single_takes(
    step: StepView,
    planogram: Planogram,
    sources: Sources,
    actors: Actors,
    centre: Floats,
    right: Floats,
) -> Rows:
    """q units of one source: log prior + log q + mass + place, for each actor."""
    n, q = len(sources.product), len(TAKE_QUANTITY)
    source = np.repeat(np.arange(n), q)
    quantity = np.tile(np.arange(1, q + 1), n)
    product = sources.product[source]
    log_w = (
        np.log((1.0 - PAIR) * TAKE_QUANTITY)[quantity - 1]
        + log_weight(sources.prior * right)[source]
        + single_mass(step, planogram, product, quantity)
        + place(step, centre, sources.stands)[source, np.minimum(quantity, 2) - 1]
    )
    entry, facing = sources.entry[source], sources.facing[source]
    return by_actor(Kind.ITEM, log_w, product, quantity, entry, actors, facing=facing)


def _loose_takes(
    step: StepView, planogram: Planogram, sources: Sources, actors: Actors, centre: Floats
) -> Rows:
    """As a single take, but a hand or something else was weighed along: a guess, never a charge."""
    n, q = len(sources.product), LOOSE_QUANTITIES
    source = np.repeat(np.arange(n), q)
    quantity = np.tile(np.arange(1, q + 1), n)
    product = sources.product[source]
    log_w = (
        np.log(LOOSE * TAKE_QUANTITY)[quantity - 1]
        + log_weight(sources.prior)[source]
        + loose_mass(step, planogram, product, quantity)
        + place(step, centre, sources.stands)[source, 0]
    )
    entry, facing = sources.entry[source], sources.facing[source]
    mean_g = quantity * planogram.unit_mass_g[product]
    spread_g = LOOSE_SIGMAS * np.sqrt(quantity) * planogram.unit_sd_g[product]
    far = np.abs(step.size_g - mean_g) > np.maximum(LOOSE_FROM * mean_g, spread_g)
    return by_actor(Kind.ITEM, log_w, product, quantity, entry, actors, facing=facing, loose=far)


def _wrong_takes(
    step: StepView,
    planogram: Planogram,
    sources: Sources,
    actors: Actors,
    centre: Floats,
    wrong: Floats,
) -> Rows:
    """A facing that holds other goods than the books say: any product whose mass fits."""
    facings = np.flatnonzero(sources.facing >= 0)
    shape = (len(facings), len(planogram.unit_mass_g), WRONG_QUANTITIES)
    row, product, quantity = (grid.ravel() for grid in np.indices(shape))
    source, quantity = facings[row], quantity + 1
    other = product != sources.product[source]
    source, product, quantity = source[other], product[other], quantity[other]
    log_w = (
        np.log(TAKE_QUANTITY / max(len(planogram.unit_mass_g) - 1, 1))[quantity - 1]
        + log_weight(sources.prior * wrong)[source]
        + single_mass(step, planogram, product, quantity)
        + place(step, centre, sources.stands)[source, quantity - 1]
    )
    none, facing = np.full(len(source), NONE), sources.facing[source]
    return by_actor(Kind.ITEM, log_w, product, quantity, none, actors, facing=facing, wrong=True)


def _pair_takes(step: StepView, planogram: Planogram, sources: Sources, actors: Actors) -> Rows:
    """Two things at once, by one person or by two."""
    first, second, q1, q2 = _pairs(len(sources.product))
    i, j = sources.product[first], sources.product[second]
    log_prior = log_weight(sources.prior[first] * sources.prior[second] * 2.0)
    same = first == second
    log_prior[same] = log_weight(sources.prior[first[same]] * SAME_SOURCE)
    log_w = np.log(PAIR) + log_prior + np.log(TAKE_QUANTITY[q1 - 1] * TAKE_QUANTITY[q2 - 1])
    log_w = log_w + pair_mass(step, planogram, i, j, q1, q2)
    keep = worth(log_w)
    first, second, q1, q2, log_w = first[keep], second[keep], q1[keep], q2[keep], log_w[keep]
    m1, m2 = planogram.unit_mass_g[sources.product[[first, second]]]
    part = q1 * m1 / (q1 * m1 + q2 * m2)
    stands, too = sources.stands[first], sources.stands[second]
    log_w = log_w + pair_log_likelihood(step.plate_mass_g, step.plate_sd_g, stands, too, part)
    who = actors.probability[:, 1:]
    together = np.where(first == second, 0.0, ONE_PERSON)  # one person with two = one, q = 2
    pairs = np.stack([first, second], axis=1)
    return _by_two_actors(
        log_w,
        sources.product[pairs],
        np.stack([q1, q2], axis=1),
        sources.entry[pairs],
        together * np.minimum(who[:, first], who[:, second]),
        (1.0 - ONE_PERSON) * actors.two(1 + first, 1 + second),
    )


def _known_foreign(
    step: StepView,
    planogram: Planogram,
    foreign: Sequence[ForeignObject],
    actors: Actors,
    centre: Floats,
) -> Rows:
    """An object that was laid here before is taken away."""
    shelf = planogram.config.shelves[step.shelf]
    here = [i for i, thing in enumerate(foreign) if thing.shelf == shelf]
    mass = np.array([foreign[i].mass_g for i in here])
    sd = np.array([foreign[i].mass_sd_g for i in here])
    stands = [planogram.row(step.shelf, foreign[i].plates, foreign[i].share) for i in here]
    stood = log_sum(log_weight(np.array(stands).reshape(-1, len(centre))) + centre, axis=1)
    fits = log_normal(np.asarray(step.size_g), mass, sd**2 + step.mass_sd_g**2)
    log_w = np.log(TAKE_FOREIGN / max(len(here), 1)) + fits + stood
    none = np.full(len(here), NONE)
    return by_actor(Kind.FOREIGN, log_w, none, none * 0, np.array(here, dtype=np.int64), actors)


def _pairs(n: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Two sources and one or two units of each; of one source at most three by two people."""
    first, second = np.triu_indices(n)
    k = len(first)
    first, second = np.tile(first, 4), np.tile(second, 4)
    q1, q2 = np.repeat([1, 1, 2, 2], k), np.repeat([1, 2, 1, 2], k)
    keep = (first != second) | (q1 + q2 <= SAME_SOURCE_MAX)
    return first[keep], second[keep], q1[keep], q2[keep]


def _by_two_actors(
    log_w: Floats,
    product: Ints,
    quantity: Ints,
    entry: Ints,
    same: Floats,
    two: Floats,
) -> Rows:
    """Each pair once per two actors.

    Args:
        same: (v + 1, n) one person moved both; two: (v + 1, v + 1, n) two people did.
    """
    index = np.arange(len(same))
    two = two.copy()
    two[index, index] = same
    a, b, i = np.nonzero(two >= ACTOR_MIN**2)
    return Rows(
        kind=Kind.ITEM,
        log_w=log_w[i] + np.log(two[a, b, i]),
        actor=np.stack([a, b], axis=1),
        product=product[i],
        quantity=quantity[i],
        entry=entry[i],
    )
