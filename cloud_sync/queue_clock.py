"""The sync process's clocks: instants of the queue, and of the wall."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class QueueClock:
    """Queue time: the wall clock at the start, then the monotonic clock."""

    offset_ns: int

    @classmethod
    def started(cls) -> QueueClock:
        return cls(time.time_ns() - time.monotonic_ns())

    def now_ns(self) -> int:
        return self.offset_ns + time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class Clock(Protocol):
    """Where the service's instants come from; virtual in tests."""

    def now_ns(self) -> int: ...

    def wall_ns(self) -> int: ...
