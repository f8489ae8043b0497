"""``walkout record``: a recording beside a running daemon, from its journal and its tap.

The journal gives steps, observations, events and commands; the tap gives the devices' bytes; an
engine of our own follows the steps and draws the scene. The chunk is closed each second, so that
whatever ends this process costs at most that second; SIGTERM and SIGINT end it properly.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.config import ConfigError
from edge.journal_follower import FollowedStep, JournalFollower
from edge.recording import RecordedStep
from edge.recording_format import RecordingError, wall_text
from edge.recording_replay import Replaying
from edge.recording_scene import EVERY_NS
from edge.recording_writer import RecordingWriter
from edge.snapshots import Snapshot
from edge.tap import SOCKET_NAME, TapPacket, TapReader
from messages.codec import CodecError
from messages.observations import ConfigLoaded
from messages.store_config import StoreConfig

POLL_S = 0.2
FLUSH_S = 1.0
BESIDE_STEPS = 50
BEHIND_MAX = 600  # a minute: who stops a recorder that is further behind wants it to end
LAST_STEP_S = 1.0  # after this without another step, the newest one's outputs are committed
REPLAY_STEPS_MAX = 36_000  # an hour: a start further from a snapshot begins at the snapshot
RAW_WAITING_MAX = 100_000  # packets that wait for their step; a daemon that stands still
NS = 1_000_000_000

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a recording stands, for the terminal and for ``--json``."""

    first_step: int = 0
    step: int = 0
    steps: int = 0
    from_ns: int = 0
    now_ns: int = 0
    events: int = 0
    raw_packets: int = 0
    raw_dropped: int = 0
    bytes: int = 0
    tapped: bool = False
    notices: tuple[str, ...] = ()

    @property
    def store_s(self) -> float:
        return (self.now_ns - self.from_ns) / NS if self.steps else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a recording begins: the engine's state there, and the configuration in force."""

    after_step: int
    toml: str
    snapshot: Snapshot | None
    notice: str = ""


