"""What the fleet tells its child processes: one JSON line on their standard input.

The line is all they are told, and the end of their standard input is the end of them: a child
does not outlive the daemon. What they say comes back as JSON lines on their standard output.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from messages.store_config import Camera, Facing, Plate
from messages.vision_config import Model

SAY_EVERY_S = 1.0
JOB_BYTES_MAX = 1 << 20
STDIN = 0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderJob:
    """One camera's stream. ``slot_fd``: its image slot; ``bell_fd``: an eventfd to ring."""

    camera: str
    url: str
    user: str
    password_file: str
    images_per_s: float
    latency_ms: float
    width_px: int
    height_px: int
    slot_fd: int
    bell_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A camera that a detector looks at."""

    camera: str
    width_px: int
    height_px: int
    slot_fd: int
    model: str
    model_width_px: int
    always: bool
    calibration: Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorJob:
    """One worker's cameras, its budget and where its detections go."""

    worker: int
    cameras: tuple[Watched, ...]
    bell_fd: int
    socket: str
    cpu_cores: float
    models: tuple[Model, ...]
    models_folder: str
    plates: tuple[Plate, ...] = ()
    facings: tuple[Facing, ...] = ()
    products: str = ""  # what `walkout enroll` wrote
    clips: str = ""
    clips_key_file: str = ""
    clip_s: float = 0.0
    clips_days: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A child's report. ``error``: why it ends; ``ended``: a file was played to its end."""

    counts: dict[str, int]
    error: str = ""
    ended: bool = False


def received_job(kind: type[T]) -> T:
    """The job of this process; from here on it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's, which ends us
    job = msgspec.json.decode(_line(), type=kind)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return job


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < JOB_BYTES_MAX:
        part = os.read(STDIN, JOB_BYTES_MAX)
        if not part:
            sys.exit(0)  # the parent is gone already
        line += part
    return line


def _end_with_parent() -> None:
    while os.read(STDIN, 1024):
        pass
    os._exit(0)


def say(counts: dict[str, int], **more: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(Said(counts=counts, **more)) + b"\n")
    sys.stdout.buffer.flush()
