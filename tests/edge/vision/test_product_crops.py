"""Crops: where a hand is in an image, what its colours are."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.product_crops import (
    COLOURS,
    colours,
    crop_about,
    hands_px,
    middle,
    varied,
)


def plain(colour: tuple[int, int, int], side: int = 80) -> np.ndarray:
    return np.full((side, side, 3), colour, dtype=np.uint8)


def test_red_is_not_green_and_light_matters_little() -> None:
    red, dim, green = (colours(plain(c)) for c in ((40, 40, 200), (34, 34, 170), (40, 200, 40)))
    assert red.shape == (COLOURS,)
    assert np.linalg.norm(red) == pytest.approx(1.0, abs=1e-6)
    assert red @ green == pytest.approx(0.0, abs=1e-6)
    mixed = np.vstack([plain((40, 40, 200), 40)[:, :40], plain((40, 200, 40), 40)[:, :40]])
    assert colours(mixed) @ red > 0.4
    assert dim @ red >= 0.0


def test_a_red_cap_above_is_not_a_red_cap_below() -> None:
    red, green = plain((40, 40, 200)), plain((40, 200, 40))
    above, below = np.vstack([red, green]), np.vstack([green, red])
    assert colours(above) @ colours(below) < 0.1


def test_a_hand_is_beyond_its_wrist_and_unseen_ones_are_unknown() -> None:
    points = np.zeros((1, 17, 3))
    points[0, 7], points[0, 9] = (100, 100, 0.9), (150, 100, 0.9)  # left elbow and wrist
    points[0, 10] = (300, 200, 0.9)  # right wrist, its elbow not seen
    assert hands_px(points)[0].tolist() == [[170.0, 100.0], [300.0, 200.0]]
    points[0, 10, 2] = 0.05
    assert np.isnan(hands_px(points)[0, 1]).all()


def test_a_crop_has_its_size_even_at_the_images_rim() -> None:
    image = np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3)
    inside = crop_about(image, np.array([40.0, 30.0]), 40)
    assert inside is not None
    assert (inside == image[10:50, 20:60]).all()
    rim = crop_about(image, np.array([0.0, 59.0]), 40)
    assert rim is not None
    assert rim.shape == (40, 40, 3)
    assert (rim[:20, 20:] == image[39:59, :20]).all()


@pytest.mark.parametrize(
    ("at", "side"),
    [((np.nan, 3.0), 50.0), ((500.0, 3.0), 50.0), ((9.0, 9.0), 12.0), ((9, 9), np.nan)],
)
def test_a_hand_that_is_not_in_the_image_or_too_small_gives_no_crop(
    at: tuple[float, float], side: float
) -> None:
    assert crop_about(plain((1, 2, 3), 60), np.array(at), side) is None


def test_a_photo_is_varied_the_same_way_each_time_and_stays_a_picture() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    assert middle(photo).shape == (68, 68, 3)
    one, two = (varied(photo, np.random.default_rng(3)) for _ in range(2))
    assert (one == two).all()
    assert one.dtype == np.uint8
    assert one.shape[0] == one.shape[1]
    assert varied(np.zeros((2, 2, 3), np.uint8), np.random.default_rng(1)).ndim == 3
