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
from collections.abc import Callable
from dataclasses import dataclass, replace

from broker.problems import ProblemError

KEPT_S = 30 * 24 * 3600
PURGE_MAX = 64  # old answers forgotten with one new one: no pause is ever noticed
DECLINED = 402

SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
    tenant TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL,
    digest BLOB NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL, created_s INTEGER NOT NULL,
    grp TEXT, sequence INTEGER, attempt INTEGER,
    PRIMARY KEY (tenant, path, key)
) STRICT;
CREATE INDEX IF NOT EXISTS answer_by_age ON answer (created_s);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request got: an HTTP status and a body."""

    status: int
    body: bytes
    replayed: bool = False


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


def once(
    db: sqlite3.Connection,
    claim: Claim,
    now_s: int,
    effect: Callable[[sqlite3.Connection], Answer],
) -> Answer:
    """The stored answer of the key, or the effect's, stored with it. Runs inside a transaction.

    Raises:
        ProblemError: 422, the key came before with another body; or what the effect raises.
    """
    row = db.execute(
        "SELECT digest, status, body, created_s FROM answer"
        " WHERE tenant = ? AND path = ? AND key = ?",
        claim.scope,
    ).fetchone()
    if row is not None and row[3] > now_s - KEPT_S:
        if row[0] != claim.digest:
            detail = "this Idempotency-Key came before with another body"
            raise ProblemError(422, "idempotency-key-reused", detail, param="Idempotency-Key")
        return Answer(status=row[1], body=row[2], replayed=True)
    answer = effect(db)
    if answer.status < 300 or answer.status == DECLINED:
        _remember(db, claim, replace(answer, replayed=False), now_s)
    return answer


def _remember(db: sqlite3.Connection, claim: Claim, answer: Answer, now_s: int) -> None:
    db.execute(
        "DELETE FROM answer WHERE rowid IN"
        " (SELECT rowid FROM answer WHERE created_s <= ? ORDER BY created_s LIMIT ?)",
        (now_s - KEPT_S, PURGE_MAX),
    )
    db.execute(
        "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *claim.scope,
            claim.digest,
            answer.status,
            answer.body,
            now_s,
            claim.group,
            claim.sequence,
            claim.attempt,
        ),
    )


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value
