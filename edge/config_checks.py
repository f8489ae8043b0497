"""What must hold between the values of ``store.toml``: ranges, references, shapes.

``RULES`` judges one value by its key; ``check`` judges a whole configuration. Each says what is
wrong and what to do, and none stops at the first problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from messages.money import EXPONENT
from messages.store_config import Camera, StoreConfig
from messages.vision_config import ACTIVATIONS, COLOURS, DECODERS, LAYOUTS, PADS

ROTATION_ERROR_MAX = 0.01  # of R R^T against I: five-digit calibration files stay far below
DISTORTION_LENGTHS = (4, 5, 8, 12, 14)  # OpenCV's models
POLYGONS_MAX, CORNERS_MAX = 16, 64  # of a camera's floor mask
STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it stands in URLs and file names


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where. ``index`` counts the rows of a list of tables from 0."""

    table: str
    text: str
    index: int | None = None
    id: str | None = None
    key: str | None = None


_BOX = 'must be 1 to 64 of letters, digits, ".", "_", "-"'
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WIDTH = "must be 0, or a multiple of 32 up to 1920"

Rule = Callable[[Any], str]  # "" where the value is right, otherwise what to do


def _above(least: float) -> Rule:
    return lambda v: "" if v > least else f"must be above {least:g}"


def _from(least: float) -> Rule:
    return lambda v: "" if v >= least else f"must be {least:g} or more"


def _between(least: float, most: float) -> Rule:
    return lambda v: "" if least <= v <= most else f"must lie in {least:g} to {most:g}"


def _one_of(*choices: str) -> Rule:
    return lambda v: "" if v in choices else f"must be one of {', '.join(choices)}"


def _url(value: str) -> str:
    good = not value or re.fullmatch(r"https?://[^\s/]+\S*", value)
    return "" if good else "must be a URL; write http://host:port or https://host"


def _public_key(value: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{64}", value):
        return ""
    return f"{len(value)} characters; a public key is 64 hexadecimal digits (32 bytes)"


def _camera_url(value: str) -> str:
    if re.match(r"\w+://[^/]*@", value):
        return "holds a name or password; put them into user and password_file"
    good = "://" not in value or re.match(r"(rtsps?|https?)://[^\s/]+", value)
    return "" if good else "must be rtsp://host/path, http://..., or a video file"


def _sha256(value: str) -> str:
    good = re.fullmatch(r"[0-9a-fA-F]{64}", value)
    return "" if good else "must be the 64 hexadecimal digits that sha256sum prints"


def _three(value: tuple[float, ...]) -> str:
    return "" if len(value) == 3 else f"has {len(value)} numbers; write one for each of 3 colours"


def _deviations(value: tuple[float, ...]) -> str:
    return _three(value) or ("" if min(value) > 0 else "must be above 0; write [1, 1, 1] for none")


def _floor_mask(value: tuple[tuple[tuple[float, ...], ...], ...]) -> str:
    if len(value) > POLYGONS_MAX:
        return f"{len(value)} polygons; a camera has at most {POLYGONS_MAX}: join neighbours"
    for number, polygon in enumerate(value, start=1):
        if not 3 <= len(polygon) <= CORNERS_MAX:
            return f"polygon {number} has {len(polygon)} corners; write 3 to {CORNERS_MAX} [x, y]"
        if any(len(corner) != 2 for corner in polygon):
            return f"polygon {number}: a corner is [x, y], in metres of the store"
        if _area_m2(polygon) < 1e-4:
            return f"polygon {number} has no area; give its corners in order, round it"
    return ""


def _area_m2(polygon: tuple[tuple[float, ...], ...]) -> float:
    """Gauss's area formula."""
    turned = (*polygon[1:], polygon[0])
    pairs = zip(polygon, turned, strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs)) / 2


