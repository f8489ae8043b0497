"""``walkout broker export | erase``: on a tenant's ledger, no service needed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from broker import audit, privacy
from broker.database import DatabaseError, DatabaseUrl, Transaction
from broker.key_commands import ACTOR, done, private_file
from broker.problems import ProblemError
from messages.contract import Problem

T = TypeVar("T")


def export_shopper(where: DatabaseUrl, shopper: str, out: Path | None) -> int:
    """All that is held about a shopper, as JSON, to a file of mode 600 or to the terminal."""

    async def job(db: Transaction) -> dict[str, object]:
        found = await privacy.export(db, shopper)
        await audit.record(db, _now_s(), ACTOR, "export shopper", shopper, 200)
        return found

    if out is not None and out.exists():
        raise DatabaseError(f"{out} exists: name a file that does not")
    text = json.dumps(_said(where, job, shopper), indent=1, ensure_ascii=False)
    if out is None:
        sys.stdout.write(text + "\n")
    else:
        private_file(out, text)
        sys.stdout.write(f"{out}: all that is held about {shopper}\n")
    return 0


def erase_shopper(where: DatabaseUrl, shopper: str, json_output: bool) -> int:
    """Remove what may be removed; the books stay as they are."""
    removed = _said(where, lambda db: privacy.erase(db, shopper, _now_s(), ACTOR), shopper)
    if json_output:
        sys.stdout.write(json.dumps({"erased": shopper, "rows": removed}) + "\n")
        return 0
    for table, rows in removed.items():
        sys.stdout.write(f"{table}: {rows} rows\n")
    sys.stdout.write(f"{shopper} is erased and blocked; the books keep its id alone\n")
    return 0


def _said(where: DatabaseUrl, job: Callable[[Transaction], Awaitable[T]], shopper: str) -> T:
    try:
        return done(where, job)
    except ProblemError as problem:
        detail = msgspec.json.decode(problem.body, type=Problem).detail
        raise DatabaseError(f"{shopper}: {detail}") from problem


def _now_s() -> int:
    return time.time_ns() // 1_000_000_000
