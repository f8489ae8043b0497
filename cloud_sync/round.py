"""One round of the book: what journal facts, answers and operators' words change, written at once.

An answer is judged (``outcomes``), asked of the settlement table, and what follows is gathered:
purchases, requests, events, receipts, alarms. ``write`` puts all of it into one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cloud_sync import book_tables, catalogue, retailer, standing
from cloud_sync.demands import Demand, RefundAsked
from cloud_sync.destinations import Destination
from cloud_sync.hooks import deliveries, is_webhook
from cloud_sync.outbox import NewRequest, Postponed, Request
from cloud_sync.outcomes import (
    Answer,
    BadAnswer,
    Verdict,
    backoff_s,
    judge,
    judge_webhook,
    throttles,
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
from cloud_sync.settlement import INSIDE, settle
from messages import codec
from messages.events import CartClosed, CloudEvent, PurchasePriced, VisitEnded
from messages.ids import VisitId

if TYPE_CHECKING:
    from cloud_sync.book import Book, Fact

DEMANDED = 0  # cause of a demand: it goes before what waits in its group
QUERY_CHUNK = 500  # below SQLite's bound on parameters
REMEDY = "Look at the answer, mend its cause, then resume the group; or void it with a reason."
REMEDY_PRICE = "The retailer has to correct the price; then resume the group, or void the purchase."
REMEDY_CART = "Add the SKU to the retailer's catalogue, then resume; or void the purchase."
REMEDY_KEY = "Check the address and the key file; a probe goes on by itself."
REMEDY_GONE = "Agree on an address with its owner; then: walkout webhooks enable."
REMEDY_INSIDE = "Ask for another means of payment, or see the shopper out: the cart will be unpaid."
REMEDY_FACT = "Settle this visit by hand: the row was set aside and will not be tried again."


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
        self._carts: list[CartClosed] = []
        self._receipts: dict[str, Receipt] = {}
        self._alarms: list[tuple[str, str, str]] = []
        self._cleared: list[str] = []
        self._switched: dict[str, str] = {}  # destination -> why it is disabled, "" = enabled
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
            self._left(fact, event)
            return
        if event is None:
            self._set_aside(fact, fact.error)
            return
        try:
            step = settle(self._purchase(event.visit), event, fact.wall_ns, self.book.terms)
        except SettlementError as error:
            self._set_aside(fact, str(error))
        else:
            self._record(step, fact.seq)
            if isinstance(event, CartClosed):
                self._carts.append(event)
                self._nobody_inside(step.purchase)

    def _left(self, fact: Fact, event: VisitEnded) -> None:
        """Its cart follows, perhaps after a review; until then the receipt is provisional."""
        purchase = self._purchase(event.visit)
        self._nobody_inside(purchase)
        if purchase.stage in INSIDE:  # not of staff, whose start we are not told
            self._record(settle(purchase, event, self.wall_ns, self.book.terms), fact.seq)

    def _nobody_inside(self, purchase: Purchase) -> None:
        """Who was refused has left."""
        if purchase.decline_reason:
            self._cleared.append(inside_key(purchase.visit))

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
            case Verdict.GONE:
                self._gone(request, answer, destination)
        if answer.status is not None:
            destination.took(answer.took_s)
        return verdict

    def _judge(self, request: Request, answer: Answer) -> Verdict:
        if is_webhook(request.destination):
            return judge_webhook(answer, 0 if self._to_leaf(request) else request.failures)
        declines = request.operation in broker.OPERATIONS
        return judge(answer, declines=declines)

    def _to_leaf(self, request: Request) -> bool:
        """Whether it goes to a JetStream node, which is asked until it answers."""
        hooks = self.book.policy.hooks
        return any(hook.leaf and hook.destination == request.destination for hook in hooks)

    def _answered(self, request: Request, answer: Answer) -> None:
        if is_webhook(request.destination):
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
        operation = Operation(request.operation)
        if request.destination == retailer.DESTINATION:
            return retailer.signal(operation, request.body, answer.body, self.book.terms)
        return broker.signal(operation, request.subject, request.body, answer.status, answer.body)

    def _refused(self, request: Request, answer: Answer) -> None:
        """Park; where the retailer does not know an SKU, the receipt says so too."""
        error, remedy = f"status {answer.status}: {_excerpt(answer)}", REMEDY
        if request.operation == Operation.PRICE and answer.status is not None:
            signal = retailer.refusal(request.body, answer.status, answer.body)
            if isinstance(signal, CartRefused):
                step = settle(self._purchase_of(request), signal, self.wall_ns, self.book.terms)
                self._record(step, request.cause)
                error, remedy = step.refused, REMEDY_CART
        self._parked.append((request, answer.status, error, remedy))

    def _unknown(self, request: Request, answer: Answer, destination: Destination) -> None:
        """No answer, or not yet: the same request again under the same key."""
        policy, chance = self.book.policy, self.book.chance()
        if is_webhook(request.destination) and not self._to_leaf(request):
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
        if throttles(answer):
            destination.throttled(self.now_ns, error)
            return
        was_down = destination.down
        destination.failed(self.now_ns, error, self._probe_wait_ns(destination))
        if destination.down and not was_down:
            detail = f"{destination.name} is down, one probe at a time goes there; last: {error}"
            self._alarms.append((f"failing:{destination.name}", "warning", detail))

    def _probe_wait_ns(self, destination: Destination) -> int:
        """Half fixed, half chance: many stores do not come back in step, and none floods."""
        policy = self.book.policy
        longest_s = backoff_s(
            destination.probes + 1, policy.backoff_start_s, policy.backoff_max_s, 1.0
        )
        return round(longest_s * (0.5 + 0.5 * self.book.chance()) * 1e9)

    def _barred(self, request: Request, answer: Answer, destination: Destination) -> None:
        """Nobody would get another answer: stop this destination, probe it later."""
        error = f"status {answer.status}: {_excerpt(answer)}"
        destination.rejected(self.now_ns, error, self._probe_wait_ns(destination))
        self._later(request, error)
        detail = f"{destination.name} rejects us, nothing more is sent there: {error}. {REMEDY_KEY}"
        self._alarms.append((f"barred:{destination.name}", "critical", detail))

    def _gone(self, request: Request, answer: Answer, destination: Destination) -> None:
        """It wants no more: nothing goes there until an operator enables it; nothing is lost."""
        error = f"status {answer.status}: {_excerpt(answer)}"
        self._later(request, error)
        self.disable(destination.name, error)

    def _later(self, request: Request, error: str) -> None:
        """It goes again as soon as its destination takes anything; no failure of its own."""
        self._postponed.append(
            Postponed(
                request=request, not_before_ns=self.now_ns, wait_ns=0, error=error, failed=False
            )
        )

    def disable(self, name: str, reason: str) -> None:
        """Send nothing more to a destination, over restarts too."""
        self.book.destinations[name].disabled = reason
        self._switched[name] = reason
        detail = f"{name} is disabled, what is for it waits: {reason}. {REMEDY_GONE}"
        self._alarms.append((f"disabled:{name}", "critical", detail))

    def enable(self, name: str) -> None:
        """An operator's word: it gets requests again."""
        self.book.destinations[name].disabled = ""
        self._switched[name] = ""
        self._cleared.append(f"disabled:{name}")

    def _heard(self, destination: Destination) -> None:
        if destination.alarmed:
            self._cleared += [f"barred:{destination.name}", f"failing:{destination.name}"]
        destination.answered(self.now_ns)

    def _purchase_of(self, request: Request) -> Purchase:
        return self._purchase(VisitId(request.visit))

    # --- operators' decisions ---------------------------------------------------------------

    def given_up(self, request: Request, reason: str) -> None:
        """A voided request: settlement goes on without its answer."""
        self._voided.append(request)
        if is_webhook(request.destination):
            return
        signal = GivenUp(reason=reason)
        step = settle(self._purchase_of(request), signal, self.wall_ns, self.book.terms)
        self._record(step, request.cause)

    def demanded(self, visit: str, demand: Demand) -> None:
        """What the retailer or an operator demands of a purchase.

        Raises:
            SettlementError: there is no such purchase, or it has no place for that now.
        """
        purchase = self._purchases.get(visit)
        if purchase is None:
            raise SettlementError(f"no purchase of visit {visit}")
        refunds = _destination(Operation.REFUND, self.book.terms)
        if isinstance(demand, RefundAsked) and refunds not in self.book.destinations:
            raise SettlementError("no key for refunds: set broker_refund_key_file in [cloud]")
        self._record(settle(purchase, demand, self.wall_ns, self.book.terms), DEMANDED)

    # --- what follows -----------------------------------------------------------------------

    def _record(self, step: Step, cause: int) -> None:
        purchase = step.purchase
        if self._purchase(purchase.visit).stage in standing.STANDING:
            self._cleared.append(standing.key(purchase.visit))
        if step.inside:
            detail = (
                f"visit {purchase.visit} of account {purchase.account} is inside and was refused:"
                f" {step.inside}. {REMEDY_INSIDE}"
            )
            self._alarms.append((inside_key(purchase.visit), "warning", detail))
        self._purchases[purchase.visit] = self._changed[purchase.visit] = purchase
        self._requests += [self._new_request(ask, purchase, cause) for ask in step.asks]
        self._events += step.events
        if step.receipt is not None:
            self._receipts[purchase.visit] = step.receipt
            self._tell(step.receipt)

    def _tell(self, receipt: Receipt) -> None:
        """Queue the webhooks of a finished receipt."""
        self._requests += deliveries(receipt, self.book.terms.store, self.book.policy.hooks)

    def _new_request(self, ask: Ask, purchase: Purchase, cause: int) -> NewRequest:
        terms = self.book.terms
        adapter = retailer if ask.operation in retailer.OPERATIONS else broker
        path, body = adapter.request(ask, terms)
        by_account = self.book.policy.group == "account"
        return NewRequest(
            group=purchase.account if by_account else f"merchant:{terms.merchant}",
            cause=cause,
            message=f"{purchase.visit}:{ask.operation}" + (f":{ask.name}" if ask.name else ""),
            operation=ask.operation,
            destination=_destination(ask.operation, terms),
            path=path,
            body=body,
            visit=purchase.visit,
            subject=ask.hold,
        )

    async def write(self) -> None:
        """(tx) Put it all into the transaction."""
        outbox, database, now_ns = self.book.outbox, self.book.database, self.now_ns
        db = self.book.db
        if self._changed:
            await book_tables.write_purchases(db, self._changed.values(), self.wall_ns)
        await self._write_picks()
        if self._receipts:
            await book_tables.write_receipts(db, self._receipts.values())
        if self._events:
            await book_tables.write_events(db, self._events, self.wall_ns)
        if self._requests:
            await outbox.add(self._requests, now_ns)
        if self._done:
            await outbox.done(self._done, now_ns)
        if self._postponed:
            await outbox.again(self._postponed)
        for request, status, error, remedy in self._parked:
            await outbox.park(request, status, error, remedy, now_ns)
            await book_tables.park_receipt(db, request.visit, error)
        for request in self._voided:
            await outbox.void(request, now_ns)
        for key, severity, detail in self._alarms:
            await database.raise_alarm(key, severity, detail, now_ns)
        for key in self._cleared:
            await database.clear_alarm(key, now_ns)
        for name, reason in self._switched.items():
            await book_tables.write_switch(db, name, reason, self.wall_ns)
        if self._cursor is not None:
            cursor = self._cursor
            await book_tables.write_cursor(db, self.book.terms.store, cursor.seq, cursor.event_id)

    async def _write_picks(self) -> None:
        """Prices when taken, beside the carts; a price above one of them is a warning."""
        await catalogue.remember_picks(self.book.db, self._carts)
        for event in self._events:
            if not isinstance(event, PurchasePriced):
                continue
            for sku, then, now in await catalogue.dearer(self.book.db, event.visit, event.lines):
                detail = f"visit {event.visit}: {sku} cost {then} when taken, is charged {now}"
                key = f"pick-price:{event.visit}"
                await self.book.database.raise_alarm(key, "warning", detail, self.now_ns)


def _destination(operation: Operation, terms: Terms) -> str:
    """Who is asked: the retailer, the payment provider, or the broker under its refund key."""
    if operation in retailer.OPERATIONS:
        return retailer.DESTINATION
    if operation is Operation.REFUND and terms.payments == broker.DESTINATION:
        return broker.REFUNDS
    return terms.payments


def inside_key(visit: str) -> str:
    """Of the alarm about somebody who is inside and was refused."""
    return f"inside:{visit}"


def _excerpt(answer: Answer) -> str:
    """The start of an answer's text, for an operator's eyes."""
    return answer.body[:300].decode("utf-8", "replace")
