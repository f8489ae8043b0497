"""Bodies in images: rings around cylinders, the boxes around them, and what hides their parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints
from sim.bodies import Bodies
from sim.projection import Lenses
from sim.sight import Lines, behind_boxes, behind_people

RING = 8  # points around a cylinder
LEVELS = np.array([0.0, 0.12, 0.3, 0.5, 0.7, 0.88, 1.0])  # of the height
# Head and feet are narrower than the trunk.
WIDTH = np.interp(LEVELS, [0.0, 0.3, 0.8, 1.0], [0.6, 0.9, 1.0, 0.45])
_ANGLE = np.linspace(0, 2 * np.pi, RING, endpoint=False)
_AROUND = np.column_stack([np.cos(_ANGLE), np.sin(_ANGLE)])
_RINGS = len(LEVELS) * RING
_SPREAD = (_AROUND[:, None] * WIDTH[:, None]).reshape(_RINGS, 2)  # around first, then up


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Bodies before cameras, p pairs: all their points in pixels and in the store."""

    low: Floats  # (p, levels, 2) lowest and highest pixels of each ring
    high: Floats
    ahead: Bools  # (p, levels) the whole ring is before the lens
    foot_px: Floats  # (p, 2)
    wrists_px: Floats  # (p, 2, 2)
    wrists_ahead: Bools  # (p, 2)
    body: Ints  # (p,)
    lines: Lines  # (3 p,) axis, left wrist, right wrist

    @staticmethod
    def of(bodies: Bodies, image: Ints, body: Ints, lenses: Lenses, camera: Ints) -> View:
        """Project everything in one call."""
        p, position = len(body), bodies.position_store_m[image, body]
        axis_m = bodies.height_m[body][:, None] * LEVELS
        wrists = bodies.wrists_store_m[image, body]
        points = np.zeros((p, _RINGS + 3, 3))
        _fill_rings(points[:, :_RINGS], position, bodies.radius_m[body], axis_m)
        points[:, _RINGS, :2] = position
        points[:, _RINGS + 1 :] = wrists
        px, ahead = lenses.project(points, camera)
        around = px[:, :_RINGS].reshape(p, RING, 2 * len(LEVELS))
        return View(
            low=around.min(axis=1).reshape(p, len(LEVELS), 2),
            high=around.max(axis=1).reshape(p, len(LEVELS), 2),
            ahead=np.asarray(ahead[:, :_RINGS].reshape(p, RING, len(LEVELS)).all(axis=1)),
            foot_px=px[:, _RINGS],
            wrists_px=px[:, _RINGS + 1 :],
            wrists_ahead=ahead[:, _RINGS + 1 :],
            body=body,
            lines=_lines(position, axis_m, wrists, lenses.position_store_m[camera]),
        )

    @property
    def gap_m(self) -> Floats:
        """(p,) from the body to below the camera."""
        ground = self.lines.ground[::3]
        return np.hypot(ground[:, 0], ground[:, 1])

    def unhidden(
        self, bodies: Bodies, image: Ints, lower: Floats, upper: Floats
    ) -> tuple[Bools, Bools]:
        """What the camera sees of the axis (p, levels), and which wrists (p, 2).

        A camera sees the near side of a body: a fixture must reach its axis to hide it. Nobody
        hides behind oneself, but a wrist hides behind one's own back.
        """
        own = np.full((len(self.body), 3), -1)
        own[:, 0] = self.body
        hidden = behind_boxes(self.lines, lower, upper)
        hidden |= behind_people(self.lines, np.repeat(image, 3), own.ravel(), bodies)
        hidden = hidden.reshape(len(self.body), 3, len(LEVELS))
        return ~hidden[:, 0], ~hidden[:, 1:, 0] & self.wrists_ahead


