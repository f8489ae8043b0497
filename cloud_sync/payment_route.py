"""Which way a request leaves: over HTTP, through a payment provider's kit, or to a leaf node."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cloud_sync.hooks import hooks, targets
from cloud_sync.http_sender import Endpoint, Sender, read_secret
from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer
from cloud_sync.payments import broker
from cloud_sync.payments.provider import Provider, ProviderSender
from cloud_sync.payments.psp_book import PspBook
from messages.store_config import StoreConfig, WebhookTarget

if TYPE_CHECKING:
    from cloud_sync.leaf import LeafSender

STRIPE = "stripe"


class RouteError(ValueError):
    """A payment provider that cannot be used as it is configured."""


class Sends(Protocol):
    async def send(self, request: Request) -> Answer: ...


class Routes:
    """The sender of the queue: some destinations go another way, all others over HTTP."""

    def __init__(self, sender: Sender, others: Mapping[str, Sends]) -> None:
        self._sender, self._others = sender, others
        self.endpoints = {name: Endpoint(name=name, url="") for name in others} | sender.endpoints

    def reload(self, name: str) -> None:
        if name not in self._others:
            self._sender.reload(name)

    async def send(self, request: Request) -> Answer:
        return await self._others.get(request.destination, self._sender).send(request)


def psp_file(config: StoreConfig) -> Path:
    """Where the calls to a provider are noted: beside the sync file."""
    return Path(config.paths.sync).with_name("psp.db")


def provider(config: StoreConfig) -> Provider | None:
    """The configured provider; None where the broker itself is one.

    Raises:
        RouteError: its kit is not installed, or its files cannot be read.
    """
    cloud = config.cloud
    if cloud.payments == broker.DESTINATION:
        return None
    try:
        from cloud_sync.payments.stripe_provider import PayersError, StripeProvider, read_payers
    except ImportError:
        raise RouteError('payments = "stripe" needs: pip install walkout[payments]') from None
    path = Path(cloud.stripe_payers_file)
    key = read_secret(STRIPE, cloud.stripe_key_file)
    try:
        read_payers(path)
    except PayersError as error:
        raise RouteError(str(error)) from None
    return StripeProvider(
        key, lambda: read_payers(path), config.store, api=cloud.stripe_api_url.rstrip("/")
    )


@asynccontextmanager
async def opened(config: StoreConfig, sender: Sender) -> AsyncIterator[Sender | Routes]:
    """The sender for this configuration. Raises RouteError or EndpointError."""
    others = dict[str, Sends]()
    async with AsyncExitStack() as stack:
        found = provider(config)
        if found is not None:
            book = PspBook(psp_file(config))
            stack.callback(book.close)
            others[found.name] = ProviderSender(found, book, lambda: int(time.time()))
        for target, hook in zip(targets(config), hooks(config), strict=True):
            if hook.leaf:
                leaf = _leaf(target)
                stack.push_async_callback(leaf.close)
                others[hook.destination] = leaf
        yield Routes(sender, others) if others else sender


def _leaf(target: WebhookTarget) -> LeafSender:
    try:
        from cloud_sync.leaf import LeafSender
    except ImportError:
        raise RouteError(f"{target.url}: needs pip install walkout[fleet]") from None
    token = read_secret(target.name, target.secret_file) if target.secret_file else ""
    return LeafSender(target.url, token)
