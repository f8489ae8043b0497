"""A card number that stands in any column, whichever way it came there, is found."""

from __future__ import annotations

import pytest
from both_databases import Ledger
from desk import Desk
from market import shopper

from broker.systems import commands, stored_text
from broker.systems.stored_text import text_columns

CARD = "4111111111111111"  # a number that providers publish for tests
PLANTED = {
    "account.payment_ref": f"UPDATE account SET payment_ref = '{CARD}'",
    "hold.visit": (
        "INSERT INTO hold VALUES"
        f" ('h', 'a', 's', 'at {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}', 'c', 1, 'EUR', 1,"
        " 2, 'void', 0, '')"
    ),
    "checkout.offer": (
        "INSERT INTO merchant VALUES ('m', 1, 0, '', 1); INSERT INTO checkout VALUES"
        f""" ('k', 'a', 'm', 'EUR', 'open', 1, '{{"gtin": "5901234123457", "name": "{CARD}"}}',"""
        " '', 1, '', '', '', 0, 0, 0, 0, 0, 0, '', 1)"
    ),
    "audit.object": (
        "INSERT INTO audit (at_s, actor, action, object, status, times)"
        f" VALUES (1, 'a', 'b', '{CARD}', 201, 1)"
    ),
    "webhook_endpoint.url": (
        f"INSERT INTO webhook_endpoint VALUES ('e', 1, '', 'https://x.example/{CARD}', '[]',"
        " 'ordered', 'public', 'enabled', '', '', '', '', '', 0, 0)"
    ),
    "answer.body": (
        "INSERT INTO answer VALUES ('t', 'p', 'k', CAST('d' AS {blob}), 201,"
        f' CAST(\'{{{{"said": "{CARD}"}}}}\' AS {{blob}}), 1, NULL, NULL, NULL)'
    ),
}


def test_every_table_of_the_broker_is_looked_at() -> None:
    columns = text_columns()
    assert len(columns) >= 80
    assert {"account", "currency"} <= set(columns["posting"])
    assert {"party", "about", "data"} <= set(columns["event"])
    assert "said" in columns["dispute_evidence"]
    assert "amount_minor" not in columns["posting"]


@pytest.mark.parametrize("place", PLANTED)
def test_card_number_in_a_column_is_found(ledger: Ledger, place: str) -> None:
    desk = Desk(ledger)
    shopper(desk, "anna")
    blob = "BYTEA" if ledger.kind == "postgresql" else "BLOB"
    assert ledger.ask(stored_text.breaches) == {}
    for statement in PLANTED[place].split("; "):
        ledger.change(statement.format(blob=blob) if "{blob}" in statement else statement)
    assert ledger.ask(commands.breaches) == {f"no card number in {place}": 1}
