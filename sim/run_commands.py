"""``walkout sim run`` and ``walkout replay``: progress on stderr, results on stdout, exit status.

The simulator is imported by ``run_main`` alone: a replay needs none of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge.collector import look_seldom
from edge.config import load
from edge.recording import Recording
from sim import replay

if TYPE_CHECKING:
    from sim.scenario_run import RunResult

EXIT_OK, EXIT_DIFFERS = 0, 1
DIFFERENCES_SHOWN = 5


def run_main(
    scenario: str, *, seed: int, out: Path, on_devices: bool, keep: bool, json_output: bool
) -> int:
    """Run a scenario; 1 when it crashed or the referee found a breach.

    Raises:
        ScenarioError, LayoutError, RecordingError, OSError: it cannot begin.
    """
    from sim.scenario import find
    from sim.scenario import load as load_scenario

    found = load_scenario(find(scenario))
    runner = _runner(on_devices)
    with _bar(found.name) as (bar, total):
        total(found.duration_s)
        result = runner(found, seed, out, keep_recording=keep, progress=bar)
    if json_output:
        sys.stdout.write(json.dumps(result.document()) + "\n")
    else:
        _show_run(result)
    for line in result.complaints():
        sys.stderr.write(f"walkout: {line}\n")
    return EXIT_OK if result.ok else EXIT_DIFFERS


def replay_main(
    recording: Path, *, out: Path, store: Path | None, check: bool, json_output: bool
) -> int:
    """Replay a recording into a folder; 1 when ``check`` finds a difference.

    Raises:
        RecordingError, ReplayError, ConfigError, OSError: it cannot be replayed.
    """
    look_seldom()
    source = Recording.open(recording)
    config = load(store) if store is not None else None
    with _bar(recording.name) as (bar, _):
        replayed = replay.replay(recording, config, progress=bar)
    replay.write(replayed, out)
    copied = replay.copy_attachments(source, out)
    document = _document(recording, out, replayed, copied)
    if check:
        document |= _checked(source, replayed)
    if json_output:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        _show_replay(document)
    return EXIT_DIFFERS if document.get("differences") else EXIT_OK


def _runner(on_devices: bool) -> Callable[..., RunResult]:
    if on_devices:
        from sim.on_devices import run_on_devices

        return run_on_devices
    from sim.scenario_run import run_scenario

    return run_scenario


def _document(
    recording: Path, out: Path, replayed: replay.Replayed, copied: list[str]
) -> dict[str, Any]:
    rows = replay.receipts(replayed.events, replayed.zero_ns, replayed.names)
    return {
        "recording": str(recording),
        "folder": str(out),
        "steps": replayed.steps,
        "store_s": round(replayed.store_s, 3),
        "events": len(replayed.events),
        "receipts": len(rows),
        "in_review": sum(row["state"] == "review" for row in rows),
        "events_sha256": replay.events_sha(replayed.events),
        "realtime_factor": round(replayed.realtime_factor, 2),
        "copied": copied,
    }


def _checked(source: Recording, replayed: replay.Replayed) -> dict[str, Any]:
    """Against what the live run concluded, when the recording tells it."""
    live = replay.live_events(source)
    found = replay.differences(live, replayed.events)
    return {
        "live_events": len(live),
        "differences": [str(one) for one in found[:DIFFERENCES_SHOWN]],
    }


def _show_run(result: RunResult) -> None:
    rows = {key: value for key, value in result.document().items() if key != "breaches"}
    rows["referee"] = "no breach" if not result.breaches else f"{len(result.breaches)} breaches"
    rows["crashed"] = result.crashed or "no"
    _show(f"{result.scenario}, seed {result.seed}", rows)


def _show_replay(document: dict[str, Any]) -> None:
    rows = {key: value for key, value in document.items() if key not in ("differences", "copied")}
    rows["events_sha256"] = document["events_sha256"][:16] + " ..."
    rows["copied"] = ", ".join(document["copied"]) or "nothing: it has no truth"
    if "differences" in document:
        rows["same as live"] = "no" if document["differences"] else "yes, byte for byte"
    _show(f"replay of {document['recording']}", rows)
    for line in document.get("differences", []):
        sys.stderr.write(f"walkout: differs: {line}\n")


def _show(title: str, rows: dict[str, Any]) -> None:
    table = Table(title=title, show_header=False, title_justify="left")
    for key, value in rows.items():
        table.add_row(key, str(value))
    Console().print(table)


@contextmanager
def _bar(name: str) -> Iterator[tuple[Callable[[int], None], Callable[[float], None]]]:
    """A progress bar in store time on a terminal's stderr: (reached, set the expected end)."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} s of store time"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield (
            lambda now_ns: progress.update(task, completed=now_ns / replay.NS),
            lambda total_s: progress.update(task, total=total_s),
        )