RULES: dict[str, Rule] = {
    **dict.fromkeys(("width_m", "depth_m", "height_m", "capacity_g", "mass_g"), _above(0)),
    **dict.fromkeys(("offline_entries_max", "group_window_s"), _from(0)),
    **dict.fromkeys(("mass_sd_g", "noise_g", "z_m", "hold_minor", "clock_skew_max_s"), _from(0)),
    **dict.fromkeys(("party_size_max", "people_max", "width_px", "height_px"), _from(1)),
    **dict.fromkeys(("token_validity_max_s", "passage_timeout_s", "passage_gap_s"), _above(0)),
    **dict.fromkeys(
        ("clock_uncertainty_max_ms", "review_deadline_s", "visit_timeout_s"), _above(0)
    ),
    **dict.fromkeys(("request_timeout_s", "backoff_start_s", "backoff_max_s"), _above(0)),
    **dict.fromkeys(("retailer_url", "broker_url", "webhook_url"), _url),
    "grams_per_count": lambda v: "" if v else "must not be 0; a negative span is a reversed cell",
    "charge_probability_min": _between(0.5, 1.0),
    "request_group": _one_of("account", "merchant"),
    **dict.fromkeys(("webhook_order", "order"), _one_of("ordered", "parallel", "batch")),
    "network": _one_of("public", "private"),
    "webhook_network": _one_of("public", "private"),
    "retailer_amounts": _one_of("minor", "decimal"),
    "entry_check": _one_of("store", "retailer"),
    "unpaid_entry": _one_of("refuse", "allow"),
    "payment_mode": _one_of("checkout", "payment"),
    "payments": _one_of("broker", "stripe"),
    "direction": _one_of("entry", "exit", "both"),
    "role": _one_of("room", "shelf"),
    "clip_s": _between(0, 120),
    "clips_days": _between(0.01, 366),
    "currency": _one_of(*sorted(EXPONENT)),
    "baud": _between(300, 4_000_000),
    "node": _between(0, 255),
    "inbox_max": _between(64, 1_000_000),
    "step_every_ms": _between(10, 1000),
    "lateness_max_ms": _between(0, 5000),
    "memory_max_mb": _from(100),
    "url": _camera_url,
    "images_per_s": _between(0.1, 60),
    "latency_ms": _between(0, 2000),
    "model_width_px": lambda v: "" if v == 0 or (32 <= v <= 1920 and v % 32 == 0) else _WIDTH,
    "floor_mask": _floor_mask,
    "detect": _one_of("motion", "always"),
    "box": lambda v: "" if not v or STORE_ID.fullmatch(v) else _BOX,
    "tls": _one_of("on", "off"),
    "process": _one_of("daemon", "apart"),
    "cpu_cores": _between(0.05, 64),
    "workers": _between(1, 32),
    "decoder": _one_of(*DECODERS),
    "layout": _one_of(*LAYOUTS),
    "colour": _one_of(*COLOURS),
    "pad": _one_of(*PADS),
    "activation": _one_of(*ACTIVATIONS),
    "sha256": _sha256,
    "mean": _three,
    "std": _deviations,
    "sure_score": _between(0.01, 0.99),
    "nms_iou": _between(0.05, 1),
    "public_key": _public_key,
    "port": lambda v: "" if v else "must name a serial port, for example /dev/ttyUSB0",
    "journal": lambda v: "" if v else "must name a file",
    "runtime": lambda v: "" if v else "must name a folder",
}


def check(config: StoreConfig) -> list[Problem]:
    """Every problem between the tables of a configuration whose values are right one by one."""
    checks = (_store, _ids, _facings, _shelf_nodes, _gates, _ports, _cameras, _boxes, _area)
    return [problem for one in checks for problem in one(config)]


def _store(config: StoreConfig) -> Iterator[Problem]:
    if not STORE_ID.fullmatch(config.store):
        text = f'id = "{config.store}": must be 1 to 64 of letters, digits, ".", "_", "-"'
        yield Problem(table="store", key="id", text=text)
    if config.cloud.backoff_max_s < config.cloud.backoff_start_s:
        text = "backoff_max_s must not be below backoff_start_s"
        yield Problem(table="cloud", key="backoff_max_s", text=text)


