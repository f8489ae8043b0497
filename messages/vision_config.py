"""``[vision]`` and ``[[model]]`` of store.toml: how live video becomes detections."""

from __future__ import annotations

from dataclasses import dataclass

DECODERS = ("centernet", "movenet-multi", "nanodet", "ssd", "yolox", "detr", "dets")
LAYOUTS, COLOURS, PADS = ("NHWC", "NCHW"), ("RGB", "BGR"), ("corner", "centre", "stretch")
ACTIVATIONS = ("softmax", "sigmoid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """Bounds of the detector workers on this box."""

    cpu_cores: float = 0.5  # what all detectors together may use
    workers: int = 1  # processes; each takes its share of the cameras and of the budget
    process: str = "daemon"  # `walkout run` starts the detectors; or "apart": `walkout cameras`
    models: str = ""  # folder of `walkout models install`; empty: the user's data folder
    clip_s: float = 20.0  # of each camera's images kept in memory for a clip; 0: none
    clips_days: float = 30.0  # how long a kept clip stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """The message broker by which camera boxes reach the daemon; without a host there is none.

    ``ca_file``: who signed the broker's certificate, empty for the system's authorities.
    ``certificate_file``, ``key_file``: this box's own, where the broker asks for one.
    """

    host: str = ""
    port: int = 8883
    tls: str = "on"  # or "off": only for a broker on this very machine
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    user: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A net of the user's: any ONNX file whose output layout has a decoder.

    ``mean``, ``std``: a pixel (0 to 255) goes in as (pixel - mean) / std. ``sure_score``:
    from which a box may start a person.
    """

    id: str
    path: str
    sha256: str
    decoder: str
    width_px: int
    height_px: int
    layout: str = "NCHW"
    colour: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad: str = "corner"
    pad_value: float = 114.0
    classes: tuple[int, ...] = (0,)
    sure_score: float = 0.3
    nms_iou: float = 0.5
    outputs: tuple[str, ...] = ()
    activation: str = "softmax"
