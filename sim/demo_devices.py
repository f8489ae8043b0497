"""The simulated world on emulated devices, in real time: its outputs become bytes on ptys.

``WorldOnDevices`` owns one emulated device for each device of the store's configuration. A scan
needs a code first: the shopper's phone asks the broker for one (``issue``), as an app would.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from messages.contract import Credential
from messages.ids import DeviceId, GateId
from messages.observations import PersonDetections
from messages.store_config import StoreConfig
from sim.devices import CameraNodeClient, GateNodeDevice, ReaderDevice, ShelfNodeDevice
from sim.outputs import CameraPacket, Output, Passage, Scan, ShelfBatch
from sim.world import World

NS = 1_000_000_000
TICK_S = 0.02
BEHIND_MAX_NS = 2 * NS  # what a stalled machine may make up at once; beyond it store time waits

log = logging.getLogger(__name__)

Issue = Callable[[Scan], Awaitable[Credential]]


class WorldOnDevices:
    """Devices of a store, fed by a world. ``start`` plugs them in; ``run`` moves the world."""

    def __init__(self, config: StoreConfig, world: World, issue: Issue) -> None:
        self.world = world
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
        while not stop():
            now_ns = time.monotonic_ns() - offset_ns
            behind_ns = now_ns - self.world.now_ns
            if behind_ns > BEHIND_MAX_NS:
                offset_ns += behind_ns - BEHIND_MAX_NS
                self.stalled_ms += (behind_ns - BEHIND_MAX_NS) / 1e6
                now_ns -= behind_ns - BEHIND_MAX_NS
            for output in self.world.advance(now_ns):
                self._send(output, now_ns)
            await asyncio.sleep(TICK_S)

    def counters(self) -> dict[str, int]:
        """What the wires did, for the report."""
        return {
            "scans": self.scans,
            "scans_failed": self.scans_failed,
            "stalled_ms": round(self.stalled_ms),
            "serial_bytes_dropped": sum(d.port.dropped_bytes for d in self._serial()),
            "detections_sent": self._cameras.sent,
            "detections_dropped": self._cameras.dropped,
            "unlocks": sum(gate.unlocks for gate in self._gates.values()),
            "forced": sum(gate.forced for gate in self._gates.values()),
        }

    def _serial(self) -> tuple[ShelfNodeDevice | GateNodeDevice | ReaderDevice, ...]:
        return (*self._shelves.values(), *self._gates.values(), *self._readers.values())

    def _gate_device(self, gate: GateId, port: str) -> GateNodeDevice:
        return GateNodeDevice(
            port,
            hardware_id=f"SIM-{gate}"[:12],
            on_unlocked=lambda passages: self.world.unlocked(gate, passages, self.world.now_ns),
            on_refused=lambda reason: self.world.refused(gate, self.world.now_ns),
        )

    def _send(self, output: Output, now_ns: int) -> None:
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
                self._cameras.send(detections(output, now_ns))
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


def detections(packet: CameraPacket, now_ns: int) -> PersonDetections:
    """The message of a camera node: ``captured_at_ns`` is the wall clock then."""
    age_ns = now_ns - packet.captured_at_ns
    return PersonDetections(
        camera=packet.camera,
        received_at_ns=0,
        captured_at_ns=time.time_ns() - age_ns,
        sequence=packet.sequence,
        boxes_px=packet.boxes_px,
        feet_px=packet.feet_px,
        scores=packet.scores,
        wrists_px=None if np.isnan(packet.wrists_px).all() else packet.wrists_px,
        embeddings=packet.embeddings,
        image_state=packet.image_state,
    )


def _absolute(path: str) -> Path:
    return Path(path).absolute()
