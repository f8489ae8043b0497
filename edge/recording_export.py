"""A recording as plain CSV files: ``walkout recording export``; the import reads them back.

Samples are written in grams by the configuration's calibration, at the instants that the engine's
own clocks work out; late and repeated batches are put in order or left out as the engine does.
Readings that are unknown have no row. Credentials that were accepted become their plain names,
others stay as the reader read them, so that they are refused again.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.config import parse
from edge.gate import Claims, token_keys, verify_token
from edge.recording import Recording
from edge.recording_format import TOML, TRUTH, RecordingError, plain_names
from edge.recording_info import zero_ns
from edge.sensors.clock_sync import Arrival, DeviceClock, arrive
from edge.sensors.load_cell import BatchError, Calibration, calibration, check_batch, grams
from edge.timeline import Timeline
from messages import codec
from messages.arrays import Ints
from messages.events import EntryRefused, VisitStarted
from messages.observations import GateSignal, GateSignalKind, PersonDetections, ShelfSamples
from messages.store_config import StoreConfig

NS = 1_000_000_000
WEIGHT_COLUMNS = ("t_s", "plate", "grams")
BOX_COLUMNS = ("t_s", "camera", "x1", "y1", "x2", "y2", "score")
POINT_COLUMNS = ("t_s", "camera", "x_m", "y_m", "score")
GATE_COLUMNS = ("t_s", "gate", "signal", "credential")
SIGNALS = {
    GateSignalKind.CREDENTIAL: "credential",
    GateSignalKind.ENTER: "enter",
    GateSignalKind.EXIT: "exit",
}
APART_NS = 1000  # between two samples of one node, at least
SETTLE_NS = 60 * NS  # behind the last step: everything that the timeline holds is due


@dataclass(slots=True, kw_only=True)
class Exported:
    """Rows written, and observations that have no place in these files."""

    weights: int = 0
    detections: int = 0
    gate_signals: int = 0
    events: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def export(recording: Recording, out: Path) -> Exported:
    """Write ``weights.csv``, ``detections.csv``, ``gates.csv``, ``events.jsonl``, ``store.toml``
    and the recording's truth into a folder, which is made.

    Raises:
        RecordingError: the recording is damaged, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            done = _Export(recording, out, files).run()
        (out / TOML).write_text(recording.toml, encoding="utf-8")
        if TRUTH in recording.attachments:
            (out / TRUTH).write_bytes(recording.attachments[TRUTH])
        lines = [codec.to_json(output.message) + b"\n" for output in recording.live_events()]
        (out / "events.jsonl").write_bytes(b"".join(lines))
        done.events = len(lines)
        return done
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise RecordingError(out, None, what, "give another --out") from error


