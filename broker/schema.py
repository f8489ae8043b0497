"""Tables come from numbered migrations, one file per number and database.

``migrations/NNNN_name.sqlite.sql`` and ``.postgresql.sql``; a number may be needed by one database
alone. Each runs once, in order, in a transaction of its own that notes it in ``migration``.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker.database import DatabaseError

if TYPE_CHECKING:
    from asyncpg import Connection

FOLDER = Path(__file__).parent / "migrations"
APPEND_ONLY = ("journal", "posting", "chain", "capture", "payment", "refund")
MUTABLE = ("account", "ledger_account", "hold", "answer", "outbox", "balance_snapshot")
DELETABLE = ("answer", "outbox")
SYSTEMS_FROM = 10  # migrations of the systems on the ledger; before are the ledger's own
POSTGRES_SCHEMA = "walkout"
LOCK = 0x57414C4B  # advisory: two migrations at once wait for each other

_NOTES = "CREATE TABLE IF NOT EXISTS migration (number {integer} PRIMARY KEY, name TEXT NOT NULL)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    number: int
    name: str
    script: str


def migrations(kind: str) -> tuple[Migration, ...]:
    """All of them for a kind of database, in order."""
    paths = sorted(FOLDER.glob(f"[0-9]*.{kind}.sql"))
    return tuple(
        Migration(
            number=int(path.name[:4]), name=path.name.split(".")[0][5:], script=path.read_text()
        )
        for path in paths
    )


def behind(kind: str, done: set[int]) -> tuple[Migration, ...]:
    """Which migrations are still to be run.

    Raises:
        DatabaseError: the database is newer than this program.
    """
    known = migrations(kind)
    if done - {migration.number for migration in known}:
        raise DatabaseError("the database was made by a newer version of walkout: update this one")
    return tuple(migration for migration in known if migration.number not in done)


def migrate_sqlite(db: sqlite3.Connection) -> list[Migration]:
    """Bring a SQLite database up to date; what was run.

    Raises:
        DatabaseError: it is newer, or was made before migrations existed.
    """
    db.execute(_NOTES.format(integer="INTEGER"))
    done = {number for (number,) in db.execute("SELECT number FROM migration")}
    if not done and db.execute("SELECT 1 FROM sqlite_master WHERE name = 'posting'").fetchone():
        raise DatabaseError("made by a development version without migrations: start a new file")
    wanted = behind("sqlite", done)
    for migration in wanted:
        note = f"INSERT INTO migration VALUES ({migration.number}, '{migration.name}');"
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{migration.script}\n{note}\nCOMMIT;")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return list(wanted)


async def migrate_postgresql(
    connection: Connection, role: str = "", schema: str = POSTGRES_SCHEMA
) -> list[Migration]:
    """Bring a PostgreSQL database up to date; what was run.

    Args:
        role: gets what serving needs and no more: it can neither change nor delete what was posted.
        schema: where the tables are, or will be.

    Raises:
        DatabaseError: it is newer.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        await connection.execute(f"SET LOCAL search_path = {schema}")
        await connection.execute(_NOTES.format(integer="BIGINT"))
        done = {row[0] for row in await connection.fetch("SELECT number FROM migration")}
        wanted = behind("postgresql", done)
        for migration in wanted:
            await connection.execute(migration.script)
            note = "INSERT INTO migration VALUES ($1, $2)"
            await connection.execute(note, migration.number, migration.name)
        if role:
            await connection.execute(grants(role, schema))
    return list(wanted)


def grants(role: str, schema: str = POSTGRES_SCHEMA) -> str:
    """What a role needs to serve."""
    quoted = '"' + role.replace('"', '""') + '"'
    everything = ", ".join((*APPEND_ONLY, *MUTABLE, "credential"))
    return (
        f"GRANT USAGE ON SCHEMA {schema} TO {quoted};"
        f"GRANT SELECT, INSERT ON {everything} TO {quoted};"
        f"GRANT UPDATE ON {', '.join(MUTABLE)} TO {quoted};"
        f"GRANT DELETE ON {', '.join(DELETABLE)} TO {quoted};"
        f"{_system_grants(quoted)}"
        f"GRANT SELECT ON migration TO {quoted};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {quoted};"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {quoted};"
    )


def _system_grants(quoted: str) -> str:
    """The systems' tables, read from their migrations: those without the trigger may change."""
    scripts = [one.script for one in migrations("postgresql") if one.number >= SYSTEMS_FROM]
    made = {name for script in scripts for name in re.findall(r"CREATE TABLE (\w+)", script)}
    kept = {
        name
        for script in scripts
        for name in re.findall(r"UPDATE OR DELETE OR TRUNCATE ON (\w+)", script)
    }
    if not made:
        return ""
    changing = ", ".join(sorted(made - kept))
    everything = f"GRANT SELECT, INSERT ON {', '.join(sorted(made))} TO {quoted};"
    return everything + (f"GRANT UPDATE, DELETE ON {changing} TO {quoted};" if changing else "")
