"""An ONNX graph under construction, and the bytes of its file.

Large float constants are stored in half precision and cast when the file is loaded: half the
size, no difference that a detector shows. Field numbers: onnx.proto of ONNX 1.17.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.cameras.models.protobuf import data, integer, real, varint

IR_VERSION, OPSET = 9, 18  # read by every onnxruntime since 1.15
PRODUCER = "walkout"
HALF_FROM = 65  # floats; smaller constants are shapes, scales and limits, which stay exact
TYPE_OF = {"float32": 1, "int64": 7, "bool": 9, "float16": 10}  # TensorProto.DataType
FLOAT = 1
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto.AttributeType


class OnnxGraph:
    """Nodes in the order in which they were added; every name is used once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._names = 0

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """A float input; a dimension that is a text may be of any size."""
        self._inputs.append(_value(name, shape))
        return name

    def output(self, name: str, source: str) -> None:
        self._nodes.append(_node("Identity", [source], [name], {}))
        self._outputs.append(_value(name, None))

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        return self.nodes(op, inputs, 1, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs."""
        names = [self._new() for _ in range(outputs)]
        self._nodes.append(_node(op, inputs, names, attributes))
        return names

    def constant(self, value: Any) -> str:
        """An array as it is used: float32, int64 or bool."""
        array = _plain(np.asarray(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._stored(array)
        return self._known[key]

    def serialized(self) -> bytes:
        graph = b"".join(data(1, node) for node in self._nodes) + data(2, self.name)
        graph += b"".join(data(5, constant) for constant in self._constants)
        graph += b"".join(data(11, v) for v in self._inputs)
        graph += b"".join(data(12, v) for v in self._outputs)
        head = integer(1, IR_VERSION) + data(2, PRODUCER)
        return head + data(7, graph) + data(8, data(1, "") + integer(2, OPSET))

    def _stored(self, array: np.ndarray[Any, Any]) -> str:
        name = self._new()
        half = array.dtype == np.float32 and array.size >= HALF_FROM
        self._constants.append(_tensor(name, array.astype(np.float16) if half else array))
        return self.node("Cast", [name], to=FLOAT) if half else name

    def _new(self) -> str:
        self._names += 1
        return f"t{self._names}"


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    kind = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}[array.dtype.kind]
    return np.array(array, dtype=kind, order="C")


def _node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]
) -> bytes:
    row = b"".join(data(1, name) for name in inputs)
    row += b"".join(data(2, name) for name in outputs) + data(4, op)
    return row + b"".join(data(5, _attribute(k, v)) for k, v in attributes.items())


def _attribute(name: str, value: Any) -> bytes:
    head = data(1, name)
    if isinstance(value, str):
        return head + data(4, value) + integer(20, _STRING)
    if isinstance(value, float):
        return head + real(2, value) + integer(20, _FLOAT)
    if isinstance(value, int):
        return head + integer(3, value) + integer(20, _INT)
    packed = b"".join(varint(int(v)) for v in value)
    return head + data(8, packed) + integer(20, _INTS)


def _tensor(name: str, array: np.ndarray[Any, Any]) -> bytes:
    dims = b"".join(integer(1, n) for n in array.shape)
    kind = integer(2, TYPE_OF[array.dtype.name])
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return dims + kind + data(8, name) + data(9, raw)


def _value(name: str, shape: Sequence[int | str] | None) -> bytes:
    tensor = integer(1, FLOAT)
    if shape is not None:
        tensor += data(2, b"".join(data(1, _dimension(n)) for n in shape))
    return data(1, name) + data(2, data(1, tensor))


def _dimension(n: int | str) -> bytes:
    return data(2, n) if isinstance(n, str) else integer(1, n)
