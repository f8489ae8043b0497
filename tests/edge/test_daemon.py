"""The whole daemon with a small engine and pretended devices: start, step, ask, stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from test_durable_engine import credential
from test_journal import rows, weighed
from tiny_engine import TinyEngine, tiny_engine

from edge import control
from edge.config import load
from edge.control import ControlError
from edge.daemon import EXIT_CONFIG, EXIT_JOURNAL, EXIT_OK, Daemon, main, run
from edge.devices import Device, Driver, Sink
from edge.housekeeping import DISK_AGAIN_BYTES, DISK_LOW_BYTES
from edge.journal import Journal
from edge.logs import KeyValue
from edge.status import read_status
from messages.commands import Command, UnlockGate
from messages.ids import DeviceId
from messages.observations import DeviceHealth, DeviceState
from messages.store_config import StoreConfig

T = TypeVar("T")
STORE_TOML = '[store]\nid = "s1"\n[limits]\nstep_every_ms = 20\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: unix sockets allow 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="wo-", dir="/tmp"))
    (path / "store.toml").write_text(STORE_TOML)
    yield path
    shutil.rmtree(path)


class Gate:
    """A pretended device: says what it is told to, notes what it is asked."""

    def __init__(self, sink: Sink, asked: list[str]) -> None:
        self.sink, self.asked = sink, asked

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def command(self, command: Command) -> None:
        self.asked.append(command.id)


def gate_of(asked: list[str], made: list[Gate], kind: type[Gate] = Gate) -> Any:
    def devices(config: StoreConfig, sink: Sink) -> Sequence[Device]:
        def make() -> Driver:
            made.append(kind(sink, asked))
            return made[-1]

        return [Device(name="gn", devices=(DeviceId("gn"),), make=make, answers=("g",))]

    return devices


def with_daemon(
    folder: Path,
    story: Callable[[Daemon], Awaitable[T]],
    *,
    devices: Any = lambda config, sink: [],
    engine: Any = tiny_engine,
) -> T:
    """Run a daemon until the story is told, then stop it cleanly."""

    async def told() -> T:
        config = load(folder / "store.toml")
        daemon = Daemon(config, engine=engine, devices=devices, folder=folder)
        life = asyncio.create_task(daemon.run())
        try:
            await until(lambda: life.done() or daemon.watchdog.complaints() or ready(daemon))
            if life.done():
                await life
            return await story(daemon)
        finally:
            daemon.stop()
            await life

    return asyncio.run(told())


def ready(daemon: Daemon) -> bool:
    """Two steps are done, and the operator's socket is there."""
    steps = daemon.engine.core.state.step if hasattr(daemon, "devices") else 0
    return steps >= 2 and Path(daemon.config.paths.control_socket).exists()