class _Export:
    """One pass over the steps."""

    def __init__(self, recording: Recording, out: Path, files: ExitStack) -> None:
        self._recording, self._out, self._files = recording, out, files
        self._config = parse(recording.toml)
        self._zero_ns = zero_ns(recording)
        self._timeline = Timeline(self._config)
        self._nodes = _nodes(self._config)
        self._clocks: dict[str, DeviceClock] = {}
        self._last_ns: dict[str, int] = {}
        self._names = _Names(recording, self._config)
        self._passages: set[tuple[str, int]] = set()
        self._gates: list[tuple[Any, ...]] = []
        self._detections: tuple[str, ...] = ()  # columns, once the form is known
        self.done = Exported()

    def run(self) -> Exported:
        self._weights_csv = self._writer("weights.csv", WEIGHT_COLUMNS)
        last_ns = 0
        for step in self._recording.steps():
            last_ns = step.now_ns
            self._write(last_ns, step.observations)
        self._write(last_ns + SETTLE_NS, [])
        self._write_gates()
        if not self._detections:
            self._writer("detections.csv", BOX_COLUMNS)
        return self.done

    def _write(self, now_ns: int, observations: Sequence[Any]) -> None:
        due = self._timeline.push(now_ns, observations)
        for batch in due.batches:
            self._samples(batch)
        for packet in due.detections:
            self._packet(packet)
        for seen in due.signals:
            if isinstance(seen, GateSignal):
                self._signal(seen)
            else:
                self._leave_out(type(seen).__name__)

    def _samples(self, batch: ShelfSamples) -> None:
        node = self._nodes.get(str(batch.device))
        try:
            check_batch(batch, len(node.plates) if node else -1)
        except BatchError:
            self._leave_out("ShelfSamples")
            return
        assert node is not None
        clock = self._clocks.setdefault(str(batch.device), DeviceClock())
        if not len(batch.readings) or arrive(clock, batch, len(batch.readings)) is Arrival.REPEATED:
            return
        mass_g = grams(batch.readings, batch.flags, node.rows, batch.unit, node.calibration)
        texts = mass_g.astype(np.float32).astype(str)
        known = np.isfinite(mass_g)
        # a clock that was held back repeats an instant: two readings, so two rows
        first_ns = max(clock.first_ns, self._last_ns.get(str(batch.device), 0) + APART_NS)
        self._last_ns[str(batch.device)] = first_ns + (len(mass_g) - 1) * clock.period_ns
        for i in range(len(mass_g)):
            t_s = self._t_s(first_ns + i * clock.period_ns)
            columns = np.flatnonzero(known[i]).tolist()
            rows = [(t_s, node.plates[k], texts[i, k]) for k in columns]
            self._weights_csv.writerows(rows)
            self.done.weights += len(rows)

    def _packet(self, seen: PersonDetections) -> None:
        if not len(seen.scores):
            return
        columns = BOX_COLUMNS if seen.positions_store_m is None else POINT_COLUMNS
        if not self._detections:
            self._detections = columns
            self._detections_csv = self._writer("detections.csv", columns)
        if columns is not self._detections:  # one file holds one form
            self._leave_out("PersonDetections of the other form")
            return
        given = seen.boxes_px if seen.positions_store_m is None else seen.positions_store_m
        texts = np.column_stack((given, seen.scores)).astype(np.float32).astype(str)
        t_s = self._t_s(seen.captured_at_ns)
        self._detections_csv.writerows((t_s, seen.camera, *row) for row in texts.tolist())
        self.done.detections += len(texts)

    def _signal(self, seen: GateSignal) -> None:
        name = SIGNALS.get(seen.kind)
        if name is None:
            self._leave_out(f"GateSignal {seen.kind}")
            return
        if seen.number is not None:
            if (str(seen.device), seen.number) in self._passages:
                return  # the controller repeats what was not acknowledged
            self._passages.add((str(seen.device), seen.number))
        credential, party = "", 1
        if seen.kind is GateSignalKind.CREDENTIAL:
            credential, party = self._names.of(seen.credential or "")
        t_s = self._t_s(seen.received_at_ns)
        self._gates.append((t_s, seen.gate, name, credential, party))
        self.done.gate_signals += 1

    def _write_gates(self) -> None:
        """With a column for the size of parties only where somebody came in company."""
        with_party = any(row[4] > 1 for row in self._gates)
        columns = (*GATE_COLUMNS, "party") if with_party else GATE_COLUMNS
        writer = self._writer("gates.csv", columns)
        for *row, party in self._gates:
            said = party if row[2] == "credential" else ""
            writer.writerow([*row, said] if with_party else row)

    def _writer(self, name: str, columns: Sequence[str]) -> Any:
        file = self._files.enter_context((self._out / name).open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        return writer

    def _t_s(self, at_ns: int) -> str:
        sign, (whole, rest) = "", divmod(at_ns - self._zero_ns, NS)
        if whole < 0:
            sign, (whole, rest) = "-", divmod(self._zero_ns - at_ns, NS)
        return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")

    def _leave_out(self, what: str) -> None:
        self.done.left_out[what] = self.done.left_out.get(what, 0) + 1


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    plates: tuple[str, ...]
    rows: Ints
    calibration: Calibration


def _nodes(config: StoreConfig) -> dict[str, _Node]:
    found = {}
    for node in config.shelf_nodes:
        order = np.array([config.plate_index[plate] for plate in node.plates], dtype=np.int64)
        rows = np.arange(len(order), dtype=np.int64)
        found[str(node.id)] = _Node(tuple(map(str, node.plates)), rows, calibration(config, order))
    return found


class _Names:
    """Plain names of credentials that were accepted."""

    def __init__(self, recording: Recording, config: StoreConfig) -> None:
        self._keys = token_keys(config.credential_keys)
        self._plain = plain_names(recording.attachments)
        self._accepted: dict[str, deque[bool]] = {}
        for output in recording.live_events():
            match output.message:
                case VisitStarted(credential=jti):
                    self._accepted.setdefault(jti, deque()).append(True)
                case EntryRefused(credential=jti) if jti is not None:
                    self._accepted.setdefault(jti, deque()).append(False)

    def of(self, text: str) -> tuple[str, int]:
        """The plain name and the size of the party, or the text as it is where it was refused."""
        claims = verify_token(text, self._keys)
        if not isinstance(claims, Claims):
            return text, 1
        outcomes = self._accepted.get(claims.jti)
        accepted = outcomes.popleft() if outcomes else not self._accepted
        return (self._plain.get(claims.jti, str(claims.jti)) if accepted else text), claims.party
