"""Slicing, joining, reshaping and choosing of TensorFlow in ONNX."""

from __future__ import annotations

import numpy as np

from edge.cameras.models.tf_graph import ModelFileError, TfNode
from edge.cameras.models.tf_to_onnx import TO_FIRST, TO_LAST, Conversion, emits

TO_THE_END = 1 << 62  # an index beyond any axis
AS_THEY_ARE = {
    "Shape": "Shape",
    "Size": "Size",
    "Reshape": "Reshape",
    "Range": "Range",
    "Tile": "Tile",
    "GatherNd": "GatherND",
    "Select": "Where",
}
REDUCTIONS = {"Sum": "ReduceSum", "Max": "ReduceMax"}


@emits(*AS_THEY_ARE)
def _as_it_is(work: Conversion, node: TfNode) -> None:
    inputs = [work.last(i) for i in node.inputs]
    work.put(node.name, work.onnx.node(AS_THEY_ARE[node.op], inputs))


@emits("Identity", "StopGradient")
def _identity(work: Conversion, node: TfNode) -> None:
    work.alias(node.name, node.inputs[0])


@emits("Transpose")
def _transpose(work: Conversion, node: TfNode) -> None:
    """Between the two orders of an image it is no operation at all."""
    image, given = node.inputs[0], work.constant(node.inputs[1])
    if given is None:  # computed from the rank: ``tf.transpose`` without an order reverses the axes
        work.put(node.name, work.onnx.node("Transpose", [work.last(image)]))
        return
    order = [int(v) for v in given]
    if order == TO_FIRST and work.is_first(image):
        work.put(node.name, work.first(image))
    elif order == TO_LAST and not work.is_first(image):
        work.put_first(node.name, work.last(image))
    else:
        work.put(node.name, work.onnx.node("Transpose", [work.last(image)], perm=order))


@emits("ConcatV2")
def _concat(work: Conversion, node: TfNode) -> None:
    parts, axis = node.inputs[:-1], int(work.value(node.inputs[-1]))
    if all(work.is_first(i) for i in parts):
        inputs = [work.first(i) for i in parts]
        made = work.onnx.node("Concat", inputs, axis=TO_LAST[axis % 4])
        work.put_first(node.name, made)
    else:
        work.put(node.name, work.onnx.node("Concat", [work.last(i) for i in parts], axis=axis))


@emits("Pad", "PadV2")
def _pad(work: Conversion, node: TfNode) -> None:
    sizes = work.value(node.inputs[1])
    fill = work.value(node.inputs[2]) if node.op == "PadV2" else np.float32(0)
    first = work.is_first(node.inputs[0])
    if first:
        sizes = sizes[TO_FIRST]
    inputs = [
        work.first(node.inputs[0]) if first else work.last(node.inputs[0]),
        work.onnx.constant(sizes.T.reshape(-1)),
        work.onnx.constant(np.float32(fill)),
    ]
    (work.put_first if first else work.put)(node.name, work.onnx.node("Pad", inputs))


@emits("StridedSlice")
def _strided_slice(work: Conversion, node: TfNode) -> None:
    """``x[1:, 2, None]`` and the like: constant bounds, steps of one."""
    begin, end, steps = (work.value(i) for i in node.inputs[1:4])
    mask = {k: int(v) for k, v in node.attributes.items() if k.endswith("_mask")}
    if mask.get("ellipsis_mask") or (steps != 1).any():
        raise ModelFileError(f"{node.name}: a slice with steps or an ellipsis is not converted")
    starts, ends, gone, new = [], [], [], []
    kept = 0
    for i in range(len(begin)):
        bit = 1 << i
        if mask.get("new_axis_mask", 0) & bit:
            new.append(kept)
            kept += 1
            continue
        starts.append(0 if mask.get("begin_mask", 0) & bit else int(begin[i]))
        ends.append(TO_THE_END if mask.get("end_mask", 0) & bit else int(end[i]))
        if mask.get("shrink_axis_mask", 0) & bit:
            gone.append(len(starts) - 1)
            ends[-1] = starts[-1] + 1 if starts[-1] != -1 else TO_THE_END
        else:
            kept += 1
    work.put(node.name, _sliced(work, work.last(node.inputs[0]), (starts, ends), gone, new))


def _sliced(
    work: Conversion,
    made: str,
    bounds: tuple[list[int], list[int]],
    gone: list[int],
    new: list[int],
) -> str:
    constant = work.onnx.constant
    starts, ends = bounds
    if any(starts) or any(e != TO_THE_END for e in ends):
        axes = constant(list(range(len(starts))))
        made = work.onnx.node("Slice", [made, constant(starts), constant(ends), axes])
    if gone:
        made = work.onnx.node("Squeeze", [made, constant(gone)])
    return work.onnx.node("Unsqueeze", [made, constant(new)]) if new else made


