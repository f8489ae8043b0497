"""The broker's systems on the ledger: ``<topic>.py`` does, ``<topic>_api.py`` lists its routes."""

from __future__ import annotations

from broker.housekeeping import Chore
from broker.routes import Route
from broker.systems import (
    associations_api,
    awards,
    bids,
    bids_api,
    carts_api,
    checkouts_api,
    coupons,
    deliveries,
    display_sales,
    events,
    gifts,
    item_stores_api,
    orders,
    promotions_api,
    screenings_api,
    statements_api,
    trips,
    trips_api,
    wallets_api,
    webhooks_api,
)
from broker.systems.personal import IMPERSONAL as IMPERSONAL
from broker.systems.personal import PERSONAL as PERSONAL

ROUTES: tuple[Route, ...] = (
    *trips_api.ROUTES,
    *screenings_api.ROUTES,
    *bids_api.ROUTES,
    *checkouts_api.ROUTES,
    *carts_api.ROUTES,
    *wallets_api.ROUTES,
    *item_stores_api.ROUTES,
    *promotions_api.ROUTES,
    *statements_api.ROUTES,
    *associations_api.ROUTES,
    *webhooks_api.ROUTES,
)

CHORES: tuple[Chore, ...] = (
    Chore(name="close bids", every_s=1.0, work=display_sales.close_due, busy=bids.CLOSED_AT_ONCE),
    Chore(name="next bidder", every_s=60.0, work=awards.lapse, busy=awards.LAPSED_AT_ONCE),
    Chore(name="end silent orders", every_s=60.0, work=orders.lapse, busy=orders.LAPSED_AT_ONCE),
    Chore(
        name="return gifts",
        every_s=60.0,
        work=gifts.return_due,
        busy=gifts.RETURNED_AT_ONCE,
    ),
    Chore(name="end silent trips", every_s=60.0, work=trips.lapse, busy=trips.LAPSED_AT_ONCE),
    Chore(name="forget messages", every_s=600.0, work=deliveries.purge, busy=deliveries.PURGE_MAX),
    Chore(name="forget events", every_s=600.0, work=events.purge, busy=events.PURGE_MAX),
    Chore(name="release coupons", every_s=60.0, work=coupons.release_lapsed, busy=100),
)
