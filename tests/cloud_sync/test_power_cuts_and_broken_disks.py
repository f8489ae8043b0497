"""Power cuts and broken disks by the hundred: what was acknowledged is there, and fits together.

The real outbox works on a model disk (``disk_model``): each cut is judged from the files alone, by
unique keys. Without the flush at each commit the same check has to report losses.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest
from disk_model import Disk, Fault, ModelVFS, at_once, opened

from cloud_sync.database import FULL, Database
from cloud_sync.outbox import NewRequest, Outbox, Postponed

GROUPS = 6
CUT_EVERY = 5  # writes to the disk
CUTS = 260
NORMAL, OFF = 1, 0  # PRAGMA synchronous
NOW_NS = 1_000


@dataclass
class Promised:
    """What callers were told, and so may not be lost."""

    queued: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    number: int = 0


async def turn(database: Database, chance: random.Random, promised: Promised) -> None:
    """One commit of the sync process: requests in, heads out, answers back."""
    outbox = Outbox(database)
    new = [_request(promised, chance) for _ in range(chance.randint(1, 3))]
    async with database.transaction():
        await outbox.add(new, NOW_NS)
        claims = await outbox.claim("broker", chance.randint(0, 4), NOW_NS)
    promised.queued |= {one.idem for one in new}
    done = [one for one in claims if chance.random() < 0.7]
    parked = [one for one in claims if one not in done and chance.random() < 0.2]
    again = [
        Postponed(request=one, not_before_ns=NOW_NS, wait_ns=0, error="no answer")
        for one in claims
        if one not in done and one not in parked
    ]
    async with database.transaction():
        await outbox.done([(one, 200) for one in done], NOW_NS)
        await outbox.again(again)
        for one in parked:
            await outbox.park(one, 404, "no", "look", NOW_NS)
    promised.settled |= {one.idem for one in done}
    promised.parked |= {one.idem for one in parked}


def _request(promised: Promised, chance: random.Random) -> NewRequest:
    promised.number += 1
    return NewRequest(
        group=f"g{chance.randrange(GROUPS)}",
        cause=promised.number,
        message=f"m{promised.number}",
        operation="hold",
        destination="broker",
        path="/",
        body=chance.randbytes(chance.randrange(20, 3000)),
    )


def broken_promises(sync: Path, promised: Promised) -> list[str]:
    """What is wrong with a file as it was found after the cut; read by another SQLite."""
    try:
        with closing(sqlite3.connect(sync)) as db:
            (health,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            found = dict(db.execute("SELECT idem, state FROM request").fetchall())
            heads = db.execute(
                "SELECT h.grp, h.head, h.state, (SELECT id FROM request r WHERE r.grp=h.grp AND"
                " state IN ('queued','sending','parked') ORDER BY cause, id LIMIT 1)"
                " FROM grp_head h"
            ).fetchall()
    except sqlite3.Error as error:
        return [f"cannot be read: {error}"] if promised.queued else []
    wrong = [] if health == "ok" else [f"damaged: {health}"]
    wrong += [f"lost: {one}" for one in promised.queued - found.keys()]
    wrong += [f"answer lost: {one}" for one in promised.settled if found.get(one, "done") != "done"]
    wrong += [f"unparked: {one}" for one in promised.parked if found.get(one, "parked") == "queued"]
    wrong += [
        f"{group} has head {head}, its first is {first}"
        for group, head, _, first in heads
        if head != first
    ]
    return wrong


def cuts(folder: Path, seed: int, synchronous: int, *, lies: bool = False) -> list[list[str]]:
    """Work, and what is wrong after a power cut at each few writes."""
    chance, disk, promised = random.Random(seed), Disk(lies=lies), Promised()
    vfs = ModelVFS(f"cut-{folder.name}-{synchronous}-{lies}", disk)
    live = folder / "live"
    live.mkdir()
    database = opened(live, vfs.name, synchronous)
    disk.flushed(str(live / "sync.db"))  # a shop that opens has its tables on the disk
    found, wrote = list[list[str]](), disk.wrote

    def cut_then(name: str, write: object) -> None:
        wrote(name, write)  # type: ignore[arg-type]
        if disk.writes % CUT_EVERY == 0 and promised.queued and len(found) < CUTS:
            left = folder / f"cut-{len(found)}"
            left.mkdir()
            disk.cut(left, random.Random(seed * 100_000 + disk.writes))
            found.append(broken_promises(left / "sync.db", promised))

    disk.wrote = cut_then  # type: ignore[method-assign]
    while len(found) < CUTS:
        at_once(turn(database, chance, promised))
    at_once_close(database)
    vfs.unregister()
    return found


def at_once_close(database: Database) -> None:
    database.connection.db.close()  # type: ignore[attr-defined]


@pytest.fixture
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


def test_no_power_cut_loses_what_was_acknowledged(fast: Path) -> None:
    found = cuts(fast, 1, FULL)
    assert [one for one in found if one] == []
    assert len(found) == CUTS


@pytest.mark.parametrize(("synchronous", "lies"), [(NORMAL, False), (OFF, False), (FULL, True)])
def test_without_a_true_flush_at_each_commit_cuts_are_reported(
    fast: Path, synchronous: int, lies: bool
) -> None:
    found = cuts(fast, 1, synchronous, lies=lies)
    lost = [one for one in found if any("lost" in text or "read" in text for text in one)]
    assert len(lost) > CUTS // 10


# --- a disk that breaks or is full --------------------------------------------------------------

TURNS = 6


@dataclass
class Swept:
    """One run with a fault."""

    hit: bool
    told: bool  # the caller got an error
    wrong: list[str]


def with_fault(folder: Path, fault: Fault) -> Swept:
    """Work until the disk fails; the process ends then, and another one reads the file."""
    chance, promised = random.Random(3), Promised()
    vfs = ModelVFS(f"fault-{folder.name}", Disk(), fault)
    at, fault.at = fault.at, 0
    for_ever, fault.for_ever = fault.for_ever, False
    database = opened(folder, vfs.name)
    fault.calls, fault.at, fault.for_ever = 0, at, for_ever
    told = False
    try:
        for _ in range(TURNS):
            at_once(turn(database, chance, promised))
    except (apsw.IOError, apsw.FullError):
        told = True
    hit, fault.at, fault.for_ever = bool(fault.hits), 0, False
    at_once_close(database)
    vfs.unregister()
    return Swept(hit, told, broken_promises(folder / "sync.db", promised))


@pytest.mark.parametrize("kind", ["io", "full"])
@pytest.mark.parametrize("for_ever", [False, True])
def test_a_disk_that_fails_at_any_call_is_told_and_loses_nothing_acknowledged(
    fast: Path, kind: str, for_ever: bool
) -> None:
    runs = list[Swept]()
    while not runs or runs[-1].hit:
        folder = fast / str(len(runs))
        folder.mkdir()
        fault = Fault(at=len(runs) + 1, kind=kind, for_ever=for_ever)
        runs.append(with_fault(folder, fault))
    hit = [run for run in runs if run.hit]
    assert len(hit) > 20  # the fault was in the way, at each of many places
    assert [run.wrong for run in runs if run.wrong] == []
    assert all(run.told for run in hit)


def test_a_caller_that_is_told_too_early_is_reported(fast: Path) -> None:
    """The planted bug: acknowledged before the commit."""
    promised, chance = Promised(), random.Random(3)
    vfs = ModelVFS("early", Disk(), Fault(at=0, kind="io", for_ever=False))
    database = opened(fast, vfs.name)
    promised.queued.add(f"m{promised.number + 1}")
    assert vfs.fault is not None
    vfs.fault.at = vfs.fault.calls + 1
    with pytest.raises((apsw.IOError, apsw.FullError)):
        at_once(turn(database, chance, promised))
    vfs.fault.at = 0
    at_once_close(database)
    vfs.unregister()
    assert broken_promises(fast / "sync.db", promised) == ["lost: m1"]
