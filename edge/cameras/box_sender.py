"""The packets of a camera box that the daemon's journal does not have yet.

Pure bookkeeping: the caller sends, receives and reads the clock. A packet is kept until the daemon
says that its journal has it; a broker's acknowledgement counts for nothing. What is not
acknowledged is sent again, oldest first. The buffer is bounded: when the daemon stays away, the
oldest packets go, and are counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

PACKETS_MAX = 4_096  # 16 cameras at 5 images a second for 50 seconds, about 4 MB
AGAIN_AFTER_NS = 1_000_000_000  # a step of the daemon takes 0.1 s, its commit a few ms
AT_ONCE_MAX = 200  # of what is sent again: a restarted broker is not flooded


@dataclass(slots=True)
class _Kept:
    payload: bytes
    sent_at_ns: int | None  # None: not yet


class BoxSender:
    def __init__(self, session: int) -> None:
        self.session = session
        self.dropped = 0
        self.repeated = 0
        self._number = 0
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, message: bytes) -> int:
        """Number of a new packet; the oldest goes when there are too many."""
        self._number += 1
        self._kept[self._number] = _Kept(message, None)
        if len(self._kept) > PACKETS_MAX:
            self._kept.popitem(last=False)
            self.dropped += 1
        return self._number

    def due(self, now_ns: int) -> list[tuple[int, bytes]]:
        """What to send now: the new, and what was not acknowledged in time. In order."""
        found = []
        for number, kept in self._kept.items():
            if kept.sent_at_ns is None or now_ns - kept.sent_at_ns >= AGAIN_AFTER_NS:
                found.append((number, kept.payload))
            if len(found) >= AT_ONCE_MAX:
                break
        return found

    def sent(self, number: int, now_ns: int) -> None:
        kept = self._kept.get(number)
        if kept is not None:
            self.repeated += kept.sent_at_ns is not None
            kept.sent_at_ns = now_ns

    def journalled(self, session: int, numbers: tuple[int, ...]) -> None:
        """The daemon's journal has them; another session's numbers mean nothing here."""
        if session == self.session:
            for number in numbers:
                self._kept.pop(number, None)

    def lost_link(self) -> None:
        """Everything is to be sent again once there is a link."""
        for kept in self._kept.values():
            if kept.sent_at_ns is not None:
                kept.sent_at_ns = -AGAIN_AFTER_NS
