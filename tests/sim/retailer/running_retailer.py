"""The reference retailer as a process of its own on a real file, over loopback."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from standardwebhooks import Webhook

SERVE = (
    "import sys; from pathlib import Path; from sim.retailer.service import Amounts, serve;"
    "a = Amounts(sys.argv[3]) if len(sys.argv) > 3 else Amounts.MINOR;"
    "sys.exit(serve(data=Path(sys.argv[1]), ready=Path(sys.argv[2]), amounts=a))"
)
START_S = 30.0


@dataclass
class RunningRetailer:
    data: Path
    process: subprocess.Popen[bytes]
    url: str
    counter: Iterator[int] = field(default_factory=itertools.count)

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'retailer.key').read_text().strip()}"}

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers=self.bearer(), timeout=20)

    def buy(self, body: Any, idempotency_key: str = "") -> requests.Response:
        key = {"Idempotency-Key": idempotency_key or f"auto-{next(self.counter)}"}
        url = f"{self.url}/v1/order/purchases"
        return requests.post(url, json=body, headers=self.bearer() | key, timeout=20)

    def signed(self, name: str, body: bytes, age_s: int = 0) -> dict[str, str]:
        at = datetime.fromtimestamp(int(time.time()) - age_s, tz=UTC)
        secret = (self.data / "webhook.secret").read_text().strip()
        signature = Webhook(secret).sign(name, at, body.decode())
        return {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature,
        }

    def deliver(self, body: bytes, headers: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.url}/v1/webhooks", data=body, headers=headers, timeout=20)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(timeout=20)


def cart(trip: str, *items: tuple[str, int]) -> dict[str, Any]:
    """A purchase request: SKU and quantity per line."""
    return {
        "requestId": f"{trip}:price",
        "idempotentShoppingTripId": trip,
        "storeId": "lab",
        "shoppingTrip": {
            "startTime": "2026-01-31T08:00:00.000Z",
            "endTime": "2026-01-31T08:05:00.000Z",
            "authEvents": [{"id": f"cred-{trip}", "timestamp": "2026-01-31T08:00:00.000Z"}],
        },
        "cartItems": [
            {
                "id": sku,
                "type": "SKU",
                "quantity": {"value": quantity, "unit": "piece"},
                "lineItemId": f"{trip}-l{i}",
                "confidence": 0.99,
                "takenAt": "2026-01-31T08:01:00.000Z",
                "evidence": {"shelf": "s1"},
            }
            for i, (sku, quantity) in enumerate(items)
        ],
        "shopperIdentity": {"id": "acct-1"},
    }


def receipt(total: Any, kind: str = "receipt.issued") -> bytes:
    data = {"visit": "v1", "total": total, "currency": "EUR"}
    body = {"type": kind, "timestamp": "2026-01-31T08:06:00Z", "data": data}
    return json.dumps(body).encode()


def start_retailer(directory: Path, faults: str = "", amounts: str = "minor") -> RunningRetailer:
    """Start one on ``directory/data`` with this ``faults.toml``; output: ``directory/log``."""
    data, ready = directory / "data", directory / "port"
    data.mkdir(exist_ok=True)
    ready.unlink(missing_ok=True)
    if faults:
        (data / "faults.toml").write_text(faults)
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(data), str(ready), amounts], stdout=log, stderr=log
        )
    deadline = time.monotonic() + START_S
    while not ready.exists():
        assert process.poll() is None, (directory / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    url = f"http://127.0.0.1:{int(ready.read_text())}"
    return RunningRetailer(data=data, process=process, url=url)
