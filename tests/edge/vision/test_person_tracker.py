"""Stories of people in a store of 12 x 8 m, seen by four cameras with the usual faults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from people_scene import (
    GATE_M,
    PERIOD_NS,
    SECOND_NS,
    Eyes,
    Faults,
    crowd,
    floor_packet,
    path,
    play,
    share_right,
    store,
    visit,
)

from edge.vision.camera_model import project
from edge.vision.person_tracker import PersonTracker
from messages.ids import GateId

GATE = GateId("gate")
IN = (1.0, *GATE_M), (2.5, GATE_M[0], 1.6)  # through the gate and one step


def own(done, k):
    """Probability at the end that the track nearest to where visit k is likeliest is visit k's."""
    tracks = done.tracker.tracks
    return float(tracks.identity[:, tracks.visits.index(visit(k))].max())


# --- one person ---


def test_one_person_alone_keeps_their_identity_from_door_to_door():
    done = play(crowd(np.random.default_rng(1), 1, 30.0), seed=1)
    assert done.lost <= 3
    assert done.switches == 0
    assert min(done.own) > 0.99
    assert np.median(done.error_m) < 0.06
    assert np.percentile(done.error_m, 95) < 0.15
    assert done.left[0][visit(0)] > 0.98
    assert len(done.tracker.tracks.track_id) == 0


def test_hidden_for_five_seconds_and_found_again_where_they_walked():
    way = path(
        *IN, (6.0, 3.0, 4.0), (10.0, 3.0, 4.0), (14.0, 6.5, 6.0), (18.0, 8.0, 5.0), leaves=False
    )
    seen = []

    def each(t, tracker, xy, present):
        tracks = tracker.tracks
        if t > 3.0:
            assert len(tracks.track_id) >= 1
            spread = np.sqrt(np.trace(tracks.covariance[0, :2, :2]))
            seen.append((t, float(tracks.at_ns - tracks.last_seen_ns[0]) / SECOND_NS, spread))

    done = play([way], faults=Faults(hidden={0: [(10.0, 15.0)]}), end_s=17.5, each=each)
    during = [s for s in seen if 13.0 < s[0] < 13.9]
    assert min(s[1] for s in during) > 3.0
    assert min(s[2] for s in during) > 1.0
    assert max(s[2] for s in during) < 6.0
    tracks = done.tracker.tracks
    assert tracks.track_id.shape == (1,)
    assert own(done, 0) > 0.98
    assert np.hypot(*(tracks.position_store_m[0] - way.at(17.4))) < 0.3


@pytest.mark.parametrize("gap_s", [1.0, 3.0, 20.0])
def test_a_gap_of_all_cameras_leaves_one_person_who_they_are(gap_s):
    way = path(*IN, (6.0, 3.0, 4.0), (8.0 + gap_s, 7.0, 5.0), (30.0, 7.0, 5.0), leaves=False)
    done = play([way], faults=Faults(dark=[(8.0, 8.0 + gap_s)]), end_s=9.5 + gap_s)
    assert own(done, 0) > 0.98


# --- several people ---


def test_a_crowd_is_followed_and_never_surely_mistaken():
    errors, said, right, sure_exits = [], [], [], []
    for seed in range(2):
        done = play(crowd(np.random.default_rng(10 + seed), 6, 22.0), seed=seed)
        errors += done.error_m
        said += done.said
        right += done.right
        assert done.lost < 0.01 * len(done.own)
        for k, answer in done.left.items():
            best = max(answer, key=lambda v: answer[v])
            sure_exits.append(answer[best] < 0.95 or best == visit(k))
    assert np.median(errors) < 0.06
    assert np.percentile(errors, 95) < 0.2
    assert np.mean(right) > 0.8
    n, share = share_right(said, right, 0.95)
    assert n > 0.3 * len(said)
    assert share >= 0.97
    assert np.mean(sure_exits) > 0.97


