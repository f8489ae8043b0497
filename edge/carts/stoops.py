"""Who stooped: goods left on the floor have no weight either, only a hand that went down.

A person whose hands are usually at hip height and who for about a second has a wrist low down, or
stretched downwards, away from every plate, may have put something on the floor (or only tied a
shoe). Children, whose hands are always low, tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.carts.who import Window
from messages.arrays import Bools, Floats, Ints
from messages.ids import VisitId

LOOK_NS = 1_000_000_000
USUAL_NS = 3_000_000_000  # hands' usual height: the median of the time before, too
LOW_M = 0.62  # a wrist below this is below the knee of one who stands
# One camera alone does not know the depth: a wrist on the floor then looks stretched and lowish.
STRETCHED_M, LOWISH_M = 0.45, 0.88
OFF_PLATES_M = 0.40  # a hand nearer than this to a plate is at a shelf
# In the second. Odd seeds of the library to 7: 11 true stoops, and 24 that leave nothing.
SAMPLES_MIN = 5
ADULT_M = 0.80
SAME_PLACE_M = 1.2  # bodies that stoop for one thing, from either side of it
SPREAD_MAX_M = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stoop:
    """Where a visit's hand went down to the floor, and when it began."""

    visit: VisitId
    at_ns: int
    place_m: tuple[float, float]  # of the body, store frame

    def near(self, other: Stoop) -> bool:
        """True where both could touch the same thing on the floor."""
        gap = np.hypot(self.place_m[0] - other.place_m[0], self.place_m[1] - other.place_m[1])
        return bool(gap < SAME_PLACE_M)


def stooped(window: Window, plates_m: Floats) -> Ints:
    """Rows of the tracks that stooped in the last second of a window of ``USUAL_NS``.

    Args:
        plates_m: (p, 2) centres of all plates.
    """
    wrists = window.wrists_store_m  # (k, n, 2, 3)
    if not wrists.size or not len(plates_m):
        return np.zeros(0, dtype=np.int64)
    now = window.at_ns > window.at_ns[-1] - LOOK_NS
    low = (_low(window) & now[:, None]).sum(axis=0) >= SAMPLES_MIN
    height = np.where(np.isnan(wrists[..., 2]), -np.inf, wrists[..., 2])
    usual = np.sort(height.transpose(1, 0, 2).reshape(wrists.shape[1], -1), axis=1)
    seen = np.isfinite(usual).sum(axis=1)
    middle = usual[np.arange(len(usual)), usual.shape[1] - 1 - seen // 2]
    rows = np.flatnonzero(low & (middle >= ADULT_M))
    return rows[[_off_plates(window, int(row), plates_m) for row in rows]] if len(rows) else rows


def where(window: Window, row: int) -> tuple[float, float]:
    """Where a track stood in the last second, in the store frame; NaN when it was not followed."""
    now = window.at_ns > window.at_ns[-1] - LOOK_NS
    seen = window.position_store_m[now, row]
    seen = seen[np.isfinite(seen).all(axis=1)]
    middle = np.median(seen, axis=0) if len(seen) else np.full(2, np.nan)
    return float(middle[0]), float(middle[1])


def _low(window: Window) -> Bools:
    """(k, n) a wrist is low down."""
    wrists = window.wrists_store_m
    away = np.linalg.norm(wrists[..., :2] - window.position_store_m[:, :, None], axis=-1)
    height = wrists[..., 2]
    down = (height < LOW_M) | ((away > STRETCHED_M) & (height < LOWISH_M))
    known = window.position_sd_m < SPREAD_MAX_M
    result: Bools = down.any(axis=2) & known
    return result


def _off_plates(window: Window, row: int, plates_m: Floats) -> bool:
    """The low wrists of a track were mostly away from every plate."""
    low = _low(window)[:, row]
    wrists = window.wrists_store_m[low, row]  # (s, 2, 3)
    lowest = np.where(np.isnan(wrists[..., 2]), np.inf, wrists[..., 2]).argmin(axis=1)
    point = wrists[np.arange(len(wrists)), lowest, :2]
    nearest = np.linalg.norm(point[:, None] - plates_m, axis=-1).min(axis=1)
    return int((nearest > OFF_PLATES_M).sum()) >= SAMPLES_MIN
