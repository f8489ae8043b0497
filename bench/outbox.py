"""The outbox under load: durable rows per second, a drain, heads behind a blocked group.

Everything runs on a real file with ``synchronous=FULL``, through the service that ships: producers
wait in ``Service.submit`` until their row is on the disk, the drain is ``Service.loop`` with a
sender that answers from memory (and, beside it, over HTTP to another process). The peer in the
same run does what a first version does: one transaction per row, and the next request found by an
ordered scan.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measured import machine, print_table
from bench.sink import serving
from cloud_sync import book as book_module
from cloud_sync import outbox as outbox_module
from cloud_sync.database import Database
from cloud_sync.http_sender import Endpoint, Sender
from cloud_sync.outbox import OPEN, NewRequest, Outbox, Request
from cloud_sync.outcomes import Answer
from cloud_sync.service import Sends, Service
from messages.ids import StoreId
from messages.store_config import Paths, StoreConfig

PRODUCERS = 64
ACK_S = 4.0
FLUSH_S = 2.0  # of the run whose flushes are counted
GROUPS, PER_GROUP = 64, 250
HTTP_PER_GROUP = 60
PENDING, BLOCKED, PENDING_GROUPS = 1_000_000, 200_000, 14_000  # a week of a busy store, facts 4.2
HEAD_LOOKS = 300
NAIVE_LOOKS = 5  # each takes 0.1 s and more
NAIVE_ROWS = 300
ROUND_HEADS = 64
BODY = json.dumps({"lines": [{"sku": "0123456789012", "quantity": 1}] * 8}).encode()
DESTINATION = "webhook"  # what it answers is for the outbox alone, settlement is not measured


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
    with tempfile.TemporaryDirectory(prefix="walkout-bench-") as name:
        folder = Path(name)
        acks = asyncio.run(_acks(folder / "acks", ACK_S))
        drained = asyncio.run(_drain_in_process(folder / "drain"))
        over_http = asyncio.run(_drain_over_http(folder / "http"))
        naive = asyncio.run(_naive(folder / "naive"))
        heads = asyncio.run(_heads(folder / "heads"))
        flushes, counted_by = _flushes(folder / "flushes")
    return {
        "bench": "outbox",
        "figures": {
            "acks_per_s_64": round(acks["per_s"]),
            "acks_per_cpu_s_64": round(acks["per_cpu_s"]),
            "flushes_per_ack": round(flushes, 4),
            "ack_ms_p50": round(acks["p50_ms"], 2),
            "ack_ms_p99": round(acks["p99_ms"], 2),
            "drain_per_s_64_groups": round(drained["per_s"]),
            "drain_per_cpu_s_64_groups": round(drained["per_cpu_s"]),
            "drain_commits_per_request": round(drained["commits_per_request"], 4),
            "drain_http_per_s_64_groups": round(over_http["per_s"]),
            "head_ms_median_blocked": round(heads["head_ms"], 3),
            "pending_rows": PENDING,
            "order_violations": drained["violations"] + over_http["violations"],
            "requests_missing": drained["missing"] + over_http["missing"],
        },
        "peers": {
            "one transaction per row, ordered scan": {
                "acks_per_s_64": round(naive["acks_per_s"]),
                "flushes_per_ack": 1.0,
                "drain_per_s_64_groups": round(naive["drain_per_s"]),
                "head_ms_median_blocked": round(heads["naive_ms"], 1),
            }
        },
        "where_time_goes": {"fill of pending rows s": round(heads["fill_s"], 1)},
        "machine": machine()
        | {"flush_ms_p50": round(_flush_ms(), 3), "flushes_counted_by": counted_by},
    }


# --- the service on a file of its own ---------------------------------------------------------


@dataclass(slots=True)
class MemorySink:
    """A second system in this process: answers at once, notes what came in which order."""

    endpoints: dict[str, Endpoint] = field(
        default_factory=lambda: {DESTINATION: Endpoint(name=DESTINATION, url="")}
    )
    came: dict[str, list[str]] = field(default_factory=dict)

    def reload(self, name: str) -> None:
        """It has no key."""

    async def send(self, request: Request) -> Answer:
        self.came.setdefault(request.group, []).append(request.message)
        return Answer(status=204)


@asynccontextmanager
async def opened(folder: Path, sender: Sends) -> AsyncIterator[Service]:
    """The sync service on an empty journal and an empty file in ``folder``."""
    folder.mkdir()
    paths = Paths(journal=str(folder / "journal.db"), sync=str(folder / "sync.db"))
    with contextlib.closing(sqlite3.connect(paths.journal)) as journal:
        journal.execute(
            "CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT,"
            " body BLOB, created_wall_ns INTEGER)"
        )
    database = await Database.open(Path(paths.sync), outbox_module.SCHEMA, book_module.SCHEMA)
    service = Service(StoreConfig(store=StoreId("bench"), paths=paths), database, sender)
    await service.start()
    try:
        yield service
    finally:
        await service.reader.close()
        await database.close()


def request(group: str, number: int) -> NewRequest:
    return NewRequest(
        group=group,
        cause=number,
        message=f"{group}:{number}",
        operation=DESTINATION,
        destination=DESTINATION,
        path="",
        body=BODY,
        visit="",
        subject=f"msg_{group}-{number}",
    )


def backlog(groups: int, per_group: int) -> list[NewRequest]:
    return [request(f"g{g}", n) for n in range(per_group) for g in range(groups)]


# --- acknowledged rows ------------------------------------------------------------------------


async def _acks(folder: Path, seconds: float) -> dict[str, float]:
    """64 producers, each waiting for its row to be on the disk before it makes the next."""
    sink = MemorySink(endpoints={})
    async with opened(folder, sink) as service:
        running = asyncio.create_task(service.loop(drain=False))
        waits_s, before = list[float](), service.database.commits
        until = time.perf_counter() + seconds

        async def producer(name: str) -> None:
            number = 0
            while (started := time.perf_counter()) < until:
                await service.submit([request(name, number)])
                waits_s.append(time.perf_counter() - started)
                number += 1

        started, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(producer(f"p{i}") for i in range(PRODUCERS)))
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
        commits = service.database.commits - before
        service.stop()
        await running
        kept = await service.outbox.open_count()
    if kept != len(waits_s):
        raise RuntimeError(f"{len(waits_s)} rows were acknowledged, {kept} are in the file")
    cuts = statistics.quantiles(waits_s, n=100)
    return {
        "per_s": len(waits_s) / took_s,
        "per_cpu_s": len(waits_s) / cpu_s,
        "count": len(waits_s),
        "commits": commits,
        "p50_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
    }


def _flushes(folder: Path) -> tuple[float, str]:
    """Flushes per acknowledged row: system calls where strace is at hand, else commits."""
    command = [sys.executable, "-m", "bench.outbox", "--child", str(folder), str(FLUSH_S)]
    if shutil.which("strace"):
        log = folder.with_suffix(".strace")
        trace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(log)]
        done = subprocess.run([*trace, *command], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            acks = json.loads(done.stdout.splitlines()[-1])["count"]
            return log.read_text().count("sync(") / acks, "system calls"
    found = asyncio.run(_acks(folder.with_name("flushes-commits"), FLUSH_S))
    return found["commits"] / found["count"], "commits"


def _flush_ms() -> float:
    """A 4 KiB append and its flush, median: what one commit cannot undercut here."""
    import os

    with tempfile.TemporaryFile(prefix="walkout-bench-") as file:
        times = list[float]()
        for _ in range(200):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


# --- drain ------------------------------------------------------------------------------------


async def _drain_in_process(folder: Path) -> dict[str, Any]:
    sink = MemorySink()
    found = await _drain(folder, sink, PER_GROUP)
    return found | _checked(sink.came, PER_GROUP)


async def _drain_over_http(folder: Path) -> dict[str, Any]:
    """The same through the real sender, to a process that answers 204."""
    with serving() as sink:
        endpoints = {DESTINATION: Endpoint(name=DESTINATION, url=sink.url)}
        async with Sender(endpoints, 10.0, time.time_ns) as sender:
            found = await _drain(folder, sender, HTTP_PER_GROUP)
        report = sink.report()
    return found | _checked(report["came"], HTTP_PER_GROUP)


async def _drain(folder: Path, sender: Sends, per_group: int) -> dict[str, Any]:
    async with opened(folder, sender) as service:
        async with service.database.transaction():
            await service.outbox.add(backlog(GROUPS, per_group), service.clock.now_ns())
        before, started = service.database.commits, time.perf_counter()
        cpu_s = time.process_time()
        status = await service.loop(drain=True)
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
        commits = service.database.commits - before
    if status:
        raise RuntimeError(f"the queue did not drain: status {status}")
    count = GROUPS * per_group
    return {
        "per_s": count / took_s,
        "per_cpu_s": count / cpu_s,
        "commits_per_request": commits / count,
    }


def _checked(came: dict[str, list[str]], per_group: int) -> dict[str, int]:
    """Order and completeness per group, by unique names."""
    wanted = {f"g{g}": [f"g{g}:{n}" for n in range(per_group)] for g in range(GROUPS)}
    missing = sum(len(set(names) - set(came.get(g, []))) for g, names in wanted.items())
    return {
        "missing": missing,
        "violations": sum(came.get(g, []) != names for g, names in wanted.items()),
    }


# --- heads behind a blocked group -------------------------------------------------------------


async def _heads(folder: Path) -> dict[str, float]:
    """Median time to find 64 heads among a million rows, the oldest 200,000 of a parked group."""
    folder.mkdir()
    started = time.perf_counter()
    _fill(folder / "sync.db")
    fill_s = time.perf_counter() - started
    database = await Database.open(folder / "sync.db", outbox_module.SCHEMA)
    outbox = Outbox(database)
    times_s = list[float]()
    for _ in range(HEAD_LOOKS):
        started = time.perf_counter()
        heads = await outbox.due(DESTINATION, ROUND_HEADS, PENDING)
        times_s.append(time.perf_counter() - started)
    if len(heads) != ROUND_HEADS or "blocked" in {head.group for head in heads}:
        raise RuntimeError(f"the heads found are wrong: {len(heads)}")
    naive_s = list[float]()
    for _ in range(NAIVE_LOOKS):
        started = time.perf_counter()
        rows = list(await database.connection.execute_fetchall(NAIVE_HEADS, (ROUND_HEADS,)))
        naive_s.append(time.perf_counter() - started)
    await database.close()
    if {row[0] for row in rows} != {head.id for head in heads}:
        raise RuntimeError("the ordered scan finds other heads")
    return {
        "head_ms": statistics.median(times_s) * 1e3,
        "naive_ms": statistics.median(naive_s) * 1e3,
        "fill_s": fill_s,
    }


# The first request of each group that is not parked, by a scan in the order of the queue.
NAIVE_HEADS = (
    f"SELECT id FROM request r WHERE {OPEN} AND state='queued' AND NOT EXISTS"
    f" (SELECT 1 FROM request e WHERE e.grp=r.grp AND e.{OPEN}"
    " AND (e.cause,e.id)<(r.cause,r.id)) ORDER BY id LIMIT ?"
)


def _fill(path: Path) -> None:
    """A million pending rows, made by SQLite itself; not measured, so not flushed."""
    rows = (
        "INSERT INTO request(grp,cause,message,idem,operation,destination,visit,subject,path,"
        f"body,state,created_ns) SELECT iif(n<{BLOCKED},'blocked','g'||(n%{PENDING_GROUPS})), n,"
        " 'm'||n, 'm'||n, 'webhook', 'webhook', '', 'm'||n, '', ?, iif(n=0,'parked','queued'), n"
        f" FROM (WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM c WHERE n<{PENDING}-1)"
        " SELECT n FROM c)"
    )
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-200000;"
        )
        db.executescript(outbox_module.SCHEMA)
        db.execute("BEGIN")
        db.execute(rows, (BODY,))
        db.execute(
            "INSERT INTO grp_head(grp,head,destination,state,not_before_ns) SELECT grp, id,"
            " 'webhook', iif(grp='blocked','parked','ready'), cause FROM"
            " (SELECT grp, id, min(cause) AS cause FROM request GROUP BY grp)"
        )
        db.execute("COMMIT")


# --- the peer ---------------------------------------------------------------------------------


async def _naive(folder: Path) -> dict[str, float]:
    """One transaction per row; the next request by a scan; claim and answer a commit each."""
    folder.mkdir()
    database = await Database.open(folder / "sync.db", outbox_module.SCHEMA)
    db, one = database.connection, asyncio.Lock()
    insert = (
        "INSERT INTO request(grp,cause,message,idem,operation,destination,visit,subject,path,"
        "body,created_ns) VALUES(?,?,?,?,'x','webhook','','','',?,1)"
    )

    async def put(row: NewRequest) -> None:
        async with one, database.transaction():
            await db.execute(insert, (row.group, row.cause, row.message, row.idem, row.body))

    rows = iter(backlog(GROUPS, PER_GROUP))
    until, kept = time.perf_counter() + ACK_S / 2, 0

    async def producer() -> None:
        nonlocal kept
        while time.perf_counter() < until:
            await put(next(rows))
            kept += 1

    started = time.perf_counter()
    with contextlib.suppress(RuntimeError):  # the backlog is at its end
        await asyncio.gather(*(producer() for _ in range(PRODUCERS)))
    acks_per_s = kept / (time.perf_counter() - started)
    drain_per_s = await _naive_drain(database)
    await database.close()
    return {"acks_per_s": acks_per_s, "drain_per_s": drain_per_s}


async def _naive_drain(database: Database) -> float:
    db, sent = database.connection, 0
    started = time.perf_counter()
    while sent < NAIVE_ROWS:
        found = list(await db.execute_fetchall(NAIVE_HEADS, (ROUND_HEADS,)))
        for (row,) in found:
            for state in ("sending", "done"):
                async with database.transaction():
                    await db.execute("UPDATE request SET state=? WHERE id=?", (state, row))
            sent += 1
        if not found:
            break
    return sent / (time.perf_counter() - started)


def _arguments(values: list[str]) -> Iterator[str]:
    yield from values[values.index("--child") + 1 :]


if __name__ == "__main__":
    child_folder, child_seconds = _arguments(sys.argv)
    print(json.dumps(asyncio.run(_acks(Path(child_folder), float(child_seconds)))))
