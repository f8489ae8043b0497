"""Quiet plates, the usual case: their levels followed over all slots of a batch, on local copies.

Most plates are quiet most of the time, and each slot changes a dozen numbers of each. Fetched from
``PlateState`` once a batch and put back once, they cost a fifth of what ``plate_levels.advance``
costs slot by slot; the arithmetic is the same, bit for bit. A plate that opens a change leaves
for ``advance``, which knows every phase.
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
from messages.arrays import Bools, Ints


class QuietPlates:
    """Local copies of quiet plates' columns; ``store`` puts them back."""

    def __init__(self, plates: PlateState, slots: Slots, which: Ints) -> None:
        """``which``: (k,) places in ``slots.plates``; their masses are known in every slot."""
        self.which = which
        self._plates, self._rows = plates, slots.plates[which]
        rows = self._rows
        self._mass_g = slots.mass_g.take(which, axis=1)
        self._start_ns, self._length_ns = slots.start_ns[which], slots.length_ns[which]
        self._count = plates.count[rows]
        self._level_g = plates.level_g[rows]
        self._level_n = plates.level_n[rows]
        self._fast_g = plates.fast_g[rows]
        self._calm_ns = plates.calm_ns[rows]
        self._loose_n = plates.loose_n[rows]
        self._last_ns = plates.last_ns[rows]
        self._ring_g = plates.ring_g.reshape(-1)
        self._slots = 0
        self.load_noise()

    def load_noise(self) -> None:
        """What ``noise`` has learned, and the limits that hang on it."""
        noise_g, wander_g = self._plates.noise_g[self._rows], self._plates.wander_g[self._rows]
        self._clip_g = CLIP_SIGMA * noise_g
        self._slot_limit_g = slot_limit(noise_g)
        self._fast_limit_g = fast_limit(noise_g, wander_g)
        self._calm_limit_g = 0.5 * self._fast_limit_g

    def follow(self, i: int) -> Bools | None:
        """Take slot i; None, or (k,) which plates it opens: then nothing was taken."""
        slot_g = self._mass_g[i]
        fast_g = self._fast_g + FAST_GAIN * (slot_g - self._fast_g)
        off_g = slot_g - self._level_g
        off_fast_g = np.abs(fast_g - self._level_g)
        opens: Bools = np.abs(off_g) > self._slot_limit_g
        opens |= off_fast_g > self._fast_limit_g
        if np.count_nonzero(opens):
            return opens
        self._ring_g[self._count % RING_SLOTS * len(self._plates.phase) + self._rows] = slot_g
        self._count += 1
        self._slots += 1
        self._fast_g = fast_g
        end_ns = self._start_ns + (i + 1) * self._length_ns
        np.maximum(self._last_ns, end_ns, out=self._last_ns)
        self._loose_n += 1
        calm = off_fast_g < self._calm_limit_g
        np.copyto(self._calm_ns, self._last_ns, where=calm)
        np.copyto(self._loose_n, 0, where=calm)
        self._level_n = np.minimum(self._level_n + 1, LEVEL_SLOTS_MAX)
        moved_g = np.minimum(np.maximum(off_g, -self._clip_g), self._clip_g)
        self._level_g += moved_g / self._level_n
        return None

    def store_times(self) -> None:
        """Put back what neighbours look at."""
        self._plates.loose_n[self._rows] = self._loose_n
        self._plates.last_ns[self._rows] = self._last_ns

    def store(self) -> None:
        """Put everything back."""
        plates, rows = self._plates, self._rows
        plates.count[rows] = self._count
        plates.level_g[rows] = self._level_g
        plates.level_n[rows] = self._level_n
        plates.fast_g[rows] = self._fast_g
        plates.calm_ns[rows] = self._calm_ns
        plates.quiet_n[rows] += self._slots
        self._slots = 0
        self.store_times()
