"""The person tracker beside what a user could install: time per update, and accuracy.

Time: process-CPU milliseconds of one update, BLAS on one thread, 10 to 1000 people in the image
of one camera (``tracker_scene``); every tracker in fresh processes, in interleaved rounds, the
least of the rounds for each update, then the median; who is slow in the first round has no other.
``ms_per_update_*``: the tracker of boxes (``walkout track``). ``daemon_ms_per_update_*``: the
store's tracker (``person_tracker``) as the daemon runs it, boxes to floor, looks and identity
probabilities included (``tracker_daemon``); ``ratio_to_fastest_peer_300`` is its.
``floor_ms_per_update_*``: that tracker on floor points, nobody known.

Accuracy: TrackEval on the sequences of ``--data`` (or WALKOUT_MOT_DATA; folders with ``det.txt``
and ``gt.txt``), all together and each; rows as known at each image, as peers give them, and
``*_filled`` as ``walkout track`` writes them.

Peers and TrackEval come from a package index into an environment that is thrown away; a peer that
cannot be installed fails the bench. ``--no-peers`` leaves them out, and with them the accuracy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.measured import ONE_THREAD, in_child, machine, print_table
from bench.tracker_daemon import daemon_step
from bench.tracker_scene import FLOOR_M, FPS, scene
from edge.track_alone import estimated_fps, track_mot
from edge.track_text import read_mot, stated_fps
from edge.vision.assignment import preload
from edge.vision.box_tracker import BoxTracker
from edge.vision.person_tracker import PersonTracker
from messages.ids import CameraId, StoreId
from messages.observations import PersonDetections
from messages.store_config import StoreArea, StoreConfig

SIZES = (10, 50, 100, 300, 1000)
IMAGES, WARM = 150, 30  # an update is timed once tracks are confirmed and some are lost
SECONDS_MAX = 2.0  # of one process; slow peers get fewer updates
ROUNDS = 2
SLOW = 4.0  # times what our slowest needs: one round tells
OURS = ("boxes", "daemon", "floor")
HERE = Path(__file__).parent
SCRIPT = HERE / "tracker_peers.py"
ENVIRONMENTS = {
    "tracker-peers.txt": (
        "trackers_sort",
        "trackers_bytetrack",
        "trackers_ocsort",
        "trackers_botsort",
        "trackers_cbiou",
        "supervision_bytetrack",
        "motpy",
        "edgefirst_bytetrack",
        "ioutrack_rs_sort",
        "ioutrack_rs_bytetrack",
        "visiontrack_bytetrack",
    ),
    "tracker-peers-norfair.txt": ("norfair_iou",),
}


@dataclass(frozen=True, slots=True)
class Peers:
    """Names of peers and the Python that runs each; ``judge`` has TrackEval."""

    python: dict[str, Path]
    versions: dict[str, str]
    judge: Path | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video's detections and truth."""

    name: str
    detections: Path
    truth: Path
    fps: float


def main(json_output: bool, *, peers: bool = True, data: Path | None = None) -> int:
    """Run and print: one JSON object, or a table. 1 when a peer fails."""
    try:
        found = run(peers=peers, data=data)
    except PeerError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def say(what: str) -> None:
    """Progress, beside the figures."""
    sys.stderr.write(f"bench tracker: {what}\n")
    sys.stderr.flush()


class PeerError(RuntimeError):
    """A peer cannot be installed or run."""


def run(*, peers: bool = True, data: Path | None = None) -> dict[str, Any]:
    """All figures; less than four quiet minutes with peers, one without."""
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as name:
        folder = Path(name)
        others = installed(folder) if peers else Peers({}, {}, None)
        figures, by_peer = timings(folder, others)
        notes = accuracy(folder, others, sequences(data), figures, by_peer)
    native = [found["ms_per_update_300"] for found in by_peer.values()]
    if native:
        for name, ours in (("", "daemon_"), ("boxes_", "")):
            ratio = figures[f"{ours}ms_per_update_300"] / min(native)
            figures[f"{name}ratio_to_fastest_peer_300"] = round(ratio, 3)
    return {
        "bench": "tracker",
        "figures": figures,
        "peers": by_peer,
        "where_time_goes": where_time_goes(),
        "machine": {**machine(), **others.versions, **notes},
    }


# --- peers ----------------------------------------------------------------------------------------


