"""Availability of a second system: up, degraded or down, and how much it gets in each.

    up        all is well: the window of parallel requests grows by one with each answer
    degraded  it failed or throttled lately: the window halves with each failure, so that a system
              that comes back meets a ramp, not a herd
    down      its circuit is open: one probe at a time, with growing waits; any answer closes it

Five failures in a row open the circuit, and so does one rejection (a refused key, a redirect):
nobody else would get another answer. Throttling never does: who throttles is there. Pure: instants
and chance are given; kept in memory only, since a restart should try anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PARALLEL_MAX = 64  # requests under way at one destination; facts: one process gains nothing above
WINDOW_START = 4.0
DOWN_AFTER = 5  # failures in a row until the circuit opens; a few are ordinary weather
UP_AFTER = 3  # answers in a row until a degraded system counts as up again
LATENCY_SHARE = 0.1  # of the newest answer in the mean: about the last twenty count


class Availability(StrEnum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Sign(StrEnum):
    """What one attempt says about the system."""

    ANSWERED = "answered"  # it spoke to us, whatever it said
    FAILED = "failed"  # no answer, or a fault of its own
    THROTTLED = "throttled"  # it is there and asks for less
    REJECTED = "rejected"  # our key or address is wrong for everything we send


A, S = Availability, Sign
# (state, sign) -> (state before the run is long enough, state from then on)
TABLE: dict[tuple[Availability, Sign], tuple[Availability, Availability]] = {
    (A.UP, S.ANSWERED): (A.UP, A.UP),
    (A.UP, S.FAILED): (A.DEGRADED, A.DOWN),
    (A.UP, S.THROTTLED): (A.DEGRADED, A.DEGRADED),
    (A.UP, S.REJECTED): (A.DOWN, A.DOWN),
    (A.DEGRADED, S.ANSWERED): (A.DEGRADED, A.UP),
    (A.DEGRADED, S.FAILED): (A.DEGRADED, A.DOWN),
    (A.DEGRADED, S.THROTTLED): (A.DEGRADED, A.DEGRADED),
    (A.DEGRADED, S.REJECTED): (A.DOWN, A.DOWN),
    (A.DOWN, S.ANSWERED): (A.DEGRADED, A.DEGRADED),
    (A.DOWN, S.FAILED): (A.DOWN, A.DOWN),
    (A.DOWN, S.THROTTLED): (A.DEGRADED, A.DEGRADED),
    (A.DOWN, S.REJECTED): (A.DOWN, A.DOWN),
}
RUN_LENGTH = {S.ANSWERED: UP_AFTER, S.FAILED: DOWN_AFTER, S.THROTTLED: 1, S.REJECTED: 1}


@dataclass(slots=True, kw_only=True)
class Destination:
    """One second system. ``detail``: the last trouble; ``barred``: it is down by a rejection."""

    name: str
    parallel_max: int = PARALLEL_MAX
    window: float = WINDOW_START
    in_flight: int = 0
    state: Availability = A.UP
    since_ns: int = 0  # queue time of the last change of state
    run: int = 0  # attempts in a row with the last sign
    last: Sign = S.ANSWERED
    detail: str = ""
    barred: bool = False
    probes: int = 0  # that failed since the circuit opened, the opening included
    probe_at_ns: int = 0
    disabled: str = ""  # why nothing goes there until an operator enables it
    latency_ms: float = 0.0  # mean of the last answers
    alarmed: bool = True  # an alarm may be up, if only from before our start

    def room(self, now_ns: int) -> int:
        """How many requests may be started now."""
        if self.disabled:
            return 0
        if self.state is A.DOWN:
            return int(self.in_flight == 0 and now_ns >= self.probe_at_ns)
        return max(0, min(self.parallel_max, int(self.window)) - self.in_flight)

    def opens_at_ns(self) -> int | None:
        """From when on there is room, without an answer before; None while it is used up."""
        if self.state is A.DOWN and not self.disabled:
            return self.probe_at_ns if self.in_flight == 0 else None
        return 0 if self.room(0) else None

    def answered(self, now_ns: int) -> None:
        """It spoke to us, whatever it said."""
        self._sign(S.ANSWERED, now_ns)
        self.barred, self.probes, self.alarmed = False, 0, False
        self.window = min(float(self.parallel_max), self.window + 1.0)

    def throttled(self, now_ns: int, detail: str) -> None:
        """It asks for less; its own wait, if it named one, holds for the group."""
        self.detail = detail
        self._sign(S.THROTTLED, now_ns)
        self.barred, self.probes = False, 0
        self.window = max(1.0, self.window / 2.0)

    def failed(self, now_ns: int, detail: str, probe_wait_ns: int) -> None:
        """No answer. Those under way when the circuit opened do not lengthen the wait."""
        straggler = self.state is A.DOWN and now_ns < self.probe_at_ns
        self.detail = detail
        self._sign(S.FAILED, now_ns)
        self.window = max(1.0, self.window / 2.0)
        if self.state is A.DOWN and not straggler:
            self._open(now_ns + probe_wait_ns)

    def rejected(self, now_ns: int, detail: str, probe_wait_ns: int) -> None:
        """Nobody would get another answer."""
        self.detail, self.barred = detail, True
        self._sign(S.REJECTED, now_ns)
        self._open(now_ns + probe_wait_ns)

    def took(self, seconds: float) -> None:
        """How long an answer took."""
        newest = seconds * 1e3
        share = LATENCY_SHARE if self.latency_ms else 1.0
        self.latency_ms += share * (newest - self.latency_ms)

    @property
    def down(self) -> bool:
        return self.state is A.DOWN

    def _open(self, probe_at_ns: int) -> None:
        self.probe_at_ns, self.alarmed, self.window = probe_at_ns, True, 1.0
        self.probes += 1

    def _sign(self, sign: Sign, now_ns: int) -> None:
        self.run = self.run + 1 if sign is self.last else 1
        self.last = sign
        early, late = TABLE[self.state, sign]
        state = late if self.run >= RUN_LENGTH[sign] else early
        if state is not self.state:
            self.state, self.since_ns = state, now_ns
        if state is A.UP:
            self.detail = ""
