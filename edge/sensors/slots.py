"""Samples to slots: the mean of each plate over about 50 ms, whatever the batches were.

A slot is a fixed number of consecutive samples of one device (three at 60 Hz), counted from the
last gap, so the way samples were cut into batches changes nothing. Samples left over wait in
``DeviceState.carry_g`` for the next batch. Batches of equal shape are converted as one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from edge.sensors.clock_sync import DeviceClock
from edge.sensors.load_cell import Calibration, grams
from messages.arrays import Floats, Ints
from messages.observations import ShelfSamples

SLOT_US = 50_000  # 20 a second: fine enough to time a pick, and averages three samples at 60 Hz


@dataclass(slots=True)
class DeviceState:
    """What must be remembered of one shelf node."""

    clock: DeviceClock = field(default_factory=DeviceClock)
    slot_samples: int = 0  # samples of one slot at the device's rate
    carry_g: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # samples of an open slot


class Fresh(NamedTuple):
    """One accepted batch: its device, and the rows of the device's plates."""

    device: DeviceState
    batch: ShelfSamples
    plates: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Consecutive slots of several devices: ``mass_g`` (s, k), NaN where unknown."""

    plates: Ints  # (k,)
    mass_g: Floats
    start_ns: Ints  # (k,) of the first slot
    length_ns: Ints  # (k,) of one slot
    samples: int  # of one slot


@cache
def slot_samples(sample_period_us: int) -> int:
    """How many samples make a slot: 3 at 60 Hz, 4 at 80 Hz, 1 at 10 Hz."""
    return max(1, round(SLOT_US / sample_period_us))


def slots_of(fresh: Sequence[Fresh], calibration: Calibration) -> list[Slots]:
    """The slots that the batches, one of each device, complete."""
    alike: dict[tuple[int, int, int, str], list[Fresh]] = {}
    for one in fresh:
        rows = len(one.batch.readings)
        key = (one.device.slot_samples, len(one.device.carry_g), rows, one.batch.unit)
        alike.setdefault(key, []).append(one)
    made = (_group(group, calibration) for group in alike.values())
    return [slots for slots in made if len(slots.mass_g)]


def _group(group: list[Fresh], calibration: Calibration) -> Slots:
    """Slots of batches that are alike in rate, unit, length and carried samples."""
    first = group[0]
    carried, size = len(first.device.carry_g), first.device.slot_samples
    plates = np.concatenate([one.plates for one in group])
    readings = np.concatenate([one.batch.readings for one in group], axis=1)
    flags = np.concatenate([one.batch.flags for one in group])
    mass_g = grams(readings, flags, plates, first.batch.unit, calibration)
    if carried:
        mass_g = np.concatenate([_carried(group), mass_g])
    whole = len(mass_g) // size * size
    if carried or whole < len(mass_g):
        _carry(group, mass_g[whole:])
    widths = [len(one.plates) for one in group]
    period_ns = np.array([one.batch.sample_period_us for one in group], dtype=np.int64) * 1000
    first_ns = np.array([one.device.clock.first_ns for one in group], dtype=np.int64)
    slots = mass_g[:whole].reshape(whole // size, size, len(plates))
    return Slots(
        plates=plates,
        mass_g=np.add.reduce(slots, axis=1) / size,
        start_ns=(first_ns - carried * period_ns).repeat(widths),
        length_ns=(period_ns * size).repeat(widths),
        samples=size,
    )


def _carried(group: list[Fresh]) -> Floats:
    return np.concatenate([one.device.carry_g for one in group], axis=1)


def _carry(group: list[Fresh], left_g: Floats) -> None:
    edges = np.cumsum([len(one.plates) for one in group])[:-1]
    for one, part in zip(group, np.split(left_g, edges, axis=1), strict=True):
        one.device.carry_g = np.ascontiguousarray(part)
