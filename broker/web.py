"""What our HTTP services share: reading requests strictly, answering with problems, serving.

The broker and the reference retailer are each one process: a data directory that is locked while
it is served, one event loop, and one writer thread behind it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import uvicorn
from fastapi import Request, Response
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from broker import problems, screening
from broker.database import CommitError, StoreFullError
from broker.idempotency import Answer, Claim, digest
from broker.keys import ApiKey, key_of
from broker.problems import ProblemError
from messages.contract import HEADER_ATTEMPT, HEADER_GROUP, HEADER_SEQUENCE

BODY_BYTES_MAX = 256 * 1024  # a cart of a thousand lines with its evidence
KEEP_ALIVE_S = 75  # longer than what clients keep idle connections for
SHUTDOWN_S = 5  # requests in progress get this long
LISTEN_BACKLOG = 256
COUNTER_MAX = 2**53 - 1
ID_LENGTH_MAX = 256
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
GROUP = re.compile(r"[\x20-\x7e]{1,200}")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
COUNTER = re.compile(r"\d{1,16}")

Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("walkout.web")


class DataInUseError(RuntimeError):
    """Another process serves this data directory."""


# --- reading a request ------------------------------------------------------------------------


def authorized(request: Request, keys: Iterable[ApiKey], scope: str) -> ApiKey:
    """Who is asking.

    Raises:
        ProblemError: 401 without a known key, 403 with one that may not do this.
    """
    values = request.headers.getlist("authorization")
    scheme, _, presented = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    key = key_of(keys, presented.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        headers = {"WWW-Authenticate": 'Bearer realm="walkout"'}
        raise ProblemError(401, "unauthorized", "a known Bearer key is needed", headers=headers)
    if scope not in key.scopes:
        raise ProblemError(403, "forbidden", f"this key has no scope {scope}")
    return key


async def raw_body(request: Request) -> bytes:
    """The body, at most ``BODY_BYTES_MAX``.

    Raises:
        ProblemError: 413 when it is larger.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ProblemError(413, "body-too-large", f"more than {BODY_BYTES_MAX} bytes")
    return bytes(body)


async def json_body(request: Request, *, screened: bool = True) -> object:
    """The body as JSON, free of card numbers unless ``screened`` is off (bar codes look alike).

    Raises:
        ProblemError: 413, 415, or 422.
    """
    check_media_type(request)
    return parsed(await raw_body(request), screened=screened)


def check_media_type(request: Request) -> None:
    """Raises ProblemError 415 unless JSON comes."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise ProblemError(415, "unsupported-media-type", "send application/json")


def parsed(body: bytes, *, screened: bool) -> object:
    """Bytes as JSON; raises ProblemError 422."""
    try:
        value: object = msgspec.json.decode(body)
        found = screening.card_number_at(value) if screened else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProblemError(422, "invalid-json", "the body is not JSON", param="$") from None
    if found:
        raise ProblemError(422, "card-number", CARD_NUMBER_TEXT, param=found)
    return value


CARD_NUMBER_TEXT = "a card number, or a number that could be one, must not be sent here"


def claim(request: Request, tenant: str, body: object) -> Claim:
    """The request's claim on its Idempotency-Key, with the sender's outbox marks.

    Raises:
        ProblemError: 400 when the key is missing, repeated or malformed, or a mark is malformed.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1 or not IDEMPOTENCY_KEY.fullmatch(keys[0]):
        detail = "one Idempotency-Key of 1 to 255 printable characters is needed"
        raise ProblemError(400, "idempotency-key-needed", detail, param="Idempotency-Key")
    group = request.headers.get(HEADER_GROUP)
    if group is not None and not GROUP.fullmatch(group):
        raise ProblemError(400, "invalid-header", "not a group", param=HEADER_GROUP)
    for name, text in (("Idempotency-Key", keys[0]), (HEADER_GROUP, group or "")):
        if screening.has_card_number(text):
            raise ProblemError(422, "card-number", CARD_NUMBER_TEXT, param=name)
    return Claim(
        tenant=tenant,
        path=request.scope["path"],  # request.url is built anew: a tenth of the hot path
        key=keys[0],
        digest=digest(body),
        group=group,
        sequence=_counter(request, HEADER_SEQUENCE),
        attempt=_counter(request, HEADER_ATTEMPT),
    )


def query_counter(
    query: Mapping[str, str], name: str, default: int, most: int = COUNTER_MAX
) -> int:
    """A whole number from the query, at least 1 of a ``limit``; raises ProblemError 422."""
    text, least = query.get(name, str(default)), int(name == "limit")
    if not COUNTER.fullmatch(text) or not least <= int(text) <= most:
        raise ProblemError(422, "invalid-query", f"not within {least} and {most}", param=name)
    return int(text)


