"""CPU time of the real detector processes for four cameras at five images a second.

The daemon's own fleet (``edge/cameras/fleet.py``) and camera link run for ``SECONDS``; the
processes' CPU time is read from the kernel. A *busy* camera plays the film, in which people walk
all the time. An *empty* one shows its background with a sensor's noise: an aisle with nobody in it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.cameras.fleet import DetectorFleet
from hardware.drivers.camera_link import CameraLink
from messages.ids import CameraId
from messages.observations import Observation, PersonDetections
from messages.store_config import Camera, Paths, StoreConfig
from messages.vision_config import Vision

CAMERAS, IMAGES_PER_S = 4, 5.0
SECONDS, WARM_S, START_S_MAX = 20.0, 6.0, 60.0
NOISE_SD = 1.5  # of 255, one pixel: a camera of this decade in a lit shop
EMPTY_IMAGES = 260
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Counted:
    """A sink that counts packets, and people in them."""

    def __init__(self) -> None:
        self.packets = 0
        self.first = asyncio.Event()

    def put(self, observation: Observation, journalled: Any = None) -> None:
        if isinstance(observation, PersonDetections):
            self.packets += 1
            self.first.set()

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_to_store_ns(self, wall_ns: int) -> int:
        return wall_ns - time.time_ns() + time.monotonic_ns()


def load(video: Path, busy: int, *, model: str, cpu_cores: float) -> dict[str, float]:
    """Cores used by ``CAMERAS`` cameras, ``busy`` of them with people in every image."""
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as name:
        folder = Path(name)
        empty = folder / "empty.avi"
        if busy < CAMERAS:
            write_empty(video, empty)
        cameras = [_camera(k, video if k < busy else empty, model) for k in range(CAMERAS)]
        config = StoreConfig(
            store="bench",  # type: ignore[arg-type]
            cameras=tuple(cameras),
            vision=Vision(cpu_cores=cpu_cores),
            paths=Paths(camera_socket=str(folder / "cameras.sock")),
        )
        return asyncio.run(_measured(config))


async def _measured(config: StoreConfig) -> dict[str, float]:
    sink = Counted()
    link = CameraLink(config.cameras, config.paths.camera_socket, sink)
    fleet = DetectorFleet(config, sink)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(fleet.run())]
    try:
        await asyncio.wait_for(sink.first.wait(), START_S_MAX)
        await asyncio.sleep(WARM_S)
        cpu_s, at_s, before = _cpu_s(fleet), time.monotonic(), dict(fleet.health.counters)
        own_s, packets = time.process_time(), sink.packets
        await asyncio.sleep(SECONDS)
        passed_s = time.monotonic() - at_s
        used_s = {name: cpu - cpu_s[name] for name, cpu in _cpu_s(fleet).items()}
        counters = {k: v - before[k] for k, v in fleet.health.counters.items()}
        own_s, packets = time.process_time() - own_s, sink.packets - packets
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    detectors = sum(v for name, v in used_s.items() if name.startswith("detector"))
    return {
        "cores": round((sum(used_s.values()) + own_s) / passed_s, 3),
        "cores_nets": round(detectors / passed_s, 3),
        "cores_reading": round((sum(used_s.values()) - detectors) / passed_s, 3),
        "images_per_s": round(counters["images"] / passed_s, 1),
        "looks_per_s": round(counters["looks"] / passed_s, 1),
        "packets_per_s": round(packets / passed_s, 1),
    }


def _cpu_s(fleet: DetectorFleet) -> dict[str, float]:
    """CPU seconds of each process so far, from the kernel."""
    found = {}
    for name, pid in fleet.processes().items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return found


def write_empty(video: Path, path: Path) -> None:
    """The film without its people: the median of images far apart, with fresh noise in each."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    images = []
    while len(images) < 25 and capture.grab():
        for _ in range(29):
            capture.grab()
        ok, image = capture.retrieve()
        if ok:
            images.append(image)
    still = np.median(np.stack(images), axis=0)
    rng = np.random.default_rng(5)
    size = (still.shape[1], still.shape[0])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, size)
    for _ in range(EMPTY_IMAGES + int(10 * WARM_S)):
        noise = cv2.resize(rng.normal(0, NOISE_SD, still.shape[:2]), size)[..., None]
        writer.write((still + noise).clip(0, 255).astype(np.uint8))
    writer.release()


def _camera(k: int, video: Path, model: str) -> Camera:
    return Camera(
        id=CameraId(f"cam-{k + 1}"),
        camera_matrix=((1000.0, 0.0, 384.0), (0.0, 1000.0, 288.0), (0.0, 0.0, 1.0)),
        distortion=(0.0,) * 5,
        store_from_camera=((1.0, 0, 0, 0), (0, 0, 1.0, 0), (0, -1.0, 0, 3.0), (0, 0, 0, 1.0)),
        width_px=768,
        height_px=576,
        url=str(video),
        images_per_s=IMAGES_PER_S,
        model=model,
    )
