"""A small floor with people and cameras, to test the tracker with: its own physics, one seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.vision.camera_model import CameraModel, camera_model, project
from edge.vision.person_tracker import PersonTracker
from messages.ids import CameraId, GateId, StoreId, VisitId
from messages.observations import PersonDetections
from messages.store_config import Camera, Gate, StoreArea, StoreConfig

SIZE_M = (12.0, 8.0)
GATE_M = (6.0, 0.3)
SECOND_NS = 1_000_000_000
PERIOD_NS = 66_666_667


def corner_cameras(origin=(0.0, 0.0)) -> tuple[Camera, ...]:
    """Four cameras in the corners at 3.2 m, looking at the middle, barrel distortion."""
    cameras = []
    for k, (x, y) in enumerate([(0, 0), (SIZE_M[0], 0), (0, SIZE_M[1]), SIZE_M]):
        centre = np.array([x + origin[0], y + origin[1], 3.2])
        target = np.array([SIZE_M[0] / 2 + origin[0], SIZE_M[1] / 2 + origin[1], 0.6])
        forward = (target - centre) / np.linalg.norm(target - centre)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.column_stack((right, np.cross(forward, right), forward))
        pose[:3, 3] = centre
        cameras.append(
            Camera(
                id=CameraId(f"cam-{k}"),
                camera_matrix=((330.0, 0.0, 320.0), (0.0, 330.0, 240.0), (0.0, 0.0, 1.0)),
                distortion=(-0.08, 0.01, 0.001, -0.001, 0.0),
                store_from_camera=tuple(tuple(float(v) for v in row) for row in pose),
            )
        )
    return tuple(cameras)


def store(origin=(0.0, 0.0)) -> StoreConfig:
    x, y = origin
    return StoreConfig(
        store=StoreId("s1"),
        gates=(Gate(id=GateId("gate"), x_m=GATE_M[0] + x, y_m=GATE_M[1] + y),),
        cameras=corner_cameras(origin),
        area=StoreArea(x_min_m=x, y_min_m=y, x_max_m=x + SIZE_M[0], y_max_m=y + SIZE_M[1]),
    )


@dataclass
class Faults:
    """What goes wrong with the sight of people."""

    miss: float = 0.10
    false_boxes: float = 0.02  # an image's expected false boxes, per person
    jitter_px: float = 3.0
    occlusion: bool = True
    hidden: dict[int, list[tuple[float, float]]] = field(default_factory=dict)  # person: [from, to)
    dark: list[tuple[float, float]] = field(default_factory=list)  # no packets at all


class Eyes:
    """Turns true positions into packets of four cameras."""

    def __init__(self, config: StoreConfig, rng: np.random.Generator, faults: Faults) -> None:
        self.models: list[CameraModel] = [camera_model(c) for c in config.cameras]
        self.names = [c.id for c in config.cameras]
        self.origin = np.array([config.area.x_min_m, config.area.y_min_m])
        self.rng, self.faults, self.sequence = rng, faults, 0

    def look(self, at_ns: int, xy: np.ndarray, present: np.ndarray) -> list[PersonDetections]:
        t = at_ns / SECOND_NS
        if any(a <= t < b for a, b in self.faults.dark):
            return []
        self.sequence += 1
        shown = [
            i
            for i in np.flatnonzero(present)
            if not any(a <= t < b for a, b in self.faults.hidden.get(int(i), []))
        ]
        return [self._image(k, at_ns, xy[shown] + self.origin) for k in range(len(self.models))]

    def _image(self, k: int, at_ns: int, xy: np.ndarray) -> PersonDetections:
        model, rng, faults = self.models[k], self.rng, self.faults
        boxes, feet = bodies(model, xy)
        seen = (boxes[:, 3] > 20) & (boxes[:, 1] < 460) & (boxes[:, 2] > 10) & (boxes[:, 0] < 630)
        seen &= np.isfinite(boxes).all(axis=1) & (rng.random(len(xy)) > faults.miss)
        if faults.occlusion and len(xy):
            distance = np.hypot(*(xy - model.store_from_camera[:2, 3]).T)
            seen &= covered(boxes, distance) < 0.6
        jitter = rng.normal(0.0, faults.jitter_px, boxes.shape)
        boxes = np.clip((boxes + jitter)[seen], 0, [640, 480, 640, 480])
        feet = np.clip((feet + jitter[:, 2:])[seen], 0, [640, 480])
        scores = rng.uniform(0.5, 0.95, len(boxes))
        n_false = rng.poisson(faults.false_boxes * max(len(xy), 1))
        u, v = rng.uniform(30, 610, n_false), rng.uniform(200, 470, n_false)
        false = np.column_stack((u - 25, v - 150, u + 25, v))
        boxes = np.concatenate((boxes, false))
        feet = np.concatenate((feet, np.column_stack((u, v))))
        scores = np.concatenate((scores, rng.uniform(0.3, 0.7, n_false)))
        return PersonDetections(
            camera=self.names[k],
            received_at_ns=at_ns,
            captured_at_ns=at_ns,
            sequence=self.sequence,
            boxes_px=boxes.astype(np.float32),
            feet_px=feet.astype(np.float32),
            scores=scores.astype(np.float32),
        )


def bodies(
    model: CameraModel, xy: np.ndarray, height_m: float = 1.7, from_m: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) of upright bodies 0.5 m wide, shown from a height on, and their lowest shown
    points (n, 2); NaN where not before the lens."""
    n = len(xy)
    foot, _ = project(np.column_stack((xy, np.full(n, from_m))), model)
    head, _ = project(np.column_stack((xy, np.full(n, height_m))), model)
    depth = np.linalg.norm(
        np.column_stack((xy, np.full(n, 0.85))) - model.store_from_camera[:3, 3], axis=1
    )
    half = 0.25 * model.camera_matrix[0, 0] / np.maximum(depth, 0.3)
    left, right = np.minimum(foot[:, 0], head[:, 0]), np.maximum(foot[:, 0], head[:, 0])
    return np.column_stack((left - half, head[:, 1], right + half, foot[:, 1])), foot


