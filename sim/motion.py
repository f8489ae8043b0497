"""How people walk: social forces on the floor, all people in one call.

    dv/dt = (wanted - v) / tau + sum over others of their push + push of the fixtures

The push of another body falls off with the small half axis ``b`` of the ellipse that its next step
spans, so people give way to where somebody is going, not only to where he is; what happens behind
one's back counts half. Source: Helbing & Molnar 1995, Social force model for pedestrian dynamics
(equations 2 to 8), with the body's width taken off as in Helbing, Farkas & Vicsek 2000, and ranges
for a shop, where people pass at arm's length. Two people who meet turn to the right, which is what
keeps an aisle from locking. Three hard rules come on top: bodies hardly overlap, nobody stands in
a fixture, and nobody jumps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints
from messages.store_config import StoreConfig
from sim.geometry import fixture_boxes, pushed_out

BODY_RADIUS_M = 0.22
RELAX_S = 0.3  # tau
STEP_S = 0.5  # of the other's way that is foreseen
PUSH_M_S2 = 6.0  # of two bodies that touch
PUSH_RANGE_M = 0.18
PUSH_MAX_M_S2 = 12.0
BEHIND = 0.5  # of the push of those out of view
VIEW_COSINE = -0.17  # 200 degrees of view
PASS_RIGHT = 0.5  # sideways part of the push of who comes nearer
WALL_M_S2 = 3.0  # of a fixture that is touched
WALL_RANGE_M = 0.08
LEAN_M = 0.02  # to a fixture's side
WISH_MIN = 0.3  # of the speed, along a side that one leans on
SPEED_MAX_M_S = 1.7
SLOW_DOWN_M = 0.35  # before the last point
SQUEEZE = 0.9  # of two bodies' widths: shoulders turn
MOVE_MAX_M_S = 3.0  # also when pushed


@dataclass(frozen=True, slots=True, eq=False)
class Walls:
    """Where a body's centre cannot be."""

    lower: Floats  # (m, 2) fixtures widened by a body
    upper: Floats
    area_lower: Floats  # (2,)
    area_upper: Floats

    @staticmethod
    def of(config: StoreConfig) -> Walls:
        lower, upper = fixture_boxes(config.fixtures, BODY_RADIUS_M)
        area = config.area
        return Walls(
            lower[:, :2],
            upper[:, :2],
            np.array([area.x_min_m, area.y_min_m]) + BODY_RADIUS_M,
            np.array([area.x_max_m, area.y_max_m]) - BODY_RADIUS_M,
        )

    def felt(self, position: Floats, wanted: Floats) -> tuple[Floats, Floats]:
        """What fixtures do to people: (n, 2) acceleration away from them, (n, 2) wanted velocity.

        Who leans on a side of a fixture goes along it, and does not press on.
        """
        if not len(self.lower):
            return np.zeros_like(position), wanted
        nearest = np.minimum(np.maximum(position[:, None], self.lower), self.upper)
        away = position[:, None] - nearest
        out = 1.0 * (position[:, None] >= self.upper) - 1.0 * (position[:, None] <= self.lower)
        gap = np.hypot(away[..., 0], away[..., 1])
        strength = WALL_M_S2 * np.exp(-gap / WALL_RANGE_M) / (gap + 1e-6)
        pushed = (strength[:, :, None] * (away + 1e-6 * out)).sum(axis=1)
        leans = (gap < LEAN_M) & (out[..., 0] * out[..., 1] == 0)
        leans &= (out * wanted[:, None]).sum(axis=2) < 0
        who, wall = np.nonzero(leans)
        if not len(who):
            return pushed, wanted
        turned = wanted.copy()
        turned[who] = self._along(position[who], wanted[who], wall, out[who, wall])
        return pushed, turned

    def _along(self, position: Floats, wanted: Floats, wall: Ints, out: Floats) -> Floats:
        """(k, 2) along the side: the way one wants anyway, else to its nearer end in the store."""
        row, side = np.arange(len(wall)), (out[:, 0] != 0).astype(np.int64)  # axis of the side
        at, wish = position[row, side], wanted[row, side]
        low, high = self.lower[wall, side], self.upper[wall, side]
        speed = _length(wanted)
        upwards = np.where(np.abs(wish) > WISH_MIN * speed, wish > 0, high - at < at - low)
        upwards &= high < self.area_upper[side]
        upwards |= low < self.area_lower[side]
        turned = np.zeros_like(wanted)
        turned[row, side] = np.where(upwards, speed, -speed)
        return turned

    def hold(self, position: Floats, before: Floats) -> Floats:
        """Positions out of the fixtures and inside the area; who finds no way out stays put."""
        free = pushed_out(position, self.lower, self.upper)
        free = np.minimum(np.maximum(free, self.area_lower), self.area_upper)
        inside = (free[:, None] > self.lower) & (free[:, None] < self.upper)
        caught = np.logical_or.reduce(inside[..., 0] & inside[..., 1], axis=1)
        return np.where(caught[:, None], before, free)


