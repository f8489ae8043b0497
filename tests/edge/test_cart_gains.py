"""Plates whose gain is learned from what is sold."""

import numpy as np
import pytest

from edge.carts.gains import UNKNOWN, Gain, Weighing, after_weighing, known_gains, true_mass
from edge.sensors.shelf_changes import SPAN_SD
from messages.ids import PlateId

PLATES = (PlateId("p1"), PlateId("p2"), PlateId("p3"))


def weighing(true_g: float, gains: tuple[float, ...], share: tuple[float, ...]) -> Weighing:
    plates = true_g * np.array(share) * np.array(gains)
    return Weighing(plate_mass_g=plates, mass_g=float(plates.sum()), noise_sd_g=1.0)


def test_sales_teach_the_gain_of_the_plates_that_saw_them():
    gains: dict[PlateId, Gain] = {}
    for _ in range(6):
        seen = weighing(400.0, (1.06, 0.95, 1.0), (0.9, 0.1, 0.0))
        gains = after_weighing(gains, PLATES, seen, 400.0, 4.0, 1)
    assert gains[PLATES[0]].mean == pytest.approx(1.06, abs=0.015)
    assert gains[PLATES[0]].sd < 0.4 * SPAN_SD
    assert gains[PLATES[1]].sd > 0.85 * SPAN_SD  # a tenth of the item tells little
    assert PLATES[2] not in gains


def test_goods_of_unsure_mass_teach_little():
    seen = weighing(200.0, (1.08, 1.0, 1.0), (1.0, 0.0, 0.0))
    after = after_weighing({}, PLATES, seen, 200.0, 40.0, 1)
    assert after[PLATES[0]].mean == pytest.approx(1.0, abs=0.01)


def test_a_mass_that_cannot_be_this_product_teaches_nothing():
    seen = weighing(300.0, (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    assert after_weighing({}, PLATES, seen, 200.0, 2.0, 1) == {}


def test_nothing_on_the_plates_teaches_nothing():
    nothing = Weighing(plate_mass_g=np.zeros(3), mass_g=0.0, noise_sd_g=1.0)
    assert after_weighing({}, PLATES, nothing, 200.0, 2.0, 1) == {}


def test_an_unknown_plate_leaves_a_step_as_it_was():
    plates, sd = np.array([-380.0, -20.0, 0.0]), np.hypot(2.0, SPAN_SD * np.array([380.0, 20, 0]))
    mass_sd = float(np.hypot(3.0, SPAN_SD * 400.0))
    mean, spread = known_gains({}, PLATES)
    result = true_mass(-400.0, mass_sd, plates, sd, mean, spread)
    assert result[0] == pytest.approx(-400.0)
    assert result[1] == pytest.approx(mass_sd)
    assert np.allclose(result[2], plates)
    assert np.allclose(result[3], sd)


def test_a_known_plate_gives_the_true_mass_with_less_doubt():
    gains = {PLATES[0]: Gain(mean=1.05, sd=0.006)}
    plates = np.array([-420.0, 0.0, 0.0])
    sd = np.hypot(2.0, SPAN_SD * np.abs(plates))
    mean, spread = known_gains(gains, PLATES)
    mass, mass_sd, _, _ = true_mass(-420.0, float(sd[0]), plates, sd, mean, spread)
    assert mass == pytest.approx(-400.0)
    assert mass_sd < 4.0
    assert UNKNOWN.sd * 400.0 == pytest.approx(16.0)
