from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people_scene import PERIOD_NS, SECOND_NS, Eyes, Faults, crowd, store, visit

from edge.vision.person_tracker import PersonTracker
from edge.vision.tracks import PersonTrackerState
from messages.codec import decode_state, encode_state
from messages.ids import CameraId, GateId

GATE = GateId("gate")
CONFIG = store()
STEPS = 150


def recorded():
    """Packets of a few people with a gap of all cameras, and the gate signals between."""
    ways = crowd(np.random.default_rng(2), 4, 16.0, every_s=0.9)
    eyes = Eyes(CONFIG, np.random.default_rng(3), Faults(dark=[(6.0, 7.0)]))
    steps, inside = [], set()
    for step in range(STEPS):
        at_ns = SECOND_NS + step * PERIOD_NS
        t = step * PERIOD_NS / SECOND_NS
        xy, present = np.array([w.at(t) for w in ways]), np.array([w.present(t) for w in ways])
        arrived = [k for k in np.flatnonzero(present) if k not in inside]
        inside.update(arrived)
        left = step == STEPS - 20
        steps.append((at_ns, eyes.look(at_ns, xy, present), arrived, left))
    return steps


RECORDING = recorded()


def run(tracker, steps):
    for at_ns, packets, arrived, left in steps:
        tracker.step(at_ns + 50_000_000, packets)
        for k in arrived:
            tracker.entered(visit(k), GATE, at_ns)
        if left:
            tracker.left(GATE, at_ns)
            tracker.visit_ended(visit(1))
    return tracker


WHOLE = encode_state(run(PersonTracker(CONFIG), RECORDING).state)


def restored(state):
    return PersonTracker(CONFIG, decode_state(encode_state(state), PersonTrackerState))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, STEPS))
def test_a_restart_after_any_step_changes_nothing(cut):
    tracker = restored(run(PersonTracker(CONFIG), RECORDING[:cut]).state)
    assert encode_state(run(tracker, RECORDING[cut:]).state) == WHOLE


def test_a_restart_after_every_tenth_step_changes_nothing():
    tracker = PersonTracker(CONFIG)
    for start in range(0, STEPS, 10):
        tracker = run(restored(tracker.state), RECORDING[start : start + 10])
    assert encode_state(tracker.state) == WHOLE


def test_reading_answers_changes_nothing():
    tracker = PersonTracker(CONFIG)
    for step in RECORDING:
        run(tracker, [step])
        assert tracker.tracks.at_ns == tracker.covered_until_ns()
        tracker.between(step[0] - SECOND_NS, step[0])
        tracker.people_inside(visit(0))
    assert encode_state(tracker.state) == WHOLE


def test_an_empty_state_round_trips():
    state = PersonTrackerState()
    assert encode_state(decode_state(encode_state(state), PersonTrackerState)) == encode_state(
        state
    )


@pytest.mark.parametrize("ahead", [2, 7, STEPS])
def test_packets_foreseen_give_the_same_bits_as_those_that_come_as_a_surprise(ahead):
    tracker = PersonTracker(CONFIG)
    for k in range(0, STEPS, ahead):
        some = RECORDING[k : k + ahead]
        tracker.foresee([packet for _, packets, _, _ in some for packet in packets])
        run(tracker, some)
    assert encode_state(tracker.state) == WHOLE


def test_what_was_foreseen_and_does_not_come_changes_nothing():
    tracker = PersonTracker(CONFIG)
    half = [(at_ns, packets[::2], arrived, left) for at_ns, packets, arrived, left in RECORDING]
    broken = [
        replace(packet, scores=packet.scores[1:], camera=CameraId(camera))
        for _, packets, _, _ in RECORDING[:9]
        for camera, packet in zip(("unknown", "a"), packets, strict=False)
    ]
    tracker.foresee([*broken, *(packet for _, packets, _, _ in RECORDING for packet in packets)])
    surprised = run(PersonTracker(CONFIG), half)
    assert encode_state(run(tracker, half).state) == encode_state(surprised.state)
    assert len(surprised.state.people) > 0
