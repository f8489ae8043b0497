"""The broker's routes: the tables of the ledger's, and the application made of all of them.

Types are those of ``messages/contract.py``; see docs/broker-api.md. The systems' own rows stand in
``systems/``. Every POST is idempotent by its key; every refusal is a problem document.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import Request, Response
from starlette.applications import Starlette
from starlette.routing import Route as Served

from broker import (
    accounts,
    audit,
    books,
    chart,
    credentials,
    lists,
    openapi,
    operator_site,
    store,
    systems,
    transfers,
    web,
)
from broker.database import Transaction
from broker.idempotency import Answer
from broker.problems import ProblemError
from broker.routes import PAGE, PAGE_MAX, Call, Command, Question, Route, Service, TransferCommand
from broker.systems import parties
from broker.validation import RULES
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRequest:
    """POST /v1/accounts/{account}/block and /unblock -> 200 Account."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """GET /v1/keys: the first signs, the others are older and may still be met."""

    keys: list[CredentialKey]


def create_app(service: Service) -> Starlette:
    """The broker as an ASGI application.

    FastAPI writes the OpenAPI document; requests go to plain routes of Starlette, on which it
    stands, since ours read their bodies themselves and FastAPI's way to a handler costs half as
    much again. Routes are tried in order: the hot path is first.
    """
    served = [
        Served(path, _dispatch(handlers), methods=list(handlers))
        for path, handlers in _by_path(service).items()
    ]
    described = Served("/openapi.json", _described(openapi.document(ROUTES)))
    app = Starlette(routes=[*served, described, *operator_site.served()], lifespan=service.serving)
    web.install_problems(app)
    return app


# --- routes: POST -----------------------------------------------------------------------------


async def _issue(db: Transaction, call: Call, asked: CredentialRequest) -> Answer:
    """Staff are never charged, so an app's key cannot make staff of a shopper."""
    if asked.kind == "staff" and "staff" not in call.key.scopes:
        detail = "staff credentials need a key with scope staff (admin.key)"
        raise ProblemError(403, "forbidden", detail, param="$.kind")
    # Base 32 has no 0, 1, 8 or 9: a chance run of digits is never taken for a card number.
    jti = base64.b32encode(secrets.token_bytes(JTI_BYTES)).decode().lower()
    issued = credentials.issue(asked, call.service.signing[0], jti=jti, now_s=call.now_s)
    return await store.record_credential(db, asked, issued, call.now_s)


_COMMANDS = (
    Command(
        path="/v1/accounts",
        scope="accounts",
        takes=AccountRequest,
        gives=Account,
        effect=lambda db, call, asked: store.open_account(db, asked, call.now_s),
    ),
    Command(
        path="/v1/accounts/{id}/block",
        scope="admin",
        takes=BlockRequest,
        gives=Account,
        status=200,
        effect=lambda db, call, _: store.block_account(db, call.named, True, call.now_s),
    ),
    Command(
        path="/v1/accounts/{id}/unblock",
        scope="admin",
        takes=BlockRequest,
        gives=Account,
        status=200,
        effect=lambda db, call, _: store.block_account(db, call.named, False, call.now_s),
    ),
    Command(
        path="/v1/entry-credentials",
        scope="entry-credentials",
        takes=CredentialRequest,
        gives=Credential,
        effect=_issue,
    ),
    Command(
        path="/v1/holds",
        scope="holds",
        takes=HoldRequest,
        gives=Hold,
        effect=lambda db, call, asked: store.place_hold(db, asked, call.now_s),
    ),
    Command(
        path="/v1/holds/{id}/adjust",
        scope="holds",
        takes=AdjustRequest,
        gives=Hold,
        status=200,
        effect=lambda db, call, asked: store.adjust_hold(db, call.named, asked, call.now_s),
    ),
    Command(
        path="/v1/holds/{id}/capture",
        scope="captures",
        takes=CaptureRequest,
        gives=Capture,
        effect=lambda db, call, asked: store.capture_hold(db, call.named, asked, call.now_s),
    ),
    Command(
        path="/v1/holds/{id}/void",
        scope="holds",
        takes=VoidRequest,
        gives=Hold,
        status=200,
        effect=lambda db, call, asked: store.void_hold(db, call.named, asked, call.now_s),
    ),
    Command(
        path="/v1/payments",
        scope="admin",
        takes=store.PaymentRequest,
        gives=store.Payment,
        effect=lambda db, call, asked: store.record_payment(db, asked, call.now_s),
    ),
    Command(
        path="/v1/captures/{id}/refund",
        scope="admin",
        takes=store.RefundRequest,
        gives=store.Refund,
        effect=lambda db, call, asked: store.refund_capture(db, call.named, asked, call.now_s),
    ),
)
_TRANSFERS = TransferCommand(
    path="/v1/transfers",
    scope="admin",
    takes=transfers.TransferRequest,
    gives=transfers.Transfer,
    effect=lambda db, call, asked: transfers.effect(db, asked, call.now_s),
)


