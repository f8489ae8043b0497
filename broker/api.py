"""The broker's routes. Each turns a request into one call of ``store.py`` and its answer into HTTP.

Types are those of ``messages/contract.py``; see docs/broker-api.md. Every POST is idempotent by its
key; every refusal is a problem document.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.routing import Route

from broker import accounts, books, chart, credentials, idempotency, openapi, store, transfers, web
from broker.credentials import SigningKey
from broker.database import Database, Transaction
from broker.housekeeping import Housekeeping
from broker.idempotency import Answer
from broker.keys import ApiKey
from broker.ledger import DECLINES, LedgerRefusalError
from broker.problems import ProblemError
from broker.validation import RULES, typed
from messages.contract import (
    Account,
    AccountRequest,
    AdjustRequest,
    Books,
    Capture,
    CaptureRequest,
    Credential,
    CredentialRequest,
    Hold,
    HoldRequest,
    VoidRequest,
)
from messages.observations import CredentialKey

JTI_BYTES = 15  # 120 bits, 24 letters and digits without padding
CAPTURES_PAGE = 100

Effect = Callable[[Transaction], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest:
    """POST /v1/accounts/{account}/block and /unblock -> 200 Account."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """GET /v1/keys: the first signs, the others are older and may still be met."""

    keys: list[CredentialKey]


class Service:
    """What the routes share: the database, the keys, the clock."""

    def __init__(
        self,
        database: Database,
        *,
        keys: tuple[ApiKey, ...],
        signing: tuple[SigningKey, ...],
        clock_s: Callable[[], int],
    ) -> None:
        self.database, self.keys, self.signing, self.clock_s = database, keys, signing, clock_s
        self.in_flight = web.InFlight()
        self.housekeeping = Housekeeping(database, clock_s)

    @asynccontextmanager
    async def serving(self, app: FastAPI) -> AsyncIterator[None]:
        """The database open, and kept in order, while the application serves."""
        await self.database.start()
        self.housekeeping.start()
        try:
            yield
        finally:
            await self.housekeeping.stop()
            await self.database.close()

    async def once(self, request: Request, key: ApiKey, body: object, effect: Effect) -> Response:
        """The effect under the request's Idempotency-Key."""
        claim = web.claim(request, key.tenant, body)
        now_s = self.clock_s()

        def job(db: Transaction) -> Awaitable[Answer]:
            return idempotency.claimed(db, claim, now_s, lambda: _by_the_rules(effect, db))

        answer = await self.in_flight.run(claim, lambda: self.database.submit(job))
        return web.answer_response(answer)


def create_app(service: Service) -> FastAPI:
    """The broker as an ASGI application.

    FastAPI writes the OpenAPI document; requests go to plain Starlette routes, since ours read
    their bodies themselves and FastAPI's way to a handler costs half as much again.
    """
    app = FastAPI(
        title="Walkout broker",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=service.serving,
    )
    web.install_problems(app)
    app.router.routes.append(Route("/openapi.json", _described(openapi.document(_ROUTES))))
    for route in _ROUTES:
        handler = web.guarded(route.handler(service))
        app.router.routes.append(Route(route.path, handler, methods=[route.method]))
    return app


