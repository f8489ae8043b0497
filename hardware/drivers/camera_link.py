"""Driver of the camera nodes: a unix socket where each sends what it saw.

The socket is 0600: only this user's processes may send. Several cameras may share a connection or
have one each. What is hostile ends its own connection and nothing else. A camera's wall clock
becomes store time here; one that is far off would put people into the past or the future, so its
detections are refused and the clock is named.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hardware.drivers.sink import Health, Sink, Tap, untapped
from hardware.protocol.camera_link import LinkError, MessageReader, decode_seen, encode_keep
from messages.catalogue import ENTRY_OF
from messages.commands import Command, KeepClip
from messages.ids import CameraId, DeviceId
from messages.observations import DeviceState, ItemSightings, PersonDetections
from messages.store_config import Camera

CONNECTIONS_MAX = 32  # several times the cameras of a large store
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux
UNREAD_BYTES_MAX = 1 << 16
CLOCK_OFF_MAX_NS = 2_000_000_000  # chrony keeps milliseconds; two seconds is no clock
LOST_AT_ONCE_MAX = 1_000_000  # a sender may write anything into its sequence
WATCH_EVERY_S = 0.25
STALE_AFTER_S = ENTRY_OF[PersonDetections].stale_after_s or 3.0
COUNTERS = (
    "packets",
    "lost",
    "repeated",
    "clock_off",
    "hostile",
    "unknown_camera",
    "connections",
    "refused_connections",
)


LINK = DeviceId("camera-link")  # the socket itself, beside the cameras on it


class SocketPathError(ValueError):
    """The socket's path is too long for the system, or taken by something else."""


