"""Noise learned online: per plate, and how far the plates of one shelf move together.

Each plate's spread is measured over its newest 16 slots about twice a second and taken into a
forgetting mean of logarithms with clipped innovations: as robust as a median, and scale free.
Only quiet plates teach it, else a hand would. Two exceptions keep a plate whose noise really rose
from staying open for ever: spread that is *white* (von Neumann's ratio of successive differences)
is vibration, since hands and lifts are slow; and after 15 s even coloured spread counts, slowly.
"""

from __future__ import annotations

import numpy as np

from edge.sensors.plate_levels import UNKNOWN, PlateState, newest
from messages.arrays import Bools, Floats, Ints

BLOCK_SLOTS = 16  # 0.8 s: long enough for a sigma to 18 %
EVERY_SLOTS = 8  # blocks overlap by half: a new word every 0.4 s
GAIN = 0.05  # forgets in 20 words, 8 s
RESCUE_GAIN = 0.02  # coloured spread of a plate long open: x3 takes about half a minute
RESCUE_AFTER_SLOTS = 300  # 15 s: longer than people hold things
WHITE_AFTER_SLOTS = 40  # 2 s: longer than a bump rings
WHITE_RATIO = 1.2  # von Neumann's ratio: white noise 2, slow motion below 0.5
INNOVATION_MAX = 1.0  # of one word: a factor e
NOISE_MIN_G = 0.15  # of a slot: rounding of converters and of recordings
ABS_TO_SIGMA = 1.2533  # sqrt(pi / 2): mean absolute value of a Gaussian to its sigma


def learn(plates: PlateState, rows: Ints, banks: Ints, bank_sizes: Ints, together: Floats) -> None:
    """Learn from the plates whose turn it is.

    Args:
        rows: plates that have just advanced; banks: (P,) the bank of each plate, that is the
        plates of one device on one shelf, whose slots coincide; bank_sizes: (B,);
        together: (B,) learned correlation of their noise, changed in place.
    """
    due = rows[(plates.count[rows] % EVERY_SLOTS == 0) & (plates.phase[rows] != UNKNOWN)]
    if not due.size:
        return
    due = due[np.argsort(banks[due], kind="stable")]
    slots_g = newest(plates, due, BLOCK_SLOTS)
    mean_g = np.add.reduce(slots_g, axis=0) / BLOCK_SLOTS
    slots_g -= mean_g
    squares = np.add.reduce(slots_g * slots_g, axis=0)
    quiet = plates.quiet_n[due] >= BLOCK_SLOTS
    gain = _gain(plates, due, quiet, slots_g, squares)
    _learn_spread(plates, due, np.sqrt(squares / (BLOCK_SLOTS - 1)), gain)
    which = quiet.nonzero()[0]
    if which.size:
        _learn_wander(plates, due[which], mean_g[which], gain[which])
        _learn_together(slots_g[:, which], banks[due[which]], bank_sizes, together)


def _learn_spread(plates: PlateState, rows: Ints, spread_g: Floats, gain: Floats) -> None:
    spread_g = np.maximum(spread_g, NOISE_MIN_G)
    noise_g, told = plates.noise_g[rows], gain > 0.0
    first = plates.noise_n[rows] < 3  # the start value was only a guess: no clipping yet
    limit = np.where(first, np.inf, INNOVATION_MAX)
    novelty = np.log(spread_g / noise_g)
    novelty = np.minimum(np.maximum(novelty, -limit), limit)
    plates.noise_g[rows] = np.maximum(noise_g * np.exp(gain * novelty), NOISE_MIN_G)
    plates.noise_n[rows] += told


def _gain(plates: PlateState, rows: Ints, quiet: Bools, slots_g: Floats, squares: Floats) -> Floats:
    """How much the new spread counts: 0 for plates that something acts on."""
    loose_n = plates.loose_n[rows]
    usual = np.maximum(1.0 / (plates.noise_n[rows] + 1.0), GAIN)
    teaches = quiet | (~plates.has_level[rows] & (loose_n >= BLOCK_SLOTS))
    gain = np.where(teaches, usual, 0.0)
    open_long = ~teaches & (loose_n >= WHITE_AFTER_SLOTS)
    if np.count_nonzero(open_long):
        gain = np.where(open_long & (loose_n >= RESCUE_AFTER_SLOTS), RESCUE_GAIN, gain)
        gain = np.where(open_long & _white(slots_g, squares), usual, gain)
    return gain


def _white(slots_g: Floats, squares: Floats) -> Bools:
    moved_g = np.diff(slots_g, axis=0)
    white: Bools = np.add.reduce(moved_g * moved_g, axis=0) > WHITE_RATIO * squares
    return white


def _learn_wander(plates: PlateState, rows: Ints, mean_g: Floats, gain: Floats) -> None:
    """How far means of 16 slots lie from the level although nothing happened."""
    off_g = ABS_TO_SIGMA * np.abs(mean_g - plates.level_g[rows])
    wander_g = plates.wander_g[rows]
    off_g = np.minimum(off_g, 3.0 * wander_g + NOISE_MIN_G)
    plates.wander_g[rows] = wander_g + gain * (off_g - wander_g)


def _learn_together(slots_g: Floats, banks: Ints, bank_sizes: Ints, together: Floats) -> None:
    """Correlation r of a bank's plates from Var(sum) = sum s^2 + r ((sum s)^2 - sum s^2)."""
    size = np.bincount(banks, minlength=len(bank_sizes))
    bank = size.nonzero()[0]
    size = size[bank]
    starts, usable = size.cumsum() - size, size == bank_sizes[bank]
    variance = np.add.reduce(slots_g * slots_g, axis=0) / (BLOCK_SLOTS - 1)
    apart = np.add.reduceat(variance, starts)
    whole = np.add.reduceat(np.sqrt(variance), starts) ** 2
    usable &= whole > apart + 1e-9
    if not np.count_nonzero(usable):
        return
    total = np.add.reduceat(slots_g, starts, axis=1)
    seen = np.add.reduce(total * total, axis=0) / (BLOCK_SLOTS - 1)
    correlation = (seen - apart)[usable] / (whole - apart)[usable]
    bank = bank[usable]
    step = GAIN * (np.minimum(np.maximum(correlation, 0.0), 1.0) - together[bank])
    together[bank] += step
