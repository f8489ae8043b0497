"""What must be known of a net to use it: its input, its output layout, what its scores mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

MULTIPLE_PX = 32  # nets that take any size halve it five times
COMMON_SURE = 0.3  # the score at which the tracker lets a box start a person
# Boxes below it are not passed on. On a real film, boxes from 0.1 on followed people 6 % more of
# the time and gave 13 times as many false tracks (docs/CAMERAS.md).
COMMON_LEAST = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """One net.

    ``width_px``, ``height_px``: its input; with ``any_size`` the height follows each camera's
    image, both as multiples of 32. A pixel goes in as ``(value - mean) / std``. ``pad``: the image
    keeps its shape in the corner or the centre of the input, or is stretched over it.
    ``classes``: which of the net's classes count, 0 is the person of COCO. ``sure_score``: from
    which a box may start a person; ``nms_iou``: two boxes that overlap more are one.
    ``outputs``: names in the decoder's order, empty for the file's own order.
    """

    id: str
    decoder: str
    width_px: int
    height_px: int
    any_size: bool = False
    layout: str = "NHWC"
    colour: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad: str = "corner"
    pad_value: float = 0.0
    classes: tuple[int, ...] = (0,)
    sure_score: float = COMMON_SURE
    nms_iou: float = 0.5
    outputs: tuple[str, ...] = ()
    activation: str = "softmax"

    @property
    def least_score(self) -> float:
        """The net's own score below which a box is not passed on."""
        return float(COMMON_LEAST ** (1.0 / self.exponent))

    @property
    def exponent(self) -> float:
        """``score ** exponent`` is ``COMMON_SURE`` at ``sure_score``, and 1 at 1."""
        return math.log(COMMON_SURE) / math.log(self.sure_score)

    def input_px(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height of the input for an image of this size."""
        if not self.any_size:
            return self.width_px, self.height_px
        tall = self.width_px * height_px / width_px
        return self.width_px, max(MULTIPLE_PX, round(tall / MULTIPLE_PX) * MULTIPLE_PX)
