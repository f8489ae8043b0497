"""Webhooks: what we tell the retailer, signed by Standard Webhooks 1.0 (HMAC-SHA256, ``v1``).

The signature covers ``id.timestamp.body``; the id is the receiver's dedupe key and stays the same
over retries and replays, the timestamp is the attempt's. The library signs; we check the
timestamp against the instant given and let no malformed input through as anything but
``WebhookRefused`` (the library raises four other errors on bad base64, commas and bytes).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from standardwebhooks import Webhook

from cloud_sync.purchase import Receipt
from cloud_sync.wall_time import rfc3339
from messages.contract import WebhookBody
from messages.ids import StoreId

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300  # Standard Webhooks: five minutes either way, against replay
SECRET_PREFIX = "whsec_"  # noqa: S105 - of every secret, public
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64  # Standard Webhooks, "Signature scheme"
BODY_BYTES_MAX = 2**20
SIGNATURES_MAX = 16  # a rotation needs two
TIMESTAMP_MAX = 2**40  # seconds; keeps the conversion inside what datetime holds

# receipt state -> type of the webhook; open states are not told
TYPES = {
    "paid": "receipt.issued",
    "free": "receipt.issued",
    "unpaid": "payment.declined",
    "void": "purchase.cancelled",
}


class WebhookRefused(ValueError):  # noqa: N818 - a verdict on a stranger's request
    """Not a fresh webhook signed with our secret; what exactly was wrong is in the text."""


class SecretError(ValueError):
    """The signing secret is not ``whsec_`` and base64 of 24 to 64 bytes. Never says the secret."""


def signer(secret: str) -> Webhook:
    """The library's signer for a secret as Standard Webhooks writes it. Raises SecretError."""
    text = secret.strip()
    if not text.startswith(SECRET_PREFIX):
        raise SecretError(f"the webhook secret does not start with {SECRET_PREFIX}")
    try:
        raw = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("the webhook secret is not base64") from None
    if not SECRET_BYTES_MIN <= len(raw) <= SECRET_BYTES_MAX:
        raise SecretError(f"the webhook secret has {len(raw)} bytes, needs 24 to 64")
    return Webhook(raw)


def sign(signing: Webhook, message: str, wall_ns: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt; ``body`` is UTF-8."""
    seconds = wall_ns // 1_000_000_000
    at = datetime.fromtimestamp(seconds, UTC)
    signature = signing.sign(msg_id=message, timestamp=at, data=body.decode())
    return {ID: message, TIMESTAMP: str(seconds), SIGNATURE: signature}


def verify(
    signing: Webhook, headers: Mapping[str, str], body: bytes, now_wall_ns: int
) -> tuple[str, WebhookBody]:
    """The message id and body of a genuine, fresh webhook.

    Raises:
        WebhookRefused: anything else, however malformed.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message = given.get(ID, "")
    if not message or len(body) > BODY_BYTES_MAX:
        raise WebhookRefused("no webhook-id" if not message else "the body is too large")
    seconds = _timestamp(given.get(TIMESTAMP, ""), now_wall_ns)
    try:
        expected = sign(signing, message, seconds * 1_000_000_000, body)[SIGNATURE]
        decoded = msgspec.json.decode(body, type=WebhookBody)
    except (ValueError, RecursionError) as error:
        raise WebhookRefused(f"the body is not one of ours: {type(error).__name__}") from None
    if not _matches(expected, given.get(SIGNATURE, "")):
        raise WebhookRefused("no signature matches")
    return message, decoded


def receipt_webhook(receipt: Receipt, store: StoreId) -> tuple[str, bytes] | None:
    """Type and body that tell a finished receipt; None while it is open."""
    kind = TYPES.get(receipt.state)
    if kind is None:
        return None
    data: dict[str, object] = {
        "store": store,
        "visit": receipt.visit,
        "account": receipt.account,
        "state": receipt.state,
        "purchase": receipt.purchase,
        "capture": receipt.capture,
        "total": receipt.total.minor,
        "currency": receipt.total.currency,
        "lines": msgspec.to_builtins(receipt.lines),
        "in_review": [
            {"line": line.line, "sku": line.sku, "quantity": line.quantity}
            for line in receipt.in_review
        ],
        "exited_at": rfc3339(receipt.exit_wall_ns),
        "reason": receipt.detail,
    }
    body = WebhookBody(type=kind, timestamp=rfc3339(receipt.issued_wall_ns), data=data)
    return kind, msgspec.json.encode(body)


def _timestamp(text: str, now_wall_ns: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise WebhookRefused("webhook-timestamp is no number of seconds")
    seconds = int(text)
    if seconds > TIMESTAMP_MAX or abs(seconds - now_wall_ns // 1_000_000_000) > TOLERANCE_S:
        raise WebhookRefused("webhook-timestamp is more than five minutes away")
    return seconds


def _matches(expected: str, given: str) -> bool:
    """Any of the signatures given, compared in constant time each; other versions are skipped."""
    signatures = given.split(" ")[:SIGNATURES_MAX]
    wanted = expected.encode()
    return any([hmac.compare_digest(wanted, one.encode("utf-8", "replace")) for one in signatures])
