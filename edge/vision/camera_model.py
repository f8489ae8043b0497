"""Cameras: pixels to the store floor and store points to pixels.

A pinhole with Brown-Conrady distortion (k1 k2 p1 p2 k3, as OpenCV names them). A ray through a
pixel is ``store_from_camera @ (x, y, 1)`` with x, y the undistorted image coordinates; it meets the
floor z = 0 where its height has run out. Frames and their letters: docs/FRAMES.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from messages.arrays import Bools, Floats, read_only
from messages.store_config import Camera

RANGE_MAX_M = 60.0  # beyond it one pixel is metres; treated as not meeting the floor
SINK_MIN = 1e-6  # least downward slope of a ray that is said to meet the floor
UNDISTORT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-9)  # 5 default rounds: 0.1 px


class CalibrationError(ValueError):
    """A camera's calibration that cannot be; says which and why."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """One calibrated camera; build it by ``camera_model``.

    ``camera_matrix`` (3, 3) pixels; ``distortion`` (5,); ``store_from_camera`` and its inverse
    (4, 4) metres; ``radius2_max``: squared tangent of the ray angle where the distortion stops
    being invertible. ``view`` (18,), for passes over many cameras: centre, rotation by rows,
    tangents of straight down, image size, principal point. ``distorts``: the lens does.
    """

    camera_matrix: Floats
    distortion: Floats
    store_from_camera: Floats
    camera_from_store: Floats
    width_px: float
    height_px: float
    radius2_max: float
    view: Floats = field(init=False)
    distorts: bool = field(init=False)

    def __post_init__(self) -> None:
        pose = self.store_from_camera
        with np.errstate(divide="ignore", invalid="ignore"):
            down = pose[2, :2] / pose[2, 2]  # R' (0, 0, -1) over its depth; the signs cancel
        image = (self.width_px, self.height_px, *self.camera_matrix[:2, 2])
        view = np.array([*pose[:3, 3], *pose[:3, :3].flat, *down, *image])
        object.__setattr__(self, "view", view)
        object.__setattr__(self, "distorts", bool(self.distortion.any()))
        read_only(self.camera_matrix, self.distortion, self.view)
        read_only(self.store_from_camera, self.camera_from_store)


def camera_model(camera: Camera) -> CameraModel:
    """The model of a ``[[camera]]``.

    Raises:
        CalibrationError: wrong shapes, no rotation, no focal length, or a camera in or below
            the floor plane.
    """
    K = _matrix(camera, "camera_matrix", camera.camera_matrix, (3, 3))
    pose = _matrix(camera, "store_from_camera", camera.store_from_camera, (4, 4))
    distortion = np.zeros(5)
    given = np.asarray(camera.distortion, dtype=np.float64)
    if given.ndim != 1 or len(given) > 5 or not np.isfinite(given).all():
        raise CalibrationError(f"camera {camera.id}: distortion must be up to 5 finite numbers")
    distortion[: len(given)] = given
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise CalibrationError(f"camera {camera.id}: focal lengths must be positive")
    R = pose[:3, :3]
    if not np.allclose(R.T @ R, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise CalibrationError(f"camera {camera.id}: store_from_camera holds no rotation")
    if pose[2, 3] <= 0:
        raise CalibrationError(f"camera {camera.id}: lies in or below the floor plane")
    return CameraModel(
        camera_matrix=K,
        distortion=distortion,
        store_from_camera=pose,
        camera_from_store=np.asarray(np.linalg.inv(pose), dtype=np.float64),
        width_px=float(camera.width_px),
        height_px=float(camera.height_px),
        radius2_max=_radius2_max(distortion),
    )


def project(points_store_m: Floats, camera: CameraModel) -> tuple[Floats, Bools]:
    """Pixels of store points, lens distortion in, and where they lie before the lens.

    Args:
        points_store_m: (n, 3), store frame, metres.

    Returns:
        (n, 2) pixels (perhaps outside the image) and (n,) True where the point is in front of
        the camera and the distortion is invertible there; other rows are NaN.
    """
    points = np.asarray(points_store_m, dtype=np.float64).reshape(-1, 3)
    p_camera = points @ camera.camera_from_store[:3, :3].T + camera.camera_from_store[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        radius2 = (p_camera[:, 0] ** 2 + p_camera[:, 1] ** 2) / p_camera[:, 2] ** 2
        seen = (p_camera[:, 2] > 1e-6) & (radius2 < camera.radius2_max)
    pixels = np.full((len(points), 2), np.nan)
    if seen.any():
        still = np.zeros(3)
        px, _ = cv2.projectPoints(
            p_camera[seen], still, still, camera.camera_matrix, camera.distortion
        )
        pixels[seen] = px.reshape(-1, 2)
    return pixels, seen


def undistorted(points_px: Floats, camera: CameraModel) -> Floats:
    """(n, 2) pixels to undistorted image coordinates (tangents); NaN stays NaN."""
    points = np.ascontiguousarray(points_px, dtype=np.float64).reshape(-1, 1, 2)
    if not len(points):
        return np.zeros((0, 2))
    K = camera.camera_matrix
    if not camera.distorts:
        flat = points[:, 0]
        return np.asarray((flat - (K[0, 2], K[1, 2])) / (K[0, 0], K[1, 1]))
    found = cv2.undistortPoints(points, K, camera.distortion, criteria=UNDISTORT)
    tangents = np.asarray(found, dtype=np.float64).reshape(-1, 2)
    if camera.radius2_max < np.inf:
        tangents[(tangents * tangents).sum(axis=1) >= camera.radius2_max] = np.nan
    return tangents


def rays(tangents: Floats, camera: CameraModel) -> Floats:
    """(3, n) directions in the store frame of undistorted image coordinates (n, 2)."""
    R = camera.store_from_camera[:3, :3]
    return np.asarray(R[:, :1] * tangents[:, 0] + R[:, 1:2] * tangents[:, 1] + R[:, 2:])


def meet_plane(
    origin: Floats, direction: Floats, height_m: Floats | float = 0.0
) -> tuple[Floats, Bools]:
    """Where rays meet the horizontal plane z = ``height_m``; 0 is the floor.

    Args:
        origin, direction: (3, ...) that broadcast to each other, store frame. height_m: likewise.

    Returns:
        (2, ...) x, y metres, NaN where the ray misses, and (...) True where it meets the plane
        from above, in front of the camera, within ``RANGE_MAX_M``.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reach = (height_m - origin[2]) / direction[2]
        run = direction[:2] * reach
        ok = (direction[2] < -SINK_MIN) & (reach > 0)
        ok &= (np.abs(run) < RANGE_MAX_M).all(axis=0)
        return np.where(ok, origin[:2] + run, np.nan), ok


