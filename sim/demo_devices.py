"""The simulated world on emulated devices, in real time: its outputs become bytes on ptys.

``WorldOnDevices`` owns one emulated device for each device of the store's configuration. A scan
needs a code first: the shopper's phone asks the broker for one (``issue``), as an app would.

The world runs a little ahead, so that each output leaves at its own instant and not with the tick
that made it: wires then jitter in real time about as they do in virtual time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardware.drivers.camera_link import SOCKET_PATH_BYTES_MAX
from messages.contract import Credential
from messages.ids import DeviceId, GateId
from messages.observations import PersonDetections
from messages.store_config import Paths, StoreConfig
from sim.barriers import Barriers
from sim.devices import CameraNodeClient, GateNodeDevice, ReaderDevice, ShelfNodeDevice
from sim.outputs import CameraPacket, HandPacket, Output, Passage, Scan, ShelfBatch
from sim.world import World

NS = 1_000_000_000
TICK_S = 0.02
AHEAD_NS = 100_000_000  # two ticks of the world; a gate's answer is not due before 500 ms
BEHIND_MAX_NS = 2 * NS  # what a stalled machine may make up at once; beyond it store time waits

log = logging.getLogger(__name__)

Issue = Callable[[Scan], Awaitable[Credential]]


class WorldOnDevices:
    """Devices of a store, fed by a world. ``start`` plugs them in; ``run`` moves the world."""

    def __init__(self, config: StoreConfig, world: World, issue: Issue) -> None:
        self.world, self.barriers = world, Barriers(world)
        self.began_wall_ns = 0  # wall clock at the world's time 0
        self.late_ms_max = 0.0  # an output left so much after its instant
        self.scans = self.scans_failed = 0
        self.stalled_ms = 0.0  # real time that the world did not follow
        self._issue = issue
        self._shelves = {
            node.id: ShelfNodeDevice(
                node.port, len(node.plates), node=node.node, hardware_id=f"SIM-{node.id}"[:12]
            )
            for node in config.shelf_nodes
        }
        self._gates: dict[GateId, GateNodeDevice] = {
            node.gate: self._gate_device(node.gate, node.port) for node in config.gate_nodes
        }
        self._readers = {reader.id: ReaderDevice(reader.port) for reader in config.readers}
        self._cameras = CameraNodeClient(_absolute(config.paths.camera_socket))
        self._codes: set[asyncio.Task[None]] = set()
        self._due: list[tuple[int, int, Output]] = []  # heap: instant, count, what
        self._count = 0
        self._unheard_bytes = 0  # greetings before the daemon had opened its ports

    def start(self) -> None:
        for device in self._serial():
            device.start()
        self._cameras.start()

    def stop(self) -> None:
        for task in self._codes:
            task.cancel()
        for device in self._serial():
            device.stop()
        self._cameras.stop()

    async def run(self, stop: Callable[[], bool]) -> None:
        """Real time until ``stop()``; the world's time 0 is now."""
        offset_ns = time.monotonic_ns() - self.world.now_ns
        self.began_wall_ns = time.time_ns() - self.world.now_ns
        self._unheard_bytes = self._dropped_bytes()
        reached_ns = self.world.now_ns
        while not stop():
            now_ns = time.monotonic_ns() - offset_ns
            behind_ns = now_ns - reached_ns - BEHIND_MAX_NS
            if behind_ns > 0:
                offset_ns, now_ns = offset_ns + behind_ns, now_ns - behind_ns
                self.began_wall_ns += behind_ns
                self.stalled_ms += behind_ns / 1e6
            reached_ns = now_ns
            for output in self.barriers.advance(now_ns + AHEAD_NS):
                self._count += 1
                heapq.heappush(self._due, (output.at_ns, self._count, output))
            next_ns = self._send_due(now_ns)
            await asyncio.sleep(min(TICK_S, max(next_ns - now_ns, 0) / NS))

    def _send_due(self, now_ns: int) -> int:
        """Put on the wires what is due; the instant at which the next is, or the far future."""
        while self._due and self._due[0][0] <= now_ns:
            at_ns, _, output = heapq.heappop(self._due)
            self.late_ms_max = max(self.late_ms_max, (now_ns - at_ns) / 1e6)
            self._send(output)
        return self._due[0][0] if self._due else now_ns + NS

    def counters(self) -> dict[str, int]:
        """What the wires did, for the report."""
        return {
            "scans": self.scans,
            "scans_failed": self.scans_failed,
            "stalled_ms": round(self.stalled_ms),
            "late_ms_max": round(self.late_ms_max),
            "gate_answers_late": self.barriers.late,
            "serial_bytes_dropped": self._dropped_bytes() - self._unheard_bytes,
            "detections_sent": self._cameras.sent,
            "detections_dropped": self._cameras.dropped,
            "unlocks": sum(gate.unlocks for gate in self._gates.values()),
            "forced": sum(gate.forced for gate in self._gates.values()),
        }

    def _dropped_bytes(self) -> int:
        return sum(device.port.dropped_bytes for device in self._serial())

    def _serial(self) -> tuple[ShelfNodeDevice | GateNodeDevice | ReaderDevice, ...]:
        return (*self._shelves.values(), *self._gates.values(), *self._readers.values())

    def _gate_device(self, gate: GateId, port: str) -> GateNodeDevice:
        return GateNodeDevice(
            port,
            hardware_id=f"SIM-{gate}"[:12],
            on_unlocked=lambda passages: self.barriers.unlocked(gate, passages),
            on_refused=lambda reason: self.barriers.refused(gate),
        )

    def _send(self, output: Output) -> None:
        match output:
            case ShelfBatch():
                self._shelves[output.device].send_samples(
                    output.ticks_us,
                    output.sample_period_us,
                    output.flags,
                    output.counts,
                    sequence=output.sequence,
                )
            case CameraPacket():
                self._cameras.send(detections(output, self.began_wall_ns))
            case HandPacket():
                wall_ns = self.began_wall_ns + output.seen.captured_at_ns
                self._cameras.send(replace(output.seen, captured_at_ns=wall_ns))
            case Passage():
                gate = self._gates[output.gate]
                if output.inward:
                    gate.pass_in()
                else:
                    gate.pass_out()
            case Scan():
                self._scan(output)

    def _scan(self, scan: Scan) -> None:
        task = asyncio.create_task(self._show_code(scan, self._readers[DeviceId(scan.reader)]))
        self._codes.add(task)
        task.add_done_callback(self._codes.discard)

    async def _show_code(self, scan: Scan, reader: ReaderDevice) -> None:
        """Without a code from the broker the shopper waits, and tries again."""
        self.scans += 1
        try:
            credential = await self._issue(scan)
        except Exception as error:
            self.scans_failed += 1
            log.warning("no code for %s: %s", scan.shopper, error)
            return
        self.world.set_credential(scan.shopper, credential.credential)
        reader.scan(credential.token)


