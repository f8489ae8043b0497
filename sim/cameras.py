"""What detectors report: people seen through the true lenses, with the faults of real detectors.

A person is an upright cylinder. Fixtures and other people hide parts of it: hidden feet give a box
that ends too high, and a person of whom little shows is lost. Misses come in short runs, boxes
jitter, some boxes are false, two bodies that overlap may give one box. Wrists come with noise,
misses and outliers, as measured for a pose net on room cameras.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Bools, Floats, Ints
from messages.store_config import StoreConfig
from sim.geometry import fixture_boxes, segments_hit_boxes
from sim.outputs import CameraPacket
from sim.projection import Lens, in_image, project

NS = 1_000_000_000
RING = 8  # points around a cylinder
LEVELS = np.array([0.0, 0.12, 0.3, 0.5, 0.7, 0.88, 1.0])  # of the height
VISIBLE_MIN = 0.35  # of the levels, else the person is lost
BOX_MIN_PX = 14.0
MERGE_OVERLAP = 0.65  # boxes that overlap more may become one
MERGE_PROBABILITY = 0.7
EDGE_PX = 2.0
SHARE_VISIBLE_MIN = 0.35  # of a box that must lie inside the image
WRIST_NOISE_PX = 7.5  # median error 9 px over both axes
WRIST_SEEN = 0.72
WRIST_OUTLIER = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How bad the detectors are. ``misses``: share of visible people that get no box."""

    misses: float = 0.10
    miss_run_images: float = 2.0  # mean length of a run of misses
    false_boxes: float = 0.02  # per true box
    jitter: float = 0.018  # of the box's height, each edge, one sigma
    jitter_px: float = 1.2
    bias: float = 0.012  # of the box's height, slow: pose and clothes
    latency_ms: float = 45.0  # median from capture to hand-over
    rate_hz: float = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """People at an instant, struct of arrays. ``wrists_store_m``: (n, 2, 3)."""

    key: tuple[str, ...]
    position_store_m: Floats
    height_m: Floats
    radius_m: Floats
    wrists_store_m: Floats


