"""The last 90 seconds of tracks, at most ten samples a second, in arrays of bounded size.

A ring of samples; each holds up to ``capacity`` tracks, grown by doubling. Identity is kept sparse:
the likeliest ``WHO_MAX`` visits of each track; what is cut off counts as nobody known. Positions
are single precision: 0.1 mm at a kilometre from the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.vision.wrists import Seen, locate
from messages.arrays import Bools, Counts, Floats, Floats32, Ints, read_only
from messages.ids import VisitId

SPAN_NS = 90_000_000_000
SPACING_NS = 95_000_000  # between samples; just under 100 ms so that jitter of a step skips none
SAMPLES_MAX = 900  # SPAN at ten a second
CAPACITY_START = 8
WHO_MAX = 4  # a body that may be five people is nobody's to charge anyway
UNLOCATED_MAX = 32  # samples whose wrists are not located yet
WHO_MIN = 1e-3  # probabilities below are not stored; far below any charge threshold's margin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackWindow:
    """What was known between two instants: k samples of n tracks.

    ``at_ns`` (k,); ``track_id`` (n,); ``position_store_m`` (k, n, 2), NaN where a track was
    absent; ``position_sd_m`` (k, n), root mean square of the two axes; ``wrists_store_m``
    (k, n, 2, 3), NaN where unseen, and ``wrists_along`` (k, n, 2, 3), the direction in which one
    camera alone could not tell where it is, zeros where several saw it; ``identity``
    (k, n, v + 1) over ``visits``, last column = nobody known, rows sum to 1 (absent: nobody).
    """

    at_ns: Ints
    track_id: Ints
    position_store_m: Floats
    position_sd_m: Floats
    wrists_store_m: Floats
    wrists_along: Floats
    visits: tuple[VisitId, ...]
    identity: Floats

    def __post_init__(self) -> None:
        read_only(self.at_ns, self.track_id, self.position_store_m, self.position_sd_m)
        read_only(self.wrists_store_m, self.wrists_along, self.identity)


def _none(*shape: int) -> Floats32:
    return np.full(shape, np.nan, np.float32)


@dataclass(slots=True)
class TrackHistory:
    """The ring; sample ``(head + i) % SAMPLES_MAX`` is the i-th oldest of ``length``."""

    head: int = 0
    length: int = 0
    at_ns: Ints = field(default_factory=lambda: np.zeros(SAMPLES_MAX, np.int64))
    count: Ints = field(default_factory=lambda: np.zeros(SAMPLES_MAX, np.int64))
    track_id: Ints = field(default_factory=lambda: np.zeros((SAMPLES_MAX, 0), np.int64))
    position: Floats32 = field(default_factory=lambda: _none(SAMPLES_MAX, 0, 2))
    sd: Floats32 = field(default_factory=lambda: _none(SAMPLES_MAX, 0))
    visit: Counts = field(default_factory=lambda: np.zeros((SAMPLES_MAX, 0, WHO_MAX), np.int32))
    probability: Floats32 = field(default_factory=lambda: _none(SAMPLES_MAX, 0, WHO_MAX))
    # Points and directions; no room for them until any is seen.
    wrists: Floats32 = field(default_factory=lambda: _none(SAMPLES_MAX, 0, 2, 6))
    unlocated: list[Seen] = field(default_factory=list)  # of samples: slots, and places in them
    names: dict[int, VisitId] = field(default_factory=dict)  # visit numbers that samples may hold
    ended_ns: dict[int, int] = field(default_factory=dict)  # when a visit left the store

    def due(self, at_ns: int) -> bool:
        """True when the next sample may be taken."""
        return self.length == 0 or at_ns - self.newest_ns() >= SPACING_NS

    def newest_ns(self) -> int:
        """Time of the newest sample; call it only when there is one."""
        return int(self.at_ns[(self.head + self.length - 1) % SAMPLES_MAX])


def record(
    history: TrackHistory,
    at_ns: int,
    track_id: Ints,
    position: Floats,
    sd: Floats,
    identity: Floats,
    visit_number: Ints,
    wrists: Seen | None,
) -> None:
    """Append one sample of n tracks; the oldest goes when the ring is full.

    Args:
        position: (n, 2). sd: (n,). identity: (n, v + 1). visit_number: (v,) of its columns.
        wrists: what is seen of theirs (and of others), None when nothing is.
    """
    n = len(track_id)
    _reserve(history, n, wrists is not None)
    if history.length == SAMPLES_MAX:
        history.head = (history.head + 1) % SAMPLES_MAX
        history.length -= 1
    slot = (history.head + history.length) % SAMPLES_MAX
    history.length += 1
    history.at_ns[slot], history.count[slot] = at_ns, n
    history.track_id[slot, :n] = track_id
    history.position[slot, :n], history.sd[slot, :n] = position, sd
    history.visit[slot, :n], history.probability[slot, :n] = _sparse(identity, visit_number)
    if history.wrists.shape[1]:
        history.wrists[slot, :n] = np.nan
    if wrists is not None:
        _keep_wrists(history, slot, wrists)
    if history.ended_ns:
        _forget_visits(history, at_ns)


def _keep_wrists(history: TrackHistory, slot: int, seen: Seen) -> None:
    """Of the sample's tracks; located when somebody asks."""
    there = history.track_id[slot, : history.count[slot]] == seen.track[:, None]
    k, place = there.nonzero()
    if not len(k):
        return
    history.unlocated.append(
        Seen(slot, place, seen.rows.take(k, axis=2), seen.body.take(k, axis=1))
    )
    if len(history.unlocated) == UNLOCATED_MAX:
        _locate_wrists(history)


