"""Packets of a gate controller: one barrier, its passage sensor, its lamp.

| type | packet | way | body, little endian |
|---|---|---|---|
| 2, 3, 6 | IDENTIFY, IDENTITY, NAK | both | see ``identity.py`` |
| 32 | UNLOCK | host to node | command u32, passages u8, hold u16 ms, gap u16 ms |
| 33 | UNLOCKED | node to host | command u32, result u8 |
| 34 | PASSAGE | node to host | event u32, direction u8, people u8, age u32 ms |
| 35 | BARRIER | node to host | event u32, state u8, age u32 ms |
| 36 | REFUSE | host to node | command u32, reason u8 |
| 37 | REFUSED | node to host | command u32, result u8 |
| 38 | STATUS | node to host | barrier u8, passages left u8, waiting u8, lost u16, uptime u32 ms |
| 39 | EVENT_ACK | host to node | event u32 |

*Commands* are safe to repeat: the controller keeps the last ``COMMANDS_KEPT`` command numbers and
answers a repeated one with ``REPEATED`` without doing it again; one that ended in ``FAULT`` is not
kept. *Events* (34, 35) are kept by the
controller and sent again until the host acknowledges their number, so that a passage during a
restart of the host is not lost; ``age`` says how long ago it was. The upper half of an event number
is the controller's count of boots, so that numbers do not repeat after a power cut. STATUS comes
each second and says how many events wait and how many were dropped.
*Egress is free by the controller itself*: no packet is needed to leave.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias, TypeVar

from hardware.protocol import identity
from hardware.protocol.framing import Frame
from hardware.protocol.identity import (
    Identify,
    Identity,
    Nak,
    UnknownType,
    WrongValue,
    pack,
    unpack_ints,
)
from messages.events import RefusalReason

UNLOCK = 32
UNLOCKED = 33
PASSAGE = 34
BARRIER = 35
REFUSE = 36
REFUSED = 37
STATUS = 38
EVENT_ACK = 39
HEARTBEAT_S = 1.0
EVENT_RESEND_S = 0.5  # until acknowledged
COMMANDS_KEPT = 32  # far more than are under way within one command's life of seconds
EVENTS_KEPT = 255  # then the oldest is dropped and counted in STATUS

REASON_CODE = {
    RefusalReason.MALFORMED: 1,
    RefusalReason.BAD_SIGNATURE: 2,
    RefusalReason.UNKNOWN_KEY: 3,
    RefusalReason.WRONG_STORE: 4,
    RefusalReason.EXPIRED: 5,
    RefusalReason.NOT_YET_VALID: 6,
    RefusalReason.ALREADY_USED: 7,
    RefusalReason.DENIED: 8,
    RefusalReason.STORE_CLOSED: 9,
    RefusalReason.GATE_BUSY: 10,
    RefusalReason.CLOCK_UNCERTAIN: 11,
    RefusalReason.STORE_FULL: 12,
    RefusalReason.OFFLINE_LIMIT: 13,
}

_UNLOCK = struct.Struct("<IBHH")
_RESULT = struct.Struct("<IB")
_PASSAGE = struct.Struct("<IBBI")
_BARRIER = struct.Struct("<IBI")
_REFUSE = struct.Struct("<IB")
_STATUS = struct.Struct("<BBBHI")
_EVENT_ACK = struct.Struct("<I")


class Direction(IntEnum):
    IN = 0
    OUT = 1


class BarrierState(IntEnum):
    CLOSED = 0
    OPENED = 1
    FORCED = 2  # somebody passed inwards without an unlock


class Result(IntEnum):
    DONE = 0
    REPEATED = 1  # this command number was carried out before
    FAULT = 2  # the barrier does not move


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock:
    """Let ``passages`` people in: ``hold_ms`` for the first, ``gap_ms`` for each one behind."""

    command: int
    passages: int
    hold_ms: int
    gap_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    command: int
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    event: int
    direction: Direction
    people: int = 1
    age_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    event: int
    state: BarrierState
    age_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Show the red lamp and the reason; the barrier stays as it is."""

    command: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    command: int
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    barrier: BarrierState
    passages_left: int
    events_waiting: int
    events_lost: int
    uptime_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAck:
    event: int


