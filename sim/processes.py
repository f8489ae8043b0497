"""The demo's child processes: started, watched, started again when they die, stopped by their ids.

Each is a real ``walkout`` process with a log file of its own. What systemd does on a store's box
is done here in small: one that ends without being asked is started anew after a pause; one that
does so more than ``restarts_max`` times within a minute fails the run, which says where the log is.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESTARTS_MAX = 5  # within RESTART_WINDOW_S: more is a crash loop, as systemd sees it
RESTART_WINDOW_S = 60.0
RESTART_AFTER_S = 0.1  # systemd's default
STOP_WITHIN_S = 20.0  # a snapshot and a few flushes on a busy disk
LOG_LINES_SHOWN = 12


class ProcessError(RuntimeError):
    """A process did not start, died too often, or did not end; names its log file."""


@dataclass(slots=True)
class Child:
    """One process that should run. ``ended``: the last exit status, None while it runs."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    restarted_s: list[float] = field(default_factory=list, repr=False)  # the latest, monotonic
    ended: int | None = None
    stopping: bool = False
    watcher: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def failed(self, what: str) -> ProcessError:
        """The error to raise, with the end of the log."""
        return ProcessError(f"{self.name} {what}; its log is {self.log}{_tail(self.log)}")


class Processes:
    """All children of one run."""

    def __init__(self, logs: Path, restarts_max: int = RESTARTS_MAX) -> None:
        self.children: dict[str, Child] = {}
        self._logs, self._restarts_max = logs, restarts_max
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, name: str, *arguments: str) -> Child:
        """Run ``walkout ARGUMENTS`` until it is stopped."""
        child = Child(name, arguments, self._logs / f"{name}.log")
        self.children[name] = child
        await self._spawn(child)
        child.watcher = asyncio.create_task(self._watch(child))
        return child

    async def run(self, name: str, *arguments: str, within_s: float) -> int:
        """Run ``walkout ARGUMENTS`` to its end; the exit status. Raises ProcessError."""
        child = Child(name, arguments, self._logs / f"{name}.log")
        self.children[name] = child
        await self._spawn(child)
        assert child.process is not None
        try:
            child.ended = await asyncio.wait_for(child.process.wait(), within_s)
        except TimeoutError:
            raise child.failed(f"did not end within {within_s:.0f} s") from None
        return child.ended

    async def until(
        self, child: Child, ready: Callable[[], bool], what: str, within_s: float = 30.0
    ) -> None:
        """Wait for a child's readiness. Raises ProcessError."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        while not ready():
            self.check()
            if not child.running and child.restarts == 0:
                await asyncio.sleep(0.05)  # its watcher may be about to start it anew
            if asyncio.get_running_loop().time() > deadline_s:
                raise child.failed(f"was not ready within {within_s:.0f} s: {what}")
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raises ProcessError once a child died too often."""
        if self._broken.done():
            self._broken.result()

    async def stop(self, name: str) -> int | None:
        """SIGTERM, then SIGKILL to a child that does not end; its exit status."""
        child = self.children[name]
        child.stopping = True
        if child.process is not None and child.running:
            child.process.terminate()
            try:
                await asyncio.wait_for(child.process.wait(), STOP_WITHIN_S)
            except TimeoutError:
                child.process.kill()
                await child.process.wait()
        if child.watcher is not None:
            child.watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await child.watcher
        if child.process is not None:
            child.ended = child.process.returncode
        return child.ended

    async def stop_all(self) -> None:
        """Every child that still runs, the last started first."""
        for name in reversed(self.children):
            if self.children[name].running:
                await self.stop(name)
        if self._broken.done():
            self._broken.exception()  # looked at

    def kill_all(self) -> None:
        """At once, without waiting: the run is being torn down."""
        for child in self.children.values():
            if child.process is not None and child.running:
                child.stopping = True
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()

    def unclean(self) -> list[str]:
        """Processes that did not end with status 0."""
        return [
            f"{child.name} ended with {_status_words(child.ended)} (log: {child.log})"
            for child in self.children.values()
            if child.ended != 0
        ]

    async def _spawn(self, child: Child) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as log:
            # a session of its own: Ctrl-C reaches us alone, and we stop them in order
            child.process = await asyncio.create_subprocess_exec(
                *walkout_command(child.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )

    async def _watch(self, child: Child) -> None:
        while True:
            assert child.process is not None
            status = await child.process.wait()
            if child.stopping:
                return
            child.ended = status
            since = time.monotonic() - RESTART_WINDOW_S
            child.restarted_s = [at for at in child.restarted_s if at > since]
            if len(child.restarted_s) >= self._restarts_max:
                error = child.failed(f"died {child.restarts + 1} times, {_status_words(status)}")
                if not self._broken.done():
                    self._broken.set_exception(error)
                return
            await asyncio.sleep(RESTART_AFTER_S)
            child.restarts += 1
            child.restarted_s.append(time.monotonic())
            child.ended = None
            await self._spawn(child)


def walkout_command(arguments: Sequence[str]) -> list[str]:
    """The command line; where util-linux has ``setpriv``, a child ends when we are killed."""
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    return [*prefix, sys.executable, "-m", "walkout", *arguments]


def stop_signals(stop: Callable[[], object]) -> None:
    """SIGTERM and Ctrl-C call ``stop`` once; a second one is the system's own."""
    loop = asyncio.get_running_loop()

    def once() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, once)


def _environment() -> dict[str, str]:
    """Ours, with the folder of ``walkout.py`` on the path, and one thread for small matrices."""
    found = importlib.util.find_spec("walkout")
    folder = str(Path(found.origin).parent) if found is not None and found.origin else ""
    path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
    return os.environ | {
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _status_words(status: int | None) -> str:
    if status is None:
        return "no status"
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    except OSError:
        return ""
    return "".join(f"\n    {line}" for line in lines)