def in_view(bodies: Bodies, lenses: Lenses, camera: Ints) -> tuple[Ints, Ints]:
    """(image, body) of all pairs but those that are surely outside the image, by image.

    A body's sphere is compared with the image widened by the sphere's size; distortion pulls
    points inwards by a few per cent at most, which the factor 1.4 covers.
    """
    middle = np.empty((*bodies.position_store_m.shape[:2], 3))
    middle[:, :, :2] = bodies.position_store_m
    middle[:, :, 2] = bodies.height_m / 2
    p_camera = middle @ lenses.turned[camera] + lenses.moved_m[camera][:, None]
    reach = np.hypot(bodies.height_m / 2, bodies.radius_m)
    depth = p_camera[..., 2]
    half = np.maximum(lenses.centre_px, lenses.size_px - lenses.centre_px) / lenses.focal_px
    bound = 1.4 * (half[camera][:, None] * np.maximum(depth, 0)[..., None] + reach[:, None])
    beside = np.abs(p_camera[..., :2]) > bound
    image, body = np.nonzero(~beside[..., 0] & ~beside[..., 1] & (depth > -reach))
    return image, body


def boxes_around(low: Floats, high: Floats, levels: Bools) -> tuple[Floats, Bools]:
    """Boxes (p, 4) around the rings of some levels, and (p,) True where there is any.

    Without any the box is that of all levels.
    """
    some = np.asarray(levels.any(axis=1))
    shown = (levels | ~some[:, None])[:, :, None]
    first = np.where(shown, low, np.inf).min(axis=1)
    last = np.where(shown, high, -np.inf).max(axis=1)
    return np.hstack([first, last]), some


def area(boxes: Floats) -> Floats:
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return np.asarray(size[:, 0] * size[:, 1])


def overlaps(boxes: Floats, image: Ints, gap_m: Floats, above: float) -> tuple[Ints, Ints]:
    """Pairs (nearer, farther) of boxes of one image that overlap by more than a share.

    Overlap is taken over the smaller box: a box inside a larger one counts as merged. ``image`` is
    sorted; pairs come in order of the nearer's, then the farther's ``gap_m``.
    """
    i, j = _same_image(image)
    low, high = np.maximum(boxes[i, :2], boxes[j, :2]), np.minimum(boxes[i, 2:], boxes[j, 2:])
    size = np.maximum(high - low, 0.0)
    own = area(boxes)
    much = size[:, 0] * size[:, 1] > above * np.maximum(np.minimum(own[i], own[j]), 1e-9)
    i, j = i[much], j[much]
    near = np.where(gap_m[i] <= gap_m[j], i, j)
    far = i + j - near
    order = np.lexsort((gap_m[far], gap_m[near]))
    return near[order], far[order]


def _same_image(image: Ints) -> tuple[Ints, Ints]:
    """All pairs i < j of rows of one image; ``image`` is sorted."""
    row = np.arange(len(image))
    after = np.searchsorted(image, image, side="right") - row - 1  # later rows of the same image
    i = np.repeat(row, after)
    first = np.repeat(np.cumsum(after) - after, after)
    return i, i + 1 + np.arange(len(i)) - first


def _fill_rings(points: Floats, position: Floats, radius_m: Floats, axis_m: Floats) -> None:
    points[:, :, :2] = position[:, None] + radius_m[:, None, None] * _SPREAD
    points[:, :, 2] = np.tile(axis_m, RING)


def _lines(position: Floats, axis_m: Floats, wrists: Floats, eye_m: Floats) -> Lines:
    """Axis and wrists of each body; a wrist's one height is repeated."""
    p = len(position)
    xy_m, z_m = np.empty((p, 3, 2)), np.empty((p, 3, len(LEVELS)))
    xy_m[:, 0], xy_m[:, 1:] = position, wrists[:, :, :2]
    z_m[:, 0], z_m[:, 1:] = axis_m, wrists[:, :, 2:]
    return Lines(xy_m.reshape(-1, 2), z_m.reshape(3 * p, -1), np.repeat(eye_m, 3, axis=0))
