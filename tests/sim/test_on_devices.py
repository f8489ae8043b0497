"""Two speeds, one truth: in virtual time and on devices, a seed gives the same visits and lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.recording import Recording
from sim.on_devices import run_on_devices
from sim.replay import differences, live_events, replay
from sim.scenario import find, load
from sim.scenario_run import run_scenario

SEED = 3
# Probabilities may move in the last digits: a real clock's store times are other numbers, and a
# driver's word on a silent device comes at another instant than in virtual time.
PROBABILITY_TOLERANCE = 0.01


def text(folder: Path, name: str):
    return json.loads((folder / name).read_text())


def lines(folder: Path):
    return {
        receipt["credential"]: [
            (line["sku"], line["quantity"], line["state"]) for line in receipt["lines"]
        ]
        for receipt in text(folder, "receipts.json")
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, Path]:
    """A scenario with put-backs, in virtual time and with the real daemon on ptys."""
    folder = tmp_path_factory.mktemp("two-speeds")
    scenario = load(find("hard-take-two-return-one"))
    virtual = run_scenario(scenario, SEED, folder / "virtual")
    devices = run_on_devices(scenario, SEED, folder / "devices")
    assert (virtual.crashed, devices.crashed) == (None, None)
    assert (virtual.breaches, devices.breaches) == ((), ())
    return folder / "virtual", folder / "devices"


@pytest.mark.slow
def test_nothing_was_shed_or_late_on_the_wires(both):
    _, devices = both
    wires = text(devices, "wires.json")
    assert wires["clean"], wires
    assert wires["detections_sent"] > 500


@pytest.mark.slow
def test_the_world_went_the_same_way_to_the_byte(both):
    virtual, devices = both
    for name in ("truth.json", "paths.json"):
        assert (virtual / name).read_bytes() == (devices / name).read_bytes(), name


@pytest.mark.slow
def test_both_give_the_same_visits_and_lines(both):
    virtual, devices = both
    assert lines(virtual) == lines(devices)
    assert len(lines(virtual)) == 2
    assert sum(len(found) for found in lines(virtual).values()) >= 3
    for one, other in zip(
        text(virtual, "receipts.json"), text(devices, "receipts.json"), strict=True
    ):
        assert other["closed_at_s"] == pytest.approx(one["closed_at_s"], abs=0.5)
        for a, b in zip(one["lines"], other["lines"], strict=True):
            assert a["probability"] == pytest.approx(b["probability"], abs=PROBABILITY_TOLERANCE)


@pytest.mark.slow
def test_the_recording_of_the_device_run_replays_to_byte_identical_events(both):
    _, devices = both
    recording = devices / "recording.mcap"
    replayed = replay(recording)
    assert differences(live_events(Recording.open(recording)), replayed.events) == []
    assert len(replayed.events) > 8
