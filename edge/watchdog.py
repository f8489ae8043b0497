"""systemd's watchdog, fed only while the loop, the steps and the journal are healthy.

A ping from a thread of its own stays green while the event loop hangs, and a ping from the loop
stays green while a task hangs. So the ping comes from the loop, and only while every part has
reported within a deadline of its own. When systemd hears nothing for ``WatchdogSec`` it kills the
daemon and starts it again; recovery takes it from there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

# Deadlines per part, seconds. A step takes some ms and a flush some tens; ten times the worst seen
# on a busy two-core machine, and far below the patience of a shopper at a gate.
DEADLINES_S: Mapping[str, float] = {"step": 5.0, "journal": 5.0}
LOOP_LAG_S_MAX = 2.0  # the loop itself came back this late: whatever blocked it may do it again
PING_EVERY_S = 1.0  # WatchdogSec=15 in the unit: a lost ping or two is no reason to kill

log = logging.getLogger(__name__)


def notify(message: str) -> bool:
    """Tell systemd something (``READY=1``, ``WATCHDOG=1``, ``STATUS=...``); False without systemd.

    Source: sd_notify(3): one datagram to the socket in NOTIFY_SOCKET, "@" for an abstract one.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto(message.encode(), address)
    except OSError as error:
        log.warning("notify_failed error=%r", str(error))
        return False
    return True


class Watchdog:
    """Who reported when. A part is watched from its first beat on."""

    def __init__(
        self,
        deadlines_s: Mapping[str, float] = DEADLINES_S,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        send: Callable[[str], object] = notify,
    ) -> None:
        self._deadlines_s, self._monotonic, self._send = deadlines_s, monotonic, send
        self._beats: dict[str, float] = {}
        self._faults: dict[str, str] = {}
        self.loop_lag_s = 0.0
        self.pings = 0

    def beat(self, part: str) -> None:
        """``part`` did its work just now."""
        self._beats[part] = self._monotonic()

    def fault(self, part: str, why: str) -> None:
        """``part`` is unhealthy whatever it reports; an empty reason ends that."""
        if why:
            self._faults[part] = why
        else:
            self._faults.pop(part, None)

    def complaints(self) -> list[str]:
        """Why no ping is sent; empty while healthy."""
        now = self._monotonic()
        late = [
            f"{part} silent for {now - self._beats[part]:.1f} s"
            for part, limit_s in self._deadlines_s.items()
            if part in self._beats and now - self._beats[part] > limit_s
        ]
        lag = [f"loop {self.loop_lag_s:.1f} s late"] if self.loop_lag_s > LOOP_LAG_S_MAX else []
        return lag + late + [f"{part}: {why}" for part, why in self._faults.items()]

    async def run(self, every_s: float = PING_EVERY_S) -> None:
        """Ping until cancelled, and say once when something stops or resumes."""
        was_healthy = True
        while True:
            due = self._monotonic() + every_s
            await asyncio.sleep(every_s)
            self.loop_lag_s = max(self._monotonic() - due, 0.0)
            complaints = self.complaints()
            if not complaints:
                self._send("WATCHDOG=1")
                self.pings += 1
            if bool(complaints) == was_healthy:
                log.error("unhealthy why=%r", "; ".join(complaints)) if complaints else log.info(
                    "healthy_again"
                )
                self._send(f"STATUS={'; '.join(complaints) or 'running'}")
            was_healthy = not complaints
