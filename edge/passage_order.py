"""Passages take their place among the images: a body is where it is when it crosses the line.

A gate tells of a passage within milliseconds, images of that instant come a tenth of a second
later. The tracker is told of a passage once every image up to its instant is in, and before any
later one, so what it concludes hangs on when things happened and not on when they were told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from messages.ids import GateId, VisitId
from messages.observations import PersonDetections

WAITING_MAX = 256  # ten gates, twenty people each; the oldest no longer waits then


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPassage:
    """One person crossed a gate's line. ``visit``: whose, inwards; None outwards."""

    at_ns: int
    gate: GateId
    visit: VisitId | None = None


def in_order(
    waiting: list[WaitingPassage], detections: Sequence[PersonDetections], until_ns: int
) -> Iterator[tuple[Sequence[PersonDetections], WaitingPassage | None]]:
    """Images and passages by their instants: (images, the passage after them), then what is left.

    Args:
        waiting: passages not told yet; those that are due are taken out.
        detections: in order of capture.
        until_ns: every image up to here has come, or is given up.
    """
    waiting.sort(key=lambda passage: passage.at_ns)
    start = 0
    while waiting and (waiting[0].at_ns <= until_ns or len(waiting) > WAITING_MAX):
        passage = waiting.pop(0)
        end = start
        while end < len(detections) and detections[end].captured_at_ns <= passage.at_ns:
            end += 1
        yield detections[start:end], passage
        start = end
    yield detections[start:], None
