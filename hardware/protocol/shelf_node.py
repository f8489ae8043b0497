"""Packets of a shelf node: batches of raw load-cell counts, and taring.

| type | packet | way | body, little endian |
|---|---|---|---|
| 1 | SAMPLES | node to host | ticks u32 us, sample period u32 us, plates u8, samples u8, ... |
| 2, 3 | IDENTIFY, IDENTITY | both | see ``identity.py`` |
| 4 | TARE | host to node | command u32, n u8, plate u8 x n |
| 5 | TARE_DONE | node to host | command u32, result u8 |
| 6 | NAK | node to host | see ``identity.py`` |

SAMPLES goes on with one flag byte a plate, then counts as i32, all plates of the first sample, then
of the next. ``ticks`` is the node's own clock at the first sample, microseconds modulo 2**32.
Plates are the node's channels, from 0. Numbers of plates and samples and the rate are the node's
own: nothing here assumes them. A repeated TARE command number is answered, not carried out again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np

from hardware.protocol import identity
from hardware.protocol.framing import Frame
from hardware.protocol.identity import (
    Identify,
    Identity,
    Nak,
    UnknownType,
    WrongLength,
    WrongValue,
    pack,
    unpack_ints,
)
from messages.arrays import Bytes8, Counts, read_only

SAMPLES = 1
TARE = 4
TARE_DONE = 5
PLATES_MAX = 255
_SAMPLES = struct.Struct("<IIBB")
_TARE = struct.Struct("<IB")
_TARE_DONE = struct.Struct("<IB")


class TareResult(IntEnum):
    DONE = 0
    UNSTABLE = 1  # the plate moves: nothing was changed
    NO_SUCH_PLATE = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """``counts``: (samples, plates) int32; ``flags``: (plates,) ``PlateFlag`` bits."""

    ticks_us: int
    sample_period_us: int
    flags: Bytes8
    counts: Counts

    def __post_init__(self) -> None:
        read_only(self.flags, self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tare:
    """Makes the present load of the plates the new zero."""

    command: int
    plates: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TareDone:
    command: int
    result: TareResult


Packet: TypeAlias = Samples | Identify | Identity | Tare | TareDone | Nak


def encode(packet: Packet, *, node: int, sequence: int) -> Frame:
    """The frame of a packet. Raises WrongValue where a number does not fit its field."""
    match packet:
        case Samples():
            return Frame(type=SAMPLES, node=node, sequence=sequence, body=_samples_body(packet))
        case Tare():
            body = pack(_TARE, packet.command, len(packet.plates)) + _channels(packet.plates)
            return Frame(type=TARE, node=node, sequence=sequence, body=body)
        case TareDone():
            body = pack(_TARE_DONE, packet.command, packet.result)
            return Frame(type=TARE_DONE, node=node, sequence=sequence, body=body)
        case Identify():
            return identity.encode_identify(node, sequence)
        case Identity():
            return identity.encode_identity(packet, node, sequence)
        case Nak():
            return identity.encode_nak(packet, node, sequence)


def decode(frame: Frame) -> Packet:
    """The packet in a frame.

    Raises:
        UnknownType, WrongLength, WrongValue: all are ``identity.PacketError``.
    """
    match frame.type:
        case 1:
            return decode_samples(frame)
        case 2:
            return identity.decode_identify(frame)
        case 3:
            return identity.decode_identity(frame)
        case 4:
            return _decode_tare(frame)
        case 5:
            return _decode_tare_done(frame)
        case 6:
            return identity.decode_nak(frame)
        case _:
            raise UnknownType(f"a shelf node speaks no type {frame.type}")


def decode_samples(frame: Frame) -> Samples:
    """The arrays look into the frame's bytes, nothing is copied. Raises WrongLength, WrongValue."""
    body = frame.body
    if len(body) < _SAMPLES.size:
        raise WrongLength(f"SAMPLES of {len(body)} bytes")
    ticks_us, period_us, plates, samples = _SAMPLES.unpack_from(body)
    expected = _SAMPLES.size + plates + 4 * plates * samples
    if len(body) != expected:
        raise WrongLength(
            f"SAMPLES of {plates} plates x {samples}: {len(body)} bytes, {expected} expected"
        )
    if plates == 0 or samples == 0 or period_us == 0:
        raise WrongValue(f"SAMPLES of {plates} plates x {samples} each {period_us} us")
    flags = np.frombuffer(body, np.uint8, plates, _SAMPLES.size)
    counts = np.frombuffer(body, "<i4", plates * samples, _SAMPLES.size + plates)
    return Samples(
        ticks_us=ticks_us,
        sample_period_us=period_us,
        flags=flags,
        counts=counts.reshape(samples, plates),
    )


def _samples_body(packet: Samples) -> bytes:
    samples, plates = packet.counts.shape
    if packet.flags.shape != (plates,):
        raise WrongValue(f"{packet.flags.shape} flags for {plates} plates")
    head = pack(_SAMPLES, packet.ticks_us, packet.sample_period_us, plates, samples)
    return head + packet.flags.tobytes() + packet.counts.astype("<i4").tobytes()


def _channels(plates: tuple[int, ...]) -> bytes:
    if any(not 0 <= plate < PLATES_MAX for plate in plates):
        raise WrongValue(f"plates {plates} are not channels of a node")
    return bytes(plates)


def _decode_tare(frame: Frame) -> Tare:
    if len(frame.body) < _TARE.size:
        raise WrongLength(f"TARE of {len(frame.body)} bytes")
    command, n = _TARE.unpack_from(frame.body)
    plates = tuple(frame.body[_TARE.size :])
    if len(plates) != n:
        raise WrongLength(f"TARE names {n} plates and lists {len(plates)}")
    return Tare(command=command, plates=plates)


def _decode_tare_done(frame: Frame) -> TareDone:
    command, result = unpack_ints(_TARE_DONE, frame)
    try:
        return TareDone(command=command, result=TareResult(result))
    except ValueError as error:
        raise WrongValue(f"tare result {result}") from error
