"""Transfers of the broker's ledger on PostgreSQL and SQLite, beside a plain implementation.

A request moves an amount between two accounts with a floor check, an idempotency key, a journal of
two postings and an outbox row, durable when it is answered. ``hot``: every sale credits one shop,
as in a real store; ``spread``: a thousand shops. 5 % of requests come again, 1 % with another body.
Peers on the same databases in the same run: statement by statement with a balance on every account
(``naive``), and on SQLite a connection and a commit per request (``naive_sqlite``). Both are right,
which the invariants say after each; only their rates differ. Then over HTTP, and at last the server
is killed under load and what it had acknowledged is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.ledger_http import http_figures
from bench.ledger_naive import NaivePostgres, NaiveSqlite
from bench.measured import machine, print_table
from bench.temporary_postgresql import Cluster, children
from broker import books, chain, postgresql_database
from broker.database import CommitError, Database, DatabaseUrl, open_database
from broker.idempotency import Claim, digest
from broker.problems import ProblemError
from broker.transfers import TransferRequest

WALLETS, SHOPS = 1_000, 1_000
FUNDS_MINOR = 10**8
REPLAYED, CONFLICTING = 0.06, 0.01  # shares of requests that come again; of these with other bodies
CELL_S = 1.5  # of each load; the cells that ratios are made of run twice
CRASH_S = 1.5
CRASH_ACKNOWLEDGED = 800  # transfers that the child on SQLite answers before it is killed
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
One = Callable[[Claim, TransferRequest], Awaitable[int]]


def main(json_output: bool) -> int:
    """Run and print: one JSON object, or a table."""
    found = run()
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        print_table(found)
    return 0


def run() -> dict[str, Any]:
    """All figures; about a minute."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="walkout-bench-")))
        cluster = Cluster.start(durable=True)
        stack.callback(cluster.end)
        flushes = flushes_per_s(folder)
        found = asyncio.run(_measured(cluster, folder))
        http = http_figures(folder, asyncio.run(_database(cluster, "http")).url)
        lost = asyncio.run(_lost_postgresql(cluster)) + asyncio.run(_lost_sqlite(folder))
    found["figures"] |= http | {"acknowledged_lost": lost}
    found["machine"] = machine() | {"flushes_per_s": round(flushes)}
    return {"bench": "ledger"} | found


async def _measured(cluster: Cluster, folder: Path) -> dict[str, Any]:
    ours = await _opened(await _database(cluster, "ours"))
    spread = await _opened(await _database(cluster, "spread"))
    embedded = await _opened(DatabaseUrl(path=folder / "ledger.db"))
    naive = await NaivePostgres.open(cluster.url(), WALLETS, SHOPS, FUNDS_MINOR)
    plain = NaiveSqlite.open(folder / "naive.db", WALLETS, SHOPS, FUNDS_MINOR)
    cells = {
        "postgresql_1": await _cell(ours, cluster, 1),
        "postgresql_8": await _cell(ours, cluster, 8),
        "naive_1": await _cell(naive, cluster, 1),
        "naive_8": await _cell(naive, cluster, 8),
    }
    for _ in range(2):  # side by side, since the machine's other work comes and goes
        for name, target, shops in (
            ("postgresql_32", ours, 1),
            ("spread_32", spread, SHOPS),
            ("naive_32", naive, 1),
        ):
            cells[name] = await _cell(target, cluster, 32, shops) + cells.get(name)
    for clients in (1, 8, 32):
        cells[f"sqlite_{clients}"] = await _cell(embedded, cluster, clients)
        cells[f"naive_sqlite_{clients}"] = await _cell(plain, cluster, clients)
    for target in (ours, spread, embedded):
        await _checked(target)
    await naive.check()
    plain.check()
    return _figures(cells)


