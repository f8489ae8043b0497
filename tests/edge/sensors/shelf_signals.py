"""Shelf signals for tests: what load cells of a store see, after the facts on real shelves.

Grams at 60 Hz on every plate: level, noise, drift, hands, items, bumps. ``batches`` cuts them into
what nodes send; ``play`` runs the engine's 100 ms steps over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.sensors.weight_steps import WeightSensing, WeightSteps
from messages.ids import DeviceId, PlateId, ShelfId, StoreId
from messages.observations import ShelfSamples
from messages.store_config import Plate, ShelfNode, StoreConfig

NS = 1_000_000_000
PERIOD_US = 16_667
PERIOD_NS = PERIOD_US * 1000
GRAMS_PER_COUNT = 0.1
LINE_NS = 12_000_000  # the last sample's way to the daemon
STEP_NS = 100_000_000


def store(shelves: int = 1, plates: int = 12, nodes_per_shelf: int = 1) -> StoreConfig:
    """Shelves of plates side by side, four inches wide, and their nodes."""
    rows, nodes = list[Plate](), list[ShelfNode]()
    for s in range(shelves):
        ids = [PlateId(f"s{s}p{p}") for p in range(plates)]
        rows += [_plate(i, s, p) for p, i in enumerate(ids)]
        parts = np.array_split(np.arange(plates), nodes_per_shelf)
        for part in parts:
            name = DeviceId(f"node{len(nodes)}")
            nodes.append(ShelfNode(id=name, port="", plates=tuple(ids[i] for i in part)))
    return StoreConfig(store=StoreId("test"), plates=tuple(rows), shelf_nodes=tuple(nodes))


def _plate(name: PlateId, shelf: int, place: int) -> Plate:
    return Plate(
        id=name,
        shelf=ShelfId(f"s{shelf}"),
        x_m=0.1016 * place,
        y_m=2.0 * shelf,
        z_m=1.0,
        width_m=0.1016,
        depth_m=0.4,
        grams_per_count=GRAMS_PER_COUNT,
        zero_counts=1_000 + 37 * place,
    )


def real_noise_g(rng: np.random.Generator, plates: int) -> np.ndarray:
    """One sample's sigma of each plate: median 1.1 g, 90th percentile 3.8 g, worst 14.5 g."""
    sigma = np.log(3.8 / 1.1) / 1.2816
    return np.minimum(1.1 * np.exp(sigma * rng.standard_normal(plates)), 14.5)


