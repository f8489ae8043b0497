"""Store time: integer nanoseconds, never backwards, continued across restarts and reboots.

Within one boot, store time advances with CLOCK_MONOTONIC, also while the daemon is down. Across a
reboot the monotonic clock starts anew, so the gap is what the wall clock says, at least 0 and at
most 30 days: a wall clock that is wrong then costs a wrong gap, never a store time that goes back.
Wall time itself is data with an uncertainty (``ClockAnchor``); nothing is ordered by it.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from messages.observations import ClockAnchor

START_NS = 1_000_000_000  # a store's first instant: 0 means "not known" in some fields
REBOOT_GAP_NS_MAX = 30 * 86_400_000_000_000  # a dead clock battery must not age the journal away
ANCHOR_EVERY_NS = 60_000_000_000  # catalogue: one ClockAnchor a minute
WALL_STEP_NS = 250_000_000  # wall time moved this much against monotonic: somebody set the clock
WALL_PAST_NS = 1_735_689_600_000_000_000  # 2025-01-01: no store ran before, the clock is not set
WALL_BACK_NS_MAX = 5_000_000_000  # wall time before the last known one by more: clock not set
UNCERTAINTY_NOT_SET_MS = 1e9
# Nobody disciplines the clock, or the sandbox hides it: a PC's clock drifts below 2 s in a day.
UNCERTAINTY_UNKNOWN_MS = 2_000.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBase:
    """One instant on all three clocks: what the journal keeps of the store clock."""

    boot_id: str
    monotonic_ns: int
    store_ns: int
    wall_ns: int

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @staticmethod
    def from_bytes(data: bytes | None) -> ClockBase | None:
        return None if data is None else msgspec.msgpack.decode(data, type=ClockBase)


def boot_id() -> str:
    """The kernel's id of this boot."""
    return BOOT_ID.read_text().strip()


class StoreClock:
    """Store time from a base that an earlier run left in the journal, if any.

    Args:
        base: the last known instant; None for a new store.
        not_before_ns: store time of the newest journalled step.
        monotonic_ns, wall_ns, boot: the machine's clocks, given by tests.
    """

    def __init__(
        self,
        base: ClockBase | None = None,
        *,
        not_before_ns: int = 0,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        boot: Callable[[], str] = boot_id,
        kernel_error_ms: Callable[[], float | None] | None = None,
    ) -> None:
        self._monotonic_ns, self._wall_ns, self._boot_id = monotonic_ns, wall_ns, boot()
        self._kernel_error_ms = kernel_error_ms or clock_error_ms
        self._wall_known_ns = base.wall_ns if base else 0
        monotonic, wall = monotonic_ns(), wall_ns()
        start = START_NS if base is None else base.store_ns + self._gap_ns(base, monotonic, wall)
        self._offset_ns = max(start, not_before_ns + 1) - monotonic
        self._last_ns = 0
        self._wall_offset_ns = wall - monotonic

    def _gap_ns(self, base: ClockBase, monotonic: int, wall: int) -> int:
        if base.boot_id == self._boot_id:
            return max(monotonic - base.monotonic_ns, 0)
        return min(max(wall - base.wall_ns, 0), REBOOT_GAP_NS_MAX)

    def now_ns(self) -> int:
        """Store time now; never less than any answer before."""
        self._last_ns = max(self._last_ns, self._monotonic_ns() + self._offset_ns)
        return self._last_ns

    def wall_to_store_ns(self, wall_ns: int) -> int:
        """Store time of a wall time by the clocks as they are now; who asks judges the future."""
        return self.now_ns() + wall_ns - self._wall_ns()

    def base(self) -> ClockBase:
        """This instant on all clocks, for the journal."""
        return ClockBase(
            boot_id=self._boot_id,
            monotonic_ns=self._monotonic_ns(),
            store_ns=self.now_ns(),
            wall_ns=self._wall_ns(),
        )

    def anchor(self, at_ns: int | None = None) -> ClockAnchor:
        """Wall time now with what we know of its error; ``at_ns``: the step's own now."""
        wall = self._wall_ns()
        uncertainty_ms = self._uncertainty_ms(wall)
        if uncertainty_ms < UNCERTAINTY_NOT_SET_MS:
            self._wall_known_ns = wall
        self._wall_offset_ns = wall - self._monotonic_ns()
        return ClockAnchor(
            received_at_ns=self.now_ns() if at_ns is None else at_ns,
            wall_ns=wall,
            uncertainty_ms=uncertainty_ms,
        )

    def wall_stepped(self) -> bool:
        """Somebody set the wall clock since the last anchor: a new anchor is due at once."""
        moved = self._wall_ns() - self._monotonic_ns() - self._wall_offset_ns
        return abs(moved) > WALL_STEP_NS

    def _uncertainty_ms(self, wall: int) -> float:
        if wall < WALL_PAST_NS or wall < self._wall_known_ns - WALL_BACK_NS_MAX:
            return UNCERTAINTY_NOT_SET_MS
        error = self._kernel_error_ms()
        return UNCERTAINTY_UNKNOWN_MS if error is None else error


def clock_error_ms() -> float | None:
    """The kernel's bound on the wall clock's error while NTP disciplines it; None: not known.

    Source: adjtimex(2), ``maxerror`` in microseconds. systemd's ProtectClock forbids the call, and
    then timesyncd's mark says whether the clock was ever set.
    """
    buffer = ctypes.create_string_buffer(208)  # struct timex; modes = 0 reads only
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state in (-1, 5):  # refused; TIME_ERROR: not synchronised
        marked = Path("/run/systemd/timesync/synchronized").exists()
        return 1_000.0 if marked else None
    long_size = struct.calcsize("l")
    (error_us,) = struct.unpack_from("=q" if long_size == 8 else "=i", buffer, 3 * long_size)
    return float(error_us) / 1000.0
