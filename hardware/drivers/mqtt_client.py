"""A connection to the store's message broker: paho's thread on one side, an event loop beside it.

It connects for ever, in the background. Messages come to the loop by a bounded number of calls that
wait there; what does not fit is dropped and counted, as a network would. The handler is set before
anything connects: messages of a kept session would otherwise be acknowledged and lost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hardware.protocol.camera_link import MESSAGE_BYTES_MAX
from messages.vision_config import Mqtt

QOS = 1  # at least once; the ends tell repeats apart by their numbers
KEEP_ALIVE_S = 10
RECONNECT_S = (1, 15)
WAITING_MAX = 512  # messages between the two threads
PACKET_BYTES_MAX = MESSAGE_BYTES_MAX + 1_024

OnMessage = Callable[[str, bytes], None]


class MqttError(RuntimeError):
    """The connection cannot be prepared; says which key of [mqtt] and why."""


class MqttClient:
    """Use it inside a running loop. ``on_message`` and ``on_link`` are called in the loop."""

    def __init__(
        self,
        config: Mqtt,
        name: str,
        *,
        topics: tuple[str, ...],
        on_message: OnMessage,
        on_link: Callable[[str], None],
        will: tuple[str, bytes] | None = None,
    ) -> None:
        """Raises MqttError where a file of ``config`` cannot be used.

        Args:
            on_link: "" once connected and subscribed, else why not.
            will: topic and payload that the broker publishes, retained, when we are gone.
        """
        self.counts: Counter[str] = Counter()
        self._config, self._topics = config, topics
        self._on_message, self._on_link = on_message, on_link
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_connect_fail = lambda *_: self._tell("no connection")
        self._client.on_message = self._received
        self._client.reconnect_delay_set(*RECONNECT_S)
        self._client.max_queued_messages_set(WAITING_MAX)
        if will:
            self._client.will_set(*will, qos=QOS, retain=True)
        self._prepare()

    def start(self) -> None:
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect.MaximumPacketSize = PACKET_BYTES_MAX
        self._client.connect_async(
            self._config.host,
            self._config.port,
            KEEP_ALIVE_S,
            clean_start=True,  # a broker that was killed forgot the session: rely on none
            properties=connect,
        )
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """False where there is no connection."""
        if not self._client.is_connected():
            return False
        return self._client.publish(topic, payload, QOS, retain).rc == paho.MQTT_ERR_SUCCESS

    async def close(self) -> None:
        """A clean goodbye; the will is not published."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    # --- preparation ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        config = self._config
        if config.user:
            self._client.username_pw_set(config.user, _password(config))
        if config.tls == "off":
            return
        try:
            context = ssl.create_default_context(cafile=config.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if config.certificate_file:
                context.load_cert_chain(config.certificate_file, config.key_file or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f for f in (config.ca_file, config.certificate_file) if f)
            raise MqttError(f"[mqtt] ca_file, certificate_file: {files}: {error}") from error
        self._client.tls_set_context(context)

    # --- paho's thread -------------------------------------------------------------------------

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._tell(f"the broker refused: {reason}")
            return
        if self._topics:
            client.subscribe([(topic, QOS) for topic in self._topics])
        self._tell("")

    def _disconnected(
        self, client: Any, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._tell(f"the connection ended: {reason}")

    def _received(self, client: Any, data: Any, message: Any) -> None:
        if self._waiting >= WAITING_MAX:
            self.counts["dropped"] += 1
            return
        self._waiting += 1
        self._call(self._deliver, message.topic, bytes(message.payload))

    def _tell(self, trouble: str) -> None:
        self._call(self._on_link, trouble)

    def _call(self, call: Callable[..., None], *values: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *values)

    # --- the loop ------------------------------------------------------------------------------

    def _deliver(self, topic: str, payload: bytes) -> None:
        self._waiting -= 1
        self._on_message(topic, payload)


def _password(config: Mqtt) -> str:
    if not config.password_file:
        return ""
    try:
        return Path(config.password_file).read_text().strip()
    except OSError as error:
        text = f"[mqtt] password_file {config.password_file}: {error.strerror}"
        raise MqttError(text) from error