def _ids(config: StoreConfig) -> Iterator[Problem]:
    """Ids are unique in their table; devices share one name space, since health is by device."""
    alone: list[tuple[str, list[str]]] = [
        ("plate", [p.id for p in config.plates]),
        ("sku", [p.id for p in config.products]),
        ("facing", [f.id or f"facing {i + 1}" for i, f in enumerate(config.facings)]),
        ("gate", [g.id for g in config.gates]),
        ("fixture", [f.id for f in config.fixtures]),
        ("credential_key", [k.kid for k in config.credential_keys]),
        ("model", [m.id for m in config.models]),
    ]
    for table, ids in alone:
        yield from _repeated([(table, i, id_) for i, id_ in enumerate(ids)])
    devices: list[tuple[str, int, str]] = []
    for table, rows in (
        ("shelf_node", [n.id for n in config.shelf_nodes]),
        ("reader", [n.id for n in config.readers]),
        ("gate_node", [n.id for n in config.gate_nodes]),
        ("camera", [n.id for n in config.cameras]),
    ):
        devices += [(table, i, str(id_)) for i, id_ in enumerate(rows)]
    yield from _repeated(devices)


def _repeated(rows: Iterable[tuple[str, int, str]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for table, index, id_ in rows:
        here = f"[[{table}]] {index + 1}"
        if not id_:
            yield Problem(table=table, index=index, key="id", text="id is empty; give it a name")
        elif id_ in first:
            text = f'id = "{id_}": already used by {first[id_]}; ids are unique'
            yield Problem(table=table, index=index, id=id_, key="id", text=text)
        else:
            first[id_] = here


def _facings(config: StoreConfig) -> Iterator[Problem]:
    for index, facing in enumerate(config.facings):
        where: dict[str, Any] = {"table": "facing", "index": index, "id": facing.id or None}
        if facing.sku not in config.product_index:
            text = f'sku = "{facing.sku}": no [[sku]] has this id; add it or correct the name'
            yield Problem(**where, key="sku", text=text)
        yield from _plates(config, facing.plates, where)


def _plates(
    config: StoreConfig, plates: tuple[str, ...], where: dict[str, Any]
) -> Iterator[Problem]:
    if not plates:
        yield Problem(**where, key="plates", text="plates is empty; name at least one plate")
    for plate in plates:
        if plate not in config.plate_index:
            text = f'plates: no [[plate]] has the id "{plate}"; add it or correct the name'
            yield Problem(**where, key="plates", text=text)
    for plate in _twice(plates):
        yield Problem(**where, key="plates", text=f'plates: "{plate}" stands twice; name it once')


def _twice(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _shelf_nodes(config: StoreConfig) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for index, node in enumerate(config.shelf_nodes):
        where: dict[str, Any] = {"table": "shelf_node", "index": index, "id": node.id}
        yield from _plates(config, node.plates, where)
        for plate in dict.fromkeys(node.plates):
            if plate in owner:
                text = f'plates: "{plate}" is already read by "{owner[plate]}"; keep it in one'
                yield Problem(**where, key="plates", text=text)
            owner[plate] = node.id


def _gates(config: StoreConfig) -> Iterator[Problem]:
    nodes = [("reader", i, r.id, r.gate) for i, r in enumerate(config.readers)]
    controllers = [("gate_node", i, g.id, g.gate) for i, g in enumerate(config.gate_nodes)]
    for table, index, id_, gate in nodes + controllers:
        if gate not in config.gate_index:
            text = f'gate = "{gate}": no [[gate]] has this id; add it or correct the name'
            yield Problem(table=table, index=index, id=id_, key="gate", text=text)
    owner: dict[str, str] = {}
    for table, index, id_, gate in controllers:
        if gate in owner:
            text = f'gate = "{gate}": already driven by "{owner[gate]}"; a gate has one controller'
            yield Problem(table=table, index=index, id=id_, key="gate", text=text)
        owner.setdefault(gate, id_)


def _ports(config: StoreConfig) -> Iterator[Problem]:
    """A port belongs to one device; only shelf nodes with addresses of their own share a bus."""
    users: dict[str, list[tuple[str, int, str, int]]] = {}
    for i, shelf in enumerate(config.shelf_nodes):
        users.setdefault(shelf.port, []).append(("shelf_node", i, shelf.id, shelf.node))
    for i, reader in enumerate(config.readers):
        users.setdefault(reader.port, []).append(("reader", i, reader.id, -1))
    for i, gate in enumerate(config.gate_nodes):
        users.setdefault(gate.port, []).append(("gate_node", i, gate.id, -1))
    for port, rows in users.items():
        addresses = [node for *_, node in rows]
        bus = min(addresses) > 0 and len(set(addresses)) == len(addresses)
        if len(rows) == 1 or bus:
            continue
        for table, index, id_, _ in rows[1:]:
            text = f'port = "{port}": already used by "{rows[0][2]}"'
            remedy = "; give it its own port, or each shelf node on a bus its own node = 1..255"
            yield Problem(table=table, index=index, id=id_, key="port", text=text + remedy)


def _cameras(config: StoreConfig) -> Iterator[Problem]:
    for index, camera in enumerate(config.cameras):
        for key, text in _camera(camera):
            yield Problem(table="camera", index=index, id=camera.id, key=key, text=f"{key}: {text}")


def _camera(camera: Camera) -> Iterator[tuple[str, str]]:
    if not _has_shape(camera.camera_matrix, 3):
        yield "camera_matrix", f"is {_shape_of(camera.camera_matrix)}; 3 rows of 3 are needed"
    elif min(camera.camera_matrix[0][0], camera.camera_matrix[1][1]) <= 0:
        yield "camera_matrix", "a focal length is not above 0; write [[fx,0,cx],[0,fy,cy],[0,0,1]]"
    if len(camera.distortion) not in DISTORTION_LENGTHS:
        yield "distortion", f"has {len(camera.distortion)} numbers; write [k1, k2, p1, p2, k3]"
    if not _has_shape(camera.store_from_camera, 4):
        yield "store_from_camera", f"is {_shape_of(camera.store_from_camera)}; 4 rows of 4 needed"
    elif not _is_pose(camera.store_from_camera):
        yield "store_from_camera", "is no rotation and translation; run walkout calibrate"
    elif camera.store_from_camera[2][3] <= 0:
        yield "store_from_camera", "puts the camera in or below the floor; z is upwards, in metres"


def _boxes(config: StoreConfig) -> Iterator[Problem]:
    """A camera box needs the broker and its camera's address; plain text stays on one machine."""
    if config.mqtt.tls == "off" and config.mqtt.host and config.mqtt.host not in LOOPBACK:
        text = f'tls = "off": {config.mqtt.host} is another machine; use TLS'
        yield Problem(table="mqtt", key="tls", text=text)
    devices = {str(node.id) for node in config.shelf_nodes}
    devices |= {str(reader.id) for reader in config.readers}
    devices |= {str(node.id) for node in config.gate_nodes}
    devices |= {str(camera.id) for camera in config.cameras}
    for index, camera in enumerate(config.cameras):
        where: dict[str, Any] = {"table": "camera", "index": index, "id": camera.id, "key": "box"}
        if camera.box in devices:
            yield Problem(**where, text=f'box = "{camera.box}": is the id of a device; rename it')
        if camera.box and not config.mqtt.host:
            yield Problem(**where, text=f'box = "{camera.box}": needs [mqtt] host = ...')
        if camera.box and not camera.url:
            yield Problem(**where, text=f'box = "{camera.box}": needs the camera\'s url')


def _has_shape(matrix: tuple[tuple[float, ...], ...], side: int) -> bool:
    return len(matrix) == side and all(len(row) == side for row in matrix)


def _shape_of(matrix: tuple[tuple[float, ...], ...]) -> str:
    return f"{len(matrix)} rows of {'/'.join(str(n) for n in sorted({len(r) for r in matrix}))}"


def _is_pose(matrix: tuple[tuple[float, ...], ...]) -> bool:
    """The upper left 3 x 3 is a right-handed rotation, and the last row is 0 0 0 1."""
    a, b, c = (row[:3] for row in matrix[:3])
    pairs = ((a, a, 1), (b, b, 1), (c, c, 1), (a, b, 0), (a, c, 0), (b, c, 0))
    orthonormal = all(
        abs(sum(p * q for p, q in zip(u, v, strict=True)) - one) < ROTATION_ERROR_MAX
        for u, v, one in pairs
    )
    determinant = (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    return orthonormal and determinant > 0 and tuple(matrix[3]) == (0.0, 0.0, 0.0, 1.0)


def _area(config: StoreConfig) -> Iterator[Problem]:
    area = config.area
    for axis, low, high in (("x", area.x_min_m, area.x_max_m), ("y", area.y_min_m, area.y_max_m)):
        if low >= high:
            text = f"{axis}_min_m = {low:g} is not below {axis}_max_m = {high:g}; swap them"
            yield Problem(table="area", key=f"{axis}_min_m", text=text)
