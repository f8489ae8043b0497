"""Recordings: MCAP files of what the engine was given, step by step, and what it concluded live.

Each observation is a message on its device's topic; a message on ``/steps`` closes the step that
the observations before it belong to. ``sequence`` is the step's number throughout. Chunks (zstd)
are closed at least each second of store time, so a crash costs that second. The configuration is
the attachment ``store.toml``; a recording that starts in the middle of a day carries the engine's
state before its first step as ``snapshot``. Replay takes observations in file order; events,
commands, raw packets and the scene are for people and for comparison.

A file without steps (an import) gives steps of ``STEP_NS``, and one more at each gate signal. Its
metadata may ask for empty steps behind the last observation (``drain_s``), so that carts close.

Reading checks every length, chunk checksum and field: ``RecordingError`` names the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from edge import mcap_records as mcap
from edge import recording_schemas as schemas
from edge.recording_format import (
    COMMANDS,
    EVENTS,
    METADATA,
    SNAPSHOT,
    STEPS,
    TOML,
    RecordingError,
    damaged,
)
from edge.recording_writer import RecordingWriter
from edge.snapshots import Snapshot, SnapshotError, unpack
from messages import codec
from messages.catalogue import BY_NAME
from messages.commands import Command
from messages.events import Event
from messages.observations import GateSignal, Observation

__all__ = ["RecordedOutput", "RecordedStep", "Recording", "RecordingError", "RecordingWriter"]

STEP_NS = 100_000_000  # of recordings without steps
GAP_NS_MAX = 86_400_000_000_000  # between two observations of an import: a day
DRAIN_STEP_NS = 1_000_000_000
DRAIN_S_MAX = 4 * 3600.0  # above the longest stay that a store allows


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """One call of the engine. Numbers may skip steps that the live run had set aside."""

    step: int
    now_ns: int
    observations: list[Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutput:
    """An event or command of the live run, and the step that it followed."""

    step: int
    message: Event | Command


@dataclass
class Recording:
    """An open recording; make it with ``Recording.open``. Each reading reads the file anew."""

    path: Path
    toml: str
    snapshot: Snapshot | None
    meta: dict[str, str]
    attachments: dict[str, bytes]
    media_types: dict[str, str]
    _tables: mcap.Tables = field(repr=False)  # of the file's summary

    @staticmethod
    def open(path: Path) -> Recording:
        """Check the file from end to end, all but the contents of its chunks.

        Raises:
            RecordingError: no recording, truncated, or beyond our bounds.
        """
        try:
            with path.open("rb") as file:
                return _opened(path, file)
        except mcap.TruncatedError as error:
            remedy = f"it was not closed; run walkout recording recover {path}"
            raise RecordingError(path, error.offset, error.what, remedy) from error
        except mcap.McapError as error:
            raise damaged(path, error.offset, error.what) from error
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise RecordingError(path, None, what, "give a recording (.mcap)") from error

    @cached_property
    def has_steps(self) -> bool:
        """False for an import: its steps are made by the reader."""
        if not self._tables.channels:  # a summary is optional: another tool wrote this one
            for _ in self.messages(self._tables):
                pass
        return any(channel.topic == STEPS for channel in self._tables.channels.values())

    def messages(self, tables: mcap.Tables) -> Iterator[mcap.Message]:
        """Every message in file order; what ``tables`` lacks is filled in on the way.

        Raises:
            RecordingError: a damaged chunk.
        """
        wanted = frozenset((mcap.CHUNK, mcap.MESSAGE, mcap.SCHEMA, mcap.CHANNEL))
        try:
            with self.path.open("rb") as file:
                for record in mcap.records(file, wanted):
                    if record.opcode == mcap.CHUNK:
                        plain = mcap.unpack_chunk(record.body, record.offset)
                        yield from mcap.chunk_messages(plain, record.offset, tables)
                    elif record.opcode == mcap.MESSAGE:
                        yield mcap.parse_message(record.body, record.offset)
                    elif record.opcode == mcap.DATA_END:
                        return
                    else:
                        tables.take(record.opcode, memoryview(record.body), record.offset)
        except mcap.McapError as error:
            raise self._damaged(error.offset, error.what) from error

    def steps(self) -> Iterator[RecordedStep]:
        """The calls of the engine, in order.

        Raises:
            RecordingError: damaged, or made by a version with observations that this one lacks.
        """
        return self._recorded_steps() if self.has_steps else self._made_steps()

    def live_events(self) -> Iterator[RecordedOutput]:
        """Events of the live run, in order."""
        return self._outputs(EVENTS)

    def live_commands(self) -> Iterator[RecordedOutput]:
        """Commands of the live run, in order."""
        return self._outputs(COMMANDS)

    # --- inside ----------------------------------------------------------------------------------

    def _recorded_steps(self) -> Iterator[RecordedStep]:
        tables = mcap.Tables()
        handlers: dict[int, str] = {}
        pending: list[Observation] = []
        last, last_ns = 0, -1
        for message in self.messages(tables):
            handler = handlers.get(message.channel)
            if handler is None:
                handler = handlers[message.channel] = self._handler(message, tables)
            if handler == STEPS:
                step, now_ns = self._boundary(message, len(pending))
                if step <= last or now_ns < last_ns:
                    what = f"has step {step} behind step {last}, or time that goes backwards"
                    raise self._damaged(message.offset, what)
                last, last_ns = step, now_ns
                yield RecordedStep(step=step, now_ns=now_ns, observations=pending)
                pending = []
            elif handler:
                pending.append(self._decoded(handler, message))

    def _made_steps(self) -> Iterator[RecordedStep]:
        """Steps each ``STEP_NS``, and at once for a gate signal; then the empty ones."""
        step = self.snapshot.step if self.snapshot else 0
        now_ns = self.snapshot.now_ns if self.snapshot else 0
        due_ns, last_ns, pending = now_ns + STEP_NS, now_ns, list[Observation]()
        for seen in self.observations():
            at_ns = max(seen.received_at_ns, last_ns)
            if at_ns - last_ns > GAP_NS_MAX and last_ns:
                what = f"has nothing for {(at_ns - last_ns) / 1e9:.0f} s"
                raise RecordingError(self.path, None, what, "import each day by itself")
            last_ns = at_ns
            if not step and not pending and at_ns > due_ns:  # nothing was there before the first
                due_ns = at_ns // STEP_NS * STEP_NS + STEP_NS
            while at_ns > due_ns:
                step += 1
                yield RecordedStep(step=step, now_ns=due_ns, observations=pending)
                pending, due_ns = [], due_ns + STEP_NS
            pending.append(seen)
            if isinstance(seen, GateSignal):
                step += 1
                yield RecordedStep(step=step, now_ns=at_ns, observations=pending)
                pending = []
        if not last_ns:
            return  # nothing was recorded
        step += 1
        yield RecordedStep(step=step, now_ns=due_ns, observations=pending)
        for _ in range(round(self._drain_s() * 1e9) // DRAIN_STEP_NS):
            step, due_ns = step + 1, due_ns + DRAIN_STEP_NS
            yield RecordedStep(step=step, now_ns=due_ns, observations=[])

    def _drain_s(self) -> float:
        try:
            wanted = float(self.meta.get("drain_s", "0"))
        except ValueError:
            return 0.0
        return min(max(wanted, 0.0), DRAIN_S_MAX) if wanted == wanted else 0.0

    def observations(self) -> Iterator[Observation]:
        """All observations in file order, without steps."""
        tables = mcap.Tables()
        handlers: dict[int, str] = {}
        for message in self.messages(tables):
            handler = handlers.get(message.channel)
            if handler is None:
                handler = handlers[message.channel] = self._handler(message, tables)
            if handler and handler != STEPS:
                yield self._decoded(handler, message)

    def _handler(self, message: mcap.Message, tables: mcap.Tables) -> str:
        """``STEPS``, the name of an observation, or "" for what a replay passes over."""
        channel = tables.channels.get(message.channel) or self._tables.channels.get(message.channel)
        if channel is None:
            what = f"has a message on channel {message.channel}, which it does not describe"
            raise self._damaged(message.offset, what)
        if channel.topic == STEPS:
            return STEPS
        known = {**self._tables.schemas, **tables.schemas}
        schema = known.get(channel.schema)
        name = observation_name(schema.name) if schema is not None else ""
        if not name:
            return ""
        if BY_NAME.get(name) not in schemas.OBSERVATIONS:
            what = f"has observations of a kind {name[:64]!r} that this version does not know"
            made_by = self.meta.get("version", "a newer version")
            raise RecordingError(self.path, message.offset, what, f"replay it with {made_by}")
        return name

    def _decoded(self, name: str, message: mcap.Message) -> Observation:
        try:
            seen: Observation = codec.decode_fields(name, message.data)
            return seen
        except (codec.CodecError, OverflowError, MemoryError, SyntaxError) as error:
            raise self._damaged(message.offset, f"has a {name} that is none: {error}") from error

    def _boundary(self, message: mcap.Message, count: int) -> tuple[int, int]:
        try:
            found = _STEP.decode(message.data)
        except msgspec.MsgspecError as error:
            raise self._damaged(message.offset, f"has a step that is none: {error}") from error
        if found.observations != count:
            what = f"has {count} observations in step {found.step}, which had {found.observations}"
            raise self._damaged(message.offset, what)
        return found.step, found.now_ns

    def _outputs(self, wanted: str) -> Iterator[RecordedOutput]:
        tables, step = mcap.Tables(), 0
        for message in self.messages(tables):
            channel = tables.channels.get(message.channel)
            channel = channel or self._tables.channels.get(message.channel)
            if channel is None or channel.topic not in (STEPS, wanted):
                continue
            try:
                if channel.topic == STEPS:
                    step = _STEP.decode(message.data).step
                else:
                    yield RecordedOutput(step=step, message=from_json(bytes(message.data)))
            except (msgspec.MsgspecError, codec.CodecError) as error:
                what = f"has a message on {channel.topic} that is none: {error}"
                raise self._damaged(message.offset, what) from error

    def _damaged(self, offset: int, what: str) -> RecordingError:
        return damaged(self.path, offset, what)


def observation_name(schema: str) -> str:
    """The class of the observations of a schema; "" for events, packets, and others' topics."""
    if schema in (schemas.EVENT, schemas.COMMAND, schemas.RAW, schemas.STEP):
        return ""
    return schema.removeprefix(schemas.PREFIX) if schema.startswith(schemas.PREFIX) else ""


