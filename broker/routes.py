"""Routes as tables: one row says who may ask, what is taken and given, and what it does.

A ``Command`` changes something, once per Idempotency-Key; a ``Question`` only asks. Rows stand in
``api.py`` and in ``systems/<topic>_api.py``; handlers and the OpenAPI document come from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import Request, Response
from starlette.applications import Starlette

from broker import audit, idempotency, openapi, transfers, web
from broker.admission import Admission, checked_body
from broker.api_keys import KeyRing
from broker.credentials import SigningKey
from broker.database import (
    CommitError,
    Database,
    DatabaseUrl,
    HotCommand,
    StoreFullError,
    Transaction,
)
from broker.idempotency import Answer, Claim
from broker.keys import TENANT, ApiKey
from broker.ledger import DECLINES, LedgerRefusalError
from broker.problems import ProblemError
from broker.tenants import Ledgers
from broker.validation import typed

PAGE = 100  # entries of a page when nothing else is asked for
PAGE_MAX = 500
REFUSALS_EVERY_S = 5.0  # how late a refusal is in the audit log
VERSION = re.compile(r'"(\d{1,15})"')


class Service:
    """What the routes share: the tenants' ledgers, the door, the signing keys, the clock.

    ``where``: beside which database the other tenants' are; None = there is the main one alone.
    """

    def __init__(
        self,
        database: Database,
        *,
        keys: tuple[ApiKey, ...],
        signing: tuple[SigningKey, ...],
        clock_s: Callable[[], int],
        where: DatabaseUrl | None = None,
    ) -> None:
        self.signing, self.clock_s = signing, clock_s
        self.ledgers = Ledgers(database, where, clock_s, signing)
        self.admission = Admission(KeyRing(keys, database, clock_s))
        self.in_flight = web.InFlight()

    @asynccontextmanager
    async def serving(self, app: Starlette) -> AsyncIterator[None]:
        """The ledgers open, and kept in order, while the application serves."""
        await self.ledgers.start()
        writer = asyncio.create_task(self._write_refusals(), name="write refusals")
        try:
            yield
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            await self._write_refusals_once()
            await self.ledgers.close()

    async def _write_refusals(self) -> None:
        while True:
            await asyncio.sleep(REFUSALS_EVERY_S)
            await self._write_refusals_once()

    async def _write_refusals_once(self) -> None:
        """To the main ledger, whoever was refused; kept for the next time when that fails."""
        refusals = self.admission.refusals
        with contextlib.suppress(CommitError, StoreFullError):
            await self.ledgers.open[TENANT].submit(lambda db: refusals.write(db, self.clock_s()))


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


GIVEN = "@"  # stands in a reply for what the database gives


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """A ``function`` of ``hot_commands`` in the migrations, its arguments, and its reply.

    ``given``: the field of the reply that the function says; ``GIVEN`` stands there.
    """

    function: str
    given: str
    values: Callable[[Call, Any], tuple[Mapping[str, object], object]]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A body without fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A POST, PUT or DELETE: ``effect(db, call, request)`` under an Idempotency-Key.

    ``edits``: needs If-Match, and ``call.if_match`` is the version to compare. A type that gives
    ``version`` gets an ETag. ``at_once``: the plain case as one function of the database.
    """

    path: str
    scope: str
    takes: type
    gives: type
    effect: Callable[[Transaction, Call, Any], Awaitable[Answer]]
    status: int = 201
    method: str = "POST"
    edits: bool = False
    at_once: AtOnce | None = None

    @property
    def name(self) -> str:
        return _named(self.method, self.path)

    @property
    def types(self) -> tuple[type, ...]:
        return self.takes, self.gives

    def handler(self, service: Service) -> web.Handler:
        action = f"{self.method} {self.path}"

        async def handle(request: Request) -> Response:
            now_s = service.clock_s()
            admitted = await service.admission.admit(
                request, self.scope, action, now_s, command=True
            )
            key = admitted.key
            ledger = await service.ledgers.of(key.tenant)
            body = {} if self.takes is Nothing else await checked_body(request, admitted)
            asked: Any = typed(body, self.takes)
            claim = web.claim(request, key.tenant, body)
            call = _call(service, key, request, now_s, edits=self.edits)

            def job(db: Transaction) -> Awaitable[Answer]:
                return idempotency.claimed(
                    db, claim, now_s, lambda: self._done(db, call, asked, action)
                )

            async def work() -> Answer:
                done = await self._at_once(ledger, call, asked, claim, action)
                return await ledger.submit(job) if done is None else done

            answer = await service.in_flight.run(claim, work)
            return _tagged(web.answer_response(answer), self.gives, answer.body)

        return handle

    async def _at_once(
        self, ledger: Database, call: Call, asked: object, claim: Claim, action: str
    ) -> Answer | None:
        """The plain case in one call, where the database can; None: run the effect."""
        if self.at_once is None:
            return None
        arguments, reply = self.at_once.values(call, asked)
        mark = f'"{self.at_once.given}":"{GIVEN}"'.encode()  # no value can hold such quotes
        head, found, tail = msgspec.json.encode(reply).partition(mark)
        assert found
        command = HotCommand(
            function=self.at_once.function,
            arguments=msgspec.json.encode(arguments).decode(),
            head=head + mark[: -len(GIVEN) - 2],
            tail=tail,
            actor=call.key.actor,
            action=action,
        )
        return await ledger.hot(claim, command, call.now_s)

    async def _done(self, db: Transaction, call: Call, asked: object, action: str) -> Answer:
        """The effect and its line in the audit log, in one transaction."""
        try:
            answer = await self.effect(db, call, asked)
        except LedgerRefusalError as refusal:
            status = 402 if refusal.reason in DECLINES else _STATUS.get(refusal.reason.value, 422)
            raise ProblemError(
                status, refusal.reason.value, refusal.detail, param=refusal.param
            ) from None
        named = "/".join(str(value) for value in call.path.values())
        await audit.record(db, call.now_s, call.key.actor, action, named, answer.status)
        return answer

    def openapi(self) -> dict[str, Any]:
        headers = [openapi.IDEMPOTENCY_KEY, *([openapi.IF_MATCH] if self.edits else [])]
        described: dict[str, Any] = {
            "parameters": [*headers, *openapi.path_parameters(self.path)],
            "responses": openapi.responses(self.status, self.gives),
            "security": openapi.WITH_KEY,
        }
        if self.takes is not Nothing:
            described["requestBody"] = {"required": True, "content": openapi.content(self.takes)}
        return described


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCommand(Command):
    """``POST /v1/transfers``: the database does all of it in one go."""

    def handler(self, service: Service) -> web.Handler:
        action = f"{self.method} {self.path}"

        async def handle(request: Request) -> Response:
            now_s = service.clock_s()
            admitted = await service.admission.admit(
                request, self.scope, action, now_s, command=True
            )
            if admitted.key.party:
                raise ProblemError(403, "merchants-key", "transfers are the operator's")
            ledger = await service.ledgers.of(admitted.key.tenant)
            body = await checked_body(request, admitted)
            asked = transfers.checked(typed(body, transfers.TransferRequest))
            claim = web.claim(request, admitted.key.tenant, body)
            answer = await service.in_flight.run(
                claim, lambda: ledger.transfer(claim, asked, now_s)
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
        action = f"GET {self.path}"

        async def handle(request: Request) -> Response:
            now_s = service.clock_s()
            key = NOBODY
            if self.scope:
                admitted = await service.admission.admit(
                    request, self.scope, action, now_s, command=False
                )
                admitted.check_body(b"")
                key = admitted.key
            ledger = await service.ledgers.of(key.tenant)
            reply = await ledger.read(
                self.ask(_call(service, key, request, now_s)), whole=self.whole
            )
            response = self.respond(reply)
            return _tagged(response, self.gives, response.body)

        return handle

    def respond(self, reply: Any) -> Response:
        """What was asked for as HTTP: JSON, unless a kind of question says otherwise."""
        return web.json_response(reply)

    def openapi(self) -> dict[str, Any]:
        return {
            "parameters": [*openapi.path_parameters(self.path), *self.query],
            "responses": openapi.responses(self.status, self.gives),
            "security": openapi.WITH_KEY if self.scope else [],
        }


Route = Command | Question
NOBODY = ApiKey(name="", tenant=TENANT, scopes=frozenset(), digest=b"")


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


def _call(
    service: Service, key: ApiKey, request: Request, now_s: int, *, edits: bool = False
) -> Call:
    return Call(
        service=service,
        key=key,
        path=request.path_params,
        query=request.query_params,
        now_s=now_s,
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


_STATUS = {"hold-resolved": 409}
