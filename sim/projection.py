"""The simulated lenses: store points to pixels with OpenCV's Brown-Conrady distortion.

Written apart from ``edge.vision.camera_model`` on purpose: the world must not inherit the
errors of the code that it tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints
from messages.store_config import Camera

# Beyond this tangent of the ray angle the distortion polynomial may fold back into the image.
TANGENT_MAX = 1.9
DEPTH_MIN_M = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """One camera as arrays. ``camera_from_store``: (4, 4)."""

    camera_from_store: Floats
    camera_matrix: Floats
    distortion: Floats
    position_store_m: Floats
    size_px: Floats

    @staticmethod
    def of(camera: Camera) -> Lens:
        store_from_camera = np.array(camera.store_from_camera, dtype=np.float64)
        coefficients = np.zeros(5)
        coefficients[: len(camera.distortion)] = camera.distortion[:5]
        return Lens(
            camera_from_store=np.asarray(np.linalg.inv(store_from_camera), dtype=np.float64),
            camera_matrix=np.array(camera.camera_matrix, dtype=np.float64),
            distortion=coefficients,
            position_store_m=store_from_camera[:3, 3].copy(),
            size_px=np.array([camera.width_px, camera.height_px], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Lenses:
    """All cameras of a store, first axis c."""

    turned: Floats  # (c, 3, 3) rotation from store to camera, transposed: rows of points times it
    moved_m: Floats  # (c, 3)
    focal_px: Floats  # (c, 2)
    centre_px: Floats  # (c, 2)
    distortion: Floats  # (c, 5)
    position_store_m: Floats  # (c, 3)
    size_px: Floats  # (c, 2)

    @staticmethod
    def of(lenses: Sequence[Lens]) -> Lenses:
        K = np.array([lens.camera_matrix for lens in lenses]).reshape(-1, 3, 3)
        pose = np.array([lens.camera_from_store for lens in lenses]).reshape(-1, 4, 4)
        return Lenses(
            turned=np.ascontiguousarray(pose[:, :3, :3].transpose(0, 2, 1)),
            moved_m=pose[:, :3, 3].copy(),
            focal_px=K[:, [0, 1], [0, 1]],
            centre_px=K[:, :2, 2],
            distortion=np.array([lens.distortion for lens in lenses]).reshape(-1, 5),
            position_store_m=np.array([x.position_store_m for x in lenses]).reshape(-1, 3),
            size_px=np.array([lens.size_px for lens in lenses]).reshape(-1, 2),
        )

    def project(
        self, x: Floats, y: Floats, z: Floats, camera: Ints
    ) -> tuple[Floats, Floats, Bools]:
        """Pixels u, v (k, p) of store points (k, p), column i seen by ``camera[i]``; see below."""
        R, t = self.turned[camera], self.moved_m[camera]
        a, b, c = (x * R[:, 0, i] + y * R[:, 1, i] + z * R[:, 2, i] + t[:, i] for i in range(3))
        bent_x, bent_y, ahead = _bent(a, b, c, self.distortion[camera].T)
        focal, centre = self.focal_px[camera], self.centre_px[camera]
        return bent_x * focal[:, 0] + centre[:, 0], bent_y * focal[:, 1] + centre[:, 1], ahead


def project(points_store_m: Floats, lens: Lens) -> tuple[Floats, Bools]:
    """Pixels (..., 2) of store points (..., 3), and True where the lens can form an image.

    Pixels may lie outside the image. Source: OpenCV calib3d, pinhole model with k1 k2 p1 p2 k3.
    """
    p_camera = points_store_m @ lens.camera_from_store[:3, :3].T + lens.camera_from_store[:3, 3]
    x, y, z = p_camera[..., 0], p_camera[..., 1], p_camera[..., 2]
    bent_x, bent_y, ahead = _bent(x, y, z, lens.distortion)
    K = lens.camera_matrix
    return np.stack([bent_x * K[0, 0] + K[0, 2], bent_y * K[1, 1] + K[1, 2]], axis=-1), ahead


def in_image(points_px: Floats, lens: Lens) -> Bools:
    """True where a pixel lies inside the image."""
    return np.asarray(((points_px >= 0) & (points_px < lens.size_px)).all(axis=-1))


def _bent(x: Floats, y: Floats, z: Floats, coefficients: Floats) -> tuple[Floats, Floats, Bools]:
    """Points on the plane one metre ahead after distortion, and True where that can be."""
    depth = np.maximum(z, DEPTH_MIN_M)
    x, y = x / depth, y / depth
    xx, yy, xy = x * x, y * y, x * y
    r2 = xx + yy
    ahead = (z > DEPTH_MIN_M) & (r2 < TANGENT_MAX**2)
    k1, k2, p1, p2, k3 = coefficients
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent_x = x * radial + 2 * p1 * xy + p2 * (r2 + 2 * xx)
    bent_y = y * radial + p1 * (r2 + 2 * yy) + 2 * p2 * xy
    return bent_x, bent_y, ahead
