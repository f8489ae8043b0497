"""What benchmarks share: a measured process on one core, a stopwatch, the machine, a table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.engine import Engine

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(slots=True)
class Stopwatch:
    """Seconds per stage, wall time or as ``clock`` says. Stages do not overlap."""

    clock: Callable[[], float] = time.perf_counter
    spent_s: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            started = self.clock()
            result = call(*args, **named)
            self.add(stage, self.clock() - started)
            return result

        return wrapped

    def add(self, stage: str, seconds: float) -> None:
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + seconds


def watch_engine(engine: Engine, watch: Stopwatch) -> None:
    """Put a stopwatch around the engine's parts."""
    parts: list[tuple[str, Any, str]] = [
        ("timeline", engine.timeline, "push"),
        ("people", engine.people, "step"),
        ("people", engine.people, "foresee"),
        ("sensors", engine.sensing, "step"),
        ("carts", engine.carts, "step"),
        ("gate", engine.gate, "tick"),
        ("gate", engine.gate, "signal"),
    ]
    for stage, part, method in parts:
        setattr(part, method, watch.timed(stage, getattr(part, method)))


def in_child(module: str, *arguments: object) -> dict[str, Any]:
    """What ``python -m module --child ARGUMENTS`` prints last, a JSON object; BLAS threads off.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    command = [sys.executable, "-m", module, "--child", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the measured process failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def on_one_core() -> None:
    """This process on one core, where the system can do it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
    }


def print_table(found: dict[str, Any]) -> None:
    """A bench's object for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"bench {found['bench']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for part in ("figures", "where_time_goes", "machine"):
        table.add_section()
        for name, value in found[part].items():
            table.add_row(name if part != "where_time_goes" else f"time in {name}", str(value))
    for peer, figures in found["peers"].items():
        table.add_section()
        for name, value in figures.items():
            table.add_row(f"{peer}: {name}", str(value))
    Console().print(table)
