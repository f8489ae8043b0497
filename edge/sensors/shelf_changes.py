"""Which open changes of a shelf are over, and which of them are one step.

Rules, in the order in which they apply:

1. Neighbouring plates that change in overlapping time are *linked*. A link waits until all its
   plates have a run, so that a hand leaving one plate is not judged before the other; a plate
   whose run lasts two seconds no longer waits.
2. A plate whose change is within its noise goes back to quiet.
3. The others form one step for each unbroken row of changed plates: an item across an edge, and
   its spill, are one step. A plate between them that did not change separates two steps.
4. A step is over when its run is long enough to tell a still item from a hand of that mass, which
   is never steadier than ``HAND_UNSTEADINESS``. Small masses on noisy plates take longer, and so do
   long handling, handling that goes on, and loads spread like an arm's.
5. A net change below noise, or below any product, gives no step; the new level is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.sensors.plate_levels import (
    CHANGING,
    FIRST_LEVEL_SLOTS,
    LEVEL_SLOTS_MAX,
    QUIET,
    RECENT_SLOTS,
    RING_SLOTS,
    RUN_SLOTS_MIN,
    PlateState,
    StepFlag,
    recent_rests,
)
from messages.arrays import Bools, Floats, Ints, read_only
from messages.store_config import StoreConfig

HELD_NS = 2_000_000_000  # after this, plates with a run no longer wait for their neighbours
HAND_UNSTEADINESS = 0.05  # of its load: a resting hand varies by more (postural tremor, breathing)
HAND_SIGMAS = 5.0  # a run must be able to show that unsteadiness so clearly
STILL_SLOTS = 12  # 600 ms: a hand that holds an item still does so for half a second at times
STILL_PART = 0.4  # of the time that hands were in the change: the longer, the more chances to rest
YOUNG_SLOTS = 18  # 0.9 s: a change that begins within 2 s of the last may be the same handling
WIDE_SLOTS = 24  # more load on many plates may be an arm or a bag laid down: nearly steady
WIDE_PLATES = 3  # that carry
WIDE_SHARE = 0.12  # of the load each: more than spill, 1 % for a bottle
PLATE_SIGMAS = 4.0  # change of one plate that is no noise
PLATE_FLOOR_G = 1.0
SPILL_SIGMAS = 2.0  # and of one beside a plate that changed the same way
STEP_SIGMAS = 5.0
STEP_FLOOR_G = 8.0  # half of the lightest products, 20 g; above what a knocked shelf keeps
BUMP_FLOOR_G = 15.0  # a knocked gondola ends -5 to +4 g off
BUMP_PLATES_MIN = 6  # fewer than this a hand can touch at once
BUMP_SHARE = 0.7  # of a shelf's plates
DRIFT_G_PER_SQRT_S = 0.065  # random walk of the zero: 0.5 g in a minute, 4 g in an hour
SPAN_SD = 0.04  # of the mass: real plates weigh -8 to +5 % off
LONG_NS = 5_000_000_000
RESTLESS_SLOTS = 2  # a quiet plate that long not at its level may be opening too,
RESTLESS_SLOTS_MAX = 8  # but after this it would have opened
NEVER_NS = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where plates are, in *shelf order*: shelf by shelf, along its longer axis."""

    order: Ints  # (P,) index in the configuration of each row
    row: Ints  # (P,) row of each plate of the configuration
    shelf: Ints  # (P,) index into config.shelves
    device: Ints  # (P,) index into config.shelf_nodes, -1 = none
    bank: Ints  # (P,) plates of one device on one shelf
    bank_size: Ints  # (banks,)
    shelf_size: Ints  # (shelves,)
    mixed: bool  # some shelf has plates of several devices

    def __post_init__(self) -> None:
        read_only(self.order, self.row, self.shelf, self.device)
        read_only(self.bank, self.bank_size, self.shelf_size)


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """Changes found to be over: n steps, and their member plates in one flat list."""

    shelf: Ints  # (n,)
    started_at_ns: Ints
    ended_at_ns: Ints
    mass_g: Floats
    mass_sd_g: Floats
    flags: Ints
    member_step: Ints  # (m,) index of the step
    member_row: Ints
    member_g: Floats
    member_sd_g: Floats
    within_noise: int  # changes that gave nothing
    net_zero: int  # of these, those in which plates changed and cancelled


