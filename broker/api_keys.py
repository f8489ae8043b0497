"""API keys in the database, each of one tenant with some scopes; the operator makes and revokes.

A key is ``walkout_<id>_<secret>``; only the SHA-256 digest is stored, so it is shown once. A
service that signs its requests has a public key here instead of a secret. ``KeyRing`` is what a
serving broker knows of them: that is read again after ``FRESH_S``, so that a revoked key is dead
within that time in every process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from broker.database import Database, DatabaseError, Row, Transaction
from broker.keys import SCOPE_MEANS, TENANT, ApiKey
from broker.rate_limits import RATE_PER_S

FRESH_S = 2
KNOWN_MAX = 10_000  # keys in memory
KEY_ID_BYTES = 10  # base 32: sixteen letters and digits, none of which makes a card number
SECRET_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TENANT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PRESENTED = re.compile(r"walkout_([a-z2-7]{16})_[A-Za-z0-9_-]{43}")
_KEY_ID = re.compile(r"[a-z2-7]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key without its secret. ``signs``: a service with a public key."""

    key_id: str
    tenant: str
    name: str
    party: str
    scopes: tuple[str, ...]
    signs: bool
    rate_per_s: int
    created_s: int
    expires_s: int  # 0: never
    revoked_s: int  # 0: not


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What the operator wants. ``public_key``: 32 bytes of a service that signs, else b""."""

    tenant: str
    name: str
    scopes: tuple[str, ...]
    party: str = ""
    rate_per_s: int = RATE_PER_S
    expires_s: int = 0
    public_key: bytes = b""


async def create(db: Transaction, new: NewKey, now_s: int) -> tuple[str, str]:
    """Store a key; its id, and the whole of it, which nobody can read again ("" when it signs).

    Raises:
        DatabaseError: an unknown tenant or scope, or a name that is none.
    """
    if unknown := sorted(set(new.scopes) - set(SCOPE_MEANS)):
        raise DatabaseError(f"no scope {unknown[0]}: there are {', '.join(SCOPE_MEANS)}")
    if not new.scopes:
        raise DatabaseError(f"a key needs scopes: {', '.join(SCOPE_MEANS)}")
    if not NAME.fullmatch(new.name):
        raise DatabaseError("a key's name has letters, digits, '.', '_', '-', 64 at most")
    if not await has_tenant(db, new.tenant):
        detail = f"run walkout broker tenants create {new.tenant}"
        raise DatabaseError(f"no tenant {new.tenant}: {detail}")
    key_id = base64.b32encode(secrets.token_bytes(KEY_ID_BYTES)).decode().lower()
    whole = "" if new.public_key else f"walkout_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    await db.run(
        _INSERT,
        key_id,
        new.tenant,
        new.name,
        new.party,
        " ".join(sorted(new.scopes)),
        _digest(whole) if whole else b"",
        new.public_key,
        new.rate_per_s,
        now_s,
        new.expires_s,
    )
    return key_id, whole


async def listed(db: Transaction, tenant: str = "") -> list[KeyRow]:
    """All keys, or a tenant's, oldest first."""
    rows = await db.all(f"{_SELECT} ORDER BY created_s, key_id")
    found = [_row(row) for row in rows]
    return [one for one in found if tenant in ("", one.tenant)]


async def revoke(db: Transaction, key_id: str, now_s: int) -> bool:
    """From now on nobody; False when there is no such key. Twice is once."""
    await db.run("UPDATE api_key SET revoked_s = $2 WHERE key_id = $1 AND revoked_s = 0",
                 key_id, now_s)  # fmt: skip
    return await db.one("SELECT 1 FROM api_key WHERE key_id = $1", key_id) is not None


async def has_tenant(db: Transaction, tenant: str) -> bool:
    if tenant == TENANT:
        return True
    return await db.one("SELECT 1 FROM tenant WHERE tenant = $1", tenant) is not None


async def tenants(db: Transaction) -> list[str]:
    """All but the main one, in the order they were made."""
    rows = await db.all("SELECT tenant FROM tenant ORDER BY created_s, tenant")
    return [row[0] for row in rows]


class KeyRing:
    """The keys of files, and what was read of those in the database."""

    def __init__(
        self, files: Iterable[ApiKey], database: Database, clock_s: Callable[[], int]
    ) -> None:
        self._files = {key.digest: key for key in files}
        self._database, self._clock_s = database, clock_s
        self._known: dict[str, tuple[ApiKey | None, int]] = {}  # with when it was read

    async def bearer(self, presented: str) -> ApiKey | None:
        """Whose secret this is; None: nobody's, revoked or expired."""
        digest = _digest(presented)
        key = self._files.get(digest)  # a digest of 256 random bits tells nothing by its time
        if key is not None:
            return key
        found = _PRESENTED.fullmatch(presented)
        key = await self._read(found[1]) if found else None
        same = key is not None and hmac.compare_digest(key.digest, digest)
        return key if same and not (key and key.public_key) else None

    async def signer(self, key_id: str) -> ApiKey | None:
        """The service that signs with this key id."""
        key = await self._read(key_id) if _KEY_ID.fullmatch(key_id) else None
        return key if key is not None and key.public_key else None

    async def _read(self, key_id: str) -> ApiKey | None:
        key, read_s = self._known.get(key_id, (None, -FRESH_S))
        now_s = self._clock_s()
        if 0 <= now_s - read_s < FRESH_S and key is not None:
            return key
        row = await self._database.read(lambda db: db.one(_LIVE, key_id, now_s))
        if row is None:
            self._known.pop(key_id, None)
            return None
        if len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        key = ApiKey(
            name=f"{row[1]}:{key_id}",
            tenant=row[0],
            scopes=frozenset(row[3].split()),
            digest=row[4],
            party=row[2],
            rate_per_s=row[6],
            public_key=row[5],
        )
        self._known[key_id] = (key, now_s)
        return key


def _row(row: Row) -> KeyRow:
    key_id, tenant, name, party, scopes, public_key, rate, created, expires, revoked = row
    return KeyRow(
        key_id=key_id,
        tenant=tenant,
        name=name,
        party=party,
        scopes=tuple(scopes.split()),
        signs=bool(public_key),
        rate_per_s=rate,
        created_s=created,
        expires_s=expires,
        revoked_s=revoked,
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


_INSERT = (
    "INSERT INTO api_key (key_id, tenant, name, party, scopes, digest, public_key, rate_per_s,"
    " created_s, expires_s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
)
_SELECT = (
    "SELECT key_id, tenant, name, party, scopes, public_key, rate_per_s, created_s, expires_s,"
    " revoked_s FROM api_key"
)
_LIVE = (
    "SELECT tenant, name, party, scopes, digest, public_key, rate_per_s FROM api_key"
    " WHERE key_id = $1 AND revoked_s = 0 AND (expires_s = 0 OR expires_s > $2)"
)
