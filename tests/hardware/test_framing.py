"""COBS, CRC and the frame reader: whatever the bytes, no exception and no wrong frame."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hardware.protocol.framing import (
    FRAME_BYTES_MAX,
    Frame,
    FrameReader,
    FramingError,
    cobs_decode,
    cobs_encode,
    crc16,
    encode_frame,
)

QUICK = settings(max_examples=150, deadline=None, derandomize=True)
frames = st.builds(
    Frame,
    type=st.integers(0, 255),
    node=st.integers(0, 255),
    sequence=st.integers(0, 65535),
    body=st.binary(max_size=700) | st.integers(240, 520).map(lambda n: b"\x01" * n),
)


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(points)]


@QUICK
@given(st.binary(max_size=1200) | st.integers(0, 800).map(lambda n: b"\xff" * n))
@example(b"")
@example(b"\x01" * 254)
@example(b"\x01" * 254 + b"\0")
@example(b"\x01" * 508 + b"\0\0")
def test_any_data_comes_back_from_cobs_and_holds_no_zero(data):
    stuffed = cobs_encode(data)
    assert 0 not in stuffed
    assert cobs_decode(stuffed) == data
    assert len(stuffed) <= len(data) + len(data) // 254 + 1


def test_cobs_gives_the_published_examples():
    assert cobs_encode(b"\0") == b"\x01\x01"
    assert cobs_encode(b"\x11\x22\0\x33") == b"\x03\x11\x22\x02\x33"
    assert cobs_encode(bytes(range(1, 255)))[:1] == b"\xff"
    assert cobs_decode(b"\xff" + bytes(range(1, 255))) == bytes(range(1, 255))  # the short form


@pytest.mark.parametrize("bad", [b"", b"\x05\x01", b"\x02\x00", b"\xff\x01"])
def test_what_is_no_cobs_is_a_named_error(bad):
    with pytest.raises(FramingError):
        cobs_decode(bad)


def test_crc_gives_the_check_value_of_its_specification():
    assert crc16(b"123456789") == 0x4B37


@QUICK
@given(st.binary(max_size=300))
def test_crc_of_two_bytes_a_step_is_the_crc_bit_by_bit(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    assert crc16(data) == crc


@QUICK
@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 5000), max_size=8))
def test_frames_cut_anywhere_come_back_in_order(sent, cuts):
    reader = FrameReader()
    stream = b"".join(encode_frame(frame) for frame in sent)
    got = [frame for piece in split_at(stream, cuts) for frame in reader.feed(piece)]
    assert got == sent
    assert reader.counters.garbage_bytes == 0


@QUICK
@given(st.lists(st.tuples(frames, st.binary(max_size=80)), max_size=4))
def test_garbage_between_frames_costs_no_frame(sent):
    reader = FrameReader()
    stream = b"".join(garbage + encode_frame(frame) for frame, garbage in sent)
    got = reader.feed(stream)
    assert [frame for frame in got if frame in [f for f, _ in sent]] == [f for f, _ in sent]
    assert len(got) == len(sent)


@QUICK
@given(st.lists(st.binary(max_size=3000), max_size=10))
def test_a_reader_survives_any_bytes_and_stays_bounded(chunks):
    reader = FrameReader(frame_bytes_max=512)
    for chunk in chunks:
        reader.feed(chunk)
        assert reader.held_bytes <= 512
    assert reader.feed(encode_frame(Frame(type=1, node=2, sequence=3)))[-1].sequence == 3


def test_an_endless_frame_is_dropped_counted_and_forgotten_at_its_end():
    reader = FrameReader()
    for _ in range(100):
        assert reader.feed(b"\x07" * 10_000) == []
        assert reader.held_bytes <= FRAME_BYTES_MAX
    assert reader.counters.oversize == 1
    assert reader.counters.garbage_bytes == 1_000_000
    frame = Frame(type=9, node=1, sequence=7, body=b"abc")
    assert reader.feed(encode_frame(frame)) == [frame]


def test_a_frame_of_another_version_is_counted_and_named():
    reader = FrameReader()
    assert reader.feed(encode_frame(Frame(type=1, node=1, sequence=1, version=2))) == []
    assert reader.counters.wrong_version == 1
    assert reader.foreign_version == 2


def test_a_wrong_crc_is_counted():
    reader = FrameReader()
    stuffed = cobs_encode(bytes([1, 1, 1, 0, 0, 5, 5]) + b"\x12\x34")
    assert reader.feed(stuffed + b"\0") == []
    assert reader.counters.crc_errors == 1
    assert reader.counters.garbage_bytes == len(stuffed)


def test_a_frame_longer_than_a_reader_accepts_is_refused_by_the_sender():
    with pytest.raises(FramingError):
        encode_frame(Frame(type=1, node=1, sequence=1, body=b"\x01" * FRAME_BYTES_MAX))
    with pytest.raises(FramingError):
        encode_frame(Frame(type=1, node=1, sequence=70_000))


def test_random_noise_of_a_line_gives_no_frame():
    noise = np.random.default_rng(3).integers(0, 256, 300_000).astype(np.uint8).tobytes()
    reader = FrameReader()
    assert reader.feed(noise) == []
    assert reader.counters.garbage_bytes > 290_000
