"""What can be saved of a damaged recording: every intact chunk, and a plain word on the rest.

The file is walked record by record. Where a record cannot be what it says, the next chunk is found
by the bytes that every chunk of ours has at the same place, and the walk goes on there. Of the
chunks that remain, whole steps are kept. The first step behind a hole carries ``StepSetAside``, so
that a replay does not charge anybody for what happened in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from edge import mcap_records as mcap
from edge.recording import Step, observation_name
from edge.recording_format import METADATA, SNAPSHOT, STEPS, TOML, RecordingError
from edge.recording_writer import RecordingWriter
from edge.snapshots import Snapshot, SnapshotError, unpack
from messages import codec
from messages.observations import Observation, StepSetAside

CHUNK_MARK = b"\x04\x00\x00\x00zstd"  # the name of the compression, with its length
MARK_AT = 37  # from a chunk's first byte
SEARCH_BYTES = 4 * 2**20  # read at once
LOSSES_MAX = 1000  # told; a file that is damaged more often is told to be
KNOWN = frozenset(range(mcap.HEADER, mcap.DATA_END + 1))
STEP_MESSAGES_MAX = 1_000_000  # between two boundaries; the inbox lets 2048 through


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Bytes that could not be used."""

    offset: int
    length: int
    what: str

    def __str__(self) -> str:
        return f"bytes {self.offset} to {self.offset + self.length}: {self.what}"


@dataclass(slots=True, kw_only=True)
class Recovered:
    """What was saved. ``missing``: holes in the numbers of steps, first and last of each."""

    steps: int = 0
    messages: int = 0
    from_ns: int = 0
    to_ns: int = 0
    chunks: int = 0
    cut_steps: int = 0  # observations whose step was not closed
    missing: list[tuple[int, int]] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    lost_bytes: int = 0


def recover(source: Path, out: Path, *, toml: str | None = None) -> Recovered:
    """Write a whole recording of all intact chunks of ``source``.

    Args:
        toml: the store's configuration, for a file that has lost its own.

    Raises:
        RecordingError: nothing can be saved, or ``out`` cannot be written.
    """
    if out.resolve() == source.resolve():
        raise RecordingError(out, None, "is the damaged file itself", "give another --out")
    try:
        with source.open("rb") as file:
            found = _Salvage(source, file)
            found.walk()
            return found.rewrite(out, toml)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise RecordingError(source, None, what, "give a recording (.mcap)") from error


