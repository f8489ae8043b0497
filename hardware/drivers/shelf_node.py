"""Driver of a shelf node: batches of raw counts become ``ShelfSamples``.

Packets are counted by the node. A repeated or late one is dropped, a gap is counted as lost, and
a jump that the node's own clock does not explain is a restart of the node. A node with another
number of plates than store.toml says gives no readings at all: nobody could tell which is which.
"""

from __future__ import annotations

from collections import deque

from hardware.drivers.commands import Asking, CommandRefusedError
from hardware.drivers.serial_device import FRAME_COUNTERS, SerialDevice, copy_frame_counters
from hardware.drivers.sink import Sink
from hardware.protocol import shelf_node as wire
from hardware.protocol.framing import Frame, FrameReader, encode_frame
from hardware.protocol.identity import Identify, Identity, Nak, PacketError, UnknownType
from messages.catalogue import ENTRY_OF
from messages.commands import Command, TareShelf
from messages.observations import DeviceState, PlateFlag, ShelfSamples
from messages.store_config import ShelfNode

TICKS = 1 << 32
SEQUENCES = 1 << 16
CLOCK_ERROR_MAX = 0.02  # an AVR on its internal RC oscillator, over temperature (datasheet: 1 %)
REPEATS_KNOWN = 32  # packets: a line that repeats does so within a second or two
ASK_AGAIN_NS = 5_000_000_000  # identity, while it has not come


