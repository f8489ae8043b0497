"""``walkout models check``: are the nets what was written, and does onnxruntime run them?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.cameras.models.catalogue import EMBEDDING_SIDE_PX, MODELS, PackagedModel
from edge.cameras.models.install import model_path, models_folder, state_of
from edge.cameras.models.nets import Net, NetFile
from edge.cameras.models.packages import ModelsError
from edge.vision.detectors.net_spec import NetSpec

ROUNDS = 3  # the first prepares memory, the least of the others is the time


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedModel:
    """``state``: "fine", "missing", "changed" or "broken". ``cpu_ms``: of one blank 640 x 480
    image, in and out, on one thread; 0 where it does not run."""

    id: str
    state: str
    detail: str = ""
    cpu_ms: float = 0.0


def checked_models(folder: Path | None = None) -> list[CheckedModel]:
    at = models_folder(folder)
    return [_checked(model, at) for model in MODELS]


def _checked(model: PackagedModel, folder: Path) -> CheckedModel:
    state = state_of(model, folder)
    if state == "missing":
        return CheckedModel(id=model.id, state=state)
    if state == "changed":
        remedy = f"not the file that was written; run: walkout models install {model.id}"
        return CheckedModel(id=model.id, state=state, detail=remedy)
    try:
        spec = model.spec or _embedding(model.id)
        net = Net(NetFile(spec=spec, path=model_path(model.id, folder), sha256=model.sha256))
        return CheckedModel(id=model.id, state="fine", cpu_ms=round(_cpu_ms(net, model), 1))
    except ModelsError as error:
        return CheckedModel(id=model.id, state="broken", detail=str(error))


def _cpu_ms(net: Net, model: PackagedModel) -> float:
    least = np.inf
    blank = np.full((480, 640, 3), 127, dtype=np.uint8)
    tensor = np.zeros((1, 3, EMBEDDING_SIDE_PX, EMBEDDING_SIDE_PX), dtype=np.float32)
    for _ in range(ROUNDS):
        started = time.process_time()
        if model.spec is None:
            net.run(tensor)
        else:
            net.people(blank)
        least = min(least, time.process_time() - started)
    return least * 1000.0


def _embedding(name: str) -> NetSpec:
    """Enough of a spec to load a net that detects nothing."""
    side = EMBEDDING_SIDE_PX
    return NetSpec(id=name, decoder="", width_px=side, height_px=side, layout="NCHW")