def wanted_velocity(position: Floats, target: Floats, speed: Floats, last: Bools) -> Floats:
    """(n, 2) towards the target, slower near it where it is the last point of the way."""
    gap = target - position
    distance = _length(gap)
    factor = np.where(last, np.minimum(1.0, distance / SLOW_DOWN_M), 1.0)
    return np.asarray(gap * (speed * factor / np.maximum(distance, 1e-9))[:, None])


def pushes(position: Floats, velocity: Floats, wanted: Floats, radius_m: Floats) -> Floats:
    """(n, 2) acceleration by which others keep each one apart, with a turn to the right."""
    (x, y), (vx, vy), (wx, wy) = position.T, velocity.T, wanted.T
    rx, ry = x[:, None] - x, y[:, None] - y  # r, from the other to oneself
    sx, sy = STEP_S * vx, STEP_S * vy  # s, the other's step
    r, r_ahead = np.hypot(rx, ry) + 1e-6, np.hypot(rx - sx, ry - sy) + 1e-6
    # b = 1/2 sqrt((|r| + |r - s|)^2 - |s|^2)
    b = 0.5 * np.sqrt(np.maximum((r + r_ahead) ** 2 - (sx * sx + sy * sy), 0.0))
    apart = radius_m[:, None] + radius_m
    strength = np.minimum(PUSH_M_S2 * np.exp((apart - b) / PUSH_RANGE_M), PUSH_MAX_M_S2)
    np.fill_diagonal(strength, 0.0)
    unseen = -(rx * wx[:, None] + ry * wy[:, None]) < VIEW_COSINE * r * np.hypot(wx, wy)[:, None]
    strength = np.where(unseen, BEHIND * strength, strength)
    away_x = 0.5 * (rx / r + (rx - sx) / r_ahead)
    away_y = 0.5 * (ry / r + (ry - sy) / r_ahead)
    nearing = (wx[:, None] - wx) * rx + (wy[:, None] - wy) * ry < 0  # or would, if they could
    aside = np.where(nearing, PASS_RIGHT * strength, 0.0)
    # The right hand of who looks along -away is (-away_y, away_x).
    push_x = (strength * away_x - aside * away_y).sum(axis=1)
    push_y = (strength * away_y + aside * away_x).sum(axis=1)
    return np.column_stack([push_x, push_y])


def moved(
    position: Floats,
    velocity: Floats,
    wanted: Floats,
    fixed: Bools,
    indoors: Bools,
    walls: Walls,
    dt_s: float,
    felt: Floats | float = 1.0,
    radius_m: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Positions and velocities after one tick.

    Args:
        position, velocity, wanted: (n, 2). fixed: (n,) True for those who stand and act.
        indoors: (n,) True for those who are bound by the walls (not in a gate's lane or outside).
        felt: (n,) how much of the push of others each one feels: who squeezes in beside
            somebody at a shelf feels little.
        radius_m: (n,) of the bodies; None: all alike.
    """
    radius_m = np.full(len(position), BODY_RADIUS_M) if radius_m is None else radius_m
    pushed_m_s2, along = walls.felt(position, wanted)
    pushed = (pushes(position, velocity, wanted, radius_m) + pushed_m_s2) * (indoors * felt)[
        :, None
    ]
    wanted = np.where(indoors[:, None], along, wanted)
    velocity = velocity + dt_s * ((wanted - velocity) / RELAX_S + pushed)
    velocity = _at_most(velocity, SPEED_MAX_M_S)
    velocity[fixed] = 0.0
    goal = _separated(position + dt_s * velocity, fixed, radius_m)
    goal = position + _at_most(goal - position, MOVE_MAX_M_S * dt_s)
    return np.where(indoors[:, None], walls.hold(goal, position), goal), velocity


def _separated(position: Floats, fixed: Bools, radius_m: Floats) -> Floats:
    """Bodies pushed apart to touching; those who stand stay."""
    gap = position[:, None] - position[None]
    distance = _length(gap)
    overlap = SQUEEZE * (radius_m[:, None] + radius_m[None]) - distance
    np.fill_diagonal(overlap, 0.0)
    if overlap.max(initial=0.0) <= 0.0:
        return position
    share = np.where(fixed[None], 1.0, 0.5) * ~fixed[:, None]
    part = np.maximum(overlap, 0.0) * share / np.maximum(distance, 1e-6)
    return np.asarray(position + (gap * part[:, :, None]).sum(axis=1))


def _at_most(vectors: Floats, length: float) -> Floats:
    return np.asarray(
        vectors * np.minimum(1.0, length / np.maximum(_length(vectors), 1e-9))[..., None]
    )


def _length(vectors: Floats) -> Floats:
    return np.asarray(np.hypot(vectors[..., 0], vectors[..., 1]))
