"""Where a detected person stands: from the feet, or from the head when the feet are hidden.

A body is an upright line. In undistorted coordinates all upright lines run to one point, the image
of "straight down"; so the box's middle and its top edge give the head, and the head at a grown
person's height gives a second floor position. It is vaguer than the feet's (heights differ), but a
gondola or the image border hides feet far more often than heads. Hidden feet put the foot point too
far from the camera; where it lies beyond the head's by more than both may err, the head decides -
unless a short person stands at the feet: several cameras then agree on the feet (``short_people``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    alternatives are ``foot`` (n, 2) and ``foot_covariance`` (3, n).
    """

    position: Floats
    covariance: Floats
    ok: Bools
    cut: Bools
    doubtful: Bools
    foot: Floats
    foot_covariance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Per detection, what its camera is: centre (3, n), rotation ``R`` (3, 3, n), tangents of
    straight down (2, n), image size (2, n)."""

    centre: Floats
    R: Floats
    down: Floats
    size_px: Floats


def fit(
    boxes_px: Floats, feet_px: Floats, cameras: Sequence[CameraModel], count: Sequence[int]
) -> FloorFit:
    """Floor positions of the people in several images; the tracker's hot path.

    Pixel spread goes through Jacobians, taken by differences of one pixel so that lens and floor
    are in them.

    Args:
        boxes_px, feet_px: (n, 4), (n, 2), the images one after the other, distortion still in.
        cameras: the cameras of the images. count: how many rows each of them has.
    """
    n, views = len(feet_px), _views(cameras, count)
    t = _tangents(boxes_px, feet_px, cameras, count)
    sd, below, beside, above = _spread_px(boxes_px.T, feet_px.T, views.size_px)
    points, R, ok = _on_planes(t, views, sd)
    foot, head, R_foot, R_head = points[:, :n], points[:, n:], R[:, :n], R[:, n:]
    foot_ok = ok[:n]
    head_ok = ok[n:] & ~(above | beside) & (R_head[0] + R_head[2] < 2 * HEAD_SD_MAX_M**2)
    both = head_ok & foot_ok
    beyond, R_doubt = _hidden(foot, R_foot, head, R_head, views.centre)
    beyond &= both
    use_head = beyond | (head_ok & (below | ~foot_ok))
    position = np.where(use_head, head, foot)
    R_used = np.where(use_head, R_head, np.where(both, R_doubt, R_foot))
    cut = (below | beside) & ~use_head
    return FloorFit(position.T, R_used, foot_ok | head_ok, cut, beyond & ~below, foot.T, R_foot)


def _views(cameras: Sequence[CameraModel], count: Sequence[int]) -> _Views:
    which = np.repeat(np.arange(len(cameras)), count)
    poses = np.array([model.store_from_camera for model in cameras]).reshape(-1, 4, 4).T
    sizes = np.array([(model.width_px, model.height_px) for model in cameras]).reshape(-1, 2).T
    poses = poses.transpose(1, 0, 2)[:, :, which]  # poses[i, j]: row i, column j of each
    with np.errstate(divide="ignore", invalid="ignore"):
        down = poses[2, :2] / poses[2, 2]  # R' (0, 0, -1) over its depth; the signs cancel
    return _Views(poses[:3, 3], poses[:3, :3], down, sizes[:, which])


# Pixel steps at which the tangents of a foot are taken.
_FOOT_STEPS = np.array([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])


def _tangents(
    boxes_px: Floats, feet_px: Floats, cameras: Sequence[CameraModel], count: Sequence[int]
) -> Floats:
    """(2, 7, n): foot, foot + du, foot + dv, middle, middle + du, top, top + dv."""
    points = np.empty((7, len(feet_px), 2))
    points[:3] = feet_px + _FOOT_STEPS
    points[3:, :, 0] = (boxes_px[:, 0] + boxes_px[:, 2]) / 2
    points[3:5, :, 1] = (boxes_px[:, 1] + boxes_px[:, 3]) / 2
    points[5:, :, 1] = boxes_px[:, 1]
    points[4, :, 0] += 1.0
    points[6, :, 1] += 1.0
    at = 0
    for model, rows in zip(cameras, count, strict=True):
        part = slice(at, at + rows)
        points[:, part] = undistorted(points[:, part], model).reshape(7, rows, 2)
        at += rows
    return np.ascontiguousarray(points.transpose(2, 0, 1))


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


def _on_planes(t: Floats, views: _Views, sd: Floats) -> tuple[Floats, Floats, Bools]:
    """Feet on the floor, then heads at head height: (2, 2n), covariance (3, 2n), valid (2n,)."""
    n = t.shape[2]
    x, y = np.empty((3, 2 * n)), np.empty((3, 2 * n))
    x[:, :n], y[:, :n] = t[0, :3], t[1, :3]
    x[:, n:], y[:, n:] = _heads(t, views.down)
    R = np.concatenate((views.R, views.R), axis=2)
    centre = np.concatenate((views.centre, views.centre), axis=1)
    direction = R[:, 0, None] * x + R[:, 1, None] * y + R[:, 2, None]  # (3, 3 steps, 2n)
    height = np.zeros(2 * n)
    height[n:] = HEAD_HEIGHT_M
    points, ok = meet_plane(centre[:, None], direction, height)
    sd_u, sd_v = np.concatenate((sd, sd), axis=1)
    Ju, Jv = (points[:, 1] - points[:, 0]) * sd_u, (points[:, 2] - points[:, 0]) * sd_v
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = direction[:2, 0, n:] / direction[2, 0, n:] * HEAD_HEIGHT_SD_M
    C = np.empty((3, 2 * n))  # J diag(sd^2) J' + floor; heads: + lean lean'
    C[[0, 2]] = Ju * Ju + Jv * Jv + FLOOR_SD_M**2
    C[1] = Ju[0] * Ju[1] + Jv[0] * Jv[1]
    C[[0, 2], n:] += lean * lean
    C[1, n:] += lean[0] * lean[1]
    return points[:, 0], C, np.asarray(ok.all(axis=0))


def _heads(t: Floats, down: Floats) -> tuple[Floats, Floats]:
    """Tangents (3, n), (3, n) of the head, and of the head one pixel across and one along.

    The head is where the upright line through the box's middle meets the row of its top edge.
    """
    middle, row = t[:, [3, 4, 3]], t[1][[5, 5, 6]]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = (middle[0] - down[0]) / (middle[1] - down[1])
        return middle[0] + slope * (row - middle[1]), row


def _hidden(
    foot: Floats, R_foot: Floats, head: Floats, R_head: Floats, eye: Floats
) -> tuple[Bools, Floats]:
    """Feet said to be hidden: they lie beyond the head's position by more than chance. And the
    foot covariance (3, n) with the doubt in it where it is not said."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        d, S, away = foot - head, R_foot + R_head, head - eye[:2]
        ax, ay = away / np.hypot(away[0], away[1])
        var = S[0] * ax * ax + 2 * S[1] * ax * ay + S[2] * ay * ay
        gap = d[0] * ax + d[1] * ay
        whole = np.exp(-0.5 * np.minimum(gap * gap / var, 50.0)) / np.sqrt(2 * np.pi * var)
        odds = HIDDEN_SHARE / (1 - HIDDEN_SHARE) / (HIDDEN_RANGE_M * whole)
        doubt = np.where(gap > 0, odds / (1 + odds), 0.0)
        R = R_foot.copy()
        R[[0, 2]] += doubt * d * d
        R[1] += doubt * d[0] * d[1]
        return np.asarray((gap > 0) & (gap * gap > HIDDEN2 * var)), R


def short_people(
    foot: Floats, head: Floats, camera: Ints, others: Floats, other_camera: Ints
) -> Bools:
    """Doubtful detections whose feet are better supported than their head.

    Args:
        foot, head: (k, 2) both positions of the doubtful ones, of ``camera`` (k,).
        others: (m, 2) where other detections and people are, of ``other_camera`` (m,), -1 for
            people: they are supported by every camera.
    """
    at = np.concatenate((others, foot)), np.concatenate((others, head))
    by = np.concatenate((other_camera, camera))
    elsewhere = by != camera[:, None]
    votes = [
        (elsewhere & (((place[:, None] - seen) ** 2).sum(axis=2) < SAME_PLACE_M**2)).sum(axis=1)
        for place, seen in zip((foot, head), at, strict=True)
    ]
    return np.asarray(votes[0] > votes[1])
