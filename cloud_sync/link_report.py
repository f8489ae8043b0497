"""Tells the store daemon whether payments can be asked, over its control socket.

While they cannot, the gate lets an account in a limited number of times a day
(``gate_policy.offline_entries_max``). Told at each change, and every minute while the link is down,
in case the daemon was not there to hear it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge.control import ControlError, set_link
from messages.store_config import StoreConfig

AGAIN_NS = 60_000_000_000


class LinkReport:
    """What the daemon was told last."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._told: bool | None = None
        self._told_at_ns = 0

    def due(self, up: bool, now_ns: int) -> bool:
        """Whether there is news, or it is time to say again that the link is down."""
        if self._told is up and (up or now_ns - self._told_at_ns < AGAIN_NS):
            return False
        return Path(self._config.paths.control_socket).exists()

    async def tell(self, up: bool, now_ns: int) -> None:
        """Tell it; a daemon that does not answer is told at the next beat."""
        try:
            await asyncio.to_thread(set_link, self._config, up)
        except ControlError:
            return
        self._told, self._told_at_ns = up, now_ns
