"""The role that serves on PostgreSQL: it does the systems' work and cannot change what is kept."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from both_databases import Databases, Ledger
from desk import Desk

from broker import postgresql_database
from broker.schema import SYSTEMS_FROM, migrations
from broker.systems import gifts, wallets

ROLE = "systems_server"
KEPT = re.compile(r"UPDATE OR DELETE OR TRUNCATE ON (\w+)")


def test_role_that_serves_works_the_systems_and_changes_nothing_that_is_kept(
    databases: Databases,
) -> None:
    where = databases.new("postgresql")
    databases.start().sql(f"CREATE ROLE {ROLE} LOGIN")
    asyncio.run(postgresql_database.migrate(where, ROLE))
    desk = Desk(Ledger(replace(where, url=where.url.replace("walkout@", f"{ROLE}@"))))
    for name in ("anna", "ben"):
        desk.do(wallets.open_wallet, wallets.WalletRequest(wallet=name, currency="EUR"))
    paid = wallets.TopupRequest(topup="t", amount_minor=500, currency="EUR")
    desk.do(wallets.top_up, paid, id="anna")
    desk.do(gifts.send, gifts.GiftRequest(gift="g", wallet="anna", amount_minor=200))
    code = desk.code(gifts.PURPOSE, "g")
    desk.do(gifts.claim, gifts.GiftClaim(code=code, wallet="ben"))
    assert desk.breaches() == {}
    scripts = [one.script for one in migrations("postgresql") if one.number >= SYSTEMS_FROM]
    kept = {table for script in scripts for table in KEPT.findall(script)}
    assert {"wallet_topup", "invoice", "promo_event", "sponsor_notice"} <= kept
    for table in sorted(kept):
        with pytest.raises(Exception, match="permission denied"):
            desk.ledger.change(f"DELETE FROM {table}")
    desk.ledger.close()
    databases.drop(where)
