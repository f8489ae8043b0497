"""Keys of other tenants, parties and services for a running broker."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from running_broker import Broker

from broker import key_commands, signatures
from broker.key_commands import Wanted
from broker.keys import SCOPE_MEANS

EVERYTHING = ",".join(SCOPE_MEANS)


@dataclass
class Caller:
    """Asks a broker with one key."""

    url: str
    key: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        sent = {"Authorization": f"Bearer {self.key}"}
        if method != "GET":
            sent["Idempotency-Key"] = f"{self.run}-{next(self.numbers)}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(method, self.url + path, json=body, headers=sent, timeout=20)

    def get(self, path: str) -> requests.Response:
        return self.ask("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return self.ask("POST", path, body, **headers)


def admin(broker: Broker) -> Caller:
    return Caller(broker.url, broker.key())


def caller(
    broker: Broker, folder: Path, tenant: str = "main", scopes: str = EVERYTHING, **more: Any
) -> Caller:
    """A new key of a tenant, which is made when there is none."""
    if tenant != "main":
        key_commands.create_tenant(broker.where(), tenant, "", True)
    out = folder / f"{tenant}-{time.monotonic_ns()}.key"
    wanted = Wanted(tenant=tenant, name="test", scopes=scopes, out=out, **more)
    key_commands.create_key(broker.where(), wanted, True)
    return Caller(broker.url, out.read_text().strip())


def service_key(
    broker: Broker, folder: Path, capsys: Any, scopes: str = EVERYTHING
) -> tuple[str, Ed25519PrivateKey]:
    """A service that signs: its key id and private key."""
    out = folder / f"service-{time.monotonic_ns()}.pem"
    capsys.readouterr()
    wanted = Wanted(tenant="main", name="service", scopes=scopes, signs=True, out=out)
    key_commands.create_key(broker.where(), wanted, True)
    private = load_pem_private_key(out.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    assert out.stat().st_mode & 0o777 == 0o600
    return json.loads(capsys.readouterr().out)["key_id"], private


def signed_request(
    broker: Broker, keyid: str, private: Ed25519PrivateKey, path: str, body: bytes, key: str
) -> requests.Request:
    """A signed POST that nobody has touched yet."""
    headers = {
        "host": broker.url.removeprefix("http://"),
        "content-type": "application/json",
        "idempotency-key": key,
    }
    message = signatures.Message(
        method="POST", authority=headers["host"], path=path, headers=headers
    )
    added = signatures.signed_headers(private, keyid, message, body, int(time.time()))
    return requests.Request("POST", broker.url + path, headers={**headers, **added}, data=body)
