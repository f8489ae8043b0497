"""Messages survive the wire; nothing hostile does more than raise CodecError."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from messages.catalogue import BY_NAME
from messages.codec import CodecError, decode, decode_many, encode, encode_many, to_json
from messages.events import Evidence, ItemTaken
from messages.observations import PersonDetections, ShelfSamples

finite32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def samples(draw) -> ShelfSamples:
    plates, count = draw(st.integers(0, 14)), draw(st.integers(0, 14))
    return ShelfSamples(
        device=draw(st.text(max_size=8)),
        received_at_ns=draw(st.integers(-(2**63), 2**63 - 1)),
        sequence=draw(st.integers(0, 65535)),
        ticks_us=draw(st.integers(0, 2**32 - 1)),
        sample_period_us=16667,
        flags=draw(hnp.arrays(np.uint8, plates)),
        readings=draw(hnp.arrays(np.int32, (count, plates))),
    )


@given(samples())
def test_shelf_samples_come_back_as_they_were(sent):
    got = decode(encode(sent))
    assert type(got) is ShelfSamples
    assert np.array_equal(got.readings, sent.readings)
    assert got.readings.dtype == np.int32
    assert (got.device, got.received_at_ns, got.ticks_us) == (
        sent.device,
        sent.received_at_ns,
        sent.ticks_us,
    )
    with pytest.raises(ValueError, match="read-only"):
        got.readings[...] = 1


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(4)), elements=finite32))
def test_a_block_keeps_order_and_not_a_number(boxes):
    n = len(boxes)
    sent = PersonDetections(
        camera="c",
        received_at_ns=1,
        captured_at_ns=0,
        sequence=0,
        boxes_px=boxes,
        feet_px=np.zeros((n, 2), np.float32),
        scores=np.zeros(n, np.float32),
        wrists_px=np.full((n, 2, 2), np.nan, np.float32),
    )
    taken = ItemTaken(visit="v", sku="s", quantity=1, probability=0.5, line="l")
    first, second = decode_many(encode_many([sent, taken]))
    assert first.boxes_px.tobytes() == boxes.tobytes()
    assert second == taken


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_codec_errors(data):
    for reader in (decode, decode_many):
        with contextlib.suppress(CodecError):
            reader(data)


@given(samples(), st.data())
def test_damaged_messages_raise_only_codec_errors(sent, data):
    raw = bytearray(encode(sent))
    cut = data.draw(st.integers(0, len(raw)))
    for i in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[i] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        with contextlib.suppress(CodecError):
            decode(damaged)


def test_a_nesting_bomb_is_refused():
    with pytest.raises(CodecError):
        decode(b"\x92\xa9ItemTaken" + b"\x91" * 100_000)


def test_an_array_of_another_type_is_refused():
    wrong = ShelfSamples(
        device="n",
        received_at_ns=0,
        sequence=0,
        ticks_us=0,
        sample_period_us=1,
        flags=np.zeros(1, np.uint8),
        readings=np.zeros((1, 1), np.float64),
    )
    with pytest.raises(CodecError, match="float64"):
        decode(encode(wrong))


def test_numpy_numbers_do_not_slip_into_messages():
    event = ItemTaken(
        visit="v", sku="s", quantity=np.int64(1), probability=0.5, line="l", evidence=Evidence()
    )
    with pytest.raises(CodecError, match="numpy integer"):
        encode(event)


def test_what_is_not_in_the_catalogue_is_refused():
    with pytest.raises(CodecError, match="catalogue"):
        encode(Evidence())


def test_unknown_fields_of_a_newer_sender_are_ignored_and_missing_ones_default():
    import msgspec

    event = {
        "visit": "v",
        "sku": "s",
        "quantity": 1,
        "probability": 0.5,
        "line": "l",
        "of_tomorrow": [1, 2],
    }
    got = decode(msgspec.msgpack.encode(("ItemTaken", event)))
    assert got.unit == "piece"


def test_every_message_of_the_catalogue_has_a_decoder():
    from messages.codec import _fields_decoder

    for name in BY_NAME:
        assert _fields_decoder(name) is not None


def test_json_is_one_line_with_the_type():
    line = to_json(ItemTaken(visit="v", sku="s", quantity=1, probability=0.5, line="l"))
    assert b"\n" not in line
    assert json.loads(line)["type"] == "ItemTaken"
