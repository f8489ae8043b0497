"""Runs the store daemon on the film and draws where people walked, in metres.

    python examples/pets/floor_plan.py --out floor-plan.svg                     from the file
    python examples/pets/floor_plan.py --rtsp --truth gt.txt --out plan.svg     over RTSP, judged

``walkout run`` runs as in a store: video, detector processes, camera socket, journal. Afterwards
the journal's steps go through the engine once more, as a restart would take them, and its tracks
are written down. ``--truth``: the data set's boxes as a MOTChallenge ``gt.txt``; their foot points
on the floor, by the same calibration, are what the tracks are compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge.config import load
from edge.engine import Engine
from edge.journal_follower import JournalFollower
from edge.recording_format import RecordingError
from edge.vision.camera_model import camera_model, floor_points
from messages.observations import PersonDetections
from messages.store_config import StoreConfig

HERE = Path(__file__).parent
FPS = 10.0  # of the film as it is played
PORT = 8554
SEEN_S = 0.3  # a track that was not seen for longer is where the engine thinks it is hidden
CUTOFF_M = 1.0  # farther apart, a track and a person are not the same
ASIDE_S = 4.0  # of the film, that may pass before the first image is looked at
PX_PER_M = 22.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#5a5a9f")


@dataclass(frozen=True, eq=False)
class Instant:
    """Where people are at one image: ids (n,), positions (n, 2) metres."""

    at_s: float
    who: np.ndarray
    where: np.ndarray


def run_store(folder: Path, *, rtsp: bool, seconds: float, images: int) -> StoreConfig:
    """The daemon on the film for so long, or so many images; the configuration it ran with."""
    url = f"rtsp://127.0.0.1:{PORT}/view-1" if rtsp else str(HERE / "vtest.avi")
    toml = (HERE / "store.toml").read_text().replace('url = "vtest.avi"', f'url = "{url}"')
    path = folder / "store.toml"
    path.write_text(toml)
    command = [sys.executable, str(HERE / "serve.py"), str(HERE / "vtest.avi"), str(PORT)]
    server = subprocess.Popen(command) if rtsp else None
    daemon = subprocess.Popen([sys.executable, "-m", "walkout", "run", "--config", str(path)])
    try:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not 0 < images <= images_seen(folder / "journal.db"):
            time.sleep(1.0)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        if server is not None:
            server.terminate()
            server.wait()
    return load(path)


def images_seen(journal: Path) -> int:
    """How many images the journal knows of by now."""
    try:
        follower = JournalFollower(journal)
        steps = list(follower.steps_after(0, with_last=True))
    except RecordingError:
        return 0  # it is being made
    follower.close()
    return sum(isinstance(o, PersonDetections) for step in steps for o in step.observations)


def tracks_of(config: StoreConfig) -> tuple[list[Instant], float]:
    """The engine's tracks after each step of the journal, and when the first image was taken."""
    engine, found, first_ns = Engine(config), [], 0
    follower = JournalFollower(Path(config.paths.journal))
    for step in follower.steps_after(0, with_last=True):
        seen = [o for o in step.observations if isinstance(o, PersonDetections)]
        first_ns = first_ns or min((o.captured_at_ns for o in seen), default=0)
        engine.step(step.now_ns, step.observations)
        tracks = engine.people.tracks
        now = tracks.at_ns - tracks.last_seen_ns <= SEEN_S * 1e9
        if seen:
            at_s = tracks.at_ns / 1e9
            found.append(Instant(at_s, tracks.track_id[now], tracks.position_store_m[now]))
    follower.close()
    return found, first_ns / 1e9


def truth_of(path: Path, config: StoreConfig) -> list[Instant]:
    """The data set's people on the floor, image after image, at the film's times."""
    rows = np.loadtxt(path, delimiter=",", usecols=range(6))
    foot = np.stack((rows[:, 2] + rows[:, 4] / 2, rows[:, 3] + rows[:, 5]), axis=1)
    where, _ = floor_points(foot, camera_model(config.cameras[0]))
    images = [rows[:, 0] == n for n in range(1, int(rows[:, 0].max()) + 1)]
    return [
        Instant(k / FPS, rows[image, 1].astype(int), where[image]) for k, image in enumerate(images)
    ]


