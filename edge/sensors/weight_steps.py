"""Weight sensing: shelf samples in, final weight steps out. The engine's door to the load cells.

A *step* is a lasting change of mass on a shelf between two stable levels. The path of a sample:
``clock_sync`` (when), ``load_cell`` (how much), ``slots`` (50 ms means), ``plate_levels`` (levels
and open changes), ``noise`` (what is normal), ``shelf_changes`` (what is over, and what belongs
together). All plates advance at once; the loops here run over batches and over slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge.sensors import noise
from edge.sensors.clock_sync import Arrival, arrive
from edge.sensors.load_cell import BatchError, calibration, check_batch
from edge.sensors.open_plates import OpenPlates
from edge.sensors.plate_levels import (
    CHANGING,
    QUIET,
    RING_SLOTS,
    RUN_SLOTS_MIN,
    UNKNOWN,
    PlateState,
    StepFlag,
    advance,
    forget_level,
    lose,
    new_plates,
)
from edge.sensors.quiet_plates import QuietPlates
from edge.sensors.shelf_changes import Closed, Layout, close_changes, layout_of, open_changes
from edge.sensors.slots import DeviceState, Fresh, Slots, slot_samples, slots_of
from messages.arrays import Floats, Ints, read_only
from messages.ids import DeviceId, ShelfId
from messages.observations import ShelfSamples
from messages.store_config import StoreConfig

__all__ = ["StepFlag", "WeightSensing", "WeightState", "WeightSteps"]

SLOT_SAMPLES_USUAL = 3  # at 60 Hz; only the first guess of a slot's noise depends on it


class StateMismatchError(ValueError):
    """A state of another set of plates than the configuration's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightSteps:
    """Steps that are final: n rows in order of their end; n = 0 is normal.

    ``started_at_ns``: last stable instant before; ``ended_at_ns``: first stable one after.
    ``mass_g``: negative = removed; ``mass_sd_g`` includes noise, drift and span error of the cells.
    ``plate_mass_g``, ``plate_sd_g``: (n, P) in the order of config.plates, zero where unchanged.
    """

    step_id: Ints
    shelf: Ints  # index into config.shelves
    started_at_ns: Ints
    ended_at_ns: Ints
    mass_g: Floats
    mass_sd_g: Floats
    plate_mass_g: Floats
    plate_sd_g: Floats
    flags: Ints

    def __post_init__(self) -> None:
        read_only(self.step_id, self.shelf, self.started_at_ns, self.ended_at_ns, self.mass_g)
        read_only(self.mass_sd_g, self.plate_mass_g, self.plate_sd_g, self.flags)

    def __len__(self) -> int:
        return len(self.step_id)


@dataclass(slots=True)
class WeightState:
    """Everything that a restart needs."""

    plate_ids: list[str]
    plates: PlateState
    together: Floats  # (banks,) correlation of noise, see ``noise``
    devices: dict[str, DeviceState] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    now_ns: int = 0
    steps_made: int = 0


