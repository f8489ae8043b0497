"""The first simulated store: four gondolas, 144 plates, 60 facings, two gates, four cameras.

Store frame in metres: origin at the left corner of the street wall, x along it, y inwards, z up.
Gates lie in the street wall (y = 0), entry left and exit right:

    y 6.2 +----------------------------------+
          |  cam-3         cam-4             |
      4.6 |   [ C ]v        [ D ]v           |    v, ^ : the open side
          |                                  |
      2.2 |   [ A ]v        [ B ]^           |
          |  cam-1         cam-2             |
        0 +--[in]-------------------[out]----+ x 9

``scaled`` is the larger store of the benchmark: 5 gondolas x 6 shelves, 350 plates.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

import numpy as np

from messages.arrays import Floats
from messages.ids import CameraId, DeviceId, FacingId, GateId, PlateId, ShelfId, Sku, StoreId
from messages.observations import CredentialKey
from messages.store_config import (
    Camera,
    Cloud,
    Facing,
    Fixture,
    Gate,
    GateNode,
    Paths,
    Plate,
    Product,
    Reader,
    ShelfNode,
    StoreArea,
    StoreConfig,
)
from sim.retailer.catalogue import CATALOGUE

PLATE_WIDTH_M = 0.1016  # 4 inches: twelve plates make a 48-inch shelf
PLATE_DEPTH_M = 0.40
GRAMS_PER_COUNT = 0.05
GONDOLA_DEPTH_M = 0.50  # plates and the back panel behind them
GONDOLA_WIDTH_M = 1.25
GONDOLA_HEIGHT_M = 1.5
PLANOGRAM_SEED = 60  # a fixed shuffle: the planogram is part of the store, not of a run

# x, y of the centre and the sign of y towards the open side
GONDOLAS = ((2.6, 2.2, -1), (6.0, 2.2, 1), (2.6, 4.6, -1), (6.0, 4.6, -1), (8.1, 3.4, -1))
SHELF_HEIGHTS_M = {3: (0.45, 0.90, 1.30), 6: (0.15, 0.40, 0.65, 0.90, 1.12, 1.34)}
FACING_PLATES = (2, 2, 2, 3, 3)  # twelve plates of a shelf as five facings

CAMERA_HEIGHT_M = 3.4
CAMERA_MATRIX = ((330.0, 0.0, 321.5), (0.0, 331.0, 238.2), (0.0, 0.0, 1.0))  # 88 degrees wide
DISTORTION = (-0.11, 0.016, 0.0006, -0.0004, 0.0)
# x, y of the camera and the floor point it looks at
CAMERA_POSES = (
    ((1.2, 0.7), (2.4, 2.5)),
    ((7.6, 0.7), (6.4, 2.5)),
    ((1.2, 5.6), (3.0, 3.6)),
    ((7.4, 5.6), (5.8, 3.6)),
)


def first_store(
    *,
    devices: str = "run/devices",
    cloud: Cloud | None = None,
    paths: Paths | None = None,
    credential_keys: tuple[CredentialKey, ...] = (),
) -> StoreConfig:
    """The store of the demo. ``devices``: folder of the serial ports (``shelf-1`` ...)."""
    config = _store("first-store", "First store", gondolas=4, shelves=3, plates=144)
    return replace(
        on_ports(config, devices),
        cloud=cloud or Cloud(),
        paths=paths or Paths(),
        credential_keys=credential_keys,
    )


def scaled(plates: int = 350) -> StoreConfig:
    """The benchmark's store: five gondolas of six shelves sharing ``plates`` (60 to 360)."""
    config = _store("scaled", "Benchmark store", gondolas=5, shelves=6, plates=plates)
    return on_ports(config, "run/devices")


def on_ports(config: StoreConfig, devices: str) -> StoreConfig:
    """The store with each serial device's port in a folder, named after the device."""
    return replace(
        config,
        shelf_nodes=tuple(replace(n, port=f"{devices}/{n.id}") for n in config.shelf_nodes),
        readers=tuple(replace(r, port=f"{devices}/{r.id}") for r in config.readers),
        gate_nodes=tuple(replace(g, port=f"{devices}/{g.id}") for g in config.gate_nodes),
    )


def _store(store: str, name: str, *, gondolas: int, shelves: int, plates: int) -> StoreConfig:
    surfaces = _plates(gondolas, shelves, plates)
    products, facings = _planogram(surfaces)
    return StoreConfig(
        store=StoreId(store),
        name=name,
        plates=surfaces,
        products=products,
        facings=facings,
        gates=(
            Gate(id=GateId("gate-in"), x_m=1.2, y_m=0.0, direction="entry"),
            Gate(id=GateId("gate-out"), x_m=7.8, y_m=0.0, direction="exit"),
        ),
        cameras=tuple(_camera(i, *pose) for i, pose in enumerate(CAMERA_POSES)),
        fixtures=tuple(_gondola(i) for i in range(gondolas)),
        shelf_nodes=_shelf_nodes(surfaces),
        readers=(Reader(id=DeviceId("reader-1"), port="", gate=GateId("gate-in")),),
        gate_nodes=(
            GateNode(id=DeviceId("gate-1"), port="", gate=GateId("gate-in")),
            GateNode(id=DeviceId("gate-2"), port="", gate=GateId("gate-out")),
        ),
        area=StoreArea(x_min_m=0.0, y_min_m=0.0, x_max_m=9.0, y_max_m=6.2),
    )


