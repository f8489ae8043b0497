"""``walkout broker keys create|list|revoke`` and ``tenants create|list``: no service needed.

A secret goes to the terminal once, or into a file of mode 600; it is never taken from the command
line. Everything done here is in the audit log of the tenant it is about.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker import api_keys, audit, tenants
from broker.api_keys import NewKey
from broker.commands import migrate_quietly
from broker.credentials import rfc3339
from broker.database import DatabaseError, DatabaseUrl, Transaction, open_database
from broker.keys import TENANT
from broker.rate_limits import RATE_PER_S

ACTOR = "command-line"
DAY_S = 24 * 3600
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of ``keys create``. ``signs``: a key pair is made and ``out`` gets the private
    half; ``public_key``: the service has made one itself."""

    tenant: str
    name: str
    scopes: str  # separated by commas
    party: str = ""
    rate_per_s: int = RATE_PER_S
    days: int = 0  # 0: never expires
    signs: bool = False
    public_key: Path | None = None
    out: Path | None = None


def create_key(where: DatabaseUrl, wanted: Wanted, json_output: bool) -> int:
    """Make a key; its secret goes to ``out`` (mode 600) or is printed, once."""
    out = wanted.out
    if wanted.signs and out is None:
        raise DatabaseError("--signs needs --out FILE for the private key")
    if out is not None and out.exists():
        raise DatabaseError(f"{out} exists: name a file that does not")
    pem, public = _key_pair() if wanted.signs else ("", b"")
    new = NewKey(
        tenant=wanted.tenant,
        name=wanted.name,
        scopes=tuple(filter(None, wanted.scopes.split(","))),
        party=wanted.party,
        rate_per_s=wanted.rate_per_s,
        expires_s=_now_s() + wanted.days * DAY_S if wanted.days else 0,
        public_key=_public_key(wanted.public_key) if wanted.public_key else public,
    )

    async def job(db: Transaction) -> tuple[str, str]:
        key_id, secret = await api_keys.create(db, new, _now_s())
        await audit.record(db, _now_s(), ACTOR, f"create key for {new.tenant}", key_id, 0)
        return key_id, secret

    key_id, secret = done(where, job)
    if out is not None and (pem or secret):
        private_file(out, pem or secret)
    shown = secret if out is None else ""
    if json_output:
        _print(json.dumps({"key_id": key_id, "tenant": new.tenant, "secret": shown or None}))
        return 0
    _print(f"key {key_id} of tenant {new.tenant}: {', '.join(sorted(new.scopes))}")
    if shown:
        _print(f"{shown}\nkeep it now: it is not shown again")
    return 0


def list_keys(where: DatabaseUrl, tenant: str, json_output: bool) -> int:
    """Every key without its secret."""
    rows = done(where, lambda db: api_keys.listed(db, tenant))
    if json_output:
        _print(json.dumps({"keys": [asdict(row) for row in rows]}))
        return 0
    for row in rows:
        state = f"revoked {rfc3339(row.revoked_s)}" if row.revoked_s else "live"
        party = f" party {row.party}" if row.party else ""
        signs = " signs" if row.signs else ""
        text = f"{row.key_id} {row.tenant} {row.name}{party}{signs} {state}"
        _print(f"{text}: {' '.join(row.scopes)}")
    if not rows:
        _print("no keys: walkout broker keys create --tenant main --name app --scopes accounts")
    return 0


def revoke_key(where: DatabaseUrl, key_id: str, json_output: bool) -> int:
    """A broker that serves obeys within two seconds."""

    async def job(db: Transaction) -> bool:
        found = await api_keys.revoke(db, key_id, _now_s())
        if found:
            await audit.record(db, _now_s(), ACTOR, "revoke key", key_id, 0)
        return found

    if not done(where, job):
        raise DatabaseError(f"no key {key_id}: walkout broker keys list shows them")
    _print(json.dumps({"revoked": key_id}) if json_output else f"revoked {key_id}")
    return 0


def create_tenant(where: DatabaseUrl, tenant: str, role: str, json_output: bool) -> int:
    """A tenant and its empty ledger. ``role``: the PostgreSQL role that serves."""
    ledger = tenants.ledger_of(where, tenant)
    migrate_quietly(where, role)
    migrate_quietly(ledger, role)

    async def job(db: Transaction) -> None:
        await tenants.register(db, tenant, _now_s())
        await audit.record(db, _now_s(), ACTOR, "create tenant", tenant, 0)

    done(where, job)
    _print(json.dumps({"tenant": tenant}) if json_output else f"tenant {tenant}: empty books")
    return 0


def list_tenants(where: DatabaseUrl, json_output: bool) -> int:
    names = [TENANT, *done(where, api_keys.tenants)]
    _print(json.dumps({"tenants": names}) if json_output else "\n".join(names))
    return 0


def _key_pair() -> tuple[str, bytes]:
    """An Ed25519 pair: the private half in PEM form, the public one as 32 bytes."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    return pem.decode().rstrip("\n"), public


def _public_key(path: Path) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM form; raises DatabaseError."""
    try:
        found = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatabaseError(f"{path}: give an Ed25519 public key in PEM form") from error
    if not isinstance(found, Ed25519PublicKey):
        raise DatabaseError(f"{path}: not an Ed25519 key")
    return found.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def private_file(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def done(where: DatabaseUrl, job: Callable[[Transaction], Awaitable[T]]) -> T:
    """What the job did in a transaction of its own; a broker may be serving the database."""
    if where.path is not None and not where.path.exists():
        raise DatabaseError(f"{where.path} does not exist: name the broker's database with --db")

    async def work() -> T:
        database = open_database(where)
        await database.start()
        try:
            return await database.submit(job)
        finally:
            await database.close()

    return asyncio.run(work())


def _now_s() -> int:
    return time.time_ns() // 1_000_000_000


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
