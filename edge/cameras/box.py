"""A camera box: detector workers on another machine, ``walkout camera-box``.

It runs the fleet of ``fleet.py`` for the cameras that store.toml puts on it, takes their packets on
a socket of its own, and sends them to the daemon by MQTT. It keeps each packet until the daemon's
journal has it (``box_sender``); broker, network and daemon may go away and come back meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from edge.cameras.box_sender import BoxSender
from edge.cameras.fleet import DetectorFleet, check_models
from edge.cameras.models.packages import ModelsError
from edge.logs import to_stderr
from hardware.drivers.mqtt_client import MqttClient, MqttError
from hardware.protocol.camera_box import Topics, packed, unpacked_numbers
from hardware.protocol.camera_link import LinkError, MessageReader
from messages.observations import DeviceHealth, DeviceState, Observation
from messages.store_config import StoreConfig

SEND_EVERY_S = 0.1
SAY_EVERY_S = 1.0
GONE = b'{"state":"gone"}'

log = logging.getLogger(__name__)


class BoxError(ValueError):
    """The configuration knows no such box; says which there are."""


class CameraBox:
    """One box. It is a sink to its fleet, which tells it only health."""

    def __init__(self, config: StoreConfig, box: str) -> None:
        """Raises BoxError."""
        self.box = box
        self.sender = BoxSender(secrets.randbits(63))
        self.linked = False
        self._config = own_part(config, box)
        self._topics = Topics(store=config.store, box=box)
        self._mqtt = config.mqtt
        self._health: DeviceHealth | None = None
        self._client: MqttClient | None = None
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        """Until ``stopped``. Raises MqttError where [mqtt] cannot be used."""
        self._client = MqttClient(
            self._mqtt,
            f"walkout-{self._config.store}-{self.box}",
            topics=(self._topics.journalled,),
            on_message=self._journalled,
            on_link=self._link,
            will=(self._topics.health, GONE),
        )
        path = Path(self._config.paths.camera_socket)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._taken, str(path))
        path.chmod(0o600)
        self._client.start()
        try:
            async with server, asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(DetectorFleet(self._config, self).run()),
                    tasks.create_task(self._send_again()),
                    tasks.create_task(self._speak()),
                ]
                await self.stopped.wait()
                for task in beside:
                    task.cancel()
        finally:
            self._client.publish(self._topics.health, GONE, retain=True)
            await self._client.close()
            path.unlink(missing_ok=True)

    # --- the fleet's sink ----------------------------------------------------------------------

    def put(self, observation: Observation, journalled: Callable[[], None] | None = None) -> None:
        if isinstance(observation, DeviceHealth):
            self._health = observation

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_to_store_ns(self, wall_ns: int) -> int:
        return wall_ns  # a box knows no store time

    # --- packets -------------------------------------------------------------------------------

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One detector worker's packets."""
        messages = MessageReader()
        try:
            while data := await reader.read(1 << 16):
                for message in messages.feed(data):
                    self._send(self.sender.keep(message), message)
        except (LinkError, ConnectionError) as error:
            log.error("worker_link_ended reason=%r", str(error))
        finally:
            writer.close()

    def _send(self, number: int, message: bytes) -> bool:
        assert self._client is not None
        payload = packed(self.sender.session, number, message)
        sent = self.linked and self._client.publish(self._topics.detections, payload)
        if sent:
            self.sender.sent(number, time.monotonic_ns())
        return sent

    async def _send_again(self) -> None:
        while True:
            await asyncio.sleep(SEND_EVERY_S)
            if self.linked:
                for number, message in self.sender.due(time.monotonic_ns()):
                    if not self._send(number, message):
                        break

    def _journalled(self, topic: str, payload: bytes) -> None:
        try:
            self.sender.journalled(*unpacked_numbers(payload))
        except LinkError as error:
            log.error("acknowledgement_refused reason=%r", str(error))

    # --- health --------------------------------------------------------------------------------

    def _link(self, trouble: str) -> None:
        if trouble and self.linked:
            self.sender.lost_link()
        self.linked = not trouble
        log.info("broker_link up=%s reason=%r", self.linked, trouble)

    async def _speak(self) -> None:
        while True:
            assert self._client is not None
            self._client.publish(self._topics.health, self._said(), retain=True)
            await asyncio.sleep(SAY_EVERY_S)

    def _said(self) -> bytes:
        health = self._health
        fault = health is not None and health.state is not DeviceState.ONLINE
        found: dict[str, str | int] = {
            "state": "fault" if fault else "online",
            "detail": health.detail if health else "",
            "waiting": len(self.sender),
            "dropped": self.sender.dropped,
            **({} if health is None else health.counters),
        }
        return msgspec.json.encode(found)


def own_part(config: StoreConfig, box: str) -> StoreConfig:
    """The configuration as the box needs it: its cameras, its own socket. Raises BoxError."""
    cameras = tuple(replace(c, box="") for c in config.cameras if c.box == box)
    if not cameras:
        known = sorted({c.box for c in config.cameras if c.box}) or ["none"]
        raise BoxError(f"no camera of store.toml is on a box {box!r}; boxes: {', '.join(known)}")
    socket = str(Path(config.paths.runtime) / f"box-{box}.sock")
    return replace(config, cameras=cameras, paths=replace(config.paths, camera_socket=socket))


def main(config: StoreConfig, box: str) -> int:
    """``walkout camera-box``: until SIGTERM or SIGINT; the process's exit status."""
    to_stderr()
    try:
        check_models(own_part(config, box))
        asyncio.run(_served(config, box))
    except (BoxError, ModelsError, MqttError) as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except ExceptionGroup as group:
        log.critical("camera_box_failed", exc_info=group)
        return 1
    return 0


async def _served(config: StoreConfig, box: str) -> None:
    node = CameraBox(config, box)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.stopped.set)
    with contextlib.suppress(asyncio.CancelledError):
        await node.run()
