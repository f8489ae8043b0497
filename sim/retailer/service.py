"""The reference retailer as a process of its own, and its questions as functions.

Data directory: ``catalogue.toml`` (the built-in forty groceries when there is none),
``faults.toml`` and ``shoppers.toml`` (optional), ``retailer.db``, ``retailer.key`` and
``webhook.secret``, the last three made at first start.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import requests

from broker import keys, web
from cloud_sync.amounts import Amounts
from sim.retailer.api import SCOPE, Retailer, create_app
from sim.retailer.catalogue import (
    CATALOGUE,
    Catalogue,
    CatalogueError,
    catalogue_of,
    read_catalogue,
    with_test_goods,
)
from sim.retailer.faults import FaultPlan, FaultsError, read_faults
from sim.retailer.shoppers import ShoppersError, read_shoppers
from sim.retailer.store import RetailerBooks, SoldPage
from sim.retailer.webhooks import new_secret

KEY_FILE, SECRET_FILE = "retailer.key", "webhook.secret"
TIMEOUT_S = 30.0

T = TypeVar("T")


def serve(
    *,
    data: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Path | None = None,
    faults: FaultPlan | None = None,
    amounts: Amounts = Amounts.MINOR,
) -> int:
    """Serve the data directory until SIGTERM; the exit status.

    ``ready``: the port number is written there once it listens. ``faults``: instead of
    ``faults.toml``. ``amounts``: how they are written to the store.
    """
    os.umask(0o077)
    try:
        handle = web.lock(data)
        retailer = Retailer(
            data / "retailer.db",
            catalogue=_catalogue(data / "catalogue.toml"),
            keys=keys.api_keys(data, {KEY_FILE: frozenset({SCOPE})}),
            webhook_secret=keys.secret(data / SECRET_FILE, new_secret),
            faults=faults or read_faults(data / "faults.toml"),
            clock_s=lambda: time.time_ns() // 1_000_000_000,
            shoppers=read_shoppers(data / "shoppers.toml"),
            amounts=amounts,
        )
    except (
        web.DataInUseError,
        keys.SecretFileError,
        CatalogueError,
        FaultsError,
        ShoppersError,
        OSError,
        sqlite3.Error,
    ) as error:
        print(f"walkout retailer: {error}", file=sys.stderr)
        return 1
    try:
        return web.run(create_app(retailer), host=host, port=port, ready=ready)
    finally:
        retailer.close()
        web.unlock(handle)


def books(url: str, key_file: Path) -> RetailerBooks:
    """What was sold and what the receipts say was paid; raises requests.HTTPError."""
    return _get(url, "/v1/books", key_file, RetailerBooks)


def purchases(url: str, key_file: Path, after: int = 0) -> SoldPage:
    """One page of purchases; raises requests.HTTPError."""
    return _get(url, "/v1/purchases", key_file, SoldPage, after=after)


def _catalogue(path: Path) -> Catalogue:
    own = read_catalogue(path) if path.exists() else catalogue_of(CATALOGUE)
    return with_test_goods(own)


def _get(url: str, path: str, key_file: Path, kind: type[T], **query: Any) -> T:
    headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
    reply = requests.get(
        f"{url.rstrip('/')}{path}", params=query, headers=headers, timeout=TIMEOUT_S
    )
    reply.raise_for_status()
    return msgspec.json.decode(reply.content, type=kind)
