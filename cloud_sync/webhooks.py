"""Webhooks: what we tell the retailer, signed by Standard Webhooks 1.0.

The signature covers ``id.timestamp.body``; the id is the receiver's dedupe key and stays the same
over retries and replays, the timestamp is the attempt's. A secret is ``whsec_`` (HMAC-SHA256,
signatures ``v1``) or ``whsk_`` (Ed25519, ``v1a``, the receiver gets the ``whpk_`` public key);
while a key is rotated several sign, and the receiver accepts any it knows. Whatever malformed input
comes to ``verify``, it leaves as ``WebhookRefused``, which a server answers with 401.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from messages.contract import WebhookBody

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300  # Standard Webhooks: five minutes either way, against replay
SECRET_PREFIX = "whsec_"  # noqa: S105 - of every symmetric secret, public
PRIVATE_PREFIX, PUBLIC_PREFIX = "whsk_", "whpk_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
SEED_BYTES = 32  # of an Ed25519 key; 64 with the public half behind it
KEYS_MAX = 4  # that sign at once: a rotation needs two, with both schemes four
BODY_BYTES_MAX = 2**20
SIGNATURES_MAX = 16  # a rotation needs two
SECONDS_DIGITS_MAX = 13  # keeps the number small


class WebhookRefused(ValueError):  # noqa: N818 - a verdict on a stranger's request
    """Not a fresh webhook signed with our secret; what exactly was wrong is in the text."""


class SecretError(ValueError):
    """A signing secret that is not the specification's. Never says the secret."""


@dataclass(frozen=True, slots=True)
class HmacKey:
    """``whsec_``: both sides know it."""

    secret: bytes = field(repr=False)

    def sign(self, content: bytes) -> str:
        return "v1," + _text(hmac.new(self.secret, content, hashlib.sha256).digest())

    def verifies(self, content: bytes, signature: str) -> bool:
        return hmac.compare_digest(self.sign(content).encode(), _bytes(signature))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """``whsk_``: ours alone; receivers verify with ``public``."""

    key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return PUBLIC_PREFIX + _text(raw)

    def sign(self, content: bytes) -> str:
        return "v1a," + _text(self.key.sign(content))

    def verifies(self, content: bytes, signature: str) -> bool:
        return PublicKey(self.key.public_key()).verifies(content, signature)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``whpk_``: verifies only."""

    key: Ed25519PublicKey

    def sign(self, content: bytes) -> str:
        raise SecretError("a public key (whpk_) cannot sign")

    def verifies(self, content: bytes, signature: str) -> bool:
        version, _, text = signature.partition(",")
        if version != "v1a":
            return False
        try:
            self.key.verify(base64.b64decode(_bytes(text), validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


Key = HmacKey | PrivateKey | PublicKey
Signing = tuple[Key, ...]  # all of them sign; one that verifies is enough


def signer(secrets: str) -> Signing:
    """The keys of an endpoint: one or more secrets, newest first, apart by spaces or lines.

    Raises:
        SecretError: none, too many, or one that is not the specification's.
    """
    texts = secrets.split()
    if not 0 < len(texts) <= KEYS_MAX:
        raise SecretError(f"{len(texts)} webhook secrets; 1 to {KEYS_MAX} are possible")
    return tuple(_key(text) for text in texts)


def sign(signing: Signing, message: str, wall_ns: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    seconds = str(wall_ns // 1_000_000_000)
    content = _content(message, seconds, body)
    signatures = " ".join(key.sign(content) for key in signing)
    return {ID: message, TIMESTAMP: seconds, SIGNATURE: signatures}


def verify(
    signing: Signing, headers: Mapping[str, str], body: bytes, now_wall_ns: int
) -> tuple[str, WebhookBody]:
    """The message id and body of a genuine, fresh webhook; ``verify_all`` reads batches too.

    Raises:
        WebhookRefused: anything else, however malformed.
    """
    message, events = verify_all(signing, headers, body, now_wall_ns)
    if len(events) != 1:
        raise WebhookRefused(f"a batch of {len(events)}")
    return message, events[0]


def verify_all(
    signing: Signing, headers: Mapping[str, str], body: bytes, now_wall_ns: int
) -> tuple[str, list[WebhookBody]]:
    """The message id and the events of a genuine, fresh webhook, in order.

    Raises:
        WebhookRefused: anything else, however malformed.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message = given.get(ID, "")
    if not message or len(body) > BODY_BYTES_MAX:
        raise WebhookRefused("no webhook-id" if not message else "the body is too large")
    seconds = given.get(TIMESTAMP, "")
    _check_fresh(seconds, now_wall_ns)
    content = _content(message, seconds, body)
    signatures = given.get(SIGNATURE, "").split(" ")[:SIGNATURES_MAX]
    if not any([key.verifies(content, one) for key in signing for one in signatures]):
        raise WebhookRefused("no signature matches")
    try:
        found = msgspec.json.decode(body, type=list[WebhookBody] | WebhookBody)
        return message, found if isinstance(found, list) else [found]
    except (ValueError, RecursionError) as error:
        raise WebhookRefused(f"the body is not one of ours: {type(error).__name__}") from None


def _key(text: str) -> Key:
    for prefix in (SECRET_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX):
        if text.startswith(prefix):
            break
    else:
        raise SecretError(f"a webhook secret starts with {SECRET_PREFIX} or {PRIVATE_PREFIX}")
    try:
        raw = base64.b64decode(text.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("the webhook secret is not base64") from None
    if prefix == SECRET_PREFIX:
        if not SECRET_BYTES_MIN <= len(raw) <= SECRET_BYTES_MAX:
            raise SecretError(f"the webhook secret has {len(raw)} bytes, needs 24 to 64")
        return HmacKey(raw)
    if len(raw) not in (SEED_BYTES, 2 * SEED_BYTES) or (
        prefix == PUBLIC_PREFIX and len(raw) != SEED_BYTES
    ):
        raise SecretError(f"the Ed25519 key has {len(raw)} bytes, needs {SEED_BYTES}")
    if prefix == PUBLIC_PREFIX:
        return PublicKey(Ed25519PublicKey.from_public_bytes(raw))
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(raw[:SEED_BYTES]))


def _content(message: str, seconds: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (_bytes(message), _bytes(seconds), body)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    """UTF-8; what is no text (lone surrogates) becomes what matches nothing of ours."""
    return text.encode("utf-8", "replace")


def _check_fresh(text: str, now_wall_ns: int) -> None:
    if not (text.isascii() and text.isdigit() and len(text) <= SECONDS_DIGITS_MAX):
        raise WebhookRefused("webhook-timestamp is no number of seconds")
    if abs(int(text) - now_wall_ns // 1_000_000_000) > TOLERANCE_S:
        raise WebhookRefused("webhook-timestamp is more than five minutes away")
