"""Device ticks to store time, one clock per shelf node.

A node stamps each batch with its own microseconds (u32, wraps every 71.6 minutes, crystal error up
to 100 ppm, zero again after a reboot). The daemon stamps the arrival. Arrival minus ticks is the
offset of the clocks plus a transport delay that is never negative, so the offset is the **lower
envelope** of what is seen (minimum-delay filter, as NTP's clock filter does): each batch pulls the
estimate down to its own value, and between batches it creeps up at ``CREEP_PPM`` so that a slow
crystal is followed. A stale burst read after a pause has large delays and so changes nothing.
Store time of one device never goes backwards.

Source: Paxson, On Calibrating Measurements of Packet Transit Times, 1998; Mills, RFC 5905.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from messages.observations import ShelfSamples

TICKS_MODULO = 2**32
SEQUENCE_MODULO = 2**16
SEQUENCE_HALF = SEQUENCE_MODULO // 2
CREEP_PPM = 150  # crystals err by at most 100 ppm (data sheets); the rest is margin
BACKWARD_NS = 20_000_000  # real clocks step back by up to 4.7 ms; more than 20 ms is no jitter
FUTURE_NS = 100_000_000  # a sample stamped this long after its arrival: the clock was stepped
REPEAT_BATCHES = 8  # a serial line repeats the last few frames at most, not older ones
REPEAT_NS = 50_000_000  # a repeat carries its old ticks; beyond this the node has restarted
STALE_NS = 5_000_000_000  # delay that, with a sequence that does not fit, means a restart
GAP_PERIODS = 3  # samples missing inside an unbroken sequence: more is a gap
GAP_NS = 60_000_000  # and never less than this: several jitters of the worst real clock
RAISE_EVERY_NS = 5_000_000_000  # if no batch of so long is within RAISE_NS of the envelope,
RAISE_NS = 200_000_000  # then the envelope itself is wrong, and rises to the best of them
RAISE_BATCHES = 10


class Arrival(IntEnum):
    """What a batch is to its device's clock."""

    NEXT = 0  # follows the one before without a hole
    AFTER_GAP = 1  # samples between it and the one before are missing
    RESTARTED = 2  # the node's clock was set anew: nothing is known of the time between
    REPEATED = 3  # seen before: ignore it


@dataclass(slots=True)
class DeviceClock:
    """Everything remembered of one device's clock; see ``arrive``."""

    started: bool = False
    offset_ns: int = 0  # store time minus device time, lower envelope
    device_ns: int = 0  # unwrapped device time of the last batch's first sample
    ticks_us: int = 0
    sequence: int = 0
    received_at_ns: int = 0
    samples: int = 0
    period_ns: int = 0
    first_ns: int = 0  # store time of the last batch's first sample
    last_ns: int = 0  # store time of its last sample: the next one never starts before
    lost: bool = False  # device_lost was called: the next batch comes after a gap
    raise_from_ns: int = 0
    raise_count: int = 0
    raise_offset_ns: int = 0  # the lowest offset seen since ``raise_from_ns``
    clock_steps: int = 0
    lost_batches: int = 0


def arrive(clock: DeviceClock, batch: ShelfSamples, samples: int) -> Arrival:
    """Advance the clock by one batch of ``samples`` >= 1 samples; ``first_ns`` is then its start.

    A REPEATED batch leaves the clock as it was.
    """
    known = batch.captured_at_ns
    moved_ns = _ticks_since(clock, batch) if known is None else 0
    if not clock.started:
        verdict = Arrival.RESTARTED
    elif known is None:
        verdict = _judge_ticks(clock, batch, samples, moved_ns)
    else:
        verdict = _judge_captured(clock, batch, known)
    if verdict is Arrival.REPEATED:
        return verdict
    _follow(clock, batch, samples, verdict, moved_ns)
    return Arrival.AFTER_GAP if clock.lost and verdict is Arrival.NEXT else verdict


