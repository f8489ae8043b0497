"""The simulated lens: store points to pixels with OpenCV's Brown-Conrady distortion.

Written apart from ``edge.vision.camera_model`` on purpose: the world must not inherit the
errors of the code that it tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats
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


def project(points_store_m: Floats, lens: Lens) -> tuple[Floats, Bools]:
    """Pixels (..., 2) of store points (..., 3), and True where the lens can form an image.

    Pixels may lie outside the image. Source: OpenCV calib3d, pinhole model with k1 k2 p1 p2 k3.
    """
    p_camera = points_store_m @ lens.camera_from_store[:3, :3].T + lens.camera_from_store[:3, 3]
    depth = np.maximum(p_camera[..., 2], DEPTH_MIN_M)
    x, y = p_camera[..., 0] / depth, p_camera[..., 1] / depth
    r2 = x * x + y * y
    ahead = (p_camera[..., 2] > DEPTH_MIN_M) & (r2 < TANGENT_MAX**2)
    k1, k2, p1, p2, k3 = lens.distortion
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )
    K = lens.camera_matrix
    return bent * (K[0, 0], K[1, 1]) + (K[0, 2], K[1, 2]), ahead


def in_image(points_px: Floats, lens: Lens) -> Bools:
    """True where a pixel lies inside the image."""
    return np.asarray(((points_px >= 0) & (points_px < lens.size_px)).all(axis=-1))
