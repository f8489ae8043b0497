"""What we asked a payment provider, durably and before it was asked: ``psp.db``.

One file, one writer (WAL, ``synchronous=FULL``); a lock serialises the threads of the sender.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from messages.contract import HoldRequest

SCHEMA = """
CREATE TABLE IF NOT EXISTS hold(id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS authorization(       -- at the provider; a hold has one or two
  reference TEXT PRIMARY KEY, hold TEXT NOT NULL, number INTEGER NOT NULL,
  amount_minor INTEGER NOT NULL, refunded_minor INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'held' CHECK(state IN ('held','captured','released'))) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS authorization_hold ON authorization(hold, number);
CREATE TABLE IF NOT EXISTS call(                -- answer NULL: unknown
  name TEXT PRIMARY KEY, key TEXT NOT NULL, first_s INTEGER NOT NULL, tries INTEGER NOT NULL,
  keys INTEGER NOT NULL DEFAULT 0, answer BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refund(name TEXT PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One authorization of a hold."""

    reference: str
    amount_minor: int
    refunded_minor: int = 0


class PspBook:
    """The file. Every method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(SCHEMA)
        self._lock = Lock()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --- holds --------------------------------------------------------------------------------

    def opened(self, body: HoldRequest) -> None:
        self._run("INSERT OR IGNORE INTO hold VALUES(?,?)", body.hold, msgspec.json.encode(body))

    def hold(self, name: str) -> HoldRequest | None:
        rows = self._run("SELECT body FROM hold WHERE id=?", name)
        return msgspec.json.decode(rows[0][0], type=HoldRequest) if rows else None

    def authorized(self, hold: str, reference: str, amount_minor: int) -> None:
        self._run(
            "INSERT OR IGNORE INTO authorization(reference,hold,number,amount_minor) SELECT ?,?,"
            "count(*),? FROM authorization WHERE hold=?",
            *(reference, hold, amount_minor, hold),
        )

    def resized(self, reference: str, amount_minor: int) -> None:
        self._run(
            "UPDATE authorization SET amount_minor=? WHERE reference=?", amount_minor, reference
        )

    def captured(self, reference: str, amount_minor: int) -> None:
        self._run(
            "UPDATE authorization SET state='captured', amount_minor=? WHERE reference=?",
            *(amount_minor, reference),
        )

    def released(self, reference: str) -> None:
        self._run("UPDATE authorization SET state='released' WHERE reference=?", reference)

    def held(self, hold: str) -> list[Step]:
        """Its authorizations that are not released, also those captured by an earlier try."""
        return self._steps("hold=? AND state<>'released'", hold)

    def open(self, hold: str) -> list[Step]:
        """Its authorizations that are still held."""
        return self._steps("hold=? AND state='held'", hold)

    def taken(self, visit: str) -> list[Step]:
        """What was captured of a visit's hold."""
        return self._steps("hold=? AND state='captured'", f"hold-{visit}")

    def refund(self, name: str) -> bytes | None:
        """The answer of a refund that was made."""
        rows = self._run("SELECT answer FROM refund WHERE name=?", name)
        return rows[0][0] if rows else None

    def refunded(self, name: str, answer: bytes, amount_minor: int, visit: str) -> None:
        """A refund was made, newest authorization first."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO refund VALUES(?,?)", (name, answer))
            query = (
                "SELECT reference, amount_minor-refunded_minor FROM authorization"
                " WHERE hold=? AND state='captured' ORDER BY number DESC"
            )
            for reference, left in self._db.execute(query, (f"hold-{visit}",)).fetchall():
                part = min(left, amount_minor)
                amount_minor -= part
                self._db.execute(
                    "UPDATE authorization SET refunded_minor=refunded_minor+? WHERE reference=?",
                    (part, reference),
                )

    # --- calls ----------------------------------------------------------------------------------

    def known(self, name: str) -> bytes | None:
        """The answer of a call that was answered."""
        rows = self._run("SELECT answer FROM call WHERE name=? AND answer IS NOT NULL", name)
        return bytes(rows[0][0]) if rows else None

    def trying(self, name: str, now_s: int) -> tuple[int, int, str]:
        """Note one more try, before it leaves: how many, since when, under which key."""
        rows = self._run(
            "INSERT INTO call(name,key,first_s,tries) VALUES(?,?,?,1) ON CONFLICT(name) DO UPDATE"
            " SET tries=tries+1 RETURNING tries, first_s, key",
            *(name, name, now_s),
        )
        return int(rows[0][0]), int(rows[0][1]), str(rows[0][2])

    def new_key(self, name: str, now_s: int) -> str:
        """The provider says that nothing happened under the old key."""
        rows = self._run(
            "UPDATE call SET keys=keys+1, key=name||'~'||(keys+1), tries=1, first_s=? WHERE name=?"
            " RETURNING key",
            *(now_s, name),
        )
        return str(rows[0][0])

    def answered(self, name: str, answer: bytes) -> None:
        self._run("UPDATE call SET answer=? WHERE name=?", answer, name)

    def unknown(self) -> list[tuple[str, int, int]]:
        """Calls without an answer: name, first tried (Unix seconds), tries."""
        rows = self._run(
            "SELECT name, first_s, tries FROM call WHERE answer IS NULL ORDER BY first_s"
        )
        return [(str(name), int(first_s), int(tries)) for name, first_s, tries in rows]

    def _steps(self, where: str, value: str) -> list[Step]:
        rows = self._run(
            "SELECT reference, amount_minor, refunded_minor FROM authorization"  # noqa: S608
            f" WHERE {where} ORDER BY number",
            value,
        )
        return [Step(reference=r, amount_minor=a, refunded_minor=b) for r, a, b in rows]

    def _run(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()
