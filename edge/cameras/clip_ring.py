"""The last seconds of a camera, in memory: small JPEGs in which heads are blurred already.

An image waits for the next one, so that a head that the net missed in it, but saw just before or
after, is blurred too. An image in which something moves and nobody is found is blurred as a whole.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from edge.vision.detectors.found import Found
from edge.vision.head_blur import all_blurred, blurred, heads
from edge.vision.resize import resized
from messages.arrays import Bytes8, Floats

RING_BYTES_MAX = 16 * 2**20  # of one camera: 20 s at 10 images a second of 80 kB
WIDTH_MAX_PX = 640  # enough to see what a hand takes
QUALITY = 75
NEAR_NS = 700_000_000  # neighbours farther apart say nothing of each other's heads


@dataclass(frozen=True, slots=True)
class KeptImage:
    captured_at_ns: int  # wall clock
    jpeg: bytes


@dataclass(slots=True, eq=False)
class _Waiting:
    captured_at_ns: int
    pixels: Bytes8
    heads_px: Floats


class ClipRing:
    """One camera's. Bounded in seconds and in bytes; the oldest goes."""

    def __init__(self, seconds: float) -> None:
        self.bytes = 0
        self._span_ns = round(seconds * 1e9)
        self._kept: deque[KeptImage] = deque()
        self._waiting: _Waiting | None = None
        self._before: _Waiting | None = None

    def add(self, captured_at_ns: int, image: Bytes8, found: Found) -> None:
        """A later image than all before, and who was found in it."""
        if not self._span_ns:
            return
        new = _Waiting(captured_at_ns, image, heads(found))
        self._keep(new)
        self._before, self._waiting = self._waiting, new

    def between(self, start_ns: int, end_ns: int) -> list[KeptImage]:
        """The images of a span, in order."""
        return [k for k in self._kept if start_ns <= k.captured_at_ns <= end_ns]

    def forget(self, now_ns: int) -> None:
        """What is older than the ring's span goes, also when no image comes any more."""
        while self._kept and now_ns - self._kept[0].captured_at_ns > self._span_ns:
            self.bytes -= len(self._kept.popleft().jpeg)
        if self._waiting and now_ns - self._waiting.captured_at_ns > self._span_ns:
            self._waiting = self._before = None

    def _keep(self, after: _Waiting) -> None:
        """The image that waited, now that the one after it is known."""
        image = self._waiting
        if image is None:
            return
        near = [
            other.heads_px
            for other in (self._before, image, after)
            if other and abs(other.captured_at_ns - image.captured_at_ns) <= NEAR_NS
        ]
        known = np.concatenate(near)
        shown = blurred(image.pixels, known) if len(known) else all_blurred(image.pixels)
        jpeg = _jpeg(shown)
        self._kept.append(KeptImage(image.captured_at_ns, jpeg))
        self.bytes += len(jpeg)
        while self.bytes > RING_BYTES_MAX:
            self.bytes -= len(self._kept.popleft().jpeg)
        self.forget(after.captured_at_ns)


def _jpeg(image: Bytes8) -> bytes:
    high, wide = image.shape[:2]
    if wide > WIDTH_MAX_PX:
        image = resized(image, WIDTH_MAX_PX, round(high * WIDTH_MAX_PX / wide))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(data)