def query_page(query: Mapping[str, str], default: int, most: int) -> tuple[str, int]:
    """``after``, an id or "" for the first page, and ``limit``; raises ProblemError 422."""
    after = query.get("after", "")
    if len(after) > ID_LENGTH_MAX or not after.isprintable():
        raise ProblemError(422, "invalid-query", "not an id of a page before", param="after")
    return after, max(1, query_counter(query, "limit", default, most))


def _counter(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not COUNTER.fullmatch(text) or int(text) > COUNTER_MAX:
        raise ProblemError(400, "invalid-header", "not a whole number", param=name)
    return int(text)


# --- answering --------------------------------------------------------------------------------


class InFlight:
    """Keys whose first request has no answer yet; a second one is told to come back."""

    def __init__(self) -> None:
        self._scopes: set[tuple[str, str, str]] = set()

    async def run(self, claim: Claim, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do the work while the key is marked.

        Raises:
            ProblemError: 409 with Retry-After, the first request is still at work.
        """
        if claim.scope in self._scopes:
            detail = "the first request with this key is still at work"
            raise ProblemError(409, "idempotency-in-flight", detail, headers={"Retry-After": "1"})
        self._scopes.add(claim.scope)
        try:
            return await work()
        finally:
            self._scopes.discard(claim.scope)


def json_response(reply: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(reply), status, media_type="application/json")


def answer_response(answer: Answer) -> Response:
    media_type = "application/json" if answer.status < 400 else problems.CONTENT_TYPE
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, headers, media_type)


def problem_response(error: ProblemError) -> Response:
    return Response(error.body, error.status, error.headers, problems.CONTENT_TYPE)


def guarded(handler: Handler) -> Handler:
    """The handler with every failure turned into a problem; the log gets no value of a request."""

    async def guard(request: Request) -> Response:
        try:
            if CONTROL.search(request.scope["path"]):  # no id of ours; PostgreSQL cannot read NUL
                raise ProblemError(404, "not-found")
            if screening.has_card_number(request.scope["path"]):
                raise ProblemError(422, "card-number", CARD_NUMBER_TEXT, param="path")
            return await handler(request)
        except ProblemError as problem:
            return problem_response(problem)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except (StoreFullError, CommitError) as error:
            log.error("%s: %s", type(error).__name__, error)
            headers = {"Retry-After": "1"}
            return problem_response(ProblemError(503, "store-unavailable", headers=headers))
        except Exception as error:
            log.error("%s in %s", type(error).__name__, _place(error))
            return problem_response(ProblemError(500, "internal-error"))

    return guard


def install_problems(app: Starlette) -> None:
    """404 and 405 of the router as problems, ``Allow`` kept."""

    async def routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
        return problem_response(ProblemError(error.status_code, slug, headers=error.headers))

    app.add_exception_handler(HTTPException, routing)


def _place(error: BaseException) -> str:
    """File and line of the failure; the message might hold what was sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


# --- serving ----------------------------------------------------------------------------------


def lock(data: Path) -> int:
    """Make the data directory ours; the lock goes with the process.

    Raises:
        DataInUseError: another process has it.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DataInUseError(f"{data} is served by another process") from None
    return handle


def unlock(handle: int) -> None:
    os.close(handle)


def run(app: Starlette, *, host: str, port: int, ready: Path | None) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end.

    ``port`` 0 takes a free one; its number goes to ``ready`` once connections are accepted.
    """
    try:
        listening = listener(host, port)
    except OSError as error:
        print(f"cannot listen on {host} port {port}: {error}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # paths hold account ids
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = _Server(config, lambda: _announce(listening, ready))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.end)  # also when uvicorn raises it again at its end
    server.run(sockets=[listening])
    notify("STOPPING=1")
    return 0 if server.started else 1


def listener(host: str, port: int) -> socket.socket:
    """A listening socket, made as TCP by number: asyncio sets TCP_NODELAY on such alone.

    Without it each answer waits 40 ms for the client's delayed acknowledgement.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen(LISTEN_BACKLOG)
    return made


def notify(state: str) -> None:
    """Tell systemd (sd_notify); silent when it did not ask."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        name = f"\0{address[1:]}" if address.startswith("@") else address
        try:
            channel.sendto(state.encode(), name)
        except OSError as error:
            print(f"cannot notify systemd: {error}", file=sys.stderr)


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    def end(self, number: int, frame: object) -> None:
        self.should_exit = True


def _announce(listening: socket.socket, ready: Path | None) -> None:
    port = listening.getsockname()[1]
    if ready is not None:  # atomically: a reader sees the whole number or no file
        part = ready.with_name(f"{ready.name}.part")
        part.write_text(f"{port}\n")
        part.replace(ready)
    notify("READY=1")
