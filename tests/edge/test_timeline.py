"""Order of observations: by sequence and by capture time, with a bounded wait."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.timeline import Timeline, TimelineState
from messages.codec import decode_state, encode_state
from messages.observations import GateSignal, GateSignalKind, PersonDetections, ShelfSamples
from messages.store_config import Camera, Limits, StoreConfig

MS = 1_000_000
IDENTITY3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
IDENTITY4 = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))


def a_camera(name: str) -> Camera:
    return Camera(id=name, camera_matrix=IDENTITY3, distortion=(), store_from_camera=IDENTITY4)


@pytest.fixture
def config() -> StoreConfig:
    cameras = (a_camera("c1"), a_camera("c2"))
    return StoreConfig(store="s", cameras=cameras, limits=Limits(lateness_max_ms=300.0))


def batch(sequence: int, received_ms: int, device: str = "n1") -> ShelfSamples:
    return ShelfSamples(
        device=device,
        received_at_ns=received_ms * MS,
        sequence=sequence % 65536,
        ticks_us=0,
        sample_period_us=16667,
        flags=np.zeros(1, np.uint8),
        readings=np.zeros((12, 1), np.int32),
    )


def image(camera: str, sequence: int, captured_ms: int, received_ms: int) -> PersonDetections:
    return PersonDetections(
        camera=camera,
        received_at_ns=received_ms * MS,
        captured_at_ns=captured_ms * MS,
        sequence=sequence,
        boxes_px=np.zeros((0, 4), np.float32),
        feet_px=np.zeros((0, 2), np.float32),
        scores=np.zeros(0, np.float32),
    )


def test_batches_in_sequence_pass_at_once(config):
    timeline = Timeline(config)
    released = timeline.push(100 * MS, [batch(7, 100), batch(8, 100)])
    assert [b.sequence for b in released.batches] == [7, 8]


def test_a_batch_after_a_hole_waits_for_the_missing_one(config):
    timeline = Timeline(config)
    timeline.push(0, [batch(1, 0)])
    assert timeline.push(200 * MS, [batch(3, 200)]).batches == ()
    late = timeline.push(300 * MS, [batch(2, 300)])
    assert [b.sequence for b in late.batches] == [2, 3]


def test_a_lost_batch_holds_the_next_no_longer_than_the_lateness_limit(config):
    timeline = Timeline(config)
    timeline.push(0, [batch(1, 0)])
    timeline.push(200 * MS, [batch(3, 200)])
    assert [b.sequence for b in timeline.push(500 * MS, []).batches] == [3]
    assert timeline.state.counters["batches_missing"] == 1


def test_a_repeated_batch_is_dropped_and_counted(config):
    timeline = Timeline(config)
    timeline.push(0, [batch(65535, 0)])
    released = timeline.push(200 * MS, [batch(65535, 200), batch(65536, 200)])
    assert [b.sequence for b in released.batches] == [0]
    assert timeline.state.counters["batches_late_or_repeated"] == 1


def test_a_restarted_node_goes_on_at_once(config):
    timeline = Timeline(config)
    timeline.push(0, [batch(30_000, 0)])
    assert [b.sequence for b in timeline.push(200 * MS, [batch(0, 200)]).batches] == [0]
    assert timeline.state.counters["node_restarts"] == 1


def test_gate_signals_pass_at_once_whatever_is_held(config):
    timeline = Timeline(config)
    signal = GateSignal(gate="g", device="d", kind=GateSignalKind.ENTER, received_at_ns=10 * MS)
    released = timeline.push(10 * MS, [image("c1", 1, 5, 10), signal])
    assert released.signals == (signal,)


def captures(released):
    return [d.captured_at_ns // MS for d in released.detections]


def test_detections_wait_until_every_living_camera_has_reported(config):
    timeline = Timeline(config)
    assert captures(timeline.push(50 * MS, [image("c1", 0, 0, 50), image("c2", 0, 60, 50)])) == []
    assert captures(timeline.push(100 * MS, [image("c1", 1, 66, 100)])) == [0]
    assert captures(timeline.push(150 * MS, [image("c2", 1, 126, 150)])) == [60, 66]


def test_images_of_one_instant_are_released_together_wherever_a_step_ends(config):
    timeline = Timeline(config)
    alone = timeline.push(50 * MS, [image("c1", 0, 0, 50), image("c2", 0, 10, 50)])
    assert captures(alone) == []  # camera 2 has reported up to 10 ms, camera 1 only its own image
    assert captures(timeline.push(90 * MS, [image("c1", 1, 66, 90)])) == [0, 10]
    assert captures(timeline.push(100 * MS, [image("c2", 1, 76, 100)])) == []
    assert captures(timeline.push(160 * MS, [image("c1", 2, 132, 160)])) == [66, 76]


def test_a_dead_camera_holds_the_others_no_longer_than_the_limit(config):
    timeline = Timeline(config)
    timeline.push(0, [image("c1", 0, 0, 0), image("c2", 0, 0, 0)])
    seen = []
    for k in range(1, 20):
        out = timeline.push(k * 66 * MS, [image("c1", k, k * 66, k * 66)])
        seen += [(d.camera, d.captured_at_ns // MS) for d in out.detections]
    assert ("c1", 66 * 18) in seen


def test_detections_from_the_future_and_unknown_cameras_are_refused(config):
    timeline = Timeline(config)
    timeline.push(0, [image("c1", 0, 5_000, 0), image("nope", 0, 0, 0)])
    assert timeline.push(10_000 * MS, []).detections == ()
    assert timeline.state.counters == {
        "detections_from_the_future": 1,
        "detections_of_unknown_camera": 1,
    }


@given(st.lists(st.integers(0, 2), min_size=30, max_size=30), st.data())
def test_order_of_arrival_within_the_lateness_limit_does_not_matter(delays, data):
    config = StoreConfig(
        store="s", cameras=(a_camera("c1"), a_camera("c2")), limits=Limits(lateness_max_ms=300.0)
    )
    arrivals: dict[int, list] = {}
    for k, delay in enumerate(delays):
        at = k + (delay if k else 0)
        arrivals.setdefault(at, []).append(image("c1", k, k * 100, at * 100))
        arrivals.setdefault(at, []).append(batch(k, at * 100))
    timeline, order, sequences = Timeline(config), [], []
    for at in range(40):
        seen = data.draw(st.permutations(arrivals.get(at, [])))
        out = timeline.push(at * 100 * MS, seen)
        order += [d.captured_at_ns // MS for d in out.detections]
        sequences += [b.sequence for b in out.batches]
    assert order == [k * 100 for k in range(30)]
    assert sequences == list(range(30))


def test_state_survives_a_round_trip_and_gives_the_same_afterwards(config):
    first = Timeline(config)
    first.push(0, [batch(1, 0), image("c1", 0, 0, 0), image("c2", 0, 0, 0)])
    first.push(200 * MS, [batch(3, 200), image("c1", 1, 150, 200)])
    second = Timeline(config, decode_state(encode_state(first.state), TimelineState))
    later = [batch(2, 300), image("c2", 1, 160, 300)]
    a, b = first.push(300 * MS, later), second.push(300 * MS, later)
    assert [x.sequence for x in a.batches] == [x.sequence for x in b.batches] == [2, 3]
    assert [x.captured_at_ns for x in a.detections] == [x.captured_at_ns for x in b.detections]
