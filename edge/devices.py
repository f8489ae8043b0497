"""One supervised task a device, and one lane a device for what it is asked to do.

A driver that raises or returns is made anew after a pause that doubles; its devices are reported
as faulty meanwhile, so their readings are unknown and an alarm stands. No driver takes the daemon
down. A command runs through its lane in order, never after ``not_after_ns`` and never twice in one
run; a crash between a device's act and our note of it repeats it at the restart, which gate and
shelf nodes recognise by its number.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from edge.logs import scrubbed
from messages.commands import Command, KeepClip, RefuseEntry, TareShelf, UnlockGate
from messages.ids import CommandId, DeviceId
from messages.observations import DeviceHealth, DeviceState, Observation
from messages.store_config import StoreConfig

RESTART_FIRST_S = 0.5
RESTART_MAX_S = 30.0
STEADY_S = 60.0  # a driver that ran this long starts again without the earlier pauses
RETRY_S = 0.2  # of a command whose driver raised or was not there
DETAIL_CHARS_MAX = 200

log = logging.getLogger(__name__)


class Sink(Protocol):
    """What a driver is given: the inbox."""

    def put(
        self, observation: Observation, journalled: Callable[[], None] | None = None
    ) -> None: ...
    def now_ns(self) -> int: ...
    def wall_to_store_ns(self, wall_ns: int) -> int: ...


class Driver(Protocol):
    """A device's bytes, until cancelled; and what it can be asked."""

    async def run(self) -> None: ...
    async def command(self, command: Command) -> None: ...


Tap = Callable[[str, bytes, bool], None]  # device, bytes, True: towards the device


@runtime_checkable
class Tapped(Protocol):
    """A driver whose bytes can be listened to (``edge/tap.py``)."""

    tap: Tap


CLIPS = "clips"  # whoever has the images


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """How to make a driver; ``answers``: gate or device ids whose commands it takes."""

    name: str
    devices: tuple[DeviceId, ...]
    make: Callable[[], Driver]
    answers: tuple[str, ...] = ()


Mark = Callable[[CommandId, str], Awaitable[None]]


def store_devices(config: StoreConfig, sink: Sink) -> list[Device]:
    """Every device of a store; driver modules are imported for those that it has."""
    return [
        *_shelf_nodes(config, sink),
        *_readers(config, sink),
        *_gate_nodes(config, sink),
        *_cameras(config, sink),
        *_detectors(config, sink),
        *_camera_boxes(config, sink),
    ]


