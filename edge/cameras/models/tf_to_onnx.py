"""TensorFlow graphs to ONNX: the operations that the packaged nets are made of.

TensorFlow keeps images channels last (n, h, w, c), ONNX convolves channels first (n, c, h, w). A
tensor between two convolutions stays channels first; a transposition is added only where an
operation needs the other order. All integers are int64. ``EMITTERS`` is filled by ``tf_layers``
and ``tf_shapes``; an operation that neither knows is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from edge.cameras.models.onnx_graph import OnnxGraph
from edge.cameras.models.tf_graph import Array, ModelFileError, TfGraph, TfNode, base, tensor

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
Emitter: TypeAlias = "Callable[[Conversion, TfNode], None]"
EMITTERS: dict[str, Emitter] = {}


def emits(*operations: str) -> Callable[[Emitter], Emitter]:
    """Name the TensorFlow operations that a function converts."""

    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(operations, emitter))
        return emitter

    return register


class Conversion:
    """One graph on its way: which ONNX tensor holds which TensorFlow tensor, in either order."""

    def __init__(self, source: TfGraph, name: str, resize_scales: Sequence[float]) -> None:
        self.onnx = OnnxGraph(name)
        self._nodes, self._constants = source.nodes, dict(source.constants)
        self._last: dict[str, str] = {}
        self._first: dict[str, str] = {}
        self._scales = list(resize_scales)

    def value(self, name: str) -> Array:
        """A constant. Raises ModelFileError where the graph computes it."""
        found = self.constant(name)
        if found is None:
            raise ModelFileError(f"{name} must be a constant")
        return found

    def constant(self, name: str) -> Array | None:
        node = self._nodes.get(base(name))
        if node is not None and node.op == "Identity":
            return self.constant(node.inputs[0])
        return self._constants.get(tensor(name))

    def last(self, name: str) -> str:
        """The ONNX tensor in TensorFlow's order."""
        key = tensor(name)
        if key not in self._last:
            held = self.constant(name)
            if held is not None:
                self._last[key] = self.onnx.constant(held)
            elif key in self._first:
                self._last[key] = self.onnx.node("Transpose", [self._first[key]], perm=TO_LAST)
            else:
                raise ModelFileError(f"{name} is used before it is made")
        return self._last[key]

    def first(self, name: str) -> str:
        """The ONNX tensor with channels first."""
        key = tensor(name)
        if key not in self._first:
            self._first[key] = self.onnx.node("Transpose", [self.last(name)], perm=TO_FIRST)
        return self._first[key]

    def is_first(self, name: str) -> bool:
        return tensor(name) in self._first

    def put(self, name: str, made: str) -> None:
        self._last[tensor(name)] = made

    def put_first(self, name: str, made: str) -> None:
        self._first[tensor(name)] = made

    def put_constant(self, name: str, value: Array) -> None:
        self._constants[name] = value

    def alias(self, name: str, other: str) -> None:
        """``name`` is the same tensor as ``other``, in whichever order it is at hand."""
        if self.is_first(other):
            self.put_first(name, self._first[tensor(other)])
        else:
            self.put(name, self.last(other))

    def next_scale(self) -> float:
        """How much the next resizing changes the size."""
        if not self._scales:
            raise ModelFileError("more resizings than are described")
        return self._scales.pop(0)

    def emit(self, name: str) -> None:
        node = self._nodes[name]
        if node.op == "Const" or name in self._constants:
            return
        if node.op not in EMITTERS:
            raise ModelFileError(f"the operation {node.op} of {name} is not converted")
        EMITTERS[node.op](self, node)


def convert(
    source: TfGraph,
    name: str,
    *,
    inputs: Mapping[str, tuple[str, Sequence[int | str]]],
    outputs: Mapping[str, str],
    resize_scales: Sequence[float] = (),
) -> bytes:
    """An ONNX file of the part of a graph between ``inputs`` and ``outputs``.

    Args:
        inputs: TensorFlow tensor -> name and shape in the ONNX file.
        outputs: TensorFlow tensor -> name in the ONNX file.
        resize_scales: of each resizing, in order: with them the net takes images of any size.

    Raises:
        ModelFileError: a part is missing, or an operation is not known.
    """
    import edge.cameras.models.tf_layers
    import edge.cameras.models.tf_shapes  # noqa: F401 - both fill EMITTERS

    work = Conversion(source, name, resize_scales)
    for at, (called, shape) in inputs.items():
        work.put(at, work.onnx.input(called, shape))
    for at in _in_order(source.nodes, outputs, {base(i) for i in inputs}):
        work.emit(at)
    for at, called in outputs.items():
        work.onnx.output(called, work.last(at))
    return work.onnx.serialized()


def _in_order(
    nodes: Mapping[str, TfNode], outputs: Mapping[str, Any], inputs: set[str]
) -> list[str]:
    """The nodes that the outputs need, each after those that it needs; inputs left out."""
    order: list[str] = []
    seen = set(inputs)
    stack = [(base(o), False) for o in reversed(list(outputs))]
    while stack:
        name, ready = stack.pop()
        if ready:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            if name not in nodes:
                raise ModelFileError(f"the graph has no node {name}")
            stack.append((name, True))
            stack += [(base(i), False) for i in reversed(nodes[name].inputs)]
    return order
