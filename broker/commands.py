"""``walkout broker migrate | verify-chain | reconcile``: on the database, no service needed."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from broker import api_keys, books, chain, reconcile, schema, tenants
from broker.database import DatabaseError, DatabaseUrl, Transaction, open_database
from broker.sqlite_database import SqliteDatabase

FOREVER_S = 2**53
T = TypeVar("T")


def migrate(where: DatabaseUrl, role: str, json_output: bool) -> int:
    """Bring the tables up to date, those of every tenant too; 0."""
    names = [f"{one.number:04} {one.name}" for one in migrate_quietly(where, role)]
    for tenant in asked(where, api_keys.tenants):
        done = migrate_quietly(tenants.ledger_of(where, tenant), role)
        names += [f"{tenant}: {one.number:04} {one.name}" for one in done]
    if json_output:
        _print(json.dumps({"migrated": names}))
    else:
        _print("\n".join(names) if names else "up to date")
    return 0


def migrate_quietly(where: DatabaseUrl, role: str) -> list[schema.Migration]:
    """Bring one ledger's tables up to date; what was run. A new file is its owner's alone."""
    if where.path is not None:
        from broker.group_commit import connect

        if role:
            raise DatabaseError("SQLite has no roles: leave --role out")
        before = os.umask(0o077)
        try:
            with closing(connect(where.path)) as db:
                return schema.migrate_sqlite(db)
        except sqlite3.Error as error:
            raise DatabaseError(f"{where.path}: {error}") from error
        finally:
            os.umask(before)
    from broker import postgresql_database

    return asyncio.run(postgresql_database.migrate(where, role))


def verify_chain(where: DatabaseUrl, expected: str, json_output: bool) -> int:
    """Compute the chain anew and ask every invariant; 1 when something is broken."""

    async def both(db: Transaction) -> tuple[chain.Verified, dict[str, int]]:
        from broker.systems import invariants

        breaches = await books.breaches(db) | await invariants.breaches(db)
        return await chain.verify(db, expected), breaches

    verified, breaches = asked(where, both)
    if json_output:
        _print(json.dumps(asdict(verified) | {"breaches": breaches}))
    else:
        _print(f"{verified.links} journals sealed, {verified.unsealed} not yet: {verified.head}")
        for text in verified.broken:
            _print(f"broken: {text}")
        for name, count in breaches.items():
            _print(f"broken: {name}: not so in {count}")
        if not verified.broken and not breaches:
            _print("the chain and the books are sound; keep the line above elsewhere")
    return 1 if verified.broken or breaches else 0


def reconcile_report(
    where: DatabaseUrl, report: Path, since: str, until: str, json_output: bool
) -> int:
    """Compare; 1 when there are differences."""
    provider = reconcile.read_report(report)
    from_s, to_s = _day_s(since, 0), _day_s(until, FOREVER_S)
    found = reconcile.compare(provider, asked(where, lambda db: reconcile.ours(db, from_s, to_s)))
    if json_output:
        _print(json.dumps(found.document()))
    else:
        for one in found.differences:
            _print(
                f"{one.kind.value}: {one.reference}: provider {one.provider_minor},"
                f" we {one.our_minor} {one.currency}"
            )
        _print(f"{found.agreed} agree, {len(found.differences)} differ")
        for currency in sorted(found.provider_minor.keys() | found.our_minor.keys()):
            theirs, mine = (
                side.get(currency, 0) for side in (found.provider_minor, found.our_minor)
            )
            _print(f"{currency}: provider {theirs}, we {mine}, difference {theirs - mine}")
    return 1 if found.differences else 0


def asked(where: DatabaseUrl, job: Callable[[Transaction], Awaitable[T]]) -> T:
    """What the job finds in one snapshot; a broker may be serving the database."""
    if where.path is not None:
        return _asked_file(where.path, job)

    async def in_one_snapshot() -> T:
        database = open_database(where)
        await database.start()
        try:
            return await database.read(job, whole=True)
        finally:
            await database.close()

    return asyncio.run(in_one_snapshot())


def _asked_file(path: Path, job: Callable[[Transaction], Awaitable[T]]) -> T:
    if not path.exists():
        raise DatabaseError(f"{path} does not exist: name the broker's database with --db")
    try:
        return SqliteDatabase(path).in_one_snapshot(job)
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}: run walkout broker migrate --db {path}") from error


def _day_s(day: str, default: int) -> int:
    if not day:
        return default
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise DatabaseError(f"{day!r} is no day: write 2027-01-31") from None


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
