"""Real people in a real film, through real processes; and what happens when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.fleet import FLEET, DetectorFleet, check_models
from edge.cameras.jobs import ReaderJob
from edge.cameras.models.catalogue import MODEL_OF
from edge.cameras.models.nets import Net, net_file
from edge.cameras.models.packages import ModelsError
from edge.cameras.video import VideoError, images
from edge.config import load
from edge.daemon import EXIT_CONFIG
from edge.devices import store_devices
from hardware.drivers.camera_link import CameraLink
from messages.observations import DeviceState
from messages.store_config import StoreConfig
from messages.vision_config import Model
from tests.edge.cameras.film import PETS, Inbox, film, slow_film, until, watching

# Three people in the first image, read off by eye: x1, y1, x2, y2.
IN_THE_FIRST_IMAGE = np.array(
    [[499, 158, 530, 233], [256, 218, 290, 308], [633, 240, 676, 324]], dtype=float
)


def first_image() -> np.ndarray:
    capture = cv2.VideoCapture(str(film()), cv2.CAP_FFMPEG)
    ok, image = capture.read()
    assert ok
    return image


@pytest.mark.parametrize("name", ["nanodet", "movenet-multi"])
def test_nets_find_the_people_of_a_real_image(models: Path, name: str) -> None:
    net = Net(net_file(name, (), width_px=416 if name == "nanodet" else 512))
    found = net.people(first_image())
    sure = found.boxes_px[found.scores >= 0.3]
    for person in IN_THE_FIRST_IMAGE:
        gap = np.abs(sure - person).max(axis=1)
        assert gap.min() < 14, f"nobody at {person}: {sure.round()}"
    if name == "movenet-multi":
        assert found.wrists_px is not None
        assert np.isfinite(found.wrists_px[0]).any()


@contextlib.asynccontextmanager
async def running(config: StoreConfig, inbox: Inbox) -> AsyncIterator[DetectorFleet]:
    link = CameraLink(config.cameras, config.paths.camera_socket, inbox)
    fleet = DetectorFleet(config, inbox)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(fleet.run())]
    try:
        yield fleet
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_film_becomes_detections_and_dead_processes_come_back(
    models: Path, tmp_path: Path
) -> None:
    """One life of a fleet: people, a killed detector, a killed reader, a clean end."""
    config = watching(tmp_path, slow_film(tmp_path), images_per_s=5.0, model_width_px=320)

    async def life() -> list[int]:
        inbox = Inbox()
        async with running(config, inbox) as fleet:
            await until(lambda: len(inbox.packets()) >= 5)
            seen = inbox.packets()[0]
            assert seen.camera == "view-1"
            assert len(seen.scores) >= 2
            assert seen.boxes_px.shape == (len(seen.scores), 4)
            for name, counter in (
                ("detector 0", "detector_restarts"),
                ("camera view-1", "reader_restarts"),
            ):
                victim = fleet.processes()[name]
                os.kill(victim, signal.SIGKILL)
                await until(lambda c=counter: fleet.health.counters[c] == 1)
                before = len(inbox.packets())
                await until(lambda b=before: len(inbox.packets()) >= b + 3)
                assert fleet.processes()[name] != victim
            assert any(h.state is DeviceState.FAULT for h in inbox.health(FLEET))
            await until(lambda: fleet.health.state is DeviceState.ONLINE)
            return list(fleet.processes().values())

    for pid in asyncio.run(life()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_net_of_the_users_own_serves_a_camera_and_a_wrong_description_is_told(
    models: Path, tmp_path: Path
) -> None:
    mine = Model(
        id="mine",
        path=str(models / "nanodet.onnx"),
        sha256=MODEL_OF["nanodet"].sha256,
        decoder="nanodet",
        width_px=320,
        height_px=256,
        std=(255.0,) * 3,
        sure_score=0.4,
    )

    async def life(model: Model, done: Callable[[Inbox, DetectorFleet], bool]) -> str:
        folder = tmp_path / model.decoder
        folder.mkdir()
        config = replace(watching(folder, slow_film(folder), model="mine"), models=(model,))
        inbox = Inbox()
        async with running(config, inbox) as fleet:
            await until(lambda: done(inbox, fleet))
            return fleet.health.detail

    def somebody(inbox: Inbox, fleet: DetectorFleet) -> bool:
        return any(len(p.scores) >= 2 for p in inbox.packets())

    def trouble(inbox: Inbox, fleet: DetectorFleet) -> bool:
        return fleet.health.state is DeviceState.FAULT

    assert asyncio.run(life(mine, somebody)) == ""
    said = asyncio.run(life(replace(mine, decoder="detr"), trouble))
    assert said.startswith("model mine: outputs of the shapes (1, 1280, 80)")


def test_a_dark_camera_says_so_and_costs_no_net(models: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "dark.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (768, 576))
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 6, (576, 768, 3), dtype=np.uint8) for _ in range(5)]
    for k in range(250):
        writer.write(noise[k % 5])
    writer.release()
    config = watching(tmp_path, path)

    async def life() -> None:
        inbox = Inbox()
        async with running(config, inbox) as fleet:
            await until(lambda: len(inbox.packets()) >= 3)
            assert {p.image_state for p in inbox.packets()} == {"dark"}
            await until(lambda: any("image dark" in h.detail for h in inbox.health("view-1")))
            await until(lambda: fleet.health.counters["images_dark"] > 0)
            assert fleet.health.counters["looks"] == 0

    asyncio.run(life())


def test_detectors_beside_the_daemon_send_to_its_socket(models: Path, tmp_path: Path) -> None:
    toml = (PETS / "store.toml").read_text().replace("[vision]", '[vision]\nprocess = "apart"')
    toml = (
        toml.replace('"vtest.avi"', f'"{slow_film(tmp_path)}"')
        + '[paths]\ncamera_socket = "cameras.sock"\n'
    )
    path = tmp_path / "store.toml"
    path.write_text(toml)
    config = load(path)
    assert [device.name for device in store_devices(config, Inbox())] == ["cameras"]

    async def life() -> None:
        inbox = Inbox()
        link = asyncio.create_task(
            CameraLink(config.cameras, config.paths.camera_socket, inbox).run()
        )
        command = [sys.executable, "-m", "walkout", "cameras", "--config", str(path)]
        detectors = await asyncio.create_subprocess_exec(*command)
        await until(lambda: len(inbox.packets()) >= 3)
        detectors.terminate()
        assert await asyncio.wait_for(detectors.wait(), 30) == 0
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)

    asyncio.run(life())


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The film from a real RTSP server, which plays it once somebody watches."""
    command = [sys.executable, str(PETS / "serve.py"), str(slow_film(tmp_path)), str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, start_new_session=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        yield running
        os.killpg(running.pid, signal.SIGKILL)


def test_a_real_rtsp_stream_becomes_detections_and_its_silence_is_noticed(
    models: Path, tmp_path: Path, server: subprocess.Popen[bytes], port: int
) -> None:
    url = f"rtsp://127.0.0.1:{port}/view-1"
    config = watching(tmp_path, url, images_per_s=5.0, model_width_px=320, latency_ms=40.0)

    async def life() -> None:
        inbox = Inbox()
        async with running(config, inbox) as fleet:
            await until(lambda: len(inbox.packets()) >= 8)
            os.killpg(server.pid, signal.SIGSTOP)
            await until(lambda: fleet.health.counters["reader_restarts"] > 0)
            assert fleet.health.state is DeviceState.FAULT
            os.killpg(server.pid, signal.SIGCONT)
            before = len(inbox.packets())
            await until(lambda: len(inbox.packets()) >= before + 3)
        packets = inbox.packets()
        captured_ns = np.array([p.captured_at_ns for p in packets])
        assert (np.diff(captured_ns) > 0).all()
        assert all(p.received_at_ns - p.captured_at_ns > 40_000_000 for p in packets)
        assert max(len(p.scores) for p in packets) >= 2

    asyncio.run(life())


def job(url: str, **more: object) -> ReaderJob:
    known = ReaderJob(
        camera="c1",
        url=url,
        user="",
        password_file="",
        images_per_s=5.0,
        latency_ms=0.0,
        width_px=768,
        height_px=576,
        slot_fd=-1,
        bell_fd=-1,
    )
    return replace(known, **more)


def test_what_is_wrong_with_a_stream_is_said_with_the_camera_and_the_remedy(
    tmp_path: Path, port: int
) -> None:
    text = tmp_path / "text.avi"
    text.write_text("no video")
    for url, words in (
        (f"rtsp://127.0.0.1:{port}/x", "camera c1: .* cannot be opened; check its address, user"),
        (str(tmp_path / "none.avi"), "camera c1: there is no file"),
        (str(text), "camera c1: .* cannot be opened; check that it is a video"),
    ):
        with pytest.raises(VideoError, match=words):
            next(images(job(url)))
    with pytest.raises(VideoError, match="sends 768 x 576, calibrated for 640 x 480"):
        next(images(job(str(film()), width_px=640, height_px=480)))
    with pytest.raises(VideoError, match=r"password_file .*: No such file"):
        next(images(job("rtsp://h/x", user="u", password_file=str(tmp_path / "none"))))


def test_live_video_without_a_model_does_not_start_and_says_what_to_run(tmp_path: Path) -> None:
    config = watching(tmp_path, "rtsp://127.0.0.1/x", model="")
    empty = replace(config, vision=replace(config.vision, models=str(tmp_path / "none")))
    with pytest.raises(ModelsError, match=r"live video needs a model.*run: walkout models install"):
        check_models(empty)
    toml = (PETS / "store.toml").read_text().replace("[vision]", '[vision]\nmodels = "none"')
    (tmp_path / "store.toml").write_text(toml)
    command = [sys.executable, "-m", "walkout", "run", "--config", str(tmp_path / "store.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_CONFIG
    assert "run: walkout models install nanodet" in done.stderr
    assert len(done.stderr.splitlines()) == 1