def test_two_who_cross_at_a_distance_stay_themselves():
    a = path(*IN, (7.0, 2.0, 3.0), (8.0, 2.0, 3.0), (15.0, 10.0, 3.0), leaves=False)
    b = path((4.0, *GATE_M), (5.5, 6.0, 1.6), (8.0, 9.0, 4.2), (15.0, 2.0, 4.2), leaves=False)
    done = play([a, b], end_s=14.5)
    assert min(own(done, 0), own(done, 1)) > 0.95
    assert all(done.right[-20:])


def test_two_who_pass_quickly_within_an_arm_are_mostly_told_by_their_motion():
    a = path(*IN, (7.0, 2.0, 4.0), (8.0, 2.0, 4.0), (15.0, 10.0, 4.0), leaves=False)
    b = path((4.0, *GATE_M), (5.5, 6.0, 1.6), (8.0, 9.5, 4.35), (15.0, 2.0, 4.35), leaves=False)
    done = [play([a, b], seed=seed, end_s=14.5) for seed in range(3)]
    n, share = share_right(
        [p for d in done for p in d.said[-20:]], [r for d in done for r in d.right[-20:]], 0.9
    )
    assert share == 1.0
    assert n >= 20


def test_two_who_meet_stop_and_part_are_uncertain():
    """Face to face at 0.15 m for three seconds: nobody could say who went where."""
    a = path(
        *IN,
        (7.0, 4.0, 4.0),
        (10.0, 5.95, 4.0),
        (13.0, 5.95, 4.0),
        (16.0, 5.9, 6.0),
        (20.0, 5.9, 6.0),
        leaves=False,
    )
    b = path(
        (4.0, *GATE_M),
        (5.5, 6.0, 1.6),
        (8.0, 8.0, 4.0),
        (10.0, 6.1, 4.0),
        (13.0, 6.1, 4.0),
        (16.0, 6.1, 2.5),
        (20.0, 6.1, 2.5),
        leaves=False,
    )
    for seed in range(3):
        done = play([a, b], seed=seed, end_s=17.0)
        assert max(done.own[-10:]) < 0.9


def after_a_gap(seed, apart_m, walk):
    """Two people, 3 s of darkness, then where they went; the statements about both."""
    rng = np.random.default_rng(seed)
    first = np.array([6.0, 3.8]) + rng.normal(0, 0.3, 2)
    angle = rng.uniform(0, 2 * np.pi)
    ways = []
    for k, spot in enumerate((first, first + apart_m * np.array([np.cos(angle), np.sin(angle)]))):
        start = 0.5 + 1.5 * k
        there = start + 1.5 + np.hypot(*(spot - [GATE_M[0], 1.6])) / 1.0
        leave = 7.3 + rng.uniform(0, 1.0)
        goal = np.clip(spot + rng.normal(0, 1.5, 2), [0.8, 1.5], [11.0, 7.0]) if walk else spot
        arrive = leave + max(np.hypot(*(goal - spot)) / rng.uniform(0.6, 1.2), 0.1)
        ways.append(
            path(
                (start, *GATE_M),
                (start + 1.5, GATE_M[0], 1.6),
                (there, *spot),
                (leave, *spot),
                (arrive, *goal),
                (30.0, *goal),
                leaves=False,
            )
        )
    done = play(ways, seed=seed, faults=Faults(dark=[(8.0, 11.0)]), end_s=10.8)
    return done.said[-2:], done.right[-2:], done.own[-2:]


def test_a_gap_with_two_people_near_each_other_spreads_identity():
    results = [after_a_gap(seed, 0.6, True) for seed in range(8)]
    said = np.concatenate([r[0] for r in results])
    right = np.concatenate([r[1] for r in results])
    assert np.mean(said >= 0.95) < 0.15
    assert np.mean(said) < 0.8
    assert share_right(said, right, 0.95)[1] >= 0.97


def test_a_gap_with_two_people_far_apart_keeps_them():
    own_p = np.concatenate([after_a_gap(seed, 3.5, False)[2] for seed in range(4)])
    assert np.median(own_p) > 0.95


