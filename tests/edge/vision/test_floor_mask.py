"""Floor masks: who seems to stand behind a mirror is nobody, for the camera that sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people_scene import SECOND_NS, Eyes, Faults, floor_packet, store

from edge.config import ConfigError, parse
from edge.vision.floor_mask import FloorMasks, inside
from edge.vision.person_tracker import PersonTracker
from messages.ids import CameraId

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
CAMERA = """
[[camera]]
id = "c1"
camera_matrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]
distortion = [0, 0, 0, 0, 0]
store_from_camera = [[1,0,0,1],[0,-1,0,2],[0,0,-1,3],[0,0,0,1]]
"""


def test_points_in_a_polygon_and_beside_it():
    points = np.array([[1.0, 0.5], [2.5, 0.5], [-0.1, 0.5], [1.0, 1.2], [np.nan, 0.5]])
    assert inside(points, SQUARE).tolist() == [True, False, False, False, False]
    assert inside(points, SQUARE[::-1]).tolist() == inside(points, SQUARE).tolist()
    notched = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 1.0], [0.0, 4.0]])
    assert inside(np.array([[2.0, 0.5], [2.0, 3.0], [0.5, 2.0]]), notched).tolist() == [
        True,
        False,
        True,
    ]


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 6.28), st.floats(-9, 9), st.floats(-9, 9))
def test_turning_and_moving_store_and_mask_together_changes_nothing(x, y, angle, dx, dy):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    point = np.array([[x, y]])
    edge = min(abs(x), abs(x - 2), abs(y), abs(y - 1))
    if edge > 1e-6:  # on the border either answer is right
        moved = inside(point @ turn.T + [dx, dy], SQUARE @ turn.T + [dx, dy])
        assert moved[0] == inside(point, SQUARE)[0]


def test_only_the_camera_that_sees_the_mirror_is_masked():
    masks = FloorMasks({CameraId("a"): (SQUARE,)})
    points = np.array([[1.0, 0.5], [3.0, 0.5], [1.0, 0.5]])
    counts = masks.open(points, [CameraId("a"), CameraId("b")], [2, 1])
    assert counts is not None
    assert counts.tolist() == [False, True, True]
    assert masks.open(points, [CameraId("b")], [3]) is None


def tracks_of(config) -> int:
    """Tracks after somebody stood at (6, 4) for two seconds."""
    eyes = Eyes(config, np.random.default_rng(1), Faults(miss=0.0, false_boxes=0.0))
    tracker = PersonTracker(config)
    for k in range(30):
        at_ns = SECOND_NS + k * 66_666_667
        seen = eyes.look(at_ns, np.array([[6.0, 4.0]]), np.array([True]))
        tracker.step(at_ns + 60_000_000, seen)
    return len(tracker.tracks.track_id)


def test_a_person_whom_all_cameras_mask_is_nobody_and_one_camera_is_enough_to_see_them():
    config = store()
    mask = (((5.0, 3.0), (7.0, 3.0), (7.0, 5.0), (5.0, 5.0)),)
    masked = tuple(replace(camera, floor_mask=mask) for camera in config.cameras)
    assert tracks_of(config) == 1
    assert tracks_of(replace(config, cameras=masked)) == 0
    assert tracks_of(replace(config, cameras=(*masked[:3], config.cameras[3]))) == 1


def test_points_of_a_sender_that_works_on_the_floor_are_masked_too():
    config = store()
    mask = (((5.0, 3.0), (7.0, 3.0), (7.0, 5.0), (5.0, 5.0)),)
    first = replace(config.cameras[0], floor_mask=mask)
    tracker = PersonTracker(replace(config, cameras=(first, *config.cameras[1:])))
    for k in range(40):
        at_ns = SECOND_NS + k * 66_666_667
        points = [[6.0, 4.0], [2.0, 4.0]]
        tracker.step(at_ns, [floor_packet(at_ns, points, camera=first.id, sequence=k)])
    assert tracker.tracks.position_store_m == pytest.approx(np.array([[2.0, 4.0]]), abs=0.1)


def test_a_mask_is_read_from_store_toml():
    config = parse(CAMERA + "floor_mask = [[[0, 0], [2, 0], [2, 1]], [[5, 5], [6, 5], [6, 7]]]\n")
    assert config.cameras[0].floor_mask[0] == ((0.0, 0.0), (2.0, 0.0), (2.0, 1.0))
    assert len(config.cameras[0].floor_mask) == 2
    assert parse(CAMERA).cameras[0].floor_mask == ()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("[[[0, 0], [2, 0]]]", "polygon 1 has 2 corners; write 3 to 64"),
        ("[[[0, 0], [2, 0], [1, 0]]]", "polygon 1 has no area"),
        ("[[[0, 0, 1], [2, 0, 1], [1, 5, 1]]]", "a corner is [x, y]"),
        ("[" + "[[0, 0], [2, 0], [1, 5]]," * 17 + "]", "at most 16"),
        ("[[[0, 0], [2, 'a'], [1, 5]]]", "a number is needed"),
    ],
)
def test_a_mask_that_cannot_be_names_the_line_and_the_remedy(mask, said):
    with pytest.raises(ConfigError) as problem:
        parse(CAMERA + f"floor_mask = {mask}\n")
    assert said in str(problem.value)
    assert "store.toml:7" in str(problem.value)
