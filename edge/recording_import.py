"""Plain CSV files of any store become a recording: ``walkout recording import``.

``weights.csv`` (``t_s,plate,grams``), ``detections.csv`` (boxes in pixels, or points on the floor
in metres), ``gates.csv`` (``t_s,gate,signal,credential``) and ``truth.json``, each optional. Units
are seconds, grams, metres and pixels.

What an engine needs beside them is added to the configuration that goes into the recording: a shelf
node for the plates of each shelf that has none, a camera above the store where floor points come
without one, and a key. With that key, made from the configuration's text and trusted by nothing
else, the credentials of ``gates.csv`` are signed, so that the gate judges them as it judges every
other; a token's id is the plain name. A name that comes again after its party went in is another
visit: its id gets ``#2``, and ``credentials.json`` keeps the plain name.
"""

from __future__ import annotations

import heapq
import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from edge.config import parse
from edge.csv_tables import Format, Table, fault, nearest, read, times_ns
from edge.import_gates import Issuer, gate_signals
from edge.import_weights import shelf_batches
from edge.recording_format import CREDENTIALS, TRUTH
from edge.recording_writer import RecordingWriter
from messages.arrays import Ints
from messages.ids import CameraId, ShelfId
from messages.observations import ClockAnchor, GateSignal, Observation, PersonDetections
from messages.store_config import StoreConfig

NS = 1_000_000_000
WEIGHTS = Format(id="plate", numbers=("t_s", "grams"))
BOXES = Format(id="camera", numbers=("t_s", "x1", "y1", "x2", "y2", "score"))
POINTS = Format(id="camera", numbers=("t_s", "x_m", "y_m", "score"))
GATES = Format(id="gate", numbers=("t_s",), texts=("signal", "credential"), optional=("party",))
FILES = ("weights.csv", "detections.csv", "gates.csv")
TRUTH_BYTES_MAX = 64 * 2**20
START_NS = NS  # store time of the base: 0 means "not known" in some fields
WALL_START_NS = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z, where t_s is no Unix time
UNIX_FROM_S = 1_000_000_000.0  # 2001: from here on t_s is taken for Unix time
BASE_FROM_S = 3600.0  # below, seconds are store time as they are
SETTLE_S = 20.0  # behind the last row, for carts to close, beside the reviews' deadline
OVERHEAD_M = 6.0  # height of a camera that stands for floor points without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was read."""

    weights: int
    detections: int
    gate_signals: int
    has_truth: bool
    from_s: float
    to_s: float
    observations: int


def import_folder(folder: Path, store_toml: Path, out: Path) -> Imported:
    """Write a recording of the CSV files in a folder.

    Raises:
        CsvError: a file is wrong: which, in which line, and what to do.
        ConfigError: the store's configuration is wrong.
        RecordingError: ``out`` cannot be written.
    """
    text = _text(store_toml)
    given = parse(text, file=str(store_toml))
    return _Import(folder, store_toml, text, given).write(out)


