"""Signed webhooks per second to a verifying receiver in another process, 32 at a time.

``deliveries_per_s_32`` is the sender that ships: each delivery is signed and posted on its own, the
receiver verifies the signature and dedupes by id. ``durable_per_s_32`` is the whole way: taken from
the outbox and settled there with ``synchronous=FULL``, by the service's own loop. Some deliveries
are sent twice on purpose, as after a lost answer: a repeat must not become a second effect. The
peer in the same run is a session of ``requests`` per thread, the plain way to send from Python.
``deliveries_per_cpu_s`` is per second of the sender's own processor time: what it would reach with
a core to itself, whoever else uses the machine.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from bench.measured import machine, print_table
from bench.outbox import opened, request
from bench.sink import Sink, serving
from cloud_sync.book import WEBHOOK
from cloud_sync.http_sender import Endpoint, Sender
from cloud_sync.outbox import NewRequest, Request
from cloud_sync.webhooks import sign, signer

CONCURRENCY = 32
WARM, DELIVERIES = 500, 12_000
DURABLE_PER_GROUP = 120
PEER_DELIVERIES = 1_500
REPEAT_EVERY = 50  # a delivery in so many goes twice
SECRET = "whsec_" + base64.b64encode(b"walkout-bench-secret-of-32-bytes").decode()
LINES = [
    {"line": f"l{i}", "sku": "0123456789012", "quantity": 1, "total_minor": 199} for i in range(8)
]
BODY = json.dumps(
    {"type": "receipt.issued", "timestamp": "2026-01-01T00:00:00Z", "data": {"lines": LINES}}
).encode()
T = TypeVar("T")


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run() -> dict[str, Any]:
    """All figures; about half a minute."""
    with serving(SECRET) as sink:
        per_s, per_cpu_s, repeats = _on_fastest_loop(lambda: _deliver(sink))
        report = sink.report()
    expected = WARM + DELIVERIES
    if report["effects"] != expected or report["ok"] != expected + repeats:
        raise RuntimeError(f"{expected} deliveries and {repeats} repeats, the sink saw {report}")
    with serving(SECRET) as sink:
        durable_per_s = _on_fastest_loop(lambda: _deliver_durably(sink))
        durable = sink.report()
    with serving(SECRET) as sink:
        peer_per_s = _peer(sink.url)
    return {
        "bench": "webhooks",
        "figures": {
            "deliveries_per_s_32": round(per_s),
            "deliveries_per_cpu_s": round(per_cpu_s),
            "bad": report["bad"] + durable["bad"],
            "duplicate_effects": report["duplicate_effects"] + durable["duplicate_effects"],
            "repeats_answered": report["repeats"],
            "durable_per_s_32": round(durable_per_s),
            "signings_per_s": round(_signings_per_s()),
            "body_bytes": len(BODY),
        },
        "peers": {"requests, a session per thread": {"deliveries_per_s_32": round(peer_per_s)}},
        "where_time_goes": {"signing share": round(per_s / _signings_per_s(), 3)},
        "machine": machine(),
    }


def _on_fastest_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """On uvloop where it is installed, as the service itself runs."""
    from cloud_sync.service import run_on_loop

    return run_on_loop(work())


def _endpoint(url: str) -> Endpoint:
    return Endpoint(name=WEBHOOK, url=url, secret=SECRET, signing=signer(SECRET))


async def _deliver(sink: Sink) -> tuple[float, float, int]:
    """Deliveries per second, and per second of processor; how many repeats were sent beside."""
    numbers = count()
    async with Sender({WEBHOOK: _endpoint(sink.url)}, 10.0, time.time_ns) as sender:
        await _all(sender, list(islice(numbers, WARM)))
        wanted = list(islice(numbers, DELIVERIES))
        started, cpu_s = time.perf_counter(), time.process_time()
        await _all(sender, wanted)
        per_s = DELIVERIES / (time.perf_counter() - started)
        per_cpu_s = DELIVERIES / (time.process_time() - cpu_s)
        again = wanted[::REPEAT_EVERY]
        await _all(sender, again)
    return per_s, per_cpu_s, len(again)


async def _all(sender: Sender, numbers: list[int]) -> None:
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            answer = await sender.send(_request(number))
            if answer.status != 204:
                raise RuntimeError(f"delivery {number}: {answer}")

    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


def _request(number: int) -> Request:
    return Request(
        id=number,
        group="webhook:retailer",
        seq=number,
        attempt=1,
        failures=0,
        message=f"v{number}",
        generation=0,
        idem=f"v{number}",
        operation=WEBHOOK,
        destination=WEBHOOK,
        visit="",
        subject=f"msg_v{number}",
        path="",
        body=BODY,
        cause=0,
    )


async def _deliver_durably(sink: Sink) -> float:
    """Through the outbox: 32 groups, so that 32 deliveries can be under way."""
    wanted: list[NewRequest] = [
        replace(request(f"g{g}", n), body=BODY)
        for n in range(DURABLE_PER_GROUP)
        for g in range(CONCURRENCY)
    ]
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as folder:
        async with (
            Sender({WEBHOOK: _endpoint(sink.url)}, 10.0, time.time_ns) as sender,
            opened(Path(folder) / "sync", sender) as service,
        ):
            async with service.database.transaction():
                await service.outbox.add(wanted, service.clock.now_ns())
            started = time.perf_counter()
            status = await service.loop(drain=True)
            took_s = time.perf_counter() - started
    report = sink.report()
    if status or report["effects"] != len(wanted):
        raise RuntimeError(f"status {status}, the sink saw {report['effects']} of {len(wanted)}")
    return len(wanted) / took_s


def _signings_per_s() -> float:
    signing, started = signer(SECRET), time.perf_counter()
    for number in range(10_000):
        sign(signing, f"msg_{number}", 1_790_000_000_000_000_000, BODY)
    return 10_000 / (time.perf_counter() - started)


def _peer(url: str) -> float:
    """The same deliveries by ``requests``, a session per thread."""
    import requests

    local, signing = threading.local(), signer(SECRET)

    def post(number: int) -> None:
        session = getattr(local, "session", None) or requests.Session()
        local.session = session
        headers = sign(signing, f"msg_{number}", time.time_ns(), BODY)
        headers["Idempotency-Key"] = f"v{number}"
        answer = session.post(url, data=BODY, headers=headers, timeout=10)
        if answer.status_code != 204:
            raise RuntimeError(f"delivery {number}: {answer.status_code}")

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        started = time.perf_counter()
        list(threads.map(post, range(PEER_DELIVERIES)))
        return PEER_DELIVERIES / (time.perf_counter() - started)
