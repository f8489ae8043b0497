"""Recording beside a live daemon: the journal followed while it is written, the tap on a pty."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from recordings import replayed

from edge.config import load
from edge.control import set_store_mode
from edge.daemon import Daemon
from edge.journal_follower import JournalFollower
from edge.recorder import Progress, Recorder
from edge.recording import Recording, RecordingError
from edge.recording_info import Survey
from edge.recording_recover import recover
from edge.snapshots import Snapshot, Snapshots
from edge.tap import TapReader
from sim.devices import ShelfNodeDevice

STORE_TOML = """
[store]
id = "s1"
[[plate]]
id = "p1"
shelf = "s"
x_m = 1.0
y_m = 1.0
z_m = 1.0
width_m = 0.3
depth_m = 0.4
[[sku]]
id = "tea"
mass_g = 250.0
mass_sd_g = 2.0
[[facing]]
sku = "tea"
plates = ["p1"]
[[gate]]
id = "door"
x_m = 0.0
y_m = 0.0
[[shelf_node]]
id = "n1"
port = "n1.pty"
plates = ["p1"]
node = 1
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: unix sockets allow 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="wo-", dir="/tmp"))
    (path / "store.toml").write_text(STORE_TOML)
    yield path
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Daemon]:
    """The real daemon with a real driver on a pty, whose node sends five batches a second."""
    device = ShelfNodeDevice(folder / "n1.pty", 1)
    device.start()
    daemon = Daemon(load(folder / "store.toml"), folder=folder)
    life = asyncio.create_task(daemon.run())
    feed = asyncio.create_task(feeding(device))
    try:
        await until(lambda: life.done() or (hasattr(daemon, "tap") and step_of(daemon) > 5))
        assert not life.done()
        yield daemon
    finally:
        feed.cancel()
        daemon.stop()
        await life
        device.stop()


async def feeding(device: ShelfNodeDevice) -> None:
    rng, ticks_us = np.random.default_rng(2), 0
    while True:
        counts = (25_000 + rng.normal(0, 15, (12, 1))).astype(np.int32)
        device.send_samples(ticks_us, 16_667, np.zeros(1, np.uint8), counts)
        ticks_us += 12 * 16_667
        await asyncio.sleep(0.2)


def step_of(daemon: Daemon) -> int:
    return daemon.engine.core.state.step if hasattr(daemon, "engine") else 0


async def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


class LiveRecording:
    """A recorder in a thread of its own, as in a process of its own it shares nothing."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.asked, self.states = threading.Event(), list[Progress]()
        self.path = folder / "live.mcap"
        config = load(folder / "store.toml")
        stop, tell = self.asked.is_set, self.states.append
        self._make = lambda: Recorder(config, self.path, stop=stop, progress=tell, **options)  # type: ignore[arg-type]
        self.task = asyncio.create_task(asyncio.to_thread(lambda: self._make().run()))

    async def end(self) -> Progress:
        self.asked.set()
        return await self.task


def journal_lines(folder: Path, first: int, last: int) -> tuple[list[bytes], list[int]]:
    """Events of the journal's steps, and the steps, as a reader of it sees them afterwards."""
    from messages import codec

    follower = JournalFollower(folder / "journal.db")
    steps = [s for s in follower.steps_after(first - 1, with_last=True) if s.step <= last]
    follower.close()
    return [codec.to_json(e) for s in steps for e in s.events], [s.step for s in steps]


def test_a_journal_that_is_being_written_is_followed_to_the_end(folder: Path) -> None:
    async def story() -> Progress:
        async with running(folder):
            recorder = LiveRecording(folder)
            await until(lambda: recorder.states and recorder.states[-1].raw_packets > 8)
            await asyncio.to_thread(set_store_mode, load(folder / "store.toml"), "closing")
            await asyncio.sleep(1.0)
            return await recorder.end()

    done = asyncio.run(story())
    recording = Recording.open(folder / "live.mcap")
    numbers = [step.step for step in recording.steps()]
    events, steps = journal_lines(folder, done.first_step, done.step)
    assert numbers == steps == list(range(done.first_step, done.step + 1))
    assert replayed(recording) == events
    rows = {row["topic"]: row for row in Survey(recording).document()["topics"]}
    assert rows["/operator"]["messages"] == 1
    assert rows["/shelf/n1"]["messages"] > 5
    assert 2 <= rows["/scene"]["rate_hz"] <= 6  # 5 a second, less where the machine is slow
    assert abs(rows["/raw/n1"]["messages"] - rows["/shelf/n1"]["messages"]) <= 4
    assert done.raw_dropped == 0


def test_raw_packets_are_the_bytes_of_the_wire_in_both_directions(folder: Path) -> None:
    async def story() -> None:
        async with running(folder) as daemon:
            recorder = LiveRecording(folder, last_s=60.0)
            await until(lambda: recorder.states and recorder.states[-1].tapped)
            driver = daemon.devices._running["n1"]
            driver._identify(at_once=True)  # type: ignore[attr-defined]
            await until(lambda: recorder.states[-1].raw_packets > 5)
            await recorder.end()

    asyncio.run(story())
    import msgspec

    with (folder / "live.mcap").open("rb") as file:
        raw = [
            msgspec.msgpack.decode(message.data)
            for _, _, message in make_reader(file).iter_messages(topics=["/raw/n1"])
        ]
    to_host = b"".join(packet["data"] for packet in raw if not packet["to_device"])
    assert {packet["to_device"] for packet in raw} == {True, False}
    assert to_host.count(b"SIMSHELF") == 1


