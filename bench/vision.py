"""Detectors on real video: CPU time per image, who is found, and what four cameras cost.

Time: process-CPU milliseconds of one 640 x 480 image in and boxes out, one thread, the median.
Accuracy: PETS 2009 S2.L1 view 1 (``examples/pets/get-video.sh``), each tenth image, against the
truth of ``--data`` (or WALKOUT_MOT_DATA; a folder with PETS09-S2L1/gt.txt). ``ap50``: average
precision at an overlap of 0.5; ``miss_rate``: people without a box among those that go to the
tracker; ``miss_rate_sure``: among those that may start a person. All of ``nanodet``, the net for
many and far people, as in examples/pets.
Load: the real processes of four cameras at five images a second, see ``vision_load``:
``load_4_cameras_core_fraction`` with two aisles empty and two full of people.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.measured import machine, print_table
from bench.vision_load import load
from bench.vision_truth import Judged, judged, true_boxes
from edge.cameras.models.catalogue import MODEL_OF, MODELS
from edge.cameras.models.install import model_path, models_folder, state_of
from edge.cameras.models.nets import Net, NetFile
from edge.cameras.models.packages import ModelsError
from edge.vision.detectors.net_spec import COMMON_LEAST, COMMON_SURE, NetSpec

VIDEO = Path(__file__).parents[1] / "examples" / "pets" / "vtest.avi"
EVERY = 10  # images: the film moves little from one to the next
ROUNDS = 15
MAIN, STORE = "nanodet", "movenet-multi"
# For pictures of 80-pixel people each net runs wider than in a shop, where they are large.
WIDTH_ON_PETS = {"movenet-multi": 512, "nanodet": 416, "centernet": 512}
EVERY_BOX = 0.08  # a ``sure_score`` so low that no box worth counting is left out
CPU_CORES = 0.35  # vision.cpu_cores of the load: half a core less reading four streams
Pixels = NDArray[np.uint8]


class BenchError(RuntimeError):
    """Something the bench needs is missing; says what to run."""


def main(json_output: bool, *, data: Path | None = None) -> int:
    """Run and print: one JSON object, or a table. 1 when something it needs is missing."""
    try:
        found = run(data=data)
    except (BenchError, ModelsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run(*, data: Path | None = None) -> dict[str, Any]:
    """All figures; about three minutes."""
    images = film()
    names = [m.id for m in MODELS if m.spec and state_of(m, models_folder()) == "installed"]
    if MAIN not in names or STORE not in names:
        raise BenchError("the usual models are missing; run: walkout models install")
    truth = _truth(data)
    by_model = {name: _measured(name, images, truth) for name in names}
    mixed = load(VIDEO, 2, model=STORE, cpu_cores=CPU_CORES)
    busy = load(VIDEO, 4, model=STORE, cpu_cores=CPU_CORES)
    empty = load(VIDEO, 0, model=STORE, cpu_cores=CPU_CORES)
    figures = {
        **by_model[MAIN],
        "ms_per_image_wrists": by_model[STORE]["ms_per_image"],
        "load_4_cameras_core_fraction": mixed["cores"],
        "load_4_cameras_all_busy": busy["cores"],
        "load_4_cameras_all_empty": empty["cores"],
        "looked_share_all_busy": round(busy["looks_per_s"] / max(busy["images_per_s"], 0.1), 3),
        "looked_share_all_empty": round(empty["looks_per_s"] / max(empty["images_per_s"], 0.1), 3),
    }
    return {
        "bench": "vision",
        "figures": figures,
        "peers": by_model,
        "where_time_goes": {
            f"{kind} {k}": v
            for kind, row in (("mixed", mixed), ("busy", busy), ("empty", empty))
            for k, v in row.items()
        },
        "machine": {**machine(), "main_model": MAIN, "load_model": STORE},
    }


def film() -> dict[int, Pixels]:
    """Each tenth image of the film, by its number from 1. Raises BenchError without the film."""
    capture = cv2.VideoCapture(str(VIDEO), cv2.CAP_FFMPEG) if VIDEO.exists() else None
    if capture is None or not capture.isOpened():
        raise BenchError(f"{VIDEO.name} is missing; run: examples/pets/get-video.sh")
    found: dict[int, Pixels] = {}
    number = 0
    while capture.grab():
        number += 1
        if number % EVERY == 1:
            found[number] = capture.retrieve()[1]
    return found


def _truth(data: Path | None) -> Path | None:
    """``gt.txt`` of PETS09-S2L1; None where nobody told where it is."""
    folder = data or (
        Path(os.environ["WALKOUT_MOT_DATA"]) if "WALKOUT_MOT_DATA" in os.environ else None
    )
    if folder is None:
        return None
    path = folder / "PETS09-S2L1" / "gt.txt"
    if not path.exists():
        raise BenchError(f"{path} is missing; --data names a folder with PETS09-S2L1/gt.txt")
    return path


def _measured(name: str, images: dict[int, Pixels], truth: Path | None) -> dict[str, float]:
    model = MODEL_OF[name]
    assert model.spec is not None
    path = model_path(name, models_folder())
    usual = Net(NetFile(spec=model.spec, path=path, sha256=model.sha256))
    found = {"ms_per_image": _ms(usual, cv2.resize(next(iter(images.values())), (640, 480)))}
    if truth is None or name == "handtrack":
        return found
    wide = replace(model.spec, width_px=WIDTH_ON_PETS.get(name, model.spec.width_px))
    spec = replace(wide, sure_score=EVERY_BOX)
    net = Net(NetFile(spec=spec, path=path, sha256=model.sha256))
    started_s = time.process_time()
    seen = {number: net.people(image) for number, image in images.items()}
    ms = 1000 * (time.process_time() - started_s) / len(images)
    return {
        **found,
        "ms_per_image_pets": round(ms, 1),
        **_accuracy(judged(seen, true_boxes(truth)), spec, wide),
    }


def _accuracy(row: Judged, judged_with: NetSpec, used: NetSpec) -> dict[str, float]:
    """Average precision over all boxes; misses at the limits as the store uses the net."""
    change = judged_with.exponent / used.exponent
    recall, precision = row.recall_from(COMMON_LEAST**change)
    sure, sure_precision = row.recall_from(COMMON_SURE**change)
    return {
        "ap50": round(row.average_precision(), 3),
        "miss_rate": round(1.0 - recall, 3),
        "precision": round(precision, 3),
        "miss_rate_sure": round(1.0 - sure, 3),
        "precision_sure": round(sure_precision, 3),
        "recall_at_precision_90": round(row.recall_at_precision(0.9), 3),
    }


def _ms(net: Net, image: Any) -> float:
    net.people(image)
    spent = []
    for _ in range(ROUNDS):
        started_s = time.process_time()
        net.people(image)
        spent.append(time.process_time() - started_s)
    return round(1000 * float(np.median(spent)), 1)
