"""The scenes of ``bench crowd``: a store of 40 x 25 m full of people, seen by many cameras.

Shoppers come in one after another at gates in the street wall, walk to a place, roam about (an
Ornstein-Uhlenbeck process, rms 0.8 m/s, 2 s, bodies 0.4 m apart: the walkers of the figures this
is compared with) and leave by the nearest way out. ``store_scene``: 18 ceiling cameras, detections
by the simulator (``sim.cameras``: people hide each other, misses come in runs, boxes merge,
descriptors as weak as colour stripes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.tracker_scene import SPEED_M_S, SPEED_TAU_S
from messages.arrays import Bools, Floats, Ints
from messages.ids import CameraId, GateId, StoreId, VisitId
from messages.observations import PersonDetections
from messages.store_config import Camera, Gate, StoreArea, StoreConfig
from sim.bodies import Bodies
from sim.cameras import Cameras, Faults
from sim.first_store import looking_at
from sim.outputs import CameraPacket

FLOOR_M = np.array([40.0, 25.0])
FPS = 15.0
PERIOD_NS = round(1e9 / FPS)
START_NS = 1_000_000_000
APART_M = 0.4  # bodies
WALK_M_S = 1.2
LANE_M, DOOR_M = 0.3, 0.8  # half a lane's width for a body's middle; how far a lane reaches in
BEFORE_M, BEHIND_M = 1.0, 1.0  # how far before and behind a gate's line people are in sight
PEOPLE_A_GATE = 32  # inside, for each way in and each way out
STAYS = (0.5, 1.5)  # of the mean stay: the shortest and the longest
TO_THE_DOOR_S = 9.0  # of each stay
STAY_MIN_S = 4.0  # before that
SIZE_PX = (1920, 1080)
FOCAL_PX = 864.0  # 96 degrees wide
CAMERA_M = 3.2
PITCH_DEG = 35.0
HEIGHT_MIN_PX = 80.0  # smaller people are not detected: 18 m away
# Edges jitter by 3 % of the height; 10 % are missed, in runs; the rest as in every simulated store.
FAULTS = Faults(misses=0.10, false_boxes=0.02, jitter=0.03, jitter_px=0.0, rate_hz=FPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One person through a gate."""

    at_ns: int
    person: int
    gate: GateId
    inwards: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instant:
    """What all cameras saw, and the truth: ``people`` (k,) inside, at ``position_m`` (k, 2).

    ``passages``: between this instant and the one before.
    """

    at_ns: int
    packets: list[PersonDetections]
    passages: list[Passage]
    people: Ints
    position_m: Floats


def visit_of(person: int) -> VisitId:
    """The visit of each person, who came alone."""
    return VisitId(f"bench-v{person}")


