"""Gate answers take effect a fixed while after the scan: a barrier's motor needs half a second.

This is what makes two speeds one truth. An answer that came in time opens the barrier at the same
instant of the world, whether the engine gave it in the next step of virtual time or a real daemon
after a journal flush and two serial lines; so the same people take the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from messages.ids import GateId
from sim.outputs import Output, Scan
from sim.world import World

# From the code at the reader to a barrier that is open: fast swing gates take 0.5 to 0.8 s.
# A multiple of the world's tick, and far above what a daemon on a busy machine takes to answer.
OPENS_AFTER_NS = 500_000_000


@dataclass(slots=True)
class Barriers:
    """A world whose gates answer through barriers. ``late``: answers slower than a barrier."""

    world: World
    late: int = 0
    scanned_at_ns: dict[GateId, int] = field(default_factory=dict)
    due: list[tuple[int, Callable[[], None]]] = field(default_factory=list)  # in order

    def advance(self, until_ns: int) -> list[Output]:
        """``World.advance`` with the answers that fall due on the way."""
        sent: list[Output] = []
        while self.due and self.due[0][0] <= until_ns:
            at_ns, answer = self.due.pop(0)
            sent += self.world.advance(at_ns)
            answer()
        sent += self.world.advance(until_ns)
        for output in sent:
            if isinstance(output, Scan):
                self.scanned_at_ns[output.gate] = output.at_ns
        return sent

    def at(self, at_ns: int, act: Callable[[], None]) -> None:
        """Do something at an instant of the world, whatever the caller's steps are."""
        self.due.append((at_ns, act))
        self.due.sort(key=lambda one: one[0])

    def unlocked(self, gate: GateId, passages: int) -> None:
        self._answered(gate, lambda: self.world.unlocked(gate, passages, self.world.now_ns))

    def refused(self, gate: GateId) -> None:
        self._answered(gate, lambda: self.world.refused(gate, self.world.now_ns))

    def _answered(self, gate: GateId, answer: Callable[[], None]) -> None:
        """At once where nobody scanned, or where the answer comes later than the barrier would."""
        scanned_at_ns = self.scanned_at_ns.pop(gate, None)
        if scanned_at_ns is None:
            answer()
            return
        at_ns = scanned_at_ns + OPENS_AFTER_NS
        if at_ns < self.world.now_ns:
            self.late += 1
        self.at(at_ns, answer)
