"""The store daemon: devices in, journal, engine, commands out; ``main`` is ``walkout run``.

One task a device puts observations into the inbox; the step loop alone touches the engine. Each
``limits.step_every_ms``, or at once for a gate signal: 1 append to the journal, 2 ``engine.step``,
3 commit events and outbox rows, 4 hand commands to the devices. Everything beside that loop
(snapshots, status, retention, the operator's socket, the watchdog) waits for it, never it for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge import logs, status
from edge.config import ConfigError, load
from edge.control import ControlError, ControlServer
from edge.devices import Device, Devices, Sink, store_devices
from edge.durable_engine import DurableEngine, EngineKind, store_engine
from edge.housekeeping import Housekeeping
from edge.inbox import Inbox
from edge.journal import Journal, JournalError
from edge.store_clock import ANCHOR_EVERY_NS, ClockBase, StoreClock
from edge.tap import SOCKET_NAME, TapServer
from edge.watchdog import Watchdog, notify
from messages.events import Event
from messages.ids import CommandId
from messages.observations import ConfigLoaded, Observation, OperatorAction
from messages.store_config import StoreConfig

SNAPSHOT_EVERY_NS = 10_000_000_000  # also while nothing happens: the tail stays some hundred rows
# A restart must take below 3 s, imports and ports included: a snapshot is due as soon as a replay
# of what came since would take this long. A full store of 350 plates gets one each 5 s or so.
REPLAY_S_MAX = 0.4
STEP_PAUSE_S_MIN = 0.01  # a gate node gone mad cannot turn the loop into flushes alone
OUTCOME_S_MAX = 2.0  # an operator's answer shows in the step that holds it, or a few later

# sysexits.h, so that the unit can tell a mistake of ours from one in store.toml
EXIT_OK, EXIT_FAILURE, EXIT_JOURNAL, EXIT_CONFIG = 0, 1, 74, 78
_STATUS_OF: dict[type[BaseException], int] = {JournalError: EXIT_JOURNAL, ControlError: EXIT_CONFIG}

log = logging.getLogger(__name__)


def main(config: Path) -> int:
    """Run the daemon until SIGTERM or SIGINT; the process's exit status."""
    logs.to_stderr()
    started = time.perf_counter()
    try:
        store = load(config)
        check_video(store)
    except (ConfigError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    return run(Daemon(store, folder=config.resolve().parent, started=started))


def check_video(store: StoreConfig) -> None:
    """Raises ModelsError where live video has no model: better no start than a blind store."""
    live = any(camera.url and not camera.box for camera in store.cameras)
    if live and store.vision.process == "daemon":
        from edge.cameras.fleet import check_models

        check_models(store)


def run(daemon: Daemon) -> int:
    """Run a daemon to its end and turn what ended it into an exit status."""
    try:
        asyncio.run(daemon.run())
    except Exception as errors:
        error = _first(errors)
        known = isinstance(error, JournalError | ControlError)
        log.critical("daemon_failed error=%r", str(error), exc_info=None if known else error)
        return _STATUS_OF.get(type(error), EXIT_FAILURE)
    return EXIT_OK


def _first(error: BaseException) -> BaseException:
    """The innermost first reason of a group."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


@dataclass(slots=True, eq=False)
class _Awaited:
    """An operator who waits until an action was applied."""

    action: OperatorAction
    wanted: Callable[[Event], bool] | None
    applied: asyncio.Future[tuple[int, Event | None]]
    step: int = 0  # 0: still in the inbox


class Daemon:
    """One store.

    Args:
        engine: how engines are made; None for the store's own.
        devices: the drivers; None for those of the configuration.
        folder: of store.toml.
        started: ``perf_counter`` at the process's start, for the log.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        engine: Callable[[], EngineKind] = store_engine,
        devices: Callable[[StoreConfig, Sink], Sequence[Device]] = store_devices,
        folder: Path | None = None,
        clock: Callable[..., StoreClock] = StoreClock,
        started: float | None = None,
    ) -> None:
        self.config = config
        self.watchdog = Watchdog()
        self.lag_ms = 0.0
        self._make_engine, self._make_devices, self._make_clock = engine, devices, clock
        self._folder = folder
        self._started = time.perf_counter() if started is None else started
        self._stop = asyncio.Event()
        self._awaited: list[_Awaited] = []
        self._snapshot_due_ns = 0
        self._anchor_due_ns = 0

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Recover, serve, stop cleanly.

        Raises:
            JournalError: nothing can be made durable, or the state cannot be rebuilt.
        """
        self._catch_signals()
        self.journal = await Journal.open(Path(self.config.paths.journal), store=self.config.store)
        try:
            await self._recover()
            await self._serve()
            await self._finish()
        finally:
            await self.journal.close()
        status.write(self._runtime, {**self._status(), "stopped": True, "healthy": False})

    def stop(self) -> None:
        """Ask for a clean end; the step under way is finished."""
        self._stop.set()
        if hasattr(self, "inbox"):
            self.inbox.urgent.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    async def _recover(self) -> None:
        _, last_ns = await self.journal.last_step()
        self.clock = self._make_clock(
            ClockBase.from_bytes(await self.journal.kept("clock")), not_before_ns=last_ns
        )
        self.inbox = Inbox(
            self.config.limits.inbox_max,
            now_ns=self.clock.now_ns,
            wall_to_store_ns=self.clock.wall_to_store_ns,
        )
        self.engine = DurableEngine(
            self.journal,
            self.config,
            self._make_engine(),
            folder=self._folder,
            progress=lambda: self.watchdog.beat("step"),
        )
        await self.engine.recover()
        await self.journal.keep("clock", self.clock.base().to_bytes())
        found = asdict(self.engine.report)
        log.info("recovered %s", " ".join(f"{key}={value}" for key, value in found.items()))

    async def _serve(self) -> None:
        mark = self._mark_command
        self.tap = TapServer(self._runtime / SOCKET_NAME, self.clock.now_ns)
        made = self._make_devices(self.config, self.inbox)
        self.devices = Devices(made, self.inbox, mark, self.tap.publish)
        self.housekeeping = Housekeeping(self.journal, self.clock, self.inbox, self.config)
        control = ControlServer(
            Path(self.config.paths.control_socket), self.apply, self.clock.now_ns
        )
        self.journal.committed = lambda: self.watchdog.beat("journal")
        await control.listen()
        await self._step([self._config_loaded()])
        self.devices.ask(await self.journal.pending_commands())
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(work, name=name)
                for name, work in (
                    ("devices", self.devices.run()),
                    ("control", control.run()),
                    ("tap", self.tap.run()),
                    ("status", self._write_status()),
                    ("watchdog", self.watchdog.run()),
                    ("housekeeping", self.housekeeping.run(lambda: self.engine.core.view())),
                )
            ]
            self._announce()
            tasks.create_task(asyncio.to_thread(self.engine.preload), name="preload")
            await self._steps(tasks)
            notify("STOPPING=1")
            for task in beside:
                task.cancel()

    def _announce(self) -> None:
        took_s = time.perf_counter() - self._started
        log.info(
            "ready store=%s step=%d start_s=%.3f", self.config.store, self._step_number, took_s
        )
        notify(f"READY=1\nSTATUS=running since {took_s:.1f} s after start")

    async def _finish(self) -> None:
        """What still waits is applied, and a snapshot makes the next start short."""
        while len(self.inbox):
            await self._step(self.inbox.drain())
        await self.journal.save_snapshot(self.engine.snapshot())
        await self.journal.keep("clock", self.clock.base().to_bytes())
        log.info("stopped step=%d", self._step_number)

    # --- steps ---------------------------------------------------------------------------------

    async def _steps(self, tasks: asyncio.TaskGroup) -> None:
        """The one loop that touches the engine."""
        loop = asyncio.get_running_loop()
        period_s = self.config.limits.step_every_ms / 1000.0
        due_s = loop.time() + period_s
        while not self._stop.is_set():
            await self._until(due_s)
            started = loop.time()
            await self._step(self.inbox.drain())
            self._keep_snapshot(tasks)
            self._check_inbox()
            if started >= due_s:
                due_s = max(due_s + period_s, loop.time())
            await asyncio.sleep(max(STEP_PAUSE_S_MIN - (loop.time() - started), 0.0))

    async def _until(self, due_s: float) -> None:
        """Wait for the next tick, or for a gate signal."""
        left_s = due_s - asyncio.get_running_loop().time()
        if left_s > 0:
            try:
                await asyncio.wait_for(self.inbox.urgent.wait(), left_s)
            except TimeoutError:
                return

    async def _step(self, observations: list[Observation]) -> None:
        now_ns = self.clock.now_ns()
        observations += self._anchors(now_ns)
        events, commands = await self.engine.step(now_ns, observations)
        self.inbox.journalled(observations)
        self.devices.ask(commands)
        self.watchdog.beat("step")
        self._tell_operators(observations, events)
        oldest_ns = min((seen.received_at_ns for seen in observations), default=now_ns)
        self.lag_ms = (self.clock.now_ns() - oldest_ns) / 1e6

    def _anchors(self, now_ns: int) -> list[Observation]:
        if now_ns < self._anchor_due_ns and not self.clock.wall_stepped():
            return []
        self._anchor_due_ns = now_ns + ANCHOR_EVERY_NS
        return [self.clock.anchor(now_ns)]

    def _config_loaded(self) -> Observation:
        digest = hashlib.sha256(self.config.toml.encode()).hexdigest()
        return ConfigLoaded(
            received_at_ns=self.clock.now_ns(), digest=digest, toml=self.config.toml
        )

    def _keep_snapshot(self, tasks: asyncio.TaskGroup) -> None:
        """Encode here, where the state stands still; compress and write in a thread."""
        due = self.engine.now_ns >= self._snapshot_due_ns or self.engine.unsaved_s > REPLAY_S_MAX
        if due and not self.housekeeping.saving:
            self._snapshot_due_ns = self.engine.now_ns + SNAPSHOT_EVERY_NS
            self.housekeeping.saving = True
            tasks.create_task(self.housekeeping.save(self.engine.snapshot()))

    def _check_inbox(self) -> None:
        self.watchdog.fault("inbox", "weights and gate signals pile up" * self.inbox.overfull)

    async def _mark_command(self, command: CommandId, how: str) -> None:
        await self.journal.mark_commands([command], how, self.clock.now_ns())

    # --- operators -----------------------------------------------------------------------------

    async def apply(
        self, action: OperatorAction, wanted: Callable[[Event], bool] | None
    ) -> tuple[int, Event | None]:
        """Put an action into the next step; returns when it is durable and, if an event is wanted,
        when that event came or it is clear that none comes."""
        awaited = _Awaited(action, wanted, asyncio.get_running_loop().create_future())
        self._awaited.append(awaited)
        self.inbox.put(action)
        self.inbox.urgent.set()
        try:
            return await asyncio.shield(awaited.applied)
        finally:
            self._awaited.remove(awaited)

    def _tell_operators(self, observations: Sequence[Observation], events: Sequence[Event]) -> None:
        now_ns = self.clock.now_ns()
        for awaited in self._awaited:
            if awaited.applied.done():
                continue
            if any(seen is awaited.action for seen in observations):
                awaited.step = self._step_number
            if not awaited.step:
                continue
            event = next((e for e in events if awaited.wanted and awaited.wanted(e)), None)
            waited_s = (now_ns - awaited.action.received_at_ns) / 1e9
            if event is not None or awaited.wanted is None or waited_s > OUTCOME_S_MAX:
                awaited.applied.set_result((awaited.step, event))

    # --- status --------------------------------------------------------------------------------

    async def _write_status(self) -> None:
        while True:
            try:
                status.write(self._runtime, self._status())
            except OSError as error:
                log.error("status_not_written error=%r", str(error))
            await asyncio.sleep(status.STATUS_EVERY_S)

    def _status(self) -> dict[str, Any]:
        view = dict(self.engine.core.view())
        complaints = self.watchdog.complaints()
        seen_devices: Any = view.get("devices", {})
        return {
            **view,
            "pid": os.getpid(),
            "store_ns": self.clock.now_ns(),
            "wall_ns": time.time_ns(),
            "healthy": not complaints,
            "complaints": complaints,
            "step": self._step_number,
            "lag_ms": round(self.lag_ms, 2),
            "inbox": self.inbox.counts(),
            "devices": self._devices_view(seen_devices),
            "counters": {
                "engine": view.get("counters", {}),
                "journal": asdict(self.journal.counts),
                "driver_restarts": dict(self.devices.restarts),
                "commands": dict(self.devices.commands),
                "observations_refused": self.engine.refused,
                "watchdog_pings": self.watchdog.pings,
                "tap": self.tap.counts,
            },
            "recovery": asdict(self.engine.report),
            "memory": status.memory_mb(),
        }

    def _devices_view(self, concluded: dict[str, Any]) -> dict[str, Any]:
        """What each driver said last, beside what the engine made of it."""
        said = {
            device: {"state": h.state, "detail": h.detail, "counters": h.counters}
            for device, h in self.inbox.health.items()
        }
        known = {device: {"state": state} for device, state in concluded.items()}
        return {**known, **said}

    @property
    def _step_number(self) -> int:
        return self.engine.core.state.step

    @property
    def _runtime(self) -> Path:
        return Path(self.config.paths.runtime)