def _figures(cells: dict[str, Cell]) -> dict[str, Any]:
    hot, naive = cells["postgresql_32"], cells["naive_32"]
    figures: dict[str, Any] = {
        "postgresql_ratio_to_naive_32": round(hot.per_s / naive.per_s, 2),
        "postgresql_hot_to_spread": round(hot.per_s / cells["spread_32"].per_s, 3),
        "postgresql_p99_ms_32": hot.p99_ms,
        "cpu_ms_per_transfer": round(hot.client_ms + hot.server_ms, 3),
        "sqlite_transfers_per_s_32": round(cells["sqlite_32"].per_s),
        "sqlite_cpu_ms_per_transfer": round(cells["sqlite_32"].client_ms, 3),
        "sqlite_p99_ms_32": cells["sqlite_32"].p99_ms,
    }
    for name in ("postgresql", "sqlite"):
        for clients in (1, 8, 32):
            figures[f"{name}_transfers_per_s_{clients}"] = round(cells[f"{name}_{clients}"].per_s)
    peers = {
        peer: {
            f"{name}_transfers_per_s_{clients}": round(cells[f"{peer}_{clients}"].per_s)
            for clients in (1, 8, 32)
        }
        | {
            f"{name}_p99_ms_32": cells[f"{peer}_32"].p99_ms,
            "cpu_ms_per_transfer": round(
                cells[f"{peer}_32"].client_ms + cells[f"{peer}_32"].server_ms, 3
            ),
        }
        for peer, name in (("naive", "postgresql"), ("naive_sqlite", "sqlite"))
    }
    spent = {
        "client_cpu_ms": round(hot.client_ms, 3),
        "server_cpu_ms": round(hot.server_ms, 3),
        "naive_client_cpu_ms": round(naive.client_ms, 3),
        "naive_server_cpu_ms": round(naive.server_ms, 3),
    }
    return {"figures": figures, "peers": peers, "where_time_goes": spent}


# --- a load -----------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Cell:
    """What one load gave; adding pools two."""

    requests: int
    seconds: float
    latency_s: list[float]
    client_cpu_s: float
    server_cpu_s: float

    def __add__(self, other: Cell | None) -> Cell:
        if other is None:
            return self
        return Cell(
            requests=self.requests + other.requests,
            seconds=self.seconds + other.seconds,
            latency_s=self.latency_s + other.latency_s,
            client_cpu_s=self.client_cpu_s + other.client_cpu_s,
            server_cpu_s=self.server_cpu_s + other.server_cpu_s,
        )

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def p99_ms(self) -> float:
        return round(float(np.quantile(self.latency_s, 0.99)) * 1e3, 1)

    @property
    def client_ms(self) -> float:
        return self.client_cpu_s / self.requests * 1e3

    @property
    def server_ms(self) -> float:
        return self.server_cpu_s / self.requests * 1e3


@dataclass(slots=True)
class Shopper:
    """The requests of one client; keys are unique over a run, repeats are of its own past."""

    number: int
    shops: int
    rng: np.random.Generator
    past: list[tuple[Claim, TransferRequest]] = field(default_factory=list)

    @staticmethod
    def of(number: int, shops: int) -> Shopper:
        return Shopper(number, shops, np.random.default_rng(number))

    def next(self) -> tuple[Claim, TransferRequest, int]:
        """A claim, a request, and the status that it must get."""
        chance = self.rng.random()
        if self.past and chance < REPLAYED:
            claim, request = self.past[int(self.rng.integers(len(self.past)))]
            if chance >= CONFLICTING:
                return claim, request, 201
            return replace(claim, digest=digest("another body")), request, 422
        claim, request = request_of(
            f"{self.number}-{time.monotonic_ns()}",
            int(self.rng.integers(WALLETS)),
            int(self.rng.integers(self.shops)),
        )
        self.past.append((claim, request))
        return claim, request, 201


def request_of(name: str, wallet: int, shop: int) -> tuple[Claim, TransferRequest]:
    """A sale, claimed as the API claims it."""
    request = TransferRequest(
        transfer=name,
        debit=f"wallet:{wallet}",
        credit=f"merchant_payable:{shop}",
        amount_minor=1 + wallet,
        currency="EUR",
    )
    body = digest(msgspec.to_builtins(request))
    return Claim(tenant="main", path="/v1/transfers", key=name, digest=body), request


async def _cell(target: Any, cluster: Cluster, clients: int, shops: int = 1) -> Cell:
    """``clients`` at once, each waiting for its answer before it asks again."""
    one = target.one if hasattr(target, "one") else _one(target)
    latency_s = list[float]()
    began = [time.process_time(), _server_cpu_s(cluster)]
    started = time.perf_counter()

    async def client(number: int) -> None:
        shopper = Shopper.of(number, shops)
        while (asked := time.perf_counter()) < started + CELL_S:
            claim, request, wanted = shopper.next()
            status = await one(claim, request)
            if status != wanted:
                raise RuntimeError(f"{status} instead of {wanted}")
            latency_s.append(time.perf_counter() - asked)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return Cell(
        requests=len(latency_s),
        seconds=time.perf_counter() - started,
        latency_s=latency_s,
        client_cpu_s=time.process_time() - began[0],
        server_cpu_s=_server_cpu_s(cluster) - began[1],
    )


def _one(database: Database) -> One:
    async def one(claim: Claim, request: TransferRequest) -> int:
        try:
            return (await database.transfer(claim, request, 0)).status
        except ProblemError as problem:
            return problem.status

    return one


