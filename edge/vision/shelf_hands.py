"""Where hands are: before a shelf that a near camera looks at, and of people in a room camera.

A camera beside a shelf sees hands and nobody's feet, so nothing tells how far a hand is but the
shelf itself: a hand that reaches for goods is at the plane of the shelf's front edge, within the
arm's last decimetres. The ray through the middle of its box meets that plane at the hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.vision.camera_model import CameraModel, floor_points, rays, undistorted
from edge.vision.wrists import locate, normal_equations
from messages.arrays import Floats, Ints, read_only
from messages.store_config import StoreConfig

AROUND_M = 0.30  # beside the outermost plates and above the highest goods
BELOW_M = 0.10
GOODS_M = 0.45  # up to the next board: a hand reaches down into goods, above their plates
RANGE_MAX_M = 4.0  # a near camera is nearer; beyond it handtrack's boxes are no hands


@dataclass(frozen=True, slots=True, eq=False)
class ShelfFronts:
    """Front planes of s shelves, on both sides of each: which one counts is where the camera is.

    ``middle`` (s, 3) of the plates' front edge plane; ``across`` (s, 3) unit normal, horizontal;
    ``along`` (s, 3) unit, horizontal; ``half_m`` (s,) half its length; ``depth_m`` (s,) half a
    plate; ``low``, ``high`` (s,) of the hands.
    """

    middle: Floats
    across: Floats
    along: Floats
    half_m: Floats
    depth_m: Floats
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        read_only(self.middle, self.across, self.along, self.half_m, self.depth_m)


def shelf_fronts(config: StoreConfig) -> ShelfFronts:
    """The planes of a store's shelves, from their plates."""
    rows = []
    for shelf in config.shelves:
        plates = [p for p in config.plates if p.shelf == shelf]
        at = np.array([(p.x_m, p.y_m, p.z_m) for p in plates])
        apart = at[-1, :2] - at[0, :2]
        length = float(np.hypot(*apart))
        along = apart / length if length > 0 else np.array([1.0, 0.0])
        half = length / 2 + max(p.width_m for p in plates) / 2 + AROUND_M
        deep = max(p.depth_m for p in plates) / 2
        rows.append((at.mean(axis=0), along, half, deep, at[:, 2].min(), at[:, 2].max()))
    n = len(rows)
    along3 = np.array([(*r[1], 0.0) for r in rows]).reshape(n, 3)
    return ShelfFronts(
        middle=np.array([r[0] for r in rows]).reshape(n, 3),
        across=np.stack([-along3[:, 1], along3[:, 0], along3[:, 2]], axis=1),
        along=along3,
        half_m=np.array([r[2] for r in rows]),
        depth_m=np.array([r[3] for r in rows]),
        low=np.array([r[4] for r in rows]) - BELOW_M,
        high=np.array([r[5] for r in rows]) + GOODS_M,
    )


def hands_at_shelf(middles_px: Floats, camera: CameraModel, fronts: ShelfFronts) -> Floats:
    """(n, 3) where hands are, store frame; NaN for one that is before no shelf.

    Of several planes that a ray meets the nearest to the camera counts: what is behind a shelf's
    front is hidden by it.

    Args:
        middles_px: (n, 2) middles of the hands' boxes, lens distortion still in.
    """
    n, origin = len(middles_px), camera.store_from_camera[:3, 3]
    if not n or not len(fronts.middle):
        return np.full((n, 3), np.nan)
    ray = rays(undistorted(middles_px, camera), camera).T  # (n, 3)
    ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
    side = np.sign(((origin - fronts.middle) * fronts.across).sum(axis=1))  # where the camera is
    front = fronts.middle + (side * fronts.depth_m)[:, None] * fronts.across  # (s, 3)
    towards = ray @ fronts.across.T  # (n, s)
    gap = ((front - origin) * fronts.across).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = gap / towards
    at = origin + reach[..., None] * ray[:, None]  # (n, s, 3)
    aside = np.abs(((at - front) * fronts.along).sum(axis=2))
    ok = np.isfinite(reach) & (reach > 0) & (reach < RANGE_MAX_M) & (aside <= fronts.half_m)
    ok &= (at[..., 2] >= fronts.low) & (at[..., 2] <= fronts.high)
    nearest = np.where(ok, reach, np.inf)
    best = nearest.argmin(axis=1)
    row = np.arange(n)
    return np.where(np.isfinite(nearest[row, best])[:, None], at[row, best], np.nan)


def hands_of_people(hands_px: Floats, feet_px: Floats, camera: CameraModel) -> Floats:
    """(n, 2, 3) where people's hands are, store frame; NaN where unseen or not plausible.

    One camera does not tell how far a hand is: it is taken where its ray is nearest to the body
    (``edge.vision.wrists``), whose feet are on the floor.

    Args:
        hands_px: (n, 2, 2); feet_px: (n, 2); lens distortion still in.
    """
    n = len(feet_px)
    found = np.full((n, 2, 3), np.nan)
    if not n:
        return found
    floor, stands = floor_points(feet_px, camera)
    flat = np.where(stands[:, None, None], hands_px, np.nan).reshape(-1, 2)
    ray = rays(undistorted(flat, camera), camera)
    ray = ray / np.linalg.norm(ray, axis=0)
    direction = ray.reshape(3, n, 2).transpose(0, 2, 1)  # (3, 2, n)
    origin = np.repeat(camera.store_from_camera[:3, 3:], n, axis=1)
    track: Ints = np.arange(n)
    tracks, wrists, _ = locate(normal_equations(direction, origin), track, np.nan_to_num(floor).T)
    found[tracks] = wrists
    return found
