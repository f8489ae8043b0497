"""What is in a recording: devices with counts, rates and silences, events, attachments."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from edge import mcap_records as mcap
from edge.recording import Recording, Step, observation_name
from edge.recording_format import EVENTS, STEPS, TRUTH
from messages.catalogue import BY_NAME, ENTRY_OF

NS = 1_000_000_000
GAPS_MAX = 1000  # told
HOLES_MAX = 1000


@dataclass(slots=True)
class _Topic:
    kind: str
    messages: int = 0
    bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    longest_gap_ns: int = 0


class Survey:
    """One reading of a recording; ``document`` is what ``walkout recording info --json`` prints."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._topics: dict[str, _Topic] = {}
        self._gaps: list[dict[str, Any]] = []
        self._holes: list[tuple[int, int]] = []
        self._events: Counter[str] = Counter()
        self._steps, self._first, self._last = 0, Step(0, 0, 0), Step(0, 0, 0)
        self._zero_ns = zero_ns(recording)
        tables = mcap.Tables()
        for message in recording.messages(tables):
            self._count(message, tables)

    def document(self) -> dict[str, Any]:
        """Plain values; instants in seconds from the recording's zero."""
        recording, (from_ns, to_ns) = self._recording, self._span()
        return {
            "file": str(recording.path),
            "bytes": recording.path.stat().st_size,
            "store": recording.meta.get("store", ""),
            "version": recording.meta.get("version", ""),
            "started": recording.meta.get("started", ""),
            "from_s": self._s(from_ns),
            "to_s": self._s(to_ns),
            "duration_s": round((to_ns - from_ns) / NS, 3),
            "steps": {
                "count": self._steps,
                "first": self._first.step,
                "last": self._last.step,
                "missing": [list(hole) for hole in self._holes],
            },
            "topics": [self._row(name) for name in sorted(self._topics)],
            "gaps": self._gaps,
            "events": dict(sorted(self._events.items())),
            "attachments": [
                {"name": name, "bytes": len(data), "media_type": recording.media_types[name]}
                for name, data in recording.attachments.items()
            ],
            "metadata": dict(recording.meta),
            "has_snapshot": recording.snapshot is not None,
            "has_truth": TRUTH in recording.attachments,
        }

    def _count(self, message: mcap.Message, tables: mcap.Tables) -> None:
        channel = tables.channels.get(message.channel)
        if channel is None:
            return
        schema = tables.schemas.get(channel.schema)
        row = self._topics.get(channel.topic)
        if row is None:
            row = self._topics[channel.topic] = _Topic(schema.name if schema else "")
            row.first_ns = row.last_ns = message.log_time
        self._note_gap(channel.topic, row, message.log_time)
        row.messages += 1
        row.bytes += len(message.data)
        row.last_ns = max(row.last_ns, message.log_time)
        if channel.topic == STEPS:
            self._note_step(message)
        elif channel.topic == EVENTS:
            self._events[_event_type(message.data)] += 1

    def _note_gap(self, topic: str, row: _Topic, at_ns: int) -> None:
        """A device that was silent for longer than its row in the catalogue allows."""
        silent_ns = at_ns - row.last_ns
        row.longest_gap_ns = max(row.longest_gap_ns, silent_ns)
        kind = BY_NAME.get(observation_name(row.kind))
        stale_s = ENTRY_OF[kind].stale_after_s if kind else None
        if stale_s is not None and silent_ns > stale_s * NS and len(self._gaps) < GAPS_MAX:
            lasts_s = round(silent_ns / NS, 3)
            self._gaps.append({"topic": topic, "at_s": self._s(row.last_ns), "lasts_s": lasts_s})

    def _note_step(self, message: mcap.Message) -> None:
        try:
            step = Step.decode(message.data)
        except msgspec.MsgspecError:
            return
        if not self._steps:
            self._first = step
        elif step.step != self._last.step + 1 and len(self._holes) < HOLES_MAX:
            self._holes.append((self._last.step + 1, step.step - 1))
        self._steps, self._last = self._steps + 1, step

    def _span(self) -> tuple[int, int]:
        if self._steps:
            return self._first.now_ns, self._last.now_ns
        rows = self._topics.values()
        return min((r.first_ns for r in rows), default=0), max((r.last_ns for r in rows), default=0)

    def _row(self, name: str) -> dict[str, Any]:
        row = self._topics[name]
        from_ns, to_ns = self._span()
        lasts_s = (to_ns - from_ns) / NS
        return {
            "topic": name,
            "kind": row.kind,
            "messages": row.messages,
            "bytes": row.bytes,
            "rate_hz": round(row.messages / lasts_s, 2) if lasts_s > 0 else 0.0,
            "longest_gap_s": round(row.longest_gap_ns / NS, 3),
        }

    def _s(self, at_ns: int) -> float:
        return round((at_ns - self._zero_ns) / NS, 3)


def zero_ns(recording: Recording) -> int:
    """Store time that the recording's seconds count from."""
    text = recording.meta.get("zero_ns", "0")
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else 0


def seconds(recording: Recording, text: str, start_ns: int) -> int:
    """Store time of ``12.5`` (from the recording's zero) or ``+12.5`` (from its first step).

    Raises:
        ValueError: no number of seconds.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number of seconds; write 12.5, or +12.5 from the start")
    base_ns = start_ns if text.lstrip().startswith("+") else zero_ns(recording)
    return base_ns + round(value * NS)


def _event_type(data: memoryview) -> str:
    try:
        return str(msgspec.json.decode(data, type=dict[str, Any]).get("type", ""))
    except msgspec.MsgspecError:
        return "unreadable"
