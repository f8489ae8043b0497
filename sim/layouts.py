"""Store layouts by name or file, and whether people can shop in them.

A layout is a ``store.toml``. ``first-store`` and ``benchmark`` come from ``sim.first_store``; the
files of ``sim/layouts`` are drawn by ``sim.layout_builder``. Walls, pillars and rooms are fixtures.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from edge.config import ConfigError, parse
from messages.arrays import Bools, Floats, Ints
from messages.store_config import StoreConfig
from sim.first_store import first_store, scaled
from sim.geometry import fixture_boxes, gate_inward
from sim.routes import CLEAR_MARGIN_M
from sim.stock import shelves_of

LAYOUTS = Path(__file__).parent / "layouts"
MADE: dict[str, Callable[[], StoreConfig]] = {"first-store": first_store, "benchmark": scaled}
CELL_M = 0.05  # of the floor grid on which reachability is judged
BODY_M = 0.22  # half a body: nearer to the area's edge nobody stands
STAND_M = 0.65  # from the middle of the plates to the body: 0.2 m of plate and an easy reach
INSIDE_M = 0.8  # behind a gate's line a person is in the store


class LayoutError(ValueError):
    """A layout that cannot be used: what is wrong, and the remedy."""


def layout_names() -> tuple[str, ...]:
    """Every layout that can be named, sorted."""
    return tuple(sorted([*MADE, *(p.stem for p in LAYOUTS.glob("*.toml"))]))


def layout(name_or_path: str | Path) -> StoreConfig:
    """A checked layout: a name of ``layout_names`` or the path of a ``store.toml``.

    Raises:
        LayoutError: no such layout, a file that is wrong, or a store in which nobody can shop.
    """
    name = str(name_or_path)
    if not name.endswith(".toml"):
        return _named(name)
    return _checked(_read(Path(name)), name)


@cache
def _named(name: str) -> StoreConfig:
    if name in MADE:
        return _checked(MADE[name](), name)
    if name not in layout_names():
        raise LayoutError(f"no layout {name!r}; {nearest(name, layout_names())}, or a store.toml")
    path = LAYOUTS / f"{name}.toml"
    return _checked(_read(path), path.name)


def nearest(name: str, known: tuple[str, ...]) -> str:
    """A remedy: the known name that is most like this one, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"


def _read(path: Path) -> StoreConfig:
    """Ports and paths stay as written: the simulator opens none of them."""
    try:
        return parse(path.read_text(encoding="utf-8"), file=str(path))
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read: {error.strerror}; correct the path") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: is not UTF-8; save it as UTF-8") from error
    except ConfigError as error:
        raise LayoutError(str(error)) from error


def _checked(config: StoreConfig, file: str) -> StoreConfig:
    if problems := list(unusable(config)):
        raise LayoutError("\n".join(f"{file}: {problem}" for problem in problems))
    return config


def unusable(config: StoreConfig) -> Iterator[str]:
    """What keeps people from shopping here, one line each with its remedy."""
    if config.area.x_max_m - config.area.x_min_m > 200 or config.area.y_max_m > 1000:
        yield "[area] is not set or above 200 m; give the walkable rectangle"
        return
    entries = [g for g in config.gates if g.direction != "exit"]
    exits = [g for g in config.gates if g.direction != "entry"]
    readers = {reader.gate for reader in config.readers}
    if not any(gate.id in readers for gate in entries):
        yield "no entry gate has a [[reader]]; nobody can come in"
    if not exits:
        yield 'no gate leads out; give one direction = "exit" or "both"'
    if not config.cameras:
        yield "no [[camera]]; nobody is seen"
    if not config.fixtures:
        yield "no [[fixture]]; shelves stand in one"
        return
    if entries and exits:
        yield from _unreachable(config)


def _unreachable(config: StoreConfig) -> Iterator[str]:
    regions, inside = walkable_regions(config), gate_points(config)
    home = _region(config, regions, inside[0])
    for gate, point in zip(config.gates, inside, strict=True):
        region = _region(config, regions, point)
        if region == 0:
            yield f"[[gate]] '{gate.id}': a fixture stands behind it; move one of them"
        elif home and region != home:
            yield f"[[gate]] '{gate.id}': no way to '{config.gates[0].id}'; move a fixture"
    for facing, point in zip(config.facings, stand_points(config), strict=True):
        region = _region(config, regions, point)
        spot = f"x {point[0]:.2f}, y {point[1]:.2f}"
        if region == 0:
            yield f"[[facing]] '{facing.id}': no place to stand before it ({spot}); make room there"
        elif home and region != home:
            yield f"[[facing]] '{facing.id}': no way from the gate to {spot}; move a fixture"


def walkable(config: StoreConfig) -> Bools:
    """(rows along y, columns along x) True where the middle of a body can be."""
    area = config.area
    x = np.arange(area.x_min_m + CELL_M / 2, area.x_max_m, CELL_M)
    y = np.arange(area.y_min_m + CELL_M / 2, area.y_max_m, CELL_M)
    lower, upper = fixture_boxes(config.fixtures, CLEAR_MARGIN_M)
    free = np.ones((len(y), len(x)), dtype=bool)
    for low, high in zip(lower, upper, strict=True):
        free[np.ix_((y > low[1]) & (y < high[1]), (x > low[0]) & (x < high[0]))] = False
    edge = max(1, round(BODY_M / CELL_M))
    free[:edge], free[-edge:], free[:, :edge], free[:, -edge:] = False, False, False, False
    return free


def walkable_regions(config: StoreConfig) -> Ints:
    """The floor grid with a number for each connected region; 0 = nobody can stand there."""
    labels, _ = ndimage.label(walkable(config))
    return np.asarray(labels, dtype=np.int64)


def stand_points(config: StoreConfig) -> Floats:
    """(facings, 2) where a shopper stands before each facing."""
    shelves = shelves_of(config)
    points = np.empty((len(config.facings), 2))
    for i, (low, high) in enumerate(shelves.facing_span_m):
        shelf = shelves.facing_shelf[i]
        middle = shelves.origin_store_m[shelf][:2] + (low + high) / 2 * shelves.along[shelf]
        points[i] = middle + STAND_M * shelves.front[shelf]
    return points


def gate_points(config: StoreConfig) -> Floats:
    """(gates, 2) where a person is once through each gate."""
    rows = [
        np.array([g.x_m, g.y_m]) + INSIDE_M * gate_inward(config, g.x_m, g.y_m)
        for g in config.gates
    ]
    return np.array(rows).reshape(-1, 2)


def _region(config: StoreConfig, regions: Ints, point_store_m: Floats) -> int:
    area = config.area
    column = int((point_store_m[0] - area.x_min_m) / CELL_M)
    row = int((point_store_m[1] - area.y_min_m) / CELL_M)
    if not (0 <= row < regions.shape[0] and 0 <= column < regions.shape[1]):
        return 0
    return int(regions[row, column])
