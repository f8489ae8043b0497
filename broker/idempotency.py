"""One key, one effect, one answer.

The key is claimed in the same transaction as the effect it stands for; both are there or neither.
Scope: tenant and path. Two bodies are the same when their canonical JSON is: 1.0 equals 1, the
order of keys is nothing, the order of arrays and null are something. Kept for 30 days, since a
store's box may be off line for as long.

Stored are answers that did or decided something: 2xx, and 402 (declined). Every other refusal had
no effect, so the same key may be sent again when its cause is gone; a 5xx is never stored.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from broker.problems import ProblemError

if TYPE_CHECKING:
    from broker.database import Transaction

KEPT_S = 30 * 24 * 3600
PURGE_MAX = 64  # old answers forgotten with one new one: no pause is ever noticed
DECLINED = 402

# For other services' SQLite files; the broker's own is made by its migrations.
SCHEMA = (
    (Path(__file__).parent / "migrations" / "0002_answers.sqlite.sql")
    .read_text()
    .replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    .replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request got: an HTTP status and a body."""

    status: int
    body: bytes
    replayed: bool = False


def answer(status: int, reply: object, *, replayed: bool = False) -> Answer:
    """The reply as JSON with a status."""
    return Answer(status=status, body=msgspec.json.encode(reply), replayed=replayed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request's claim on its key; group, sequence and attempt are the sender's outbox marks."""

    tenant: str
    path: str
    key: str
    digest: bytes
    group: str | None = None
    sequence: int | None = None
    attempt: int | None = None

    @property
    def scope(self) -> tuple[str, str, str]:
        return (self.tenant, self.path, self.key)


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, and whole numbers written as integers."""
    return json.dumps(
        _whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def digest(value: object) -> bytes:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value)).digest()


async def claimed(
    db: Transaction, claim: Claim, now_s: int, effect: Callable[[], Awaitable[Answer]]
) -> Answer:
    """The stored answer of the key, or the effect's, stored with it.

    The claim is the first write: a racer on PostgreSQL waits at it until this transaction ends.

    Raises:
        ProblemError: 422, the key came before with another body; or what the effect raises.
    """
    given = (*claim.scope, claim.digest, now_s, claim.group, claim.sequence, claim.attempt)
    if await db.one(_CLAIM, *given, now_s - KEPT_S, b"") is None:
        return await _stored(db, claim)
    answer = await effect()
    if answer.status < 300 or answer.status == DECLINED:
        await db.run(_REMEMBER, *claim.scope, answer.status, answer.body)
    else:
        await db.run(_FORGET, *claim.scope)
    return answer


async def purge(db: Transaction, now_s: int, most: int = PURGE_MAX) -> int:
    """Forget answers that are old enough, oldest first; how many."""
    return await db.run(_PURGE, now_s - KEPT_S, most)


def once(
    db: sqlite3.Connection,
    claim: Claim,
    now_s: int,
    effect: Callable[[sqlite3.Connection], Answer],
) -> Answer:
    """``claimed`` for a plain SQLite connection inside a transaction, as other services use it."""
    from broker.database import finished
    from broker.sqlite_database import SqliteTransaction

    async def plain() -> Answer:
        return effect(db)

    transaction = SqliteTransaction(db)
    finished(purge(transaction, now_s))
    return finished(claimed(transaction, claim, now_s, plain))


async def _stored(db: Transaction, claim: Claim) -> Answer:
    row = await db.one(_KNOWN, *claim.scope)
    if row is None or row[0] != claim.digest:
        raise key_reused()
    return Answer(status=row[1], body=row[2], replayed=True)


def key_reused() -> ProblemError:
    detail = "this Idempotency-Key came before with another body"
    return ProblemError(422, "idempotency-key-reused", detail, param="Idempotency-Key")


_SCOPE = "tenant = $1 AND path = $2 AND key = $3"
_CLAIM = """
INSERT INTO answer (tenant, path, key, digest, status, body, created_s, grp, sequence, attempt)
VALUES ($1, $2, $3, $4, 0, $10, $5, $6, $7, $8)
ON CONFLICT (tenant, path, key) DO UPDATE
SET digest = excluded.digest, created_s = excluded.created_s, grp = excluded.grp,
    sequence = excluded.sequence, attempt = excluded.attempt
WHERE answer.created_s <= $9
RETURNING status
"""
_KNOWN = f"SELECT digest, status, body FROM answer WHERE {_SCOPE}"
_REMEMBER = f"UPDATE answer SET status = $4, body = $5 WHERE {_SCOPE}"
_FORGET = f"DELETE FROM answer WHERE {_SCOPE}"
_PURGE = """
DELETE FROM answer WHERE (tenant, path, key) IN
(SELECT tenant, path, key FROM answer WHERE created_s <= $1 ORDER BY created_s LIMIT $2)
"""


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value