# --- routes: POST -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A POST: ``effect(db, service, path id, request, now_s)`` under an Idempotency-Key."""

    path: str
    scope: str
    takes: type
    gives: type
    effect: Callable[[Transaction, Service, str, Any, int], Awaitable[Answer]]
    status: int = 201
    method: str = "POST"

    @property
    def name(self) -> str:
        return self.path.removeprefix("/v1/").replace("/", "-").replace("{id}-", "")

    @property
    def types(self) -> tuple[type, ...]:
        return self.takes, self.gives

    def handler(self, service: Service) -> web.Handler:
        async def handle(request: Request) -> Response:
            key = web.authorized(request, service.keys, self.scope)
            body = await web.json_body(request)
            asked: Any = typed(body, self.takes)
            _check_staff(asked, key)
            named = request.path_params.get("id", "")
            now_s = service.clock_s()
            return await service.once(
                request, key, body, lambda db: self.effect(db, service, named, asked, now_s)
            )

        return handle

    def openapi(self) -> dict[str, Any]:
        key = {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": openapi.STRING,
        }
        return {
            "parameters": [key, *openapi.path_parameters(self.path)],
            "requestBody": {"required": True, "content": openapi.content(self.takes)},
            "responses": openapi.responses(self.status, self.gives),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfers(_Command):
    """``POST /v1/transfers``: the database does all of it in one go."""

    def handler(self, service: Service) -> web.Handler:
        async def handle(request: Request) -> Response:
            key = web.authorized(request, service.keys, self.scope)
            body = await web.json_body(request)
            asked = transfers.checked(typed(body, transfers.TransferRequest))
            claim, now_s = web.claim(request, key.tenant, body), service.clock_s()
            answer = await service.in_flight.run(
                claim, lambda: service.database.transfer(claim, asked, now_s)
            )
            return web.answer_response(answer)

        return handle


async def _issue(
    db: Transaction, service: Service, _: str, asked: CredentialRequest, now_s: int
) -> Answer:
    # Base 32 has no 0, 1, 8 or 9: a chance run of digits is never taken for a card number.
    jti = base64.b32encode(secrets.token_bytes(JTI_BYTES)).decode().lower()
    issued = credentials.issue(asked, service.signing[0], jti=jti, now_s=now_s)
    return await store.record_credential(db, asked, issued, now_s)


_COMMANDS = (
    _Command(
        path="/v1/accounts",
        scope="accounts",
        takes=AccountRequest,
        gives=Account,
        effect=lambda db, service, named, asked, now_s: store.open_account(db, asked, now_s),
    ),
    _Command(
        path="/v1/accounts/{id}/block",
        scope="admin",
        takes=BlockRequest,
        gives=Account,
        status=200,
        effect=lambda db, service, named, asked, now_s: store.block_account(db, named, True, now_s),
    ),
    _Command(
        path="/v1/accounts/{id}/unblock",
        scope="admin",
        takes=BlockRequest,
        gives=Account,
        status=200,
        effect=lambda db, service, named, asked, now_s: store.block_account(
            db, named, False, now_s
        ),
    ),
    _Command(
        path="/v1/entry-credentials",
        scope="entry-credentials",
        takes=CredentialRequest,
        gives=Credential,
        effect=_issue,
    ),
    _Command(
        path="/v1/holds",
        scope="holds",
        takes=HoldRequest,
        gives=Hold,
        effect=lambda db, service, named, asked, now_s: store.place_hold(db, asked, now_s),
    ),
    _Command(
        path="/v1/holds/{id}/adjust",
        scope="holds",
        takes=AdjustRequest,
        gives=Hold,
        status=200,
        effect=lambda db, service, named, asked, now_s: store.adjust_hold(db, named, asked, now_s),
    ),
    _Command(
        path="/v1/holds/{id}/capture",
        scope="captures",
        takes=CaptureRequest,
        gives=Capture,
        effect=lambda db, service, named, asked, now_s: store.capture_hold(db, named, asked, now_s),
    ),
    _Command(
        path="/v1/holds/{id}/void",
        scope="holds",
        takes=VoidRequest,
        gives=Hold,
        status=200,
        effect=lambda db, service, named, asked, now_s: store.void_hold(db, named, asked, now_s),
    ),
    _Command(
        path="/v1/payments",
        scope="admin",
        takes=store.PaymentRequest,
        gives=store.Payment,
        effect=lambda db, service, named, asked, now_s: store.record_payment(db, asked, now_s),
    ),
    _Command(
        path="/v1/captures/{id}/refund",
        scope="admin",
        takes=store.RefundRequest,
        gives=store.Refund,
        effect=lambda db, service, named, asked, now_s: store.refund_capture(
            db, named, asked, now_s
        ),
    ),
)
_TRANSFERS = _Transfers(
    path="/v1/transfers",
    scope="admin",
    takes=transfers.TransferRequest,
    gives=transfers.Transfer,
    effect=lambda db, service, named, asked, now_s: transfers.effect(db, asked, now_s),
)


# --- routes: GET ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A GET; ``scope`` "" is open to everybody. ``ask`` gives what to ask the database."""

    path: str
    scope: str
    gives: type
    ask: Callable[[Service, Request], Callable[[Transaction], Awaitable[Any]]]
    method: str = "GET"
    status: int = 200
    whole: bool = False  # reads whole tables: off the event loop, in one snapshot

    @property
    def name(self) -> str:
        return f"get-{self.path.removeprefix('/v1/').replace('/', '-')}"

    @property
    def types(self) -> tuple[type, ...]:
        return (self.gives,)

    def handler(self, service: Service) -> web.Handler:
        async def handle(request: Request) -> Response:
            if self.scope:
                web.authorized(request, service.keys, self.scope)
            job = self.ask(service, request)
            return web.json_response(await service.database.read(job, whole=self.whole))

        return handle

    def openapi(self) -> dict[str, Any]:
        return {
            "parameters": openapi.path_parameters(self.path),
            "responses": openapi.responses(self.status, self.gives),
        }


def _books(service: Service, request: Request) -> Callable[[Transaction], Awaitable[Books]]:
    currency = _currency(request)
    return lambda db: books.books(db, currency, service.clock_s())


def _captures(
    service: Service, request: Request
) -> Callable[[Transaction], Awaitable[books.CapturePage]]:
    after = web.query_counter(request, "after", 0)
    limit = web.query_counter(request, "limit", CAPTURES_PAGE, books.CAPTURES_PAGE_MAX)
    return lambda db: books.captures(db, after, max(1, limit))


def _ledger_account(
    service: Service, request: Request
) -> Callable[[Transaction], Awaitable[accounts.LedgerAccount]]:
    name, currency = request.path_params["id"], _currency(request) or books.DEFAULT_CURRENCY
    try:
        chart.kind_of(name)
    except chart.UnknownAccountError as error:
        raise ProblemError(404, "unknown-account", str(error)) from None
    return lambda db: accounts.state(db, name, currency, service.clock_s())


def _currency(request: Request) -> str | None:
    currency = request.query_params.get("currency")
    if currency is not None and (wrong := RULES["currency"].wrong(currency)):
        raise ProblemError(422, "invalid-query", wrong, param="currency")
    return currency


async def _health(db: Transaction) -> dict[str, str]:
    await db.one("SELECT 1 FROM journal LIMIT 1")
    return {"status": "ok"}


async def _keys(service: Service) -> Keys:
    return Keys(keys=[key.published for key in service.signing])


_QUESTIONS = (
    _Question(
        path="/v1/accounts/{id}",
        scope="accounts",
        gives=Account,
        ask=lambda service, request: (
            lambda db: store.account(db, request.path_params["id"], service.clock_s())
        ),
    ),
    _Question(
        path="/v1/holds/{id}",
        scope="holds",
        gives=Hold,
        ask=lambda service, request: (
            lambda db: store.hold(db, request.path_params["id"], service.clock_s())
        ),
    ),
    _Question(
        path="/v1/ledger-accounts/{id}",
        scope="books",
        gives=accounts.LedgerAccount,
        ask=_ledger_account,
    ),
    _Question(path="/v1/books", scope="books", gives=Books, ask=_books, whole=True),
    _Question(path="/v1/captures", scope="captures", gives=books.CapturePage, ask=_captures),
    _Question(
        path="/v1/keys",
        scope="",
        gives=Keys,
        ask=lambda service, request: lambda db: _keys(service),
    ),
    _Question(
        path="/healthz",
        scope="",
        gives=dict[str, str],
        ask=lambda service, request: _health,
    ),
)


def _described(document: dict[str, Any]) -> web.Handler:
    text = msgspec.json.encode(document)

    async def handle(request: Request) -> Response:
        return Response(text, media_type="application/json")

    return handle


# --- helpers ----------------------------------------------------------------------------------


async def _by_the_rules(effect: Effect, db: Transaction) -> Answer:
    """The effect, with what the ledger refuses as a problem."""
    try:
        return await effect(db)
    except LedgerRefusalError as refusal:
        status = 402 if refusal.reason in DECLINES else _STATUS.get(refusal.reason.value, 422)
        raise ProblemError(
            status, refusal.reason.value, refusal.detail, param=refusal.param
        ) from None


_STATUS = {"hold-resolved": 409}


def _check_staff(asked: object, key: ApiKey) -> None:
    """Staff are never charged, so an app's key cannot make staff of a shopper."""
    staff = isinstance(asked, CredentialRequest) and asked.kind == "staff"
    if staff and "staff" not in key.scopes:
        detail = "staff credentials need a key with scope staff (admin.key)"
        raise ProblemError(403, "forbidden", detail, param="$.kind")


_ROUTES: tuple[_Command | _Question, ...] = (_TRANSFERS, *_COMMANDS, *_QUESTIONS)
