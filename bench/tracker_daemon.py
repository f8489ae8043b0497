"""The store's tracker as the daemon runs it, on the scene of ``bench tracker``.

Boxes of one calibrated camera with a descriptor each (colour stripes' length), everybody in the
store under a visit of their own: the identity of each track is a probability over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.tracker_scene import EYE_M, FLOOR_M, FOCAL_PX, FPS, IMAGE_PX, LOOK_M
from edge.vision.colour_stripes import BANDS, OF_BAND
from edge.vision.person_tracker import PersonTracker
from edge.vision.tracks import KNOWN
from messages.arrays import Floats, Floats32
from messages.ids import CameraId, StoreId, VisitId
from messages.observations import PersonDetections
from messages.store_config import Camera, StoreArea, StoreConfig
from sim.first_store import looking_at

NAMED_FROM = 20  # image from which everybody who is followed has a visit
LOOK_NOISE = 0.5  # one sigma of each dimension, over that of people


def daemon_step(data: Any) -> tuple[Callable[[int, slice], tuple[Any, ...]], Callable[..., None]]:
    """What is given at each image, and the update that is timed."""
    boxes, scores = data["boxes"].astype(np.float32), data["scores"].astype(np.float32)
    feet = np.column_stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]))
    looks = _looks(data["person"])
    tracker = PersonTracker(store())

    def packet(k: int, rows: slice) -> tuple[int, list[PersonDetections]]:
        if k >= NAMED_FROM:
            name_everybody(tracker)
        at_ns = round((k + 1) / FPS * 1e9)
        seen = PersonDetections(
            camera=CameraId("c"),
            received_at_ns=at_ns,
            captured_at_ns=at_ns,
            sequence=k,
            boxes_px=boxes[rows],
            feet_px=feet[rows],
            scores=scores[rows],
            embeddings=looks[rows],
        )
        return at_ns, [seen]

    return packet, tracker.step


def store() -> StoreConfig:
    """The scene's floor under the scene's camera."""
    width, height = IMAGE_PX
    pose = looking_at(EYE_M, LOOK_M)
    camera = Camera(
        id=CameraId("c"),
        camera_matrix=((FOCAL_PX, 0, width / 2), (0, FOCAL_PX, height / 2), (0, 0, 1)),
        distortion=(0.0,) * 5,
        store_from_camera=tuple(tuple(float(v) for v in row) for row in pose),
        width_px=width,
        height_px=height,
    )
    area = StoreArea(x_min_m=-1.0, y_min_m=-1.0, x_max_m=FLOOR_M[0] + 1.0, y_max_m=FLOOR_M[1] + 1.0)
    return StoreConfig(store=StoreId("bench"), area=area, cameras=(camera,))


def name_everybody(tracker: PersonTracker) -> None:
    """A visit for each track of nobody, as if its person had come in at a gate."""
    people = tracker.state.people
    for row in np.flatnonzero((people.phase == KNOWN) & (people.identity[:, -1] > 0.5)).tolist():
        visit = VisitId(f"bench-v{tracker.state.last_visit}")
        column = tracker._column(visit)
        people.identity[row] = 0.0
        people.identity[row, column] = 1.0


def _looks(person: Floats) -> Floats32:
    """(m, d) of length 1: everybody's own, with noise; false boxes look like anybody."""
    d = BANDS * OF_BAND
    rng = np.random.default_rng(5)
    own = rng.standard_normal((int(person.max()) + 2, d))[person]
    false = rng.standard_normal((len(person), d))
    vector = np.where(person[:, None] >= 0, own, false)
    vector = vector + LOOK_NOISE * rng.standard_normal(vector.shape)
    return np.asarray(vector / np.linalg.norm(vector, axis=1, keepdims=True), dtype=np.float32)
