"""Pictures of the simulated store: what a camera's image would look like.

Floor, walls, shelves, goods with labels and people with limbs are drawn by rays through the true,
distorted lens. For looking at a scenario, and to try an image detector on; it does not replace
real images: a net trained on such pictures found hardly anybody in a real store.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from messages.arrays import Floats
from messages.store_config import Camera, Fixture, StoreConfig
from sim.bodies import Bodies
from sim.geometry import fixture_boxes, fixture_of_shelf
from sim.raycast import Canvas, Paint
from sim.render_people import draw_person, shadow
from sim.stock import Stock, unit_width_m

FLOOR_TILE_M = 0.6
WALL_HEIGHT_M = 3.2
GROUT_M = 0.008
BOARD_M = 0.025
SHELF_DEPTH_M = 0.40
ROW_M = 0.13  # goods behind each other
ROWS = 3
UNIT_HEIGHT_M = (0.06, 0.24)
DENSITY_G_PER_M3 = 0.42e6  # of packaged goods, with their air
NOISE = 0.012  # of full scale, one sigma
WOOD, METAL = np.array([0.72, 0.62, 0.50]), np.array([0.80, 0.81, 0.82])


def render(
    camera: Camera,
    bodies: Bodies,
    stock: Stock,
    *,
    instant: int = 0,
    light: float = 1.0,
    quality: int = 2,
) -> NDArray[np.uint8]:
    """The camera's image (h, w, 3), blue first as OpenCV has it.

    Args:
        instant: which of the bodies' instants.
        light: of the lamps; 0.05 is a dark image.
        quality: rays per pixel and axis.
    """
    canvas = Canvas.of(camera, quality)
    feet = bodies.position_store_m[instant]
    _draw_room(canvas, stock.config, feet)
    _draw_fixtures(canvas, stock)
    _draw_goods(canvas, stock)
    for i, key in enumerate(bodies.key):
        draw_person(
            canvas,
            key,
            feet[i],
            float(bodies.height_m[i]),
            float(bodies.radius_m[i]),
            bodies.wrists_store_m[instant, i],
        )
    return _exposed(canvas, light, zlib.crc32(repr(feet.tolist()).encode()))


def _exposed(canvas: Canvas, light: float, seed: int) -> NDArray[np.uint8]:
    """From colours to a sensor's picture: darker corners, a soft lens, noise."""
    w, h = (int(v) for v in canvas.lens.size_px)
    image: Floats = np.asarray(cv2.resize(canvas.colour, (w, h), interpolation=cv2.INTER_AREA))
    ahead = canvas.rays @ canvas.lens.camera_from_store[2, :3]
    darker = 0.55 + 0.45 * np.asarray(cv2.resize(ahead, (w, h)), dtype=np.float64) ** 2
    image = np.asarray(cv2.GaussianBlur(light * image * darker[..., None], (0, 0), 0.55))
    image = image + NOISE * np.random.default_rng(seed).standard_normal(image.shape)
    pixels = (255 * np.clip(image, 0.0, 1.0) ** (1 / 1.25)).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1])


# --- room ---------------------------------------------------------------------------------------


def _draw_room(canvas: Canvas, config: StoreConfig, feet: Floats) -> None:
    area = config.area
    lower, upper = fixture_boxes(config.fixtures)

    def floor(points: Floats, normal: Floats) -> Floats:
        del normal
        tile = np.floor(points[:, :2] / FLOOR_TILE_M)
        rest = points[:, :2] - tile * FLOOR_TILE_M
        tone = 0.66 + 0.05 * (_hash(tile) - 0.5) + 0.03 * (_hash(np.floor(points * 90)) - 0.5)
        tone = np.where((rest < GROUT_M).any(axis=1), 0.50, tone)
        tone *= shadow(points[:, :2], feet) * _under_fixtures(points[:, :2], lower, upper)
        return np.asarray(tone[:, None] * np.array([1.0, 0.985, 0.95]))

    def wall(points: Floats, normal: Floats) -> Floats:
        del normal
        tone = np.where(points[:, 2] < 0.12, 0.35, 0.86) + 0.02 * _hash(np.floor(points * 40))
        return np.asarray(tone[:, None] * np.array([0.97, 0.98, 1.0]))

    canvas.plane(2, 0.0, floor)
    for axis, at in ((0, area.x_min_m), (0, area.x_max_m), (1, area.y_min_m), (1, area.y_max_m)):
        before = canvas.lens.position_store_m[axis] - at
        if abs(before) > 0.05:
            canvas.plane(axis, at - 0.02 * float(np.sign(before)), wall)


