"""The sync process: journal rows in, requests out, answers back, one commit a round.

A round takes what came since the last one (answers, journal rows, operators' commands), lets the
book say what follows, writes it, and takes the heads that are due - all in one transaction, whose
flush is shared by everything in it. Sending happens between the rounds, in parallel up to each
destination's window. What is not committed did not happen: after a kill, the same requests go again
under the same keys.

The store never waits for this process: it reads the journal from beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite

from cloud_sync import book as book_module
from cloud_sync import connector, payment_route, standing
from cloud_sync import outbox as outbox_module
from cloud_sync.beside import ends_with
from cloud_sync.book import Book, Fact
from cloud_sync.database import REMEDY, Database, SyncStoreError, read_only_uri
from cloud_sync.desk import Command, Desk, replay, resume, void
from cloud_sync.destinations import Destination
from cloud_sync.endpoints import endpoints, policy_of, terms_of
from cloud_sync.hooks import HookError
from cloud_sync.http_sender import Endpoint, EndpointError, Sender
from cloud_sync.journal_reader import JournalMissing, JournalReader, JournalReplaced
from cloud_sync.link_report import LinkReport
from cloud_sync.notify import notify
from cloud_sync.outbox import NewRequest, Outbox, Request
from cloud_sync.outcomes import Answer, Verdict
from cloud_sync.owing_report import OwingReport
from cloud_sync.payment_route import RouteError
from cloud_sync.purchase import SettlementError
from cloud_sync.queue_clock import Clock, QueueClock
from cloud_sync.views import deliveries, receipts, summary
from cloud_sync.webhooks import SecretError
from edge.config import ConfigError, load
from messages.store_config import StoreConfig

__all__ = ["deliveries", "main", "receipts", "replay", "resume", "run", "summary", "void"]

EX_CONFIG = 78  # sysexits.h
POLL_NS = 200_000_000  # journal and commands: a receipt is not later than this for our sake
HEARTBEAT_NS = 5_000_000_000
NS = 1_000_000_000
JOURNAL_REMEDY = "Nothing new is imported; the queue goes on. Put the right journal back."
REMEDY_NOBODY = "Put its [[webhook]] back to send them; until then they hold up nobody else."
DRAIN_PROBES = 2  # --drain gives a barred destination this many chances

ALARMING = (Verdict.REFUSED, Verdict.BARRED, Verdict.GONE)

T = TypeVar("T")

log = logging.getLogger("walkout.sync")


def main(config: Path, *, drain: bool = False, parent: int = 0) -> int:
    """Run until SIGTERM, or with ``drain`` until nothing is left; the exit status.

    ``parent``: the process that started this one and with which it ends; 0: on its own.

    0: done. 1: with ``drain``, parked groups or a barred destination are left; or a crash.
    2: the sync file or the journal cannot be used. 78 (EX_CONFIG of sysexits.h, after which
    systemd does not start it again): the configuration, an endpoint or a key file is wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    try:
        return run_on_loop(run(load(config), drain=drain, parent=parent))
    except (ConfigError, EndpointError, HookError, RouteError, SecretError) as error:
        print(f"walkout sync: {error}", file=sys.stderr)
        return EX_CONFIG
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # the disk is broken, full or busy
            log.critical("the sync process ends; its supervisor starts it anew", exc_info=True)
            return 1
        print(f"walkout sync: {config}: paths.sync is damaged: {error}. {REMEDY}", file=sys.stderr)
        return 2
    except (*(SyncStoreError, SettlementError, JournalMissing, JournalReplaced, OSError),) as error:
        print(f"walkout sync: {error}", file=sys.stderr)
        return 2
    except Exception:
        log.critical("the sync process ends; its supervisor starts it anew", exc_info=True)
        return 1


