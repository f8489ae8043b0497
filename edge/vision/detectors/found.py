"""People (or hands) found in one image, and what is done with boxes of any net."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bools, Floats, Ints, read_only

KEY_POINTS = 17  # of COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
WRISTS = (9, 10)
WRIST_SCORE_MIN = 0.2  # MoveNet's authors draw from 0.11 on; below 0.2 it points at shelves
INSIDE_MAX = 0.88  # of a smaller box within a surer one: an outstretched arm made two of one body
ALIKE_MIN = 0.35  # least ratio of their areas; a person far behind is smaller than that
DETECTIONS_MAX = 300  # of one image, the best; a shop's camera sees fewer


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """``boxes_px`` (n, 4) x1, y1, x2, y2; ``scores`` (n,); ``key_points`` (n, 17, 3) x, y in pixels
    and score, or None where the net has none."""

    boxes_px: Floats
    scores: Floats
    key_points: Floats | None = None

    def __post_init__(self) -> None:
        read_only(self.boxes_px, self.scores, self.key_points)

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, k: Ints | Bools) -> Found:
        points = None if self.key_points is None else self.key_points[k]
        return Found(self.boxes_px[k], self.scores[k], points)

    @property
    def feet_px(self) -> Floats:
        """(n, 2): the middle of each box's lower edge."""
        boxes = self.boxes_px
        return np.stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]), axis=1)

    @property
    def wrists_px(self) -> Floats | None:
        """(n, 2, 2) left and right, NaN where not seen."""
        if self.key_points is None:
            return None
        wrists = self.key_points[:, WRISTS, :]
        seen = wrists[..., 2:] >= WRIST_SCORE_MIN
        return np.where(seen, wrists[..., :2], np.nan)


def nothing(with_key_points: bool = False) -> Found:
    points = np.zeros((0, KEY_POINTS, 3)) if with_key_points else None
    return Found(np.zeros((0, 4)), np.zeros(0), points)


def usable(found: Found) -> Found:
    """Without boxes that are not finite or have no area; the surest ``DETECTIONS_MAX``."""
    boxes = found.boxes_px
    ok = np.isfinite(boxes).all(axis=1) & np.isfinite(found.scores)
    ok &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order = np.argsort(-found.scores, kind="stable")
    return found.only(order[ok[order]][:DETECTIONS_MAX])


def suppressed(found: Found, iou_max: float) -> Found:
    """One box a body: of two that overlap by more than ``iou_max`` the surer stays, and so it does
    where the other lies within it and is about as large.

    Args:
        found: surest first, as ``usable`` gives it.
    """
    n = len(found)
    if n < 2:
        return found
    iou, inside, alike = _overlaps(found.boxes_px)
    double = (iou > iou_max) | ((inside > INSIDE_MAX) & (alike > ALIKE_MIN))
    keep = np.ones(n, dtype=np.bool_)
    for k in range(n):  # a box that went suppresses nothing, so the order matters
        if keep[k]:
            keep[k + 1 :] &= ~double[k, k + 1 :]
    return found.only(keep)


def _overlaps(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """(n, n) intersection over union; over the smaller one; ratio of the areas, at most 1."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    both = np.maximum(high - low, 0.0).prod(axis=2)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    smaller = np.minimum(area[:, None], area)
    larger = np.maximum(area[:, None], area)
    return both / (area[:, None] + area - both), both / smaller, smaller / larger
