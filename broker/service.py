"""The broker as a process, and its questions as functions for the command line."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import requests

from broker import keys, web
from broker.api import Keys, create_app
from broker.books import CapturePage
from broker.credentials import SigningKeyError
from broker.database import Database, DatabaseError, DatabaseUrl, open_database
from broker.routes import Service
from broker.store import Payment, PaymentRequest, Refund, RefundRequest
from messages.contract import (
    Account,
    AccountRequest,
    Books,
    Credential,
    CredentialRequest,
    Problem,
)
from messages.observations import CredentialKey

EX_CONFIG = 78  # sysexits.h: the unit does not start it again
TIMEOUT_S = 30.0

T = TypeVar("T")


class BrokerError(RuntimeError):
    """The broker's refusal; ``problem`` is its document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


def serve(
    *,
    data: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Path | None = None,
    where: DatabaseUrl | None = None,
) -> int:
    """Serve until SIGTERM; the exit status.

    Makes ``signing.key`` and the API keys ``store.key``, ``app.key`` and ``admin.key`` in the data
    directory at first start. ``where``: the ledger's database; ``broker.db`` in the data directory
    when left out. ``ready``: the port number is written there once it listens.
    """
    os.umask(0o077)  # the books are nobody else's business
    try:
        handle = web.lock(data)
        where = where or DatabaseUrl(path=data / "broker.db")
        database = open_database(where)
        asyncio.run(_tried(database))
        service = Service(
            database,
            keys=keys.api_keys(data),
            signing=keys.signing_keys(data),
            clock_s=unix_s,
            where=where,
        )
    except (keys.SecretFileError, SigningKeyError, DatabaseError) as error:
        print(f"walkout broker: {error}", file=sys.stderr)
        return EX_CONFIG
    except (web.DataInUseError, OSError, sqlite3.Error) as error:
        print(f"walkout broker: {error}", file=sys.stderr)
        return 1
    try:
        return web.run(create_app(service), host=host, port=port, ready=ready)
    finally:
        web.unlock(handle)


async def _tried(database: Database) -> None:
    """Opened once, so that what is wrong with it is said in one line before anything listens."""
    await database.start()
    await database.close()


def unix_s() -> int:
    return time.time_ns() // 1_000_000_000


def books(url: str, key_file: Path, currency: str | None = None) -> Books:
    """What the ledger says; raises BrokerError."""
    return _get(url, "/v1/books", key_file, Books, currency=currency)


def captures(url: str, key_file: Path, after: int = 0) -> CapturePage:
    """One page of captures after a journal number; raises BrokerError."""
    return _get(url, "/v1/captures", key_file, CapturePage, after=after)


def account(url: str, key_file: Path, name: str) -> Account:
    return _get(url, f"/v1/accounts/{name}", key_file, Account)


def credential_keys(url: str) -> tuple[CredentialKey, ...]:
    """The public keys that entry tokens are checked with."""
    return tuple(_get(url, "/v1/keys", None, Keys).keys)


def open_account(url: str, key_file: Path, request: AccountRequest) -> Account:
    return _post(url, "/v1/accounts", key_file, request, Account)


def issue_credential(url: str, key_file: Path, request: CredentialRequest) -> Credential:
    return _post(url, "/v1/entry-credentials", key_file, request, Credential)


def record_payment(url: str, key_file: Path, request: PaymentRequest) -> Payment:
    return _post(url, "/v1/payments", key_file, request, Payment)


def refund(url: str, key_file: Path, capture: str, request: RefundRequest) -> Refund:
    return _post(url, f"/v1/captures/{capture}/refund", key_file, request, Refund)


def block_account(url: str, key_file: Path, name: str, *, blocked: bool = True) -> Account:
    verb = "block" if blocked else "unblock"
    return _post(url, f"/v1/accounts/{name}/{verb}", key_file, {}, Account)


def _get(url: str, path: str, key_file: Path | None, kind: type[T], **query: Any) -> T:
    reply = requests.get(
        f"{url.rstrip('/')}{path}", params=query, headers=_bearer(key_file), timeout=TIMEOUT_S
    )
    return _decoded(reply, kind)


def _post(url: str, path: str, key_file: Path, body: object, kind: type[T]) -> T:
    headers = {
        **_bearer(key_file),
        "Idempotency-Key": uuid.uuid4().hex,
        "Content-Type": "application/json",
    }
    reply = requests.post(
        f"{url.rstrip('/')}{path}",
        data=msgspec.json.encode(body),
        headers=headers,
        timeout=TIMEOUT_S,
    )
    return _decoded(reply, kind)


def _bearer(key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    return {"Authorization": f"Bearer {key_file.read_text().strip()}"}


def _decoded(reply: requests.Response, kind: type[T]) -> T:
    if reply.ok:
        return msgspec.json.decode(reply.content, type=kind)
    try:
        problem = msgspec.json.decode(reply.content, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(type="about:blank", title=str(reply.reason), status=reply.status_code)
    raise BrokerError(problem)