def detections(packet: CameraPacket, began_wall_ns: int) -> PersonDetections:
    """The message of a camera node: ``captured_at_ns`` is the wall clock then.

    ``began_wall_ns``: the wall clock at the world's time 0.
    """
    return PersonDetections(
        camera=packet.camera,
        received_at_ns=0,
        captured_at_ns=began_wall_ns + packet.captured_at_ns,
        sequence=packet.sequence,
        boxes_px=packet.boxes_px,
        feet_px=packet.feet_px,
        scores=packet.scores,
        wrists_px=None if np.isnan(packet.wrists_px).all() else packet.wrists_px,
        embeddings=packet.embeddings,
        image_state=packet.image_state,
    )


def paths_in(folder: Path) -> Paths:
    """All inside the folder; sockets beside it where their path would be too long for a socket."""
    sockets = folder / "run"
    if len(str(sockets / "cameras.sock").encode()) > SOCKET_PATH_BYTES_MAX - 12:
        sockets = Path(tempfile.mkdtemp(prefix="walkout-run-"))
    return Paths(
        journal=str(folder / "journal.db"),
        sync=str(folder / "sync.db"),
        runtime=str(folder / "run"),
        camera_socket=str(sockets / "cameras.sock"),
        control_socket=str(sockets / "control.sock"),
    )


def _absolute(path: str) -> Path:
    return Path(path).absolute()
