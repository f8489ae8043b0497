"""The operator's socket: answers to reviews, the store's mode, deny list, keys, planogram.

A unix socket, mode 0600: whoever may open it is an operator. One JSON object a line:
``{"do": "store_mode", "mode": "closing", "operator": "console"}``. The answer, one line, comes when
the action is durable and was applied: ``{"ok": true, "step": 812}`` or ``{"ok": false, "error":
"..."}``. Actions become ``OperatorAction`` observations, so they are journalled and replayed.

The functions at the end are clients for the command line; they never change the journal themselves.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from messages import codec
from messages.events import AlarmRaised, Event, ReviewRequested, ReviewResolved
from messages.ids import AccountRef, CredentialId, ReviewId, Sku, VisitId
from messages.observations import (
    CredentialKey,
    OperatorAction,
    OperatorActionKind,
    ReviewAnswer,
)
from messages.store_config import StoreConfig

LINE_BYTES_MAX = 256 * 2**10  # a deny list of some thousand accounts
CONNECTIONS_MAX = 8
IDLE_S_MAX = 60.0
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux
ANSWER_S_MAX = 10.0
REVIEWS_LOOKED_AT = 2000  # newest review events; a review is closed within the hour
STORE_MODES = ("open", "closing", "closed")


class ControlError(RuntimeError):
    """The daemon cannot be reached, or refused; says why."""


class _Request(msgspec.Struct, tag_field="do", forbid_unknown_fields=True, kw_only=True):
    operator: str = "console"


class _Review(_Request, tag="review_answer"):
    review: str
    visit: str | None = None
    sku: str | None = None
    quantity: int = 0


class _Mode(_Request, tag="store_mode"):
    mode: str


class _Deny(_Request, tag="deny_list"):
    accounts: list[str] = []
    credentials: list[str] = []


class _Link(_Request, tag="link"):
    up: bool


class _Owing(_Request, tag="owing"):
    accounts: list[str]


class _Key(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    kid: str
    public_key: str


class _Keys(_Request, tag="keys"):
    keys: list[_Key]


class _Planogram(_Request, tag="planogram_change"):
    facing: str
    sku: str


_REQUEST: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    _Review | _Mode | _Deny | _Owing | _Link | _Keys | _Planogram
)


def action_of(line: bytes, now_ns: int) -> OperatorAction:
    """The action a line asks for. Raises ControlError with what is wrong."""
    try:
        request = _REQUEST.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: no UTF-8
        raise ControlError(f"not a request: {error}") from error
    _check(request)
    fields: dict[str, Any] = {}
    match request:
        case _Review():
            fields["review_answer"] = ReviewAnswer(
                review=ReviewId(request.review),
                visit=VisitId(request.visit) if request.visit else None,
                sku=Sku(request.sku) if request.sku else None,
                quantity=request.quantity,
            )
        case _Mode():
            fields["store_mode"] = request.mode
        case _Deny():
            fields["denied_accounts"] = tuple(AccountRef(a) for a in request.accounts)
            fields["denied_credentials"] = tuple(CredentialId(c) for c in request.credentials)
        case _Owing():
            fields["denied_accounts"] = tuple(AccountRef(a) for a in request.accounts)
        case _Link():
            fields["link_up"] = request.up
        case _Keys():
            fields["keys"] = tuple(
                CredentialKey(kid=k.kid, public_key=k.public_key) for k in request.keys
            )
        case _Planogram():
            fields["facing_sku"] = (request.facing, Sku(request.sku))
    kind = OperatorActionKind(type(request).__struct_config__.tag)
    return OperatorAction(kind=kind, received_at_ns=now_ns, operator=request.operator, **fields)


def _check(request: _Request) -> None:
    if not request.operator:
        raise ControlError("operator is empty; say who acts")
    if isinstance(request, _Mode) and request.mode not in STORE_MODES:
        raise ControlError(f"mode {request.mode!r}: must be one of {', '.join(STORE_MODES)}")
    if isinstance(request, _Review) and request.visit and (not request.sku or not request.quantity):
        raise ControlError("a visit needs sku and quantity; without visit nobody is charged")
    if isinstance(request, _Keys):
        for key in request.keys:
            if len(key.public_key) != 64 or not _is_hexadecimal(key.public_key):
                raise ControlError(f"key {key.kid!r}: a public key is 64 hexadecimal digits")


def _is_hexadecimal(text: str) -> bool:
    return all(c in "0123456789abcdefABCDEF" for c in text)


class Apply(Protocol):
    """Given by the daemon: durable and applied when it returns (step, first wanted event)."""

    def __call__(
        self, action: OperatorAction, wanted: Callable[[Event], bool] | None
    ) -> Awaitable[tuple[int, Event | None]]: ...


class ControlServer:
    """The socket: ``listen``, then ``run``."""

    _server: asyncio.Server

    def __init__(self, path: Path, apply: Apply, now_ns: Callable[[], int]) -> None:
        self._path, self._apply, self._now_ns = path, apply, now_ns
        self._open = 0

    async def listen(self) -> None:
        """Operators may connect from here on. Raises ControlError where it cannot be."""
        sock = _listening(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_BYTES_MAX)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with self._server:
                await self._server.serve_forever()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > CONNECTIONS_MAX:
                await _send(writer, {"ok": False, "error": "too many connections"})
                return
            while line := await asyncio.wait_for(reader.readline(), IDLE_S_MAX):
                await _send(writer, await self._answer(line))
        except (TimeoutError, ValueError, OSError):
            pass  # silent for too long, a line without end, or gone: their side
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            action = action_of(line, self._now_ns())
            wanted = _outcome_of(action.review_answer)
            step, event = await asyncio.wait_for(self._apply(action, wanted), ANSWER_S_MAX)
        except ControlError as error:
            return {"ok": False, "error": str(error)}
        except TimeoutError:
            return {"ok": False, "error": "the daemon did not apply it in time; see its status"}
        if wanted and not isinstance(event, ReviewResolved):
            refusal = event.detail if isinstance(event, AlarmRaised) else "that review is not open"
            return {"ok": False, "step": step, "error": refusal}
        return {"ok": True, "step": step}


def _outcome_of(answer: ReviewAnswer | None) -> Callable[[Event], bool] | None:
    """Which event tells what became of an answer."""
    if answer is None:
        return None
    return lambda event: (
        (isinstance(event, ReviewResolved) and event.review == answer.review)
        or (isinstance(event, AlarmRaised) and event.key == f"answer:{answer.review}")
    )


async def _send(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


def _listening(path: Path) -> socket.socket:
    """A private socket; the daemon holds the journal's lock, so an old file is a dead one."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ControlError(f"{path}: longer than {SOCKET_PATH_BYTES_MAX} bytes; shorten [paths]")
    path.parent.mkdir(parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # 0600 from the first instant
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise ControlError(f"{path}: {error}; check [paths] control_socket") from error
    finally:
        os.umask(mask)
    return sock


# --- clients ---------------------------------------------------------------------------------


def request(socket_path: Path, message: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a running daemon and return its answer.

    Raises:
        ControlError: no daemon answers, or it refused; the text says why.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(ANSWER_S_MAX + 5.0)
            sock.connect(str(socket_path))
            sock.sendall(json.dumps(message).encode() + b"\n")
            line = sock.makefile("rb").readline()
    except OSError as error:
        raise ControlError(f"{socket_path}: {error}; is the daemon running?") from error
    if not line:
        raise ControlError(f"{socket_path}: the daemon closed the connection")
    answer: dict[str, Any] = json.loads(line)
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "refused")))
    return answer


