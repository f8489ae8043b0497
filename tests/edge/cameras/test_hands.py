"""From an image to `ItemSightings`: the real nets, drawn hands and goods, a calibrated camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.products import ENROL
from edge.cameras.enrolment import CropsFile, added, write
from edge.cameras.hands import Hands
from edge.cameras.models.nets import Net, net_file
from edge.cameras.models.product_net import ProductNet
from edge.vision.camera_model import camera_model, project
from edge.vision.detectors.found import Found
from edge.vision.product_crops import CROP_M
from hardware.protocol.camera_link import LinkError, decode_seen, encode_detections
from messages.codec import encode
from messages.ids import CameraId, FacingId, PlateId, ShelfId, Sku
from messages.observations import ItemSightings
from messages.store_config import Camera, Facing, Plate
from sim.first_store import looking_at
from sim.product_images import IN_STORE, packages, picture

GOODS = packages(6, 3)
MILK, OATS = GOODS[0], GOODS[3]
MATRIX = ((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0))
PLATES = tuple(
    Plate(
        id=PlateId(f"p{i}"),
        shelf=ShelfId("s"),
        x_m=1.0 + 0.2 * i,
        y_m=3.0,
        z_m=0.9,
        width_m=0.2,
        depth_m=0.4,
    )
    for i in range(4)
)
FACINGS = (
    Facing(id=FacingId("f0"), sku=Sku("milk"), plates=(PlateId("p0"), PlateId("p1"))),
    Facing(id=FacingId("f1"), sku=Sku("oats"), plates=(PlateId("p2"), PlateId("p3"))),
)


def camera(at: tuple[float, float, float], role: str) -> Camera:
    return Camera(
        id=CameraId("cam"),
        camera_matrix=MATRIX,
        distortion=(0.0,) * 5,
        store_from_camera=looking_at(np.array(at), np.array([1.3, 2.8, 1.1])),
        width_px=1280,
        height_px=720,
        role=role,
    )


@pytest.fixture(scope="module")
def enrolled(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    net, rng = ProductNet(), np.random.default_rng(1)
    file = CropsFile(net_sha256=net.sha256)
    for sku, package, count in (("milk", MILK, 4), ("oats", OATS, 4), (None, None, 8)):
        paths = [folder / f"{sku}-{i}.png" for i in range(count)]
        for path in paths:
            cv2.imwrite(str(path), picture(package, ENROL, rng, GOODS))
        file, _ = added(file, sku, paths, net)
    write(folder / "products.enrolled", file)
    return folder / "products.enrolled"


def scene(of: Camera, hand_m: np.ndarray, what: object, seed: int) -> np.ndarray:
    """A grey room with a drawn hand, as large as it is from there."""
    model = camera_model(of)
    away_m = float(np.linalg.norm(hand_m - model.store_from_camera[:3, 3]))
    side = round(900.0 * CROP_M / away_m / 0.75)  # a photo's middle is the crop
    rng = np.random.default_rng(seed)
    drawn = picture(what, replace(IN_STORE, seen_px=side, blur_px=0.3), rng, GOODS)  # type: ignore[arg-type]
    image = np.full((720, 1280, 3), 140, np.uint8)
    x, y = np.round(project(hand_m[None], model)[0][0]).astype(int) - side // 2
    image[y : y + side, x : x + side] = drawn
    return image


def person(of: Camera, hand_m: np.ndarray, foot_m: np.ndarray) -> Found:
    """A pose whose right hand is there: its elbow is not seen, so the wrist stands for the hand."""
    points = np.zeros((1, 17, 3))
    px, _ = project(np.stack([hand_m, foot_m]), camera_model(of))
    points[0, 10] = (*px[0], 0.9)
    foot = px[1]
    box = np.array([[foot[0] - 60, foot[1] - 330, foot[0] + 60, foot[1]]])
    return Found(box, np.array([0.9]), points)


@pytest.mark.parametrize(("what", "sku"), [(MILK, "milk"), (OATS, "oats"), (None, None)])
def test_what_a_person_holds_before_a_shelf_is_told(
    enrolled: Path, what: object, sku: str | None
) -> None:
    of, hand = camera((1.0, 0.6, 2.4), "room"), np.array([1.3, 2.65, 1.15])
    hands = Hands(PLATES, FACINGS, str(enrolled), "")
    assert hands.trouble == ""
    found = person(of, hand, np.array([1.3, 2.4, 0.0]))
    seen = hands.of_people("cam", 77, camera_model(of), scene(of, hand, what, 4), found)
    assert seen is not None
    assert seen.captured_at_ns == 77
    assert set(seen.skus) == {"milk", "oats"}
    assert np.linalg.norm(seen.positions_store_m[0] - hand) < 0.4
    row = dict(zip(seen.skus, seen.probability[0].tolist(), strict=True))
    assert seen.prior is not None
    assert seen.prior.sum() == pytest.approx(0.5)
    if sku is None:
        assert sum(row.values()) < 0.5
    else:
        assert max(row, key=lambda name: row[name]) == sku
        assert row[Sku(sku)] > 0.5
    message = encode_detections(seen)[4:]
    assert decode_seen(message).probability == pytest.approx(seen.probability)  # type: ignore[union-attr]


def test_a_hand_far_from_every_shelf_costs_no_look(enrolled: Path) -> None:
    of, hand = camera((1.0, 0.6, 2.4), "room"), np.array([1.2, 1.6, 1.1])
    hands = Hands(PLATES, FACINGS, str(enrolled), "")
    found = person(of, hand, np.array([1.2, 1.5, 0.0]))
    assert hands.of_people("cam", 1, camera_model(of), np.zeros((720, 1280, 3)), found) is None


def test_a_shelf_with_goods_that_are_not_enrolled_is_not_looked_into(enrolled: Path) -> None:
    of, hand = camera((1.0, 0.6, 2.4), "room"), np.array([1.3, 2.65, 1.15])
    found = person(of, hand, np.array([1.3, 2.4, 0.0]))
    image = np.zeros((720, 1280, 3), np.uint8)
    other = replace(FACINGS[1], sku=Sku("nobody-enrolled-it"))
    for facings, looked in ((FACINGS, True), ((FACINGS[0], other), False)):
        hands = Hands(PLATES, facings, str(enrolled), "")
        seen = hands.of_people("cam", 1, camera_model(of), image, found)
        assert (seen is not None) == looked


def test_a_near_camera_finds_a_drawn_hand_and_says_where_it_is(enrolled: Path) -> None:
    """The real handtrack takes this drawn hand for one; of 25 drawn ones it does so with six."""
    of, hand = camera((1.3, 1.7, 1.7), "shelf"), np.array([1.3, 2.8, 1.1])
    drawn = picture(
        GOODS[0],
        replace(IN_STORE, seen_px=320, blur_px=0.3, noise=0.005, light_sd=0.1),
        np.random.default_rng(19),
        GOODS,
    )
    image = np.full((720, 1280, 3), 140, np.uint8)
    x, y = np.round(project(hand[None], camera_model(of))[0][0]).astype(int) - 160
    image[y : y + 320, x : x + 320] = drawn
    found = Net(net_file("handtrack", ())).people(image)
    hands = Hands(PLATES, FACINGS, str(enrolled), "")
    seen = hands.at_shelf("cam", 5, camera_model(of), image, found)
    assert seen is not None
    assert len(seen.positions_store_m) == len(found) >= 1
    assert np.linalg.norm(seen.positions_store_m[0] - hand) < 0.2
    assert seen.positions_store_m[:, 1] == pytest.approx(2.8)  # the shelf's front


def test_a_near_camera_tells_hands_without_products_and_that_it_is_alive(tmp_path: Path) -> None:
    of, hand = camera((1.3, 1.7, 1.7), "shelf"), np.array([1.3, 2.8, 1.1])
    px, _ = project(hand[None], camera_model(of))
    box = np.concatenate([px[0] - 30, px[0] + 30])[None]
    hands = Hands(PLATES, FACINGS, str(tmp_path / "none"), "")
    model, image = camera_model(of), np.zeros((720, 1280, 3), np.uint8)
    nobody = Found(np.zeros((0, 4)), np.zeros(0))
    first = hands.at_shelf("cam", 0, model, image, nobody)
    assert first is not None
    assert first.positions_store_m.shape == (0, 3)
    assert hands.at_shelf("cam", 900_000_000, model, image, nobody) is None
    seen = hands.at_shelf("cam", 950_000_000, model, image, Found(box, np.array([0.8])))
    assert seen is not None
    assert seen.positions_store_m[0] == pytest.approx(hand, abs=1e-6)
    assert (seen.skus, seen.probability.shape) == ((), (1, 0))
    assert hands.at_shelf("cam", 1_960_000_000, model, image, nobody) is not None
    decode_seen(encode_detections(seen)[4:])


def test_a_damaged_enrolment_is_said_and_costs_nothing_else(enrolled: Path, tmp_path: Path) -> None:
    path = tmp_path / "products.enrolled"
    path.write_bytes(b"\x93no")
    hands = Hands(PLATES, FACINGS, str(path), "")
    assert "run: walkout enroll list" in hands.trouble
    of, hand = camera((1.0, 0.6, 2.4), "room"), np.array([1.3, 2.65, 1.15])
    found = person(of, hand, np.array([1.3, 2.4, 0.0]))
    image = np.zeros((720, 1280, 3), np.uint8)
    assert hands.of_people("cam", 1, camera_model(of), image, found) is None
    path.write_bytes(enrolled.read_bytes())  # enrolled anew while the store is open
    hands.read_again()
    assert hands.trouble == ""
    assert hands.of_people("cam", 1, camera_model(of), image, found) is not None


SIGHTING = ItemSightings(
    camera=CameraId("cam"),
    received_at_ns=0,
    captured_at_ns=1,
    positions_store_m=np.ones((1, 3)),
    skus=(Sku("a"), Sku("b")),
    probability=np.array([[0.2, 0.5]]),
)


@pytest.mark.parametrize(
    "change",
    [
        {"probability": np.array([[0.7, 0.5]])},
        {"probability": np.array([[np.nan, 0.5]])},
        {"probability": np.array([[0.2, -0.1]])},
        {"probability": np.ones((1, 3)) / 9},
        {"prior": np.ones((2, 2)) / 9},
        {"positions_store_m": np.array([[np.inf, 0.0, 0.0]])},
        {"positions_store_m": np.ones(3)},
        {"skus": (Sku("a"), Sku("a"))},
    ],
)
def test_sightings_that_cannot_be_end_the_connection(change: dict[str, object]) -> None:
    with pytest.raises(LinkError):
        decode_seen(encode(replace(SIGHTING, **change)))  # type: ignore[arg-type]
