"""The journal: durable before acknowledged, one writer, whole commits, honest failures."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from edge import retention
from edge.journal import CredentialReusedError, Journal, JournalError
from edge.snapshots import Snapshot, SnapshotError
from messages import codec
from messages.commands import UnlockGate
from messages.events import (
    AlarmRaised,
    CartClosed,
    CartState,
    EndReason,
    Event,
    VisitEnded,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CommandId, CredentialId, DeviceId, EventId, GateId, VisitId
from messages.observations import (
    ClockAnchor,
    DeviceHealth,
    DeviceState,
    GateSignal,
    GateSignalKind,
    Observation,
    ShelfSamples,
)

T = TypeVar("T")
DAY_NS = 86_400_000_000_000


def weighed(value: int) -> ShelfSamples:
    return ShelfSamples(
        device=DeviceId("n1"),
        received_at_ns=value,
        sequence=value % 65536,
        ticks_us=0,
        sample_period_us=1,
        flags=np.zeros(2, np.uint8),
        readings=np.full((3, 2), value, np.int32),
    )


def alarm(id_: str) -> AlarmRaised:
    return AlarmRaised(id=EventId(id_), at_ns=5, key="k", severity="warning", detail="d")


def started(id_: str, credential: str, *, kind: VisitKind = VisitKind.SHOPPER) -> VisitStarted:
    return VisitStarted(
        id=EventId(id_),
        at_ns=5,
        visit=VisitId(f"v-{credential}"),
        credential=CredentialId(credential),
        account=AccountRef("anna"),
        gate=GateId("g"),
        party_size=1,
        kind=kind,
    )


def unlock(id_: str, not_after_ns: int = 100) -> UnlockGate:
    visit = VisitId("v-a")
    gate = GateId("g")
    return UnlockGate(
        id=CommandId(id_), not_after_ns=not_after_ns, gate=gate, visit=visit, passages=1
    )


def with_journal(folder: Path, story: Callable[[Journal], Awaitable[T]]) -> T:
    async def told() -> T:
        journal = await Journal.open(folder / "journal.db", store="s1")
        try:
            return await story(journal)
        finally:
            await journal.close()

    return asyncio.run(told())


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    reader = sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True)
    try:
        return reader.execute(sql).fetchall()
    finally:
        reader.close()


def test_steps_come_back_as_the_engine_saw_them(tmp_path: Path) -> None:
    async def write(journal: Journal) -> list[Observation]:
        await journal.append_step(1, 10, [])
        return await journal.append_step(2, 20, [weighed(7), weighed(8)])

    async def read(journal: Journal) -> list[tuple[int, int, list[bytes]]]:
        assert await journal.last_step() == (2, 20)
        return [
            (s.step, s.now_ns, [codec.encode(o) for o in s.observations])
            async for s in journal.steps_after(0)
        ]

    live = with_journal(tmp_path, write)
    replayed = with_journal(tmp_path, read)
    assert replayed == [(1, 10, []), (2, 20, [codec.encode(o) for o in live])]


def test_events_outbox_commands_and_credentials_are_one_commit(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        events: list[Event] = [started("e0", "a"), alarm("e1")]
        before = journal.counts.commits
        await journal.commit_outputs(3, events, [unlock("c0")], wall_ns=77)
        assert journal.counts.commits == before + 1
        await journal.commit_outputs(4, [], [], wall_ns=78)
        assert journal.counts.commits == before + 1
        assert await journal.pending_commands() == [unlock("c0")]
        assert await journal.events_after(2) == {3: [codec.encode(e) for e in events]}
        assert await journal.steps_with_commands_after(2) == {3}

    with_journal(tmp_path, story)
    assert rows(tmp_path, "SELECT id, step, type FROM event ORDER BY seq") == [
        ("e0", 3, "VisitStarted"),
        ("e1", 3, "AlarmRaised"),
    ]
    assert rows(tmp_path, "SELECT event_id, grp, kind, created_wall_ns FROM outbox") == [
        ("e0", "anna", "visit_started", 77)
    ]
    assert rows(tmp_path, "SELECT jti, step FROM used_credential") == [("a", 3)]


def test_outbox_groups_the_end_of_a_visit_with_its_account_and_leaves_staff_out(
    tmp_path: Path,
) -> None:
    def ended(id_: str, visit: str) -> VisitEnded:
        return VisitEnded(id=EventId(id_), visit=VisitId(visit), reason=EndReason.EXIT)

    closed = CartClosed(
        id=EventId("e4"),
        visit=VisitId("v-a"),
        credential=CredentialId("a"),
        account=AccountRef("anna"),
        kind=VisitKind.SHOPPER,
        party_size=1,
        entry_gate=GateId("g"),
        exit_gate=None,
        started_at_ns=1,
        ended_at_ns=2,
        started_at_wall_ns=1,
        ended_at_wall_ns=2,
        state=CartState.CLOSED,
        lines=(),
    )

    async def story(journal: Journal) -> None:
        events = [started("e0", "a"), started("e1", "b", kind=VisitKind.STAFF)]
        await journal.commit_outputs(1, events, [], wall_ns=1)
        await journal.commit_outputs(
            2, [ended("e2", "v-a"), ended("e3", "?"), closed], [], wall_ns=1
        )

    with_journal(tmp_path, story)
    assert rows(tmp_path, "SELECT event_id, grp, kind FROM outbox ORDER BY seq") == [
        ("e0", "anna", "visit_started"),
        ("e2", "anna", "visit_ended"),
        ("e3", "", "visit_ended"),
        ("e4", "anna", "cart_closed"),
    ]


def test_credential_of_an_earlier_step_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit_outputs(1, [started("e0", "a")], [], wall_ns=1)
        with pytest.raises(CredentialReusedError, match="used in step 1"):
            await journal.commit_outputs(2, [started("e1", "a")], [unlock("c1")], wall_ns=1)
        twice = [started("e2", "b"), started("e3", "b")]
        with pytest.raises(CredentialReusedError):
            await journal.commit_outputs(3, twice, [], wall_ns=1)
        assert await journal.pending_commands() == []

    with_journal(tmp_path, story)
    assert rows(tmp_path, "SELECT id FROM event") == [("e0",)]


def test_commands_end_once(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit_outputs(1, [], [unlock("c0"), unlock("c1")], wall_ns=1)
        await journal.mark_commands([CommandId("c0")], "done", 9)
        await journal.mark_commands([CommandId("c0")], "expired", 10)
        assert [c.id for c in await journal.pending_commands()] == ["c1"]

    with_journal(tmp_path, story)
    assert rows(tmp_path, "SELECT id, state FROM command") == [("c0", "done"), ("c1", "pending")]


def test_callers_that_wait_together_share_one_flush(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        before = journal.counts.commits
        await asyncio.gather(*(journal.append_step(n, n, [weighed(n)]) for n in range(1, 65)))
        assert journal.counts.commits - before <= 3
        assert journal.counts.writes >= 64
        assert [s.step async for s in journal.steps_after(0)] == list(range(1, 65))

    with_journal(tmp_path, story)


def test_second_writer_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    async def story(_: Journal) -> None:
        with pytest.raises(JournalError, match=f"process {os.getpid()}; stop it first"):
            await Journal.open(tmp_path / "journal.db", store="s1")

    with_journal(tmp_path, story)
    with_journal(tmp_path, lambda journal: journal.last_step())  # let go at the end


def test_journal_of_another_store_or_a_newer_version_is_refused(tmp_path: Path) -> None:
    with_journal(tmp_path, lambda journal: journal.last_step())
    with pytest.raises(JournalError, match="belongs to store 's1', not 's2'"):
        asyncio.run(Journal.open(tmp_path / "journal.db", store="s2"))
    writer = sqlite3.connect(tmp_path / "journal.db")
    writer.execute("PRAGMA user_version = 99")
    writer.close()
    with pytest.raises(JournalError, match="newer version"):
        asyncio.run(Journal.open(tmp_path / "journal.db", store="s1"))


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(JournalError, match="copy it aside"):
        asyncio.run(Journal.open(tmp_path / "journal.db", store="s1"))


def test_durability_is_demanded_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lying(self: Journal, setting: str, name: str, wanted: object) -> None:
        await demand(self, setting.replace("FULL", "NORMAL"), name, wanted)

    demand = Journal._demand
    monkeypatch.setattr(Journal, "_demand", lying)
    with pytest.raises(JournalError, match="synchronous is 1, not 2"):
        with_journal(tmp_path, lambda journal: journal.last_step())


def test_missing_and_damaged_steps_are_named(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        for n in range(1, 6):
            await journal.append_step(n, n, [weighed(n)])

    async def read(journal: Journal) -> None:
        async for _ in journal.steps_after(0):
            pass

    with_journal(tmp_path, write)
    writer = sqlite3.connect(tmp_path / "journal.db")
    writer.execute("UPDATE step SET block = x'00' WHERE step = 4")
    writer.commit()
    with pytest.raises(JournalError, match="step 4 is damaged"):
        with_journal(tmp_path, read)
    writer.execute("DELETE FROM step WHERE step = 2")
    writer.commit()
    writer.close()
    with pytest.raises(JournalError, match="step 2 is missing"):
        with_journal(tmp_path, read)


def test_cancelled_caller_leaves_whole_commits_and_a_working_journal(tmp_path: Path) -> None:
    async def story(journal: Journal) -> None:
        for n in range(1, 21):
            task = asyncio.create_task(journal.append_step(n, n, [weighed(n)]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        last, _ = await journal.last_step()
        await journal.append_step(last + 1, 99, [])
        assert not journal.broken

    with_journal(tmp_path, story)


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import Journal, JournalError, weighed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def story():
    journal = await Journal.open(Path(sys.argv[1]) / "journal.db", store="s1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    try:
        for n in range(1, 41):
            await journal.append_step(n, n, [weighed(i) for i in range(n, n + 200)])
            print(n, flush=True)
    except JournalError:
        try:
            await journal.append_step(n + 1, n + 1, [])
        except JournalError:
            sys.exit(74)
    finally:
        await journal.close()
asyncio.run(story())
"""


