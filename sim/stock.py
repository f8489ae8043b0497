"""What stands on the shelves: single units with their own mass and place, and who took them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats, Ints
from messages.ids import Sku
from messages.store_config import Facing, StoreConfig
from sim.geometry import shelf_fronts

# Width of one unit along the shelf, metres. Bags and trays are wide: they lie across plate edges.
UNIT_WIDTH_M = {
    "crisps-175g": 0.17,
    "salad-bowl": 0.16,
    "rice-1kg": 0.13,
    "flour-1kg": 0.11,
    "pasta-500g": 0.12,
    "coffee-500g": 0.10,
    "detergent-1500g": 0.15,
    "sandwich-cheese": 0.13,
    "eggs-10": 0.20,
    "banana": 0.14,
    "cheese-gouda-200g": 0.12,
    "ham-100g": 0.12,
    "chocolate-100g": 0.09,
    "chocolate-dark-100g": 0.09,
    "milk-1l": 0.09,
    "milk-oat-1l": 0.09,
    "orange-juice-1l": 0.09,
}
UNIT_WIDTH_OTHER_M = 0.07  # bottles, tins, cups, packets
COUPLING = 0.01  # of a load, on each neighbour plate: measured for a bottle (real shelves)
LOAD_PER_FACING_MAX_G = 14_000.0
UNITS_PER_FACING_MAX = 24
WRIST_M = 0.22  # in front of the plates' middle; a shelf's front edge is at 0.20


@dataclass(slots=True)
class Unit:
    """One packaged thing. ``place_m``: along its shelf, from the shelf's middle."""

    sku: str
    mass_g: float
    facing: int | None  # None while somebody carries it
    place_m: float = 0.0


@dataclass(slots=True)
class Shelves:
    """Plates of every shelf in order along it."""

    plates: list[Ints]  # per shelf: plate indices
    lower_m: list[Floats]  # left edge of each plate along the shelf
    upper_m: list[Floats]
    origin_store_m: list[Floats]  # (3,) middle of the shelf's surface
    along: list[Floats]  # (2,) unit vector
    front: Floats  # (shelves, 2) unit normal of the open side
    facing_shelf: list[int]
    facing_span_m: list[tuple[float, float]]


def shelves_of(config: StoreConfig) -> Shelves:
    """Geometry of all shelves and facings."""
    front = shelf_fronts(config)
    rows = [_shelf(config, s, front[s]) for s in range(len(config.shelves))]
    found = Shelves(
        plates=[r[0] for r in rows],
        lower_m=[r[1] for r in rows],
        upper_m=[r[2] for r in rows],
        origin_store_m=[r[3] for r in rows],
        along=[r[4] for r in rows],
        front=front,
        facing_shelf=[_shelf_index(config, f) for f in config.facings],
        facing_span_m=[],
    )
    found.facing_span_m = [_span(config, found, i) for i in range(len(config.facings))]
    return found


def shares(shelves: Shelves, shelf: int, place_m: float, width_m: float) -> tuple[Ints, Floats]:
    """Plates that carry a load of a width at a place, and their parts of it.

    The footprint spreads by overlap; each loaded plate passes ``COUPLING`` of its part to both
    neighbours on top (plates share a frame), so the parts add up to a little more than 1.
    """
    lower, upper = shelves.lower_m[shelf], shelves.upper_m[shelf]
    left, right = place_m - width_m / 2, place_m + width_m / 2
    part = np.clip(np.minimum(upper, right) - np.maximum(lower, left), 0.0, None)
    if part.sum() <= 0:  # beside every plate: the nearest one carries it
        part[int(np.abs((lower + upper) / 2 - place_m).argmin())] = 1.0
    part = part / part.sum()
    coupled = part.copy()
    coupled[1:] += COUPLING * part[:-1]
    coupled[:-1] += COUPLING * part[1:]
    used = np.flatnonzero(coupled > 0)
    return shelves.plates[shelf][used], coupled[used]


def unit_width_m(sku: str) -> float:
    base = sku if sku in UNIT_WIDTH_M else sku.rsplit("-", 1)[0]  # varieties of the large store
    return UNIT_WIDTH_M.get(base, UNIT_WIDTH_OTHER_M)


