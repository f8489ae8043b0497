"""People in pictures: limbs as capsules, trunk and head as ellipsoids, clothes of their own."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from messages.arrays import Floats
from sim.raycast import Canvas, Paint

ADULT_M = 1.71
SHADOW_M = 0.34
SKIN = np.array([[0.95, 0.80, 0.69], [0.87, 0.68, 0.53], [0.66, 0.47, 0.34], [0.43, 0.29, 0.21]])
HAIR = np.array([[0.12, 0.09, 0.08], [0.30, 0.20, 0.12], [0.62, 0.47, 0.28], [0.60, 0.60, 0.60]])
STRIDE_M = 0.17
SHOULDER_M = 0.185  # aside


@dataclass(frozen=True, slots=True)
class Looks:
    """What somebody wears."""

    skin: Floats
    hair: Floats
    top: Floats
    second: Floats  # of the top's pattern
    trousers: Floats
    shoes: Floats
    pattern: int  # plain, hoops, checks, open jacket
    long_sleeves: bool

    @staticmethod
    def of(key: str) -> Looks:
        """The same for one person all along."""
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        return Looks(
            skin=SKIN[rng.integers(len(SKIN))],
            hair=HAIR[rng.integers(len(HAIR))],
            top=_colour(rng, 60, 220, 70, 235),
            second=_colour(rng, 10, 200, 120, 250),
            trousers=_colour(rng, 10, 120, 35, 130),
            shoes=_colour(rng, 0, 60, 25, 220),
            pattern=int(rng.integers(4)),
            long_sleeves=bool(rng.random() < 0.6),
        )


def draw_person(
    canvas: Canvas, key: str, feet: Floats, height_m: float, radius_m: float, wrists: Floats
) -> None:
    """One body. ``wrists``: (2, 3) left and right; they say where it looks."""
    looks, size = Looks.of(key), height_m / ADULT_M
    wide = np.clip(radius_m / 0.23, 0.8, 1.25) * size
    ahead = _facing(feet, wrists)
    right = np.array([ahead[1], -ahead[0], 0.0])
    up = np.array([0.0, 0.0, 1.0])
    base = np.array([*feet, 0.0])
    swing = STRIDE_M * size * np.sin(4.5 * float(feet.sum()) + len(key))
    for side, step in ((-1.0, swing), (1.0, -swing)):
        _draw_leg(canvas, looks, base, ahead, right * side, step, size)
    axes = np.stack([right, ahead, up])
    trunk = base + (0.665 * height_m) * up
    cloth = _cloth(looks, trunk, right, ahead)
    canvas.ellipsoid(trunk, axes, np.array([0.185 * wide, 0.125 * wide, 0.19 * height_m]), cloth)
    hips = base + 0.53 * height_m * up
    belt = np.array([0.165 * wide, 0.12 * wide, 0.085 * height_m])
    canvas.ellipsoid(hips, axes, belt, _paint(looks.trousers))
    shoulders = base + 0.80 * height_m * up
    reach = SHOULDER_M * wide * right
    canvas.capsule(shoulders - reach, shoulders + reach, 0.062 * wide, cloth)
    for side, wrist in ((-1.0, wrists[0]), (1.0, wrists[1])):
        outwards = 0.3 * side * right - 0.7 * ahead
        _draw_arm(canvas, looks, shoulders + side * reach, wrist, outwards, size, cloth)
    neck, head = base + 0.845 * height_m * up, base + 0.925 * height_m * up
    canvas.capsule(neck - 0.03 * up, neck + 0.04 * up, 0.052 * size, _paint(looks.skin))
    sizes = size * np.array([0.078, 0.098, 0.118])
    canvas.ellipsoid(head, axes, sizes, _head(looks, head, ahead, right, size))


def shadow(points: Floats, feet: Floats) -> Floats:
    """(k,) how much light reaches floor points (k, 2) beside people at (n, 2)."""
    light = np.ones(len(points))
    for x, y in feet:
        gap2 = (points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2
        light *= 1.0 - 0.5 * np.exp(-gap2 / SHADOW_M**2)
    return light


def _draw_leg(
    canvas: Canvas,
    looks: Looks,
    base: Floats,
    ahead: Floats,
    aside: Floats,
    step: float,
    size: float,
) -> None:
    hip = base + 0.085 * size * aside + np.array([0, 0, 0.50 * ADULT_M * size])
    ankle = base + 0.09 * size * aside + step * ahead
    ankle = ankle + np.array([0, 0, 0.075 * size + max(0.0, -0.25 * step)])
    knee = (hip + ankle) / 2 + (0.03 + max(0.0, -0.3 * step)) * ahead
    trousers = _paint(looks.trousers)
    canvas.capsule(hip, knee, 0.082 * size, trousers)
    canvas.capsule(knee, ankle, 0.058 * size, trousers)
    sole = ankle - np.array([0, 0, 0.03 * size])
    canvas.capsule(
        sole - 0.03 * ahead, sole + 0.15 * size * ahead, 0.042 * size, _paint(looks.shoes)
    )


def _draw_arm(
    canvas: Canvas,
    looks: Looks,
    shoulder: Floats,
    wrist: Floats,
    outwards: Floats,
    size: float,
    cloth: Paint,
) -> None:
    """Upper arm, forearm and hand; the elbow bends outwards where the wrist is near."""
    length = 0.58 * size
    way = wrist - shoulder
    gap = float(np.linalg.norm(way))
    wrist = shoulder + way * min(1.0, length / max(gap, 1e-6))
    bend = np.sqrt(max(0.0, (length / 2) ** 2 - (min(gap, length) / 2) ** 2))
    elbow = (shoulder + wrist) / 2 + bend * _unit(outwards + np.array([0, 0, -0.3]))
    canvas.capsule(shoulder, elbow, 0.05 * size, cloth)
    canvas.capsule(elbow, wrist, 0.04 * size, cloth if looks.long_sleeves else _paint(looks.skin))
    hand = wrist + 0.06 * size * _unit(wrist - elbow)
    canvas.capsule(wrist, hand, 0.038 * size, _paint(looks.skin))


def _facing(feet: Floats, wrists: Floats) -> Floats:
    """(3,) where the body looks: across the line between the hands, towards them."""
    out = wrists[:, :2].mean(axis=0) - feet
    if np.hypot(*out) < 0.02:
        across = wrists[1, :2] - wrists[0, :2]
        out = np.array([-across[1], across[0]])
    if np.hypot(*out) < 1e-6:
        out = np.array([1.0, 0.0])
    return np.array([*_unit(out), 0.0])


def _cloth(looks: Looks, trunk: Floats, right: Floats, ahead: Floats) -> Paint:
    def paint(points: Floats, normal: Floats) -> Floats:
        away = points - trunk
        aside, front, z = away @ right, away @ ahead, away[:, 2]
        other = np.zeros(len(points), dtype=np.bool_)
        if looks.pattern == 1:
            other = np.sin(z * 95.0) > 0.35
        elif looks.pattern == 2:
            other = (np.sin(z * 70.0) > 0.6) | (np.sin(aside * 70.0) > 0.6)
        elif looks.pattern == 3:
            other = (np.abs(aside) < 0.055) & (front > 0.03)
        folds = 0.93 + 0.07 * np.sin(14.0 * z + 25.0 * aside) + 0.04 * normal[:, 2]
        return np.where(other[:, None], looks.second, looks.top) * folds[:, None]

    return paint


def _head(looks: Looks, head: Floats, ahead: Floats, right: Floats, size: float) -> Paint:
    def paint(points: Floats, normal: Floats) -> Floats:
        away = (points - head) / size
        front, aside, z = away @ ahead, away @ right, away[:, 2]
        hair = (z > 0.052 - 0.25 * np.minimum(front, 0.06)) | (front < -0.012)
        colour = np.where(hair[:, None], looks.hair, looks.skin)
        face = ~hair & (front > 0.05)
        eyes = face & (np.abs(np.abs(aside) - 0.032) < 0.012) & (np.abs(z - 0.012) < 0.008)
        mouth = face & (np.abs(aside) < 0.024) & (np.abs(z + 0.055) < 0.006)
        colour[eyes] = 0.12
        colour[mouth] = [0.62, 0.33, 0.30]
        return colour * (0.95 + 0.05 * normal[:, 2:])

    return paint


def _paint(colour: Floats) -> Paint:
    return lambda points, normal: np.broadcast_to(colour, points.shape)


def _colour(rng: np.random.Generator, s_low: int, s_high: int, v_low: int, v_high: int) -> Floats:
    hsv = np.array(
        [[[rng.uniform(0, 180), rng.uniform(s_low, s_high), rng.uniform(v_low, v_high)]]]
    )
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0] / 255.0)


def _unit(v: Floats) -> Floats:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))