async def until(true: Callable[[], Any], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


def test_gate_signal_is_answered_before_the_next_tick(folder: Path) -> None:
    slow = STORE_TOML.replace("= 20", "= 1000")
    (folder / "store.toml").write_text(slow)
    asked: list[str] = []

    async def story(daemon: Daemon) -> float:
        daemon.inbox.put(credential("a", daemon.clock.now_ns()))
        started = time.monotonic()
        await until(lambda: asked)
        return time.monotonic() - started

    took_s = with_daemon(folder, story, devices=gate_of(asked, []))
    assert took_s < 0.5
    assert rows(folder, "SELECT id, state FROM command") == [(asked[0], "done")]


def test_status_file_shows_what_runs(folder: Path) -> None:
    async def story(daemon: Daemon) -> dict[str, Any]:
        health = DeviceHealth(
            device=DeviceId("gn"), received_at_ns=1, state=DeviceState.ONLINE, counters={"n": 3}
        )
        daemon.inbox.put(health)
        daemon.inbox.put(credential("a", daemon.clock.now_ns()))

        def seen() -> dict[str, Any]:
            return read_status(daemon.config)

        await until(lambda: seen().get("seen") == ["a"])
        return seen()

    status = with_daemon(folder, story, devices=gate_of([], []))
    assert status["running"]
    assert status["healthy"]
    assert status["pid"] == os.getpid()
    assert status["devices"]["gn"] == {"state": "online", "detail": "", "counters": {"n": 3}}
    assert status["inbox"]["shed"] == 0
    assert status["lag_ms"] < 5000
    assert status["memory"]["rss_mb"] > 10
    after = read_status(load(folder / "store.toml"))
    assert not after["running"]
    assert after["stopped"]


def test_old_status_file_is_not_believed(folder: Path) -> None:
    config = load(folder / "store.toml")
    assert read_status(config)["running"] is False
    (folder / "run").mkdir()
    text = json.dumps({"wall_ns": time.time_ns() - 60_000_000_000, "healthy": True})
    (folder / "run/status.json").write_text(text)
    assert read_status(config)["healthy"] is False


class Crashing(Gate):
    async def run(self) -> None:
        raise OSError(f"port gone, saw v4.public.{'x' * 40}")


def test_driver_that_crashes_is_made_anew_and_takes_nobody_down(folder: Path) -> None:
    made: list[Gate] = []

    async def story(daemon: Daemon) -> str:
        await until(lambda: daemon.devices.restarts["gn"] >= 2)
        daemon.inbox.put(weighed(5))
        step = daemon.engine.core.state.step
        await until(lambda: daemon.engine.core.state.step > step + 1)
        health = daemon.inbox.health["gn"]
        assert health.state is DeviceState.FAULT
        return health.detail

    detail = with_daemon(folder, story, devices=gate_of([], made, Crashing))
    assert "OSError: port gone" in detail
    assert "xxxx" not in detail
    assert len(made) >= 2


class Refusing(Gate):
    async def command(self, command: Command) -> None:
        self.asked.append(command.id)
        if len(self.asked) < 3:
            raise OSError("line busy")


def test_command_is_tried_again_until_the_device_takes_it_and_then_no_more(folder: Path) -> None:
    asked: list[str] = []

    async def story(daemon: Daemon) -> None:
        daemon.inbox.put(credential("a", daemon.clock.now_ns()))
        await until(lambda: daemon.devices.commands["done"])
        await asyncio.sleep(0.3)

    with_daemon(folder, story, devices=gate_of(asked, [], Refusing))
    assert len(asked) == 3
    assert rows(folder, "SELECT state FROM command") == [("done",)]


def leave_pending(folder: Path, *credentials: tuple[str, int]) -> None:
    """A journal whose daemon was killed between commit and command."""

    async def told() -> None:
        journal = await Journal.open(folder / "journal.db", store="s1")
        try:
            engine = TinyEngine(load(folder / "store.toml"))
            for step, (text, at_ns) in enumerate(credentials, start=1):
                seen = await journal.append_step(step, at_ns, [credential(text, at_ns)])
                out = engine.step(at_ns, seen)
                await journal.commit_outputs(step, out.events, out.commands, wall_ns=1)
        finally:
            await journal.close()

    asyncio.run(told())


def test_pending_command_runs_after_a_restart_once_and_never_when_its_time_is_over(
    folder: Path,
) -> None:
    second_ns = 1_000_000_000
    leave_pending(folder, ("late", second_ns), ("good", 9 * second_ns))
    asked: list[str] = []

    async def story(daemon: Daemon) -> None:
        await until(lambda: daemon.devices.commands.total() == 2)

    with_daemon(folder, story, devices=gate_of(asked, []))
    assert asked == ["s1-2-c0"]
    assert rows(folder, "SELECT state FROM command ORDER BY step") == [("expired",), ("done",)]

    async def nothing(daemon: Daemon) -> None:
        pass

    with_daemon(folder, nothing, devices=gate_of(asked, []))
    assert asked == ["s1-2-c0"]


def test_command_that_no_device_takes_is_recorded_as_failed(folder: Path) -> None:
    async def story(daemon: Daemon) -> None:
        daemon.inbox.put(credential("a", daemon.clock.now_ns()))
        await until(lambda: daemon.devices.commands["failed"])

    with_daemon(folder, story)
    assert rows(folder, "SELECT type, state FROM command") == [(UnlockGate.__name__, "failed")]


def test_clean_stop_leaves_a_snapshot_and_the_next_start_replays_nothing(folder: Path) -> None:
    async def first(daemon: Daemon) -> int:
        daemon.inbox.put(credential("a", daemon.clock.now_ns()))
        await until(lambda: daemon.engine.core.state.seen)  # type: ignore[attr-defined]
        return daemon.clock.now_ns()

    async def second(daemon: Daemon) -> tuple[int, int, list[str]]:
        seen: list[str] = daemon.engine.core.state.seen  # type: ignore[attr-defined]
        return daemon.clock.now_ns(), daemon.engine.report.steps_replayed, list(seen)

    stopped_ns = with_daemon(folder, first)
    started_ns, replayed, seen = with_daemon(folder, second)
    assert started_ns > stopped_ns
    assert (replayed, seen) == (0, ["a"])


# --- the operator --------------------------------------------------------------------------------


async def ask(call: Callable[..., T], *values: Any) -> T:
    return await asyncio.to_thread(call, *values)


def test_operator_changes_the_mode_and_answers_a_review(folder: Path) -> None:
    async def story(daemon: Daemon) -> None:
        config = daemon.config
        mode = Path(config.paths.control_socket).stat().st_mode
        assert mode & 0o777 == 0o600
        answer = await ask(control.set_store_mode, config, "closing")
        assert answer["ok"]
        assert daemon.engine.core.state.mode == "closing"  # type: ignore[attr-defined]
        daemon.inbox.put(credential("review", daemon.clock.now_ns()))
        await until(lambda: control.open_reviews(config))
        (review,) = control.open_reviews(config)
        assert review["review"] == "r1"
        assert review["candidates"][0]["sku"] == "milk"
        await ask(control.answer_review, config, "r1", None)
        assert control.open_reviews(config) == []
        with pytest.raises(ControlError, match="not open"):
            await ask(control.answer_review, config, "r9", "v", "milk", 1)

    with_daemon(folder, story)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"do": "store_mode", "mode": "party"}, "must be one of open, closing, closed"),
        ({"do": "dance"}, "not a request"),
        ({"do": "store_mode", "mode": "open", "colour": 1}, "not a request"),
        ({"do": "review_answer", "review": "r", "visit": "v"}, "needs sku and quantity"),
        ({"do": "keys", "keys": [{"kid": "k", "public_key": "zz"}]}, "64 hexadecimal"),
        ({"do": "deny_list", "accounts": "anna"}, "not a request"),
    ],
)
def test_operator_is_told_what_is_wrong_with_a_request(message: dict[str, Any], told: str) -> None:
    with pytest.raises(ControlError, match=told):
        control.action_of(json.dumps(message).encode(), 5)