def installed(folder: Path) -> Peers:
    """Fresh environments with every peer in them. Raises PeerError."""
    python: dict[str, Path] = {}
    versions: dict[str, str] = {}
    for requirements, names in ENVIRONMENTS.items():
        home = folder / requirements.removesuffix(".txt")
        _called([sys.executable, "-m", "venv", str(home)], f"an environment for {requirements}")
        own = home / "bin" / "python"
        pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        file = HERE / requirements
        say(f"installing the peers of {requirements}")
        _called([*pip, "-r", str(file)], f"installing the peers of bench/{requirements}")
        versions |= _asked(own, "versions", *names)
        python |= dict.fromkeys(names, own)
    return Peers(python, versions, python["motpy"])


def _called(command: list[str], what: str) -> str:
    environment = {**os.environ, **dict.fromkeys((*ONE_THREAD, "RAYON_NUM_THREADS"), "1")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise PeerError(f"{what} failed: {' | '.join(lines[-3:]) or 'no message'}; see --no-peers")
    return done.stdout


def _asked(python: Path, *arguments: object) -> dict[str, Any]:
    """What the script in the peers' environment answers."""
    command = [str(python), str(SCRIPT), *map(str, arguments)]
    lines = _called(command, " ".join(map(str, arguments[:2]))).splitlines()
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


# --- time -----------------------------------------------------------------------------------------


def timings(folder: Path, peers: Peers) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Milliseconds per update of ours, and of each peer."""
    figures: dict[str, Any] = {}
    by_peer: dict[str, dict[str, Any]] = {name: {} for name in peers.python}
    for size in SIZES:
        path = folder / f"scene-{size}.npz"
        scene(size, IMAGES).save(path)
        rounds: dict[str, list[list[float]]] = {}
        names = [*OURS, *peers.python]
        for number in range(ROUNDS):
            say(f"{size} people, round {number + 1}, {len(names)} trackers")
            turned = names[number:] + names[:number]  # nobody is always first
            for name in turned:
                rounds.setdefault(name, []).append(_times(name, path, peers))
            limit = SLOW * max(_typical(rounds[name]) for name in OURS)
            names = [name for name in names if _typical(rounds[name]) <= limit]
        for name in OURS:
            key = "ms_per_update" if name == "boxes" else f"{name}_ms_per_update"
            figures[f"{key}_{size}"] = _typical(rounds.pop(name))
        for name, spent in rounds.items():
            by_peer[name][f"ms_per_update_{size}"] = _typical(spent)
    return dict(sorted(figures.items(), key=lambda pair: pair[0].split("ms_")[0])), by_peer


def _times(name: str, path: Path, peers: Peers) -> list[float]:
    if name in peers.python:
        answer = _asked(peers.python[name], "time", name, path, SECONDS_MAX)
    else:
        answer = in_child("bench.tracker", name, path)
    spent: list[float] = answer["ms"]
    return spent


def _typical(rounds: list[list[float]]) -> float:
    """Median over updates of the least over rounds; slow ones keep their later two thirds."""
    length = min(map(len, rounds))
    least = np.array([spent[:length] for spent in rounds]).min(axis=0)
    return round(float(np.median(least[min(WARM, length // 3) :])), 4)


# --- accuracy -------------------------------------------------------------------------------------


def sequences(data: Path | None) -> list[Sequence]:
    """Those of the folder; none when there is no folder.

    Raises:
        ValueError: the folder holds no sequence.
    """
    named = data or (
        Path(os.environ["WALKOUT_MOT_DATA"]) if "WALKOUT_MOT_DATA" in os.environ else None
    )
    if named is None:
        return []
    found = []
    for folder in sorted(p for p in named.iterdir() if p.is_dir()) if named.is_dir() else ():
        detections, truth = _either(folder, "det"), _either(folder, "gt")
        if detections and truth:
            fps = stated_fps(detections) or estimated_fps(read_mot(detections))
            found.append(Sequence(folder.name, detections, truth, fps))
    if not found:
        raise ValueError(f"{named}: no folder with det.txt and gt.txt in it; see --data")
    return found


def _either(folder: Path, kind: str) -> Path | None:
    places = (folder / f"{kind}.txt", folder / kind / f"{kind}.txt")
    return next((place for place in places if place.is_file()), None)


def accuracy(
    folder: Path,
    peers: Peers,
    videos: list[Sequence],
    figures: dict[str, Any],
    by_peer: dict[str, dict[str, Any]],
) -> dict[str, str]:
    """Adds hota, idf1, mota; gives notes on what is left out."""
    if not videos:
        return {"note": "no accuracy: say --data or WALKOUT_MOT_DATA"}
    if peers.judge is None:
        return {"note": "no accuracy: TrackEval is installed together with the peers"}
    for online in (True, False):
        results = [folder / f"ours-{online}-{v.name}.txt" for v in videos]
        for video, result in zip(videos, results, strict=True):
            track_mot(video.detections, result, fps=video.fps, online=online)
        _judged(peers.judge, videos, results, figures, "" if online else "_filled")
    for name, python in peers.python.items():
        say(f"accuracy of {name}")
        results = [folder / f"{name}-{v.name}.txt" for v in videos]
        for video, result in zip(videos, results, strict=True):
            _asked(python, "track", name, video.detections, video.fps, result)
        _judged(peers.judge, videos, results, by_peer[name], "")
    return {f"fps_{v.name}": f"{v.fps:.3g}" for v in videos}


def _judged(
    judge: Path, videos: list[Sequence], results: list[Path], figures: dict[str, Any], ending: str
) -> None:
    pairs = [file for v, r in zip(videos, results, strict=True) for file in (v.truth, r)]
    scores = _asked(judge, "score", *pairs)
    figures |= {f"{key}{ending}": value for key, value in scores["all"].items()}
    for video, each in zip(videos, scores["each"], strict=True):
        figures |= {f"{key}{ending}_{video.name}": value for key, value in each.items()}


# --- ours -----------------------------------------------------------------------------------------


def child(kind: str, path: Path) -> dict[str, Any]:
    """Process-CPU milliseconds of each update of ours."""
    data = np.load(path)
    ends = np.cumsum(data["counts"])
    step = {"boxes": _box_step, "daemon": _daemon_step, "floor": _floor_step}[kind](data)
    preload()
    spent = []
    for k, (start, end) in enumerate(zip(ends - data["counts"], ends, strict=True)):
        given = step.ready(k, slice(start, end))
        began = time.process_time_ns()
        step.update(*given)
        spent.append((time.process_time_ns() - began) / 1e6)
    return {"ms": spent}


@dataclass(frozen=True, slots=True)
class Step:
    """``ready(image, rows)`` gives the arguments of ``update``, which is timed."""

    ready: Any
    update: Any


def _box_step(data: Any) -> Step:
    boxes, scores = data["boxes"], data["scores"]
    return Step(
        lambda k, rows: (_at_ns(k), boxes[rows], scores[rows]),
        BoxTracker().step,
    )


def _daemon_step(data: Any) -> Step:
    return Step(*daemon_step(data))


def _floor_step(data: Any) -> Step:
    area = StoreArea(x_min_m=-1.0, y_min_m=-1.0, x_max_m=FLOOR_M[0] + 1.0, y_max_m=FLOOR_M[1] + 1.0)
    floor, scores = data["floor_m"].astype(np.float32), data["scores"].astype(np.float32)

    def packet(k: int, rows: slice) -> tuple[int, list[PersonDetections]]:
        found = PersonDetections(
            camera=CameraId("c"),
            received_at_ns=_at_ns(k),
            captured_at_ns=_at_ns(k),
            sequence=k,
            boxes_px=np.zeros((0, 4), np.float32),
            feet_px=np.zeros((0, 2), np.float32),
            scores=scores[rows],
            positions_store_m=floor[rows],
        )
        return _at_ns(k), [found]

    return Step(packet, PersonTracker(StoreConfig(store=StoreId("bench"), area=area)).step)


def _at_ns(image: int) -> int:
    return round((image + 1) / FPS * 1e9)


def where_time_goes() -> dict[str, float]:
    """Shares of the stages of one update at 300 people."""
    from bench.measured import Stopwatch
    from edge.vision import box_association, box_filter

    stages = [
        ("predict", box_filter, "predict"),
        ("pairs", box_association, "pairs_in_reach"),
        ("assign", box_association, "assign"),
        ("update", box_filter, "update"),
    ]
    plain = [getattr(part, method) for _, part, method in stages]
    watch, told, images = Stopwatch(), scene(300, IMAGES), BoxTracker()
    ends = np.cumsum(told.counts)
    preload()
    try:
        for (stage, part, method), call in zip(stages, plain, strict=True):
            setattr(part, method, watch.timed(stage, call))
        began = time.perf_counter()
        for k, (start, end) in enumerate(zip(ends - told.counts, ends, strict=True)):
            images.step(_at_ns(k), told.boxes[start:end], told.scores[start:end])
        whole_s = time.perf_counter() - began
    finally:
        for (_, part, method), call in zip(stages, plain, strict=True):
            setattr(part, method, call)
    shares = {stage: round(spent / whole_s, 3) for stage, spent in watch.spent_s.items()}
    return {**shares, "rest": round(1 - sum(shares.values()), 3)}


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[2], Path(sys.argv[3]))))
