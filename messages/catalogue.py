"""The catalogue: one table of every message. Codec, staleness alarms, retention and docs use it.

``rate_hz`` is what one device of our store sends while the store is open; ``stale_after_s`` is how
long a source may be silent before its readings are *unknown* (None: silence is normal).
Retention is in days after the observation; events are kept for the store's statutory period.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from messages import commands, events, observations

EVENT_RETENTION_DAYS = 3650.0  # bookkeeping evidence: ten years is the usual statutory period


class MessageKind(StrEnum):
    OBSERVATION = "observation"
    EVENT = "event"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row: the class, who makes it, how often, and how long it is kept."""

    type: type
    kind: MessageKind
    producer: str
    rate_hz: float
    journalled: bool
    retention_days: float
    stale_after_s: float | None = None
    sheddable: bool = False  # a full inbox may drop it, counted


def _seen(
    kind: type,
    producer: str,
    rate_hz: float,
    retention_days: float,
    *,
    stale_after_s: float | None = None,
    sheddable: bool = False,
) -> Entry:
    return Entry(
        type=kind,
        kind=MessageKind.OBSERVATION,
        producer=producer,
        rate_hz=rate_hz,
        journalled=True,
        retention_days=retention_days,
        stale_after_s=stale_after_s,
        sheddable=sheddable,
    )


def _concluded(kind: type, producer: str, rate_hz: float = 0.1) -> Entry:
    return Entry(
        type=kind,
        kind=MessageKind.EVENT,
        producer=producer,
        rate_hz=rate_hz,
        journalled=True,
        retention_days=EVENT_RETENTION_DAYS,
    )


def _asked(kind: type, producer: str) -> Entry:
    return Entry(
        type=kind,
        kind=MessageKind.COMMAND,
        producer=producer,
        rate_hz=0.1,
        journalled=True,
        retention_days=90.0,
    )


CATALOGUE: tuple[Entry, ...] = (
    _seen(observations.ShelfSamples, "shelf drivers", 5.0, 3.0, stale_after_s=2.0),
    _seen(
        observations.PersonDetections,
        "detector workers",
        15.0,
        3.0,
        stale_after_s=3.0,
        sheddable=True,
    ),
    _seen(observations.ItemSightings, "product recognizer", 1.0, 3.0, sheddable=True),
    _seen(observations.GateSignal, "gate drivers", 0.1, 90.0),
    _seen(observations.DeviceHealth, "every driver", 0.1, 30.0),
    _seen(observations.OperatorAction, "console, sync", 0.01, EVENT_RETENTION_DAYS),
    _seen(observations.ConfigLoaded, "daemon", 0.0001, EVENT_RETENTION_DAYS),
    _seen(observations.ClockAnchor, "daemon", 1 / 60, EVENT_RETENTION_DAYS),
    _seen(observations.StepSetAside, "daemon", 0.0, EVENT_RETENTION_DAYS),
    _concluded(events.VisitStarted, "gate"),
    _concluded(events.VisitJoined, "gate", 0.01),
    _concluded(events.VisitEnded, "gate"),
    _concluded(events.EntryRefused, "gate"),
    _concluded(events.TailgateSuspected, "gate"),
    _concluded(events.ItemTaken, "cart tracker", 1.0),
    _concluded(events.ItemReturned, "cart tracker"),
    _concluded(events.ItemHandedOver, "cart tracker"),
    _concluded(events.ReviewRequested, "cart tracker"),
    _concluded(events.ReviewResolved, "cart tracker"),
    _concluded(events.CartClosed, "engine"),
    _concluded(events.AlarmRaised, "engine"),
    _concluded(events.AlarmCleared, "engine"),
    _concluded(events.PlanogramProposed, "cart tracker", 0.001),
    _concluded(events.FacingSoldOut, "cart tracker", 0.01),
    _concluded(events.FacingRefilled, "cart tracker", 0.01),
    _concluded(events.PurchasePriced, "settlement"),
    _concluded(events.PaymentAuthorized, "settlement"),
    _concluded(events.PaymentCaptured, "settlement"),
    _concluded(events.PaymentDeclined, "settlement"),
    _concluded(events.PaymentRefunded, "settlement"),
    _concluded(events.ReceiptIssued, "settlement"),
    _asked(commands.UnlockGate, "gate"),
    _asked(commands.RefuseEntry, "gate"),
    _asked(commands.TareShelf, "engine"),
    _asked(commands.KeepClip, "cart tracker"),
)

BY_NAME: dict[str, type] = {entry.type.__name__: entry.type for entry in CATALOGUE}
ENTRY_OF: dict[type, Entry] = {entry.type: entry for entry in CATALOGUE}
