"""What hides whom: sight lines from body points to cameras, past fixtures and other people.

A body's points stand above each other, so a line's course over the floor is worked out once for
all heights; a fixture or a body in its way hides those heights at which the line passes below its
top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints
from sim.bodies import Bodies

# An arm's width at a body's side hides little: the middle four fifths of a body hide.
HIDING_PART = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Sight lines: row r from heights ``z_m[r]`` above ``xy_m[r]`` to ``eye_m[r]``."""

    xy_m: Floats  # (r, 2)
    z_m: Floats  # (r, levels)
    eye_m: Floats  # (r, 3)

    @property
    def ground(self) -> Floats:
        """(r, 2) over the floor from the points to the eyes; never exactly 0."""
        ground = self.eye_m[:, :2] - self.xy_m
        return np.where(np.abs(ground) < 1e-9, 1e-9, ground)

    @property
    def rise(self) -> Floats:
        return np.asarray(self.eye_m[:, 2:] - self.z_m)


def behind_boxes(lines: Lines, lower: Floats, upper: Floats) -> Bools:
    """(r, levels) True where a box (m, 3) hides the point. Source: slabs, Kay & Kajiya 1986."""
    ground, xy_m = lines.ground, lines.xy_m
    x_in, x_out = _between(xy_m[:, 0], ground[:, 0], lower[:, 0], upper[:, 0])
    y_in, y_out = _between(xy_m[:, 1], ground[:, 1], lower[:, 1], upper[:, 1])
    entered = np.maximum(np.maximum(x_in, y_in), 0.0)
    left = np.minimum(np.minimum(x_out, y_out), 1.0)
    row, box = np.nonzero(entered < left)
    rise, z = lines.rise[row], lines.z_m[row]
    z_in = z + entered[row, box][:, None] * rise
    z_out = z + left[row, box][:, None] * rise
    hidden = np.minimum(z_in, z_out) < upper[box, 2:]
    hidden &= np.maximum(z_in, z_out) > lower[box, 2:]
    return _any_of_row(hidden, row, lines.z_m.shape)


def _between(start: Floats, way: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Parts (r, m) of lines at which they enter and leave the slabs of one axis."""
    per = 1.0 / way[:, None]
    one, other = (lower - start[:, None]) * per, (upper - start[:, None]) * per
    return np.minimum(one, other), np.maximum(one, other)


def behind_people(lines: Lines, image: Ints, own: Ints, bodies: Bodies) -> Bools:
    """(r, levels) True where another body hides the point.

    Args:
        image: (r,) instant of ``bodies`` that a line belongs to.
        own: (r,) whose point it is, who does not hide it; -1 where one's own body does, too.
    """
    ground = lines.ground
    way_x, way_y = ground[:, :1], ground[:, 1:]
    to_x = bodies.position_store_m[:, :, 0][image] - lines.xy_m[:, :1]  # (r, n)
    to_y = bodies.position_store_m[:, :, 1][image] - lines.xy_m[:, 1:]
    length2 = way_x**2 + way_y**2
    along = to_x * way_x + to_y * way_y  # t = along / length2
    aside = to_x * way_y - to_y * way_x
    near = aside**2 < length2 * (HIDING_PART * bodies.radius_m) ** 2
    blocked = near & (along > 0) & (along < length2)
    mine = np.flatnonzero(own >= 0)
    blocked[mine, own[mine]] = False
    row, body = np.nonzero(blocked)
    t = along[row, body] / length2[row, 0]
    hidden = lines.z_m[row] + t[:, None] * lines.rise[row] < bodies.height_m[body][:, None]
    return _any_of_row(hidden, row, lines.z_m.shape)


def _any_of_row(hidden: Bools, row: Ints, shape: tuple[int, ...]) -> Bools:
    """Fold (pairs, levels) into (r, levels); ``row`` is sorted."""
    folded = np.zeros(shape, dtype=np.bool_)
    if len(row):
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        folded[row[starts]] = np.logical_or.reduceat(hidden, starts, axis=0)
    return folded