def _under_fixtures(points: Floats, lower: Floats, upper: Floats) -> Floats:
    """Darker beside fixtures: their contact shadow."""
    tone = np.ones(len(points))
    for low, high in zip(lower, upper, strict=True):
        gap = np.maximum(np.maximum(low[:2] - points, points - high[:2]), 0.0)
        tone *= 1.0 - 0.35 * np.exp(-np.hypot(gap[:, 0], gap[:, 1]) / 0.18)
    return tone


# --- fixtures and goods -------------------------------------------------------------------------


def _draw_fixtures(canvas: Canvas, stock: Stock) -> None:
    """A gondola is a back panel, two sides, a foot and boards; what has no shelves is a block."""
    config = stock.config
    of_shelf = fixture_of_shelf(config)
    for index, fixture in enumerate(config.fixtures):
        shelves = [s for s, f in enumerate(of_shelf) if f == index]
        low, high = (corner[0] for corner in fixture_boxes((fixture,)))
        if not shelves:
            canvas.box(low, high, _plain(METAL * 0.9))
            continue
        fronts = {tuple(stock.shelves.front[s].tolist()) for s in shelves}
        for part_low, part_high in _panels(fixture, low, high, fronts):
            canvas.box(part_low, part_high, _plain(METAL))
        for s in shelves:
            canvas.box(*_board(stock, s), _plain(WOOD))


def _panels(
    fixture: Fixture, low: Floats, high: Floats, fronts: set[tuple[float, ...]]
) -> list[tuple[Floats, Floats]]:
    """Back or middle panel, foot, and the sides across the open side."""
    front = np.array(next(iter(fronts)))
    deep = int(np.abs(front).argmax())
    back_low, back_high = low.copy(), high.copy()
    if len(fronts) > 1:  # goods on both sides of a middle panel
        middle = (low[deep] + high[deep]) / 2
        back_low[deep], back_high[deep] = middle - 0.03, middle + 0.03
    elif front[deep] > 0:
        back_high[deep] = max(low[deep] + 0.04, high[deep] - SHELF_DEPTH_M - 0.02)
    else:
        back_low[deep] = min(high[deep] - 0.04, low[deep] + SHELF_DEPTH_M + 0.02)
    foot_high = high.copy()
    foot_high[2] = 0.14
    panels = [(back_low, back_high), (low, foot_high)]
    for at, inner in ((low, 0.025), (high, -0.025)):
        side_low, side_high = low.copy(), high.copy()
        ends = sorted((at[1 - deep], at[1 - deep] + inner))
        side_low[1 - deep], side_high[1 - deep] = ends
        side_high[2] = 0.75 * fixture.height_m
        panels.append((side_low, side_high))
    return panels


def _board(stock: Stock, shelf: int) -> tuple[Floats, Floats]:
    shelves = stock.shelves
    half = float(shelves.upper_m[shelf][-1] - shelves.lower_m[shelf][0]) / 2
    across = half * np.abs(shelves.along[shelf])
    across = across + SHELF_DEPTH_M / 2 * np.abs(shelves.front[shelf])
    low, high = shelves.origin_store_m[shelf].copy(), shelves.origin_store_m[shelf].copy()
    low[:2], high[:2] = low[:2] - across, high[:2] + across
    low[2] -= BOARD_M
    return low, high


def _draw_goods(canvas: Canvas, stock: Stock) -> None:
    for facing, on in enumerate(stock.on):
        rows: list[list[tuple[float, float]]] = [[] for _ in range(ROWS)]
        for unit in on:
            _draw_unit(canvas, stock, facing, unit, rows)