def _locate_wrists(history: TrackHistory) -> None:
    """Those of the samples that wait for it, at once."""
    waiting, history.unlocated = history.unlocated, []
    capacity = history.wrists.shape[1]
    track = np.concatenate([k * capacity + one.track for k, one in enumerate(waiting)])
    body = np.zeros((2, len(waiting) * capacity))
    body[:, track] = np.concatenate([one.body for one in waiting], axis=1)
    rows = np.concatenate([one.rows for one in waiting], axis=2)
    held, points, along = locate(rows, track, body)
    slot = np.array([one.at for one in waiting])[held // capacity]
    history.wrists[slot, held % capacity] = np.concatenate((points, along), axis=2)


def window(history: TrackHistory, start_ns: int, end_ns: int) -> TrackWindow:
    """Samples in [start, end]; when there is none inside, the nearest one on either side."""
    if history.unlocated:
        _locate_wrists(history)
    slots = (history.head + np.arange(history.length)) % SAMPLES_MAX
    at_ns = history.at_ns[slots]
    first = int(np.searchsorted(at_ns, start_ns))
    last = int(np.searchsorted(at_ns, end_ns, side="right"))
    if first >= last:
        first, last = max(first - 1, 0), min(first + 1, len(slots))
    return _window(history, slots[first:last])


def _window(history: TrackHistory, slots: Ints) -> TrackWindow:
    present = np.arange(history.track_id.shape[1]) < history.count[slots][:, None]
    sample, place = np.nonzero(present)
    slot = slots[sample]
    ids, column = np.unique(history.track_id[slot, place], return_inverse=True)
    k, n = len(slots), len(ids)
    position = np.full((k, n, 2), np.nan)
    position[sample, column] = history.position[slot, place]
    sd = np.full((k, n), np.nan)
    sd[sample, column] = history.sd[slot, place]
    wrists = np.full((k, n, 2, 6), np.nan)
    if history.wrists.shape[1]:
        wrists[sample, column] = history.wrists[slot, place]
    numbers, identity = _dense(history, sample, column, slot, place, (k, n))
    return TrackWindow(
        at_ns=history.at_ns[slots].copy(),
        track_id=ids,
        position_store_m=position,
        position_sd_m=sd,
        wrists_store_m=wrists[..., :3],
        wrists_along=wrists[..., 3:],
        visits=tuple(history.names[int(number)] for number in numbers),
        identity=identity,
    )


def _dense(
    history: TrackHistory,
    sample: Ints,
    column: Ints,
    slot: Ints,
    place: Ints,
    shape: tuple[int, int],
) -> tuple[Ints, Floats]:
    visit = history.visit[slot, place]
    entry, rank = np.nonzero(visit > 0)
    numbers, who = np.unique(visit[entry, rank].astype(np.int64), return_inverse=True)
    identity = np.zeros((*shape, len(numbers) + 1))
    identity[sample[entry], column[entry], who] = history.probability[slot, place][entry, rank]
    identity[..., -1] = np.maximum(1.0 - identity[..., :-1].sum(axis=-1), 0.0)
    identity /= identity.sum(axis=-1, keepdims=True)
    return numbers, identity


def _sparse(identity: Floats, visit_number: Ints) -> tuple[Counts, Floats32]:
    """The likeliest visits of each row: numbers (0 = none) and probabilities, (n, WHO_MAX)."""
    n = len(identity)
    visit = np.zeros((n, WHO_MAX), np.int32)
    probability = np.zeros((n, WHO_MAX), np.float32)
    row, column = np.nonzero(identity[:, :-1] > WHO_MIN)
    p = identity[row, column]
    if (row[1:] > row[:-1]).all():  # nobody may be two: the usual case
        visit[row, 0], probability[row, 0] = visit_number[column], p
        return visit, probability
    order = np.lexsort((-p, row))
    row, column, p = row[order], column[order], p[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept: Bools = rank < WHO_MAX
    visit[row[kept], rank[kept]] = visit_number[column[kept]]
    probability[row[kept], rank[kept]] = p[kept]
    return visit, probability


def _reserve(history: TrackHistory, n: int, wrists: bool) -> None:
    """Grow the track axis to hold n; wrists get room when first seen."""
    have = history.track_id.shape[1]
    size = have
    while size < n:
        size = max(2 * size, CAPACITY_START)
    if size > have:
        grown = (0, size - have)
        history.track_id = np.pad(history.track_id, ((0, 0), grown))
        history.position = np.pad(history.position, ((0, 0), grown, (0, 0)))
        history.sd = np.pad(history.sd, ((0, 0), grown))
        history.visit = np.pad(history.visit, ((0, 0), grown, (0, 0)))
        history.probability = np.pad(history.probability, ((0, 0), grown, (0, 0)))
    if size > history.wrists.shape[1] and (wrists or history.wrists.shape[1]):
        grown_wrists = _none(SAMPLES_MAX, size, 2, 6)
        grown_wrists[:, : history.wrists.shape[1]] = history.wrists
        history.wrists = grown_wrists


def _forget_visits(history: TrackHistory, at_ns: int) -> None:
    """Names of visits that ended before the oldest sample."""
    oldest = int(history.at_ns[history.head])
    gone = [number for number, ended in history.ended_ns.items() if ended < oldest]
    for number in gone:
        del history.ended_ns[number], history.names[number]
