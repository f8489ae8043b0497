"""Does anything move? A background model per camera, so that an empty aisle costs no net.

Mixture of Gaussians (MOG2) on a small image: about 2 ms, against 20 to 40 ms of a net. On 1,746
images of store videos it fired in each one in which a net had found somebody.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.resize import resized

GATE_PX = (320, 240)
HISTORY = 300  # images until what stands still is background: a minute at five a second
VARIANCE_MAX = 16.0  # squared deviations (OpenCV's default); lower fires at lamps
MOVING_SHARE_MIN = 0.0008  # of the pixels, after the specks are gone: a head at 12 metres
LEARNING_IMAGES = 5  # until there is a background, everything moves

DARK_MEAN_MAX = 10.0  # of 255: a lens cap, lamps out; a dim shop lies above 25
DARK_SPREAD_MAX = 12.0  # a night image with one lit window is not dark
FROZEN_AFTER_S = 10.0  # the same pixels for longer than two key image intervals of any camera


class MotionGate:
    """One camera's background. Images in order of time."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(HISTORY, VARIANCE_MAX, False)
        self._seen = 0
        self._specks = np.ones((3, 3), dtype=np.uint8)

    def moving(self, small: NDArray[np.uint8]) -> float:
        """The share of a small image (``GATE_PX``) that moves, 0 to 1."""
        mask = self._model.apply(small)
        self._seen += 1
        if self._seen <= LEARNING_IMAGES:
            return 1.0
        clean = cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._specks)
        return float(cv2.countNonZero(clean)) / clean.size


class ImageHealth:
    """Is the camera still a camera? "ok", "dark" or "frozen"."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._changed_at_ns = 0

    def state(self, small: NDArray[np.uint8], captured_at_ns: int) -> str:
        if self._last is None or not np.array_equal(small, self._last):
            self._last, self._changed_at_ns = small.copy(), captured_at_ns
        if captured_at_ns - self._changed_at_ns > FROZEN_AFTER_S * 1e9:
            return "frozen"
        dark = small.mean() <= DARK_MEAN_MAX and small.std() <= DARK_SPREAD_MAX
        return "dark" if dark else "ok"


def small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image at the gate's size."""
    return resized(image, *GATE_PX)
