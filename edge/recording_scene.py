"""The store as a picture: floor plan, people and carts as ``foxglove.SceneUpdate`` messages.

All in the frame ``store``: metres, z up. The floor plan comes with the first message and again each
``PLAN_EVERY_NS``, so that a viewer who jumps has it soon; people live for half a second and thus
vanish when no message renews them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from messages.store_config import Fixture, Gate, Plate, StoreConfig

FRAME = "store"
EVERY_NS = 200_000_000  # 5 Hz: people walk 0.3 m meanwhile
PLAN_EVERY_NS = 2_000_000_000
PERSON_HEIGHT_M = 1.7
PERSON_WIDTH_M = 0.45
LABEL_ABOVE_M = 0.25
PLATE_HEIGHT_M = 0.02
GATE_HEIGHT_M = 1.0
AREA_SIDE_MAX_M = 500.0  # the default area is "anywhere": no line is drawn for it
LINES_SHOWN_MAX = 12  # of a cart, in a label

Json: TypeAlias = dict[str, Any]

_IDENTITY: Json = {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0}
_GREY = (0.6, 0.6, 0.6, 0.35)
_SHELF = (0.30, 0.50, 0.85, 0.8)
_GATE = (0.15, 0.65, 0.30, 0.8)
_FLOOR = (0.5, 0.5, 0.5, 1.0)
_UNKNOWN = (0.7, 0.7, 0.7, 0.9)
_TEXT = (0.1, 0.1, 0.1, 1.0)
_COLORS = (
    (0.89, 0.10, 0.11, 0.9),
    (0.22, 0.49, 0.72, 0.9),
    (0.30, 0.69, 0.29, 0.9),
    (0.60, 0.31, 0.64, 0.9),
    (1.00, 0.50, 0.00, 0.9),
    (0.65, 0.34, 0.16, 0.9),
    (0.97, 0.51, 0.75, 0.9),
)


class Scene:
    """Messages of one store; keeps when it spoke last."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._spoken_ns: int | None = None
        self._plan_ns: int | None = None

    def update(self, now_ns: int, view: Mapping[str, Any]) -> bytes | None:
        """The message for ``engine.view()`` at this instant, or None while none is due."""
        if self._spoken_ns is not None and now_ns - self._spoken_ns < EVERY_NS:
            return None
        self._spoken_ns = now_ns
        visits = {visit["visit"]: visit for visit in view.get("visits", [])}
        people = [_person(now_ns, person, visits) for person in view.get("people", [])]
        plan: list[Json] = []
        if self._plan_ns is None or now_ns - self._plan_ns >= PLAN_EVERY_NS:
            self._plan_ns = now_ns
            plan = floor_plan(now_ns, self._config)
        carts = _carts(now_ns, view, self._config)
        return msgspec.json.encode({"deletions": [], "entities": [*plan, carts, *people]})


def floor_plan(now_ns: int, config: StoreConfig) -> list[Json]:
    """What does not move: area, fixtures, shelves with their goods, gates."""
    shelves: dict[str, list[Plate]] = {}
    for plate in config.plates:
        shelves.setdefault(str(plate.shelf), []).append(plate)
    goods = _goods(config)
    return [
        *_area(now_ns, config),
        *(_fixture(now_ns, fixture) for fixture in config.fixtures),
        *(_shelf(now_ns, name, plates, goods) for name, plates in shelves.items()),
        *(_gate(now_ns, gate) for gate in config.gates),
    ]


def _area(now_ns: int, config: StoreConfig) -> Iterable[Json]:
    area = config.area
    if max(area.x_max_m - area.x_min_m, area.y_max_m - area.y_min_m) > AREA_SIDE_MAX_M:
        return
    corners = [
        (area.x_min_m, area.y_min_m),
        (area.x_max_m, area.y_min_m),
        (area.x_max_m, area.y_max_m),
        (area.x_min_m, area.y_max_m),
    ]
    line = {
        "type": 1,  # LINE_LOOP
        "pose": _pose(0.0, 0.0, 0.0),
        "thickness": 0.03,
        "scale_invariant": False,
        "points": [_xyz(x, y, 0.0) for x, y in corners],
        "color": _color(_FLOOR),
        "colors": [],
        "indices": [],
    }
    yield _entity(now_ns, "area", lines=[line])


def _fixture(now_ns: int, fixture: Fixture) -> Json:
    size = (fixture.width_m, fixture.depth_m, fixture.height_m)
    cube = _cube(fixture.x_m, fixture.y_m, fixture.height_m / 2, size, _GREY)
    return _entity(now_ns, f"fixture {fixture.id}", cubes=[cube])


