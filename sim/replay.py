"""Replay: the engine again over what it was given, and what it concludes as files.

``replay`` runs a recording through a fresh engine (or the one of its snapshot) with the recorded
step boundaries; no command is carried out. A change of configuration inside the recording carries
the state over as the daemon does at a restart. The same file gives the same bytes of
``events.jsonl`` each time; ``differences`` compares them with what the live run concluded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge.config import ConfigError
from edge.engine import Engine
from edge.recording import Recording
from edge.recording_format import plain_names
from edge.recording_replay import Replaying, S, Step
from edge.snapshots import Snapshot
from edge.vision.assignment import preload
from messages import codec
from messages.commands import Command
from messages.events import CartClosed, Event, VisitKind
from messages.store_config import StoreConfig

NS = 1_000_000_000
ZERO = "zero_ns"  # of a recording's metadata: store time that truth and receipts count from
COPIED = ("truth.json", "run.json")  # attachments that scorers read beside the receipts
PROGRESS_EVERY_STEPS = 200
DIFFERENCES_MAX = 100  # told; one is enough to say that two runs are not the same


class ReplayError(ValueError):
    """A recording that cannot be replayed: which file, which step, and what to do."""


class Source(Protocol):
    """What can be replayed: ``edge.recording.Recording``, or steps kept in memory."""

    @property
    def toml(self) -> str: ...
    @property
    def snapshot(self) -> Snapshot | None: ...
    @property
    def meta(self) -> Mapping[str, str]: ...
    def steps(self) -> Iterator[Step]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the engine concluded. ``steps``: how many; instants are store time."""

    events: tuple[Event, ...]
    commands: tuple[Command, ...]
    config: StoreConfig  # in force at the end
    zero_ns: int
    began_at_ns: int
    ended_at_ns: int
    steps: int
    wall_s: float
    names: Mapping[str, str] = field(default_factory=dict)  # credential -> its plain name

    @property
    def store_s(self) -> float:
        return (self.ended_at_ns - self.began_at_ns) / NS

    @property
    def realtime_factor(self) -> float:
        return self.store_s / self.wall_s if self.wall_s > 0 else 0.0


def replay(
    recording: Path | Source,
    config: StoreConfig | None = None,
    *,
    progress: Callable[[int], None] = lambda now_ns: None,
) -> Replayed:
    """Run a recording through the engine.

    Args:
        config: takes the place of every configuration in the recording.
        progress: called now and then with the store time reached.

    Raises:
        RecordingError: the file is no whole recording.
        ReplayError: it cannot be replayed by this version, or with this configuration.
    """
    preload()
    started = time.perf_counter()
    source = Recording.open(recording) if isinstance(recording, Path) else recording
    player = Player(source, config, name=str(recording) if isinstance(recording, Path) else "run")
    for count, step in enumerate(player.ahead(source.steps())):
        player.play(step)
        if count % PROGRESS_EVERY_STEPS == 0:
            progress(step.now_ns)
    progress(player.now_ns)
    return player.done(time.perf_counter() - started)


class Player:
    """The engine under a recording, step by step, with its events and commands so far."""

    def __init__(self, source: Source, config: StoreConfig | None, *, name: str) -> None:
        self.name, self.steps = name, 0
        self.events: list[Event] = []
        self.commands: list[Command] = []
        self._began_at_ns = 0
        self._zero_ns = _zero_ns(source, name)
        self._names = plain_names(source.attachments) if isinstance(source, Recording) else {}
        self._replaying = self._begun(source, config)

    @property
    def engine(self) -> Engine:
        return self._replaying.engine

    @property
    def now_ns(self) -> int:
        return self._replaying.now_ns

    def ahead(self, steps: Iterable[S]) -> Iterator[S]:
        """The same steps, to be played in turn: faster than when they come as a surprise."""
        return self._replaying.ahead(steps)

    def play(self, step: Step) -> None:
        """One step; ids of events count from the recorded number. Raises ReplayError."""
        if not self.steps:
            self._began_at_ns = step.now_ns
        try:
            outputs = self._replaying.play(step)
        except Exception as error:
            place = f"{self.name}: step {step.step} at {step.now_ns / NS:.3f} s of store time"
            what = f"{type(error).__name__}: {error}"
            remedy = "cut the recording before it, or replay it with the version that made it"
            raise ReplayError(f"{place}: {what}; {remedy}") from error
        self.steps += 1
        self.events.extend(outputs.events)
        self.commands.extend(outputs.commands)

    def done(self, wall_s: float) -> Replayed:
        return Replayed(
            events=tuple(self.events),
            commands=tuple(self.commands),
            config=self.engine.config,
            zero_ns=self._zero_ns,
            began_at_ns=self._began_at_ns,
            ended_at_ns=self.now_ns,
            steps=self.steps,
            wall_s=wall_s,
            names=self._names,
        )

    def _begun(self, source: Source, config: StoreConfig | None) -> Replaying:
        try:
            return Replaying(source.toml, source.snapshot, config)
        except codec.CodecError as error:
            what = f"its snapshot is of another version: {error}"
            raise ReplayError(f"{self.name}: {what}; replay it with that version") from error
        except ConfigError as error:
            raise ReplayError(f"{self.name}: {error}") from error


