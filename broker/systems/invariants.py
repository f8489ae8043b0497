"""Every system's invariants: queries that count what breaks them; zero each in sound books.

``walkout broker check`` and ``verify-chain`` ask them beside the ledger's own (``books.py``).
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.database import Transaction
from broker.systems import (
    bids,
    invariants_associations,
    invariants_bids,
    invariants_carts,
    invariants_checkouts,
    invariants_item_stores,
    invariants_promotions,
    invariants_screenings,
    invariants_statements,
    invariants_trips,
    invariants_wallets,
    invariants_webhooks,
)

REGISTRY: Mapping[str, Mapping[str, str]] = {
    "trips": invariants_trips.INVARIANTS,
    "carts": invariants_carts.INVARIANTS,
    "checkouts": invariants_checkouts.INVARIANTS,
    "bids": invariants_bids.INVARIANTS,
    "screenings": invariants_screenings.INVARIANTS,
    "wallets": invariants_wallets.INVARIANTS,
    "item stores": invariants_item_stores.INVARIANTS,
    "promotions": invariants_promotions.INVARIANTS,
    "statements": invariants_statements.INVARIANTS,
    "associations": invariants_associations.INVARIANTS,
    "webhooks": invariants_webhooks.INVARIANTS,
}


async def breaches(db: Transaction) -> dict[str, int]:
    """The invariants that do not hold, with how many rows break each."""
    found = dict[str, int]()
    for system, queries in REGISTRY.items():
        for name, query in queries.items():
            row = await db.one(query)
            assert row is not None
            if row[0]:
                found[f"{system}: {name}"] = int(row[0])
    if wrong := await bids.misjudged(db):
        found["bids: a winner follows from its log"] = len(wrong)
    return found
