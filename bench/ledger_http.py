"""Durable transfers a second over HTTP: 32 connections, an API key on every request.

Beside it the same with a signature on every request (RFC 9421) instead of the key.

The broker is a process of its own; so are the clients, on plain sockets that stay open.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker import api_keys
from broker.api_keys import NewKey
from broker.database import DatabaseUrl
from broker.key_commands import done
from broker.signatures import Message, signed_headers

CONNECTIONS = 32
SECONDS = 3.0
START_S = 30.0
WALLETS = 200
FUNDS_MINOR = 10**8  # the most that one request may move
SERVE = (
    "import sys; from pathlib import Path; from broker.service import serve;"
    "from broker.database import DatabaseUrl;"
    "where = DatabaseUrl.of(sys.argv[3]) if sys.argv[3] else None;"
    "sys.exit(serve(data=Path(sys.argv[1]), where=where, ready=Path(sys.argv[2])))"
)


def http_figures(folder: Path, postgresql_url: str) -> dict[str, float]:
    """On PostgreSQL, there with signed requests too, and on SQLite."""
    figures: dict[str, float] = {}
    for prefix, url, signed in (
        ("http", postgresql_url, False),
        ("http_signed", postgresql_url, True),
        ("http_sqlite", "", False),
    ):
        found = _served(folder / prefix, url, signed=signed)
        figures[f"{prefix}_transfers_per_s_32"] = round(found["per_s"])
        figures[f"{prefix}_p99_ms_32"] = found["p99_ms"]
        figures[f"{prefix}_cpu_ms_per_request"] = found["broker_cpu_ms"]
    return figures


def _served(folder: Path, url: str, *, signed: bool = False) -> dict[str, float]:
    folder.mkdir()
    ready = folder / "port"
    command = [sys.executable, "-c", SERVE, str(folder / "data"), str(ready), url]
    with subprocess.Popen(command) as broker:
        try:
            deadline = time.monotonic() + START_S
            while not ready.exists():
                if broker.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the broker does not start")
                time.sleep(0.02)
            port = ready.read_text().strip()
            key = (folder / "data" / "admin.key").read_text().strip()
            starting_s = _cpu_s(broker.pid)
            environment = {**os.environ, "WALKOUT_BENCH_KEY": key}
            if signed:
                environment["WALKOUT_BENCH_SIGNER"] = _signer(folder, url)
            load = [sys.executable, "-m", "bench.ledger_http", port]
            done = subprocess.run(
                load, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            found: dict[str, float] = json.loads(done.stdout)
            spent_s = _cpu_s(broker.pid) - starting_s
            found["broker_cpu_ms"] = round(spent_s / found["requests"] * 1e3, 3)
            return found
        finally:
            broker.terminate()


def _signer(folder: Path, url: str) -> str:
    """A service that may transfer: its key id and where its private key is, in the database."""
    private = Ed25519PrivateKey.generate()
    new = NewKey(
        tenant="main",
        name="bench",
        scopes=("admin",),
        rate_per_s=1_000_000,
        public_key=private.public_key().public_bytes_raw(),
    )
    key_id, _ = done(DatabaseUrl.of(url), lambda db: api_keys.create(db, new, int(time.time())))
    (folder / "signer").write_bytes(private.private_bytes_raw())
    return f"{key_id}:{folder / 'signer'}"


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


Signer = tuple[Ed25519PrivateKey, str]  # with its key id

# --- the clients ------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One connection: the next request goes out when the answer is in."""

    def __init__(
        self, number: int, port: int, key: str, until: list[float], signer: Signer | None = None
    ) -> None:
        self.number, self.until, self.sent, self.asked = number, until, 0, 0.0
        self.signer, self.authority = signer, f"127.0.0.1:{port}"
        self.latency_s: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self.head = (
            f"POST /v1/transfers HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Content-Type: application/json\r\n"
        ) + ("" if signer else f"Authorization: Bearer {key}\r\n")
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, name: str, debit: str, credit: str, minor: int) -> None:
        body = (
            f'{{"transfer":"{name}","debit":"{debit}","credit":"{credit}",'
            f'"amount_minor":{minor},"currency":"EUR"}}'
        )
        more = self.signed(name, body.encode()) if self.signer else ""
        head = f"{self.head}{more}Idempotency-Key: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.asked = time.perf_counter()
        self.transport.write((head + body).encode())

    def signed(self, name: str, body: bytes) -> str:
        assert self.signer is not None
        headers = {"content-type": "application/json", "idempotency-key": name}
        message = Message(
            method="POST", authority=self.authority, path="/v1/transfers", headers=headers
        )
        private, key_id = self.signer
        added = signed_headers(private, key_id, message, body, int(time.time()))
        return "".join(f"{field}: {value}\r\n" for field, value in added.items())

    def buy(self) -> None:
        self.sent += 1
        wallet = (self.number * 7919 + self.sent * 104729) % WALLETS
        self.ask(f"c{self.number}x{self.sent}", f"wallet:{wallet}", "merchant_payable:shop", 5)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split()[0]):
            return
        self.buffer = b""
        self.latency_s.append(time.perf_counter() - self.asked)
        if not head.startswith(b"HTTP/1.1 201"):
            self.done.set_exception(RuntimeError(body.decode()))
        elif time.perf_counter() < self.until[0]:
            self.buy()
        else:
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the broker hung up"))


async def load(port: int, key: str, signer: Signer | None = None) -> dict[str, float]:
    """Fill the wallets, then buy for ``SECONDS`` on every connection."""
    loop, until = asyncio.get_running_loop(), [0.0]
    clients: list[Client] = []
    for number in range(CONNECTIONS):
        made = partial(Client, number, port, key, until, signer)
        _, client = await loop.create_connection(made, "127.0.0.1", port)
        clients.append(client)
    for first in range(0, WALLETS, CONNECTIONS):
        filling = [(c, w) for c, w in zip(clients, range(first, WALLETS), strict=False)]
        for client, wallet in filling:
            client.done = loop.create_future()
            client.ask(f"fill-{wallet}", "psp_clearing", f"wallet:{wallet}", FUNDS_MINOR)
        await asyncio.gather(*(client.done for client, _ in filling))
    for client in clients:
        client.done, client.latency_s = loop.create_future(), []
    started = time.perf_counter()
    until[0] = started + SECONDS
    for client in clients:
        client.buy()
    await asyncio.gather(*(client.done for client in clients))
    seconds = time.perf_counter() - started
    latency_s = [one for client in clients for one in client.latency_s]
    return {
        "per_s": len(latency_s) / seconds,
        "p99_ms": round(float(np.quantile(latency_s, 0.99)) * 1e3, 1),
        "requests": len(latency_s),
    }


def main() -> None:
    key_id, _, path = os.environ.get("WALKOUT_BENCH_SIGNER", "").partition(":")
    signer = (
        (Ed25519PrivateKey.from_private_bytes(Path(path).read_bytes()), key_id) if path else None
    )
    key = os.environ["WALKOUT_BENCH_KEY"]
    found: dict[str, Any] = asyncio.run(load(int(sys.argv[1]), key, signer))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
