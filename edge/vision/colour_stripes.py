"""What somebody wears, as a short vector: colours of six bands from head to feet, without a net.

Each band of a person's box gives its mean lightness and its spread, the two axes of colour, mean
saturation and the first two harmonics of hue weighed with saturation (so grey has no hue). All are
centred at what is common, so two strangers are about orthogonal. Good enough to mend tracks for
some seconds within one camera, not to recognise people: that is what a network would be for.
"""

from __future__ import annotations

import cv2
import numpy as np

from messages.arrays import Bytes8, Floats, Floats32

BANDS, OF_BAND = 6, 9
WIDTH_PX, HEIGHT_PX = 16, 8 * BANDS  # every box is shrunk to this
MIDDLE = 0.7  # of a box's width; the rest is mostly what stands behind
LEAST_PX = 4  # of a side: smaller boxes show no colours
# Mean and spread of each part over the people of PETS09-S2L1: what is common says nothing.
COMMON = np.array([0.344, 0.204, 0.027, -0.007, 0.314, 0.051, -0.093, 0.048, 0.094])
SPREAD = np.array([0.191, 0.077, 0.076, 0.087, 0.177, 0.219, 0.173, 0.192, 0.154])


def colour_stripes(image: Bytes8, boxes_px: Floats) -> Floats32:
    """(n, BANDS * OF_BAND) for the boxes (n, 4) x1, y1, x2, y2 of an image (h, w, 3), BGR.

    A box that is too small, or hardly in the image, gives zeros.
    """
    high, wide = image.shape[:2]
    stripes = np.zeros((len(boxes_px), BANDS * OF_BAND), np.float32)
    centre = (boxes_px[:, 0] + boxes_px[:, 2]) / 2
    half = MIDDLE * (boxes_px[:, 2] - boxes_px[:, 0]) / 2
    x = np.clip(np.nan_to_num(np.stack((centre - half, centre + half))), 0, wide).astype(int)
    y = np.clip(np.nan_to_num(boxes_px[:, [1, 3]].T), 0, high).astype(int)
    for row in range(len(boxes_px)):
        part = image[y[0, row] : y[1, row], x[0, row] : x[1, row]]
        if min(part.shape[:2]) >= LEAST_PX:
            stripes[row] = _of_person(part).ravel()
    return stripes


def _of_person(part: Bytes8) -> Floats:
    """(BANDS, OF_BAND) of one box."""
    small = cv2.resize(part, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32) / 255.0
    lab, hsv = cv2.cvtColor(small, cv2.COLOR_BGR2LAB), cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
    pixels = (BANDS, -1)
    light, red, yellow = ((lab[..., k] / 100.0).reshape(pixels) for k in range(3))
    hue, saturation = np.deg2rad(hsv[..., 0]).reshape(pixels), hsv[..., 1].reshape(pixels)
    values = [
        light.mean(axis=1),
        light.std(axis=1),
        red.mean(axis=1),
        yellow.mean(axis=1),
        saturation.mean(axis=1),
    ]
    for turn in (1, 2):
        values += [(saturation * f(turn * hue)).mean(axis=1) for f in (np.cos, np.sin)]
    return np.asarray((np.stack(values, axis=1) - COMMON) / SPREAD)
