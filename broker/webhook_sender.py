"""Sends what stands in the queue of webhooks (``systems/deliveries.py``) while the broker serves.

One task a tenant. Signing, sending and judging are those of ``cloud_sync``: Standard Webhooks,
bounded times and sizes, no redirects, no private address unless allowed, a circuit for each
endpoint with one probe while it is down, ten tries over three days.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from broker.credentials import SigningKey
from broker.database import CommitError, Database, StoreFullError, Transaction
from broker.systems import deliveries, webhook_endpoints
from broker.systems.deliveries import Head
from broker.systems.webhook_endpoints import EndpointRow
from cloud_sync.destinations import Destination
from cloud_sync.http_sender import Endpoint, Sender, checked_url
from cloud_sync.outbox import Request
from cloud_sync.outcomes import NS, Answer, Verdict, judge_webhook, wait_ns, webhook_wait_s
from cloud_sync.webhooks import signer
from messages.contract import WebhookBody

EVERY_S = 0.5  # how late a webhook leaves when nothing else is going on
TIMEOUT_S = 20.0  # Standard Webhooks: 15 to 30 s
PARALLEL_MAX = 8  # deliveries under way to one endpoint
BACKOFF_START_S = 0.5  # the standard's waits as they are written

log = logging.getLogger("walkout.broker")


@dataclass
class WebhookSender:
    """The deliveries of one tenant."""

    database: Database
    tenant: str
    signing: Sequence[SigningKey]
    clock_s: Callable[[], int]
    backoff_start_s: float = BACKOFF_START_S
    circuits: dict[str, Destination] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Until cancelled; what is under way then goes again after its lease."""
        async with Sender({}, TIMEOUT_S, time.time_ns) as sender:
            try:
                while True:
                    if not await self._safely(sender):
                        await asyncio.sleep(EVERY_S)
            finally:
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    async def once(self, sender: Sender) -> int:
        """Hand on what was told, start what may leave; how many were started."""
        now_s = self.clock_s()
        names = await self.database.read(lambda db: deliveries.waiting(db, now_s))
        if "" in names:
            await self.database.submit(lambda db: deliveries.hand_on(db, now_s))
            names = await self.database.read(lambda db: deliveries.waiting(db, now_s))
        room = {name: self._room(name) for name in names if name}
        if not any(room.values()):
            return 0
        rows = await self.database.read(lambda db: webhook_endpoints.all_of(db, now_s))
        for row in rows:
            if room.get(row.shown.endpoint) and not self._known(sender, row):
                await self._disable(row.shown.endpoint, "its signing key was taken away: rotate")
                room[row.shown.endpoint] = 0
        heads = await self.database.submit(lambda db: deliveries.claim(db, room, now_s))
        for head in heads:
            self.circuits[head.endpoint].in_flight += 1
            task = asyncio.create_task(self._deliver(sender, head))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(heads)

    async def settled(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _safely(self, sender: Sender) -> int:
        try:
            return await self.once(sender)
        except (CommitError, StoreFullError) as error:
            log.error("webhooks: %s", error)
        except Exception as error:  # the queue stays; requests go on
            log.error("webhooks: %s", type(error).__name__)
        return 0

    async def _deliver(self, sender: Sender, head: Head) -> None:
        circuit = self.circuits[head.endpoint]
        try:
            answer = await self._sent(sender, head)
            self._note(circuit, head, answer)
        finally:
            circuit.in_flight -= 1
        with contextlib.suppress(CommitError, StoreFullError):  # the lease runs out
            await self.database.submit(lambda db: self._settle(db, head, answer))

    async def _sent(self, sender: Sender, head: Head) -> Answer:
        """An address that the client cannot even parse is a failure like any other."""
        try:
            return await sender.send(_request(head, self.tenant))
        except ValueError as error:
            return Answer(status=None, error=f"the address cannot be used: {type(error).__name__}")

    def _note(self, circuit: Destination, head: Head, answer: Answer) -> None:
        now_ns = self.clock_s() * NS
        if answer.status is not None and answer.status < 500:
            circuit.answered(now_ns)
            return
        wait_s = webhook_wait_s(circuit.probes, self.backoff_start_s, _chance())
        circuit.failed(now_ns, _why(answer), round(wait_s * NS))

    async def _settle(self, db: Transaction, head: Head, answer: Answer) -> None:
        now_s, status = self.clock_s(), answer.status or 0
        verdict = judge_webhook(answer, head.failures)
        if verdict is Verdict.ANSWERED:
            await deliveries.delivered(db, head, status, now_s)
        elif verdict is Verdict.REFUSED:
            await deliveries.park(db, head, status, _why(answer))
        else:
            own_s = webhook_wait_s(head.failures, self.backoff_start_s, _chance())
            wait_s = max(1, wait_ns(answer, own_s) // NS)
            await deliveries.postpone(db, head, status, _why(answer), now_s + wait_s)
            if verdict is Verdict.GONE:
                await webhook_endpoints.disable(db, head.endpoint, "it answered 410: gone")

    def _room(self, name: str) -> int:
        circuit = self.circuits.get(name)
        if circuit is None:
            circuit = Destination(name=name, parallel_max=PARALLEL_MAX)
            self.circuits[name] = circuit
        return circuit.room(self.clock_s() * NS)

    def _known(self, sender: Sender, row: EndpointRow) -> bool:
        """The endpoint for the sender, as it is now; False when nothing can sign for it."""
        keys = {key.kid: key for key in self.signing}
        secrets_of = [
            webhook_endpoints.secret_of(keys[kid], name) for kid, name in row.keys if kid in keys
        ]
        if not secrets_of:
            return False
        url, socket = checked_url(row.shown.endpoint, row.shown.url)
        text = " ".join(secrets_of)
        sender.endpoints[row.shown.endpoint] = Endpoint(
            name=row.shown.endpoint,
            url=url,
            socket=socket,
            secret=text,
            signing=signer(text),
            public=row.shown.network == webhook_endpoints.PUBLIC,
        )
        return True

    async def _disable(self, name: str, why: str) -> None:
        await self.database.submit(lambda db: webhook_endpoints.disable(db, name, why))


def body_of(head: Head, tenant: str) -> bytes:
    """The same bytes each time: an id with another body would break the receiver's dedupe."""
    at = datetime.fromtimestamp(head.at_s, UTC).isoformat().replace("+00:00", "Z")
    body = WebhookBody(
        type=head.kind,
        timestamp=at,
        data={"about": head.about} | msgspec.json.decode(head.data),
        id=head.message,
        source=f"/brokers/{tenant}",
        subject=head.about,
        time=at,
    )
    return msgspec.json.encode(body)


def _request(head: Head, tenant: str) -> Request:
    return Request(
        id=head.place,
        group=head.group,
        seq=head.place,
        attempt=head.attempts,
        failures=head.failures,
        message=head.message,
        generation=0,
        idem=head.message,
        operation="webhook",
        destination=head.endpoint,
        visit="",
        subject=head.message,
        path="",
        body=body_of(head, tenant),
        cause=head.place,
    )


def _why(answer: Answer) -> str:
    """Status or what went wrong; a receiver's own words are not kept, they may hold anything."""
    return answer.error or f"answered {answer.status}"


def _chance() -> float:
    return secrets.randbelow(1_000_000) / 1e6
