"""The scene of ``bench tracker``: shoppers on 40 x 25 m of floor in the image of one 4K camera.

Walking is an Ornstein-Uhlenbeck process (rms 0.8 m/s, 2 s) between walls. The camera hangs 14 m
high, 10 m before the long side, and sees all of the floor. Boxes are people of 1.7 m by 0.5 m;
edges jitter by 3 % of the height and 4 % of the width; 10 % are missed, 2 % as many are false.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from messages.arrays import Floats, Ints

FLOOR_M = np.array([40.0, 25.0])
IMAGE_PX = (3840, 2160)
FOCAL_PX = 1500.0
EYE_M, LOOK_M = np.array([20.0, -10.0, 14.0]), np.array([20.0, 12.5, 0.9])
FPS = 15.0
SPEED_M_S, SPEED_TAU_S = 0.8, 2.0
MISSED, FALSE = 0.10, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Detections image after image: ``counts`` (k,), then all ``boxes`` (m, 4) x1, y1, x2, y2,
    ``scores`` (m,) and ``floor_m`` (m, 2), where each box stands; ``person`` (m,), -1: nobody's."""

    counts: Ints
    boxes: Floats
    scores: Floats
    floor_m: Floats
    person: Ints

    def save(self, path: Path) -> None:
        """For trackers in processes of their own."""
        np.savez(
            path,
            counts=self.counts,
            boxes=self.boxes,
            scores=self.scores,
            floor_m=self.floor_m,
            person=self.person,
        )


def scene(people: int, images: int, seed: int = 1) -> Scene:
    """Same arguments, same scene."""
    rng = np.random.default_rng((seed, people))
    height_m = rng.normal(1.7, 0.08, people)
    parts = [_seen(xy, height_m, rng) for xy in _walks(people, images, rng)]
    boxes, scores, person = (np.concatenate([part[k] for part in parts]) for k in (0, 1, 2))
    counts = np.array([len(part[1]) for part in parts])
    return Scene(counts, boxes, scores, _feet(boxes), person)


def _walks(people: int, images: int, rng: np.random.Generator) -> Floats:
    """(images, people, 2) metres."""
    keep = np.exp(-1 / FPS / SPEED_TAU_S)
    sd = SPEED_M_S / np.sqrt(2)
    xy, v = rng.uniform(0.5, FLOOR_M - 0.5, (people, 2)), rng.normal(0, sd, (people, 2))
    walks = np.empty((images, people, 2))
    for k in range(images):
        v = keep * v + sd * np.sqrt(1 - keep**2) * rng.normal(size=v.shape)
        xy = xy + v / FPS
        v = np.where(xy < 0.3, np.abs(v), np.where(xy > FLOOR_M - 0.3, -np.abs(v), v))
        walks[k] = xy = np.clip(xy, 0.3, FLOOR_M - 0.3)
    return walks


def _camera() -> Floats:
    """(3, 4) pixels from the floor's frame."""
    z = (LOOK_M - EYE_M) / np.linalg.norm(LOOK_M - EYE_M)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    R = np.stack((x, np.cross(z, x), z))
    K = np.array([[FOCAL_PX, 0, IMAGE_PX[0] / 2], [0, FOCAL_PX, IMAGE_PX[1] / 2], [0, 0, 1]])
    return np.asarray(K @ np.column_stack((R, -R @ EYE_M)))


CAMERA = _camera()


def _project(xy: Floats, z: Floats) -> Floats:
    p = np.column_stack((xy, z, np.ones(len(xy)))) @ CAMERA.T
    return np.asarray(p[:, :2] / p[:, 2:])


def _boxes(xy: Floats, height_m: Floats) -> Floats:
    foot, head = _project(xy, 0 * height_m), _project(xy, height_m)
    side = np.array([0.25, 0.0])
    left, right = _project(xy - side, height_m / 2), _project(xy + side, height_m / 2)
    half = np.abs(right[:, 0] - left[:, 0]) / 2
    centre = (foot[:, 0] + head[:, 0]) / 2
    return np.column_stack((centre - half, head[:, 1], centre + half, foot[:, 1]))


def _seen(xy: Floats, height_m: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Ints]:
    shown = rng.random(len(xy)) >= MISSED
    false = rng.uniform(0.3, FLOOR_M - 0.3, (rng.poisson(FALSE * len(xy)), 2))
    true = _boxes(xy[shown], height_m[shown])
    w, h = true[:, 2] - true[:, 0], true[:, 3] - true[:, 1]
    noise = np.column_stack((0.04 * w, 0.03 * h, 0.04 * w, 0.03 * h))
    boxes = np.concatenate(
        (true + noise * rng.normal(size=true.shape), _boxes(false, np.full(len(false), 1.7)))
    )
    sure = rng.random(len(true)) < 0.85
    good, weak = rng.uniform(0.60, 0.95, len(true)), rng.uniform(0.20, 0.55, len(true))
    scores = np.concatenate((np.where(sure, good, weak), rng.uniform(0.2, 0.7, len(false))))
    order = rng.permutation(len(boxes))
    person = np.concatenate((shown.nonzero()[0], np.full(len(false), -1)))
    return boxes[order], scores[order], person[order]


def _feet(boxes: Floats) -> Floats:
    """Where the middle of the lower edge meets the floor."""
    floor = np.linalg.inv(CAMERA[:, [0, 1, 3]])
    foot = np.column_stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3], np.ones(len(boxes))))
    p = foot @ floor.T
    return np.asarray(p[:, :2] / p[:, 2:])
