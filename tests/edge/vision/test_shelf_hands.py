"""Hands in the store frame: before a shelf that a near camera looks at, and of people."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.camera_model import camera_model, project
from edge.vision.shelf_hands import hands_at_shelf, hands_of_people, shelf_fronts
from messages.ids import CameraId, PlateId, ShelfId
from messages.store_config import Camera, Plate, StoreConfig
from sim.first_store import looking_at

MATRIX = ((520.0, 0.0, 320.0), (0.0, 520.0, 240.0), (0.0, 0.0, 1.0))
BENT = (-0.21, 0.05, 0.0, 0.0, 0.0)


def camera(at: tuple[float, float, float], towards: tuple[float, float, float]) -> Camera:
    return Camera(
        id=CameraId("near"),
        camera_matrix=MATRIX,
        distortion=BENT,
        store_from_camera=looking_at(np.array(at), np.array(towards)),
        role="shelf",
    )


def shelf(name: str, y_m: float, z_m: float) -> tuple[Plate, ...]:
    """Five plates along x from 1.0 to 1.8."""
    return tuple(
        Plate(
            id=PlateId(f"{name}-{i}"),
            shelf=ShelfId(name),
            x_m=1.0 + 0.2 * i,
            y_m=y_m,
            z_m=z_m,
            width_m=0.2,
            depth_m=0.4,
        )
        for i in range(5)
    )


STORE = StoreConfig(store="s", plates=(*shelf("low", 3.0, 0.6), *shelf("high", 3.0, 1.1)))  # type: ignore[arg-type]
NEAR = camera_model(camera((1.4, 1.6, 2.0), (1.4, 3.0, 0.9)))


def test_a_hand_at_the_shelfs_front_is_found_where_it_is() -> None:
    hands = np.array([[1.1, 2.8, 0.75], [1.7, 2.8, 1.25], [1.4, 2.8, 1.0]])
    px, seen = project(hands, NEAR)
    assert seen.all()
    found = hands_at_shelf(px, NEAR, shelf_fronts(STORE))
    assert found == pytest.approx(hands, abs=1e-6)


def test_a_hand_that_has_reached_in_is_off_along_its_ray_only() -> None:
    """The plane is the front edge: how far in the hand is, one camera does not see."""
    hand = np.array([[1.2, 2.95, 0.8]])
    px, _ = project(hand, NEAR)
    found = hands_at_shelf(px, NEAR, shelf_fronts(STORE))
    assert np.linalg.norm(found - hand) < 0.25
    assert abs(found[0, 0] - 1.2) < 0.05


def test_what_is_before_no_shelf_is_no_hand_at_a_shelf() -> None:
    fronts = shelf_fronts(STORE)
    beside, above, floor = project(
        np.array([[2.6, 2.8, 0.8], [1.4, 2.8, 1.6], [1.4, 2.0, 0.05]]), NEAR
    )[0]
    px = np.array([beside, above, floor, [np.nan, 3.0]])
    assert np.isnan(hands_at_shelf(px, NEAR, fronts)).all()
    assert hands_at_shelf(np.zeros((0, 2)), NEAR, fronts).shape == (0, 3)
    nothing = StoreConfig(store="s")  # type: ignore[arg-type]
    assert np.isnan(hands_at_shelf(px[:1], NEAR, shelf_fronts(nothing))).all()


def test_the_side_that_the_camera_looks_at_counts() -> None:
    behind = camera_model(camera((1.4, 4.4, 2.0), (1.4, 3.0, 0.9)))
    hand = np.array([[1.3, 3.2, 0.8]])
    px, _ = project(hand, behind)
    assert hands_at_shelf(px, behind, shelf_fronts(STORE)) == pytest.approx(hand, abs=1e-6)


def test_hands_of_people_are_near_where_they_are_and_unseen_ones_are_unknown() -> None:
    room = camera_model(camera((0.2, 0.3, 2.6), (1.6, 2.6, 1.0)))
    feet = np.array([[1.2, 2.2, 0.0], [2.0, 2.0, 0.0]])
    hands = np.array([[[1.15, 2.5, 1.1], [1.4, 2.3, 0.9]], [[2.1, 2.4, 1.2], [np.nan] * 3]])
    hands_px, _ = project(np.nan_to_num(hands).reshape(-1, 3), room)
    hands_px = hands_px.reshape(2, 2, 2)
    hands_px[1, 1] = np.nan
    feet_px, _ = project(feet, room)
    found = hands_of_people(hands_px, feet_px, room)
    away = np.linalg.norm(found - hands, axis=2)
    assert np.isnan(away[1, 1])
    assert np.nanmax(away) < 0.45  # one camera: off along its ray only
    eye = room.store_from_camera[:3, 3]
    ray, true = found - eye, hands - eye
    cosine = (ray * true).sum(axis=2) / np.linalg.norm(ray, axis=2) / np.linalg.norm(true, axis=2)
    assert np.nanmin(cosine) > 0.998
    assert hands_of_people(np.zeros((0, 2, 2)), np.zeros((0, 2)), room).shape == (0, 2, 3)
