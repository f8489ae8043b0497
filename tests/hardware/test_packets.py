"""Packets of shelf nodes, gate controllers and cameras: round trips, and bodies that lie."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware.protocol import camera_link, gate_node, shelf_node
from hardware.protocol.framing import Frame, FrameReader, encode_frame
from hardware.protocol.identity import (
    Identify,
    Identity,
    Nak,
    PacketError,
    UnknownType,
    WrongLength,
    WrongValue,
)
from messages.codec import encode
from messages.events import RefusalReason
from messages.observations import GateSignal, GateSignalKind, PersonDetections

QUICK = settings(max_examples=120, deadline=None, derandomize=True)
u8, u16, u32 = st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1)
identities = st.builds(
    Identity,
    hardware_id=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12),
    firmware=u16,
    plates=u8,
    sample_rate_mhz=u32,
)
gate_packets = st.one_of(
    st.builds(gate_node.Unlock, command=u32, passages=u8, hold_ms=u16, gap_ms=u16),
    st.builds(gate_node.Unlocked, command=u32, result=st.sampled_from(gate_node.Result)),
    st.builds(
        gate_node.Passage,
        event=u32,
        direction=st.sampled_from(gate_node.Direction),
        people=st.integers(1, 255),
        age_ms=u32,
    ),
    st.builds(gate_node.Barrier, event=u32, state=st.sampled_from(gate_node.BarrierState)),
    st.builds(gate_node.Refuse, command=u32, reason=u8),
    st.builds(gate_node.Refused, command=u32, result=st.sampled_from(gate_node.Result)),
    st.builds(
        gate_node.Status,
        barrier=st.sampled_from(gate_node.BarrierState),
        passages_left=u8,
        events_waiting=u8,
        events_lost=u16,
        uptime_ms=u32,
    ),
    st.builds(gate_node.EventAck, event=u32),
    identities,
    st.just(Identify()),
    st.builds(Nak, refused_type=u8, reason=u8),
)
shelf_packets = st.one_of(
    st.builds(shelf_node.Tare, command=u32, plates=st.lists(st.integers(0, 254)).map(tuple)),
    st.builds(shelf_node.TareDone, command=u32, result=st.sampled_from(shelf_node.TareResult)),
    identities,
    st.just(Identify()),
    st.builds(Nak, refused_type=u8, reason=u8),
)


@st.composite
def samples(draw):
    plates, n = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    return shelf_node.Samples(
        ticks_us=draw(u32),
        sample_period_us=draw(st.integers(1, 2**32 - 1)),
        flags=draw(hnp.arrays(np.uint8, plates)),
        counts=draw(hnp.arrays(np.int32, (n, plates))),
    )


@QUICK
@given(gate_packets, u8, u16)
def test_gate_packets_round_trip(packet, node, sequence):
    frame = gate_node.encode(packet, node=node, sequence=sequence)
    assert (frame.node, frame.sequence) == (node, sequence)
    assert gate_node.decode(frame) == packet


@QUICK
@given(shelf_packets, u8, u16)
def test_shelf_packets_round_trip(packet, node, sequence):
    assert shelf_node.decode(shelf_node.encode(packet, node=node, sequence=sequence)) == packet


@QUICK
@given(samples())
def test_sample_batches_of_any_shape_round_trip(packet):
    got = shelf_node.decode(shelf_node.encode(packet, node=1, sequence=2))
    assert (got.ticks_us, got.sample_period_us) == (packet.ticks_us, packet.sample_period_us)
    assert got.counts.dtype == np.int32
    np.testing.assert_array_equal(got.counts, packet.counts)
    np.testing.assert_array_equal(got.flags, packet.flags)
    assert not got.counts.flags.writeable


@QUICK
@given(u8, st.binary(max_size=200))
def test_any_body_is_a_packet_or_a_named_error(kind, body):
    frame = Frame(type=kind, node=1, sequence=1, body=body)
    for decode in (shelf_node.decode, gate_node.decode):
        with contextlib.suppress(PacketError):
            decode(frame)


def test_samples_shorter_than_their_counts_say_are_refused():
    packet = shelf_node.Samples(
        ticks_us=1,
        sample_period_us=1,
        flags=np.zeros(3, np.uint8),
        counts=np.zeros((2, 3), np.int32),
    )
    frame = shelf_node.encode(packet, node=1, sequence=1)
    with pytest.raises(WrongLength):
        shelf_node.decode(Frame(type=1, node=1, sequence=1, body=frame.body[:-1]))
    empty = bytes(4) + b"\x01\0\0\0" + b"\0\x05"
    with pytest.raises(WrongValue):
        shelf_node.decode(Frame(type=1, node=1, sequence=1, body=empty))


def test_flags_of_another_number_of_plates_are_refused():
    packet = shelf_node.Samples(
        ticks_us=1,
        sample_period_us=1,
        flags=np.zeros(2, np.uint8),
        counts=np.zeros((2, 3), np.int32),
    )
    with pytest.raises(WrongValue):
        shelf_node.encode(packet, node=1, sequence=1)


def test_numbers_that_do_not_fit_their_field_are_refused():
    with pytest.raises(WrongValue):
        gate_node.encode(
            gate_node.Unlock(command=2**32, passages=1, hold_ms=1, gap_ms=1), node=1, sequence=1
        )


def test_unknown_types_and_values_are_named():
    with pytest.raises(UnknownType):
        shelf_node.decode(Frame(type=99, node=1, sequence=1))
    with pytest.raises(UnknownType):
        gate_node.decode(Frame(type=1, node=1, sequence=1))
    with pytest.raises(WrongValue):
        gate_node.decode(
            Frame(
                type=gate_node.PASSAGE, node=1, sequence=1, body=bytes(4) + b"\x07\x01" + bytes(4)
            )
        )


def test_every_reason_of_refusal_has_its_own_code():
    assert set(gate_node.REASON_CODE) == set(RefusalReason)
    assert len(set(gate_node.REASON_CODE.values())) == len(RefusalReason)


def packets_in(stream, decode):
    """What a driver would take from these bytes."""
    for frame in FrameReader().feed(stream):
        with contextlib.suppress(PacketError):
            yield decode(frame), frame.node, frame.sequence


@QUICK
@given(gate_packets, u8, u16, st.lists(st.integers(0, 100_000), min_size=1, max_size=6))
def test_flipped_bits_never_give_a_wrong_gate_packet(packet, node, sequence, flips):
    sent = bytearray(encode_frame(gate_node.encode(packet, node=node, sequence=sequence)))
    for flip in flips:
        sent[flip // 8 % len(sent)] ^= 1 << flip % 8
    got = list(packets_in(bytes(sent) + b"\0", gate_node.decode))
    assert all(seen == (packet, node, sequence) for seen in got)


@pytest.mark.parametrize("plates", [1, 12])
def test_no_single_flipped_bit_gives_a_wrong_sample(plates):
    packet = shelf_node.Samples(
        ticks_us=70_000,
        sample_period_us=16_667,
        flags=np.zeros(plates, np.uint8),
        counts=np.arange(4 * plates, dtype=np.int32).reshape(4, plates) * 700 - 900,
    )
    clean = encode_frame(shelf_node.encode(packet, node=1, sequence=9))
    for bit in range(8 * len(clean)):
        sent = bytearray(clean)
        sent[bit // 8] ^= 1 << bit % 8
        for seen, *head in packets_in(bytes(sent) + clean, shelf_node.decode):
            assert head == [1, 9]
            np.testing.assert_array_equal(seen.counts, packet.counts)


# --- camera link --------------------------------------------------------------------------------


def detections(n=2, **changes):
    fields = {
        "camera": "cam-1",
        "received_at_ns": 0,
        "captured_at_ns": 5,
        "sequence": 1,
        "boxes_px": np.ones((n, 4), np.float32),
        "feet_px": np.ones((n, 2), np.float32),
        "scores": np.ones(n, np.float32),
    }
    return PersonDetections(**(fields | changes))


@QUICK
@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(0, 4000), max_size=6))
def test_camera_messages_cut_anywhere_come_back_in_order(counts, cuts):
    stream = b"".join(camera_link.encode_detections(detections(n, sequence=n)) for n in counts)
    points = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = camera_link.MessageReader()
    got = []
    for a, b in itertools.pairwise(points):
        got += reader.feed(stream[a:b])
    assert [len(camera_link.decode_detections(m).scores) for m in got] == counts


@QUICK
@given(st.lists(st.binary(max_size=400), max_size=8))
def test_a_camera_stream_of_any_bytes_ends_in_a_named_error_or_stays_bounded(chunks):
    reader = camera_link.MessageReader(message_bytes_max=1000)
    with contextlib.suppress(camera_link.LinkError):
        for chunk in chunks:
            for message in reader.feed(chunk):
                camera_link.decode_detections(message)
            assert reader.held_bytes <= 1004


@pytest.mark.parametrize(
    "bad",
    [
        detections(boxes_px=np.ones((3, 4), np.float32)),
        detections(feet_px=np.ones((2, 3), np.float32)),
        detections(feet_px=np.full((2, 2), np.nan, np.float32)),
        detections(scores=np.full(2, np.inf, np.float32)),
        detections(scores=np.ones((2, 1), np.float32)),
        detections(wrists_px=np.ones((1, 2, 2), np.float32)),
        detections(wrists_px=np.full((2, 2, 2), np.inf, np.float32)),
        detections(positions_store_m=np.ones((2, 2), np.float32)),
        detections(embeddings=np.ones((3, 8), np.float32)),
        detections(camera_link.PEOPLE_MAX + 1),
        detections(image_state="upside down"),
        GateSignal(gate="g", device="d", kind=GateSignalKind.ENTER, received_at_ns=1),
    ],
)
def test_detections_that_do_not_fit_together_are_refused(bad):
    with pytest.raises(camera_link.LinkError):
        camera_link.decode_detections(encode(bad))


def test_positions_on_the_floor_come_without_boxes():
    seen = detections(
        boxes_px=np.ones((0, 4), np.float32),
        feet_px=np.ones((0, 2), np.float32),
        positions_store_m=np.ones((2, 2), np.float32),
    )
    (message,) = camera_link.MessageReader().feed(camera_link.encode_detections(seen))
    assert camera_link.decode_detections(message).positions_store_m.shape == (2, 2)


def test_a_message_beyond_the_largest_is_refused_at_both_ends():
    with pytest.raises(camera_link.LinkError):
        camera_link.encode_detections(detections(2, embeddings=np.ones((2, 200_000), np.float32)))
    with pytest.raises(camera_link.LinkError):
        camera_link.MessageReader().feed(b"\xff\xff\xff\x7f")
    with pytest.raises(camera_link.LinkError):
        camera_link.MessageReader().feed(bytes(4))