class WeightSensing:
    """Turns the batches of all shelf nodes into weight steps; see the module's text."""

    def __init__(self, config: StoreConfig, state: WeightState | None = None) -> None:
        self._layout = layout_of(config)
        self._calibration = calibration(config, self._layout.order)
        self._rows = {
            str(node.id): self._layout.row[[config.plate_index[p] for p in node.plates]]
            for node in config.shelf_nodes
        }
        self._order = {name: i for i, name in enumerate(self._rows)}
        self._shelf_index = config.shelf_index
        self._nothing = _steps_of([], 0, self._layout)
        self.state = state if state is not None else self._new_state(config)
        if self.state.plate_ids != [str(plate.id) for plate in config.plates]:
            raise StateMismatchError("the state is of other plates than the configuration")

    def _new_state(self, config: StoreConfig) -> WeightState:
        sample_noise_g = np.array([plate.noise_g for plate in config.plates], dtype=np.float64)
        slot_noise_g = np.maximum(sample_noise_g / SLOT_SAMPLES_USUAL**0.5, noise.NOISE_MIN_G)
        return WeightState(
            plate_ids=[str(plate.id) for plate in config.plates],
            plates=new_plates(slot_noise_g[self._layout.order]),
            together=np.zeros(len(self._layout.bank_size)),
        )

    @property
    def counters(self) -> dict[str, int]:
        """Batches, and what was wrong with some: lost, repeated, garbage, clock steps, gaps."""
        return self.state.counters

    def step(self, now_ns: int, batches: Sequence[ShelfSamples]) -> WeightSteps:
        """Take what arrived since the last call; batches of one device in sequence order."""
        self.state.now_ns = now_ns
        closed: list[Closed] = []
        for fresh in self._rounds(batches):
            taken = [one for one in fresh if self._accept(one)]
            for slots in slots_of(taken, self._calibration) if taken else ():
                self._advance(slots, closed)
        if not closed:
            return self._nothing
        steps = _steps_of(closed, self.state.steps_made, self._layout)
        self.state.steps_made += len(steps)
        return steps

    def provisional(self) -> WeightSteps:
        """What is going on now, as steps that may yet be corrected: report soon, correct later.

        A change shows here from about 250 ms after it came to rest, long before it is final; it
        goes when it proves to be nothing, and once its final step is out. ``step_id`` is 0: a
        final step replaces those of its shelf that share a plate with it and overlap it in time.
        """
        plates = self.state.plates
        if not (plates.phase == CHANGING).any():
            return self._nothing
        found = open_changes(plates, self._layout, self.state.together)
        if found is None or not len(found.shelf):
            return self._nothing
        steps = _steps_of([found], 0, self._layout)
        return replace(steps, step_id=np.zeros(len(steps), dtype=np.int64))

    def device_lost(self, device: DeviceId, at_ns: int) -> None:
        """Readings of the device are unknown from here; its next data compare the levels."""
        known = self.state.devices.get(str(device))
        if known is None:
            return
        known.clock.lost = True
        known.carry_g = np.zeros((0, 0))
        self._count("devices_lost")
        lose(self.state.plates, self._rows[str(device)], StepFlag.AFTER_GAP)

    def tared(self, shelf: ShelfId) -> None:
        """The plates of a shelf were zeroed: their next level is taken without a step."""
        on_shelf = self._layout.shelf == self._shelf_index[shelf]
        forget_level(self.state.plates, np.flatnonzero(on_shelf))

    def level_g(self, shelves: Ints | None = None) -> Floats:
        """(P,) last stable mass on each plate, NaN where unknown or not on these ``shelves``."""
        plates = self.state.plates
        known = plates.has_level & (plates.phase != UNKNOWN)
        if shelves is not None:
            known &= (self._layout.shelf[:, None] == shelves).any(axis=1)
        level_g: Floats = np.where(known, plates.level_g, np.nan)[self._layout.row]
        return level_g

    def noise_g(self) -> Floats:
        """(P,) one sigma of one sample, as learned."""
        plates = self.state.plates
        noise_g: Floats = (plates.noise_g * np.sqrt(plates.slot_samples))[self._layout.row]
        return noise_g

    def settled_until_ns(self) -> int:
        """Every change that ended before this instant has been reported, where readings are known.

        A quiet plate answers for all but the slots since it was last at its level; a changing one
        for all but the longest run that may yet prove to be its new level.
        """
        plates = self.state.plates
        levelled = plates.has_level & (plates.phase != UNKNOWN)
        if not levelled.any():
            return self.state.now_ns
        quiet = plates.phase == QUIET
        back_ns = RING_SLOTS * plates.slot_ns
        open_ns = plates.last_ns - back_ns
        open_ns = np.where(
            plates.run_n >= RUN_SLOTS_MIN, np.minimum(open_ns, plates.run_ns), open_ns
        )
        until_ns = np.where(quiet, plates.calm_ns, np.maximum(open_ns, plates.calm_ns))
        return int(until_ns[levelled].min())

    def _rounds(self, batches: Sequence[ShelfSamples]) -> list[list[Fresh]]:
        """Round i holds the i-th batch of each device, devices in the configuration's order."""
        lanes: dict[str, list[Fresh]] = {}
        for batch in batches:
            if self._readable(batch):
                name = batch.device
                device = self.state.devices.get(name)
                if device is None:
                    device = self.state.devices[name] = DeviceState()
                lanes.setdefault(name, []).append(Fresh(device, batch, self._rows[name]))
        ordered = [lanes[name] for name in sorted(lanes, key=self._order.__getitem__)]
        most = max(map(len, ordered), default=0)
        return [[lane[turn] for lane in ordered if turn < len(lane)] for turn in range(most)]

    def _readable(self, batch: ShelfSamples) -> bool:
        rows = self._rows.get(batch.device)
        if rows is None:
            self._count("unknown_device")
            return False
        try:
            check_batch(batch, len(rows))
        except BatchError as error:
            self._count(error.kind)
            return False
        return len(batch.readings) > 0 and len(rows) > 0

    def _accept(self, one: Fresh) -> bool:
        """Place the batch in time; False when it was seen before."""
        clock, batch = one.device.clock, one.batch
        lost, steps, was_lost = clock.lost_batches, clock.clock_steps, clock.lost
        verdict = arrive(clock, batch, len(batch.readings))
        size = slot_samples(batch.sample_period_us)
        if verdict is Arrival.NEXT and size == one.device.slot_samples:
            self._count("clock_steps", clock.clock_steps - steps)
            return True
        self._count("lost_batches", clock.lost_batches - lost)
        self._count("clock_steps", clock.clock_steps - steps)
        if verdict is Arrival.REPEATED:
            self._count("repeated")
            return False
        self._break(one, size, was_lost)
        clock.lost = False
        return True

    def _break(self, one: Fresh, size: int, was_lost: bool) -> None:
        """The samples do not follow those before: an open slot is dropped, levels compared."""
        plates = self.state.plates
        one.device.carry_g = np.zeros((0, 0))
        if one.device.slot_samples and not was_lost:
            self._count("gaps")
            lose(plates, one.plates, StepFlag.AFTER_GAP)
        one.device.slot_samples = size
        plates.slot_samples[one.plates] = size

    def _advance(self, slots: Slots, closed: list[Closed]) -> None:
        """Play the slots of these plates, oldest first; append what closes."""
        plates, layout, rows = self.state.plates, self._layout, slots.plates
        plates.slot_ns[rows] = slots.length_ns
        last = len(slots.mass_g) - 1
        quiet, open_, rest = _by_phase(plates, slots)
        for i, learn in enumerate(_learns(plates.count[rows], len(slots.mass_g))):
            opens = quiet.opens(i)
            if opens is not None:
                quiet.tell(i - 1)
                rest = np.concatenate([rest, quiet.which[opens]])
                quiet = QuietPlates(plates, slots, quiet.which[~opens], i)
            open_.tell(i)
            waits = layout.mixed and len(open_.which) > 0  # for plates of another device
            if self._advance_rest(slots, rest, i) or waits or open_.may_close(i):
                quiet.tell_times(i)
                self._close(closed)
                over = open_.closed()
                if np.count_nonzero(over):
                    rest = np.concatenate([rest, open_.which[over]])
                    open_ = OpenPlates(plates, slots, open_.which[~over], i + 1)
            if learn or i == last:
                quiet.tell(i)
            if learn:
                noise.learn(plates, rows, layout.bank, layout.bank_size, self.state.together)
            if learn and i < last:
                quiet = QuietPlates(plates, slots, quiet.which, i + 1)
                open_ = OpenPlates(plates, slots, open_.which, i + 1)

    def _advance_rest(self, slots: Slots, rest: Ints, i: int) -> bool:
        """Play slot i of these places of ``slots``; True when a change is open there."""
        if not len(rest):
            return False
        end_ns = slots.start_ns[rest] + (i + 1) * slots.length_ns[rest]
        rows, slot_g = slots.plates[rest], slots.mass_g[i, rest]
        return advance(self.state.plates, rows, slot_g, end_ns).size > 0

    def _close(self, closed: list[Closed]) -> None:
        """Close what is over."""
        over = close_changes(self.state.plates, self._layout, self.state.together)
        if over is not None:
            self._count("within_noise", over.within_noise)
            self._count("net_zero", over.net_zero)
            closed.append(over)

    def _count(self, what: str, n: int = 1) -> None:
        if n:
            self.state.counters[what] = self.state.counters.get(what, 0) + n