def test_statements_after_gaps_are_as_sure_as_they_are_right():
    results = [
        after_a_gap(100 + seed, apart, True) for seed in range(8) for apart in (1.0, 2.0, 3.5)
    ]
    said = np.concatenate([r[0] for r in results])
    right = np.concatenate([r[1] for r in results])
    assert share_right(said, right, 0.95)[1] >= 0.93  # of about 15: one may be wrong
    assert abs(np.mean(said) - np.mean(right)) < 0.12


def test_a_party_of_two_is_one_visit_with_two_tracks():
    a = path(*IN, (7.0, 2.0, 4.0), (20.0, 2.0, 4.0), leaves=False)
    b = path((1.8, *GATE_M), (3.3, 6.2, 1.6), (9.0, 9.0, 5.0), (14.0, 6.0, 1.5), (15.2, *GATE_M))
    inside = {}

    def each(t, tracker, xy, present):
        inside[round(t, 1)] = tracker.people_inside(visit(7))

    done = play([a, b], visits=[visit(7), visit(7)], end_s=17.0, each=each)
    assert inside[10.0] == 2
    assert inside[16.5] == 1
    assert done.left[1][visit(7)] > 0.95
    assert min(done.own) > 0.95


def test_somebody_who_walks_in_unannounced_is_nobody_known():
    a = path(*IN, (7.0, 2.0, 4.0), (20.0, 2.0, 4.0), leaves=False)
    b = path((8.0, *GATE_M), (10.0, 6.2, 2.5), (14.0, 9.0, 5.0), (20.0, 9.0, 5.0), leaves=False)
    config = store()
    eyes, tracker = Eyes(config, np.random.default_rng(3), Faults()), PersonTracker(config)
    for step in range(240):
        at_ns = SECOND_NS + step * PERIOD_NS
        t = step * PERIOD_NS / SECOND_NS
        xy = np.array([a.at(t), b.at(t)])
        tracker.step(at_ns, eyes.look(at_ns, xy, np.array([a.present(t), b.present(t)])))
        if step == 15:
            tracker.entered(visit(0), GATE, at_ns)
    tracks = tracker.tracks
    j = np.hypot(*(tracks.position_store_m - [9.0, 5.0]).T).argmin()
    assert tracks.identity[j, -1] > 0.95
    assert tracks.identity[:, 0].max() > 0.95


def test_a_visit_that_ended_is_nobody_from_then_on():
    done = play([path(*IN, (7.0, 2.0, 4.0), (12.0, 2.0, 4.0), leaves=False)], end_s=9.0)
    done.tracker.visit_ended(visit(0))
    assert done.tracker.people_inside(visit(0)) == 0
    assert done.tracker.tracks.visits == ()
    assert done.tracker.tracks.identity.tolist() == [[1.0]]
    window = done.tracker.between(7 * SECOND_NS, 8 * SECOND_NS)
    assert window.visits == (visit(0),)  # the past stays what it was
    assert window.identity[:, 0, 0].min() > 0.98


def test_the_gate_makes_a_track_for_somebody_no_camera_saw():
    tracker = PersonTracker(store())
    tracker.step(SECOND_NS, [])
    tracker.entered(visit(0), GATE, SECOND_NS)
    tracks = tracker.tracks
    assert tracks.identity.tolist() == [[1.0, 0.0]]
    np.testing.assert_allclose(tracks.position_store_m[0], GATE_M)
    for step in range(1, 30):
        at_ns = SECOND_NS + step * PERIOD_NS
        tracker.step(at_ns, [floor_packet(at_ns, [[6.2, 1.0 + 0.05 * step]])])
    assert tracker.tracks.identity.shape == (1, 2)
    assert tracker.tracks.identity[0, 0] > 0.98
    assert np.sqrt(tracker.tracks.covariance[0, 0, 0]) < 0.2


def test_who_leaves_unseen_by_anybody_may_be_nobody():
    tracker = PersonTracker(store())
    tracker.step(SECOND_NS, [])
    assert tracker.left(GATE, SECOND_NS) == {"": 1.0}


# --- history and wrists ---