class CameraLink:
    """All cameras of a store on one socket."""

    def __init__(self, cameras: Sequence[Camera], path: str | Path, sink: Sink) -> None:
        self.health = {camera.id: Health(DeviceId(camera.id), sink, COUNTERS) for camera in cameras}
        self.link = Health(LINK, sink, COUNTERS)  # of all peers, hostile ones included
        self.counters = self.link.counters
        self._sink, self._path = sink, Path(path)
        self._last: dict[CameraId, int] = {}
        self._heard_at_ns: dict[CameraId, int] = {}
        self._source: dict[CameraId, _Connection] = {}
        self._connections: set[_Connection] = set()
        self._started_at_ns = 0
        self.tap: Tap = untapped

    async def run(self) -> None:
        """Until cancelled; closes every connection and removes the socket."""
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Connection(self), sock=_private_socket(self._path)
        )
        self._started_at_ns = self._sink.now_ns()
        self.link.set(DeviceState.ONLINE)
        try:
            async with server:
                await self._watch()
        finally:
            for connection in tuple(self._connections):
                connection.close()
            self._path.unlink(missing_ok=True)

    async def command(self, command: Command) -> None:
        """Ask the nodes for a clip of their cameras; they take no other command.

        Raises:
            ConnectionError: no node of any of these cameras is connected, or it does not read.
        """
        if not isinstance(command, KeepClip):
            return
        wall_ns = time.time_ns()
        ahead_ns = self._sink.wall_to_store_ns(wall_ns) - wall_ns
        sources = {self._source[c] for c in command.cameras if c in self._source}
        clip = replace(
            command,
            started_at_ns=command.started_at_ns - ahead_ns,
            ended_at_ns=command.ended_at_ns - ahead_ns,
        )
        if not [source for source in sources if source.ask(encode_keep(clip))]:
            raise ConnectionError(f"no camera node of {', '.join(command.cameras)} takes commands")

    # from connections

    def connected(self, connection: _Connection) -> bool:
        if len(self._connections) >= CONNECTIONS_MAX:
            self.counters["refused_connections"] += 1
            return False
        self._connections.add(connection)
        self.counters["connections"] += 1
        return True

    def disconnected(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        for camera in [c for c, source in self._source.items() if source is connection]:
            del self._source[camera]
            self.health[camera].set(DeviceState.UNPLUGGED, "the camera node went away")

    def message(self, connection: _Connection, message: bytes) -> None:
        """One message of a node. Raises LinkError: the connection ends."""
        seen = decode_seen(message)
        health = self.health.get(seen.camera)
        if health is None:
            self.counters["unknown_camera"] += 1  # others may share its connection: it stays
            self.link.set(DeviceState.ONLINE, "packets of a camera that store.toml does not name")
            return
        self.tap(seen.camera, message, False)
        if self._source.get(seen.camera) is not connection:
            self._source[seen.camera] = connection
            self._last.pop(seen.camera, None)
            health.count("connections")
        self._seen(seen, health)

    def hostile(self, connection: _Connection) -> None:
        self.counters["hostile"] += 1
        self.link.set(DeviceState.ONLINE, "a peer sent what is no camera packet: who reaches it?")
        for camera, source in self._source.items():
            if source is connection:
                self.health[camera].count("hostile")

    def _seen(self, seen: PersonDetections | ItemSightings, health: Health) -> None:
        now_ns = self._sink.now_ns()
        captured_at_ns = self._sink.wall_to_store_ns(seen.captured_at_ns)
        self._heard_at_ns[seen.camera] = now_ns
        off_ns = captured_at_ns - now_ns
        if abs(off_ns) > CLOCK_OFF_MAX_NS:
            health.count("clock_off")
            health.set(DeviceState.FAULT, _clock_words(off_ns))
            return
        if isinstance(seen, PersonDetections) and not self._is_next(seen, health):
            return
        health.count("packets")
        state = seen.image_state if isinstance(seen, PersonDetections) else "ok"
        health.set(DeviceState.ONLINE, "" if state == "ok" else f"image {state[:16]}")
        self._sink.put(replace(seen, captured_at_ns=captured_at_ns, received_at_ns=now_ns))

    def _is_next(self, seen: PersonDetections, health: Health) -> bool:
        """False for the same packet again; a smaller number means that the node began afresh."""
        last, self._last[seen.camera] = self._last.get(seen.camera), seen.sequence
        if last == seen.sequence:
            health.count("repeated")
            return False
        if last is not None and seen.sequence > last:
            health.count("lost", min(seen.sequence - last - 1, LOST_AT_ONCE_MAX))
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            now_ns = self._sink.now_ns()
            self.link.report_if_due()
            for camera, health in self.health.items():
                silent_ns = now_ns - self._heard_at_ns.get(camera, self._started_at_ns)
                if silent_ns > STALE_AFTER_S * 1e9:
                    self._silent(camera, health)
                health.report_if_due()

    def _silent(self, camera: CameraId, health: Health) -> None:
        if camera not in self._heard_at_ns:
            health.set(DeviceState.UNPLUGGED, "no camera node has sent yet")
        elif camera in self._source:
            health.set(
                DeviceState.SILENT,
                f"nothing from the camera for {STALE_AFTER_S:.0f} s: "
                f"check its cable and its detector",
            )


class _Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, link: CameraLink) -> None:
        self._link = link
        self._reader = MessageReader()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if not self._link.connected(self):
            transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._link.message(self, message)
        except LinkError:
            self._link.hostile(self)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._link.disconnected(self)

    def ask(self, message: bytes) -> bool:
        """False where the peer is gone, or has not read for long."""
        transport = self._transport
        if not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            return False
        transport.write(message)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _private_socket(path: Path) -> socket.socket:
    """A listening address that nobody else can use: the mode is set before anybody can connect."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise SocketPathError(
            f"{path} has more than {SOCKET_PATH_BYTES_MAX} bytes; "
            f"set paths.camera_socket to a shorter path"
        )
    if path.exists() and not path.is_socket():
        raise SocketPathError(f"{path} exists and is no socket")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # before listen(), so that nothing connects in between
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _clock_words(off_ns: int) -> str:
    side = "ahead" if off_ns > 0 else "behind"
    return (
        f"the camera's clock is {abs(off_ns) / 1e9:.1f} s {side}, or it sends old images: "
        f"synchronise it with the store's NTP server"
    )
