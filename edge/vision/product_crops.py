"""Crops of goods as numbers: colours of a crop, how an enrolment photo is varied, where a hand is.

A net's embedding says what kind of thing it is and hardly tells two flavours of one brand apart;
colours do that, and say little else. A product's features are both, side by side (docs/PRODUCTS.md
has what each adds). Enrolment photos are varied as a shop's camera would vary them: farther away,
turned, in other light, blurred, with fingers over a part.
"""

from __future__ import annotations

import cv2
import numpy as np

from messages.arrays import Bytes8, Floats, Floats32

EMBEDDING = 1280  # of EfficientNet-Lite0
COLOUR_SIDE_PX = 64
BINS, BIN, FIRST = 14, 10, 60  # of each colour axis of Lab, 8 bit: 60 .. 200 in tens
COLOURS = 2 * BINS * BINS  # upper and lower half of the crop
COLOUR_WEIGHT = 0.7  # against the embedding: tried 0.5, 0.7, 1.0 on drawn goods
FEATURES = EMBEDDING + COLOURS
CENTRE = 0.75  # of a photo's side that is used: its rim shows the table

ELBOWS, WRISTS = (7, 8), (9, 10)  # key points of COCO
HAND_BEYOND_WRIST = 0.4  # of the forearm, as measured on real images
KEY_POINT_MIN = 0.2
CROP_M = 0.40  # a hand and what it holds
CROP_LEAST_PX = 40  # a smaller crop shows no label

SKINS = np.array([(120, 160, 205), (90, 125, 180), (60, 90, 140), (40, 60, 95)], dtype=float)


def colours(crop: Bytes8) -> Floats32:
    """(COLOURS,) of length 1: root of the share of each colour in each half of (h, w, 3) BGR."""
    size = (COLOUR_SIDE_PX, COLOUR_SIDE_PX)
    small = cv2.GaussianBlur(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)[..., 1:].astype(np.int64)
    bins = np.clip((lab - FIRST) // BIN, 0, BINS - 1)
    cell = bins[..., 0] * BINS + bins[..., 1]
    cell[COLOUR_SIDE_PX // 2 :] += BINS * BINS
    share = np.sqrt(np.bincount(cell.ravel(), minlength=COLOURS))
    return np.asarray(share / np.linalg.norm(share), dtype=np.float32)


def features(embedding: Floats32, crop: Bytes8) -> Floats32:
    """(FEATURES,) of a crop whose embedding (EMBEDDING,) has length 1."""
    return np.concatenate([embedding, np.float32(COLOUR_WEIGHT) * colours(crop)])


def middle(photo: Bytes8) -> Bytes8:
    """The square in the photo's middle that is used."""
    h, w = photo.shape[:2]
    side = max(1, round(CENTRE * min(h, w)))
    top, left = (h - side) // 2, (w - side) // 2
    return photo[top : top + side, left : left + side]


def varied(photo: Bytes8, rng: np.random.Generator) -> Bytes8:
    """A photo's middle as a store camera might see it."""
    crop = middle(photo)
    n = crop.shape[0]
    about = cv2.getRotationMatrix2D((n / 2, n / 2), rng.normal(0.0, 20.0), rng.uniform(0.85, 1.3))
    M = about + np.column_stack([np.zeros((2, 2)), rng.normal(0.0, 0.05 * n, 2)])
    turned = cv2.warpAffine(crop, M, (n, n), borderMode=cv2.BORDER_REFLECT)
    side = int(rng.integers(60, 130))
    small: Bytes8 = np.asarray(
        cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    if rng.random() < 0.6:
        _cover(small, rng)
    if rng.random() < 0.5:
        small = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    lit = small * np.exp(rng.normal(0.0, 0.25)) * (1.0 + rng.normal(0.0, 0.05, 3))
    lit = lit + 5.0 * rng.standard_normal(lit.shape)
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


def _cover(image: Bytes8, rng: np.random.Generator) -> None:
    """Fingers over a part of the crop, in place."""
    side = image.shape[0]
    at = (side * rng.normal((0.6, 0.65), (0.15, 0.1))).astype(int).tolist()
    skin = SKINS[int(rng.integers(len(SKINS)))] * rng.uniform(0.8, 1.2)
    axes = (int(0.17 * side), int(0.14 * side))
    colour = np.clip(skin, 0, 255).tolist()
    cv2.ellipse(image, at, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)


def hands_px(key_points: Floats) -> Floats:
    """(n, 2, 2) middle of each hand, NaN where its wrist is not seen.

    Args:
        key_points: (n, 17, 3) x, y in pixels and score.
    """
    wrist, elbow = key_points[:, WRISTS], key_points[:, ELBOWS]
    forearm = np.where(elbow[..., 2:] >= KEY_POINT_MIN, wrist[..., :2] - elbow[..., :2], 0.0)
    seen = wrist[..., 2:] >= KEY_POINT_MIN
    return np.where(seen, wrist[..., :2] + HAND_BEYOND_WRIST * forearm, np.nan)


def crop_about(image: Bytes8, centre_px: Floats, side_px: float) -> Bytes8 | None:
    """The square about a point, its rim repeated beyond the image; None where it shows nothing."""
    h, w = image.shape[:2]
    if not (np.isfinite(centre_px).all() and np.isfinite(side_px)) or side_px < CROP_LEAST_PX:
        return None
    half = int(min(side_px, 2.0 * max(h, w))) // 2
    x, y = (int(v) for v in np.clip(np.round(centre_px), -w, 2 * w))
    if not (0 <= x < w and 0 <= y < h):
        return None
    part = image[max(0, y - half) : y + half, max(0, x - half) : x + half]
    rim = (max(0, half - y), max(0, y + half - h), max(0, half - x), max(0, x + half - w))
    return np.asarray(cv2.copyMakeBorder(part, *rim, cv2.BORDER_REPLICATE), dtype=np.uint8)