def floor_points(foot_px: Floats, camera: CameraModel) -> tuple[Floats, Bools]:
    """Intersect the rays through foot points with the floor z = 0.

    Args:
        foot_px: (n, 2), image frame, pixels, lens distortion still in.

    Returns:
        (n, 2) x, y in the store frame, metres, and (n,) True where the ray meets the floor in
        front of the camera; other rows are NaN.

    Source: Hartley & Zisserman, Multiple View Geometry, chapter 6; docs/FRAMES.md.
    """
    direction = rays(undistorted(foot_px, camera), camera)
    points, ok = meet_plane(camera.store_from_camera[:3, 3:], direction)
    return points.T, ok


def _matrix(
    camera: Camera, key: str, rows: tuple[tuple[float, ...], ...], shape: tuple[int, int]
) -> Floats:
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"camera {camera.id}: {key} is no matrix: {error}") from error
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise CalibrationError(f"camera {camera.id}: {key} must be {shape} finite numbers")
    return matrix


def _radius2_max(distortion: Floats) -> float:
    """Squared tangent up to which the radial polynomial grows; inf where it always does."""
    k1, k2, _, _, k3 = distortion
    # d/dr (r + k1 r^3 + k2 r^5 + k3 r^7) = 1 + 3 k1 s + 5 k2 s^2 + 7 k3 s^3 with s = r^2
    roots = np.roots([c for c in (7 * k3, 5 * k2, 3 * k1, 1.0)])
    real = roots[np.abs(roots.imag) < 1e-9].real
    return float(min(real[real > 0], default=np.inf))
