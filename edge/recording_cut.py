"""A piece of a recording that replays by itself: ``walkout recording cut``.

A cut that begins later than its source is replayed up to its first step, and the engine's state
there becomes its snapshot. Truth is trimmed to the visits that lie wholly inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import mcap_records as mcap
from edge.recording import RecordedStep, Recording, observation_name
from edge.recording_format import SNAPSHOT, STEPS, TOML, TRUTH, RecordingError
from edge.recording_info import seconds, zero_ns
from edge.recording_replay import Replaying
from edge.recording_writer import RecordingWriter

NS = 1_000_000_000
CUT_AWAY = frozenset((TOML, SNAPSHOT, TRUTH))  # attachments that the cut makes anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What was kept."""

    steps: int
    first_step: int
    from_ns: int
    to_ns: int
    visits: int | None  # of the truth; None: there was none


def cut(source: Recording, start: str, end: str, out: Path) -> Cut:
    """Write the steps from ``start`` to ``end`` (seconds, see ``seconds``), both included.

    Raises:
        RecordingError: nothing lies between them, or ``out`` cannot be written.
        ValueError: they are no seconds.
    """
    if out.resolve() == source.path.resolve():
        raise RecordingError(out, None, "is the recording itself", "give another --out")
    steps = source.steps()
    first = next(steps, None)
    began_ns = first.now_ns if first else 0
    from_ns, to_ns = seconds(source, start, began_ns), seconds(source, end, began_ns)
    inside = _Inside(source, _with_first(first, steps), from_ns, to_ns)
    head = next(inside, None)
    if head is None:
        what = f"has no step from {start} to {end} s"
        raise RecordingError(source.path, None, what, "see walkout recording info for its span")
    return _write(source, inside, head, out)


def _write(source: Recording, inside: _Inside, head: RecordedStep, out: Path) -> Cut:
    kept = inside.engine.snapshot() if inside.replayed else source.snapshot
    toml = inside.engine.engine.config.toml if inside.replayed else source.toml
    count, last = 0, head
    beside = _Beside(source, inside.to_ns)
    with RecordingWriter(out, toml=toml, snapshot=kept, meta=_rows(source)) as writer:
        beside.skip(head.now_ns if inside.replayed else -1)
        for step in _with_first(head, inside):
            beside.copy(step.now_ns, writer)
            writer.step(step.step, step.now_ns, step.observations)
            count, last = count + 1, step
        beside.copy(inside.to_ns + 1, writer)
        visits = _attach(source, writer, inside.from_ns, last.now_ns)
    return Cut(
        steps=count,
        first_step=head.step,
        from_ns=head.now_ns,
        to_ns=last.now_ns,
        visits=visits,
    )


def _rows(source: Recording) -> dict[str, str]:
    rows = {key: value for key, value in source.meta.items() if key != "drain_s"}
    return {**rows, "cut_from": source.path.name}


def _with_first(first: RecordedStep | None, rest: Iterator[RecordedStep]) -> Iterator[RecordedStep]:
    if first is not None:
        yield first
    yield from rest


class _Inside:
    """The steps between two instants; those before run through the engine."""

    def __init__(
        self, source: Recording, steps: Iterator[RecordedStep], from_ns: int, to_ns: int
    ) -> None:
        self.engine = Replaying(source.toml, source.snapshot)
        self.replayed = 0
        self.from_ns, self.to_ns = from_ns, to_ns
        self._steps = steps

    def __iter__(self) -> Iterator[RecordedStep]:
        return self

    def __next__(self) -> RecordedStep:
        for step in self._steps:
            if step.now_ns > self.to_ns:
                break
            if step.now_ns >= self.from_ns:
                return step
            self.engine.play(step)
            self.replayed += 1
        raise StopIteration


class _Beside:
    """Events, commands, raw packets and the scene, in the order of the source."""

    def __init__(self, source: Recording, to_ns: int) -> None:
        self._tables, self._to_ns = mcap.Tables(), to_ns
        self._messages = source.messages(self._tables)
        self._next: mcap.Message | None = None
        self._advance()

    def skip(self, until_ns: int) -> None:
        """Pass over what lies before an instant."""
        while self._next is not None and self._next.log_time < until_ns:
            self._advance()

    def copy(self, until_ns: int, writer: RecordingWriter) -> None:
        """Copy what lies before an instant."""
        while self._next is not None and self._next.log_time < min(until_ns, self._to_ns + 1):
            channel = self._tables.channels[self._next.channel]
            writer.copy(channel, self._tables.schemas.get(channel.schema), self._next)
            self._advance()

    def _advance(self) -> None:
        self._next = next((m for m in self._messages if self._is_beside(m)), None)

    def _is_beside(self, message: mcap.Message) -> bool:
        channel = self._tables.channels.get(message.channel)
        if channel is None or channel.topic == STEPS:
            return False
        schema = self._tables.schemas.get(channel.schema)
        return schema is None or not observation_name(schema.name)


# --- attachments ----------------------------------------------------------------------------------


def _attach(source: Recording, writer: RecordingWriter, from_ns: int, to_ns: int) -> int | None:
    """All attachments; the number of visits that the truth keeps."""
    for name, data in source.attachments.items():
        if name not in CUT_AWAY:
            writer.attach(name, source.media_types[name], data)
    if TRUTH not in source.attachments:
        return None
    zero = zero_ns(source)
    truth = trimmed(source, (from_ns - zero) / NS, (to_ns - zero) / NS)
    body = json.dumps(truth, indent=1).encode() + b"\n"
    writer.attach(TRUTH, source.media_types[TRUTH], body)
    return len(truth["visits"])


def trimmed(source: Recording, from_s: float, to_s: float) -> dict[str, Any]:
    """The truth of the visits that lie wholly inside, and of what they did.

    Raises:
        RecordingError: the attachment is no truth.
    """
    try:
        truth: dict[str, Any] = json.loads(source.attachments[TRUTH])
        visits = [v for v in truth["visits"] if _is_inside(v, from_s, to_s)]
        names = {visit["visit"] for visit in visits}
        actions = [
            action
            for action in truth.get("actions", [])
            if action["visit"] in names or action.get("to_visit") in names
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"has a {TRUTH} that is none: {type(error).__name__} {error}"
        raise RecordingError(source.path, None, what, "export it and correct that file") from error
    return {**truth, "visits": visits, "actions": actions}


def _is_inside(visit: dict[str, Any], from_s: float, to_s: float) -> bool:
    entered_s, exited_s = visit.get("entered_at_s"), visit.get("exited_at_s")
    return (
        entered_s is not None
        and exited_s is not None
        and from_s <= float(entered_s)
        and float(exited_s) <= to_s
    )