@emits("Slice")
def _slice(work: Conversion, node: TfNode) -> None:
    """From ``begin`` a number of elements; -1 is all that follow. One axis."""
    whole, begin = (work.last(i) for i in node.inputs[:2])
    size = work.constant(node.inputs[2])
    if size is not None and (size == -1).all():
        end = work.onnx.constant(np.full(size.shape, TO_THE_END))
    else:
        end = work.onnx.node("Add", [begin, work.last(node.inputs[2])])
    work.put(node.name, work.onnx.node("Slice", [whole, begin, end]))


@emits("Rank")
def _rank(work: Conversion, node: TfNode) -> None:
    shape = work.onnx.node("Shape", [work.last(node.inputs[0])])
    work.put(node.name, work.onnx.node("Size", [shape]))


@emits("Squeeze")
def _squeeze(work: Conversion, node: TfNode) -> None:
    axes = node.attributes.get("squeeze_dims") or ()
    more = [work.onnx.constant(list(axes))] if axes else []
    work.put(node.name, work.onnx.node("Squeeze", [work.last(node.inputs[0]), *more]))


@emits("ExpandDims")
def _expand(work: Conversion, node: TfNode) -> None:
    axis = work.onnx.constant([int(work.value(node.inputs[1]))])
    work.put(node.name, work.onnx.node("Unsqueeze", [work.last(node.inputs[0]), axis]))


@emits("Pack")
def _pack(work: Conversion, node: TfNode) -> None:
    axis = int(node.attributes.get("axis", 0))
    at = work.onnx.constant([axis])
    parts = [work.onnx.node("Unsqueeze", [work.last(i), at]) for i in node.inputs]
    work.put(node.name, work.onnx.node("Concat", parts, axis=axis))


@emits("Unpack")
def _unpack(work: Conversion, node: TfNode) -> None:
    axis, count = int(node.attributes.get("axis", 0)), int(node.attributes["num"])
    parts = _split(work, work.last(node.inputs[0]), axis, count)
    at = work.onnx.constant([axis])
    _put_all(work, node, [work.onnx.node("Squeeze", [part, at]) for part in parts])


@emits("Split")
def _split_equal(work: Conversion, node: TfNode) -> None:
    axis, count = int(work.value(node.inputs[0])), int(node.attributes["num_split"])
    _put_all(work, node, _split(work, work.last(node.inputs[1]), axis, count))


@emits("SplitV")
def _split_sizes(work: Conversion, node: TfNode) -> None:
    sizes, axis = work.value(node.inputs[1]), int(work.value(node.inputs[2]))
    inputs = [work.last(node.inputs[0]), work.onnx.constant(sizes)]
    _put_all(work, node, work.onnx.nodes("Split", inputs, len(sizes), axis=axis))


def _split(work: Conversion, made: str, axis: int, count: int) -> list[str]:
    return work.onnx.nodes("Split", [made], count, axis=axis, num_outputs=count)


def _put_all(work: Conversion, node: TfNode, made: list[str]) -> None:
    for k, part in enumerate(made):
        work.put(f"{node.name}:{k}", part)


@emits("Fill")
def _fill(work: Conversion, node: TfNode) -> None:
    shape, value = (work.last(i) for i in node.inputs)
    work.put(node.name, work.onnx.node("Expand", [value, shape]))


@emits("TopKV2")
def _top(work: Conversion, node: TfNode) -> None:
    count = work.onnx.constant([int(work.value(node.inputs[1]))])
    _put_all(work, node, work.onnx.nodes("TopK", [work.last(node.inputs[0]), count], 2))


@emits("ArgMax")
def _arg_max(work: Conversion, node: TfNode) -> None:
    axis = int(work.value(node.inputs[1]))
    made = work.onnx.node("ArgMax", [work.last(node.inputs[0])], axis=axis, keepdims=0)
    work.put(node.name, made)


@emits(*REDUCTIONS)
def _reduce(work: Conversion, node: TfNode) -> None:
    keep = int(bool(node.attributes.get("keep_dims", False)))
    axes = work.onnx.constant(np.ravel(work.value(node.inputs[1])))
    inputs = [work.last(node.inputs[0]), axes]
    work.put(node.name, work.onnx.node(REDUCTIONS[node.op], inputs, keepdims=keep))


@emits("SparseToDense")
def _dense(work: Conversion, node: TfNode) -> None:
    """Of constants, so it is one."""
    indices, shape, values, default = (work.value(i) for i in node.inputs)
    dense = np.full([int(n) for n in np.ravel(shape)], default, dtype=np.asarray(values).dtype)
    dense[tuple(np.atleast_2d(indices.T))] = values
    work.put_constant(node.name, dense)
