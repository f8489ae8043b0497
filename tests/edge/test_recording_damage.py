"""Damaged and hostile recordings: refused by name, and what is whole is saved."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from recordings import record, replayed, small_day

from edge import mcap_records as mcap
from edge.recording import Recording, RecordingError, RecordingWriter
from edge.recording_recover import recover
from messages import codec
from messages.observations import StepSetAside


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(small_day(), tmp_path_factory.mktemp("day") / "x.mcap", truth=b'{"visits": []}')


def chunks(path: Path) -> list[mcap.Record]:
    with path.open("rb") as file:
        found = mcap.records(file, frozenset((mcap.CHUNK,)))
        return [record for record in found if record.opcode == mcap.CHUNK]


def read_wholly(path: Path) -> int:
    recording = Recording.open(path)
    list(recording.live_events())
    return sum(1 for _ in recording.steps())


def test_truncated_at_every_chunk_boundary_it_keeps_every_chunk_before(
    whole: Path, tmp_path: Path
) -> None:
    data, all_chunks, steps = whole.read_bytes(), chunks(whole), -1
    cut, saved = tmp_path / "cut.mcap", tmp_path / "saved.mcap"
    for chunk in all_chunks:
        end = chunk.offset + mcap.HEAD_BYTES + chunk.length
        cut.write_bytes(data[:end])
        with pytest.raises(RecordingError, match="recover"):
            Recording.open(cut)
        found = recover(cut, saved)
        assert found.steps > steps
        steps = found.steps
        assert read_wholly(saved) == steps
    assert steps == len(small_day().steps)


def test_truncated_anywhere_it_loses_at_most_the_open_second(whole: Path, tmp_path: Path) -> None:
    data, all_chunks = whole.read_bytes(), chunks(whole)
    cut, saved = tmp_path / "cut.mcap", tmp_path / "saved.mcap"
    live = [line for step in small_day().events for line in step]
    for length in np.random.default_rng(3).integers(all_chunks[1].offset, len(data) - 9, 12):
        cut.write_bytes(data[:length])
        with pytest.raises(RecordingError):
            Recording.open(cut)
        found = recover(cut, saved)
        intact = [c for c in all_chunks if c.offset + mcap.HEAD_BYTES + c.length <= length]
        assert found.chunks == len(intact)
        assert read_wholly(saved) == found.steps
    again = replayed(Recording.open(saved))
    assert again == live[: len(again)]
    assert again


def test_a_damaged_chunk_is_left_out_and_the_engine_is_told(whole: Path, tmp_path: Path) -> None:
    data, middle = bytearray(whole.read_bytes()), chunks(whole)[8]
    data[middle.offset + mcap.HEAD_BYTES + middle.length // 2] ^= 0x10
    broken, saved = tmp_path / "broken.mcap", tmp_path / "saved.mcap"
    broken.write_bytes(data)
    with pytest.raises(RecordingError, match=f"byte {middle.offset}"):
        read_wholly(broken)
    found = recover(broken, saved)
    ((first, last),) = found.missing
    assert 8 <= last - first + 1 <= 12
    assert found.lost[0].offset == middle.offset
    steps = list(Recording.open(saved).steps())
    behind = next(step for step in steps if step.step == last + 1)
    assert isinstance(behind.observations[0], StepSetAside)
    assert Recording.open(saved).attachments["truth.json"] == b'{"visits": []}'


def test_a_damaged_length_does_not_cost_the_chunks_behind_it(whole: Path, tmp_path: Path) -> None:
    data, all_chunks = bytearray(whole.read_bytes()), chunks(whole)
    struct.pack_into("<Q", data, all_chunks[5].offset + 1, 2**40)
    broken, saved = tmp_path / "broken.mcap", tmp_path / "saved.mcap"
    broken.write_bytes(data)
    found = recover(broken, saved)
    assert found.chunks >= len(all_chunks) - 1
    assert read_wholly(saved) == found.steps


def test_a_damaged_first_chunk_is_survived_by_the_summary(whole: Path, tmp_path: Path) -> None:
    data, first = bytearray(whole.read_bytes()), chunks(whole)[0]
    data[first.offset + 60] ^= 0xFF
    broken, saved = tmp_path / "broken.mcap", tmp_path / "saved.mcap"
    broken.write_bytes(data)
    found = recover(broken, saved)
    assert found.chunks == len(chunks(whole)) - 1
    assert read_wholly(saved) == found.steps > 150


def test_random_flips_are_refused_or_harmless_and_never_a_crash(
    whole: Path, tmp_path: Path
) -> None:
    data, rng = whole.read_bytes(), np.random.default_rng(11)
    broken, saved = tmp_path / "broken.mcap", tmp_path / "saved.mcap"
    for _ in range(25):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] ^= 1 << int(rng.integers(8))
        broken.write_bytes(changed)
        with contextlib.suppress(RecordingError):
            read_wholly(broken)
        with contextlib.suppress(RecordingError):
            assert recover(broken, saved).steps == read_wholly(saved)


def test_a_recording_without_steps_is_recovered_too(tmp_path: Path) -> None:
    path, saved = tmp_path / "x.mcap", tmp_path / "y.mcap"
    seen = [one for _, observations in small_day().steps for one in observations]
    seen.sort(key=lambda one: one.received_at_ns)
    with RecordingWriter(path, toml=small_day().toml) as writer:
        writer.observe(seen)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recover(path, saved)
    kept = [codec.encode(one) for one in Recording.open(saved).observations()]
    assert len(seen) // 3 < len(kept) < len(seen)
    assert kept == [codec.encode(one) for one in seen[: len(kept)]]


def test_garbage_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    for data in (b"", b"\x89MC", b"hello", b"\0" * 4096, mcap.MAGIC, mcap.MAGIC + b"\0" * 50):
        path.write_bytes(data)
        with pytest.raises(RecordingError):
            Recording.open(path)
        with pytest.raises(RecordingError):
            recover(path, tmp_path / "y.mcap")
    with pytest.raises(RecordingError, match="cannot be read"):
        Recording.open(tmp_path / "none.mcap")


def test_hostile_lengths_take_no_memory(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.mcap"
    data = whole.read_bytes()
    first = chunks(whole)[0].offset
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (200 * 2**20))
    lies = [
        chunk_record(2**40, b"zstd", bomb),
        chunk_record(200 * 2**20, b"zstd", bomb),
        chunk_record(100, b"zstd", bomb),
        chunk_record(100, b"lz4", bomb),
        chunk_record(100, b"", b"\x05" + struct.pack("<Q", 2**60)),
        struct.pack("<BQ", mcap.METADATA, 2**63),
        struct.pack("<BQ", mcap.ATTACHMENT, 2**33),
    ]
    tracemalloc.start()
    for lie in lies:
        path.write_bytes(data[:first] + lie + data[first:])
        with pytest.raises(RecordingError):
            read_wholly(path)
    assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    tracemalloc.stop()


def chunk_record(size: int, name: bytes, packed: bytes, crc: int = 0) -> bytes:
    head = struct.pack("<QQQII", 0, 0, size, crc, len(name)) + name
    body = head + struct.pack("<Q", len(packed)) + packed
    return struct.pack("<BQ", mcap.CHUNK, len(body)) + body


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x81\xa6device\xa1a",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        codec.encode_fields({"device": 3}),
    ],
)
def test_an_observation_that_is_none_is_named(body: bytes, whole: Path, tmp_path: Path) -> None:
    """A chunk whose checksum fits and whose contents are lies."""
    with whole.open("rb") as file:
        records = list(mcap.records(file, frozenset((mcap.CHUNK,))))
    chunk = next(record for record in records if record.opcode == mcap.CHUNK)
    tables = mcap.Tables()
    plain = mcap.unpack_chunk(chunk.body, chunk.offset)
    messages = list(mcap.chunk_messages(plain, chunk.offset, tables))
    channel = next(n for n, c in tables.channels.items() if c.topic.startswith("/shelf/"))
    lie = struct.pack("<HIQQ", channel, 1, 0, 0) + body
    plain += struct.pack("<BQ", mcap.MESSAGE, len(lie)) + lie
    packed = zstandard.ZstdCompressor().compress(plain)
    data = whole.read_bytes()
    record = chunk_record(len(plain), b"zstd", packed, zlib.crc32(plain))
    after = chunk.offset + mcap.HEAD_BYTES + chunk.length
    path = tmp_path / "x.mcap"
    path.write_bytes(data[: chunk.offset] + record + data[after:])
    assert messages
    with pytest.raises(RecordingError, match="ShelfSamples that is none"):
        list(Recording.open(path).steps())
