"""Draws the store layouts of ``sim/layouts``: ``python -m sim.layout_builder`` writes the files.

A store is some *bays* (shelves one above the other with one open side, a list of goods per shelf)
in *boxes* (gondolas, walls, pillars), gates in the street wall and cameras under the ceiling. The
files are what is read; this is where a shelf is moved without counting sixty plates by hand.

    corner, 5.6 x 4.6 m                    market, 20 x 13 m
    y 4.6 +--------------------+           y 13 +---------------------------------------+
          |   [== B ==]v       |                |  [ L ]v [ M ]v            # store     |
          |                    |                |                           # room      |
          |            ######  |                |   [A/B]^v     [C/D]^v     ##########   |
          |   [== A ==]v       |                |                                       |
          |                    |                |>K [E/F]^v     [G/H]^v     [I/J]^v      |
        0 +-[in]---------[out]-+ x 5.6          +-[in][in][in]--------[out][out][out]---+
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from messages.ids import CameraId, DeviceId, FacingId, GateId, PlateId, ShelfId, Sku, StoreId
from messages.store_config import (
    Camera,
    Facing,
    Fixture,
    Gate,
    GateNode,
    GatePolicy,
    Plate,
    Product,
    Reader,
    ShelfNode,
    StoreArea,
    StoreConfig,
)
from sim.first_store import (
    CAMERA_HEIGHT_M,
    CAMERA_MATRIX,
    DISTORTION,
    GRAMS_PER_COUNT,
    PLATE_DEPTH_M,
    PLATE_WIDTH_M,
    looking_at,
    on_ports,
)
from sim.retailer.catalogue import CATALOGUE
from sim.store_toml import write_store

LAYOUTS = Path(__file__).parent / "layouts"
GONDOLA_HEIGHT_M = 1.5
WALL_HEIGHT_M = 2.6
BACK_M = 0.05  # from the plates' rear edge to the middle of a gondola
ZERO_COUNTS_SEED = 61  # each plate's zero is part of the store, not of a run
SHELF_HEIGHTS_M = {2: (0.60, 1.15), 3: (0.45, 0.90, 1.30)}

South, North, East, West = (0.0, -1.0), (0.0, 1.0), (1.0, 0.0), (-1.0, 0.0)
Goods = tuple[tuple[str, int], ...]  # SKU and the plates that its facing has, along the shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """Shelves above each other. Position: middle of the plates. ``front``: its open side."""

    name: str
    x_m: float
    y_m: float
    front: tuple[float, float]
    shelves: tuple[Goods, ...]  # the lowest one first


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A layout as people think of it."""

    store: str
    name: str
    size_m: tuple[float, float]
    bays: tuple[Bay, ...]
    boxes: tuple[Fixture, ...]
    entries_m: tuple[float, ...]  # x of the lanes in the street wall
    exits_m: tuple[float, ...]
    cameras: tuple[tuple[tuple[float, float], tuple[float, float]], ...]  # stands at, looks at
    same_mass: dict[str, str]  # SKU -> the SKU whose mass it has
    people_max: int = 200


def drawn(plan: Plan) -> StoreConfig:
    """The store as ``store.toml`` knows it."""
    plates = tuple(_zeroed([p for bay in plan.bays for p in _plates(bay)]))
    gates = _gates(plan)
    config = StoreConfig(
        store=StoreId(plan.store),
        name=plan.name,
        plates=plates,
        products=_products(plan),
        facings=tuple(f for bay in plan.bays for f in _facings(bay)),
        gates=gates,
        cameras=tuple(_camera(i, *pose) for i, pose in enumerate(plan.cameras)),
        fixtures=plan.boxes,
        shelf_nodes=_nodes(plates),
        readers=tuple(
            Reader(id=DeviceId(f"reader-{i + 1}"), port="", gate=gates[i].id)
            for i in range(len(plan.entries_m))
        ),
        gate_nodes=tuple(
            GateNode(id=DeviceId(f"gate-{i + 1}"), port="", gate=gate.id)
            for i, gate in enumerate(gates)
        ),
        area=StoreArea(x_min_m=0.0, y_min_m=0.0, x_max_m=plan.size_m[0], y_max_m=plan.size_m[1]),
        gate_policy=GatePolicy(people_max=plan.people_max),
    )
    return on_ports(config, "run/devices")


