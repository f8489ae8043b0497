"""Hands that rest, and steps that are told before they are final."""

from __future__ import annotations

import numpy as np
import pytest
from shelf_signals import NS, STEP_NS, Seen, Signal, play, seconds, seen_in, store

from edge.sensors.weight_steps import StepFlag, WeightSensing


def steps_of(signal: Signal) -> list[Seen]:
    return play(WeightSensing(signal.config), signal.batches())


def shown(signal: Signal) -> tuple[list[Seen], list[Seen]]:
    """Final steps, and what was shown provisionally after each step of the engine."""
    sensing, batches = WeightSensing(signal.config), signal.batches()
    final, provisional = list[Seen](), list[Seen]()
    for now_ns in range(STEP_NS, batches[-1].received_at_ns + STEP_NS, STEP_NS):
        due = [b for b in batches if now_ns - STEP_NS < b.received_at_ns <= now_ns]
        final += seen_in(sensing.step(now_ns, due), now_ns)
        provisional += seen_in(sensing.provisional(), now_ns)
    return final, provisional


def load(signal: Signal, at_s: list[float], grams: list[float], shares: dict[int, float]) -> None:
    """Grams at knots, linear between; the last one stays."""
    shape = np.interp(signal.at_s, at_s, grams)
    for plate, share in shares.items():
        signal.grams[:, plate] += share * shape


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_item_held_half_lifted_that_rests_for_a_moment_is_one_step(seed: int) -> None:
    signal = Signal(store(), seconds=24, seed=seed)
    rests = (-150.0 + 60.0 * signal.rng.standard_normal(17)).tolist()
    rests[5] = rests[6]  # half a second of perfect rest
    knots = [10.0, 10.4, *np.linspace(10.7, 17.0, 17).tolist(), 17.2]
    knots[7] = knots[8] - 0.5
    load(signal, knots, [0.0, 20.0, *rests, -500.0], {4: 0.9, 5: 0.1})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-500.0, abs=5.0)
    assert step.flags == StepFlag.LONG


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_arm_laid_on_four_plates_gives_nothing_even_where_it_rests(seed: int) -> None:
    signal = Signal(store(), seconds=24, seed=seed)
    knots = np.linspace(10.3, 16.0, 17).tolist()
    press = 400.0 * (1.0 + 0.06 * signal.rng.standard_normal(17))
    press[6] = press[7] = press[8]  # for two thirds of a second
    shares = {3: 0.2, 4: 0.35, 5: 0.3, 6: 0.15}
    load(signal, [10.0, *knots, 16.3], [0.0, *press.tolist(), 0.0], shares)
    assert steps_of(signal) == []


def test_put_back_on_three_plates_is_still_a_step() -> None:
    signal = Signal(store(), seconds=16)
    signal.item(10.0, 400.0, {3: 0.3, 4: 0.4, 5: 0.3})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(400.0, abs=4.0)
    assert step.at_s < 12.0


@pytest.mark.parametrize("mass_g", [-538.0, 538.0, -25.0])
def test_step_is_told_long_before_it_is_final_and_then_no_more(mass_g: float) -> None:
    signal = Signal(store(), seconds=16)
    signal.hand(9.6, 10.3, 80.0, {4: 0.7, 5: 0.3})
    signal.item(10.0, mass_g, {4: 1.0})
    (final,), provisional = shown(signal)
    right = [p for p in provisional if p.mass_g == pytest.approx(mass_g, abs=8.0)]
    assert right[0].at_s < 10.3 + 0.2 + 0.3 + 0.2  # release, 200 ms, 300 ms, a batch's length
    assert right[0].at_s < final.at_s
    assert right[0].step_id == 0
    assert right[0].flags & StepFlag.PROVISIONAL
    assert set(right[0].shares_g) & set(final.shares_g)
    assert right[0].started_s == pytest.approx(final.started_s, abs=0.1)
    assert not final.flags & StepFlag.PROVISIONAL
    assert max(p.at_s for p in provisional) < final.at_s


def test_step_is_told_although_a_brush_follows_at_once() -> None:
    signal = Signal(store(), seconds=16)
    signal.item(10.0, -300.0, {4: 1.0})
    signal.hand(10.45, 10.8, 40.0, {4: 1.0})
    _, provisional = shown(signal)
    right = [p.at_s for p in provisional if p.mass_g == pytest.approx(-300.0, abs=8.0)]
    assert right[0] < 10.12 + 0.2 + 0.3 + 0.2


def test_quiet_shelves_and_knocked_ones_tell_nothing_provisional() -> None:
    signal = Signal(store(shelves=4), seconds=20, noise_g=3.0)
    signal.shake(10.0, 150.0, 3.0, range(12))
    _, provisional = shown(signal)
    assert provisional == []


def test_looking_at_what_is_provisional_changes_nothing() -> None:
    signal = Signal(store(), seconds=20, noise_g=2.0)
    signal.hand(9.6, 12.0, 80.0, {4: 0.7, 5: 0.3})
    signal.item(11.0, -200.0, {4: 1.0})
    looked, _ = shown(signal)
    sensing, batches = WeightSensing(signal.config), signal.batches()
    unseen = list[Seen]()
    for now_ns in range(STEP_NS, batches[-1].received_at_ns + STEP_NS, STEP_NS):
        due = [b for b in batches if now_ns - STEP_NS < b.received_at_ns <= now_ns]
        unseen += seen_in(sensing.step(now_ns, due), now_ns)
    assert unseen == looked
    assert len(looked) == 1
    assert seconds(batches[0].received_at_ns) < looked[0].at_s < signal.seconds * NS


def test_store_without_plates_has_nothing_provisional() -> None:
    assert len(WeightSensing(store(shelves=0)).provisional()) == 0
