"""Rays through the pixels of a true lens, and what they hit: boxes, capsules, ellipsoids, planes.

A ``Canvas`` keeps the nearest hit of each pixel. Shapes are tried only on the part of the image
that their bounding sphere covers. Intersections: Kay & Kajiya 1986 (boxes); the capsule is a
cylinder with two half spheres, solved in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from messages.arrays import Bools, Floats
from messages.store_config import Camera
from sim.projection import Lens, project

# Colours (k, 3) of k hit points: takes points (k, 3) and normals (k, 3).
Paint = Callable[[Floats, Floats], Floats]
# Normals (k, 3) at hit points (k, 3), which are those pixels of the part that are True.
Normal = Callable[[Floats, Bools], Floats]
SUN = np.array([0.35, -0.25, 0.9]) / np.linalg.norm([0.35, -0.25, 0.9])
AMBIENT = 0.52
PATCH_MARGIN = (
    1.5  # of a bounding sphere's size in the image: distortion, and centre off its middle
)


@dataclass(slots=True, eq=False)
class Canvas:
    """An image being drawn. ``rays``: (h, w, 3) unit vectors, store frame; colours 0 to 1."""

    lens: Lens
    scale: int
    rays: Floats
    depth: Floats
    colour: Floats

    @staticmethod
    def of(camera: Camera, scale: int = 1) -> Canvas:
        """``scale``: rays per pixel and axis."""
        lens = Lens.of(camera)
        w, h = (int(v) * scale for v in lens.size_px)
        u, v = np.meshgrid((np.arange(w) + 0.5) / scale - 0.5, (np.arange(h) + 0.5) / scale - 0.5)
        px = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(px, lens.camera_matrix, lens.distortion).reshape(h, w, 2)
        ahead = np.concatenate([plane, np.ones((h, w, 1))], axis=2)
        rays = ahead @ lens.camera_from_store[:3, :3]
        rays /= np.linalg.norm(rays, axis=2, keepdims=True)
        return Canvas(lens, scale, rays, np.full((h, w), np.inf), np.zeros((h, w, 3)))

    def box(self, low: Floats, high: Floats, paint: Paint) -> None:
        """An axis-aligned box."""
        part = self._part((low + high) / 2, float(np.linalg.norm(high - low)) / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            one = (low - self._eye) / self.rays[part]
            other = (high - self._eye) / self.rays[part]
        entered = np.minimum(one, other)
        t, axis = entered.max(axis=2), entered.argmax(axis=2)
        hit = (t < np.maximum(one, other).min(axis=2)) & (t > 0)

        def normal(points: Floats, shown: Bools) -> Floats:
            across = np.eye(3)[axis[shown]]
            return np.asarray(-across * np.sign(points - self._eye))

        self._draw(part, t, hit, normal, paint)

    def capsule(self, a: Floats, b: Floats, radius: float, paint: Paint) -> None:
        """A rod with round ends from a to b."""
        part = self._part((a + b) / 2, float(np.linalg.norm(b - a)) / 2 + radius)
        t, hit = _hit_capsule(self.rays[part], self._eye, a, b, radius)
        rod = b - a

        def normal(points: Floats, shown: Bools) -> Floats:
            del shown
            along = np.clip((points - a) @ rod / max(float(rod @ rod), 1e-9), 0.0, 1.0)
            return np.asarray((points - a - along[:, None] * rod) / radius)

        self._draw(part, t, hit, normal, paint)

    def ellipsoid(self, centre: Floats, axes: Floats, sizes: Floats, paint: Paint) -> None:
        """``axes``: rows are unit vectors; ``sizes``: half lengths along them."""
        part = self._part(centre, float(sizes.max()))
        ray, eye = self.rays[part] @ (axes.T / sizes), axes @ (self._eye - centre) / sizes
        A, B, C = (ray * ray).sum(axis=2), ray @ eye, float(eye @ eye) - 1.0
        root = B * B - A * C
        t = (-B - np.sqrt(np.maximum(root, 0.0))) / A

        def normal(points: Floats, shown: Bools) -> Floats:
            del shown
            out = ((points - centre) @ axes.T / sizes**2) @ axes
            return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))

        self._draw(part, t, (root > 0) & (t > 0), normal, paint)

    def plane(self, axis: int, at: float, paint: Paint) -> None:
        """An endless plane across an axis, seen from both sides."""
        part = (slice(None), slice(None))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (at - self._eye[axis]) / self.rays[..., axis]
        across = np.eye(3)[axis] * np.sign(self._eye[axis] - at)
        self._draw(
            part, t, np.isfinite(t) & (t > 0), lambda p, _: np.broadcast_to(across, p.shape), paint
        )

    @property
    def _eye(self) -> Floats:
        return self.lens.position_store_m

    def _part(self, centre: Floats, radius: float) -> tuple[slice, slice]:
        """The rows and columns that a sphere can cover."""
        h, w = self.depth.shape
        gap = float(np.linalg.norm(centre - self._eye))
        px, ahead = project(centre, self.lens)
        if gap < 2 * radius or not ahead:
            return slice(0, h), slice(0, w)
        reach = PATCH_MARGIN * float(self.lens.camera_matrix[0, 0]) * radius / (gap - radius) + 3
        low, high = (px - reach) * self.scale, (px + reach) * self.scale
        left, right = np.clip([low[0], high[0]], 0, w).astype(int)
        top, bottom = np.clip([low[1], high[1]], 0, h).astype(int)
        return slice(top, bottom), slice(left, right)

    def _draw(
        self, part: tuple[slice, slice], t: Floats, hit: Bools, normal: Normal, paint: Paint
    ) -> None:
        nearer = hit & (t < self.depth[part])
        if not nearer.any():
            return
        points = self._eye + t[nearer][:, None] * self.rays[part][nearer]
        faced = normal(points, nearer)
        light = AMBIENT + (1 - AMBIENT) * np.maximum(faced @ SUN, 0.0)
        self.depth[part][nearer] = t[nearer]
        self.colour[part][nearer] = paint(points, faced) * light[:, None]


def _hit_capsule(
    ray: Floats, eye: Floats, a: Floats, b: Floats, radius: float
) -> tuple[Floats, Bools]:
    """Distance and True where a ray meets the capsule from outside."""
    rod, oa = b - a, eye - a
    rod2, along_eye = max(float(rod @ rod), 1e-9), float(rod @ oa)
    along = ray @ rod
    A = np.maximum(rod2 - along * along, 1e-9)
    B = rod2 * (ray @ oa) - along_eye * along
    C = rod2 * float(oa @ oa) - along_eye**2 - radius**2 * rod2
    root = B * B - A * C
    t = (-B - np.sqrt(np.maximum(root, 0.0))) / A
    y = along_eye + t * along
    body = (root > 0) & (y > 0) & (y < rod2)
    end = np.where((y <= 0)[..., None], oa, eye - b)
    B_end = (ray * end).sum(axis=2)
    root_end = B_end**2 - ((end * end).sum(axis=2) - radius**2)
    t_end = -B_end - np.sqrt(np.maximum(root_end, 0.0))
    t = np.where(body, t, t_end)
    return t, (body | (root_end > 0)) & (t > 0)
