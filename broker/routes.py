"""Routes as tables: one row says who may ask, what is taken and given, and what it does.

A ``Command`` changes something, once per Idempotency-Key; a ``Question`` only asks. Rows stand in
``api.py`` and in ``systems/<topic>_api.py``; handlers and the OpenAPI document come from them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from broker import idempotency, openapi, transfers, web
from broker.credentials import SigningKey
from broker.database import Database, Transaction
from broker.housekeeping import Housekeeping
from broker.idempotency import Answer
from broker.keys import ApiKey
from broker.ledger import DECLINES, LedgerRefusalError
from broker.problems import ProblemError
from broker.validation import typed

PAGE = 100  # entries of a page when nothing else is asked for
PAGE_MAX = 500
VERSION = re.compile(r'"(\d{1,15})"')


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a row knows of its request beside the body.

    ``if_match``: the version of the ETag that a change starts from, None when none was sent.
    """

    service: Service
    key: ApiKey
    path: Mapping[str, str]
    query: Mapping[str, str]
    now_s: int
    if_match: int | None = None

    @property
    def named(self) -> str:
        """The ``{id}`` of the path."""
        return self.path["id"]

    def page(self) -> tuple[str, int]:
        """``?after=&limit=`` of a list: the last id of the page before, and how many.

        Raises:
            ProblemError: 422.
        """
        return web.query_page(self.query, PAGE, PAGE_MAX)


@dataclass(frozen=True, slots=True)
class Nothing:
    """A body without fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A POST, PUT or DELETE: ``effect(db, call, request)`` under an Idempotency-Key.

    ``edits``: needs If-Match, and ``call.if_match`` is the version to compare. A type that gives
    ``version`` gets an ETag.
    """

    path: str
    scope: str
    takes: type
    gives: type
    effect: Callable[[Transaction, Call, Any], Awaitable[Answer]]
    status: int = 201
    method: str = "POST"
    edits: bool = False

    @property
    def name(self) -> str:
        return _named(self.method, self.path)

    @property
    def types(self) -> tuple[type, ...]:
        return self.takes, self.gives

    def handler(self, service: Service) -> web.Handler:
        async def handle(request: Request) -> Response:
            key = web.authorized(request, service.keys, self.scope)
            body = {} if self.takes is Nothing else await web.json_body(request)
            asked: Any = typed(body, self.takes)
            call = _call(service, key, request, edits=self.edits)
            claim = web.claim(request, key.tenant, body)

            def job(db: Transaction) -> Awaitable[Answer]:
                return idempotency.claimed(
                    db, claim, call.now_s, lambda: _by_the_rules(self.effect(db, call, asked))
                )

            answer = await service.in_flight.run(claim, lambda: service.database.submit(job))
            return _tagged(web.answer_response(answer), self.gives, answer.body)

        return handle

    def openapi(self) -> dict[str, Any]:
        headers = [openapi.IDEMPOTENCY_KEY, *([openapi.IF_MATCH] if self.edits else [])]
        described: dict[str, Any] = {
            "parameters": [*headers, *openapi.path_parameters(self.path)],
            "responses": openapi.responses(self.status, self.gives),
        }
        if self.takes is not Nothing:
            described["requestBody"] = {"required": True, "content": openapi.content(self.takes)}
        return described


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCommand(Command):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A GET; ``scope`` "" is open to everybody. ``ask`` gives what to ask the database."""

    path: str
    scope: str
    gives: type
    ask: Callable[[Call], Callable[[Transaction], Awaitable[Any]]]
    method: str = "GET"
    status: int = 200
    whole: bool = False  # reads whole tables: off the event loop, in one snapshot
    query: tuple[dict[str, Any], ...] = field(default=())  # its parameters, for the document

    @property
    def name(self) -> str:
        return _named(self.method, self.path)

    @property
    def types(self) -> tuple[type, ...]:
        return (self.gives,)

    def handler(self, service: Service) -> web.Handler:
        async def handle(request: Request) -> Response:
            key = web.authorized(request, service.keys, self.scope) if self.scope else NOBODY
            job = self.ask(_call(service, key, request))
            reply = await service.database.read(job, whole=self.whole)
            response = web.json_response(reply)
            return _tagged(response, self.gives, response.body)

        return handle

    def openapi(self) -> dict[str, Any]:
        return {
            "parameters": [*openapi.path_parameters(self.path), *self.query],
            "responses": openapi.responses(self.status, self.gives),
        }


Route = Command | Question
NOBODY = ApiKey(name="", tenant="", scopes=frozenset(), digest=b"")


def same_version(call: Call, version: int) -> None:
    """For effects of rows that edit.

    Raises:
        ProblemError: 412, somebody changed it since.
    """
    if call.if_match != version:
        detail = f"this is version {version} now: read it again and decide anew"
        raise ProblemError(412, "version-mismatch", detail, param="If-Match")


# --- helpers ----------------------------------------------------------------------------------


def _named(method: str, path: str) -> str:
    words = path.removeprefix("/v1/").replace("{", "").replace("}", "").strip("/")
    return f"{method.lower()}-{words.replace('/', '-')}"


def _call(service: Service, key: ApiKey, request: Request, *, edits: bool = False) -> Call:
    return Call(
        service=service,
        key=key,
        path=request.path_params,
        query=request.query_params,
        now_s=service.clock_s(),
        if_match=_if_match(request) if edits else None,
    )


def _if_match(request: Request) -> int:
    found = VERSION.fullmatch(request.headers.get("if-match", ""))
    if found is None:
        detail = 'If-Match with the ETag that was read is needed, as in "3"'
        raise ProblemError(428, "if-match-needed", detail, param="If-Match")
    return int(found[1])


class _Versioned(msgspec.Struct):
    version: int


def _tagged(response: Response, gives: type, body: bytes | memoryview) -> Response:
    if response.status_code < 300 and "version" in getattr(gives, "__dataclass_fields__", ()):
        version = msgspec.json.decode(body, type=_Versioned).version
        response.headers["ETag"] = f'"{version}"'
    return response


async def _by_the_rules(effect: Awaitable[Answer]) -> Answer:
    """The effect, with what the ledger refuses as a problem."""
    try:
        return await effect
    except LedgerRefusalError as refusal:
        status = 402 if refusal.reason in DECLINES else _STATUS.get(refusal.reason.value, 422)
        raise ProblemError(
            status, refusal.reason.value, refusal.detail, param=refusal.param
        ) from None


_STATUS = {"hold-resolved": 409}
