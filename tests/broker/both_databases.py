"""A ledger on either database, for tests that ask the same of both."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.temporary_postgresql import Cluster
from broker import postgresql_database
from broker.database import DatabaseUrl, Job, Transaction, open_database
from broker.idempotency import Answer, Claim
from broker.transfers import TransferRequest
from messages.contract import AccountRequest, CaptureRequest, HoldRequest

KINDS = ("sqlite", "postgresql")
LIMIT_MINOR = 1_000
MEMORY = Path("/dev/shm")  # what a crash does is tested on a real disk, apart


@dataclass
class Databases:
    """Makes empty ledgers. The cluster is started when the first test asks for one."""

    start: Callable[[], Cluster]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    made: bool = False

    def new(self, kind: str) -> DatabaseUrl:
        if kind == "sqlite":
            base = MEMORY if MEMORY.is_dir() else None
            folder = tempfile.mkdtemp(prefix="walkout-test-", dir=base)
            return DatabaseUrl(path=Path(folder) / "broker.db")
        cluster = self.start()
        if not self.made:
            cluster.sql("CREATE DATABASE empty")
            asyncio.run(postgresql_database.migrate(DatabaseUrl.of(cluster.url("empty"))))
            self.made = True
        name = f"ledger{next(self.numbers)}"
        cluster.sql(f"CREATE DATABASE {name} TEMPLATE empty STRATEGY file_copy")
        return DatabaseUrl.of(cluster.url(name))

    def drop(self, where: DatabaseUrl) -> None:
        if where.path is not None:
            shutil.rmtree(where.path.parent)
        else:
            name = where.url.partition("@/")[2].partition("?")[0]
            self.start().sql(f"DROP DATABASE {name} WITH (FORCE)")


class Ledger:
    """An open ledger, asked from plain functions."""

    def __init__(self, where: DatabaseUrl) -> None:
        self.where, self.runner = where, asyncio.Runner()
        self.database = open_database(where)
        self.kind = self.database.kind
        self.runner.run(self.database.start())

    def close(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()

    def do(self, effect: Job[Any]) -> Any:
        """In a transaction of its own; nothing stays of one that raises."""
        return self.runner.run(_awaited(self.database.submit(effect)))

    def ask(self, job: Job[Any]) -> Any:
        return self.runner.run(_awaited(self.database.read(job, whole=True)))

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.ask(lambda db: db.all(statement, *values))
        return found

    def change(self, statement: str, *values: object) -> None:
        self.do(lambda db: db.run(statement, *values))

    def transfer(self, claim: Claim, request: TransferRequest, now_s: int = 0) -> Answer:
        return self.runner.run(_awaited(self.database.transfer(claim, request, now_s)))

    def together(self, works: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """All at once; an exception is a result."""

        async def all_of() -> list[Any]:
            return await asyncio.gather(*(work() for work in works), return_exceptions=True)

        return self.runner.run(all_of())

    def unprotected(self, table: str, statement: str) -> None:
        """Change what must not be changed, as somebody with all rights could."""

        async def tamper(db: Transaction) -> None:
            if self.kind == "postgresql":
                await db.run(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            for verb in ("update", "delete") if self.kind == "sqlite" else ():
                await db.run(f"DROP TRIGGER {table}_{verb}")
            await db.run(statement)

        self.do(tamper)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def account_of(name: str, limit_minor: int = LIMIT_MINOR) -> AccountRequest:
    return AccountRequest(account=name, currency="EUR", limit_minor=limit_minor)


def hold_of(visit: str, account: str, amount_minor: int) -> HoldRequest:
    return HoldRequest(
        hold=f"hold-{visit}",
        account=account,
        store="lab",
        visit=visit,
        credential=f"cred-{visit}",
        amount_minor=amount_minor,
        currency="EUR",
    )


def capture_of(name: str, amount_minor: int) -> CaptureRequest:
    return CaptureRequest(
        capture=name,
        merchant="shop",
        purchase="p",
        amount_minor=amount_minor,
        currency="EUR",
        line_totals=[amount_minor],
    )


def transfer_of(
    name: str, amount_minor: int, debit: str = "psp_clearing", credit: str = "wallet:anna"
) -> TransferRequest:
    return TransferRequest(
        transfer=name, debit=debit, credit=credit, amount_minor=amount_minor, currency="EUR"
    )


def claim_of(key: str, body: bytes = b"body") -> Claim:
    return Claim(tenant="t", path="/p", key=key, digest=body)
