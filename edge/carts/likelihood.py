"""Likelihoods of the cart tracker: mass, place and reach. Pure functions on whole arrays.

Everything about place is in grams per plate, so that explanations of one step compare: each
predicts the mean and the spread of what every plate of the shelf saw. docs/CARTS.md has the model.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from messages.arrays import Floats, Ints, read_only

# The step's own spread has the plate's span error in it (4 %, edge/sensors); this is what a batch
# of units is off together, beside the spread of a unit.
GAIN_SD = 0.01
PLATE_FLOOR_G = 1.0  # vibration and rounding left in a difference of two levels
CROSSTALK_SD = 0.01  # of the mass on a plate that is no neighbour: the shelf bends a little
SHARE_SD = 0.015  # of the item's own plate and its neighbours, beside the spill itself
SPILL_SD = 0.25  # of the spill: the grid below stands for what lies between its points

# How much of an item's mass a neighbouring plate takes: 1 % for a bottle in a real store, 18 %
# for a bag across an edge; the weights are our guess of how often each happens.
SPILL_GRID = (0.01, 0.05, 0.12, 0.22, 0.38)
SPILL_WEIGHT = (0.45, 0.30, 0.15, 0.07, 0.03)
WIDE_WEIGHT = 0.02  # an item that lies over several plates in a way the grid does not know
WIDE_SD = 0.15

# Reach and walking: fitted to 355 takes and returns of the simulated store, rounded; the
# simulator's gestures are our picture of people, so recordings of a real store will move these.
REACH_M = 1.0  # body to plate centre where an arm (about 0.9 m) gives out
REACH_SD_M = 0.10
# Where a body stands along the shelf while its hand is at a plate: in front of it mostly, at times
# an arm's length aside. (weight, sd in metres).
ASIDE_M = ((0.85, 0.35), (0.15, 0.70))
AWAY_M = 0.80  # ... and away from the shelf: among several the nearer one is a little likelier
# Log likelihood ratios of hands, by samples with a wrist within 0.25 m of where a hand at the goods
# would be (those within 0.12 m count twice), and by the share of samples in which both wrists were
# elsewhere. A conditional logit on half of 1,803 single takes and returns of the odd seeds; on the
# other half 87 % of the actors are above 0.99, 2 of 700 of them wrong (before: 69 %, 1 of 550).
HANDS_AT, HANDS_AT_RATIO = (0.0, 1.0, 2.0, 4.0, 7.0), (0.0, 0.2, 0.4, 1.1, 2.9)
HANDS_ELSEWHERE = (0.0, 0.1, 0.25, 0.5, 0.8, 1.0)
HANDS_ELSEWHERE_RATIO = (0.0, 0.0, -0.4, -3.2, -4.2, -4.8)
HANDS_UNSEEN_RATIO = -3.0  # nobody who reaches out hides both hands from all cameras for long
ACTOR_RATIO = 1.65  # of somebody who is followed, against one whom no camera saw
WALK_M_S = 0.25  # who walks on, faster than this, hardly takes anything meanwhile
WALK_SD_M_S = 0.05
WALKING = 0.01  # likelihood ratio of a walker, against one who stands still

LOG_2PI = float(np.log(2.0 * np.pi))


def log_normal(x: Floats, mean: Floats, variance: Floats) -> Floats:
    """Log density of N(mean, variance) at x; arguments broadcast."""
    z2: Floats = (x - mean) ** 2 / variance
    result: Floats = -0.5 * (z2 + LOG_2PI + np.log(variance))
    return result


def log_sum(a: Floats, axis: int | tuple[int, ...]) -> Floats:
    """log(sum(exp(a))) along an axis; -inf where nothing is possible."""
    top = np.max(a, axis=axis, keepdims=True, initial=-1e300)
    total: Floats = np.sum(np.exp(a - top), axis=axis)
    with np.errstate(divide="ignore"):
        result: Floats = np.log(total) + np.squeeze(top, axis=axis)
    return result


def log_weight(weight: Floats) -> Floats:
    """Log of weights; zero gives -inf without a warning."""
    with np.errstate(divide="ignore"):
        result: Floats = np.log(weight)
    return result


def mass_log_likelihood(
    mass_g: float, mass_sd_g: float, unit_mass_g: Floats, unit_sd_g: Floats, quantity: Floats
) -> Floats:
    """Log density of a step's mass (its size, > 0) for q units of a product.

    q units: N(q m, q s^2); the plate's gain scales all of it; the step has its own noise. Units
    of one batch err together, so the spread of a unit is not averaged out for the gain part.
    """
    variance = quantity * unit_sd_g**2 + mass_sd_g**2 + (GAIN_SD * quantity * unit_mass_g) ** 2
    return log_normal(np.asarray(mass_g), quantity * unit_mass_g, variance)


def centre_log_likelihood(plate_mass_g: Floats, plate_sd_g: Floats) -> Floats:
    """(c,) log density of what the plates saw if one item stood centred on plate c.

    The total is taken as given (the mass likelihood judges it). Sum over a grid of spills to the
    left and the right neighbour: log sum_g w_g prod_p N(m_p; a_gp M, sd_p^2 + (t_gp M)^2).
    """
    total = plate_mass_g.sum()
    share, tolerance, log_w = spill_table(len(plate_mass_g))
    variance = plate_sd_g**2 + PLATE_FLOOR_G**2 + (tolerance * total) ** 2
    plates = log_normal(plate_mass_g, share * total, variance).sum(axis=-1)
    return log_sum(plates + log_w, axis=1)


def pair_log_likelihood(
    plate_mass_g: Floats, plate_sd_g: Floats, stands: Floats, stands_too: Floats, part: Floats
) -> Floats:
    """(n,) log density of what the plates saw if two things moved at once.

    Args:
        plate_mass_g, plate_sd_g: (c,).
        stands, stands_too: (n, c) where each of the two stands, weights over plates.
        part: (n,) or (1,) share of the first one in the total mass.
    """
    share, tolerance = middle_spill(len(plate_mass_g))
    total = plate_mass_g.sum()
    w = part[:, None, None, None]
    mean = (w * share[None, :, None] + (1.0 - w) * share[None, None]) * total
    spread = (w * tolerance[None, :, None]) ** 2 + ((1.0 - w) * tolerance[None, None]) ** 2
    variance = plate_sd_g**2 + PLATE_FLOOR_G**2 + spread * total**2
    plates = log_normal(plate_mass_g, mean, variance).sum(axis=-1)  # (n, c, c)
    log_stands = log_weight(stands)[:, :, None] + log_weight(stands_too)[:, None, :]
    return log_sum(plates + log_stands, axis=(1, 2))


def mess_log_likelihood(plate_mass_g: Floats, plate_sd_g: Floats, spread_g: float) -> float:
    """Log density of the plates if they changed without any pattern, by about ``spread_g``."""
    variance = plate_sd_g**2 + spread_g**2
    return float(log_normal(plate_mass_g, np.zeros(1), variance).sum())


@cache
def spill_table(plates: int) -> tuple[Floats, Floats, Floats]:
    """Share, tolerance (c, g, c) and log weight (g,) of an item centred on each plate."""
    grid = list(product(range(len(SPILL_GRID)), repeat=2))
    rows = [_spilled(plates, SPILL_GRID[i], SPILL_GRID[j]) for i, j in grid]
    rows.append(_wide(plates))
    weight = [SPILL_WEIGHT[i] * SPILL_WEIGHT[j] * (1.0 - WIDE_WEIGHT) for i, j in grid]
    share = np.stack([r[0] for r in rows], axis=1)
    tolerance = np.stack([r[1] for r in rows], axis=1)
    log_w: Floats = np.log(np.array([*weight, WIDE_WEIGHT]))
    read_only(share, tolerance, log_w)
    return share, tolerance, log_w


@cache
def middle_spill(plates: int) -> tuple[Floats, Floats]:
    """Share and tolerance (c, c) with a middling spill, for two things at once."""
    share, _ = _spilled(plates, SPILL_GRID[1], SPILL_GRID[1])
    distance = np.abs(np.subtract.outer(np.arange(plates), np.arange(plates)))
    tolerance: Floats = np.where(distance <= 1, 0.07, CROSSTALK_SD)
    read_only(share, tolerance)
    return share, tolerance


def _spilled(plates: int, left: float, right: float) -> tuple[Floats, Floats]:
    """(c, c) share and tolerance: row = the item's plate. An end plate spills to one side."""
    lost_left = np.eye(plates, k=-1) * left
    lost_right = np.eye(plates, k=1) * right
    spilled = lost_left + lost_right
    own = np.eye(plates) * (1.0 - spilled.sum(axis=1, keepdims=True))
    own_tolerance = np.eye(plates) * (SHARE_SD + SPILL_SD * spilled.sum(axis=1, keepdims=True))
    neighbour = np.where(spilled > 0, SHARE_SD / 2 + SPILL_SD * spilled, 0.0)
    rest = np.where((spilled > 0) | (np.eye(plates) > 0), 0.0, CROSSTALK_SD)
    return own + spilled, own_tolerance + neighbour + rest


