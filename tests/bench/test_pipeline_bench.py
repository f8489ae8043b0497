"""The pipeline benchmark on a few seconds: its bytes decode to what was observed, figures exist."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import measured, pipeline
from messages.observations import ClockAnchor, PersonDetections, ShelfSamples


@pytest.fixture(scope="module")
def recording() -> pipeline.Recording:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "WARM_S", 1)
        patch.setattr(pipeline, "TIMED_S", 2)
        return pipeline.record()


def test_recorded_bytes_decode_to_what_devices_send(recording: pipeline.Recording) -> None:
    decoder = pipeline.Decoder()
    seen = [x for _, wires in recording.steps for x in decoder.observations(wires)]
    shelves = [x for x in seen if isinstance(x, ShelfSamples)]
    assert len(shelves) == pytest.approx(3 * 30 * 5, rel=0.1)
    assert sum(x.readings.shape[1] for x in shelves[:30]) > 300
    assert sum(isinstance(x, PersonDetections) for x in seen) == pytest.approx(3 * 60, rel=0.1)
    assert any(isinstance(x, ClockAnchor) for x in seen)


def test_both_runs_give_the_same_events_and_where_time_goes_adds_up(
    recording: pipeline.Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "WARM_S", 1)
    monkeypatch.setattr(pipeline, "TIMED_S", 2)
    found = [
        asyncio.run(
            pipeline._pipeline(
                recording.toml, recording.steps, tmp_path / "journal.db", journalled=journalled
            )
        )
        for journalled in (True, False)
    ]
    assert found[0]["figures"]["events"] == found[1]["figures"]["events"]
    assert found[0]["figures"]["realtime_factor"] > 0
    assert found[0]["figures"]["peak_rss_mb"] > 10
    for run in found:
        assert sum(run["where_time_goes"].values()) == pytest.approx(1.0, abs=0.01)
    assert "codec and journal" in found[0]["where_time_goes"]
    assert "codec and journal" not in found[1]["where_time_goes"]


def test_recording_is_read_back_step_by_step(recording: pipeline.Recording, tmp_path: Path) -> None:
    pipeline._write(recording, tmp_path / "recording")
    assert list(pipeline._read(tmp_path / "recording")) == [recording.toml, *recording.steps]


def test_machine_is_named() -> None:
    assert measured.machine()["cores"]
