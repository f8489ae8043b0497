"""Store layouts: the library's are sound, and stores in which nobody can shop are refused."""

from dataclasses import replace

import numpy as np
import pytest

from messages.store_config import Fixture, StoreArea
from sim.layout_builder import PLANS, drawn
from sim.layouts import (
    LAYOUTS,
    LayoutError,
    layout,
    layout_names,
    stand_points,
    unusable,
    walkable,
)
from sim.projection import Lens, in_image, project
from sim.routes import Routes
from sim.store_toml import store_toml


@pytest.mark.parametrize("name", layout_names())
def test_layout_loads_and_people_can_shop_in_it(name):
    config = layout(name)
    assert list(unusable(config)) == []
    assert np.isfinite(Routes.of(config).distance_m).all()


def test_layouts_of_the_library_are_there():
    assert set(layout_names()) >= {"first-store", "benchmark", "corner", "market"}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_layout_file_is_what_the_builder_draws(name):
    text = (LAYOUTS / f"{name}.toml").read_text()
    assert text == store_toml(drawn(PLANS[name])), "run `python -m sim.layout_builder`"


def test_corner_is_small_enough_for_hard_cases_to_run_fast():
    config = layout("corner")
    assert len(config.plates) <= 72
    assert 2 <= len(config.cameras) <= 3


def test_market_has_room_for_the_lunch_rush():
    config = layout("market")
    assert len(config.plates) >= 300
    assert len(config.cameras) >= 12
    directions = [gate.direction for gate in config.gates]
    assert min(directions.count("entry"), directions.count("exit")) >= 3
    free_m2 = walkable(config).sum() * 0.05**2
    assert free_m2 / 60 > 1.4  # a square metre and a half for each of sixty


@pytest.mark.parametrize("name", ["corner", "market"])
def test_nearly_all_of_the_floor_is_seen_by_a_camera(name):
    config = layout(name)
    rows, columns = np.nonzero(walkable(config)[::4, ::4])
    heads = np.column_stack([columns * 0.2 + 0.1, rows * 0.2 + 0.1, np.full(len(rows), 1.2)])
    seen = np.zeros(len(heads), dtype=bool)
    for camera in config.cameras:
        px, ahead = project(heads, Lens.of(camera))
        seen |= ahead & in_image(px, Lens.of(camera))
    assert seen.mean() > 0.97


def test_shelves_may_face_any_side():
    config = layout("market")
    points = dict(zip([str(f.id) for f in config.facings], stand_points(config), strict=True))
    assert points["s1-apple"][0] > 0.8
    assert points["t1-banana"][0] < 19.2


# --- stores in which nobody can shop ------------------------------------------------------------


def test_a_wall_before_a_shelf_is_told_with_the_facing():
    corner = layout("corner")
    wall = Fixture(id="wall", x_m=2.4, y_m=3.5, width_m=1.4, depth_m=0.1, height_m=2.0)
    problems = list(unusable(replace(corner, fixtures=(*corner.fixtures, wall))))
    assert any("'b1-apple': no place to stand" in p for p in problems)


def test_a_wall_across_the_store_cuts_shelves_off():
    corner = layout("corner")
    wall = Fixture(id="wall", x_m=2.8, y_m=2.75, width_m=5.6, depth_m=0.1, height_m=2.0)
    problems = list(unusable(replace(corner, fixtures=(*corner.fixtures, wall))))
    assert any("'b1-apple': no way from the gate" in p for p in problems)
    assert not any("'a1-milk-1l'" in p for p in problems)


def test_a_fixture_behind_a_gate_is_told():
    corner = layout("corner")
    crate = Fixture(id="crate", x_m=4.5, y_m=0.8, width_m=0.5, depth_m=0.5, height_m=1.0)
    problems = list(unusable(replace(corner, fixtures=(*corner.fixtures, crate))))
    assert problems == ["[[gate]] 'gate-out': a fixture stands behind it; move one of them"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"readers": ()}, "nobody can come in"),
        ({"gates": (layout("corner").gates[0],)}, "no gate leads out"),
        ({"cameras": ()}, "nobody is seen"),
        ({"fixtures": ()}, "shelves stand in one"),
        ({"area": StoreArea()}, "give the walkable rectangle"),
    ],
)
def test_what_a_store_lacks_is_told(change, words):
    assert any(words in p for p in unusable(replace(layout("corner"), **change)))


def test_unknown_layout_gives_the_nearest_name():
    with pytest.raises(LayoutError, match="did you mean 'market'"):
        layout("markt")
    with pytest.raises(LayoutError, match="cannot be read"):
        layout("nowhere/store.toml")


def test_a_wrong_store_toml_is_told_with_its_line(tmp_path):
    path = tmp_path / "store.toml"
    path.write_text((LAYOUTS / "corner.toml").read_text().replace("x_m", "x_cm", 1))
    with pytest.raises(LayoutError, match=r"store\.toml:\d+: .*x_cm"):
        layout(path)


def test_a_store_toml_in_which_nobody_can_shop_is_refused(tmp_path):
    path = tmp_path / "store.toml"
    path.write_text(store_toml(replace(layout("corner"), readers=())))
    with pytest.raises(LayoutError, match="nobody can come in"):
        layout(path)
