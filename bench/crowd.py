"""The store's person tracker in a crowd: who is who, at 20 to 250 people under 18 cameras.

Each scene (``crowd_scene``) is given to the store's tracker as the daemon runs it (closed world,
identity probabilities, looks) and to the plain tracker of floor points (``walkout track --format
ground``): IDF1 on the floor (0.5 m; rows as known at each image), whether the one whom the tracker
takes for the leaving person is it, calibration of identity probabilities, and process-CPU
milliseconds of an instant of all cameras. Seeds ``HELD_OUT`` are for figures; nothing was tuned on
them. Four cameras that all see 300 and 1000 people: the load that other multi-camera products name.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.crowd_overlap import overlap_scene
from bench.crowd_scene import FPS, Instant, store_scene, visit_of
from bench.crowd_score import SHOWN_NS, Knowledge, Rows, named_rows
from bench.measured import in_child, machine, print_table
from edge.vision.assignment import linear_sum_assignment, preload
from edge.vision.camera_model import camera_model
from edge.vision.floor_tracker import FloorTracker
from edge.vision.person_tracker import MARGIN_M, PersonTracker
from edge.vision.sightings import Sightings
from edge.vision.tracks import KNOWN
from messages.store_config import StoreConfig

SIZES = (20, 60, 120, 250)
SECONDS = {20: 90.0, 60: 90.0, 120: 90.0, 250: 75.0}
TUNING, HELD_OUT = (1, 2, 3), (11, 12)
OVERLAP = {300: 12.0, 1000: 8.0}  # people before four cameras, and seconds
KNOWN_FROM = 20  # image at which these are introduced: who is where is true then
LATENCY_NS = 60_000_000
ASK_EVERY_NS = 1_000_000_000
OVERLAP_KEYS = (
    "detections",
    "idf1",
    "switches",
    "identity_right",
    "ms_per_instant",
    "ms_per_instant_mean",
    "ms_per_instant_p99",
)
SURE = 0.9  # an exit with less is a doubt: others are asked about, not charged


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run(seeds: tuple[int, ...] = HELD_OUT) -> dict[str, Any]:
    """All figures; about ten minutes."""
    figures: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for size in SIZES:
        parts = []
        for seed in seeds:
            _say(f"18 cameras, {size} people, seed {seed}")
            parts.append(in_child("bench.crowd", "store", size, SECONDS[size], seed))
        figures |= {f"{k}_{size}": v for k, v in _mean([p["walkout"] for p in parts]).items()}
        plain |= {f"{k}_{size}": v for k, v in _mean([p["plain"] for p in parts]).items()}
    for size, seconds in OVERLAP.items():
        _say(f"four cameras, {size} people")
        part = in_child("bench.crowd", "overlap", size, seconds, seeds[0])
        figures |= {f"four_cameras_{k}_{size}": part["walkout"][k] for k in OVERLAP_KEYS}
        plain |= {f"four_cameras_{k}_{size}": v for k, v in part["plain"].items()}
    return {
        "bench": "crowd",
        "figures": figures,
        "peers": {"floor_tracker": plain},
        "where_time_goes": {},
        "machine": {**machine(), "seeds": list(seeds), "seconds": SECONDS},
    }


def _say(what: str) -> None:
    sys.stderr.write(f"bench crowd: {what}\n")
    sys.stderr.flush()


def _mean(parts: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([p[key] for p in parts])), 4) for key in parts[0]}


@dataclass(slots=True)
class Exits:
    """Who was taken for the people who left."""

    total: int = 0
    right: int = 0
    doubts: int = 0  # said to be one
    sure_wrong: int = 0

    def add(self, answer: dict[Any, float], visit: str) -> None:
        self.total += 1
        best = max(answer, key=lambda v: answer[v])
        self.right += best == visit
        self.doubts += answer[best] < SURE
        self.sure_wrong += best != visit and best != "" and answer[best] >= SURE

    def figures(self) -> dict[str, float]:
        total = max(self.total, 1)
        return {
            "exits": self.total,
            "right_credential": round(self.right / total, 4),
            "exit_doubts": round(self.doubts / total, 4),
            "exit_wrong_and_sure": round(self.sure_wrong / total, 4),
        }


@dataclass(slots=True)
class Store:
    """The store's tracker and its score."""

    tracker: PersonTracker
    named: Rows = field(default_factory=Rows)
    tracks: Rows = field(default_factory=Rows)
    known: Knowledge = field(default_factory=Knowledge)
    exits: Exits = field(default_factory=Exits)
    ms: list[float] = field(default_factory=list)
    asked_ns: int = 0
    introduce: bool = False  # everybody is inside from the beginning

    def step(self, seen: Instant) -> None:
        began = time.process_time_ns()
        self.tracker.step(seen.at_ns + LATENCY_NS, seen.packets)
        self.ms.append((time.process_time_ns() - began) / 1e6)
        for passage in seen.passages:
            visit = visit_of(passage.person)
            if passage.inwards:
                self.tracker.entered(visit, passage.gate, seen.at_ns)
                continue
            answer = self.tracker.left(passage.gate, seen.at_ns)
            self.exits.add(dict(answer), visit)
            gone = max((v for v in answer if v), key=lambda v: answer[v], default=visit)
            self.tracker.visit_ended(gone)  # type: ignore[arg-type]
        if self.introduce and len(self.ms) == KNOWN_FROM:
            introduced(self.tracker, seen)
        if not self.introduce or len(self.ms) >= KNOWN_FROM:
            self._score(seen)

    def _score(self, seen: Instant) -> None:
        tracks = self.tracker.tracks
        ids, place = named_rows(tracks)
        self.named.add(seen.people, seen.position_m, ids, place)
        shown = tracks.at_ns - tracks.last_seen_ns <= SHOWN_NS
        every, where = tracks.track_id[shown], tracks.position_store_m[shown]
        self.tracks.add(seen.people, seen.position_m, every, where)
        if seen.at_ns - self.asked_ns >= ASK_EVERY_NS and len(seen.people):
            self.asked_ns = seen.at_ns
            self.known.ask(tracks, [visit_of(int(p)) for p in seen.people], seen.position_m)

    def figures(self) -> dict[str, float]:
        return {
            "idf1": round(self.named.idf1(), 3),
            "idf1_track_ids": round(self.tracks.idf1(), 3),
            "switches": self.named.switches,
            **self.exits.figures(),
            **self.known.figures(),
        }


