"""Heads of people in an image, made unrecognisable.

Where the pose net saw a face, the head is about its points; otherwise it is the upper part of the
person's box. What is left of a head is ``CELLS`` by ``CELLS`` colours: a smooth blur can be
undone in part, a few colours cannot.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.detectors.found import Found
from messages.arrays import Bytes8, Floats

FACE = slice(0, 5)  # nose, eyes, ears of COCO
FACE_POINT_MIN = 0.2
CELLS = 4  # across a head: recognition of faces needs some 16 pixels between the eyes
HEAD_OF_BOX = 0.24  # of a standing person's height; chin, hair and the net's error
HEAD_WIDE = 0.8  # of the box's width: people lean
AROUND_FACE = 1.0  # of the distance of the farthest points of a face, to each side
LEAST_PX = 12.0
AGAIN_PX = 8  # of the shorter side when a whole image is blurred


def heads(found: Found) -> Floats:
    """(n, 4) x1, y1, x2, y2 of the heads, one of each person found."""
    boxes = found.boxes_px
    if not len(boxes):
        return np.zeros((0, 4))
    by_box = _upper_part(boxes)
    if found.key_points is None:
        return by_box
    points = found.key_points[:, FACE]
    seen = points[..., 2] >= FACE_POINT_MIN
    x, y = (np.where(seen, points[..., i], np.nan) for i in (0, 1))
    known = seen.sum(axis=1) >= 2
    by_face = np.stack(
        [
            f(np.where(known[:, None], v, 0.0), axis=1)
            for f in (np.nanmin, np.nanmax)
            for v in (x, y)
        ],
        axis=1,
    )
    reach = np.maximum(np.ptp(by_face[:, [0, 2]], axis=1), np.ptp(by_face[:, [1, 3]], axis=1))
    margin = np.maximum(AROUND_FACE * reach, LEAST_PX)[:, None] * np.array([-1, -1, 1, 1])
    both = np.concatenate(
        [np.minimum(by_box, by_face + margin)[:, :2], np.maximum(by_box, by_face + margin)[:, 2:]],
        axis=1,
    )
    return np.where(known[:, None], both, by_box)


def blurred(image: Bytes8, heads_px: Floats) -> Bytes8:
    """A copy with these rectangles made into a few colours each."""
    result = image.copy()
    high, wide = image.shape[:2]
    for x1, y1, x2, y2 in np.nan_to_num(heads_px).tolist():
        left, right = (int(np.clip(v, 0, wide)) for v in (np.floor(x1), np.ceil(x2)))
        top, bottom = (int(np.clip(v, 0, high)) for v in (np.floor(y1), np.ceil(y2)))
        if right > left and bottom > top:
            part = result[top:bottom, left:right]
            few = cv2.resize(part, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
            size = (right - left, bottom - top)
            result[top:bottom, left:right] = cv2.resize(few, size, interpolation=cv2.INTER_LINEAR)
    return result


def all_blurred(image: Bytes8) -> Bytes8:
    """Nothing but light and colour: for an image whose people are not known."""
    high, wide = image.shape[:2]
    scale = AGAIN_PX / min(high, wide)
    few = (max(1, round(wide * scale)), max(1, round(high * scale)))
    small = cv2.resize(image, few, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (wide, high), interpolation=cv2.INTER_LINEAR), np.uint8)


def _upper_part(boxes: Floats) -> Floats:
    """The top of each box, and a little above it."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    centre = (boxes[:, 0] + boxes[:, 2]) / 2
    head = np.maximum(HEAD_OF_BOX * high, LEAST_PX)
    half = np.maximum(HEAD_WIDE * wide / 2, head / 2)
    top = boxes[:, 1] - 0.2 * head
    return np.stack([centre - half, top, centre + half, boxes[:, 1] + head], axis=1)
