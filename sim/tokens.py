"""Entry tokens signed by the simulator's own key, as a broker signs them: no broker is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from messages.observations import CredentialKey

NS = 1_000_000_000
TOKEN_VALID_S = 55
SIMULATOR_KEY_SEED = bytes(range(32))  # signs simulated tokens only; no store trusts it


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs entry tokens as a broker does, with the simulator's own key."""

    store: str
    kid: str = "simulator"

    @property
    def credential_key(self) -> CredentialKey:
        public = _private_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return CredentialKey(kid=self.kid, public_key=public.hex())

    def token(
        self, jti: str, account: str, party: int, wall_ns: int, *, kind: str = "shopper"
    ) -> str:
        """A PASETO v4.public token that is valid for ``TOKEN_VALID_S`` from now."""
        issued = datetime.fromtimestamp(wall_ns / NS, tz=UTC)
        claims = {
            "jti": jti,
            "store": self.store,
            "acct": account,
            "party": party,
            "kind": kind,
            "iat": issued.isoformat(timespec="seconds"),
            "exp": (issued + timedelta(seconds=TOKEN_VALID_S)).isoformat(timespec="seconds"),
        }
        pem = _private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = pyseto.Key.new(version=4, purpose="public", key=pem)
        footer = json.dumps({"kid": self.kid}).encode()
        return pyseto.encode(key, json.dumps(claims).encode(), footer).decode()


def _private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(SIMULATOR_KEY_SEED)
