"""What a hand holds, on features made by hand: products are clouds, and so is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.product_recognition import (
    EMPTY_HAND,
    Crops,
    confusion,
    fitted,
    held_out,
    look_alikes,
    planogram_prior,
    probabilities,
    unknown_share,
)
from messages.arrays import Floats32, Ints
from messages.ids import Sku

D, PHOTOS = 40, 8
SKUS = (Sku("oat"), Sku("rye"), Sku("salt"))


def clouds(
    rng: np.random.Generator, centres: np.ndarray, each: int, spread: float
) -> tuple[Floats32, Ints]:
    label = np.repeat(np.arange(len(centres)), each)
    noise = spread * rng.standard_normal((len(label), centres.shape[1]))
    return (centres[label] + noise).astype(np.float32), label


def a_shop(spread: float = 0.25, seed: int = 0) -> tuple[Crops, np.ndarray]:
    """Three products, the first two alike, and nothing; each photo is a cloud of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, D)) / np.sqrt(D)
    centres[1] = centres[0] + 0.15 * rng.standard_normal(D) / np.sqrt(D)
    photos, label = clouds(rng, centres, PHOTOS, spread / 2)
    crops = np.repeat(photos, 2, axis=0) + spread / 4 * rng.standard_normal((8 * PHOTOS, D))
    return (
        Crops(
            skus=SKUS,
            features=crops.astype(np.float32),
            label=np.repeat(label, 2),
            photo=np.repeat(np.arange(len(label)), 2),
        ),
        centres,
    )


def test_what_differs_is_told_apart_and_what_is_alike_is_doubted() -> None:
    crops, centres = a_shop(0.12)
    looks = centres.astype(np.float32)
    found = probabilities(fitted(crops), looks)
    assert found.shape == (4, 3)
    assert found[2, 2] > 0.9
    assert found[3].sum() < 0.1  # nothing
    assert 0.3 < found[0, 0] < 0.97
    assert found[0, :2].sum() > 0.9


def test_probabilities_come_true_as_often_as_they_say() -> None:
    crops, centres = a_shop(0.4)
    looks, label = clouds(np.random.default_rng(5), centres, 400, 0.2)
    found = probabilities(fitted(crops), looks)
    said = np.hstack([found, 1.0 - found.sum(axis=1, keepdims=True)])
    balanced = np.where(label == 3, 3.0, 1.0) / 6.0  # half of the hands are empty
    balanced /= balanced.sum()
    right = said.argmax(axis=1) == label
    assert float((balanced * said.max(axis=1)).sum()) == pytest.approx(
        float((balanced * right).sum()), abs=0.08
    )
    assert 0.4 < right.mean() < 0.95  # it is a hard case


def test_the_shelf_near_the_hand_decides_between_what_looks_alike() -> None:
    crops, centres = a_shop(0.12)
    model = fitted(crops)
    look = ((centres[0] + centres[1]) / 2)[None].astype(np.float32)
    hand = np.array([[1.0, 0.0, 1.0]])
    facings = np.array([[1.0, 0.1, 1.0], [4.0, 0.1, 1.0], [4.5, 0.1, 1.0]])
    near_rye = planogram_prior(hand, facings, np.array([1, 0, 2]), 3)
    near_oat = planogram_prior(hand, facings, np.array([0, 1, 2]), 3)
    assert probabilities(model, look, near_rye)[0].argmax() == 1
    assert probabilities(model, look, near_oat)[0].argmax() == 0


def test_the_prior_leaves_room_for_an_empty_hand_and_for_goods_from_elsewhere() -> None:
    facings = np.array([[0.0, 0.0, 1.0], [9.0, 0.0, 1.0], [0.2, 0.0, 1.0]])
    prior = planogram_prior(
        np.array([[0.0, 0, 1], [500.0, 0, 1]]), facings, np.array([0, 1, -1]), 2
    )
    assert prior.sum(axis=1) == pytest.approx([1 - EMPTY_HAND] * 2)
    assert prior[0, 0] > 0.45
    assert prior[0, 1] == pytest.approx(0.5 * 0.1 / 2)
    assert prior[1] == pytest.approx([0.25, 0.25])  # far from every shelf: anything


def test_the_share_of_goods_near_a_hand_that_are_not_enrolled_is_known() -> None:
    hands = np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [0.15, 0.0, 1.0]])
    facings = np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [0.3, 0.0, 1.0]])
    share = unknown_share(hands, facings, np.array([0, -1, -1]))
    assert share[0] < 0.5 < share[1]
    assert share[1] == pytest.approx(1.0)
    assert share[2] == pytest.approx(0.5)
    assert unknown_share(np.zeros((0, 3)), facings, np.array([0, 1, 2])).shape == (0,)


def test_held_out_scores_never_saw_the_photo_they_judge() -> None:
    """A class whose photos have nothing in common is right when seen and wrong when held out."""
    rng = np.random.default_rng(2)
    photos = rng.standard_normal((16, 60)).astype(np.float32)
    crops = Crops(
        skus=(Sku("a"),),
        features=np.repeat(photos, 3, axis=0),
        label=np.repeat([0, 1] * 8, 3),
        photo=np.repeat(np.arange(16), 3),
    )
    scores, label = held_out(crops)
    assert len(label) == 48
    assert (scores.argmax(axis=1) == label).mean() < 0.8
    seen = probabilities(fitted(crops), crops.features)
    assert 0.2 < seen.mean() < 0.8  # and so it claims little


def test_two_products_that_look_the_same_are_named() -> None:
    crops, _ = a_shop(0.02)
    pairs = look_alikes(crops)
    assert [(a, b) for a, b, _ in pairs] == [("oat", "rye")]
    assert pairs[0][2] > 0.95
    table = confusion(replace(crops, features=np.array(crops.features)))
    assert table.sum(axis=1) == pytest.approx(1.0)
    assert table[2, 2] == 1.0


def test_no_hand_and_one_photo_each_are_fine() -> None:
    crops, _ = a_shop()
    one = crops.only(np.isin(crops.photo, [0, 8, 16, 24]))
    model = fitted(one)
    assert probabilities(model, np.zeros((0, D), np.float32)).shape == (0, 3)
    assert np.isfinite(probabilities(model, one.features)).all()
    assert planogram_prior(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, int), 3).shape == (0, 3)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(3)), st.floats(-0.3, 0.3))
def test_the_order_of_products_means_nothing(order: list[int], shift: float) -> None:
    crops, centres = a_shop()
    new = np.array([*np.argsort(order), 3])
    other = replace(crops, skus=tuple(SKUS[i] for i in order), label=new[crops.label])
    looks = (centres + shift).astype(np.float32)
    one, two = probabilities(fitted(crops), looks), probabilities(fitted(other), looks)
    assert two == pytest.approx(one[:, order], abs=2e-3)  # folds are of photos, not of products
