"""``walkout cameras``: the detectors of this box beside the daemon instead of under it.

Under systemd the daemon has no network and goes before everything else; video needs the network,
and takes what CPU is left. With ``vision.process = "apart"`` the daemon leaves the live cameras to
this process, which sends to the daemon's camera socket as the daemon's own detectors would.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

from edge.cameras.fleet import DetectorFleet, check_models, live_cameras
from edge.cameras.models.packages import ModelsError
from edge.logs import to_stderr
from edge.watchdog import notify
from messages.observations import DeviceHealth, Observation
from messages.store_config import StoreConfig

log = logging.getLogger(__name__)


class LoggingSink:
    """The fleet's health to the log: each change of state, not each count."""

    def __init__(self) -> None:
        self._last = ""

    def put(self, observation: Observation, journalled: Callable[[], None] | None = None) -> None:
        if isinstance(observation, DeviceHealth):
            said = f"state={observation.state} detail={observation.detail!r}"
            if said != self._last:
                self._last = said
                log.info("detectors %s", said)
                notify(f"STATUS={observation.state}: {observation.detail or 'all cameras'}")

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_to_store_ns(self, wall_ns: int) -> int:
        return wall_ns  # only the daemon knows store time


def main(config: StoreConfig) -> int:
    """Until SIGTERM or SIGINT; the process's exit status."""
    to_stderr()
    if not live_cameras(config):
        print("no [[camera]] has a url on this box; nothing to detect", file=sys.stderr)
        return os.EX_CONFIG
    try:
        check_models(config)
    except ModelsError as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    asyncio.run(_served(config))
    return 0


async def _served(config: StoreConfig) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    fleet = asyncio.create_task(DetectorFleet(config, LoggingSink()).run())
    notify("READY=1")
    await stopped.wait()
    notify("STOPPING=1")
    fleet.cancel()
    await asyncio.gather(fleet, return_exceptions=True)
