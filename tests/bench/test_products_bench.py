"""The products bench: its measure on answers made by hand, itself on few goods."""

from __future__ import annotations

import numpy as np
import pytest

import bench.products
from edge.cameras.models.install import install


def test_who_says_ninety_percent_and_is_right_half_the_time_is_off_by_forty() -> None:
    said, right = np.full(100, 0.9), np.arange(100) % 2 == 0
    assert bench.products.calibration_error(said, right) == pytest.approx(0.4)
    honest = np.concatenate([np.full(50, 0.5), np.ones(50)])
    assert bench.products.calibration_error(honest, np.r_[np.arange(50) % 2 == 0, [True] * 50]) == 0
    assert bench.products.calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_drawn_goods_are_recognised_far_better_than_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(["efficientnet-lite0"])
    for name, few in (("PRODUCTS", 6), ("PHOTOS", 5), ("NOTHINGS", 15), ("CROPS", 2), ("HOLDS", 2)):
        monkeypatch.setattr(bench.products, name, few)
    monkeypatch.setattr(bench.products, "PICTURES", 6)
    monkeypatch.setattr(bench.products, "EMPTY", 20)
    found = bench.products.run((5,))
    figures = found["figures"]
    assert figures["top1"] > 0.4  # of six: chance is 0.17
    assert figures["brand_top1"] > 0.75
    assert figures["false_in_hand"] < 0.35
    assert figures["ece"] < 0.3
    assert figures["ms_per_crop"] > 0
    assert -1 <= figures["alike_two_cameras"] <= 1
    assert set(found["peers"]) == {"embedding alone", "colours alone"}
    assert found["machine"]["goods"] == "drawn, not real"
