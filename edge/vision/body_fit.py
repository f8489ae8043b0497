"""Where a detected person stands: from the feet, or from the head when the feet are hidden.

A body is an upright line. In undistorted coordinates all upright lines run to one point, the image
of "straight down"; so the box's middle and its top edge give the head, and the head at a grown
person's height gives a second floor position. It is vaguer than the feet's (heights differ), but a
gondola or the image border hides feet far more often than heads. Hidden feet put the foot point too
far from the camera; where it lies beyond the head's by more than both may err, the head decides -
unless a short person stands at the feet: several cameras then agree on the feet (``short_people``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from edge.vision.camera_model import CameraModel, meet_plane, undistorted
from messages.arrays import Bools, Floats, Ints

FOOT_SD_PX = (4.0, 5.0)  # a detector's foot point, across and along; about 1 % of a VGA image
BOX_JITTER = 0.03  # of the box's size: frame-to-frame jitter of box edges (COCO detectors: 2-4 %)
FLOOR_SD_M = 0.08  # residual of a good extrinsic calibration, and of the feet about the body axis
BORDER_PX = 3.0  # an edge this near to the image border may be cut off by it
CUT_SHARE = 0.30  # of the box's height: how far beyond the border the real foot may be, one sigma
HEAD_HEIGHT_M = 1.70
HEAD_HEIGHT_SD_M = 0.10  # grown people, shoes and stoop included
HIDDEN2 = 5.0  # squared normalized gap of foot and head position: 99 % of whole bodies are below
HIDDEN_SHARE = 0.2  # of boxes end above the feet, in aisles with gondolas
HIDDEN_RANGE_M = 2.0  # and then the foot point may lie so far beyond
SAME_PLACE_M = 0.5  # two cameras' foot points of one person
HEAD_SD_MAX_M = 1.0  # seen almost level, a head says nothing about distance


@dataclass(frozen=True, slots=True, eq=False)
class FloorFit:
    """Floor positions of n people: (n, 2) metres, NaN where invalid; covariance (3, n) xx, xy,
    yy in m2; (n,) ``ok``; (n,) ``cut``: only feet, and those perhaps outside the image.

    ``doubtful`` (n,): the head was taken where a short person would stand at the feet; these
    alternatives are ``foot`` (n, 2) and ``foot_covariance`` (3, n). ``wrist_rays`` (3, 2, n): unit
    directions in the store frame, NaN where unseen, from ``eye`` (3, n); None where nobody's are.
    """

    position: Floats
    covariance: Floats
    ok: Bools
    cut: Bools
    doubtful: Bools
    foot: Floats
    foot_covariance: Floats
    wrist_rays: Floats | None = None
    eye: Floats | None = None

    def only(self, part: slice) -> FloorFit:
        """The people of some rows; the arrays are views."""
        return FloorFit(
            self.position[part],
            self.covariance[:, part],
            self.ok[part],
            self.cut[part],
            self.doubtful[part],
            self.foot[part],
            self.foot_covariance[:, part],
            None if self.wrist_rays is None else self.wrist_rays[:, :, part],
            None if self.eye is None else self.eye[:, part],
        )

    def fill(self, rows: Bools, other: FloorFit) -> None:
        """Put another's people into these rows."""
        self.position[rows], self.covariance[:, rows] = other.position, other.covariance
        self.ok[rows], self.cut[rows], self.doubtful[rows] = other.ok, other.cut, other.doubtful
        self.foot[rows], self.foot_covariance[:, rows] = other.foot, other.foot_covariance
        if self.wrist_rays is not None and self.eye is not None:
            self.wrist_rays[:, :, rows], self.eye[:, rows] = other.wrist_rays, other.eye


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Per detection, what its camera is: centre (3, n), rotation ``R`` (3, 3, n), tangents of
    straight down (2, n), image size (2, n), principal point (2, n)."""

    centre: Floats
    R: Floats
    down: Floats
    size_px: Floats
    middle_px: Floats


def fit(
    boxes_px: Floats,
    feet_px: Floats,
    cameras: Sequence[CameraModel],
    count: Sequence[int],
    wrists_px: Floats | None = None,
) -> FloorFit:
    """Floor positions of the people in several images; the tracker's hot path.

    Pixel spread goes through Jacobians, taken by differences of one pixel so that lens and floor
    are in them.

    Args:
        boxes_px, feet_px: (n, 4), (n, 2), the images one after the other, distortion still in.
        cameras: the cameras of the images. count: how many rows each of them has.
        wrists_px: (n, 2, 2), NaN where unseen, when some sender sees wrists.
    """
    views = _views(cameras, count)
    t = _tangents(boxes_px, feet_px, wrists_px, views.middle_px, cameras, count)
    sd, below, beside, above = _spread_px(boxes_px.T, feet_px.T, views.size_px)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        points, R, ok = _on_planes(t, views, sd)
        foot, head, R_foot, R_head = points[:, 0], points[:, 1], R[:, 0], R[:, 1]
        foot_ok = ok[0]
        head_ok = ok[1] & ~(above | beside) & (R_head[0] + R_head[2] < 2 * HEAD_SD_MAX_M**2)
        both = head_ok & foot_ok
        beyond, R_doubt = _hidden(foot, R_foot, head, R_head, views.centre)
        rays = None if wrists_px is None else _unit_rays(t[:, 7:], views.R)
    beyond &= both
    use_head = beyond | (head_ok & (below | ~foot_ok))
    return FloorFit(
        position=np.where(use_head, head, foot).T,
        covariance=np.where(use_head, R_head, np.where(both, R_doubt, R_foot)),
        ok=foot_ok | head_ok,
        cut=(below | beside) & ~use_head,
        doubtful=beyond & ~below,
        foot=foot.T,
        foot_covariance=R_foot,
        wrist_rays=rays,
        eye=None if rays is None else views.centre,
    )


def _views(cameras: Sequence[CameraModel], count: Sequence[int]) -> _Views:
    n = sum(count)
    each = np.array([model.view for model in cameras]).reshape(-1, 18).T.repeat(count, axis=1)
    return _Views(each[:3], each[3:12].reshape(3, 3, n), each[12:14], each[14:16], each[16:])


def _tangents(
    boxes_px: Floats,
    feet_px: Floats,
    wrists_px: Floats | None,
    middle_px: Floats,
    cameras: Sequence[CameraModel],
    count: Sequence[int],
) -> Floats:
    """(2, 7 or 9, n): foot, foot + du, foot + dv, middle, middle + du, top, top + dv, wrists."""
    n = len(feet_px)
    points = np.empty((n, 7 if wrists_px is None else 9, 2))
    points[:, :3] = feet_px[:, None] + _FOOT_STEPS
    x, y = points[..., 0], points[..., 1]
    x[:, 3:7] = ((boxes_px[:, 0] + boxes_px[:, 2]) / 2)[:, None]
    y[:, 3:5] = ((boxes_px[:, 1] + boxes_px[:, 3]) / 2)[:, None]
    y[:, 5:7] = boxes_px[:, 1, None]
    x[:, 4] += 1.0
    y[:, 6] += 1.0
    if wrists_px is not None:
        points[:, 7:] = wrists_px
        unseen = np.isnan(wrists_px[..., 0])
        # The lens would iterate in vain for NaN; the principal point it finds at once.
        np.copyto(points[:, 7:], middle_px.T[:, None], where=unseen[..., None])
    for model, rows in _rows_of(cameras, count):
        there = points[rows]
        points[rows] = undistorted(there.reshape(-1, 2), model).reshape(there.shape)
    if wrists_px is not None:
        points[:, 7:][unseen] = np.nan
    return np.ascontiguousarray(points.transpose(2, 1, 0))


def _rows_of(
    cameras: Sequence[CameraModel], count: Sequence[int]
) -> Iterator[tuple[CameraModel, slice | Ints]]:
    """Each camera with its rows."""
    if len(set(cameras)) == len(cameras):
        ends = list(accumulate(count))
        for model, end, n in zip(cameras, ends, count, strict=True):
            yield model, slice(end - n, end)
        return
    number = {model: k for k, model in enumerate(dict.fromkeys(cameras))}
    camera = np.array([number[model] for model in cameras]).repeat(count)
    for model, k in number.items():
        yield model, (camera == k).nonzero()[0]


# Pixel steps at which the tangents of a foot are taken.
_FOOT_STEPS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def _spread_px(boxes: Floats, feet: Floats, size_px: Floats) -> tuple[Floats, Bools, Bools, Bools]:
    """(2, n) one sigma across and along; (n,) cut off below, at a side, above.

    Where the border may hide the foot the spread is a share of the box, not a few pixels.
    """
    extent = np.maximum(boxes[2:] - boxes[:2], 0.0)
    edge = size_px - BORDER_PX
    below = np.maximum(feet[1], boxes[3]) >= edge[1]
    beside = (boxes[0] <= BORDER_PX) | (boxes[2] >= edge[0])
    above = boxes[1] <= BORDER_PX
    sd = BOX_JITTER * extent
    sd[0] += FOOT_SD_PX[0] + CUT_SHARE * extent[0] * beside
    sd[1] += FOOT_SD_PX[1] + CUT_SHARE * extent[1] * below
    return sd, below, beside, above


_HEIGHTS_M = np.array([[0.0], [HEAD_HEIGHT_M]])


def _on_planes(t: Floats, views: _Views, sd: Floats) -> tuple[Floats, Floats, Bools]:
    """Feet on the floor, heads at head height: (2, 2, n), covariance (3, 2, n), valid (2, n).

    The second axis is foot or head.
    """
    n, R = t.shape[2], views.R
    x, y = np.empty((3, 2, n)), np.empty((3, 2, n))  # three steps each
    x[:, 0], y[:, 0] = t[0, :3], t[1, :3]
    x[:, 1], y[:, 1] = _heads(t, views.down)
    direction = R[:, 0, None, None] * x + R[:, 1, None, None] * y + R[:, 2, None, None]
    points, ok = meet_plane(views.centre[:, None, None], direction, _HEIGHTS_M)
    J = (points[:, 1:] - points[:, :1]) * sd[:, None]  # columns of J diag(sd): (2, 2 steps, 2, n)
    lean = direction[:2, 0, 1] / direction[2, 0, 1] * HEAD_HEIGHT_SD_M
    C = np.empty((3, 2, n))  # J diag(sd^2) J' + floor; heads: + lean lean'
    squares = J * J
    C[::2] = squares[:, 0] + squares[:, 1] + FLOOR_SD_M**2
    mixed = J[0] * J[1]
    C[1] = mixed[0] + mixed[1]
    C[::2, 1] += lean * lean
    C[1, 1] += lean[0] * lean[1]
    return points[:, 0], C, np.logical_and.reduce(ok, axis=0)


def _heads(t: Floats, down: Floats) -> tuple[Floats, Floats]:
    """Tangents (3, n), (3, n) of the head, and of the head one pixel across and one along.

    The head is where the upright line through the box's middle meets the row of its top edge.
    """
    middle, row = t.take((3, 4, 3), axis=1), t[1].take((5, 5, 6), axis=0)
    slope = (middle[0] - down[0]) / (middle[1] - down[1])
    return middle[0] + slope * (row - middle[1]), row


def _unit_rays(t: Floats, R: Floats) -> Floats:
    """(3, k, n) unit directions in the store frame of tangents (2, k, n)."""
    bundle = R[:, 0, None] * t[0] + R[:, 1, None] * t[1] + R[:, 2, None]
    squares = bundle * bundle
    return np.asarray(bundle / np.sqrt(squares[0] + squares[1] + squares[2]))


def _hidden(
    foot: Floats, R_foot: Floats, head: Floats, R_head: Floats, eye: Floats
) -> tuple[Bools, Floats]:
    """Feet said to be hidden: they lie beyond the head's position by more than chance. And the
    foot covariance (3, n) with the doubt in it where it is not said."""
    d, S, away = foot - head, R_foot + R_head, head - eye[:2]
    ax, ay = away / np.hypot(away[0], away[1])
    var = S[0] * ax * ax + 2 * S[1] * ax * ay + S[2] * ay * ay
    gap = d[0] * ax + d[1] * ay
    gap2 = gap * gap
    whole = np.exp(-0.5 * np.minimum(gap2 / var, 50.0)) / np.sqrt(2 * np.pi * var)
    odds = HIDDEN_SHARE / (1 - HIDDEN_SHARE) / (HIDDEN_RANGE_M * whole)
    farther = gap > 0
    doubt = np.where(farther, odds / (1 + odds), 0.0)
    R = R_foot.copy()
    doubt_d = doubt * d
    R[::2] += doubt_d * d
    R[1] += doubt_d[0] * d[1]
    return np.asarray(farther & (gap2 > HIDDEN2 * var)), R


def short_people(
    foot: Floats, head: Floats, camera: Ints, others: Floats, other_camera: Ints
) -> Bools:
    """Doubtful detections whose feet are better supported than their head.

    Args:
        foot, head: (k, 2) both positions of the doubtful ones, of ``camera`` (k,).
        others: (m, 2) where other detections and people are, of ``other_camera`` (m,), -1 for
            people: they are supported by every camera.
    """
    elsewhere = np.concatenate((other_camera, camera)) != camera[:, None]
    place, m = np.array((foot, head)), len(others)
    seen = np.empty((2, m + len(camera), 2))
    seen[:, :m], seen[:, m:] = others, place
    gap = seen[:, None] - place[:, :, None]  # (foot or head, k, m + k, 2)
    gap *= gap
    near = (gap[..., 0] + gap[..., 1] < SAME_PLACE_M**2) & elsewhere
    at_foot, at_head = np.add.reduce(near, axis=2, dtype=np.int64)
    return np.asarray(at_foot > at_head)
