"""The tracker of floor points: several cameras, one track a person, noise it was not told."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.floor_tracker import FloorTracker

FPS = 15.0
NONE = np.zeros(0, np.int64)


def watch(people, cameras=3, sd=0.1, seed=1, missing=0.1, false=0.02):
    """Points of ``cameras`` that see all of people (images, n, 2): one list entry an image."""
    rng = np.random.default_rng(seed)
    for where in people:
        camera, points = [], []
        for c in range(cameras):
            shown = where[rng.random(len(where)) > missing]
            strays = rng.uniform(0, 10, (rng.poisson(false * len(where)), 2))
            seen = np.concatenate((shown + rng.normal(0, sd, shown.shape), strays))
            camera += [c] * len(seen)
            points.append(seen)
        yield np.array(camera, dtype=np.int64), np.concatenate(points)


def follow(scenes, cameras=3):
    tracker, found = FloorTracker(cameras), []
    for k, (camera, points) in enumerate(scenes):
        seen = tracker.step(int(k / FPS * 1e9), camera, points, np.full(len(camera), 0.9))
        found.append(seen)
    return tracker, found


def stand(n, images):
    grid = np.stack(np.meshgrid(np.arange(1, 10, 2.0), np.arange(1, 10, 2.0)), axis=-1)
    return np.repeat(grid.reshape(1, -1, 2)[:, :n], images, axis=0)


def test_an_empty_floor_stays_empty():
    tracker, found = follow([(NONE, np.zeros((0, 2)))] * 5)
    assert len(tracker.people) == 0
    assert found[-1].position_m.shape == (0, 2)


def test_points_of_three_cameras_make_one_track_a_person():
    _, found = follow(watch(stand(8, 60)))
    last = found[-1]
    assert last.confirmed.sum() == 8
    error = np.linalg.norm(last.position_m[last.confirmed][:, None] - stand(8, 1)[0], axis=2)
    assert error.min(axis=1).max() < 0.2


def test_two_people_who_cross_keep_their_tracks():
    t = np.arange(90)[:, None] / FPS
    one = np.concatenate((1 + t, np.full_like(t, 4.0)), axis=1)
    other = np.concatenate((7 - t, np.full_like(t, 4.4)), axis=1)
    _, found = follow(watch(np.stack((one, other), axis=1)))
    early = dict(zip(found[30].track_id.tolist(), found[30].position_m, strict=True))
    late = dict(zip(found[-1].track_id.tolist(), found[-1].position_m, strict=True))
    left = min(early, key=lambda i: early[i][0])
    assert late[left][0] == pytest.approx(6.9, abs=0.3)


@pytest.mark.parametrize("sd", [0.05, 0.3])
def test_the_noise_of_cameras_is_learned(sd):
    tracker, found = follow(watch(stand(10, 200), sd=sd))
    low, high = sd**2, 9 * sd**2
    assert np.all((tracker.noise_var_m2 > 0.5 * low) & (tracker.noise_var_m2 < high))
    assert found[-1].confirmed.sum() == 10


def test_nan_and_weak_points_are_left_out():
    tracker = FloorTracker(1)
    points = np.array([[np.nan, 1], [2.0, np.inf], [3.0, 3.0], [5.0, 5.0]])
    for k in range(10):
        score = np.array([0.9, 0.9, 0.9, 0.05])
        tracker.step(k * 10**8, np.zeros(4, np.int64), points, score)
    assert tracker.people.track_id.tolist() == [1]


def test_a_stray_point_of_one_camera_is_nobody():
    scenes = list(watch(stand(4, 40), false=0.0))
    for k in (20, 21, 22, 23):
        camera, points = scenes[k]
        scenes[k] = (np.append(camera, 2), np.concatenate((points, [[6.0, 6.0]])))
    _, found = follow(scenes)
    assert all(seen.confirmed.sum() <= 4 for seen in found)
