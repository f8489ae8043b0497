"""What a driver is given by the daemon, and the health record that every driver keeps.

A driver says ``DeviceHealth`` on every change of state or detail and at least each
``HEALTH_EVERY_NS``. A device that is gone or silent is *said* to be so; no reading is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from messages.ids import DeviceId
from messages.observations import DeviceHealth, DeviceState, Observation

HEALTH_EVERY_NS = 10_000_000_000  # the contract of DeviceHealth
HEALTH_SPACING_NS = 100_000_000  # a babbling device may not fill the inbox with its own health


class Sink(Protocol):
    """The daemon's side."""

    def put(self, observation: Observation, journalled: Callable[[], None] | None = None) -> None:
        """Never blocks; a full inbox sheds detections first, and counts.

        ``journalled`` is called once the observation survives a crash of the daemon.
        """

    def now_ns(self) -> int:
        """Store time."""

    def wall_to_store_ns(self, wall_ns: int) -> int:
        """Store time of an instant of the wall clock (Unix nanoseconds)."""


Tap = Callable[[str, bytes, bool], None]  # device, bytes, True: towards the device


def untapped(device: str, data: bytes, to_device: bool) -> None:
    """The tap of a driver to which nobody has given one."""


class Health:
    """State, detail and counters of one device, reported to the sink."""

    def __init__(self, device: DeviceId, sink: Sink, names: tuple[str, ...]) -> None:
        self.device = device
        self.state: DeviceState | None = None  # nothing is known before the first report
        self.detail = ""
        self.counters = dict.fromkeys(names, 0)
        self._sink = sink
        self._reported_at_ns: int | None = None
        self._unsaid = False

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] += by

    def set(self, state: DeviceState, detail: str = "") -> None:
        """The state from now on; a change is reported at once, a flutter of changes in the end."""
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail, self._unsaid = state, detail, True
            if self._since_report_ns() >= HEALTH_SPACING_NS:
                self.report()

    def report_if_due(self) -> None:
        if self.state and (self._unsaid or self._since_report_ns() >= HEALTH_EVERY_NS):
            self.report()

    def _since_report_ns(self) -> int:
        if self._reported_at_ns is None:
            return HEALTH_EVERY_NS
        return self._sink.now_ns() - self._reported_at_ns

    def report(self) -> None:
        assert self.state is not None
        self._reported_at_ns, self._unsaid = self._sink.now_ns(), False
        self._sink.put(
            DeviceHealth(
                device=self.device,
                received_at_ns=self._reported_at_ns,
                state=self.state,
                detail=self.detail,
                counters=dict(self.counters),
            )
        )
