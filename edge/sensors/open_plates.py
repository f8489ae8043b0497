"""Plates with an open change: their runs, for all slots of a batch in one pass.

A change stays open for dozens of slots, and each slot asks for the longest steady stretch that ends
there. The slots of a batch are known together, so the stretches of all of them are found together;
``tell`` then tells the plates, one slot after the other, what ``plate_levels.advance`` would have,
bit for bit. A plate whose change closes leaves for ``advance``, which knows every phase.
"""

from __future__ import annotations

import numpy as np

from edge.sensors.plate_levels import CHANGING, RING_SLOTS, PlateState, newest, runs
from edge.sensors.shelf_changes import may_close
from edge.sensors.slots import Slots
from messages.arrays import Bools, Ints


class OpenPlates:
    """``which``: (k,) places in ``slots.plates``, their masses known in every slot.

    What is found holds from slot ``first`` on, until the plates' noise is learned anew.
    """

    def __init__(self, plates: PlateState, slots: Slots, which: Ints, first: int = 0) -> None:
        self.which = which
        self._plates, self._rows, self._first = plates, slots.plates[which], first
        if not len(which) or first == len(slots.mass_g):
            return
        rows, self._mass_g = self._rows, slots.mass_g[first:, which]
        slot = np.arange(len(self._mass_g))[:, None]
        end_ns = slots.start_ns[which] + (first + 1 + slot) * slots.length_ns[which]
        self._last_ns = np.maximum(plates.last_ns[rows], end_ns)
        self._find_runs(slot)
        start_ns = self._last_ns - self._run_n * plates.slot_ns[rows]
        self._start_ns = np.maximum(start_ns, plates.calm_ns[rows])
        self._over = may_close(plates, rows, self._run_n, self._run_g, self._start_ns).tolist()

    def _find_runs(self, slot: Ints) -> None:
        plates, rows, shape = self._plates, self._rows, self._mass_g.shape
        before_g = newest(plates, rows, RING_SLOTS - 1)
        newest_g = np.concatenate((self._mass_g[::-1], before_g))
        back = np.arange(RING_SLOTS)[:, None] + slot[::-1, 0]  # (RING_SLOTS, slots)
        noise_g = plates.noise_g[rows][None].repeat(shape[0], axis=0).ravel()
        loose_n = (plates.loose_n[rows] + 1 + slot).ravel()
        run_n, run_g = runs(newest_g[back].reshape(RING_SLOTS, -1), noise_g, loose_n)
        self._run_n, self._run_g = run_n.reshape(shape), run_g.reshape(shape)

    def tell(self, i: int) -> None:
        """Tell the plates slot i of the batch, after those before it."""
        if not len(self.which):
            return
        plates, rows, i = self._plates, self._rows, i - self._first
        plates.ring_g[plates.count[rows] % RING_SLOTS, rows] = self._mass_g[i]
        plates.count[rows] += 1
        plates.loose_n[rows] += 1
        plates.last_ns[rows] = self._last_ns[i]
        full = (self._run_n[i] == RING_SLOTS) & (plates.run_n[rows] == RING_SLOTS)
        plates.run_ns[rows] = np.where(full, plates.run_ns[rows], self._start_ns[i])
        plates.run_n[rows] = self._run_n[i]
        plates.run_g[rows] = self._run_g[i]

    def may_close(self, i: int) -> bool:
        """False when no change can be over in slot i."""
        return bool(len(self.which)) and self._over[i - self._first]

    def closed(self) -> Bools:
        """(k,) True for the plates whose change is over."""
        return np.asarray(self._plates.phase[self._rows] != CHANGING)
