"""systemd hears from the daemon only while loop, steps and journal are healthy."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.watchdog import LOOP_LAG_S_MAX, Watchdog, notify

QUICK = {"step": 0.1, "journal": 0.1}


class Ear:
    """Plays systemd: a socket in a thread of its own, since a hanging loop cannot listen."""

    def __init__(self, path: Path) -> None:
        self.heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self._done = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._done:
            try:
                self.heard.append((time.monotonic(), self._socket.recv(256).decode()))
            except TimeoutError:
                continue

    def pings_since(self, moment: float) -> int:
        return sum(at >= moment and text == "WATCHDOG=1" for at, text in list(self.heard))

    def close(self) -> None:
        self._done = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    path = Path(f"/tmp/walkout-notify-{os.getpid()}")
    path.unlink(missing_ok=True)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    ear = Ear(path)
    yield ear
    ear.close()
    path.unlink()


async def work(watchdog: Watchdog, part: str, *, hang_after: int) -> None:
    """A part that beats each 10 ms and then hangs for ever, without blocking the loop."""
    for _ in range(hang_after):
        watchdog.beat(part)
        await asyncio.sleep(0.01)
    await asyncio.Event().wait()


def run_with(ear: Ear, hang: str) -> float:
    """Run 0.9 s with one part hanging from 0.3 s on; the moment from which silence is due."""

    async def story() -> float:
        watchdog = Watchdog(QUICK)
        tasks = [
            asyncio.create_task(watchdog.run(0.03)),
            *(
                asyncio.create_task(work(watchdog, part, hang_after=30 if hang == part else 10**6))
                for part in QUICK
            ),
        ]
        await asyncio.sleep(0.3)
        start = time.monotonic()
        if hang == "loop":
            time.sleep(0.6)  # noqa: ASYNC251  the planted hang
        else:
            await asyncio.sleep(0.6)
        for task in tasks:
            task.cancel()
        return start + 0.25  # the deadline, and a busy machine

    return asyncio.run(story())


def test_healthy_daemon_pings(ear: Ear) -> None:
    assert ear.pings_since(run_with(ear, "nothing")) > 3


@pytest.mark.parametrize("hang", ["step", "journal", "loop"])
def test_planted_hang_silences_the_watchdog(ear: Ear, hang: str) -> None:
    start = time.monotonic()
    silent_from = run_with(ear, hang)
    assert ear.pings_since(start) > 1
    assert ear.pings_since(silent_from) == 0


def test_ping_from_a_thread_would_not_notice_a_hanging_loop(ear: Ear) -> None:
    """The canary: this is the wrong way, and the ear hears it."""
    stop = threading.Event()

    def ping() -> None:
        while not stop.wait(0.03):
            notify("WATCHDOG=1")

    thread = threading.Thread(target=ping)
    thread.start()
    silent_from = run_with(ear, "loop")
    stop.set()
    thread.join()
    assert ear.pings_since(silent_from) > 3


def test_late_loop_and_named_faults_are_complaints() -> None:
    now = [100.0]
    watchdog = Watchdog({"step": 5.0}, monotonic=lambda: now[0], send=lambda _: None)
    assert watchdog.complaints() == []  # nothing has begun
    watchdog.beat("step")
    now[0] += 6.0
    assert watchdog.complaints() == ["step silent for 6.0 s"]
    watchdog.beat("step")
    watchdog.fault("inbox", "piles up")
    watchdog.loop_lag_s = LOOP_LAG_S_MAX + 0.5
    assert watchdog.complaints() == ["loop 2.5 s late", "inbox: piles up"]
    watchdog.fault("inbox", "")
    watchdog.loop_lag_s = 0.0
    assert watchdog.complaints() == []


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    assert notify("READY=1") is False


def test_abstract_notify_socket_of_a_container_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"walkout-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("READY=1") is True
        assert systemd.recv(64) == b"READY=1"
