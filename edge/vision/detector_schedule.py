"""Which camera's image is looked at next, within a stated CPU budget.

Each worker has an allowance of CPU seconds that grows with time and that looking spends. Where it
does not suffice, cameras with people come first, then those where something moves; waiting makes
every camera more urgent, so none starves. An image in which nothing moved since one with nobody in
it needs no look at all: nobody is in it either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.vision.motion_gate import MOVING_SHARE_MIN

RECHECK_NS = 2_000_000_000  # a still image is looked at anyway: who stands still is background
PEOPLE_WEIGHT, MOVING_WEIGHT, RECHECK_WEIGHT = 4.0, 2.0, 1.0
SAVED_S_MAX = 0.25  # of CPU time: what an idle minute saves up may not stall the box afterwards
COST_S_FIRST = 0.04  # of one look, before one was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A camera with an image that nobody looked at. Times on one clock, nanoseconds."""

    camera: int
    captured_at_ns: int
    looked_at_ns: int  # capture time of the last image that a net saw; very old at first
    people: int  # found in it
    moving: float  # share of the image
    always: bool = False  # configured to look at every image


def needs_look(image: Waiting) -> bool:
    """False where the image shows what the last one that was looked at showed: nobody."""
    stale = image.captured_at_ns - image.looked_at_ns >= RECHECK_NS
    return image.always or image.people > 0 or image.moving >= MOVING_SHARE_MIN or stale


def urgency(image: Waiting) -> float:
    """Seconds since the last look, weighed."""
    weight = RECHECK_WEIGHT
    if image.people:
        weight = PEOPLE_WEIGHT
    elif image.moving >= MOVING_SHARE_MIN:
        weight = MOVING_WEIGHT
    return weight * (image.captured_at_ns - image.looked_at_ns) / 1e9


def most_urgent(images: Iterable[Waiting]) -> Waiting | None:
    return max(images, key=lambda image: (urgency(image), -image.camera), default=None)


class Allowance:
    """CPU seconds that may be spent: ``cores`` per second, a little saved."""

    def __init__(self, cores: float, now_ns: int) -> None:
        self._cores, self._at_ns = cores, now_ns
        self._left_s = SAVED_S_MAX
        self._cost_s = COST_S_FIRST

    def suffices(self, now_ns: int) -> bool:
        """True where one more look is within the budget."""
        self._grow(now_ns)
        return self._left_s >= min(self._cost_s, SAVED_S_MAX)

    def spend(self, cpu_s: float) -> None:
        """What a look took, from the allowance."""
        self._left_s -= cpu_s
        self._cost_s += 0.2 * (cpu_s - self._cost_s)  # the mean of the last few

    def wait_s(self, now_ns: int) -> float:
        """Seconds until one look is within the budget again."""
        self._grow(now_ns)
        return max(min(self._cost_s, SAVED_S_MAX) - self._left_s, 0.0) / self._cores

    def _grow(self, now_ns: int) -> None:
        passed_s = max(now_ns - self._at_ns, 0) / 1e9
        self._at_ns = max(now_ns, self._at_ns)
        self._left_s = min(self._left_s + passed_s * self._cores, SAVED_S_MAX)