@dataclass(slots=True)
class Stock:
    """All units of the store; ``on[facing]`` are those standing there, front one last.

    ``home[facing]`` is the SKU that really belongs there, which the books (the configuration's
    planogram) may have wrong. ``floor``: units that lie about, and where (2,).
    """

    config: StoreConfig
    shelves: Shelves
    units: list[Unit] = field(default_factory=list)
    on: list[list[int]] = field(default_factory=list)
    home: list[str] = field(default_factory=list)
    floor: dict[int, Floats] = field(default_factory=dict)

    @staticmethod
    def filled(
        config: StoreConfig, rng: np.random.Generator, holds: Mapping[str, str] | None = None
    ) -> Stock:
        """Every facing full of units with masses drawn from their SKU's spread.

        Args:
            holds: facing -> SKU, where something else stands than the planogram says.
        """
        stock = Stock(config=config, shelves=shelves_of(config))
        stock.on = [[] for _ in config.facings]
        stock.home = [str((holds or {}).get(f.id, f.sku)) for f in config.facings]
        for index in range(len(config.facings)):
            stock._fill(index, rng)
        return stock

    def _fill(self, index: int, rng: np.random.Generator) -> None:
        product = self.config.products[self.config.product_index[Sku(self.home[index])]]
        room = int(LOAD_PER_FACING_MAX_G / product.mass_g)
        for _ in range(max(2, min(UNITS_PER_FACING_MAX, room))):
            unit = self.new_unit(self.home[index], rng)
            self.put(unit, index, self.place_for(index, self.home[index], rng))

    def new_unit(self, sku: str, rng: np.random.Generator) -> int:
        """A unit that stands nowhere yet, with a mass of its own."""
        product = self.config.products[self.config.product_index[Sku(sku)]]
        mass_g = max(1.0, float(rng.normal(product.mass_g, product.mass_sd_g)))
        self.units.append(Unit(sku=sku, mass_g=mass_g, facing=None))
        return len(self.units) - 1

    def place_for(self, facing: int, sku: str, rng: np.random.Generator) -> float:
        """A place along the shelf where a unit fits into the facing."""
        low, high = self.shelves.facing_span_m[facing]
        half = min(unit_width_m(sku), high - low) / 2
        return float(rng.uniform(low + half, high - half))

    def available(self, facing: int, sku: str = "") -> list[int]:
        """Units of a SKU standing there; without one, of the goods that belong there."""
        sku = sku or self.home[facing]
        return [u for u in self.on[facing] if self.units[u].sku == sku]

    def take(self, unit: int) -> None:
        facing = self.units[unit].facing
        assert facing is not None
        self.on[facing].remove(unit)
        self.units[unit].facing = None

    def put(self, unit: int, facing: int, place_m: float) -> None:
        self.units[unit].facing, self.units[unit].place_m = facing, place_m
        self.on[facing].append(unit)

    def shares_of(self, unit: int) -> tuple[Ints, Floats]:
        """Plates that the unit stands on, and their parts of its mass."""
        it = self.units[unit]
        assert it.facing is not None
        shelf = self.shelves.facing_shelf[it.facing]
        return shares(self.shelves, shelf, it.place_m, unit_width_m(it.sku))

    def load_g(self) -> Floats:
        """(plates,) grams that stand on each plate now."""
        load = np.zeros(len(self.config.plates))
        for units in self.on:
            for unit in units:
                plates, parts = self.shares_of(unit)
                load[plates] += parts * self.units[unit].mass_g
        return load

    def point_store_m(self, facing: int, place_m: float) -> Floats:
        """(3,) where the wrist is when a hand grips a unit: just outside the shelf's open side.

        Goods stand to the front; the wrist is a hand's length nearer to the body than the fingers.
        """
        shelf = self.shelves.facing_shelf[facing]
        point = self.shelves.origin_store_m[shelf].copy()
        point[:2] += place_m * self.shelves.along[shelf] + WRIST_M * self.shelves.front[shelf]
        point[2] += 0.08  # a hand grips above the surface
        return point


def _shelf(
    config: StoreConfig, shelf: int, front: Floats
) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    along = np.array([abs(front[1]), abs(front[0])])
    index = [i for i, p in enumerate(config.plates) if p.shelf == config.shelves[shelf]]
    position = np.array([(config.plates[i].x_m, config.plates[i].y_m) for i in index])
    origin = np.array([*position.mean(axis=0), config.plates[index[0]].z_m])
    place = (position - origin[:2]) @ along
    width = np.array([config.plates[i].width_m for i in index])
    order = np.argsort(place, kind="stable")
    plates = np.array(index, dtype=np.int64)[order]
    return plates, (place - width / 2)[order], (place + width / 2)[order], origin, along


def _shelf_index(config: StoreConfig, facing: Facing) -> int:
    plate = config.plates[config.plate_index[facing.plates[0]]]
    return config.shelf_index[plate.shelf]


def _span(config: StoreConfig, shelves: Shelves, facing: int) -> tuple[float, float]:
    shelf = shelves.facing_shelf[facing]
    mine = {config.plate_index[p] for p in config.facings[facing].plates}
    here = np.array([int(p) in mine for p in shelves.plates[shelf]])
    return float(shelves.lower_m[shelf][here].min()), float(shelves.upper_m[shelf][here].max())