def _judge_ticks(clock: DeviceClock, batch: ShelfSamples, samples: int, moved_ns: int) -> Arrival:
    ahead = sequence_ahead(batch.sequence, clock.sequence)
    span_ns = clock.samples * clock.period_ns
    if -REPEAT_BATCHES <= ahead <= 0 and abs(moved_ns - ahead * span_ns) < REPEAT_NS:
        return Arrival.REPEATED
    last_ns = clock.device_ns + moved_ns + (samples - 1) * batch.sample_period_us * 1000
    delay_ns = batch.received_at_ns - last_ns - clock.offset_ns
    stale = delay_ns > STALE_NS and not 0 < ahead <= REPEAT_BATCHES
    if moved_ns < -BACKWARD_NS or stale:
        return Arrival.RESTARTED
    if delay_ns < -FUTURE_NS:
        elapsed_ns = abs(batch.received_at_ns - clock.received_at_ns)
        if delay_ns < -(FUTURE_NS + elapsed_ns * CREEP_PPM // 1_000_000):
            return Arrival.RESTARTED
    return _gap(clock, moved_ns - span_ns, ahead)


def _judge_captured(clock: DeviceClock, batch: ShelfSamples, captured_at_ns: int) -> Arrival:
    ahead = sequence_ahead(batch.sequence, clock.sequence)
    moved_ns = captured_at_ns - clock.first_ns
    if ahead <= 0 and moved_ns <= 0:
        return Arrival.REPEATED
    if moved_ns < -BACKWARD_NS:
        return Arrival.RESTARTED
    return _gap(clock, moved_ns - clock.samples * clock.period_ns, ahead)


def _gap(clock: DeviceClock, missing_ns: int, ahead: int) -> Arrival:
    """A hole in the sequence or in time. A sequence that runs backwards alone is no hole."""
    if ahead > 1:
        clock.lost_batches += ahead - 1
        return Arrival.AFTER_GAP
    holes = missing_ns > GAP_NS and missing_ns > GAP_PERIODS * clock.period_ns
    return Arrival.AFTER_GAP if holes else Arrival.NEXT


def sequence_ahead(sequence: int, before: int) -> int:
    """How far a 16-bit sequence number is ahead of another, -32768 to 32767."""
    return (sequence - before + SEQUENCE_HALF) % SEQUENCE_MODULO - SEQUENCE_HALF


def _ticks_since(clock: DeviceClock, batch: ShelfSamples) -> int:
    """Device time since the last batch, ns: of all wraps the one nearest to the arrivals'."""
    ticks = (batch.ticks_us - clock.ticks_us) % TICKS_MODULO
    elapsed_us = (batch.received_at_ns - clock.received_at_ns) // 1000
    wraps = (elapsed_us - ticks + TICKS_MODULO // 2) // TICKS_MODULO
    return (ticks + wraps * TICKS_MODULO) * 1000


def _follow(
    clock: DeviceClock, batch: ShelfSamples, samples: int, verdict: Arrival, moved_ns: int
) -> None:
    """Take the batch into the clock: its times, and what it says of the offset."""
    period_ns = batch.sample_period_us * 1000
    restarted = verdict is Arrival.RESTARTED
    if batch.captured_at_ns is not None:
        first_ns = batch.captured_at_ns
    else:
        clock.device_ns = batch.ticks_us * 1000 if restarted else clock.device_ns + moved_ns
        _envelope(clock, batch.received_at_ns, (samples - 1) * period_ns, restarted)
        first_ns = clock.device_ns + clock.offset_ns
    clock.clock_steps += restarted and clock.started
    if clock.started and first_ns < clock.last_ns:
        first_ns = clock.last_ns
    clock.first_ns, clock.last_ns = first_ns, first_ns + (samples - 1) * period_ns
    clock.ticks_us, clock.sequence = batch.ticks_us, batch.sequence
    clock.received_at_ns = batch.received_at_ns
    clock.samples, clock.period_ns, clock.started = samples, period_ns, True


def _envelope(clock: DeviceClock, received_at_ns: int, span_ns: int, restarted: bool) -> None:
    """Lower envelope: creep up, clamp down; rise when nothing has come near it for long.

    The delay counts from the batch's last sample, so that long and short batches agree.
    """
    seen_ns = received_at_ns - clock.device_ns - span_ns
    if restarted:
        clock.offset_ns = seen_ns
        clock.raise_from_ns, clock.raise_count = received_at_ns, 0
    elapsed_ns = received_at_ns - clock.received_at_ns
    crept_ns = clock.offset_ns + (elapsed_ns * CREEP_PPM // 1_000_000 if elapsed_ns > 0 else 0)
    clock.offset_ns = crept_ns if crept_ns < seen_ns else seen_ns
    _raise_when_wrong(clock, received_at_ns, seen_ns)


def _raise_when_wrong(clock: DeviceClock, received_at_ns: int, seen_ns: int) -> None:
    """A node that lost ticks looks late for ever after; a real line drains within seconds."""
    if clock.raise_count == 0 or seen_ns < clock.raise_offset_ns:
        clock.raise_offset_ns = seen_ns
    clock.raise_count += 1
    if received_at_ns - clock.raise_from_ns < RAISE_EVERY_NS:
        return
    wrong = clock.raise_offset_ns - clock.offset_ns > RAISE_NS
    if wrong and clock.raise_count >= RAISE_BATCHES:
        clock.offset_ns = clock.raise_offset_ns
        clock.clock_steps += 1
    clock.raise_from_ns, clock.raise_count = received_at_ns, 0
