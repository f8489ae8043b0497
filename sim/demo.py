"""``walkout demo``: one simulated store day in real time, with the real processes.

Broker, retailer, sync and daemon are child processes, started as an operator would start them. The
world's devices are emulated in this process and speak the real bytes over ptys and a socket. At
the end the truth, which only the world knows, is laid beside the receipts, and the books of three
parties are compared.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.live import Live

from broker import service as broker
from cloud_sync import views
from edge import status as daemon_status
from messages.contract import AccountRequest, Books, Capture, Credential, CredentialRequest
from messages.store_config import (
    Cloud,
    GateNode,
    Reader,
    ShelfNode,
    StoreConfig,
)
from sim import live_view
from sim.demo_devices import WorldOnDevices, paths_in
from sim.demo_report import Report, compare, show
from sim.first_store import first_store
from sim.outputs import Scan
from sim.processes import ProcessError, Processes, stop_signals
from sim.retailer import service as retailer
from sim.retailer.store import RetailerBooks
from sim.store_toml import write_store
from sim.world import World, options

GRACE_S = 240.0  # for those inside to finish after the doors close
SETTLE_S = 60.0  # for carts to close and doubts to meet their deadline after the last one left
SETTLED_NS = 2_000_000_000  # the last exit is known to the daemon, and in its status
DRAIN_S = 60.0
PROGRESS_EVERY_S = 10.0
VIEW_EVERY_S = 0.5
PIPE_COLUMNS = 110
REVIEW_DEADLINE_S = 12.0  # nobody answers doubts here: they end uncharged
LIMIT_MINOR = 50_000  # most that a simulated account may owe
MERCHANT = "first-store"
EXIT_OK, EXIT_DIFFERS, EXIT_FAILED = 0, 1, 2


class DemoError(RuntimeError):
    """The demo cannot run; says why and what to do."""


def main(
    *, seed: int, duration_s: float, headless: bool, out: Path | None, json_output: bool
) -> int:
    """Run the day. 0: books agree, nobody over-charged, all ended cleanly. 1: not so. 2: failed."""
    console = _console(json_output)
    try:
        folder = _folder(out)
        demo = Demo(folder=folder, seed=seed, duration_s=duration_s, console=console)
        report = asyncio.run(demo.run(live=not headless and console.is_terminal))
    except (DemoError, ProcessError, broker.BrokerError, requests.RequestException) as error:
        console.print(f"walkout demo: {error}", style="red", markup=False, highlight=False)
        return EXIT_FAILED
    except asyncio.CancelledError:
        console.print("stopped")
        return EXIT_FAILED
    (folder / "report.json").write_text(json.dumps(report.document(), indent=1) + "\n")
    if json_output:
        sys.stdout.write(json.dumps(report.document()) + "\n")
    else:
        show(report, demo.config, console)
    return EXIT_DIFFERS if report.problems else EXIT_OK


@dataclass(slots=True)
class Demo:
    """One run. The configuration is made once broker and retailer tell their ports."""

    folder: Path
    seed: int
    duration_s: float
    console: Console
    config: StoreConfig = field(init=False)
    urls: dict[str, str] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    doors_closed: bool = False
    emptied_ns: int = 0  # store time at which the last one was out; 0 before
    emptied_wall_ns: int = 0

    async def run(self, *, live: bool) -> Report:
        """The whole day; children never outlive it."""
        task = asyncio.current_task()
        assert task is not None
        stop_signals(task.cancel)
        processes = Processes(self.folder / "logs")
        try:
            return await self._day(processes, live)
        finally:
            try:
                await processes.stop_all()
            finally:
                processes.kill_all()

    async def _day(self, processes: Processes, live: bool) -> Report:
        await self._serve_both(processes)
        self.config = await self._store()
        world = World.of(self.config, options("honest", seed=self.seed))
        devices = WorldOnDevices(self.config, world, self._issue)
        devices.start()
        try:
            await self._open_store(processes)
            await self._watched(self._people(processes, world, devices), world, live)
            await processes.stop("daemon")
        finally:
            devices.stop()
            world.truth.write(self.folder / "truth.json")
        return await self._end(processes, world, devices)

    # --- morning ------------------------------------------------------------------------------

    async def _serve_both(self, processes: Processes) -> None:
        """Broker and retailer, each on a free port that it tells by its ready file."""
        for name in ("broker", "retailer"):
            ready, data = self.folder / f"{name}.port", self.folder / name
            child = await processes.start(
                *(name, name, "serve", "--data", str(data), "--host", "127.0.0.1"),
                *("--port", "0", "--ready", str(ready)),
            )
            await processes.until(child, ready.exists, f"{ready} is missing")
            self.urls[name] = f"http://127.0.0.1:{int(ready.read_text())}"

    async def _store(self) -> StoreConfig:
        keys = await asyncio.to_thread(broker.credential_keys, self.urls["broker"])
        base = first_store(
            devices=str(self.folder / "devices"),
            cloud=Cloud(
                retailer_url=self.urls["retailer"],
                broker_url=self.urls["broker"],
                merchant=MERCHANT,
                process="apart",  # the demo watches it, and drains it at the end
                retailer_key_file=str(self.folder / "retailer" / retailer.KEY_FILE),
                broker_key_file=str(self.folder / "broker" / "store.key"),
                webhook_url=f"{self.urls['retailer']}/v1/webhooks",
                webhook_network="private",
                webhook_secret_file=str(self.folder / "retailer" / retailer.SECRET_FILE),
            ),
            paths=paths_in(self.folder),
            credential_keys=keys,
        )
        decision = replace(base.decision, review_deadline_s=REVIEW_DEADLINE_S)
        config = replace(base, decision=decision)
        write_store(config, self.folder / "store.toml")
        return config

    async def _open_store(self, processes: Processes) -> None:
        config_file = str(self.folder / "store.toml")
        daemon = await processes.start("daemon", "run", "--config", config_file)
        await processes.until(daemon, self._devices_online, "its serial devices are not online")
        await processes.start("sync", "sync", "run", "--config", config_file)

    def _devices_online(self) -> bool:
        seen = self._status().get("devices", {})
        serial: tuple[ShelfNode | Reader | GateNode, ...] = (
            *self.config.shelf_nodes,
            *self.config.readers,
            *self.config.gate_nodes,
        )
        return all(seen.get(str(d.id), {}).get("state") == "online" for d in serial)

    async def _issue(self, scan: Scan) -> Credential:
        """What a shopper's app does: an account once, a fresh code at each scan."""
        key, url = self.folder / "broker" / "app.key", self.urls["broker"]
        account = f"account-{scan.shopper}"
        if account not in self.accounts:
            asked = AccountRequest(
                account=account, currency=self.config.currency, limit_minor=LIMIT_MINOR
            )
            await asyncio.to_thread(broker.open_account, url, key, asked)
            self.accounts.add(account)
        request = CredentialRequest(
            account=account, store=str(self.config.store), party_size=scan.party_size
        )
        return await asyncio.to_thread(broker.issue_credential, url, key, request)

    # --- day ----------------------------------------------------------------------------------

    async def _people(self, processes: Processes, world: World, devices: WorldOnDevices) -> None:
        """Open for ``duration_s``, then until everybody is out and every cart is closed.

        Both have their bounds; who is inside, or what is open then, shows in the report.
        """

        def over() -> bool:
            processes.check()
            if not self.doors_closed and world.now_ns >= self.duration_s * 1e9:
                self.doors_closed = True
                world.close_doors()
            if self.doors_closed and world.empty and not self.emptied_ns:
                self.emptied_ns, self.emptied_wall_ns = world.now_ns, time.time_ns()
            if not self.emptied_ns:
                return world.now_ns >= (self.duration_s + GRACE_S) * 1e9
            waited_s = (world.now_ns - self.emptied_ns) / 1e9
            return waited_s >= SETTLE_S or self._carts_closed()

        await devices.run(over)

    async def _watched(self, day: Awaitable[None], world: World, live: bool) -> None:
        """The day, with a live view or a line each ``PROGRESS_EVERY_S``."""
        task = asyncio.ensure_future(day)
        show_once = partial(self._view, world)
        if live:
            with Live(show_once(), console=self.console, auto_refresh=False) as view:
                await self._each(task, VIEW_EVERY_S, lambda: view.update(show_once(), refresh=True))
        else:
            line = partial(self._progress, world)
            await self._each(task, PROGRESS_EVERY_S, lambda: self.console.print(line()))

    async def _each(
        self, task: asyncio.Future[None], every_s: float, act: Callable[[], None]
    ) -> None:
        try:
            while not (await asyncio.wait([task], timeout=every_s))[0]:
                act()
            task.result()
        finally:
            task.cancel()

    def _view(self, world: World) -> Any:
        receipts = live_view.read_receipts(Path(self.config.paths.sync))
        doors = "doors closed" if self.doors_closed else "open"
        headline = (
            f"Walkout demo, seed {self.seed}: {world.now_ns / 1e9:.0f} s of "
            f"{self.duration_s:.0f} s, {doors}"
        )
        return live_view.screen(self.config, self._status(), receipts, headline)

    def _progress(self, world: World) -> str:
        status = self._status()
        receipts = live_view.read_receipts(Path(self.config.paths.sync))
        return (
            f"{world.now_ns / 1e9:5.0f} s  inside {live_view.inside(status)} "
            f"(truth {world.people_inside})  visits left {world.visits_completed}  "
            f"receipts {len(receipts)}  step {status.get('step', 0)}  "
            f"lag {status.get('lag_ms', 0):.0f} ms"
            f"{'  doors closed' if self.doors_closed else ''}"
        )

    def _status(self) -> dict[str, Any]:
        try:
            return daemon_status.read_status(self.config)
        except (OSError, ValueError):
            return {}

    # --- evening ------------------------------------------------------------------------------

    def _carts_closed(self) -> bool:
        """The daemon says so, in a status written after the last one left."""
        status = self._status()
        fresh = status.get("running") and status["wall_ns"] > self.emptied_wall_ns + SETTLED_NS
        return bool(fresh) and not status.get("visits")

    async def _end(self, processes: Processes, world: World, devices: WorldOnDevices) -> Report:
        """Stop the store, drain the link, ask both sides for their books, stop them."""
        report = Report(seed=self.seed, duration_s=self.duration_s, folder=str(self.folder))
        await processes.stop("sync")
        config_file = str(self.folder / "store.toml")
        await processes.run(
            *("drain", "sync", "run", "--config", config_file, "--drain"), within_s=DRAIN_S
        )
        sold, books, captures = await asyncio.to_thread(self._books)
        await processes.stop_all()
        report.problems += processes.unclean()
        report.problems += _sync_problems(Path(self.config.paths.sync))
        report.restarts = {c.name: c.restarts for c in processes.children.values() if c.restarts}
        report.wires = devices.counters()
        compare(report, world.truth, self.config, sold, books, captures)
        return report

    def _books(self) -> tuple[RetailerBooks, Books, list[Capture]]:
        key, url = self.folder / "broker" / "store.key", self.urls["broker"]
        sold = retailer.books(self.urls["retailer"], self.folder / "retailer" / retailer.KEY_FILE)
        captures: list[Capture] = []
        page = broker.captures(url, key)
        captures += page.captures
        while page.more:
            page = broker.captures(url, key, page.after)
            captures += page.captures
        return sold, broker.books(url, key, self.config.currency), captures


def _console(json_output: bool) -> Console:
    """stdout is the JSON object's alone when one is asked for; a pipe has no width."""
    console = Console(stderr=json_output)
    return console if console.is_terminal else Console(stderr=json_output, width=PIPE_COLUMNS)


def _folder(out: Path | None) -> Path:
    """The run's folder, absolute, new or empty. Raises DemoError."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix="walkout-demo-"))
    folder = out.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoError(f"{out} is not an empty folder: choose another for --out")
    if shutil.disk_usage(folder.parent if folder.parent.exists() else "/").free < 512 * 2**20:
        raise DemoError(f"{folder.parent} has less than 512 MiB free")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sync_problems(path: Path) -> list[str]:
    """What the link could not finish."""
    summary = views.summary(path)
    waiting = summary["queue"]["depth"]
    problems = [f"{waiting} requests are still waiting in {path}"] if waiting else []
    return problems + [f"parked: {head['request']} {head['error']}" for head in summary["parked"]]
