"""One-time codes: 128 bits that are shown once, kept as a hash, and derived, never stored.

A code is ``HMAC-SHA256(signing key, purpose and id)`` in base 32 (26 characters: a QR code of
version 2). The database keeps its SHA-256 and the id of the key it came from; an answer that is
replayed gets the code again by deriving it, so that neither a table nor a stored answer holds it.
Base 32 has no 0, 1, 8 or 9: no code looks like a card number.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import Request, Response

from broker import web
from broker.credentials import SigningKey
from broker.problems import ProblemError
from broker.routes import Command, Service
from broker.validation import Text

CODE_BYTES = 16  # 128 bits: nobody guesses one (facts of the field: at least 128)
CODE = Text(r"[A-Za-z2-7]{26}", 26)


def code_of(key: SigningKey, purpose: str, name: str) -> str:
    """The code of one thing, the same each time. ``purpose``: keeps kinds of codes apart."""
    secret = hashlib.sha256(b"walkout one-time codes\0" + key.private_pem).digest()
    mac = hmac.new(secret, f"{purpose}\0{name}".encode(), hashlib.sha256).digest()
    return base64.b32encode(mac[:CODE_BYTES]).decode().rstrip("=")


def hashed(code: str) -> str:
    """What the database keeps; upper and lower case are one code."""
    return hashlib.sha256(code.upper().encode()).hexdigest()


def contact_hash(contact: str) -> str:
    """What is kept of an e-mail address or a phone number; "" of none."""
    return hashlib.sha256(contact.strip().lower().encode()).hexdigest() if contact else ""


def key_named(keys: Sequence[SigningKey], kid: str) -> SigningKey:
    """The key that a code came from.

    Raises:
        ProblemError: 409, it is not here any more.
    """
    for key in keys:
        if key.kid == kid:
            return key
    raise ProblemError(409, "code-gone", "its signing key was taken away: ask for a new code")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCommand(Command):
    """A command whose reply holds a code.

    Its effect puts the key's id where the code belongs; so is the answer stored. The code itself is
    written into what leaves. ``purpose``, and the ``names`` field of the reply, are what it is of.
    """

    purpose: str
    names: str
    field: str = "code"

    def handler(self, service: Service) -> web.Handler:
        inner = Command.handler(self, service)

        async def handle(request: Request) -> Response:
            response = await inner(request)
            if response.status_code >= 300:
                return response
            reply: dict[str, Any] = msgspec.json.decode(response.body)
            key = key_named(service.signing, reply[self.field])
            reply[self.field] = self.secret(key, reply)
            headers = {
                name: value for name, value in response.headers.items() if name != "content-length"
            }
            return Response(msgspec.json.encode(reply), response.status_code, headers)

        return handle

    def secret(self, key: SigningKey, reply: Mapping[str, Any]) -> str:
        """What is written into the reply."""
        return code_of(key, self.purpose, reply[self.names])