def layout_of(config: StoreConfig) -> Layout:
    """The shelf order of a store's plates."""
    shelf = np.array([config.shelf_index[p.shelf] for p in config.plates], dtype=np.int64)
    at_m = np.array([(p.x_m, p.y_m) for p in config.plates]).reshape(-1, 2)
    along_m = _along(shelf, at_m, len(config.shelves))
    order = np.lexsort((np.arange(len(shelf)), along_m, shelf)).astype(np.int64)
    device = np.full(len(shelf), -1, dtype=np.int64)
    for i, node in enumerate(config.shelf_nodes):
        device[[config.plate_index[plate] for plate in node.plates]] = i
    key = np.stack([shelf[order], device[order]], axis=1)
    banks, bank, bank_size = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    return Layout(
        order=order,
        row=np.argsort(order).astype(np.int64),
        shelf=shelf[order],
        device=device[order],
        bank=bank.reshape(-1).astype(np.int64),
        bank_size=bank_size.astype(np.int64),
        shelf_size=np.bincount(shelf, minlength=len(config.shelves)).astype(np.int64),
        mixed=len(banks) > len(config.shelves),
    )


def _along(shelf: Ints, at_m: Floats, shelves: int) -> Floats:
    """Position of each plate along its shelf: x or y, whichever spreads more."""
    low, high = np.full((shelves, 2), np.inf), np.full((shelves, 2), -np.inf)
    np.minimum.at(low, shelf, at_m)
    np.maximum.at(high, shelf, at_m)
    spread = high - low
    axis = (spread[:, 1] > spread[:, 0]).astype(np.int64)
    along_m: Floats = at_m[np.arange(len(shelf)), axis[shelf]]
    return along_m


def close_changes(plates: PlateState, layout: Layout, together: Floats) -> Closed | None:
    """Close every change that is over, and turn its plates quiet; None when nothing is."""
    rows = (plates.phase == CHANGING).nonzero()[0]
    has_level = plates.has_level[rows]
    if np.count_nonzero(has_level) < len(rows):
        _take_first_levels(plates, rows[~has_level])
        rows = rows[has_level]
    _mark_bumps(plates, rows, layout)
    run_n = plates.run_n[rows]
    if not np.count_nonzero(run_n >= RUN_SLOTS_MIN):
        return None
    linked = _linked(plates, rows, layout)
    ready = _ready(plates, rows, linked, layout)
    if not np.count_nonzero(ready):
        return None
    change_g = plates.run_g[rows] - plates.level_g[rows]
    run_variance, level_variance = _variances(plates, rows, run_n, plates.run_ns[rows])
    sd_g = np.sqrt(run_variance + level_variance)
    changed = np.abs(change_g) > np.maximum(PLATE_SIGMAS * sd_g, PLATE_FLOOR_G)
    changed |= _spill(change_g, sd_g, changed & ready, ready, linked)
    same = (ready & ~changed).nonzero()[0]
    if len(same):
        trust = level_variance / (level_variance + run_variance)  # two looks at one level: the mean
        plates.level_g[rows[same]] += (trust * change_g)[same]
        _turn_quiet(plates, rows[same])
    member = (ready & changed).nonzero()[0]
    if not len(member):
        return None
    joined = linked[member[1:] - 1] & (member[1:] == member[:-1] + 1)
    rows, change_g, sd_g = rows[member], change_g[member], sd_g[member]
    return _close(plates, layout, together, rows, change_g, sd_g, joined)


def may_close(plates: PlateState, rows: Ints, run_n: Ints, run_g: Floats, run_ns: Ints) -> Bools:
    """(s,) False where ``close_changes`` could do nothing for these open plates.

    A change within noise is over with any run, a clear one not before ``STILL_SLOTS``; and only
    where many plates are open a shelf may have been knocked.

    Args:
        run_n, run_g, run_ns: (s, k) the runs of the plates after each of s slots.
    """
    limit_g = PLATE_SIGMAS * np.sqrt(sum(_variances(plates, rows, run_n, run_ns)))
    change_g = np.abs(run_g - plates.level_g[rows])
    clear = plates.has_level[rows] & (change_g > np.maximum(limit_g, PLATE_FLOOR_G))
    some = (run_n >= STILL_SLOTS) | ((run_n >= RUN_SLOTS_MIN) & ~clear)
    return np.asarray(some.any(axis=1) | (len(rows) >= BUMP_PLATES_MIN))


