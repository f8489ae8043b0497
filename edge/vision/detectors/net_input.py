"""An image as a net wants it, and the way back from the net's pixels to the image's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.vision.detectors.found import Found
from edge.vision.detectors.net_spec import NetSpec
from edge.vision.resize import resized
from messages.arrays import Floats, Floats32


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an image lies in the input: ``input = image * scale + offset``, per axis, pixels."""

    scale_x: float
    scale_y: float
    offset_x_px: float
    offset_y_px: float


def net_input(image: NDArray[np.uint8], spec: NetSpec) -> tuple[Floats32, Placement]:
    """The tensor for one image (h, w, 3), blue first, and where the image lies in it."""
    width, height = spec.input_px(image.shape[1], image.shape[0])
    pixels, placement = _placed(image, spec, width, height)
    if spec.colour == "RGB":
        pixels = pixels[..., ::-1]
    if spec.layout == "NHWC":
        return _scaled(pixels.astype(np.float32), spec)[None], placement
    tensor = np.empty((1, 3, height, width), dtype=np.float32)
    tensor[0] = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(
        _scaled(tensor.transpose(0, 2, 3, 1), spec).transpose(0, 3, 1, 2)
    ), placement


def _scaled(tensor: Floats32, spec: NetSpec) -> Floats32:
    """(..., 3) in place: less the mean, by the deviation, where they change anything."""
    if any(spec.mean):
        tensor -= np.array(spec.mean, dtype=np.float32)
    if any(v != 1.0 for v in spec.std):
        tensor *= np.float32(1.0) / np.array(spec.std, dtype=np.float32)
    return tensor


def in_image(found: Found, placement: Placement, width_px: int, height_px: int) -> Found:
    """From the input's pixels to the image's; boxes are cut at its borders."""
    scale = np.array([placement.scale_x, placement.scale_y])
    offset = np.array([placement.offset_x_px, placement.offset_y_px])
    boxes = (found.boxes_px - np.tile(offset, 2)) / np.tile(scale, 2)
    boxes = np.clip(boxes, 0.0, [width_px, height_px, width_px, height_px])
    return Found(boxes, found.scores, _points_in_image(found.key_points, scale, offset))


def _points_in_image(points: Floats | None, scale: Floats, offset: Floats) -> Floats | None:
    if points is None:
        return None
    moved = points.copy()
    moved[..., :2] = (points[..., :2] - offset) / scale
    return moved


def _placed(
    image: NDArray[np.uint8], spec: NetSpec, width: int, height: int
) -> tuple[NDArray[np.uint8], Placement]:
    h, w = image.shape[:2]
    if spec.pad == "stretch":
        placement = Placement(
            scale_x=width / w, scale_y=height / h, offset_x_px=0.0, offset_y_px=0.0
        )
        return resized(image, width, height), placement
    scale = min(width / w, height / h)
    new_w, new_h = round(w * scale), round(h * scale)
    centred = spec.pad == "centre"
    x, y = ((width - new_w) // 2, (height - new_h) // 2) if centred else (0, 0)
    placement = Placement(scale_x=scale, scale_y=scale, offset_x_px=x, offset_y_px=y)
    small = resized(image, new_w, new_h)
    if (new_w, new_h) == (width, height):
        return small, placement
    canvas = np.full((height, width, 3), spec.pad_value, dtype=np.uint8)
    canvas[y : y + new_h, x : x + new_w] = small
    return canvas, placement