def _shelf_nodes(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    if config.shelf_nodes:
        from hardware.drivers.shelf_node import ShelfNodeDriver

        for node in config.shelf_nodes:
            make = partial(ShelfNodeDriver, node, sink)
            yield Device(name=node.id, devices=(node.id,), make=make, answers=(node.id,))


def _readers(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    if config.readers:
        from hardware.drivers.qr_reader import ReaderDriver

        for reader in config.readers:
            make = partial(ReaderDriver, reader, sink)
            yield Device(name=reader.id, devices=(reader.id,), make=make)


def _gate_nodes(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    if config.gate_nodes:
        from hardware.drivers.gate_node import GateNodeDriver

        for node in config.gate_nodes:
            make = partial(GateNodeDriver, node, sink)
            yield Device(name=node.id, devices=(node.id,), make=make, answers=(node.gate,))


def _cameras(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    here = tuple(camera for camera in config.cameras if not camera.box)
    if here:
        from hardware.drivers.camera_link import CameraLink

        Path(config.paths.camera_socket).parent.mkdir(parents=True, exist_ok=True)
        make = partial(CameraLink, here, config.paths.camera_socket, sink)
        cameras = tuple(DeviceId(camera.id) for camera in here)
        yield Device(name="cameras", devices=cameras, make=make, answers=(CLIPS,))


def _detectors(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    """Live video of this box: its detections come in by the camera socket, like any other's."""
    live = any(camera.url and not camera.box for camera in config.cameras)
    if live and config.vision.process == "daemon":
        from edge.cameras.fleet import FLEET, DetectorFleet

        yield Device(name=FLEET, devices=(FLEET,), make=partial(DetectorFleet, config, sink))


def _camera_boxes(config: StoreConfig, sink: Sink) -> Iterable[Device]:
    """Cameras whose video other boxes detect: their detections come by MQTT."""
    boxes = tuple(dict.fromkeys(camera.box for camera in config.cameras if camera.box))
    if boxes:
        from hardware.drivers.camera_boxes import LINK, CameraBoxes

        make = partial(CameraBoxes, config.cameras, config.mqtt, config.store, sink)
        yield Device(name=LINK, devices=tuple(DeviceId(box) for box in boxes), make=make)


class Devices:
    """Runs drivers and their commands until cancelled."""

    def __init__(
        self,
        devices: Sequence[Device],
        sink: Sink,
        mark: Mark,
        tap: Tap | None = None,
    ) -> None:
        self.restarts: Counter[str] = Counter()
        self.commands: Counter[str] = Counter()  # by how they ended
        self._devices, self._sink, self._mark, self._tap = devices, sink, mark, tap
        self._running: dict[str, Driver] = {}
        self._device_of = {target: d.name for d in devices for target in d.answers}
        self._lanes: dict[str, asyncio.Queue[Command]] = {d.name: asyncio.Queue() for d in devices}
        self._lanes[""] = asyncio.Queue()  # for what no device takes
        self._asked: set[CommandId] = set()

    def ask(self, commands: Iterable[Command]) -> None:
        """Queue commands that are durable; one that is already under way is not queued again."""
        for command in commands:
            if command.id not in self._asked:
                self._asked.add(command.id)
                self._lanes[self._device_of.get(_target(command), "")].put_nowait(command)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for device in self._devices:
                tasks.create_task(self._supervise(device), name=f"driver {device.name}")
            for name, lane in self._lanes.items():
                tasks.create_task(self._carry_out(name, lane), name=f"commands {name}")

    # --- drivers -------------------------------------------------------------------------------

    async def _supervise(self, device: Device) -> None:
        loop, pause_s = asyncio.get_running_loop(), RESTART_FIRST_S
        while True:
            started = loop.time()
            reason = await self._run_once(device)
            self.restarts[device.name] += 1
            if loop.time() - started > STEADY_S:
                pause_s = RESTART_FIRST_S
            log.error(
                "driver_ended device=%s restart_in_s=%.1f reason=%r", device.name, pause_s, reason
            )
            self._report_fault(device, reason)
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # not all in one instant
            pause_s = min(2 * pause_s, RESTART_MAX_S)

    async def _run_once(self, device: Device) -> str:
        """The reason why a driver ended; only cancellation passes through."""
        try:
            driver = device.make()
            if self._tap is not None and isinstance(driver, Tapped):
                driver.tap = self._tap
            self._running[device.name] = driver
            await driver.run()
            return "returned"
        except Exception as error:
            log.error("driver_raised device=%s", device.name, exc_info=error)
            return scrubbed(f"{type(error).__name__}: {error}")[:DETAIL_CHARS_MAX]
        finally:
            self._running.pop(device.name, None)

    def _report_fault(self, device: Device, reason: str) -> None:
        for one in device.devices:
            self._sink.put(
                DeviceHealth(
                    device=one,
                    received_at_ns=self._sink.now_ns(),
                    state=DeviceState.FAULT,
                    detail=f"driver ended: {reason}",
                    counters={"driver_restarts": self.restarts[device.name]},
                )
            )

    # --- commands ------------------------------------------------------------------------------

    async def _carry_out(self, name: str, lane: asyncio.Queue[Command]) -> None:
        while True:
            command = await lane.get()
            how = await self._one(name, command) if name else self._nobody(command)
            self.commands[how] += 1
            await self._mark(command.id, how)
            self._asked.discard(command.id)

    async def _one(self, name: str, command: Command) -> str:
        """Ask the device until it took the command or its time is over."""
        while self._sink.now_ns() <= command.not_after_ns:
            driver = self._running.get(name)
            try:
                if driver is not None:
                    await driver.command(command)
                    late = self._sink.now_ns() > command.not_after_ns
                    return "expired" if late else "done"
            except Exception as error:
                log.error("command_failed device=%s id=%s", name, command.id, exc_info=error)
            await asyncio.sleep(RETRY_S)
        return "expired"

    def _nobody(self, command: Command) -> str:
        log.warning("command_without_device type=%s id=%s", type(command).__name__, command.id)
        return "failed"


def _target(command: Command) -> str:
    match command:
        case UnlockGate() | RefuseEntry():
            return command.gate
        case TareShelf():
            return command.device
        case KeepClip():
            return CLIPS
        case _:
            return ""
