"""EfficientNet-Lite0 as ONNX, from the weights of a state dict: image -> unit vector (1280).

Source: Tan & Le, EfficientNet (2019), the Lite variant: no squeeze-and-excitation, ReLU6.
"""

from __future__ import annotations

import numpy as np

from edge.cameras.models.onnx_graph import OnnxGraph
from edge.cameras.models.tf_graph import Array, ModelFileError

SIDE_PX = 224
EPSILON = 1e-3  # of its batch normalizations
# repeats, kernel, stride of the first, expansion
STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)


def efficientnet_lite0(weights: dict[str, Array]) -> bytes:
    """Raises ModelFileError where a layer's weights are missing."""
    try:
        return _Builder(weights).whole()
    except KeyError as error:
        raise ModelFileError(f"the state dict has no {error}") from error


class _Builder:
    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights, self.onnx = weights, OnnxGraph("efficientnet-lite0")
        self.limits = [self.onnx.constant(np.float32(v)) for v in (0, 6)]

    def whole(self) -> bytes:
        image = self.onnx.input("input", ("n", 3, SIDE_PX, SIDE_PX))
        made = self.convolved(image, "_conv_stem", "_bn0", stride=2)
        block = 0
        for repeats, _, stride, expansion in STAGES:
            for k in range(repeats):
                made = self.block(made, f"_blocks.{block}.", 1 if k else stride, expansion, k > 0)
                block += 1
        made = self.convolved(made, "_conv_head", "_bn1")
        flat = self.onnx.node("Flatten", [self.onnx.node("GlobalAveragePool", [made])])
        self.onnx.output("embedding", self.onnx.node("LpNormalization", [flat], axis=1, p=2))
        return self.onnx.serialized()

    def block(self, image: str, at: str, stride: int, expansion: int, residual: bool) -> str:
        made = image
        if expansion != 1:
            made = self.convolved(made, at + "_expand_conv", at + "_bn0")
        made = self.convolved(made, at + "_depthwise_conv", at + "_bn1", stride=stride)
        made = self.convolved(made, at + "_project_conv", at + "_bn2", active=False)
        return self.onnx.node("Add", [made, image]) if residual else made

    def convolved(
        self, image: str, layer: str, norm: str, *, stride: int = 1, active: bool = True
    ) -> str:
        """Convolution with its batch normalization folded in, then ReLU6."""
        w = self.weights
        gain = w[norm + ".weight"] / np.sqrt(w[norm + ".running_var"] + EPSILON)
        kernel = w[layer + ".weight"] * gain[:, None, None, None]
        offset = w[norm + ".bias"] - w[norm + ".running_mean"] * gain
        made = self.onnx.node(
            "Conv",
            [image, self.onnx.constant(kernel), self.onnx.constant(offset)],
            auto_pad="SAME_UPPER",
            strides=(stride, stride),
            kernel_shape=kernel.shape[2:],
            group=kernel.shape[0] if "depthwise" in layer else 1,
        )
        return self.onnx.node("Clip", [made, *self.limits]) if active else made
