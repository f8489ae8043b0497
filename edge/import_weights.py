"""Rows of ``weights.csv`` become batches of shelf nodes, in grams.

The plates of a node are sampled together in a real store, so their rows mostly share instants.
Where they do not, the plate with the most rows gives the instants and the others are held, up to
``HELD_S``; before a plate's first row and after that time its mass is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.csv_tables import Table
from messages.arrays import Floats, Floats32, Ints
from messages.catalogue import ENTRY_OF
from messages.observations import ShelfSamples
from messages.store_config import ShelfNode, StoreConfig

HELD_S = ENTRY_OF[ShelfSamples].stale_after_s or 2.0
BATCH_S = 0.2  # twelve samples at 60 Hz, as real nodes send
PERIOD_ALONE_NS = 100_000_000  # where one row tells no period
PERIOD_MAX_NS = 5_000_000_000
GAP_PERIODS = 1.5  # a later sample begins a new batch
SAMPLES_MAX = 4096  # of one batch (edge.sensors.load_cell)


def shelf_batches(config: StoreConfig, table: Table, at_ns: Ints) -> list[Iterator[ShelfSamples]]:
    """Batches of each node that has rows, in order of time."""
    by_plate = _by_plate(table, at_ns, len(config.plates))
    found = []
    for node in config.shelf_nodes:
        columns = [by_plate[config.plate_index[plate]] for plate in node.plates]
        if any(len(times) for times, _ in columns):
            times, readings = together(columns)
            found.append(node_batches(node, times, readings, period_ns(times)))
    return found


def _by_plate(table: Table, at_ns: Ints, plates: int) -> list[tuple[Ints, Floats]]:
    """Times and grams of each plate, in order of time; of a repeated instant the last row."""
    order = np.lexsort((at_ns, table.names))
    cuts = np.searchsorted(table.names[order], np.arange(1, plates))
    found = []
    for rows in np.split(order, cuts):
        times = at_ns[rows]
        last = np.append(np.diff(times) > 0, True) if len(times) else np.zeros(0, np.bool_)
        found.append((times[last], table.numbers["grams"][rows][last]))
    return found


def together(columns: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats32]:
    """(n,) instants of the node and (n, plates) grams, NaN where unknown."""
    grid = max((times for times, _ in columns), key=len)
    readings = np.full((len(grid), len(columns)), np.nan, dtype=np.float32)
    for k, (times, grams) in enumerate(columns):
        if not len(times):
            continue
        at = np.searchsorted(times, grid, side="right") - 1
        known = (at >= 0) & (grid - times[np.maximum(at, 0)] <= HELD_S * 1e9)
        readings[known, k] = grams[at[known]]
    return grid, readings


def node_batches(
    node: ShelfNode, times: Ints, readings: Floats32, period_ns: float, sequence: int = 0
) -> Iterator[ShelfSamples]:
    """Batches of one node, the first one with the given sequence; a gap begins a new one."""
    most = int(min(max(round(BATCH_S * 1e9 / period_ns), 1), SAMPLES_MAX))
    gaps = np.flatnonzero(np.diff(times) > GAP_PERIODS * period_ns) + 1
    for run in np.split(np.arange(len(times)), gaps):
        for first in range(0, len(run), most):
            rows = run[first : first + most]
            yield ShelfSamples(
                device=node.id,
                received_at_ns=int(times[rows[-1]]),
                sequence=sequence % 2**16,
                ticks_us=int(times[rows[0]]) // 1000 % 2**32,
                sample_period_us=max(round(period_ns / 1000), 1),
                flags=np.zeros(len(node.plates), dtype=np.uint8),
                readings=readings[rows],
                unit="grams",
                captured_at_ns=int(times[rows[0]]),
            )
            sequence += 1


def period_ns(times: Ints) -> float:
    """The usual distance of two samples."""
    if len(times) < 2:
        return PERIOD_ALONE_NS
    return float(min(np.median(np.diff(times)), PERIOD_MAX_NS))
