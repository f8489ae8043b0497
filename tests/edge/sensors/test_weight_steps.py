"""Stories of one shelf after another: what happens on the plates, and which steps come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shelf_signals import NS, Seen, Signal, play, store

from edge.sensors.weight_steps import StepFlag, WeightSensing
from messages.ids import DeviceId, ShelfId
from messages.observations import PlateFlag, ShelfSamples


def steps_of(signal: Signal, samples: int = 12) -> list[Seen]:
    return play(WeightSensing(signal.config), signal.batches(samples))


def test_quiet_shelves_give_no_step() -> None:
    signal = Signal(store(shelves=4), seconds=30, noise_g=3.0)
    sensing = WeightSensing(signal.config)
    assert play(sensing, signal.batches()) == []
    assert sensing.level_g() == pytest.approx(2_000.0, abs=3.0)
    assert sensing.noise_g() == pytest.approx(3.0, rel=0.4)


def test_a_bottle_taken_is_one_step_of_its_mass_where_it_stood() -> None:
    signal = Signal(store(), seconds=14)
    signal.item(10.0, -538.0, {4: 1.0, 3: 0.01, 5: 0.01})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-549.0, abs=2.0)
    assert max(step.shares_g, key=lambda p: abs(step.shares_g[p])) == 4
    assert step.started_s <= 10.03
    assert 10.05 <= step.ended_s <= 10.3
    assert step.at_s - 10.12 < 0.75
    assert step.flags == 0


def test_a_bottle_put_back_is_one_positive_step() -> None:
    signal = Signal(store(), seconds=14)
    signal.item(10.0, 538.0, {4: 1.0})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(538.0, abs=2.0)


@pytest.mark.parametrize("mass_g", [-20.0, 20.0, -35.0])
def test_light_item_on_a_quiet_plate_is_seen(mass_g: float) -> None:
    signal = Signal(store(), seconds=14, noise_g=0.8)
    signal.item(10.0, mass_g, {7: 1.0})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(mass_g, abs=2.0)


def test_change_below_a_noisy_plates_noise_gives_nothing() -> None:
    signal = Signal(store(), seconds=30, noise_g=14.5)
    signal.item(20.0, -9.0, {7: 1.0})
    assert steps_of(signal) == []


@pytest.mark.parametrize(("from_s", "to_s"), [(9.0, 10.4), (9.7, 10.6), (10.0, 11.5)])
def test_hand_before_during_or_after_a_pick_leaves_only_the_item(
    from_s: float, to_s: float
) -> None:
    signal = Signal(store(), seconds=16)
    signal.hand(from_s, to_s, 120.0, {4: 0.7, 5: 0.3})
    signal.item(10.2, -250.0, {4: 1.0})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-250.0, abs=4.0)
    assert step.started_s <= min(from_s, 10.2) + 0.05
    assert step.ended_s >= max(to_s, 10.3) - 0.2


def test_item_held_in_the_plate_for_seconds_is_one_long_step() -> None:
    signal = Signal(store(), seconds=22)
    signal.hand(9.0, 16.0, 400.0, {4: 1.0})
    signal.item(15.8, -250.0, {4: 1.0})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-250.0, abs=4.0)
    assert step.flags == StepFlag.LONG


def test_lean_and_rummage_without_a_pick_give_nothing() -> None:
    signal = Signal(store(), seconds=26)
    signal.hand(9.0, 18.0, 3_000.0, {p: 0.25 for p in (2, 3, 4, 5)})
    for i in range(6):
        signal.hand(19.0 + 0.5 * i, 19.3 + 0.5 * i, 200.0, {6 + i % 3: 1.0})
    assert steps_of(signal) == []


def test_knocked_gondola_gives_nothing() -> None:
    config = store(shelves=4)
    signal = Signal(config, seconds=16)
    for shelf, net_g in enumerate((-5.0, 4.0, 2.0, -3.0)):
        signal.shake(10.0, 150.0, net_g, range(12 * shelf, 12 * shelf + 12))
    assert steps_of(signal) == []


def test_pick_from_a_shelf_that_was_knocked_is_flagged() -> None:
    signal = Signal(store(), seconds=16)
    signal.shake(10.0, 150.0, 3.0, range(12))
    signal.item(10.3, -300.0, {4: 1.0})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-300.0, abs=4.0)
    assert step.flags == StepFlag.BUMP


def test_bag_across_edges_is_one_step_with_its_shares() -> None:
    signal = Signal(store(), seconds=14)
    signal.item(10.0, -100.0, {4: 0.57, 5: 0.25, 6: 0.18})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-100.0, abs=3.0)
    assert step.shares_g == pytest.approx({4: -57.0, 5: -25.0, 6: -18.0}, abs=2.0)


def test_slow_lift_is_one_step() -> None:
    signal = Signal(store(), seconds=18)
    signal.item(10.0, -500.0, {4: 1.0}, over_s=2.5)
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-500.0, abs=4.0)
    assert step.started_s <= 10.1
    assert step.ended_s >= 12.3


def test_picks_far_apart_at_the_same_time_are_two_steps() -> None:
    signal = Signal(store(), seconds=14)
    signal.item(10.0, -300.0, {2: 1.0})
    signal.item(10.1, -200.0, {8: 1.0})
    first, second = sorted(steps_of(signal), key=lambda s: s.mass_g)
    assert (set(first.shares_g), set(second.shares_g)) == ({2}, {8})
    assert (first.mass_g, second.mass_g) == pytest.approx((-300.0, -200.0), abs=3.0)


def test_picks_from_neighbours_one_after_another_are_two_steps() -> None:
    signal = Signal(store(), seconds=16)
    signal.item(10.0, -300.0, {4: 1.0})
    signal.item(10.5, -200.0, {5: 1.0})
    assert [round(s.mass_g, -1) for s in steps_of(signal)] == [-300.0, -200.0]


def test_two_units_from_one_plate_a_second_apart_are_two_steps() -> None:
    signal = Signal(store(), seconds=16)
    signal.item(10.0, -300.0, {4: 1.0})
    signal.item(11.0, -300.0, {4: 1.0})
    assert [round(s.mass_g, -1) for s in steps_of(signal)] == [-300.0, -300.0]


def test_item_lifted_and_set_down_again_gives_nothing() -> None:
    signal = Signal(store(), seconds=18)
    signal.hand(9.8, 10.2, 60.0, {4: 1.0})
    signal.item(10.0, -300.0, {4: 1.0})
    signal.item(10.3, 300.0, {4: 1.0})
    assert steps_of(signal) == []


def test_item_pushed_to_the_next_plate_is_counted_but_is_no_step() -> None:
    signal = Signal(store(), seconds=18)
    signal.item(10.0, -300.0, {4: 1.0})
    signal.item(10.0, 300.0, {5: 1.0})
    sensing = WeightSensing(signal.config)
    assert play(sensing, signal.batches()) == []
    assert sensing.counters["net_zero"] == 1


def test_drift_is_followed() -> None:
    signal = Signal(store(), seconds=60)
    signal.grams += 0.2 * signal.at_s[:, None]  # 720 g an hour: far above real cells
    signal.item(40.0, -150.0, {4: 1.0})
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, signal.batches())
    assert step.mass_g == pytest.approx(-150.0, abs=3.0)
    assert sensing.level_g()[0] == pytest.approx(2_012.0, abs=3.0)


def test_noise_that_rises_is_learned_and_small_picks_are_seen_again() -> None:
    signal = Signal(store(plates=6), seconds=60, noise_g=1.0)
    signal.grams[1200:] += 4.0 * signal.rng.standard_normal(signal.grams[1200:].shape)
    signal.item(50.0, -120.0, {2: 1.0})
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, signal.batches())
    assert step.mass_g == pytest.approx(-120.0, abs=6.0)
    assert sensing.noise_g() == pytest.approx(4.1, rel=0.5)


def without(batches: list[ShelfSamples], first: int, last: int) -> list[ShelfSamples]:
    return [b for b in batches if not first <= b.sequence <= last]


def test_pick_during_lost_batches_is_one_step_after_the_gap() -> None:
    signal = Signal(store(), seconds=20)
    signal.item(10.5, -300.0, {4: 0.6, 5: 0.4})
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, without(signal.batches(), 50, 59))
    assert step.mass_g == pytest.approx(-300.0, abs=4.0)
    assert step.flags == StepFlag.AFTER_GAP
    assert step.started_s < 10.1
    assert step.ended_s >= 11.9
    assert sensing.counters["lost_batches"] == 10


def test_lost_batches_with_nothing_meanwhile_give_nothing() -> None:
    signal = Signal(store(shelves=2), seconds=20)
    assert play(WeightSensing(signal.config), without(signal.batches(), 50, 59)) == []


def test_two_items_gone_from_apart_in_a_gap_are_two_steps() -> None:
    signal = Signal(store(), seconds=20)
    signal.item(10.5, -300.0, {2: 1.0})
    signal.item(11.0, -200.0, {9: 1.0})
    found = play(WeightSensing(signal.config), without(signal.batches(), 50, 59))
    assert sorted(round(s.mass_g, -1) for s in found) == [-300.0, -200.0]
    assert {s.flags for s in found} == {int(StepFlag.AFTER_GAP)}


def test_small_difference_after_a_long_gap_is_taken_for_drift() -> None:
    signal = Signal(store(), seconds=30)
    signal.item(15.0, -30.0, {4: 1.0})
    batches = signal.batches()
    hours_ns, hours_us = 20 * 3600 * NS, 20 * 3600 * 10**6
    late = [
        replace(
            b,
            received_at_ns=b.received_at_ns + hours_ns,
            ticks_us=(b.ticks_us + hours_us) % 2**32,
            sequence=(b.sequence + 360_000) % 65_536,
        )
        for b in batches[75:]
    ]
    sensing = WeightSensing(signal.config)
    assert play(sensing, batches[:75]) == []
    assert sensing.step(late[-1].received_at_ns, late).mass_g.size == 0
    assert sensing.level_g()[4] == pytest.approx(1_970.0, abs=2.0)


def test_lost_device_is_unknown_until_its_levels_are_compared() -> None:
    signal = Signal(store(), seconds=20)
    signal.item(12.0, -300.0, {4: 1.0})
    batches, sensing = signal.batches(), WeightSensing(signal.config)
    assert play(sensing, batches[:50]) == []
    sensing.device_lost(DeviceId("node0"), batches[49].received_at_ns)
    assert np.isnan(sensing.level_g()).all()
    silent_ns = batches[49].received_at_ns + 3 * NS
    sensing.step(silent_ns, [])
    assert sensing.settled_until_ns() == silent_ns
    (step,) = play(sensing, batches[75:])
    assert step.flags == StepFlag.AFTER_GAP | StepFlag.LONG
    assert step.mass_g == pytest.approx(-300.0, abs=3.0)
    assert sensing.level_g()[4] == pytest.approx(1_700.0, abs=3.0)


def flagged(batches: list[ShelfSamples], plate: int, flag: PlateFlag) -> list[ShelfSamples]:
    """Batches 50 to 59 carry a flag of one plate, and nonsense in its column."""
    out = list[ShelfSamples]()
    for b in batches:
        if 50 <= b.sequence <= 59:
            flags, readings = b.flags.copy(), b.readings.copy()
            flags[plate], readings[:, plate] = flag, 2**23 - 1
            b = replace(b, flags=flags, readings=readings)
        out.append(b)
    return out


@pytest.mark.parametrize("flag", list(PlateFlag))
def test_flagged_plate_that_comes_back_as_it_was_gives_nothing(flag: PlateFlag) -> None:
    signal = Signal(store(), seconds=20)
    assert play(WeightSensing(signal.config), flagged(signal.batches(), 4, flag)) == []


@pytest.mark.parametrize("flag", [PlateFlag(0), PlateFlag.STUCK])
def test_item_taken_while_its_plate_was_unknown_is_a_clipped_step(flag: PlateFlag) -> None:
    signal = Signal(store(), seconds=20)
    signal.item(11.0, -300.0, {4: 1.0})
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, flagged(signal.batches(), 4, flag))
    assert step.mass_g == pytest.approx(-300.0, abs=3.0)
    assert step.flags == StepFlag.CLIPPED


def test_pick_beside_an_unplugged_plate_is_still_seen() -> None:
    signal = Signal(store(), seconds=20)
    signal.item(11.0, -300.0, {5: 1.0})
    (step,) = play(WeightSensing(signal.config), flagged(signal.batches(), 4, PlateFlag.UNPLUGGED))
    assert (step.flags, set(step.shares_g)) == (0, {5})
    assert step.at_s < 12.0


def test_garbage_is_counted_by_name_and_never_raises() -> None:
    signal = Signal(store(), seconds=3)
    good = signal.batches()[0]
    sensing = WeightSensing(signal.config)
    bad = [
        replace(good, readings=good.readings[:, :5].copy()),
        replace(good, flags=good.flags[:3].copy()),
        replace(good, unit="stone"),
        replace(good, sample_period_us=0),
        replace(good, device=DeviceId("nobody")),
        replace(good, readings=good.readings[:0]),
    ]
    assert len(sensing.step(NS, bad)) == 0
    assert sensing.counters == {
        "garbage_shape": 2,
        "garbage_unit": 1,
        "garbage_clock": 1,
        "unknown_device": 1,
    }


def test_repeated_batches_are_counted_and_ignored() -> None:
    signal = Signal(store(), seconds=14)
    signal.item(10.0, -300.0, {4: 1.0})
    batches = [b for batch in signal.batches() for b in (batch, batch)]
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, batches)
    assert step.mass_g == pytest.approx(-300.0, abs=3.0)
    assert sensing.counters == {"repeated": len(batches) // 2}


def test_rebooted_node_compares_its_levels() -> None:
    signal = Signal(store(), seconds=20)
    signal.item(11.0, -300.0, {4: 1.0})
    batches = without(signal.batches(), 50, 59)
    batches = batches[:50] + [
        replace(b, sequence=b.sequence - 60, ticks_us=(b.sequence - 60) * 200_004)
        for b in batches[50:]
    ]
    sensing = WeightSensing(signal.config)
    (step,) = play(sensing, batches)
    assert step.flags == StepFlag.AFTER_GAP
    assert step.ended_s == pytest.approx(12.0, abs=0.3)
    assert sensing.counters["clock_steps"] == 1


def test_tared_shelf_starts_from_its_new_level() -> None:
    signal = Signal(store(shelves=2), seconds=20)
    signal.grams[600:, :12] -= 2_000.0
    batches, sensing = signal.batches(), WeightSensing(signal.config)
    play(sensing, [b for b in batches if b.sequence < 50])
    sensing.tared(ShelfId("s0"))
    assert play(sensing, [b for b in batches if b.sequence >= 51]) == []
    assert sensing.level_g()[0] == pytest.approx(0.0, abs=2.0)


def test_shelf_of_two_nodes_gives_one_step_for_an_item_across_them() -> None:
    signal = Signal(store(nodes_per_shelf=2), seconds=14)
    signal.item(10.0, -300.0, {5: 0.5, 6: 0.5})
    (step,) = steps_of(signal)
    assert step.mass_g == pytest.approx(-300.0, abs=4.0)
    assert set(step.shares_g) == {5, 6}


def test_long_import_in_one_call_gives_the_same_steps_as_live() -> None:
    signal = Signal(store(), seconds=40)
    for i in range(5):
        signal.item(10.0 + 5 * i, -100.0 - 40 * i, {2 * i: 1.0})
    batches = signal.batches(unit="grams")
    steps = WeightSensing(signal.config).step(60 * NS, batches)
    assert steps.mass_g == pytest.approx([-100, -140, -180, -220, -260], abs=3.0)
    assert steps.step_id.tolist() == [1, 2, 3, 4, 5]
