"""The retailer's calls to the store: payment mode, refunds, disputes, catalogue.

An empty 200 means *taken*, not *done*: the call is checked against the purchase as it stands, left
durably for the sync process, and carried out within its next rounds; what came of it is told by
webhook and by ``GET /v1/trips/{id}``. The same call again is answered as before, since each effect
has a place in the settlement table only once, and a refund has its own id.

Listens on this host; a reverse proxy in front of it speaks TLS.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from cloud_sync import catalogue, desk, metrics, views
from cloud_sync.amounts import decode
from cloud_sync.database import read_only_uri
from cloud_sync.demands import (
    ChargeAdjust,
    ChargeCancel,
    ChargeCapture,
    Contested,
    Demand,
    RefundAsked,
    SettledElsewhere,
)
from cloud_sync.http_sender import EndpointError, read_secret
from cloud_sync.outcomes import BadAnswer
from cloud_sync.purchase import Purchase, SettlementError, Stage, Terms
from cloud_sync.settlement import settle
from messages import codec
from messages.contract import PROBLEM_BASE, Problem
from messages.money import MINOR_MAX
from messages.retailer_contract import (
    Amount,
    CancelRequest,
    CatalogueUpload,
    ChargeRequest,
    ContestRequest,
    IngestionAccepted,
    IngestionReport,
    PaymentStatusRequest,
    RefundRequest,
    TripState,
)
from messages.store_config import StoreConfig

NAME = "connector"
BODY_BYTES_MAX = 2**20
BODY_WITHIN_S = 10.0  # a proxy beside us has the whole body before it asks
WAITING_MAX = 1_000  # commands that the sync process has not carried out yet
ID_MAX = 200

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):  # noqa: N818 - an answer
    """A call that is answered with a problem document."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(
            type=PROBLEM_BASE + slug,
            title=slug.replace("-", " "),
            status=status,
            detail=detail[:500],
        )