# --- routes: GET ------------------------------------------------------------------------------


def _books(call: Call) -> Callable[[Transaction], Awaitable[Books]]:
    currency = _currency(call)
    return lambda db: books.books(db, currency, call.now_s)


def _captures(call: Call) -> Callable[[Transaction], Awaitable[books.CapturePage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = web.query_counter(call.query, "limit", PAGE, books.CAPTURES_PAGE_MAX)
    return lambda db: books.captures(db, after, max(1, limit))


def _audit(call: Call) -> Callable[[Transaction], Awaitable[audit.AuditPage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = web.query_counter(call.query, "limit", PAGE, PAGE_MAX)
    return lambda db: audit.page(db, after, max(1, limit))


def _ledger_account(call: Call) -> Callable[[Transaction], Awaitable[accounts.LedgerAccount]]:
    name, currency = call.named, _currency(call) or books.DEFAULT_CURRENCY
    try:
        chart.kind_of(name)
    except chart.UnknownAccountError as error:
        raise ProblemError(404, "unknown-account", str(error)) from None
    return lambda db: accounts.state(db, name, currency, call.now_s)


def _currency(call: Call) -> str | None:
    currency = call.query.get("currency")
    if currency is not None and (wrong := RULES["currency"].wrong(currency)):
        raise ProblemError(422, "invalid-query", wrong, param="currency")
    return currency


async def _health(db: Transaction) -> dict[str, str]:
    await db.one("SELECT 1 FROM journal LIMIT 1")
    return {"status": "ok"}


async def _keys(service: Service) -> Keys:
    return Keys(keys=[key.published for key in service.signing])


def _account_list(call: Call) -> Callable[[Transaction], Awaitable[lists.AccountPage]]:
    after, limit = call.page()
    return lambda db: lists.accounts(db, after, limit)


def _hold_list(call: Call) -> Callable[[Transaction], Awaitable[lists.HoldPage]]:
    after, limit = call.page()
    return lambda db: lists.holds(db, after, limit)


_QUESTIONS = (
    Question(
        path="/v1/accounts",
        scope="admin",
        gives=lists.AccountPage,
        ask=_account_list,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/holds",
        scope="holds",
        gives=lists.HoldPage,
        ask=_hold_list,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/invariants",
        scope="admin",
        gives=lists.Soundness,
        ask=lambda call: lists.soundness,
        whole=True,
    ),
    Question(
        path="/v1/accounts/{id}",
        scope="accounts",
        gives=Account,
        ask=lambda call: lambda db: store.account(db, call.named, call.now_s),
    ),
    Question(
        path="/v1/holds/{id}",
        scope="holds",
        gives=Hold,
        ask=lambda call: lambda db: store.hold(db, call.named, call.now_s),
    ),
    Question(
        path="/v1/ledger-accounts/{id}",
        scope="books",
        gives=accounts.LedgerAccount,
        ask=_ledger_account,
        query=(openapi.CURRENCY,),
    ),
    Question(
        path="/v1/books",
        scope="books",
        gives=Books,
        ask=_books,
        whole=True,
        query=(openapi.CURRENCY,),
    ),
    Question(
        path="/v1/captures",
        scope="captures",
        gives=books.CapturePage,
        ask=_captures,
        query=(openapi.whole("after", 0, web.COUNTER_MAX), openapi.LIMIT),
    ),
    Question(
        path="/v1/audit",
        scope="admin",
        gives=audit.AuditPage,
        ask=_audit,
        query=(openapi.whole("after", 0, web.COUNTER_MAX), openapi.LIMIT),
    ),
    Question(
        path="/v1/keys",
        scope="",
        gives=Keys,
        ask=lambda call: lambda db: _keys(call.service),
    ),
    Question(
        path="/healthz",
        scope="",
        gives=dict[str, str],
        ask=lambda call: _health,
    ),
)


def _by_path(service: Service) -> dict[str, dict[str, web.Handler]]:
    """The handlers of each path by method: one route a path, so that 405 lists all of them."""
    found: dict[str, dict[str, web.Handler]] = {}
    for route in ROUTES:
        found.setdefault(route.path, {})[route.method] = web.guarded(route.handler(service))
    return found


def _dispatch(handlers: dict[str, web.Handler]) -> web.Handler:
    if len(handlers) == 1:
        return next(iter(handlers.values()))

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


def _described(document: dict[str, Any]) -> web.Handler:
    text = msgspec.json.encode(document)

    async def handle(request: Request) -> Response:
        return Response(text, media_type="application/json")

    return handle


# A merchant's key has no business with the ledger itself.
ROUTES: tuple[Route, ...] = (
    *parties.operators((_TRANSFERS, *_COMMANDS, *_QUESTIONS)),
    *systems.ROUTES,
)