# --- walking --------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Walkers:
    """n people, before, inside and after their visit."""

    rng: np.random.Generator
    enters_s: Floats  # (n,)
    stays_s: Floats  # (n,)
    gate_in: Ints  # (n,)
    ways_in: Floats  # (g, 2) gates inwards
    ways_out: Floats
    xy: Floats = field(init=False)
    v: Floats = field(init=False)
    goal: Floats = field(init=False)  # where they walk first
    arrived: Bools = field(init=False)
    gate_out: Ints = field(init=False)  # -1: not leaving yet
    inside: Bools = field(init=False)
    gone: Bools = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.enters_s)
        self.xy = self.ways_in[self.gate_in] - (0.0, BEFORE_M)
        self.v = np.zeros((n, 2))
        self.goal = self.rng.uniform(1.0, FLOOR_M - 1.0, (n, 2))
        self.arrived = np.zeros(n, np.bool_)
        self.gate_out = np.full(n, -1)
        self.inside, self.gone = np.zeros(n, np.bool_), np.zeros(n, np.bool_)

    def step(self, t_s: float) -> tuple[Ints, Ints]:
        """One image later. Returns who came in and who went out since the last one."""
        there = (t_s >= self.enters_s - BEFORE_M / WALK_M_S) & ~self.gone
        leaving = self.inside & (t_s >= self.enters_s + self.stays_s) & (self.gate_out < 0)
        self._to_the_door(leaving.nonzero()[0])
        before = self.xy.copy()
        k = there.nonzero()[0]
        self.v[k] = self._velocity(k)
        self.xy[k] += self.v[k] / FPS
        self._keep_apart(k)
        self._keep_in()
        came = (there & ~self.inside & (self.gate_out < 0) & (self.xy[:, 1] >= 0.0)).nonzero()[0]
        went = (self.inside & (self.gate_out >= 0) & (self.xy[:, 1] < 0.0)).nonzero()[0]
        self.inside[came], self.inside[went] = True, False
        self.gone |= (self.gate_out >= 0) & ~self.inside & (before[:, 1] < -BEHIND_M)
        return came, went

    @property
    def visible(self) -> Ints:
        """Who stands where cameras may see them: inside, and before and behind the gates."""
        moved = self.v.any(axis=1)
        return (moved & ~self.gone).nonzero()[0]

    def _to_the_door(self, k: Ints) -> None:
        if len(k):
            way = np.linalg.norm(self.xy[k][:, None] - self.ways_out, axis=2)
            self.gate_out[k] = way.argmin(axis=1)

    def _velocity(self, k: Ints) -> Floats:
        keep, sd = np.exp(-1 / FPS / SPEED_TAU_S), SPEED_M_S / np.sqrt(2)
        v = keep * self.v[k] + sd * np.sqrt(1 - keep**2) * self.rng.normal(size=(len(k), 2))
        out = self.gate_out[k]
        target = np.where((out >= 0)[:, None], self._way_out(k), self.goal[k])
        before = ~self.inside[k] & (out < 0)
        target[before] = self.ways_in[self.gate_in[k[before]]] + (0.0, 1.0)
        to = target - self.xy[k]
        left = np.linalg.norm(to, axis=1)
        self.arrived[k] |= left < 1.0
        walking = ~self.arrived[k] | (out >= 0) | before
        self.arrived[k[before]] = False
        straight = WALK_M_S * to / np.maximum(left, 1e-6)[:, None]
        return np.where(walking[:, None], 0.5 * self.v[k] + 0.5 * straight, v)

    def _way_out(self, k: Ints) -> Floats:
        """First before the door, then straight through it."""
        door = self.ways_out[self.gate_out[k]]
        before = np.abs(self.xy[k, 0] - door[:, 0]) > LANE_M
        return door + np.where(before[:, None], (0.0, DOOR_M), (0.0, -2 * BEHIND_M))

    def _keep_apart(self, k: Ints) -> None:
        xy = self.xy[k]
        for _ in range(2):
            d = xy[:, None] - xy
            gap = np.hypot(d[..., 0], d[..., 1])
            np.fill_diagonal(gap, 9.0)
            push = np.where(gap < APART_M, (APART_M - gap) / 2, 0.0) / np.maximum(gap, 1e-6)
            side = np.stack((-d[..., 1], d[..., 0]), axis=2)  # a little aside, so that they pass
            xy = xy + (push[..., None] * (d + 0.3 * side)).sum(axis=1)
        self.xy[k] = xy

    def _keep_in(self) -> None:
        """Nobody walks through walls: at the street only lanes are open, to those who use them."""
        lane = np.where(self.gate_out >= 0, self.gate_out, self.gate_in)
        ways = np.where((self.gate_out >= 0)[:, None], self.ways_out[lane], self.ways_in[lane])
        open_ = np.abs(self.xy[:, 0] - ways[:, 0]) <= LANE_M
        open_ &= (self.gate_out >= 0) | ~self.arrived & (self.xy[:, 1] < DOOR_M)
        low, high = np.array([0.3, 0.3]), FLOOR_M - 0.3
        held = self.inside & ~open_
        out_low, out_high = held[:, None] & (self.xy < low), held[:, None] & (self.xy > high)
        self.v = np.where(out_low, np.abs(self.v), np.where(out_high, -np.abs(self.v), self.v))
        self.xy = np.where(held[:, None], np.clip(self.xy, low, high), self.xy)
        outside = self.xy[:, 1] < 0.3
        side = np.clip(self.xy[:, 0], ways[:, 0] - LANE_M, ways[:, 0] + LANE_M)
        self.xy[:, 0] = np.where(outside, side, self.xy[:, 0])


def _walkers(
    inside: int, seconds: float, stay_s: float, ways_in: Floats, ways_out: Floats, seed: int
) -> Walkers:
    """So many that ``inside`` people are in the store once it has filled, after ``stay_s``."""
    rng = np.random.default_rng((seed, inside))
    n = int(np.ceil(inside * seconds / stay_s))
    gap_s = stay_s / inside
    enters = 1.0 + gap_s * (np.arange(n) + rng.uniform(-0.3, 0.3, n))
    low, high = STAYS
    stays = np.maximum(rng.uniform(low * stay_s, high * stay_s, n) - TO_THE_DOOR_S, STAY_MIN_S)
    return Walkers(rng, enters, stays, np.arange(n) % len(ways_in), ways_in, ways_out)


# --- eighteen cameras -----------------------------------------------------------------------------


