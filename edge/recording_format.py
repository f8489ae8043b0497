"""What writer and reader of recordings agree on: names, bounds, topics, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from messages.observations import (
    ClockAnchor,
    ConfigLoaded,
    DeviceHealth,
    GateSignal,
    ItemSightings,
    Observation,
    OperatorAction,
    PersonDetections,
    ShelfSamples,
    StepSetAside,
)

PROFILE = "walkout"
TOML, SNAPSHOT, TRUTH = "store.toml", "snapshot", "truth.json"  # names of attachments
CREDENTIALS = "credentials.json"  # of an import: ids of credentials that are not the plain name
METADATA = "walkout"
STEPS, EVENTS, COMMANDS, SCENE = "/steps", "/events", "/commands", "/scene"
RAW_PREFIX = "/raw/"


class RecordingError(ValueError):
    """A file that is no whole recording of ours: which, where, and what to do."""

    def __init__(self, path: Path, offset: int | None, what: str, remedy: str) -> None:
        place = f" byte {offset}:" if offset is not None else ""
        super().__init__(f"{path}:{place} {what}; {remedy}")
        self.path, self.offset, self.remedy = path, offset, remedy


def damaged(path: Path, offset: int, what: str) -> RecordingError:
    """The error for a file whose rest may still be of use."""
    remedy = f"if it is a recording, walkout recording recover {path} saves what is whole"
    return RecordingError(path, offset, what, remedy)


def topic(seen: Observation) -> str:
    """Where an observation stands in a recording."""
    match seen:
        case ShelfSamples():
            return f"/shelf/{seen.device}"
        case PersonDetections():
            return f"/camera/{seen.camera}"
        case ItemSightings():
            return f"/camera/{seen.camera}/items"
        case GateSignal():
            return f"/gate/{seen.gate}"
        case _:
            return _TOPIC[type(seen)]


_TOPIC: dict[type, str] = {
    DeviceHealth: "/health",
    OperatorAction: "/operator",
    ConfigLoaded: "/config",
    ClockAnchor: "/clock",
    StepSetAside: "/set_aside",
}


def plain_names(attachments: Mapping[str, bytes]) -> dict[str, str]:
    """Ids of credentials and the names that they stand for, where an import made them unique."""
    try:
        names = json.loads(attachments.get(CREDENTIALS, b"{}"))
        return {str(key): str(value) for key, value in names.items()}
    except (ValueError, AttributeError):
        return {}


def version() -> str:
    """Of this program, as installed."""
    try:
        return package_version("walkout")
    except PackageNotFoundError:
        return "uninstalled"


def wall_text(wall_ns: int) -> str:
    """Unix nanoseconds as RFC 3339, UTC; "" for an instant that no calendar has."""
    try:
        return datetime.fromtimestamp(wall_ns / 1e9, tz=UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""
