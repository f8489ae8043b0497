"""Bytes of messages and state: MessagePack by msgspec; arrays as one extension type.

A message on a wire or in the journal is ``[name, fields]`` where name is its class. Unknown fields
of a newer sender are ignored, missing ones take their default, so old journals stay readable.
State (snapshots) is one dataclass tree without a name. JSON is for people and for ``events.jsonl``.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Annotated, Any, TypeVar, cast, get_args

import msgspec
import numpy as np

from messages.catalogue import BY_NAME

ARRAY_EXT = 1  # extension code of a numpy array: [dtype, shape, little-endian bytes]
ARRAY_KINDS = frozenset("biuf")
ARRAY_BYTES_MAX = 64 * 2**20

T = TypeVar("T")


class CodecError(ValueError):
    """Bytes that are no message of ours; says what was wrong."""


def encode(message: object) -> bytes:
    """One message as bytes; its class must stand in the catalogue."""
    name = type(message).__name__
    if BY_NAME.get(name) is not type(message):
        raise CodecError(f"{name} is not in messages/catalogue.py")
    return _ENCODER.encode((name, message))


def decode(data: bytes | memoryview) -> Any:
    """The message in the bytes, arrays read-only.

    Raises:
        CodecError: truncated, hostile or unknown bytes.
    """
    try:
        name, fields = _ENVELOPE.decode(data)
        return _fields_decoder(name).decode(fields)
    except CodecError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CodecError(f"not a message: {error}") from error


def encode_fields(message: object) -> bytes:
    """The fields of a message without its name, where a channel or column tells the name."""
    return _ENCODER.encode(message)


def decode_fields(name: str, data: bytes | memoryview) -> Any:
    """The message of ``encode_fields``, arrays read-only. Raises CodecError."""
    try:
        return _fields_decoder(name).decode(data)
    except CodecError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CodecError(f"not the fields of {name}: {error}") from error


def element_types(kind: type) -> frozenset[type]:
    """The element types that an array annotation of the vocabulary allows."""
    return _dtypes_of(kind)


def encode_many(messages: object) -> bytes:
    """A sequence of messages as one block."""
    return _ENCODER.encode([(type(m).__name__, m) for m in cast("list[object]", messages)])


def decode_many(data: bytes | memoryview) -> list[Any]:
    """The messages of a block, in order. Raises CodecError."""
    try:
        pairs = _ENVELOPES.decode(data)
        return [_fields_decoder(name).decode(fields) for name, fields in pairs]
    except CodecError:
        raise
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CodecError(f"not a block of messages: {error}") from error


def encode_state(state: object) -> bytes:
    """A state dataclass (numbers, strings, arrays, lists, dicts, dataclasses) as bytes."""
    return _ENCODER.encode(state)


def decode_state(data: bytes | memoryview, kind: type[T]) -> T:
    """The state back; arrays are writable copies, since state changes in place.

    Raises:
        CodecError: the bytes do not fit the type.
    """
    try:
        decoder = msgspec.msgpack.Decoder(kind, ext_hook=_writable_array, dec_hook=_accept)
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise CodecError(f"snapshot does not fit {kind.__name__}: {error}") from error


def to_json(message: object) -> bytes:
    """One line of JSON: ``{"type": name, ...fields}``; arrays as lists; NaN as null."""
    fields = cast("dict[str, Any]", msgspec.to_builtins(message, enc_hook=_array_to_list))
    return msgspec.json.encode({"type": type(message).__name__, **fields}, order="deterministic")


def _array_to_ext(value: object) -> msgspec.msgpack.Ext:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        if value.dtype.kind not in ARRAY_KINDS:
            raise CodecError(f"array of {value.dtype} has no wire form")
        # ascontiguousarray turns 0-d into 1-d: the shape comes from the value itself
        head = [array.dtype.str, list(value.shape), array.tobytes()]
        return msgspec.msgpack.Ext(ARRAY_EXT, msgspec.msgpack.encode(head))
    if isinstance(value, np.integer):
        raise CodecError("numpy integer in a message; convert with int() where it is made")
    if isinstance(value, np.floating):
        raise CodecError("numpy float in a message; convert with float() where it is made")
    raise CodecError(f"{type(value).__name__} has no wire form")


def _array_to_list(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise CodecError(f"{type(value).__name__} has no JSON form")


def _array(code: int, data: memoryview) -> Any:
    if code != ARRAY_EXT or len(data) > ARRAY_BYTES_MAX:
        raise CodecError(f"extension {code} of {len(data)} bytes is not one of ours")
    dtype_name, shape, raw = _ARRAY_HEAD.decode(data)
    dtype = _DTYPES.get(dtype_name)
    if dtype is None:
        dtype = np.dtype(dtype_name)
        if dtype.kind not in ARRAY_KINDS:
            raise CodecError(f"array of {dtype_name} {shape} is not one of ours")
    if prod(shape) * dtype.itemsize != len(raw):
        raise CodecError(f"{len(raw)} bytes are no array of {dtype_name} {shape}")
    return np.ndarray(shape, dtype, raw)


def _writable_array(code: int, data: memoryview) -> Any:
    return _array(code, data).copy()


def _accept(kind: type, value: object) -> object:
    """Custom types in annotations are arrays: the extension hook has already built them."""
    allowed = _ALLOWED.get(id(kind))
    if allowed is None:
        allowed = _ALLOWED[id(kind)] = _dtypes_of(kind)
    if isinstance(value, np.ndarray) and value.dtype.type in allowed:
        return value
    got = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
    raise CodecError(f"expected {kind}, got {got}")


@cache
def _dtypes_of(kind: type) -> frozenset[type]:
    """The element types that an annotation such as ``NDArray[np.int32 | np.float32]`` names."""
    (element,) = get_args(get_args(kind)[1])
    return frozenset(get_args(element) or (element,))


def _fields_decoder(name: str) -> msgspec.msgpack.Decoder[Any]:
    decoder = _DECODERS.get(name)
    if decoder is None:
        kind = BY_NAME.get(name)
        if kind is None:
            raise CodecError(f"unknown message {name[:64]!r}")
        decoder = msgspec.msgpack.Decoder(kind, ext_hook=_array, dec_hook=_accept)
        _DECODERS[name] = decoder
    return decoder


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_array_to_ext)
_ENVELOPE = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_ENVELOPES = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])
_ARRAY_HEAD = msgspec.msgpack.Decoder(tuple[str, list[Annotated[int, msgspec.Meta(ge=0)]], bytes])
# By name, those that messages use; others are looked up each time.
_DTYPES = {np.dtype(kind).str: np.dtype(kind) for kind in ("u1", "i4", "i8", "f4", "f8", "?")}
# By the id of an annotation: its hash takes longer than an array. ``_dtypes_of`` keeps it alive.
_ALLOWED: dict[int, frozenset[type]] = {}
_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {}
