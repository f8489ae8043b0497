"""The plain way to write a ledger: right, statement by statement, a balance on every account.

Tables and effects are those of the broker's ledger: claim, floor, journal, postings, outbox row,
answer. Accounts are locked in the order of their names, so nothing ever waits in a circle.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from broker.idempotency import Claim
from broker.transfers import TransferRequest

CLIENTS_MAX = 32
SCHEMA = """
CREATE TABLE account (name TEXT PRIMARY KEY, balance BIGINT NOT NULL, floor BIGINT);
CREATE TABLE journal (id {serial}, reference TEXT NOT NULL UNIQUE);
CREATE TABLE posting (journal BIGINT NOT NULL REFERENCES journal, account TEXT NOT NULL,
    amount BIGINT NOT NULL, PRIMARY KEY (journal, account));
CREATE INDEX posting_by_account ON posting (account, journal);
CREATE TABLE answer (key TEXT PRIMARY KEY, digest {blob} NOT NULL, status BIGINT NOT NULL,
    journal BIGINT);
CREATE TABLE outbox (journal BIGINT PRIMARY KEY REFERENCES journal);
"""
CLAIM = "INSERT INTO answer VALUES ($1, $2, 0, NULL) ON CONFLICT DO NOTHING"
KNOWN = "SELECT digest, status FROM answer WHERE key = $1"
MOVE = (
    "UPDATE account SET balance = balance + $2 WHERE name = $1"
    " AND (floor IS NULL OR balance + $2 >= floor)"
)
JOURNAL = "INSERT INTO journal (reference) VALUES ($1) RETURNING id"
POSTING = "INSERT INTO posting VALUES ($1, $2, $3)"
OUTBOX = "INSERT INTO outbox VALUES ($1)"
ANSWER = "UPDATE answer SET status = 201, journal = $2 WHERE key = $1"
UNSOUND = (
    "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM posting GROUP BY journal"
    " HAVING SUM(amount) <> 0) AS x) + (SELECT COUNT(*) FROM account WHERE balance <>"
    " COALESCE((SELECT SUM(amount) FROM posting WHERE account = name), 0)"
    " + CASE WHEN floor IS NULL THEN 0 ELSE {funds} END)"
)


@dataclass
class NaivePostgres:
    pool: Any
    funds_minor: int

    @staticmethod
    async def open(url: str, wallets: int, shops: int, funds_minor: int) -> NaivePostgres:
        settings = {"search_path": "naive"}
        pool = await asyncpg.create_pool(
            url, min_size=CLIENTS_MAX, max_size=CLIENTS_MAX, server_settings=settings
        )
        async with pool.acquire() as connection:
            await connection.execute("CREATE SCHEMA naive")
            serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
            await connection.execute(SCHEMA.format(serial=serial, blob="BYTEA"))
            rows = _accounts(wallets, shops, funds_minor)
            await connection.executemany("INSERT INTO account VALUES ($1, $2, $3)", rows)
            await connection.execute("VACUUM ANALYZE account")
        return NaivePostgres(pool, funds_minor)

    async def one(self, claim: Claim, request: TransferRequest) -> int:
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.execute(CLAIM, claim.key, claim.digest) == "INSERT 0 0":
                digest, status = await connection.fetchrow(KNOWN, claim.key)
                return int(status) if digest == claim.digest else 422
            moves = _moves(request)
            for name, minor in moves:
                if await connection.execute(MOVE, name, minor) != "UPDATE 1":
                    raise RuntimeError("no funds")
            journal = await connection.fetchval(JOURNAL, request.transfer)
            for name, minor in moves:
                await connection.execute(POSTING, journal, name, minor)
            await connection.execute(OUTBOX, journal)
            await connection.execute(ANSWER, claim.key, journal)
            return 201

    async def check(self) -> None:
        async with self.pool.acquire() as connection:
            if await connection.fetchval(UNSOUND.format(funds=self.funds_minor)):
                raise RuntimeError("the plain books are broken")
        await self.pool.close()


@dataclass
class NaiveSqlite:
    """A thread and a connection per client, a commit per request."""

    path: Path
    threads: ThreadPoolExecutor
    idle: list[sqlite3.Connection]
    funds_minor: int

    @staticmethod
    def open(path: Path, wallets: int, shops: int, funds_minor: int) -> NaiveSqlite:
        idle = [_connected(path) for _ in range(CLIENTS_MAX)]
        idle[0].executescript(
            SCHEMA.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT", blob="BLOB")
        )
        idle[0].execute("BEGIN")
        rows = _accounts(wallets, shops, funds_minor)
        idle[0].executemany("INSERT INTO account VALUES (?, ?, ?)", rows)
        idle[0].execute("COMMIT")
        return NaiveSqlite(path, ThreadPoolExecutor(CLIENTS_MAX), idle, funds_minor)

    async def one(self, claim: Claim, request: TransferRequest) -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self._one, claim, request)

    def check(self) -> None:
        self.threads.shutdown()
        for db in self.idle:
            db.close()
        with closing(_connected(self.path)) as db:
            if db.execute(UNSOUND.format(funds=self.funds_minor)).fetchone()[0]:
                raise RuntimeError("the plain books are broken")

    def _one(self, claim: Claim, request: TransferRequest) -> int:
        db = self.idle.pop()
        try:
            db.execute("BEGIN IMMEDIATE")
            status = _apply(db, claim, request)
            db.execute("COMMIT")
            return status
        finally:
            self.idle.append(db)


def _apply(db: sqlite3.Connection, claim: Claim, request: TransferRequest) -> int:
    if db.execute(_q(CLAIM), (claim.key, claim.digest)).rowcount == 0:
        digest, status = db.execute(_q(KNOWN), (claim.key,)).fetchone()
        return int(status) if digest == claim.digest else 422
    moves = _moves(request)
    for name, minor in moves:
        if db.execute(_q(MOVE), (name, minor)).rowcount != 1:
            raise RuntimeError("no funds")
    journal = db.execute(_q(JOURNAL), (request.transfer,)).fetchone()[0]
    db.executemany(_q(POSTING), [(journal, name, minor) for name, minor in moves])
    db.execute(_q(OUTBOX), (journal,))
    db.execute(_q(ANSWER), (claim.key, journal))
    return 201


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _accounts(wallets: int, shops: int, funds_minor: int) -> list[tuple[str, int, int | None]]:
    return [
        *((f"wallet:{number}", funds_minor, 0) for number in range(wallets)),
        *((f"merchant_payable:{number}", 0, None) for number in range(shops)),
    ]


def _moves(request: TransferRequest) -> list[tuple[str, int]]:
    return sorted([(request.debit, -request.amount_minor), (request.credit, request.amount_minor)])


def _q(statement: str) -> str:
    return statement.replace("$", "?")
