"""What a serving broker does on its own: seal journals, write down expiries, forget old answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker import accounts, audit, chain, idempotency, store
from broker.database import CommitError, Database, StoreFullError, Transaction

log = logging.getLogger("walkout.broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Runs in a transaction of its own; again at once while it did ``busy`` things or more."""

    name: str
    every_s: float
    work: Callable[[Transaction, int], Awaitable[int]]
    busy: int


CHORES = (
    Chore(name="seal", every_s=0.5, work=lambda db, now_s: chain.seal(db), busy=chain.SEAL_MAX),
    Chore(name="expire", every_s=30.0, work=store.sweep, busy=500),
    Chore(
        name="forget answers",
        every_s=30.0,
        work=lambda db, now_s: idempotency.purge(db, now_s, 1000),
        busy=1000,
    ),
    Chore(name="forget audit", every_s=3600.0, work=audit.purge, busy=audit.PURGE_MAX),
    Chore(name="sum up", every_s=24 * 3600.0, work=accounts.snapshot, busy=2**62),
)


class Housekeeping:
    """The chores of one serving process, each a task."""

    def __init__(self, database: Database, clock_s: Callable[[], int]) -> None:
        self._database, self._clock_s = database, clock_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        from broker import systems  # late: they stand on the routes, which start this

        chores = (*CHORES, *systems.CHORES)
        self._tasks = [asyncio.create_task(self._run(chore), name=chore.name) for chore in chores]

    async def stop(self) -> None:
        """End the tasks; what was posted is sealed once more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._once(CHORES[0])

    async def _run(self, chore: Chore) -> None:
        while True:
            while await self._once(chore) >= chore.busy:
                pass
            await asyncio.sleep(chore.every_s)

    async def _once(self, chore: Chore) -> int:
        try:
            return await self._database.submit(lambda db: chore.work(db, self._clock_s()))
        except (CommitError, StoreFullError) as error:
            log.error("%s: %s", chore.name, error)
            return 0
        except Exception as error:  # a chore that fails is tried again; requests go on
            log.error("%s: %s", chore.name, type(error).__name__)
            return 0
