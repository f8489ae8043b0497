"""A merchant's webhook receiver, and a sender that is stepped by the test."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from desk import Desk, a_key

from broker.keys import ApiKey
from broker.systems import webhook_endpoints
from broker.systems.webhook_endpoints import WebhookEndpointRequest
from broker.webhook_sender import WebhookSender
from cloud_sync.http_sender import Sender
from cloud_sync.webhooks import signer, verify
from messages.contract import WebhookBody

KEY = ApiKey(name="test", tenant="main", scopes=frozenset(), digest=b"")


@dataclass
class Receiver:
    """Answers with ``statuses`` in turn, 200 once they are used up; keeps what was genuine."""

    secret: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[str, WebhookBody]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    signatures: list[int] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        body = await request.read()
        await asyncio.sleep(0)
        message, event = verify(signer(self.secret), request.headers, body, time.time_ns())
        self.signatures.append(len(request.headers["webhook-signature"].split()))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.got.append((message, event))
            self.bodies.append(body)
        self.at_once -= 1
        return web.Response(status=status)

    def kinds(self) -> list[str]:
        return [event.type for _, event in self.got]


def with_receiver(
    desk: Desk, story: Callable[[Receiver, str, Callable[[], Awaitable[None]]], Awaitable[Any]]
) -> Receiver:
    """Run a story beside a receiver; its last argument delivers all that may leave now."""
    receiver = Receiver()

    async def told() -> None:
        app = web.Application()
        app.router.add_post("/hook", receiver.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        sending = WebhookSender(desk.ledger.database, "main", (a_key(),), lambda: desk.now_s)
        try:
            async with Sender({}, 20.0, time.time_ns) as sender:

                async def deliver() -> None:
                    while await sending.once(sender):
                        await sending.settled()

                await story(receiver, f"http://127.0.0.1:{port}/hook", deliver)
        finally:
            await runner.cleanup()

    desk.ledger.runner.run(told())
    return receiver


async def subscribed(desk: Desk, receiver: Receiver, url: str, **more: Any) -> dict[str, Any]:
    """An endpoint of the receiver, which learns the secret; the stored answer does not hold it."""
    asked = WebhookEndpointRequest(
        **({"endpoint": "hook", "url": url, "network": "private"} | more)
    )
    call = replace(desk.call(), key=replace(KEY, party=desk.party))
    answer = await desk.ledger.database.submit(lambda db: webhook_endpoints.create(db, call, asked))
    reply: dict[str, Any] = json.loads(answer.body)
    assert reply["secret"] == a_key().kid
    receiver.secret = webhook_endpoints.secret_of(a_key(), reply["secret_id"])
    return reply
