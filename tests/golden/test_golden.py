"""Each golden recording gives the events that it should; and the comparison would tell if not."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from sim.replay import events_text, replay
from tests.golden.cases import CASES
from tests.golden.compare import TOLERANCES, unlike
from tests.golden.make import EVENTS, FOLDER, README, RECORDING, readme

RECORDING_BYTES_MAX = 300_000
NAMES = [case.name for case in CASES]


def events_of(text: bytes) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def expected(name: str) -> list[dict]:
    return events_of((FOLDER / name / EVENTS).read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_recording_gives_the_events_that_it_should(name: str) -> None:
    found = events_of(events_text(replay(FOLDER / name / RECORDING).events))
    assert unlike(expected(name), found) == []
    assert found


def test_recordings_stay_small_and_each_has_its_line_in_the_readme() -> None:
    folders = {path.name for path in FOLDER.iterdir() if (path / RECORDING).exists()}
    assert folders == set(NAMES)
    assert (FOLDER / README).read_text(encoding="utf-8") == readme()
    for name in NAMES:
        assert (FOLDER / name / RECORDING).stat().st_size <= RECORDING_BYTES_MAX, name


def test_the_goldens_hold_what_they_are_there_for() -> None:
    kinds = {name: [event["type"] for event in expected(name)] for name in NAMES}
    assert "ItemReturned" in kinds["two-lifted-one-back"]
    assert {"AlarmRaised", "AlarmCleared"} <= set(kinds["node-falls-silent"])
    assert not {"ItemTaken", "ReviewRequested"} & set(kinds["knocked-gondola"])
    assert all(name.count("CartClosed") for name in kinds.values())
    loaded = [
        type(seen).__name__
        for step in _steps(FOLDER / "restart-in-mid-pick" / RECORDING)
        for seen in step.observations
    ]
    assert loaded.count("ConfigLoaded") == 1


def _steps(path: Path):
    from edge.recording import Recording

    return Recording.open(path).steps()


# --- canaries: what the comparison must tell, and what it may not -----------------------------


@pytest.fixture
def events() -> list[dict]:
    return expected("two-lifted-one-back")


def taken(events: list[dict]) -> dict:
    return next(event for event in events if event["type"] == "ItemTaken")


def test_another_quantity_sku_or_instant_is_told(events) -> None:
    for field, value in (("quantity", 3), ("sku", "tea-black-25"), ("at_ns", 1), ("id", "x")):
        changed = copy.deepcopy(events)
        taken(changed)[field] = value
        assert len(unlike(events, changed)) == 1
        assert f"ItemTaken.{field}" in unlike(events, changed)[0]


def test_a_missing_event_is_told(events) -> None:
    assert f"{len(events) - 1} events, not {len(events)}" in unlike(events, events[:-1])


def test_floats_may_move_within_their_tolerance_and_no_further(events) -> None:
    moved = copy.deepcopy(events)
    taken(moved)["probability"] -= 0.9 * TOLERANCES["probability"]
    taken(moved)["evidence"]["mass_g"] += 0.9 * TOLERANCES["mass_g"]
    assert unlike(events, moved) == []
    taken(moved)["evidence"]["mass_g"] += TOLERANCES["mass_g"]
    assert len(unlike(events, moved)) == 1


def test_instants_of_steps_are_exact_and_those_of_evidence_are_not(events) -> None:
    moved = copy.deepcopy(events)
    taken(moved)["evidence"]["started_at_ns"] += 500_000
    assert unlike(events, moved) == []
    cart = next(event for event in moved if event["type"] == "CartClosed")
    cart["lines"][0]["evidence"]["started_at_ns"] += 500_000
    assert unlike(events, moved) == []
    cart["started_at_ns"] += 1
    assert len(unlike(events, moved)) == 1
