"""Floor where a camera's people do not count: behind mirrors and screens, beyond a shop window.

``[[camera]] floor_mask`` holds polygons in the store frame. Somebody whom that camera finds to
stand in one of them is not seen by it; other cameras may well see people there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats
from messages.ids import CameraId
from messages.store_config import Camera


@dataclass(frozen=True, slots=True, eq=False)
class FloorMasks:
    """Polygons (k, 2) of each camera that has any, store frame, metres."""

    polygons: Mapping[CameraId, tuple[Floats, ...]]

    @staticmethod
    def of(cameras: Iterable[Camera]) -> FloorMasks:
        """Those of the configuration."""
        return FloorMasks(
            {c.id: tuple(np.array(p) for p in c.floor_mask) for c in cameras if c.floor_mask}
        )

    def open(
        self, position: Floats, cameras: Sequence[CameraId], count: Sequence[int]
    ) -> Bools | None:
        """(n,) False where a position counts for nothing; None where all count.

        Args:
            position: (n, 2). cameras: of each image. count: how many rows each image has.
        """
        if not self.polygons or self.polygons.keys().isdisjoint(cameras):
            return None
        counts = np.ones(len(position), np.bool_)
        end = 0
        for camera, n in zip(cameras, count, strict=True):
            rows, end = slice(end, end + n), end + n
            for polygon in self.polygons.get(camera, ()):
                counts[rows] &= ~inside(position[rows], polygon)
        return counts


def inside(points: Floats, polygon: Floats) -> Bools:
    """(n,) True where a point (n, 2) is inside the polygon (k, 2); NaN is nowhere.

    A ray to the right crosses the polygon's sides an odd number of times. Source: Shimrat,
    Algorithm 112, CACM 1962.
    """
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        meets = (y0 > y) != (y1 > y)
        left = x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return np.asarray(np.count_nonzero(meets & left, axis=1) % 2 == 1)