def test_a_recording_of_the_past_starts_where_the_engine_can(folder: Path) -> None:
    async def story() -> None:
        async with running(folder) as daemon:
            await until(lambda: step_of(daemon) > 20)

    asyncio.run(story())
    config = load(folder / "store.toml")
    for options in ({"from_step": 1}, {"last_s": 1.0}, {"from_step": 9}):
        out = folder / "past.mcap"
        done = Recorder(config, out, follow=False, **options).run()  # type: ignore[arg-type]
        assert done.first_step <= (options.get("from_step") or done.step - 7)
        recording = Recording.open(out)
        assert (recording.snapshot is None) == (done.first_step == 1)
        events, _ = journal_lines(folder, done.first_step, done.step)
        assert replayed(recording) == events
        out.unlink()


def test_older_snapshots_stay_some_minutes_apart(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path / "s")
    for step in range(1000, 90_000, 1000):
        kept.save(Snapshot(step=step, now_ns=step, toml="", state=b""))
    sparse = [snapshot.step for snapshot in kept.sparse_newest_first()]
    assert [one.step for one in kept.newest_first() if isinstance(one, Snapshot)] == [
        89_000,
        88_000,
        87_000,
    ]
    assert sparse == list(range(84_000, 84_000 - 24 * 3000, -3000))
    assert kept.oldest_step() == 87_000


def test_the_start_of_another_day_is_an_error_with_a_remedy(folder: Path) -> None:
    config, out = load(folder / "store.toml"), folder / "x.mcap"
    with pytest.raises(RecordingError, match="no journal yet; start the daemon"):
        Recorder(config, out)

    async def story() -> None:
        async with running(folder):
            pass

    asyncio.run(story())
    with pytest.raises(RecordingError, match="has no step 100000; the newest is"):
        Recorder(config, out, from_step=100_000)
    out.write_bytes(b"")
    with pytest.raises(RecordingError, match="exists; give another --out"):
        Recorder(config, out)


def walkout(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "walkout", "record", "--config", str(folder / "store.toml")]
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_sigterm_closes_the_file_and_a_kill_leaves_what_recover_saves(folder: Path) -> None:
    async def story() -> tuple[int, str]:
        async with running(folder) as daemon:
            whole, cut = folder / "whole.mcap", folder / "cut.mcap"
            kept = walkout(folder, "--from-step", "1", "--json", "--out", str(whole))
            dying = walkout(folder, "--from-step", "1", "--out", str(cut))
            try:
                await until(lambda: min(map(size, (whole, cut))) > 20_000, 30)
                before = step_of(daemon)
                await asyncio.sleep(1.5)
                os.kill(dying.pid, signal.SIGKILL)
                os.kill(kept.pid, signal.SIGTERM)
                out, err = await asyncio.to_thread(kept.communicate)
                assert kept.returncode == 0, err
            finally:
                for process in (kept, dying):
                    process.kill()
                    process.communicate()
            return before, out

    before, out = asyncio.run(story())
    done = json.loads(out)
    assert Recording.open(folder / "whole.mcap").toml == STORE_TOML
    assert done["steps"] == sum(1 for _ in Recording.open(folder / "whole.mcap").steps())
    with pytest.raises(RecordingError, match="it was not closed; run walkout recording recover"):
        Recording.open(folder / "cut.mcap")
    saved = recover(folder / "cut.mcap", folder / "saved.mcap")
    assert saved.steps >= before - 15
    assert next(Recording.open(folder / "saved.mcap").steps()).step == 1


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_slow_and_hostile_listeners_lose_packets_and_slow_nobody(folder: Path) -> None:
    async def story() -> None:
        async with running(folder) as daemon:
            path = folder / "run" / "tap.sock"
            assert path.stat().st_mode & 0o777 == 0o600
            deaf = socket.socket(socket.AF_UNIX)
            deaf.connect(str(path))
            await until(lambda: daemon.tap.counts["listeners"] == 1)
            started = time.monotonic()
            for _ in range(2000):
                daemon.tap.publish("n1", bytes(4096), False)
            assert time.monotonic() - started < 1.0
            assert daemon.tap.dropped > 500
            rude = socket.socket(socket.AF_UNIX)
            rude.connect(str(path))
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: rude.recv(1) == b"" if readable(rude) else False)
            many = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for one in many:
                one.connect(str(path))
            await asyncio.sleep(0.1)
            assert daemon.tap.counts["listeners"] <= 4
            for one in (deaf, rude, *many):
                one.close()
            await until(lambda: daemon.tap.counts["listeners"] == 0)
            reader = TapReader(path)
            await until(lambda: list(reader.packets()))
            reader.close()

    asyncio.run(story())


def readable(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


def test_a_tap_that_is_no_tap_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    reader = TapReader(path)
    assert list(reader.packets()) == []
    peer, _ = server.accept()
    peer.sendall(b"\xff\xff\xff\xff" * 3)
    time.sleep(0.05)
    assert list(reader.packets()) == []
    assert not reader.connected
    peer.close()
    server.close()
