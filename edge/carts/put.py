"""Explanations of a put: mass came onto a shelf."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge.carts.likelihood import (
    GAIN_SD,
    centre_log_likelihood,
    log_normal,
    log_weight,
    pair_log_likelihood,
)
from edge.carts.outcomes import (
    EXCHANGED,
    HOME,
    LOOSE,
    LOOSE_FROM,
    NONE,
    NOT_HELD,
    ONE_PERSON,
    PAIR,
    PUT_QUANTITY,
    PUT_UNKNOWN,
    STOCK_QUANTITY,
    Kind,
    Outcomes,
    Rows,
    StepView,
    anything,
    loose_mass,
    normalized,
    pair_mass,
    place,
    rows_of_one,
    single_mass,
    worth,
)
from edge.carts.planogram import Planogram, Sources
from edge.carts.sightings import with_looks
from edge.carts.who import Actors
from messages.arrays import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holdings:
    """What may be put back by whom: n rows, one per visit and SKU."""

    actor: Ints  # (n,) index into Actors.visits
    product: Ints  # (n,)
    sure: Ints  # (n,) units in the cart without doubt
    possible: Ints  # (n,) units beyond these that open doubts may give them
    possible_probability: Floats  # (n,)


def explain_put(
    step: StepView,
    planogram: Planogram,
    holdings: Holdings,
    actors: Actors,
    staff: Bools,
    sources: Sources,
    looks: Floats | None = None,
) -> Outcomes:
    """Mass came onto the shelf.

    Args:
        staff: (v + 1,) who may put down any product (and nobody).
        sources: what may be taken there meanwhile.
        looks: (config.products,) log ratio of what hands were seen to hold.
    """
    centre = centre_log_likelihood(step.plate_mass_g, step.plate_sd_g)
    rows = [
        _single_puts(step, planogram, holdings, actors, centre, at_home=True),
        _single_puts(step, planogram, holdings, actors, centre, at_home=False),
        _loose_puts(step, planogram, holdings, actors, centre),
        _pair_puts(step, planogram, holdings, actors),
        _not_held(step, planogram, holdings, actors, centre, staff),
        _stocked(step, planogram, actors, centre, staff),
        _exchanged(step, planogram, holdings, actors, centre, sources),
        *anything(step, planogram, actors, centre, PUT_UNKNOWN),
    ]
    return normalized([with_looks(row, looks) for row in rows])


def _single_puts(
    step: StepView,
    planogram: Planogram,
    holdings: Holdings,
    actors: Actors,
    centre: Floats,
    *,
    at_home: bool,
) -> Rows:
    """q units that a visit holds, where they belong or anywhere on this shelf."""
    q = len(PUT_QUANTITY)
    row = np.repeat(np.arange(len(holdings.actor)), q)
    quantity = np.tile(np.arange(1, q + 1), len(holdings.actor))
    product, actor = holdings.product[row], holdings.actor[row]
    stands = _stands_of(step, planogram, holdings.product, at_home=at_home)
    log_w = (
        np.log(HOME if at_home else 1.0 - HOME)
        + np.log((1.0 - PAIR) * PUT_QUANTITY)[quantity - 1]
        + log_weight(_held(holdings, row, quantity))
        - np.log(np.maximum(_kinds_held(holdings), 1.0))[row]
        + single_mass(step, planogram, product, quantity)
        + place(step, centre, stands)[row, np.minimum(quantity, 2) - 1]
        + log_weight(actors.probability[actor, 0])
    )
    return rows_of_one(Kind.ITEM, log_w, actor, product, quantity, misplaced=not at_home)


def _loose_puts(
    step: StepView, planogram: Planogram, holdings: Holdings, actors: Actors, centre: Floats
) -> Rows:
    """One held unit back home, its mass only roughly: a stuck plate, a hand that presses."""
    row = np.arange(len(holdings.actor))
    one = np.ones_like(row)
    stands = _stands_of(step, planogram, holdings.product, at_home=True)
    mean_g = planogram.unit_mass_g[holdings.product]
    log_w = (
        np.log(LOOSE * HOME)
        + log_weight(_held(holdings, row, one))
        - np.log(np.maximum(_kinds_held(holdings), 1.0))
        + loose_mass(step, planogram, holdings.product, one)
        + place(step, centre, stands)[:, 0]
        + log_weight(actors.probability[holdings.actor, 0])
    )
    rows = rows_of_one(Kind.ITEM, log_w, holdings.actor, holdings.product, one)
    return replace(rows, loose=np.abs(step.size_g - mean_g) > LOOSE_FROM * mean_g)


def _pair_puts(step: StepView, planogram: Planogram, holdings: Holdings, actors: Actors) -> Rows:
    """One unit of each of two SKUs, by one visit or by two at the same time."""
    first, second = np.triu_indices(len(holdings.actor), 1)
    i, j = holdings.product[first], holdings.product[second]
    a, b = holdings.actor[first], holdings.actor[second]
    one = np.ones_like(first)
    who = actors.probability[:, 0]
    both = np.where(a == b, ONE_PERSON * who[a], (1.0 - ONE_PERSON) * who[a] * who[b])
    held = _held(holdings, first, one) * _held(holdings, second, one)
    kinds = np.maximum(_kinds_held(holdings), 1.0)
    log_w = np.log(PAIR) + log_weight(both * held * 2.0 / (kinds[first] * kinds[second]))
    log_w = log_w + pair_mass(step, planogram, i, j, one, one)
    keep = worth(log_w)
    first, second, log_w = first[keep], second[keep], log_w[keep]
    home = _stands_of(step, planogram, holdings.product, at_home=True)
    stands = HOME * home + (1.0 - HOME) / home.shape[1]
    m1, m2 = planogram.unit_mass_g[holdings.product[[first, second]]]
    log_w = log_w + pair_log_likelihood(
        step.plate_mass_g, step.plate_sd_g, stands[first], stands[second], m1 / (m1 + m2)
    )
    pairs = np.stack([first, second], axis=1)
    return Rows(
        kind=Kind.ITEM,
        log_w=log_w,
        actor=holdings.actor[pairs],
        product=holdings.product[pairs],
        quantity=np.ones_like(pairs),
        entry=np.full_like(pairs, NONE),
    )


def _not_held(
    step: StepView,
    planogram: Planogram,
    holdings: Holdings,
    actors: Actors,
    centre: Floats,
    staff: Bools,
) -> Rows:
    """A shopper puts a unit on its facing that the cart does not have: a take was missed."""
    layout = planogram.shelves[step.shelf]
    facing_product = planogram.facing_product[layout.facings]
    shoppers = np.flatnonzero(~staff)
    facing = np.tile(np.arange(len(facing_product)), len(shoppers))
    actor = np.repeat(shoppers, len(facing_product))
    product = facing_product[facing]
    held = set(zip(holdings.actor.tolist(), holdings.product.tolist(), strict=True))
    pairs = zip(actor.tolist(), product.tolist(), strict=True)
    free = np.array([p >= 0 and (a, p) not in held for a, p in pairs], dtype=bool)
    facing, actor, product = facing[free], actor[free], product[free]
    one = np.ones_like(product)
    log_w = (
        np.log(NOT_HELD / max(len(facing_product), 1))
        + single_mass(step, planogram, product, one)
        + place(step, centre, layout.stands)[facing, 0]
        + log_weight(actors.probability[actor, 0])
    )
    return rows_of_one(Kind.NOT_HELD, log_w, actor, product, one)


def _stocked(
    step: StepView, planogram: Planogram, actors: Actors, centre: Floats, staff: Bools
) -> Rows:
    """Staff, or somebody unseen, fill a facing."""
    layout = planogram.shelves[step.shelf]
    shape = (len(layout.facings), len(STOCK_QUANTITY), int(staff.sum()))
    facing, quantity, who = (grid.ravel() for grid in np.indices(shape))
    actor, quantity = np.flatnonzero(staff)[who], quantity + 1
    product = planogram.facing_product[layout.facings][facing]
    known = product >= 0
    facing, quantity, actor, product = facing[known], quantity[known], actor[known], product[known]
    log_w = (
        np.log(STOCK_QUANTITY / max(len(layout.facings), 1))[quantity - 1]
        + single_mass(step, planogram, product, quantity)
        + place(step, centre, layout.stands)[facing, np.minimum(quantity, 2) - 1]
        + log_weight(actors.probability[actor, 0])
    )
    return rows_of_one(Kind.ITEM, log_w, actor, product, quantity)


def _exchanged(
    step: StepView,
    planogram: Planogram,
    holdings: Holdings,
    actors: Actors,
    centre: Floats,
    sources: Sources,
) -> Rows:
    """A unit that a visit holds came while a lighter one was taken from the same plates."""
    shape = (len(holdings.actor), len(sources.product))
    row, source = (grid.ravel() for grid in np.indices(shape))
    came, went = holdings.product[row], sources.product[source]
    mass, sd = planogram.unit_mass_g, planogram.unit_sd_g
    variance = sd[came] ** 2 + sd[went] ** 2 + step.mass_sd_g**2
    variance = variance + (GAIN_SD * (mass[came] + mass[went])) ** 2
    log_w = (
        np.log(EXCHANGED)
        + log_weight(sources.prior[source])
        + log_weight(_held(holdings, row, np.ones_like(row)))
        - np.log(np.maximum(_kinds_held(holdings), 1.0))[row]
        + log_normal(np.asarray(step.size_g), mass[came] - mass[went], variance)
        + place(step, centre, sources.stands)[source, 0]
        + log_weight(actors.probability[holdings.actor[row], 0])
    )
    none = np.full(len(row), NONE)
    return Rows(
        kind=Kind.EXCHANGE,
        log_w=log_w,
        actor=np.stack([holdings.actor[row], none], axis=1),
        product=np.stack([came, went], axis=1),
        quantity=np.ones((len(row), 2), dtype=np.int64),
        entry=np.full((len(row), 2), NONE),
    )


def _stands_of(step: StepView, planogram: Planogram, product: Ints, *, at_home: bool) -> Floats:
    """(n, c) where a unit put back may stand: at home, or anywhere on the shelf."""
    plates = len(step.plate_mass_g)
    if not at_home:
        return np.full((len(product), plates), 1.0 / plates)
    rows = [planogram.home(step.shelf, int(p)) for p in product]
    return np.array(rows).reshape(-1, plates)


def _held(holdings: Holdings, row: Ints, quantity: Ints) -> Floats:
    """Probability that the row's visit has so many units."""
    sure = quantity <= holdings.sure[row]
    maybe = quantity <= holdings.sure[row] + holdings.possible[row]
    return np.where(sure, 1.0, np.where(maybe, holdings.possible_probability[row], 0.0))


def _kinds_held(holdings: Holdings) -> Floats:
    """(n,) how many SKUs the row's visit holds."""
    counts = np.bincount(holdings.actor, minlength=1)
    result: Floats = counts[holdings.actor].astype(np.float64)
    return result
