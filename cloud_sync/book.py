"""The book: what settlement knows, in the same file and the same commits as the outbox.

A *round* takes journal facts, answers and operators' decisions, asks the transition table what
follows, and writes everything at once: purchases, the requests they cause, events, receipts, the
journal cursor and the settled requests. So a fact is imported exactly once with its first request,
and an answer is kept exactly once with what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from cloud_sync import retailer
from cloud_sync.destinations import Destination
from cloud_sync.outbox import NewRequest, Outbox, Postponed, Request
from cloud_sync.outcomes import (
    Answer,
    BadAnswer,
    Verdict,
    backoff_s,
    judge,
    judge_webhook,
    wait_ns,
    webhook_wait_s,
)
from cloud_sync.payments import broker
from cloud_sync.purchase import (
    Ask,
    CartRefused,
    GivenUp,
    Operation,
    Purchase,
    Receipt,
    SettlementError,
    Signal,
    Step,
    Terms,
)
from cloud_sync.settlement import settle
from cloud_sync.webhooks import receipt_webhook
from messages import codec
from messages.events import CartClosed, CloudEvent, VisitEnded, VisitStarted
from messages.ids import VisitId

WEBHOOK_GROUP = "webhook:retailer"  # one endpoint, one group: its deliveries stay in order
WEBHOOK = "webhook"  # the destination
QUERY_CHUNK = 500  # below SQLite's bound on parameters

SCHEMA = """
CREATE TABLE IF NOT EXISTS purchase(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL, stage TEXT NOT NULL, data BLOB NOT NULL,
  updated_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt(
  visit TEXT PRIMARY KEY, account TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('pending','parked','bad_cart','paid','free','unpaid','void')),
  currency TEXT NOT NULL, total_minor INTEGER NOT NULL,
  purchase TEXT NOT NULL, capture TEXT NOT NULL,
  lines TEXT NOT NULL, in_review TEXT NOT NULL,           -- JSON
  started_wall_ns INTEGER NOT NULL, exit_wall_ns INTEGER NOT NULL,
  issued_wall_ns INTEGER NOT NULL,                        -- 0 while open
  detail TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settlement_event(
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, visit TEXT NOT NULL,
  at_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
  type TEXT NOT NULL, body BLOB NOT NULL);                -- messages.codec
CREATE TABLE IF NOT EXISTS journal_cursor(
  one INTEGER PRIMARY KEY CHECK(one=1), store TEXT NOT NULL,
  seq INTEGER NOT NULL, event_id TEXT NOT NULL);
"""

REMEDY = "Look at the answer, mend its cause, then resume the group; or void it with a reason."
REMEDY_PRICE = "The retailer has to correct the price; then resume the group, or void the purchase."
REMEDY_CART = "Add the SKU to the retailer's catalogue, then resume; or void the purchase."
REMEDY_KEY = "Check the address and the key file; a probe goes on by itself."
REMEDY_FACT = "Settle this visit by hand: the row was set aside and will not be tried again."


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
    webhooks: bool


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

    async def round(self, visits: Iterable[str], now_ns: int, wall_ns: int) -> Round:
        """(tx) Begin a round over these visits. ``now_ns``: queue time; ``wall_ns``: Unix time."""
        round_ = Round(self, now_ns, wall_ns)
        await round_.load(visits)
        return round_


class Round:
    """Everything that one commit changes. Feed it, then ``write``."""

    def __init__(self, book: Book, now_ns: int, wall_ns: int) -> None:
        self.book, self.now_ns, self.wall_ns = book, now_ns, wall_ns
        self._purchases: dict[str, Purchase] = {}
        self._changed: dict[str, Purchase] = {}
        self._requests: list[NewRequest] = []
        self._done: list[tuple[Request, int | None]] = []
        self._postponed: list[Postponed] = []
        self._parked: list[tuple[Request, int | None, str, str]] = []
        self._voided: list[Request] = []
        self._events: list[CloudEvent] = []
        self._receipts: dict[str, Receipt] = {}
        self._alarms: list[tuple[str, str, str]] = []
        self._cleared: list[str] = []
        self._cursor: Fact | None = None

    async def load(self, visits: Iterable[str]) -> None:
        """(tx) Read the purchases of these visits that are not read yet."""
        wanted = [v for v in dict.fromkeys(visits) if v and v not in self._purchases]
        for start in range(0, len(wanted), QUERY_CHUNK):
            chunk = wanted[start : start + QUERY_CHUNK]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT visit, data FROM purchase WHERE visit IN ({marks})"  # noqa: S608
            for visit, data in await self.book.db.execute_fetchall(query, chunk):
                self._purchases[visit] = codec.decode_state(data, Purchase)

    # --- facts of the journal ---------------------------------------------------------------

    def fact(self, fact: Fact) -> None:
        """Import one journal row. A row we cannot settle is set aside with an alarm."""
        self._cursor = fact
        event = fact.event
        if isinstance(event, VisitEnded):
            return  # its cart follows, perhaps after a review
        if event is None:
            self._set_aside(fact, fact.error)
            return
        try:
            step = settle(self._purchase(event.visit), event, fact.wall_ns, self.book.terms)
        except SettlementError as error:
            self._set_aside(fact, str(error))
        else:
            self._record(step, fact.seq)

    def _set_aside(self, fact: Fact, error: str) -> None:
        detail = f"journal row {fact.seq} ({fact.event_id}): {error}. {REMEDY_FACT}"
        self._alarms.append((f"fact:{fact.event_id}", "critical", detail))

    def _purchase(self, visit: VisitId) -> Purchase:
        return self._purchases.get(visit) or Purchase(visit=visit)

    # --- answers ----------------------------------------------------------------------------

    def reply(self, request: Request, answer: Answer) -> Verdict:
        """What an answer changes."""
        destination = self.book.destinations[request.destination]
        verdict = self._judge(request, answer)
        match verdict:
            case Verdict.ANSWERED:
                self._heard(destination)
                self._answered(request, answer)
            case Verdict.REFUSED:
                self._heard(destination)
                self._refused(request, answer)
            case Verdict.UNKNOWN:
                self._unknown(request, answer, destination)
            case Verdict.BARRED:
                self._barred(request, answer, destination)
        return verdict

    def _judge(self, request: Request, answer: Answer) -> Verdict:
        if request.destination == WEBHOOK:
            return judge_webhook(answer, request.failures)
        declines = request.operation in broker.OPERATIONS
        return judge(answer, declines=declines)

    def _answered(self, request: Request, answer: Answer) -> None:
        if request.destination == WEBHOOK:
            self._done.append((request, answer.status))
            return
        try:
            if answer.error:
                raise BadAnswer(answer.error)
            signal = self._signal(request, answer)
            step = settle(self._purchase_of(request), signal, self.wall_ns, self.book.terms)
        except (BadAnswer, SettlementError) as error:
            text = f"{type(error).__name__}: {error}"
            self._parked.append((request, answer.status, text, REMEDY))
            return
        if step.refused:
            self._parked.append((request, answer.status, step.refused, REMEDY_PRICE))
        else:
            self._done.append((request, answer.status))
        self._record(step, request.cause)

    def _signal(self, request: Request, answer: Answer) -> Signal:
        assert answer.status is not None
        if request.destination == retailer.DESTINATION:
            return retailer.signal(request.body, answer.body, self.book.terms.currency)
        operation = Operation(request.operation)
        return broker.signal(operation, request.subject, request.body, answer.status, answer.body)

    def _refused(self, request: Request, answer: Answer) -> None:
        """Park; where the retailer does not know an SKU, the receipt says so too."""
        error, remedy = f"status {answer.status}: {_excerpt(answer)}", REMEDY
        if request.destination == retailer.DESTINATION and answer.status is not None:
            signal = retailer.refusal(request.body, answer.status, answer.body)
            if isinstance(signal, CartRefused):
                step = settle(self._purchase_of(request), signal, self.wall_ns, self.book.terms)
                self._record(step, request.cause)
                error, remedy = step.refused, REMEDY_CART
        self._parked.append((request, answer.status, error, remedy))

    def _unknown(self, request: Request, answer: Answer, destination: Destination) -> None:
        """No answer, or not yet: the same request again under the same key."""
        destination.failed()
        policy, chance = self.book.policy, self.book.chance()
        if request.destination == WEBHOOK:
            own_s = webhook_wait_s(request.failures, policy.backoff_start_s, chance)
        else:
            own_s = backoff_s(
                request.failures, policy.backoff_start_s, policy.backoff_max_s, chance
            )
        wait = wait_ns(answer, own_s)
        error = answer.error or f"status {answer.status}: {_excerpt(answer)}"
        self._postponed.append(
            Postponed(request=request, not_before_ns=self.now_ns + wait, wait_ns=wait, error=error)
        )
        if destination.failing:
            detail = f"{destination.name}: {destination.failures} failures in a row; last: {error}"
            self._alarms.append((f"failing:{destination.name}", "warning", detail))

    def _barred(self, request: Request, answer: Answer, destination: Destination) -> None:
        """Nobody would get another answer: stop this destination, probe it later."""
        error = f"status {answer.status}: {_excerpt(answer)}"
        policy = self.book.policy
        wait_s = max(
            policy.backoff_start_s,
            backoff_s(destination.probes + 1, policy.backoff_start_s, policy.backoff_max_s, 1.0),
        )
        destination.bar(error, self.now_ns + round(wait_s * 1e9))
        self._postponed.append(
            Postponed(
                request=request, not_before_ns=self.now_ns, wait_ns=0, error=error, failed=False
            )
        )
        detail = f"{destination.name} rejects us, nothing more is sent there: {error}. {REMEDY_KEY}"
        self._alarms.append((f"barred:{destination.name}", "critical", detail))

    def _heard(self, destination: Destination) -> None:
        if destination.alarmed:
            self._cleared += [f"barred:{destination.name}", f"failing:{destination.name}"]
        destination.answered()

    def _purchase_of(self, request: Request) -> Purchase:
        return self._purchase(VisitId(request.visit))

    # --- operators' decisions ---------------------------------------------------------------

    def given_up(self, request: Request, reason: str) -> None:
        """A voided request: settlement goes on without its answer."""
        self._voided.append(request)
        if request.destination == WEBHOOK:
            return
        signal = GivenUp(reason=reason)
        step = settle(self._purchase_of(request), signal, self.wall_ns, self.book.terms)
        self._record(step, request.cause)

    # --- what follows -----------------------------------------------------------------------

    def _record(self, step: Step, cause: int) -> None:
        purchase = step.purchase
        self._purchases[purchase.visit] = self._changed[purchase.visit] = purchase
        self._requests += [_new_request(ask, purchase, cause, self.book.terms) for ask in step.asks]
        self._events += step.events
        if step.receipt is not None:
            self._receipts[purchase.visit] = step.receipt
            self._tell(step.receipt)

    def _tell(self, receipt: Receipt) -> None:
        """Queue the webhook of a finished receipt."""
        told = receipt_webhook(receipt, self.book.terms.store)
        if told is None or not self.book.policy.webhooks:
            return
        kind, body = told
        message = f"{receipt.visit}:{kind}"
        self._requests.append(
            NewRequest(
                group=WEBHOOK_GROUP,
                cause=0,  # in order of issue
                message=message,
                operation=Operation.WEBHOOK,
                destination=WEBHOOK,
                path="",
                body=body,
                visit=receipt.visit,
                subject=f"msg_{message.replace('.', '-')}",  # a dot ends the id in what is signed
            )
        )

    async def write(self) -> None:
        """(tx) Put it all into the transaction."""
        outbox, database, now_ns = self.book.outbox, self.book.database, self.now_ns
        await self._write_purchases()
        await self._write_receipts()
        await self._write_events()
        if self._requests:
            await outbox.add(self._requests, now_ns)
        if self._done:
            await outbox.done(self._done, now_ns)
        if self._postponed:
            await outbox.again(self._postponed)
        for request, status, error, remedy in self._parked:
            await outbox.park(request, status, error, remedy, now_ns)
            await self._park_receipt(request, error)
        for request in self._voided:
            await outbox.void(request, now_ns)
        for key, severity, detail in self._alarms:
            await database.raise_alarm(key, severity, detail, now_ns)
        for key in self._cleared:
            await database.clear_alarm(key, now_ns)
        if self._cursor is not None:
            await self._write_cursor(self._cursor)

    async def _write_purchases(self) -> None:
        await self.book.db.executemany(
            "INSERT INTO purchase VALUES(?,?,?,?,?) ON CONFLICT(visit) DO UPDATE SET"
            " account=excluded.account, stage=excluded.stage, data=excluded.data,"
            " updated_ns=excluded.updated_ns",
            [
                (p.visit, p.account, p.stage, codec.encode_state(p), self.wall_ns)
                for p in self._changed.values()
            ],
        )

    async def _write_receipts(self) -> None:
        await self.book.db.executemany(
            "INSERT OR REPLACE INTO receipt VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [_receipt_row(receipt) for receipt in self._receipts.values()],
        )

    async def _write_events(self) -> None:
        await self.book.db.executemany(
            "INSERT INTO settlement_event(id,visit,at_ns,wall_ns,type,body) VALUES(?,?,?,?,?,?)",
            [
                (e.id, e.visit, e.at_ns, self.wall_ns, type(e).__name__, codec.encode(e))
                for e in self._events
            ],
        )

    async def _park_receipt(self, request: Request, error: str) -> None:
        await self.book.db.execute(
            "UPDATE receipt SET state='parked', detail=? WHERE visit=? AND state='pending'",
            (error, request.visit),
        )

    async def _write_cursor(self, fact: Fact) -> None:
        await self.book.db.execute(
            "INSERT OR REPLACE INTO journal_cursor VALUES(1,?,?,?)",
            (self.book.terms.store, fact.seq, fact.event_id),
        )


def _new_request(ask: Ask, purchase: Purchase, cause: int, terms: Terms) -> NewRequest:
    adapter = retailer if ask.operation is Operation.PRICE else broker
    path, body = adapter.request(ask, terms)
    return NewRequest(
        group=purchase.account,
        cause=cause,
        message=f"{purchase.visit}:{ask.operation}",
        operation=ask.operation,
        destination=adapter.DESTINATION,
        path=path,
        body=body,
        visit=purchase.visit,
        subject=ask.hold,
    )


def _receipt_row(receipt: Receipt) -> tuple[object, ...]:
    return (
        receipt.visit,
        receipt.account,
        receipt.state,
        receipt.total.currency,
        receipt.total.minor,
        receipt.purchase,
        receipt.capture,
        msgspec.json.encode(receipt.lines).decode(),
        msgspec.json.encode(receipt.in_review).decode(),
        receipt.started_wall_ns,
        receipt.exit_wall_ns,
        receipt.issued_wall_ns,
        receipt.detail,
    )


def _excerpt(answer: Answer) -> str:
    """The start of an answer's text, for an operator's eyes."""
    return answer.body[:300].decode("utf-8", "replace")
