"""Which way a request leaves: over HTTP, or through a payment provider's own kit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cloud_sync.http_sender import Endpoint, Sender, read_secret
from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer
from cloud_sync.payments import broker
from cloud_sync.payments.provider import Provider, ProviderSender
from cloud_sync.payments.psp_book import PspBook
from messages.store_config import StoreConfig

STRIPE = "stripe"


class RouteError(ValueError):
    """A payment provider that cannot be used as it is configured."""


class Routes:
    """The sender of the queue: one destination goes through a provider, the others over HTTP."""

    def __init__(self, sender: Sender, name: str, payments: ProviderSender) -> None:
        self._sender, self._name, self._payments = sender, name, payments
        self.endpoints = {name: Endpoint(name=name, url=""), **sender.endpoints}

    def reload(self, name: str) -> None:
        if name != self._name:
            self._sender.reload(name)

    async def send(self, request: Request) -> Answer:
        if request.destination == self._name:
            return await self._payments.send(request)
        return await self._sender.send(request)


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
    found = provider(config)
    if found is None:
        yield sender
        return
    book = PspBook(psp_file(config))
    try:
        yield Routes(sender, found.name, ProviderSender(found, book, lambda: int(time.time())))
    finally:
        book.close()
