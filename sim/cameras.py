"""What detectors report: people seen through the true lenses, with the faults of real detectors.

A person is an upright cylinder. Fixtures and other people hide parts of it: hidden feet give a box
that ends too high, and a person of whom little shows is lost. Misses come in short runs, boxes
jitter, some boxes are false, two bodies that overlap may give one box. Wrists come with noise,
misses and outliers, as measured for a pose net on room cameras. Many images are worked out in one
go: rows are (image, person) pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from messages.arrays import Bools, Floats, Ints
from messages.store_config import StoreConfig
from sim.appearance import Appearance, turns
from sim.bodies import Bodies
from sim.geometry import fixture_boxes
from sim.outlines import LEVELS, View, area, in_view, overlaps
from sim.outputs import CameraPacket
from sim.projection import Lens, Lenses
from sim.slots import Slots

NS = 1_000_000_000
VISIBLE_MIN = 0.35  # of the levels, else the person is lost
BOX_MIN_PX = 14.0
MERGE_OVERLAP = 0.65  # boxes that overlap more may become one
MERGE_PROBABILITY = 0.7
SHARE_VISIBLE_MIN = 0.35  # of a box that must lie inside the image
WRIST_NOISE_PX = 7.5  # median error 9 px over both axes
WRIST_SEEN = 0.72
WRIST_OUTLIER = 0.06
WRIST_OUTLIER_PX = 45.0
FALSE_MAX = 50  # in one image
BIAS_KEPT = 0.95  # of the slow error, from one image to the next: a second or so
BIAS_STEP = math.sqrt(1 - BIAS_KEPT**2)
LATENCY_SIGMA = 0.3  # of ln
BUSY_PROBABILITY = 0.01  # that a worker is busy with something else
BUSY_MS = (50.0, 150.0)
ALL_LEVELS = np.ones((len(LEVELS), 1), dtype=np.bool_)


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
    appearance: bool = True  # packets carry a vector of looks for each box
    items: bool = False  # hands near goods are looked into, as a product recognizer would


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """(image, person) pairs that may give a box, p rows, and the chances drawn for each."""

    image: Ints  # (p,)
    body: Ints  # (p,)
    camera: Ints  # (p,)
    slot: Ints  # (p,)
    turn: Ints  # (p,) how many images its camera took before, of those that are developed together
    even: Floats  # (p, 7) from 0 to 1
    normal: Floats  # (p, 15)

    @property
    def turns(self) -> list[Ints]:
        """Rows cut so that no camera has two images in one part; its images keep their order."""
        last = int(self.turn.max(initial=0))
        return [np.flatnonzero(self.turn == t) for t in range(last + 1)]

    def of(self, rows: Ints) -> Pairs:
        return Pairs(
            self.image[rows],
            self.body[rows],
            self.camera[rows],
            self.slot[rows],
            self.turn[rows],
            self.even[rows],
            self.normal[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Detections of all images, k rows."""

    image: Ints  # (k,) index of the image
    order: Floats  # (k,) its place in the packet
    slot: Ints  # (k,) whose it is; -1: nobody's
    boxes: Floats  # (k, 4)
    feet: Floats  # (k, 2)
    scores: Floats  # (k,)
    wrists: Floats  # (k, 2, 2)


