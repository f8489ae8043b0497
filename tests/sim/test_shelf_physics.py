"""Simulated load cells against what real shelves show (noise, spill, hands, bumps, clocks)."""

from __future__ import annotations

import numpy as np
import pytest

from sim import gestures
from sim.first_store import GRAMS_PER_COUNT, first_store, scaled
from sim.gestures import Handling, Load
from sim.shelf_physics import BATCH_NS, Quirks, ShelfPhysics, cells_of
from sim.stock import COUPLING, Stock, shares, shelves_of

STORE = scaled()
NS = 1_000_000_000


def _physics(seed: int = 1, quirks: Quirks | None = None, store=STORE) -> ShelfPhysics:
    rng = np.random.default_rng(seed)
    level = Stock.filled(store, rng).load_g()
    return ShelfPhysics.of(store, level, quirks or Quirks(), rng)


def _grams(physics: ShelfPhysics, seconds: float) -> dict[str, np.ndarray]:
    """Grams per node over a time, (samples, plates)."""
    rows: dict[str, list[np.ndarray]] = {}
    for tick in range(int(seconds * 20)):
        for batch in physics.due((tick + 1) * NS // 20):
            rows.setdefault(batch.device, []).append(batch.counts * GRAMS_PER_COUNT)
    return {device: np.concatenate(parts) for device, parts in rows.items()}


def test_noise_of_plates_and_shelves_is_that_of_a_real_store() -> None:
    """Plate: median 1.1 g, p90 3.8 g, worst 14.5 g; shelf sum: median 9 g, worst 45 g."""
    plates, shelves = [], []
    for seed in range(6):
        grams = _grams(_physics(seed, Quirks(drift=0.0)), 4.0)
        plates.append(np.concatenate([g.std(axis=0) for g in grams.values()]))
        shelves.append(np.array([g.sum(axis=1).std() for g in grams.values()]))
    noise = np.concatenate(plates)
    assert np.median(noise) == pytest.approx(1.1, abs=0.3)
    assert np.percentile(noise, 90) == pytest.approx(3.8, abs=0.9)
    assert 9.0 < np.mean([p.max() for p in plates]) < 18.0
    assert np.median(np.concatenate(shelves)) == pytest.approx(9.0, abs=2.5)
    assert 25.0 < np.mean([s.max() for s in shelves]) < 60.0


def test_noise_changes_over_hours() -> None:
    physics = _physics(3, Quirks(drift=0.0))
    node = np.array([0])
    spread = [
        physics.counts_at(node, hour * 900 * NS + np.arange(3000)[None] * 16_667_000).std(axis=1)
        for hour in range(4)
    ]
    louder = np.median(np.array(spread)[:, 0, :11], axis=1)
    assert max(louder) / min(louder) > 1.15


def test_counts_follow_the_load_without_errors_of_the_cell() -> None:
    physics = _physics(1, Quirks(noise=0.0, gain=0.0, drift=0.0, clock=0.0))
    node = STORE.shelf_nodes[0]
    zero = np.array([p.zero_counts for p in STORE.plates[: len(node.plates)]])
    counts = physics.counts_at(np.array([0]), np.arange(12)[None] * 16_667_000)[0]
    expected = physics.level_g[: len(node.plates)] / GRAMS_PER_COUNT + zero
    assert np.abs(counts[:, : len(node.plates)] - expected).max() <= 0.5


def test_gain_errors_reach_several_percent() -> None:
    gain = cells_of(STORE, Quirks(), np.random.default_rng(1)).gain
    assert 0.03 < gain.std() < 0.05
    assert np.abs(gain - 1).max() <= 0.10


def test_drift_wanders_by_grams_in_an_hour() -> None:
    physics = _physics(2, Quirks(noise=0.0))
    nodes = np.arange(len(STORE.shelf_nodes))
    start = physics.counts_at(nodes, np.zeros((len(nodes), 1), dtype=np.int64))
    later = physics.counts_at(nodes, np.full((len(nodes), 1), 3600 * NS))
    wander_g = np.abs((later - start) * GRAMS_PER_COUNT)
    assert 2.0 < np.median(wander_g) < 20.0


def test_bottle_spills_one_percent_and_a_bag_across_an_edge_far_more() -> None:
    shelves = shelves_of(STORE)
    middle = float((shelves.lower_m[0][5] + shelves.upper_m[0][5]) / 2)
    _, bottle = shares(shelves, 0, middle, 0.07)
    _, bag = shares(shelves, 0, middle, 0.17)
    assert bottle.tolist() == [COUPLING, 1.0, COUPLING]
    assert 0.5 < bag.max() < 0.7
    assert 0.15 < sorted(bag)[-2] < 0.25


def test_shares_are_never_less_than_the_whole_load() -> None:
    shelves = shelves_of(STORE)
    for place in np.linspace(-0.8, 0.8, 33):
        _, parts = shares(shelves, 3, float(place), 0.12)
        assert 1.0 <= parts.sum() <= 1.0 + 2 * COUPLING + 1e-9


def test_take_lowers_the_level_by_the_mass_and_the_hand_leaves_nothing() -> None:
    rng = np.random.default_rng(5)
    plates, parts = np.array([3, 4]), np.array([0.7, 0.3])
    quiet = Quirks(noise=0.0, gain=0.0, drift=0.0)
    for _ in range(20):
        physics = _physics(4, quiet, first_store())
        before = physics.level_g.copy()
        gesture = gestures.take(
            rng, Handling(), NS, [(plates, parts, 500.0)], (plates, parts), np.zeros(3)
        )
        for load in gesture.loads:
            physics.add(load)
        for tick in range(20 * 14):
            physics.due((tick + 1) * NS // 20)
        change = physics.level_g - before
        assert change[plates] == pytest.approx(-500.0 * parts)
        assert np.abs(np.delete(change, plates)).max() == 0.0


def test_hands_press_on_most_picks_and_some_are_held_long() -> None:
    rng = np.random.default_rng(6)
    plates, parts = np.array([3]), np.array([1.0])
    made = [
        gestures.take(rng, Handling(), 0, [(plates, parts, 500.0)], (plates, parts), np.zeros(3))
        for _ in range(600)
    ]
    peaks = np.array([max((x.grams.max() for x in g.loads[1:]), default=0.0) for g in made])
    length_s = np.array([(g.left_at_ns - g.touched_at_ns) / NS for g in made])
    assert 0.55 < (peaks > 0).mean() < 0.85
    assert 30.0 < np.median(peaks[peaks > 0]) < 90.0
    assert 0.02 < (length_s > 2.2).mean() < 0.15
    assert length_s.max() < 9.0


def test_put_back_raises_the_level_after_a_small_thud() -> None:
    rng = np.random.default_rng(7)
    item = (np.array([3]), np.array([1.0]), 300.0)
    gesture = gestures.put_back(rng, Handling(), 0, [item], item[:2], np.zeros(3))
    assert gesture.loads[0].grams[-1] == 300.0
    assert gesture.loads[0].grams.max() >= 300.0


def test_bump_shakes_every_shelf_and_leaves_a_few_grams() -> None:
    rng = np.random.default_rng(8)
    shelves = shelves_of(STORE)
    nets, swings = [], []
    for _ in range(60):
        loads = gestures.bump(rng, shelves, [0, 1, 2, 3], 0)
        assert len(loads) == 4
        nets += [load.grams[-1] for load in loads]
        swings += [np.abs(load.grams).max() for load in loads]
    assert min(nets) >= -5.0
    assert max(nets) <= 4.0
    assert np.median(swings) > 50.0


def test_sampling_intervals_jitter_as_measured() -> None:
    """Nominal 16.667 ms, 1st/99th percentile 14.0/19.6 ms; backward steps can occur."""
    physics = _physics(9)
    nodes = np.arange(len(STORE.shelf_nodes))
    gaps_ms = np.concatenate([np.diff(physics._sample_times(nodes)) / 1e6 for _ in range(40)])
    low, middle, high = np.percentile(gaps_ms, [1, 50, 99])
    assert low == pytest.approx(14.0, abs=1.5)
    assert middle == pytest.approx(16.667, abs=0.1)
    assert high == pytest.approx(19.6, abs=1.5)


def test_node_clocks_differ_by_tens_of_ppm_and_sequences_count_up() -> None:
    physics = _physics(10)
    batches = [b for tick in range(400) for b in physics.due((tick + 1) * NS // 20)]
    mine = [b for b in batches if b.device == "shelf-1"]
    sequence = np.array([b.sequence for b in mine])
    ticks = np.array([b.ticks_us for b in mine], dtype=np.int64)
    assert (np.diff(sequence) % 2**16 == 1).all()
    assert np.median(np.diff(ticks) % 2**32) == pytest.approx(BATCH_NS / 1e3, abs=200)
    assert 5e-6 < np.abs(physics.clocks.rate - 1).max() < 300e-6
    assert {len(b.counts) for b in batches} == {12}


def test_loads_of_one_plate_add_up() -> None:
    physics = _physics(11, Quirks(noise=0.0, gain=0.0, drift=0.0))
    still = physics.counts_at(np.array([0]), np.full((1, 1), NS))
    for grams in (40.0, 60.0):
        at_ns = np.array([0, 2 * NS])
        physics.add(Load(np.array([0]), np.array([1.0]), at_ns, np.array([grams, grams])))
    pressed = physics.counts_at(np.array([0]), np.full((1, 1), NS))
    assert (pressed - still)[0, 0, 0] * GRAMS_PER_COUNT == pytest.approx(100.0, abs=0.1)
