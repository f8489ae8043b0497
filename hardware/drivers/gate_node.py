"""Driver of a gate controller: passages become ``GateSignal``, commands become packets.

The controller sends each event again until it is acknowledged, so events are told apart by their
number and each becomes a signal once. The way out needs nothing from here.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from hardware.drivers.commands import Asking, CommandRefusedError
from hardware.drivers.serial_device import FRAME_COUNTERS, SerialDevice, copy_frame_counters
from hardware.drivers.sink import Sink
from hardware.protocol import gate_node as wire
from hardware.protocol.framing import FrameReader, encode_frame
from hardware.protocol.identity import Identify, Identity, Nak, PacketError
from messages.commands import Command, RefuseEntry, UnlockGate
from messages.observations import DeviceState, GateSignal, GateSignalKind
from messages.store_config import GateNode

HOLD_MS = 6_500  # GatePolicy.passage_timeout_s less the 3 s an unlock may take, so that nobody
# passes through a barrier whose visit has just been called off
GAP_MS = 3_500  # under GatePolicy.passage_gap_s, for the same reason
EVENTS_KNOWN = 1_024  # four times what a controller keeps
SEQUENCES = 1 << 16

_SIGNAL_OF_BARRIER = {
    wire.BarrierState.CLOSED: GateSignalKind.CLOSED,
    wire.BarrierState.OPENED: GateSignalKind.OPENED,
    wire.BarrierState.FORCED: GateSignalKind.FORCED,
}
_SIGNAL_OF_PASSAGE = {
    wire.Direction.IN: GateSignalKind.ENTER,
    wire.Direction.OUT: GateSignalKind.EXIT,
}


class GateNodeDriver(SerialDevice):
    """One gate controller on one port."""

    STALE_AFTER_S = 3 * wire.HEARTBEAT_S
    COUNTERS = (
        "packets",
        "repeated",
        "late_events",
        "events_lost",
        "reboots",
        *FRAME_COUNTERS,
        "wrong_packet",
        "commands_done",
        "commands_repeated",
    )

    def __init__(
        self, config: GateNode, sink: Sink, *, hold_ms: int = HOLD_MS, gap_ms: int = GAP_MS
    ) -> None:
        super().__init__(config.id, config.port, config.baud, sink)
        self._config, self._hold_ms, self._gap_ms = config, hold_ms, gap_ms
        self._reader = FrameReader()
        self._asking = Asking(sink)
        self._known: deque[int] = deque(maxlen=EVENTS_KNOWN)
        self._journalled: deque[int] = deque(maxlen=EVENTS_KNOWN)
        self._uptime_ms: int | None = None
        self._hardware_id = ""
        self._exchanged = ""
        self._questions = 0

    async def command(self, command: Command) -> None:
        """``UnlockGate`` and ``RefuseEntry``, until answered or too late.

        Raises:
            CommandRefusedError: the barrier does not move.
        """
        match command:
            case UnlockGate():
                result, sends = await self._asking.ask(
                    command, lambda number: self._ask(self._unlock(number, command.passages))
                )
            case RefuseEntry():
                code = wire.REASON_CODE[command.reason]
                result, sends = await self._asking.ask(
                    command, lambda number: self._ask(wire.Refuse(command=number, reason=code))
                )
            case _:
                await super().command(command)
                return
        self._finished(result, sends)

    # SerialDevice

    def begin(self) -> None:
        self._reader.reset()
        self._ask(Identify())

    def received(self, data: bytes) -> None:
        frames = self._reader.feed(data)
        copy_frame_counters(self._reader, self.health)
        for frame in frames:
            try:
                packet = wire.decode(frame)
            except PacketError as error:
                self.health.count("wrong_packet")
                self.valid(f"a packet that breaks the protocol: {error}")
                continue
            self.health.count("packets")
            self._packet(packet)

    # packets

    def _packet(self, packet: wire.Packet) -> None:
        match packet:
            case wire.Passage():
                kind = _SIGNAL_OF_PASSAGE[packet.direction]
                self._event(packet.event, packet.age_ms, kind, packet.people)
            case wire.Barrier():
                kind = _SIGNAL_OF_BARRIER[packet.state]
                self._event(packet.event, packet.age_ms, kind, 1)
            case wire.Unlocked() | wire.Refused():
                self._asking.answered(packet.command, packet.result)
            case wire.Status():
                self._status(packet)
            case Identity():
                self._identified(packet)
            case Nak():
                self.health.count("wrong_packet")
                self.valid(f"the controller refused type {packet.refused_type}: {packet.reason}")
            case _:
                self.health.count("wrong_packet")  # our own question, echoed by the line

    def _event(self, event: int, age_ms: int, kind: GateSignalKind, people: int) -> None:
        """Pass an event on; it is acknowledged, and so forgotten there, once it is journalled."""
        self.valid(self._exchanged)
        if event in self._known:
            self.health.count("repeated")
            if event in self._journalled:
                self._ask(wire.EventAck(event=event))
            return
        self._known.append(event)
        self.health.count("late_events", age_ms > 1_000 * wire.EVENT_RESEND_S)
        for person in range(people):
            signal = GateSignal(
                gate=self._config.gate,
                device=self._config.id,
                kind=kind,
                received_at_ns=self._sink.now_ns(),
                number=event << 8 | person,
            )
            last = person == people - 1
            self._sink.put(signal, partial(self._acknowledge, event) if last else None)

    def _acknowledge(self, event: int) -> None:
        self._journalled.append(event)
        self._ask(wire.EventAck(event=event))

    def _status(self, status: wire.Status) -> None:
        if self._uptime_ms is not None and status.uptime_ms < self._uptime_ms:
            self.health.count("reboots")
            self._ask(Identify())
        self._uptime_ms = status.uptime_ms
        self.health.counters["events_lost"] = status.events_lost
        self.valid(self._detail(status))

    def _identified(self, identity: Identity) -> None:
        before, self._hardware_id = self._hardware_id, identity.hardware_id
        if before and before != identity.hardware_id:
            self._exchanged = f"another controller answers: {identity.hardware_id}, before {before}"
        if identity.plates:
            self.valid(
                f"a shelf node ({identity.hardware_id}) answers on {self._port}: "
                f"exchange the ports in store.toml",
                DeviceState.FAULT,
            )
        else:
            self.valid(self._exchanged)

    def _detail(self, status: wire.Status) -> str:
        if not status.events_lost:
            return self._exchanged
        return f"{status.events_lost} passages were dropped while nobody listened: count the people"

    # commands

    def _unlock(self, number: int, passages: int) -> wire.Unlock:
        passages = min(passages, 255)
        return wire.Unlock(
            command=number, passages=passages, hold_ms=self._hold_ms, gap_ms=self._gap_ms
        )

    def _finished(self, result: int | None, sends: int) -> None:
        self.health.count("commands_repeated", max(0, sends - 1))
        done = result in (wire.Result.DONE, wire.Result.REPEATED)
        self.health.count("commands_done" if done else "commands_failed")
        if result == wire.Result.FAULT:
            self.health.set(DeviceState.FAULT, "the barrier does not move: look at the gate")
            raise CommandRefusedError("the barrier does not move: look at the gate")

    def _ask(self, packet: wire.Packet) -> bool:
        self._questions = (self._questions + 1) % SEQUENCES
        return self.send(encode_frame(wire.encode(packet, node=0, sequence=self._questions)))