def _take_first_levels(plates: PlateState, rows: Ints) -> None:
    rows = rows[plates.run_n[rows] >= FIRST_LEVEL_SLOTS]
    plates.has_level[rows] = True
    _take_levels(plates, rows)


def _take_levels(plates: PlateState, rows: Ints) -> None:
    plates.level_g[rows] = plates.run_g[rows]
    plates.level_n[rows] = np.minimum(plates.run_n[rows], LEVEL_SLOTS_MAX)
    _turn_quiet(plates, rows)


def _turn_quiet(plates: PlateState, rows: Ints) -> None:
    plates.phase[rows] = QUIET
    plates.fast_g[rows] = plates.level_g[rows]
    plates.calm_ns[rows] = plates.last_ns[rows]
    plates.loose_n[rows] = 0
    plates.quiet_n[rows] = 0
    plates.run_n[rows] = 0
    plates.flags[rows] = 0


def _mark_bumps(plates: PlateState, rows: Ints, layout: Layout) -> None:
    """Most plates of a shelf open at once, and not for a gap: the shelf was knocked."""
    if len(rows) < BUMP_PLATES_MIN:
        return
    rows = rows[(plates.flags[rows] & StepFlag.AFTER_GAP) == 0]
    shaking = np.bincount(layout.shelf[rows], minlength=len(layout.shelf_size))
    bumped = shaking >= np.maximum(BUMP_SHARE * layout.shelf_size, BUMP_PLATES_MIN)
    if bumped.any():
        plates.flags[rows[bumped[layout.shelf[rows]]]] |= int(StepFlag.BUMP)


def _linked(plates: PlateState, rows: Ints, layout: Layout) -> Bools:
    """(k - 1,) True where a plate and the next in the list are neighbours in shelf and time."""
    start_ns = plates.calm_ns[rows]
    end_ns = np.where(plates.run_n[rows] >= RUN_SLOTS_MIN, plates.run_ns[rows], NEVER_NS)
    shelf = layout.shelf[rows]
    beside = (rows[1:] == rows[:-1] + 1) & (shelf[1:] == shelf[:-1])
    overlap: Bools = beside & (start_ns[1:] <= end_ns[:-1]) & (start_ns[:-1] <= end_ns[1:])
    return overlap


def _ready(plates: PlateState, rows: Ints, linked: Bools, layout: Layout) -> Bools:
    """Plates that have a run and need not wait for the rest of their link, or have waited."""
    stable = plates.run_n[rows] >= RUN_SLOTS_MIN
    waits = ~stable | _neighbour_pending(plates, rows, layout)
    waited = stable & (plates.last_ns[rows] - plates.run_ns[rows] >= HELD_NS)
    together = linked & stable[1:] & stable[:-1]
    return stable & (~_anywhere(waits, linked) | _anywhere(waited, together))


def _anywhere(plate_is: Bools, linked: Bools) -> Bools:
    """(k,) True for every plate of a link in which one plate is."""
    link = np.zeros(len(plate_is), dtype=np.int64)
    np.cumsum(~linked, out=link[1:])
    return np.asarray(np.bincount(link, plate_is)[link] > 0)


def _neighbour_pending(plates: PlateState, rows: Ints, layout: Layout) -> Bools:
    """A neighbour is off its level but not open yet, or its device has not reported so far."""
    beside = np.minimum(np.maximum(rows + _BESIDE, 0), len(layout.shelf) - 1)  # (2, k)
    quiet, loose_n = plates.phase[beside] == QUIET, plates.loose_n[beside]
    wait = (loose_n >= RESTLESS_SLOTS) & (loose_n <= RESTLESS_SLOTS_MAX)
    if layout.mixed:
        wait |= plates.last_ns[beside] < plates.run_ns[rows]
    wait &= quiet & (layout.shelf[beside] == layout.shelf[rows])
    return np.asarray(wait[0] | wait[1])


_BESIDE = np.array([[-1], [1]])


