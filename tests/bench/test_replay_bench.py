"""The replay benchmark on a few seconds: every way of replaying gives figures, and they add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import replay as bench
from edge.recording import Recording
from messages.codec import encode
from sim.replay import replay


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "recording.mcap"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "WARM_S", 3)
        patch.setattr(bench, "TIMED_S", 4)
        bench.record(path)
    return path


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TIMED_S", 4)
    monkeypatch.setattr(bench, "PEER_S", 1)
    monkeypatch.setattr(bench, "on_one_core", lambda: None)


def test_the_recording_goes_on_where_its_snapshot_ends(recording: Path) -> None:
    found = Recording.open(recording)
    steps = list(found.steps())
    assert found.snapshot is not None
    assert steps[0].step == found.snapshot.step + 1 == 31
    assert len(steps) == 40


def test_the_measured_replay_is_the_replay_and_where_time_goes_adds_up(recording: Path) -> None:
    found = bench.child(recording, "replay")
    assert found["figures"]["events"] == len(replay(recording).events)
    assert found["figures"]["realtime_factor"] > 0
    assert found["figures"]["peak_rss_mb"] > 10
    assert sum(found["where_time_goes"].values()) == pytest.approx(1.0, abs=0.01)
    assert {"people", "sensors", "read and decode"} <= set(found["where_time_goes"])


@pytest.mark.parametrize("peer", ["one_observation_a_step", "json_lines"])
def test_each_peer_gives_its_factor(recording: Path, peer: str) -> None:
    assert bench.child(recording, peer)["figures"]["realtime_factor"] > 0


def test_the_peers_lines_hold_the_same_observations(recording: Path) -> None:
    steps = [step for step in Recording.open(recording).steps()][:10]
    again = list(bench._from_json(bench._as_json(steps)))
    assert [[encode(one) for one in step.observations] for step in again] == [
        [encode(one) for one in step.observations] for step in steps
    ]
