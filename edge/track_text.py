"""Text files of the tracker alone: MOTChallenge boxes, and floor points of several cameras.

MOTChallenge: ``frame,id,x,y,w,h[,score,...]``, one box a line, frames from 0 or 1, any order.
Floor points: ``t_s,camera,x_m,y_m[,score]`` with or without that header. Empty files are fine.
Source: Milan et al., "MOT16: A benchmark for multi-object tracking", 2016.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from configparser import ConfigParser, Error
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from messages.arrays import Bools, Floats, Ints

ROWS_MAX = 20_000_000  # about 1 GB of text; more is cut into pieces before
FRAME_MAX = 10**9
MOT_FIELDS, MOT_SCORE = 6, 6
GROUND_FIELDS = 4


class TrackFileError(ValueError):
    """A file cannot be read: ``file:line: what; remedy``."""


@dataclass(frozen=True, slots=True, eq=False)
class MotBoxes:
    """Boxes in order of frame: ``frame`` (m,), ``boxes`` (m, 4) x1, y1, x2, y2, ``score`` (m,)."""

    frame: Ints
    boxes: Floats
    score: Floats


@dataclass(frozen=True, slots=True, eq=False)
class GroundPoints:
    """Points in order of time, then camera: ``camera`` indexes ``cameras``; (m, 2) metres."""

    t_s: Floats
    camera: Ints
    position_m: Floats
    score: Floats
    cameras: tuple[str, ...]


def read_mot(path: Path) -> MotBoxes:
    """Raises TrackFileError."""
    lines = _lines(path)
    rows = _fast(lines)
    if rows is None:
        rows = np.array([_mot_row(path, n, line) for n, line in lines]).reshape(-1, 7)
    bad = _impossible(rows)
    if bad.any():
        number = lines[int(bad.argmax())][0]
        raise TrackFileError(f"{path}:{number}: the frame is no whole number from 0; count images")
    rows = rows[rows[:, 0].argsort(kind="stable")]
    corner = rows[:, 2:4]
    boxes = np.concatenate((corner, corner + rows[:, 4:6]), axis=1)
    return MotBoxes(rows[:, 0].astype(np.int64), boxes, rows[:, MOT_SCORE])


def _impossible(rows: Floats) -> Bools:
    frame = rows[:, 0]
    whole = (frame >= 0) & (frame <= FRAME_MAX) & (np.floor(frame) == frame)
    return np.asarray(~whole)


def _fast(lines: list[tuple[int, str]]) -> Floats | None:
    """All rows at once; None where a line needs a closer look."""
    if not lines:
        return np.zeros((0, 7))
    text = io.StringIO("\n".join(line for _, line in lines))
    try:
        return np.loadtxt(text, delimiter=",", usecols=range(7), ndmin=2, comments=None)
    except ValueError:
        return None


def _mot_row(path: Path, number: int, line: str) -> list[float]:
    fields = line.split(",")
    if len(fields) < MOT_FIELDS:
        raise TrackFileError(
            f"{path}:{number}: {len(fields)} fields; expected frame,id,x,y,w,h,score"
        )
    row = [_number(path, number, field) for field in fields[:7]]
    return row if len(row) == 7 else [*row, 1.0]


def _number(path: Path, number: int, field: str) -> float:
    try:
        return float(field)
    except ValueError:
        raise TrackFileError(
            f"{path}:{number}: {field.strip()!r} is no number; expected numbers between commas"
        ) from None


def read_ground(path: Path) -> GroundPoints:
    """Raises TrackFileError."""
    lines = _lines(path)
    if lines and lines[0][1].lower().replace(" ", "").startswith("t_s,camera,"):
        lines = lines[1:]
    values, names = np.zeros((len(lines), 4)), []
    for k, (number, line) in enumerate(lines):
        values[k], name = _ground_row(path, number, line)
        names.append(name)
    cameras = tuple(sorted(set(names)))
    index = {name: i for i, name in enumerate(cameras)}
    camera = np.array([index[name] for name in names], dtype=np.int64)
    order = np.lexsort((camera, values[:, 0]))
    values, camera = values[order], camera[order]
    return GroundPoints(values[:, 0], camera, values[:, 1:3], values[:, 3], cameras)


def _ground_row(path: Path, number: int, line: str) -> tuple[list[float], str]:
    fields = line.split(",")
    if len(fields) < GROUND_FIELDS:
        raise TrackFileError(
            f"{path}:{number}: {len(fields)} fields; expected t_s,camera,x_m,y_m,score"
        )
    t_s, x_m, y_m = (_number(path, number, fields[k]) for k in (0, 2, 3))
    if not math.isfinite(t_s):
        raise TrackFileError(f"{path}:{number}: t_s is {fields[0].strip()}; give seconds")
    score = _number(path, number, fields[4]) if len(fields) > GROUND_FIELDS else 1.0
    return [t_s, x_m, y_m, score], fields[1].strip()


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that hold something."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise TrackFileError(f"{path}: this is no text; give a CSV file") from None
    except OSError as error:
        raise TrackFileError(f"{path}: {error.strerror}; give a file that can be read") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) > ROWS_MAX:
        raise TrackFileError(f"{path}:{ROWS_MAX}: too many rows; cut the file into pieces")
    return lines


def stated_fps(path: Path) -> float | None:
    """Image rate from the ``seqinfo.ini`` that MOTChallenge puts into a sequence's folder.

    Raises:
        TrackFileError: there is one and it says no rate.
    """
    for folder in (path.parent, path.parent.parent):
        info = folder / "seqinfo.ini"
        if not info.is_file():
            continue
        parser = ConfigParser()
        try:
            parser.read(info)
            fps = parser.getfloat("Sequence", "frameRate")
        except (Error, ValueError) as error:
            raise TrackFileError(f"{info}: {error}; correct it or give --fps") from None
        if not fps > 0:
            raise TrackFileError(f"{info}: frameRate is {fps}; correct it or give --fps")
        return fps
    return None


def mot_lines(frame: Ints, track: Ints, boxes: Floats, score: Floats) -> Iterable[str]:
    """Rows as MOTChallenge text; boxes (k, 4) x1, y1, x2, y2."""
    corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    columns = (frame.tolist(), track.tolist(), corner.tolist(), size.tolist(), score.tolist())
    for f, i, (x, y), (w, h), s in zip(*columns, strict=True):
        yield f"{f},{i},{x:.2f},{y:.2f},{w:.2f},{h:.2f},{s:.4g},-1,-1,-1\n"


def ground_lines(t_s: Floats, track: Ints, position_m: Floats) -> Iterable[str]:
    """Rows under their header."""
    yield "t_s,track,x_m,y_m\n"
    for t, i, (x, y) in zip(t_s.tolist(), track.tolist(), position_m.tolist(), strict=True):
        yield f"{t!r},{i},{x:.3f},{y:.3f}\n"