def _spill(change_g: Floats, sd_g: Floats, changed: Bools, ready: Bools, linked: Bools) -> Bools:
    """Plates beside a changed one that took part: open, and changed the same way.

    Alone their change would be within noise. In the middle of an item its sign is enough; at its
    end it must be twice its sigma.
    """
    left, right = np.zeros((2, len(changed)), dtype=np.bool_)
    same_way = linked & ((change_g[1:] > 0) == (change_g[:-1] > 0))
    left[1:] = changed[:-1] & same_way
    right[:-1] = changed[1:] & same_way
    large = np.abs(change_g) > SPILL_SIGMAS * sd_g
    return ready & ((left & right) | ((left | right) & large))


def _variances(plates: PlateState, rows: Ints, run_n: Ints, run_ns: Ints) -> tuple[Floats, Floats]:
    """Of the run: its white noise. Of the level: wander, and drift while the change was open."""
    noise_g, wander_g = plates.noise_g[rows], plates.wander_g[rows]
    age_s = np.maximum(run_ns - plates.calm_ns[rows], 0) * 1e-9
    level = wander_g * wander_g + DRIFT_G_PER_SQRT_S**2 * age_s
    return noise_g * noise_g / np.maximum(run_n, 1), level


def open_changes(plates: PlateState, layout: Layout, together: Floats) -> Closed | None:
    """What open changes would be if hands left them now, from the newest rest of their plates.

    Nothing is changed. The sigma includes a hand's unsteadiness.
    """
    rows = np.flatnonzero((plates.phase == CHANGING) & plates.has_level)
    run_n, run_g, run_ns = recent_rests(plates, rows)
    rested = run_n > 0
    rows, run_n, run_g, run_ns = rows[rested], run_n[rested], run_g[rested], run_ns[rested]
    change_g = run_g - plates.level_g[rows]
    run_variance, level_variance = _variances(plates, rows, run_n, run_ns)
    sd_g = np.sqrt(run_variance + level_variance)
    changed = np.abs(change_g) > np.maximum(PLATE_SIGMAS * sd_g, PLATE_FLOOR_G)
    if not changed.any():
        return None
    rows, run_n, run_ns = rows[changed], run_n[changed], run_ns[changed]
    change_g, sd_g = change_g[changed], np.hypot(sd_g, HAND_UNSTEADINESS * change_g)[changed]
    shelf = layout.shelf[rows]
    joined = (rows[1:] == rows[:-1] + 1) & (shelf[1:] == shelf[:-1])
    starts = _starts(joined)
    mass_g = np.add.reduceat(change_g, starts)
    wanted = np.where(_wide_load(change_g, mass_g, starts), STILL_SLOTS, RECENT_SLOTS)
    over = np.minimum.reduceat(run_n, starts) >= wanted
    closed = _steps_in(plates, layout, together, rows, change_g, sd_g, starts, run_ns, over)
    closed.flags[:] |= int(StepFlag.PROVISIONAL)
    return closed


def _close(
    plates: PlateState,
    layout: Layout,
    together: Floats,
    rows: Ints,
    change_g: Floats,
    sd_g: Floats,
    joined: Bools,
) -> Closed | None:
    """Close the rows of changed plates whose runs are long enough."""
    starts = _starts(joined)
    mass_g = np.add.reduceat(change_g, starts)
    over = _run_is_long_enough(plates, rows, starts, change_g, mass_g)
    if not np.count_nonzero(over):
        return None
    run_ns = plates.run_ns[rows]
    closed = _steps_in(plates, layout, together, rows, change_g, sd_g, starts, run_ns, over)
    _take_levels(plates, rows[over.repeat(_sizes(starts, len(rows)))])
    return closed


