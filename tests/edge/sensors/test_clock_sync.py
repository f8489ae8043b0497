"""Device ticks to store time: drift, wraps, restarts, stale bursts, jitter."""

from __future__ import annotations

import numpy as np
import pytest

from edge.sensors.clock_sync import Arrival, DeviceClock, arrive
from messages.ids import DeviceId
from messages.observations import ShelfSamples

NS = 1_000_000_000
PERIOD_US = 16_667
BATCH_NS = 12 * PERIOD_US * 1000


def batch(
    sequence: int,
    first_ns: int,
    *,
    delay_ns: int = 10_000_000,
    ppm: float = 0.0,
    offset_us: int = 0,
    captured_at_ns: int | None = None,
) -> ShelfSamples:
    """A batch whose first sample was taken at ``first_ns``, by a clock with an error."""
    return ShelfSamples(
        device=DeviceId("node"),
        received_at_ns=first_ns + 11 * PERIOD_US * 1000 + delay_ns,
        sequence=sequence % 65_536,
        ticks_us=(round(first_ns * (1 + ppm * 1e-6)) // 1000 + offset_us) % 2**32,
        sample_period_us=PERIOD_US,
        flags=np.zeros(1, dtype=np.uint8),
        readings=np.zeros((12, 1), dtype=np.int32),
        captured_at_ns=captured_at_ns,
    )


def feed(clock: DeviceClock, made: ShelfSamples) -> Arrival:
    return arrive(clock, made, 12)


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 100.0])
def test_two_hours_of_a_wrong_crystal_stay_within_a_few_milliseconds(ppm: float) -> None:
    rng, clock, worst_ns = np.random.default_rng(3), DeviceClock(), 0
    for k in range(36_000):
        first_ns = k * BATCH_NS
        delay_ns = 3_000_000 + int(rng.exponential(8_000_000))
        verdict = feed(
            clock, batch(k, first_ns, delay_ns=delay_ns, ppm=ppm, offset_us=4_000_000_000)
        )
        assert verdict is (Arrival.NEXT if k else Arrival.RESTARTED)
        if k > 50:
            worst_ns = max(worst_ns, abs(clock.first_ns - first_ns))
    assert worst_ns < 8_000_000
    assert clock.clock_steps == clock.lost_batches == 0


def test_stale_burst_after_a_pause_does_not_disturb_the_clock() -> None:
    clock = DeviceClock()
    for k in range(100):
        feed(clock, batch(k, k * BATCH_NS))
    for k in range(100, 115):  # three seconds waited in the line's buffer and came at once
        assert feed(clock, batch(k, k * BATCH_NS, delay_ns=(115 - k) * BATCH_NS)) is Arrival.NEXT
        assert clock.first_ns - k * BATCH_NS == pytest.approx(10_000_000, abs=2_000_000)
    feed(clock, batch(115, 115 * BATCH_NS))
    assert clock.first_ns - 115 * BATCH_NS == pytest.approx(10_000_000, abs=2_000_000)


def test_jitter_and_small_steps_back_are_normal_and_time_never_runs_backwards() -> None:
    rng, clock, last_ns = np.random.default_rng(1), DeviceClock(), 0
    for k in range(500):
        jitter_ns = int(rng.uniform(-4_700_000, 4_700_000))
        verdict = feed(clock, batch(k, NS + k * BATCH_NS + jitter_ns))
        assert verdict is Arrival.NEXT or k == 0
        assert clock.first_ns >= last_ns
        last_ns = clock.last_ns


@pytest.mark.parametrize("uptime_s", [5, 600, 3_000, 4_000])
def test_reboot_restarts_the_clock(uptime_s: int) -> None:
    clock, batches = DeviceClock(), uptime_s * NS // BATCH_NS
    for k in range(batches - 20, batches):
        feed(clock, batch(k, k * BATCH_NS))
    back_ns = uptime_s * NS + 2 * NS
    booted = batch(0, back_ns, offset_us=-back_ns // 1000)
    assert feed(clock, booted) is Arrival.RESTARTED
    assert clock.first_ns == pytest.approx(back_ns + 10_000_000, abs=1_000_000)
    assert clock.clock_steps == 1


def test_lost_batches_and_lost_samples_are_gaps() -> None:
    clock = DeviceClock()
    feed(clock, batch(0, NS))
    assert feed(clock, batch(4, NS + 4 * BATCH_NS)) is Arrival.AFTER_GAP
    assert clock.lost_batches == 3
    assert feed(clock, batch(5, NS + 5 * BATCH_NS + 100_000_000)) is Arrival.AFTER_GAP


def test_sequence_and_ticks_wrap_without_a_gap() -> None:
    clock = DeviceClock()
    for k in range(65_500, 65_600):
        verdict = feed(clock, batch(k, k * BATCH_NS, offset_us=2**32 - 65_550 * 200_004))
        assert verdict is Arrival.NEXT or k == 65_500
    assert clock.first_ns == pytest.approx(65_599 * BATCH_NS + 10_000_000, abs=2_000_000)


def test_silence_longer_than_a_wrap_of_the_ticks_is_one_gap() -> None:
    clock = DeviceClock()
    feed(clock, batch(0, NS))
    later_ns = NS + 40_000 * BATCH_NS  # 2.2 hours: nearly two wraps
    assert feed(clock, batch(40_000, later_ns)) is not Arrival.REPEATED
    assert clock.first_ns == pytest.approx(later_ns + 10_000_000, abs=2_000_000)


def test_repeats_of_the_last_batches_are_known() -> None:
    clock = DeviceClock()
    for k in range(10):
        feed(clock, batch(k, k * BATCH_NS))
    first_ns = clock.first_ns
    for k in (9, 8, 5):
        assert feed(clock, batch(k, k * BATCH_NS, delay_ns=NS)) is Arrival.REPEATED
    assert clock.first_ns == first_ns


def test_node_that_lost_ticks_is_believed_again_after_seconds() -> None:
    clock = DeviceClock()
    for k in range(50):
        feed(clock, batch(k, k * BATCH_NS))
    for k in range(50, 150):  # the node's clock stood still for two seconds
        feed(clock, batch(k, k * BATCH_NS, offset_us=-2_000_000))
    assert clock.first_ns == pytest.approx(149 * BATCH_NS + 10_000_000, abs=5_000_000)
    assert clock.clock_steps >= 1


def test_capture_time_of_an_import_is_used_as_it_is() -> None:
    clock = DeviceClock()
    for k in range(5):
        assert feed(clock, batch(k, 0, captured_at_ns=7 * NS + k * BATCH_NS)) is (
            Arrival.NEXT if k else Arrival.RESTARTED
        )
        assert clock.first_ns == 7 * NS + k * BATCH_NS
    assert feed(clock, batch(4, 0, captured_at_ns=7 * NS + 4 * BATCH_NS)) is Arrival.REPEATED
    assert feed(clock, batch(5, 0, captured_at_ns=17 * NS)) is Arrival.AFTER_GAP
