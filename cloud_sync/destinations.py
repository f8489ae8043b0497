"""How much each destination gets: a window of parallel requests, and a circuit that opens.

The window grows by one with each answer and halves with each failure, so that a system that comes
back after an outage meets a ramp, not a herd. A rejected key or a redirect opens the circuit: then
one probe at a time goes, with growing waits, and any other answer closes it. Pure: instants and
chance are given; kept in memory only, since a restart should try anew.
"""

from __future__ import annotations

from dataclasses import dataclass

PARALLEL_MAX = 64  # requests under way at one destination; facts: one process gains nothing above
WINDOW_START = 4.0
FAILING_AFTER = 5  # failures in a row until a person is told; a few are ordinary weather


@dataclass(slots=True, kw_only=True)
class Destination:
    """One second system. ``barred`` says why its circuit is open, empty when it is closed."""

    name: str
    parallel_max: int = PARALLEL_MAX
    window: float = WINDOW_START
    in_flight: int = 0
    failures: int = 0  # in a row
    barred: str = ""
    probes: int = 0
    probe_at_ns: int = 0
    alarmed: bool = True  # an alarm may be up, if only from before our start

    def room(self, now_ns: int) -> int:
        """How many requests may be started now."""
        if self.barred:
            return int(self.in_flight == 0 and now_ns >= self.probe_at_ns)
        return max(0, min(self.parallel_max, int(self.window)) - self.in_flight)

    def answered(self) -> None:
        """It spoke to us, whatever it said."""
        self.failures, self.barred, self.probes, self.alarmed = 0, "", 0, False
        self.window = min(float(self.parallel_max), self.window + 1.0)

    def failed(self) -> None:
        self.failures += 1
        self.alarmed = self.alarmed or self.failing
        self.window = max(1.0, self.window / 2.0)

    def bar(self, reason: str, probe_at_ns: int) -> None:
        self.barred, self.probe_at_ns = reason, probe_at_ns
        self.probes += 1
        self.alarmed = True

    @property
    def failing(self) -> bool:
        return self.failures >= FAILING_AFTER
