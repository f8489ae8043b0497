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
    """Per detection, what its camera is: centre (n, 3), rotation columns (3, n, 3), tangents of
    straight down (n, 2), image size (n, 2)."""

    centre: Floats
    columns: Floats
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
    views = _views(cameras, count)
    tangents = _tangents(boxes_px, feet_px, cameras, count)
    sd, below, beside, above = _spread_px(boxes_px, feet_px, views.size_px)
    foot, R_foot, foot_ok = _from_feet(tangents, views, sd)
    head, R_head, head_ok = _from_head(tangents, views, sd)
    head_ok &= ~(above | beside)
    both = head_ok & foot_ok
    beyond, R_doubt = _hidden(foot, R_foot, head, R_head, views.centre)
    beyond &= both
    use_head = beyond | (head_ok & (below | ~foot_ok))
    position = np.where(use_head[:, None], head, foot)
    R = np.where(use_head, R_head, np.where(both, R_doubt, R_foot))
    cut = (below | beside) & ~use_head
    return FloorFit(position, R, foot_ok | head_ok, cut, beyond & ~below, foot, R_foot)


def _views(cameras: Sequence[CameraModel], count: Sequence[int]) -> _Views:
    which = np.repeat(np.arange(len(cameras)), count)
    poses = np.array([model.store_from_camera for model in cameras]).reshape(-1, 4, 4)
    sizes = np.array([(model.width_px, model.height_px) for model in cameras]).reshape(-1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        down = poses[:, 2, :2] / poses[:, 2, 2:3]  # R' (0, 0, -1) over its depth; signs cancel
    columns = poses[:, :3, :3].transpose(2, 0, 1)[:, which]
    return _Views(poses[which, :3, 3], columns, down[which], sizes[which])


# Pixel steps at which tangents are taken: of the foot, the middle of the box, and its top.
_FOOT_STEPS = np.array([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])


def _tangents(
    boxes_px: Floats, feet_px: Floats, cameras: Sequence[CameraModel], count: Sequence[int]
) -> Floats:
    """(7, n, 2): foot, foot + du, foot + dv, middle, middle + du, top, top + dv."""
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
    return points


def _spread_px(
    boxes_px: Floats, feet_px: Floats, size_px: Floats
) -> tuple[Floats, Bools, Bools, Bools]:
    """(2, n) one sigma across and along; (n,) cut off below, at a side, above.

    Where the border may hide the foot the spread is a share of the box, not a few pixels.
    """
    extent = np.maximum(boxes_px[:, 2:] - boxes_px[:, :2], 0.0).T
    edge = size_px - BORDER_PX
    below = np.maximum(feet_px[:, 1], boxes_px[:, 3]) >= edge[:, 1]
    beside = (boxes_px[:, 0] <= BORDER_PX) | (boxes_px[:, 2] >= edge[:, 0])
    above = boxes_px[:, 1] <= BORDER_PX
    sd = BOX_JITTER * extent
    sd[0] += FOOT_SD_PX[0] + CUT_SHARE * extent[0] * beside
    sd[1] += FOOT_SD_PX[1]
    return sd, below, beside, above


def _from_feet(t: Floats, views: _Views, sd: Floats) -> tuple[Floats, Floats, Bools]:
    points, ok = meet_plane(views.centre, _rays(t[:3], views))
    return points[0], _covariance(points, sd), np.asarray(ok.all(axis=0))


def _from_head(t: Floats, views: _Views, sd: Floats) -> tuple[Floats, Floats, Bools]:
    """Heads are where the upright line through the middle meets the row of the top edge."""
    middle, row = t[[3, 4, 3]], t[[5, 5, 6], :, 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = (middle[..., 0] - views.down[:, 0]) / (middle[..., 1] - views.down[:, 1])
        head = np.empty((3, len(sd[0]), 2))
        head[..., 0] = middle[..., 0] + slope * (row - middle[..., 1])
        head[..., 1] = row
        direction = _rays(head, views)
        points, ok = meet_plane(views.centre, direction, HEAD_HEIGHT_M)
        R = _covariance(points, sd)
        lean = direction[0, :, :2] / direction[0, :, 2:] * HEAD_HEIGHT_SD_M  # d position / d height
        R[0] += lean[:, 0] ** 2
        R[1] += lean[:, 0] * lean[:, 1]
        R[2] += lean[:, 1] ** 2
        return points[0], R, ok.all(axis=0) & (R[0] + R[2] < 2 * HEAD_SD_MAX_M**2)


def _rays(t: Floats, views: _Views) -> Floats:
    x, y = t[..., :1], t[..., 1:]
    return np.asarray(x * views.columns[0] + y * views.columns[1] + views.columns[2])


def _covariance(points: Floats, sd: Floats) -> Floats:
    """(3, n) J diag(sd^2) J' + floor, from a point and the points one pixel across and along."""
    J = (points[1:] - points[0]) * sd[:, :, None]
    R = np.empty((3, points.shape[1]))
    R[[0, 2]] = (J * J).sum(axis=0).T + FLOOR_SD_M**2
    R[1] = (J[..., 0] * J[..., 1]).sum(axis=0)
    return R


def _hidden(
    foot: Floats, R_foot: Floats, head: Floats, R_head: Floats, eye: Floats
) -> tuple[Bools, Floats]:
    """Feet said to be hidden: they lie beyond the head's position by more than chance. And the
    foot covariance (3, n) with the doubt in it where it is not said."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        d = (foot - head).T
        away = (head - eye[:, :2]).T
        away = away / np.hypot(away[0], away[1])
        S = R_foot + R_head
        var = S[0] * away[0] ** 2 + 2 * S[1] * away[0] * away[1] + S[2] * away[1] ** 2
        gap = (d * away).sum(axis=0)
        whole = np.exp(-0.5 * np.minimum(gap * gap / var, 50.0)) / np.sqrt(2 * np.pi * var)
        odds = HIDDEN_SHARE / (1 - HIDDEN_SHARE) / (HIDDEN_RANGE_M * whole)
        doubt = np.where(gap > 0, odds / (1 + odds), 0.0)
        R = R_foot + doubt * np.stack((d[0] * d[0], d[0] * d[1], d[1] * d[1]))
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