def ceiling_cameras(count: int = 18) -> tuple[Camera, ...]:
    """A grid of them, each looking inwards, turned by up to 60 degrees, 35 degrees down."""
    columns = int(np.ceil(np.sqrt(count * FLOOR_M[0] / FLOOR_M[1])))
    rows = int(np.ceil(count / columns))
    found = []
    for k in range(count):
        x = (k % columns + 0.5) * FLOOR_M[0] / columns
        y = (k // columns + 0.5) * FLOOR_M[1] / rows
        to = FLOOR_M / 2 - (x, y)
        yaw = np.arctan2(to[1], to[0]) + np.radians((-60, 0, 60)[k % 3])
        reach = CAMERA_M / np.tan(np.radians(PITCH_DEG))
        target = np.array([x + reach * np.cos(yaw), y + reach * np.sin(yaw), 0.0])
        found.append(camera(k, np.array([x, y, CAMERA_M]), target, FOCAL_PX, SIZE_PX))
    return tuple(found)


def camera(
    k: int, place: Floats, target: Floats, focal_px: float, size_px: tuple[int, int]
) -> Camera:
    """Camera number ``k`` at ``place``, looking at ``target``, without distortion."""
    width, height = size_px
    pose = looking_at(place, target)
    return Camera(
        id=CameraId(f"cam-{k + 1:02d}"),
        camera_matrix=((focal_px, 0.0, width / 2), (0.0, focal_px, height / 2), (0.0, 0.0, 1.0)),
        distortion=(0.0,) * 5,
        store_from_camera=tuple(tuple(float(v) for v in row) for row in pose),
        width_px=width,
        height_px=height,
    )


def store_scene(
    inside: int, seed: int, *, seconds: float = 90.0, stay_s: float = 60.0
) -> tuple[StoreConfig, Iterator[Instant]]:
    """The store with 18 cameras, and its images at 15 Hz, all cameras at once."""
    lanes = max(1, round(inside / PEOPLE_A_GATE))
    x = FLOOR_M[0] * (np.arange(2 * lanes) + 0.5) / (2 * lanes)
    ways_in, ways_out = (np.column_stack((x[k::2], np.zeros(lanes))) for k in (0, 1))
    config = store(ways_in, ways_out, ceiling_cameras())
    walkers = _walkers(inside, seconds, stay_s, ways_in, ways_out, seed)
    return config, _seen_by_the_simulator(config, walkers, seconds, seed)


def store(ways_in: Floats, ways_out: Floats, cameras: tuple[Camera, ...]) -> StoreConfig:
    """A store with gates at ``ways_in`` (g, 2) and ``ways_out``."""
    gates = [
        Gate(id=GateId(f"{name}-{k}"), x_m=float(x), y_m=float(y), direction=direction)
        for name, direction, ways in (("in", "entry", ways_in), ("out", "exit", ways_out))
        for k, (x, y) in enumerate(ways)
    ]
    area = StoreArea(x_min_m=0.0, y_min_m=0.0, x_max_m=FLOOR_M[0], y_max_m=FLOOR_M[1])
    return StoreConfig(store=StoreId("bench"), gates=tuple(gates), cameras=cameras, area=area)


def _seen_by_the_simulator(
    config: StoreConfig, walkers: Walkers, seconds: float, seed: int
) -> Iterator[Instant]:
    eyes = Cameras.of(config, FAULTS, np.random.default_rng((seed, 1)))
    height_m = np.random.default_rng((seed, 2)).normal(1.70, 0.08, len(walkers.xy))
    cameras = len(config.cameras)
    for at_ns, passages in _walked(walkers, seconds):
        k = walkers.visible
        due = [(at_ns, c) for c in range(cameras)]
        packets = eyes.packets(due, _bodies(walkers, k, height_m, cameras))
        yield _instant(at_ns, [_packet(p) for p in packets], passages, walkers)


def _walked(walkers: Walkers, seconds: float) -> Iterator[tuple[int, list[Passage]]]:
    for step in range(int(seconds * FPS)):
        at_ns = START_NS + step * PERIOD_NS
        came, went = walkers.step((at_ns - START_NS) * 1e-9)
        yield (
            at_ns,
            [_passage(walkers, at_ns, int(k), True) for k in came]
            + [_passage(walkers, at_ns, int(k), False) for k in went],
        )


def _passage(walkers: Walkers, at_ns: int, person: int, inwards: bool) -> Passage:
    gate = f"in-{walkers.gate_in[person]}" if inwards else f"out-{walkers.gate_out[person]}"
    return Passage(at_ns=at_ns, person=person, gate=GateId(gate), inwards=inwards)


def _instant(
    at_ns: int, packets: list[PersonDetections], passages: list[Passage], walkers: Walkers
) -> Instant:
    inside = walkers.inside.nonzero()[0]
    return Instant(
        at_ns=at_ns,
        packets=packets,
        passages=passages,
        people=inside,
        position_m=walkers.xy[inside].copy(),
    )


def _bodies(walkers: Walkers, k: Ints, height_m: Floats, images: int) -> Bodies:
    position = np.broadcast_to(walkers.xy[k], (images, len(k), 2))
    return Bodies(
        key=tuple(map(str, k.tolist())),
        position_store_m=position,
        height_m=height_m[k],
        radius_m=np.full(len(k), 0.25),
        wrists_store_m=np.zeros((images, len(k), 2, 3)),
    )


def _packet(seen: CameraPacket) -> PersonDetections:
    """As a detector of bodies sends it: no wrists, nobody who is very small."""
    tall = seen.boxes_px[:, 3] - seen.boxes_px[:, 1] >= HEIGHT_MIN_PX
    return PersonDetections(
        camera=seen.camera,
        received_at_ns=seen.captured_at_ns,
        captured_at_ns=seen.captured_at_ns,
        sequence=seen.sequence,
        boxes_px=seen.boxes_px[tall],
        feet_px=seen.feet_px[tall],
        scores=seen.scores[tall],
        embeddings=None if seen.embeddings is None else seen.embeddings[tall],
    )