class _Salvage:
    """One damaged file: first a walk over all of it, then a copy of what is whole."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = file.seek(0, 2)
        self.tables = mcap.Tables()
        self.chunks: list[tuple[int, int]] = []  # offset and length of intact ones
        self.attachments: dict[str, tuple[str, bytes]] = {}
        self.meta: dict[str, str] = {}
        self.result = Recovered()
        self._pending: list[mcap.Message] = []
        self._last_step = 0

    # --- the walk --------------------------------------------------------------------------------

    def walk(self) -> None:
        offset = len(mcap.MAGIC)
        while offset < self.size - len(mcap.MAGIC):
            try:
                record = self._record(offset)
                self._take(record)
            except mcap.McapError as error:
                after = self._after(offset)
                self._lose(offset, after - offset, error.what)
                offset = after
                continue
            offset = record.offset + mcap.HEAD_BYTES + record.length
            if record.opcode == mcap.FOOTER:
                return
        if offset < self.size:
            self._lose(offset, self.size - offset, "ends without its end marker")

    def _record(self, offset: int) -> mcap.Record:
        self.file.seek(offset)
        opcode, length = mcap.parse_head(self.file.read(mcap.HEAD_BYTES), offset)
        mcap.check_length(opcode, length, offset, self.size)
        if opcode not in KNOWN:
            raise mcap.McapError(offset, f"has a record of an unknown kind {opcode}")
        return mcap.Record(opcode, offset, length, self.file.read(length))

    def _take(self, record: mcap.Record) -> None:
        body, offset = record.body, record.offset
        if record.opcode == mcap.CHUNK:
            plain = mcap.unpack_chunk(body, offset)
            for _ in mcap.chunk_messages(plain, offset, self.tables):
                pass
            self.chunks.append((offset, record.length))
        elif record.opcode == mcap.ATTACHMENT:
            name, kind, data = mcap.parse_attachment(body, offset)
            self.attachments.setdefault(name, (kind, data))
        elif record.opcode == mcap.METADATA:
            name, rows = mcap.parse_metadata(body, offset)
            self.meta.update(rows if name == METADATA else {})
        else:
            self.tables.take(record.opcode, memoryview(body), offset)

    def _after(self, offset: int) -> int:
        """Where to go on behind damage: the next record if it looks like one, or the next chunk."""
        self.file.seek(offset)
        head = self.file.read(mcap.HEAD_BYTES)
        if len(head) == mcap.HEAD_BYTES:
            _, length = mcap.parse_head(head, offset)
            after = offset + mcap.HEAD_BYTES + length
            if after + mcap.HEAD_BYTES <= self.size and self._plausible(after):
                return after
        return self._next_chunk(offset + 1)

    def _plausible(self, offset: int) -> bool:
        self.file.seek(offset)
        opcode, length = mcap.parse_head(self.file.read(mcap.HEAD_BYTES), offset)
        return opcode in KNOWN and offset + mcap.HEAD_BYTES + length <= self.size

    def _next_chunk(self, start: int) -> int:
        """Offset of the next thing that looks like a chunk, or the end of the file."""
        at = start + MARK_AT
        while at < self.size:
            self.file.seek(at)
            block = self.file.read(SEARCH_BYTES)
            found = block.find(CHUNK_MARK)
            while found >= 0:
                offset = at + found - MARK_AT
                self.file.seek(offset)
                if self.file.read(1)[0] == mcap.CHUNK:
                    return offset
                found = block.find(CHUNK_MARK, found + 1)
            at += max(len(block) - len(CHUNK_MARK) + 1, 1)
        return self.size

    def _lose(self, offset: int, length: int, what: str) -> None:
        self.result.lost_bytes += length
        if len(self.result.lost) < LOSSES_MAX:
            self.result.lost.append(Loss(offset=offset, length=length, what=what))

    # --- the copy --------------------------------------------------------------------------------

    def rewrite(self, out: Path, toml: str | None) -> Recovered:
        toml = toml or self._toml()
        if not self.chunks:
            what = "has no intact chunk"
            raise RecordingError(self.path, 0, what, "nothing can be saved; take a copy of it")
        with RecordingWriter(out, toml=toml, snapshot=self._snapshot(), meta=self._rows()) as to:
            for message in self._messages():
                self._copy(message, to)
            for name, (kind, data) in self.attachments.items():
                if name not in (TOML, SNAPSHOT):
                    to.attach(name, kind, data)
        self.result.cut_steps = len(self._pending)
        self.result.messages, self.result.chunks = to.messages, len(self.chunks)
        return self.result

    def _rows(self) -> dict[str, str]:
        lost = "; ".join(map(str, self.result.lost[:3]))
        return {**self.meta, "recovered": f"{self.result.lost_bytes} bytes lost: {lost}"[:500]}

    def _toml(self) -> str:
        try:
            return self.attachments[TOML][1].decode()
        except (KeyError, UnicodeDecodeError):
            remedy = "give the store's configuration with --config"
            raise RecordingError(self.path, None, "has lost its store.toml", remedy) from None

    def _snapshot(self) -> Snapshot | None:
        if SNAPSHOT not in self.attachments:
            return None
        try:
            return unpack(self.attachments[SNAPSHOT][1], SNAPSHOT)
        except SnapshotError as error:
            self._lose(0, 0, str(error))
            return None

    def _messages(self) -> Iterator[mcap.Message]:
        for offset, length in self.chunks:
            self.file.seek(offset + mcap.HEAD_BYTES)
            plain = mcap.unpack_chunk(self.file.read(length), offset)
            yield from mcap.chunk_messages(plain, offset, self.tables)

    def _copy(self, message: mcap.Message, to: RecordingWriter) -> None:
        channel = self.tables.channels.get(message.channel)
        if channel is None:
            self._lose(message.offset, len(message.data), "a message on a lost channel")
            return
        schema = self.tables.schemas.get(channel.schema)
        if channel.topic == STEPS:
            self._copy_step(message, to)
        elif schema is None or not observation_name(schema.name):
            to.copy(channel, schema, message)
        elif not self._has_steps:
            self.result.to_ns = message.log_time
            to.copy(channel, schema, message)
        elif len(self._pending) < STEP_MESSAGES_MAX:
            self._pending.append(message)

    @property
    def _has_steps(self) -> bool:
        return any(channel.topic == STEPS for channel in self.tables.channels.values())

    def _copy_step(self, message: mcap.Message, to: RecordingWriter) -> None:
        """A step whose observations are all there; others are told to be missing."""
        pending, self._pending = self._pending, []
        try:
            found = Step.decode(message.data)
            pending = pending[len(pending) - found.observations :]  # before: of a step cut in two
            whole = len(pending) == found.observations and found.step > self._last_step
            observations = [self._decoded(one) for one in pending] if whole else []
        except (msgspec.MsgspecError, codec.CodecError, OverflowError) as error:
            self._lose(message.offset, len(message.data), f"a step that is none: {error}")
            return
        if not whole:
            return
        lost = self._hole(found)
        to.step(found.step, found.now_ns, [*lost, *observations])
        result = self.result
        result.from_ns = result.from_ns if result.steps else found.now_ns
        result.steps, result.to_ns, self._last_step = result.steps + 1, found.now_ns, found.step

    def _hole(self, found: Step) -> list[Observation]:
        """What the engine is told where steps are missing because bytes are."""
        first, last = self._last_step + 1, found.step - 1
        if not self._last_step or first > last or not self.result.lost:
            return []
        self.result.missing.append((first, last))
        error = f"steps {first} to {last} were lost with a damaged part of the recording"
        return [StepSetAside(received_at_ns=found.now_ns, step=first, error=error)]

    def _decoded(self, message: mcap.Message) -> Observation:
        channel = self.tables.channels[message.channel]
        name = observation_name(self.tables.schemas[channel.schema].name)
        seen: Observation = codec.decode_fields(name, message.data)
        return seen
