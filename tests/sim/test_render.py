"""Pictures of the store: people stand where the lens puts them, goods and darkness show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import walkout
from messages.store_config import Camera
from sim.bodies import Bodies
from sim.first_store import first_store
from sim.projection import Lens, project
from sim.raycast import Canvas
from sim.render import render
from sim.stock import Stock

STORE = first_store()
HERE = np.array([[4.3, 1.4]])


def _small(camera: Camera) -> Camera:
    """A quarter of the pixels."""
    half = np.array(camera.camera_matrix) * [[0.5], [0.5], [1.0]]
    matrix = tuple(tuple(row) for row in half.tolist())
    return replace(camera, width_px=320, height_px=240, camera_matrix=matrix)


CAMERA = _small(STORE.cameras[0])


def _bodies(position: np.ndarray, key: str = "ann") -> Bodies:
    n = len(position)
    wrists = np.zeros((1, n, 2, 3))
    wrists[0, :, :, :2] = position[:, None] + [[-0.2, 0.12], [0.2, 0.12]]
    wrists[..., 2] = 0.95
    names = tuple(f"{key}/{i}" for i in range(n))
    return Bodies(names, position[None], np.full(n, 1.75), np.full(n, 0.23), wrists)


@pytest.fixture(scope="module")
def stock() -> Stock:
    return Stock.filled(STORE, np.random.default_rng(1))


@pytest.fixture(scope="module")
def empty(stock: Stock) -> np.ndarray:
    return render(CAMERA, _bodies(np.empty((0, 2))), stock, quality=1)


def test_person_appears_where_the_lens_puts_it(stock: Stock, empty: np.ndarray) -> None:
    image = render(CAMERA, _bodies(HERE), stock, quality=1)
    changed = np.abs(image.astype(int) - empty).max(axis=2) > 40
    rows, columns = np.nonzero(changed)
    lens = Lens.of(CAMERA)
    feet, _ = project(np.array([*HERE[0], 0.0]), lens)
    crown, _ = project(np.array([*HERE[0], 1.75]), lens)
    assert changed.mean() < 0.15
    assert np.percentile(rows, 1) == pytest.approx(crown[1], abs=10)
    assert np.percentile(rows, 99) == pytest.approx(feet[1], abs=14)
    assert np.median(columns) == pytest.approx((feet[0] + crown[0]) / 2, abs=14)


def test_pictures_are_the_same_each_time_and_people_look_different(stock: Stock) -> None:
    images = [
        render(CAMERA, _bodies(HERE, key), stock, quality=1) for key in ("ann", "ann", "bob", "cy")
    ]
    assert np.array_equal(images[0], images[1])
    assert len({image.tobytes() for image in images}) == 3


def test_goods_that_were_taken_are_gone_from_the_picture(stock: Stock, empty: np.ndarray) -> None:
    bare = Stock.filled(STORE, np.random.default_rng(1))
    bare.on = [[] for _ in bare.on]
    image = render(CAMERA, _bodies(np.empty((0, 2))), bare, quality=1)

    def colourful(picture: np.ndarray) -> float:
        return float((cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1] > 110).mean())

    assert colourful(empty) > colourful(image) + 0.01


def test_image_of_a_dark_store_is_dark(stock: Stock, empty: np.ndarray) -> None:
    dark = render(CAMERA, _bodies(HERE), stock, light=0.03, quality=1)
    assert dark.mean() < 25 < 90 < empty.mean()
    assert dark.shape == (240, 320, 3)


def test_rays_are_those_of_the_distorted_lens() -> None:
    canvas = Canvas.of(CAMERA)
    lens = Lens.of(CAMERA)
    for row, column in ((20, 30), (120, 160), (200, 300)):
        point = lens.position_store_m + 3.0 * canvas.rays[row, column]
        px, ahead = project(point, lens)
        assert ahead
        assert px == pytest.approx([column, row], abs=0.1)


def test_nearer_shapes_hide_farther_ones() -> None:
    def paint(tone: float):
        return lambda points, normal: np.full((len(points), 3), tone)

    canvas = Canvas.of(CAMERA)
    eye, ahead = canvas.lens.position_store_m, canvas.rays[120, 160]
    canvas.ellipsoid(eye + 2 * ahead, np.eye(3), np.full(3, 0.3), paint(1.0))
    canvas.capsule(eye + 1.2 * ahead, eye + 1.2 * ahead + [0, 0, 0.01], 0.1, paint(0.5))
    canvas.box(eye + 4 * ahead - 1.0, eye + 4 * ahead + 1.0, paint(0.1))
    assert canvas.depth[120, 160] == pytest.approx(1.1, abs=0.02)
    assert 0.2 < canvas.colour[120, 160].max() <= 0.5
    assert canvas.depth[120, 60] > 1.5


def test_command_draws_a_scenario(tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    runner = CliRunner()
    names = json.loads(runner.invoke(walkout.app, ["sim", "list", "--json"]).stdout)
    name = next(row["name"] for row in names if row["store"] == "first-store")
    options = ["--at", "3", "--out", str(out), "--quality", "1", "--json"]
    made = runner.invoke(walkout.app, ["sim", "render", name, *options])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["width_px"] == 640
    assert cv2.imread(str(out)).shape == (480, 640, 3)


def test_command_names_the_cameras_and_the_formats(tmp_path: Path) -> None:
    runner = CliRunner()
    names = json.loads(runner.invoke(walkout.app, ["sim", "list", "--json"]).stdout)
    command = ["sim", "render", names[0]["name"], "--out"]
    wrong = runner.invoke(walkout.app, [*command, str(tmp_path / "a.png"), "--camera", "nowhere"])
    assert wrong.exit_code == 2
    assert "there are cam-" in wrong.output
    wrong = runner.invoke(walkout.app, [*command, str(tmp_path / "a.gif")])
    assert wrong.exit_code == 2
    assert ".png" in wrong.output
