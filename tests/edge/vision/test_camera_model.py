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
    floor_points_with_spread,
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
    points, R, ok, cut = floor_points_with_spread(np.zeros((0, 4)), np.zeros((0, 2)), [model], [0])
    assert points.shape == (0, 2)
    assert R.shape == (3, 0)
    assert ok.shape == cut.shape == (0,)


def test_spread_covers_the_scatter_of_jittered_feet():
    """Normalized errors of feet with the stated pixel noise have mean square 2 or less."""
    rng = np.random.default_rng(3)
    model = camera_model(corner_cameras()[1])
    xy, px = seen_floor(model, rng, 3000)
    inner = (px[:, 1] < 470) & (px[:, 0] > 20) & (px[:, 0] < 620)
    xy, px = xy[inner], px[inner]
    noisy = px + rng.normal(0.0, [4.0, 5.0], px.shape)
    boxes = np.column_stack((px[:, 0] - 5, px[:, 1] - 10, px[:, 0] + 5, px[:, 1]))
    points, R, ok, _ = floor_points_with_spread(boxes, noisy, [model], [len(px)])
    d = (points - xy)[ok]
    det = R[0, ok] * R[2, ok] - R[1, ok] ** 2
    d2 = (
        R[2, ok] * d[:, 0] ** 2 - 2 * R[1, ok] * d[:, 0] * d[:, 1] + R[0, ok] * d[:, 1] ** 2
    ) / det
    assert np.mean(d2) < 2.2


def test_feet_at_the_border_are_said_to_be_vague():
    model = camera_model(corner_cameras()[0])
    boxes = np.array([[300.0, 200.0, 360.0, 400.0], [300.0, 280.0, 360.0, 479.5]])
    feet = np.array([[330.0, 400.0], [330.0, 479.5]])
    _, R, ok, cut = floor_points_with_spread(boxes, feet, [model], [2])
    assert ok.all()
    assert cut.tolist() == [False, True]
    assert R[[0, 2], 1].max() > 4 * FLOOR_VARIANCE
    assert R[0, 1] + R[2, 1] > R[0, 0] + R[2, 0]


FLOOR_VARIANCE = 0.08**2


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
