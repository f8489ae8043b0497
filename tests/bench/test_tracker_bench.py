"""The tracker benchmark without peers on short scenes: figures, notes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import tracker as bench
from bench.tracker_daemon import daemon_step
from bench.tracker_peers import overlaps, sequence
from bench.tracker_scene import IMAGE_PX, scene
from walkout import app


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIZES", (10, 300))
    monkeypatch.setattr(bench, "IMAGES", 12)
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.delenv("WALKOUT_MOT_DATA", raising=False)


def test_the_scene_is_the_same_every_time_and_what_it_says():
    one, again = scene(100, 20), scene(100, 20)
    np.testing.assert_array_equal(one.boxes, again.boxes)
    assert 20 * 100 * 0.88 < one.counts.sum() < 20 * 100 * 0.96
    centre = (one.boxes[:, :2] + one.boxes[:, 2:]) / 2
    assert ((centre > 0) & (centre < IMAGE_PX)).all()
    inside = (one.floor_m > -5) & (one.floor_m < [45, 30])
    assert inside.mean() > 0.99


def test_without_peers_there_are_times_and_a_note():
    found = bench.run(peers=False)
    figures = found["figures"]
    assert 0 < figures["ms_per_update_10"] < figures["ms_per_update_300"]
    assert figures["floor_ms_per_update_300"] > 0
    assert figures["daemon_ms_per_update_300"] > figures["ms_per_update_300"]
    assert found["peers"] == {}
    assert "ratio_to_fastest_peer_300" not in figures
    assert "no accuracy" in found["machine"]["note"]
    assert sum(found["where_time_goes"].values()) == pytest.approx(1.0, abs=0.01)


def _as_data(told) -> dict[str, np.ndarray]:
    return {
        "boxes": told.boxes,
        "scores": told.scores,
        "person": told.person,
        "counts": told.counts,
    }


def test_in_the_daemon_everybody_in_the_scene_is_somebody():
    told = scene(12, 30)
    ready, update = daemon_step(_as_data(told))
    ends = np.cumsum(told.counts)
    for k, (start, end) in enumerate(zip(ends - told.counts, ends, strict=True)):
        update(*ready(k, slice(start, end)))
    tracker = update.__self__
    assert len(tracker.state.visits) >= 12
    named = tracker.tracks.identity[:, :-1].max(axis=1) > 0.9
    assert named.sum() >= 11
    assert tracker.state.people.looks.used


def test_sequences_are_found_in_both_usual_places(tmp_path: Path):
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    for folder in (flat, nested / "det", nested / "gt"):
        folder.mkdir(parents=True)
    line = "1,-1,10,10,5,9,0.9\n"
    for file in (flat / "det.txt", flat / "gt.txt", nested / "det/det.txt", nested / "gt/gt.txt"):
        file.write_text(line)
    assert [s.name for s in bench.sequences(tmp_path)] == ["flat", "nested"]
    with pytest.raises(ValueError, match=r"no folder with det\.txt"):
        bench.sequences(flat)


def test_a_peer_that_cannot_be_installed_fails_the_bench(monkeypatch, capsys, tmp_path):
    (tmp_path / "bad.txt").write_text("this is no requirement\n")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "ENVIRONMENTS", {"bad.txt": ("motpy",)})
    assert bench.main(json_output=True) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "installing the peers of bench/bad.txt failed" in said.err


def test_what_the_judge_gets_is_truth_and_result_frame_by_frame(tmp_path: Path):
    truth, result = tmp_path / "gt.txt", tmp_path / "out.txt"
    truth.write_text("1,7,0,0,10,10,1,-1,-1,-1\n2,7,0,0,10,10,1,-1,-1,-1\n1,9,5,5,9,9,0,-1,-1,-1\n")
    result.write_text("1,4,0,0,10,10,1,-1,-1,-1\n2,5,5,0,10,10,1,-1,-1,-1\n")
    data = sequence(str(truth), str(result))
    assert (data["num_gt_dets"], data["num_gt_ids"], data["num_tracker_ids"]) == (2, 1, 2)
    assert [ids.tolist() for ids in data["tracker_ids"]] == [[0], [1]]
    assert [float(s[0, 0]) for s in data["similarity_scores"]] == pytest.approx([1.0, 1 / 3])


def test_boxes_apart_do_not_overlap():
    box, aside = np.array([[1, 1, 0.0, 0, 4, 4]]), np.array([[1, 1, 4.0, 0, 4, 4]])
    assert overlaps(box, aside)[0, 0] == 0.0


def test_options_of_the_tracker_bench_are_refused_elsewhere():
    said = CliRunner().invoke(app, ["bench", "pipeline", "--no-peers"])
    assert said.exit_code == 2
    assert "for the tracker bench" in said.output
