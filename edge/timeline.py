"""Puts observations in order: one lane per kind, each as late as it must be and no later.

Gate signals, health, operator actions and clock anchors pass at once, in order of arrival. Shelf
batches leave in sequence order of their node: at once when nothing is missing, otherwise when the
missing one came or the lateness limit passed. Detections of all cameras leave in order of capture:
as soon as every camera that is still alive has reported past that instant without a hole in its
sequence, at the latest after the lateness limit. Within that limit the order of arrival does not
matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from edge.vision.detections import INSTANT_NS, instant_starts
from messages.ids import CameraId
from messages.observations import Observation, PersonDetections, ShelfSamples
from messages.store_config import StoreConfig

SEQUENCE_MODULO = 2**16  # of a shelf node's sequence number
REBOOT_JUMP = 1000  # a jump of more batches than this is a restarted node, not a late batch
FUTURE_MAX_NS = 1_000_000_000  # a capture later than this after arrival is a wrong camera clock
HELD_DETECTIONS_MAX = 4096  # the lane's bound: 64 cameras at 15 Hz for four seconds


@dataclass(slots=True)
class CameraLane:
    """How far one camera has come: without a hole (frontier), and at all (latest)."""

    next_sequence: int
    frontier_ns: int = 0
    latest_ns: int = 0


@dataclass(slots=True)
class TimelineState:
    """What is held back, and how far each source has come."""

    detections: list[PersonDetections] = field(default_factory=list)
    batches: list[ShelfSamples] = field(default_factory=list)
    cameras: dict[str, CameraLane] = field(default_factory=dict)
    next_sequence: dict[str, int] = field(default_factory=dict)  # shelf node -> expected
    released_until_ns: int = -(2**62)  # captures up to here are late
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What is due now: signals as they came, the rest ordered."""

    signals: tuple[Observation, ...]
    batches: tuple[ShelfSamples, ...]
    detections: tuple[PersonDetections, ...]


