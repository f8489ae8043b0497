"""A detector worker's clips: the rings of its cameras, and what it was asked to keep."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from edge.cameras.clip_file import ClipError, expire, read_key, write_clip
from edge.cameras.clip_ring import ClipRing
from edge.vision.detectors.found import Found
from messages.arrays import Bytes8
from messages.commands import KeepClip

LATER_NS = 1_500_000_000  # after the span's end: its last image waits for one more
EXPIRE_EVERY_NS = 600_000_000_000
ASKED_MAX = 64  # a shop that asks more often than this in a few seconds has other worries


class ClipKeeper:
    """Without a key nothing is kept, not even in memory."""

    def __init__(
        self, cameras: Iterable[str], folder: str, key_file: str, clip_s: float, days: float
    ) -> None:
        """A key that cannot be used, which `walkout run` had checked, costs the clips only."""
        self.kept = self.failed = 0
        try:
            self._key = read_key(Path(key_file)) if key_file else b""
        except ClipError:
            self._key, self.failed = b"", 1
        self._rings = {c: ClipRing(clip_s) for c in cameras} if self._key and clip_s else {}
        self._folder, self._days = Path(folder), days
        self._asked: list[KeepClip] = []
        self._expire_at_ns = 0

    def saw(self, camera: str, at_ns: int, image: Bytes8, found: Found) -> None:
        """An image that was looked at."""
        ring = self._rings.get(camera)
        if ring is not None:
            ring.add(at_ns, image, found)

    def ask(self, clip: KeepClip) -> None:
        """``clip``: its instants are of the wall clock here."""
        self._asked.append(clip)
        if len(self._asked) > ASKED_MAX:
            self._asked.pop(0)
            self.failed += 1

    def work(self, now_ns: int) -> None:
        """Write what is due, forget what is old. ``now_ns``: wall clock."""
        for ring in self._rings.values():
            ring.forget(now_ns)
        due = [asked for asked in self._asked if asked.ended_at_ns + LATER_NS <= now_ns]
        self._asked = [asked for asked in self._asked if asked not in due]
        for asked in due:
            self._write(asked)
        if self._key and now_ns >= self._expire_at_ns:
            self._expire_at_ns = now_ns + EXPIRE_EVERY_NS
            expire(self._folder, self._days, time.time())

    def _write(self, asked: KeepClip) -> None:
        span_ns = asked.started_at_ns, asked.ended_at_ns
        mine = [str(c) for c in asked.cameras if c in self._rings]
        images = {c: of for c in mine if (of := self._rings[c].between(*span_ns))}
        if not images:
            return
        try:
            write_clip(self._folder, self._key, asked.id, asked.reason, span_ns, images)
            self.kept += 1
        except ClipError:
            self.failed += 1
