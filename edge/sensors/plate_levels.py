"""The level of every plate, slot by slot: quiet, changing or unknown; all plates at once.

Theory. A **quiet** plate's level is an exponential mean with clipped residuals, so that a hand's
first touch does not pull it; drift is followed. A slot far from the level, or a faster mean off it,
opens a **change**. It stays open until the newest slots form a *run*: the longest stretch ending
now whose spread and slope are what the plate's own noise gives. A hand, a lean or a held item is
unsteady, so it forms no run; neither does a slow lift. The mean of the run against the level from
before is the change of mass; whether it counts is decided over the plates of a shelf
(``shelf_changes.py``). While readings are **unknown** (saturated, device lost) the level is kept,
and the first run afterwards is compared with it.

Noise is the exponentially forgotten typical spread of a plate's own quiet slots (``noise.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from messages.arrays import Bools, Bytes8, Floats, Ints

RING_SLOTS = 24  # history of a plate: 1.2 s, the longest run that is asked for
RUN_SLOTS_MIN = 7  # 350 ms: the shortest run; less would call a hand's turning point a level
LEVEL_SLOTS_MAX = 40  # the level's memory, 2 s: long beside one slot, short beside drift
FIRST_LEVEL_SLOTS = 12  # run that makes the first level, when there is none to compare with
CLIP_SIGMA = 3.0  # a slot moves the level by no more than this many sigma of a slot
FAST_GAIN = 0.25  # fast mean over about 4 slots; its own sigma is 0.38 of a slot's
OPEN_SLOT_SIGMA = 5.0  # one slot so far off opens a change (false: 1 in 3 million slots)
OPEN_SLOT_FLOOR_G = 2.0  # below any product, above rounding of coarse converters
OPEN_FAST_SIGMA = 2.0  # the fast mean so far off: 5 of its own sigma
OPEN_FAST_FLOOR_G = 0.6
OPEN_FAST_WANDER = 3.0  # levels wander by themselves: this many times the learned wander
SPREAD_LIMIT = 4.0  # sigmas by which a run's variance may exceed the plate's
SLOPE_LIMIT = 3.5  # sigmas of slope that a run may have
RECENT_SLOTS = 4  # 200 ms: a rest so short may be a hand's, and is only reported provisionally
RECENT_BACK = 5  # 250 ms: how long ago it may have ended; a batch is 200 ms

# Phases of a plate. Plain numbers: they live in an array, and are compared for every slot.
UNKNOWN = 0  # no reading now
QUIET = 1  # the level is known and holds
CHANGING = 2  # something is going on, or no level is known yet


class StepFlag(IntFlag):
    """What is to be known of a step beside its mass."""

    AFTER_GAP = 1  # data were lost, or the daemon was down, meanwhile
    CLIPPED = 2  # a plate was saturated or otherwise unknown meanwhile
    LONG = 4  # the change lasted longer than 5 s
    BUMP = 8  # most of the shelf shook at once: small masses are not to be trusted
    PROVISIONAL = 16  # hands may still be in it: not one of the final steps


@dataclass(slots=True)
class PlateState:
    """One row a plate, in shelf order; instants in store time."""

    phase: Bytes8
    has_level: Bools
    level_g: Floats  # last stable level
    level_n: Ints  # slots in it, at most LEVEL_SLOTS_MAX
    fast_g: Floats
    noise_g: Floats  # one sigma of one slot
    noise_n: Ints  # times learned
    wander_g: Floats  # one sigma of the mean of 16 slots about the level
    calm_ns: Ints  # last instant at which the plate was certainly at its level
    loose_n: Ints  # slots since then, or since readings came back
    quiet_n: Ints  # slots in phase QUIET without a break
    last_ns: Ints  # end of the newest slot
    slot_ns: Ints
    slot_samples: Ints
    count: Ints  # slots seen
    flags: Ints  # StepFlag bits of the change that is open
    run_n: Ints  # slots of the run, 0 = none
    run_g: Floats  # its mean
    run_ns: Ints  # its start: the end of the change if it proves to be one
    ring_g: Floats  # (RING_SLOTS, P), slot i at row i modulo RING_SLOTS


def new_plates(noise_g: Floats) -> PlateState:
    """Plates of which nothing is known but a guess of the noise of one slot."""
    n = len(noise_g)

    def ints() -> Ints:
        return np.zeros(n, dtype=np.int64)

    return PlateState(
        phase=np.zeros(n, dtype=np.uint8),
        has_level=np.zeros(n, dtype=np.bool_),
        level_g=np.zeros(n),
        level_n=ints(),
        fast_g=np.zeros(n),
        noise_g=noise_g.copy(),
        noise_n=ints(),
        wander_g=0.3 * noise_g,  # of white noise: one sixteenth of the variance, and the level's
        calm_ns=ints(),
        loose_n=ints(),
        quiet_n=ints(),
        last_ns=ints(),
        slot_ns=ints(),
        slot_samples=np.ones(n, dtype=np.int64),
        count=ints(),
        flags=ints(),
        run_n=ints(),
        run_g=np.zeros(n),
        run_ns=ints(),
        ring_g=np.zeros((RING_SLOTS, n)),
    )


def lose(plates: PlateState, rows: Ints, flag: StepFlag) -> None:
    """Readings are unknown from here on; the levels are kept to be compared later."""
    plates.phase[rows] = UNKNOWN
    plates.flags[rows] |= int(flag)
    plates.loose_n[rows] = 0
    plates.quiet_n[rows] = 0
    plates.run_n[rows] = 0


def forget_level(plates: PlateState, rows: Ints) -> None:
    """The next level is taken as it comes, without a step: the plates were tared."""
    lose(plates, rows, StepFlag(0))
    plates.has_level[rows] = False
    plates.flags[rows] = 0


def advance(plates: PlateState, rows: Ints, slot_g: Floats, end_ns: Ints) -> Ints:
    """Take one new slot of each plate in ``rows`` (unique).

    Args:
        slot_g: (k,) mass, NaN where unknown; end_ns: (k,) end of the slot.

    Returns:
        The rows in phase CHANGING, their runs up to date.
    """
    plates.last_ns[rows] = np.maximum(plates.last_ns[rows], end_ns)
    plates.count[rows] += 1
    known = slot_g == slot_g  # NaN differs from itself
    if not known.all():
        lose(plates, rows[~known], StepFlag.CLIPPED)
        rows, slot_g = rows[known], slot_g[known]
    plates.ring_g[(plates.count[rows] - 1) % RING_SLOTS, rows] = slot_g
    plates.loose_n[rows] += 1
    phase = plates.phase[rows]
    quiet = phase == QUIET
    plates.phase[rows[phase == UNKNOWN]] = CHANGING
    now_open = ~quiet
    if np.count_nonzero(quiet):
        now_open[quiet] = _follow_quiet(plates, rows[quiet], slot_g[quiet])
    changing: Ints = rows[now_open]
    if changing.size:
        _find_runs(plates, changing)
    return changing


def _follow_quiet(plates: PlateState, rows: Ints, slot_g: Floats) -> Bools:
    """Follow the levels of quiet plates; True where a change opens."""
    level_g, noise_g = plates.level_g[rows], plates.noise_g[rows]
    fast_g = plates.fast_g[rows]
    fast_g += FAST_GAIN * (slot_g - fast_g)
    plates.fast_g[rows] = fast_g
    off_g = slot_g - level_g
    off_fast_g = np.abs(fast_g - level_g)
    fast_limit_g = fast_limit(noise_g, plates.wander_g[rows])
    opens = np.abs(off_g) > slot_limit(noise_g)
    opens |= off_fast_g > fast_limit_g
    calm = rows[~opens & (off_fast_g < 0.5 * fast_limit_g)]
    plates.calm_ns[calm] = plates.last_ns[calm]
    plates.loose_n[calm] = 0
    clip_g = CLIP_SIGMA * noise_g
    n = np.minimum(plates.level_n[rows] + 1, LEVEL_SLOTS_MAX)
    moved_g = np.minimum(np.maximum(off_g, -clip_g), clip_g) / n
    moved_g[opens] = 0.0
    plates.level_g[rows] = level_g + moved_g
    plates.level_n[rows] = n
    plates.quiet_n[rows] += 1
    if opens.any():
        opened = rows[opens]
        plates.phase[opened] = CHANGING
        plates.quiet_n[opened] = 0
        plates.run_n[opened] = 0
    return opens


def slot_limit(noise_g: Floats) -> Floats:
    """How far off its level one slot may be, without opening a change."""
    return OPEN_SLOT_SIGMA * noise_g + OPEN_SLOT_FLOOR_G


def fast_limit(noise_g: Floats, wander_g: Floats) -> Floats:
    """And how far the fast mean may be."""
    return OPEN_FAST_SIGMA * noise_g + OPEN_FAST_WANDER * wander_g + OPEN_FAST_FLOOR_G


_NEWEST = np.arange(1, RING_SLOTS + 1)[:, None]


def newest(plates: PlateState, rows: Ints, slots: int) -> Floats:
    """(slots, k) the newest slots of the plates, newest first."""
    at = (plates.count[rows] - _NEWEST[:slots]) % RING_SLOTS
    slots_g: Floats = plates.ring_g[at, rows]
    return slots_g


def _find_runs(plates: PlateState, rows: Ints) -> None:
    """The longest steady stretch ending at the newest slot, for each plate in ``rows``."""
    slots_g = newest(plates, rows, RING_SLOTS)
    run_n, plates.run_g[rows] = runs(slots_g, plates.noise_g[rows], plates.loose_n[rows])
    full = (run_n == RING_SLOTS) & (plates.run_n[rows] == RING_SLOTS)
    start_ns = plates.last_ns[rows] - run_n * plates.slot_ns[rows]
    start_ns = np.maximum(start_ns, plates.calm_ns[rows])  # clocks jitter by a millisecond
    plates.run_ns[rows] = np.where(full, plates.run_ns[rows], start_ns)
    plates.run_n[rows] = run_n


def runs(slots_g: Floats, noise_g: Floats, loose_n: Ints) -> tuple[Ints, Floats]:
    """(k,) length and (k,) mean of the longest steady stretches of the newest slots; 0 = none.

    Args:
        slots_g: (RING_SLOTS, k) newest first; used up. noise_g: (k,) one sigma of a slot.
        loose_n: (k,) how many of the slots may belong to it.
    """
    reference_g = slots_g[0].copy()  # sums of squares of small numbers keep their digits
    slots_g -= reference_g
    sum_g = slots_g.cumsum(axis=0)
    steady = np.logical_and.accumulate(_steady(slots_g, sum_g, noise_g), axis=0)
    run_n = np.minimum(RUN_SLOTS_MIN - 1 + np.add.reduce(steady, axis=0), loose_n)
    run_n[run_n < RUN_SLOTS_MIN] = 0
    at = np.maximum(run_n, 1) - 1
    return run_n, reference_g + sum_g[at, np.arange(len(at))] / (at + 1)


def recent_rests(plates: PlateState, rows: Ints) -> tuple[Ints, Floats, Ints]:
    """Runs of open changes as ``advance`` found them; else the newest short rest of a plate.

    A short rest lasts ``RECENT_SLOTS`` and ended at most ``RECENT_BACK`` slots ago: in the last
    batch, even if a hand brushed the plate since.

    Returns:
        (k,) slots, 0 = none; (k,) mean in grams; (k,) start.
    """
    n, most = RECENT_SLOTS, RECENT_SLOTS + RECENT_BACK
    slots_g = newest(plates, rows, most)
    windows_g = np.lib.stride_tricks.sliding_window_view(slots_g, n, axis=0)  # (back, k, n)
    mean_g = windows_g.mean(axis=2)
    off_g = windows_g - mean_g[:, :, None]
    spread = (off_g * off_g).sum(axis=2)
    slope = off_g @ (np.arange(n) - 0.5 * (n - 1))
    variance = plates.noise_g[rows] ** 2
    spread_limit = n - 1.0 + SPREAD_LIMIT * (2.0 * (n - 1.0)) ** 0.5
    slope_limit = SLOPE_LIMIT**2 * n * (n * n - 1.0) / 12.0
    rests = (spread <= spread_limit * variance) & (slope * slope <= slope_limit * variance)
    rests &= plates.loose_n[rows] >= n + np.arange(RECENT_BACK + 1)[:, None]
    back, k = rests.argmax(axis=0), np.arange(len(rows))
    long = plates.run_n[rows] >= RUN_SLOTS_MIN
    run_n = np.where(long, plates.run_n[rows], np.where(rests[back, k], n, 0))
    start_ns = plates.last_ns[rows] - (n + back) * plates.slot_ns[rows]
    start_ns = np.maximum(start_ns, plates.calm_ns[rows])
    run_g = np.where(long, plates.run_g[rows], mean_g[back, k])
    return run_n, run_g, np.where(long, plates.run_ns[rows], start_ns)


def _steady(slots_g: Floats, sum_g: Floats, noise_g: Floats) -> Bools:
    """(RING - MIN + 1, k): are the newest MIN, MIN + 1, ... slots noise about one level?

    With y_j the slot j back: SS = sum y^2 - (sum y)^2 / n is noise^2 chi^2 (n-1), and the slope sum
    S = sum (j - (n-1)/2) y has variance noise^2 n (n^2 - 1) / 12.
    """
    tail = slice(RUN_SLOTS_MIN - 1, None)
    sums, variance = sum_g[tail], noise_g * noise_g
    spread = (slots_g * slots_g).cumsum(axis=0)[tail] - sums * sums / _N
    slope = (_BACK * slots_g).cumsum(axis=0)[tail] - _MIDDLE * sums
    return (spread <= _SPREAD_LIMIT * variance) & (slope * slope <= _SLOPE_LIMIT * variance)


_BACK = np.arange(RING_SLOTS, dtype=np.float64)[:, None]
_N = _BACK[RUN_SLOTS_MIN - 1 :] + 1.0
_MIDDLE = 0.5 * (_N - 1.0)
_SPREAD_LIMIT = (_N - 1.0) + SPREAD_LIMIT * np.sqrt(2.0 * (_N - 1.0))
_SLOPE_LIMIT = SLOPE_LIMIT**2 * _N * (_N * _N - 1.0) / 12.0