def box(
    id_: str, x_m: float, y_m: float, width_m: float, depth_m: float, height_m: float
) -> Fixture:
    return Fixture(id=id_, x_m=x_m, y_m=y_m, width_m=width_m, depth_m=depth_m, height_m=height_m)


def _plates(bay: Bay) -> Iterator[Plate]:
    along = np.array([abs(bay.front[1]), abs(bay.front[0])])
    for level, goods in enumerate(bay.shelves):
        count = sum(plates for _, plates in goods)
        for i in range(count):
            offset_m = (i - (count - 1) / 2) * PLATE_WIDTH_M * along
            yield Plate(
                id=PlateId(f"{bay.name}{level + 1}-{i + 1}"),
                shelf=ShelfId(f"{bay.name}{level + 1}"),
                x_m=round(bay.x_m + float(offset_m[0]), 4),
                y_m=round(bay.y_m + float(offset_m[1]), 4),
                z_m=SHELF_HEIGHTS_M[len(bay.shelves)][level],
                width_m=PLATE_WIDTH_M,
                depth_m=PLATE_DEPTH_M,
                grams_per_count=GRAMS_PER_COUNT,
            )


def _zeroed(plates: list[Plate]) -> Iterator[Plate]:
    zeros = np.random.default_rng(ZERO_COUNTS_SEED).integers(-4000, 4000, len(plates))
    for plate, zero in zip(plates, zeros, strict=True):
        yield replace(plate, zero_counts=int(zero))


def _facings(bay: Bay) -> Iterator[Facing]:
    """``a2-butter-250g``: butter on the second shelf of bay a."""
    for level, goods in enumerate(bay.shelves):
        start = 0
        for sku, count in goods:
            plates = range(start + 1, start + count + 1)
            yield Facing(
                id=FacingId(f"{bay.name}{level + 1}-{sku}"),
                sku=Sku(sku),
                plates=tuple(PlateId(f"{bay.name}{level + 1}-{i}") for i in plates),
            )
            start += count


def _products(plan: Plan) -> tuple[Product, ...]:
    mass_g = {item.id: item.mass_g for item in CATALOGUE}
    return tuple(
        Product(
            id=Sku(i.id),
            mass_g=mass_g[plan.same_mass.get(i.id, i.id)],
            mass_sd_g=i.mass_sd_g,
            name=i.name,
            gtin=i.gtin,
        )
        for i in CATALOGUE
    )


def _gates(plan: Plan) -> tuple[Gate, ...]:
    lanes = [("in", "entry", x) for x in plan.entries_m] + [
        ("out", "exit", x) for x in plan.exits_m
    ]
    return tuple(
        Gate(id=GateId(_gate_id(plan, word, x)), x_m=x, y_m=0.0, direction=direction)
        for word, direction, x in lanes
    )


def _gate_id(plan: Plan, word: str, x_m: float) -> str:
    """``gate-in`` where there is one, else ``gate-in-2``."""
    lanes = plan.entries_m if word == "in" else plan.exits_m
    return f"gate-{word}" if len(lanes) == 1 else f"gate-{word}-{lanes.index(x_m) + 1}"


def _nodes(plates: tuple[Plate, ...]) -> tuple[ShelfNode, ...]:
    return tuple(
        ShelfNode(
            id=DeviceId(f"shelf-{shelf}"),
            port="",
            node=i + 1,
            plates=tuple(p.id for p in plates if p.shelf == shelf),
        )
        for i, shelf in enumerate(dict.fromkeys(p.shelf for p in plates))
    )


def _camera(index: int, stands: tuple[float, float], looks: tuple[float, float]) -> Camera:
    pose = looking_at(np.array([*stands, CAMERA_HEIGHT_M]), np.array([*looks, 0.0]))
    return Camera(
        id=CameraId(f"cam-{index + 1}"),
        camera_matrix=CAMERA_MATRIX,
        distortion=DISTORTION,
        store_from_camera=tuple(tuple(round(float(v), 9) for v in row) for row in pose),
    )


# --- corner: small, for hard cases ---------------------------------------------------------------


