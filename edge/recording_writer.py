"""Writes a recording, chunk by chunk; the format is told in ``edge/recording.py``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec
from mcap.writer import CompressionType, Writer

from edge import recording_schemas as schemas
from edge.config import parse
from edge.foxglove_schema import SCENE_UPDATE_SCHEMA
from edge.mcap_records import ATTACHMENT_BYTES_MAX, Channel, Message, Schema
from edge.recording_format import (
    COMMANDS,
    EVENTS,
    METADATA,
    PROFILE,
    RAW_PREFIX,
    SCENE,
    SNAPSHOT,
    STEPS,
    TOML,
    RecordingError,
    topic,
    version,
    wall_text,
)
from edge.recording_scene import Scene
from edge.snapshots import Snapshot, pack
from messages import codec
from messages.catalogue import MessageKind
from messages.commands import Command
from messages.events import Event
from messages.observations import ClockAnchor, ConfigLoaded, Observation

CHUNK_NS = 1_000_000_000
CHUNK_BYTES = 8 * 2**20  # closed earlier only when one second holds more
SEQUENCE_MODULO = 2**32  # MCAP's; the whole number stands in the /steps message


class RecordingWriter:
    """Writes one recording; blocking. Use it as a context manager, or ``close`` it.

    Args:
        toml: text of the store's configuration.
        snapshot: the engine's state before the first step; None at the beginning of a day.
        meta: more rows for the file's metadata, for example ``{"scenario": ...}``.

    Raises:
        RecordingError: the file cannot be made or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        toml: str,
        snapshot: Snapshot | None = None,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.messages = path, 0
        self._toml, self._meta = toml, dict(meta or {})
        try:
            self._file: BinaryIO = path.open("wb")
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise RecordingError(path, None, what, "give another --out") from error
        self._mcap = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._mcap.start(profile=PROFILE, library=f"walkout {version()}")
        self._channels: dict[tuple[str, str], int] = {}
        self._schemas: dict[str, int] = {}
        self._chunk_from_ns: int | None = None
        self._step, self._described, self._closed = snapshot.step if snapshot else 0, False, False
        self._scene: Scene | None = None
        self.attach(TOML, "application/toml", toml.encode())
        if snapshot is not None:
            self.attach(SNAPSHOT, "application/octet-stream", pack(snapshot))

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        """One call of the engine, as it is given to it."""
        self._begin(now_ns, observations)
        self._step = step
        for seen in observations:
            self._observed(seen)
        body = {"step": step, "now_ns": now_ns, "observations": len(observations)}
        self._json(STEPS, schemas.STEP, schemas.STEP_SCHEMA, now_ns, json.dumps(body).encode())

    def observe(self, observations: Sequence[Observation]) -> None:
        """Observations without steps: an import, whose steps the reader makes."""
        for seen in observations:
            self._begin(seen.received_at_ns, observations)
            self._observed(seen)

    def raw(self, device: str, at_ns: int, data: bytes, *, to_device: bool = False) -> None:
        """Bytes between a device and its driver."""
        self._begin(at_ns)
        channel = self._channel(f"{RAW_PREFIX}{device}", "msgpack", schemas.RAW, schemas.RAW_SCHEMA)
        body = msgspec.msgpack.encode({"to_device": to_device, "data": data})
        self._put(channel, at_ns, at_ns, body)

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None:
        """What the live run concluded from the last step; for comparison only."""
        self._begin(now_ns)
        for event in events:
            schema = schemas.outputs_schema(MessageKind.EVENT)
            self._json(EVENTS, schemas.EVENT, schema, now_ns, codec.to_json(event))
        for command in commands:
            schema = schemas.outputs_schema(MessageKind.COMMAND)
            self._json(COMMANDS, schemas.COMMAND, schema, now_ns, codec.to_json(command))

    def scene(self, now_ns: int, view: Mapping[str, Any]) -> None:
        """The picture of ``engine.view()``, at most five times a second of store time."""
        if self._scene is None:
            self._scene = Scene(parse(self._toml, file=TOML))
        body = self._scene.update(now_ns, view)
        if body is not None:
            self._begin(now_ns)
            self._json(SCENE, schemas.SCENE, SCENE_UPDATE_SCHEMA, now_ns, body)

    def copy(self, channel: Channel, schema: Schema | None, message: Message) -> None:
        """A message of another recording as it is; never part of a step."""
        self._begin(message.log_time)
        name, text = (schema.name, schema.data) if schema else ("", b"")
        number = self._channel(channel.topic, channel.encoding, name, text)
        self._put(number, message.log_time, message.publish_time, bytes(message.data))

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """A file inside the recording, for example ``truth.json``."""
        if len(data) > ATTACHMENT_BYTES_MAX:
            remedy = f"keep it below {ATTACHMENT_BYTES_MAX} bytes"
            raise RecordingError(self.path, None, f"attachment {name} is too large", remedy)
        self._mcap.add_attachment(0, 0, name, media_type, data)

    def flush(self) -> None:
        """Close the chunk: everything so far survives the death of this process."""
        try:
            self._mcap.flush()  # type: ignore[no-untyped-call]
        except OSError as error:
            raise self._unwritten(error) from error
        self._chunk_from_ns = None

    def close(self) -> None:
        """End the file; nothing can be added afterwards."""
        if self._closed:
            return
        self._closed = True
        try:
            self._describe(())
            self._mcap.finish()  # type: ignore[no-untyped-call]
            self._file.close()
        except OSError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside ----------------------------------------------------------------------------------

    def _begin(self, now_ns: int, observations: Sequence[Observation] = ()) -> None:
        """Close the chunk when its second is over; a step is never cut in two by this."""
        self._describe(observations)
        if self._chunk_from_ns is None:
            self._chunk_from_ns = now_ns
        elif abs(now_ns - self._chunk_from_ns) >= CHUNK_NS:
            self.flush()
            self._chunk_from_ns = now_ns

    def _describe(self, observations: Sequence[Observation]) -> None:
        """The metadata record; it waits for the first step, which may tell the wall time."""
        if self._described:
            return
        self._described = True
        anchor = next((seen for seen in observations if isinstance(seen, ClockAnchor)), None)
        document = {
            "store": str(parse(self._toml, file=TOML).store),
            "version": version(),
            "started": wall_text(anchor.wall_ns) if anchor else "",
            **self._meta,
        }
        self._mcap.add_metadata(METADATA, document)

    def _observed(self, seen: Observation) -> None:
        kind: type = type(seen)
        if isinstance(seen, ConfigLoaded) and seen.toml != self._toml:
            self._toml, self._scene = seen.toml, None
        channel = self._channel(
            topic(seen),
            "msgpack",
            schemas.PREFIX + kind.__name__,
            schemas.observation_schema(kind),
        )
        at_ns = seen.received_at_ns
        captured_ns = getattr(seen, "captured_at_ns", None)
        captured_ns = at_ns if captured_ns is None else captured_ns
        self._put(channel, at_ns, captured_ns, codec.encode_fields(seen))

    def _json(self, name: str, schema: str, text: bytes, at_ns: int, body: bytes) -> None:
        self._put(self._channel(name, "json", schema, text), at_ns, at_ns, body)

    def _put(self, channel: int, at_ns: int, published_ns: int, body: bytes) -> None:
        self.messages += 1
        try:
            self._mcap.add_message(
                channel,
                log_time=max(at_ns, 0),
                data=body,
                publish_time=max(published_ns, 0),
                sequence=self._step % SEQUENCE_MODULO,
            )
        except OSError as error:
            raise self._unwritten(error) from error

    def _channel(self, name: str, encoding: str, schema: str, text: bytes) -> int:
        channel = self._channels.get((name, schema))
        if channel is None:
            if schema not in self._schemas:
                self._schemas[schema] = self._mcap.register_schema(schema, "jsonschema", text)
            channel = self._mcap.register_channel(name, encoding, self._schemas[schema])
            self._channels[name, schema] = channel
        return channel

    def _unwritten(self, error: OSError) -> RecordingError:
        """What is on the disk can be recovered; nothing is added any more."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._file.close()
        what = f"cannot be written: {error.strerror or error}"
        return RecordingError(self.path, None, what, "make room, or give another --out")