Packet: TypeAlias = (
    Unlock
    | Unlocked
    | Passage
    | Barrier
    | Refuse
    | Refused
    | Status
    | EventAck
    | Identify
    | Identity
    | Nak
)
_Closed = TypeVar("_Closed", bound=IntEnum)


def encode(packet: Packet, *, node: int, sequence: int) -> Frame:
    """The frame of a packet. Raises WrongValue where a number does not fit its field."""
    match packet:
        case Identify():
            return identity.encode_identify(node, sequence)
        case Identity():
            return identity.encode_identity(packet, node, sequence)
        case Nak():
            return identity.encode_nak(packet, node, sequence)
        case _:
            kind, body = _body(packet)
            return Frame(type=kind, node=node, sequence=sequence, body=body)


def decode(frame: Frame) -> Packet:
    """The packet in a frame.

    Raises:
        UnknownType, WrongLength, WrongValue: all are ``identity.PacketError``.
    """
    match frame.type:
        case identity.IDENTIFY:
            return identity.decode_identify(frame)
        case identity.IDENTITY:
            return identity.decode_identity(frame)
        case identity.NAK:
            return identity.decode_nak(frame)
        case kind if kind in _LAYOUT:
            return _packet(kind, unpack_ints(_LAYOUT[kind], frame))
        case _:
            raise UnknownType(f"a gate controller speaks no type {frame.type}")


_LAYOUT = {
    UNLOCK: _UNLOCK,
    UNLOCKED: _RESULT,
    PASSAGE: _PASSAGE,
    BARRIER: _BARRIER,
    REFUSE: _REFUSE,
    REFUSED: _RESULT,
    STATUS: _STATUS,
    EVENT_ACK: _EVENT_ACK,
}


def _body(
    p: Unlock | Unlocked | Passage | Barrier | Refuse | Refused | Status | EventAck,
) -> tuple[int, bytes]:
    match p:
        case Unlock():
            return UNLOCK, pack(_UNLOCK, p.command, p.passages, p.hold_ms, p.gap_ms)
        case Unlocked():
            return UNLOCKED, pack(_RESULT, p.command, p.result)
        case Passage():
            return PASSAGE, pack(_PASSAGE, p.event, p.direction, p.people, p.age_ms)
        case Barrier():
            return BARRIER, pack(_BARRIER, p.event, p.state, p.age_ms)
        case Refuse():
            return REFUSE, pack(_REFUSE, p.command, p.reason)
        case Refused():
            return REFUSED, pack(_RESULT, p.command, p.result)
        case Status():
            fields = (p.barrier, p.passages_left, p.events_waiting, p.events_lost, p.uptime_ms)
            return STATUS, pack(_STATUS, *fields)
        case EventAck():
            return EVENT_ACK, pack(_EVENT_ACK, p.event)


def _packet(kind: int, f: tuple[int, ...]) -> Packet:
    match kind:
        case 32:
            return Unlock(command=f[0], passages=f[1], hold_ms=f[2], gap_ms=f[3])
        case 33:
            return Unlocked(command=f[0], result=_one_of(Result, f[1]))
        case 34:
            direction = _one_of(Direction, f[1])
            if f[2] == 0:
                raise WrongValue("a passage of nobody")
            return Passage(event=f[0], direction=direction, people=f[2], age_ms=f[3])
        case 35:
            return Barrier(event=f[0], state=_one_of(BarrierState, f[1]), age_ms=f[2])
        case 36:
            return Refuse(command=f[0], reason=f[1])
        case 37:
            return Refused(command=f[0], result=_one_of(Result, f[1]))
        case 38:
            return Status(
                barrier=_one_of(BarrierState, f[0]),
                passages_left=f[1],
                events_waiting=f[2],
                events_lost=f[3],
                uptime_ms=f[4],
            )
        case _:
            return EventAck(event=f[0])


def _one_of(kind: type[_Closed], value: int) -> _Closed:
    try:
        return kind(value)
    except ValueError as error:
        raise WrongValue(f"{kind.__name__} {value}") from error
