"""Events to a NATS JetStream leaf node beside the store: one more receiver of the same outbox.

``url = "nats://127.0.0.1:4222"`` in a ``[[webhook]]`` makes it one: its group, order and circuit
are those of any receiver, but it is asked for ever, not for three days. An event is published under
its id (``Nats-Msg-Id``), so that one whose acknowledgement was lost is kept once; the leaf
acknowledges after its own flush (``sync_interval: always``, which the node's operator sets). The
subject is ``walkout.<store>.<type>``. SQLite stays the truth: what the leaf loses can be replayed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import quote

import msgspec
import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer
from messages.contract import WebhookBody

STREAM = "WALKOUT"
SUBJECTS = "walkout.>"
TIMEOUT_S = 5.0
RETRY_S = 0.1  # between the attempts of one connect
DUPLICATES_S = 8 * 86_400.0  # ids are remembered for longer than a week offline
AGE_MAX_S = 30 * 86_400.0  # the hub has them by then
BYTES_MAX = 2 * 2**30  # of the leaf's disk; a full one refuses, and the queue waits


class LeafSender:
    """Publishes requests of the queue. One connection, made when it is needed."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url, self._token = url, token
        self._client: Client | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it is going away in any case
                await client.close()

    async def send(self, request: Request) -> Answer:
        """One attempt; whatever the leaf does comes back as an answer."""
        try:
            events = _events(request.body)
        except (msgspec.MsgspecError, ValueError) as error:
            return Answer(status=422, body=f"not events: {error}".encode()[:300])
        try:
            async with asyncio.timeout(TIMEOUT_S + TIMEOUT_S * len(events) / 10):
                stream = await self._stream()
                for raw, event in events:
                    await stream.publish(
                        subject(event),
                        raw,
                        timeout=TIMEOUT_S,
                        stream=STREAM,
                        headers={"Nats-Msg-Id": event.id},
                    )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self.close()
            return Answer(status=None, error=f"leaf node: {type(error).__name__}: {error}"[:300])
        return Answer(status=204)

    async def _stream(self) -> JetStreamContext:
        async with self._lock:
            if self._client is None or not self._client.is_connected:
                await self.close()
                options: dict[str, Any] = {"token": self._token} if self._token else {}
                self._client = await nats.connect(
                    self._url,
                    connect_timeout=int(TIMEOUT_S),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # 0 would be for ever; the queue asks again
                    reconnect_time_wait=RETRY_S,
                    error_cb=_quiet,
                    **options,
                )
                await ensure_stream(self._client.jetstream())
            return self._client.jetstream()


async def ensure_stream(stream: JetStreamContext) -> None:
    """The store's stream, made where it is not there yet."""
    try:
        await stream.stream_info(STREAM)
    except NotFoundError:
        await stream.add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[SUBJECTS],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                max_bytes=BYTES_MAX,
                max_age=AGE_MAX_S,
                discard=DiscardPolicy.NEW,
                duplicate_window=DUPLICATES_S,
            )
        )


def subject(event: WebhookBody) -> str:
    """``walkout.<store>.<type>``; what a subject's token cannot hold is percent-encoded."""
    store = event.source.rpartition("/")[2] or "unknown"
    return f"walkout.{_token(store)}.{'.'.join(map(_token, event.type.split('.')))}"


def _events(body: bytes) -> list[tuple[bytes, WebhookBody]]:
    raws = msgspec.json.decode(body, type=list[msgspec.Raw]) if body[:1] == b"[" else [body]
    return [(bytes(raw), msgspec.json.decode(bytes(raw), type=WebhookBody)) for raw in raws]


def _token(text: str) -> str:
    return quote(text, safe="-_").replace(".", "%2E") or "_"


async def _quiet(error: Exception) -> None:
    """What goes wrong comes back as an answer."""