def compared(tracks: list[Instant], truth: list[Instant], start_s: float) -> dict[str, float]:
    """Errors in centimetres of tracks matched with people, one to one, at each image."""
    errors, people, extra, changes = [], 0, 0, 0
    last: dict[int, int] = {}
    for instant in tracks:
        index = round((instant.at_s - start_s) * FPS)
        if not 0 <= index < len(truth):
            continue
        real = truth[index]
        people += len(real.who)
        gap = np.linalg.norm(instant.where[:, None] - real.where[None], axis=2)
        pairs = [
            (i, j)
            for i, j in zip(*linear_sum_assignment(np.minimum(gap, 9.0)), strict=True)
            if gap[i, j] <= CUTOFF_M
        ]
        extra += len(instant.who) - len(pairs)
        for i, j in pairs:
            errors.append(gap[i, j])
            who, track = int(real.who[j]), int(instant.who[i])
            changes += last.get(who, track) != track
            last[who] = track
    cm = 100 * np.array(errors or [np.nan])
    return {
        "median_error_cm": round(float(np.median(cm)), 1),
        "p90_error_cm": round(float(np.percentile(cm, 90)), 1),
        "people_followed_share": round(len(errors) / max(people, 1), 3),
        "tracks_of_nobody_share": round(extra / max(extra + len(errors), 1), 3),
        "identity_changes": changes,
        "people": people,
    }


def aligned(tracks: list[Instant], truth: list[Instant], first_s: float) -> float:
    """When the film began, by the best fit: its first images go by while the net is loaded."""
    some = tracks[::5]
    starts = first_s - np.arange(0.0, ASIDE_S, 1 / FPS)
    rows = [compared(some, truth, s) for s in starts]
    good = max(r["people_followed_share"] for r in rows) - 0.1
    errors = [r["median_error_cm"] if r["people_followed_share"] >= good else np.inf for r in rows]
    return float(starts[int(np.argmin(errors))])


def svg(tracks: list[Instant], truth: list[Instant], config: StoreConfig) -> str:
    """The floor from above: people's true ways grey, tracks in colours."""
    area = config.area
    width, height = area.x_max_m - area.x_min_m, area.y_max_m - area.y_min_m

    def ways(instants: list[Instant]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = defaultdict(list)
        last: dict[int, float] = {}
        for instant in instants:
            for who, (x, y) in zip(instant.who.tolist(), instant.where.tolist(), strict=True):
                if instant.at_s - last.get(who, -1.0) < 0.5:
                    continue
                start = "M" if instant.at_s - last.get(who, -9.0) > 2.0 else "L"
                last[who] = instant.at_s
                px, py = (x - area.x_min_m) * PX_PER_M, (area.y_max_m - y) * PX_PER_M
                found[who].append(f"{start}{px:.0f} {py:.0f}")
        return found

    size = f'viewBox="0 0 {width * PX_PER_M:.0f} {height * PX_PER_M:.0f}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">']
    lines.append('<rect width="100%" height="100%" fill="#fcfcfa"/>')
    for x in range(int(np.ceil(area.x_min_m / 5)) * 5, int(area.x_max_m) + 1, 5):
        at = (x - area.x_min_m) * PX_PER_M
        lines.append(f'<path d="M{at:.0f} 0V{height * PX_PER_M:.0f}" stroke="#e4e4e0"/>')
        lines.append(f'<text x="{at + 3:.0f}" y="12" font-size="11" fill="#777">{x} m</text>')
    for y in range(int(np.ceil(area.y_min_m / 5)) * 5, int(area.y_max_m) + 1, 5):
        at = (area.y_max_m - y) * PX_PER_M
        lines.append(f'<path d="M0 {at:.0f}H{width * PX_PER_M:.0f}" stroke="#e4e4e0"/>')
        lines.append(f'<text x="3" y="{at - 3:.0f}" font-size="11" fill="#777">{y} m</text>')
    for way in ways(truth).values():
        lines.append(f'<path d="{"".join(way)}" fill="none" stroke="#bbb" stroke-width="6"/>')
    for who, way in ways(tracks).items():
        if len(way) > 2:
            colour = COLOURS[who % len(COLOURS)]
            path = "".join(way)
            lines.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>\n"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtsp", action="store_true", help="serve the film by serve.py")
    parser.add_argument("--truth", type=Path, help="gt.txt of PETS09-S2L1")
    parser.add_argument("--seconds", type=float, default=84.0, help="how long the daemon runs")
    parser.add_argument("--images", type=int, default=0, help="stop after so many images")
    parser.add_argument("--out", type=Path, required=True, help="the picture, an .svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walkout-pets-") as folder:
        config = run_store(
            Path(folder), rtsp=given.rtsp, seconds=given.seconds, images=given.images
        )
        tracks, first_s = tracks_of(config)
    found = {"instants": len(tracks), "tracks": len({i for t in tracks for i in t.who.tolist()})}
    truth = truth_of(given.truth, config) if given.truth else []
    if truth:
        found |= compared(tracks, truth, aligned(tracks, truth, first_s))
    given.out.write_text(svg(tracks, truth, config))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    os.chdir(HERE.parents[1])  # so that ``python -m walkout`` is this checkout's
    sys.exit(main())
