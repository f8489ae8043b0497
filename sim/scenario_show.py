"""A scenario for people: its acts in words, and its store as a small plan in characters."""

from __future__ import annotations

import math
from collections.abc import Iterator

from messages.arrays import Floats
from messages.store_config import StoreConfig
from sim.geometry import fixture_of_shelf
from sim.layouts import stand_points
from sim.scenario_write import do_values
from sim.script import Act, Do, Scenario
from sim.stock import shelves_of

COLUMN_M, ROW_M = 0.2, 0.4  # a character is twice as high as it is wide
COLUMNS_MAX = 100  # of a plan; a larger store is drawn on a coarser grid
WALL, SHELF, CAMERA = "#", "=", "*"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def story(do: Do) -> str:
    """One act in words: ``take 2 a2-cola-330ml, hold_s 3-6``."""
    said = do_values(do)
    named = ("act", "quantity", "facing", "sku", "to", "point")
    head = [
        do.act.value.replace("_", " "),
        str(do.quantity) if do.quantity > 1 or do.act is Act.RESTOCK else "",
        do.sku,
        f"at {do.facing}" if do.facing and do.sku else do.facing,
        f"to {do.to}" if do.act is Act.HAND_OVER else do.to,
        f"({do.point[0]:g}, {do.point[1]:g})" if do.point else "",
    ]
    rest = [_said(key, value) for key, value in said.items() if key not in named]
    return ", ".join([" ".join(part for part in head if part), *rest])


def _said(key: str, value: object) -> str:
    if isinstance(value, tuple):
        low, high = value
        return f"{key} {low:g}" if low == high else f"{key} {low:g}-{high:g}"
    return key if value is True else f"{key} {value}"


def legend(scenario: Scenario) -> list[str]:
    """What the letters of the plan mean."""
    return [f"{letter} {name}" for letter, name in _letters(scenario).items()]


def floor_plan(
    config: StoreConfig, scenario: Scenario | None = None, columns_max: int = COLUMNS_MAX
) -> list[str]:
    """The store from above, the street below; with letters where each party acts."""
    canvas = _Canvas.of(config, max(20, min(columns_max, COLUMNS_MAX)))
    shelves = shelves_of(config)
    for fixture in config.fixtures:
        canvas.box(fixture.x_m, fixture.y_m, fixture.width_m, fixture.depth_m)
    for shelf, fixture_index in enumerate(fixture_of_shelf(config)):
        origin, front = shelves.origin_store_m[shelf], shelves.front[shelf]
        if fixture_index >= 0:
            canvas.open_side(origin[:2], shelves.along[shelf], front, shelves.upper_m[shelf][-1])
    for camera in config.cameras:
        pose = camera.store_from_camera
        canvas.put(pose[0][3], pose[1][3], CAMERA)
    if scenario is not None:
        for letter, x_m, y_m in _stands(config, scenario):
            canvas.person(x_m, y_m, letter)
    return canvas.framed(config)


def _letters(scenario: Scenario) -> dict[str, str]:
    """A letter for each party: its own first one where that is free."""
    found: dict[str, str] = {}
    for party in scenario.parties:
        wished = party.name[0].upper()
        free = [wished, *(c for c in LETTERS if c not in found)]
        found[next((c for c in free if c not in found), "?")] = party.name
    return found


def _stands(config: StoreConfig, scenario: Scenario) -> Iterator[tuple[str, float, float]]:
    letters = {name: letter for letter, name in _letters(scenario).items()}
    points = dict(zip((str(f.id) for f in config.facings), stand_points(config), strict=True))
    for party in scenario.parties:
        for do in (do for member in party.members for do in member.do):
            if do.point is not None:
                yield letters.get(party.name, "?"), *do.point
            elif do.facing:
                x_m, y_m = points[do.facing]
                yield letters.get(party.name, "?"), float(x_m), float(y_m)


class _Canvas:
    """Characters over the store's area; row 0 is the far wall."""

    def __init__(self, x_m: float, y_m: float, width_m: float, depth_m: float, zoom: float) -> None:
        self.x_m, self.y_m = x_m, y_m
        self.column_m, self.row_m = COLUMN_M * zoom, ROW_M * zoom
        self.columns = max(1, math.ceil(width_m / self.column_m))
        self.rows = max(1, math.ceil(depth_m / self.row_m))
        self.cells = [[" "] * self.columns for _ in range(self.rows)]

    @staticmethod
    def of(config: StoreConfig, columns_max: int) -> _Canvas:
        area = config.area
        width_m, depth_m = area.x_max_m - area.x_min_m, area.y_max_m - area.y_min_m
        zoom = max(1.0, width_m / COLUMN_M / columns_max)
        return _Canvas(area.x_min_m, area.y_min_m, width_m, depth_m, zoom)

    def at(self, x_m: float, y_m: float) -> tuple[int, int]:
        """Row and column of a point, kept on the canvas."""
        column = int((x_m - self.x_m) / self.column_m)
        row = self.rows - 1 - int((y_m - self.y_m) / self.row_m)
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def put(self, x_m: float, y_m: float, character: str) -> None:
        row, column = self.at(x_m, y_m)
        self.cells[row][column] = character

    def person(self, x_m: float, y_m: float, letter: str) -> None:
        """A letter; beside another's where that place is taken."""
        row, column = self.at(x_m, y_m)
        for aside in (0, 1, -1, 2, -2):
            there = min(max(column + aside, 0), self.columns - 1)
            if self.cells[row][there] in (" ", letter):
                self.cells[row][there] = letter
                return

    def box(self, x_m: float, y_m: float, width_m: float, depth_m: float) -> None:
        top, left = self.at(x_m - width_m / 2 + 1e-6, y_m + depth_m / 2 - 1e-6)
        bottom, right = self.at(x_m + width_m / 2 - 1e-6, y_m - depth_m / 2 + 1e-6)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                self.cells[row][column] = WALL

    def open_side(self, origin: Floats, along: Floats, front: Floats, half_m: float) -> None:
        """The plates, drawn where hands reach in."""
        steps = max(1, round(2 * half_m / self.column_m))
        for i in range(steps + 1):
            x_m, y_m = origin + 0.15 * front + (2 * i / steps - 1) * (half_m - 0.01) * along
            self.put(float(x_m), float(y_m), SHELF)

    def framed(self, config: StoreConfig) -> list[str]:
        edge = ["-"] * self.columns
        for gate in config.gates:
            _, column = self.at(gate.x_m, gate.y_m)
            label = {"entry": "[in]", "exit": "[out]"}.get(gate.direction, "[gate]")
            start = min(max(0, column - len(label) // 2), self.columns - len(label))
            edge[start : start + len(label)] = label
        rows = ["|" + "".join(row) + "|" for row in self.cells]
        return ["+" + "-" * self.columns + "+", *rows, "+" + "".join(edge) + "+"]