class Recorder:
    """One recording of one store.

    Args:
        from_step: the first step wanted; None: from now on.
        last_s: instead, as many seconds back from now.
        follow: go on until ``stop``; otherwise end with the newest step.
        raw: listen to the tap as well.
        stop: asked often.
        progress: told often.

    Raises:
        RecordingError: nothing can be recorded, or the file cannot be written.
    """

    def __init__(
        self,
        config: StoreConfig,
        out: Path,
        *,
        from_step: int | None = None,
        last_s: float | None = None,
        follow: bool = True,
        raw: bool = True,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        if out.exists():
            raise RecordingError(out, None, "exists", "give another --out, or take it away")
        self._config, self._out, self._follow = config, out, follow
        self._stop, self._tell = stop, progress
        self._journal = JournalFollower(Path(config.paths.journal))
        self._start = start_of(self._journal, config, from_step, last_s)
        self._tap = TapReader(Path(config.paths.runtime) / SOCKET_NAME) if raw else None
        self._waiting: deque[TapPacket] = deque(maxlen=RAW_WAITING_MAX)
        self._replica: Replaying | None = None
        self._scene_due_ns = 0
        self._flushed_s = time.monotonic()
        notices = (self._start.notice,) if self._start.notice else ()
        self.state = Progress(step=self._start.after_step, notices=notices)

    def run(self) -> Progress:
        """Record until the end; the file is then whole."""
        self._replica = self._first_replica()
        meta = {"recorder": "live", "started": self._started()}
        try:
            with RecordingWriter(
                self._out, toml=self._start.toml, snapshot=self._start.snapshot, meta=meta
            ) as writer:
                self._record(writer)
        finally:
            self._journal.close()
            if self._tap is not None:
                self._tap.close()
        self.state.bytes = self._out.stat().st_size
        self._tell(self.state)
        return self.state

    def _record(self, writer: RecordingWriter) -> None:
        end = self._journal.last_step()[0]
        while not self._stop() and (self._follow or self.state.step < end):
            before = self.state.step
            self._beside(writer)
            self._take(writer, with_last=False)
            if not self._follow and self.state.step == before:
                break  # all but the newest
            if not self._stop():
                time.sleep(POLL_S if self._follow else 0.0)
        if not self._stop() or self._journal.last_step()[0] - self.state.step < BEHIND_MAX:
            self._take_last(writer)
        self._listen()
        self._write_raw(writer, None)

    def _take_last(self, writer: RecordingWriter) -> None:
        """The newest step, once its outputs are there: after the next, or after a while."""
        last, until_s = self._journal.last_step()[0], time.monotonic() + LAST_STEP_S
        while self._journal.last_step()[0] == last and time.monotonic() < until_s:
            time.sleep(POLL_S / 4)
        self._take(writer, with_last=self._journal.last_step()[0] == last, until=last)

    def _take(self, writer: RecordingWriter, *, with_last: bool, until: int | None = None) -> None:
        for step in self._journal.steps_after(self.state.step, with_last=with_last):
            if until is not None and step.step > until:
                return
            self._write_raw(writer, step.now_ns)
            writer.step(step.step, step.now_ns, step.observations)
            writer.events(step.now_ns, step.events, step.commands)
            self._draw(step, writer)
            self._count(step)
            if self.state.steps % BESIDE_STEPS == 0:
                self._beside(writer)
            if self._stop() and until is None:
                return

    def _count(self, step: FollowedStep) -> None:
        state = self.state
        if not state.steps:
            state.first_step, state.from_ns = step.step, step.now_ns
        state.step, state.now_ns = step.step, step.now_ns
        state.steps, state.events = state.steps + 1, state.events + len(step.events)

    # --- raw packets -----------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._tap is not None:
            self._waiting.extend(self._tap.packets())
            self.state.raw_dropped = self._tap.dropped
            self.state.tapped = self._tap.connected

    def _write_raw(self, writer: RecordingWriter, until_ns: int | None) -> None:
        """Packets up to a step's instant; None: all."""
        while self._waiting and (until_ns is None or self._waiting[0].at_ns <= until_ns):
            packet = self._waiting.popleft()
            at_ns, to_device = packet.at_ns, packet.to_device
            writer.raw(packet.device, at_ns, packet.data, to_device=to_device)
            self.state.raw_packets += 1

    # --- the scene -------------------------------------------------------------------------------

    def _first_replica(self) -> Replaying | None:
        try:
            return Replaying(self._start.toml, self._start.snapshot)
        except (ConfigError, CodecError) as error:
            self._without_scene(error)
            return None

    def _draw(self, step: FollowedStep, writer: RecordingWriter) -> None:
        if self._replica is None:
            return
        given = RecordedStep(step=step.step, now_ns=step.now_ns, observations=step.observations)
        try:
            self._replica.play(given)
        except Exception as error:  # the daemon sets such a step aside; we only lose a picture
            self._without_scene(error)
            return
        if step.now_ns >= self._scene_due_ns:
            self._scene_due_ns = step.now_ns + EVERY_NS
            writer.scene(step.now_ns, self._replica.engine.view())

    def _without_scene(self, error: Exception) -> None:
        self._replica = None
        notice = f"no scene from here on: {type(error).__name__}: {error}"
        self.state.notices = (*self.state.notices, notice)
        log.warning("recorder_without_scene error=%r", str(error))

    def _started(self) -> str:
        """Wall time of the first step, as the engine knows it; "" where it does not."""
        if self._replica is None or self._start.snapshot is None:
            return ""
        wall_ns = self._replica.engine.gate.wall_ns(self._start.snapshot.now_ns)
        return wall_text(wall_ns) if wall_ns else ""

    def _beside(self, writer: RecordingWriter) -> None:
        """What must not wait for a long way to catch up: the tap, the disk, the terminal."""
        self._listen()
        self._tell(self.state)
        if time.monotonic() - self._flushed_s >= FLUSH_S:
            self._flushed_s = time.monotonic()
            writer.flush()
            self.state.bytes = self._out.stat().st_size


def start_of(
    journal: JournalFollower, config: StoreConfig, from_step: int | None, last_s: float | None
) -> Start:
    """The newest snapshot before the wanted step, or the beginning of the journal.

    Raises:
        RecordingError: the engine's state at that step cannot be had any more.
    """
    wanted, first = _wanted(journal, from_step, last_s), journal.first_step()
    oldest: Snapshot | None = None  # of those that can be continued from
    for kept in journal.snapshots():
        if kept.step + 1 < first:
            break
        oldest = kept
        if kept.step < wanted:
            return Start(after_step=kept.step, toml=kept.toml, snapshot=kept)
    if first <= 1 and wanted <= 1:
        return Start(after_step=0, toml=_first_toml(journal, config), snapshot=None)
    if first <= 1 and wanted - 1 <= REPLAY_STEPS_MAX:
        return _replayed_to(journal, _first_toml(journal, config), wanted)
    if oldest is None:
        what = f"step {wanted} cannot be replayed any more: no snapshot is kept"
        raise RecordingError(journal.path, None, what, "record from now on, without --from-step")
    notice = f"begins at step {oldest.step + 1}: no state before that is kept"
    return Start(after_step=oldest.step, toml=oldest.toml, snapshot=oldest, notice=notice)


def _wanted(journal: JournalFollower, from_step: int | None, last_s: float | None) -> int:
    last, last_ns = journal.last_step()
    if from_step is not None:
        if not 1 <= from_step <= last + 1:
            what = f"has no step {from_step}; the newest is {last}"
            raise RecordingError(journal.path, None, what, "give another --from-step")
        return from_step
    if last_s is not None:
        return journal.step_at(last_ns - round(last_s * NS))
    return last + 1


def _first_toml(journal: JournalFollower, config: StoreConfig) -> str:
    """The configuration of the journal's first step."""
    for step in journal.steps_after(0, with_last=True):
        loaded = [seen for seen in step.observations if isinstance(seen, ConfigLoaded)]
        return loaded[0].toml if loaded else config.toml
    return config.toml


def _replayed_to(journal: JournalFollower, toml: str, wanted: int) -> Start:
    """A snapshot made here, by a replay from the journal's first step."""
    engine = Replaying(toml)
    for step in journal.steps_after(0, with_last=True):
        if step.step >= wanted:
            break
        engine.play(
            RecordedStep(step=step.step, now_ns=step.now_ns, observations=step.observations)
        )
    kept = engine.snapshot()
    return Start(after_step=wanted - 1, toml=kept.toml, snapshot=kept)
