"""Standard Webhooks: what the published library accepts from us, and what we refuse."""

from __future__ import annotations

import base64
import time

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from second_systems import SECRET
from standardwebhooks import Webhook

from cloud_sync.webhooks import PrivateKey, SecretError, WebhookRefused, sign, signer, verify
from messages.contract import WebhookBody

BODY = msgspec.json.encode(WebhookBody(type="receipt.issued", timestamp="t", data={"n": "é"}))
NOW_NS = 1_790_000_000_000_000_000
SIGNING = signer(SECRET)


def test_the_published_library_verifies_what_we_sign() -> None:
    headers = sign(SIGNING, "msg_1", time.time_ns(), BODY)
    assert Webhook(SECRET).verify(BODY, headers)["type"] == "receipt.issued"


def test_the_signature_is_that_of_the_specification() -> None:
    """Test vector of the Standard Webhooks reference implementations."""
    signing = signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(
        signing, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330 * 10**9, b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_our_own_is_verified_also_beside_other_signatures() -> None:
    headers = sign(SIGNING, "msg_1", NOW_NS, BODY)
    headers["webhook-signature"] = f"v1a,xyz v1,AAAA {headers['webhook-signature']}"
    assert verify(SIGNING, headers, BODY, NOW_NS)[0] == "msg_1"


OLDER = "whsec_" + base64.b64encode(b"an older secret of 32 bytes.....").decode()
SEED = bytes(range(32))
PRIVATE = "whsk_" + base64.b64encode(SEED).decode()


def test_while_a_key_is_rotated_receivers_of_either_accept() -> None:
    headers = sign(signer(f"{SECRET}\n{OLDER}\n"), "msg_1", time.time_ns(), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLDER):
        assert Webhook(secret).verify(BODY, headers)["type"] == "receipt.issued"
        assert verify(signer(secret), headers, BODY, time.time_ns())[0] == "msg_1"
    stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookRefused, match="no signature"):
        verify(signer(stranger), headers, BODY, time.time_ns())


def test_an_ed25519_signature_is_verified_with_the_public_key_alone() -> None:
    """``v1a`` over the same content, checked by the cryptography library beside our verify."""
    (key,) = signer(PRIVATE)
    assert isinstance(key, PrivateKey)
    headers = sign((key,), "msg_1", NOW_NS, BODY)
    version, _, text = headers["webhook-signature"].partition(",")
    assert version == "v1a"
    content = b"msg_1.%d." % (NOW_NS // 10**9) + BODY
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    public.verify(base64.b64decode(text), content)
    assert verify(signer(key.public), headers, BODY, NOW_NS)[0] == "msg_1"
    with pytest.raises(WebhookRefused):
        verify(signer(key.public), headers, BODY + b" ", NOW_NS)
    with pytest.raises(SecretError, match="cannot sign"):
        sign(signer(key.public), "msg_1", NOW_NS, BODY)


def test_both_schemes_can_sign_one_delivery() -> None:
    headers = sign(signer(f"{SECRET} {PRIVATE}"), "msg_1", time.time_ns(), BODY)
    assert Webhook(SECRET).verify(BODY, headers)["type"] == "receipt.issued"
    (key,) = signer(PRIVATE)
    assert isinstance(key, PrivateKey)
    assert verify(signer(key.public), headers, BODY, time.time_ns())[0] == "msg_1"


@pytest.mark.parametrize("shift_s", [-301, 301])
def test_an_old_or_future_timestamp_is_refused(shift_s: int) -> None:
    headers = sign(SIGNING, "msg_1", NOW_NS, BODY)
    with pytest.raises(WebhookRefused, match="five minutes"):
        verify(SIGNING, headers, BODY, NOW_NS + shift_s * 10**9)


@given(
    changed=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "body"]),
    text=st.one_of(
        st.text(),
        st.sampled_from(
            [
                "",
                "v1",
                "v1,",
                "v1,%%%",
                "v1,a b",
                "v1a,",
                "v1a,%%",
                "v1a,é",
                "\ud800",
                "nan",
                "inf",
                "1e9",
                "9" * 400,
                "-1",
            ]
        ),
    ),
)
def test_anything_malformed_is_one_kind_of_error(changed: str, text: str) -> None:
    both = signer(f"{SECRET} {PRIVATE}")
    headers, body = sign(both, "msg_1", NOW_NS, BODY), BODY
    if changed == "body":
        body = text.encode("utf-8", "surrogatepass") + b"\xff"
    else:
        headers[changed] = text
    with pytest.raises(WebhookRefused):
        verify(both, headers, body, NOW_NS)


def test_a_missing_header_is_refused() -> None:
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        headers = sign(SIGNING, "msg_1", NOW_NS, BODY)
        del headers[name]
        with pytest.raises(WebhookRefused):
            verify(SIGNING, headers, BODY, NOW_NS)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_%%%",
        "whsk_eA==",
        "whpk_eA==",
        " ".join(["whsec_" + "A" * 32] * 5),
        "whsec_" + base64.b64encode(b"x").decode(),
        "topsecretkey",
    ],
)
def test_a_weak_or_broken_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(SecretError) as refused:
        signer(secret)
    assert "topsecretkey" not in str(refused.value)
