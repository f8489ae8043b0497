"""Heads are made unrecognisable wherever a person was found."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.detectors.found import Found
from edge.vision.head_blur import CELLS, all_blurred, blurred, heads

NOISE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
BOX = np.array([[100.0, 40.0, 160.0, 220.0]])


def test_a_head_is_the_top_of_the_box_where_no_face_is_seen() -> None:
    (head,) = heads(Found(BOX, np.array([0.9])))
    assert head[1] < 40 < head[3] < 100
    assert head[0] < 115
    assert head[2] > 145


def test_a_face_that_is_seen_is_covered_even_outside_the_box() -> None:
    """Somebody who leans: the box is wrong, the face is not."""
    points = np.zeros((1, 17, 3))
    points[0, :5] = [(60, 60, 0.9), (66, 54, 0.9), (54, 54, 0.8), (72, 58, 0.7), (48, 58, 0.1)]
    (head,) = heads(Found(BOX, np.array([0.9]), points))
    assert head[0] <= 48
    assert head[1] <= 46
    assert head[2] >= 145  # the top of the box as well
    one = points.copy()
    one[0, 1:5, 2] = 0.0  # a single point is no face
    assert heads(Found(BOX, np.array([0.9]), one)) == pytest.approx(
        heads(Found(BOX, np.array([0.9])))
    )


def test_what_is_left_of_a_head_is_a_few_colours_and_the_rest_is_as_it_was() -> None:
    result = blurred(NOISE, np.array([[100.0, 40.0, 160.0, 90.0]]))
    head = result[40:90, 100:160].astype(float)
    assert head.std() < 0.35 * NOISE[40:90, 100:160].std()
    steps = np.abs(np.diff(head, axis=1))
    assert steps.max() < 255 * CELLS / 60 + 2  # nothing finer than its cells
    outside = result.copy()
    outside[40:90, 100:160] = NOISE[40:90, 100:160]
    assert (outside == NOISE).all()
    assert result is not NOISE


def test_rectangles_beyond_the_image_and_none_at_all_are_fine() -> None:
    wild = np.array([[-50.0, -50.0, 20.0, 20.0], [310.0, 230.0, 900.0, 900.0], [5, 5, 5, 5]])
    result = blurred(NOISE, np.vstack([wild, np.full((1, 4), np.nan)]))
    assert result.shape == NOISE.shape
    assert (result[:20, :20] != NOISE[:20, :20]).any()
    assert (blurred(NOISE, np.zeros((0, 4))) == NOISE).all()
    assert heads(Found(np.zeros((0, 4)), np.zeros(0))).shape == (0, 4)


def test_an_image_of_unknown_people_keeps_nothing_but_light() -> None:
    result = all_blurred(NOISE)
    assert result.shape == NOISE.shape
    assert np.abs(np.diff(result.astype(int), axis=1)).max() < 40
