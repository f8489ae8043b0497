"""One function per output layout: a net's raw outputs to boxes in the pixels of its input.

| layout | outputs, in order |
|---|---|
| `centernet` | (1, h/4, w/4, classes) peaks; (1, h/4, w/4, 4) left, up, right, down in pixels |
| `movenet-multi` | (1, 6, 56): 17 x (y, x, score), then y1, x1, y2, x2, score; 0 to 1 |
| `nanodet` | for strides 8, 16, 32: (1, cells, classes) scores; then (1, cells, 4 x bins) |
| `ssd` | (n, 4) or (1, n, 4) y1, x1, y2, x2, 0 to 1; (1, n, classes) scores |
| `yolox` | (1, cells of strides 8, 16, 32, 5 + classes): centre, log size, objectness, classes |
| `detr` | (1, queries, classes) logits; (1, queries, 4) centre and size, 0 to 1 |
| `dets` | (1, n, 6) x1, y1, x2, y2, score, class; or (1, n, 5) and (1, n) classes; pixels |

Sources: the nets' papers and exporters; `docs/CAMERAS.md` says which of them ran here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np

from edge.vision.detectors.found import KEY_POINTS, Found, nothing, suppressed, usable
from edge.vision.detectors.net_input import Placement, in_image
from edge.vision.detectors.net_spec import NetSpec
from messages.arrays import Floats, Floats32

STRIDES = (8, 16, 32)
CENTERNET_STRIDE = 4
MOVENET_ROW = 56
Outputs: TypeAlias = Sequence[Floats32]
Decoder: TypeAlias = Callable[[Outputs, NetSpec, tuple[int, int]], Found]


class DecodeError(ValueError):
    """Outputs that are not of the layout that the model's ``decoder`` names."""


def people_in(
    outputs: Outputs, spec: NetSpec, placement: Placement, width_px: int, height_px: int
) -> Found:
    """What a net found in an image of this size, on the common scale of scores.

    Raises:
        DecodeError: the outputs have other shapes than the layout says.
    """
    size = spec.input_px(width_px, height_px)
    try:
        found = DECODER_OF[spec.decoder](outputs, spec, size)
    except (IndexError, ValueError, TypeError) as error:
        shapes = ", ".join(str(np.shape(o)) for o in outputs)
        raise DecodeError(
            f"model {spec.id}: outputs of the shapes {shapes} are no {spec.decoder!r} layout; "
            f"set the model's decoder, or its outputs in the decoder's order"
        ) from error
    kept = usable(in_image(found, placement, width_px, height_px))
    if spec.nms_iou < 1.0:
        kept = suppressed(kept, spec.nms_iou)
    scores = np.clip(kept.scores, 0.0, 1.0) ** spec.exponent
    return Found(kept.boxes_px, scores, kept.key_points)