CORNER = Plan(
    store="corner",
    name="Corner store",
    size_m=(5.6, 4.6),
    bays=(
        Bay(
            name="a",
            x_m=2.4,
            y_m=1.95,
            front=South,
            shelves=(
                (
                    ("water-500ml", 3),
                    ("water-sparkling-500ml", 3),
                    ("milk-1l", 3),
                    ("milk-oat-1l", 3),
                ),
                (
                    ("cola-330ml", 2),
                    ("cola-zero-330ml", 2),
                    ("tomatoes-tin-400g", 2),
                    ("beans-tin-400g", 2),
                    ("rice-1kg", 2),
                    ("flour-1kg", 2),
                ),
                (
                    ("chocolate-100g", 2),
                    ("chocolate-dark-100g", 2),
                    ("gum-mint", 2),
                    ("bar-muesli-25g", 2),
                    ("tea-black-25", 2),
                    ("batteries-aa-4", 2),
                ),
            ),
        ),
        Bay(
            name="b",
            x_m=2.4,
            y_m=4.15,
            front=South,
            shelves=(
                (
                    ("apple", 3),
                    ("bell-pepper", 2),
                    ("banana", 3),
                    ("avocado", 2),
                    ("wine-red-750ml", 2),
                ),
                (
                    ("crisps-175g", 4),
                    ("sandwich-cheese", 2),
                    ("salad-bowl", 2),
                    ("yoghurt-plain-150g", 2),
                    ("yoghurt-cherry-150g", 2),
                ),
            ),
        ),
    ),
    boxes=(
        box("gondola-a", 2.4, 2.0, 1.25, 0.50, GONDOLA_HEIGHT_M),
        box("gondola-b", 2.4, 4.2, 1.25, 0.50, GONDOLA_HEIGHT_M),
        box("wall-storeroom", 4.95, 2.9, 1.3, 0.12, WALL_HEIGHT_M),
    ),
    entries_m=(1.0,),
    exits_m=(4.5,),
    cameras=(((0.4, 0.4), (2.4, 1.6)), ((5.2, 0.4), (3.0, 2.0)), ((0.4, 4.2), (2.8, 2.6))),
    # Cans of one size weigh the same, and so do bars of one size: what is in them is no heavier.
    same_mass={"cola-zero-330ml": "cola-330ml", "chocolate-dark-100g": "chocolate-100g"},
    people_max=30,
)


# --- market: room for sixty people ---------------------------------------------------------------


def _wide(*skus: str) -> Goods:
    """Five facings of two plates: a 40-inch shelf."""
    return tuple((sku, 2) for sku in skus)


DRINKS = (
    _wide("water-500ml", "water-sparkling-500ml", "iced-tea-500ml", "beer-500ml", "wine-red-750ml"),
    _wide("cola-330ml", "cola-zero-330ml", "iced-tea-500ml", "water-500ml", "orange-juice-1l"),
)
DAIRY = (
    _wide("milk-1l", "milk-oat-1l", "orange-juice-1l", "eggs-10", "butter-250g"),
    _wide(
        "yoghurt-plain-150g",
        "yoghurt-cherry-150g",
        "cheese-gouda-200g",
        "cheese-brie-200g",
        "hummus-200g",
    ),
)
PANTRY = (
    _wide("rice-1kg", "flour-1kg", "pasta-500g", "coffee-500g", "detergent-1500g"),
    _wide("tomatoes-tin-400g", "beans-tin-400g", "olive-oil-500ml", "tea-black-25", "pasta-500g"),
)
SNACKS = (
    _wide("crisps-175g", "croissant", "banana", "apple", "batteries-aa-4"),
    _wide("chocolate-100g", "chocolate-dark-100g", "gum-mint", "bar-muesli-25g", "tea-black-25"),
)
FRESH = (
    _wide("apple", "bell-pepper", "banana", "avocado", "eggs-10"),
    _wide("ham-100g", "cheese-gouda-200g", "hummus-200g", "croissant", "butter-250g"),
)
LUNCH = (
    _wide("salad-bowl", "sandwich-cheese", "banana", "apple", "avocado"),
    _wide("sandwich-cheese", "salad-bowl", "ham-100g", "croissant", "yoghurt-plain-150g"),
    _wide("cola-330ml", "water-500ml", "iced-tea-500ml", "bar-muesli-25g", "chocolate-100g"),
)
MODULE_M = 1.10  # width of a 40-inch bay with its posts
ISLAND_DEPTH_M = 2 * (PLATE_DEPTH_M + BACK_M)


