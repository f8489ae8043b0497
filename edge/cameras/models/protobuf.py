"""Protocol-buffer wire format: as much as ONNX files and TensorFlow graphs need.

A message is a row of fields, each a key (number, wire type) and a value. Writing it here keeps the
bytes of a converted model the same for every version of every library, so that its SHA-256 can be
pinned. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINT_BYTES_MAX = 10  # 64 bits, seven at a time


class ProtobufError(ValueError):
    """Bytes that are no message."""


def varint(value: int) -> bytes:
    """An integer, seven bits a byte, least first; negative ones as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def real(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)


def data(number: int, value: bytes | str) -> bytes:
    """A field of bytes, text, or an embedded message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(raw)) + raw


def fields(message: memoryview | bytes) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: an integer, or the bytes of all other kinds.

    Raises:
        ProtobufError: the message is cut short, or has a wire type that is out of use.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _read_varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _read_varint(view, at)
            yield number, value
            continue
        length, at = _length(view, at, kind)
        if at + length > len(view):
            raise ProtobufError(f"field {number} ends after the message")
        yield number, view[at : at + length]
        at += length


def signed(value: int) -> int:
    """A varint of an int64 field as the number it stands for."""
    return value - (1 << 64) if value >> 63 else value


def packed_varints(raw: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(raw):
        value, at = _read_varint(raw, at)
        found.append(signed(value))
    return found


def _length(view: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind == BYTES:
        return _read_varint(view, at)
    if kind in (FIXED64, FIXED32):
        return (8 if kind == FIXED64 else 4), at
    raise ProtobufError(f"wire type {kind} is out of use")


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for k in range(VARINT_BYTES_MAX):
        if at + k >= len(view):
            raise ProtobufError("the message ends within a number")
        byte = view[at + k]
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    raise ProtobufError("a number of more than 64 bits")
