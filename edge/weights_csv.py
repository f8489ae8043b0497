"""Weight steps alone: ``t_s,plate,grams`` in, a row for each final step out (``walkout weights``).

The rows are read block by block, put in order of time, made into batches of each shelf's node, and
given to the same ``WeightSensing`` that a store runs. Nothing is kept but the rows of the last
``REORDER_S``, so a file of hours needs no more memory than one of a minute. Within one plate time
may step back by no more than real clocks do; a file that holds one plate after another is sorted as
a whole, up to ``SORT_BYTES_MAX``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge.config import parse
from edge.csv_tables import BACKWARD_S, CsvError, Format, Table, fault, read, stream, times_ns
from edge.import_weights import node_batches, period_ns, together
from edge.sensors.weight_steps import WeightSensing, WeightSteps
from messages.arrays import Floats, Ints
from messages.ids import DeviceId, ShelfId
from messages.observations import ShelfSamples
from messages.store_config import ShelfNode, StoreConfig

NS = 1_000_000_000
ROWS = Format(id="plate", numbers=("t_s", "grams"))
COLUMNS = ("t_start_s", "t_end_s", "shelf", "plate", "mass_g", "mass_sd_g")
REORDER_S = 5.0  # rows of other plates may stand so much later: nodes send batches, links buffer
PENDING_ROWS_MAX = 4_000_000  # within REORDER_S: 350 plates at 2 kHz
SORT_BYTES_MAX = 512 * 2**20  # of a file that must be sorted as a whole: about 4 GB of memory
FEED_ROWS = 262_144  # of a sorted file at once
PERIOD_CHANGE = 1.1  # a node's usual period changes by more: it samples at another rate now


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What was read and found. ``plates``: those that have rows; seconds as the file counts."""

    rows: int
    plates: int
    steps: int
    from_s: float | None
    to_s: float | None
    counters: dict[str, int]  # gaps, net_zero, within_noise, ...: as ``WeightSensing`` counts


class _OneByOneError(Exception):
    """The file holds one plate after another: it must be sorted as a whole."""


def weigh_file(
    path: Path, store_toml: Path, out: Path, bytes_read: Callable[[int], None] = lambda n: None
) -> Weighed:
    """Find the weight steps of a file. ``out`` appears whole, or not at all.

    Raises:
        CsvError: a file is wrong: which, in which line, and what to do.
        ConfigError: the store's configuration is wrong.
    """
    config = _with_nodes(_store(store_toml))
    if out.exists() and path.exists() and out.samefile(path):
        raise fault(out, None, "is the file to be read", "write to another one with --out")
    part = out.with_name(out.name + ".part")
    try:
        try:
            done = _weigh(config, _in_order(config, path, bytes_read), part)
        except _OneByOneError:
            done = _weigh(config, _sorted_whole(config, path), part)
        part.replace(out)
    except OSError as error:
        raise fault(out, None, f"cannot be written: {error.strerror}", "check --out") from error
    finally:
        part.unlink(missing_ok=True)
    return done


def _store(path: Path) -> StoreConfig:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fault(path, None, f"cannot be read: {error}", "give --store store.toml") from error
    return parse(text, file=str(path))


def _with_nodes(config: StoreConfig) -> StoreConfig:
    """The store with a node for the plates of each shelf that no node reads."""
    read_by = {plate for node in config.shelf_nodes for plate in node.plates}
    shelves: dict[ShelfId, list[int]] = {}
    for i, plate in enumerate(config.plates):
        if plate.id not in read_by:
            shelves.setdefault(plate.shelf, []).append(i)
    added = [
        ShelfNode(
            id=DeviceId(f"csv:{shelf}"), port="", plates=tuple(config.plates[i].id for i in rows)
        )
        for shelf, rows in shelves.items()
    ]
    return replace(config, shelf_nodes=(*config.shelf_nodes, *added))


# --- rows in order of time ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows in order of time; ``base_s``: seconds that ``at_ns`` counts from."""

    base_s: float
    at_ns: Ints
    plate: Ints
    grams: Floats

    def part(self, at: slice | Ints) -> _Rows:
        return _Rows(self.base_s, self.at_ns[at], self.plate[at], self.grams[at])


