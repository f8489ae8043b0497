"""Lines and boxes: who can walk where, and what hides whom."""

from __future__ import annotations

import numpy as np

from messages.arrays import Bools, Floats
from messages.store_config import Fixture, StoreConfig


def segments_hit_boxes(start: Floats, end: Floats, lower: Floats, upper: Floats) -> Bools:
    """Which segments pass through which axis-aligned boxes.

    Args:
        start, end: (k, d) end points. lower, upper: (m, d) corners of the boxes; d is 2 or 3.

    Returns:
        (k, m) True where segment k has a point strictly inside box m.

    Source: the slab method (Kay & Kajiya 1986).
    """
    direction = end - start
    with np.errstate(divide="ignore", invalid="ignore"):
        t_lower = (lower[None] - start[:, None]) / direction[:, None]
        t_upper = (upper[None] - start[:, None]) / direction[:, None]
    near, far = np.fmin(t_lower, t_upper), np.fmax(t_lower, t_upper)
    parallel = np.broadcast_to(direction[:, None] == 0, near.shape)
    between = (start[:, None] > lower[None]) & (start[:, None] < upper[None])
    near = np.where(parallel, np.where(between, -np.inf, np.inf), near)
    far = np.where(parallel, np.where(between, np.inf, -np.inf), far)
    entered, left = near.max(axis=2), far.min(axis=2)
    return np.asarray((entered < left) & (left > 0) & (entered < 1))


def fixture_boxes(fixtures: tuple[Fixture, ...], margin_m: float = 0.0) -> tuple[Floats, Floats]:
    """Lower and upper corners of the fixtures, (m, 3) each, widened on the floor by a margin."""
    centre = np.array([(f.x_m, f.y_m) for f in fixtures], dtype=np.float64).reshape(-1, 2)
    size = np.array([(f.width_m, f.depth_m) for f in fixtures], dtype=np.float64).reshape(-1, 2)
    height = np.array([f.height_m for f in fixtures], dtype=np.float64).reshape(-1, 1)
    lower = np.hstack([centre - size / 2 - margin_m, np.zeros_like(height)])
    upper = np.hstack([centre + size / 2 + margin_m, height])
    return lower, upper


PASSES = 3  # out of one box into the next: fixtures that stand side by side


def pushed_out(points: Floats, lower: Floats, upper: Floats) -> Floats:
    """Points (n, 2) moved out of the boxes (m, 2) by the shortest way; others stay.

    Where several boxes hold a point the first one counts, then the next, ``PASSES`` at most.
    """
    moved = points
    for _ in range(PASSES):
        inside = (moved[:, None] > lower) & (moved[:, None] < upper)
        row, box = np.nonzero(inside[..., 0] & inside[..., 1])
        if not len(row):
            return moved
        row, first = np.unique(row, return_index=True)
        moved = moved.copy()
        moved[row] = _nearest_side(moved[row], lower[box[first]], upper[box[first]])
    return moved


def _nearest_side(points: Floats, lower: Floats, upper: Floats) -> Floats:
    """Points (k, 2) inside their own boxes (k, 2), moved to the nearest side."""
    gaps = np.hstack([points - lower, upper - points])  # left, bottom, right, top
    side = gaps.argmin(axis=1)
    row, axis = np.arange(len(points)), side % 2
    points[row, axis] = np.where(side < 2, lower[row, axis], upper[row, axis])
    return points


def shelf_fronts(config: StoreConfig) -> Floats:
    """(shelves, 2) unit normal of each shelf's open side, store frame.

    A gondola's plates stand nearer to its open side than the fixture's centre (the back panel is
    behind them); where they do not, the open side is the one towards the middle of the area.
    """
    return np.array([_front(config, s) for s in range(len(config.shelves))]).reshape(-1, 2)


def fixture_of_shelf(config: StoreConfig) -> tuple[int, ...]:
    """Index of the fixture that each shelf stands in: the one nearest to its plates."""
    fixtures = np.array([(f.x_m, f.y_m) for f in config.fixtures]).reshape(-1, 2)
    centres = [_shelf_centre(config, s) for s in range(len(config.shelves))]
    return tuple(int(np.hypot(*(fixtures - c).T).argmin()) for c in centres)


def area_middle(config: StoreConfig) -> Floats:
    area = config.area
    return np.array([(area.x_min_m + area.x_max_m) / 2, (area.y_min_m + area.y_max_m) / 2])


def gate_inward(config: StoreConfig, x_m: float, y_m: float) -> Floats:
    """Unit normal into the store at a gate: away from the nearest side of the area."""
    area = config.area
    sides = [x_m - area.x_min_m, y_m - area.y_min_m, area.x_max_m - x_m, area.y_max_m - y_m]
    return np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][int(np.argmin(sides))])


def _shelf_centre(config: StoreConfig, shelf: int) -> Floats:
    mine = [p for p in config.plates if p.shelf == config.shelves[shelf]]
    return np.asarray(np.array([(p.x_m, p.y_m) for p in mine]).mean(axis=0))


def _front(config: StoreConfig, shelf: int) -> Floats:
    fixture = config.fixtures[fixture_of_shelf(config)[shelf]]
    centre = np.array([fixture.x_m, fixture.y_m])
    along = int(fixture.depth_m <= fixture.width_m)  # the open side is a long side
    offset = (_shelf_centre(config, shelf) - centre)[along]
    if abs(offset) < 0.005:
        offset = (area_middle(config) - centre)[along]
    normal = np.zeros(2)
    normal[along] = 1.0 if offset >= 0 else -1.0
    return normal