class _Import:
    """One folder: tables, then sources of observations in order of time, then the file."""

    def __init__(self, folder: Path, store_toml: Path, text: str, given: StoreConfig) -> None:
        self.folder, self.given = folder, given
        self._check_folder()
        cameras = [str(camera.id) for camera in given.cameras]
        self.weights = self._table("weights.csv", [WEIGHTS], [str(p.id) for p in given.plates])
        self.detections = self._table("detections.csv", [BOXES, POINTS], cameras or None)
        self.gates = self._table("gates.csv", [GATES], [str(gate.id) for gate in given.gates])
        self.truth = _truth(folder / TRUTH)
        self.cameras = cameras or self._cameras_of_points(store_toml)
        self.base_s = self._base_s()
        self.issuer = Issuer(given, text)
        self.toml = _completed(text, given, self.cameras, self.issuer)
        self.config = parse(self.toml, file=f"{store_toml} (completed by the import)")

    def write(self, out: Path) -> Imported:
        weights_ns, detections_ns = self._times(self.weights), self._times(self.detections)
        gates_ns = self._times(self.gates)
        every = [times for times in (weights_ns, detections_ns, gates_ns) if len(times)]
        first_ns = min(int(times.min()) for times in every)
        last_ns = max(int(times.max()) for times in every)
        signals = self._signals(gates_ns)
        sources: list[Iterable[Observation]] = [signals]
        if self.detections is not None:
            sources.append(_packets(self.detections, detections_ns, self.cameras))
        if self.weights is not None:
            sources += shelf_batches(self.config, self.weights, weights_ns)
        anchor = ClockAnchor(
            received_at_ns=first_ns, wall_ns=self._wall_ns(first_ns), uncertainty_ms=20.0
        )
        count = 1
        with RecordingWriter(out, toml=self.toml, meta=self._rows(bool(signals))) as writer:
            writer.observe([anchor])
            for seen in heapq.merge(*sources, key=lambda seen: seen.received_at_ns):
                writer.observe([seen])
                count += 1
            self._attach(writer)
        return Imported(
            weights=len(self.weights or ()),
            detections=len(self.detections or ()),
            gate_signals=len(self.gates or ()),
            has_truth=self.truth is not None,
            from_s=round((first_ns - self._zero_ns) / NS, 6),
            to_s=round((last_ns - self._zero_ns) / NS, 6),
            observations=count,
        )

    def _attach(self, writer: RecordingWriter) -> None:
        if self.truth is not None:
            writer.attach(TRUTH, "application/json", self.truth)
        if self.issuer.plain:
            names = json.dumps(self.issuer.plain, indent=1).encode()
            writer.attach(CREDENTIALS, "application/json", names)

    def _rows(self, has_signals: bool) -> dict[str, str]:
        drain_s = self.config.decision.review_deadline_s + SETTLE_S if has_signals else 0.0
        return {
            "imported_from": self.folder.name,
            "zero_ns": str(self._zero_ns),
            "drain_s": f"{drain_s:g}",
        }

    # --- files -----------------------------------------------------------------------------------

    def _check_folder(self) -> None:
        if not self.folder.is_dir():
            what = "is no folder"
            raise fault(self.folder, None, what, f"give the folder that holds {', '.join(FILES)}")
        there = {path.name for path in self.folder.iterdir()}
        for name in sorted(there - {*FILES, TRUTH}):
            near = nearest(name, FILES, "file")
            if name.endswith((".csv", ".CSV")) and near.startswith("did") and not _has(near, there):
                raise fault(self.folder / name, None, "is no file of an import", near)
        if not there & set(FILES):
            what = f"holds none of {', '.join(FILES)}"
            raise fault(self.folder, None, what, "see walkout recording import --help")

    def _table(self, name: str, formats: list[Format], known: list[str] | None) -> Table | None:
        path = self.folder / name
        return read(path, formats, known) if path.exists() else None

    def _cameras_of_points(self, store_toml: Path) -> list[str]:
        """Names of cameras that store.toml does not have; only floor points can do without."""
        if self.detections is None:
            return []
        if "x_m" not in self.detections.numbers:
            remedy = "add [[camera]] with its calibration, or give x_m,y_m on the floor"
            raise fault(store_toml, None, "has no [[camera]] for boxes in pixels", remedy)
        return list(self.detections.ids)

    # --- time ------------------------------------------------------------------------------------

    def _base_s(self) -> float:
        """Whole seconds that store time counts from: 0, or the first row of a late start."""
        tables = [t for t in (self.weights, self.detections, self.gates) if t is not None]
        times = [t.numbers["t_s"].min() for t in tables if len(t)]
        if not times:
            raise fault(self.folder, None, "holds no row", "give at least one reading")
        earliest = float(min(times))
        return 0.0 if 0 <= earliest < BASE_FROM_S else float(np.floor(earliest))

    @property
    def _zero_ns(self) -> int:
        return START_NS - round(self.base_s) * NS

    def _times(self, table: Table | None) -> Ints:
        if table is None:
            return np.zeros(0, dtype=np.int64)
        return times_ns(table, self.base_s) + START_NS

    def _wall_ns(self, at_ns: int) -> int:
        t_ns = at_ns - self._zero_ns
        return t_ns if self.base_s >= UNIX_FROM_S else WALL_START_NS + at_ns

    def _signals(self, gates_ns: Ints) -> list[GateSignal]:
        if self.gates is None:
            return []
        return gate_signals(self.config, self.gates, gates_ns, self.issuer, self._wall_ns)


def _has(remedy: str, there: set[str]) -> bool:
    return any(f"'{name}'" in remedy for name in there)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fault(path, None, f"cannot be read: {error}", "give --store store.toml") from error


