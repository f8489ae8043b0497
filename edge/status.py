"""``<runtime>/status.json``: what a person or a console sees of the running daemon.

Written whole under another name and renamed, so that a reader never sees half of it. The file is
a view: nothing needs it to go on, and ``wall_ns`` tells a reader how old it is.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from messages.store_config import StoreConfig

STATUS_EVERY_S = 0.5
STATUS_STALE_S = 5.0  # ten missed writings: the daemon is gone or hangs
FILE_NAME = "status.json"


def write(runtime: Path, status: Mapping[str, object]) -> None:
    """Replace the status file. Raises OSError."""
    runtime.mkdir(parents=True, exist_ok=True)
    partial = runtime / f".{FILE_NAME}.{os.getpid()}"
    partial.write_bytes(msgspec.json.encode(status, enc_hook=_plain))
    partial.replace(runtime / FILE_NAME)


def read_status(config: StoreConfig, *, wall_ns: int | None = None) -> dict[str, Any]:
    """The status with ``running``: False when there is none, or it is too old to be believed."""
    runtime = Path(config.paths.runtime)
    try:
        status: dict[str, Any] = json.loads((runtime / FILE_NAME).read_bytes())
    except FileNotFoundError:
        return {"running": False, "healthy": False, "detail": f"no {runtime / FILE_NAME}"}
    age_s = ((time.time_ns() if wall_ns is None else wall_ns) - status["wall_ns"]) / 1e9
    running = abs(age_s) <= STATUS_STALE_S and not status.get("stopped", False)
    healthy = bool(status.get("healthy")) and running
    return {**status, "running": running, "healthy": healthy, "age_s": round(age_s, 3)}


def memory_mb() -> dict[str, float]:
    """Resident memory now and at its peak, MB (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rss_mb": round(pages * resource.getpagesize() / 1e6, 1),
        "peak_mb": round(peak_kb * 1024 / 1e6, 1),
    }


def _plain(value: object) -> object:
    """Numbers of numpy in a view become plain ones; anything else shows as text."""
    item = getattr(value, "tolist", None)
    return item() if callable(item) else str(value)