class ShelfNodeDriver(SerialDevice):
    """One shelf node on one port."""

    STALE_AFTER_S = ENTRY_OF[ShelfSamples].stale_after_s
    COUNTERS = (
        "packets",
        "lost",
        "repeated",
        "reboots",
        *FRAME_COUNTERS,
        "wrong_shape",
        "wrong_packet",
        "other_node",
        "commands_done",
        "commands_repeated",
    )

    def __init__(self, config: ShelfNode, sink: Sink) -> None:
        super().__init__(config.id, config.port, config.baud, sink)
        self._config = config
        self._reader = FrameReader()
        self._asking = Asking(sink)
        self._last: tuple[int, int, int] | None = None  # sequence, ticks, batch in us
        self._recent: deque[tuple[int, int]] = deque(maxlen=REPEATS_KNOWN)  # sequence, ticks
        self._identity: Identity | None = None
        self._hardware_id = ""
        self._exchanged = ""
        self._asked_at_ns = 0
        self._questions = 0

    async def command(self, command: Command) -> None:
        """``TareShelf``; anything else is not for a shelf node.

        Raises:
            CommandRefusedError: a plate that is not of this node, or one that moves.
        """
        if not isinstance(command, TareShelf):
            await super().command(command)
            return
        if not set(command.plates) <= set(self._config.plates):
            self.health.count("commands_failed")
            raise CommandRefusedError(f"{self._config.id} has not all plates of {command.plates}")
        channels = tuple(self._config.plates.index(plate) for plate in command.plates)
        result, sends = await self._asking.ask(
            command, lambda number: self._ask(wire.Tare(command=number, plates=channels))
        )
        self.health.count("commands_repeated", max(0, sends - 1))
        done = result == wire.TareResult.DONE
        self.health.count("commands_done" if done else "commands_failed")
        if result is not None and not done:
            raise CommandRefusedError(f"tare: {wire.TareResult(result).name.lower()}")

    # SerialDevice

    def begin(self) -> None:
        self._reader.reset()
        self._last = None
        self._identify(at_once=True)

    def received(self, data: bytes) -> None:
        frames = self._reader.feed(data)
        copy_frame_counters(self._reader, self.health)
        for frame in frames:
            if self._config.node not in (0, frame.node):
                self.health.count("other_node")
                self.valid(self._other_node(frame), DeviceState.FAULT)
                continue
            try:
                self._packet(frame)
            except UnknownType:
                self.health.count("wrong_packet")
            except PacketError as error:
                self.health.count("wrong_packet")
                self.valid(f"a packet that breaks the protocol: {error}")

    def silence(self) -> str:
        if self._reader.foreign_version is not None and not self.health.counters["packets"]:
            return (
                f"the node speaks protocol version {self._reader.foreign_version}, this driver 1: "
                f"update the node's firmware or Walkout"
            )
        return super().silence()

    # packets

    def _packet(self, frame: Frame) -> None:
        match wire.decode(frame):
            case wire.Samples() as samples:
                self._samples(frame.sequence, samples)
            case Identity() as identity:
                self._identified(identity)
            case wire.TareDone() as done:
                self._asking.answered(done.command, done.result)
            case Nak() as nak:
                self.health.count("wrong_packet")
                self.valid(f"the node refused packet type {nak.refused_type}, code {nak.reason}")
            case _:
                self.health.count("wrong_packet")  # our own question, echoed by the line

    def _samples(self, sequence: int, samples: wire.Samples) -> None:
        n, plates = samples.counts.shape
        if plates != len(self._config.plates):
            self.health.count("wrong_shape")
            self.valid(self._wrong_shape(plates), DeviceState.FAULT)
            return
        if not self._is_next(sequence, samples.ticks_us, n * samples.sample_period_us):
            self.health.count("repeated")
            return
        self.health.count("packets")
        self.valid(self._detail(samples))
        if self._identity is None:
            self._identify()
        self._sink.put(
            ShelfSamples(
                device=self._config.id,
                received_at_ns=self._sink.now_ns(),
                sequence=sequence,
                ticks_us=samples.ticks_us,
                sample_period_us=samples.sample_period_us,
                flags=samples.flags,
                readings=samples.counts,
            )
        )

    def _is_next(self, sequence: int, ticks_us: int, batch_us: int) -> bool:
        """False for a packet that came before; counts what is missing, and restarts."""
        if (sequence, ticks_us) in self._recent:
            return False
        self._recent.append((sequence, ticks_us))
        last, self._last = self._last, (sequence, ticks_us, batch_us)
        if last is None:
            return True
        step = _signed(sequence - last[0], SEQUENCES)
        elapsed_us = _signed(ticks_us - last[1], TICKS)
        expected_us = step * last[2]
        # batches lost on the way may have had another length: a batch and a half of freedom
        slack_us = CLOCK_ERROR_MAX * abs(expected_us) + 1.5 * max(last[2], batch_us)
        explained = abs(_signed(elapsed_us - expected_us, TICKS)) <= slack_us
        if step <= 0 or not explained:  # a serial line does not reorder: older means restarted
            self._restarted()
        else:
            self.health.count("lost", step - 1)
        return True

    def _restarted(self) -> None:
        self.health.count("reboots")
        self._identity = None
        self._identify(at_once=True)

    # identity

    def _identify(self, at_once: bool = False) -> None:
        now_ns = self._sink.now_ns()
        if at_once or now_ns - self._asked_at_ns >= ASK_AGAIN_NS:
            self._asked_at_ns = now_ns
            self._ask(Identify())

    def _identified(self, identity: Identity) -> None:
        before, self._hardware_id = self._hardware_id, identity.hardware_id
        self._identity = identity
        if before and before != identity.hardware_id:
            self._exchanged = (
                f"another board answers: {identity.hardware_id}, before {before}; "
                f"calibrate its plates, a calibration belongs to the board"
            )
        if identity.plates != len(self._config.plates):
            self.health.count("wrong_shape")
            self.valid(self._wrong_shape(identity.plates), DeviceState.FAULT)
        else:
            self.valid(self._exchanged)

    def _ask(self, packet: wire.Packet) -> bool:
        self._questions = (self._questions + 1) % SEQUENCES
        frame = wire.encode(packet, node=self._config.node, sequence=self._questions)
        return self.send(encode_frame(frame))

    # words

    def _detail(self, samples: wire.Samples) -> str:
        return "; ".join(filter(None, (self._exchanged, self._flagged(samples))))

    def _flagged(self, samples: wire.Samples) -> str:
        if not samples.flags.any():
            return ""
        named = []
        for plate, flags in zip(self._config.plates, samples.flags.tolist(), strict=True):
            if flags:
                named.append(f"{plate} {_flag_names(flags)}")
        return ", ".join(named)

    def _wrong_shape(self, plates: int) -> str:
        who = f" ({self._identity.hardware_id})" if self._identity else ""
        return (
            f"the node{who} on {self._port} has {plates} plates, store.toml lists "
            f"{len(self._config.plates)} for {self._config.id}: correct `plates` of its "
            f"[[shelf_node]], or check which node is on this port"
        )

    def _other_node(self, frame: Frame) -> str:
        return (
            f"node {frame.node} answers on {self._port}, store.toml says node "
            f"{self._config.node} for {self._config.id}: check the ports, or correct `node`"
        )


def _signed(difference: int, modulus: int) -> int:
    """The difference of two counters that wrap, the nearer way round."""
    return (difference + modulus // 2) % modulus - modulus // 2


def _flag_names(flags: int) -> str:
    return "+".join(flag.name.lower() for flag in PlateFlag if flags & flag and flag.name)
