"""Raw converter counts to grams, and which of them say nothing.

A reading is *unknown* when the node flags its plate (saturated, unplugged, stuck, overloaded), when
a count sits at a rail of the 24-bit converter, or when grams are not a finite number. Unknown
readings are NaN from here on: the plate's mass is not known, which is different from zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages.arrays import Bytes8, Floats, Ints, Readings, read_only
from messages.observations import PlateFlag, ShelfSamples
from messages.store_config import StoreConfig

RAIL_HIGH = 2**23 - 1  # 24-bit two's complement converters: HX711, ADS1232, NAU7802
RAIL_LOW = -(2**23)
UNKNOWN_FLAGS = int(
    PlateFlag.SATURATED | PlateFlag.UNPLUGGED | PlateFlag.STUCK | PlateFlag.OVERLOAD
)
SAMPLES_MAX = 4096  # of one batch: more than a minute at 60 Hz is no batch of ours
GRAMS_MAX = 1e6  # a tonne on one plate is no mass, but a broken number
PERIOD_MAX_US = 10_000_000  # slower than one sample in ten seconds is no weighing


class BatchError(ValueError):
    """A batch that cannot be read; the base of the kinds below. ``kind`` names its counter."""

    kind = "garbage"


class BatchShapeError(BatchError):
    """Readings or flags do not have one column for each plate of the device."""

    kind = "garbage_shape"


class BatchUnitError(BatchError):
    """Neither counts nor grams, or an array of numbers of another type."""

    kind = "garbage_unit"


class BatchClockError(BatchError):
    """A sample period, tick or sequence that no node sends."""

    kind = "garbage_clock"


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """Spans and zeros of all plates, (P,), in the order given to ``calibration``."""

    grams_per_count: Floats
    zero_counts: Ints

    def __post_init__(self) -> None:
        read_only(self.grams_per_count, self.zero_counts)


def calibration(config: StoreConfig, order: Ints) -> Calibration:
    """Calibration of the plates, row i being plate ``order[i]`` of the configuration."""
    plates = [config.plates[int(i)] for i in order]
    return Calibration(
        grams_per_count=np.array([p.grams_per_count for p in plates], dtype=np.float64),
        zero_counts=np.array([p.zero_counts for p in plates], dtype=np.int64),
    )


def check_batch(batch: ShelfSamples, plates: int) -> None:
    """Raise the named BatchError when the batch does not fit a device of so many plates."""
    readings, flags = batch.readings, batch.flags
    if readings.ndim != 2 or readings.shape[1] != plates or flags.shape != (plates,):
        raise BatchShapeError(f"{readings.shape} readings, {flags.shape} flags, {plates} plates")
    if len(readings) > SAMPLES_MAX:
        raise BatchShapeError(f"{len(readings)} samples in one batch, at most {SAMPLES_MAX}")
    if batch.unit not in ("counts", "grams"):
        raise BatchUnitError(f"unit {batch.unit!r}")
    if readings.dtype.kind != ("i" if batch.unit == "counts" else "f") or flags.dtype.kind != "u":
        raise BatchUnitError(f"{batch.unit} as {readings.dtype}, flags as {flags.dtype}")
    if not 0 < batch.sample_period_us <= PERIOD_MAX_US:
        raise BatchClockError(f"sample period of {batch.sample_period_us} us")


def grams(
    readings: Readings, flags: Bytes8, plates: Ints, unit: str, calibration: Calibration
) -> Floats:
    """Mass on each plate for each sample, NaN where unknown.

    Args:
        readings: (samples, k) counts or grams; flags: (k,); plates: (k,) rows of ``calibration``.

    Returns:
        (samples, k) grams.
    """
    if unit == "grams":
        mass_g = readings.astype(np.float64)
        bad = ~(np.abs(mass_g) < GRAMS_MAX)  # NaN compares false
    else:
        counts_over_zero = readings - calibration.zero_counts[plates]
        mass_g = counts_over_zero * calibration.grams_per_count[plates]
        bad = (readings >= RAIL_HIGH) | (readings <= RAIL_LOW)
    bad |= (flags & UNKNOWN_FLAGS) != 0
    if np.count_nonzero(bad):
        mass_g[bad] = np.nan
    return mass_g
