"""Tells the store daemon which accounts have an unpaid receipt: they may not come in.

Told at the start and at each change over the daemon's control socket, as a whole list; the daemon
journals it, so it holds over its restarts and without a link. ``cloud.unpaid_entry = "allow"``
tells it that nobody owes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiosqlite

from edge.control import ControlError, set_owing
from messages.store_config import StoreConfig

ACCOUNTS_MAX = 2_000  # the newest debts; the socket takes a line of 256 KiB
LINE_BYTES_MAX = 200 * 1024


class OwingReport:
    """What the daemon was told last."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._told: list[str] | None = None
        self._telling = False

    async def news(self, db: aiosqlite.Connection) -> list[str] | None:
        """The accounts to tell, or None while there is nothing new or nobody to hear it."""
        if self._telling or not Path(self._config.paths.control_socket).exists():
            return None
        owing = await accounts(db) if self._config.cloud.unpaid_entry == "refuse" else []
        return None if owing == (self._told or []) and self._told is not None else owing

    async def tell(self, owing: list[str]) -> None:
        """Tell it; a daemon that does not answer is told at the next beat."""
        self._telling = True
        try:
            await asyncio.to_thread(set_owing, self._config, owing)
        except ControlError:
            return
        finally:
            self._telling = False
        self._told = owing


async def accounts(db: aiosqlite.Connection) -> list[str]:
    """Who owes, by name; the newest debts where they are too many for one message."""
    query = (
        "SELECT account FROM receipt WHERE state='unpaid'"
        " GROUP BY account ORDER BY max(issued_wall_ns) DESC, account LIMIT ?"
    )
    found, size = list[str](), 0
    for (account,) in await db.execute_fetchall(query, (ACCOUNTS_MAX,)):
        size += 6 * len(account) + 4  # as JSON at its worst
        if size > LINE_BYTES_MAX:
            break
        found.append(str(account))
    return sorted(found)
