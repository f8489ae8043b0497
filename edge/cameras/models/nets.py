"""Nets ready to run: onnxruntime sessions of one thread each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edge.cameras.models.catalogue import MODEL_OF
from edge.cameras.models.install import model_path, models_folder, state_of
from edge.cameras.models.packages import ModelsError
from edge.vision.detectors.decoders import people_in
from edge.vision.detectors.found import Found
from edge.vision.detectors.net_input import net_input
from edge.vision.detectors.net_spec import NetSpec
from messages.arrays import Floats32
from messages.vision_config import Model

PEOPLE_MODELS = ("movenet-multi", "nanodet", "ssdlite-person")  # the first that is installed
ERRORS_ONLY = 3  # onnxruntime's log level
ORT_ERRORS = (
    ort_state.Fail,
    ort_state.EPFail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetFile:
    """A net that is on this disk and whose bytes are the right ones."""

    spec: NetSpec
    path: Path
    sha256: str


class Net:
    """A loaded net. Not shared between threads."""

    def __init__(self, file: NetFile) -> None:
        """Raises ModelsError where the file cannot be used."""
        self.spec = file.spec
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            data = _read(file)
            self._session = ort.InferenceSession(data, options, ["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise ModelsError(
                f"{file.path}: onnxruntime cannot load it: {_short(error)}"
            ) from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = list(file.spec.outputs) or [o.name for o in self._session.get_outputs()]

    def run(self, tensor: Floats32) -> list[Floats32]:
        return list(self._session.run(self._outputs, {self._input: tensor}))

    def people(self, image: NDArray[np.uint8]) -> Found:
        """What it finds in an image (h, w, 3), blue first.

        Raises:
            ModelsError: the net does not take the input that its spec describes.
            DecodeError: its outputs are of another layout.
        """
        tensor, placement = net_input(image, self.spec)
        try:
            outputs = self.run(tensor)
        except ORT_ERRORS as error:
            raise ModelsError(f"model {self.spec.id}: {_short(error)}") from error
        return people_in(outputs, self.spec, placement, image.shape[1], image.shape[0])


def net_file(
    name: str, models: tuple[Model, ...], folder: str = "", *, width_px: int = 0
) -> NetFile:
    """The net that a camera names: one of ``[[model]]``, or one that comes in a package.

    Args:
        name: empty for the first installed of ``PEOPLE_MODELS``.
        width_px: of its input, where the net takes any; 0 for the net's usual one.

    Raises:
        ModelsError: it is not there, or has other bytes; says what to run.
    """
    own = next((m for m in models if m.id == name), None)
    if own is not None:
        return _own(own)
    at = models_folder(folder or None)
    if not name:
        name = _first_installed(at)
    if name not in MODEL_OF or MODEL_OF[name].spec is None:
        known = ", ".join(m for m in MODEL_OF if MODEL_OF[m].spec)
        raise ModelsError(f"no detector {name!r}; there are {known}, and those of [[model]]")
    model = MODEL_OF[name]
    state = state_of(model, at)
    if state != "installed":
        raise ModelsError(
            f"live video needs a model: {name} is {state} in {at}; "
            f"run: walkout models install {name}"
        )
    assert model.spec is not None
    spec = model.spec
    if width_px and spec.any_size:
        spec = replace(spec, width_px=width_px)
    return NetFile(spec=spec, path=model_path(name, at), sha256=model.sha256)


def _first_installed(folder: Path) -> str:
    for name in PEOPLE_MODELS:
        if state_of(MODEL_OF[name], folder) == "installed":
            return name
    raise ModelsError(
        f"live video needs a model that finds people, and {folder} has none; "
        f"run: walkout models install"
    )


def _own(model: Model) -> NetFile:
    path = Path(model.path)
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelsError(f"model {model.id}: {path}: cannot be read: {error.strerror}") from error
    if found != model.sha256.lower():
        raise ModelsError(
            f"model {model.id}: {path} has the SHA-256 {found}, store.toml says {model.sha256}; "
            f"put the right file there, or the right sum into store.toml"
        )
    return NetFile(spec=spec_of(model), path=path, sha256=found)


def spec_of(model: Model) -> NetSpec:
    """How to use a ``[[model]]``."""
    return NetSpec(
        id=model.id,
        decoder=model.decoder,
        width_px=model.width_px,
        height_px=model.height_px,
        layout=model.layout,
        colour=model.colour,
        mean=model.mean,
        std=model.std,
        pad=model.pad,
        pad_value=model.pad_value,
        classes=model.classes,
        sure_score=model.sure_score,
        nms_iou=model.nms_iou,
        outputs=model.outputs,
        activation=model.activation,
    )


def _read(file: NetFile) -> bytes:
    """Its bytes, judged again: the very bytes that are loaded are the ones that were checked."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise ModelsError(f"{file.path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ModelsError(f"{file.path}: was changed since it was checked; install it anew")
    return data


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
