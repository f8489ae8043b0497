"""How people move: a small social force model on the floor, all people in one call.

Everybody steers to the next point of their way, keeps apart from others, and passes on the right.
Source: Helbing & Molnar 1995, Social force model for pedestrian dynamics, with two hard
rules on top: bodies do not overlap, and nobody stands in a fixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats
from messages.store_config import StoreConfig
from sim.geometry import fixture_boxes, pushed_out

BODY_RADIUS_M = 0.22
RELAX_S = 0.3  # time to reach the wanted velocity
APART_M = 0.55  # where the push of others is felt
PUSH_M_S2 = 4.0
PUSH_RANGE_M = 0.16
PASS_RIGHT = 0.5  # sideways part of the push
SPEED_MAX_M_S = 1.7
SLOW_DOWN_M = 0.35  # before the last point


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


def wanted_velocity(position: Floats, target: Floats, speed: Floats, last: Bools) -> Floats:
    """(n, 2) towards the target, slower near it where it is the last point of the way."""
    gap = target - position
    distance = np.linalg.norm(gap, axis=1)
    factor = np.where(last, np.minimum(1.0, distance / SLOW_DOWN_M), 1.0)
    return np.asarray(gap / np.maximum(distance, 1e-9)[:, None] * (speed * factor)[:, None])


def pushes(position: Floats) -> Floats:
    """(n, 2) acceleration by which others keep each one apart, with a turn to the right."""
    gap = position[:, None] - position[None]
    distance = np.linalg.norm(gap, axis=2)
    np.fill_diagonal(distance, np.inf)
    strength = PUSH_M_S2 * np.exp((APART_M - distance) / PUSH_RANGE_M)
    away = gap / np.where(np.isfinite(distance), np.maximum(distance, 1e-6), 1.0)[:, :, None]
    right = np.stack([away[..., 1], -away[..., 0]], axis=2)
    strength = np.minimum(strength, 12.0)
    return np.asarray((strength[:, :, None] * (away + PASS_RIGHT * right)).sum(axis=1))


def moved(
    position: Floats,
    velocity: Floats,
    wanted: Floats,
    fixed: Bools,
    indoors: Bools,
    walls: Walls,
    dt_s: float,
    felt: Floats | float = 1.0,
) -> tuple[Floats, Floats]:
    """Positions and velocities after one tick.

    Args:
        position, velocity, wanted: (n, 2). fixed: (n,) True for those who stand and act.
        indoors: (n,) True for those who are bound by the walls (not in a gate's lane or outside).
        felt: (n,) how much of the push of others each one feels: who squeezes in beside
            somebody at a shelf feels little.
    """
    pushed = pushes(position) * (indoors * felt)[:, None]
    velocity = velocity + dt_s * ((wanted - velocity) / RELAX_S + pushed)
    speed = np.linalg.norm(velocity, axis=1)
    velocity *= np.minimum(1.0, SPEED_MAX_M_S / np.maximum(speed, 1e-9))[:, None]
    velocity[fixed] = 0.0
    goal = _separated(position + dt_s * velocity, fixed)
    goal[indoors] = pushed_out(goal[indoors], walls.lower, walls.upper)
    goal[indoors] = np.clip(goal[indoors], walls.area_lower, walls.area_upper)
    return goal, velocity


def _separated(position: Floats, fixed: Bools) -> Floats:
    """Bodies pushed apart to touching; those who stand stay."""
    gap = position[:, None] - position[None]
    distance = np.linalg.norm(gap, axis=2)
    np.fill_diagonal(distance, np.inf)
    overlap = np.maximum(0.0, 2 * BODY_RADIUS_M - distance)
    share = np.where(fixed[None], 1.0, 0.5) * ~fixed[:, None]
    away = gap / np.where(np.isfinite(distance), np.maximum(distance, 1e-6), 1.0)[:, :, None]
    return np.asarray(position + (away * (overlap * share)[:, :, None]).sum(axis=1))
