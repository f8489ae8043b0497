"""Which image is looked at, and what may be spent on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.detector_schedule import (
    RECHECK_NS,
    SAVED_S_MAX,
    Allowance,
    Waiting,
    most_urgent,
    needs_look,
)
from edge.vision.motion_gate import GATE_PX, LEARNING_IMAGES, ImageHealth, MotionGate, small

NS = 10**9
STILL = Waiting(camera=0, captured_at_ns=10 * NS, looked_at_ns=9 * NS, people=0, moving=0.0)


def test_an_image_in_which_nothing_moved_since_nobody_was_there_needs_no_look() -> None:
    assert not needs_look(STILL)
    assert needs_look(replace(STILL, moving=0.01))
    assert needs_look(replace(STILL, people=1)), "somebody stands still"
    assert needs_look(replace(STILL, always=True))
    assert needs_look(replace(STILL, looked_at_ns=STILL.captured_at_ns - RECHECK_NS))


def test_people_come_before_movement_and_movement_before_the_rest() -> None:
    moving = replace(STILL, camera=1, moving=0.1)
    people = replace(STILL, camera=2, people=2)
    assert most_urgent([STILL, moving, people]) == people
    assert most_urgent([STILL, moving]) == moving
    assert most_urgent([]) is None


def test_who_waits_long_enough_comes_before_people() -> None:
    people = replace(STILL, camera=2, people=9)
    long_waiting = replace(STILL, camera=1, looked_at_ns=0)
    assert most_urgent([people, long_waiting]) == long_waiting


@given(
    st.lists(st.floats(0.001, 0.3), min_size=1, max_size=60),
    st.floats(0.05, 2.0),
)
@settings(max_examples=60, deadline=None)
def test_no_more_is_spent_than_the_budget_and_what_was_saved(
    costs_s: list[float], cores: float
) -> None:
    now_ns, spent_s = 0, 0.0
    allowance = Allowance(cores, now_ns)
    for cost_s in costs_s:
        now_ns += round((allowance.wait_s(now_ns) + 1e-6) * NS)
        assert allowance.suffices(now_ns)
        allowance.spend(cost_s)
        spent_s += cost_s
    assert spent_s <= cores * now_ns / NS + SAVED_S_MAX + max(costs_s)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    allowance = Allowance(0.5, 0)
    while allowance.suffices(0):
        allowance.spend(0.1)
    assert not allowance.suffices(0)
    assert allowance.suffices(NS)


def shop(rng: np.random.Generator, person_at: int | None = None) -> np.ndarray:
    """A noisy image of the gate's size; a person is a dark upright block."""
    image = rng.normal(120, 2, (GATE_PX[1], GATE_PX[0], 3)).clip(0, 255).astype(np.uint8)
    if person_at is not None:
        image[100:160, person_at : person_at + 20] = 30
    return image


def test_a_noisy_aisle_is_still_and_a_person_moves() -> None:
    rng = np.random.default_rng(3)
    gate = MotionGate()
    first = [gate.moving(shop(rng)) for _ in range(LEARNING_IMAGES)]
    assert first == [1.0] * LEARNING_IMAGES, "nothing is known yet"
    for _ in range(30):
        empty = gate.moving(shop(rng))
    assert not needs_look(replace(STILL, moving=empty))
    assert needs_look(replace(STILL, moving=gate.moving(shop(rng, person_at=50))))


def test_a_dark_and_a_frozen_camera_are_told() -> None:
    rng = np.random.default_rng(4)
    health = ImageHealth()
    assert health.state(shop(rng), 0) == "ok"
    assert health.state(shop(rng) // 20, NS) == "dark"
    same = shop(rng)
    states = [health.state(same, k * NS) for k in range(2, 15)]
    assert states[0] == "ok"
    assert states[-1] == "frozen"
    assert health.state(shop(rng), 16 * NS) == "ok"


@pytest.mark.parametrize("shape", [(480, 640, 3), (1080, 1920, 3), (100, 90, 3)])
def test_any_image_is_made_small_for_the_gate(shape: tuple[int, ...]) -> None:
    assert small(np.zeros(shape, dtype=np.uint8)).shape == (GATE_PX[1], GATE_PX[0], 3)
