"""The sync process beside the daemon: ``walkout run`` starts it, and starts it again when it ends.

    with beside(Path("store.toml")):
        ...the daemon runs...

It is a process of its own, so that nothing it does holds up the store, and it ends with the daemon:
asked to on the way out, by itself when the daemon was killed (``--parent``). In ``[cloud]``,
``process = "apart"`` leaves it to somebody else, as the systemd units do; without a retailer or a
broker there is nothing to start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.config import ConfigError, load

EX_CONFIG = 78  # it will not become right by starting again
AGAIN_AFTER_S = (1.0, 2.0, 5.0, 15.0, 30.0)  # the last one for ever
PARENT_SEEN_EVERY_S = 1.0
STEADY_S = 60.0  # one that ran so long begins with the first pause again
STOP_WITHIN_S = 30.0  # each request under way is bounded by its time-out
UNSET = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # systemd's word is with the daemon

log = logging.getLogger("walkout.beside")


@contextmanager
def beside(config: Path, command: Sequence[str] = ()) -> Iterator[None]:
    """Keep the sync process running while the block runs, where the configuration asks for it.

    A configuration that cannot be read starts nothing: the daemon says what is wrong with it.
    ``command``: another program in its place, for tests.
    """
    if not wanted(config):
        yield
        return
    keeper = Keeper(tuple(command) or sync_command(config))
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


def wanted(config: Path) -> bool:
    """Whether the daemon is to start it."""
    try:
        cloud = load(config).cloud
    except (ConfigError, OSError):
        return False
    return cloud.process == "daemon" and bool(cloud.retailer_url or cloud.broker_url)


def sync_command(config: Path) -> tuple[str, ...]:
    whose = ("--parent", str(os.getpid()))
    return (sys.executable, "-m", "walkout", "sync", "run", "--config", str(config), *whose)


async def ends_with(parent: int, stop: Callable[[], None]) -> None:
    """Stop once that process is gone: another has become our parent. 0: never."""
    while parent and os.getppid() == parent:  # noqa: ASYNC110 - nobody tells an orphan
        await asyncio.sleep(PARENT_SEEN_EVERY_S)
    if parent:
        stop()


class Keeper:
    """Starts a program, waits for its end, starts it again after a pause."""

    def __init__(self, command: tuple[str, ...], pauses_s: Sequence[float] = AGAIN_AFTER_S) -> None:
        self._command, self._pauses_s = command, pauses_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="sync", daemon=True)
        self.starts = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end, wait, and kill it if it does not; returns when it is gone."""
        self._stopping.set()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        self._thread.join(STOP_WITHIN_S)
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                log.critical("sync did not end within %.0f s and is killed", STOP_WITHIN_S)
                self._process.kill()
        self._thread.join()

    def _keep(self) -> None:
        quick_ends = 0
        while not self._stopping.is_set():
            process = self._begin()
            if process is None:
                return
            status, ran_long = self._ended(process)
            if self._stopping.is_set():
                return
            if status == EX_CONFIG:
                log.critical("sync ended: its configuration is wrong; not started again")
                return
            quick_ends = 1 if ran_long else quick_ends + 1
            pause_s = self._pauses_s[min(quick_ends, len(self._pauses_s)) - 1]
            log.warning("sync ended with status %d, again in %.0f s", status, pause_s)
            self._stopping.wait(pause_s)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        env = {name: text for name, text in os.environ.items() if name not in UNSET}
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, env=env)
            self.starts += 1
            return self._process

    def _ended(self, process: subprocess.Popen[bytes]) -> tuple[int, bool]:
        """Its status, and whether it had run for a while."""
        try:
            return process.wait(STEADY_S), False
        except subprocess.TimeoutExpired:
            return process.wait(), True