def _truth(path: Path) -> bytes | None:
    """The truth as it is, once it looks like one."""
    if not path.exists():
        return None
    if path.stat().st_size > TRUTH_BYTES_MAX:
        raise fault(path, None, f"has more than {TRUTH_BYTES_MAX} bytes", "give the truth alone")
    data = path.read_bytes()
    try:
        document = json.loads(data)
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise fault(path, line, f"is no JSON: {error}", "correct it, or take it away") from error
    if not isinstance(document, dict) or not isinstance(document.get("visits"), list):
        remedy = 'write {"visits": [...], "actions": [...]}'
        raise fault(path, None, "has no list of visits", remedy)
    return data


# --- detections -----------------------------------------------------------------------------------


def _packets(table: Table, at_ns: Ints, cameras: list[str]) -> Iterator[PersonDetections]:
    """One packet for each camera and instant, in order of time."""
    _check_detections(table)
    order = np.lexsort((table.names, at_ns))
    ids, times = table.names[order], at_ns[order]
    cuts = np.flatnonzero((np.diff(ids) != 0) | (np.diff(times) != 0)) + 1
    sequence = dict.fromkeys(range(len(cameras)), 0)
    for rows in np.split(order, cuts):
        if len(rows):
            k = int(table.names[rows[0]])
            sequence[k] += 1
            yield _packet(table, rows, int(at_ns[rows[0]]), cameras[k], sequence[k])


def _packet(table: Table, rows: Ints, at_ns: int, camera: str, sequence: int) -> PersonDetections:
    column = {name: values[rows].astype(np.float32) for name, values in table.numbers.items()}
    boxes, feet, points = np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), None
    if "x_m" in column:
        points = np.stack((column["x_m"], column["y_m"]), axis=1)
    else:
        boxes = np.stack([column[name] for name in ("x1", "y1", "x2", "y2")], axis=1)
        feet = np.stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]), axis=1)
    return PersonDetections(
        camera=CameraId(camera),
        received_at_ns=at_ns,
        captured_at_ns=at_ns,
        sequence=sequence,
        boxes_px=boxes,
        feet_px=feet,
        scores=column["score"],
        positions_store_m=points,
    )


def _check_detections(table: Table) -> None:
    if "x1" not in table.numbers:
        return
    n = table.numbers
    wrong = np.flatnonzero((n["x2"] <= n["x1"]) | (n["y2"] <= n["y1"]))
    if len(wrong):
        line = int(table.line[wrong[0]])
        remedy = "x1,y1 is the upper left corner, x2,y2 the lower right one"
        raise fault(table.path, line, "the box has no area", remedy)


# --- configuration --------------------------------------------------------------------------------


def _completed(text: str, given: StoreConfig, cameras: list[str], issuer: Issuer) -> str:
    """The configuration with what only an import needs."""
    document: dict[str, Any] = tomllib.loads(text)
    if nodes := _missing_nodes(given):
        document["shelf_node"] = [*document.get("shelf_node", []), *nodes]
    if not given.cameras and cameras:
        document["camera"] = [_overhead(name, given) for name in cameras]
    key = {"kid": issuer.kid, "public_key": issuer.public_key}
    document["credential_key"] = [*document.get("credential_key", []), key]
    return tomli_w.dumps(document)


def _missing_nodes(given: StoreConfig) -> list[dict[str, Any]]:
    """One node for the plates of each shelf that no node reads."""
    read_by = {plate for node in given.shelf_nodes for plate in node.plates}
    shelves: dict[ShelfId, list[str]] = {}
    for plate in given.plates:
        if plate.id not in read_by:
            shelves.setdefault(plate.shelf, []).append(str(plate.id))
    devices = (given.shelf_nodes, given.readers, given.gate_nodes, given.cameras)
    taken = {str(one.id) for rows in devices for one in rows}
    return [
        {"id": _free(f"import-{shelf}", taken), "port": f"import:{shelf}", "plates": plates}
        for shelf, plates in shelves.items()
    ]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _overhead(name: str, given: StoreConfig) -> dict[str, Any]:
    """A camera that looks straight down; the tracker uses only its name, points are in metres."""
    area = given.area
    x_m, y_m = (area.x_min_m + area.x_max_m) / 2, (area.y_min_m + area.y_max_m) / 2
    return {
        "id": name,
        "camera_matrix": [[300.0, 0.0, 320.0], [0.0, 300.0, 240.0], [0.0, 0.0, 1.0]],
        "distortion": [0.0, 0.0, 0.0, 0.0, 0.0],
        "store_from_camera": [
            [1.0, 0.0, 0.0, x_m],
            [0.0, -1.0, 0.0, y_m],
            [0.0, 0.0, -1.0, OVERHEAD_M],
            [0.0, 0.0, 0.0, 1.0],
        ],
    }
