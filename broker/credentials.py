"""Entry tokens: PASETO v4.public, signed by the broker, checked by a gate without any link.

Payload ``jti, store, acct, party, kind, iat, exp``, footer ``kid``. A token lives for at most a
minute, so that a photographed QR code is worth little; its single use is the gate's business.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pyseto
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from messages.contract import Credential, CredentialRequest
from messages.observations import CredentialKey

TOKEN_VALIDITY_S = 60  # the app asks for a new one every half minute
KID_DIGITS = 16


class SigningKeyError(ValueError):
    """A key file that holds no Ed25519 private key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """An Ed25519 key pair. ``kid``: start of the SHA-256 of the public key, hexadecimal."""

    kid: str
    private_pem: bytes
    public_key: bytes  # 32 bytes

    @property
    def published(self) -> CredentialKey:
        return CredentialKey(kid=self.kid, public_key=self.public_key.hex())


def signing_key(private_pem: bytes) -> SigningKey:
    """The key in a PEM text.

    Raises:
        SigningKeyError: no Ed25519 private key in it.
    """
    try:
        private = serialization.load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError) as error:
        raise SigningKeyError("not a private key in PEM form") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyError("not an Ed25519 key")
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    kid = hashlib.sha256(public).hexdigest()[:KID_DIGITS]
    return SigningKey(kid=kid, private_pem=private_pem, public_key=public)


def issue(request: CredentialRequest, key: SigningKey, *, jti: str, now_s: int) -> Credential:
    """A signed token, valid from now for ``TOKEN_VALIDITY_S``. ``jti``: unique, from the caller."""
    expires_at = rfc3339(now_s + TOKEN_VALIDITY_S)
    claims = {
        "jti": jti,
        "store": request.store,
        "acct": request.account,
        "party": request.party_size,
        "kind": request.kind,
        "iat": rfc3339(now_s),
        "exp": expires_at,
    }
    token = pyseto.encode(
        pyseto.Key.new(4, "public", key.private_pem),
        _json(claims),
        footer=_json({"kid": key.kid}),
    )
    return Credential(credential=jti, token=token.decode(), expires_at=expires_at)


def rfc3339(unix_s: int) -> str:
    """Unix seconds as RFC 3339 text in UTC: 2026-01-31T08:15:00Z."""
    return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: dict[str, object] | dict[str, str]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
