"""Ways round the fixtures: shortest paths over the corners that see each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import shortest_path

from messages.arrays import Bools, Floats, Ints
from messages.store_config import StoreConfig
from sim.geometry import fixture_boxes, segments_hit_boxes

CORNER_MARGIN_M = 0.38  # a walker rounds a corner at this distance
CLEAR_MARGIN_M = 0.30  # a straight line keeps this distance from fixtures


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The corners and the best way between any two of them."""

    corners: Floats  # (n, 2)
    distance_m: Floats  # (n, n)
    before: Ints  # (n, n) predecessor on the way i -> j
    lower: Floats  # (m, 2) fixtures with the clear margin
    upper: Floats

    @staticmethod
    def of(config: StoreConfig) -> Routes:
        lower, upper = fixture_boxes(config.fixtures, CLEAR_MARGIN_M)
        lower, upper = lower[:, :2], upper[:, :2]
        corners = _corners(config)
        sees = _visible(corners, corners, lower, upper)
        gap = np.linalg.norm(corners[:, None] - corners[None], axis=2)
        weighted = np.where(sees, np.maximum(gap, 1e-6), np.inf)
        distance, before = shortest_path(weighted, return_predecessors=True)
        return Routes(corners, distance, before.astype(np.int64), lower, upper)

    def way(self, start: Floats, goal: Floats) -> list[Floats]:
        """Points to walk to, in order; the last one is the goal.

        Where no way is known (a start pushed into a corner) the goal alone is returned.
        """
        if not segments_hit_boxes(start[None], goal[None], self.lower, self.upper).any():
            return [goal]
        first = self._from(start)
        last = self._from(goal)
        total = first[:, None] + self.distance_m + last[None]
        if not np.isfinite(total).any():
            return [goal]
        i, j = divmod(int(total.argmin()), len(self.corners))
        return [self.corners[k] for k in self._chain(i, j)] + [goal]

    def _from(self, point: Floats) -> Floats:
        sees = _visible(point[None], self.corners, self.lower, self.upper)[0]
        gap = np.linalg.norm(self.corners - point, axis=1)
        return np.where(sees, gap, np.inf)

    def _chain(self, i: int, j: int) -> list[int]:
        chain = [j]
        while chain[-1] != i:
            chain.append(int(self.before[i, chain[-1]]))
        return chain[::-1]


def _corners(config: StoreConfig) -> Floats:
    """Corners of the widened fixtures that a person can stand on."""
    lower, upper = fixture_boxes(config.fixtures, CORNER_MARGIN_M)
    sides = np.array([(x, y) for x in (0, 1) for y in (0, 1)])
    both = np.stack([lower[:, :2], upper[:, :2]])  # (2, m, 2)
    corners = np.concatenate([both[s, :, [0, 1]].T for s in sides])
    area = config.area
    inside = (
        (corners[:, 0] > area.x_min_m + 0.25)
        & (corners[:, 0] < area.x_max_m - 0.25)
        & (corners[:, 1] > area.y_min_m + 0.25)
        & (corners[:, 1] < area.y_max_m - 0.25)
    )
    low, high = fixture_boxes(config.fixtures, CLEAR_MARGIN_M)
    within = (corners[:, None] > low[None, :, :2]) & (corners[:, None] < high[None, :, :2])
    free = np.asarray(~within.all(axis=2)).all(axis=1)
    return np.asarray(corners[inside & free])


def _visible(start: Floats, end: Floats, lower: Floats, upper: Floats) -> Bools:
    """(len(start), len(end)) True where the straight line is free."""
    pairs = len(start) * len(end)
    a = np.repeat(start, len(end), axis=0)
    b = np.tile(end, (len(start), 1))
    blocked = segments_hit_boxes(a, b, lower, upper).any(axis=1) if pairs else np.zeros(0, bool)
    return np.asarray(~blocked.reshape(len(start), len(end)))