def _shelf(now_ns: int, name: str, plates: Sequence[Plate], goods: Mapping[str, list[str]]) -> Json:
    """A shelf: one cube a plate; its goods as metadata, and its name above its middle."""
    cubes = [
        _cube(p.x_m, p.y_m, p.z_m, (p.width_m, p.depth_m, PLATE_HEIGHT_M), _SHELF) for p in plates
    ]
    middle = plates[len(plates) // 2]
    label = _label(middle.x_m, middle.y_m, middle.z_m + 0.08, name, 0.08)
    metadata = [
        {"key": str(plate.id), "value": ", ".join(goods.get(str(plate.id), []))} for plate in plates
    ]
    return _entity(now_ns, f"shelf {name}", cubes=cubes, texts=[label], metadata=metadata)


def _goods(config: StoreConfig) -> dict[str, list[str]]:
    names = {product.id: product.name or str(product.id) for product in config.products}
    found: dict[str, list[str]] = {}
    for facing in config.facings:
        for plate in facing.plates:
            found.setdefault(str(plate), []).append(names.get(facing.sku, str(facing.sku)))
    return found


def _gate(now_ns: int, gate: Gate) -> Json:
    cube = _cube(gate.x_m, gate.y_m, GATE_HEIGHT_M / 2, (0.1, 0.8, GATE_HEIGHT_M), _GATE)
    label = _label(gate.x_m, gate.y_m, GATE_HEIGHT_M + LABEL_ABOVE_M, str(gate.id), 0.15)
    return _entity(now_ns, f"gate {gate.id}", cubes=[cube], texts=[label])


def _person(now_ns: int, person: Mapping[str, Any], visits: Mapping[str, Any]) -> Json:
    """A cylinder in the colour of the visit, with whom we think it is and what is in the cart."""
    x_m, y_m, visit = float(person["x_m"]), float(person["y_m"]), str(person["visit"])
    cylinder = {
        "pose": _pose(x_m, y_m, PERSON_HEIGHT_M / 2),
        "size": _xyz(PERSON_WIDTH_M, PERSON_WIDTH_M, PERSON_HEIGHT_M),
        "bottom_scale": 1.0,
        "top_scale": 1.0,
        "color": _color(_color_of(visit)),
    }
    sure = f" {person['probability']:.2f}" if visit else ""
    text = "\n".join([f"{visit or 'unknown'}{sure}", *_lines(visits.get(visit, {}))])
    label = _label(x_m, y_m, PERSON_HEIGHT_M + LABEL_ABOVE_M, text, 0.12)
    return _entity(
        now_ns,
        f"person {person['track']}",
        cylinders=[cylinder],
        texts=[label],
        lifetime_ns=500_000_000,
        metadata=[{"key": "visit", "value": visit}],
    )


def _carts(now_ns: int, view: Mapping[str, Any], config: StoreConfig) -> Json:
    """All carts as one text beside the store."""
    rows = []
    for visit in view.get("visits", []):
        where = f"{visit['inside']} inside" if visit["inside"] else "left"
        rows.append("\n  ".join([f"{visit['visit']} ({where})", *_lines(visit)]))
    area, x_m, y_m = config.area, 0.0, 0.0
    if area.x_max_m - area.x_min_m <= AREA_SIDE_MAX_M:
        x_m, y_m = area.x_max_m + 0.5, (area.y_min_m + area.y_max_m) / 2
    text = "\n".join(rows) or "nobody inside"
    return _entity(now_ns, "carts", texts=[_label(x_m, y_m, 1.0, text, 0.15)])


def _lines(visit: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{line['quantity']} x {line['sku']}" + (" ?" if line["state"] == "review" else "")
        for line in visit.get("lines", [])
    ]
    more = len(lines) - LINES_SHOWN_MAX
    return lines[:LINES_SHOWN_MAX] + ([f"and {more} more"] if more > 0 else [])


def _color_of(visit: str) -> tuple[float, float, float, float]:
    return _COLORS[zlib.crc32(visit.encode()) % len(_COLORS)] if visit else _UNKNOWN


# --- primitives -----------------------------------------------------------------------------------


def _entity(
    now_ns: int,
    name: str,
    *,
    lifetime_ns: int = 0,  # 0: until it is replaced
    metadata: Sequence[Json] = (),
    **primitives: list[Json],
) -> Json:
    kinds = ["arrows", "cubes", "spheres", "cylinders", "lines", "triangles", "texts", "models"]
    return {
        "timestamp": _seconds(now_ns),
        "frame_id": FRAME,
        "id": name,
        "lifetime": _seconds(lifetime_ns),
        "frame_locked": False,
        "metadata": list(metadata),
        **{kind: primitives.get(kind, []) for kind in kinds},
    }


def _seconds(at_ns: int) -> Json:
    sec, nsec = divmod(max(at_ns, 0), 1_000_000_000)
    return {"sec": sec, "nsec": nsec}


def _xyz(x: float, y: float, z: float) -> Json:
    return {"x": float(x), "y": float(y), "z": float(z)}


def _pose(x: float, y: float, z: float) -> Json:
    return {"position": _xyz(x, y, z), "orientation": _IDENTITY}


def _color(rgba: tuple[float, float, float, float]) -> Json:
    return dict(zip("rgba", rgba, strict=True))


def _cube(
    x: float,
    y: float,
    z: float,
    size: tuple[float, float, float],
    rgba: tuple[float, float, float, float],
) -> Json:
    return {"pose": _pose(x, y, z), "size": _xyz(*size), "color": _color(rgba)}


def _label(x: float, y: float, z: float, text: str, font_size_m: float) -> Json:
    return {
        "pose": _pose(x, y, z),
        "billboard": True,
        "font_size": font_size_m,
        "scale_invariant": False,
        "color": _color(_TEXT),
        "text": text,
    }
