"""Frames on a serial line: COBS between zero bytes, checked by CRC-16/MODBUS.

Consistent Overhead Byte Stuffing removes every zero from a payload, so that 0x00 means "a frame
ends here" and nothing else: after any damage a reader is in step again at the next zero. A sender
puts a zero before a frame too, so that noise on an idle line costs no frame. A frame's payload is

| bytes | field |
|---|---|
| 0 | version, 1 |
| 1 | type, see ``shelf_node.py`` and ``gate_node.py`` |
| 2 | node: address on the wire |
| 3-4 | sequence, u16 little endian |
| 5.. | body |
| last 2 | CRC-16/MODBUS of all before, u16 little endian |

A sender counts what it sends unasked; an answer carries the sequence of its question. This CRC
does not see a zero appended behind it (a delimiter with its lowest bit flipped does that), so the
body of every type has one exact length and whoever decodes a body checks it.
Source: S. Cheshire and M. Baker, Consistent Overhead Byte Stuffing, IEEE/ACM ToN 7(2), 1999.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import fastcrc

VERSION = 1
DELIMITER = b"\0"
FRAME_BYTES_MAX = 16_384  # 0.7 s of a 230,400 baud line; 255 plates with 15 samples fit
_HEAD = struct.Struct("<BBBH")
_CRC = struct.Struct("<H")
_BLOCK_MAX = 254  # longest run without a zero that one COBS code byte can head


class FramingError(ValueError):
    """Bytes that are no frame of ours; says what was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One checked frame. ``sequence`` counts modulo 2**16."""

    type: int
    node: int
    sequence: int
    body: bytes = b""
    version: int = VERSION


@dataclass(slots=True)
class FrameCounters:
    """What a reader saw: ``garbage_bytes`` includes the bytes of every frame not accepted."""

    frames: int = 0
    crc_errors: int = 0
    garbage_bytes: int = 0
    oversize: int = 0
    wrong_version: int = 0


class FrameReader:
    """Finds frames in a stream cut anywhere; never raises, holds at most ``frame_bytes_max``."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.counters = FrameCounters()
        self.foreign_version: int | None = None  # the last version that was not ours
        self._frame_bytes_max = frame_bytes_max
        self._held = bytearray()
        self._skipping = False  # an oversize frame: nothing counts until its delimiter

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in these bytes, in order."""
        *closed, rest = bytes(data).split(DELIMITER)
        frames = []
        for piece in closed:
            self._hold(piece)
            frame = self._finish()
            if frame is not None:
                frames.append(frame)
        self._hold(rest)
        return frames

    def reset(self) -> None:
        """Forget a half frame: the line was opened anew."""
        self.counters.garbage_bytes += len(self._held)
        self._held.clear()
        self._skipping = False

    def _hold(self, piece: bytes) -> None:
        if self._skipping:
            self.counters.garbage_bytes += len(piece)
        elif len(self._held) + len(piece) > self._frame_bytes_max:
            self.counters.oversize += 1
            self.counters.garbage_bytes += len(self._held) + len(piece)
            self._held.clear()
            self._skipping = True
        else:
            self._held += piece

    def _finish(self) -> Frame | None:
        if self._skipping or not self._held:
            self._skipping = False
            return None
        stuffed = bytes(self._held)
        self._held.clear()
        frame = self._checked(stuffed)
        if frame is None:
            self.counters.garbage_bytes += len(stuffed)
        else:
            self.counters.frames += 1
        return frame

    def _checked(self, stuffed: bytes) -> Frame | None:
        try:
            payload = cobs_decode(stuffed)
        except FramingError:
            return None
        if len(payload) < _HEAD.size + _CRC.size:
            return None
        if crc16(payload) != 0:  # a payload with its own CRC behind it leaves zero
            self.counters.crc_errors += 1
            return None
        version, kind, node, sequence = _HEAD.unpack_from(payload)
        if version != VERSION:
            self.counters.wrong_version += 1
            self.foreign_version = version
            return None
        body = payload[_HEAD.size : -_CRC.size]
        return Frame(type=kind, node=node, sequence=sequence, body=body)


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame on the wire, a delimiter on each side.

    Raises:
        FramingError: a field does not fit, or the frame is longer than a reader accepts.
    """
    try:
        head = _HEAD.pack(frame.version, frame.type, frame.node, frame.sequence)
    except struct.error as error:
        raise FramingError(f"frame {frame.type}: {error}") from error
    payload = head + frame.body
    stuffed = cobs_encode(payload + _CRC.pack(crc16(payload)))
    if len(stuffed) > FRAME_BYTES_MAX:
        raise FramingError(f"frame of {len(stuffed)} bytes is longer than {FRAME_BYTES_MAX}")
    return DELIMITER + stuffed + DELIMITER


def cobs_encode(data: bytes) -> bytes:
    """The data without any zero byte; at most one byte in 254 longer, plus one."""
    out = bytearray()
    for block in data.split(DELIMITER):
        while len(block) >= _BLOCK_MAX:
            out.append(_BLOCK_MAX + 1)
            out += block[:_BLOCK_MAX]
            block = block[_BLOCK_MAX:]
        out.append(len(block) + 1)
        out += block
    return bytes(out)


def cobs_decode(stuffed: bytes) -> bytes:
    """The data back. Works in place: each code byte stands where the zero before it belongs.

    Raises:
        FramingError: empty, a zero inside, or the last code points past the end.
    """
    end = len(stuffed)
    if not end or 0 in stuffed:
        raise FramingError("empty, or a zero byte inside a frame")
    out = bytearray(stuffed)
    not_zeros = [0]  # code bytes that stand for no zero: the first, and those behind a full block
    at = 0
    while at < end:
        code = stuffed[at]
        out[at] = 0
        at += code
        if code > _BLOCK_MAX and at < end:
            not_zeros.append(at)
    if at != end:
        raise FramingError(f"the last block ends {at - end} bytes behind the frame")
    for position in reversed(not_zeros):
        del out[position]
    return bytes(out)


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, start 0xFFFF; "123456789" gives 0x4B37."""
    return fastcrc.crc16.modbus(data)
