"""Driver of camera boxes: detections over MQTT, acknowledged once the journal has them.

A packet goes to the inbox with a callback; when its step is durable, its number is sent back and
the box lets go of it. What the inbox sheds is therefore sent again. A packet that comes twice is
acknowledged anew and not used again; after a restart of the daemon the core itself drops repeats.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from hardware.drivers.camera_link import CLOCK_OFF_MAX_NS
from hardware.drivers.mqtt_client import MqttClient
from hardware.drivers.sink import Health, Sink, Tap, untapped
from hardware.protocol.camera_box import (
    NUMBERS_MAX,
    Topics,
    box_of,
    packed_numbers,
    unpacked,
)
from hardware.protocol.camera_link import LinkError, decode_seen
from messages.commands import Command
from messages.ids import CameraId, DeviceId
from messages.observations import DeviceState
from messages.store_config import Camera
from messages.vision_config import Mqtt

REMEMBERED_MAX = 8_192  # numbers of a box: two of its buffers (``edge/cameras/box_sender.py``)
OLD_MAX_NS = 60_000_000_000  # what a box may have kept while the daemon was away
ACKNOWLEDGE_EVERY_S = 0.05
AGAIN_AFTER_NS = 3_000_000_000  # then the inbox has shed it: a step takes 0.1 s
BOX_SILENT_S = 6.0  # a box speaks each second
HEALTH_BYTES_MAX = 4_096
COUNTERS = ("packets", "repeated", "hostile", "unknown_camera", "clock_off", "acknowledged")
LINK = DeviceId("camera-boxes")
JOURNALLED = -1


@dataclass(slots=True, eq=False)
class _Box:
    """What is known of one box. ``seen``: number -> when it was put into the inbox, or
    ``JOURNALLED``."""

    health: Health
    session: int = 0
    seen: OrderedDict[int, int] = field(default_factory=OrderedDict)
    owed: list[int] = field(default_factory=list)
    heard_at_ns: int = 0
    gone: bool = True


class CameraBoxes:
    """All camera boxes of a store."""

    def __init__(
        self, cameras: Sequence[Camera], mqtt: Mqtt, store: str, sink: Sink, name: str = "daemon"
    ) -> None:
        self.tap: Tap = untapped
        self.link = Health(LINK, sink, COUNTERS)
        self._mqtt, self._store, self._sink = mqtt, store, sink
        self._name = f"walkout-{store}-{name}"
        self._box_of: dict[CameraId, str] = {c.id: c.box for c in cameras if c.box}
        self._boxes = {
            box: _Box(Health(DeviceId(box), sink, COUNTERS))
            for box in dict.fromkeys(self._box_of.values())
        }
        self._client: MqttClient | None = None

    async def run(self) -> None:
        """Until cancelled. Raises MqttError where [mqtt] cannot be used."""
        every = Topics(store=self._store, box="+")
        self._client = MqttClient(
            self._mqtt,
            self._name,
            topics=(every.detections, every.health),
            on_message=self._message,
            on_link=self._linked,
        )
        self._linked("not connected yet")
        self._client.start()
        try:
            while True:
                await asyncio.sleep(ACKNOWLEDGE_EVERY_S)
                self._acknowledge()
                self._watch()
        finally:
            await self._client.close()

    async def command(self, command: Command) -> None:
        """A camera box takes no commands."""

    # --- messages ------------------------------------------------------------------------------

    def _message(self, topic: str, payload: bytes) -> None:
        try:
            name = box_of(topic)
            box = self._boxes.get(name)
            if box is None:
                raise LinkError(f"no camera of store.toml is on a box {name[:64]!r}")
            if topic.endswith("/health"):
                self._said(box, payload)
            else:
                self._packet(name, box, payload)
        except LinkError as error:
            self.link.count("hostile")
            self.link.set(DeviceState.ONLINE, f"a message that is none of ours: {error}"[:180])

    def _packet(self, name: str, box: _Box, payload: bytes) -> None:
        """Raises LinkError."""
        session, number, message = unpacked(payload)
        seen = decode_seen(message)
        if self._box_of.get(seen.camera) != name:
            box.health.count("unknown_camera")
            raise LinkError(f"box {name} sends camera {seen.camera[:64]!r}, which is not its own")
        box.heard_at_ns = self._sink.now_ns()
        if session != box.session:  # the box was started anew and counts from one again
            box.session, box.seen, box.owed = session, OrderedDict(), []
        if self._is_known(box, number):
            return
        captured_at_ns = self._sink.wall_to_store_ns(seen.captured_at_ns)
        if not self._in_time(box, captured_at_ns):
            box.owed.append(number)  # it would be no better the next time
            return
        self._remember(box, number)
        box.health.count("packets")
        self.tap(name, message, False)
        self._sink.put(
            replace(seen, captured_at_ns=captured_at_ns, received_at_ns=box.heard_at_ns),
            lambda: self._journalled(box, session, number),
        )

    def _in_time(self, box: _Box, captured_at_ns: int) -> bool:
        off_ns = captured_at_ns - box.heard_at_ns
        if -OLD_MAX_NS <= off_ns <= CLOCK_OFF_MAX_NS:
            return True
        box.health.count("clock_off")
        text = f"its clock is {off_ns / 1e9:+.1f} s off: synchronise it with the store's NTP server"
        box.health.set(DeviceState.FAULT, text)
        return False

    @staticmethod
    def _is_known(box: _Box, number: int) -> bool:
        """True where it waits in the inbox, or is durable and its acknowledgement was lost."""
        at_ns = box.seen.get(number)
        if at_ns is None:
            return False
        box.health.count("repeated")
        if at_ns == JOURNALLED:
            box.owed.append(number)
            return True
        return box.heard_at_ns - at_ns < AGAIN_AFTER_NS

    @staticmethod
    def _remember(box: _Box, number: int) -> None:
        box.seen[number] = box.heard_at_ns
        while len(box.seen) > REMEMBERED_MAX:
            box.seen.popitem(last=False)

    def _journalled(self, box: _Box, session: int, number: int) -> None:
        if box.session == session:
            if number in box.seen:
                box.seen[number] = JOURNALLED
            box.owed.append(number)

    def _acknowledge(self) -> None:
        for name, box in self._boxes.items():
            while box.owed:
                numbers, rest = box.owed[:NUMBERS_MAX], box.owed[NUMBERS_MAX:]
                topic = Topics(store=self._store, box=name).journalled
                assert self._client is not None
                if not self._client.publish(topic, packed_numbers(box.session, numbers)):
                    box.owed = box.owed[-REMEMBERED_MAX:]  # the box will ask again
                    return
                box.owed = rest
                box.health.count("acknowledged", len(numbers))

    # --- health --------------------------------------------------------------------------------

    def _said(self, box: _Box, payload: bytes) -> None:
        """A box's own word, or its last will. Raises LinkError."""
        try:
            found = msgspec.json.decode(payload[:HEALTH_BYTES_MAX], type=dict[str, str | int])
        except msgspec.DecodeError as error:
            raise LinkError("a health message that cannot be read") from error
        box.gone = found.get("state") == "gone"
        box.heard_at_ns = self._sink.now_ns()
        if box.gone:
            box.health.set(DeviceState.UNPLUGGED, "the camera box is gone: power or network?")
            return
        fault = found.get("state") == "fault"
        detail = str(found.get("detail", ""))[:180]
        box.health.set(DeviceState.FAULT if fault else DeviceState.ONLINE, detail)

    def _linked(self, trouble: str) -> None:
        if not trouble:
            self.link.set(DeviceState.ONLINE)
            return
        where = f"{self._mqtt.host}:{self._mqtt.port}"
        self.link.set(DeviceState.UNPLUGGED, f"no message broker at {where}: {trouble}"[:180])

    def _watch(self) -> None:
        now_ns = self._sink.now_ns()
        self.link.report_if_due()
        for box in self._boxes.values():
            if not box.gone and now_ns - box.heard_at_ns > BOX_SILENT_S * 1e9:
                text = f"nothing from the camera box for {BOX_SILENT_S:.0f} s"
                box.health.set(DeviceState.SILENT, text)
            box.health.report_if_due()
