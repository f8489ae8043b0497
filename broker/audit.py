"""Who did what: one row per command that had an effect, in the transaction of that effect.

Refusals (no known key, not allowed, too often, a card number) are counted and written every few
seconds, so that a flood of them is a row and no full disk. Transfers, the hot path, are not listed
one by one: each is its own journal. Rows cannot be changed, and none goes before 400 days.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from broker.database import Transaction

KEPT_S = 400 * 24 * 3600  # a year of disputes; the same number stands in the migration's trigger
REFUSALS_MAX = 1000  # different ones between two writings; more are counted under "others"
PURGE_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``action``: method and route, or what the command line did; ``object``: the id in the path.

    ``times``: 1, or how many equal refusals this row stands for.
    """

    seq: int
    at_s: int
    actor: str
    action: str
    object: str
    status: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """GET /v1/audit: ``after`` is where the next page starts."""

    entries: list[Entry]
    after: int
    more: bool


async def record(
    db: Transaction, now_s: int, actor: str, action: str, named: str, status: int, times: int = 1
) -> None:
    """Write one row."""
    await db.run(_INSERT, now_s, actor, action, named, status, times)


async def page(db: Transaction, after: int, limit: int) -> AuditPage:
    """Rows in the order they were written."""
    rows = await db.all(_PAGE, after, limit + 1)
    entries = [
        Entry(seq=r[0], at_s=r[1], actor=r[2], action=r[3], object=r[4], status=r[5], times=r[6])
        for r in rows[:limit]
    ]
    last = entries[-1].seq if entries else after
    return AuditPage(entries=entries, after=last, more=len(rows) > limit)


async def purge(db: Transaction, now_s: int) -> int:
    """Forget the oldest rows past ``KEPT_S``; how many."""
    return await db.run(_PURGE, now_s - KEPT_S, PURGE_MAX)


class Refusals:
    """What was refused since the last writing."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def add(self, actor: str, action: str, status: int) -> None:
        """Count one; ``action`` is a route, never what was sent."""
        key = (actor, action, status)
        if key not in self._counts and len(self._counts) >= REFUSALS_MAX:
            key = ("", "others", 0)
        self._counts[key] += 1

    async def write(self, db: Transaction, now_s: int) -> int:
        """One row per kind of refusal; how many. What fails to be written is counted again."""
        counts, self._counts = self._counts, Counter()
        try:
            for (actor, action, status), times in counts.items():
                await record(db, now_s, actor, action, "", status, times)
        except BaseException:
            self._counts.update(counts)
            raise
        return 0


_INSERT = (
    "INSERT INTO audit (at_s, actor, action, object, status, times) VALUES ($1, $2, $3, $4, $5, $6)"
)
_PAGE = (
    "SELECT seq, at_s, actor, action, object, status, times FROM audit"
    " WHERE seq > $1 ORDER BY seq LIMIT $2"
)
_PURGE = (
    "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at_s <= $1 ORDER BY seq LIMIT $2)"
)
