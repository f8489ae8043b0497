"""Colours of six bands tell people apart for a while, and bad boxes say nothing."""

import numpy as np
import pytest

from edge.vision.colour_stripes import BANDS, OF_BAND, colour_stripes

SHOPPERS = (  # colours from head to feet, blue first
    [(60, 90, 160), (20, 20, 180), (20, 20, 180), (120, 60, 20), (120, 60, 20), (30, 30, 30)],
    [(60, 90, 160), (40, 160, 60), (40, 160, 60), (40, 40, 40), (40, 40, 40), (200, 200, 200)],
    [(90, 120, 190), (200, 190, 60), (200, 190, 60), (70, 110, 150), (70, 110, 150), (20, 20, 60)],
)


def image_of(shoppers, light: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of people side by side before a grey wall, and their boxes."""
    rng = np.random.default_rng(seed)
    image = np.full((160, 80 * len(shoppers), 3), 128.0)
    boxes = []
    for k, colours in enumerate(shoppers):
        left = 80 * k + 20
        for band, colour in enumerate(colours):
            image[20 + 20 * band : 40 + 20 * band, left : left + 40] = colour
        boxes.append((left, 20, left + 40, 140))
    image = light * image + rng.normal(0.0, 12.0, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), np.array(boxes, dtype=np.float64)


def test_the_nearest_vector_of_a_darker_image_is_the_same_person() -> None:
    before = colour_stripes(*image_of(SHOPPERS, 1.0, 1))
    after = colour_stripes(*image_of(SHOPPERS, 0.75, 2))
    assert before.shape == (3, BANDS * OF_BAND)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (before, after)]
    likeness = unit[0] @ unit[1].T
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2]
    assert np.diag(likeness).min() > likeness[~np.eye(3, dtype=bool)].max() + 0.2


@pytest.mark.parametrize(
    "box",
    [(500, 20, 540, 140), (10, 10, 12, 140), (-50, -50, -10, -10), (np.nan, 0, 40, 90)],
)
def test_a_box_outside_the_image_or_without_size_gives_zeros(box) -> None:
    image, _ = image_of(SHOPPERS, 1.0, 1)
    assert not colour_stripes(image, np.array([box], dtype=np.float64)).any()


def test_nobody_gives_no_vectors() -> None:
    image, _ = image_of(SHOPPERS, 1.0, 1)
    assert colour_stripes(image, np.zeros((0, 4))).shape == (0, BANDS * OF_BAND)