@dataclass(slots=True, eq=False)
class Cameras:
    """All cameras: free running, each with its own phase."""

    config: StoreConfig
    faults: Faults
    rng: np.random.Generator
    lenses: list[Lens]
    next_capture_ns: Ints
    period_ns: int
    sequence: Ints
    lower: Floats
    upper: Floats
    missing: dict[tuple[int, str], bool] = field(default_factory=dict)
    bias: dict[tuple[int, str], Floats] = field(default_factory=dict)

    @staticmethod
    def of(config: StoreConfig, faults: Faults, rng: np.random.Generator) -> Cameras:
        period_ns = round(NS / faults.rate_hz)
        lower, upper = fixture_boxes(config.fixtures)
        n = len(config.cameras)
        return Cameras(
            config=config,
            faults=faults,
            rng=rng,
            lenses=[Lens.of(camera) for camera in config.cameras],
            next_capture_ns=rng.integers(0, period_ns, n),
            period_ns=period_ns,
            sequence=np.zeros(n, dtype=np.int64),
            lower=lower,
            upper=upper,
        )

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """(instant, camera) of the images taken up to now, in order; each is given once."""
        taken = []
        for camera in range(len(self.lenses)):
            while self.next_capture_ns[camera] <= now_ns:
                taken.append((int(self.next_capture_ns[camera]), camera))
                self.next_capture_ns[camera] += self.period_ns
        return sorted(taken)

    def packet(self, camera: int, at_ns: int, bodies: Bodies) -> CameraPacket:
        """One image's detections."""
        boxes, feet, scores, wrists = self._seen(camera, bodies)
        false = self._false_boxes(camera, len(boxes))
        boxes, feet = np.vstack([boxes, false]), np.vstack([feet, _bottom(false)])
        scores = np.concatenate([scores, self.rng.uniform(0.25, 0.5, len(false))])
        wrists = np.concatenate([wrists, np.full((len(false), 2, 2), np.nan)])
        order = self.rng.permutation(len(boxes))
        late_ms = self.faults.latency_ms * float(self.rng.lognormal(0.0, 0.3))
        if self.rng.random() < 0.01:
            late_ms += float(self.rng.uniform(50.0, 150.0))  # the worker was busy
        self.sequence[camera] += 1
        return CameraPacket(
            camera=self.config.cameras[camera].id,
            sent_at_ns=at_ns + int(late_ms * 1e6),
            captured_at_ns=at_ns,
            sequence=int(self.sequence[camera]),
            boxes_px=boxes[order].astype(np.float32),
            feet_px=feet[order].astype(np.float32),
            scores=scores[order].astype(np.float32),
            wrists_px=wrists[order].astype(np.float32),
        )

    def _seen(self, camera: int, bodies: Bodies) -> tuple[Floats, Floats, Floats, Floats]:
        """True detections: boxes (k, 4), feet (k, 2), scores (k,), wrists (k, 2, 2)."""
        lens = self.lenses[camera]
        if not bodies.key:
            return np.empty((0, 4)), np.empty((0, 2)), np.empty(0), np.empty((0, 2, 2))
        open_ = visible_levels(bodies, lens, self.lower, self.upper)
        outline = _outline(bodies, lens)
        whole, ok = _boxes_around(*outline, np.ones_like(open_))
        shown, _ = _boxes_around(*outline, open_)
        inside = _clipped(shown, lens)
        enough = _area(inside) > SHARE_VISIBLE_MIN * _area(whole)
        enough &= (open_.mean(axis=1) >= VISIBLE_MIN) & ok
        enough &= (inside[:, 3] - inside[:, 1]) > BOX_MIN_PX
        found = enough & ~self._missed(camera, bodies.key)
        found = self._merged(inside, found, bodies, lens)
        keep = np.flatnonzero(found)
        boxes = _clipped(self._jittered(camera, inside[keep], keep, bodies), lens)
        feet = self._feet(bodies, keep, boxes, whole, open_, lens)
        scores = np.clip(
            0.35 + 0.5 * open_[keep].mean(axis=1) + self.rng.normal(0, 0.08, len(keep)), 0.2, 0.99
        )
        return boxes, feet, scores, self._wrists(bodies, keep, lens)

    def _missed(self, camera: int, key: tuple[str, ...]) -> Bools:
        """A two-state chain per person and camera: misses come in short runs."""
        faults = self.faults
        recover = 1.0 / faults.miss_run_images
        lose = recover * faults.misses / max(1e-9, 1.0 - faults.misses)
        draw = self.rng.random(len(key))
        missed = np.zeros(len(key), dtype=np.bool_)
        for i, name in enumerate(key):
            was = self.missing.get((camera, name), False)
            missed[i] = draw[i] >= recover if was else draw[i] < lose
            self.missing[camera, name] = bool(missed[i])
        return missed

    def _merged(self, boxes: Floats, found: Bools, bodies: Bodies, lens: Lens) -> Bools:
        """Of two boxes that overlap heavily the farther one is often suppressed."""
        gap = np.linalg.norm(bodies.position_store_m - lens.position_store_m[:2], axis=1)
        kept = found.copy()
        near_first = np.argsort(gap, kind="stable")
        for rank, i in enumerate(near_first):
            for j in near_first[rank + 1 :]:
                if kept[i] and kept[j] and _overlap(boxes[i], boxes[j]) > MERGE_OVERLAP:
                    kept[j] = self.rng.random() >= MERGE_PROBABILITY
        return kept

    def _jittered(self, camera: int, boxes: Floats, keep: Ints, bodies: Bodies) -> Floats:
        height = (boxes[:, 3] - boxes[:, 1])[:, None]
        bias = [self._bias(camera, bodies.key[i]) for i in keep]
        slow = np.array(bias).reshape(-1, 4) * height
        sigma = self.faults.jitter_px + self.faults.jitter * height
        return np.asarray(boxes + slow + sigma * self.rng.standard_normal(boxes.shape))

    def _bias(self, camera: int, name: str) -> Floats:
        """A slow error of the box's edges, an AR(1) process over a second or so."""
        last = self.bias.get((camera, name), np.zeros(4))
        step = self.faults.bias * np.sqrt(1 - 0.95**2) * self.rng.standard_normal(4)
        self.bias[camera, name] = 0.95 * last + step
        return self.bias[camera, name]

    def _feet(
        self,
        bodies: Bodies,
        keep: Ints,
        boxes: Floats,
        whole: Floats,
        open_: Bools,
        lens: Lens,
    ) -> Floats:
        """The foot point: where the body meets the floor when that shows, else the box's bottom."""
        ground = np.hstack([bodies.position_store_m[keep], np.zeros((len(keep), 1))])
        px, _ = project(ground, lens)
        height = (whole[keep, 3] - whole[keep, 1])[:, None]
        sigma = self.faults.jitter_px + self.faults.jitter * height
        px = px + sigma * self.rng.standard_normal(px.shape)
        shown = open_[keep, 0] & in_image(px, lens)
        return np.where(shown[:, None], px, _bottom(boxes))

    def _wrists(self, bodies: Bodies, keep: Ints, lens: Lens) -> Floats:
        wrists = bodies.wrists_store_m[keep]
        px, ahead = project(wrists, lens)
        flat = wrists.reshape(-1, 3)
        eye = np.broadcast_to(lens.position_store_m, flat.shape)
        hidden = segments_hit_boxes(flat, eye, self.lower, self.upper).any(axis=1)
        hidden |= _behind_people(flat, bodies, lens).any(axis=1)  # one's own body too
        seen = ahead & in_image(px, lens) & ~hidden.reshape(px.shape[:2])
        seen &= self.rng.random(seen.shape) < WRIST_SEEN
        outlier = self.rng.random(seen.shape) < WRIST_OUTLIER
        sigma = np.where(outlier, 45.0, WRIST_NOISE_PX)[..., None]
        px = px + sigma * self.rng.standard_normal(px.shape)
        return np.where(seen[..., None], px, np.nan)

    def _false_boxes(self, camera: int, true_boxes: int) -> Floats:
        """Boxes of nobody: of a person's size, anywhere in the image."""
        count = int(self.rng.poisson(self.faults.false_boxes * max(true_boxes, 1)))
        lens = self.lenses[camera]
        centre = self.rng.uniform(0.05, 0.95, (count, 2)) * lens.size_px
        height = self.rng.uniform(60.0, 200.0, count)
        half = np.column_stack([height * self.rng.uniform(0.15, 0.3, count), height / 2])
        return _clipped(np.hstack([centre - half, centre + half]), lens)


