"""A camera node's end of the daemon's camera socket: packets out, none kept.

Detections are worth something only now: where the daemon is away or does not read, a packet is
dropped, and the connection is made anew for a later one.
"""

from __future__ import annotations

import select
import socket
import time

from hardware.protocol.camera_link import (
    KEEP_BYTES_MAX,
    LinkError,
    MessageReader,
    decode_keep,
    encode_detections,
)
from messages.commands import KeepClip
from messages.observations import ItemSightings, PersonDetections

SEND_S_MAX = 0.2  # the daemon reads each 100 ms or sooner
RETRY_EVERY_S = 0.5


class NodeLink:
    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._reader = MessageReader(KEEP_BYTES_MAX)
        self._retry_at_s = 0.0

    def send(self, packet: PersonDetections | ItemSightings) -> bool:
        """False where it was dropped."""
        if self._socket is None and not self._connected():
            return False
        assert self._socket is not None
        try:
            self._socket.sendall(encode_detections(packet))
        except OSError:
            self.close()  # half a message may be on its way: only a new connection is clean
            return False
        return True

    def received(self) -> list[KeepClip]:
        """What the daemon asked for since the last call; never waits."""
        if self._socket is None or not select.select([self._socket], [], [], 0.0)[0]:
            return []
        try:
            data = self._socket.recv(1 << 16)
            found = [decode_keep(message) for message in self._reader.feed(data)]
        except (OSError, LinkError):
            data, found = b"", []
        if not data:
            self.close()
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connected(self) -> bool:
        if time.monotonic() < self._retry_at_s:
            return False
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(SEND_S_MAX)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            self._retry_at_s = time.monotonic() + RETRY_EVERY_S
            return False
        self._socket, self._reader = made, MessageReader(KEEP_BYTES_MAX)
        return True
