"""The broker's systems on the ledger: ``<topic>.py`` does, ``<topic>_api.py`` lists its routes."""

from __future__ import annotations

from broker.housekeeping import Chore
from broker.routes import Route
from broker.systems import gifts, wallets_api
from broker.systems.personal import IMPERSONAL as IMPERSONAL
from broker.systems.personal import PERSONAL as PERSONAL

ROUTES: tuple[Route, ...] = (*wallets_api.ROUTES,)

CHORES: tuple[Chore, ...] = (
    Chore(
        name="return gifts",
        every_s=60.0,
        work=gifts.return_due,
        busy=gifts.RETURNED_AT_ONCE,
    ),
)
