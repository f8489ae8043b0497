"""Packets that every node of ours understands: who are you, and no.

| type | packet | way | body |
|---|---|---|---|
| 2 | IDENTIFY | host to node | empty |
| 3 | IDENTITY | node to host | hardware id 12 ASCII bytes, firmware u16, plates u8, rate u32 mHz |
| 6 | NAK | node to host | refused type u8, reason u8 |

The hardware id is padded with zeros. A gate controller answers with no plates and rate 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from hardware.protocol.framing import Frame

IDENTIFY = 2
IDENTITY = 3
NAK = 6
HARDWARE_ID_BYTES = 12
_IDENTITY = struct.Struct("<12sHBI")
_NOTHING = struct.Struct("<")
_NAK = struct.Struct("<BB")


class PacketError(ValueError):
    """A frame whose CRC is right and whose body is not a packet of its type."""


class UnknownType(PacketError):  # noqa: N818
    """A type that this end does not speak: a newer sender, or the wrong kind of device."""


class WrongLength(PacketError):  # noqa: N818
    """The body is shorter or longer than its own counts say."""


class WrongValue(PacketError):  # noqa: N818
    """A field holds a value that has no meaning."""


class NakReason(IntEnum):
    UNKNOWN_TYPE = 1
    WRONG_LENGTH = 2
    WRONG_VALUE = 3
    BUSY = 4
    HARDWARE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Asks a node who it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``hardware_id`` belongs to the board, so that an exchanged board is noticed."""

    hardware_id: str
    firmware: int
    plates: int
    sample_rate_mhz: int  # millihertz


@dataclass(frozen=True, slots=True, kw_only=True)
class Nak:
    refused_type: int
    reason: int


def unpack(layout: struct.Struct, frame: Frame) -> tuple[Any, ...]:
    """The fields of a body of fixed length. Raises WrongLength."""
    if len(frame.body) != layout.size:
        got = len(frame.body)
        raise WrongLength(f"type {frame.type}: {got} bytes in the body, {layout.size} expected")
    return layout.unpack(frame.body)


def unpack_ints(layout: struct.Struct, frame: Frame) -> tuple[int, ...]:
    """As ``unpack``, for layouts of integers alone."""
    return unpack(layout, frame)


def pack(layout: struct.Struct, *values: int | bytes) -> bytes:
    """The body. Raises WrongValue where a number does not fit its field."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise WrongValue(f"{values} does not fit {layout.format}: {error}") from error


def encode_identify(node: int, sequence: int) -> Frame:
    return Frame(type=IDENTIFY, node=node, sequence=sequence)


def decode_identify(frame: Frame) -> Identify:
    """Raises WrongLength."""
    unpack(_NOTHING, frame)
    return Identify()


def encode_identity(identity: Identity, node: int, sequence: int) -> Frame:
    name = identity.hardware_id.encode("ascii", "replace")
    if len(name) > HARDWARE_ID_BYTES:
        raise WrongValue(f"hardware id {identity.hardware_id!r} is longer than 12 bytes")
    body = pack(_IDENTITY, name, identity.firmware, identity.plates, identity.sample_rate_mhz)
    return Frame(type=IDENTITY, node=node, sequence=sequence, body=body)


def decode_identity(frame: Frame) -> Identity:
    """Raises WrongLength, WrongValue."""
    name, firmware, plates, rate = unpack(_IDENTITY, frame)
    text = name.rstrip(b"\0")
    if not all(0x20 < byte < 0x7F for byte in text):
        raise WrongValue(f"hardware id {text!r} is not printable ASCII")
    return Identity(
        hardware_id=text.decode("ascii"),
        firmware=firmware,
        plates=plates,
        sample_rate_mhz=rate,
    )


def encode_nak(nak: Nak, node: int, sequence: int) -> Frame:
    body = pack(_NAK, nak.refused_type, nak.reason)
    return Frame(type=NAK, node=node, sequence=sequence, body=body)


def decode_nak(frame: Frame) -> Nak:
    """Raises WrongLength."""
    refused, reason = unpack_ints(_NAK, frame)
    return Nak(refused_type=refused, reason=reason)