def _in_order(
    config: StoreConfig, path: Path, bytes_read: Callable[[int], None]
) -> Iterator[_Rows]:
    """The file's rows, each part after the one before."""
    plates = [str(plate.id) for plate in config.plates]
    newest_ns = np.full(len(plates), -(2**62), dtype=np.int64)
    waiting: _Rows | None = None
    given_ns = -(2**62)
    for table in stream(path, ROWS, plates, bytes_read):
        base_s = waiting.base_s if waiting else _base_s(float(table.numbers["t_s"].min()))
        fresh = _rows(table, base_s)
        _check_order(table, fresh, newest_ns)
        if fresh.at_ns.min() < given_ns:
            raise _OneByOneError
        waiting = _joined(waiting, fresh)
        given_ns = max(given_ns, int(waiting.at_ns[-1] - REORDER_S * NS))
        cut = int(np.searchsorted(waiting.at_ns, given_ns))  # rows of one instant stay together
        if len(waiting.at_ns) - cut > PENDING_ROWS_MAX:
            what = f"has more than {PENDING_ROWS_MAX} rows within {REORDER_S:g} s"
            raise fault(path, int(table.line[-1]), what, "t_s must be in seconds")
        yield waiting.part(slice(0, cut))
        waiting = waiting.part(slice(cut, None))
    if waiting is not None:
        yield waiting


def _sorted_whole(config: StoreConfig, path: Path) -> Iterator[_Rows]:
    if path.stat().st_size > SORT_BYTES_MAX:
        what = f"holds one plate after another, in more than {SORT_BYTES_MAX >> 20} MB"
        raise fault(path, None, what, "sort the rows by t_s")
    table = read(path, [ROWS], [str(plate.id) for plate in config.plates])
    rows = _rows(table, _base_s(float(table.numbers["t_s"].min())))
    rows = rows.part(np.argsort(rows.at_ns, kind="stable"))
    first = 0
    while first < len(rows.at_ns):
        last = min(first + FEED_ROWS, len(rows.at_ns)) - 1
        end = int(np.searchsorted(rows.at_ns, rows.at_ns[last], side="right"))
        yield rows.part(slice(first, end))
        first = end


def _base_s(first_s: float) -> float:
    """Store time starts a while before the first row: 0 means "not known" in some fields."""
    return float(np.floor(first_s)) - 2 * REORDER_S


def _rows(table: Table, base_s: float) -> _Rows:
    return _Rows(base_s, times_ns(table, base_s), table.names, table.numbers["grams"])


def _check_order(table: Table, rows: _Rows, newest_ns: Ints) -> None:
    """No row lies before an earlier block's row of its plate; ``newest_ns`` (P,) is updated."""
    back = np.flatnonzero(rows.at_ns < newest_ns[rows.plate] - BACKWARD_S * NS)
    if len(back):
        k = int(back[0])
        who, t_s = table.ids[int(rows.plate[k])], table.numbers["t_s"][k]
        what = f"t_s = {t_s:.6f} of {who!r} lies before an earlier row of it"
        raise fault(table.path, int(table.line[k]), what, "sort the rows by t_s")
    np.maximum.at(newest_ns, rows.plate, rows.at_ns)


def _joined(before: _Rows | None, fresh: _Rows) -> _Rows:
    if before is not None:
        fresh = _Rows(
            fresh.base_s,
            np.concatenate([before.at_ns, fresh.at_ns]),
            np.concatenate([before.plate, fresh.plate]),
            np.concatenate([before.grams, fresh.grams]),
        )
    return fresh.part(np.argsort(fresh.at_ns, kind="stable"))