def covered(boxes: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n,) largest share of each box behind the box of somebody nearer."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    share = shared / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
    nearer = distance[None] < distance[:, None]
    return np.where(nearer, np.nan_to_num(share), 0.0).max(axis=1, initial=0.0)


def floor_packet(at_ns, points, camera="c", sequence=0, score=0.9) -> PersonDetections:
    """A packet of a sender that works on the floor already."""
    points = np.asarray(points, dtype=np.float32).reshape(-1, 2)
    return PersonDetections(
        camera=CameraId(camera),
        received_at_ns=at_ns,
        captured_at_ns=at_ns,
        sequence=sequence,
        boxes_px=np.zeros((0, 4), np.float32),
        feet_px=np.zeros((0, 2), np.float32),
        scores=np.full(len(points), score, np.float32),
        positions_store_m=points,
    )


@dataclass
class Shopper:
    """Where one person is: a way through points, with the time at which each is reached."""

    t: np.ndarray
    xy: np.ndarray
    leaves: bool = True  # through the gate at the end; else the scene just ends

    def at(self, t: float) -> np.ndarray:
        return np.array([np.interp(t, self.t, self.xy[:, 0]), np.interp(t, self.t, self.xy[:, 1])])

    def present(self, t: float) -> bool:
        return bool(self.t[0] <= t <= self.t[-1])


def crowd(rng: np.random.Generator, n: int, stay_s: float, every_s: float = 2.5) -> list[Shopper]:
    """People who come in one after another, go from place to place with stops, and leave.

    Bodies keep 0.4 m apart; everybody walks through the gate both ways.
    """
    dt = PERIOD_NS / SECOND_NS
    enter = 2.0 + every_s * np.arange(n) + rng.uniform(0.0, 0.8, n)
    ends = enter + stay_s
    gate = np.array(GATE_M)
    xy = np.tile(gate, (n, 1))
    goal = gate + np.array([0.0, 1.3]) + rng.normal(0.0, 0.2, (n, 2))
    speed, pause = rng.uniform(0.6, 1.3, n), np.zeros(n)
    ways: list[list[tuple[float, float, float]]] = [[] for _ in range(n)]
    gone = np.zeros(n, np.bool_)
    for step in range(int((ends[-1] + 60.0) / dt)):
        t = step * dt
        active = (t >= enter) & ~gone
        going = active & (t >= ends - 10.0)
        goal[going] = gate
        to = goal - xy
        left = np.hypot(*to.T)
        near = left < np.where(going, 0.1, 0.25)
        gone |= going & near
        new = active & near & ~going & (pause <= 0)
        pause[new] = np.where(rng.random(new.sum()) < 0.7, rng.exponential(3.0, new.sum()), 0.0)
        goal[new] = rng.uniform([0.7, 0.9], [SIZE_M[0] - 0.7, SIZE_M[1] - 0.7], (new.sum(), 2))
        pause -= dt * active
        walk = active & ((pause <= 0) | going)
        xy += walk[:, None] * to / np.maximum(left, 1e-6)[:, None] * speed[:, None] * dt
        xy = np.where(active[:, None], pushed(xy, active, rng), xy)
        for i in np.flatnonzero(active):
            ways[i].append((t, xy[i, 0], xy[i, 1]))
        if gone.all():
            break
    return [path(*way) for way in ways]


