"""Commands: what we ask of a device. Each has an id and a last useful instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from messages.events import RefusalReason
from messages.ids import CameraId, CommandId, DeviceId, GateId, PlateId, VisitId


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base: the engine stamps ``id``. After ``not_after_ns`` (store time) it is not run."""

    id: CommandId = CommandId("")
    not_after_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlockGate(Command):
    gate: GateId
    visit: VisitId
    passages: int  # how many people may pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseEntry(Command):
    gate: GateId
    reason: RefusalReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TareShelf(Command):
    device: DeviceId
    plates: tuple[PlateId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepClip(Command):
    cameras: tuple[CameraId, ...]
    started_at_ns: int
    ended_at_ns: int
    reason: str


AnyCommand: TypeAlias = UnlockGate | RefuseEntry | TareShelf | KeepClip
