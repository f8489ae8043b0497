"""Signed requests: the vectors of the RFCs, and every way to tamper."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from running_broker import Broker
from tenant_keys import service_key, signed_request

from broker import signatures
from broker.signatures import Message, SignatureError

NOW_S = 1_800_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
BODY = b'{"amount_minor":1234}'
HEADERS = {"content-type": "application/json", "idempotency-key": "k-1"}
REQUEST = Message(method="POST", authority="broker.example", path="/v1/holds", headers=HEADERS)

# RFC 9421, appendix B.1.4 (the key) and B.2.6 (the signature).
RFC_KEY = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""
RFC_HEADERS = {
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "content-length": "18",
    "signature-input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" '
    '"content-length");created=1618884473;keyid="test-key-ed25519"',
    "signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6v"
    "uQv5lIp5WPpBKRCw==:",
}


def test_vector_of_the_rfc_is_verified_and_signed_alike() -> None:
    signature = signatures.read(RFC_HEADERS)
    message = Message(method="POST", authority="example.com", path="/foo", headers=RFC_HEADERS)
    base = signatures.signature_base(message, signature.components, signature.inner)
    private = load_pem_private_key(RFC_KEY, None)
    assert isinstance(private, Ed25519PrivateKey)
    private.public_key().verify(signature.signed, base)
    assert private.sign(base) == signature.signed
    digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    assert signatures.content_digest(b'{"hello": "world"}') == digest  # RFC 9530, B.1


def signed(message: Message = REQUEST, now_s: int = NOW_S, body: bytes = BODY) -> dict[str, str]:
    added = signatures.signed_headers(PRIVATE, "abcdefghijklmnop", message, body, now_s)
    return dict(message.headers) | {name.lower(): value for name, value in added.items()}


def verified(headers: dict[str, str], body: bytes = BODY, **changed: str) -> None:
    message = Message(
        method=changed.get("method", "POST"),
        authority=changed.get("authority", "broker.example"),
        path=changed.get("path", "/v1/holds"),
        query=changed.get("query", ""),
        headers=headers,
    )
    signature = signatures.read(headers)
    signatures.verify(signature, message, PUBLIC, NOW_S, command=True)
    signatures.check_digest(headers["content-digest"], body)


def test_whatever_is_changed_after_signing_is_refused() -> None:
    verified(signed())
    for changed in (
        {"method": "PUT"},
        {"authority": "other.example"},
        {"path": "/v1/transfers"},
        {"query": "a=1"},
    ):
        with pytest.raises(SignatureError):
            verified(signed(), **changed)
    for name in ("idempotency-key", "content-type", "content-digest"):
        with pytest.raises(SignatureError):
            verified(signed() | {name: "other"})
    with pytest.raises(SignatureError, match="Content-Digest"):
        verified(signed(), b'{"amount_minor":9999}')


@pytest.mark.parametrize("left_out", ["@method", "@path", "content-digest", "idempotency-key"])
def test_signature_that_leaves_something_out_is_refused(left_out: str) -> None:
    headers = signed()
    covered = [n for n in signatures.read(headers).components if n != left_out]
    inner = f'({" ".join(f"{chr(34)}{n}{chr(34)}" for n in covered)});created={NOW_S};keyid="k"'
    message = Message(method="POST", authority="broker.example", path="/v1/holds", headers=headers)
    base = signatures.signature_base(message, tuple(covered), inner)
    raw = signatures.base64.b64encode(PRIVATE.sign(base)).decode()
    forged = headers | {"signature-input": f"s={inner}", "signature": f"s=:{raw}:"}
    with pytest.raises(SignatureError, match=f"does not cover {left_out}"):
        verified(forged)


@pytest.mark.parametrize("created_s", [NOW_S - 301, NOW_S + 31])
def test_old_and_future_signatures_are_refused(created_s: int) -> None:
    with pytest.raises(SignatureError, match="created"):
        verified(signed(now_s=created_s))


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_in_the_headers_is_refused_by_name(inputs: str, given_signature: str) -> None:
    for headers in (
        signed() | {"signature-input": inputs},
        signed() | {"signature": given_signature},
        signed() | {"signature-input": inputs, "signature": given_signature},
    ):
        with pytest.raises(SignatureError):
            verified(headers)


def test_service_signs_its_requests_and_nobody_changes_them(
    tmp_path: Path, start: Callable[[Path], Broker], capsys: pytest.CaptureFixture[str]
) -> None:
    broker = start(tmp_path)
    keyid, private = service_key(broker, tmp_path, capsys, "accounts")
    body = json.dumps({"account": "sia", "currency": "EUR", "limit_minor": 5}).encode()

    def sent(request: requests.Request) -> requests.Response:
        return requests.Session().send(request.prepare(), timeout=20)

    request = signed_request(broker, keyid, private, "/v1/accounts", body, "sig-1")
    assert sent(request).status_code == 201
    assert sent(request).headers["Idempotent-Replayed"] == "true"  # equal bytes: no second effect
    request.data = body.replace(b"5", b"9")
    assert sent(request).status_code == 401
    other = Ed25519PrivateKey.generate()
    assert (
        sent(signed_request(broker, keyid, other, "/v1/accounts", body, "sig-2")).status_code == 401
    )
    scope = signed_request(broker, keyid, private, "/v1/transfers", b"{}", "sig-3")
    assert sent(scope).status_code == 403
    for name, value in (
        ("Signature-Input", "garbage"),
        ("Signature", "walkout=:!!:"),
        ("Signature", ""),
        ("Signature-Input", 'walkout=("@method");created=1;keyid="' + "x" * 5000 + '"'),
    ):
        broken = signed_request(broker, keyid, private, "/v1/accounts", body, "sig-4")
        broken.headers[name] = value
        reply = sent(broken)
        assert reply.status_code == 401
        assert reply.json()["type"].endswith("/unauthorized")
    deadline = time.monotonic() + 30  # refusals are written every few seconds, as counts
    refused: list[dict[str, object]] = []
    while not refused and time.monotonic() < deadline:
        entries = broker.get("/v1/audit").json()["entries"]
        refused = [one for one in entries if one["status"] == 401]
        time.sleep(0.2)
    assert refused[0]["actor"] == ""
    assert refused[0]["action"] == "POST /v1/accounts"
