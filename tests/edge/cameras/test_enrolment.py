"""Enrolling products: from drawn photos, through the real net, to files beside store.toml."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import walkout
from bench.products import ENROL
from edge.cameras.enrolment import (
    CropsFile,
    EnrolmentError,
    added,
    crops_of,
    listed,
    photos_of,
    read_crops,
    read_model,
    ready,
    removed,
    unready,
    write,
)
from edge.cameras.models.product_net import ProductNet
from edge.vision.product_crops import EMBEDDING, features, middle
from edge.vision.product_recognition import probabilities
from messages.arrays import Bytes8, Floats32
from sim.product_images import packages, picture

GOODS = packages(6, 3)  # two brands with three flavours
MILK, OATS = GOODS[0], GOODS[3]
STORE = """
[store]
id = "test"
[[plate]]
id = "p1"
shelf = "s1"
x_m = 1.0
y_m = 1.0
z_m = 1.0
width_m = 0.2
depth_m = 0.4
[[sku]]
id = "milk-1l"
mass_g = 1030.0
mass_sd_g = 5.0
[[sku]]
id = "oats"
mass_g = 500.0
mass_sd_g = 3.0
[[facing]]
sku = "milk-1l"
plates = ["p1"]
[[gate]]
id = "in"
x_m = 0.0
y_m = 0.0
"""


class Corners:
    """A net that needs no file: an embedding of mean colours."""

    sha256 = "c" * 64

    def features(self, crop: Bytes8) -> Floats32:
        small = cv2.resize(crop, (20, 20), interpolation=cv2.INTER_AREA)[..., :3].ravel()
        embedding = np.zeros(EMBEDDING, np.float32)
        embedding[: len(small)] = small
        return features(embedding / max(float(np.linalg.norm(embedding)), 1e-6), crop)


def photos(folder: Path, name: str, package: object, count: int, seed: int = 0) -> list[Path]:
    rng = np.random.default_rng([seed, len(name)])
    paths = [folder / f"{name}-{i}.png" for i in range(count)]
    for path in paths:
        cv2.imwrite(str(path), picture(package, ENROL, rng, GOODS))  # type: ignore[arg-type]
    return paths


def test_products_are_enrolled_listed_and_removed_by_the_command_line(
    tmp_path: Path, models: Path
) -> None:
    store = tmp_path / "store.toml"
    store.write_text(STORE)
    run = CliRunner()

    def enroll(*words: str) -> dict[str, object]:
        done = run.invoke(walkout.app, ["enroll", *words, "--config", str(store), "--json"])
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.stdout)
        return found

    enroll("product", "milk-1l", *map(str, photos(tmp_path, "milk", MILK, 5)))
    found = enroll("product", "oats", *map(str, photos(tmp_path, "oats", OATS, 4)))
    assert found["ready"] is False  # no empty hands yet
    assert not (tmp_path / "products.enrolled").exists()
    found = enroll("nothing", *map(str, photos(tmp_path, "empty", None, 8)))
    assert found["ready"] is True
    assert [p["photos"] for p in found["products"]] == [5, 4]  # type: ignore[attr-defined]

    net = ProductNet()
    model = read_model(tmp_path / "products.enrolled", net.sha256)
    assert model is not None
    held = [picture(p, ENROL, np.random.default_rng(9), GOODS) for p in (MILK, OATS, None)]
    rows = probabilities(model, np.stack([net.features(middle(image)) for image in held]))
    assert rows[0].argmax() == 0
    assert rows[1].argmax() == 1
    assert rows[2].sum() < rows[:2].sum(axis=1).min()
    assert enroll("remove", "oats")["not_enrolled"] == ["oats"]
    listed_ = run.invoke(walkout.app, ["enroll", "list", "--config", str(store)])
    assert "milk-1l" in listed_.stdout
    assert "empty hands: 8 photos" in listed_.stdout


def test_an_unknown_sku_and_a_text_file_are_named(tmp_path: Path, models: Path) -> None:
    store = tmp_path / "store.toml"
    store.write_text(STORE)
    done = CliRunner().invoke(
        walkout.app, ["enroll", "product", "milk1l", str(store), "-c", str(store)]
    )
    assert done.exit_code == 2
    assert "did you mean milk-1l?" in done.output
    done = CliRunner().invoke(
        walkout.app, ["enroll", "product", "milk-1l", str(store), "-c", str(store)]
    )
    assert "is no picture; give JPEG or PNG" in done.output
    done = CliRunner().invoke(
        walkout.app, ["enroll", "product", "milk-1l", "nowhere.jpg", "-c", str(store)]
    )
    assert "cannot be read" in done.output


def test_files_come_back_as_they_were_written_and_a_photo_counts_once(tmp_path: Path) -> None:
    net, path = Corners(), tmp_path / "products.enrolled"
    milk = photos(tmp_path, "milk", MILK, 3)
    file, warnings = added(read_crops(path, net.sha256), "milk", [*milk, milk[0]], net)
    assert [w for w in warnings if "enrolled already" in w] == [
        f"{milk[0]}: is enrolled already; left out"
    ]
    file, _ = added(file, None, photos(tmp_path, "empty", None, 8), net)
    write(path, file)
    again = read_crops(path, net.sha256)
    assert again.skus == ["milk"]
    assert (photos_of(again, 0), photos_of(again, -1)) == (3, 8)
    assert np.array_equal(again.features, file.features)
    exact = net.features(middle(cv2.imread(str(milk[0]))))
    assert crops_of(again).features[0] == pytest.approx(exact, abs=0.004)  # a byte each
    model = read_model(path, net.sha256)
    assert model is not None
    assert path.stat().st_size < 30_000
    assert not list(tmp_path.glob("*.new"))


def test_an_enrolment_of_another_net_or_damaged_is_refused(tmp_path: Path) -> None:
    net, path = Corners(), tmp_path / "products.enrolled"
    file, _ = added(CropsFile(net_sha256=net.sha256), "milk", photos(tmp_path, "m", MILK, 1), net)
    file, _ = added(file, None, photos(tmp_path, "e", None, 8), net)
    write(path, file)
    with pytest.raises(EnrolmentError, match="made with another net"):
        read_crops(path, "d" * 64)
    with pytest.raises(EnrolmentError, match="made with another net"):
        read_model(path, "d" * 64)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(EnrolmentError, match="run: walkout enroll list"):
        read_model(path, net.sha256)
    crops = path.with_name(path.name + ".crops")
    crops.write_bytes(b"\x00")
    with pytest.raises(EnrolmentError, match="enrol the products anew"):
        read_crops(path, net.sha256)


def test_what_to_do_about_a_bad_enrolment_is_said(tmp_path: Path) -> None:
    net = Corners()
    file, _ = added(CropsFile(net_sha256=net.sha256), "milk", photos(tmp_path, "a", MILK, 6), net)
    file, _ = added(file, "twin", photos(tmp_path, "bb", MILK, 6), net)
    assert "no product is enrolled" in unready(CropsFile())
    assert "0 photos of empty hands" in unready(file)
    file, warnings = added(file, None, photos(tmp_path, "empty", None, 8), net)
    assert ready(file)
    alike = {p.sku: " ".join(p.warnings) for p in listed(file)}
    assert "looks like twin: cosine 0.9" in alike["milk"]
    assert "looks like milk" in alike["twin"]
    file, _ = added(file, "one-photo", photos(tmp_path, "ccc", OATS, 1), net)
    assert "1 photos; give at least 4" in listed(file)[-1].warnings[0]
    dark = tmp_path / "dark.png"
    cv2.imwrite(str(dark), np.full((60, 60, 3), 9, np.uint8))
    file, warnings = added(file, "one-photo", [dark], net)
    assert [w.partition(": ")[2] for w in warnings] == [
        "only 45 pixels; take it nearer",
        "is dark; take it in the shop's light",
        "is blurred; hold still",
    ]


def test_what_was_removed_is_gone_and_the_others_keep_their_photos(tmp_path: Path) -> None:
    net = Corners()
    file = CropsFile(net_sha256=net.sha256)
    for name, package in (("a", MILK), ("b", OATS), ("c", GOODS[1])):
        file, _ = added(file, name, photos(tmp_path, name * 3, package, 2), net)
    left = removed(file, "b")
    assert left.skus == ["a", "c"]
    assert np.array_equal(left.features[left.label == 1], file.features[file.label == 2])
    with pytest.raises(EnrolmentError, match="did you mean"):
        removed(replace(file, skus=["oats", "b", "c"]), "oast")
