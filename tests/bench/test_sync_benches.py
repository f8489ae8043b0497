"""The outbox and webhook benches on few rows: figures exist, and a wrong run is not a figure."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from bench import outbox, sink, webhooks


def test_every_acknowledged_row_is_in_the_file_and_shares_its_flush(tmp_path: Path) -> None:
    found = asyncio.run(outbox._acks(tmp_path / "a", 0.3))
    assert found["count"] > 64
    assert found["commits"] < found["count"] / 4


def test_a_drain_is_complete_and_in_order_or_no_figure(tmp_path: Path) -> None:
    memory = outbox.MemorySink()
    found = asyncio.run(outbox._drain(tmp_path / "d", memory, 5))
    assert found["per_s"] > 0
    assert outbox._checked(memory.came, 5) == {"missing": 0, "violations": 0}
    memory.came["g1"].reverse()
    del memory.came["g2"][2]
    assert outbox._checked(memory.came, 5) == {"missing": 1, "violations": 2}


def test_heads_are_those_of_the_ordered_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PENDING", 20_000)
    monkeypatch.setattr(outbox, "BLOCKED", 4_000)
    monkeypatch.setattr(outbox, "PENDING_GROUPS", 280)
    found = asyncio.run(outbox._heads(tmp_path / "h"))
    assert found["head_ms"] < found["naive_ms"]


def test_the_sink_refuses_what_is_not_signed_and_counts_repeats() -> None:
    secret = webhooks.SECRET
    with sink.serving(secret) as running:
        body = json.dumps({"type": "t", "timestamp": "t", "data": {}})
        good = _signed(secret, "msg_1", body)
        statuses = [
            _post(running.url, good | {"Idempotency-Key": "k"}, body.encode()) for _ in range(2)
        ]
        forged = good | {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}
        statuses.append(_post(running.url, forged | {"Idempotency-Key": "k"}, body.encode()))
        report = running.report()
        assert report["duplicate_effects"] == 0
        renamed = _signed(secret, "msg_2", body)  # a planted bug: a retry under another id
        statuses.append(_post(running.url, renamed | {"Idempotency-Key": "k"}, body.encode()))
        assert running.report()["duplicate_effects"] == 1
    assert statuses == [204, 204, 401, 204]
    assert (report["ok"], report["bad"], report["repeats"], report["effects"]) == (2, 1, 1, 1)


def _signed(secret: str, message: str, body: str) -> dict[str, str]:
    """Headers by the published library."""
    at = datetime.fromtimestamp(int(time.time()), UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, at, body),
    }


def _post(url: str, headers: dict[str, str], body: bytes) -> int:
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_webhook_bench_gives_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WARM", 20), ("DELIVERIES", 200), ("PEER_DELIVERIES", 50)):
        monkeypatch.setattr(webhooks, name, value)
    monkeypatch.setattr(webhooks, "DURABLE_PER_GROUP", 3)
    figures = webhooks.run()["figures"]
    assert figures["deliveries_per_s_32"] > 0
    assert (figures["bad"], figures["duplicate_effects"]) == (0, 0)
    assert figures["repeats_answered"] == 200 // webhooks.REPEAT_EVERY