def _draw_unit(
    canvas: Canvas, stock: Stock, facing: int, unit: int, rows: list[list[tuple[float, float]]]
) -> None:
    """In the first row where it has room; beyond the last one it is not to be seen."""
    shelves, item = stock.shelves, stock.units[unit]
    shelf, half = shelves.facing_shelf[facing], unit_width_m(item.sku) / 2
    row = next((i for i, taken in enumerate(rows) if _room(taken, item.place_m, half)), None)
    if row is None:
        return
    rows[row].append((item.place_m, half))
    deep = SHELF_DEPTH_M / 2 - 0.02 - ROW_M * (row + 0.5)
    centre = shelves.origin_store_m[shelf][:2] + item.place_m * shelves.along[shelf]
    centre = centre + deep * shelves.front[shelf]
    spread = half * 0.94 * np.abs(shelves.along[shelf])
    spread = spread + 0.45 * ROW_M * np.abs(shelves.front[shelf])
    tall = item.mass_g / DENSITY_G_PER_M3 / (2 * half * 0.9 * ROW_M)
    z = float(shelves.origin_store_m[shelf][2])
    low = np.array([*(centre - spread), z])
    high = np.array([*(centre + spread), z + float(np.clip(tall, *UNIT_HEIGHT_M))])
    canvas.box(low, high, _label(item.sku, low, high, shelves.along[shelf]))


def _room(taken: list[tuple[float, float]], place_m: float, half: float) -> bool:
    return all(abs(place_m - place) > 0.9 * (half + other) for place, other in taken)


@dataclass(frozen=True, slots=True)
class _Design:
    """A package: its colours and how its label is laid out."""

    base: Floats
    accent: Floats
    band: tuple[float, float]
    stripes: float


def _design(sku: str) -> _Design:
    rng = np.random.default_rng(zlib.crc32(sku.encode()))
    hue = rng.uniform(0, 180)
    hsv = np.array([[[hue, rng.uniform(90, 230), rng.uniform(110, 240)]]], dtype=np.uint8)
    base = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] / 255.0
    accent = np.array([0.95, 0.93, 0.88]) if rng.random() < 0.7 else 1.0 - base
    low = rng.uniform(0.15, 0.35)
    return _Design(base, accent, (low, low + rng.uniform(0.3, 0.5)), rng.uniform(3.0, 9.0))


def _label(sku: str, low: Floats, high: Floats, along: Floats) -> Paint:
    design = _design(sku)
    across = int(np.abs(along).argmax())

    def paint(points: Floats, normal: Floats) -> Floats:
        u, v, _ = ((points - low) / (high - low)).T if across == 0 else _swapped(points, low, high)
        v = (points[:, 2] - low[2]) / (high[2] - low[2])
        colour = np.tile(design.base, (len(points), 1))
        band = (v > design.band[0]) & (v < design.band[1]) & (normal[:, 2] < 0.5)
        colour[band] = design.accent
        middle = np.abs(v - sum(design.band) / 2)
        text = band & (np.sin(u * design.stripes * 9.0) > -0.1) & (middle < 0.06) & (u > 0.12)
        colour[text & (u < 0.88)] = 0.3 * design.base
        colour[v > 0.93] *= 0.75  # a lid or a fold
        return colour

    return paint


def _swapped(points: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    part = (points - low) / (high - low)
    return part[:, 1], part[:, 0], part[:, 2]


def _plain(colour: Floats) -> Paint:
    def paint(points: Floats, normal: Floats) -> Floats:
        del normal
        return colour * (0.97 + 0.05 * _hash(np.floor(points * 60)))[:, None]

    return paint


def _hash(cells: Floats) -> Floats:
    """(k,) 0 to 1, the same for the same cell."""
    mixed = np.sin(cells @ np.array([12.9898, 78.233, 37.719])[: cells.shape[1]]) * 43758.5453
    return np.asarray(mixed - np.floor(mixed))