def _by_phase(plates: PlateState, slots: Slots) -> tuple[QuietPlates, OpenPlates, Ints]:
    """Plates whose masses are known in every slot, quiet or changing; and the other places."""
    known, phase = ~np.isnan(slots.mass_g).any(axis=0), plates.phase[slots.plates]
    quiet, changing = known & (phase == QUIET), known & (phase == CHANGING)
    rest = (~(quiet | changing)).nonzero()[0]
    return (
        QuietPlates(plates, slots, quiet.nonzero()[0]),
        OpenPlates(plates, slots, changing.nonzero()[0]),
        rest,
    )


def _learns(count: Ints, slots: int) -> list[bool]:
    """Which of the next slots is one at which some plate learns its noise."""
    ahead = noise.EVERY_SLOTS - count % noise.EVERY_SLOTS  # slots until a plate does
    due = set(ahead.tolist())
    return [1 + i % noise.EVERY_SLOTS in due for i in range(slots)]


def _steps_of(closed: list[Closed], made: int, layout: Layout) -> WeightSteps:
    """The closed changes as steps, in order of end, shelf and place on the shelf."""

    def joined(arrays: list[Ints]) -> Ints:
        return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])

    def joined_g(arrays: list[Floats]) -> Floats:
        return np.concatenate([np.zeros(0), *arrays])

    before = np.cumsum([0] + [len(c.shelf) for c in closed])
    step = joined([c.member_step + before[i] for i, c in enumerate(closed)])
    row = joined([c.member_row for c in closed])
    n = int(before[-1])
    share_g = np.zeros((2, n, len(layout.row)))
    share_g[0, step, layout.order[row]] = joined_g([c.member_g for c in closed])
    share_g[1, step, layout.order[row]] = joined_g([c.member_sd_g for c in closed])
    ended_ns, shelf = joined([c.ended_at_ns for c in closed]), joined([c.shelf for c in closed])
    first_row = np.full(n, len(layout.row), dtype=np.int64)
    np.minimum.at(first_row, step, row)
    order = np.lexsort((first_row, shelf, ended_ns))
    return WeightSteps(
        step_id=made + 1 + np.arange(n, dtype=np.int64),
        shelf=shelf[order],
        started_at_ns=joined([c.started_at_ns for c in closed])[order],
        ended_at_ns=ended_ns[order],
        mass_g=joined_g([c.mass_g for c in closed])[order],
        mass_sd_g=joined_g([c.mass_sd_g for c in closed])[order],
        plate_mass_g=share_g[0][order],
        plate_sd_g=share_g[1][order],
        flags=joined([c.flags for c in closed])[order],
    )
