"""Supervises the processes that turn this box's video into detections.

One reader process a camera and ``vision.workers`` detector processes; images pass between them in
shared memory, detections reach the daemon by its camera socket. A process that ends, or a camera
whose images stop coming, is seen, counted, and started anew after a pause that doubles. Nothing
here keeps an image.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.cameras.clip_file import ClipError, read_key
from edge.cameras.image_slot import make_slot
from edge.cameras.jobs import DetectorJob, ReaderJob, Said, Watched
from edge.cameras.models.nets import net_file
from edge.cameras.models.packages import ModelsError
from hardware.drivers.sink import Health, Sink
from messages.commands import Command
from messages.ids import CameraId, DeviceId
from messages.observations import DeviceState
from messages.store_config import Camera, StoreConfig

FLEET = DeviceId("detectors")
SHELF_MODEL = "handtrack"
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 30.0
STEADY_S = 60.0  # a process that ran this long is started again without the earlier pauses
# A process is silent when it says nothing for so long. It speaks each second; loading a net takes
# 0.3 s and a camera up to 8 s to open (``video.OPEN_MS``), on a busy box several times that.
SILENT_S = 30.0
IMAGES_SILENT_S = 6.0  # once images came: FFmpeg itself notices a frozen server after 9 s only
SAID_BYTES_MAX = 1 << 16
STOP_S = 3.0
DETAIL_CHARS_MAX = 180
COUNTERS = (
    "images",
    "images_dark",
    "images_frozen",
    "looks",
    "gated",
    "people",
    "hands",
    "products_unusable",
    "clips",
    "clips_failed",
    "unsent",
    "reader_restarts",
    "detector_restarts",
)

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Child:
    """One process to keep running. ``fds``: what it inherits."""

    name: str
    module: str
    job: ReaderJob | DetectorJob
    fds: tuple[int, ...]
    restarts: str  # the counter
    process: asyncio.subprocess.Process | None = None
    said: dict[str, int] = field(default_factory=dict)
    total: Counter[str] = field(default_factory=Counter)  # of its earlier lives
    trouble: str = ""

    def counted(self) -> Counter[str]:
        return self.total + Counter(self.said)


class DetectorFleet:
    """All cameras of a store that have a ``url``."""

    def __init__(self, config: StoreConfig, sink: Sink) -> None:
        self.health = Health(FLEET, sink, COUNTERS)
        self._config = config
        self._cameras = live_cameras(config)
        self._fds: list[int] = []
        self._children: list[_Child] = []

    async def run(self) -> None:
        """Until cancelled; ends every process."""
        self._children = self._planned()
        self.health.set(DeviceState.ONLINE)
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in self._children:
                    tasks.create_task(self._kept_running(child), name=child.name)
                tasks.create_task(self._report())
        finally:
            for fd in self._fds:
                os.close(fd)
            self._fds.clear()

    async def command(self, command: Command) -> None:
        """Detectors take commands by the camera socket alone."""

    def processes(self) -> dict[str, int]:
        """Name -> process id of what runs."""
        return {c.name: c.process.pid for c in self._children if c.process is not None}

    # --- plan ----------------------------------------------------------------------------------

    def _planned(self) -> list[_Child]:
        workers = min(self._config.vision.workers, len(self._cameras))
        bells = [
            self._kept(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)) for _ in range(workers)
        ]
        slots = {c.id: self._kept(make_slot(c.id, c.width_px, c.height_px)) for c in self._cameras}
        readers = [
            _reader(camera, slots[camera.id], bells[k % workers])
            for k, camera in enumerate(self._cameras)
        ]
        detectors = [
            _detector(k, self._cameras[k::workers], slots, bells[k], self._config, workers)
            for k in range(workers)
        ]
        return [*readers, *detectors]

    def _kept(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    # --- supervision ---------------------------------------------------------------------------

    async def _kept_running(self, child: _Child) -> None:
        loop, pause_s = asyncio.get_running_loop(), PAUSE_FIRST_S
        while True:
            started = loop.time()
            reason = await self._one_life(child)
            if not reason:
                return
            self.health.count(child.restarts)
            if loop.time() - started > STEADY_S:
                pause_s = PAUSE_FIRST_S
            child.trouble = reason
            log.error(
                "process_ended name=%s restart_in_s=%.1f reason=%r", child.name, pause_s, reason
            )
            self._say_state()
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _one_life(self, child: _Child) -> str:
        """Why the process ended; "" where its file was played to the end."""
        child.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            child.module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=child.fds,
            env={**os.environ, "OPENCV_LOG_LEVEL": "ERROR"},
            limit=SAID_BYTES_MAX,
        )
        try:
            assert child.process.stdin is not None
            child.process.stdin.write(msgspec.json.encode(child.job) + b"\n")
            return await self._listened(child, child.process)
        except (ConnectionError, ValueError) as error:
            return f"{child.name}: {error}"
        finally:
            await _ended(child.process)
            child.process = None
            child.total = child.counted()
            child.said = {}

    async def _listened(self, child: _Child, process: asyncio.subprocess.Process) -> str:
        """What the process says, until it ends or falls silent."""
        assert process.stdout is not None
        last = Said(counts={})
        while True:
            limit_s = _silence_s(child)
            try:
                line = await asyncio.wait_for(process.stdout.readline(), limit_s)
            except TimeoutError:
                what = "no image" if isinstance(child.job, ReaderJob) else "not a word"
                return f"{child.name}: {what} for {limit_s:.0f} s"
            if not line:
                break
            last = msgspec.json.decode(line, type=Said)
            child.said = last.counts or child.said
            if last.counts and child.trouble:
                child.trouble = ""
                self._say_state()
        status = await process.wait()
        if last.ended:
            child.trouble = f"{child.name}: the video has ended"
            self._say_state()
            return ""
        return last.error or f"{child.name}: its process ended with status {status}"

    # --- health --------------------------------------------------------------------------------

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            counted: Counter[str] = Counter()
            for child in self._children:
                counted += child.counted()
            for name in COUNTERS:
                if not name.endswith("_restarts"):
                    self.health.counters[name] = counted[name]
            self.health.report_if_due()

    def _say_state(self) -> None:
        troubles = [child.trouble for child in self._children if child.trouble]
        if not troubles:
            self.health.set(DeviceState.ONLINE)
            return
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        self.health.set(DeviceState.FAULT, troubles[0][:DETAIL_CHARS_MAX] + more)


def live_cameras(config: StoreConfig) -> tuple[Camera, ...]:
    """The cameras whose video is detected on this box."""
    return tuple(camera for camera in config.cameras if camera.url and not camera.box)


def check_models(config: StoreConfig) -> None:
    """Is there a net for each live camera, and the key of clips? Raises ModelsError."""
    for camera in live_cameras(config):
        net_file(net_of(camera), config.models, config.vision.models)
    if live_cameras(config) and config.paths.clips_key_file:
        try:
            read_key(Path(config.paths.clips_key_file))
        except ClipError as error:
            raise ModelsError(str(error)) from error


def net_of(camera: Camera) -> str:
    """The name of its net; empty: the first that finds people."""
    return camera.model or (SHELF_MODEL if camera.role == "shelf" else "")


def _silence_s(child: _Child) -> float:
    """How long it may say nothing: less once its images came."""
    if isinstance(child.job, ReaderJob) and child.said.get("images"):
        return max(IMAGES_SILENT_S, 3.0 / child.job.images_per_s)
    return SILENT_S


def _reader(camera: Camera, slot_fd: int, bell_fd: int) -> _Child:
    job = ReaderJob(
        camera=camera.id,
        url=camera.url,
        user=camera.user,
        password_file=camera.password_file,
        images_per_s=camera.images_per_s,
        latency_ms=camera.latency_ms,
        width_px=camera.width_px,
        height_px=camera.height_px,
        slot_fd=slot_fd,
        bell_fd=bell_fd,
    )
    fds = (slot_fd, bell_fd)
    return _Child(f"camera {camera.id}", "edge.cameras.reader", job, fds, "reader_restarts")


def _detector(
    k: int,
    cameras: Sequence[Camera],
    slots: dict[CameraId, int],
    bell_fd: int,
    config: StoreConfig,
    workers: int,
) -> _Child:
    """A worker, with a share of the budget as large as its share of the cameras."""
    watched = tuple(
        Watched(
            camera=camera.id,
            width_px=camera.width_px,
            height_px=camera.height_px,
            slot_fd=slots[camera.id],
            model=net_of(camera),
            model_width_px=camera.model_width_px,
            always=camera.detect == "always",
            calibration=camera,
        )
        for camera in cameras
    )
    job = DetectorJob(
        worker=k,
        cameras=watched,
        bell_fd=bell_fd,
        socket=config.paths.camera_socket,
        cpu_cores=config.vision.cpu_cores * len(cameras) / len(live_cameras(config)),
        models=config.models,
        models_folder=config.vision.models,
        plates=config.plates,
        facings=config.facings,
        products=config.paths.products,
        clips=config.paths.clips,
        clips_key_file=config.paths.clips_key_file,
        clip_s=config.vision.clip_s,
        clips_days=config.vision.clips_days,
    )
    fds = (*(slots[c.id] for c in cameras), bell_fd)
    return _Child(f"detector {k}", "edge.cameras.detector", job, fds, "detector_restarts")


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Its input is closed, which it takes as the end; then it is killed."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        await asyncio.wait_for(process.wait(), STOP_S)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
