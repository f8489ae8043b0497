"""One scenario on devices: the real daemon, its bytes over ptys and a socket, in real time.

The world is the same as in virtual time, to the byte, as long as no gate answers later than a
barrier opens (``sim.barriers``). No broker is needed: codes are signed by the simulator's key. The
recording is made of the daemon's journal, so it holds the steps as they were; then the run is
judged as any other. ``wires.json`` says what the wires did: with something shed or late, visits
and lines may differ from those of the run in virtual time, and that is why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.config import load
from edge.engine import Engine
from edge.journal import Journal
from edge.recording import RecordedStep, RecordingWriter
from edge.status import read_status
from messages import codec
from messages.contract import Credential
from messages.events import Event
from messages.observations import ClockAnchor
from messages.store_config import StoreConfig
from sim.demo_devices import WorldOnDevices, paths_in
from sim.first_store import on_ports
from sim.in_process import DRAIN_MAX_NS, NS, SETTLE_S, Run, shown_code, with_key
from sim.layouts import layout
from sim.outputs import Scan
from sim.processes import Processes
from sim.replay import write_json
from sim.scenario_run import (
    RECORDING,
    RUN,
    TRUTH,
    RunResult,
    clear,
    conclude,
    crash_text,
    json_bytes,
    recording_meta,
    run_document,
)
from sim.script import Scenario
from sim.store_toml import write_store
from sim.tokens import TokenIssuer
from sim.world import Options, World

WIRES = "wires.json"
STATUS_EVERY_S = 0.2
DIRT = (
    "shed",
    "detections_late",
    "detections_dropped",
    "serial_bytes_dropped",
    "gate_answers_late",
    "stalled_ms",
)
CLOSED_AFTER_NS = 2 * NS  # the last exit is known to the daemon, and in its status


def run_on_devices(
    scenario: Scenario,
    seed: int,
    out: Path,
    *,
    keep_recording: bool = True,
    progress: Callable[[int], None] = lambda now_ns: None,
) -> RunResult:
    """Run it with the real daemon and write the same folder as ``sim.scenario_run``.

    Raises:
        LayoutError: there is no such store.
        RecordingError, JournalError, OSError: the folder cannot be written or read.
    """
    started = time.perf_counter()
    out = out.absolute()
    clear(out)
    day = Day.of(scenario, seed, out, progress)
    try:
        asyncio.run(day.live())
        crashed = None
    except Exception as error:  # the outermost loop of a run: whatever it was, it is reported
        crashed = crash_text(error, day.world.now_ns, out)
    about = run_document(scenario, seed, crashed)
    done = asyncio.run(_recorded(day, about, out))
    write_json(out / WIRES, day.wires())
    return conclude(
        done, about, out, started=started, keep_recording=keep_recording, progress=progress
    )


@dataclass(slots=True)
class Day:
    """A store day on devices. ``folder`` holds all that the processes make."""

    scenario: Scenario
    seed: int
    folder: Path
    config: StoreConfig
    world: World
    issuer: TokenIssuer
    progress: Callable[[int], None]
    devices: WorldOnDevices | None = None
    status: dict[str, Any] | None = None
    counters: dict[str, int] = field(default_factory=dict)
    emptied_ns: int = 0

    @staticmethod
    def of(scenario: Scenario, seed: int, out: Path, progress: Callable[[int], None]) -> Day:
        """The store's files, and a world that has not begun."""
        folder = out / "store"
        base = layout(scenario.store)
        decision = replace(base.decision, review_deadline_s=scenario.review_deadline_s)
        issuer = TokenIssuer(str(base.store))
        config = replace(with_key(base, issuer), decision=decision, paths=paths_in(folder))
        if folder.exists():
            raise FileExistsError(
                f"{folder} is of an earlier run: remove it, or choose another --out"
            )
        folder.mkdir(parents=True)
        write_store(on_ports(config, str(folder / "devices")), folder / "store.toml")
        config = load(folder / "store.toml")
        return Day(
            scenario=scenario,
            seed=seed,
            folder=folder,
            config=config,
            world=World.of(config, Options(seed=seed), scenario),
            issuer=issuer,
            progress=progress,
        )

    async def live(self) -> None:
        """The daemon and the devices, until everybody is out and every cart is closed."""
        processes = Processes(self.folder / "logs")
        self.devices = WorldOnDevices(self.config, self.world, self._issue)
        closes_ns = round(self.scenario.duration_s * NS)
        self.devices.barriers.at(closes_ns, self.world.close_doors)
        self.devices.start()
        try:
            store = str(self.folder / "store.toml")
            daemon = await processes.start("daemon", "run", "--config", store)
            await processes.until(daemon, self._online, "its serial devices are not online")
            watching = asyncio.create_task(self._watch())
            await self.devices.run(lambda: self._over(processes))
            self.counters = self.devices.counters()  # before the daemon closes its ports
            watching.cancel()
            await processes.stop("daemon")
        finally:
            self.devices.stop()
            try:
                await processes.stop_all()
            finally:
                processes.kill_all()

    def wires(self) -> dict[str, Any]:
        """What the wires did; ``clean``: nothing was shed, late or dropped."""
        status = self.status or {}
        engine = status.get("counters", {}).get("engine", {})
        found = {
            "shed": status.get("inbox", {}).get("shed", 0),
            "detections_late": engine.get("timeline", {}).get("detections_late", 0),
            **self.counters,
        }
        clean = bool(self.counters) and not any(found.get(name, 0) for name in DIRT)
        return {"clean": clean, **found}

    async def _issue(self, scan: Scan) -> Credential:
        token = shown_code(self.world, self.issuer, scan, time.time_ns())
        jti = f"{scan.shopper}-code-{scan.attempt}"
        return Credential(credential=jti, token=token, expires_at="")

    def _online(self) -> bool:
        seen = self._read_status().get("devices", {})
        serial = [
            *(node.id for node in self.config.shelf_nodes),
            *(reader.id for reader in self.config.readers),
            *(node.id for node in self.config.gate_nodes),
        ]
        return all(seen.get(str(one), {}).get("state") == "online" for one in serial)

    def _over(self, processes: Processes) -> bool:
        """Everybody is out and every cart closed, or the bounds of a run are met."""
        processes.check()
        now_ns, open_ns = self.world.now_ns, round(self.scenario.duration_s * NS)
        if now_ns >= open_ns and self.world.empty and not self.emptied_ns:
            self.emptied_ns = now_ns
        if not self.emptied_ns:
            return now_ns >= open_ns + DRAIN_MAX_NS
        waited_ns = now_ns - self.emptied_ns
        settle_ns = round((self.scenario.review_deadline_s + SETTLE_S) * NS)
        return waited_ns >= settle_ns or (waited_ns > CLOSED_AFTER_NS and self._carts_closed())

    def _carts_closed(self) -> bool:
        status = self.status or {}
        return bool(status.get("running")) and not status.get("visits")

    async def _watch(self) -> None:
        """Read the daemon's status as an operator would; show progress."""
        while True:
            self.status = self._read_status() or self.status
            self.progress(self.world.now_ns)
            await asyncio.sleep(STATUS_EVERY_S)

    def _read_status(self) -> dict[str, Any]:
        try:
            return read_status(self.config)
        except (OSError, ValueError):
            return {}


