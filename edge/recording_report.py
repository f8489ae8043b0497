"""Recordings in words: tables and lines for the terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from edge.recorder import Progress
from edge.recording_recover import Recovered

GAPS_SHOWN = 10
LOSSES_SHOWN = 5
UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def print_info(found: dict[str, Any]) -> None:
    """``walkout recording info`` for people."""
    Console().print(Group(_head(found), _topics(found), *_rest(found)))


def _head(found: dict[str, Any]) -> Text:
    steps = found["steps"]
    span = f"{found['from_s']:.1f} to {found['to_s']:.1f} s"
    numbers = f", numbers {steps['first']} to {steps['last']}" if steps["count"] else ""
    lines = [
        f"{found['file']}: store {found['store']}, {size(found['bytes'])}",
        f"{clock(found['duration_s'])} of store time ({span})"
        + (f", begun {found['started']}" if found["started"] else ""),
        (f"{steps['count']} steps{numbers}" if steps["count"] else "no steps: an import"),
        f"made by walkout {found['version']}"
        + (", starts in the middle (snapshot)" if found["has_snapshot"] else "")
        + (", with truth" if found["has_truth"] else ", no truth"),
    ]
    return Text("\n".join(lines))


def _topics(found: dict[str, Any]) -> Table:
    table = Table(title="topics", title_justify="left")
    for name in ("topic", "kind"):
        table.add_column(name, overflow="fold")
    for name in ("messages", "per second", "longest gap", "size"):
        table.add_column(name, justify="right")
    for row in found["topics"]:
        table.add_row(
            row["topic"],
            row["kind"].removeprefix("walkout."),
            str(row["messages"]),
            f"{row['rate_hz']:.2f}",
            f"{row['longest_gap_s']:.2f} s",
            size(row["bytes"]),
        )
    return table


def _rest(found: dict[str, Any]) -> list[Text]:
    lines = [
        f"gap: {g['topic']} {g['lasts_s']:.1f} s from {g['at_s']:.1f} s" for g in found["gaps"]
    ]
    more = len(lines) - GAPS_SHOWN
    lines = lines[:GAPS_SHOWN] + ([f"and {more} more gaps"] if more > 0 else [])
    lines += [f"missing: steps {a} to {b}" for a, b in found["steps"]["missing"][:GAPS_SHOWN]]
    if found["events"]:
        counts = ", ".join(f"{n} {name}" for name, n in found["events"].items())
        lines.append(f"events of the live run: {counts}")
    files = (f"{one['name']} ({size(one['bytes'])})" for one in found["attachments"])
    return [Text(line) for line in (*lines, f"attached: {', '.join(files)}")]


def recovered_lines(found: Recovered) -> list[str]:
    """What was saved, and what was not."""
    span = f"{found.from_ns / 1e9:.1f} to {found.to_ns / 1e9:.1f} s of store time"
    lines = [f"saved {found.chunks} chunks, {found.steps} steps, {found.messages} messages: {span}"]
    lines += [f"lost: {loss}" for loss in found.lost[:LOSSES_SHOWN]]
    more = len(found.lost) - LOSSES_SHOWN
    lines += [f"lost: {more} more places"] if more > 0 else []
    lines += [f"lost: steps {a} to {b}; the engine is told" for a, b in found.missing]
    if found.cut_steps:
        lines.append(f"lost: {found.cut_steps} observations of a step that was not closed")
    return lines if len(lines) > 1 else [*lines, "nothing was lost"]


def progress_line(state: Progress) -> str:
    """One line of a recording under way."""
    raw = f", {state.raw_packets} raw packets" if state.tapped or state.raw_packets else ""
    dropped = f" ({state.raw_dropped} dropped)" if state.raw_dropped else ""
    return (
        f"recording: step {state.step}, {clock(state.store_s)} of store time, "
        f"{state.events} events{raw}{dropped}, {size(state.bytes)}"
    )


def clock(seconds: float) -> str:
    """``1:02:03.4``."""
    whole, rest = divmod(round(seconds * 10), 10)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{rest}"


def size(bytes_: float) -> str:
    for unit in ("B", "kB", "MB"):
        if bytes_ < 1000:
            return f"{bytes_:.0f} {unit}" if unit == "B" else f"{bytes_:.1f} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.1f} GB"


def seconds_of(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``10m``, ``2h``. Raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in UNITS_S:
        raise ValueError(f"{text!r} is no duration; write 90s, 10m or 2h")
    return float(match[1]) * UNITS_S[match[2]]
