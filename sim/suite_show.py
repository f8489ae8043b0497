"""The suite on a terminal: a bar with the time left, loud lines, and the score table at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sim import report
from sim.report_facts import PUBLISHED
from sim.report_figures import interval
from sim.script import Scenario
from sim.suite import Request, run
from sim.suite_job import RUN_FILE, Job, read_json
from sim.suite_summary import failed

PLAIN_EVERY_S = 30.0  # between lines of progress where there is no terminal
COLUMNS = (  # figure, head, with its interval: what eighty columns hold
    ("visit_f1_mean", "F1/visit", True),
    ("item_precision", "prec.", False),
    ("item_recall", "recall", False),
    ("receipts_exact_rate", "exact", True),
    ("review_rate", "review", True),
    ("overcharged_per_1000_lines", "over‰", True),
    ("missed_per_1000_lines", "missed‰", True),
)


def main(request: Request, chosen: Sequence[Scenario], *, json_output: bool) -> int:
    """Run the suite and show it; 1 when a run crashed or the referee saw a breach."""
    console, said = Console(), Console(stderr=True)
    with _Bar(said, request.out) as bar:
        found = run(request, chosen, bar.started)
    page = report.write(request.out)
    if json_output:
        console.file.write(json.dumps(found) + "\n")
    else:
        show(found, console)
        console.print(f"\n{request.out / 'summary.json'}\n{page}", highlight=False, soft_wrap=True)
    for line in complaints(found):
        said.print(line, style="bold red", markup=False, highlight=False, soft_wrap=True)
    return 1 if failed(found) else 0


def show(found: Mapping[str, Any], console: Console) -> None:
    """The score table: kinds and total, then published systems."""
    title = f"{found['runs']} runs in simulation, 95 % intervals below, {found['version']}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("kind", no_wrap=True)
    for head in ("visits", *(head for _, head, _ in COLUMNS)):
        table.add_column(head, justify="right", no_wrap=True)
    for kind, metrics in found["kinds"].items():
        table.add_row(*_cells(kind, metrics))
    table.add_section()
    table.add_row(*_cells("total", found["total"]))
    console.print(table)
    title = "Published systems, real sensors in real stores and staged tests"
    theirs = Table(title=title, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for head in ("system", "measure", "value"):
        theirs.add_column(head)
    for row in PUBLISHED:
        theirs.add_row(row["system"], row["measure"], row["value"])
    console.print(theirs)


def complaints(found: Mapping[str, Any]) -> list[str]:
    """A loud line for each crashed run and each breach."""
    crashed = [f"CRASHED {r['scenario']} seed {r['seed']}: {r['text']}" for r in found["crashed"]]
    return crashed + [
        f"BREACH {b['scenario']} seed {b['seed']} at {b['at_s']:.1f} s, {b['kind']}: {b['text']}"
        for b in found["breaches"]
    ]


def _cells(name: str, metrics: Mapping[str, Any]) -> list[str]:
    return [name, str(metrics["visits"]), *(_cell(metrics, *column) for column in COLUMNS)]


def _cell(metrics: Mapping[str, Any], key: str, head: str, with_ends: bool) -> str:
    """The figure, and its interval below it."""
    del head
    value, ends = metrics.get(key), interval(metrics, key)
    if value is None:
        return "–"
    per_1000 = "per_1000" in key
    text = f"{value:.{1 if per_1000 else 3}f}"
    if ends is None or not with_ends:
        return text
    low, high = (f"{end:.0f}" if per_1000 else f"{end:.2f}".removeprefix("0") for end in ends)
    return f"{text}\n[dim]{low}–{high}[/dim]"


class _Bar:
    """Progress in units of expected work, so that the time left holds for unequal runs."""

    def __init__(self, console: Console, out: Path) -> None:
        self.console, self.out = console, out
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task: Any = None
        self.todo = self.ended = 0
        self.told_s = time.monotonic()

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        if error[0] is KeyboardInterrupt:
            self.console.print(
                f"interrupted: {self.ended} of {self.todo} runs are done; "
                "the same command goes on from here"
            )

    def started(self, jobs: Sequence[Job], todo: Sequence[Job]) -> Any:
        """Called by the suite before its first run; gives what it calls after each one."""
        self.todo = len(todo)
        kept = len(jobs) - len(todo)
        if kept:
            self.console.print(f"{kept} of {len(jobs)} runs are there already and are kept")
        self.task = self.progress.add_task(
            f"0/{self.todo} runs", total=sum(job.cost for job in todo) or 1.0
        )
        return self._ended

    def _ended(self, job: Job) -> None:
        self.ended += 1
        text = f"{self.ended}/{self.todo} runs"
        self.progress.update(self.task, advance=job.cost, description=text)
        crashed = (read_json(job.folder(self.out) / RUN_FILE) or {}).get("crashed")
        if crashed:
            self.console.print(f"{job.name} crashed: {crashed}", style="red", markup=False)
        if not self.console.is_terminal and time.monotonic() - self.told_s > PLAIN_EVERY_S:
            self.told_s = time.monotonic()
            self.console.print(text)