async def _recorded(day: Day, about: dict[str, Any], out: Path) -> Run:
    """The daemon's journal as a recording, with the run's truth; what the daemon concluded."""
    done = Run(day.config, day.world, Engine(day.config), now_ns=day.world.now_ns)
    done.emptied_ns = day.emptied_ns
    journal = await Journal.open(Path(day.config.paths.journal), store=day.config.store)
    try:
        done.zero_ns = await _zero_ns(journal, day)
        meta = recording_meta(day.scenario, day.seed, done.zero_ns)
        with RecordingWriter(out / RECORDING, toml=day.config.toml, meta=meta) as writer:
            async for step, events in _steps(journal):
                writer.step(step.step, step.now_ns, step.observations)
                writer.events(step.now_ns, events)
                done.events.extend(events)
                done.now_ns = step.now_ns
            writer.attach(TRUTH, "application/json", json_bytes(done.truth.document()))
            writer.attach(RUN, "application/json", json_bytes(about))
    finally:
        await journal.close()
    return done


async def _steps(journal: Journal) -> AsyncIterator[tuple[RecordedStep, list[Event]]]:
    """Every step that a replay runs, and the events that followed it."""
    events = await journal.events_after(0)
    failures = await journal.failures_after(0)
    async for step in journal.steps_after(0):
        if step.step in failures and failures[step.step].set_aside:
            continue
        recorded = RecordedStep(step=step.step, now_ns=step.now_ns, observations=step.observations)
        yield recorded, [codec.decode(body) for body in events.get(step.step, [])]


async def _zero_ns(journal: Journal, day: Day) -> int:
    """Store time at the world's time 0: where truth and receipts count from."""
    began_wall_ns = day.devices.began_wall_ns if day.devices is not None else 0
    async for step in journal.steps_after(0):
        for seen in step.observations:
            if isinstance(seen, ClockAnchor) and began_wall_ns:
                return seen.received_at_ns + began_wall_ns - seen.wall_ns
    return 0
