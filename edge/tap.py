"""The tap: whoever listens on ``<runtime>/tap.sock`` hears the bytes of every device, both ways.

It costs nothing while nobody listens and can slow nothing down: a listener that does not read loses
packets, which are counted and told to it; one that speaks is disconnected. A packet on the socket
is a length (u32, little endian) and MessagePack: ``[at_ns, device, to_device, data, dropped]``,
store time, and how many packets this listener has lost so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

SOCKET_NAME = "tap.sock"
LISTENERS_MAX = 4
WAITING_BYTES_MAX = 4 * 2**20  # for one listener: half a minute of a full store
PACKET_BYTES_MAX = 2 * 2**20  # a camera message has at most 1 MiB
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux
READ_BYTES = 256 * 2**10
READS_MAX = 64  # of one ``packets`` call: a flood does not keep its caller for ever

_LENGTH = struct.Struct("<I")
log = logging.getLogger(__name__)


class TapServer:
    """The daemon's side: ``publish`` from drivers, ``run`` until cancelled."""

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        self.packets = 0
        self.dropped = 0
        self._path, self._now_ns = path, now_ns
        self._listeners: set[_Listener] = set()

    @property
    def counts(self) -> dict[str, int]:
        """For ``status.json``."""
        listeners = len(self._listeners)
        return {"listeners": listeners, "packets": self.packets, "dropped": self.dropped}

    def publish(self, device: str, data: bytes, to_device: bool) -> None:
        """Bytes of a device, for whoever listens; never blocks, never raises."""
        if not self._listeners:
            return
        self.packets += 1
        at_ns = self._now_ns()
        for listener in tuple(self._listeners):
            self.dropped += not listener.send(at_ns, device, to_device, data)

    async def run(self) -> None:
        """Serve; a socket that cannot be made is logged, and the store runs without a tap."""
        try:
            sock = _listening(self._path)
        except OSError as error:
            log.error("tap_not_there path=%s error=%r", self._path, str(error))
            return
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Listener(self._listeners), sock=sock)
        try:
            async with server:
                await server.serve_forever()
        finally:
            for listener in tuple(self._listeners):
                listener.close()
            self._path.unlink(missing_ok=True)


class _Listener(asyncio.Protocol):
    """One connection that is only written to."""

    def __init__(self, all_: set[_Listener]) -> None:
        self._all = all_
        self._transport: asyncio.WriteTransport | None = None
        self._dropped = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        if len(self._all) >= LISTENERS_MAX:
            transport.close()
        else:
            self._all.add(self)

    def send(self, at_ns: int, device: str, to_device: bool, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self._dropped += 1
            return False
        body = msgspec.msgpack.encode((at_ns, device, to_device, data, self._dropped))
        transport.write(_LENGTH.pack(len(body)) + body)
        return True

    def data_received(self, data: bytes) -> None:
        self.close()  # a listener has nothing to say

    def connection_lost(self, error: Exception | None) -> None:
        self._all.discard(self)
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()  # what waits for it is of no use to it


def _listening(path: Path) -> socket.socket:
    """A socket for this user alone; the daemon holds the journal's lock: an old file is dead."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise OSError(f"longer than {SOCKET_PATH_BYTES_MAX} bytes; shorten [paths] runtime")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)  # 0600 from the first instant
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


# --- the other side -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TapPacket:
    at_ns: int
    device: str
    to_device: bool
    data: bytes


class TapReader:
    """A listener that never waits; it connects again when the daemon starts anew."""

    def __init__(self, path: Path) -> None:
        self.dropped = 0  # by the daemon, since the last connection, and by us before
        self.connections = 0
        self._path = path
        self._socket: socket.socket | None = None
        self._held = bytearray()
        self._lost = 0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def packets(self) -> Iterator[TapPacket]:
        """What has come since the last call."""
        if self._socket is None and not self._connect():
            return
        for _ in range(READS_MAX):
            assert self._socket is not None
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._held += data
            yield from self._cut()
            if self._socket is None:
                return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._held.clear()

    def _connect(self) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            return False
        sock.setblocking(False)
        self._socket, self._lost = sock, self.dropped
        self.connections += 1
        return True

    def _cut(self) -> Iterator[TapPacket]:
        at = 0
        while len(self._held) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, at)
            if length > PACKET_BYTES_MAX:
                self.close()  # no tap of ours
                return
            end = at + _LENGTH.size + length
            if end > len(self._held):
                break
            packet = self._packet(bytes(self._held[at + _LENGTH.size : end]))
            at = end
            if packet is not None:
                yield packet
        del self._held[:at]

    def _packet(self, body: bytes) -> TapPacket | None:
        with contextlib.suppress(msgspec.MsgspecError):
            at_ns, device, to_device, data, dropped = _PACKET.decode(body)
            self.dropped = self._lost + dropped
            return TapPacket(at_ns=at_ns, device=device, to_device=to_device, data=data)
        return None


_PACKET = msgspec.msgpack.Decoder(tuple[int, str, bool, bytes, int])
