"""The broker's systems on the ledger: ``<topic>.py`` does, ``<topic>_api.py`` lists its routes."""

from __future__ import annotations

from broker.housekeeping import Chore
from broker.routes import Route
from broker.systems import (
    carts_api,
    checkouts_api,
    coupons,
    gifts,
    item_stores_api,
    orders,
    promotions_api,
    screenings_api,
    wallets_api,
)
from broker.systems.personal import IMPERSONAL as IMPERSONAL
from broker.systems.personal import PERSONAL as PERSONAL

ROUTES: tuple[Route, ...] = (
    *screenings_api.ROUTES,
    *checkouts_api.ROUTES,
    *carts_api.ROUTES,
    *wallets_api.ROUTES,
    *item_stores_api.ROUTES,
    *promotions_api.ROUTES,
)

CHORES: tuple[Chore, ...] = (
    Chore(name="end silent orders", every_s=60.0, work=orders.lapse, busy=orders.LAPSED_AT_ONCE),
    Chore(
        name="return gifts",
        every_s=60.0,
        work=gifts.return_due,
        busy=gifts.RETURNED_AT_ONCE,
    ),
    Chore(name="release coupons", every_s=60.0, work=coupons.release_lapsed, busy=100),
)
