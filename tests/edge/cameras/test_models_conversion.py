"""Graphs of TensorFlow as ONNX: small ones that can be worked out by hand."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.models import protobuf
from edge.cameras.models.onnx_graph import OnnxGraph
from edge.cameras.models.tf_frozen_file import read_frozen
from edge.cameras.models.tf_graph import ModelFileError
from edge.cameras.models.tf_to_onnx import convert
from edge.cameras.models.tfjs_file import read_tfjs
from edge.cameras.models.torch_file import read_state_dict


def ran(model: bytes, **inputs: Any) -> list[Any]:
    return ort.InferenceSession(model).run(None, inputs)


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


class Tfjs:
    """A graph model put together node by node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.manifest: list[dict[str, Any]] = []
        self.weights = b""

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> Tfjs:
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return self

    def constant(self, name: str, value: Any, **more: Any) -> Tfjs:
        array = np.asarray(value)
        array = array.astype("<f4" if array.dtype.kind == "f" else "<i4")
        dtype = "float32" if array.dtype.kind == "f" else "int32"
        self.manifest.append({"name": name, "shape": list(array.shape), "dtype": dtype, **more})
        self.weights += array.tobytes()
        return self.node(name, "Const")

    def onnx(self, outputs: dict[str, str], shape: tuple[Any, ...], **more: Any) -> bytes:
        document = {
            "modelTopology": {"node": self.nodes},
            "weightsManifest": [{"weights": self.manifest}],
        }
        source = read_tfjs(json.dumps(document).encode(), self.weights)
        return convert(source, "t", inputs={"x": ("input", shape)}, outputs=outputs, **more)


def test_a_convolution_keeps_its_values_from_channels_last_to_channels_first() -> None:
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(1, 1, 3, 4)), rng.normal(size=4)
    image = rng.normal(size=(1, 5, 6, 3)).astype(np.float32)
    graph = Tfjs().node("x", "Placeholder").constant("k", kernel).constant("b", bias)
    graph.node(
        "y",
        "_FusedConv2D",
        "x",
        "k",
        "b",
        strides={"list": {"i": ["1", "1", "1", "1"]}},
        padding=text("SAME"),
        fused_ops={"list": {"s": [text("BiasAdd")["s"], text("Relu6")["s"]]}},
    )
    (found,) = ran(graph.onnx({"y": "y"}, (1, "h", "w", 3)), input=image)
    wanted = np.clip(image @ kernel[0, 0] + bias, 0, 6)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_resizing_follows_the_image_where_the_scale_is_told() -> None:
    graph = Tfjs().node("x", "Placeholder").constant("size", [4, 4])
    graph.node("y", "ResizeBilinear", "x", "size", half_pixel_centers={"b": True})
    model = graph.onnx({"y": "y"}, (1, "h", "w", 3), resize_scales=(2.0,))
    for side in (2, 8):
        (found,) = ran(model, input=np.ones((1, side, side, 3), np.float32))
        assert found.shape == (1, 2 * side, 2 * side, 3)
        assert (found == 1).all()


def test_slices_with_new_and_lost_axes_are_numpys() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    graph = Tfjs().node("x", "Placeholder")
    graph.constant("from", [1, 0, 0, 1]).constant("to", [2, 0, 0, 3]).constant("by", [1, 1, 1, 1])
    masks = {"shrink_axis_mask": {"i": "1"}, "new_axis_mask": {"i": "2"}}
    masks |= {"begin_mask": {"i": "4"}, "end_mask": {"i": "4"}}
    graph.node("y", "StridedSlice", "x", "from", "to", "by", **masks)
    (found,) = ran(graph.onnx({"y": "y"}, (2, 3, 4)), input=x)
    np.testing.assert_array_equal(found, x[1, None, :, 1:3])


def test_several_outputs_of_one_node_are_told_apart() -> None:
    graph = Tfjs().node("x", "Placeholder").constant("n", 2)
    graph.node("top", "TopKV2", "x", "n").constant("one", [1.0])
    graph.node("where", "Cast", "top:1", DstT={"type": "DT_FLOAT"})
    graph.node("y", "Sub", "where", "one")
    values, places = ran(
        graph.onnx({"top": "values", "y": "places"}, (4,)),
        input=np.array([3, 9, 1, 7], np.float32),
    )
    assert values.tolist() == [9, 7]
    assert places.tolist() == [0, 2]


def test_an_operation_that_is_not_known_is_named() -> None:
    graph = Tfjs().node("x", "Placeholder").node("y", "FFT3D", "x")
    with pytest.raises(ModelFileError, match="operation FFT3D of y"):
        graph.onnx({"y": "y"}, (1,))


def test_constants_that_end_too_soon_are_told() -> None:
    graph = Tfjs().node("x", "Placeholder").constant("k", np.zeros((2, 2)))
    graph.weights = graph.weights[:-1]
    with pytest.raises(ModelFileError, match="ends within k"):
        graph.node("y", "Add", "x", "k").onnx({"y": "y"}, (2, 2))


def test_the_same_graph_gives_the_same_bytes() -> None:
    def model() -> bytes:
        graph = OnnxGraph("g")
        large = graph.constant(np.linspace(0, 1, 100))
        graph.output("y", graph.node("Add", [graph.input("x", ("n", 100)), large]))
        return graph.serialized()

    assert model() == model()
    (found,) = ran(model(), x=np.zeros((1, 100), np.float32))
    np.testing.assert_allclose(found[0], np.linspace(0, 1, 100), atol=5e-4)  # half precision


def test_a_frozen_graph_is_read_with_repeated_and_packed_constants() -> None:
    def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
        row = protobuf.data(1, name) + protobuf.data(2, op)
        row += b"".join(protobuf.data(3, i) for i in inputs)
        for key, value in attributes.items():
            row += protobuf.data(5, protobuf.data(1, key) + protobuf.data(2, value))
        return protobuf.data(1, row)

    shape = b"".join(protobuf.data(2, protobuf.integer(1, n)) for n in (2, 3))
    seven = protobuf.integer(1, 1) + protobuf.data(2, shape) + protobuf.real(5, 7.0)
    graph = node("k", "Const", value=protobuf.data(8, seven)) + node("x", "Placeholder")
    graph += node("y", "Mul", "x", "k", "^ignored")
    source = read_frozen(graph)
    assert source.nodes["y"].inputs == ("x", "k")
    model = convert(source, "f", inputs={"x": ("x", (2, 3))}, outputs={"y": "y"})
    (found,) = ran(model, x=np.ones((2, 3), np.float32))
    assert found.tolist() == [[7.0] * 3] * 2


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_a_reader_fail_in_another_way(data: bytes) -> None:
    for reader in (read_frozen, read_state_dict, lambda b: read_tfjs(b, b)):
        with contextlib.suppress(ModelFileError):
            reader(data)


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/should-never-exist",)


def test_a_pickle_that_would_run_something_is_refused() -> None:
    with pytest.raises(ModelFileError, match="no part of a state dict"):
        read_state_dict(pickle.dumps(_Hostile()))
    assert not os.path.exists("/tmp/should-never-exist")
