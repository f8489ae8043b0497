"""What stands where: the planogram as arrays, and what was put back somewhere else.

Plates of one shelf lie in a row; they are ordered along it, so that index + 1 is the neighbour.
A *source* is something that may be taken from a shelf: a facing's product, or units that somebody
put back in a wrong place. Each source says on which plates its units stand, as weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from messages.arrays import Floats, Ints, read_only
from messages.ids import FacingId, PlateId, ShelfId, Sku
from messages.store_config import StoreConfig

MISPLACED_RELATIVE = 0.5  # a misplaced unit is taken half as often as the product of a facing
SHARE_NOTICED = 0.02  # smaller shares of a mass are noise or vibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Misplaced:
    """Units of a SKU that stand where they do not belong, with how sure that is."""

    shelf: ShelfId
    sku: Sku
    plates: tuple[PlateId, ...]
    share: tuple[float, ...]  # of the mass on each plate; adds up to 1
    units: int
    probability: float
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignObject:
    """Something laid on a shelf that is no product: a bag, a shopper's own bottle."""

    shelf: ShelfId
    plates: tuple[PlateId, ...]
    share: tuple[float, ...]
    mass_g: float
    mass_sd_g: float
    at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelf:
    """Plates of one shelf in their order along it, and the facings on them."""

    plates: Ints  # (c,) index into config.plates
    position_m: Floats  # (c, 3) centres, store frame
    along: Floats  # (2,) unit vector along the row of plates
    facings: Ints  # (f,) index into config.facings
    stands: Floats  # (f, c) weight of each plate for a unit of the facing; rows add up to 1

    def __post_init__(self) -> None:
        read_only(self.plates, self.position_m, self.along, self.facings, self.stands)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sources:
    """What may be taken from one shelf: n sources."""

    product: Ints  # (n,) index into config.products
    stands: Floats  # (n, c)
    prior: Floats  # (n,) adds up to 1
    entry: Ints  # (n,) index into the list of misplaced units, -1 for a facing
    facing: Ints  # (n,) index into config.facings, -1 for misplaced units


class Planogram:
    """Lookups from the configuration and the changes an operator made since."""

    def __init__(self, config: StoreConfig, changed: Mapping[str, Sku]) -> None:
        self.config = config
        self.unit_mass_g = np.array([p.mass_g for p in config.products], dtype=np.float64)
        self.unit_sd_g = np.array([p.mass_sd_g for p in config.products], dtype=np.float64)
        self.facing_ids = tuple(
            f.id or FacingId(f.plates[0] if f.plates else "") for f in config.facings
        )
        self.facing_product = _facing_products(config, self.facing_ids, changed)
        self.shelves = tuple(_shelf(config, i) for i in range(len(config.shelves)))

    def sources(self, shelf: int, misplaced: Sequence[Misplaced]) -> Sources:
        """Facings of the shelf, then misplaced units on it."""
        layout = self.shelves[shelf]
        known = self.facing_product[layout.facings] >= 0
        products = list(self.facing_product[layout.facings][known])
        stands = list(layout.stands[known])
        weights, entries = [1.0] * len(products), [-1] * len(products)
        for i, units in enumerate(misplaced):
            if self._is_on(units, shelf):
                products.append(self.config.product_index[units.sku])
                stands.append(self.row(shelf, units.plates, units.share))
                weights.append(MISPLACED_RELATIVE * units.probability)
                entries.append(i)
        prior = np.array(weights, dtype=np.float64)
        return Sources(
            product=np.array(products, dtype=np.int64),
            stands=np.array(stands, dtype=np.float64).reshape(-1, len(layout.plates)),
            prior=prior / prior.sum() if len(prior) else prior,
            entry=np.array(entries, dtype=np.int64),
            facing=np.pad(
                layout.facings[known], (0, len(products) - known.sum()), constant_values=-1
            ),
        )

    def _is_on(self, units: Misplaced, shelf: int) -> bool:
        here = self.config.shelf_index.get(units.shelf) == shelf
        return here and units.sku in self.config.product_index

    def home(self, shelf: int, product: int) -> Floats:
        """(c,) where units of the product stand on this shelf, zeros if they live elsewhere."""
        layout = self.shelves[shelf]
        rows = layout.stands[self.facing_product[layout.facings] == product]
        return rows.mean(axis=0) if len(rows) else np.zeros(len(layout.plates))

    def row(self, shelf: int, plates: Sequence[PlateId], share: Sequence[float]) -> Floats:
        """(c,) shares in the order of the shelf's plates, adding up to 1."""
        by_plate = {
            self.config.plate_index.get(p, -1): s for p, s in zip(plates, share, strict=True)
        }
        order = self.shelves[shelf].plates.tolist()
        row = np.array([max(by_plate.get(i, 0.0), 0.0) for i in order])
        return row / row.sum() if row.sum() > 0 else np.full(len(order), 1.0 / len(order))

    def share(self, shelf: int, plate_mass_g: Floats) -> tuple[tuple[PlateId, ...], Floats]:
        """The plates that noticed a step, and their shares of it, adding up to 1."""
        size = np.abs(plate_mass_g)
        size = size / size.sum() if size.sum() > 0 else size
        noticed = np.flatnonzero(size >= SHARE_NOTICED)
        order = self.shelves[shelf].plates
        plates = tuple(self.config.plates[order[i]].id for i in noticed)
        return plates, size[noticed] / size[noticed].sum() if len(noticed) else size[:0]


def _facing_products(
    config: StoreConfig, ids: Sequence[FacingId], changed: Mapping[str, Sku]
) -> Ints:
    skus = [changed.get(i, f.sku) for i, f in zip(ids, config.facings, strict=True)]
    return np.array([config.product_index.get(sku, -1) for sku in skus], dtype=np.int64)


def _shelf(config: StoreConfig, shelf: int) -> Shelf:
    name = config.shelves[shelf]
    plates = [i for i, p in enumerate(config.plates) if p.shelf == name]
    centres = [(config.plates[i].x_m, config.plates[i].y_m, config.plates[i].z_m) for i in plates]
    position = np.array(centres, dtype=np.float64)
    along = _along(position[:, :2])
    order = np.argsort(position[:, :2] @ along, kind="stable")
    ordered = np.array(plates, dtype=np.int64)[order]
    facings, stands = _stands(config, ordered)
    return Shelf(
        plates=ordered, position_m=position[order], along=along, facings=facings, stands=stands
    )


def _along(position_m: Floats) -> Floats:
    """(2,) unit vector between the two plates farthest apart; x where there is only one."""
    apart = position_m[None] - position_m[:, None]
    distance = np.linalg.norm(apart, axis=-1)
    i, j = np.unravel_index(int(distance.argmax()), distance.shape)
    if distance[i, j] <= 0.0:
        return np.array([1.0, 0.0])
    direction: Floats = apart[i, j] / distance[i, j]
    return direction


def _stands(config: StoreConfig, plates: Ints) -> tuple[Ints, Floats]:
    """Facings with a plate among these, and their weights over them."""
    place = {int(plate): c for c, plate in enumerate(plates)}
    facings, rows = [], []
    for f, facing in enumerate(config.facings):
        mine = [place[i] for p in facing.plates if (i := config.plate_index.get(p, -1)) in place]
        if mine:
            row = np.zeros(len(plates))
            row[mine] = 1.0 / len(mine)
            facings.append(f)
            rows.append(row)
    return np.array(facings, dtype=np.int64), np.array(rows).reshape(-1, len(plates))