def visible_levels(bodies: Bodies, lens: Lens, lower: Floats, upper: Floats) -> Bools:
    """(n, levels) True where the body's axis at that height is seen by the camera."""
    n, m = len(bodies.key), len(LEVELS)
    points = _axis_points(bodies).reshape(n * m, 3)
    eye = np.broadcast_to(lens.position_store_m, points.shape)
    # The camera sees the near side of a body: a fixture must reach its axis to hide it.
    hidden = segments_hit_boxes(points, eye, lower, upper).any(axis=1)
    behind = _behind_people(points, bodies, lens)
    behind[np.arange(n * m), np.repeat(np.arange(n), m)] = False  # nobody hides behind oneself
    return ~(hidden | behind.any(axis=1)).reshape(n, m)


def body_boxes(bodies: Bodies, lens: Lens, levels: Bools) -> tuple[Floats, Bools]:
    """Image boxes (n, 4) of the parts at the given levels, and True where any part is ahead."""
    return _boxes_around(*_outline(bodies, lens), levels)


def _outline(bodies: Bodies, lens: Lens) -> tuple[Floats, Bools]:
    """(n, levels, ring, 2) pixels around the bodies, and (n, levels) True where all are ahead."""
    angle = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(RING)])
    # Head and feet are narrower than the trunk.
    width = np.interp(LEVELS, [0.0, 0.3, 0.8, 1.0], [0.6, 0.9, 1.0, 0.45])
    spread = bodies.radius_m[:, None, None, None] * width[:, None, None] * ring
    px, ahead = project(_axis_points(bodies)[:, :, None] + spread, lens)
    return px, np.asarray(ahead.all(axis=2))


def _boxes_around(px: Floats, ahead: Bools, levels: Bools) -> tuple[Floats, Bools]:
    shown = levels & ahead
    some = np.asarray(shown.any(axis=1))
    shown = shown | ~some[:, None]
    inner, outer = px.min(axis=2), px.max(axis=2)  # (n, levels, 2)
    low = np.where(shown[:, :, None], inner, np.inf).min(axis=1)
    high = np.where(shown[:, :, None], outer, -np.inf).max(axis=1)
    return np.hstack([low, high]), some


def _axis_points(bodies: Bodies) -> Floats:
    """(n, levels, 3) points on the axes, feet to crown."""
    n, m = len(bodies.key), len(LEVELS)
    points = np.empty((n, m, 3))
    points[:, :, :2] = bodies.position_store_m[:, None]
    points[:, :, 2] = bodies.height_m[:, None] * LEVELS
    return points


def _behind_people(points: Floats, bodies: Bodies, lens: Lens) -> Bools:
    """(k, n) True where the line from a point to the camera passes through a body."""
    ray = lens.position_store_m - points
    to = bodies.position_store_m[None] - points[:, None, :2]  # (k, n, 2)
    length2 = np.maximum((ray[:, :2] ** 2).sum(axis=1), 1e-9)
    t = np.einsum("kni,ki->kn", to, ray[:, :2]) / length2[:, None]
    closest = np.linalg.norm(to - t[:, :, None] * ray[:, None, :2], axis=2)
    height = points[:, None, 2] + t * ray[:, None, 2]
    blocked = (t > 0) & (t < 1) & (closest < 0.8 * bodies.radius_m) & (height < bodies.height_m)
    return np.asarray(blocked)


def _bottom(boxes: Floats) -> Floats:
    return np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]])


def _clipped(boxes: Floats, lens: Lens) -> Floats:
    size = np.tile(lens.size_px, 2)
    return np.clip(boxes, 0.0, size)


def _area(boxes: Floats) -> Floats:
    size = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(size[:, 0] * size[:, 1])


def _overlap(a: Floats, b: Floats) -> float:
    """Intersection over the smaller box: a box inside a larger one counts as merged."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.clip(high - low, 0.0, None)))
    smaller = min(float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2])))
    return common / max(smaller, 1e-9)
