"""Beside the steps: snapshots to disk, retention, the disk's budget, memory, a look at the pages.

When the disk runs short, the store stops letting new shoppers in before it stops recording those
inside: its mode becomes ``closing``, with an alarm, and ``open`` again when there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from edge import retention
from edge.inbox import Inbox
from edge.journal import Journal
from edge.snapshots import Snapshot
from edge.status import memory_mb
from edge.store_clock import StoreClock
from messages.ids import DeviceId
from messages.observations import (
    DeviceHealth,
    DeviceState,
    OperatorAction,
    OperatorActionKind,
)
from messages.store_config import StoreConfig

PRUNE_EVERY_S = 1.0  # 32 steps a chunk: three times as fast as a store fills
LOOK_EVERY_S = 10.0
PAGES_CHECKED_AFTER_S = 60.0  # not while the store catches up after a start
# Reading 3.5 GB took two minutes on a busy virtual disk: once a day, not at every restart.
PAGES_CHECKED_EVERY_NS = 86_400_000_000_000
DISK_LOW_BYTES = 256 * 2**20  # an hour of a store with 350 plates at 80 kB a second
DISK_AGAIN_BYTES = 2 * DISK_LOW_BYTES  # not open and shut around one value

log = logging.getLogger(__name__)


class Housekeeping:
    """Works until cancelled; ``JournalError`` passes through and ends the daemon."""

    def __init__(
        self, journal: Journal, clock: StoreClock, inbox: Inbox, config: StoreConfig
    ) -> None:
        self.saving = False
        self._journal, self._clock, self._inbox, self._config = journal, clock, inbox, config
        self._closed_by_us = False
        self._faults: dict[str, str] = {}

    async def run(self, view: Callable[[], dict[str, object]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prune())
            tasks.create_task(self._look(view))
            tasks.create_task(self._check_pages())

    async def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot and the clock; one at a time."""
        try:
            await self._journal.save_snapshot(snapshot)
            await self._journal.keep("clock", self._clock.base().to_bytes())
        finally:
            self.saving = False

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            await retention.prune(self._journal, self._clock.now_ns())

    async def _check_pages(self) -> None:
        while True:
            await asyncio.sleep(PAGES_CHECKED_AFTER_S)
            checked = await self._journal.kept("pages_checked")
            if checked and self._clock.now_ns() - int(checked) < PAGES_CHECKED_EVERY_NS:
                continue
            await retention.quick_check(self._journal.path)
            await self._journal.keep("pages_checked", b"%d" % self._clock.now_ns())
            log.info("pages_checked journal=%s", self._journal.path)

    async def _look(self, view: Callable[[], dict[str, object]]) -> None:
        while True:
            self.look_at_disk(_free_bytes(self._journal.path.parent), str(view().get("mode", "")))
            self.look_at_memory(memory_mb()["rss_mb"])
            await asyncio.sleep(LOOK_EVERY_S)

    def look_at_disk(self, free_bytes: int, mode: str) -> None:
        """Close the entry while the disk is short."""
        if free_bytes < DISK_LOW_BYTES:
            free_mb = free_bytes // 2**20
            self._say("daemon:disk", f"{free_mb} MiB free: nobody new is let in; make room")
            if mode in ("", "open"):
                self._closed_by_us = True
                self._set_mode("closing")
        elif free_bytes >= DISK_AGAIN_BYTES:
            self._say("daemon:disk", "")
            if self._closed_by_us:
                self._closed_by_us = False
                self._set_mode("open")

    def look_at_memory(self, rss_mb: float) -> None:
        limit_mb = self._config.limits.memory_max_mb
        above = rss_mb > limit_mb
        text = f"{rss_mb:.0f} MB in use, {limit_mb:.0f} allowed by limits.memory_max_mb"
        self._say("daemon:memory", text if above else "")

    def _say(self, device: str, fault: str) -> None:
        """Report a fault of our own once, and its end once; the engine makes the alarm."""
        if bool(fault) == bool(self._faults.get(device)):
            return
        self._faults[device] = fault
        if fault:
            log.error("fault device=%s detail=%r", device, fault)
        self._inbox.put(
            DeviceHealth(
                device=DeviceId(device),
                received_at_ns=self._clock.now_ns(),
                state=DeviceState.FAULT if fault else DeviceState.ONLINE,
                detail=fault,
            )
        )

    def _set_mode(self, mode: str) -> None:
        self._inbox.put(
            OperatorAction(
                kind=OperatorActionKind.STORE_MODE,
                received_at_ns=self._clock.now_ns(),
                operator="daemon",
                store_mode=mode,
            )
        )


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
