"""What all drivers on a serial line share: the line, the health, the watch over silence."""

from __future__ import annotations

import asyncio

from hardware.drivers.serial_line import SerialLine
from hardware.drivers.sink import Health, Sink, Tap, untapped
from hardware.protocol.framing import FrameReader
from messages.commands import Command
from messages.ids import DeviceId
from messages.observations import DeviceState

WATCH_EVERY_S = 0.25
FRAME_COUNTERS = ("crc_errors", "garbage_bytes", "oversize", "wrong_version")
COMMON_COUNTERS = ("bytes", "connections", "unsent_dropped_bytes", "commands_failed")


class SerialDevice:
    """Base of a driver. Subclasses say what bytes mean; ``valid`` is called for good packets."""

    COUNTERS: tuple[str, ...] = ()
    STALE_AFTER_S: float | None = None  # None: silence is normal

    def __init__(self, device: DeviceId, port: str, baud: int, sink: Sink) -> None:
        self.health = Health(device, sink, (*COMMON_COUNTERS, *self.COUNTERS))
        self._sink = sink
        self._line = SerialLine(port, baud, self)
        self._port = port
        self._heard_at_ns = 0
        self.tap: Tap = untapped

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._line.run())
            tasks.create_task(self._watch())

    async def command(self, command: Command) -> None:
        """A device takes no command that its driver does not name."""
        self.health.count("commands_failed")

    # SerialLine's owner

    def on_open(self) -> None:
        self.health.count("connections")
        self._heard_at_ns = self._sink.now_ns()
        if self.STALE_AFTER_S is None:
            self.health.set(DeviceState.ONLINE)
        self.begin()

    def on_bytes(self, data: bytes) -> None:
        self.health.count("bytes", len(data))
        self.tap(self.health.device, data, False)
        self.received(data)

    def on_closed(self, reason: str) -> None:
        self.health.set(DeviceState.UNPLUGGED, reason)

    # for subclasses

    def begin(self) -> None:
        """The port was opened: nothing from before is pending."""

    def received(self, data: bytes) -> None:
        raise AssertionError("a driver says what its bytes mean")

    def send(self, data: bytes) -> bool:
        sent = self._line.write(data)
        if sent:
            self.tap(self.health.device, data, True)
        self.health.counters["unsent_dropped_bytes"] = self._line.unsent_dropped_bytes
        return sent

    def valid(self, detail: str = "", state: DeviceState = DeviceState.ONLINE) -> None:
        """Something valid came now; ``detail`` is what a person should know of it."""
        self._heard_at_ns = self._sink.now_ns()
        self.health.set(state, detail)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            self._check_silence()
            self.health.report_if_due()

    def _check_silence(self) -> None:
        if self.STALE_AFTER_S is None or self.health.state is DeviceState.UNPLUGGED:
            return
        if self._sink.now_ns() - self._heard_at_ns > self.STALE_AFTER_S * 1e9:
            self.health.set(DeviceState.SILENT, self.silence())

    def silence(self) -> str:
        return (
            f"nothing valid on {self._port} for {self.STALE_AFTER_S:.0f} s: "
            f"check the device's power, its cable and the baud rate"
        )


def copy_frame_counters(reader: FrameReader, health: Health) -> None:
    """What the frame reader counted, among the device's counters."""
    for name in FRAME_COUNTERS:
        health.counters[name] = getattr(reader.counters, name)
