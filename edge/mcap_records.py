"""MCAP files record by record, in file order, with a bound on everything that a file can claim.

The library's readers give messages at a tenth of the rate that a replay needs and believe the
lengths they read. Here every length is checked against the file and against a named bound before
anything is allocated, and every chunk against its checksum. Nothing is decoded that is not asked
for. Writing is the library's (``mcap.writer``).

Source: the MCAP specification, version 0 (mcap.dev/spec).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import zstandard

MAGIC = bytes((137, 77, 67, 65, 80, 48, 13, 10))
CHUNK_BYTES_MAX = 64 * 2**20  # unpacked; ours hold a second: some 100 kB
ATTACHMENT_BYTES_MAX = 256 * 2**20  # a snapshot of a full store has some MB
ATTACHMENTS_BYTES_MAX = 512 * 2**20  # of one file together
ATTACHMENTS_MAX = 1024
RECORD_BYTES_MAX = 16 * 2**20  # any other record: schemas, indexes, metadata
SCHEMAS_MAX = 1024
CHANNELS_MAX = 16_384  # a device has two or three

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
MESSAGE_INDEX, ATTACHMENT, METADATA, DATA_END = 0x07, 0x09, 0x0C, 0x0F

_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")  # start, end, unpacked size, CRC, length of the compression's name
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
HEAD_BYTES = _HEAD.size
MESSAGE_HEAD_BYTES = _MESSAGE.size


class McapError(ValueError):
    """A file that is no whole MCAP file, or not one that we accept. ``offset``: where."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset, self.what = offset, what


class TruncatedError(McapError):
    """The file ends in the middle of a record, or has no end."""


class Record(NamedTuple):
    """A record of the file itself. ``body`` is empty where it was not asked for."""

    opcode: int
    offset: int  # of its opcode
    length: int  # of its body
    body: bytes


class Message(NamedTuple):
    """One message; ``offset`` is that of its chunk, or its own outside chunks."""

    channel: int
    sequence: int
    log_time: int
    publish_time: int
    data: memoryview
    offset: int


class Schema(NamedTuple):
    name: str
    encoding: str
    data: bytes


class Channel(NamedTuple):
    topic: str
    encoding: str
    schema: int
    metadata: dict[str, str]


