"""Quiet plates, the usual case: their levels followed over all slots of a batch in one pass.

Most plates are quiet most of the time, and each slot changes a dozen numbers of each. Only the
level and the fast mean need the slot before; the rest is worked out for all slots at once, and
``PlateState`` is told when somebody looks. The arithmetic is that of ``plate_levels.advance``, bit
for bit. A plate that opens a change leaves for ``advance``, which knows every phase.
"""

from __future__ import annotations

import numpy as np

from edge.sensors.plate_levels import (
    CLIP_SIGMA,
    FAST_GAIN,
    LEVEL_SLOTS_MAX,
    RING_SLOTS,
    PlateState,
    fast_limit,
    slot_limit,
)
from edge.sensors.slots import Slots
from messages.arrays import Bools, Floats, Ints


class QuietPlates:
    """``which``: (k,) places in ``slots.plates``, their masses known in every slot.

    What is found holds from slot ``first`` on, until the plates' noise is learned anew.
    """

    def __init__(self, plates: PlateState, slots: Slots, which: Ints, first: int = 0) -> None:
        self.which = which
        self._plates, self._rows, self._first = plates, slots.plates[which], first
        self._mass_g = slots.mass_g[first:].take(which, axis=1)
        self._slot = np.arange(1, len(self._mass_g) + 1)[:, None]
        end_ns = slots.start_ns[which] + (first + self._slot) * slots.length_ns[which]
        self._last_ns = np.maximum(plates.last_ns[self._rows], end_ns)
        self._loose_n = plates.loose_n[self._rows]
        self._follow(plates.noise_g[self._rows], plates.wander_g[self._rows])

    def _follow(self, noise_g: Floats, wander_g: Floats) -> None:
        """Level and fast mean after each slot, as if no plate opened; and which do open, when."""
        plates, rows, mass_g, clip_g = self._plates, self._rows, self._mass_g, CLIP_SIGMA * noise_g
        self._level_n = np.minimum(plates.level_n[rows] + self._slot, LEVEL_SLOTS_MAX)
        self._level_g, self._fast_g = np.empty_like(mass_g), np.empty_like(mass_g)
        off_g, off_fast_g = np.empty_like(mass_g), np.empty_like(mass_g)
        level_g, fast_g = plates.level_g[rows], plates.fast_g[rows]
        for j, slot_g in enumerate(mass_g):
            fast_g = np.add(fast_g, FAST_GAIN * (slot_g - fast_g), out=self._fast_g[j])
            np.subtract(fast_g, level_g, out=off_fast_g[j])
            np.subtract(slot_g, level_g, out=off_g[j])
            moved_g = np.minimum(np.maximum(off_g[j], -clip_g), clip_g) / self._level_n[j]
            level_g = np.add(level_g, moved_g, out=self._level_g[j])
        limit_g, off_fast_g = fast_limit(noise_g, wander_g), np.abs(off_fast_g)
        opens = (np.abs(off_g) > slot_limit(noise_g)) | (off_fast_g > limit_g)
        some = np.logical_or.reduce(opens, axis=1).nonzero()[0]
        self._opens: dict[int, Bools] = {j: opens[j] for j in some.tolist()}
        calm = self._slot * (off_fast_g < 0.5 * limit_g)
        self._calm = np.maximum.accumulate(calm, axis=0)  # number of the latest calm slot, 0 = none

    def opens(self, i: int) -> Bools | None:
        """(k,) which plates open a change in slot i: what is told ends before it; None: none."""
        return self._opens.get(i - self._first)

    def tell_times(self, i: int) -> None:
        """Tell the plates what neighbours look at, slot i taken."""
        self._tell_times(i - self._first)

    def tell(self, i: int) -> None:
        """Tell the plates everything, slots up to i taken."""
        j = i - self._first
        if j < 0:
            return
        plates, rows, calm = self._plates, self._rows, self._calm[j]
        was_calm = calm.nonzero()[0]
        plates.calm_ns[rows[was_calm]] = self._last_ns[calm[was_calm] - 1, was_calm]
        newest = slice(max(j + 1 - RING_SLOTS, 0), j + 1)
        at = (plates.count[rows] + self._slot[newest] - 1) % RING_SLOTS
        plates.ring_g[at, rows] = self._mass_g[newest]
        plates.count[rows] += j + 1
        plates.quiet_n[rows] += j + 1
        plates.level_g[rows], plates.level_n[rows] = self._level_g[j], self._level_n[j]
        plates.fast_g[rows] = self._fast_g[j]
        self._tell_times(j)

    def _tell_times(self, j: int) -> None:
        calm = self._calm[j]
        self._plates.loose_n[self._rows] = np.where(calm > 0, 0, self._loose_n) + (j + 1 - calm)
        self._plates.last_ns[self._rows] = self._last_ns[j]
