"""The process of one camera: takes its images, says whether anything moves, keeps the newest.

``python -m edge.cameras.reader``, started by the fleet. Images go into shared memory only.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

from edge.cameras.image_slot import ImageSlot
from edge.cameras.jobs import SAY_EVERY_S, ReaderJob, received_job, say
from edge.cameras.video import VideoError, images
from edge.vision.motion_gate import ImageHealth, MotionGate, small


def read(job: ReaderJob) -> None:
    """Until the video ends. Raises VideoError."""
    slot = ImageSlot(job.slot_fd, job.width_px, job.height_px)
    gate, health = MotionGate(), ImageHealth()
    counts: Counter[str] = Counter(images=0)
    say_at_s = 0.0
    for image in images(job):
        little = small(image.pixels)
        state = health.state(little, image.captured_at_ns)
        slot.write(image.pixels, image.captured_at_ns, gate.moving(little), state)
        os.eventfd_write(job.bell_fd, 1)
        counts["images"] += 1
        counts[f"images_{state}"] += 1
        if time.monotonic() >= say_at_s:
            say_at_s = time.monotonic() + SAY_EVERY_S
            say(dict(counts))
    say(dict(counts), ended=True)


def main() -> int:
    job = received_job(ReaderJob)
    try:
        read(job)
    except VideoError as error:
        say({}, error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
