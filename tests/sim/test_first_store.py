"""The simulated stores: layout, planogram, camera coverage, and the way through store.toml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.config import ConfigError, load
from sim.first_store import first_store, scaled
from sim.geometry import fixture_boxes, segments_hit_boxes
from sim.in_process import TokenIssuer
from sim.projection import Lens, in_image, project
from sim.retailer.catalogue import CATALOGUE
from sim.store_toml import store_toml, write_store


def test_first_store_has_the_promised_size() -> None:
    store = first_store()
    gates = {gate.direction for gate in store.gates}
    assert (len(store.fixtures), len(store.plates), len(store.shelf_nodes)) == (4, 144, 12)
    assert (len(store.facings), len(store.products), len(store.cameras)) == (60, 40, 4)
    assert gates == {"entry", "exit"}
    assert {f.sku for f in store.facings} == {item.id for item in CATALOGUE}
    assert {len(f.plates) for f in store.facings} == {2, 3}


def test_every_plate_has_exactly_one_node_and_one_facing() -> None:
    for store in (first_store(), scaled(), scaled(120)):
        on_nodes = [plate for node in store.shelf_nodes for plate in node.plates]
        in_facings = [plate for facing in store.facings for plate in facing.plates]
        assert sorted(on_nodes) == sorted(in_facings) == sorted(p.id for p in store.plates)


def test_scaled_store_has_as_many_plates_as_asked() -> None:
    assert len(scaled().plates) == 350
    assert len(scaled(120).plates) == 120


def test_store_toml_reads_back_equal(tmp_path: Path) -> None:
    issuer = TokenIssuer("first-store")
    devices = str(tmp_path / "devices")
    store = first_store(devices=devices, credential_keys=(issuer.credential_key,))
    write_store(store, tmp_path / "store.toml")
    read = load(tmp_path / "store.toml")
    assert replace(read, toml="", paths=store.paths) == store


def test_store_toml_of_a_broken_store_is_refused(tmp_path: Path) -> None:
    store = first_store()
    broken = replace(store, facings=(*store.facings[1:], replace(store.facings[0], sku="nothing")))
    (tmp_path / "store.toml").write_text(store_toml(broken))
    with pytest.raises(ConfigError, match="nothing"):
        load(tmp_path / "store.toml")


def test_cameras_see_the_floor() -> None:
    """Most of the walkable floor is seen by two cameras, a body's middle by at least one."""
    store = first_store()
    feet, bodies = _cameras_that_see(store, 0.0), _cameras_that_see(store, 0.9)
    assert (feet >= 2).mean() > 0.9
    assert (bodies >= 1).all()


def _cameras_that_see(store, z_m: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(0.3, 8.8, 0.3), np.arange(0.3, 6.0, 0.3)), -1)
    points = np.concatenate([grid.reshape(-1, 2), np.full((grid.size // 2, 1), z_m)], axis=1)
    low, high = fixture_boxes(store.fixtures, 0.22)
    inside = (points[:, None, :2] > low[None, :, :2]) & (points[:, None, :2] < high[None, :, :2])
    points = points[~inside.all(axis=2).any(axis=1)]
    count = np.zeros(len(points), dtype=int)
    for camera in store.cameras:
        lens = Lens.of(camera)
        px, ahead = project(points, lens)
        eye = np.broadcast_to(lens.position_store_m, points.shape)
        hidden = segments_hit_boxes(points, eye, *fixture_boxes(store.fixtures)).any(axis=1)
        count += ahead & in_image(px, lens) & ~hidden
    return count
