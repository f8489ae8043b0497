"""A broker, a retailer and a webhook receiver on real sockets, with faults by schedule.

Each keeps its own record of what it did, beside the answers stored by Idempotency-Key, and checks
the sender's promises as requests arrive: one in flight per group, sequence never backwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from cloud_sync import webhooks
from messages import codec
from messages.events import (
    CartClosed,
    CartLine,
    CartState,
    EndReason,
    Event,
    Evidence,
    LineState,
    VisitEnded,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CredentialId, EventId, GateId, LineId, Sku, StoreId, VisitId
from messages.retailer_contract import ENTRY_PATH, IDENTITY_PATH
from messages.store_config import Cloud, Paths, StoreConfig

STORE = StoreId("s1")
KEYS = {
    **{"broker": "broker-key-4711", "retailer": "retailer-key-0815"},
    **{"refunds": "refund-key-1234", "connector": "connector-key-99"},
}
SECRET = "whsec_" + base64.b64encode(b"walkout-test-secret-of-32-bytes!").decode()
PRICES = {"apple": 120, "bread": 349, "wine": 1899}
WALL_NS = 1_790_000_000_000_000_000

Handler = Callable[[web.Request], Awaitable[web.Response]]
# One attempt's fate: None = fine; "lost" = done, then the connection closes without an answer;
# "dropped" = closed before anything is done; or an answer as (status, headers, body).
Fate = str | tuple[int, dict[str, str], bytes] | None


@dataclass
class Arrival:
    """One attempt as it came in."""

    system: str
    operation: str
    idem: str
    group: str
    seq: int
    attempt: int
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class SecondSystems:
    """All three systems. ``fate(arrival)`` decides what happens to an attempt."""

    fate: Callable[[Arrival], Fate] = lambda arrival: None
    delay_s: Callable[[Arrival], float] = lambda arrival: 0.0
    prices: dict[str, int] = field(default_factory=lambda: dict(PRICES))
    declines: set[str] = field(default_factory=set)  # operations answered 402
    twist: Callable[[dict[str, Any]], dict[str, Any]] = lambda reply: reply  # of a price
    strangers: set[str] = field(default_factory=set)  # identity keys the retailer rejects
    hold_most: int = 0  # what an entry decision adjusts the hold to; 0: nothing
    arrivals: list[Arrival] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)  # by the id of what was done
    captured: dict[str, int] = field(default_factory=dict)  # per capture, minor units
    webhooks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # broken promises of the sender
    fates: Counter[str] = field(default_factory=Counter)  # faults that really happened
    told: asyncio.Event = field(default_factory=asyncio.Event)  # a webhook came
    url: str = ""
    _answers: dict[tuple[str, str], tuple[int, bytes, bytes]] = field(default_factory=dict)
    _in_flight: Counter[str] = field(default_factory=Counter)
    _last_seq: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/holds", self._handler("broker", "hold"))
        for operation in ("adjust", "capture", "void"):
            app.router.add_post(
                f"/v1/holds/{{hold}}/{operation}", self._handler("broker", operation)
            )
        app.router.add_post("/v1/order/purchases", self._handler("retailer", "price"))
        app.router.add_post("/v1/captures/{capture}/refund", self._handler("refunds", "refund"))
        app.router.add_post(IDENTITY_PATH, self._handler("retailer", "verify"))
        app.router.add_post(ENTRY_PATH, self._handler("retailer", "admit"))
        app.router.add_post("/hook", self._handler("webhook", "webhook"))
        return app

    def _handler(self, system: str, operation: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return await self._handle(request, system, operation)

        return handle

    async def _handle(self, request: web.Request, system: str, operation: str) -> web.Response:
        raw = await request.read()
        arrival = Arrival(
            system=system,
            operation=operation,
            idem=request.headers["Idempotency-Key"],
            group=request.headers["Walkout-Group"],
            seq=int(request.headers["Walkout-Sequence"]),
            attempt=int(request.headers["Walkout-Attempt"]),
            body=json.loads(raw),
            headers=dict(request.headers),
        )
        self._check(arrival)
        self._in_flight[arrival.group] += 1
        try:
            await asyncio.sleep(self.delay_s(arrival))
            return await self._answer(request, arrival, raw)
        finally:
            self._in_flight[arrival.group] -= 1

    def _check(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        if self._in_flight[arrival.group]:
            self.faults.append(f"two in flight in {arrival.group}: {arrival.idem}")
        if arrival.seq < self._last_seq[arrival.group]:
            self.faults.append(f"{arrival.idem} has sequence {arrival.seq}, a later one came first")
        self._last_seq[arrival.group] = max(arrival.seq, self._last_seq[arrival.group])

    async def _answer(self, request: web.Request, arrival: Arrival, raw: bytes) -> web.Response:
        fate = self.fate(arrival)
        if fate is not None:
            self.fates[fate if isinstance(fate, str) else str(fate[0])] += 1
        if isinstance(fate, tuple):
            status, headers, body = fate
            return web.Response(status=status, headers=headers, body=body)
        if fate == "dropped":
            return _closed(request)
        status, body = self._once(arrival, raw)
        if fate == "lost":
            return _closed(request)
        return web.Response(status=status, body=body, content_type="application/json")

    def _once(self, arrival: Arrival, raw: bytes) -> tuple[int, bytes]:
        """Idempotent by key: the stored answer, or a new effect."""
        if arrival.system == "webhook":
            return self._receive(arrival, raw)
        if arrival.headers.get("Authorization") != f"Bearer {KEYS[arrival.system]}":
            return 401, b'{"title":"bad key"}'
        known = self._answers.get((arrival.system, arrival.idem))
        if known is not None:
            if known[2] != raw:
                self.faults.append(f"{arrival.idem} came with another body")
            return known[:2]
        status, reply = getattr(self, f"_{arrival.operation}")(arrival)
        body = json.dumps(reply).encode()
        if status < 300 or status == 402:
            self._answers[arrival.system, arrival.idem] = (status, body, raw)
        return status, body

    def _hold_reply(self, hold: str, status: str, amount: int) -> dict[str, Any]:
        return {
            **{"hold": hold, "account": "a", "status": status, "amount_minor": amount},
            **{"captured_minor": 0, "currency": "EUR", "reason": ""},
        }

    def _hold(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        hold = arrival.body["hold"]
        if "hold" in self.declines:
            return 402, self._hold_reply(hold, "declined", 0) | {"reason": "limit-exceeded"}
        self.effects[hold] += 1
        return 201, self._hold_reply(hold, "held", arrival.body["amount_minor"])

    def _adjust(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        hold = "hold-" + arrival.idem.partition(":")[0]
        if "adjust" in self.declines:
            return 402, {"type": "x", "title": "declined", "status": 402, "detail": "too much"}
        self.effects[f"adjust-{hold}"] += 1
        return 200, self._hold_reply(hold, "held", arrival.body["amount_minor"])

    def _capture(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        body = arrival.body
        if "capture" in self.declines:
            return 402, {"type": "x", "title": "declined", "status": 402, "detail": "card expired"}
        if sum(body["line_totals"]) != body["amount_minor"]:
            self.faults.append(f"{arrival.idem}: the lines do not add up")
        self.effects[body["capture"]] += 1
        self.captured[body["capture"]] = body["amount_minor"]
        hold = body["capture"].replace("capture-", "hold-")
        kept = ("capture", "merchant", "purchase", "amount_minor", "currency")
        reply = {name: body[name] for name in kept}
        return 201, reply | {"hold": hold, "account": "a", "journal": 1, "status": "captured"}

    def _void(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        hold = "hold-" + arrival.idem.partition(":")[0]
        self.effects[f"void-{hold}"] += 1
        return 200, self._hold_reply(hold, "void", 0)

    def _refund(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        body, capture = arrival.body, f"capture-{arrival.idem.partition(':')[0]}"
        if "refund" in self.declines:
            return 402, {"type": "x", "title": "declined", "status": 402, "detail": "no funds"}
        self.effects[body["refund"]] += 1
        return 201, {**body, "capture": capture, "to_provider_minor": 0, "journal": 2}

    def _verify(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        known = arrival.body["identityKey"] not in self.strangers
        reply = {"decision": "ACCEPT" if known else "REJECT"}
        shopper = {"shopperIdentity": {"id": f"shopper-{arrival.body['identityKey']}"}}
        return 200, reply | (shopper if known else {})

    def _admit(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        amount = {"amount": self.hold_most, "currencyCode": "EUR"}
        conditions = [{"type": "ADJUST", "amount": amount}] if self.hold_most else []
        return 200, {"shopperAuthorized": True, "authorizationConditions": conditions}

    def _price(self, arrival: Arrival) -> tuple[int, dict[str, Any]]:
        items = arrival.body["cartItems"]
        for i, item in enumerate(items):
            if item["id"] not in self.prices:
                problem = {
                    "type": "https://walkout.example/problems/unknown-sku",
                    "title": "Unknown SKU",
                    "status": 422,
                    "detail": f"no price for {item['id']}",
                    "param": f"$.cartItems[{i}].id",
                }
                return 422, problem
        trip = arrival.body["idempotentShoppingTripId"]
        self.effects[f"purchase-{trip}"] += 1
        lines = [_priced(item, self.prices[item["id"]]) for item in items]
        total = sum(line["total"] for line in lines)
        reply = {"purchaseId": f"p-{trip}", "currency": "EUR", "lines": lines, "total": total}
        return 201, self.twist(reply)

    def _receive(self, arrival: Arrival, raw: bytes) -> tuple[int, bytes]:
        try:
            signing = webhooks.signer(SECRET)
            message, events = webhooks.verify_all(signing, arrival.headers, raw, time.time_ns())
        except webhooks.WebhookRefused as error:
            self.faults.append(f"webhook refused: {error}")
            return 401, b""
        self.webhooks += [(message, {"type": one.type, **one.data}) for one in events]
        self.told.set()
        return 204, b""

    def sent(self, group: str) -> list[str]:
        """Keys in the order in which they first came."""
        return list(dict.fromkeys(a.idem for a in self.arrivals if a.group == group))


def _closed(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response(status=500)


def _priced(item: dict[str, Any], price: int) -> dict[str, Any]:
    quantity = item["quantity"]["value"]
    return {
        **{"lineItemId": item["lineItemId"], "id": item["id"], "name": item["id"].title()},
        **{"quantity": quantity, "unitPrice": price, "discount": 0, "tax": 0},
        "total": price * quantity,
    }


@asynccontextmanager
async def serving(systems: SecondSystems, host: str = "127.0.0.1") -> AsyncIterator[SecondSystems]:
    runner = web.AppRunner(systems.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    systems.url = f"http://{host}:{port}"
    try:
        yield systems
    finally:
        await runner.cleanup()


# --- the store's side -------------------------------------------------------------------------


def store_config(folder: Path, url: str, **cloud: Any) -> StoreConfig:
    """A store whose cloud is at ``url``; key files are written."""
    for name, key in (*KEYS.items(), ("webhook", SECRET)):
        (folder / f"{name}.key").write_text(key + "\n")
    settings = Cloud(
        retailer_url=url,
        broker_url=url,
        merchant="m1",
        retailer_key_file=str(folder / "retailer.key"),
        broker_key_file=str(folder / "broker.key"),
        webhook_url=f"{url}/hook",
        webhook_network="private",
        webhook_secret_file=str(folder / "webhook.key"),
        **{"request_timeout_s": 2.0, "backoff_start_s": 0.01, "backoff_max_s": 0.05} | cloud,
    )
    paths = Paths(journal=str(folder / "journal.db"), sync=str(folder / "sync.db"))
    return StoreConfig(store=STORE, currency="EUR", paths=paths, cloud=settings)


class JournalFile:
    """The part of the daemon's journal that the sync process reads."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
            " event_id TEXT UNIQUE, grp TEXT, kind TEXT, body BLOB, created_wall_ns INTEGER)"
        )

    def append(self, *events: VisitStarted | VisitEnded | CartClosed) -> None:
        self.db.execute("BEGIN")
        for event in events:
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
            row = (event.id, getattr(event, "account", ""), kind, codec.encode(event), WALL_NS)
            self.db.execute(
                "INSERT INTO outbox(event_id,grp,kind,body,created_wall_ns) VALUES(?,?,?,?,?)", row
            )
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


