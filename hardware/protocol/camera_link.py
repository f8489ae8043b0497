"""Messages of a camera node: a length, then one encoded message.

| bytes | field |
|---|---|
| 0-3 | length n, u32 little endian, at most 1 MiB |
| 4.. | n bytes: ``messages.codec.encode`` of ``PersonDetections`` or ``ItemSightings`` |

The daemon answers nothing; it may ask for a clip, with a message of the same form that holds
``KeepClip``, its instants on the wall clock. A node that keeps no images need not read.

On this link ``captured_at_ns`` is the camera's wall clock (Unix nanoseconds), since a camera knows
no store time; ``received_at_ns`` is not looked at. A stream has no delimiter to fall back on, so
the first wrong length ends the connection: ``MessageReader.feed`` raises, and the node connects
anew.
"""

from __future__ import annotations

import struct

import numpy as np

from messages.arrays import Floats, Floats32
from messages.codec import CodecError, decode, encode
from messages.commands import KeepClip
from messages.observations import ItemSightings, PersonDetections

MESSAGE_BYTES_MAX = 1 << 20
PEOPLE_MAX = 1_024  # in one image; more is no picture of a shop
KEEP_BYTES_MAX = 1 << 14
HANDS_MAX = 64  # in one image
SKUS_MAX = 256  # that a packet tells apart; a recognizer sends the likely ones
SUM_MAX = 1.0 + 1e-6  # of probabilities; rounding
IMAGE_STATES = ("ok", "dark", "frozen")
_LENGTH = struct.Struct("<I")


class LinkError(ValueError):
    """Bytes that no camera node of ours sends; the connection ends."""


class MessageReader:
    """Cuts a stream into messages. Holds at most one message of the largest size and one read."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._held = bytearray()
        self._message_bytes_max = message_bytes_max

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that end in these bytes. Raises LinkError on a length out of bounds."""
        self._held += data
        messages, at = [], 0
        while len(self._held) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held, at)
            if not 0 < length <= self._message_bytes_max:
                raise LinkError(f"a message of {length} bytes; 1 to {self._message_bytes_max} fit")
            end = at + _LENGTH.size + length
            if end > len(self._held):
                break
            messages.append(bytes(self._held[at + _LENGTH.size : end]))
            at = end
        del self._held[:at]
        return messages


def encode_detections(detections: PersonDetections | ItemSightings) -> bytes:
    """The bytes on the wire. Raises LinkError where the message is longer than a reader accepts."""
    body = encode(detections)
    if len(body) > MESSAGE_BYTES_MAX:
        raise LinkError(f"a message of {len(body)} bytes is longer than {MESSAGE_BYTES_MAX}")
    return _LENGTH.pack(len(body)) + body


def decode_detections(message: bytes) -> PersonDetections:
    """The detections, their arrays checked against each other.

    Raises:
        LinkError: not a message, another kind of message, or arrays that do not fit together.
    """
    try:
        found = decode(message)
    except CodecError as error:
        raise LinkError(str(error)) from error
    if not isinstance(found, PersonDetections):
        raise LinkError(f"a camera sends PersonDetections, not {type(found).__name__}")
    _check_shapes(found)
    return found


def decode_seen(message: bytes) -> PersonDetections | ItemSightings:
    """What a camera saw, people or hands, its arrays checked against each other.

    Raises:
        LinkError: not a message, another kind of message, or arrays that do not fit together.
    """
    try:
        found = decode(message)
    except CodecError as error:
        raise LinkError(str(error)) from error
    if isinstance(found, PersonDetections):
        _check_shapes(found)
        return found
    if isinstance(found, ItemSightings):
        _check_sightings(found)
        return found
    raise LinkError(f"a camera sends what it saw, not {type(found).__name__}")


def encode_keep(clip: KeepClip) -> bytes:
    """The bytes towards a node. Raises LinkError where there are too many."""
    body = encode(clip)
    if len(body) > KEEP_BYTES_MAX:
        raise LinkError(f"a command of {len(body)} bytes is longer than {KEEP_BYTES_MAX}")
    return _LENGTH.pack(len(body)) + body


def decode_keep(message: bytes) -> KeepClip:
    """Raises LinkError: not a message, or another one."""
    try:
        found = decode(message)
    except CodecError as error:
        raise LinkError(str(error)) from error
    if not isinstance(found, KeepClip):
        raise LinkError(f"a node is asked for clips only, not for {type(found).__name__}")
    return found


def _check_sightings(seen: ItemSightings) -> None:
    n, k = len(seen.positions_store_m), len(seen.skus)
    prior = seen.probability if seen.prior is None else seen.prior
    if n > HANDS_MAX or k > SKUS_MAX or seen.positions_store_m.shape != (n, 3):
        raise LinkError(f"{n} hands and {k} SKUs; at most {HANDS_MAX} and {SKUS_MAX}")
    if len(set(seen.skus)) != k:
        raise LinkError("an SKU is listed twice")
    for name, rows in (("probability", seen.probability), ("prior", prior)):
        if rows.shape != (n, k) or not _are_probabilities(rows):
            raise LinkError(f"{name} is {rows.shape}, rows of probabilities ({n}, {k}) expected")
    if not np.isfinite(seen.positions_store_m).all():
        raise LinkError("a hand's position is not finite")


def _are_probabilities(rows: Floats) -> bool:
    return bool((rows >= 0).all() and (rows.sum(axis=1) <= SUM_MAX).all())


def _rows_of(vectors: Floats32) -> tuple[int, ...]:
    """The shape, with any number of columns as 0."""
    return (len(vectors), 0) if vectors.ndim == 2 else vectors.shape


def _check_shapes(d: PersonDetections) -> None:
    n = len(d.scores) if d.scores.ndim == 1 else -1
    floor = d.positions_store_m
    boxes = 0 if floor is not None else n
    wanted = {
        "boxes_px": (d.boxes_px.shape, (boxes, 4)),
        "feet_px": (d.feet_px.shape, (boxes, 2)),
        "positions_store_m": ((n, 2) if floor is None else floor.shape, (n, 2)),
        "wrists_px": ((n, 2, 2) if d.wrists_px is None else d.wrists_px.shape, (n, 2, 2)),
        "embeddings": ((n, 0) if d.embeddings is None else _rows_of(d.embeddings), (n, 0)),
    }
    for name, (got, expected) in wanted.items():
        if n < 0 or n > PEOPLE_MAX or got != expected:
            raise LinkError(f"{name} is {got}, {expected} expected (at most {PEOPLE_MAX} people)")
    for array in (d.boxes_px, d.feet_px, d.scores, floor, d.embeddings):
        if array is not None and not np.isfinite(array).all():
            raise LinkError("a box, foot point, position, score or embedding is not finite")
    if d.wrists_px is not None and np.isinf(d.wrists_px).any():
        raise LinkError("a wrist is infinite; not seen is NaN")
    if d.image_state not in IMAGE_STATES:
        raise LinkError(f"image state {d.image_state[:16]!r} is none of {IMAGE_STATES}")