@dataclass(eq=False)
class Signal:
    """``grams``: (samples, P). Instants in seconds; plates by index in the configuration."""

    config: StoreConfig
    seconds: float
    seed: int = 1
    noise_g: float | np.ndarray = 1.1
    level_g: float = 2_000.0
    grams: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        n, plates = round(self.seconds * 60), len(self.config.plates)
        self.at_s = np.arange(n) * PERIOD_NS / NS
        self.grams = self.level_g + self.noise_g * self.rng.standard_normal((n, plates))

    def item(
        self, at_s: float, mass_g: float, shares: dict[int, float], over_s: float = 0.12
    ) -> None:
        """A mass comes (or goes, negative) between ``at_s`` and ``at_s + over_s``."""
        part = np.clip((self.at_s - at_s) / over_s, 0.0, 1.0)
        self._add(mass_g * part, shares)

    def hand(self, from_s: float, to_s: float, load_g: float, shares: dict[int, float]) -> None:
        """A hand, arm or half-lifted item: its load wanders by a quarter within 0.3 s."""
        inside = np.flatnonzero((self.at_s >= from_s) & (self.at_s < to_s))
        wander, keep = np.zeros(len(inside)), np.exp(-1 / 60 / 0.3)
        shocks = self.rng.standard_normal(len(wander)) * np.sqrt(1 - keep**2)
        for i in range(1, len(wander)):
            wander[i] = keep * wander[i - 1] + shocks[i]
        at_s = self.at_s[inside]
        ramp = np.clip(np.minimum(at_s - from_s, to_s - at_s) / 0.08, 0.0, 1.0)
        for plate, share in shares.items():
            self.grams[inside, plate] += share * load_g * ramp * (1 + 0.25 * wander)

    def shake(self, at_s: float, peak_g: float, net_g: float, plates: Sequence[int]) -> None:
        """A knocked gondola rings for a second; each plate keeps its part of the net change."""
        t = self.at_s - at_s
        swing = np.where(t > 0, np.exp(-np.maximum(t, 0) / 0.3) * np.sin(2 * np.pi * 7.0 * t), 0)
        for plate in plates:
            self.grams[:, plate] += peak_g * self.rng.uniform(0.4, 1.0) * swing
            self.grams[:, plate] += net_g / len(plates) * (t > 0.1)

    def _add(self, load_g: np.ndarray, shares: dict[int, float]) -> None:
        for plate, share in shares.items():
            self.grams[:, plate] += share * load_g

    def batches(self, samples: int = 12, *, unit: str = "counts") -> list[ShelfSamples]:
        """What the nodes send, in order of arrival. Nodes sample 13 ms apart from each other."""
        sent: list[ShelfSamples] = []
        for d, node in enumerate(self.config.shelf_nodes):
            columns = [self.config.plate_index[p] for p in node.plates]
            for k in range(len(self.grams) // samples):
                rows = slice(k * samples, (k + 1) * samples)
                sent.append(self._batch(d, node, k, self.grams[rows][:, columns], unit))
        return sorted(sent, key=lambda b: b.received_at_ns)

    def _batch(self, d: int, node: ShelfNode, k: int, grams: np.ndarray, unit: str) -> ShelfSamples:
        first_ns = NS + d * 13_000_000 + k * len(grams) * PERIOD_NS
        zero = np.array(
            [self.config.plates[self.config.plate_index[p]].zero_counts for p in node.plates]
        )
        counts = np.rint(grams / GRAMS_PER_COUNT + zero).astype(np.int32)
        return ShelfSamples(
            device=node.id,
            received_at_ns=first_ns + (len(grams) - 1) * PERIOD_NS + LINE_NS,
            sequence=k % 65_536,
            ticks_us=(first_ns // 1000 + d * 1_000_000_000) % 2**32,
            sample_period_us=PERIOD_US,
            flags=np.zeros(len(node.plates), dtype=np.uint8),
            readings=counts if unit == "counts" else grams.astype(np.float32),
            unit=unit,
        )


@dataclass(frozen=True)
class Seen:
    """One step as the engine got it; instants in seconds on the signal's own clock."""

    at_s: float
    started_s: float
    ended_s: float
    shelf: int
    mass_g: float
    mass_sd_g: float
    shares_g: dict[int, float]
    flags: int
    step_id: int


def seconds(at_ns: int) -> float:
    return (at_ns - NS - LINE_NS) / NS


def play(
    sensing: WeightSensing,
    batches: Iterable[ShelfSamples],
    *,
    each: Callable[[int], None] = lambda now_ns: None,
) -> list[Seen]:
    """Run the engine's steps over the batches; ``each`` is called before each step."""
    queue, seen = list(batches), list[Seen]()
    now_ns = STEP_NS
    while queue:
        now_ns += STEP_NS
        due = [b for b in queue if b.received_at_ns <= now_ns]
        queue = queue[len(due) :]
        each(now_ns)
        seen += seen_in(sensing.step(now_ns, due), now_ns)
    return seen


def seen_in(steps: WeightSteps, now_ns: int) -> list[Seen]:
    return [
        Seen(
            at_s=seconds(now_ns),
            started_s=seconds(int(steps.started_at_ns[i])),
            ended_s=seconds(int(steps.ended_at_ns[i])),
            shelf=int(steps.shelf[i]),
            mass_g=float(steps.mass_g[i]),
            mass_sd_g=float(steps.mass_sd_g[i]),
            shares_g={
                int(p): float(steps.plate_mass_g[i, p])
                for p in np.flatnonzero(steps.plate_mass_g[i])
            },
            flags=int(steps.flags[i]),
            step_id=int(steps.step_id[i]),
        )
        for i in range(len(steps))
    ]
