"""Device emulators: a shelf node, a gate controller, a QR reader and a camera node.

They speak the same bytes as the hardware (``hardware/protocol``), on ptys and a unix socket, and
know nothing of the simulated world: somebody tells them what their load cells, light beams and
lenses see. All run on one event loop; nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardware.protocol import camera_link, gate_node, shelf_node
from hardware.protocol.framing import FrameReader, encode_frame
from hardware.protocol.identity import Identify, Identity, Nak, NakReason, PacketError, UnknownType
from messages.arrays import Bytes8, Counts
from messages.observations import ItemSightings, PersonDetections
from sim.device_port import DevicePort, Wire

TICKS = 1 << 32
SEQUENCES = 1 << 16


class ShelfNodeDevice:
    """A shelf node with any number of plates; ``send_samples`` is its converter."""

    def __init__(
        self,
        link: str | Path,
        plates: int,
        *,
        node: int = 1,
        hardware_id: str = "SIMSHELF",
        sample_rate_hz: float = 60.0,
        to_host: Wire | None = None,
        from_host: Wire | None = None,
    ) -> None:
        self.port = DevicePort(link, self._on_bytes, to_host=to_host, from_host=from_host)
        self.tares = 0
        self._identity = Identity(
            hardware_id=hardware_id,
            firmware=1,
            plates=plates,
            sample_rate_mhz=round(sample_rate_hz * 1000),
        )
        self._node, self._sequence = node, 0
        self._zero = np.zeros(plates, np.int64)
        self._last = np.zeros(plates, np.int64)
        self._done: deque[int] = deque(maxlen=gate_node.COMMANDS_KEPT)
        self._reader = FrameReader()

    def start(self) -> None:
        self.port.plug()

    def stop(self) -> None:
        self.port.unplug()

    def reboot(self) -> None:
        """Power came back: the sequence starts again; the caller's ticks do too."""
        self._sequence = 0
        self._done.clear()

    def send_samples(
        self,
        ticks_us: int,
        sample_period_us: int,
        flags: Bytes8,
        counts: Counts,
        *,
        sequence: int | None = None,
    ) -> None:
        """One batch: ``counts`` (samples, plates), ``ticks_us`` of its first sample.

        ``sequence``: as its maker numbered it, so that lost and repeated ones show; None counts up.
        """
        if sequence is not None:
            self._sequence = sequence % SEQUENCES
        self._last = counts[-1].astype(np.int64)
        tared = np.clip(counts - self._zero, -(2**31), 2**31 - 1).astype(np.int32)
        packet = shelf_node.Samples(
            ticks_us=ticks_us % TICKS,
            sample_period_us=sample_period_us,
            flags=np.array(flags, np.uint8),
            counts=tared,
        )
        self._send(packet, self._sequence)
        self._sequence = (self._sequence + 1) % SEQUENCES

    def _on_bytes(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            if frame.node not in (0, self._node):
                continue
            try:
                self._answer(shelf_node.decode(frame), frame.sequence)
            except PacketError as error:
                unknown = isinstance(error, UnknownType)
                reason = NakReason.UNKNOWN_TYPE if unknown else NakReason.WRONG_LENGTH
                self._send(Nak(refused_type=frame.type, reason=reason), frame.sequence)

    def _answer(self, packet: shelf_node.Packet, sequence: int) -> None:
        match packet:
            case Identify():
                self._send(self._identity, sequence)
            case shelf_node.Tare():
                done = shelf_node.TareDone(command=packet.command, result=self._tare(packet))
                self._send(done, sequence)

    def _tare(self, tare: shelf_node.Tare) -> shelf_node.TareResult:
        if any(plate >= len(self._zero) for plate in tare.plates):
            return shelf_node.TareResult.NO_SUCH_PLATE
        if tare.command not in self._done:
            self._done.append(tare.command)
            self._zero[list(tare.plates)] = self._last[list(tare.plates)]
            self.tares += 1
        return shelf_node.TareResult.DONE

    def _send(self, packet: shelf_node.Packet, sequence: int) -> None:
        frame = shelf_node.encode(packet, node=self._node, sequence=sequence)
        self.port.send(encode_frame(frame))


@dataclass(slots=True)
class _Kept:
    """An event the host has not acknowledged."""

    event: int
    at_s: float
    make: Callable[[int, int], gate_node.Packet]  # event number, age in ms


@dataclass(slots=True)
class _Barrier:
    unlocked: bool = False
    passages_left: int = 0
    gap_s: float = 0.0
    closes: asyncio.TimerHandle | None = None
    done: deque[int] = field(default_factory=lambda: deque(maxlen=gate_node.COMMANDS_KEPT))


class GateNodeDevice:
    """A gate controller. Inwards only while unlocked; outwards always, whoever listens.

    | barrier | signal | then |
    |---|---|---|
    | closed | UNLOCK | unlocked for ``hold``, the passages counted |
    | unlocked | UNLOCK | passages replaced, ``hold`` anew |
    | unlocked | somebody in, more may | unlocked for ``gap`` |
    | unlocked | the last one in, or time over | closed |
    | closed | somebody in | FORCED |
    | any | somebody out | PASSAGE out, nothing else |
    """

    def __init__(
        self,
        link: str | Path,
        *,
        hardware_id: str = "SIMGATE",
        boots: int = 1,
        to_host: Wire | None = None,
        from_host: Wire | None = None,
        on_unlocked: Callable[[int], None] = lambda passages: None,
        on_refused: Callable[[int], None] = lambda reason: None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.port = DevicePort(link, self._on_bytes, to_host=to_host, from_host=from_host)
        self.on_unlocked, self.on_refused, self.on_closed = on_unlocked, on_refused, on_closed
        self.unlocks = self.repeated_commands = self.forced = self.events_lost = 0
        self._identity = Identity(hardware_id=hardware_id, firmware=1, plates=0, sample_rate_mhz=0)
        self._reader, self._barrier = FrameReader(), _Barrier()
        self._kept: deque[_Kept] = deque()
        self._boots, self._events, self._sequence = boots, 0, 0
        self._started_s = 0.0
        self._running: asyncio.Task[None] | None = None

    @property
    def unlocked(self) -> bool:
        return self._barrier.unlocked

    def start(self) -> None:
        self.port.plug()
        self._started_s = asyncio.get_running_loop().time()
        self._running = asyncio.get_running_loop().create_task(self._beat())

    def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._barrier.closes is not None:
            self._barrier.closes.cancel()
        self.port.unplug()

    def pass_in(self) -> bool:
        """Somebody walks in; False where the barrier was closed and they forced it."""
        if not self._barrier.unlocked:
            self.forced += 1
            self._report(_barrier(gate_node.BarrierState.FORCED))
            return False
        self._report(_passage(gate_node.Direction.IN))
        self._barrier.passages_left -= 1
        if self._barrier.passages_left > 0:
            self._close_after(self._barrier.gap_s)
        else:
            self._close()
        return True

    def pass_out(self) -> None:
        """Somebody walks out. Free by this controller alone."""
        self._report(_passage(gate_node.Direction.OUT))

    def reboot(self) -> None:
        """Power came back: closed, and nothing known of commands or events before."""
        self._close()
        self._barrier.done.clear()
        self._kept.clear()
        self._boots, self._events = self._boots + 1, 0
        self._started_s = asyncio.get_running_loop().time()

    def _on_bytes(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            try:
                self._answer(gate_node.decode(frame), frame.sequence)
            except PacketError as error:
                unknown = isinstance(error, UnknownType)
                reason = NakReason.UNKNOWN_TYPE if unknown else NakReason.WRONG_LENGTH
                self._send(Nak(refused_type=frame.type, reason=reason), frame.sequence)

    def _answer(self, packet: gate_node.Packet, sequence: int) -> None:
        match packet:
            case Identify():
                self._send(self._identity, sequence)
            case gate_node.Unlock():
                result = self._once(packet.command)
                if result is gate_node.Result.DONE:
                    self._unlock(packet)
                self._send(gate_node.Unlocked(command=packet.command, result=result), sequence)
            case gate_node.Refuse():
                result = self._once(packet.command)
                if result is gate_node.Result.DONE:
                    self.on_refused(packet.reason)
                self._send(gate_node.Refused(command=packet.command, result=result), sequence)
            case gate_node.EventAck():
                self._kept = deque(k for k in self._kept if k.event != packet.event)

    def _once(self, command: int) -> gate_node.Result:
        if command in self._barrier.done:
            self.repeated_commands += 1
            return gate_node.Result.REPEATED
        self._barrier.done.append(command)
        return gate_node.Result.DONE

    def _unlock(self, unlock: gate_node.Unlock) -> None:
        was_closed = not self._barrier.unlocked
        self._barrier.unlocked = True
        self._barrier.passages_left = unlock.passages
        self._barrier.gap_s = unlock.gap_ms / 1000
        self.unlocks += 1
        self._close_after(unlock.hold_ms / 1000)
        if was_closed:
            self._report(_barrier(gate_node.BarrierState.OPENED))
        self.on_unlocked(unlock.passages)

    def _close_after(self, delay_s: float) -> None:
        if self._barrier.closes is not None:
            self._barrier.closes.cancel()
        self._barrier.closes = asyncio.get_running_loop().call_later(delay_s, self._close)

    def _close(self) -> None:
        if self._barrier.closes is not None:
            self._barrier.closes.cancel()
            self._barrier.closes = None
        if self._barrier.unlocked:
            self._barrier.unlocked, self._barrier.passages_left = False, 0
            self._report(_barrier(gate_node.BarrierState.CLOSED))
            self.on_closed()

    def _report(self, make: Callable[[int, int], gate_node.Packet]) -> None:
        """Keep an event until it is acknowledged, and send it now."""
        self._events = (self._events + 1) % SEQUENCES
        number = (self._boots % SEQUENCES) << 16 | self._events
        kept = _Kept(number, asyncio.get_running_loop().time(), make)
        self._kept.append(kept)
        if len(self._kept) > gate_node.EVENTS_KEPT:
            self._kept.popleft()
            self.events_lost += 1
        self._send_event(kept)

    def _send_event(self, kept: _Kept) -> None:
        age_ms = round(1000 * (asyncio.get_running_loop().time() - kept.at_s))
        self._send_counted(kept.make(kept.event, min(age_ms, TICKS - 1)))

    async def _beat(self) -> None:
        """Events again each half second, status each second."""
        beats = 0
        while True:
            for kept in tuple(self._kept):
                self._send_event(kept)
            if beats % 2 == 0:
                self._send_counted(self._status())
            beats += 1
            await asyncio.sleep(gate_node.EVENT_RESEND_S)

    def _status(self) -> gate_node.Status:
        opened, closed = gate_node.BarrierState.OPENED, gate_node.BarrierState.CLOSED
        return gate_node.Status(
            barrier=opened if self._barrier.unlocked else closed,
            passages_left=min(self._barrier.passages_left, 255),
            events_waiting=min(len(self._kept), 255),
            events_lost=min(self.events_lost, SEQUENCES - 1),
            uptime_ms=round(1000 * (asyncio.get_running_loop().time() - self._started_s)) % TICKS,
        )

    def _send_counted(self, packet: gate_node.Packet) -> None:
        self._send(packet, self._sequence)
        self._sequence = (self._sequence + 1) % SEQUENCES

    def _send(self, packet: gate_node.Packet, sequence: int) -> None:
        self.port.send(encode_frame(gate_node.encode(packet, node=1, sequence=sequence)))


class ReaderDevice:
    """A QR reader: ``scan`` sends the text and CR LF."""

    def __init__(self, link: str | Path, *, to_host: Wire | None = None) -> None:
        self.port = DevicePort(link, to_host=to_host)

    def start(self) -> None:
        self.port.plug()

    def stop(self) -> None:
        self.port.unplug()

    def scan(self, token: str) -> None:
        self.port.send(token.encode("utf-8", "replace") + b"\r\n")


class CameraNodeClient:
    """A camera node: sends detections while the daemon is there, drops them while it is not."""

    UNSENT_BYTES_MAX = 1 << 18  # old pictures are of no use
    RECONNECT_S = 0.2

    def __init__(self, path: str | Path) -> None:
        self.dropped = self.sent = 0
        self._path = str(path)
        self._writer: asyncio.StreamWriter | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._connect())

    def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def send(self, detections: PersonDetections | ItemSightings) -> bool:
        """``captured_at_ns`` holds the camera's wall clock. False where it was dropped."""
        writer = self._writer
        too_slow = (
            writer is None
            or writer.is_closing()
            or writer.transport.get_write_buffer_size() > self.UNSENT_BYTES_MAX
        )
        if writer is None or too_slow:
            self.dropped += 1
            return False
        writer.write(camera_link.encode_detections(detections))
        self.sent += 1
        return True

    def send_all(self, many: Sequence[PersonDetections]) -> None:
        for detections in many:
            self.send(detections)

    async def _connect(self) -> None:
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
                await reader.read()  # the daemon sends nothing: this ends with the connection
            except OSError:
                pass
            finally:
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
            await asyncio.sleep(self.RECONNECT_S)


def _passage(direction: gate_node.Direction) -> Callable[[int, int], gate_node.Packet]:
    return lambda event, age_ms: gate_node.Passage(event=event, direction=direction, age_ms=age_ms)


def _barrier(state: gate_node.BarrierState) -> Callable[[int, int], gate_node.Packet]:
    return lambda event, age_ms: gate_node.Barrier(event=event, state=state, age_ms=age_ms)
