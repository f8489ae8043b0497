"""Calls that no retailer would make: each gets a problem document, and the store goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from second_systems import KEYS, whole_visit
from test_retailer_calls import Store, eur, told

from cloud_sync import connector, views

HEAD = f"Host: x\r\nAuthorization: Bearer {KEYS['connector']}\r\n".encode()


def posted(path: str, body: bytes, *headers: str) -> bytes:
    more = "".join(f"{one}\r\n" for one in headers).encode()
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    return f"POST {path} HTTP/1.1\r\n".encode() + HEAD + more + length + body


REFUND = {"storeId": "s1", "shoppingTripId": "v1", "refundRequestId": "r", "amount": eur(1)}
REFUND |= {"refundReasonCode": "OTHER"}


def refund(**fields: object) -> bytes:
    return posted("/v1/refund", json.dumps(REFUND | fields).encode())


CALLS: list[tuple[bytes, int]] = [
    (posted("/v1/refund", b"x" * (2**20 + 1)), 413),
    (posted("/v1/refund", b"[" * 500_000), 422),
    (posted("/v1/refund", b'{"storeId":"\xff"}'), 422),
    (posted("/v1/refund", b"\x1f\x8b\x08\x00", "Content-Encoding: gzip"), 422),
    (posted("/v1/refund", b""), 422),
    (refund(refundRequestId="a\x00b"), 422),
    (refund(refundRequestId="\ud800"), 422),
    (refund(amount=eur(2**70)), 422),
    (refund(amount=eur(-(2**70))), 422),
    (refund(amount=eur(1.0)), 422),
    (refund(amount=eur(True)), 422),
    (refund(amount=eur("1")), 422),
    (refund(amount=eur(10**9)), 409),
    (b"GET /v1/trips/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", 401),
    (b"GET /v1/trips/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n\r\n", 401),
    (b"GET /v1/trips/%00%ff%2e%2e%2f HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    (b"GET /v1/trips/%ed%a0%80 HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    (b"GET /v1/catalog/uploads/..%2f..%2fetc HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    (b"DELETE /v1/refund HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
]


async def answered(port: int, call: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(call)
        line = await asyncio.wait_for(reader.readline(), 30)
        return int(line.split()[1])
    finally:
        writer.close()


def test_each_call_is_refused_and_the_next_one_is_served(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="paid")
        for call, status in CALLS:
            assert await answered(store.port, call) == status, call[:120]
        assert (await store.trip("v1"))["refundedMinor"] == 0

    told(story, tmp_path)
    assert views.audit(tmp_path / "sync.db") == []


def test_a_refund_under_a_known_id_is_the_same_refund_or_refused(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="paid")
        ask = {name: REFUND[name] for name in ("shoppingTripId", "refundReasonCode")}
        ask["refundRequestId"] = "r1"
        assert (await store.call("/v1/refund", amount=eur(50), **ask))[0] == 200
        await store.trip("v1", refundedMinor=50)
        assert (await store.call("/v1/refund", amount=eur(50), **ask))[0] == 200
        status, problem = await store.call("/v1/refund", amount=eur(51), **ask)
        assert (status, problem["type"].rsplit("/")[-1]) == (422, "id-reused")
        assert (await store.trip("v1"))["refundedMinor"] == 50

    told(story, tmp_path)


def test_a_body_that_never_comes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "BODY_WITHIN_S", 0.2)

    async def story(store: Store) -> None:
        slow = b"POST /v1/refund HTTP/1.1\r\n" + HEAD + b"Content-Length: 99999999\r\n\r\n{"
        assert await answered(store.port, slow) == 408

    told(story, tmp_path)


def test_an_amount_beyond_reason_reaches_no_payment(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(*whole_visit("v1", "ann", "apple"))
        await store.trip("v1", state="priced")
        for minor, status in ((2**63, 422), (2**53, 422), (0, 409), (-1, 409)):
            call = await store.call("/v1/adjust/charge", shoppingTripId="v1", amount=eur(minor))
            assert call[0] == status, minor

    systems = told(story, tmp_path, payment_mode="payment")
    assert "adjust-hold-v1" not in systems.effects
