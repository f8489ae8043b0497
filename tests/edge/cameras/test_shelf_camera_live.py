"""A near camera through the real processes: a film of a drawn hand becomes positions at a shelf."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.cameras.fleet import DetectorFleet
from edge.config import load
from hardware.drivers.camera_link import CameraLink
from messages.ids import CameraId, PlateId, ShelfId
from messages.observations import DeviceState, ItemSightings
from messages.store_config import Camera, Plate, StoreConfig
from sim.first_store import looking_at
from sim.product_images import IN_STORE, packages, picture
from tests.edge.cameras.film import PETS, Inbox, until

GOODS = packages(6, 3)
HAND = picture(
    GOODS[0],
    replace(IN_STORE, seen_px=320, blur_px=0.3, noise=0.005, light_sd=0.1),
    np.random.default_rng(19),  # handtrack takes this one for a hand
    GOODS,
)


def drawn_film(path: Path) -> Path:
    """Half a minute of a hand that trembles before a grey shelf."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (1280, 720))
    for i in range(150):
        image = np.full((720, 1280, 3), 140, np.uint8)
        x, y = 480 + 4 * (i % 5), 200 + 3 * (i % 3)
        image[y : y + 320, x : x + 320] = HAND
        writer.write(image)
    writer.release()
    return path


def shop(folder: Path) -> StoreConfig:
    config = load(PETS / "store.toml")
    pose = looking_at(np.array([1.3, 1.7, 1.7]), np.array([1.3, 2.8, 1.1]))
    camera = Camera(
        id=CameraId("shelf-cam"),
        camera_matrix=((900.0, 0.0, 640.0), (0.0, 900.0, 360.0), (0.0, 0.0, 1.0)),
        distortion=(0.0,) * 5,
        store_from_camera=tuple(tuple(row) for row in np.asarray(pose).tolist()),
        width_px=1280,
        height_px=720,
        url=str(drawn_film(folder / "hand.avi")),
        images_per_s=5.0,
        role="shelf",
    )
    plates = tuple(
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
    paths = replace(
        config.paths,
        camera_socket=str(folder / "cameras.sock"),
        products=str(folder / "none"),
    )
    return replace(config, cameras=(camera,), plates=plates, paths=paths)


def test_a_shelf_camera_tells_hands_and_no_people(models: Path, tmp_path: Path) -> None:
    config = shop(tmp_path)

    async def life() -> Inbox:
        inbox = Inbox()
        link = CameraLink(config.cameras, config.paths.camera_socket, inbox)
        fleet = DetectorFleet(config, inbox)
        tasks = [asyncio.create_task(link.run()), asyncio.create_task(fleet.run())]
        try:
            await until(lambda: len(hands(inbox)) >= 3)
            await until(lambda: link.health[CameraId("shelf-cam")].state is DeviceState.ONLINE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return inbox

    inbox = asyncio.run(life())
    assert inbox.packets() == []
    for seen in hands(inbox):
        assert seen.camera == "shelf-cam"
        assert (seen.skus, seen.probability.shape[1]) == ((), 0)  # nothing is enrolled
        at = seen.positions_store_m[0]
        assert np.linalg.norm(at - np.array([1.3, 2.8, 1.1])) < 0.25
        assert abs(at[1] - 2.8) < 1e-9  # the shelf's front edge
        assert abs(inbox.now_ns() - seen.captured_at_ns) < 120_000_000_000  # store time


def hands(inbox: Inbox) -> list[ItemSightings]:
    return [s for s in inbox.got if isinstance(s, ItemSightings) and len(s.positions_store_m)]
