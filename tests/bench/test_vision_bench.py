"""The vision bench: its judge on boxes worked out by hand, its load on the real processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import bench.vision
import bench.vision_load
from bench.vision_truth import judged, true_boxes
from edge.cameras.models.install import install
from edge.vision.detectors.found import Found

HERE = [10.0, 10.0, 20.0, 30.0]
THERE = [50.0, 10.0, 60.0, 30.0]


def found(boxes: list[list[float]], scores: list[float]) -> Found:
    return Found(np.array(boxes, dtype=float).reshape(-1, 4), np.array(scores, dtype=float))


def test_a_person_is_found_once_and_a_second_box_is_a_false_one() -> None:
    truth = {1: np.array([HERE, THERE]), 2: np.array([HERE])}
    seen = {1: found([HERE, HERE], [0.9, 0.8]), 2: found([HERE], [0.7])}
    row = judged(seen, truth)
    assert row.people == 3
    assert row.hit.tolist() == [True, False, True]
    assert row.recall_from(0.75) == (pytest.approx(1 / 3), 0.5)
    assert row.recall_at_precision(0.9) == pytest.approx(1 / 3)
    assert row.average_precision() == pytest.approx((1 + 2 / 3) / 3)


def test_nobody_found_and_nobody_there_are_fine() -> None:
    row = judged({1: found([], []), 2: found([HERE], [0.5])}, {1: np.array([HERE])})
    assert row.average_precision() == 0.0
    assert judged({1: found([], [])}, {}).recall_from(0.3) == (0.0, 1.0)


def test_truth_is_read_as_corners(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("2,9,10,10,10,20,1,-1,-1,-1\n2,15,50,10,10,20,1,-1,-1,-1\n")
    assert true_boxes(path)[2].tolist() == [HERE, THERE]


def test_an_empty_aisle_costs_far_fewer_looks_than_a_full_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(["movenet-multi"])
    subprocess.run([bench.vision.VIDEO.parent / "get-video.sh"], check=True, timeout=300)
    monkeypatch.setattr(bench.vision_load, "SECONDS", 4.0)
    monkeypatch.setattr(bench.vision_load, "WARM_S", 4.0)
    monkeypatch.setattr(bench.vision_load, "EMPTY_IMAGES", 80)
    row = bench.vision_load.load(bench.vision.VIDEO, 1, model="movenet-multi", cpu_cores=2.0)
    assert row["packets_per_s"] > row["looks_per_s"] > 0
    assert row["cores"] >= row["cores_nets"] > 0


def test_a_missing_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(bench.vision.BenchError, match=r"gt\.txt is missing; --data names a folder"):
        bench.vision._truth(tmp_path)
