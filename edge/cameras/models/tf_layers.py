"""Convolutions, pooling, resizing and arithmetic of TensorFlow in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.cameras.models.onnx_graph import FLOAT, TYPE_OF
from edge.cameras.models.tf_graph import Array, ModelFileError, TfNode
from edge.cameras.models.tf_to_onnx import TO_FIRST, Conversion, emits

EPSILON = 1e-3  # of a batch normalization that states none (TensorFlow's default is 1e-4: unused)
LEAK = 0.2  # TensorFlow's default of LeakyRelu

PAIRS = {
    "Add": "Add",
    "AddV2": "Add",
    "AddN": "Sum",
    "BiasAdd": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "RealDiv": "Div",
    "FloorDiv": "Div",  # of integers that are not negative: rounding down is cutting off
    "Maximum": "Max",
    "Minimum": "Min",
    "Less": "Less",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Equal": "Equal",
    "LogicalAnd": "And",
}
SINGLES = ("Relu", "Sigmoid", "Abs", "Exp", "Reciprocal", "Sqrt")
CAST_TO = {"float": FLOAT, "int": TYPE_OF["int64"], "long": TYPE_OF["int64"], "bool": 9}


@emits("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
def _convolution(work: Conversion, node: TfNode) -> None:
    weights = work.value(node.inputs[1])
    more: dict[str, Any] = {"kernel_shape": weights.shape[:2], **_padding(node)}
    if "Depthwise" in node.op:
        more["group"] = weights.shape[2]
        weights = weights.transpose(2, 3, 0, 1).reshape(-1, 1, *weights.shape[:2])
    else:
        weights = weights.transpose(3, 2, 0, 1)
    last = node.attributes.get("data_format", "NHWC") == "NHWC"
    image = work.first(node.inputs[0]) if last else work.last(node.inputs[0])
    fused = list(node.attributes.get("fused_ops") or ())
    inputs = [image, work.onnx.constant(weights)]
    if fused and fused[0] == "BiasAdd":
        inputs.append(work.onnx.constant(work.value(node.inputs[2]).reshape(-1)))
        fused.pop(0)
    made = work.onnx.node("Conv", inputs, **more)
    for activation in fused:
        made = _activated(work, made, activation)
    (work.put_first if last else work.put)(node.name, made)


def _padding(node: TfNode) -> dict[str, Any]:
    """Strides, dilations and padding of the two image axes."""
    first = node.attributes.get("data_format", "NHWC") == "NCHW"
    image = slice(2, 4) if first else slice(1, 3)
    how = node.attributes["padding"]
    found: dict[str, Any] = {"strides": node.attributes["strides"][image]}
    if dilations := node.attributes.get("dilations"):
        found["dilations"] = dilations[image]
    if how == "EXPLICIT":
        top, bottom, left, right = node.attributes["explicit_paddings"][4 if first else 2 :][:4]
        return found | {"pads": (top, left, bottom, right)}
    return found | {"auto_pad": "SAME_UPPER" if how == "SAME" else "VALID"}


def _activated(work: Conversion, made: str, activation: str) -> str:
    if activation in ("Relu", "Sigmoid"):
        return work.onnx.node(activation, [made])
    if activation == "Relu6":
        return _relu6(work, made)
    raise ModelFileError(f"the activation {activation} is not converted")


def _relu6(work: Conversion, made: str) -> str:
    limits = [work.onnx.constant(np.float32(v)) for v in (0, 6)]
    return work.onnx.node("Clip", [made, *limits])


@emits("MaxPool")
def _pool(work: Conversion, node: TfNode) -> None:
    more = _padding(node) | {"kernel_shape": node.attributes["ksize"][1:3]}
    work.put_first(node.name, work.onnx.node("MaxPool", [work.first(node.inputs[0])], **more))


@emits("ResizeBilinear")
def _resize(work: Conversion, node: TfNode) -> None:
    half = node.attributes.get("half_pixel_centers", False)
    how = "half_pixel" if half else "asymmetric"
    if node.attributes.get("align_corners", False):
        how = "align_corners"
    scale = work.next_scale()
    scales = work.onnx.constant(np.array([1, 1, scale, scale], dtype=np.float32))
    made = work.onnx.node(
        "Resize",
        [work.first(node.inputs[0]), "", scales],
        mode="linear",
        coordinate_transformation_mode=how,
    )
    work.put_first(node.name, made)


@emits("FusedBatchNorm", "FusedBatchNormV3")
def _normalization(work: Conversion, node: TfNode) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with constants: a product, a sum."""
    scale, offset, mean, variance = (work.value(i) for i in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", EPSILON))
    shape = (1, -1, 1, 1)
    factors = work.onnx.constant(factor.reshape(shape))
    offsets = work.onnx.constant((offset - mean * factor).reshape(shape))
    product = work.onnx.node("Mul", [work.first(node.inputs[0]), factors])
    work.put_first(node.name, work.onnx.node("Add", [product, offsets]))


@emits("Mean")
def _mean(work: Conversion, node: TfNode) -> None:
    """Over the image."""
    axes = sorted(int(v) for v in np.ravel(work.value(node.inputs[1])))
    if axes != [1, 2]:
        raise ModelFileError(f"{node.name}: a mean over the axes {axes} is not converted")
    keep = bool(node.attributes.get("keep_dims", False))
    inputs = [work.first(node.inputs[0]), work.onnx.constant([2, 3])]
    made = work.onnx.node("ReduceMean", inputs, keepdims=int(keep))
    (work.put_first if keep else work.put)(node.name, made)


@emits(*PAIRS)
def _pair(work: Conversion, node: TfNode) -> None:
    _elementwise(work, node, PAIRS[node.op])


@emits(*SINGLES)
def _single(work: Conversion, node: TfNode) -> None:
    _elementwise(work, node, node.op)


@emits("Relu6")
def _clip(work: Conversion, node: TfNode) -> None:
    if work.is_first(node.inputs[0]):
        work.put_first(node.name, _relu6(work, work.first(node.inputs[0])))
    else:
        work.put(node.name, _relu6(work, work.last(node.inputs[0])))


@emits("LeakyRelu")
def _leaky(work: Conversion, node: TfNode) -> None:
    _elementwise(work, node, "LeakyRelu", alpha=float(node.attributes.get("alpha", LEAK)))


@emits("Cast")
def _cast(work: Conversion, node: TfNode) -> None:
    _elementwise(work, node, "Cast", to=CAST_TO[node.attributes["DstT"]])


@emits("SquaredDifference")
def _squared_difference(work: Conversion, node: TfNode) -> None:
    difference = work.onnx.node("Sub", [work.last(i) for i in node.inputs])
    work.put(node.name, work.onnx.node("Mul", [difference, difference]))


def _elementwise(work: Conversion, node: TfNode, op: str, **attributes: Any) -> None:
    """Stays channels first where one operand is so and the others are that or constants."""
    held = [work.constant(i) for i in node.inputs]
    firsts = [work.is_first(i) for i in node.inputs]
    fit = all(f or (h is not None and h.ndim <= 4) for f, h in zip(firsts, held, strict=True))
    if not (any(firsts) and fit):
        inputs = [work.last(i) for i in node.inputs]
        work.put(node.name, work.onnx.node(op, inputs, **attributes))
        return
    inputs = [
        work.first(i) if h is None else work.onnx.constant(_channels_first(h))
        for i, h in zip(node.inputs, held, strict=True)
    ]
    work.put_first(node.name, work.onnx.node(op, inputs, **attributes))


def _channels_first(value: Array) -> Array:
    """A constant that is spread over a channels-last image, for one with channels first."""
    if value.ndim == 0:
        return value
    return value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_FIRST)
