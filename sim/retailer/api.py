"""The reference retailer's routes: who enters, price a cart, receive a webhook, show the books.

Amounts are stored in minor units; where the store agreed on text ("12.99"), they are written so in
answers and read so in questions.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from broker import idempotency, web
from broker.group_commit import Writer, connect
from broker.idempotency import Answer
from broker.keys import ApiKey
from broker.problems import ProblemError
from cloud_sync import amounts as wire
from cloud_sync.amounts import AmountError, Amounts
from messages import retailer_contract
from messages.contract import PurchaseRequest
from messages.retailer_contract import EntryRequest, IdentityRequest
from sim.retailer import store
from sim.retailer.catalogue import Catalogue
from sim.retailer.faults import FaultPlan
from sim.retailer.shoppers import Shoppers
from sim.retailer.webhooks import NotVerifiedError, verified

PAGE, PAGE_MAX = 100, 500
SCOPE = "retailer"

T = TypeVar("T")


class Retailer:
    """What the routes share."""

    def __init__(
        self,
        path: Path,
        *,
        catalogue: Catalogue,
        keys: tuple[ApiKey, ...],
        webhook_secret: str,
        faults: FaultPlan,
        clock_s: Callable[[], int],
        shoppers: Shoppers | None = None,
        amounts: Amounts = Amounts.MINOR,
    ) -> None:
        self.writer = Writer(path, store.SCHEMA)
        self.reader = connect(path, read_only=True)
        self.catalogue, self.keys, self.webhook_secret = catalogue, keys, webhook_secret
        self.faults, self.clock_s = faults, clock_s
        self.shoppers, self.amounts = shoppers or Shoppers(listed={}), amounts
        self.in_flight = web.InFlight()

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    async def purchase(self, request: Request) -> Response:
        """POST /v1/order/purchases."""
        key = web.authorized(request, self.keys, SCOPE)
        body = await web.json_body(request, screened=False)
        asked = _typed(body, PurchaseRequest)
        claim, now_s = web.claim(request, key.tenant, body), self.clock_s()
        await self._stumble("purchases")

        def job(db: sqlite3.Connection) -> Answer:
            return idempotency.once(
                db, claim, now_s, lambda db: store.purchase(db, asked, self.catalogue, now_s)
            )

        answer = await self.in_flight.run(claim, lambda: self.writer.submit(job))
        if self.faults.take("purchases", "drop"):
            return LostResponse()
        if self.faults.take("purchases", "wrong_total"):
            answer = self._with_wrong_total(answer)
        return web.answer_response(self._written(answer))

    async def identity(self, request: Request) -> Response:
        """POST /v1/identity/identity-keys."""
        asked = await self._question(request, IdentityRequest)
        return web.json_response(self.shoppers.identity(asked))

    async def entry(self, request: Request) -> Response:
        """POST /v1/fraudandabuse/shopperauthorization."""
        asked = await self._question(request, EntryRequest)
        if asked.authorizedAmount.currencyCode != self.catalogue.currency:
            detail = f"amounts here are {self.catalogue.currency}"
            raise ProblemError(422, "invalid-body", detail, param="$.authorizedAmount.currencyCode")
        body = wire.encode(self.shoppers.entry(asked), self.amounts, self.catalogue.currency)
        return web.answer_response(Answer(status=200, body=body))

    async def webhook(self, request: Request) -> Response:
        """POST /v1/webhooks."""
        body = await web.raw_body(request)
        try:
            received = verified(self.webhook_secret, request.headers, body)
        except NotVerifiedError:
            detail = "no webhook of ours, or not signed within five minutes"
            raise ProblemError(401, "webhook-not-verified", detail) from None
        await self._stumble("webhooks")
        now_s = self.clock_s()
        fresh = await self.writer.submit(lambda db: store.keep_webhook(db, received, now_s))
        if self.faults.take("webhooks", "drop"):
            return LostResponse()
        return web.json_response({"status": "stored" if fresh else "known"})

    async def books(self, request: Request) -> Response:
        """GET /v1/books."""
        web.authorized(request, self.keys, SCOPE)
        return web.json_response(store.books(self.reader, self.catalogue.currency))

    async def purchases(self, request: Request) -> Response:
        """GET /v1/purchases?after=&limit=."""
        web.authorized(request, self.keys, SCOPE)
        after = web.query_counter(request.query_params, "after", 0)
        limit = max(1, web.query_counter(request.query_params, "limit", PAGE, PAGE_MAX))
        return web.json_response(store.purchases(self.reader, after, limit))

    async def health(self, request: Request) -> Response:
        self.reader.execute("SELECT 1 FROM purchase LIMIT 1").fetchone()
        return web.json_response({"status": "ok"})

    async def _question(self, request: Request, kind: type[T]) -> T:
        """A question of the entry; it changes nothing, so it needs no stored answer."""
        web.authorized(request, self.keys, SCOPE)
        body = await web.json_body(request, screened=False)
        if self.amounts is Amounts.DECIMAL:
            try:
                body = wire.minor(body, self.catalogue.currency)
            except AmountError as error:
                raise ProblemError(422, "invalid-body", str(error), param="$") from None
        return _typed(body, kind)

    def _written(self, answer: Answer) -> Answer:
        """The answer with its amounts as agreed; problems have none."""
        if self.amounts is Amounts.MINOR or answer.status >= 300:
            return answer
        tree = msgspec.json.decode(answer.body)
        return replace(answer, body=wire.encode(tree, self.amounts, self.catalogue.currency))

    async def _stumble(self, endpoint: str) -> None:
        """Faults before the effect."""
        faults = getattr(self.faults, endpoint)
        if faults.delay_s:
            await asyncio.sleep(faults.delay_s)
        if self.faults.take(endpoint, "fail"):
            raise ProblemError(faults.fail_status, "planned-fault", "a fault that was asked for")

    def _with_wrong_total(self, answer: Answer) -> Answer:
        reply: dict[str, Any] = msgspec.json.decode(answer.body)
        reply["total"] += self.faults.purchases.wrong_total_minor
        return Answer(status=answer.status, body=msgspec.json.encode(reply))


class LostResponse(Response):
    """An answer that never arrives whole: the effect is there, the line breaks."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        # Returning without the body makes the server close the connection.


def create_app(retailer: Retailer) -> FastAPI:
    """The retailer as an ASGI application."""
    app = FastAPI(title="Walkout reference retailer", version="1", docs_url=None, redoc_url=None)
    web.install_problems(app)
    for method, path, handler in (
        ("POST", retailer_contract.IDENTITY_PATH, retailer.identity),
        ("POST", retailer_contract.ENTRY_PATH, retailer.entry),
        ("POST", retailer_contract.PURCHASES_PATH, retailer.purchase),
        ("POST", "/v1/webhooks", retailer.webhook),
        ("GET", "/v1/books", retailer.books),
        ("GET", "/v1/purchases", retailer.purchases),
        ("GET", "/healthz", retailer.health),
    ):
        app.add_api_route(path, web.guarded(handler), methods=[method], response_model=None)
    return app


def _typed(body: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(body, kind, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        detail, _, path = str(error).partition(" - at ")
        raise ProblemError(422, "invalid-body", detail, param=path.strip("`") or "$") from None
