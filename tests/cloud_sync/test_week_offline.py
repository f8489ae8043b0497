"""A simulated week offline, then back: every purchase once, in the order of its account.

The real service, book and outbox run in virtual time over a link that is down for seven days and,
when it is up, loses requests and answers; the process is killed again and again. The second systems
keep answers by Idempotency-Key and note each effect by a name that is used once. The canaries plant
a lost row, a reordered group and a double effect; the same week must report each.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from second_systems import STORE, cart_closed, visit_started
from virtual_time import Link, MemoryJournal, VirtualClock, VirtualLoop, database

from cloud_sync.book import Fact
from cloud_sync.destinations import PARALLEL_MAX
from cloud_sync.http_sender import Endpoint
from cloud_sync.outbox import Outbox, Postponed, Request
from cloud_sync.outcomes import Answer
from cloud_sync.service import Service
from messages.store_config import Cloud, StoreConfig

DAY_S = 86_400.0
OFFLINE_S = (3_600.0, 3_600.0 + 7 * DAY_S)  # from an hour after opening, for seven days
END_S = 8 * DAY_S
VISITS, ACCOUNTS = 160, 16
KILLS = 12
LOST_SHARE = 0.05
POLL_NS = 900_000_000_000  # looks at the journal: a quarter of an hour, for speed alone
BACKOFF_MAX_S = 900.0  # likewise: probes while it is down
BACK_WITHIN_S = 7_200.0  # all has drained; a lost webhook waits 5 s, then 5 min, in order
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # order is checked here, not the disk


@dataclass
class Books:
    """Broker, retailer and webhook receiver: each effect by its unique name, in order."""

    answers: dict[str, tuple[bytes, Answer]] = field(default_factory=dict)
    effects: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # by group
    last_at_s: float = 0.0
    loop: VirtualLoop | None = None
    faults: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        assert self.loop is not None
        self.last_at_s = self.loop.now_s
        known = self.answers.get(f"{request.destination}:{request.idem}")
        if known is not None:
            if known[0] != request.body:
                self.faults.append(f"{request.idem} came with another body")
            return known[1]
        body = json.loads(request.body)
        answer = Answer(
            status=200, body=json.dumps(getattr(self, request.operation)(body)).encode()
        )
        self.effects[request.group].append(request.message)
        self.answers[f"{request.destination}:{request.idem}"] = (request.body, answer)
        return answer

    def hold(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            **{"hold": body["hold"], "account": body["account"], "status": "held"},
            **{"amount_minor": body["amount_minor"], "captured_minor": 0, "currency": "EUR"},
            "reason": "",
        }

    def price(self, body: dict[str, Any]) -> dict[str, Any]:
        lines = [
            {
                **{"lineItemId": item["lineItemId"], "id": item["id"], "name": item["id"]},
                **{"quantity": item["quantity"]["value"], "unitPrice": 100, "discount": 0},
                **{"tax": 0, "total": 100 * item["quantity"]["value"]},
            }
            for item in body["cartItems"]
        ]
        total = sum(line["total"] for line in lines)
        trip = body["idempotentShoppingTripId"]
        return {"purchaseId": f"p-{trip}", "currency": "EUR", "lines": lines, "total": total}

    def capture(self, body: dict[str, Any]) -> dict[str, Any]:
        kept = ("capture", "merchant", "purchase", "amount_minor", "currency")
        hold = body["capture"].replace("capture-", "hold-")
        return {name: body[name] for name in kept} | {
            **{"hold": hold, "account": "a", "journal": 1, "status": "captured"}
        }

    def webhook(self, body: dict[str, Any]) -> dict[str, Any]:
        return {}


@dataclass
class Week:
    """What came of it."""

    books: Books
    link: Link
    visits: dict[str, list[str]]  # account -> its visits, in order of entry
    receipts: dict[str, int]
    waiting_at_reopening: int

    def check(self) -> None:
        """Every purchase once, in order, soon after the link was back, without a herd."""
        assert self.books.faults == []
        for account, visits in self.visits.items():
            wanted = [f"{v}:{step}" for v in visits for step in ("hold", "price", "capture")]
            done = self.books.effects[account]
            assert len(set(done)) == len(done), f"two effects: {account}"
            assert sorted(done) == sorted(wanted), f"lost: {sorted(set(wanted) - set(done))}"
            assert done == wanted, f"order: {account}"
        told = self.books.effects["webhook:retailer"]
        assert sorted(told) == sorted(f"v{i}:receipt.issued" for i in range(VISITS))
        assert self.receipts == {"paid": VISITS}
        assert self.books.last_at_s < OFFLINE_S[1] + BACK_WITHIN_S, "it drained too late"
        assert self.link.most_at_once <= 3 * PARALLEL_MAX
        self.sometimes()

    def sometimes(self) -> None:
        """The faults really happened."""
        assert self.waiting_at_reopening > 200
        assert self.link.lost_requests > 5
        assert self.link.lost_answers > 5
        assert 500 < self.link.refused < 10_000, "probes while it was down, and no flood"


async def _live(folder: Path, loop: VirtualLoop, kind: type[Outbox]) -> Week:
    books = Books(loop=loop)
    names = ("broker", "retailer", "webhook")
    link = Link(
        loop, books.answer, {n: Endpoint(name=n, url="") for n in names}, OFFLINE_S, LOST_SHARE
    )
    journal, visits = MemoryJournal(), defaultdict[str, list[str]](list)
    shopping = asyncio.create_task(_shop(loop, journal, visits))
    kills = sorted(loop.chance.uniform(0.0, OFFLINE_S[1] + 600.0) for _ in range(KILLS - 4))
    kills += [OFFLINE_S[1] + s for s in (20.0, 40.0, 60.0, 80.0)]  # while it drains
    waiting = 0
    for until_s in [*sorted(kills), END_S]:
        service = _service(folder, loop, link, journal, kind)
        await service.start_without_check()
        running = asyncio.create_task(service.loop(drain=False))
        if until_s > OFFLINE_S[1] and not waiting:
            await asyncio.sleep(max(0.0, OFFLINE_S[1] - 1.0 - loop.now_s))
            waiting = len(journal.facts) - sum(len(v) for v in books.effects.values())
        await asyncio.sleep(max(0.0, until_s - loop.now_s))
        running.cancel()  # the process is gone; what was not committed did not happen
        await asyncio.gather(running, return_exceptions=True)
        found = await service.outbox.database.connection.execute_fetchall(
            "SELECT state, count(*) FROM receipt GROUP BY state"
        )
        await service.database.close()
        if running.done() and not running.cancelled() and running.exception() is not None:
            raise running.exception()  # type: ignore[misc]
    await shopping
    return Week(books, link, visits, {s: n for s, n in found}, waiting)


class _Service(Service):
    async def start_without_check(self) -> None:
        """As ``start``, without the look at the file's pages, which is another connection's."""
        await self.outbox.recover(self.clock.now_ns())
        self._cursor = await self.book.cursor()


def _service(
    folder: Path, loop: VirtualLoop, link: Link, journal: MemoryJournal, kind: type[Outbox]
) -> _Service:
    config = StoreConfig(
        store=STORE, currency="EUR", cloud=Cloud(merchant="m1", backoff_max_s=BACKOFF_MAX_S)
    )
    service = _Service(
        config,
        database(folder / "sync.db"),
        link,
        clock=VirtualClock(loop),
        chance=loop.chance.random,
        poll_ns=POLL_NS,
    )
    service.outbox = service.book.outbox = kind(service.database)
    service.reader = journal  # type: ignore[assignment]
    return service


async def _shop(loop: VirtualLoop, journal: MemoryJournal, visits: dict[str, list[str]]) -> None:
    """Visits come through the week; an account may be in the store twice at once."""
    clock = VirtualClock(loop)
    for number in range(VISITS):
        await asyncio.sleep(loop.chance.expovariate(1.0) * 7 * DAY_S / VISITS * 0.95)
        visit, account = f"v{number}", f"a{loop.chance.randrange(ACCOUNTS)}"
        visits[account].append(visit)
        for event in (visit_started(visit, account), cart_closed(visit, account, "apple")):
            seq = len(journal.facts) + 1
            journal.facts.append(
                Fact(seq=seq, event_id=str(event.id), event=event, wall_ns=clock.now_ns())
            )


# --- planted bugs -----------------------------------------------------------------------------


class LosesRows(Outbox):
    """What was under way when the process ended counts as settled."""

    async def recover(self, now_ns: int) -> None:
        query = "SELECT grp FROM request WHERE state='sending'"
        groups = [group for (group,) in await self._db.execute_fetchall(query)]
        await self._db.execute("UPDATE request SET state='void' WHERE state='sending'")
        await self._next(groups, now_ns)


class Reorders(Outbox):
    """While a head waits for its next attempt, another visit of the group goes."""

    async def again(self, postponed: Sequence[Postponed]) -> None:
        await super().again(postponed)
        for one in postponed:
            await self._db.execute(
                "UPDATE grp_head SET head=coalesce((SELECT id FROM request WHERE grp=?1 AND"
                " state='queued' AND visit!=?2 ORDER BY id LIMIT 1), head) WHERE grp=?1",
                (one.request.group, one.request.visit),
            )


class NewKeyEachTry(Outbox):
    """A retry goes under another key: a lost answer becomes a second effect."""

    async def claim(self, destination: str, limit: int, now_ns: int) -> list[Request]:
        taken = await super().claim(destination, limit, now_ns)
        return [replace(r, idem=f"{r.idem}#{r.attempt}") for r in taken]


def live(seed: int, kind: type[Outbox] = Outbox) -> Week:
    """The week, in virtual time."""
    loop = VirtualLoop(seed)
    asyncio.set_event_loop(loop)
    try:
        with tempfile.TemporaryDirectory(dir=FAST) as folder:
            return loop.run_until_complete(_live(Path(folder), loop, kind))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def test_a_week_offline_and_back_settles_every_purchase_once_and_in_order() -> None:
    live(2).check()


def test_the_same_seed_is_the_same_week() -> None:
    one, other = live(1), live(1)
    one.check()
    assert one.books.effects == other.books.effects
    assert one.link.refused == other.link.refused


@pytest.mark.parametrize(
    ("kind", "report"), [(LosesRows, "lost"), (Reorders, "order|lost"), (NewKeyEachTry, "two")]
)
def test_a_planted_bug_is_seen_within_the_week(kind: type[Outbox], report: str) -> None:
    with pytest.raises(AssertionError, match=report):
        live(1, kind).check()