@asynccontextmanager
async def serving(config: StoreConfig, terms: Terms) -> AsyncIterator[None]:
    """Serve the calls while the block runs, where the configuration asks for it.

    Raises:
        EndpointError: the address is none of this host, or the key file cannot be read.
    """
    cloud = config.cloud
    if not cloud.connector_listen:
        yield
        return
    host, port = listen_address(cloud.connector_listen)
    key = read_secret(NAME, cloud.connector_key_file)
    runner = web.AppRunner(Connector(Path(config.paths.sync), terms, key).app(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def listen_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:8703`` -> host and port. Raises EndpointError."""
    host, _, port = text.rpartition(":")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
        number = int(port) if port.isascii() else -1
    except ValueError:
        loopback, number = False, -1
    if not loopback or not 0 <= number <= 65535:
        raise EndpointError(
            f'{NAME}: {text!r} is no address of this host; write "127.0.0.1:8703" and put a'
            " reverse proxy with TLS in front"
        )
    return host.strip("[]"), number


class Connector:
    """The calls, against the sync file of one store."""

    def __init__(self, path: Path, terms: Terms, key: str) -> None:
        self.path, self.terms, self._key = path, terms, key

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        calls: tuple[tuple[str, type, Callable[[Any, Terms], Demand]], ...] = (
            ("/v1/adjust/charge", ChargeRequest, _adjust),
            ("/v1/capture/charge", ChargeRequest, _capture),
            ("/v1/cancel/charge", CancelRequest, _cancel),
            ("/v1/refund", RefundRequest, _refund),
            ("/v1/contest", ContestRequest, _contest),
            ("/v1/feedback/payment-status", PaymentStatusRequest, _settled),
        )
        for path, kind, demand in calls:
            app.router.add_post(path, self._guarded(self._call(kind, demand)))
        app.router.add_post("/v1/catalog/upload", self._guarded(self._upload))
        app.router.add_get("/v1/catalog/uploads/{id}", self._guarded(self._report))
        app.router.add_get("/v1/trips/{id}", self._guarded(self._trip))
        app.router.add_get("/metrics", self._guarded(self._metrics))
        return app

    # --- the calls ----------------------------------------------------------------------------

    def _call(self, kind: type, demanded: Callable[[Any, Terms], Demand]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            asked: Any = await self._body(request, kind)
            self._own_store(asked.storeId)
            purchase = await self._purchase(asked.shoppingTripId)
            demand = demanded(asked, self.terms)
            if not made_already(purchase, demand):
                self._would_do(purchase, demand)
                await self._leave(purchase.visit, demand)
            return web.Response()

        return handle

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        asked = await self._body(request, CatalogueUpload)
        self._own_store(asked.storeId)
        if len(asked.items) > catalogue.ITEMS_MAX:
            raise Refused(422, "invalid-body", f"more than {catalogue.ITEMS_MAX} items")
        await self._has_room()
        body = msgspec.json.encode(asked).decode()
        command = desk.Command(action="catalogue", target="catalogue", operator=NAME, body=body)
        name = await asyncio.to_thread(desk.leave, self.path, command)
        return _json(IngestionAccepted(ingestionId=name), status=202)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        rows = await self._rows("SELECT report FROM ingestion WHERE id=?", name)
        if rows:
            return _json(msgspec.json.decode(rows[0][0], type=IngestionReport))
        if name not in await asyncio.to_thread(desk.waiting, self.path):
            raise Refused(404, "not-found", "no upload of that id")
        return _json(IngestionReport(ingestionId=name, status="PENDING"))

    async def _trip(self, request: web.Request) -> web.StreamResponse:
        purchase = await self._purchase(request.match_info["id"])
        return _json(trip_state(purchase, self.terms))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        """Not for the retailer: for the store's own Prometheus, under the same key."""
        found = await asyncio.to_thread(views.summary, self.path)
        return web.Response(text=metrics.prometheus(found), content_type="text/plain")

    # --- what they share ------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        """With a key alone; every refusal is a problem document."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                self._authorized(request)
                return await handler(request)
            except Refused as refused:
                return _problem(refused)
            except web.HTTPRequestEntityTooLarge:
                return _problem(Refused(413, "body-too-large", f"more than {BODY_BYTES_MAX} bytes"))

        return handle

    def _authorized(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        good = hmac.compare_digest(given.encode("utf-8", "replace"), self._key.encode())
        if scheme.lower() != "bearer" or not good:
            raise Refused(401, "unauthorized", "a known Bearer key is needed")

    async def _body(self, request: web.Request, kind: type[T]) -> T:
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await request.read()
        except (TimeoutError, ConnectionError, web.RequestPayloadError):
            raise Refused(408, "body-not-received", "the whole body did not come") from None
        try:
            return decode(body, kind, self.terms.amounts, self.terms.currency)
        except BadAnswer as error:
            raise Refused(422, "invalid-body", str(error)) from None

    def _own_store(self, store: str) -> None:
        if store != self.terms.store:
            raise Refused(404, "unknown-store", f"this is store {self.terms.store}")

    async def _purchase(self, trip: str) -> Purchase:
        if not 0 < len(trip) <= ID_MAX:
            raise Refused(422, "invalid-body", f"a trip's id has 1 to {ID_MAX} characters")
        rows = await self._rows("SELECT data FROM purchase WHERE visit=?", trip)
        if not rows:
            raise Refused(404, "unknown-trip", "no such trip here")
        return codec.decode_state(rows[0][0], Purchase)

    def _would_do(self, purchase: Purchase, demand: Demand) -> None:
        """Ask the settlement table, without changing anything."""
        try:
            settle(purchase, demand, time.time_ns(), self.terms)
        except SettlementError as error:
            raise Refused(409, "not-in-this-state", str(error)) from None

    async def _leave(self, visit: str, demand: Demand) -> None:
        await self._has_room()
        await asyncio.to_thread(desk.demand, self.path, visit, demand, operator=NAME)

    async def _has_room(self) -> None:
        if len(await asyncio.to_thread(desk.waiting, self.path)) >= WAITING_MAX:
            raise Refused(503, "store-busy", "too many calls wait; try again")

    async def _rows(self, query: str, value: str) -> list[Any]:
        return await asyncio.to_thread(_look_up, self.path, query, value)


def made_already(purchase: Purchase, demand: Demand) -> bool:
    """Whether this very call was carried out before."""
    done = purchase.stage in (Stage.CAPTURING, Stage.PAID, Stage.CONTESTED, Stage.REFUNDING)
    match demand:
        case ChargeCapture():
            total = purchase.total.minor if purchase.total else 0
            return done and total == demand.amount_minor
        case ChargeCancel():
            return purchase.stage is Stage.CANCELLED
        case RefundAsked():
            _same_refund(purchase, demand)
            return demand.refund in (*purchase.refunds, purchase.refund)
        case Contested():
            return purchase.stage is Stage.CONTESTED
        case SettledElsewhere():
            return purchase.stage is Stage.PAID and not purchase.capture
    return False


def _same_refund(purchase: Purchase, asked: RefundAsked) -> None:
    """An id is of one refund for ever: under way or done, of that amount alone."""
    known = dict(zip(purchase.refunds[::-1], purchase.refund_minors[::-1], strict=False))
    known |= {purchase.refund: purchase.refund_minor} if purchase.refund else {}
    if known.get(asked.refund, asked.amount_minor) != asked.amount_minor:
        raise Refused(
            422,
            "id-reused",
            f"refund {asked.refund} is of {known[asked.refund]}, not of {asked.amount_minor};"
            " another refund has another id",
        )


def trip_state(purchase: Purchase, terms: Terms) -> TripState:
    return TripState(
        shoppingTripId=purchase.visit,
        state=purchase.stage,
        heldMinor=purchase.held_minor,
        totalMinor=purchase.total.minor if purchase.total else 0,
        capture=purchase.capture,
        refundedMinor=purchase.refunded_minor,
        currencyCode=terms.currency,
        refused=purchase.decline_reason,
        unpaidMinor=purchase.unpaid_minor,
    )


def _adjust(asked: ChargeRequest, terms: Terms) -> Demand:
    return ChargeAdjust(amount_minor=_minor(asked.amount, terms))


def _capture(asked: ChargeRequest, terms: Terms) -> Demand:
    return ChargeCapture(amount_minor=_minor(asked.amount, terms))


def _cancel(asked: CancelRequest, terms: Terms) -> Demand:
    return ChargeCancel()


def _refund(asked: RefundRequest, terms: Terms) -> Demand:
    if not 0 < len(asked.refundRequestId) <= ID_MAX or not asked.refundRequestId.isprintable():
        raise Refused(422, "invalid-body", f"refundRequestId has 1 to {ID_MAX} characters")
    return RefundAsked(
        refund=asked.refundRequestId,
        amount_minor=_minor(asked.amount, terms),
        reason=asked.refundReasonCode,
    )


def _contest(asked: ContestRequest, terms: Terms) -> Demand:
    lines = tuple(asked.lineItemIds[:1000])
    return Contested(reason=asked.reasonCode, lines=lines, note=asked.note[:ID_MAX])


def _settled(asked: PaymentStatusRequest, terms: Terms) -> Demand:
    at = asked.paymentStatusTime[:40]
    return SettledElsewhere(amount_minor=_minor(asked.settledAmount, terms), at=at)


def _minor(amount: Amount, terms: Terms) -> int:
    if amount.currencyCode != terms.currency:
        raise Refused(422, "currency-mismatch", f"amounts here are {terms.currency}")
    if abs(amount.amount) > MINOR_MAX:
        raise Refused(422, "invalid-body", f"an amount of {amount.amount} is beyond reason")
    return amount.amount


def _look_up(path: Path, query: str, value: str) -> list[Any]:
    """Rows of the sync file, read-only. Raises Refused while there is none."""
    try:
        with closing(sqlite3.connect(read_only_uri(path), uri=True)) as db:
            return db.execute(query, (value,)).fetchall()
    except sqlite3.Error as error:
        raise Refused(503, "store-busy", f"cannot look that up: {type(error).__name__}") from None


def _problem(refused: Refused) -> web.Response:
    return _json(refused.problem, refused.problem.status, "application/problem+json")


def _json(value: object, status: int = 200, kind: str = "application/json") -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=kind)
