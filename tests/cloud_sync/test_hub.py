"""Events of a store through a real JetStream leaf node and hub into a real PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import nats
import pytest
from second_systems import (
    JournalFile,
    SecondSystems,
    serving,
    store_config,
    whole_visit,
)

from bench.temporary_postgresql import Cluster
from cloud_sync import hub as hub_module
from cloud_sync import leaf as leaf_module
from cloud_sync import service, webhook_events
from cloud_sync.hub import Hub
from cloud_sync.leaf import STREAM, LeafSender
from cloud_sync.outbox import Request
from messages.store_config import WebhookTarget

SERVER = Path(sys.prefix) / "bin" / "nats-server"
WAIT_S = 30.0
VISITS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def connected(url: str) -> Any:
    async def quiet(error: Exception) -> None:
        pass

    once = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.1}
    return await nats.connect(url, error_cb=quiet, **once)


@dataclass
class Nats:
    """A nats-server on a folder, which outlives its process."""

    folder: Path
    text: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def spawn(self) -> subprocess.Popen[bytes]:
        file, store = self.folder / f"{self.port}.conf", self.folder / f"store-{self.port}"
        text = f"listen: 127.0.0.1:{self.port}\n" + self.text.replace("STORE", str(store))
        file.write_text(text)
        return subprocess.Popen([str(SERVER), "-c", str(file)], stderr=subprocess.DEVNULL)

    async def start(self) -> None:
        self.process = self.spawn()
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    async with asyncio.timeout(2.0):
                        client = await connected(self.url)
                    await client.jetstream().account_info()
                    return await client.close()
                except (nats.errors.Error, OSError, TimeoutError):
                    assert self.process.poll() is None
                    await asyncio.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)


def servers(folder: Path) -> tuple[Nats, Nats]:
    """A hub, and a leaf node of store s1 that flushes before it acknowledges."""
    port = free_port()
    hub = Nats(
        folder,
        "server_name: hub\njetstream { store_dir: STORE, domain: hub }\n"
        f"leafnodes {{ listen: 127.0.0.1:{port} }}\n",
    )
    leaf = Nats(
        folder,
        "server_name: s1\njetstream { store_dir: STORE, domain: s1, sync_interval: always }\n"
        f"leafnodes {{ remotes: [ {{ url: nats-leaf://127.0.0.1:{port} }} ] }}\n",
    )
    return hub, leaf


def request(*events: Any, visit: str = "v1") -> Request:
    body = msgspec.json.encode(list(events) if len(events) > 1 else events[0])
    return Request(
        **{"id": 1, "group": "g", "seq": 1, "attempt": 1, "failures": 0, "message": "m"},
        **{"generation": 0, "idem": "m", "operation": "webhook", "destination": "webhook:hub"},
        **{"visit": visit, "subject": "m", "path": "", "body": body, "cause": 0},
    )


def event(visit: str) -> Any:
    data = msgspec.convert(
        {**webhook_events.example(webhook_events.EVENTS[0]).data, "visit": visit},
        webhook_events.ReceiptData,
    )
    return webhook_events.event(
        "receipt.issued", data, store="s1", message=f"msg_{visit}", at="2026-09-21T14:14:21.512Z"
    )


def told(tmp_path: Path, story: Callable[[Nats, Nats], Awaitable[None]]) -> None:
    hub, leaf = servers(tmp_path)

    async def run() -> None:
        try:
            await hub.start()
            await leaf.start()
            await asyncio.wait_for(story(hub, leaf), 2 * WAIT_S)
        finally:
            hub.kill()
            leaf.kill()

    asyncio.run(run())


async def stored(server: Nats, stream: str = STREAM) -> int:
    client = await connected(server.url)
    try:
        info = await client.jetstream().stream_info(stream)
        return int(info.state.messages)
    finally:
        await client.close()


def test_an_event_is_kept_once_and_survives_the_kill_of_the_leaf(tmp_path: Path) -> None:
    async def story(_: Nats, leaf: Nats) -> None:
        sender = LeafSender(leaf.url)
        for _ in range(2):  # the acknowledgement was lost
            assert (await sender.send(request(event("v1")))).status == 204
        assert (await sender.send(request(event("v1"), event("v2")))).status == 204
        assert await stored(leaf) == 2
        leaf.kill()
        answer = await sender.send(request(event("v3")))
        assert (answer.status, answer.error.startswith("leaf node:")) == (None, True)
        await leaf.start()
        assert (await sender.send(request(event("v3")))).status == 204
        assert await stored(leaf) == 3
        assert (await sender.send(request({"no": "event"}))).status == 422
        await sender.close()

    told(tmp_path, story)


def test_a_store_settles_and_the_hub_has_each_event_once_in_postgresql(tmp_path: Path) -> None:
    systems, cluster = SecondSystems(), Cluster.start(durable=False)

    async def settled(leaf: Nats) -> None:
        async with serving(systems):
            config = store_config(tmp_path, systems.url)
            target = WebhookTarget(name="hub", url=leaf.url, order="batch")
            object.__setattr__(config, "webhooks", (target,))
            journal = JournalFile(Path(config.paths.journal))
            for i in range(VISITS):
                journal.append(*whole_visit(f"v{i}", f"a{i}", "apple"))
            journal.close()
            assert await asyncio.wait_for(service.run(config, drain=True), WAIT_S) == 0

    async def story(hub: Nats, leaf: Nats) -> None:
        await settled(leaf)
        client, pool = await connected(hub.url), await asyncpg.create_pool(cluster.url())
        stream = client.jetstream()
        await hub_module.ensure_stream(stream, ["s1"])
        await hub_module.ensure_stream(stream, ["s1"])  # a second start of the hub
        consumer = Hub(stream, pool)
        await consumer.start()
        assert consumer._pull is not None
        messages: list[Any] = []
        async with asyncio.timeout(WAIT_S):
            while len(messages) < VISITS:
                try:
                    messages += await consumer._pull.fetch(100, timeout=1)
                except nats.errors.TimeoutError:
                    continue
        await consumer.keep(messages)
        await consumer.keep(messages)  # killed between commit and acknowledgement
        for message in messages:
            await message.ack()
        assert await consumer.step() == 0
        rows = await pool.fetch("SELECT store, id, type, visit FROM event ORDER BY visit")
        wanted = [f"msg_v{i}:receipt-issued" for i in range(VISITS)]
        assert [(row["store"], row["id"]) for row in rows] == [("s1", name) for name in wanted]
        assert {row["type"] for row in rows} == {"receipt.issued"}
        leaf_client = await connected(leaf.url)
        await leaf_client.jetstream().publish("walkout.s1.odd", b'{"type":1}', stream=STREAM)
        async with asyncio.timeout(WAIT_S):
            while not await consumer.step():
                continue
        assert await pool.fetchval("SELECT count(*) FROM event_refused") == 1
        assert await pool.fetchval("SELECT count(*) FROM event") == VISITS
        for one in (leaf_client, client):
            await one.close()
        await pool.close()

    try:
        told(tmp_path, story)
    finally:
        cluster.end()
    assert systems.faults == []


def test_a_subject_holds_whatever_a_store_is_called() -> None:
    named = replace(event("v1"), source="/stores/a.b *>")
    assert leaf_module.subject(named) == "walkout.a%2Eb%20%2A%3E.receipt.issued"


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", "nats://127.0.0.1:9"])
def test_a_leaf_that_is_not_there_is_unknown_not_refused(url: str) -> None:
    answer = asyncio.run(LeafSender(url).send(request(event("v1"))))
    assert answer.status is None
