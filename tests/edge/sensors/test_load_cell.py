"""Counts to grams, unknown readings, and batches that cannot be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shelf_signals import Signal, store

from edge.sensors.load_cell import (
    RAIL_HIGH,
    RAIL_LOW,
    BatchShapeError,
    BatchUnitError,
    calibration,
    check_batch,
    grams,
)
from messages.observations import PlateFlag

CONFIG = store(plates=4)
PLATES = np.arange(4)
CELLS = calibration(CONFIG, PLATES)
NO_FLAGS = np.zeros(4, dtype=np.uint8)


def test_counts_become_grams_by_each_plates_zero_and_span() -> None:
    counts = np.array([[1_000, 1_037, 1_074, 1_111], [2_000, 1_037, 74, 1_111]], dtype=np.int32)
    mass_g = grams(counts, NO_FLAGS, PLATES, "counts", CELLS)
    assert mass_g.tolist() == [[0, 0, 0, 0], [100, 0, -100, 0]]


def test_grams_pass_through_and_what_is_no_number_is_unknown() -> None:
    seen = np.array([[1.5, np.nan, np.inf, 3e38]], dtype=np.float32)
    mass_g = grams(seen, NO_FLAGS, PLATES, "grams", CELLS)
    assert mass_g[0, 0] == 1.5
    assert np.isnan(mass_g[0, 1:]).all()


@pytest.mark.parametrize("rail", [RAIL_HIGH, RAIL_LOW, 2**31 - 1, -(2**31)])
def test_count_at_a_rail_is_unknown(rail: int) -> None:
    counts = np.array([[rail, 5, 5, 5], [5, 5, 5, 5]], dtype=np.int32)
    mass_g = grams(counts, NO_FLAGS, PLATES, "counts", CELLS)
    assert np.isnan(mass_g).tolist() == [[True, False, False, False], [False] * 4]


@pytest.mark.parametrize("flag", list(PlateFlag))
def test_flagged_plate_is_unknown_in_the_whole_batch(flag: PlateFlag) -> None:
    flags = np.array([0, flag, 0, 0], dtype=np.uint8)
    mass_g = grams(np.zeros((3, 4), dtype=np.int32), flags, PLATES, "counts", CELLS)
    assert np.isnan(mass_g).all(axis=0).tolist() == [False, True, False, False]


def test_batches_of_another_shape_or_unit_are_named_errors() -> None:
    good = Signal(CONFIG, seconds=1).batches()[0]
    check_batch(good, 4)
    with pytest.raises(BatchShapeError, match="5 plates"):
        check_batch(good, 5)
    with pytest.raises(BatchShapeError):
        check_batch(replace(good, readings=good.readings[0].copy()), 4)
    with pytest.raises(BatchUnitError, match="pounds"):
        check_batch(replace(good, unit="pounds"), 4)
    with pytest.raises(BatchUnitError):
        check_batch(replace(good, unit="grams"), 4)
