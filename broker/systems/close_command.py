"""``walkout broker close-statements``: nightly, in every tenant; a broker may be serving.

Closing and issuing are transactions of their own: a run that is cut off between them is finished by
the next one, and none is charged twice, since a statement closes once.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from broker import api_keys, commands, tenants
from broker.database import DatabaseUrl
from broker.key_commands import done
from broker.keys import TENANT
from broker.systems import statements
from broker.systems.statement_types import Statement


def close_statements(where: DatabaseUrl, json_output: bool) -> int:
    """Close what is due and issue what is closed; 0."""
    now_s = time.time_ns() // 1_000_000_000
    found = {
        tenant: close_all(tenants.ledger_of(where, tenant), now_s)
        for tenant in (TENANT, *commands.asked(where, api_keys.tenants))
    }
    if json_output:
        _print(
            json.dumps({tenant: [asdict(one) for one in all_] for tenant, all_ in found.items()})
        )
        return 0
    for tenant, issued in found.items():
        for one in issued:
            numbers = ", ".join(one.invoices) or "no invoice"
            total = f"{one.total_minor} {one.currency}"
            _print(f"{tenant}: {one.statement}: {total} for {one.account}: {numbers}")
        _print(f"{tenant}: {len(issued)} statements issued")
    return 0


def close_all(where: DatabaseUrl, now_s: int) -> list[Statement]:
    """Until nothing is due; the statements that were issued."""
    while done(where, lambda db: statements.close_due(db, now_s)):
        pass
    issued = list[Statement]()
    while some := done(where, lambda db: statements.issue_closed(db, now_s)):
        issued += some
    return issued


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
