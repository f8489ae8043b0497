"""Frozen TensorFlow 1 graphs (``.pb``): a GraphDef whose constants are inside.

Field numbers: graph.proto, node_def.proto, attr_value.proto and tensor.proto of TensorFlow 1.15.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from edge.cameras.models.protobuf import ProtobufError, fields, packed_varints, signed
from edge.cameras.models.tf_graph import (
    NODES_MAX,
    NUMPY_OF,
    TYPE_NAMES,
    Array,
    ModelFileError,
    TfGraph,
    TfNode,
    as_used,
    elements,
)


def read_frozen(graph: bytes) -> TfGraph:
    """The graph of a ``.pb``.

    Raises:
        ModelFileError: no frozen graph.
    """
    nodes: dict[str, TfNode] = {}
    constants: dict[str, Array] = {}
    try:
        for number, value in fields(graph):
            if number == 1 and isinstance(value, memoryview):
                node = _node(value)
                nodes[node.name] = node
                if isinstance(held := node.attributes.pop("value", None), np.ndarray):
                    constants[node.name] = held
            if len(nodes) > NODES_MAX:
                raise ModelFileError(f"more than {NODES_MAX} nodes are not read")
    except (ProtobufError, UnicodeDecodeError, struct.error) as error:
        raise ModelFileError(f"no frozen TensorFlow graph: {error}") from error
    return TfGraph(nodes, constants)


def _node(raw: memoryview) -> TfNode:
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, Any] = {}
    for number, value in fields(raw):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            name = _text(value)
        elif number == 2:
            op = _text(value)
        elif number == 3:
            inputs.append(_text(value))
        elif number == 5:
            key, held = _entry(value)
            attributes[key] = held
    return TfNode(name, op, tuple(i for i in inputs if not i.startswith("^")), attributes)


def _entry(raw: memoryview) -> tuple[str, Any]:
    key, held = "", None
    for number, value in fields(raw):
        if isinstance(value, memoryview):
            if number == 1:
                key = _text(value)
            else:
                held = _attribute(value)
    return key, held


def _attribute(raw: memoryview) -> Any:
    for number, value in fields(raw):
        if isinstance(value, int):
            return {3: signed(value), 5: bool(value), 6: TYPE_NAMES.get(value, "")}.get(number)
        if number == 2:
            return _text(value)
        if number == 4:
            return struct.unpack("<f", value)[0]
        if number == 1:
            return _list(value)
        if number == 8:
            return _tensor(value)
    return None


def _list(raw: memoryview) -> tuple[Any, ...]:
    found: list[Any] = []
    for number, value in fields(raw):
        if number == 2 and isinstance(value, memoryview):
            found.append(_text(value))
        elif number == 3:
            found += [signed(value)] if isinstance(value, int) else packed_varints(value)
    return tuple(found)


def _tensor(raw: memoryview) -> Array | None:
    """A constant; None for kinds that no net computes with (texts)."""
    kind, shape, content = "", [], b""
    few: list[float] = []
    for number, value in fields(raw):
        if number == 1 and isinstance(value, int):
            kind = TYPE_NAMES.get(value, "")
        elif number == 2 and isinstance(value, memoryview):
            shape = _shape(value)
        elif number == 4 and isinstance(value, memoryview):
            content = bytes(value)
        elif number in (5, 7, 10, 11):
            few += _few(number, value)
    if not kind:
        return None
    if content:
        return as_used(np.frombuffer(content, NUMPY_OF[kind], elements(shape)).reshape(shape))
    return as_used(_repeated(few, shape).astype(NUMPY_OF[kind]))


def _repeated(few: list[float], shape: list[int]) -> Array:
    """The last number stands for all that follow it."""
    n = elements(shape)
    row = (few + [few[-1] if few else 0.0] * n)[:n]
    return np.array(row).reshape(shape)


def _few(number: int, value: int | memoryview) -> list[float]:
    if isinstance(value, int):
        return [signed(value)]
    if number == 5:
        return [float(v) for v in np.frombuffer(value, "<f4")]
    return [float(v) for v in packed_varints(value)]


def _shape(raw: memoryview) -> list[int]:
    sizes = []
    for number, value in fields(raw):
        if number == 2 and isinstance(value, memoryview):
            sizes.append(next((signed(v) for k, v in fields(value) if k == 1 and v), 0))  # type: ignore[arg-type]
    return sizes


def _text(raw: memoryview) -> str:
    return bytes(raw).decode()