def introduced(tracker: PersonTracker, seen: Instant) -> None:
    """Each person's visit goes to the track that is nearest to them, as if a gate had said so."""
    people = tracker.state.people
    gap = np.linalg.norm(seen.position_m[:, None] - people.mean[:2].T, axis=2)
    for person, row in zip(*linear_sum_assignment(np.minimum(gap, 9.0)), strict=True):
        column = tracker._column(visit_of(int(person)))
        people.phase[row] = KNOWN
        people.identity[row] = 0.0
        people.identity[row, column] = 1.0


@dataclass(slots=True)
class Plain:
    """The tracker of floor points, on the same detections."""

    tracker: FloorTracker
    sightings: Sightings
    rows: Rows = field(default_factory=Rows)
    ms: list[float] = field(default_factory=list)

    @staticmethod
    def of(config: StoreConfig) -> Plain:
        area = config.area
        low = np.array([[area.x_min_m], [area.y_min_m]]) - MARGIN_M
        high = np.array([[area.x_max_m], [area.y_max_m]]) + MARGIN_M
        models = {c.id: camera_model(c) for c in config.cameras}
        return Plain(FloorTracker(len(models)), Sightings(models, low, high))

    def step(self, seen: Instant) -> None:
        began = time.process_time_ns()
        found = self.sightings.of([seen.packets], seen.at_ns)[0].among(np.zeros((0, 2)))
        score = np.where(found.may_start, 1.0, 0.2)
        tracks = self.tracker.step(seen.at_ns, found.camera, found.position.T, score)
        self.ms.append((time.process_time_ns() - began) / 1e6)
        sure = tracks.confirmed
        self.rows.add(seen.people, seen.position_m, tracks.track_id[sure], tracks.position_m[sure])

    def figures(self) -> dict[str, float]:
        return {"idf1": round(self.rows.idf1(), 3), "switches": self.rows.switches}


def _times(ms: list[float]) -> dict[str, float]:
    return {
        "ms_per_instant": round(float(np.median(ms)), 4),
        "ms_per_instant_mean": round(float(np.mean(ms)), 4),
        "ms_per_instant_p99": round(float(np.percentile(ms, 99)), 4),
    }


def played(
    config: StoreConfig, instants: Iterator[Instant], full_from: int, *, introduce: bool = False
) -> dict[str, Any]:
    """Both trackers on one scene; times are of the instants from ``full_from`` on."""
    preload()
    store, plain = Store(PersonTracker(config), introduce=introduce), Plain.of(config)
    count = []
    for seen in instants:
        store.step(seen)
        plain.step(seen)
        count.append(sum(len(p.scores) for p in seen.packets))
    given = {"detections": round(float(np.mean(count[full_from:])), 1)}
    ours, others = _times(store.ms[full_from:]), _times(plain.ms[full_from:])
    return {"walkout": given | store.figures() | ours, "plain": plain.figures() | others}


def child(kind: str, size: int, seconds: float, seed: int) -> dict[str, Any]:
    """One scene."""
    if kind == "overlap":
        scene = overlap_scene(size, seed, seconds=seconds)
        return played(*scene, 2 * KNOWN_FROM, introduce=True)
    return played(*store_scene(size, seed, seconds=seconds), int(seconds * FPS) * 2 // 3)


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))))
