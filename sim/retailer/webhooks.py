"""Receiving webhooks as a retailer should: the published library, and 401 for all else.

``standardwebhooks`` checks the signature and that the timestamp is within five minutes. On
malformed input (no comma, bad base64, bytes that are no text) it raises errors of other kinds,
which would be a 500 to any stranger; here everything that is not verified is ``NotVerifiedError``.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from standardwebhooks import Webhook

from messages.contract import WebhookBody
from messages.money import MINOR_MAX

SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64
ID_MAX = 200
RECEIPT = "receipt.issued"


class NotVerifiedError(ValueError):
    """No genuine, fresh webhook for us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A verified webhook. ``total_minor``: what a receipt says was paid, else 0."""

    id: str
    type: str
    body: bytes
    total_minor: int = 0


def new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}\n"


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> Received:
    """The webhook, if its signature and its time are right.

    Raises:
        NotVerifiedError: anything else, however malformed.
    """
    try:
        Webhook(secret).verify(body, dict(headers))
        message = msgspec.json.decode(body, type=WebhookBody)
        name = headers["webhook-id"]
    except Exception as error:  # a stranger's input decides which; none of them is our defect
        raise NotVerifiedError(type(error).__name__) from None
    if not 1 <= len(name) <= ID_MAX or not name.isprintable():
        raise NotVerifiedError("webhook-id")
    total = message.data.get("total", 0) if message.type == RECEIPT else 0
    if type(total) is not int or not 0 <= total <= MINOR_MAX:
        raise NotVerifiedError("total is no amount")
    return Received(id=name, type=message.type, body=body, total_minor=total)
