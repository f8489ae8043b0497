"""The journal of a running daemon, read from another process: steps with what followed from them.

Read-only: nothing here can disturb the daemon. A step is given once its outputs are known to be
committed, which is when the next step is there. Steps that were set aside are passed over, as every
replay does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from edge.journal import unpacked
from edge.recording_format import RecordingError
from edge.snapshots import Snapshot, SnapshotError, Snapshots
from messages import codec
from messages.commands import Command
from messages.events import Event
from messages.observations import Observation

BUSY_S = 5.0  # a daemon that checkpoints holds the file for milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedStep:
    """One step of the journal, its events and its commands."""

    step: int
    now_ns: int
    observations: list[Observation]
    events: list[Event]
    commands: list[Command]


class JournalFollower:
    """One reader of one journal."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError: there is no journal, or it is none."""
        self.path = path
        if not path.exists():
            remedy = "start the daemon first: walkout run --config store.toml"
            raise RecordingError(path, None, "there is no journal yet", remedy)
        try:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=BUSY_S)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        self._db.close()

    def last_step(self) -> tuple[int, int]:
        """Number and store time of the newest step; (0, 0) without any."""
        rows = self._fetch("SELECT step, now_ns FROM step ORDER BY step DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def first_step(self) -> int:
        """The oldest step whose observations are all there; 0 without any."""
        rows = self._fetch("SELECT min(step) FROM step")
        kept = self._fetch("SELECT max(value) FROM meta WHERE key LIKE 'thinned %'")
        first, thinned = rows[0][0] or 0, kept[0][0] or 0
        return max(int(first), int(thinned) + 1) if first else 0

    def step_at(self, at_ns: int) -> int:
        """The first step at or after an instant; one above the last where there is none."""
        rows = self._fetch("SELECT min(step) FROM step WHERE now_ns >= ?", (at_ns,))
        return int(rows[0][0]) if rows[0][0] is not None else self.last_step()[0] + 1

    def snapshots(self) -> Iterator[Snapshot]:
        """Those that can be read, newest first."""
        folder = self.path.with_name(self.path.name + ".snapshots")
        if folder.is_dir():
            kept = Snapshots(folder)
            for found in kept.newest_first():
                if not isinstance(found, SnapshotError):
                    yield found
            yield from kept.sparse_newest_first()

    def steps_after(self, step: int, *, with_last: bool) -> Iterator[FollowedStep]:
        """Steps that follow; the newest one only if asked, since its outputs may be on the way.

        Raises:
            RecordingError: a step is missing or damaged.
        """
        newest = self.last_step()[0] - (not with_last)
        while step < newest:
            rows = self._fetch(_STEPS, (step, newest))
            if not rows:
                return
            last = rows[-1][0]
            events, commands = (
                self._bodies("event", step, last),
                self._bodies("command", step, last),
            )
            aside = {n for (n,) in self._fetch(_SET_ASIDE, (step, last))}
            for number, now_ns, block in rows:
                if number != step + 1:
                    remedy = f"start behind it: --from-step {number}"
                    raise RecordingError(self.path, None, f"step {step + 1} is missing", remedy)
                step = number
                if number not in aside:
                    yield FollowedStep(
                        step=number,
                        now_ns=now_ns,
                        observations=self._observations(number, block),
                        events=events.get(number, []),
                        commands=commands.get(number, []),
                    )

    def _observations(self, step: int, block: bytes) -> list[Observation]:
        try:
            return codec.decode_many(unpacked(block))
        except (zstandard.ZstdError, codec.CodecError) as error:
            what = f"step {step} is damaged: {error}"
            remedy = f"start behind it: --from-step {step + 1}"
            raise RecordingError(self.path, None, what, remedy) from error

    def _bodies(self, table: str, after: int, last: int) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for step, body in self._fetch(_BODIES[table], (after, last)):
            found.setdefault(step, []).append(codec.decode(body))
        return found

    def _fetch(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> RecordingError:
        return RecordingError(self.path, None, f"cannot be read: {error}", "check the journal")


_STEPS = (
    "SELECT step, now_ns, block FROM step WHERE step > ? AND step <= ?"
    " ORDER BY step LIMIT 128"  # read at once
)
_SET_ASIDE = "SELECT step FROM failure WHERE set_aside AND step > ? AND step <= ?"
_BODIES = {
    "event": "SELECT step, body FROM event WHERE step > ? AND step <= ? ORDER BY seq",
    "command": "SELECT step, body FROM command WHERE step > ? AND step <= ? ORDER BY rowid",
}