async def _opened(where: DatabaseUrl) -> Database:
    """A started database whose wallets are full."""
    database = open_database(where)
    await database.start()

    async def fill(wallet: int) -> None:
        claim, request = request_of(f"fill-{wallet}", wallet, 0)
        full = replace(
            request,
            debit="psp_clearing",
            credit=f"wallet:{wallet}",
            amount_minor=FUNDS_MINOR,
        )
        await database.transfer(claim, full, 0)

    await asyncio.gather(*(fill(wallet) for wallet in range(WALLETS)))
    return database


async def _checked(database: Database) -> None:
    """Seal all, ask every invariant, compute the chain; then close."""
    while await database.submit(chain.seal):
        pass
    found = await database.read(books.breaches, whole=True)
    verified = await database.read(chain.verify, whole=True)
    await database.close()
    if found or verified.broken:
        raise RuntimeError(f"the books are broken: {found} {verified.broken}")


async def _database(cluster: Cluster, name: str) -> DatabaseUrl:
    await asyncio.to_thread(cluster.sql, f"CREATE DATABASE {name}")
    where = DatabaseUrl.of(cluster.url(name))
    await postgresql_database.migrate(where)
    return where


def _server_cpu_s(cluster: Cluster) -> float:
    """CPU seconds of the server: its processes, and those that have ended."""
    ticks = 0
    for pid in (str(cluster.pid), *children(cluster.pid)):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        own = pid == str(cluster.pid)
        ticks += sum(int(value) for value in fields[11 : 15 if own else 13])
    return ticks / TICKS_PER_S


def flushes_per_s(folder: Path) -> float:
    """How often the disk takes a small write for good."""
    with (folder / "flushes").open("wb", buffering=0) as file:
        started, done = time.perf_counter(), 0
        while time.perf_counter() < started + 0.5:
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            done += 1
    return done / 0.5


# --- a crash ----------------------------------------------------------------------------------


async def _lost_postgresql(cluster: Cluster) -> int:
    """Kill the server's processes under load; acknowledged transfers that are gone afterwards."""
    where = await _database(cluster, "crash")
    database = await _opened(where)
    acknowledged = set[str]()
    load = [asyncio.create_task(_until_it_breaks(database, n, acknowledged)) for n in range(32)]
    await asyncio.sleep(CRASH_S)
    await asyncio.to_thread(cluster.kill)
    await asyncio.gather(*load)
    with contextlib.suppress(Exception):  # its connections are gone
        await asyncio.wait_for(database.close(), 5)
    await asyncio.to_thread(cluster.run)
    return await _gone(where, acknowledged)


async def _until_it_breaks(database: Database, number: int, acknowledged: set[str]) -> None:
    shopper = Shopper.of(number, 1)
    with contextlib.suppress(CommitError):
        while True:
            claim, request, _ = shopper.next()
            with contextlib.suppress(ProblemError):
                if (await database.transfer(claim, request, 0)).status == 201:
                    acknowledged.add(request.transfer)


async def _lost_sqlite(folder: Path) -> int:
    """Kill a process that writes; acknowledged transfers that are gone afterwards."""
    path = folder / "crash.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ledger", "--child", path, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = set[str]()
    while len(acknowledged) < CRASH_ACKNOWLEDGED:
        line = await asyncio.wait_for(child.stdout.readline(), 60)
        acknowledged.add(line.decode().strip())
    child.kill()
    await child.wait()
    return await _gone(DatabaseUrl(path=path), acknowledged)


async def _gone(where: DatabaseUrl, acknowledged: set[str]) -> int:
    if not acknowledged:
        raise RuntimeError("nothing was acknowledged before the crash")
    database = open_database(where)
    await database.start()
    rows = await database.read(
        lambda db: db.all("SELECT reference FROM journal WHERE kind = 'transfer'"), whole=True
    )
    await _checked(database)
    return len(acknowledged - {reference for (reference,) in rows})


async def _write_until_killed(path: Path) -> None:
    """The child: says each transfer once it is answered."""
    database = await _opened(DatabaseUrl(path=path))

    async def client(number: int) -> None:
        shopper = Shopper.of(number, 1)
        while True:
            claim, request, wanted = shopper.next()
            if wanted == 201:
                await database.transfer(claim, request, 0)
                sys.stdout.write(request.transfer + "\n")
                sys.stdout.flush()

    await asyncio.gather(*(client(number) for number in range(32)))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--child":
        asyncio.run(_write_until_killed(Path(sys.argv[2])))
    sys.exit(main("--json" in sys.argv))