@dataclass(slots=True, eq=False)
class Cameras:
    """All cameras: free running, each with its own phase and its own generator.

    Images may be developed one by one or many together: the packets are the same.
    """

    config: StoreConfig
    faults: Faults
    rngs: list[np.random.Generator]  # one a camera, for what befalls people
    image_rngs: list[np.random.Generator]  # and for what befalls whole images
    lenses: Lenses
    next_capture_ns: Ints
    period_ns: int
    sequence: Ints
    lower: Floats
    upper: Floats
    slots: Slots
    appearance: Appearance
    missing: Bools  # (c, slots) missed in the last image
    bias: Floats  # (c, slots, 4)

    @staticmethod
    def of(config: StoreConfig, faults: Faults, rng: np.random.Generator) -> Cameras:
        period_ns = round(NS / faults.rate_hz)
        lower, upper = fixture_boxes(config.fixtures)
        n = len(config.cameras)
        return Cameras(
            config=config,
            faults=faults,
            rngs=rng.spawn(n),
            image_rngs=rng.spawn(n),
            lenses=Lenses.of([Lens.of(camera) for camera in config.cameras]),
            next_capture_ns=rng.integers(0, period_ns, n),
            period_ns=period_ns,
            sequence=np.zeros(n, dtype=np.int64),
            lower=lower,
            upper=upper,
            slots=Slots(),
            appearance=Appearance.of(rng.spawn(n + 1)),
            missing=np.zeros((n, 0), dtype=np.bool_),
            bias=np.zeros((n, 0, 4)),
        )

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """(instant, camera) of the images taken up to now, in order; each is given once."""
        taken: list[tuple[int, int]] = []
        while True:
            ready = np.flatnonzero(self.next_capture_ns <= now_ns)
            if not len(ready):
                return sorted(taken)
            taken += zip(self.next_capture_ns[ready].tolist(), ready.tolist(), strict=True)
            self.next_capture_ns[ready] += self.period_ns

    def packets(self, due: Sequence[tuple[int, int]], bodies: Bodies) -> list[CameraPacket]:
        """The detections of images: row i of ``bodies`` is for ``due[i]``."""
        at_ns = np.array([at for at, _ in due], dtype=np.int64)
        camera = np.array([c for _, c in due], dtype=np.int64)
        slot = self._slots_of(bodies.key)
        image, body = in_view(bodies, self.lenses, camera)
        seen = _nothing()
        if len(image):
            seen = self._seen(self._pairs(image, body, camera, slot), bodies)
        seen, sent_ns = self._of_images(seen, at_ns, camera)
        looks = None
        if self.faults.appearance:
            looks = self.appearance.drawn(seen.slot, seen.image, camera, at_ns)
        return self._packed(seen, looks, at_ns, sent_ns, camera)

    def _slots_of(self, key: tuple[str, ...]) -> Ints:
        """Rows of each person's memory; who is new starts with none."""
        slot, new = self.slots.of(key)
        grown = self.slots.size - self.missing.shape[1]
        if grown:
            self.missing = np.pad(self.missing, ((0, 0), (0, grown)))
            self.bias = np.pad(self.bias, ((0, 0), (0, grown), (0, 0)))
        if len(new):
            self.missing[:, new] = False
            self.bias[:, new] = 0.0
            self.appearance.forget(new, self.slots.size)
        return slot

    def _pairs(self, image: Ints, body: Ints, camera: Ints, slot: Ints) -> Pairs:
        """Each camera draws for its own pairs, in its own order."""
        count = np.bincount(image, minlength=len(camera)).tolist()
        even = np.empty((len(image), 7))
        normal = np.empty((len(image), 15))
        start = 0
        for c, k in zip(camera.tolist(), count, strict=True):
            self.rngs[c].random(out=even[start : start + k])
            self.rngs[c].standard_normal(out=normal[start : start + k])
            start += k
        turn = turns(camera)
        return Pairs(image, body, camera[image], slot[body], turn[image], even, normal)

    def _seen(self, pairs: Pairs, bodies: Bodies) -> Seen:
        """True detections."""
        view = View.of(bodies, pairs.image, pairs.body, self.lenses, pairs.camera)
        open_, wrists_open = view.unhidden(bodies, pairs.image, self.lower, self.upper)
        whole, some = view.box(ALL_LEVELS)
        shown, _ = view.box(open_.T)
        inside = self._clipped(shown, pairs.camera)
        share = open_.mean(axis=1)
        enough = area(inside) > SHARE_VISIBLE_MIN * area(whole)
        enough &= (share >= VISIBLE_MIN) & some
        enough &= (inside[:, 3] - inside[:, 1]) > BOX_MIN_PX
        rows = np.flatnonzero(enough & ~self._missed(pairs))
        rows = rows[self._unmerged(inside[rows], pairs.of(rows), view.gap_m[rows])]
        pairs, tall = pairs.of(rows), whole[rows, 3] - whole[rows, 1]
        boxes = self._clipped(self._jittered(inside[rows], pairs), pairs.camera)
        scores = 0.35 + 0.5 * share[rows] + 0.08 * pairs.normal[:, 0]
        return Seen(
            image=pairs.image,
            order=pairs.even[:, 6],
            slot=pairs.slot,
            boxes=boxes,
            feet=self._feet(view.foot_px[rows], boxes, tall, open_[rows, 0], pairs),
            scores=np.clip(scores, 0.2, 0.99),
            wrists=self._wrists(view.wrists_px[rows], wrists_open[rows], pairs),
        )

    def _missed(self, pairs: Pairs) -> Bools:
        """A two-state chain per person and camera: misses come in short runs."""
        faults, draw = self.faults, pairs.even[:, 0]
        recover = 1.0 / faults.miss_run_images
        lose = recover * faults.misses / max(1e-9, 1.0 - faults.misses)
        missed = np.empty(len(draw), dtype=np.bool_)
        for rows in pairs.turns:
            at = pairs.camera[rows], pairs.slot[rows]
            missed[rows] = np.where(self.missing[at], draw[rows] >= recover, draw[rows] < lose)
            self.missing[at] = missed[rows]
        return missed

    def _unmerged(self, boxes: Floats, pairs: Pairs, gap_m: Floats) -> Bools:
        """Of two boxes that overlap heavily the farther one is often suppressed.

        One draw a box: behind k others that are kept it survives all k of them.
        """
        kept = np.ones(len(boxes), dtype=np.bool_)
        survives = np.ones(len(boxes))
        near, far = overlaps(boxes, pairs.image, gap_m, MERGE_OVERLAP)
        for i, j in zip(near.tolist(), far.tolist(), strict=True):
            if kept[i] and kept[j]:
                survives[j] *= 1.0 - MERGE_PROBABILITY
                kept[j] = pairs.even[j, 1] < survives[j]
        return kept

    def _jittered(self, boxes: Floats, pairs: Pairs) -> Floats:
        """Noise of each image, and a slow error of the edges, an AR(1) process."""
        height = (boxes[:, 3] - boxes[:, 1])[:, None]
        slow = self.faults.bias * BIAS_STEP * pairs.normal[:, 1:5]
        for rows in pairs.turns:
            at = pairs.camera[rows], pairs.slot[rows]
            slow[rows] += BIAS_KEPT * self.bias[at]
            self.bias[at] = slow[rows]
        sigma = self.faults.jitter_px + self.faults.jitter * height
        return np.asarray(boxes + slow * height + sigma * pairs.normal[:, 5:9])

    def _feet(
        self, foot_px: Floats, boxes: Floats, tall_px: Floats, open_: Bools, pairs: Pairs
    ) -> Floats:
        """The foot point: where the body meets the floor when that shows, else the box's bottom."""
        sigma = self.faults.jitter_px + self.faults.jitter * tall_px[:, None]
        feet = foot_px + sigma * pairs.normal[:, 9:11]
        inside = (feet >= 0) & (feet < self.lenses.size_px[pairs.camera])
        shown = open_ & inside[:, 0] & inside[:, 1]
        return np.where(shown[:, None], feet, _bottom(boxes))

    def _wrists(self, px: Floats, open_: Bools, pairs: Pairs) -> Floats:
        inside = ((px >= 0) & (px < self.lenses.size_px[pairs.camera][:, None])).all(axis=2)
        seen = open_ & inside & (pairs.even[:, 2:4] < WRIST_SEEN)
        outlier = pairs.even[:, 4:6] < WRIST_OUTLIER
        sigma = np.where(outlier, WRIST_OUTLIER_PX, WRIST_NOISE_PX)[:, :, None]
        px = px + sigma * pairs.normal[:, 11:15].reshape(-1, 2, 2)
        return np.where(seen[:, :, None], px, np.nan)

    def _of_images(self, seen: Seen, at_ns: Ints, camera: Ints) -> tuple[Seen, list[int]]:
        """Adds boxes of nobody, mixes each image's rows, and says when its packet is sent."""
        true_boxes = np.bincount(seen.image, minlength=len(camera)).tolist()
        false: list[Floats] = []
        where: list[int] = []
        sent_ns: list[int] = []
        for i, (c, at) in enumerate(zip(camera.tolist(), at_ns.tolist(), strict=True)):
            rng = self.image_rngs[c]
            sent_ns.append(at + self._late_ns(rng))
            for _ in range(_poisson(rng, self.faults.false_boxes * max(true_boxes[i], 1))):
                false.append(rng.random(6))
                where.append(i)
        if where:
            image = np.array(where)
            seen = _joined(seen, self._false(np.array(false), image, camera[image]))
        mixed = np.lexsort((seen.order, seen.image))
        return Seen(*(getattr(seen, name)[mixed] for name in SEEN_FIELDS)), sent_ns

    def _false(self, even: Floats, image: Ints, camera: Ints) -> Seen:
        """Boxes of a person's size, anywhere in the image."""
        centre = (0.05 + 0.9 * even[:, :2]) * self.lenses.size_px[camera]
        height = 60.0 + 140.0 * even[:, 2]
        half = np.column_stack([height * (0.15 + 0.15 * even[:, 3]), height / 2])
        boxes = self._clipped(np.hstack([centre - half, centre + half]), camera)
        nobody, unseen = np.full(len(image), -1), np.full((len(image), 2, 2), np.nan)
        scores = 0.25 + 0.25 * even[:, 4]
        return Seen(image, even[:, 5], nobody, boxes, _bottom(boxes), scores, unseen)

    def _late_ns(self, rng: np.random.Generator) -> int:
        """From capture to hand-over; now and then the worker is busy."""
        late_ms = self.faults.latency_ms * math.exp(LATENCY_SIGMA * rng.standard_normal())
        even = rng.random()
        if even < BUSY_PROBABILITY:
            low, high = BUSY_MS
            late_ms += low + (high - low) * even / BUSY_PROBABILITY
        return int(late_ms * 1e6)

    def _packed(
        self, seen: Seen, looks: Floats | None, at_ns: Ints, sent_ns: list[int], camera: Ints
    ) -> list[CameraPacket]:
        """One packet an image."""
        ends = np.cumsum(np.bincount(seen.image, minlength=len(camera))).tolist()
        rows = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        boxes, feet = seen.boxes.astype(np.float32), seen.feet.astype(np.float32)
        scores, wrists = seen.scores.astype(np.float32), seen.wrists.astype(np.float32)
        vectors = None if looks is None else looks.astype(np.float32)
        sequence = (self.sequence[camera] + turns(camera) + 1).tolist()
        self.sequence[camera] = sequence  # the last image of a camera counts
        return [
            CameraPacket(
                camera=self.config.cameras[c].id,
                sent_at_ns=sent_ns[i],
                captured_at_ns=at,
                sequence=sequence[i],
                boxes_px=boxes[rows[i]],
                feet_px=feet[rows[i]],
                scores=scores[rows[i]],
                wrists_px=wrists[rows[i]],
                embeddings=None if vectors is None else vectors[rows[i]],
            )
            for i, (c, at) in enumerate(zip(camera.tolist(), at_ns.tolist(), strict=True))
        ]

    def _clipped(self, boxes: Floats, camera: Ints) -> Floats:
        size = self.lenses.size_px[camera]
        return np.minimum(np.maximum(boxes, 0.0), np.hstack([size, size]))


SEEN_FIELDS = tuple(f.name for f in fields(Seen))


def _joined(a: Seen, b: Seen) -> Seen:
    return Seen(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in SEEN_FIELDS))


def _nothing() -> Seen:
    none = np.empty(0, dtype=np.int64)
    no = np.empty(0)
    return Seen(none, no, none, np.empty((0, 4)), np.empty((0, 2)), no, np.empty((0, 2, 2)))


def _poisson(rng: np.random.Generator, mean: float) -> int:
    """A count by inversion: numpy's own takes longer for small means."""
    left, count = rng.random() - math.exp(-mean), 0
    part = math.exp(-mean)
    while left > 0 and count < FALSE_MAX:
        count += 1
        part *= mean / count
        left -= part
    return count


def _bottom(boxes: Floats) -> Floats:
    return np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]])
