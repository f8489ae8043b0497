"""Four cameras on high that see every one of hundreds of people: the load of ``bench crowd``.

People roam about, nobody comes or goes, nobody hides anybody. 10 % of the boxes are missed,
edges jitter by 3 % of the height and 4 % of the width: 3.6 detections a person.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.crowd_scene import (
    FAULTS,
    FLOOR_M,
    FPS,
    PERIOD_NS,
    START_NS,
    Instant,
    camera,
    store,
)
from bench.tracker_scene import SPEED_M_S, SPEED_TAU_S
from messages.arrays import Floats, Ints
from messages.observations import PersonDetections
from messages.store_config import Camera, StoreConfig
from sim.appearance import Appearance
from sim.projection import Lens, project

HIGH_M = ((20.0, -10.0), (20.0, 35.0), (-12.0, 12.5), (52.0, 12.5))  # at 14 m, outside the floor
HIGH_FOCAL_PX, HIGH_SIZE_PX = 1500.0, (3840, 2160)
FALSE_PX = np.array([[300.0, 500.0], [3540.0, 2100.0]])  # where false boxes stand


def overlap_scene(
    people: int, seed: int, *, seconds: float = 12.0
) -> tuple[StoreConfig, Iterator[Instant]]:
    """Four cameras high outside, who see everybody, nobody hidden; nobody comes or goes."""
    rng = np.random.default_rng((seed, people, 4))
    cameras = tuple(
        camera(i, np.array([*at, 14.0]), np.array([20.0, 12.5, 0.9]), HIGH_FOCAL_PX, HIGH_SIZE_PX)
        for i, at in enumerate(HIGH_M)
    )
    nowhere = np.zeros((0, 2))
    return store(nowhere, nowhere, cameras), _seen_by_all(cameras, people, seconds, rng)


def _seen_by_all(
    cameras: tuple[Camera, ...], people: int, seconds: float, rng: np.random.Generator
) -> Iterator[Instant]:
    lenses = [Lens.of(c) for c in cameras]
    looks = Appearance.of(rng.spawn(len(cameras) + 1))
    everybody = np.arange(people)
    looks.forget(everybody, people)
    height_m = rng.normal(1.70, 0.08, people)
    xy = rng.uniform(0.5, FLOOR_M - 0.5, (people, 2))
    v = rng.normal(0, SPEED_M_S / np.sqrt(2), (people, 2))
    for step in range(int(seconds * FPS)):
        at_ns = START_NS + step * PERIOD_NS
        xy, v = _roamed(xy, v, rng)
        packets = [
            _high_packet(eye, lens, c, at_ns, step, (everybody, xy, height_m), looks, rng)
            for c, (eye, lens) in enumerate(zip(cameras, lenses, strict=True))
        ]
        yield Instant(
            at_ns=at_ns, packets=packets, passages=[], people=everybody, position_m=xy.copy()
        )


def _roamed(xy: Floats, v: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    keep, sd = np.exp(-1 / FPS / SPEED_TAU_S), SPEED_M_S / np.sqrt(2)
    v = keep * v + sd * np.sqrt(1 - keep**2) * rng.normal(size=v.shape)
    xy = xy + v / FPS
    v = np.where(xy < 0.3, np.abs(v), np.where(xy > FLOOR_M - 0.3, -np.abs(v), v))
    return np.clip(xy, 0.3, FLOOR_M - 0.3), v


def _high_packet(
    eye: Camera,
    lens: Lens,
    c: int,
    at_ns: int,
    sequence: int,
    people: tuple[Ints, Floats, Floats],
    looks: Appearance,
    rng: np.random.Generator,
) -> PersonDetections:
    k, xy, height_m = people
    seen = rng.random(len(k)) >= FAULTS.misses
    k, boxes = k[seen], _boxes(lens, xy[seen], height_m[seen])
    wide, tall = boxes[:, 2:3] - boxes[:, :1], boxes[:, 3:] - boxes[:, 1:2]
    jitter = np.hstack((0.04 * wide, 0.03 * tall, 0.04 * wide, 0.03 * tall))
    boxes = boxes + jitter * rng.normal(size=boxes.shape)
    false = rng.uniform(*FALSE_PX, (rng.poisson(FAULTS.false_boxes * len(k)), 2))
    boxes = np.concatenate(
        (boxes, np.hstack((false + np.array([-25.0, -130.0]), false + np.array([25.0, 0.0]))))
    )
    slot = np.concatenate((k, np.full(len(false), -1)))
    vectors = looks.drawn(slot, np.zeros(len(slot), np.int64), np.array([c]), np.array([at_ns]))
    scores = np.where(slot >= 0, rng.uniform(0.5, 0.95, len(slot)), 0.4)
    return PersonDetections(
        camera=eye.id,
        received_at_ns=at_ns,
        captured_at_ns=at_ns,
        sequence=sequence,
        boxes_px=boxes.astype(np.float32),
        feet_px=np.column_stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3])).astype(np.float32),
        scores=scores.astype(np.float32),
        embeddings=vectors.astype(np.float32),
    )


def _boxes(lens: Lens, xy: Floats, height_m: Floats) -> Floats:
    """(k, 4) around upright bodies 0.5 m wide."""
    foot, _ = project(np.column_stack((xy, 0 * height_m)), lens)
    head, _ = project(np.column_stack((xy, height_m)), lens)
    aside = np.zeros(3)
    aside[:2] = 0.25 * np.linalg.inv(lens.camera_from_store)[:2, 0]
    middle = np.column_stack((xy, height_m / 2))
    half = np.abs(project(middle + aside, lens)[0] - project(middle - aside, lens)[0])[:, 0] / 2
    left, right = np.minimum(foot[:, 0], head[:, 0]), np.maximum(foot[:, 0], head[:, 0])
    return np.column_stack((left - half, head[:, 1], right + half, foot[:, 1]))
