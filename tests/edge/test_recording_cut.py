"""A cut in the middle replays by itself and keeps the truth of whole visits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recordings import record, replayed, small_day

from edge.recording import Recording, RecordingError
from edge.recording_cut import cut
from edge.recording_info import Survey

TRUTH = {
    "visits": [
        {"visit": "a", "credential": "a", "entered_at_s": 1.0, "exited_at_s": 9.0, "lines": []},
        {"visit": "b", "credential": "b", "entered_at_s": 8.5, "exited_at_s": 14.0, "lines": []},
        {"visit": "c", "credential": "c", "entered_at_s": 9.0, "exited_at_s": None, "lines": []},
    ],
    "actions": [
        {"t_s": 3.0, "kind": "take", "visit": "a", "to_visit": None},
        {"t_s": 8.8, "kind": "hand_over", "visit": "a", "to_visit": "b"},
        {"t_s": 9.9, "kind": "take", "visit": "c", "to_visit": None},
    ],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("day") / "x.mcap"
    return Recording.open(record(small_day(), path, truth=json.dumps(TRUTH).encode(), scene=True))


def lines_of(first_step: int, last_step: int) -> list[bytes]:
    return [line for step in small_day().events[first_step - 1 : last_step] for line in step]


def test_a_cut_in_the_middle_replays_to_the_same_events(whole: Recording, tmp_path: Path) -> None:
    found = cut(whole, "8", "15.5", tmp_path / "y.mcap")
    assert (found.first_step, found.steps) == (80, 76)
    piece = Recording.open(tmp_path / "y.mcap")
    assert piece.snapshot is not None
    assert piece.snapshot.step == 79
    assert replayed(piece) == lines_of(80, 155)
    assert lines_of(80, 155)


def test_a_cut_of_a_cut_is_the_cut(whole: Recording, tmp_path: Path) -> None:
    cut(whole, "5", "18", tmp_path / "y.mcap")
    cut(Recording.open(tmp_path / "y.mcap"), "8", "15.5", tmp_path / "z.mcap")
    assert replayed(Recording.open(tmp_path / "z.mcap")) == lines_of(80, 155)


def test_a_cut_from_the_start_needs_no_snapshot(whole: Recording, tmp_path: Path) -> None:
    found = cut(whole, "+0", "+4.9", tmp_path / "y.mcap")
    piece = Recording.open(tmp_path / "y.mcap")
    assert (found.steps, piece.snapshot) == (50, None)
    assert replayed(piece) == lines_of(1, 50)


def test_live_events_and_the_scene_are_cut_alike(whole: Recording, tmp_path: Path) -> None:
    cut(whole, "8", "15.5", tmp_path / "y.mcap")
    piece = Recording.open(tmp_path / "y.mcap")
    kept = [o.message.id for o in whole.live_events() if 80 <= o.step <= 155]
    assert [o.message.id for o in piece.live_events()] == kept
    topics = {row["topic"]: row["messages"] for row in Survey(piece).document()["topics"]}
    assert 36 <= topics["/scene"] <= 39


def test_truth_keeps_the_visits_that_lie_wholly_inside(whole: Recording, tmp_path: Path) -> None:
    assert cut(whole, "8", "15.5", tmp_path / "y.mcap").visits == 1
    truth = json.loads(Recording.open(tmp_path / "y.mcap").attachments["truth.json"])
    assert [visit["visit"] for visit in truth["visits"]] == ["b"]
    assert [action["t_s"] for action in truth["actions"]] == [8.8]


def test_an_empty_or_wrong_span_is_refused(whole: Recording, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no step from 15 to 8"):
        cut(whole, "15", "8", tmp_path / "y.mcap")
    with pytest.raises(RecordingError, match="no step from 500"):
        cut(whole, "500", "600", tmp_path / "y.mcap")
    with pytest.raises(ValueError, match="no number of seconds"):
        cut(whole, "soon", "8", tmp_path / "y.mcap")
    with pytest.raises(RecordingError, match="the recording itself"):
        cut(whole, "1", "8", whole.path)
    assert not (tmp_path / "y.mcap").exists()


def test_info_tells_devices_rates_events_and_attachments(whole: Recording) -> None:
    found = Survey(whole).document()
    assert found["store"] == "scaled"
    assert found["duration_s"] == pytest.approx(19.9)
    assert (found["steps"]["count"], found["steps"]["missing"]) == (200, [])
    assert found["has_truth"]
    assert [row["name"] for row in found["attachments"]] == ["store.toml", "truth.json"]
    shelves = [row for row in found["topics"] if row["topic"].startswith("/shelf/")]
    assert all(4 < row["rate_hz"] < 6 for row in shelves)
    assert sum(found["events"].values()) == sum(map(len, small_day().events))
    assert found["gaps"] == []
    assert json.loads(json.dumps(found)) == found