def _steps_in(
    plates: PlateState,
    layout: Layout,
    together: Floats,
    rows: Ints,
    change_g: Floats,
    sd_g: Floats,
    starts: Ints,
    run_ns: Ints,
    over: Bools,
) -> Closed:
    """Steps of the groups of rows that are over, where their net change is no noise.

    Args:
        starts: (n,) first row of each group; run_ns: (k,) starts of the rows' new levels.
    """
    sizes = _sizes(starts, len(rows))
    mass_g = np.add.reduceat(change_g, starts)
    apart, whole = np.add.reduceat(sd_g * sd_g, starts), np.add.reduceat(sd_g, starts) ** 2
    noise_sd_g = np.sqrt(apart + together[layout.bank[rows[starts]]] * (whole - apart))
    start_ns = np.minimum.reduceat(plates.calm_ns[rows] - plates.slot_ns[rows], starts)
    end_ns = np.maximum(np.maximum.reduceat(run_ns, starts), start_ns)
    flags = np.bitwise_or.reduceat(plates.flags[rows], starts)
    flags |= np.where(end_ns - start_ns > LONG_NS, int(StepFlag.LONG), 0)
    floor_g = np.where((flags & int(StepFlag.BUMP)) != 0, BUMP_FLOOR_G, STEP_FLOOR_G)
    limit_g = np.maximum(STEP_SIGMAS * noise_sd_g, floor_g)
    counts = over & (np.abs(mass_g) > limit_g)
    nothing = over & ~counts
    biggest_g = np.maximum.reduceat(np.abs(change_g), starts)
    step_of = np.repeat(np.where(counts, np.cumsum(counts) - 1, -1), sizes)
    member = step_of >= 0
    return Closed(
        shelf=layout.shelf[rows[starts[counts]]],
        started_at_ns=start_ns[counts],
        ended_at_ns=end_ns[counts],
        mass_g=mass_g[counts],
        mass_sd_g=np.hypot(noise_sd_g, SPAN_SD * mass_g)[counts],
        flags=flags[counts],
        member_step=step_of[member],
        member_row=rows[member],
        member_g=change_g[member],
        member_sd_g=np.hypot(sd_g, SPAN_SD * change_g)[member],
        within_noise=int(nothing.sum()),
        net_zero=int((nothing & (biggest_g > limit_g)).sum()),
    )


def _run_is_long_enough(
    plates: PlateState, rows: Ints, starts: Ints, change_g: Floats, mass_g: Floats
) -> Bools:
    """(n,) Could hands have kept that mass so still for so long?

    Over n slots of noise s a hand's unsteadiness u m shows at HAND_SIGMAS from n = (k s / u m)^2.
    By chance a hand rests now and then, so no run is shorter than ``STILL_SLOTS``, nor than its
    part of the time that something went on; a rest that soon ended was perhaps a hand's.
    """
    variance = np.add.reduceat(plates.noise_g[rows] ** 2, starts)
    unsteady_g = HAND_UNSTEADINESS * np.maximum(np.abs(mass_g), 1e-3)
    wanted = np.maximum(variance * (HAND_SIGMAS / unsteady_g) ** 2, STILL_SLOTS)
    seen = (plates.flags[rows] & int(StepFlag.AFTER_GAP | StepFlag.CLIPPED)) == 0
    open_ns = np.where(seen, plates.run_ns[rows] - plates.calm_ns[rows], 0)
    open_slots = open_ns / np.maximum(plates.slot_ns[rows], 1)
    wanted = np.maximum(wanted, STILL_PART * np.maximum.reduceat(open_slots, starts))
    young = np.logical_or.reduceat(seen & (plates.level_n[rows] < LEVEL_SLOTS_MAX), starts)
    wanted = np.maximum(wanted, np.where(young, YOUNG_SLOTS, 0))
    wanted = np.where(_wide_load(change_g, mass_g, starts), WIDE_SLOTS, wanted)
    run_n = np.minimum.reduceat(plates.run_n[rows], starts)
    enough: Bools = run_n >= np.minimum(wanted, RING_SLOTS)
    return enough


def _wide_load(change_g: Floats, mass_g: Floats, starts: Ints) -> Bools:
    """(n,) More mass than before, carried by many plates: perhaps an arm or a bag."""
    whole_g = np.abs(mass_g).repeat(_sizes(starts, len(change_g)))
    carries = np.abs(change_g) > WIDE_SHARE * whole_g
    wide: Bools = (mass_g > 0.0) & (np.add.reduceat(carries, starts, dtype=np.int64) >= WIDE_PLATES)
    return wide


def _starts(joined: Bools) -> Ints:
    """First row of each group, where (k - 1,) ``joined`` says which rows go with the one before."""
    return np.concatenate((_FIRST, (~joined).nonzero()[0] + 1))


_FIRST = np.zeros(1, dtype=np.int64)


def _sizes(starts: Ints, rows: int) -> Ints:
    """How many rows each group has."""
    sizes = np.empty_like(starts)
    sizes[:-1] = starts[1:]
    sizes[-1] = rows
    sizes -= starts
    return sizes
