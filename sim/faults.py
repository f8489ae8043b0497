"""Faults of a run: what scripted failures do to what the devices send.

A ``FaultPlan`` draws each fault's instants from its own generator, so that a fault changes neither
the people nor the draws of other faults. ``before`` touches the shelves' physics (noise, drift,
bumps) at the start of a tick; ``passed`` changes, doubles, delays or swallows outputs. As it works
on outputs, the same faults hold in one process and on emulated devices.

Links are queues: what is sent later on one link arrives later, also when a delay ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from messages.arrays import Bools, Bytes8, Counts, Floats, Floats32
from messages.observations import PlateFlag
from messages.store_config import Camera, StoreConfig
from sim import gestures
from sim.geometry import fixture_boxes, fixture_of_shelf
from sim.outputs import CameraPacket, HandPacket, Output, ShelfBatch
from sim.projection import Lens, in_image, project
from sim.script import Fault, FaultKind, Span
from sim.shelf_physics import CODE_MAX, ShelfPhysics
from sim.stock import Shelves

NS = 1_000_000_000
AT_MAX_S = 1e9  # a span's end that means for good
STUCK_FLAGGED_NS = 1 * NS  # a node calls a plate stuck after so long with one and the same code
FROZEN_FLAGGED_NS = 2 * NS  # a detector worker calls an image frozen after so long without change
REPEAT_AFTER_NS = 4_000_000  # a batch sent twice follows itself at once
SPOT_GRID_M = 0.25  # floor points that a blind spot is measured on


class FaultError(ValueError):
    """A fault that cannot be carried out in this store."""


@dataclass(slots=True, eq=False)
class Failing:
    """A fault with its instants drawn, and what it remembers while it lasts."""

    fault: Fault
    from_ns: int
    until_ns: int
    rng: np.random.Generator
    column: int = -1  # of a plate in its node's batches
    held: CameraPacket | None = None  # the picture that stands still
    last: Counts | None = None  # the code at which a cell sticks
    spot_px: tuple[float, float, float] = (0.0, 0.0, 0.0)  # centre and radius of a blind spot
    done: bool = False

    def on(self, at_ns: int) -> bool:
        return self.from_ns <= at_ns < self.until_ns


@dataclass(slots=True, eq=False)
class FaultPlan:
    """All faults of a run. ``lost``, ``repeated``: outputs swallowed and doubled so far."""

    config: StoreConfig
    physical: list[Failing]
    by_device: dict[str, list[Failing]]
    last_sent_ns: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    repeated: int = 0

    @staticmethod
    def of(
        faults: Sequence[Fault], config: StoreConfig, seeds: np.random.SeedSequence
    ) -> FaultPlan:
        """Draw the faults.

        Raises:
            FaultError: a device that the store lacks, or one of another sort.
        """
        rngs = [np.random.default_rng(seed) for seed in seeds.spawn(len(faults))]
        plan = FaultPlan(config, [], {})
        for fault, rng in zip(faults, rngs, strict=True):
            plan._add(_drawn(fault, config, rng))
        return plan

    def _add(self, failing: Failing) -> None:
        if failing.fault.kind in PHYSICAL:
            self.physical.append(failing)
            return
        device = failing.fault.device
        if failing.fault.kind in OF_PLATE:
            device = _node_of(self.config, device)
        self.by_device.setdefault(device, []).append(failing)

    def before(self, now_ns: int, physics: ShelfPhysics, shelves: Shelves) -> None:
        """Set what acts on the shelves in the tick that ends now."""
        if not self.physical:
            return
        physics.louder[:] = 1.0
        physics.offset_g[:] = 0.0
        for failing in self.physical:
            PHYSICAL[failing.fault.kind](self.config, failing, now_ns, physics, shelves)

    def passed(self, outputs: Sequence[Output]) -> list[Output]:
        """The outputs as they leave failing devices."""
        if not self.by_device:
            return list(outputs)
        return [left for output in outputs for left in self._one(output)]

    def _one(self, output: Output) -> list[Output]:
        if isinstance(output, HandPacket):  # who sees no people sees no hands
            failing = self.by_device.get(str(output.camera), [])
            return [] if any(f.on(output.seen.captured_at_ns) for f in failing) else [output]
        if not isinstance(output, CameraPacket | ShelfBatch):
            return [output]
        device = str(output.camera if isinstance(output, CameraPacket) else output.device)
        if device not in self.by_device:
            return [output]
        left: list[CameraPacket | ShelfBatch] = [output]
        for failing in self.by_device[device]:
            left = [kept for one in left for kept in _failed(failing, one)]
        self.lost += not left
        self.repeated += max(0, len(left) - 1)
        return [self._queued(device, one) for one in left]

    def _queued(self, device: str, output: CameraPacket | ShelfBatch) -> Output:
        at_ns = max(output.sent_at_ns, self.last_sent_ns.get(device, 0))
        self.last_sent_ns[device] = at_ns
        return replace(output, sent_at_ns=at_ns) if at_ns > output.sent_at_ns else output


def _failed(failing: Failing, output: CameraPacket | ShelfBatch) -> list[CameraPacket | ShelfBatch]:
    kind = failing.fault.kind
    if isinstance(output, CameraPacket):
        on = failing.on(output.captured_at_ns)
        return list(ON_CAMERA[kind](failing, output)) if on else [output]
    if kind is FaultKind.STUCK_CELL:
        return [_stuck(failing, output)]
    return list(ON_SHELF[kind](failing, output)) if failing.on(output.sent_at_ns) else [output]


# --- cameras ------------------------------------------------------------------------------------


def _dark(failing: Failing, packet: CameraPacket) -> list[CameraPacket]:
    """One dark image is enough for a detector worker to say so."""
    del failing
    return [replace(_only(packet, np.zeros(len(packet.scores), np.bool_)), image_state="dark")]


def _frozen(failing: Failing, packet: CameraPacket) -> list[CameraPacket]:
    """The first image stays; for a while nothing tells that it does."""
    held = failing.held = failing.held or packet
    told = packet.captured_at_ns - held.captured_at_ns >= FROZEN_FLAGGED_NS
    return [
        replace(
            held,
            sent_at_ns=packet.sent_at_ns,
            captured_at_ns=packet.captured_at_ns,
            sequence=packet.sequence,
            image_state="frozen" if told else "ok",
        )
    ]


def _lost(failing: Failing, output: CameraPacket | ShelfBatch) -> list[CameraPacket | ShelfBatch]:
    del failing, output
    return []


def _late_packet(failing: Failing, packet: CameraPacket) -> list[CameraPacket]:
    return [replace(packet, sent_at_ns=packet.sent_at_ns + round(failing.fault.amount * NS))]


def _blind(failing: Failing, packet: CameraPacket) -> list[CameraPacket]:
    """People whose feet stand in the spot get no box."""
    x, y, radius = failing.spot_px
    gap = np.hypot(packet.feet_px[:, 0] - x, packet.feet_px[:, 1] - y)
    return [_only(packet, np.asarray(gap > radius))]


ON_CAMERA: dict[FaultKind, Callable[[Failing, CameraPacket], Sequence[CameraPacket | ShelfBatch]]]
ON_CAMERA = {
    FaultKind.DARK_CAMERA: _dark,
    FaultKind.FROZEN_CAMERA: _frozen,
    FaultKind.LOST_CAMERA: _lost,
    FaultKind.LATE_CAMERA: _late_packet,
    FaultKind.BLIND_SPOT: _blind,
}


# --- shelf nodes --------------------------------------------------------------------------------


def _stuck(failing: Failing, batch: ShelfBatch) -> ShelfBatch:
    """From now on the last code before the fault; the node notices after a while."""
    if failing.last is None or batch.sent_at_ns < failing.from_ns:
        failing.last = batch.counts[-1 if batch.sent_at_ns < failing.from_ns else 0].copy()
    if not failing.on(batch.sent_at_ns):
        return batch
    told = batch.sent_at_ns - failing.from_ns >= STUCK_FLAGGED_NS
    flag = PlateFlag.STUCK if told else PlateFlag(0)
    return _with_plate(batch, failing.column, int(failing.last[failing.column]), flag)


def _saturated(failing: Failing, batch: ShelfBatch) -> list[ShelfBatch]:
    return [_with_plate(batch, failing.column, CODE_MAX, PlateFlag.SATURATED)]


def _lost_share(failing: Failing, batch: ShelfBatch) -> list[ShelfBatch]:
    return [] if failing.rng.random() < failing.fault.amount else [batch]


def _repeated(failing: Failing, batch: ShelfBatch) -> list[ShelfBatch]:
    if failing.rng.random() >= failing.fault.amount:
        return [batch]
    return [batch, replace(batch, sent_at_ns=batch.sent_at_ns + REPEAT_AFTER_NS)]


def _late_batch(failing: Failing, batch: ShelfBatch) -> list[ShelfBatch]:
    return [replace(batch, sent_at_ns=batch.sent_at_ns + round(failing.fault.amount * NS))]


def _clock_step(failing: Failing, batch: ShelfBatch) -> list[ShelfBatch]:
    step_us = round(failing.fault.amount * 1e6)
    return [replace(batch, ticks_us=(batch.ticks_us + step_us) % 2**32)]


ON_SHELF: dict[FaultKind, Callable[[Failing, ShelfBatch], Sequence[CameraPacket | ShelfBatch]]]
ON_SHELF = {
    FaultKind.SATURATED_CELL: _saturated,
    FaultKind.LOST_NODE: _lost,
    FaultKind.LOST_BATCHES: _lost_share,
    FaultKind.REPEATED_BATCHES: _repeated,
    FaultKind.LATE_BATCHES: _late_batch,
    FaultKind.CLOCK_STEP: _clock_step,
}


# --- what happens to the shelves themselves -----------------------------------------------------


def _noisy(
    config: StoreConfig, failing: Failing, now_ns: int, physics: ShelfPhysics, shelves: Shelves
) -> None:
    del shelves
    if failing.on(now_ns):
        node = next(n for n in config.shelf_nodes if n.id == failing.fault.device)
        physics.louder[[config.plate_index[p] for p in node.plates]] *= failing.fault.amount


def _drifting(
    config: StoreConfig, failing: Failing, now_ns: int, physics: ShelfPhysics, shelves: Shelves
) -> None:
    """What has drifted stays when the drift ends."""
    del shelves
    lasted_ns = min(max(0, now_ns - failing.from_ns), failing.until_ns - failing.from_ns)
    plates = [i for i, p in enumerate(config.plates) if p.id == failing.fault.device]
    physics.offset_g[plates] += failing.fault.amount * lasted_ns / (60 * NS)


def _bump(
    config: StoreConfig, failing: Failing, now_ns: int, physics: ShelfPhysics, shelves: Shelves
) -> None:
    """Once, at its instant."""
    if failing.done or now_ns < failing.from_ns:
        return
    failing.done = True
    knocked = next(i for i, f in enumerate(config.fixtures) if f.id == failing.fault.device)
    mine = [s for s, fixture in enumerate(fixture_of_shelf(config)) if fixture == knocked]
    for load in gestures.bump(failing.rng, shelves, mine, now_ns):
        physics.add(load)


PHYSICAL: dict[FaultKind, Callable[[StoreConfig, Failing, int, ShelfPhysics, Shelves], None]] = {
    FaultKind.NOISY_SHELF: _noisy,
    FaultKind.DRIFTING_PLATE: _drifting,
    FaultKind.BUMP: _bump,
}


# --- drawing ------------------------------------------------------------------------------------

OF_PLATE = frozenset({FaultKind.STUCK_CELL, FaultKind.SATURATED_CELL, FaultKind.DRIFTING_PLATE})


def devices_for(kind: FaultKind, config: StoreConfig) -> tuple[str, ...]:
    """The ids that a fault of this kind can name in a store."""
    if kind in OF_PLATE:
        on_nodes = {str(p) for node in config.shelf_nodes for p in node.plates}
        return tuple(str(p.id) for p in config.plates if str(p.id) in on_nodes)
    if kind is FaultKind.BUMP:
        return tuple(str(f.id) for f in config.fixtures)
    if kind in ON_CAMERA:
        return tuple(str(c.id) for c in config.cameras)
    return tuple(str(n.id) for n in config.shelf_nodes)


def _drawn(fault: Fault, config: StoreConfig, rng: np.random.Generator) -> Failing:
    known = devices_for(fault.kind, config)
    if fault.device not in known:
        some = ", ".join(known[:6]) + (" ..." if len(known) > 6 else "")
        raise FaultError(f"fault {fault.kind}: no {fault.device!r} here; there are {some}")
    from_ns = round(_within(fault.at_s, rng) * NS)
    until_ns = from_ns + round(min(_within(fault.lasts_s, rng), AT_MAX_S) * NS)
    failing = Failing(fault, from_ns, until_ns, rng)
    if fault.kind is FaultKind.BLIND_SPOT:
        camera = next(c for c in config.cameras if c.id == fault.device)
        failing.spot_px = _spot(camera, fault.amount, config, rng)
    if fault.kind in OF_PLATE:
        node = next(n for n in config.shelf_nodes if n.id == _node_of(config, fault.device))
        failing.column = [str(p) for p in node.plates].index(fault.device)
    return failing


def _within(span: Span, rng: np.random.Generator) -> float:
    return float(rng.uniform(*span)) if span[1] > span[0] else float(span[0])


def _node_of(config: StoreConfig, plate: str) -> str:
    return next(str(n.id) for n in config.shelf_nodes if plate in {str(p) for p in n.plates})


def _spot(
    camera: Camera, share: float, config: StoreConfig, rng: np.random.Generator
) -> tuple[float, float, float]:
    """A disc in the image that covers a share of the floor that the camera sees."""
    px = _floor_px(camera, config)
    if not len(px) or share <= 0:
        return 0.0, 0.0, 0.0
    x, y = px[int(rng.integers(len(px)))]
    gap = np.hypot(px[:, 0] - x, px[:, 1] - y)
    radius = float(np.quantile(gap, share)) if share < 1 else float("inf")
    return float(x), float(y), radius


def _floor_px(camera: Camera, config: StoreConfig) -> Floats:
    """(n, 2) pixels of floor points outside the fixtures, in the image."""
    area, lens = config.area, Lens.of(camera)
    x, y = np.meshgrid(
        np.arange(area.x_min_m, area.x_max_m, SPOT_GRID_M),
        np.arange(area.y_min_m, area.y_max_m, SPOT_GRID_M),
    )
    floor = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    lower, upper = fixture_boxes(config.fixtures)
    above, below = floor[:, None, :2] > lower[None, :, :2], floor[:, None, :2] < upper[None, :, :2]
    free = ~np.asarray((above & below).all(axis=2)).any(axis=1)
    px, ahead = project(floor[free], lens)
    return np.asarray(px[ahead & in_image(px, lens)])


def _only(packet: CameraPacket, kept: Bools) -> CameraPacket:
    """The packet with some of its detections."""
    return replace(
        packet,
        boxes_px=_rows(packet.boxes_px, kept),
        feet_px=_rows(packet.feet_px, kept),
        scores=_rows(packet.scores, kept),
        wrists_px=_rows(packet.wrists_px, kept),
        embeddings=None if packet.embeddings is None else _rows(packet.embeddings, kept),
    )


def _rows(array: Floats32, kept: Bools) -> Floats32:
    return np.asarray(array[kept])


def _with_plate(batch: ShelfBatch, column: int, code: int, flag: PlateFlag) -> ShelfBatch:
    counts, flags = batch.counts.copy(), batch.flags.copy()
    counts[:, column] = code
    flags[column] |= int(flag)
    new_flags: Bytes8 = flags
    return replace(batch, counts=counts, flags=new_flags)
