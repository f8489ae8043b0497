"""The hub: events of all stores out of JetStream into PostgreSQL, each once.

Stores publish to their own leaf node; the hub's stream sources theirs, so that a store's disk holds
what the link could not carry yet. A batch is written in one transaction (``ON CONFLICT DO NOTHING``
on store and id) and acknowledged after its commit: whatever is delivered again changes nothing.
What cannot be read is kept in ``event_refused`` with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NothingNew
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    ExternalStream,
    StorageType,
    StreamConfig,
    StreamSource,
)
from nats.js.errors import NotFoundError

from cloud_sync.leaf import STREAM
from messages.contract import WebhookBody

HUB_STREAM, DURABLE = "WALKOUT_HUB", "postgresql"
BATCH = 500
ACK_WAIT_S = 60.0  # a batch that was not written by then is delivered again
FETCH_S = 1.0
UNREADABLE_MAX = 100_000  # bytes kept of what cannot be read

SCHEMA = """
CREATE TABLE IF NOT EXISTS event(
  store TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, visit TEXT NOT NULL,
  at TIMESTAMPTZ NOT NULL, body JSONB NOT NULL, hub_sequence BIGINT NOT NULL,
  PRIMARY KEY(store, id));
CREATE TABLE IF NOT EXISTS event_refused(
  hub_sequence BIGINT PRIMARY KEY, reason TEXT NOT NULL, body BYTEA NOT NULL);
"""

log = logging.getLogger("walkout.hub")


@dataclass(frozen=True, slots=True)
class _Row:
    store: str
    id: str
    type: str
    visit: str
    at: str
    body: str
    sequence: int


async def ensure_stream(stream: JetStreamContext, domains: Sequence[str]) -> None:
    """The hub's stream, fed by the leaf of each domain (one a store)."""
    sources = [
        StreamSource(name=STREAM, external=ExternalStream(api=f"$JS.{domain}.API"))
        for domain in domains
    ]
    config = StreamConfig(name=HUB_STREAM, storage=StorageType.FILE, sources=sources)
    try:
        await stream.stream_info(HUB_STREAM)
    except NotFoundError:
        await stream.add_stream(config)
    else:
        await stream.update_stream(config)


class Hub:
    """Consumes the hub's stream into a database. ``step`` is one batch."""

    def __init__(self, stream: JetStreamContext, database: asyncpg.Pool) -> None:
        self._stream, self._database = stream, database
        self._pull: JetStreamContext.PullSubscription | None = None

    async def start(self) -> None:
        await self._database.execute(SCHEMA)
        self._pull = await self._stream.pull_subscribe(
            "",
            durable=DURABLE,
            stream=HUB_STREAM,
            config=ConsumerConfig(
                durable_name=DURABLE,
                ack_policy=AckPolicy.EXPLICIT,
                deliver_policy=DeliverPolicy.ALL,
                ack_wait=ACK_WAIT_S,
                max_ack_pending=2 * BATCH,
            ),
        )

    async def step(self) -> int:
        """One batch: read, written, committed, acknowledged; how many messages it had."""
        assert self._pull is not None
        try:
            messages = await self._pull.fetch(BATCH, timeout=FETCH_S)
        except NothingNew:
            return 0
        await self.keep(messages)
        for message in messages:
            await message.ack()
        return len(messages)

    async def keep(self, messages: Sequence[Msg]) -> None:
        """Write a batch in one transaction; the same messages again change nothing."""
        rows, refused = list[_Row](), list[tuple[int, str, bytes]]()
        for message in messages:
            sequence = message.metadata.sequence.stream
            try:
                rows.append(_row(message.data, sequence))
            except (msgspec.MsgspecError, ValueError) as error:
                refused.append((sequence, str(error)[:300], message.data[:UNREADABLE_MAX]))
                log.warning("message %d cannot be read: %s", sequence, error)
        async with self._database.acquire() as connection, connection.transaction():
            await connection.executemany(
                "INSERT INTO event VALUES($1,$2,$3,$4,$5::text::timestamptz,$6::text::jsonb,$7)"
                " ON CONFLICT DO NOTHING",
                [(r.store, r.id, r.type, r.visit, r.at, r.body, r.sequence) for r in rows],
            )
            await connection.executemany(
                "INSERT INTO event_refused VALUES($1,$2,$3) ON CONFLICT DO NOTHING", refused
            )


def _row(raw: bytes, sequence: int) -> _Row:
    event: Any = msgspec.json.decode(raw, type=WebhookBody)
    store = event.source.removeprefix("/stores/")
    if not store or not event.id or "\x00" in raw.decode() or "\\u0000" in raw.decode():
        raise ValueError("an event without store or id, or with a zero byte")
    return _Row(store, event.id, event.type, event.subject, event.time, raw.decode(), sequence)
