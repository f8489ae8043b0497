"""``walkout hub run``: the hub as a process."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import nats

from cloud_sync.hub import Hub, ensure_stream

log = logging.getLogger("walkout.hub")


class HubError(RuntimeError):
    """The hub's NATS server or database cannot be used."""


def run(url: str, database: str, domains: Sequence[str], token_file: Path | None) -> int:
    """Consume until SIGTERM. Raises HubError when one of the two is not there at the start."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    token = token_file.read_text("ascii").strip() if token_file else None
    try:
        return asyncio.run(_run(url, database, domains, token))
    except (nats.errors.Error, asyncpg.PostgresError, OSError) as error:
        raise HubError(f"{type(error).__name__}: {error}") from None


async def _run(url: str, database: str, domains: Sequence[str], token: str | None) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    client = await nats.connect(url, token=token, connect_timeout=5)
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    try:
        stream = client.jetstream()
        await ensure_stream(stream, domains)
        hub = Hub(stream, pool)
        await hub.start()
        while not stopping.is_set():
            kept = await hub.step()
            log.log(logging.INFO if kept else logging.DEBUG, "%d events kept", kept)
        return 0
    finally:
        await pool.close()
        await client.close()