def test_the_window_shows_positions_identity_and_wrists():
    config = store()
    tracker = PersonTracker(config)
    eyes = Eyes(config, np.random.default_rng(1), Faults(miss=0.0, false_boxes=0.0))
    wrists = np.array([[4.3, 4.2, 1.2], [4.4, 3.8, 0.9]])
    for step in range(40):
        at_ns = SECOND_NS + step * PERIOD_NS
        packets = eyes.look(at_ns, np.array([[4.0, 4.0]]), np.array([True]))
        shown = []
        for packet, model in zip(packets, eyes.models, strict=True):
            px, _ = project(wrists, model)
            n = len(packet.scores)
            given = np.repeat(px[None], n, axis=0).astype(np.float32)
            shown.append(replace(packet, wrists_px=given))
        tracker.step(at_ns, shown)
    window = tracker.between(2 * SECOND_NS, 3 * SECOND_NS)
    assert 7 <= len(window.at_ns) <= 11
    assert window.track_id.shape == (1,)
    assert window.identity.shape == (len(window.at_ns), 1, 1)
    np.testing.assert_allclose(window.position_store_m[-1, 0], [4.0, 4.0], atol=0.2)
    assert window.position_sd_m.max() < 0.2
    np.testing.assert_allclose(window.wrists_store_m[-1, 0], wrists, atol=0.1)


def test_absent_people_are_nan_in_the_window_and_rows_still_sum_to_one():
    a = path(*IN, (6.0, 3.0, 4.0), (20.0, 3.0, 4.0), leaves=False)
    b = path((7.0, *GATE_M), (8.5, 6.0, 1.6), (12.0, 9.0, 4.0), (20.0, 9.0, 4.0), leaves=False)
    window = play([a, b], end_s=11.0).tracker.between(5 * SECOND_NS, 12 * SECOND_NS)
    assert window.track_id.shape == (2,)
    assert np.isnan(window.position_store_m[0, 1]).all()
    assert np.isfinite(window.position_store_m[-1]).all()
    np.testing.assert_allclose(window.identity.sum(axis=2), 1.0)


# --- identity is conserved ---


def test_identity_rows_sum_to_one_and_nobody_is_multiplied():
    def each(t, tracker, xy, present):
        tracks = tracker.tracks
        np.testing.assert_allclose(tracks.identity.sum(axis=1), 1.0, atol=1e-9)
        assert (tracks.identity >= -1e-12).all()
        assert (tracks.identity[:, :-1].sum(axis=0) < 1.0 + 1e-6).all()

    play(
        crowd(np.random.default_rng(4), 5, 18.0),
        seed=4,
        faults=Faults(dark=[(12.0, 14.0)]),
        each=each,
    )


def test_a_shopper_who_reappears_near_the_gate_is_not_taken_for_the_newcomer():
    tracker = PersonTracker(store())

    def see(step, *points):
        at_ns = SECOND_NS + step * PERIOD_NS
        tracker.step(at_ns, [floor_packet(at_ns, points, camera=c) for c in ("a", "b")])
        return at_ns

    see(0)
    tracker.entered(visit(0), GATE, SECOND_NS)
    for step in range(1, 30):
        see(step, [6.3, min(0.3 + 0.08 * step, 1.5)])
    for step in range(30, 60):  # two seconds hidden
        see(step)
    for step in range(60, 66):
        see(step, [6.4, 1.35])
    tracker.entered(visit(1), GATE, see(66, [6.4, 1.35]))
    for step in range(67, 85):
        see(step, [6.4, 1.35], [5.8, 0.4 + 0.05 * (step - 67)])
    tracks = tracker.tracks
    assert tracks.visits == (visit(0), visit(1))
    shopper = np.hypot(*(tracks.position_store_m - [6.4, 1.35]).T).argmin()
    newcomer = np.hypot(*(tracks.position_store_m - [5.8, 1.25]).T).argmin()
    assert tracks.identity[shopper, 0] > 0.9
    assert tracks.identity[newcomer, 1] > 0.9
