"""The money of a run, settled in process: the real rules, the real books, no wires.

Each visit and each closed cart goes through ``cloud_sync.settlement``'s table; what it asks for is
answered by the reference retailer's pricing and by the broker's ledger on an SQLite file in memory,
through the same request and answer bytes as over HTTP. Virtual time: nothing waits or fails, so
what does not settle here is a broken rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from broker import books, schema, store
from broker.database import finished
from broker.idempotency import Answer
from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.sqlite_database import SqliteTransaction
from cloud_sync import retailer
from cloud_sync.outcomes import BadAnswer
from cloud_sync.payments import broker
from cloud_sync.pricing import purchase_request
from cloud_sync.purchase import Ask, Operation, Purchase, SettlementError, Signal, Step, Terms
from cloud_sync.settlement import settle
from messages.contract import (
    AccountRequest,
    AdjustRequest,
    Books,
    Capture,
    CaptureRequest,
    HoldRequest,
    PurchaseRequest,
    VoidRequest,
)
from messages.events import CartClosed, CloudEvent, Event, VisitKind, VisitStarted
from messages.ids import VisitId
from messages.store_config import StoreConfig
from sim.retailer.catalogue import CATALOGUE, Catalogue, Item, catalogue_of
from sim.retailer.pricing import CartError, price

LIMIT_MINOR = 10**9  # nobody is declined for want of credit: declines are the broker's own tests
NS = 1_000_000_000
WALL_START_NS = 1_767_225_600 * NS  # holds expire by wall time; any fixed start will do
PRICE_MINOR, TAX_PERMILLE = 199, 70  # of goods that the reference catalogue does not name
GTIN = "2900435999994"  # restricted range, valid check digit: no reader sees it here
REFUSALS = (
    SettlementError,
    BadAnswer,
    LedgerRefusalError,
    ProblemError,
    CartError,
    sqlite3.Error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that the rules refused: when, whose, why."""

    at_ns: int
    visit: str
    text: str


@dataclass(slots=True)
class MoneyLeg:
    """Settlement, retailer and broker of one store. Feed it the store's events in order."""

    terms: Terms
    catalogue: Catalogue
    ledger: sqlite3.Connection
    purchases: dict[VisitId, Purchase] = field(default_factory=dict)
    events: list[CloudEvent] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    now_ns: int = 0

    @staticmethod
    def of(config: StoreConfig) -> MoneyLeg:
        ledger = sqlite3.connect(":memory:", isolation_level=None)
        schema.migrate_sqlite(ledger)
        return MoneyLeg(terms_of(config), catalogue_for(config), ledger)

    def feed(self, events: Iterable[Event]) -> None:
        """Settle what the events start and close; others are none of its business."""
        for event in events:
            if isinstance(event, VisitStarted | CartClosed):
                self.now_ns = max(self.now_ns, event.at_ns)
                if event.kind is VisitKind.SHOPPER:
                    self._open_account(event.account)
                self._signal(event.visit, event)

    def captures(self) -> list[Capture]:
        """Every capture in the ledger, in the order of its journals."""
        found: list[Capture] = []
        after, more = 0, True
        while more:
            db = SqliteTransaction(self.ledger)
            page = finished(books.captures(db, after, books.CAPTURES_PAGE_MAX))
            found += page.captures
            after, more = page.after, page.more
        return found

    def books(self) -> Books:
        db = SqliteTransaction(self.ledger)
        return finished(books.books(db, self.terms.currency, self._wall_s()))

    def price_minor(self, cart: CartClosed) -> int:
        """What the retailer asks for the cart's charged lines, asked once more.

        Raises:
            CartError: it does not sell one of them.
        """
        request = purchase_request(cart, self.terms.store)
        return price(request, self.catalogue, "again").total if request.cartItems else 0

    # --- settlement -----------------------------------------------------------------------

    def _signal(self, visit: VisitId, signal: Signal) -> None:
        """One transition and everything that follows from it; a refusal is noted."""
        known = self.purchases.get(visit) or Purchase(visit=visit)
        try:
            step = settle(known, signal, self._wall_ns(), self.terms)
            self._keep(step)
            for ask in step.asks:
                self._signal(visit, self._answer(visit, ask))
        except REFUSALS as error:
            text = getattr(error, "slug", "") or str(error)
            self._trouble(visit, f"{type(error).__name__}: {text}")

    def _keep(self, step: Step) -> None:
        self.purchases[step.purchase.visit] = step.purchase
        self.events += step.events
        if step.refused:
            self._trouble(step.purchase.visit, step.refused)

    def _trouble(self, visit: VisitId, text: str) -> None:
        self.troubles.append(Trouble(at_ns=self.now_ns, visit=visit, text=text))

    def _answer(self, visit: VisitId, ask: Ask) -> Signal:
        """What the retailer or the broker says to a request, read as settlement reads it."""
        if ask.operation is Operation.PRICE:
            _, asked = retailer.request(ask, self.terms)
            wanted = msgspec.json.decode(asked, type=PurchaseRequest)
            reply = price(wanted, self.catalogue, f"purchase-{visit}")
            return retailer.signal(ask.operation, asked, msgspec.json.encode(reply), self.terms)
        _, asked = broker.request(ask, self.terms)
        answer = self._transacted(ask, asked)
        return broker.signal(ask.operation, ask.hold, asked, answer.status, answer.body)

    def _transacted(self, ask: Ask, asked: bytes) -> Answer:
        """One request to the ledger, all of it or nothing."""
        db, hold, now_s = SqliteTransaction(self.ledger), ask.hold, self._wall_s()
        read = msgspec.json.decode
        self.ledger.execute("BEGIN")
        try:
            match ask.operation:
                case Operation.HOLD:
                    effect = store.place_hold(db, read(asked, type=HoldRequest), now_s)
                case Operation.ADJUST:
                    effect = store.adjust_hold(db, hold, read(asked, type=AdjustRequest), now_s)
                case Operation.CAPTURE:
                    effect = store.capture_hold(db, hold, read(asked, type=CaptureRequest), now_s)
                case _:
                    effect = store.void_hold(db, hold, read(asked, type=VoidRequest), now_s)
            answer = finished(effect)
        except Exception:
            self.ledger.execute("ROLLBACK")
            raise
        self.ledger.execute("COMMIT")
        return answer

    def _open_account(self, account: str) -> None:
        request = AccountRequest(
            account=account, currency=self.terms.currency, limit_minor=LIMIT_MINOR
        )
        finished(store.open_account(SqliteTransaction(self.ledger), request, self._wall_s()))

    def _wall_ns(self) -> int:
        return WALL_START_NS + self.now_ns

    def _wall_s(self) -> int:
        return self._wall_ns() // NS


def terms_of(config: StoreConfig) -> Terms:
    """What settlement takes from the configuration."""
    return Terms(
        store=config.store,
        merchant=config.cloud.merchant or "merchant",
        currency=config.currency,
        hold_minor=config.cloud.hold_minor,
    )


def catalogue_for(config: StoreConfig) -> Catalogue:
    """The reference retailer's prices for everything the store sells.

    A variety of the large stores (``milk-1l-2``) costs what its base does.
    """
    known = {item.id: item for item in CATALOGUE}
    items = []
    for product in config.products:
        base = known.get(product.id) or known.get(product.id.rsplit("-", 1)[0])
        item = base or Item(
            id=product.id,
            name=product.name or product.id,
            gtin=GTIN,
            price_minor=PRICE_MINOR,
            tax_permille=TAX_PERMILLE,
        )
        items.append(replace(item, id=str(product.id)))
    return catalogue_of(items, config.currency)