def _wide(plates: int) -> tuple[Floats, Floats]:
    share, _ = _spilled(plates, 0.2, 0.2)
    distance = np.abs(np.subtract.outer(np.arange(plates), np.arange(plates)))
    return share, np.where(distance <= 2, WIDE_SD, CROSSTALK_SD)


def reach(aside_m: Floats, away_m: Floats, position_sd_m: Floats) -> Floats:
    """How well a person at this offset from a plate explains a touch, 0 .. 1; NaN gives 0.

    Args:
        aside_m: offset along the row of plates.
        away_m: offset across it.
        position_sd_m: of the body's position, each axis. A body known to 0.1 m keeps its weight,
            one that is hidden somewhere within metres loses it.
    """
    s2 = position_sd_m**2
    width = np.sqrt(REACH_SD_M**2 + s2 / 1.7**2)  # a logistic's sd = 1.7 width
    beyond = (np.hypot(aside_m, away_m) - REACH_M) / width
    arm = 1.0 / (1.0 + np.exp(np.clip(beyond, -50.0, 50.0)))
    aside = np.zeros(np.broadcast_shapes(aside_m.shape, s2.shape))
    for w, n in ASIDE_M:
        aside += w / np.sqrt(n**2 + s2) * np.exp(-0.5 * aside_m**2 / (n**2 + s2))
    aside /= sum(w / n for w, n in ASIDE_M)
    away = AWAY_M / np.sqrt(AWAY_M**2 + s2) * np.exp(-0.5 * away_m**2 / (AWAY_M**2 + s2))
    return np.nan_to_num(arm * aside * away)


def hand_ratio(at: Ints, near: Ints, elsewhere: Floats, samples: Ints) -> Floats:
    """(n, l) likelihood ratio of what was seen of each track's hands, if it touched each point.

    Args:
        at, near: (n, l) samples with a wrist at the goods, and near them.
        elsewhere: (n, l) share of the samples in which both wrists were elsewhere.
        samples: (n,) in which a wrist was seen at all.
    """
    log_ratio = np.interp(at + near, HANDS_AT, HANDS_AT_RATIO) + ACTOR_RATIO
    log_ratio += np.interp(elsewhere, HANDS_ELSEWHERE, HANDS_ELSEWHERE_RATIO)
    log_ratio += HANDS_UNSEEN_RATIO * (samples == 0)[:, None]
    return np.asarray(np.exp(log_ratio))


def walk_ratio(speed_m_s: Floats) -> Floats:
    """Likelihood ratio of a body's speed during the touch; NaN (unknown) gives 1."""
    still = 1.0 / (1.0 + np.exp(np.clip((speed_m_s - WALK_M_S) / WALK_SD_M_S, -50.0, 50.0)))
    return np.nan_to_num(WALKING + (1.0 - WALKING) * still, nan=1.0)