def from_json(line: bytes) -> Any:
    """The event or command in a line of ``messages.codec.to_json``.

    Raises:
        CodecError, msgspec.MsgspecError: there is none in it.
    """
    name = _NAMED.decode(line).type
    kind = BY_NAME.get(name)
    if kind is None:
        raise codec.CodecError(f"unknown message {name[:64]!r}")
    return msgspec.json.decode(line, type=kind)


class Step(msgspec.Struct):
    """A message on ``/steps``."""

    step: int
    now_ns: int
    observations: int

    @staticmethod
    def decode(data: bytes | memoryview) -> Step:
        """Raises msgspec.MsgspecError."""
        return _STEP.decode(data)


class _Named(msgspec.Struct):
    type: str


_STEP = msgspec.json.Decoder(Step)
_NAMED = msgspec.json.Decoder(_Named)


def _opened(path: Path, file: BinaryIO) -> Recording:
    wanted = (mcap.HEADER, mcap.SCHEMA, mcap.CHANNEL, mcap.ATTACHMENT, mcap.METADATA)
    found = Recording(path, "", None, {}, {}, {}, mcap.Tables())
    kept = 0
    for record in mcap.records(file, frozenset(wanted)):
        if record.opcode == mcap.METADATA:
            name, rows = mcap.parse_metadata(record.body, record.offset)
            found.meta.update(rows if name == METADATA else {})
        elif record.opcode == mcap.ATTACHMENT:
            name, kind, data = mcap.parse_attachment(record.body, record.offset)
            kept += len(data)
            if kept > mcap.ATTACHMENTS_BYTES_MAX or len(found.attachments) >= mcap.ATTACHMENTS_MAX:
                raise mcap.McapError(record.offset, "has more attachments than are accepted")
            found.attachments[name], found.media_types[name] = data, kind
        elif record.opcode in (mcap.SCHEMA, mcap.CHANNEL):
            found._tables.take(record.opcode, memoryview(record.body), record.offset)
    return _with_configuration(found)


def _with_configuration(found: Recording) -> Recording:
    toml, snapshot = found.attachments.get(TOML), found.attachments.get(SNAPSHOT)
    if toml is None:
        what = "is an MCAP file without our store.toml attachment"
        raise RecordingError(found.path, None, what, "give a recording that walkout made")
    try:
        found.toml = toml.decode()
        found.snapshot = unpack(snapshot, SNAPSHOT) if snapshot is not None else None
    except (UnicodeDecodeError, SnapshotError) as error:
        raise damaged(found.path, 0, f"has an attachment that cannot be read: {error}") from error
    return found
