"""What camera boxes and the daemon say to each other over MQTT.

| topic | from | payload |
|---|---|---|
| ``walkout/STORE/box/BOX/detections`` | box | session u64, number u64, big endian; then a message |
| ``walkout/STORE/box/BOX/journalled`` | daemon | session u64; then numbers u64, big endian |
| ``walkout/STORE/box/BOX/health`` | box | JSON, retained; ``{"state": "gone"}`` is its last will |

The message is that of the local camera link (``camera_link``). A broker's acknowledgement says that
the broker has a packet, perhaps in memory only; ``journalled`` says that the daemon's journal has
it. A box keeps a packet until then and sends it again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hardware.protocol.camera_link import MESSAGE_BYTES_MAX, LinkError

NUMBERS_MAX = 1_024  # in one acknowledgement
_HEAD = struct.Struct(">QQ")
_ONE = struct.Struct(">Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one box; ``box`` "+" for those of every box."""

    store: str
    box: str

    def _of(self, what: str) -> str:
        return f"walkout/{self.store}/box/{self.box}/{what}"

    @property
    def detections(self) -> str:
        return self._of("detections")

    @property
    def journalled(self) -> str:
        return self._of("journalled")

    @property
    def health(self) -> str:
        return self._of("health")


def box_of(topic: str) -> str:
    """Which box a topic is of. Raises LinkError for a topic that is none of ours."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[0] != "walkout" or parts[2] != "box":
        raise LinkError(f"the topic {topic[:80]!r} is no camera box's")
    return parts[3]


def packed(session: int, number: int, message: bytes) -> bytes:
    return _HEAD.pack(session, number) + message


def unpacked(payload: bytes) -> tuple[int, int, bytes]:
    """(session, number, message). Raises LinkError."""
    if not _HEAD.size < len(payload) <= _HEAD.size + MESSAGE_BYTES_MAX:
        raise LinkError(f"a packet of {len(payload)} bytes")
    session, number = _HEAD.unpack_from(payload)
    return session, number, payload[_HEAD.size :]


def packed_numbers(session: int, numbers: Sequence[int]) -> bytes:
    """Raises LinkError for more than ``NUMBERS_MAX``."""
    if len(numbers) > NUMBERS_MAX:
        raise LinkError(f"{len(numbers)} numbers in one acknowledgement")
    return struct.pack(f">Q{len(numbers)}Q", session, *numbers)


def unpacked_numbers(payload: bytes) -> tuple[int, tuple[int, ...]]:
    """(session, numbers). Raises LinkError."""
    count, rest = divmod(len(payload), _ONE.size)
    if rest or not 1 <= count <= NUMBERS_MAX + 1:
        raise LinkError(f"an acknowledgement of {len(payload)} bytes")
    session, *numbers = struct.unpack(f">{count}Q", payload)
    return session, tuple(numbers)
