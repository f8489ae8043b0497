"""The janitor: money at the provider that no purchase of ours accounts for.

It compares our authorizations there with the purchases here, and finds

    stale      held there, but the purchase ended without a capture: release it
    orphan     held there, no purchase of ours: a file was lost, or it is another's; a person looks
    taken      captured there, but the purchase is not paid: a person looks
    unknown    calls that were never answered: the queue goes on with them; told after an hour

It releases stale holds when asked to; it never captures and never refunds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cloud_sync.database import read_only_uri
from cloud_sync.payments.provider import LIST_MAX, Found, Provider, State

UNKNOWN_AFTER_S = 3600
ENDED = frozenset({"free", "unpaid", "cancelled"})  # stages after which nothing may be held
TAKEN = frozenset({"paid", "contested", "reviewed", "refunding", "refunded", "capturing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    kind: str
    reference: str
    hold: str
    amount_minor: int
    stage: str  # of our purchase, "" for none
    released: bool = False


def look(
    provider: Provider,
    stages: Mapping[str, str],
    unknown: Iterable[tuple[str, int, int]],
    *,
    now_s: int,
    release: bool = False,
) -> list[Finding]:
    """What is amiss; ``stages``: hold -> stage of its purchase. Raises Unknown or Rejected."""
    found = [
        one
        for at in provider.listed(LIST_MAX)
        if (one := judge(at, stages.get(at.hold, ""))) is not None
    ]
    if release:
        found = [_released(one, provider.release) for one in found]
    waiting = [
        Finding(kind="unknown", reference=name, hold="", amount_minor=0, stage=f"{tries} tries")
        for name, first_s, tries in unknown
        if now_s - first_s > UNKNOWN_AFTER_S
    ]
    return [*found, *waiting]


def judge(at: Found, stage: str) -> Finding | None:
    """One authorization there against its purchase here."""
    if at.state is State.HELD and not stage:
        kind = "orphan"
    elif at.state is State.HELD and stage in ENDED:
        kind = "stale"
    elif at.state is State.CAPTURED and stage not in TAKEN:
        kind = "taken"
    else:
        return None
    return Finding(
        kind=kind, reference=at.reference, hold=at.hold, amount_minor=at.amount_minor, stage=stage
    )


def stages(sync: Path) -> dict[str, str]:
    """Hold -> stage of its purchase, from the sync file, read-only."""
    with closing(sqlite3.connect(read_only_uri(sync), uri=True)) as db:
        rows = db.execute("SELECT visit, stage FROM purchase").fetchall()
    return {f"hold-{visit}": stage for visit, stage in rows}


def unanswered(psp: Path) -> list[tuple[str, int, int]]:
    """Calls without an answer, from the provider's file, read-only; none without a file."""
    if not psp.exists():
        return []
    with closing(sqlite3.connect(read_only_uri(psp), uri=True)) as db:
        query = "SELECT name, first_s, tries FROM call WHERE answer IS NULL ORDER BY first_s"
        return db.execute(query).fetchall()


def _released(finding: Finding, release: Callable[[str, str], object]) -> Finding:
    if finding.kind != "stale":
        return finding
    release(finding.reference, f"janitor:{finding.reference}")
    return Finding(
        kind="stale",
        reference=finding.reference,
        hold=finding.hold,
        amount_minor=finding.amount_minor,
        stage=finding.stage,
        released=True,
    )