def run_on_loop(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, on uvloop where it is installed: webhooks leave half as fast without."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def run(config: StoreConfig, *, drain: bool = False, parent: int = 0) -> int:
    """The process for a configuration; raises the named errors that ``main`` prints."""
    reached = endpoints(config)
    database = await Database.open(
        Path(config.paths.sync), outbox_module.SCHEMA, book_module.SCHEMA
    )
    try:
        async with (
            Sender(reached, config.cloud.request_timeout_s, time.time_ns) as sender,
            payment_route.opened(config, sender) as routes,
        ):
            service = Service(config, database, routes)
            await service.start()
            _stop_on_signals(service.stop)
            ending = asyncio.create_task(ends_with(parent, service.stop))
            try:
                async with connector.serving(config, service.book.terms):
                    return await service.loop(drain=drain)
            finally:
                ending.cancel()
                await service.reader.close()
    finally:
        await database.close()


class Sends(Protocol):
    """What the service needs of a sender: a network in production, memory in tests and benches."""

    endpoints: dict[str, Endpoint]

    def reload(self, name: str) -> None: ...

    async def send(self, request: Request) -> Answer: ...


@dataclass(slots=True, eq=False)
class _Submitted:
    """Requests of another task of this process, and who waits until they are on the disk."""

    requests: Sequence[NewRequest]
    kept: asyncio.Future[None]


class Service:
    """The loop and what it holds. Everything that lasts is in the database."""

    def __init__(
        self,
        config: StoreConfig,
        database: Database,
        sender: Sends,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        poll_ns: int = POLL_NS,
    ) -> None:
        self.database, self.sender = database, sender
        self.destinations = {name: Destination(name=name) for name in sender.endpoints}
        self.outbox = Outbox(database)
        self.book = Book(
            self.outbox,
            terms_of(config),
            policy_of(config, sender.endpoints),
            self.destinations,
            chance,
        )
        self.reader = JournalReader(Path(config.paths.journal))
        self.desk = Desk(database.path, self.book)
        self.link = LinkReport(config)
        self.owing = OwingReport(config)
        self.clock = clock or QueueClock.started()
        self._poll_ns = poll_ns
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None
        self._answers: list[tuple[Request, Answer]] = []
        self._submitted: list[_Submitted] = []
        self._cursor = (0, "")
        self._nobodys: list[str] = []  # destinations that are waited for and not configured
        self._caught_up = False  # every journal row that was there is imported
        self._shown: Sequence[tuple[str, str]] = []  # availability as the file has it
        self._journal_alarm: bool | None = None  # not known after a start
        self._polled_ns = self._beat_ns = self._looked_ns = 0

    async def start(self) -> None:
        """Free what a killed process was sending, find the cursor, say that we are ready."""
        await self.outbox.recover(self.clock.now_ns())
        for name, reason in await self.book.disabled():
            if name in self.destinations:
                self.destinations[name].disabled = reason
        self._cursor = await self.book.cursor()
        self._nobodys = await self._say_whose_receiver_is_gone()
        self._spawn(self._check_file())
        notify("READY=1")

    async def _say_whose_receiver_is_gone(self) -> list[str]:
        """Destinations that requests wait for and the configuration does not have any more."""
        waited_for = await self.outbox.destinations()
        gone = [name for name in waited_for if name not in self.destinations]
        now_ns = self.clock.now_ns()
        async with self.database.transaction():
            for name in self.destinations:
                await self.database.clear_alarm(f"gone:{name}", now_ns)
            for name in gone:
                detail = f"requests wait for {name}, which is not configured. {REMEDY_NOBODY}"
                await self.database.raise_alarm(f"gone:{name}", "warning", detail, now_ns)
        return gone

    async def _check_file(self) -> None:
        """A damaged file is found now, beside the work, not at the row that is needed."""
        uri = read_only_uri(self.database.path)
        async with (
            aiosqlite.connect(uri, uri=True) as db,
            db.execute("PRAGMA quick_check(1)") as cursor,
        ):
            row = await cursor.fetchone()
        if row is None or row[0] != "ok":
            raise SyncStoreError(f"{self.database.path} is damaged: {row}. {REMEDY}")

    async def submit(self, requests: Sequence[NewRequest]) -> None:
        """Queue requests of another task; they are on the disk when this returns.

        They share the commit, and its flush, with whatever else the next round writes.

        Raises:
            SyncStoreError: the process ends before they were written; nothing of them is kept.
        """
        kept = asyncio.get_running_loop().create_future()
        self._submitted.append(_Submitted(requests, kept))
        self._wake.set()
        await kept

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def loop(self, *, drain: bool) -> int:
        """Rounds until stopped or drained; what is under way is waited for and kept."""
        try:
            while not self._stopping.is_set():
                await self._round(drain=drain)
                if drain and (status := await self._drained()) is not None:
                    return status
                await self._wait()
            notify("STOPPING=1")
            await asyncio.gather(*self._sending)  # each is bounded by its time-out
            await self._commit([], self._take_answers())
            return 0
        finally:
            for one in self._submitted:
                one.kept.set_exception(SyncStoreError("the sync process ends, not queued"))
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    # --- one round --------------------------------------------------------------------------

    async def _round(self, *, drain: bool) -> None:
        if self._crash is not None:
            raise self._crash
        now_ns = self.clock.now_ns()
        facts = list[Fact]()
        if now_ns - self._polled_ns >= self._poll_ns or not self._caught_up:
            facts = await self._poll(drain=drain)
            self._polled_ns = now_ns
            await self._carry_out(self.desk.left())
            await self._housekeeping(now_ns)
        for request in await self._commit(facts, self._take_answers()):
            self.destinations[request.destination].in_flight += 1
            self._spawn(self._send(request))

    async def _commit(
        self, facts: list[Fact], answers: list[tuple[Request, Answer]]
    ) -> list[Request]:
        """Write what came and what follows, and take what is due."""
        submitted, self._submitted = self._submitted, []
        try:
            claims = await self._write(facts, answers, submitted)
        except BaseException:
            self._submitted += submitted  # whoever waits is told when the loop ends
            raise
        for one in submitted:
            if not one.kept.done():
                one.kept.set_result(None)
        if facts:
            self._cursor = (facts[-1].seq, facts[-1].event_id)
        return claims

    async def _write(
        self,
        facts: list[Fact],
        answers: list[tuple[Request, Answer]],
        submitted: list[_Submitted],
    ) -> list[Request]:
        async with self.database.transaction():
            now_ns = self.clock.now_ns()
            if submitted:
                await self.outbox.add([r for one in submitted for r in one.requests], now_ns)
            if facts or answers:
                visits = [request.visit for request, _ in answers]
                visits += [fact.event.visit for fact in facts if fact.event is not None]
                round_ = await self.book.round(visits, now_ns, self.clock.wall_ns())
                for request, answer in answers:
                    verdict = round_.reply(request, answer)
                    level = logging.WARNING if verdict in ALARMING else logging.DEBUG
                    log.log(level, "%s attempt %d: %s", request.idem, request.attempt, verdict)
                for fact in facts:
                    round_.fact(fact)
                await round_.write()
            claims = await self._claim(now_ns)
            states = [(d.state, d.disabled) for d in self.destinations.values()]
            if states != self._shown:
                await self.book.show_destinations(now_ns, self.clock.wall_ns())
                self._shown = states
            return claims

    async def _claim(self, now_ns: int) -> list[Request]:
        if self._stopping.is_set():
            return []
        claims = list[Request]()
        for destination in self.destinations.values():
            room = destination.room(now_ns)
            if room and destination.down:
                self.sender.reload(destination.name)
            claims += await self.outbox.claim(destination.name, room, now_ns)
        return claims

    def _take_answers(self) -> list[tuple[Request, Answer]]:
        answers, self._answers = self._answers, []
        self._wake.clear()
        for request, _ in answers:
            self.destinations[request.destination].in_flight -= 1
        return answers

    async def _send(self, request: Request) -> None:
        started_ns = self.clock.now_ns()
        answer = await self.sender.send(request)
        answer = replace(answer, took_s=(self.clock.now_ns() - started_ns) / NS)
        self._answers.append((request, answer))
        self._wake.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        """A task that raised is a fault of ours: the next round ends the process with it."""
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._crash = task.exception()
            self._wake.set()

    async def _wait(self) -> None:
        """Until an answer comes, a head is due, or it is time to look at the journal."""
        now_ns = self.clock.now_ns()
        until_ns = self._polled_ns + self._poll_ns if self._caught_up else now_ns
        for destination in self.destinations.values():
            opens_ns = destination.opens_at_ns()
            if opens_ns is not None:
                due_ns = await self.outbox.next_due_ns(destination.name)
                until_ns = until_ns if due_ns is None else min(until_ns, max(due_ns, opens_ns))
        with contextlib.suppress(TimeoutError):  # wait_for of 3.11 may swallow a cancellation
            async with asyncio.timeout(max(0.0, (until_ns - now_ns) / NS)):
                await self._wake.wait()

    # --- journal, commands, housekeeping ------------------------------------------------------

    async def _poll(self, *, drain: bool) -> list[Fact]:
        """New journal rows. A journal that is gone or another stops the import, not the queue."""
        try:
            facts = await self.reader.read(*self._cursor)
        except (JournalMissing, JournalReplaced) as error:
            if drain:
                raise
            self._caught_up = True
            if self._cursor[0]:  # before the first row it is only not there yet
                await self._journal_trouble(f"{type(error).__name__}: {error}. {JOURNAL_REMEDY}")
            return []
        self._caught_up = not facts
        await self._journal_trouble("")
        return facts

    async def _journal_trouble(self, detail: str) -> None:
        """Raise the journal's alarm, or clear it with an empty text; once per change."""
        if bool(detail) is self._journal_alarm:
            return
        self._journal_alarm = bool(detail)
        async with self.database.transaction():
            if detail:
                log.critical("%s", detail)
                await self.database.raise_alarm("journal", "critical", detail, self.clock.wall_ns())
            else:
                await self.database.clear_alarm("journal", self.clock.wall_ns())

    async def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            async with self.database.transaction():
                round_ = await self.book.round([], self.clock.now_ns(), self.clock.wall_ns())
                await self.desk.carry_out(command, round_)
                await round_.write()
            log.info("%s of %s by %s", command.action, command.target, command.operator)
        self.desk.forget(commands)

    async def _housekeeping(self, now_ns: int) -> None:
        if now_ns - self._beat_ns < HEARTBEAT_NS:
            return
        self._beat_ns = now_ns
        notify("WATCHDOG=1")
        payments = self.destinations.get(self.book.terms.payments)
        if payments is not None and self.link.due(not payments.down, now_ns):
            self._spawn(self.link.tell(not payments.down, now_ns))
        owing = await self.owing.news(self.database.connection)
        if owing is not None:
            self._spawn(self.owing.tell(owing))
        async with self.database.transaction():
            await self.outbox.prune(now_ns)  # a few at each beat: 8 million a day
            await self.database.prune_alarms(now_ns)
            if now_ns - self._looked_ns >= standing.LOOK_EVERY_NS:
                self._looked_ns = now_ns
                await standing.look(self.database, now_ns, self.clock.wall_ns())
            await self.book.show_destinations(now_ns, self.clock.wall_ns())
            await self.database.set_status(
                pid=str(os.getpid()), beat_wall_ns=str(self.clock.wall_ns())
            )

    async def _drained(self) -> int | None:
        """The exit status once nothing is left that this process could move; else None."""
        if self._sending or self._answers or not self._caught_up:
            return None
        left = await self.outbox.open_count(but_parked=True)
        for destination in self.destinations.values():
            if destination.disabled or (destination.barred and destination.probes >= DRAIN_PROBES):
                left -= await self.outbox.waiting_behind(destination.name)
        for name in self._nobodys:
            left -= await self.outbox.waiting_behind(name)
        if left:
            return None
        return 1 if await self.outbox.open_count() else 0


def _stop_on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