def filled(folder: Path, bytes_max: int) -> tuple[int, int]:
    """Exit status and the last acknowledged step of a child that writes 40 steps."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", FULL_DISK, str(folder), here, str(bytes_max)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return child.returncode, int(child.stdout.split()[-1])


def test_full_disk_ends_writing_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    status, acknowledged = filled(tmp_path, 150_000)
    assert status == 74
    assert 3 < acknowledged < 40

    async def read(journal: Journal) -> int:
        return [s.step async for s in journal.steps_after(0)][-1]

    assert with_journal(tmp_path, read) >= acknowledged


def test_disk_that_is_not_full_lets_the_same_child_write_everything(tmp_path: Path) -> None:
    assert filled(tmp_path, 100_000_000) == (0, 40)


def test_newest_three_snapshots_are_kept_and_a_torn_one_is_passed_over(tmp_path: Path) -> None:
    def made(step: int) -> Snapshot:
        return Snapshot(step=step, now_ns=step, toml="", state=b"state" * step)

    async def story(journal: Journal) -> None:
        for step in (10, 20, 30, 40):
            await journal.save_snapshot(made(step))
        files = sorted(journal.snapshots.folder.iterdir())
        assert [int(f.stem) for f in files] == [20, 30, 40]
        assert journal.snapshots.oldest_step() == 20
        files[2].write_bytes(files[2].read_bytes()[:-3])
        damaged = bytearray(files[1].read_bytes())
        damaged[-1] ^= 1
        files[1].write_bytes(bytes(damaged))
        newest, second, oldest = await journal.latest_snapshots()
        assert isinstance(newest, SnapshotError)
        assert isinstance(second, SnapshotError)
        assert oldest == made(20)

    with_journal(tmp_path, story)


def test_retention_forgets_by_the_catalogue_and_never_what_a_snapshot_needs(
    tmp_path: Path,
) -> None:
    health = DeviceHealth(device=DeviceId("n1"), received_at_ns=1, state=DeviceState.ONLINE)
    anchor = ClockAnchor(received_at_ns=1, wall_ns=1, uncertainty_ms=1.0)
    signal_ = GateSignal(
        gate=GateId("g"), device=DeviceId("r"), kind=GateSignalKind.ENTER, received_at_ns=1
    )

    async def kinds(journal: Journal) -> dict[int, list[str]]:
        found = {}
        for step, block in await journal.fetch("SELECT step, block FROM step ORDER BY step"):
            seen = codec.decode_many(retention.unpacked(block))
            found[step] = [type(o).__name__ for o in seen]
        return found

    async def prune(journal: Journal, days: float) -> None:
        while await retention.prune(journal, round(days * DAY_NS)):
            pass

    async def story(journal: Journal) -> None:
        for n in range(1, 101):
            mixed = [weighed(n), signal_, health, anchor] if n % 50 == 1 else [weighed(n)]
            await journal.append_step(n, n, mixed)
        await prune(journal, 5)  # no snapshot yet: every step may be needed
        assert len(await kinds(journal)) == 100
        await journal.save_snapshot(Snapshot(step=90, now_ns=90, toml="", state=b""))
        await prune(journal, 2)
        assert len(await kinds(journal)) == 100
        await prune(journal, 5)
        kept = await kinds(journal)
        assert list(kept) == [1, 51, *range(91, 101)]
        assert kept[51] == ["GateSignal", "DeviceHealth", "ClockAnchor"]
        await prune(journal, 31)
        assert (await kinds(journal))[51] == ["GateSignal", "ClockAnchor"]
        await prune(journal, 91)
        assert (await kinds(journal))[51] == ["ClockAnchor"]
        assert [s.step async for s in journal.steps_after(90)] == list(range(91, 101))

    with_journal(tmp_path, story)


def test_pages_are_checked_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        for n in range(1, 200):
            await journal.append_step(n, n, [weighed(i) for i in range(n)])

    with_journal(tmp_path, write)
    path = tmp_path / "journal.db"
    asyncio.run(retention.quick_check(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(data))
    with pytest.raises(JournalError, match="damaged"):
        asyncio.run(retention.quick_check(path))