# --- rows to batches ------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _NodeFeed:
    """One node's rows become its batches. ``held``: (k,) each plate's newest row."""

    node: ShelfNode
    columns: Ints  # (k,) plates of the node, indices of the configuration
    held_ns: Ints
    held_g: Floats
    last_ns: int = -(2**62)
    period_ns: float = 0.0
    sequence: int = 0
    plates_seen: set[int] = field(default_factory=set)

    @staticmethod
    def of(config: StoreConfig, node: ShelfNode) -> _NodeFeed:
        columns = np.array([config.plate_index[p] for p in node.plates], dtype=np.int64)
        never = np.full(len(columns), -(2**62), dtype=np.int64)
        return _NodeFeed(node, columns, never, np.full(len(columns), np.nan))

    def batches(self, by_plate: dict[int, tuple[Ints, Floats]]) -> list[ShelfSamples]:
        """Batches of the rows that have come, given by plate in order of time."""
        columns = [self._column(k, by_plate) for k in range(len(self.columns))]
        times, readings = together(columns)
        fresh = times > self.last_ns
        times, readings = times[fresh], readings[fresh]
        if not len(times):
            return []
        self._learn_period(times)
        made = list(node_batches(self.node, times, readings, self.period_ns, self.sequence))
        self.sequence += len(made)
        self.last_ns = int(times[-1])
        return made

    def _column(self, k: int, by_plate: dict[int, tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
        """The rows of one plate, after the one that it held before."""
        times, grams = by_plate.get(int(self.columns[k]), _NO_ROWS)
        known = self.held_ns[k] > -(2**62)
        if len(times):
            self.plates_seen.add(k)
            before = (self.held_ns[k : k + 1].copy(), self.held_g[k : k + 1].copy())
            self.held_ns[k], self.held_g[k] = times[-1], grams[-1]
        else:
            before = (self.held_ns[k : k + 1], self.held_g[k : k + 1])
        if not known:
            return times, grams
        return np.concatenate([before[0], times]), np.concatenate([before[1], grams])

    def _learn_period(self, times: Ints) -> None:
        if len(times) < 2 and self.period_ns:
            return
        usual_ns = period_ns(times)
        change = max(usual_ns, self.period_ns) / max(min(usual_ns, self.period_ns), 1.0)
        if not self.period_ns or change > PERIOD_CHANGE:
            self.period_ns = usual_ns


_NO_ROWS = (np.zeros(0, dtype=np.int64), np.zeros(0))


def _by_plate(rows: _Rows) -> dict[int, tuple[Ints, Floats]]:
    """Rows of each plate in order of time; of a repeated instant the last one."""
    order = np.argsort(rows.plate, kind="stable")
    plate, at_ns, grams = rows.plate[order], rows.at_ns[order], rows.grams[order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (np.diff(at_ns) != 0) | (np.diff(plate) != 0)
    plate, at_ns, grams = plate[last], at_ns[last], grams[last]
    cuts = np.flatnonzero(np.diff(plate)) + 1
    names = plate[np.concatenate([[0], cuts])] if len(plate) else plate
    parts = zip(np.split(at_ns, cuts), np.split(grams, cuts), strict=True)
    return dict(zip(names.tolist(), parts, strict=False))


# --- batches to steps -----------------------------------------------------------------------------


def _weigh(config: StoreConfig, parts: Iterator[_Rows], out: Path) -> Weighed:
    sensing = WeightSensing(config)
    feeds = [_NodeFeed.of(config, node) for node in config.shelf_nodes]
    count = steps_made = 0
    first_s = last_s = None
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rows in parts:
            if not len(rows.at_ns):
                continue
            count += len(rows.at_ns)
            first_s = rows.base_s + rows.at_ns[0] / NS if first_s is None else first_s
            last_s = rows.base_s + rows.at_ns[-1] / NS
            by_plate = _by_plate(rows)
            batches = [batch for feed in feeds for batch in feed.batches(by_plate)]
            batches.sort(key=lambda batch: batch.received_at_ns)
            steps = sensing.step(int(rows.at_ns[-1]), batches)
            writer.writerows(_lines(config, steps, rows.base_s))
            steps_made += len(steps)
    return Weighed(
        rows=count,
        plates=sum(len(feed.plates_seen) for feed in feeds),
        steps=steps_made,
        from_s=None if first_s is None else round(first_s, 6),
        to_s=None if last_s is None else round(last_s, 6),
        counters=dict(sensing.counters),
    )


def _lines(config: StoreConfig, steps: WeightSteps, base_s: float) -> Iterator[tuple[str, ...]]:
    """``COLUMNS`` of each step; its plate is the one with the largest share."""
    for i in range(len(steps)):
        plate = int(np.abs(steps.plate_mass_g[i]).argmax())
        yield (
            f"{base_s + steps.started_at_ns[i] / NS:.3f}",
            f"{base_s + steps.ended_at_ns[i] / NS:.3f}",
            str(config.shelves[int(steps.shelf[i])]),
            str(config.plates[plate].id),
            f"{steps.mass_g[i]:.2f}",
            f"{steps.mass_sd_g[i]:.2f}",
        )


__all__ = ["COLUMNS", "CsvError", "Weighed", "weigh_file"]
