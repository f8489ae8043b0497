"""The book: what settlement knows, in the same file and the same commits as the outbox.

A *round* takes journal facts, answers and operators' decisions, asks the transition table what
follows, and writes everything at once: purchases, the requests they cause, events, receipts, the
journal cursor and the settled requests. So a fact is imported exactly once with its first request,
and an answer is kept exactly once with what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloud_sync import book_tables, catalogue
from cloud_sync.destinations import Destination
from cloud_sync.hooks import WEBHOOK as WEBHOOK
from cloud_sync.hooks import Hook
from cloud_sync.outbox import Outbox
from cloud_sync.purchase import SettlementError, Terms
from cloud_sync.round import Round
from messages.events import CartClosed, VisitEnded, VisitStarted

SCHEMA = book_tables.SCHEMA + catalogue.SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A row of the journal's outbox table. ``event`` None: its body could not be read."""

    seq: int
    event_id: str
    event: VisitStarted | CartClosed | VisitEnded | None
    wall_ns: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the book takes from the configuration beside the terms of settlement."""

    backoff_start_s: float
    backoff_max_s: float
    hooks: tuple[Hook, ...] = ()
    group: str = "account"  # or "merchant"
    shelved: tuple[str, ...] = ()  # SKUs on our shelves


class Book:
    """Settlement's tables. ``chance`` gives numbers in [0, 1) for jitter."""

    def __init__(
        self,
        outbox: Outbox,
        terms: Terms,
        policy: Policy,
        destinations: dict[str, Destination],
        chance: Callable[[], float],
    ) -> None:
        self.outbox = outbox
        self.terms = terms
        self.policy = policy
        self.destinations = destinations
        self.chance = chance
        self.database = outbox.database
        self.db = outbox.database.connection

    async def cursor(self) -> tuple[int, str]:
        """The last journal row imported, and its event id; (0, "") before the first.

        Raises:
            SettlementError: the file belongs to another store.
        """
        query = "SELECT store, seq, event_id FROM journal_cursor"
        for store, seq, event_id in await self.db.execute_fetchall(query):
            if store != self.terms.store:
                raise SettlementError(f"{self.database.path} belongs to store {store}")
            return int(seq), str(event_id)
        return 0, ""

    async def disabled(self) -> list[tuple[str, str]]:
        """Destinations that get nothing, and why."""
        rows = await self.db.execute_fetchall("SELECT name, reason FROM disabled")
        return [(str(name), str(reason)) for name, reason in rows]

    async def show_destinations(self, now_ns: int, wall_ns: int) -> None:
        """(tx) Write down how the second systems are, for ``walkout sync status``."""
        shift_ns = wall_ns - now_ns
        rows = [
            (
                *(d.name, "disabled" if d.disabled else d.state, d.disabled or d.detail),
                *(d.since_ns and d.since_ns + shift_ns, d.down and d.probe_at_ns + shift_ns),
                *(int(d.window), d.in_flight, d.latency_ms),
            )
            for d in self.destinations.values()
        ]
        await self.db.executemany(
            "INSERT OR REPLACE INTO destination VALUES(?,?,?,?,?,?,?,?)", rows
        )

    async def round(self, visits: Iterable[str], now_ns: int, wall_ns: int) -> Round:
        """(tx) Begin a round over these visits. ``now_ns``: queue time; ``wall_ns``: Unix time."""
        round_ = Round(self, now_ns, wall_ns)
        await round_.load(visits)
        return round_
