"""``walkout broker check``: every invariant of the ledger and of the systems, in every tenant."""

from __future__ import annotations

import json
import sys

from broker import api_keys, books, commands, tenants
from broker.database import DatabaseUrl, Transaction
from broker.keys import TENANT
from broker.systems import invariants, stored_text


def check(where: DatabaseUrl, json_output: bool) -> int:
    """Ask them all; 1 when one does not hold."""
    found = {
        tenant: commands.asked(tenants.ledger_of(where, tenant), breaches)
        for tenant in (TENANT, *commands.asked(where, api_keys.tenants))
    }
    asked = len(books.INVARIANTS) + sum(len(queries) for queries in invariants.REGISTRY.values())
    asked += 1  # no card number in any column
    broken = sum(len(names) for names in found.values())
    if json_output:
        _print(json.dumps({"invariants": asked, "breaches": found}))
    else:
        for tenant, names in found.items():
            for name, count in names.items():
                _print(f"broken: {tenant}: {name}: not so in {count}")
        _print(f"{asked} invariants in {len(found)} ledgers: {broken or 'none'} broken")
    return 1 if broken else 0


async def breaches(db: Transaction) -> dict[str, int]:
    """What does not hold, with how many rows break it."""
    found = await books.breaches(db) | await invariants.breaches(db)
    return found | await stored_text.breaches(db)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
