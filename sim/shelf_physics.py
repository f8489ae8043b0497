"""Load cells and shelf nodes: true loads to the counts that a node sends.

    counts = round((gain * load + drift + noise) / grams_per_count + zero)

Noise has a plate's and a shelf's part (both lognormal, so that the whole store has a median of
1.1 g and a 90th percentile of 3.8 g), changes through the hour, and some of it is common to a
shelf. All plates of the nodes that are due are sampled in one call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Bytes8, Counts, Floats, Ints
from messages.store_config import StoreConfig
from sim.gestures import Load
from sim.outputs import ShelfBatch

NS = 1_000_000_000
SAMPLES = 12
SAMPLE_PERIOD_US = 16_667
BATCH_NS = SAMPLES * SAMPLE_PERIOD_US * 1_000

# With these a plate's whole noise has median 1.1 g, 90th percentile 3.8 g, worst about 14 g, and
# the sum over a shelf median 9 g, worst 45 g (real shelves; checked in tests/sim).
NOISE_MEDIAN_G = 0.95  # a plate's own part
NOISE_SIGMA_SHELF = 0.80  # of ln; both sigmas together 0.967 = ln(3.8 / 1.1) / 1.2816
NOISE_SIGMA_PLATE = 0.54
NOISE_MAX_G = 14.0
NOISE_HOUR_SIGMA = 0.35  # slow change of a shelf's noise, of ln
COMMON_PART = 0.55  # of the shelf's mean noise, the same on all its plates
GAIN_SIGMA_SHELF = 0.02
GAIN_SIGMA_PLATE = 0.035
GAIN_ERROR_MAX = 0.10
DRIFT_RATE_G_PER_H = 6.0
DRIFT_SWING_G = 10.0
SAMPLE_JITTER_NS = 1_200_000  # intervals then have their 1st/99th percentile at 14/19.5 ms
TICK_JITTER_US = 150.0
CLOCK_ERROR_PPM = 40.0
LINK_BITS_PER_BYTE = 10
CODE_MAX = 2**23 - 1  # 24-bit converter


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How bad the cells are; 1 is a real store, 0 is a perfect one."""

    noise: float = 1.0
    gain: float = 1.0
    drift: float = 1.0
    clock: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Constants of every plate, drawn once. All (plates,)."""

    noise_g: Floats
    gain: Floats
    drift_rate_g_per_ns: Floats
    swing_g: Floats
    swing_rate_per_ns: Floats
    swing_phase: Floats
    zero_counts: Floats
    grams_per_count: Floats
    common_g: Floats  # noise shared by the plate's shelf


def cells_of(config: StoreConfig, quirks: Quirks, rng: np.random.Generator) -> Cells:
    """Draw the cells of a store."""
    n, shelf = len(config.plates), _shelf_of_plate(config)
    shelves = len(config.shelves)
    ln = NOISE_SIGMA_SHELF * rng.standard_normal(shelves)[shelf]
    ln = ln + NOISE_SIGMA_PLATE * rng.standard_normal(n)
    noise_g = quirks.noise * np.minimum(NOISE_MEDIAN_G * np.exp(ln), NOISE_MAX_G)
    gain = GAIN_SIGMA_SHELF * rng.standard_normal(shelves)[shelf]
    gain = gain + GAIN_SIGMA_PLATE * rng.standard_normal(n)
    mean_noise = np.array([noise_g[shelf == s].mean() for s in range(shelves)])
    return Cells(
        noise_g=noise_g,
        gain=1 + quirks.gain * np.clip(gain, -GAIN_ERROR_MAX, GAIN_ERROR_MAX),
        drift_rate_g_per_ns=quirks.drift * rng.normal(0, DRIFT_RATE_G_PER_H, n) / (3600 * NS),
        swing_g=quirks.drift * rng.normal(0, DRIFT_SWING_G, n),
        swing_rate_per_ns=2 * np.pi / (rng.uniform(2, 8, n) * 3600 * NS),
        swing_phase=rng.uniform(0, 2 * np.pi, n),
        zero_counts=np.array([p.zero_counts for p in config.plates], dtype=np.float64),
        grams_per_count=np.array([p.grams_per_count for p in config.plates], dtype=np.float64),
        common_g=COMMON_PART * mean_noise[shelf],
    )


@dataclass(slots=True)
class NodeClocks:
    """Per node, all (nodes,): where its clock and its sampling stand."""

    next_sample_ns: Ints  # store time of the next batch's first sample
    rate: Floats  # node seconds per store second
    offset_us: Ints
    sequence: Ints


@dataclass(slots=True)
class ShelfPhysics:
    """Turns loads into batches. ``level_g``: (plates,) what stands on each plate."""

    config: StoreConfig
    cells: Cells
    clocks: NodeClocks
    level_g: Floats
    rng: np.random.Generator
    hour_phase: Floats
    shelf_of_plate: Ints
    node_plates: Ints  # (nodes, widest), -1 where a node has fewer
    node_of_plate: Ints
    louder: Floats  # (plates,) what faults make of the noise
    offset_g: Floats  # (plates,) and of the zero
    active: dict[int, list[Load]] = field(default_factory=dict)  # by node

    @staticmethod
    def of(
        config: StoreConfig, level_g: Floats, quirks: Quirks, rng: np.random.Generator
    ) -> ShelfPhysics:
        nodes = len(config.shelf_nodes)
        table = _node_table(config)
        return ShelfPhysics(
            config=config,
            cells=cells_of(config, quirks, rng),
            clocks=NodeClocks(
                next_sample_ns=rng.integers(0, BATCH_NS, nodes),
                rate=1 + quirks.clock * rng.normal(0, CLOCK_ERROR_PPM, nodes) * 1e-6,
                offset_us=rng.integers(0, 2**32, nodes),
                sequence=rng.integers(0, 2**16, nodes),
            ),
            level_g=level_g.copy(),
            rng=rng,
            hour_phase=rng.uniform(0, 2 * np.pi, len(config.shelves)),
            shelf_of_plate=_shelf_of_plate(config),
            node_plates=table,
            node_of_plate=_node_of_plate(table, len(config.plates)),
            louder=np.ones(len(config.plates)),
            offset_g=np.zeros(len(config.plates)),
            active={node: [] for node in range(nodes)},
        )

    def add(self, load: Load) -> None:
        """Let a load act. It must lie on plates of one node and start in the future."""
        self.active[int(self.node_of_plate[load.plates[0]])].append(load)

    def due(self, now_ns: int) -> list[ShelfBatch]:
        """Batches whose last sample has been taken by now."""
        last_ns = self.clocks.next_sample_ns + BATCH_NS
        nodes = np.flatnonzero(last_ns <= now_ns)
        return self._batches(nodes) if len(nodes) else []

    def _batches(self, nodes: Ints) -> list[ShelfBatch]:
        at_ns = self._sample_times(nodes)
        counts = self.counts_at(nodes, at_ns)
        batches = [self._batch(int(node), at_ns[i], counts[i]) for i, node in enumerate(nodes)]
        period = SAMPLE_PERIOD_US * 1_000 / self.clocks.rate[nodes]
        self.clocks.next_sample_ns[nodes] += np.rint(SAMPLES * period).astype(np.int64)
        self.clocks.sequence[nodes] = (self.clocks.sequence[nodes] + 1) % 2**16
        return batches

    def _sample_times(self, nodes: Ints) -> Ints:
        """(k, SAMPLES) instants: the node's own period, and jitter that may step backwards."""
        period = SAMPLE_PERIOD_US * 1_000 / self.clocks.rate[nodes]
        nominal = self.clocks.next_sample_ns[nodes, None] + period[:, None] * np.arange(SAMPLES)
        jitter = SAMPLE_JITTER_NS * self.rng.standard_normal(nominal.shape)
        return np.rint(nominal + jitter).astype(np.int64)

    def counts_at(self, nodes: Ints, at_ns: Ints) -> Counts:
        """(k, SAMPLES, widest) counts; columns beyond a node's plates are rubbish."""
        plates = np.maximum(self.node_plates[nodes], 0)  # (k, widest)
        load = np.repeat(self.level_g[plates][:, None, :], at_ns.shape[1], axis=1)
        for i, node in enumerate(nodes):
            self._add_active(int(node), at_ns[i], plates[i], load[i])
        grams = self.cells.gain[plates][:, None] * load
        grams += self._drift(plates, at_ns[:, 0])[:, None] + self._noise(plates, at_ns)
        code = grams / self.cells.grams_per_count[plates][:, None]
        code += self.cells.zero_counts[plates][:, None]
        return np.clip(np.rint(code), -CODE_MAX, CODE_MAX).astype(np.int32)

    def _add_active(self, node: int, at_ns: Ints, plates: Ints, load: Floats) -> None:
        """Add what acts now; what has come to rest becomes part of the level."""
        kept = []
        for shape in self.active[node]:
            column = np.array([int(np.flatnonzero(plates == p)[0]) for p in shape.plates])
            grams = np.interp(at_ns, shape.at_ns, shape.grams)
            load[:, column] += grams[:, None] * shape.parts
            if shape.ended_at_ns > at_ns.min():
                kept.append(shape)
            else:
                self.level_g[shape.plates] += shape.parts * shape.grams[-1]
        self.active[node] = kept

    def _drift(self, plates: Ints, at_ns: Ints) -> Floats:
        cells, t = self.cells, at_ns[:, None].astype(np.float64)
        swing = np.sin(cells.swing_rate_per_ns[plates] * t + cells.swing_phase[plates])
        drift = cells.drift_rate_g_per_ns[plates] * t + cells.swing_g[plates] * swing
        return np.asarray(drift + self.offset_g[plates])

    def _noise(self, plates: Ints, at_ns: Ints) -> Floats:
        shelf = self.shelf_of_plate[plates]
        hours = at_ns[:, :1] / (3600 * NS)
        louder = np.exp(NOISE_HOUR_SIGMA * np.sin(2 * np.pi * hours + self.hour_phase[shelf]))
        own = self.rng.standard_normal((*at_ns.shape, plates.shape[1]))
        common = self.rng.standard_normal(at_ns.shape)[:, :, None]
        noise = own * self.cells.noise_g[plates][:, None]
        noise += common * self.cells.common_g[plates][:, None]
        return np.asarray(noise * (louder * self.louder[plates])[:, None])

    def _batch(self, node: int, at_ns: Ints, counts: Counts) -> ShelfBatch:
        entry = self.config.shelf_nodes[node]
        plates = len(entry.plates)
        frame_bytes = 16 + plates + 4 * plates * SAMPLES
        link_ns = frame_bytes * LINK_BITS_PER_BYTE * NS // entry.baud
        full_ns = int(self.clocks.next_sample_ns[node]) + BATCH_NS  # not before its time is over
        late_ns = link_ns + int(self.rng.exponential(2_000_000))
        flags: Bytes8 = np.zeros(plates, dtype=np.uint8)
        return ShelfBatch(
            device=entry.id,
            sent_at_ns=max(int(at_ns.max()), full_ns) + late_ns,
            ticks_us=self._ticks(node, int(at_ns[0])),
            sample_period_us=SAMPLE_PERIOD_US,
            sequence=int(self.clocks.sequence[node]),
            flags=flags,
            counts=np.ascontiguousarray(counts[:, :plates]),
        )

    def _ticks(self, node: int, at_ns: int) -> int:
        us = at_ns / 1_000 * float(self.clocks.rate[node]) + self.rng.normal(0, TICK_JITTER_US)
        return (round(us) + int(self.clocks.offset_us[node])) % 2**32


def _shelf_of_plate(config: StoreConfig) -> Ints:
    return np.array([config.shelf_index[p.shelf] for p in config.plates], dtype=np.int64)


def _node_table(config: StoreConfig) -> Ints:
    widest = max((len(n.plates) for n in config.shelf_nodes), default=0)
    table = np.full((len(config.shelf_nodes), widest), -1, dtype=np.int64)
    for row, node in enumerate(config.shelf_nodes):
        table[row, : len(node.plates)] = [config.plate_index[p] for p in node.plates]
    return table


def _node_of_plate(table: Ints, plates: int) -> Ints:
    found = np.full(plates, -1, dtype=np.int64)
    for row, columns in enumerate(table):
        found[columns[columns >= 0]] = row
    return found
