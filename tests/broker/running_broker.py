"""A broker as a process of its own on a real file, over loopback."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from broker.database import DatabaseUrl

SERVE = (
    "import sys; from pathlib import Path; from broker.service import serve;"
    "from broker.database import DatabaseUrl;"
    "where = DatabaseUrl.of(sys.argv[3]) if sys.argv[3:] else None;"
    "sys.exit(serve(data=Path(sys.argv[1]), where=where, ready=Path(sys.argv[2])))"
)
START_S = 30.0


@dataclass
class Broker:
    """A running broker. ``key``: the admin key, which may do all."""

    data: Path
    process: subprocess.Popen[bytes]
    url: str
    database: str = ""  # of PostgreSQL; broker.db in the data directory otherwise
    session: requests.Session = field(default_factory=requests.Session)
    counter: Iterator[int] = field(default_factory=itertools.count)

    def key(self, name: str = "admin") -> str:
        return (self.data / f"{name}.key").read_text().strip()

    def get(self, path: str, key: str = "admin") -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key(key)}"}
        return self.session.get(self.url + path, headers=headers, timeout=20)

    def post(
        self, path: str, body: Any, idempotency_key: str = "", key: str = "admin"
    ) -> requests.Response:
        headers = {
            "Authorization": f"Bearer {self.key(key)}",
            "Idempotency-Key": idempotency_key or f"auto-{next(self.counter)}",
        }
        return self.session.post(self.url + path, json=body, headers=headers, timeout=20)

    def account(self, name: str, limit_minor: int = 10_000, currency: str = "EUR") -> None:
        body = {"account": name, "currency": currency, "limit_minor": limit_minor}
        assert self.post("/v1/accounts", body).status_code == 201

    def hold(self, visit: str, account: str, amount_minor: int = 5_000) -> requests.Response:
        return self.post("/v1/holds", hold_body(visit, account, amount_minor))

    def where(self) -> DatabaseUrl:
        if self.database:
            return DatabaseUrl.of(self.database)
        return DatabaseUrl(path=self.data / "broker.db")

    def log(self) -> str:
        return (self.data.parent / "log").read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(timeout=20)


def hold_body(visit: str, account: str, amount_minor: int = 5_000) -> dict[str, Any]:
    return {
        "hold": f"hold-{visit}",
        "account": account,
        "store": "lab",
        "visit": visit,
        "credential": f"cred-{visit}",
        "amount_minor": amount_minor,
        "currency": "EUR",
    }


def capture_body(visit: str, amount_minor: int) -> dict[str, Any]:
    return {
        "capture": f"capture-{visit}",
        "merchant": "corner-shop",
        "purchase": f"purchase-{visit}",
        "amount_minor": amount_minor,
        "currency": "EUR",
        "line_totals": [amount_minor - 1, 1],
    }


def start_broker(directory: Path, database: str = "") -> Broker:
    """Start one on ``directory/data``; its output goes to ``directory/log``."""
    ready = directory / "port"
    ready.unlink(missing_ok=True)
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(directory / "data"), str(ready)]
            + ([database] if database else []),
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + START_S
    while not ready.exists():
        assert process.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    url = f"http://127.0.0.1:{int(ready.read_text())}"
    return Broker(data=directory / "data", process=process, url=url, database=database)
