"""Live video by FFmpeg (inside OpenCV), newest image first; video files in their own time.

A stream's images queue up while nobody takes them, and a camera that is opened late hands out old
ones at once. So every image is taken from the queue, and one is used only when taking it had to
wait for it. OpenCV tells no capture time: an image is dated by its arrival less ``latency_ms``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from edge.cameras.jobs import ReaderJob

FFMPEG = "rtsp_transport;tcp|fflags;nobuffer|analyzeduration;500000|probesize;200000|threads;1"
OPEN_MS, READ_MS = 8_000, 4_000  # to connect; without an image, then the stream counts as lost
QUEUED_S_MAX = 0.002  # an image that came this fast was queued: a newer one is behind it
OVERDUE_PERIODS = 3.0  # without a newest image for so long (a box too slow), any image will do
FPS_DEFAULT = 25.0  # of a file that states none


class VideoError(RuntimeError):
    """A stream that cannot be opened or broke off; says which camera and what to check."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    pixels: NDArray[np.uint8]
    captured_at_ns: int  # wall clock


def images(job: ReaderJob) -> Iterator[Image]:
    """Images of a camera, at most ``images_per_s``, until the file ends.

    Raises:
        VideoError: no stream there, another size than calibrated, or it broke off.
    """
    live = "://" in job.url
    capture = _opened(job, live)
    try:
        for image in _live(capture, job) if live else _played(capture, job):
            _check_size(image.pixels, job)
            yield image
    finally:
        capture.release()


def _opened(job: ReaderJob, live: bool) -> Any:
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = FFMPEG if live else "threads;1"
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its warnings name no camera
    import cv2

    cv2.setNumThreads(1)
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    if not live and not Path(job.url).is_file():
        raise VideoError(f"camera {job.camera}: there is no file {job.url}")
    capture = cv2.VideoCapture(_address(job), cv2.CAP_FFMPEG, options if live else [])
    if not capture.isOpened():
        what = "its address, user, password_file and network" if live else "that it is a video"
        raise VideoError(f"camera {job.camera}: {job.url} cannot be opened; check {what}")
    return capture


def _address(job: ReaderJob) -> str:
    """The URL with the credentials, which stay in this process."""
    if not job.user:
        return job.url
    scheme, _, rest = job.url.partition("://")
    try:
        password = Path(job.password_file).read_text().strip() if job.password_file else ""
    except OSError as error:
        reason = error.strerror
        text = f"camera {job.camera}: password_file {job.password_file}: {reason}"
        raise VideoError(text) from error
    return f"{scheme}://{quote(job.user, safe='')}:{quote(password, safe='')}@{rest}"


def _live(capture: Any, job: ReaderJob) -> Iterator[Image]:
    period_s = 1.0 / job.images_per_s
    due_s = time.monotonic()
    while True:
        asked_s = time.monotonic()
        if not capture.grab():
            raise VideoError(f"camera {job.camera}: the stream broke off")
        now_s = time.monotonic()
        newest = now_s - asked_s > QUEUED_S_MAX
        if now_s < due_s or not (newest or now_s - due_s > OVERDUE_PERIODS * period_s):
            continue
        arrived_ns = time.time_ns()
        ok, pixels = capture.retrieve()
        if ok:
            yield Image(pixels, arrived_ns - round(job.latency_ms * 1e6))
        due_s = max(due_s + period_s, now_s - period_s)


def _played(capture: Any, job: ReaderJob) -> Iterator[Image]:
    """A file as if it were live: what could not be taken in time is skipped."""
    import cv2

    fps = capture.get(cv2.CAP_PROP_FPS)
    period_s = 1.0 / (fps if fps > 0 else FPS_DEFAULT)
    every_s = 1.0 / job.images_per_s
    start_s, start_ns, taken_s = time.monotonic(), time.time_ns(), -every_s
    index = 0
    while capture.grab():
        at_s = index * period_s
        index += 1
        if at_s - taken_s < every_s - period_s / 2:
            continue
        late_s = time.monotonic() - start_s - at_s
        if late_s > every_s:
            continue
        time.sleep(max(-late_s, 0.0))
        ok, pixels = capture.retrieve()
        if ok:
            taken_s = at_s
            yield Image(pixels, start_ns + round(at_s * 1e9))


def _check_size(pixels: NDArray[np.uint8], job: ReaderJob) -> None:
    height, width = pixels.shape[:2]
    if (width, height) != (job.width_px, job.height_px):
        raise VideoError(
            f"camera {job.camera}: sends {width} x {height}, calibrated for {job.width_px} x "
            f"{job.height_px}; choose that sub-stream, or calibrate anew"
        )