def visit_started(visit: str, account: str) -> VisitStarted:
    return VisitStarted(
        id=EventId(f"{visit}-started"),
        at_ns=1_000_000_000,
        visit=VisitId(visit),
        credential=CredentialId(f"c-{visit}"),
        account=AccountRef(account),
        gate=GateId("g"),
        party_size=1,
    )


def visit_ended(visit: str, *skus: str, in_review: tuple[str, ...] = ()) -> VisitEnded:
    lines = [_line(visit, i, sku, LineState.CHARGED) for i, sku in enumerate(skus)]
    lines += [_line(visit, 100 + i, sku, LineState.REVIEW) for i, sku in enumerate(in_review)]
    return VisitEnded(
        id=EventId(f"{visit}-ended"),
        at_ns=60_000_000_000,
        visit=VisitId(visit),
        reason=EndReason.EXIT,
        gate=GateId("g"),
        lines=tuple(lines),
        ended_at_wall_ns=WALL_NS + 59_000_000_000,
        due_at_wall_ns=WALL_NS + 959_000_000_000,
    )


def cart_closed(
    visit: str,
    account: str,
    *skus: str,
    in_review: tuple[str, ...] = (),
    kind: VisitKind = VisitKind.SHOPPER,
) -> CartClosed:
    lines = [_line(visit, i, sku, LineState.CHARGED) for i, sku in enumerate(skus)]
    lines += [_line(visit, 100 + i, sku, LineState.REVIEW) for i, sku in enumerate(in_review)]
    return CartClosed(
        id=EventId(f"{visit}-closed"),
        at_ns=61_000_000_000,
        visit=VisitId(visit),
        credential=CredentialId(f"c-{visit}"),
        account=AccountRef(account),
        kind=kind,
        party_size=1,
        entry_gate=GateId("g"),
        exit_gate=GateId("g"),
        started_at_ns=1_000_000_000,
        ended_at_ns=60_000_000_000,
        started_at_wall_ns=WALL_NS,
        ended_at_wall_ns=WALL_NS + 59_000_000_000,
        state=CartState.REVIEW if in_review else CartState.CLOSED,
        lines=tuple(lines),
    )


def _line(visit: str, number: int, sku: str, state: LineState) -> CartLine:
    return CartLine(
        line=LineId(f"{visit}-l{number}"),
        sku=Sku(sku),
        quantity=1 + number % 2,
        probability=0.99 if state is LineState.CHARGED else 0.6,
        state=state,
        taken_at_ns=30_000_000_000,
        evidence=Evidence(started_at_ns=29_000_000_000, ended_at_ns=30_000_000_000, mass_g=-150.0),
    )


def whole_visit(visit: str, account: str, *skus: str) -> tuple[Event, Event]:
    return visit_started(visit, account), cart_closed(visit, account, *skus)
