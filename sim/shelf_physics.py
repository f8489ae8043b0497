"""Load cells and shelf nodes: true loads to the counts that a node sends.

    counts = round((gain * load + drift + noise) / grams_per_count + zero)

Noise has a plate's and a shelf's part (both lognormal, so that the whole store has a median of
1.1 g and a 90th percentile of 3.8 g), changes through the hour, and some of it is common to a
shelf. All plates of the nodes that are due are sampled in one call.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from messages.arrays import Counts, Floats, Ints
from messages.store_config import StoreConfig
from sim.gestures import Load
from sim.outputs import ShelfBatch

NS = 1_000_000_000
SAMPLES = 12
SAMPLE_PERIOD_US = 16_667
BATCH_NS = SAMPLES * SAMPLE_PERIOD_US * 1_000

# With these a plate's whole noise has median 1.1 g, 90th percentile 3.8 g, worst about 14 g, and
# the sum over a shelf median 9 g, worst 45 g (real shelves; checked in tests/sim).
NOISE_MEDIAN_G = 0.82  # a plate's own part
NOISE_SIGMA_SHELF = 0.74  # of ln
NOISE_SIGMA_PLATE = 0.84
NOISE_MAX_G = 13.5
NOISE_HOUR_SIGMA = 0.35  # slow change of a shelf's noise, of ln
COMMON_PART = 0.67  # of the shelf's mean noise, the same on all its plates
GAIN_SIGMA_SHELF = 0.02
GAIN_SIGMA_PLATE = 0.035
GAIN_ERROR_MAX = 0.10
DRIFT_RATE_G_PER_H = 6.0
DRIFT_SWING_G = 10.0
SAMPLE_JITTER_NS = 1_200_000  # intervals then have their 1st/99th percentile at 14/19.5 ms
TICK_JITTER_US = 150.0
CLOCK_ERROR_PPM = 40.0
LATE_MEAN_NS = 2_000_000  # of a batch, beside its bytes on the link
STEP_PROBABILITY = 4e-4  # that a sample is stamped so late that the next one steps back
STEP_NS = (16_667_000, 21_300_000)  # then gaps of 0 to -4.7 ms follow
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


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Constants of the nodes; tables are (nodes, widest), rubbish where a node has fewer plates."""

    plates: Ints
    width: Ints  # (nodes,) plates
    link_ns: Ints  # (nodes,) a batch's time on the wire
    of_plate: Ints  # (plates,)
    cells: Cells
    hour_phase: Floats

    @staticmethod
    def of(config: StoreConfig, cells: Cells, rng: np.random.Generator) -> Nodes:
        table = _node_table(config)
        plates = np.maximum(table, 0)
        width = (table >= 0).sum(axis=1)
        frame_bytes = 16 + width + 4 * width * SAMPLES
        baud = np.array([node.baud for node in config.shelf_nodes], dtype=np.int64)
        phase = rng.uniform(0, 2 * np.pi, len(config.shelves))
        return Nodes(
            plates=plates,
            width=width,
            link_ns=frame_bytes * LINK_BITS_PER_BYTE * NS // np.maximum(baud, 1),
            of_plate=_node_of_plate(table, len(config.plates)),
            cells=Cells(*(getattr(cells, f.name)[plates] for f in fields(Cells))),
            hour_phase=phase[_shelf_of_plate(config)[plates]],
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
    nodes: Nodes
    clocks: NodeClocks
    level_g: Floats
    rng: np.random.Generator
    louder: Floats  # (plates,) what faults make of the noise
    offset_g: Floats  # (plates,) and of the zero
    active: list[list[Load]]  # by node

    @staticmethod
    def of(
        config: StoreConfig, level_g: Floats, quirks: Quirks, rng: np.random.Generator
    ) -> ShelfPhysics:
        n = len(config.shelf_nodes)
        cells = cells_of(config, quirks, rng)
        return ShelfPhysics(
            config=config,
            cells=cells,
            nodes=Nodes.of(config, cells, rng),
            clocks=NodeClocks(
                next_sample_ns=rng.integers(0, BATCH_NS, n),
                rate=1 + quirks.clock * rng.normal(0, CLOCK_ERROR_PPM, n) * 1e-6,
                offset_us=rng.integers(0, 2**32, n),
                sequence=rng.integers(0, 2**16, n),
            ),
            level_g=level_g.copy(),
            rng=rng,
            louder=np.ones(len(config.plates)),
            offset_g=np.zeros(len(config.plates)),
            active=[[] for _ in range(n)],
        )

    def add(self, load: Load) -> None:
        """Let a load act. It must lie on plates of one node and start in the future."""
        self.active[int(self.nodes.of_plate[load.plates[0]])].append(load)

    def due(self, now_ns: int) -> list[ShelfBatch]:
        """Batches whose last sample has been taken by now."""
        last_ns = self.clocks.next_sample_ns + BATCH_NS
        nodes = np.flatnonzero(last_ns <= now_ns)
        return self._batches(nodes) if len(nodes) else []

    def _batches(self, nodes: Ints) -> list[ShelfBatch]:
        clocks = self.clocks
        at_ns = self._sample_times(nodes)
        counts = self.counts_at(nodes, at_ns)
        ticks_us = self._ticks_us(nodes, at_ns[:, 0]).tolist()
        sent_ns = self._sent_ns(nodes, at_ns).tolist()
        sequence = clocks.sequence[nodes].tolist()
        period = SAMPLE_PERIOD_US * 1_000 / clocks.rate[nodes]
        clocks.next_sample_ns[nodes] += np.rint(SAMPLES * period).astype(np.int64)
        clocks.sequence[nodes] = (clocks.sequence[nodes] + 1) % 2**16
        return [
            ShelfBatch(
                device=self.config.shelf_nodes[node].id,
                sent_at_ns=sent_ns[i],
                ticks_us=ticks_us[i],
                sample_period_us=SAMPLE_PERIOD_US,
                sequence=sequence[i],
                flags=np.zeros(width, dtype=np.uint8),
                counts=np.ascontiguousarray(counts[i, :, :width]),
            )
            for i, (node, width) in enumerate(
                zip(nodes.tolist(), self.nodes.width[nodes].tolist(), strict=True)
            )
        ]

    def _sample_times(self, nodes: Ints) -> Ints:
        """(k, SAMPLES) instants: the node's own period and jitter; some stamps step back."""
        period = SAMPLE_PERIOD_US * 1_000 / self.clocks.rate[nodes]
        at_ns = self.clocks.next_sample_ns[nodes, None] + period[:, None] * np.arange(SAMPLES)
        at_ns += SAMPLE_JITTER_NS * self.rng.standard_normal(at_ns.shape)
        stepped = self.rng.random(at_ns.shape) < STEP_PROBABILITY
        if stepped.any():
            at_ns[stepped] += self.rng.uniform(*STEP_NS, int(stepped.sum()))
        return np.rint(at_ns).astype(np.int64)

    def _sent_ns(self, nodes: Ints, at_ns: Ints) -> Ints:
        """When batches have gone over the wire; not before their time is over."""
        full_ns = np.maximum(self.clocks.next_sample_ns[nodes] + BATCH_NS, at_ns.max(axis=1))
        late_ns = self.rng.exponential(LATE_MEAN_NS, len(nodes)).astype(np.int64)
        return np.asarray(full_ns + self.nodes.link_ns[nodes] + late_ns)

    def _ticks_us(self, nodes: Ints, at_ns: Ints) -> Ints:
        us = at_ns / 1_000 * self.clocks.rate[nodes]
        us += TICK_JITTER_US * self.rng.standard_normal(len(nodes))
        return np.asarray((np.rint(us).astype(np.int64) + self.clocks.offset_us[nodes]) % 2**32)

    def counts_at(self, nodes: Ints, at_ns: Ints) -> Counts:
        """(k, SAMPLES, widest) counts; columns beyond a node's plates are rubbish."""
        plates = self.nodes.plates[nodes]  # (k, widest)
        load = np.repeat(self.level_g[plates][:, None, :], at_ns.shape[1], axis=1)
        for i, node in enumerate(nodes.tolist()):
            if self.active[node]:
                self._add_active(node, at_ns[i], plates[i], load[i])
        cells = self.nodes.cells
        load *= cells.gain[nodes][:, None]
        load += self._drift(nodes, plates, at_ns[:, :1])[:, None]
        load += self._noise(nodes, plates, at_ns)
        load /= cells.grams_per_count[nodes][:, None]
        load += cells.zero_counts[nodes][:, None]
        code = np.minimum(np.maximum(np.rint(load), -CODE_MAX), CODE_MAX)
        return code.astype(np.int32)

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

    def _drift(self, nodes: Ints, plates: Ints, at_ns: Ints) -> Floats:
        cells = self.nodes.cells
        swing = np.sin(cells.swing_rate_per_ns[nodes] * at_ns + cells.swing_phase[nodes])
        drift = cells.drift_rate_g_per_ns[nodes] * at_ns + cells.swing_g[nodes] * swing
        return np.asarray(drift + self.offset_g[plates])

    def _noise(self, nodes: Ints, plates: Ints, at_ns: Ints) -> Floats:
        """(k, SAMPLES, widest): each plate's own, and what its shelf has in common."""
        cells, hours = self.nodes.cells, at_ns[:, :1] / (3600 * NS)
        louder = np.exp(NOISE_HOUR_SIGMA * np.sin(2 * np.pi * hours + self.nodes.hour_phase[nodes]))
        louder *= self.louder[plates]
        draw = self.rng.standard_normal((*at_ns.shape, plates.shape[1] + 1))
        noise = draw[:, :, 1:] * (cells.noise_g[nodes] * louder)[:, None]
        noise += draw[:, :, :1] * (cells.common_g[nodes] * louder)[:, None]
        return np.asarray(noise)


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
