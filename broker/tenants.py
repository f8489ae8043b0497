"""A ledger for each tenant: what one tenant has, another cannot even name.

The main tenant is the operator's. Every other has a database of its own beside it - on SQLite the
file ``broker-<tenant>.db``, on PostgreSQL the schema ``walkout_<tenant>`` - with its own books,
hash chain, answers and audit log. A request runs in the ledger of its key's tenant and nowhere
else, so that no query can forget whose a row is: another tenant's id is an unknown id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from broker import api_keys
from broker.api_keys import TENANT_NAME
from broker.credentials import SigningKey
from broker.database import Database, DatabaseError, DatabaseUrl, Transaction, open_database
from broker.housekeeping import Housekeeping
from broker.keys import TENANT
from broker.schema import POSTGRES_SCHEMA

TENANTS_MAX = 64  # of one broker: each has a writer thread, or a pool of connections


def ledger_of(where: DatabaseUrl, tenant: str) -> DatabaseUrl:
    """Where a tenant's ledger is.

    Raises:
        DatabaseError: no name for a tenant.
    """
    if tenant == TENANT:
        return where
    if not TENANT_NAME.fullmatch(tenant):
        raise DatabaseError(f"{tenant!r} is no tenant's name: a-z, 0-9 and '-', 32 at most")
    if where.path is not None:
        name = f"{where.path.stem}-{tenant}{where.path.suffix}"
        return replace(where, path=where.path.with_name(name))
    return replace(where, schema=f"{POSTGRES_SCHEMA}_{tenant.replace('-', '_')}")


async def register(db: Transaction, tenant: str, now_s: int) -> None:
    """Note a tenant in the main ledger.

    Raises:
        DatabaseError: there are too many.
    """
    if tenant != TENANT and not await api_keys.has_tenant(db, tenant):
        if len(await api_keys.tenants(db)) >= TENANTS_MAX:
            raise DatabaseError(f"{TENANTS_MAX} tenants are the most: serve more with another one")
        await db.run("INSERT INTO tenant VALUES ($1, $2)", tenant, now_s)


class Ledgers:
    """The ledgers of a serving broker; a tenant made since is opened when it first asks."""

    def __init__(
        self,
        main: Database,
        where: DatabaseUrl | None,
        clock_s: Callable[[], int],
        signing: Sequence[SigningKey] = (),
    ) -> None:
        self._where, self._clock_s, self._signing = where, clock_s, signing
        self._senders: dict[str, asyncio.Task[None]] = {}
        self.open: dict[str, Database] = {TENANT: main}
        self._chores: dict[str, Housekeeping] = {}
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Open the main ledger and those of all tenants there are."""
        main = self.open[TENANT]
        await main.start()
        self._keep_in_order(TENANT, main)
        for tenant in await main.read(api_keys.tenants) if self._where is not None else ():
            await self.of(tenant)

    async def close(self) -> None:
        for sender in self._senders.values():
            sender.cancel()
        await asyncio.gather(*self._senders.values(), return_exceptions=True)
        for tenant, chores in reversed(self._chores.items()):
            await chores.stop()
            await self.open[tenant].close()

    async def of(self, tenant: str) -> Database:
        """The tenant's ledger.

        Raises:
            DatabaseError: it cannot be used as it is.
        """
        known = self.open.get(tenant)
        if known is not None:
            return known
        if self._where is None:
            raise DatabaseError("this broker has one tenant")
        async with self._lock:
            if tenant not in self.open:
                made = open_database(ledger_of(self._where, tenant))
                await made.start()
                self.open[tenant] = made
                self._keep_in_order(tenant, made)
        return self.open[tenant]

    def _keep_in_order(self, tenant: str, database: Database) -> None:
        self._chores[tenant] = chores = Housekeeping(database, self._clock_s)
        chores.start()
        from broker.webhook_sender import WebhookSender  # late: it stands on the routes

        sender = WebhookSender(database, tenant, self._signing, self._clock_s)
        self._senders[tenant] = asyncio.create_task(sender.run(), name=f"webhooks of {tenant}")
