"""What holds for weight sensing whatever happens on the shelves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf_signals import NS, STEP_NS, Seen, Signal, play, store

from edge.sensors.weight_steps import WeightSensing, WeightState, WeightSteps
from messages.codec import decode_state, encode_state
from messages.ids import StoreId
from messages.observations import ShelfSamples
from messages.store_config import StoreConfig

CONFIG = store(shelves=3, plates=6)
FEW = settings(max_examples=6, deadline=None)
ARRAYS = (
    "step_id", "shelf", "started_at_ns", "ended_at_ns", "mass_g",
    "mass_sd_g", "plate_mass_g", "plate_sd_g", "flags",
)  # fmt: skip


def busy(seed: int, seconds: float = 16.0) -> Signal:
    """Picks, returns and hands anywhere, after five seconds of quiet."""
    signal = Signal(CONFIG, seconds=seconds, seed=seed, noise_g=1.5)
    rng = np.random.default_rng(seed + 1)
    for shelf in range(3):
        at_s = 5.0 + float(rng.uniform(0, 2))
        while at_s < seconds - 3:
            plate = 6 * shelf + int(rng.integers(6))
            signal.hand(at_s - 0.3, at_s + 0.3, float(rng.uniform(20, 200)), {plate: 1.0})
            signal.item(at_s, float(rng.choice([-1, 1]) * rng.uniform(60, 900)), {plate: 1.0})
            at_s += float(rng.uniform(2.5, 4.0))
    return signal


def in_steps(batches: list[ShelfSamples]) -> list[tuple[int, list[ShelfSamples]]]:
    """The engine's steps: instants, and what had arrived since the one before."""
    last_ns = batches[-1].received_at_ns
    instants = range(NS, last_ns + 2 * STEP_NS, STEP_NS)
    return [
        (now, [b for b in batches if now - STEP_NS < b.received_at_ns <= now]) for now in instants
    ]


def alike(one: list[Seen], other: list[Seen]) -> bool:
    """The same steps: masses to a gram, instants to one slot and a bit."""
    one, other = (sorted(seen, key=lambda s: (s.shelf, s.ended_s)) for seen in (one, other))
    return len(one) == len(other) and all(
        a.shelf == b.shelf
        and a.mass_g == pytest.approx(b.mass_g, abs=1.0)
        and a.ended_s == pytest.approx(b.ended_s, abs=0.06)
        for a, b in zip(one, other, strict=True)
    )


@FEW
@given(seed=st.integers(0, 10_000), samples=st.sampled_from([3, 5, 6, 30]))
def test_cutting_samples_into_other_batches_changes_nothing(seed: int, samples: int) -> None:
    signal = busy(seed)
    usual = play(WeightSensing(CONFIG), signal.batches(12))
    other = play(WeightSensing(CONFIG), signal.batches(samples))
    assert usual
    assert alike(usual, other)


@FEW
@given(seed=st.integers(0, 10_000))
def test_order_of_the_devices_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = WeightSensing(CONFIG), WeightSensing(CONFIG)
    for now_ns, batches in in_steps(busy(seed).batches()):
        mixed = [batches[i] for i in rng.permutation(len(batches))]
        mixed.sort(key=lambda b: b.sequence)  # of one device they stay in order
        assert_same(one.step(now_ns, batches), other.step(now_ns, mixed))


@FEW
@given(seed=st.integers(0, 10_000), at=st.integers(1, 150))
def test_restart_at_any_step_gives_identical_steps(seed: int, at: int) -> None:
    one = WeightSensing(CONFIG)
    other, found = one, 0
    for i, (now_ns, batches) in enumerate(in_steps(busy(seed).batches(samples=10))):
        if i == at:
            saved = encode_state(one.state)
            other = WeightSensing(CONFIG, decode_state(saved, WeightState))
            assert encode_state(other.state) == saved
        steps = one.step(now_ns, batches)
        if other is not one:
            assert_same(steps, other.step(now_ns, batches))
        found += len(steps)
    assert found
    assert encode_state(one.state) == encode_state(other.state)


@FEW
@given(seed=st.integers(0, 10_000))
def test_no_step_ends_before_what_was_called_settled(seed: int) -> None:
    sensing, settled_ns = WeightSensing(CONFIG), 0
    for now_ns, batches in in_steps(busy(seed).batches()):
        steps = sensing.step(now_ns, batches)
        assert (steps.ended_at_ns >= settled_ns).all()
        before_ns, settled_ns = settled_ns, sensing.settled_until_ns()
        if now_ns > 4 * NS:
            assert settled_ns >= before_ns
            assert now_ns - settled_ns < 3 * NS


@FEW
@given(seed=st.integers(0, 10_000), more_g=st.floats(-2_000, 8_000))
def test_what_else_stands_on_the_shelf_changes_nothing(seed: int, more_g: float) -> None:
    light, heavy = busy(seed), busy(seed)
    heavy.grams += round(more_g, 1)
    assert alike(
        play(WeightSensing(CONFIG), light.batches()), play(WeightSensing(CONFIG), heavy.batches())
    )


@FEW
@given(seed=st.integers(0, 10_000))
def test_any_grams_whatever_give_finite_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = busy(seed, seconds=8)
    rubbish = rng.random(signal.grams.shape) < 0.02
    kinds = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 5e5])
    signal.grams[rubbish] = rng.choice(kinds, rubbish.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        batches = signal.batches(unit="grams")
    sensing = WeightSensing(CONFIG)
    for seen in play(sensing, batches):
        assert np.isfinite([seen.mass_g, seen.mass_sd_g, *seen.shares_g.values()]).all()
    assert np.isfinite(sensing.noise_g()).all()


def test_store_without_plates_and_step_without_batches_are_fine() -> None:
    for config in (StoreConfig(store=StoreId("empty")), CONFIG):
        sensing = WeightSensing(config)
        for now_ns in (1, 2, 2):
            steps = sensing.step(now_ns, [])
            assert steps.plate_mass_g.shape == (0, len(config.plates))
        assert sensing.settled_until_ns() == 2
        assert np.isnan(sensing.level_g()).all()


def test_state_of_a_whole_store_stays_small() -> None:
    config = store(shelves=30)
    sensing = WeightSensing(config)
    play(sensing, Signal(config, seconds=4).batches(samples=10))
    assert len(encode_state(sensing.state)) < 500_000


def assert_same(one: WeightSteps, other: WeightSteps) -> None:
    for name in ARRAYS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
