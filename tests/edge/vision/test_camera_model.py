from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people_scene import SIZE_M, corner_cameras

from edge.vision.camera_model import (
    CalibrationError,
    camera_model,
    floor_points,
    project,
)


def seen_floor(model, rng, n=200):
    """Floor points that the camera sees inside its image, and their pixels."""
    xy = rng.uniform([0.5, 0.5], np.array(SIZE_M) - 0.5, (n, 2))
    px, ok = project(np.column_stack((xy, np.zeros(n))), model)
    ok &= (px > 0).all(axis=1) & (px[:, 0] < 640) & (px[:, 1] < 480)
    return xy[ok], px[ok]


@pytest.mark.parametrize("camera", corner_cameras())
def test_floor_points_come_back_through_lens_and_pose(camera):
    model = camera_model(camera)
    xy, px = seen_floor(model, np.random.default_rng(1))
    back, ok = floor_points(px, model)
    assert len(xy) > 50
    assert ok.all()
    np.testing.assert_allclose(back, xy, atol=1e-5)


@given(st.floats(0.5, 11.5), st.floats(0.5, 7.5), st.integers(0, 3))
def test_any_floor_point_in_view_comes_back(x, y, k):
    model = camera_model(corner_cameras()[k])
    px, ok = project(np.array([[x, y, 0.0]]), model)
    inside = ok[0] and (px > 0).all() and px[0, 0] < 640 and px[0, 1] < 480
    if inside:
        back, valid = floor_points(px, model)
        assert valid[0]
        np.testing.assert_allclose(back, [[x, y]], atol=1e-4)


def test_distortion_matters_and_is_undone():
    bent = corner_cameras()[0]
    straight = camera_model(replace(bent, distortion=()))
    model = camera_model(bent)
    xy, px = seen_floor(model, np.random.default_rng(2))
    wrong, _ = floor_points(px, straight)
    assert np.abs(wrong - xy).max() > 0.05
    right, _ = floor_points(px, model)
    assert np.abs(right - xy).max() < 1e-5


def test_points_above_the_horizon_and_nan_have_no_floor_point():
    model = camera_model(corner_cameras()[0])
    points, ok = floor_points(np.array([[320.0, -300.0], [np.nan, 3.0], [320.0, 400.0]]), model)
    assert ok.tolist() == [False, False, True]
    assert np.isnan(points[:2]).all()
    assert np.isfinite(points[2]).all()


def test_points_behind_the_lens_have_no_pixel():
    px, ok = project(
        np.array([[-5.0, -5.0, 3.2], [6.0, 4.0, 0.0]]), camera_model(corner_cameras()[0])
    )
    assert ok.tolist() == [False, True]
    assert np.isnan(px[0]).all()


def test_no_points_are_fine():
    model = camera_model(corner_cameras()[0])
    for function in (floor_points, lambda p, m: project(np.zeros((0, 3)), m)):
        points, ok = function(np.zeros((0, 2)), model)
        assert points.shape == (0, 2)
        assert ok.shape == (0,)


def broken(**changes):
    return replace(corner_cameras()[0], **changes)


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (broken(camera_matrix=((1.0, 0.0), (0.0, 1.0))), "camera_matrix"),
        (broken(camera_matrix=((0.0, 0, 1), (0, 1.0, 1), (0, 0, 1.0))), "focal"),
        (broken(distortion=(1.0,) * 8), "distortion"),
        (broken(store_from_camera=tuple(map(tuple, np.eye(4)))), "floor plane"),
        (broken(store_from_camera=tuple(map(tuple, 2 * np.eye(4)))), "rotation"),
        (broken(store_from_camera=tuple(map(tuple, np.full((4, 4), np.nan)))), "finite"),
    ],
)
def test_impossible_calibration_is_named(camera, says):
    with pytest.raises(CalibrationError, match=says):
        camera_model(camera)


def test_camera_rays_go_through_the_optical_axis():
    model = camera_model(corner_cameras()[0])
    points, _ = floor_points(np.array([[320.0, 240.0]]), model)
    centre = model.store_from_camera[:3, 3]
    axis = model.store_from_camera[:3, 2]
    expected = centre - axis * centre[2] / axis[2]
    np.testing.assert_allclose(points[0], expected[:2], atol=0.02)
