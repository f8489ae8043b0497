"""The person tracker alone, on files: ``walkout track``.

A file is known to its end, so its tracks may say more than the tracker knew at each instant: the
sightings before a track was confirmed are part of it, and gaps up to ``FILL_S`` are bridged by a
straight line. ``online=True`` leaves both out: then each row was known at its own instant.
Where the image rate is not known, people's walking speed tells it: boxes move so many of their own
heights from image to image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.track_text import (
    GroundPoints,
    MotBoxes,
    TrackFileError,
    ground_lines,
    mot_lines,
    read_ground,
    read_mot,
    stated_fps,
)
from edge.vision.box_tracker import BoxTracker
from edge.vision.detections import INSTANT_NS
from edge.vision.floor_tracker import FloorTracker
from messages.arrays import Bools, Floats, Ints

FILL_S = 1.0  # people keep their course so long: a straight line is right more often than not
WALKING_HEIGHTS_PER_S = 0.6  # 1 m/s at 1.7 m: of people on the move, who are a quarter at least
FPS_MIN, FPS_MAX, FPS_DEFAULT = 2.0, 30.0, 25.0  # of an estimate; nobody moving says nothing
RATE_IMAGES, RATE_LAG = 500, 8  # images looked at, and how far apart a box is compared
NS = 1_000_000_000
Progress = Callable[[float], None]  # share done, 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What was done: ``fps`` and where it is from ("" for points), rows in and out, tracks."""

    instants: int
    rows_in: int
    rows_out: int
    tracks: int
    rows_left_out: int
    fps: float | None = None
    fps_from: str = ""
    scores_used: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Sightings in order of time: where (k, d), with ``sure`` = known to be a person then."""

    instant: Ints
    track: Ints
    where: Floats
    score: Floats
    sure: Bools


def _quiet(_: float) -> None:
    pass


def track_mot(
    path: Path,
    out: Path,
    *,
    fps: float | None = None,
    online: bool = False,
    progress: Progress = _quiet,
) -> Tracked:
    """Boxes of one camera in, boxes with ids out.

    Raises:
        TrackFileError: the file, or the rate.
        OSError: ``out`` cannot be written.
    """
    seen = read_mot(path)
    usable = _usable_scores(seen.score)
    if not usable:
        seen = MotBoxes(seen.frame, seen.boxes, np.ones(len(seen.score)))
    fps, source = _rate(path, seen, fps)
    tracker = BoxTracker()
    rows = _gathered(_mot_steps(tracker, seen, fps, progress), width=4)
    told = rows if online else filled(rows, int(FILL_S * fps))
    kept = _sure(told, online)
    _write(out, mot_lines(kept.instant, kept.track, kept.where, kept.score))
    return Tracked(
        instants=_count(seen.frame),
        rows_in=len(seen.frame),
        rows_out=len(kept.track),
        tracks=_count(kept.track),
        rows_left_out=tracker.dropped,
        fps=round(fps, 3),
        fps_from=source,
        scores_used=usable,
    )


def share_done(share: float) -> str:
    """A progress line."""
    width = 30
    return f"tracking [{'#' * round(width * share):{width}}] {share:4.0%}"


def line_of(done: Tracked) -> str:
    """One line for people."""
    parts = [f"{done.tracks} tracks in {done.rows_out} rows from {done.rows_in} detections"]
    if done.fps is not None:
        parts.append(f"{done.fps:g} images/s ({done.fps_from})")
    if done.rows_left_out:
        parts.append(f"{done.rows_left_out} unusable rows left out")
    if not done.scores_used:
        parts.append("scores are not between 0 and 1: every box counted as good")
    return "; ".join(parts)


def _usable_scores(score: Floats) -> bool:
    """False where they are not between 0 and 1 (NaN aside): then every box counts as good."""
    return not bool(((score < 0) | (score > 1)).any())


def _rate(path: Path, seen: MotBoxes, fps: float | None) -> tuple[float, str]:
    if fps is not None:
        if not 0 < fps < 10_000:
            raise TrackFileError(f"--fps {fps}: images a second are above 0 and below 10,000")
        return fps, "given"
    stated = stated_fps(path)
    if stated is not None:
        return stated, "seqinfo.ini"
    return estimated_fps(seen), "estimated from walking speed"


def estimated_fps(seen: MotBoxes) -> float:
    """Images a second at which the faster quarter of people walk as people do."""
    early = seen.frame < seen.frame[:1].sum() + RATE_IMAGES  # in order of frame
    first = MotBoxes(seen.frame[early], seen.boxes[early], seen.score[early])
    rows = _gathered(_mot_steps(BoxTracker(), first, FPS_DEFAULT, _quiet), width=4)
    order = np.lexsort((rows.instant, rows.track))
    frame, track, box = rows.instant[order], rows.track[order], rows.where[order]
    same = track[RATE_LAG:] == track[:-RATE_LAG]
    centre, height = 0.5 * (box[:, :2] + box[:, 2:]), box[:, 3] - box[:, 1]
    way = np.hypot(*(centre[RATE_LAG:] - centre[:-RATE_LAG]).T)[same]
    images = (frame[RATE_LAG:] - frame[:-RATE_LAG])[same]
    if not len(way):
        return FPS_DEFAULT
    per_image = np.percentile(way / height[RATE_LAG:][same] / images, 75)
    return float(np.clip(WALKING_HEIGHTS_PER_S / max(per_image, 1e-9), FPS_MIN, FPS_MAX))


def _mot_steps(
    tracker: BoxTracker, seen: MotBoxes, fps: float, progress: Progress
) -> Iterator[Rows]:
    frames, starts = np.unique(seen.frame, return_index=True)
    ends = np.append(starts[1:], len(seen.frame))
    for k, frame in enumerate(frames.tolist()):
        part = slice(starts[k], ends[k])
        found = tracker.step(round(frame / fps * NS), seen.boxes[part], seen.score[part])
        instant = np.full(len(found.track_id), frame)
        yield Rows(instant, found.track_id, found.boxes, found.score, found.confirmed)
        progress((k + 1) / len(frames))


def track_ground(
    path: Path, out: Path, *, online: bool = False, progress: Progress = _quiet
) -> Tracked:
    """Floor points of all cameras in, one track a person out.

    Raises:
        TrackFileError: the file.
        OSError: ``out`` cannot be written.
    """
    seen = read_ground(path)
    rows = _gathered(_ground_steps(FloorTracker(len(seen.cameras)), seen, progress), width=2)
    kept = _sure(rows, online)
    t_s = seen.t_s[kept.instant] if len(kept.instant) else np.zeros(0)
    _write(out, ground_lines(t_s, kept.track, kept.where))
    return Tracked(
        instants=_count(seen.t_s),
        rows_in=len(seen.t_s),
        rows_out=len(kept.track),
        tracks=_count(kept.track),
        rows_left_out=int(np.count_nonzero(~np.isfinite(seen.position_m).all(axis=1))),
    )


def _ground_steps(tracker: FloorTracker, seen: GroundPoints, progress: Progress) -> Iterator[Rows]:
    at_ns = np.rint((seen.t_s - seen.t_s[:1].sum()) * NS).astype(np.int64)
    start = 0
    for end in _instant_ends(at_ns, seen.camera):
        order = start + seen.camera[start:end].argsort(kind="stable")
        found = tracker.step(
            int(at_ns[end - 1]), seen.camera[order], seen.position_m[order], seen.score[order]
        )
        instant = np.full(len(found.track_id), end - 1)
        score = np.ones(len(instant))
        yield Rows(instant, found.track_id, found.position_m, score, found.confirmed)
        progress(end / len(at_ns))
        start = end


def _instant_ends(at_ns: Ints, camera: Ints) -> list[int]:
    """Where each instant ends: a later capture of one of its cameras, or too late for it."""
    ends: list[int] = []
    begun = 0
    shown: dict[int, int] = {}
    for k, (t, c) in enumerate(zip(at_ns.tolist(), camera.tolist(), strict=True)):
        if k and (t - at_ns[begun] >= INSTANT_NS or shown.get(c, t) != t):
            ends.append(k)
            begun, shown = k, {}
        shown[c] = t
    return [*ends, len(at_ns)] if len(at_ns) else ends


def _gathered(steps: Iterable[Rows], width: int) -> Rows:
    none = np.zeros(0, np.int64)
    parts = [Rows(none, none, np.zeros((0, width)), np.zeros(0), np.zeros(0, np.bool_)), *steps]
    return Rows(
        np.concatenate([p.instant for p in parts]),
        np.concatenate([p.track for p in parts]),
        np.concatenate([p.where for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.sure for p in parts]),
    )


def _sure(rows: Rows, online: bool) -> Rows:
    """Rows known to be of people: at their own instant, or at any (confirmed later)."""
    keep = rows.sure if online else np.isin(rows.track, rows.track[rows.sure])
    k = keep.nonzero()[0]
    return _rows(rows, k[np.lexsort((rows.track[k], rows.instant[k]))])


def _rows(rows: Rows, k: Ints) -> Rows:
    return Rows(rows.instant[k], rows.track[k], rows.where[k], rows.score[k], rows.sure[k])


def filled(rows: Rows, gap_max: int) -> Rows:
    """With the instants between two sightings of a track bridged, up to ``gap_max`` of them."""
    ordered = _rows(rows, np.lexsort((rows.instant, rows.track)))
    gap = np.diff(ordered.instant) - 1
    open_ = (np.diff(ordered.track) == 0) & (gap > 0) & (gap <= gap_max)
    at = open_.nonzero()[0]
    before = np.repeat(at, gap[at])
    step = np.arange(len(before)) - np.repeat(np.cumsum(gap[at]) - gap[at], gap[at]) + 1
    share = (step / (gap[before] + 1))[:, None]
    where = (1 - share) * ordered.where[before] + share * ordered.where[before + 1]
    bridge = Rows(
        ordered.instant[before] + step,
        ordered.track[before],
        where,
        np.minimum(ordered.score[before], ordered.score[before + 1]),
        ordered.sure[before],
    )
    return _gathered((ordered, bridge), width=rows.where.shape[1])


def _count(values: Ints | Floats) -> int:
    return len(np.unique(values))


def _write(out: Path, lines: Iterable[str]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        file.writelines(lines)
