"""The tracker of one camera's boxes: small scenes of walking, hiding, crossing and false boxes."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision import box_association, box_filter, box_tracker
from edge.vision.box_tracker import BoxTracker

FPS = 15.0


def person(x: float, y: float = 200.0, height: float = 100.0) -> list[float]:
    return [x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2]


def follow(scenes, score=0.9, fps=FPS, tracker=None):
    """Play lists of boxes; gives per image {id: box} of confirmed tracks."""
    tracker, seen = BoxTracker() if tracker is None else tracker, []
    for k, boxes in enumerate(scenes):
        boxes = np.array(boxes, dtype=float).reshape(-1, 4)
        found = tracker.step(int(k / fps * 1e9), boxes, np.full(len(boxes), score))
        ok = found.confirmed
        seen.append(dict(zip(found.track_id[ok].tolist(), found.boxes[ok], strict=True)))
    return seen


def test_nobody_is_nobody():
    assert follow([[], [], []]) == [{}, {}, {}]


def test_one_person_walks_under_one_id_from_the_third_sighting_on():
    seen = follow([[person(100 + 4 * k)] for k in range(40)])
    assert [list(s) for s in seen] == [[], []] + [[1]] * 38
    np.testing.assert_allclose(seen[-1][1], person(256), atol=3.0)


def test_a_box_that_shows_up_once_or_twice_is_nobody():
    scenes = [[person(100)]] * 2 + [[]] * 10 + [[person(300)]] + [[]] * 10
    assert not any(follow(scenes))


def test_two_people_who_cross_keep_their_ids():
    scenes = [[person(100 + 5 * k), person(500 - 5 * k, 215)] for k in range(80)]
    last = follow(scenes)[-1]
    np.testing.assert_allclose(last[1][0], person(495)[0], atol=4)
    np.testing.assert_allclose(last[2][0], person(105)[0], atol=4)


def test_who_is_hidden_by_another_while_crossing_is_found_again():
    scenes = []
    for k in range(80):
        both = [person(100 + 5 * k), person(500 - 5 * k, 210, 110)]
        scenes.append(both[1:] if 35 <= k < 46 else both)
    last = follow(scenes)[-1]
    assert sorted(last) == [1, 2]
    np.testing.assert_allclose(last[1][0], person(495)[0], atol=4)


def test_who_walks_behind_a_pillar_for_a_second_comes_out_with_the_same_id():
    scenes = [[person(100 + 4 * k)] if not 30 <= k < 45 else [] for k in range(60)]
    assert list(follow(scenes)[-1]) == [1]


def test_after_two_seconds_unseen_it_is_somebody_new():
    scenes = [[person(100)]] * 10 + [[]] * 45 + [[person(100)]] * 5
    assert list(follow(scenes)[-1]) == [2]


def test_boxes_of_low_score_keep_a_track_alive_and_start_none():
    tracker = BoxTracker()
    weak = np.array([0.3])
    for k in range(30):
        box = np.array([person(100 + 4 * k)])
        found = tracker.step(int(k / FPS * 1e9), box, weak if k >= 5 else np.array([0.9]))
        assert found.track_id.tolist() == [1]
    assert tracker.started == 1
    assert len(follow([[person(100)]] * 10, score=0.3)[-1]) == 0


def test_a_good_box_is_preferred_to_a_weak_one_that_fits_a_little_better():
    tracker = BoxTracker()
    for k in range(10):
        tracker.step(int(k / FPS * 1e9), np.array([person(100)]), np.array([0.9]))
    both = np.array([person(100), person(104)])
    found = tracker.step(int(10 / FPS * 1e9), both, np.array([0.2, 0.9]))
    assert found.detection.tolist() == [1]


def test_a_second_box_on_somebody_seen_starts_no_track():
    scenes = [[person(100)]] * 10 + [[person(100), person(106, 204, 104)]] * 10
    tracker = BoxTracker()
    follow(scenes, tracker=tracker)
    assert tracker.started == 1


def test_broken_boxes_are_left_out_and_counted():
    tracker = BoxTracker()
    boxes = np.array([person(100), [np.nan, 1, 2, 3], [5, 5, 5, 9], [9, 9, 1, 1], person(300)])
    score = np.array([0.9, 0.9, 0.9, 0.9, np.nan])
    for k in range(4):
        found = tracker.step(k * 10**8, boxes, score)
        assert found.detection.tolist() == [0]
    assert tracker.dropped == 16
    assert len(tracker) == 1


def test_an_infinite_box_is_left_out():
    tracker = BoxTracker()
    tracker.step(0, np.array([[0, 0, np.inf, 5], person(9)]), np.array([0.9, 0.9]))
    assert len(tracker) == 1


def test_slow_images_stretch_patience():
    seen = follow([[person(100 + 10 * k)] if k != 12 else [] for k in range(20)], fps=1.0)
    assert list(seen[-1]) == [1]


def test_tracks_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(box_tracker, "TRACKS_MAX", 3)
    tracker = BoxTracker()
    follow([[person(300 * k) for k in range(5)]], tracker=tracker)
    assert (len(tracker), tracker.dropped) == (3, 2)


def test_an_instant_that_goes_back_counts_as_the_last():
    tracker = BoxTracker()
    for at_ns in (10**9, 5 * 10**8, 2 * 10**9):
        found = tracker.step(at_ns, np.array([person(100)]), np.array([0.9]))
    assert found.track_id.tolist() == [1]
    assert found.at_ns == 2 * 10**9


def walkers(rng, n, images):
    """(images, n, 4) boxes of people on straight ways, 10 % noise of a detector."""
    start, speed = rng.uniform(0, 2000, (n, 2)), rng.normal(0, 3, (n, 2))
    k = np.arange(images)[:, None, None]
    centre = start + k * speed + rng.normal(0, 3, (images, n, 2))
    half = np.array([20.0, 50.0]) * rng.normal(1, 0.03, (images, n, 2))
    return np.concatenate((centre - half, centre + half), axis=2)


def test_the_same_boxes_give_the_same_tracks_wherever_the_origin_and_whatever_the_scale():
    scenes = walkers(np.random.default_rng(3), 30, 40)
    plain = follow(scenes)
    for moved in (follow(scenes + 1000.0), follow(scenes * 4.0)):
        assert [sorted(s) for s in moved] == [sorted(s) for s in plain]
    shifted = follow(scenes + 1000.0)
    for a, b in zip(plain, shifted, strict=True):
        for i in a:
            np.testing.assert_allclose(a[i] + 1000.0, b[i], atol=1e-6)


def test_the_order_of_boxes_only_names_the_tracks_differently():
    rng = np.random.default_rng(4)
    scenes = walkers(rng, 20, 30)
    plain = follow(scenes)
    mixed = follow([scene[rng.permutation(20)] for scene in scenes])
    key = lambda seen: sorted(np.round(box, 6).tolist() for box in seen.values())  # noqa: E731
    assert [key(s) for s in mixed] == [key(s) for s in plain]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_exact_assignment_is_the_best_of_all(n, m, seed):
    rng = np.random.default_rng(seed)
    table = rng.random((n, m)) < 0.7
    t, d = table.nonzero()
    cost = rng.uniform(-2, 20, len(t))
    none = np.zeros((4, len(t)))
    taken = box_association.assign(box_association.BoxPairs(t, d, none, cost, cost))
    assert len(set(t[taken])) == len(set(d[taken])) == len(taken)
    miss = box_association.MISS_COST
    C = np.full((n + m, m + n), miss / 2)
    C[n:, m:] = 0.0
    C[:n, :m] = miss
    C[t, d] = cost
    rows = range(n + m)
    if n + m <= 6:
        least = min(sum(C[i, p[i]] for i in rows) for p in permutations(range(n + m)))
        ours = cost[taken].sum() + miss / 2 * (n + m - 2 * len(taken))
        assert ours == pytest.approx(least)


def test_prediction_is_the_matrix_equation_of_each_axis():
    rng = np.random.default_rng(5)
    state = box_filter.born(rng.normal(size=(4, 3)))
    state[box_filter.RATE] = rng.normal(size=(4, 3))
    once = box_filter.predict(box_filter.predict(state, 0.1), 0.2)
    np.testing.assert_allclose(once, box_filter.predict(state, 0.3), rtol=1e-9)
    far = box_filter.predict(state, 0.04)
    np.testing.assert_allclose(far[:4], state[:4] + 0.04 * state[4:8], atol=2e-2)


def test_an_update_is_kalmans_and_a_misfit_counts_less():
    state = box_filter.predict(box_filter.born(np.zeros((4, 2))), 0.5)
    before = state.copy()
    innovation = np.array([[0.1, 0.1], [0, 0], [0, 0], [0, 0]])
    box_filter.update(state, np.array([0, 1]), innovation, np.array([1.0, 30.0]))
    P = np.array([[before[8, 0], before[10, 0]], [before[10, 0], before[12, 0]]])
    H = np.array([[1.0, 0.0]])
    K = P @ H.T / (P[0, 0] + box_filter.NOISE_VAR[0])
    after = P - K @ H @ P
    assert state[[0, 4], 0] == pytest.approx((K * 0.1).ravel())
    assert state[[8, 10, 12], 0] == pytest.approx(after[[0, 0, 1], [0, 1, 1]])
    assert 0 < state[0, 1] < state[0, 0]
    assert state[8, 1] > state[8, 0]