def _island(names: str, x_m: float, y_m: float, *kinds: tuple[Goods, ...]) -> list[Bay]:
    """Four bays back to back: two on the street side, two on the other."""
    aside_m, back_m = MODULE_M / 2, PLATE_DEPTH_M / 2 + BACK_M
    sides = ((-back_m, South), (back_m, North))
    places = [(dx, dy, front) for dy, front in sides for dx in (-aside_m, aside_m)]
    return [
        Bay(name=name, x_m=round(x_m + dx, 3), y_m=round(y_m + dy, 3), front=front, shelves=kind)
        for name, (dx, dy, front), kind in zip(names, places, kinds, strict=True)
    ]


MARKET = Plan(
    store="market",
    name="Market hall",
    size_m=(20.0, 13.0),
    bays=(
        *_island("abcd", 5.4, 4.6, DRINKS, LUNCH[:2], SNACKS, DAIRY),
        *_island("efgh", 10.8, 4.6, LUNCH[:2], DRINKS, DAIRY, PANTRY),
        *_island("ijkl", 5.4, 8.6, PANTRY, SNACKS, FRESH, DRINKS),
        *_island("mnop", 10.8, 8.6, FRESH, DAIRY, PANTRY, SNACKS),
        Bay(name="q", x_m=4.85, y_m=12.75, front=South, shelves=LUNCH),
        Bay(name="r", x_m=10.25, y_m=12.75, front=South, shelves=LUNCH),
        Bay(name="s", x_m=0.25, y_m=6.6, front=East, shelves=FRESH),
        Bay(name="t", x_m=19.75, y_m=5.2, front=West, shelves=SNACKS),
    ),
    boxes=(
        box("island-1", 5.4, 4.6, 2 * MODULE_M, ISLAND_DEPTH_M, GONDOLA_HEIGHT_M),
        box("island-2", 10.8, 4.6, 2 * MODULE_M, ISLAND_DEPTH_M, GONDOLA_HEIGHT_M),
        box("island-3", 5.4, 8.6, 2 * MODULE_M, ISLAND_DEPTH_M, GONDOLA_HEIGHT_M),
        box("island-4", 10.8, 8.6, 2 * MODULE_M, ISLAND_DEPTH_M, GONDOLA_HEIGHT_M),
        box("chiller-1", 4.85, 12.775, MODULE_M, 0.45, 1.9),
        box("chiller-2", 10.25, 12.775, MODULE_M, 0.45, 1.9),
        box("stand-west", 0.225, 6.6, 0.45, MODULE_M, GONDOLA_HEIGHT_M),
        box("stand-east", 19.775, 5.2, 0.45, MODULE_M, GONDOLA_HEIGHT_M),
        box("storeroom", 17.4, 11.0, 5.2, 4.0, WALL_HEIGHT_M),
        box("pillar-1", 8.1, 6.6, 0.4, 0.4, 3.4),
        box("pillar-2", 14.2, 6.6, 0.4, 0.4, 3.4),
        box("wall-lanes", 9.6, 1.2, 0.12, 2.4, 1.1),
    ),
    entries_m=(2.0, 4.0, 6.0),
    exits_m=(13.0, 15.0, 17.0),
    cameras=(
        ((1.0, 0.5), (3.0, 2.2)),
        ((6.6, 0.6), (5.2, 2.6)),
        ((12.6, 0.6), (11.2, 2.8)),
        ((18.8, 0.6), (16.6, 2.4)),
        ((0.6, 6.4), (3.0, 5.2)),
        ((8.1, 4.6), (6.6, 6.6)),
        ((8.1, 8.2), (9.8, 6.6)),
        ((13.8, 4.6), (12.2, 6.6)),
        ((19.2, 7.6), (17.4, 5.6)),
        ((0.8, 12.2), (2.8, 10.4)),
        ((7.6, 12.2), (6.0, 10.4)),
        ((7.9, 12.2), (9.8, 10.4)),
        ((14.4, 12.2), (13.0, 10.2)),
        ((14.2, 2.6), (15.6, 4.6)),
    ),
    same_mass={},
    people_max=120,
)

PLANS = {"corner": CORNER, "market": MARKET}


def main() -> None:
    for name, plan in PLANS.items():
        write_store(drawn(plan), LAYOUTS / f"{name}.toml")
        print(f"sim/layouts/{name}.toml")


if __name__ == "__main__":
    main()