def test_socket_survives_hostile_lines_and_many_connections(folder: Path) -> None:
    async def story(daemon: Daemon) -> None:
        path = Path(daemon.config.paths.control_socket)
        for data in (b"\xff\xfe\n", b"[1]\n", b"x" * 400_000 + b"\n", b""):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            writer.close()
        held = [await asyncio.open_unix_connection(path) for _ in range(9)]
        line = await asyncio.wait_for(held[-1][0].readline(), 5)
        assert b"too many" in line
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert (await ask(control.set_deny_list, daemon.config, ["anna"], []))["ok"]

    with_daemon(folder, story)


def test_client_without_a_daemon_is_told_so(folder: Path) -> None:
    config = load(folder / "store.toml")
    with pytest.raises(ControlError, match="is the daemon running"):
        control.set_store_mode(config, "open")
    with pytest.raises(ControlError):
        control.open_reviews(config)


# --- budgets -------------------------------------------------------------------------------------


def test_short_disk_closes_the_entry_and_room_opens_it_again(folder: Path) -> None:
    async def story(daemon: Daemon) -> None:
        def mode() -> str:
            return str(daemon.engine.core.view()["mode"])

        daemon.housekeeping.look_at_disk(DISK_LOW_BYTES - 1, mode())
        await until(lambda: mode() == "closing")
        daemon.housekeeping.look_at_disk(DISK_LOW_BYTES + 1, mode())  # not yet room enough
        assert daemon.inbox.health["daemon:disk"].state is DeviceState.FAULT
        daemon.housekeeping.look_at_disk(DISK_AGAIN_BYTES, mode())
        await until(lambda: mode() == "open")
        assert daemon.inbox.health["daemon:disk"].state is DeviceState.ONLINE

    with_daemon(folder, story)


