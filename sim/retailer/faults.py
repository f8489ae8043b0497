"""Faults that the reference retailer plays on request, for tests and QA. All are off by default.

``faults.toml`` in the data directory, read at start::

    [purchases]             # or [webhooks]
    delay_s = 0.5           # before each answer
    fail_times = 3          # so many answers with fail_status and no effect
    fail_status = 500
    drop_times = 1          # then so many effects whose answer never arrives
    wrong_total_times = 1   # then so many answers whose total is off by wrong_total_minor
    wrong_total_minor = 100
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

DELAY_S_MAX = 60.0


class FaultsError(ValueError):
    """A faults file that is not understood; names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong at one endpoint, in this order: fail, drop, wrong total."""

    delay_s: float = 0.0
    fail_times: int = 0
    fail_status: int = 500
    drop_times: int = 0
    wrong_total_times: int = 0
    wrong_total_minor: int = 100


@dataclass(slots=True, kw_only=True)
class FaultPlan:
    """The faults that are still to come; taking one uses it up."""

    purchases: Faults = field(default_factory=Faults)
    webhooks: Faults = field(default_factory=Faults)

    def take(self, endpoint: str, kind: str) -> bool:
        """Whether a fault is due now: ``kind`` "fail", "drop" or "wrong_total"."""
        faults: Faults = getattr(self, endpoint)
        left = getattr(faults, f"{kind}_times")
        if left <= 0:
            return False
        setattr(self, endpoint, replace(faults, **{f"{kind}_times": left - 1}))
        return True


def read_faults(path: Path) -> FaultPlan:
    """The plan in the file; none without a file.

    Raises:
        FaultsError: not TOML, or a key or value that is not one of ours.
    """
    if not path.exists():
        return FaultPlan()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FaultsError(f"{path.name}: {error}") from error
    unknown = sorted(set(tables) - {"purchases", "webhooks"})
    if unknown:
        raise FaultsError(f"{path.name}: [{unknown[0]}] is neither [purchases] nor [webhooks]")
    return FaultPlan(**{name: _faults(name, table) for name, table in tables.items()})


def _faults(name: str, table: dict[str, Any]) -> Faults:
    known = {one.name: one.default for one in fields(Faults)}
    for key, value in table.items():
        if key not in known:
            raise FaultsError(f"[{name}] {key}: unknown; known: {', '.join(known)}")
        wanted = (int, float) if key == "delay_s" else (int,)
        if type(value) not in wanted or (value < 0 and key != "wrong_total_minor"):
            raise FaultsError(f"[{name}] {key} = {value!r} is not a number that fits")
    faults = Faults(**table)
    if faults.delay_s > DELAY_S_MAX or not 400 <= faults.fail_status <= 599:
        raise FaultsError(f"[{name}]: delay_s is at most {DELAY_S_MAX}, fail_status 400 to 599")
    return faults
