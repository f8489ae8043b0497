"""Secrets in files: API keys with their scopes, and the keys that sign entry tokens.

Each is made at first start, readable by its owner alone (mode 0600), and never taken from a
command line, where every user of the machine could read it. A key file that others can read is
refused. Of an API key only the SHA-256 digest stays in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.credentials import SigningKey, signing_key
from broker.rate_limits import FILE_KEY_RATE_PER_S

API_KEY_BYTES = 32
TENANT = "main"  # one operator a data directory; keys of several share the books

# What a key may do. A key that is bound to a party (a merchant) sees and does only that party's.
SCOPE_MEANS: Mapping[str, str] = {
    "holds": "place, adjust and void holds",
    "captures": "capture holds, list captures",
    "books": "read books and ledger accounts",
    "accounts": "open and read shoppers' accounts",
    "entry-credentials": "issue entry tokens",
    "staff": "issue entry tokens for staff",
    "admin": "everything an operator does: block, refund, transfer, audit, policies",
    "screenings": "collect evidence and issue screening tokens (a kiosk, the app)",
    "gates": "redeem screening tokens (a gate, a locked door)",
    "carts": "carts over several merchants, and references to them (the app)",
    "merchants": "price, confirm, bid and ship (a merchant's system)",
    "checkouts": "checkouts with shipping (the app)",
    "quotes": "ask for quotes, accept them, sell from a display (the app)",
}

# File -> what its key may do.
SCOPES: Mapping[str, frozenset[str]] = {
    "store.key": frozenset({"holds", "captures", "books", "gates"}),
    "app.key": frozenset(
        {"accounts", "entry-credentials", "screenings", "carts", "checkouts", "quotes"}
    ),
    "admin.key": frozenset(SCOPE_MEANS),
}


class SecretFileError(ValueError):
    """A secret that others can read, or a file that holds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Who a key belongs to and what it may do."""

    name: str
    tenant: str
    scopes: frozenset[str]
    digest: bytes  # SHA-256 of the key; b"" of a service that signs
    party: str = ""  # sees and does this party's alone; "" = the operator
    rate_per_s: int = FILE_KEY_RATE_PER_S
    public_key: bytes = b""  # 32 bytes, of a service that signs

    @property
    def actor(self) -> str:
        """How the audit log calls it."""
        return f"{self.tenant}/{self.name}"


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text in the file, which is made with mode 0600 when it is not there.

    Raises:
        SecretFileError: empty, or readable by anybody but its owner.
    """
    if not path.exists():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
    if path.stat().st_mode & 0o077:
        raise SecretFileError(f"{path.name} can be read by others: chmod 600 it")
    text = path.read_text().strip()
    if not text:
        raise SecretFileError(f"{path.name} is empty: delete it to get a new one")
    return text


def new_api_key(prefix: str) -> str:
    """256 bits of chance, with a prefix that secret scanners can look for."""
    return f"walkout_{prefix}_{secrets.token_urlsafe(API_KEY_BYTES)}\n"


def api_keys(data: Path, scopes: Mapping[str, frozenset[str]] = SCOPES) -> tuple[ApiKey, ...]:
    """The keys of a data directory, made at first start."""
    return tuple(
        ApiKey(
            name=Path(name).stem,
            tenant=TENANT,
            scopes=granted,
            digest=_digest(secret(data / name, lambda n=name: new_api_key(Path(n).stem))),  # type: ignore[misc]
        )
        for name, granted in scopes.items()
    )


def key_of(keys: Iterable[ApiKey], presented: str) -> ApiKey | None:
    """The key that was presented; every known digest is compared, in constant time."""
    digest = _digest(presented)
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def signing_keys(data: Path) -> tuple[SigningKey, ...]:
    """``signing.key`` first, which signs; then ``signing-*.key``, which are only published.

    To rotate: rename ``signing.key`` to ``signing-<date>.key`` and restart.
    """
    current = signing_key(secret(data / "signing.key", _new_signing_key).encode())
    older = sorted(data.glob("signing-*.key"))
    return (current, *(signing_key(secret(path, str).encode()) for path in older))


def _new_signing_key() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
