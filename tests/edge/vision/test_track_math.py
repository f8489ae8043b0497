"""The tracker's arithmetic against plain references."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision import association, ground_filter, reassociation
from edge.vision.detections import FloorDetections
from edge.vision.track_history import SAMPLES_MAX, TrackHistory, record, window


def some_state(rng, n):
    A = rng.normal(size=(n, 4, 4))
    P = A @ A.transpose(0, 2, 1) + 0.1 * np.eye(4)
    upper = np.array([P[:, i, j] for i in range(4) for j in range(i, 4)])
    return rng.normal(size=(4, n)), upper, P


def reference_motion(dt):
    a, b, q_pp, q_pv, q_vv = ground_filter.motion(dt)
    F = np.array([[1, 0, a, 0], [0, 1, 0, a], [0, 0, b, 0], [0, 0, 0, b]])
    Q = np.array([[q_pp, 0, q_pv, 0], [0, q_pp, 0, q_pv], [q_pv, 0, q_vv, 0], [0, q_pv, 0, q_vv]])
    return F, Q


def test_predict_is_the_textbook_prediction():
    rng = np.random.default_rng(1)
    mean, upper, P = some_state(rng, 5)
    F, Q = reference_motion(0.4)
    x, U = ground_filter.predict(mean, upper, 0.4)
    np.testing.assert_allclose(x, F @ mean, atol=1e-12)
    np.testing.assert_allclose(ground_filter.full(U), F @ P @ F.T + Q, atol=1e-12)


def test_two_short_predictions_are_one_long_one():
    mean, upper, _ = some_state(np.random.default_rng(2), 4)
    once = ground_filter.predict(mean, upper, 1.0)
    twice = ground_filter.predict(*ground_filter.predict(mean, upper, 0.3), 0.7)
    np.testing.assert_allclose(once[0], twice[0], atol=1e-10)
    np.testing.assert_allclose(once[1], twice[1], atol=1e-10)


def test_unseen_speed_stays_bounded():
    mean, upper, _ = some_state(np.random.default_rng(3), 1)
    _, U = ground_filter.predict(mean, upper, 1e4)
    assert abs(U[ground_filter.UU, 0] - ground_filter.SPEED_VAR) < 1e-9


def test_update_of_two_cameras_is_two_updates_of_one():
    rng = np.random.default_rng(4)
    mean, upper, P = some_state(rng, 3)
    z, R = rng.normal(size=(2, 2)), np.array([[0.05, 0.1], [0.01, -0.02], [0.04, 0.2]])
    d = z - mean[:2, [1]]
    x, U = ground_filter.update(mean, upper, np.array([1, 1]), d, R)
    H, m, C = np.eye(2, 4), mean[:, 1], P[1]
    for k in range(2):
        Rk = np.array([[R[0, k], R[1, k]], [R[1, k], R[2, k]]])
        K = C @ H.T @ np.linalg.inv(H @ C @ H.T + Rk)
        m, C = m + K @ (z[:, k] - H @ m), C - K @ H @ C
    np.testing.assert_allclose(x[:, 1], m, atol=1e-9)
    np.testing.assert_allclose(ground_filter.full(U)[1], C, atol=1e-9)
    np.testing.assert_array_equal(x[:, [0, 2]], mean[:, [0, 2]])


def test_bounded_people_stay_inside_with_a_sound_covariance():
    mean, upper, _ = some_state(np.random.default_rng(5), 6)
    mean, upper = ground_filter.predict(20 * mean, 50 * upper, 30.0)
    low, high, cap = np.array([-1.0, -2.0]), np.array([3.0, 2.0]), np.array([1.3, 1.3])
    x, U = ground_filter.bounded(mean, upper, low, high, cap)
    assert (x[0] >= -1).all()
    assert (x[0] <= 3).all()
    assert U[ground_filter.XX].max() <= 1.3 + 1e-9
    assert np.linalg.eigvalsh(ground_filter.full(U)).min() > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10_000))
def test_marginals_are_the_sum_over_all_assignments(m, k, seed):
    rng = np.random.default_rng(seed)
    L = np.exp(rng.normal(0, 3, (m, k))) * (rng.random((m, k)) < 0.8)
    new = np.exp(rng.normal(-2, 1, m))
    p, p_new = reassociation.marginals(L, new)
    expected = np.zeros((m, k + 1))
    total = 0.0
    for chosen in permutations([*range(k), *([k] * m)], m):  # k stands for a newcomer
        taken = [j for j in chosen if j < k]
        if len(taken) == len(set(taken)):
            w = np.prod([L[i, j] if j < k else new[i] for i, j in enumerate(chosen)])
            repeats = np.prod([*range(1, 1 + m), 1.0]) / np.prod([*range(1, 1 + len(taken)), 1.0])
            total += w / repeats
            for i, j in enumerate(chosen):
                expected[i, j] += w / repeats
    if m:
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, expected[:, :k], atol=1e-9)
        np.testing.assert_allclose(p_new, expected[:, k], atol=1e-9)


def test_propagated_marginals_are_near_the_exact_ones_and_no_surer():
    rng = np.random.default_rng(6)
    L, new = np.exp(rng.normal(0, 1.5, (6, 8))), np.full(6, 0.01)
    exact, _ = reassociation._exact(L, new)
    near, _ = reassociation._propagated(L**0.8, new**0.8)
    assert np.abs(exact - near).max() < 0.25
    assert near.max(axis=1).mean() <= exact.max(axis=1).mean() + 0.01
    assert (near.sum(axis=0) <= 1 + 1e-9).all()


def test_assignment_takes_each_detection_once_and_each_track_once_a_camera():
    rng = np.random.default_rng(7)
    m = 120
    seen = FloorDetections(
        at_ns=0,
        camera=np.sort(rng.integers(0, 4, m)),
        position=rng.uniform(0, 3, (2, m)),
        covariance=np.tile([[0.02], [0.0], [0.02]], m),
        age_s=np.zeros(m),
        may_start=np.ones(m, np.bool_),
    )
    n = 25
    mean, covariance = ground_filter.born(rng.uniform(0, 3, (2, n)), np.full((3, n), 0.01))
    covariance[1] = 0.0
    open_ = np.ones(n, np.bool_)
    pairs = association.pairs_in_reach(mean, covariance, open_, ~open_, seen)
    taken = association.assign(pairs, seen.camera, n)
    assert taken.sum() > 40
    assert np.bincount(pairs.detection[taken]).max() == 1
    view = seen.camera[pairs.detection[taken]] * n + pairs.track[taken]
    assert np.bincount(view).max() == 1


def test_history_keeps_the_newest_samples_in_bounded_arrays():
    history = TrackHistory()
    for k in range(SAMPLES_MAX + 50):
        ids = np.arange(k % 20)
        identity = np.ones((len(ids), 1))
        record(
            history,
            k * 100,
            ids,
            np.zeros((len(ids), 2)),
            np.ones(len(ids)),
            identity,
            np.zeros(0, np.int64),
            None,
        )
    assert history.length == SAMPLES_MAX
    assert history.track_id.shape == (SAMPLES_MAX, 32)
    w = window(history, 0, 10**9)
    assert w.at_ns[0] == 50 * 100
    assert w.at_ns[-1] == (SAMPLES_MAX + 49) * 100
    assert w.position_store_m.shape == (SAMPLES_MAX, 19, 2)


def test_a_window_between_samples_gives_the_nearest_ones():
    history = TrackHistory()
    assert window(history, 5, 6).at_ns.shape == (0,)
    for k in range(5):
        one = np.ones((1, 1))
        record(history, k * 100, np.array([7]), np.full((1, 2), k), one[0], one, one[0][:0], None)
    assert window(history, 120, 130).at_ns.tolist() == [100, 200]
    assert window(history, -50, -10).at_ns.tolist() == [0]
    assert window(history, 900, 999).at_ns.tolist() == [400]
    assert window(history, 100, 300).at_ns.tolist() == [100, 200, 300]