def open_reviews(config: StoreConfig) -> list[dict[str, Any]]:
    """Doubts that wait for a person, oldest first, as JSON-able values; daemon running or not.

    Raises:
        ControlError: there is no journal yet.
    """
    path = Path(config.paths.journal)
    try:
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            rows = reader.execute(_REVIEWS, (REVIEWS_LOOKED_AT,)).fetchall()
        finally:
            reader.close()
    except sqlite3.Error as error:
        raise ControlError(f"{path}: {error}") from error
    pending: dict[ReviewId, ReviewRequested] = {}
    for (body,) in reversed(rows):
        event = codec.decode(body)
        if isinstance(event, ReviewRequested):
            pending[event.review] = event
        else:
            pending.pop(event.review, None)
    return [json.loads(codec.to_json(event)) for event in pending.values()]


def answer_review(
    config: StoreConfig,
    review: str,
    visit: str | None,
    sku: str | None = None,
    quantity: int = 0,
    *,
    operator: str = "console",
) -> dict[str, Any]:
    """Decide a doubt; ``visit`` None charges nobody. Raises ControlError."""
    message = {
        "do": "review_answer",
        "review": review,
        "visit": visit,
        "sku": sku,
        "quantity": quantity,
        "operator": operator,
    }
    return request(_socket(config), message)


def set_store_mode(config: StoreConfig, mode: str, *, operator: str = "console") -> dict[str, Any]:
    """``open``, ``closing`` (nobody new) or ``closed``. Raises ControlError."""
    return request(_socket(config), {"do": "store_mode", "mode": mode, "operator": operator})


def set_deny_list(
    config: StoreConfig, accounts: list[str], credentials: list[str], *, operator: str = "console"
) -> dict[str, Any]:
    """Accounts and credentials that may not enter. Raises ControlError."""
    message = {"do": "deny_list", "accounts": accounts, "credentials": credentials}
    return request(_socket(config), {**message, "operator": operator})


def set_link(config: StoreConfig, up: bool, *, operator: str = "sync") -> dict[str, Any]:
    """Whether payments can be asked: the gate's offline limit counts while not. Raises
    ControlError."""
    return request(_socket(config), {"do": "link", "up": up, "operator": operator})


def set_owing(
    config: StoreConfig, accounts: list[str], *, operator: str = "sync"
) -> dict[str, Any]:
    """Who has an unpaid receipt and may not enter; replaces what was said before. Raises
    ControlError."""
    message = {"do": "owing", "accounts": accounts, "operator": operator}
    return request(_socket(config), message)


def set_planogram(
    config: StoreConfig, facing: str, sku: str, *, operator: str = "console"
) -> dict[str, Any]:
    """A facing holds another product from now on: accepts a proposal, or says what is known.

    Raises:
        ControlError: no such facing or SKU in the configuration, or no daemon answers.
    """
    facings = {str(f.id or (f.plates[0] if f.plates else "")) for f in config.facings}
    _known("facing", facing, facings)
    _known("SKU", sku, {str(product.id) for product in config.products})
    message = {"do": "planogram_change", "facing": facing, "sku": sku, "operator": operator}
    return request(_socket(config), message)


def _known(what: str, name: str, names: set[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else "see store.toml"
        raise ControlError(f"no {what} {name!r} in this store; {remedy}")


def _socket(config: StoreConfig) -> Path:
    return Path(config.paths.control_socket)


_REVIEWS = (
    "SELECT body FROM event WHERE type IN ('ReviewRequested', 'ReviewResolved')"
    " ORDER BY seq DESC LIMIT ?"
)