def pushed(xy: np.ndarray, active: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bodies nearer than 0.4 m move apart, a little to the side so that they pass."""
    d = xy[:, None] - xy[None]
    distance = np.hypot(d[..., 0], d[..., 1]) + np.eye(len(xy)) * 9
    close = (distance < 0.4) & active[:, None] & active[None]
    if not close.any():
        return xy
    side = np.stack((-d[..., 1], d[..., 0]), axis=-1)
    away = (d + 0.7 * side) / np.maximum(distance, 0.02)[..., None]
    return xy + (np.where(close, (0.4 - distance) / 2, 0.0)[..., None] * away).sum(axis=1)


def visit(k: int) -> VisitId:
    return VisitId(f"s1-v{k}")


def path(*points: tuple[float, float, float], leaves: bool = True) -> Shopper:
    """A shopper from (t, x, y) points."""
    p = np.array(points)
    return Shopper(p[:, 0], p[:, 1:], leaves)


@dataclass
class Played:
    """What a scene gave: the tracker, who was said to have left, and the score as it ran."""

    tracker: PersonTracker
    left: dict[int, dict[str, float]]
    error_m: list[float] = field(default_factory=list)  # of the nearest track to each person
    said: list[float] = field(default_factory=list)  # probability of that track's likeliest visit
    right: list[bool] = field(default_factory=list)  # and whether it is the person's
    own: list[float] = field(default_factory=list)  # probability of the person's own visit
    lost: int = 0  # no track within a metre
    switches: int = 0  # another track id than before


def play(
    shoppers: list[Shopper],
    seed: int = 0,
    faults: Faults | None = None,
    end_s: float | None = None,
    origin=(0.0, 0.0),
    visits: list[VisitId] | None = None,
    each=None,
) -> Played:
    """Run a scene: images at 15 Hz, gate signals when people come and go, 60 ms late.

    ``each(t_s, tracker, xy, present)`` is called after every step. Scene time starts at 1 s of
    store time.
    """
    config = store(origin)
    eyes = Eyes(config, np.random.default_rng(seed), faults or Faults())
    names = visits or [visit(k) for k in range(len(shoppers))]
    done = Played(PersonTracker(config), {})
    inside: set[int] = set()
    track_of: dict[int, int] = {}
    for step in range(int((end_s or max(s.t[-1] for s in shoppers) + 0.5) * SECOND_NS / PERIOD_NS)):
        at_ns = step * PERIOD_NS + SECOND_NS
        t = step * PERIOD_NS / SECOND_NS
        xy = np.array([s.at(t) for s in shoppers])
        present = np.array([s.present(t) for s in shoppers])
        done.tracker.step(at_ns + 60_000_000, eyes.look(at_ns, xy, present))
        for k, shopper in enumerate(shoppers):
            if k not in inside and t >= shopper.t[0]:
                inside.add(k)
                done.tracker.entered(names[k], GateId("gate"), at_ns)
        _score(done, xy + np.array(origin), present, names, track_of)
        if each is not None:
            each(t, done.tracker, xy, present)
        for k, shopper in enumerate(shoppers):
            if k not in done.left and shopper.leaves and t >= shopper.t[-1]:
                done.left[k] = done.tracker.left(GateId("gate"), at_ns)
    return done


def _score(done: Played, xy, present, names, track_of) -> None:
    tracks = done.tracker.tracks
    for k in np.flatnonzero(present):
        distance = np.hypot(*(tracks.position_store_m - xy[k]).T)
        if names[k] not in tracks.visits or not len(distance) or distance.min() > 1.0:
            done.lost += 1
            continue
        j = int(distance.argmin())
        row, column = tracks.identity[j], tracks.visits.index(names[k])
        done.error_m.append(float(distance[j]))
        done.said.append(float(row[:-1].max()))
        done.right.append(int(row[:-1].argmax()) == column)
        done.own.append(float(row[column]))
        done.switches += track_of.get(k, tracks.track_id[j]) != tracks.track_id[j]
        track_of[k] = int(tracks.track_id[j])


def share_right(said, right, at_least: float) -> tuple[int, float]:
    """How many statements of at least this probability there are, and which share is right."""
    said, right = np.array(said), np.array(right)
    sure = said >= at_least
    return int(sure.sum()), float(right[sure].mean()) if sure.any() else 1.0