@dataclass
class Tables:
    """Schemas and channels seen so far."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)

    def take(self, opcode: int, body: memoryview, offset: int) -> None:
        """Add a schema or channel record; others are passed over."""
        if opcode == SCHEMA:
            number, schema = parse_schema(body, offset)
            self.schemas.setdefault(number, schema)
        elif opcode == CHANNEL:
            number, channel = parse_channel(body, offset)
            self.channels.setdefault(number, channel)
        if len(self.schemas) > SCHEMAS_MAX or len(self.channels) > CHANNELS_MAX:
            limits = f"{SCHEMAS_MAX} schemas and {CHANNELS_MAX} channels"
            raise McapError(offset, f"has more than {limits}")


def records(file: BinaryIO, wanted: frozenset[int], *, start: int = len(MAGIC)) -> Iterator[Record]:
    """The file's records from ``start`` to its footer; bodies of the wanted ones only.

    Raises:
        TruncatedError: the file ends before its end marker.
        McapError: a record is longer than its kind may be, or has no kind.
    """
    size = file.seek(0, 2)
    if start == len(MAGIC):
        check_magic(file, size)
    offset = start
    file.seek(start)
    while True:
        opcode, length = parse_head(file.read(HEAD_BYTES), offset)
        check_length(opcode, length, offset, size)
        end = offset + HEAD_BYTES + length
        if opcode in wanted:
            body = file.read(length)
        else:
            body = b""
            file.seek(end)
        yield Record(opcode, offset, length, body)
        if opcode == FOOTER:
            check_end(file, end, size)
            return
        offset = end


def parse_head(head: bytes, offset: int) -> tuple[int, int]:
    """Kind and length of a record. Raises TruncatedError where the file ends within."""
    if len(head) < HEAD_BYTES:
        raise TruncatedError(offset, "ends without its end marker")
    opcode, length = _HEAD.unpack(head)
    return opcode, length


def check_magic(file: BinaryIO, size: int) -> None:
    """Raise unless the file begins as an MCAP file does."""
    file.seek(0)
    start = file.read(len(MAGIC))
    if start != MAGIC:
        short = size < len(MAGIC) and MAGIC.startswith(start)
        kind, what = (
            (TruncatedError, "ends within its first bytes")
            if short
            else (McapError, "is no MCAP file")
        )
        raise kind(0, what)


def check_end(file: BinaryIO, end: int, size: int) -> None:
    file.seek(end)
    if file.read(len(MAGIC)) != MAGIC:
        raise TruncatedError(end, "ends without its end marker")
    if end + len(MAGIC) != size:
        raise McapError(end + len(MAGIC), "goes on behind its end marker")


def check_length(opcode: int, length: int, offset: int, size: int) -> None:
    """Raise where a record cannot be what it says; nothing has been allocated for it yet."""
    if opcode == 0:
        raise McapError(offset, "has a record without a kind (zeros: a torn write?)")
    most = {CHUNK: CHUNK_BYTES_MAX, ATTACHMENT: ATTACHMENT_BYTES_MAX}.get(opcode, RECORD_BYTES_MAX)
    if offset + HEAD_BYTES + length > size:
        raise TruncatedError(offset, f"ends within a record of {length} bytes")
    if length > most:
        raise McapError(offset, f"has a record of {length} bytes; at most {most} are accepted")


def unpack_chunk(body: bytes, offset: int) -> bytes:
    """The records of a chunk, unpacked and checked.

    Raises:
        McapError: another compression, a size above the bound, or a checksum that does not fit.
    """
    try:
        _, _, size, crc, name_length = _CHUNK.unpack_from(body)
        name_end = _CHUNK.size + name_length
        name = body[_CHUNK.size : name_end]
        (packed_length,) = _U64.unpack_from(body, name_end)
    except struct.error as error:
        raise McapError(offset, "has a chunk that is too short") from error
    packed = body[name_end + 8 :]
    if packed_length != len(packed):
        raise McapError(offset, "has a chunk whose lengths contradict each other")
    if size > CHUNK_BYTES_MAX:
        limit = f"at most {CHUNK_BYTES_MAX} are accepted"
        raise McapError(offset, f"has a chunk of {size} bytes unpacked; {limit}")
    plain = _unpacked(name, packed, size, offset)
    if len(plain) != size:
        raise McapError(offset, f"has a chunk of {len(plain)} bytes that says {size}")
    if crc and zlib.crc32(plain) != crc:
        raise McapError(offset, "has a chunk whose checksum does not fit")
    return plain


def _unpacked(name: bytes, packed: bytes, size: int, offset: int) -> bytes:
    if name == b"":
        return packed
    if name != b"zstd":
        raise McapError(offset, f"has a chunk packed by {name[:16]!r}; only zstd is accepted")
    try:
        said = zstandard.frame_content_size(packed)  # before anything is allocated for it
        if said not in (-1, size):
            raise McapError(offset, f"has a chunk that unpacks to {said} bytes and says {size}")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except zstandard.ZstdError as error:
        raise McapError(offset, f"has a chunk that cannot be unpacked: {error}") from error


def chunk_messages(plain: bytes, offset: int, tables: Tables) -> Iterator[Message]:
    """The messages of an unpacked chunk, in order; schemas and channels go into the tables.

    Raises:
        McapError: a record that does not fit into its chunk.
    """
    view, at, end = memoryview(plain), 0, len(plain)
    head, message = _HEAD.unpack_from, _MESSAGE.unpack_from
    while at < end:
        if at + HEAD_BYTES > end:
            raise McapError(offset, "has a chunk that ends within a record")
        opcode, length = head(plain, at)
        at += HEAD_BYTES
        stop = at + length
        if stop > end:
            raise McapError(offset, "has a chunk that ends within a record")
        if opcode == MESSAGE:
            if length < MESSAGE_HEAD_BYTES:
                raise McapError(offset, "has a message without a head")
            channel, sequence, log_time, publish_time = message(plain, at)
            data = view[at + MESSAGE_HEAD_BYTES : stop]
            yield Message(channel, sequence, log_time, publish_time, data, offset)
        else:
            tables.take(opcode, view[at:stop], offset)
        at = stop


def parse_message(body: bytes, offset: int) -> Message:
    """A message that stands outside of chunks."""
    if len(body) < MESSAGE_HEAD_BYTES:
        raise McapError(offset, "has a message without a head")
    channel, sequence, log_time, publish_time = _MESSAGE.unpack_from(body)
    data = memoryview(body)[MESSAGE_HEAD_BYTES:]
    return Message(channel, sequence, log_time, publish_time, data, offset)


def parse_schema(body: memoryview, offset: int) -> tuple[int, Schema]:
    fields = Fields(body, offset)
    number = fields.number(_U16)
    return number, Schema(fields.text(), fields.text(), fields.block(_U32))


def parse_channel(body: memoryview, offset: int) -> tuple[int, Channel]:
    fields = Fields(body, offset)
    number, schema = fields.number(_U16), fields.number(_U16)
    return number, Channel(fields.text(), fields.text(), schema, fields.texts())


def parse_metadata(body: bytes, offset: int) -> tuple[str, dict[str, str]]:
    fields = Fields(memoryview(body), offset)
    return fields.text(), fields.texts()


def parse_attachment(body: bytes, offset: int) -> tuple[str, str, bytes]:
    """Name, media type and data of an attachment, its checksum verified."""
    fields = Fields(memoryview(body), offset)
    fields.number(_U64), fields.number(_U64)
    name, media_type, data = fields.text(), fields.text(), fields.block(_U64)
    covered = fields.at
    crc = fields.number(_U32)
    if crc and zlib.crc32(memoryview(body)[:covered]) != crc:
        raise McapError(offset, f"has an attachment {name!r} whose checksum does not fit")
    return name, media_type, data


class Fields:
    """The fields of a record, one after the other; McapError where they leave it."""

    def __init__(self, body: memoryview, offset: int) -> None:
        self._body, self._offset, self.at = body, offset, 0

    def number(self, kind: struct.Struct) -> int:
        if self.at + kind.size > len(self._body):
            raise McapError(self._offset, "has a record that ends within a field")
        (value,) = kind.unpack_from(self._body, self.at)
        self.at += kind.size
        return int(value)

    def block(self, kind: struct.Struct) -> bytes:
        length = self.number(kind)
        if length > len(self._body) - self.at:
            raise McapError(self._offset, "has a field that leaves its record")
        data = bytes(self._body[self.at : self.at + length])
        self.at += length
        return data

    def text(self) -> str:
        try:
            return self.block(_U32).decode()
        except UnicodeDecodeError as error:
            raise McapError(self._offset, "has a text that is not UTF-8") from error

    def texts(self) -> dict[str, str]:
        """A map of texts."""
        end = self.number(_U32) + self.at
        if end > len(self._body):
            raise McapError(self._offset, "has a field that leaves its record")
        found = {}
        while self.at < end:
            key = self.text()
            found[key] = self.text()
        return found
