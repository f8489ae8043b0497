"""Packets as they come: late, repeated, broken, in any order, from any origin, and many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from people_scene import PERIOD_NS, SECOND_NS, Eyes, Faults, crowd, floor_packet, play, store

from edge.vision.person_tracker import PersonTracker
from messages.ids import CameraId


def test_no_packets_no_people_no_answers_but_time_goes_on():
    tracker = PersonTracker(store())
    assert tracker.covered_until_ns() == -1
    assert tracker.between(0, 10).track_id.shape == (0,)
    for k in range(1, 20):
        tracker.step(k * SECOND_NS // 10, [floor_packet(k * SECOND_NS // 10, [])])
    assert tracker.covered_until_ns() == 19 * SECOND_NS // 10
    tracks = tracker.tracks
    assert tracks.identity.shape == (0, 1)
    assert tracks.covariance.shape == (0, 4, 4)
    tracker.step(10 * SECOND_NS, [])
    assert tracker.covered_until_ns() == 10 * SECOND_NS - 300_000_000


def test_unusable_packets_are_counted_and_change_nothing():
    tracker = PersonTracker(store())
    now = 10 * SECOND_NS
    tracker.step(now, [floor_packet(now, [[3.0, 3.0]])])
    good = floor_packet(now + 1, [[3.0, 3.0]], camera="d")
    boxes = replace(good, camera=CameraId("unknown"), positions_store_m=None)
    tracker.step(
        now + 1,
        [
            floor_packet(now, [[3.0, 3.0]]),
            floor_packet(now - SECOND_NS, [[5.0, 5.0]], camera="late"),
            floor_packet(now + SECOND_NS, [[5.0, 5.0]], camera="early"),
            replace(good, image_state="frozen"),
            replace(good, positions_store_m=np.zeros((1, 3), np.float32)),
            replace(good, embeddings=np.zeros((2, 8), np.float32)),
            replace(good, embeddings=np.zeros(1, np.float32)),
            boxes,
        ],
    )
    assert tracker.state.counters == {
        "repeated": 1,
        "late": 1,
        "future": 1,
        "unusable_image": 1,
        "malformed": 3,
        "unknown_camera": 1,
    }
    assert len(tracker.state.people) == 1


def test_nan_and_weak_detections_are_left_out():
    tracker = PersonTracker(store())
    points = [[np.nan, 1.0], [np.inf, 2.0], [3.0, 3.0]]
    for k in range(1, 8):
        at_ns = k * PERIOD_NS
        weak = floor_packet(at_ns, [[8.0, 3.0]], camera="weak", score=0.05)
        nan = floor_packet(at_ns, [[8.0, 6.0]], camera="nan", score=np.nan)
        tracker.step(at_ns, [floor_packet(at_ns, points), weak, nan])
    assert len(tracker.state.people) == 1
    assert np.isfinite(tracker.state.people.mean).all()


def test_order_of_packets_in_one_step_is_irrelevant():
    ways = crowd(np.random.default_rng(5), 3, 15.0)
    config = store()
    eyes = Eyes(config, np.random.default_rng(6), Faults())
    one, two = PersonTracker(config), PersonTracker(config)
    rng = np.random.default_rng(7)
    for step in range(120):
        at_ns = SECOND_NS + step * PERIOD_NS
        t = step * PERIOD_NS / SECOND_NS
        xy, present = np.array([w.at(t) for w in ways]), np.array([w.present(t) for w in ways])
        packets = eyes.look(at_ns, xy, present)
        one.step(at_ns, packets)
        two.step(at_ns, [packets[k] for k in rng.permutation(len(packets))])
    np.testing.assert_array_equal(one.state.people.mean, two.state.people.mean)
    np.testing.assert_array_equal(one.state.people.track_id, two.state.people.track_id)


def test_moving_the_stores_origin_moves_every_answer():
    ways = crowd(np.random.default_rng(8), 3, 15.0)
    here, there = play(ways, seed=2), play(ways, seed=2, origin=(5.0, -3.0))
    for a, b in zip(
        (here.error_m, here.own, here.said), (there.error_m, there.own, there.said), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-3)
    w, v = (d.tracker.between(8 * SECOND_NS, 12 * SECOND_NS) for d in (here, there))
    np.testing.assert_allclose(
        w.position_store_m + np.array([5.0, -3.0]), v.position_store_m, atol=1e-3
    )
    assert here.left.keys() == there.left.keys()


def test_three_hundred_people_are_followed():
    rng = np.random.default_rng(9)
    config = replace(
        store(), cameras=(), gates=(), area=replace(store().area, x_max_m=80.0, y_max_m=50.0)
    )
    tracker = PersonTracker(config)
    grid = np.stack(np.meshgrid(np.arange(20) * 3.5 + 3, np.arange(15) * 3.0 + 3), -1).reshape(
        -1, 2
    )
    heading = rng.uniform(0, 2 * np.pi, 300)
    for k in range(30):
        at_ns = SECOND_NS + k * PERIOD_NS
        xy = grid + 0.06 * k * np.column_stack((np.cos(heading), np.sin(heading)))
        packets = []
        for c in range(4):
            shown = rng.random(300) > 0.1
            points = (xy + rng.normal(0, 0.08, xy.shape))[shown]
            packets.append(floor_packet(at_ns, points, camera=f"c{c}"))
        tracker.step(at_ns, packets)
    tracks = tracker.tracks
    assert len(tracks.track_id) == 300
    nearest = np.hypot(*(tracks.position_store_m[:, None] - xy).transpose(2, 0, 1)).min(axis=1)
    assert nearest.max() < 0.4
