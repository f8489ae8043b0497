"""The story of a receipt's lines: which step of mass, who was near, what else it might have been.

Everything here comes from events, of a store's journal or of a run's ``events.jsonl``; nothing is
computed anew, so what is told is what was decided then.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from messages import codec
from messages.cart import Cart
from messages.catalogue import BY_NAME
from messages.events import (
    CartClosed,
    CartLine,
    Event,
    Evidence,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    ReviewRequested,
    ReviewResolved,
    VisitStarted,
)
from messages.ids import LineId, ReviewId, VisitId

TOLD = (
    VisitStarted,
    ItemTaken,
    ItemReturned,
    ItemHandedOver,
    ReviewRequested,
    ReviewResolved,
    CartClosed,
)
VISITS_NAMED = 8  # in an error: enough to see what ids look like


class NothingToExplainError(ValueError):
    """No such visit, line or file of events; says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One thing that happened to a line: ``at_s`` in store time."""

    at_s: float
    event: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A line of a visit's cart as it stands in the end, and how it came to be so."""

    line: str
    sku: str
    quantity: int
    probability: float
    state: str
    chapters: tuple[Chapter, ...]

    def document(self) -> dict[str, Any]:
        """What ``walkout explain --json`` prints for the line."""
        return asdict(self)


def events_of_journal(path: Path) -> list[Event]:
    """Events of a store's journal that carts are made of, in order; the daemon may be running.

    Raises:
        NothingToExplainError: there is no journal, or it cannot be read.
    """
    if not path.exists():
        raise NothingToExplainError(f"{path}: there is no journal; start the daemon first")
    names = ",".join(f"'{kind.__name__}'" for kind in TOLD)
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        rows = db.execute(f"SELECT body FROM event WHERE type IN ({names}) ORDER BY seq").fetchall()  # noqa: S608
        db.close()
    except sqlite3.Error as error:
        raise NothingToExplainError(f"{path}: not a journal that can be read: {error}") from error
    return [codec.decode(body) for (body,) in rows]


def events_of_run(path: Path) -> list[Event]:
    """Events of ``events.jsonl``, or of the folder of a run that has one.

    Raises:
        NothingToExplainError: with file and line.
    """
    file = path / "events.jsonl" if path.is_dir() else path
    events: list[Event] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NothingToExplainError(f"{file}: no events can be read there: {error}") from error
    for number, text in enumerate(lines, start=1):
        try:
            fields = json.loads(text)
            kind = BY_NAME[fields.pop("type")]
            if kind in TOLD:
                events.append(msgspec.convert(fields, kind))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise NothingToExplainError(f"{file}:{number}: this is no event: {error}") from error
    return events


def stories(events: Sequence[Event], visit: VisitId, line: str | None = None) -> list[Story]:
    """The story of every line of a visit, or of one.

    Raises:
        NothingToExplainError: no such visit or line.
    """
    known = [event.visit for event in events if isinstance(event, VisitStarted)]
    if visit not in known:
        some = ", ".join(known[:VISITS_NAMED]) or "none"
        raise NothingToExplainError(f"no visit {visit!r} here; visits are: {some}")
    lines = _lines(events, visit)
    chosen = [one for one in lines if line is None or one.line == line]
    if line is not None and not chosen:
        some = ", ".join(one.line for one in lines) or "none"
        raise NothingToExplainError(f"{visit} has no line {line!r}; its lines are: {some}")
    return [_story(events, visit, one) for one in chosen]


def _lines(events: Iterable[Event], visit: VisitId) -> Sequence[CartLine]:
    """Of the closed cart, or of the cart as it stands."""
    cart = Cart(visit=visit)
    for event in events:
        if isinstance(event, CartClosed) and event.visit == visit:
            return event.lines
        cart = cart.after(event)
    return cart.lines


def _story(events: Iterable[Event], visit: VisitId, line: CartLine) -> Story:
    asked = set[ReviewId]()
    chapters = []
    for event in events:
        text = _told(event, visit, line, asked)
        if text:
            at_s = round(event.at_ns / 1e9, 2)
            chapters.append(Chapter(at_s=at_s, event=type(event).__name__, text=text))
    return Story(
        line=line.line,
        sku=line.sku,
        quantity=line.quantity,
        probability=line.probability,
        state=line.state.value,
        chapters=tuple(chapters),
    )


def _told(event: Event, visit: VisitId, line: CartLine, asked: set[ReviewId]) -> str:
    """What an event says of the line; empty when it is about something else."""
    match event:
        case ItemTaken() if event.line == line.line:
            return f"taken with {event.probability:.1%}: {_evidence(event.evidence)}"
        case ItemReturned() if event.visit == visit and event.line == line.line:
            return f"{event.quantity} put back with {event.probability:.1%}: " + _evidence(
                event.evidence
            )
        case ItemHandedOver() if event.sku == line.sku and visit in (
            event.from_visit,
            event.to_visit,
        ):
            way = "to" if event.from_visit == visit else "from"
            other = event.to_visit if way == "to" else event.from_visit
            return f"{event.quantity} passed {way} {other} with {event.probability:.1%}"
        case ReviewRequested() if _concerns(event, visit, line):
            asked.add(event.review)
            return f"asked as {event.review}: {event.reason} {_candidates(event)}; " + _evidence(
                event.evidence
            )
        case ReviewResolved() if event.review in asked:
            who = f"{event.quantity} x {event.sku} of {event.visit}" if event.visit else "nobody's"
            return f"{event.review} answered by {event.by}: {who}"
        case CartClosed() if event.visit == visit:
            return f"the cart closed: {line.quantity} x {line.sku}, {line.state.value}"
    return ""


def _concerns(event: ReviewRequested, visit: VisitId, line: CartLine) -> bool:
    if LineId(event.review) == line.line:
        return True
    return any(one.visit == visit and one.sku == line.sku for one in event.candidates)


def _candidates(event: ReviewRequested) -> str:
    told = []
    for one in event.candidates:
        did = "took" if one.quantity > 0 else "put back"
        who, what = one.visit or "nobody known", one.sku or "something unknown"
        told.append(f"{who} {did} {abs(one.quantity)} x {what} ({one.probability:.1%})")
    return "; ".join(told)


def _evidence(evidence: Evidence) -> str:
    """When and where the mass changed, and which tracks were near."""
    span = f"{evidence.started_at_ns / 1e9:.1f} to {evidence.ended_at_ns / 1e9:.1f} s"
    if evidence.shelf is None:
        return f"{span}, no shelf" + (f" ({evidence.note})" if evidence.note else "")
    did = "lost" if evidence.mass_g < 0 else "gained"
    plates = ", ".join(
        f"{plate} {share:.0%}"
        for plate, share in zip(evidence.plates, evidence.plate_share, strict=False)
    )
    tracks = ", ".join(str(track) for track in evidence.track_ids) or "none"
    note = f"; {evidence.note}" if evidence.note else ""
    return (
        f"shelf {evidence.shelf} {did} {abs(evidence.mass_g):.0f} g "
        f"(sd {evidence.mass_sd_g:.1f}) on {plates}, {span}; tracks in reach: {tracks}{note}"
    )