class Timeline:
    """The lanes. Bounded: nothing is held longer than the lateness limit."""

    def __init__(self, config: StoreConfig, state: TimelineState | None = None) -> None:
        self.state = state or TimelineState()
        self._late_ns = round(config.limits.lateness_max_ms * 1e6)
        self._cameras = {str(camera.id) for camera in config.cameras}

    def push(self, now_ns: int, observations: Sequence[Observation]) -> Released:
        """Take what arrived, give what is due at ``now_ns``."""
        signals: list[Observation] = []
        held = {(d.camera, d.sequence) for d in self.state.detections}
        for seen in observations:
            match seen:
                case ShelfSamples():
                    self.state.batches.append(seen)
                case PersonDetections():
                    self._hold_detections(seen, now_ns, held)
                case _:
                    signals.append(seen)
        return Released(
            signals=tuple(signals),
            batches=tuple(self._due_batches(now_ns)),
            detections=tuple(self._due_detections(now_ns)),
        )

    def complete_until_ns(self, now_ns: int) -> int:
        """No image captured up to here can still come in time; ``now_ns`` without live cameras."""
        overdue_ns = now_ns - self._late_ns
        alive = any(lane.latest_ns > overdue_ns for lane in self.state.cameras.values())
        return self.state.released_until_ns if alive else now_ns

    def forget(self, device: str) -> None:
        """A source is gone: it no longer holds others back; its sequence may start anew."""
        if device in self.state.cameras:
            self.state.cameras[device].latest_ns = 0
        self.state.next_sequence.pop(device, None)

    def _hold_detections(
        self, seen: PersonDetections, now_ns: int, held: set[tuple[CameraId, int]]
    ) -> None:
        """``held``: camera and sequence of those held already."""
        if seen.captured_at_ns > now_ns + FUTURE_MAX_NS:
            self._count("detections_from_the_future")
        elif seen.captured_at_ns <= self.state.released_until_ns:
            self._count("detections_late")
        elif seen.camera not in self._cameras:
            self._count("detections_of_unknown_camera")
        elif len(self.state.detections) >= HELD_DETECTIONS_MAX:
            self._count("detections_over_bound")
        elif (seen.camera, seen.sequence) in held:
            self._count("detections_repeated")
        else:
            lane = self.state.cameras.setdefault(seen.camera, CameraLane(seen.sequence))
            lane.latest_ns = max(lane.latest_ns, seen.captured_at_ns)
            self.state.detections.append(seen)
            held.add((seen.camera, seen.sequence))

    def _due_detections(self, now_ns: int) -> Iterable[PersonDetections]:
        state, overdue_ns = self.state, now_ns - self._late_ns
        state.detections.sort(key=lambda d: (d.captured_at_ns, d.camera, d.sequence))
        for seen in state.detections:  # how far each camera has reported without a hole
            lane = state.cameras[seen.camera]
            if seen.sequence == lane.next_sequence or seen.captured_at_ns <= overdue_ns:
                lane.next_sequence = seen.sequence + 1
                lane.frontier_ns = max(lane.frontier_ns, seen.captured_at_ns)
        alive = [ln.frontier_ns for ln in state.cameras.values() if ln.latest_ns > overdue_ns]
        # Nothing alive: nothing can still come before the lateness limit's instant.
        until_ns = max(min(alive, default=overdue_ns), overdue_ns)
        due = [d for d in state.detections if d.captured_at_ns <= until_ns]
        due = due[: self._whole_instants(due, until_ns, overdue_ns)]
        if (
            len(due) < len(state.detections)
            and state.detections[len(due)].captured_at_ns <= until_ns
        ):
            until_ns = state.detections[len(due)].captured_at_ns - 1
        state.released_until_ns = max(state.released_until_ns, until_ns)
        state.detections = state.detections[len(due) :]
        return due

    def _whole_instants(
        self, due: Sequence[PersonDetections], until_ns: int, overdue_ns: int
    ) -> int:
        """How many of these to release so that none of an instant's packets stays behind.

        The tracker takes packets of about one instant together. Which those are must hang on the
        captures alone, never on where a step's boundary fell between their arrivals.
        """
        if not due:
            return 0
        last = instant_starts(due)[-1]
        first = due[last]
        alive = {c for c, lane in self.state.cameras.items() if lane.latest_ns > overdue_ns}
        complete = (
            until_ns - first.captured_at_ns > INSTANT_NS
            or alive <= {d.camera for d in due[last:]}
            or first.captured_at_ns <= overdue_ns
        )
        return len(due) if complete else last

    def _due_batches(self, now_ns: int) -> Iterable[ShelfSamples]:
        if not self.state.batches:
            return []
        batches, expected = self.state.batches, self.state.next_sequence
        if len({batch.device for batch in batches}) == len(batches) and all(
            batch.sequence == expected.get(batch.device) for batch in batches
        ):  # the usual case
            for batch in batches:
                expected[batch.device] = (batch.sequence + 1) % SEQUENCE_MODULO
            self.state.batches = []
            return sorted(batches, key=_DEVICE)
        lanes: dict[str, list[ShelfSamples]] = {}
        for batch in batches:
            lanes.setdefault(batch.device, []).append(batch)
        due: list[ShelfSamples] = []
        held: list[ShelfSamples] = []
        for device in sorted(lanes):
            self._run_lane(device, lanes[device], now_ns, due, held)
        self.state.batches = held
        return due

    def _run_lane(
        self,
        device: str,
        lane: list[ShelfSamples],
        now_ns: int,
        due: list[ShelfSamples],
        held: list[ShelfSamples],
    ) -> None:
        """One node's batches: release what is in sequence or overdue, hold the rest."""
        expected = self.state.next_sequence.get(device, _first(lane))
        if any(abs(_ahead(batch, expected)) > REBOOT_JUMP for batch in lane):
            self._count("node_restarts")  # from here on in the order of arrival
            expected = _restart(lane, expected)
        lane.sort(key=lambda batch: _ahead(batch, expected))  # stable: repeats stay in order
        overdue = [now_ns - batch.received_at_ns >= self._late_ns for batch in lane]
        for i, batch in enumerate(lane):
            ahead = _ahead(batch, expected)
            if ahead < 0:
                self._count("batches_late_or_repeated")
            elif ahead == 0 or any(overdue[i:]):
                self._count("batches_missing", ahead)
                due.append(batch)
                expected = (batch.sequence + 1) % SEQUENCE_MODULO
            else:
                held.append(batch)
        self.state.next_sequence[device] = expected

    def _count(self, name: str, n: int = 1) -> None:
        if n:
            self.state.counters[name] = self.state.counters.get(name, 0) + n


_DEVICE = attrgetter("device")


def _ahead(batch: ShelfSamples, expected: int) -> int:
    """How many batches after the expected one, negative = before, across the wrap."""
    half = SEQUENCE_MODULO // 2
    return (batch.sequence - expected + half) % SEQUENCE_MODULO - half


def _first(lane: list[ShelfSamples]) -> int:
    """The earliest sequence among a node's first batches, however they came."""
    return min(lane, key=lambda batch: _ahead(batch, lane[0].sequence)).sequence


def _restart(lane: list[ShelfSamples], expected: int) -> int:
    """Expected sequence once a node has restarted: its first batch after the jump."""
    return next(b.sequence for b in lane if abs(_ahead(b, expected)) > REBOOT_JUMP)
