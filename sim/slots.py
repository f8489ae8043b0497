"""Rows in arrays for people who come and go."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Ints


@dataclass(slots=True, eq=False)
class Slots:
    """Each key has a row of its own while it is named in every call; then the row is free again."""

    size: int = 0  # rows that arrays need
    taken: dict[str, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    last_key: tuple[str, ...] = ()
    last: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    def of(self, key: tuple[str, ...]) -> tuple[Ints, Ints]:
        """Rows (n,) of the keys, and the rows among them that are new."""
        if key == self.last_key:
            return self.last, np.empty(0, np.int64)
        for gone in self.taken.keys() - set(key):
            self.free.append(self.taken.pop(gone))
        self.free.sort(reverse=True)  # sets have no order: the lowest free row is the next
        new = [self._take(name) for name in key if name not in self.taken]
        self.last_key = key
        self.last = np.array([self.taken[name] for name in key], dtype=np.int64)
        return self.last, np.array(new, dtype=np.int64)

    def _take(self, name: str) -> int:
        if not self.free:
            self.free.append(self.size)
            self.size += 1
        self.taken[name] = self.free.pop()
        return self.taken[name]
