"""Bodies in images: rings around cylinders, the boxes around them, and what hides their parts.

Points lie in the first axes and people in the last one, so that numpy's inner loops are long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints
from sim.bodies import Bodies
from sim.projection import Lenses
from sim.sight import Lines, behind_boxes, behind_people

LEVELS = np.array([0.0, 0.12, 0.3, 0.5, 0.7, 0.88, 1.0])  # of the height
# Head and feet are narrower than the trunk.
WIDTH = np.interp(LEVELS, [0.0, 0.3, 0.8, 1.0], [0.6, 0.9, 1.0, 0.45])
SIDES = 4  # of a ring as the camera sees it: far, left, near, right
_RINGS = len(LEVELS) * SIDES
_AHEAD = np.repeat([1.0, 0.0, -1.0, 0.0], len(LEVELS)) * np.tile(WIDTH, SIDES)
_ASIDE = np.repeat([0.0, 1.0, 0.0, -1.0], len(LEVELS)) * np.tile(WIDTH, SIDES)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Bodies before cameras, p pairs: all their points in pixels and in the store."""

    low: Floats  # (2, levels, p) lowest and highest pixels of each ring
    high: Floats
    ahead: Bools  # (levels, p) the whole ring is before the lens
    foot_px: Floats  # (p, 2)
    wrists_px: Floats  # (p, 2, 2)
    wrists_ahead: Bools  # (p, 2)
    body: Ints  # (p,)
    lines: Lines  # (3 p,) axis, left wrist, right wrist

    @staticmethod
    def of(bodies: Bodies, image: Ints, body: Ints, lenses: Lenses, camera: Ints) -> View:
        """Project everything in one call."""
        p, position = len(body), bodies.position_store_m[image, body]
        axis_m = bodies.height_m[body] * LEVELS[:, None]
        wrists, eye_m = bodies.wrists_store_m[image, body], lenses.position_store_m[camera]
        points = np.zeros((3, _RINGS + 3, p))
        _fill_rings(points, position, bodies.radius_m[body], axis_m, eye_m)
        points[:2, _RINGS] = position.T
        points[:, _RINGS + 1 :] = wrists.transpose(2, 1, 0)
        u, v, ahead = lenses.project(points[0], points[1], points[2], camera)
        around = np.stack([u[:_RINGS], v[:_RINGS]]).reshape(2, SIDES, len(LEVELS), p)
        return View(
            low=around.min(axis=1),
            high=around.max(axis=1),
            ahead=np.logical_and.reduce(ahead[:_RINGS].reshape(SIDES, len(LEVELS), p), axis=0),
            foot_px=np.column_stack([u[_RINGS], v[_RINGS]]),
            wrists_px=np.stack([u[_RINGS + 1 :].T, v[_RINGS + 1 :].T], axis=2),
            wrists_ahead=ahead[_RINGS + 1 :].T,
            body=body,
            lines=_lines(position, axis_m.T, wrists, eye_m),
        )

    def box(self, levels: Bools) -> tuple[Floats, Bools]:
        """Boxes (p, 4) around the rings of some levels (levels, p), and where there is any.

        Without any the box is that of all levels.
        """
        shown = self.ahead & levels
        some = np.logical_or.reduce(shown, axis=0)
        shown |= ~some
        first = np.where(shown, self.low, np.inf).min(axis=1)
        last = np.where(shown, self.high, -np.inf).max(axis=1)
        return np.concatenate([first, last]).T, some

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


def _fill_rings(
    points: Floats, position: Floats, radius_m: Floats, axis_m: Floats, eye_m: Floats
) -> None:
    """The rings' outermost points for who looks from the eye: (3, rings, p)."""
    x, y = (position - eye_m[:, :2]).T
    far = radius_m / np.maximum(np.hypot(x, y), 1e-6)
    x, y = x * far, y * far
    points[0, :_RINGS] = position[:, 0] + _AHEAD[:, None] * x - _ASIDE[:, None] * y
    points[1, :_RINGS] = position[:, 1] + _AHEAD[:, None] * y + _ASIDE[:, None] * x
    points[2, :_RINGS] = np.tile(axis_m, (SIDES, 1))


def _lines(position: Floats, axis_m: Floats, wrists: Floats, eye_m: Floats) -> Lines:
    """Axis and wrists of each body; a wrist's one height is repeated."""
    p = len(position)
    xy_m, z_m = np.empty((p, 3, 2)), np.empty((p, 3, len(LEVELS)))
    xy_m[:, 0], xy_m[:, 1:] = position, wrists[:, :, :2]
    z_m[:, 0], z_m[:, 1:] = axis_m, wrists[:, :, 2:]
    return Lines(xy_m.reshape(-1, 2), z_m.reshape(3 * p, -1), np.repeat(eye_m, 3, axis=0))