def _gondola(index: int) -> Fixture:
    x_m, y_m, _ = GONDOLAS[index]
    return Fixture(
        id=f"gondola-{'abcde'[index]}",
        x_m=x_m,
        y_m=y_m,
        width_m=GONDOLA_WIDTH_M,
        depth_m=GONDOLA_DEPTH_M,
        height_m=GONDOLA_HEIGHT_M,
    )


def _plates(gondolas: int, shelves: int, plates: int) -> tuple[Plate, ...]:
    """Spread the plates over all shelves as evenly as whole plates allow."""
    rows = gondolas * shelves
    share = [plates * (i + 1) // rows - plates * i // rows for i in range(rows)]
    rng = np.random.default_rng(PLANOGRAM_SEED)
    return tuple(
        plate
        for row in range(rows)
        for plate in _shelf_plates(row // shelves, row % shelves, shelves, share[row], rng)
    )


def _shelf_plates(
    gondola: int, level: int, levels: int, plates: int, rng: np.random.Generator
) -> list[Plate]:
    x_m, y_m, side = GONDOLAS[gondola]
    shelf = ShelfId(f"{'abcde'[gondola]}{level + 1}")
    return [
        Plate(
            id=PlateId(f"{shelf}-{i + 1}"),
            shelf=shelf,
            x_m=round(x_m + (i - (plates - 1) / 2) * PLATE_WIDTH_M, 4),
            y_m=round(y_m + side * (GONDOLA_DEPTH_M - PLATE_DEPTH_M) / 2, 4),
            z_m=SHELF_HEIGHTS_M[levels][level],
            width_m=PLATE_WIDTH_M,
            depth_m=PLATE_DEPTH_M,
            grams_per_count=GRAMS_PER_COUNT,
            zero_counts=int(rng.integers(-4000, 4000)),
        )
        for i in range(plates)
    ]


def _planogram(plates: tuple[Plate, ...]) -> tuple[tuple[Product, ...], tuple[Facing, ...]]:
    """Facings of two or three plates; every SKU once, then popular ones again elsewhere."""
    groups = [g for shelf in dict.fromkeys(p.shelf for p in plates) for g in _groups(plates, shelf)]
    products = _products(len(groups))
    rng = np.random.default_rng(PLANOGRAM_SEED)
    order = list(islice(cycle(range(len(products))), len(groups)))
    rng.shuffle(order)
    facings = tuple(
        Facing(id=FacingId(f"f{i + 1:03d}"), sku=products[order[i]].id, plates=group)
        for i, group in enumerate(groups)
    )
    return products, facings


def _groups(plates: tuple[Plate, ...], shelf: ShelfId) -> list[tuple[PlateId, ...]]:
    """The plates of one shelf, cut into facings."""
    mine = [p.id for p in plates if p.shelf == shelf]
    groups, start = [], 0
    for size in FACING_PLATES:
        group = tuple(mine[start : start + size])
        start += size
        if group:
            groups.append(group)
    return groups


def _products(facings: int) -> tuple[Product, ...]:
    """The retailer's forty; a larger store adds varieties of near mass (real-shelf habit)."""
    base = [
        Product(id=Sku(i.id), mass_g=i.mass_g, mass_sd_g=i.mass_sd_g, name=i.name, gtin=i.gtin)
        for i in CATALOGUE
    ]
    varieties = [
        replace(p, id=Sku(f"{p.id}-{k}"), mass_g=round(p.mass_g * (1 + 0.006 * k), 1), gtin="")
        for k in (2, 3)
        for p in base
    ]
    return (
        tuple(base + varieties[: max(0, facings * 4 // 5 - len(base))])
        if facings > 80
        else tuple(base)
    )


def _shelf_nodes(plates: tuple[Plate, ...]) -> tuple[ShelfNode, ...]:
    shelves = dict.fromkeys(p.shelf for p in plates)
    return tuple(
        ShelfNode(
            id=DeviceId(f"shelf-{i + 1}"),
            port="",
            node=i + 1,
            plates=tuple(p.id for p in plates if p.shelf == shelf),
        )
        for i, shelf in enumerate(shelves)
    )


def _camera(index: int, position: tuple[float, float], target: tuple[float, float]) -> Camera:
    pose = looking_at(np.array([*position, CAMERA_HEIGHT_M]), np.array([*target, 0.0]))
    return Camera(
        id=CameraId(f"cam-{index + 1}"),
        camera_matrix=CAMERA_MATRIX,
        distortion=DISTORTION,
        store_from_camera=tuple(tuple(round(float(v), 9) for v in row) for row in pose),
    )


def looking_at(position_store_m: Floats, target_store_m: Floats) -> Floats:
    """``store_from_camera`` (4, 4) of a level camera; camera axes: x right, y down, z ahead."""
    ahead = target_store_m - position_store_m
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    right = right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(ahead, right), ahead])
    pose[:3, 3] = position_store_m
    return pose
