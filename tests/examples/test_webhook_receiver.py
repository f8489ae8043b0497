"""The example receiver gets what the store sends: once, verified, 401 for all else."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import requests

from cloud_sync import webhook_events, webhooks

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + "QUJD" * 11
BODY = msgspec.json.encode(webhook_events.example(webhook_events.EVENTS[0]))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    path = ROOT / "examples" / "webhook_receiver" / "receiver.py"
    spec = importlib.util.spec_from_file_location("receiver_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    database = tmp_path / "receipts.db"
    server = module.serve(SECRET, database, 0)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", database
    server.shutdown()
    thread.join()
    server.server_close()


def send(url: str, body: bytes = BODY, **twist: Any) -> int:
    headers = webhooks.sign(webhooks.signer(SECRET), "msg_1", time.time_ns(), body)
    return requests.post(url, data=body, headers=headers | twist, timeout=20).status_code


def kept(database: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(database) as db:
        return db.execute("SELECT id, type, visit FROM event ORDER BY rowid").fetchall()


def test_a_delivery_and_its_repetition_and_a_batch_are_kept_once(
    receiver: tuple[str, Path],
) -> None:
    url, database = receiver
    assert [send(url), send(url)] == [204, 204]
    second = json.loads(BODY) | {"id": "msg_2"}
    assert send(url, json.dumps([json.loads(BODY), second]).encode()) == 204
    assert kept(database) == [
        ("msg_s1-v12:receipt-issued", "receipt.issued", "s1-v12"),
        ("msg_2", "receipt.issued", "s1-v12"),
    ]


def test_what_is_not_genuine_is_401_and_kept_nowhere(receiver: tuple[str, Path]) -> None:
    url, database = receiver
    for name, text in (
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,!!!"),
        ("webhook-signature", ""),
        ("webhook-timestamp", "yesterday"),
        ("webhook-timestamp", str(int(time.time()) - 900)),
        ("webhook-id", "another"),
    ):
        assert send(url, **{name: text}) == 401, (name, text)
    assert send(url, b"[1]") == 401  # genuine, but none of ours
    assert kept(database) == []