def _zero_ns(source: Source, name: str) -> int:
    text = source.meta.get(ZERO, "0")
    try:
        return int(text)
    except ValueError:
        what = f"its metadata has {ZERO} = {text[:40]!r}, which is no number"
        raise ReplayError(f"{name}: {what}; record or import it again") from None


# --- files ----------------------------------------------------------------------------------------


def events_text(events: Iterable[Event]) -> bytes:
    """``events.jsonl``: one event a line, keys in the order of the alphabet, NaN as null."""
    return b"".join(codec.to_json(event) + b"\n" for event in events)


def events_sha(events: Iterable[Event]) -> str:
    """SHA-256 of ``events_text``, hexadecimal."""
    return hashlib.sha256(events_text(events)).hexdigest()


def receipts(
    events: Iterable[Event], zero_ns: int = 0, names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """``receipts.json``: the closed cart of each shopper, in the order of closing.

    Staff are never charged and have no receipt. ``closed_at_s`` counts from the recording's zero.
    ``names``: plain names of credentials that an import had to make unique.
    """
    return [
        _receipt(event, zero_ns, names or {})
        for event in events
        if isinstance(event, CartClosed) and event.kind is VisitKind.SHOPPER
    ]


def write(replayed: Replayed, out: Path) -> None:
    """``events.jsonl``, ``receipts.json`` and ``timing.json`` into a folder, which is made."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "events.jsonl").write_bytes(events_text(replayed.events))
    rows = receipts(replayed.events, replayed.zero_ns, replayed.names)
    write_json(out / "receipts.json", rows)
    write_json(out / "timing.json", timing(replayed.wall_s, replayed.store_s))


def copy_attachments(recording: Recording, out: Path) -> list[str]:
    """Truth and run of the recording beside the receipts, for ``walkout score``; their names."""
    found = [name for name in COPIED if name in recording.attachments]
    for name in found:
        (out / name).write_bytes(recording.attachments[name])
    return found


def timing(wall_s: float, store_s: float) -> dict[str, float]:
    """``timing.json``."""
    return {
        "wall_s": round(wall_s, 3),
        "store_s": round(store_s, 3),
        "realtime_factor": round(store_s / wall_s, 2) if wall_s > 0 else 0.0,
    }


def write_json(path: Path, value: object) -> None:
    """For people and for scorers; the same value gives the same bytes."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _receipt(cart: CartClosed, zero_ns: int, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "visit": cart.visit,
        "credential": names.get(cart.credential, cart.credential),
        "state": cart.state.value,
        "lines": [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "probability": line.probability,
                "state": line.state.value,
            }
            for line in cart.lines
        ],
        "closed_at_s": round((cart.at_ns - zero_ns) / NS, 3),
    }


# --- comparison -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two runs part: the number of the event, and both lines; None where one has no more."""

    index: int
    live: str | None
    replayed: str | None

    def __str__(self) -> str:
        if self.live is None or self.replayed is None:
            only, line = ("replay", self.replayed) if self.live is None else ("live run", self.live)
            return f"event {self.index}: only the {only} has {line}"
        live, replayed = json.loads(self.live), json.loads(self.replayed)
        fields = [
            f"{key}: {live.get(key)!r} live, {replayed.get(key)!r} replayed"
            for key in sorted({*live, *replayed})
            if live.get(key) != replayed.get(key)
        ]
        return f"event {self.index} ({live.get('type')} {live.get('id')}): {'; '.join(fields)}"


def differences(live: Sequence[Event], replayed: Sequence[Event]) -> list[Difference]:
    """Events that are not the same byte for byte, at most ``DIFFERENCES_MAX``; none: []."""
    a, b = ([codec.to_json(event).decode() for event in side] for side in (live, replayed))
    longest = max(len(a), len(b))
    pairs = zip(a + [None] * (longest - len(a)), b + [None] * (longest - len(b)), strict=True)
    found = (Difference(index=i, live=x, replayed=y) for i, (x, y) in enumerate(pairs) if x != y)
    return [one for one, _ in zip(found, range(DIFFERENCES_MAX), strict=False)]


def live_events(recording: Recording) -> list[Event]:
    """What the live run concluded, as far as the recording tells."""
    return [
        output.message for output in recording.live_events() if isinstance(output.message, Event)
    ]
