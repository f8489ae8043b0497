"""People as the cameras meet them: upright cylinders with two wrists, at several instants.

All instants are within one tick of the world; positions are taken on the straight line of the
tick's movement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from messages.arrays import Floats, Ints
from sim.shoppers import INDOORS, Person

HAND_REST_M = (0.12, 0.24, 0.95)  # ahead, aside, up from the feet of an adult
ADULT_M = 1.71


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """n people at i instants, struct of arrays."""

    key: tuple[str, ...]
    position_store_m: Floats  # (i, n, 2)
    height_m: Floats  # (n,)
    radius_m: Floats  # (n,)
    wrists_store_m: Floats  # (i, n, 2, 3)


Exposed: TypeAlias = tuple[list[tuple[int, int]], Bodies]  # (instant, camera) of each image


def bodies_at(people: Sequence[Person], at_ns: Ints, now_ns: int, tick_ns: int) -> Bodies:
    """Everybody at instants of the tick that ends now; a child on the arm is part of its carrier.

    Args:
        at_ns: (i,) instants.
    """
    own = [p for p in people if p.carrier is None]
    back = (now_ns - at_ns) / tick_ns
    position = np.array([p.position for p in own]).reshape(-1, 2)
    moved = position - np.array([p.before for p in own]).reshape(-1, 2)
    height_m = np.array([p.height_m for p in own])
    at_m = position[None] - back[:, None, None] * moved[None]
    return Bodies(
        key=tuple(f"{p.shopper}/{p.index}" for p in own),
        position_store_m=at_m,
        height_m=height_m,
        radius_m=np.array([p.radius_m for p in own]),
        wrists_store_m=_wrists(own, at_ns, at_m, height_m),
    )


def joined(
    parts: Sequence[Exposed],
) -> list[Exposed]:
    """Images of ticks with the same people as one group; order is kept."""
    groups: list[list[Exposed]] = []
    for part in parts:
        if groups and groups[-1][0][1].key == part[1].key:
            groups[-1].append(part)
        else:
            groups.append([part])
    return [_one(group) if len(group) > 1 else group[0] for group in groups]


def _one(
    group: list[Exposed],
) -> Exposed:
    bodies = [b for _, b in group]
    return [image for due, _ in group for image in due], replace(
        bodies[0],
        position_store_m=np.concatenate([b.position_store_m for b in bodies]),
        wrists_store_m=np.concatenate([b.wrists_store_m for b in bodies]),
    )


def _wrists(people: Sequence[Person], at_ns: Ints, at_m: Floats, height_m: Floats) -> Floats:
    """(i, n, 2, 3) left and right wrist: beside the body, the right one out when it reaches."""
    ahead, aside, up = HAND_REST_M
    forward = np.array([p.heading for p in people]).reshape(-1, 2)
    right = np.column_stack([forward[:, 1], -forward[:, 0]])
    wrists = np.empty((*at_m.shape[:2], 2, 3))
    wrists[..., 2] = up * height_m[:, None] / ADULT_M
    wrists[:, :, 0, :2] = at_m + ahead * forward - aside * right
    wrists[:, :, 1, :2] = at_m + ahead * forward + aside * right
    for i, person in enumerate(people):
        if person.gesture is not None and person.phase in INDOORS:
            gesture = person.gesture
            times = (
                gesture.started_at_ns,
                gesture.touched_at_ns,
                gesture.left_at_ns,
                gesture.ended_at_ns,
            )
            out = np.interp(at_ns, times, (0.0, 1.0, 1.0, 0.0))[:, None]
            wrists[:, i, 1] += out * (gesture.target_store_m - wrists[:, i, 1])
    return wrists