def centernet(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    """Peaks of the classes' maps: a cell that is no smaller than its eight neighbours."""
    heat = np.ascontiguousarray(outputs[0][0][:, :, list(spec.classes)].max(axis=2))
    highest = cv2.dilate(heat, np.ones((3, 3), dtype=np.uint8))
    y, x = np.nonzero((heat >= spec.least_score) & (heat == highest))
    reach = outputs[1][0][y, x].astype(np.float64)
    centre = np.stack((x, y), axis=1) * float(CENTERNET_STRIDE)
    boxes = np.concatenate((centre - reach[:, :2], centre + reach[:, 2:4]), axis=1)
    return Found(boxes, heat[y, x].astype(np.float64))


def movenet_multi(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    rows = outputs[0][0].astype(np.float64)
    if rows.shape[1] != MOVENET_ROW:
        raise DecodeError(f"rows of {rows.shape[1]} numbers; {MOVENET_ROW} expected")
    rows = rows[rows[:, 55] >= spec.least_score]
    if not len(rows):
        return nothing(with_key_points=True)
    width, height = size_px
    points = rows[:, :51].reshape(-1, KEY_POINTS, 3)[..., [1, 0, 2]] * (width, height, 1.0)
    boxes = rows[:, [52, 51, 54, 53]] * (width, height, width, height)
    return Found(boxes, rows[:, 55], points)


def nanodet(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    """Each distance to a side is the mean of a distribution over its bins (GFL)."""
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    for stride, classes, bins in zip(STRIDES, outputs[:3], outputs[3:6], strict=True):
        score = classes[0][:, list(spec.classes)].max(axis=1).astype(np.float64)
        k = np.nonzero(score >= spec.least_score)[0]
        centre = _centres(size_px, stride, len(score))[k]
        reach = _means(bins[0][k].astype(np.float64)) * stride
        boxes.append(np.concatenate((centre - reach[:, :2], centre + reach[:, 2:]), axis=1))
        scores.append(score[k])
    return Found(np.concatenate(boxes), np.concatenate(scores))


def _centres(size_px: tuple[int, int], stride: int, cells: int) -> Floats:
    """(cells, 2) x, y of the cells' centres, row by row. Raises where the count is another."""
    across, down = size_px[0] // stride, size_px[1] // stride
    if cells != across * down:
        raise DecodeError(f"{cells} cells; {across} x {down} expected at stride {stride}")
    y, x = np.mgrid[:down, :across]
    return (np.stack((x.ravel(), y.ravel()), axis=1) + 0.5) * stride


def _means(bins: Floats) -> Floats:
    """(k, 4 x bins) logits to the (k, 4) mean bin of each side."""
    logits = bins.reshape(len(bins), 4, bins.shape[1] // 4)
    weight = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(weight @ np.arange(logits.shape[2]) / weight.sum(axis=2))


def ssd(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    width, height = size_px
    score = outputs[1].reshape(-1, outputs[1].shape[-1])[:, list(spec.classes)].max(axis=1)
    corners = outputs[0].reshape(-1, 4)
    if len(corners) != len(score):
        raise DecodeError(f"{len(corners)} boxes, {len(score)} scores")
    k = np.nonzero(score >= spec.least_score)[0]
    boxes = corners[k][:, [1, 0, 3, 2]].astype(np.float64) * (width, height, width, height)
    return Found(boxes, score[k].astype(np.float64))


def yolox(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    rows = outputs[0][0].astype(np.float64)
    score = rows[:, 4] * rows[:, [5 + c for c in spec.classes]].max(axis=1)
    origin, stride = _yolox_cells(size_px, len(rows))
    k = np.nonzero(score >= spec.least_score)[0]
    centre = (rows[k, :2] + origin[k]) * stride[k, None]
    half = np.exp(rows[k, 2:4]) * stride[k, None] / 2
    return Found(np.concatenate((centre - half, centre + half), axis=1), score[k])


def _yolox_cells(size_px: tuple[int, int], cells: int) -> tuple[Floats, Floats]:
    """(cells, 2) column and row, and (cells,) stride, of all levels one after the other."""
    grids, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: size_px[1] // stride, : size_px[0] // stride]
        grids.append(np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float64))
        strides.append(np.full(x.size, float(stride)))
    origin = np.concatenate(grids)
    if len(origin) != cells:
        raise DecodeError(f"{cells} cells; {len(origin)} expected")
    return origin, np.concatenate(strides)


def detr(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    """Softmax over the classes and "nothing" (DETR), or a sigmoid each (RT-DETR, D-FINE)."""
    logits = outputs[0][0].astype(np.float64)
    if spec.activation == "sigmoid":
        probability = 1.0 / (1.0 + np.exp(-logits))
    else:
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability = weight / weight.sum(axis=1, keepdims=True)
    score = probability[:, list(spec.classes)].max(axis=1)
    k = np.nonzero(score >= spec.least_score)[0]
    sides = outputs[1][0][k].astype(np.float64) * np.tile(size_px, 2)
    half = sides[:, 2:] / 2
    boxes = np.concatenate((sides[:, :2] - half, sides[:, :2] + half), axis=1)
    return Found(boxes, score[k])


def dets(outputs: Outputs, spec: NetSpec, size_px: tuple[int, int]) -> Found:
    """Boxes of a net that suppresses doubles itself (RTMDet and others)."""
    rows = outputs[0].reshape(-1, outputs[0].shape[-1]).astype(np.float64)
    classes = rows[:, 5] if rows.shape[1] > 5 else outputs[1].reshape(-1)
    ours = np.isin(classes.astype(np.int64), spec.classes) & (rows[:, 4] >= spec.least_score)
    return Found(rows[ours, :4], rows[ours, 4])


DECODER_OF: dict[str, Decoder] = {
    "centernet": centernet,
    "movenet-multi": movenet_multi,
    "nanodet": nanodet,
    "ssd": ssd,
    "yolox": yolox,
    "detr": detr,
    "dets": dets,
}
