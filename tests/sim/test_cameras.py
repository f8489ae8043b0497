"""Simulated detectors: geometry against OpenCV, and faults no kinder than those measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sim.bodies import Bodies
from sim.cameras import Cameras, Faults
from sim.first_store import first_store
from sim.geometry import fixture_boxes
from sim.outlines import View
from sim.outputs import CameraPacket
from sim.projection import Lens, Lenses, project

STORE = first_store()


def _bodies(*points: tuple[float, float]) -> Bodies:
    n = len(points)
    position = np.array(points, dtype=float).reshape(-1, 2)
    wrists = np.zeros((n, 2, 3))
    wrists[:, :, :2] = position[:, None]
    wrists[:, :, 2] = 1.0
    key = tuple(f"p{i}" for i in range(n))
    return Bodies(key, position[None], np.full(n, 1.7), np.full(n, 0.23), wrists[None])


def _packet(cameras: Cameras, camera: int, at_ns: int, bodies: Bodies) -> CameraPacket:
    return cameras.packets([(at_ns, camera)], bodies)[0]


def _shown(bodies: Bodies, camera: int, fixtures=STORE.fixtures) -> np.ndarray:
    """(n, levels) of everybody before one camera."""
    n = len(bodies.key)
    lenses = Lenses.of([Lens.of(c) for c in STORE.cameras])
    image = np.zeros(n, int)
    view = View.of(bodies, image, np.arange(n), lenses, np.full(n, camera))
    return view.unhidden(bodies, image, *fixture_boxes(fixtures))[0]


def test_lens_projects_as_opencv_does() -> None:
    points = np.random.default_rng(1).uniform((2, 2, 0), (5, 4, 2), (50, 3))
    for camera in STORE.cameras:
        lens = Lens.of(camera)
        px, ahead = project(points, lens)
        rotation, _ = cv2.Rodrigues(lens.camera_from_store[:3, :3])
        expected, _ = cv2.projectPoints(
            points, rotation, lens.camera_from_store[:3, 3], lens.camera_matrix, lens.distortion
        )
        assert np.abs(px[ahead] - expected[ahead, 0]).max() < 1e-6
        assert ahead.any()


def test_camera_rotations_are_right_handed_and_level() -> None:
    for camera in STORE.cameras:
        rotation = np.array(camera.store_from_camera)[:3, :3]
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        assert rotation[2, 0] == pytest.approx(0.0, abs=1e-9)


def test_misses_and_false_boxes_are_as_many_as_measured_detectors_have() -> None:
    """10 % misses, 2 % false boxes, boxes that jitter by pixels (trackers' scene)."""
    cameras = Cameras.of(STORE, Faults(), np.random.default_rng(2))
    bodies = _bodies((4.3, 3.4), (4.3, 1.2))
    images = [_packet(cameras, 0, i, bodies) for i in range(1500)]
    counts = np.array([len(p.scores) for p in images])
    seen = np.concatenate([p.scores for p in images])
    misses = 1 - (seen > 0.5).sum() / (2 * len(images))
    assert 0.07 < misses < 0.16
    assert 0.01 < (seen <= 0.5).mean() < 0.06
    assert counts.max() <= 6


def test_misses_come_in_runs() -> None:
    cameras = Cameras.of(STORE, Faults(false_boxes=0.0), np.random.default_rng(3))
    seen = np.array([len(_packet(cameras, 0, i, _bodies((4.3, 3.4))).scores) for i in range(2000)])
    again = (seen[1:] == 0)[seen[:-1] == 0].mean()
    assert again > 2 * (seen == 0).mean()


def test_box_behind_a_gondola_ends_above_the_feet() -> None:
    bodies = _bodies((2.6, 2.75))  # behind gondola A as camera 1 sees it
    shown = _shown(bodies, 0)
    assert not shown[0, 0]
    assert shown[0, -1]
    lenses = Lenses.of([Lens.of(c) for c in STORE.cameras])
    one = np.zeros(1, int)
    view = View.of(bodies, one, one, lenses, one)
    whole, _ = view.box(np.ones_like(shown.T))
    part, _ = view.box(shown.T)
    assert part[0, 3] < whole[0, 3] - 10


def test_person_behind_another_is_hidden_in_part() -> None:
    lens = Lens.of(STORE.cameras[0])
    away = np.array([2.4, 2.5]) - lens.position_store_m[:2]
    away /= np.linalg.norm(away)
    near = lens.position_store_m[:2] + 2.0 * away
    far = lens.position_store_m[:2] + 2.6 * away
    shown = _shown(_bodies(tuple(near), tuple(far)), 0, fixtures=())
    assert shown[0].all()
    assert not shown[1].all()


def test_feet_in_view_are_right_to_a_few_pixels() -> None:
    cameras = Cameras.of(STORE, Faults(false_boxes=0.0), np.random.default_rng(4))
    bodies = _bodies((4.3, 1.2))
    lens = Lens.of(STORE.cameras[0])
    true, _ = project(np.array([[4.3, 1.2, 0.0]]), lens)
    feet = np.concatenate([_packet(cameras, 0, i, bodies).feet_px for i in range(400)])
    assert np.abs(feet.mean(axis=0) - true[0]).max() < 1.5
    assert 1.5 < feet.std(axis=0).mean() < 12.0


def test_wrists_are_missed_as_often_as_a_pose_net_misses_them() -> None:
    cameras = Cameras.of(STORE, Faults(false_boxes=0.0, misses=0.0), np.random.default_rng(5))
    bodies = _bodies((4.3, 3.4))
    wrists = np.concatenate([_packet(cameras, 0, i, bodies).wrists_px for i in range(400)])
    seen = ~np.isnan(wrists[:, :, 0])
    true, _ = project(bodies.wrists_store_m[0], Lens.of(STORE.cameras[0]))
    error = np.linalg.norm(wrists - true, axis=2)[seen]
    assert 0.6 < seen.mean() < 0.85
    assert 7.0 < np.median(error) < 11.0
    assert np.percentile(error, 99) > 40.0


def test_nobody_in_the_store_gives_hardly_any_box() -> None:
    cameras = Cameras.of(STORE, Faults(), np.random.default_rng(6))
    packets = [_packet(cameras, 1, i, _bodies()) for i in range(500)]
    assert np.mean([len(p.boxes_px) for p in packets]) < 0.05
    assert packets[0].wrists_px.shape[1:] == (2, 2)


def test_images_come_at_fifteen_hertz_with_their_own_phases() -> None:
    cameras = Cameras.of(STORE, Faults(), np.random.default_rng(7))
    taken = [x for tick in range(200) for x in cameras.due(tick * 50_000_000)]
    per_camera = [[at for at, c in taken if c == camera] for camera in range(4)]
    assert all(len(times) == pytest.approx(149, abs=2) for times in per_camera)
    assert len({times[0] for times in per_camera}) == 4


def test_wrist_at_a_shelf_is_seen_from_the_front_and_hidden_by_ones_own_back() -> None:
    """A shopper before gondola C: camera 1 looks at its back, camera 2 past its side."""
    faults = Faults(false_boxes=0.0, misses=0.0)
    cameras = Cameras.of(STORE, faults, np.random.default_rng(8))
    bodies = _bodies((2.6, 3.92))
    bodies.wrists_store_m[:] = np.array([2.6, 4.33, 1.0])
    seen = [
        np.mean([~np.isnan(_packet(cameras, c, i, bodies).wrists_px[:, 0, 0]) for i in range(200)])
        for c in (0, 1)
    ]
    assert seen[0] == 0.0
    assert seen[1] > 0.6
