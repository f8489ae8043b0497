"""``walkout weights`` in a terminal: a progress bar, then what was read and found."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from edge.weights_csv import Weighed, weigh_file

BAR_FROM_BYTES = 4 * 2**20  # below, it is over before a bar could be read


def main(file: Path, store: Path, out: Path, *, json_output: bool) -> int:
    """Find the steps of a file and print a summary, as one JSON object if asked."""
    done = _weigh(file, store, out, quiet=json_output)
    if json_output:
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
    else:
        sys.stdout.write(f"{out}: {_summary(done)}\n")
    return 0


def _weigh(file: Path, store: Path, out: Path, *, quiet: bool) -> Weighed:
    size = file.stat().st_size if file.is_file() else 0
    columns = (TextColumn("reading"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    hidden = quiet or size < BAR_FROM_BYTES or not sys.stderr.isatty()
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=hidden,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=size)
        return weigh_file(file, store, out, lambda count: bar.update(task, completed=count))


def _summary(done: Weighed) -> str:
    if done.from_s is None or done.to_s is None:
        return "no rows, no steps"
    gaps = done.counters.get("gaps", 0)
    lost = f", {gaps} gaps" if gaps else ""
    return (
        f"{done.steps} steps in {done.rows} rows of {done.plates} plates, "
        f"{done.to_s - done.from_s:.1f} s{lost}"
    )