def test_too_much_memory_is_an_alarm(folder: Path) -> None:
    async def story(daemon: Daemon) -> None:
        daemon.housekeeping.look_at_memory(daemon.config.limits.memory_max_mb + 1)
        assert daemon.inbox.health["daemon:memory"].state is DeviceState.FAULT
        daemon.housekeeping.look_at_memory(1.0)
        assert daemon.inbox.health["daemon:memory"].state is DeviceState.ONLINE

    with_daemon(folder, story)


@pytest.mark.parametrize("part", ["journal", "step"])
def test_planted_hang_in_the_running_daemon_is_a_complaint(folder: Path, part: str) -> None:
    async def story(daemon: Daemon) -> list[str]:
        daemon.watchdog._deadlines_s = {"step": 0.15, "journal": 0.15}
        assert daemon.watchdog.complaints() == []
        resume = asyncio.Event()
        place: Any = daemon.journal if part == "journal" else daemon.engine
        name = "append_step" if part == "journal" else "step"
        works = getattr(place, name)

        async def hangs(*values: Any) -> Any:
            await resume.wait()
            return await works(*values)

        setattr(place, name, hangs)
        await until(lambda: len(daemon.watchdog.complaints()) == 2)
        complaints = daemon.watchdog.complaints()
        assert read_status(daemon.config)["healthy"] is False or daemon._status()["complaints"]
        resume.set()
        await until(lambda: not daemon.watchdog.complaints())
        return complaints

    told = with_daemon(folder, story)
    assert [complaint.split()[0] for complaint in told] == ["step", "journal"]


# --- exit statuses and signals -------------------------------------------------------------------


def test_wrong_configuration_is_told_and_ends_with_its_own_status(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "store.toml").write_text('[stroe]\nid = "x"\n')
    assert main(folder / "store.toml") == EXIT_CONFIG
    assert "did you mean [store]?" in capsys.readouterr().err


def test_dead_disk_ends_the_daemon_with_its_own_status(folder: Path) -> None:
    config = load(folder / "store.toml")
    daemon = Daemon(config, engine=tiny_engine, devices=lambda c, s: [], folder=folder)

    async def broken_soon() -> None:
        await until(lambda: hasattr(daemon, "devices") and daemon.engine.core.state.step > 3)
        daemon.journal.broken = "disk I/O error"

    live = daemon.run

    async def both() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(broken_soon())
            await live()

    daemon.run = both  # type: ignore[method-assign]
    assert run(daemon) == EXIT_JOURNAL


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tiny_engine import tiny_engine
from edge import logs
from edge.config import load
from edge.daemon import Daemon, run
logs.to_stderr()
folder = Path(sys.argv[1])
sys.exit(run(Daemon(load(folder / "store.toml"), engine=tiny_engine, folder=folder)))
"""


def started_child(folder: Path) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), here], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "ready store=s1" in line:
            return child
    raise AssertionError(f"the child ended: {child.wait()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_daemon_cleanly_with_a_snapshot(
    folder: Path, number: signal.Signals
) -> None:
    child = started_child(folder)
    child.send_signal(number)
    _, err = child.communicate(timeout=20)
    assert child.returncode == EXIT_OK, err
    assert "stopped step=" in err
    assert list((folder / "journal.db.snapshots").glob("*.snapshot"))
    assert not (folder / "run/control.sock").exists()


def test_killed_daemon_starts_again_and_the_socket_of_the_dead_one_is_no_obstacle(
    folder: Path,
) -> None:
    child = started_child(folder)
    child.kill()
    child.communicate()
    assert (folder / "run/control.sock").exists()
    again = started_child(folder)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=20)
    assert again.returncode == EXIT_OK


def test_log_lines_are_keys_and_values_without_tokens() -> None:
    record = logging.LogRecord(
        "edge.x", logging.WARNING, "f", 1, "event a=%r", ("v4.public.abcDEF_-123.e30",), None
    )
    assert KeyValue().format(record) == "level=warning at=edge.x event a='v4.public.***'"
