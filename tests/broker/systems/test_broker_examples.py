"""Each example is told against a live broker, and the books are sound afterwards."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from both_databases import Ledger
from desk import Desk
from running_broker import Broker

EXAMPLES = Path(__file__).parents[3] / "examples" / "broker"

# What a reader must find in what it prints.
STORIES = {
    "a_walk_out": ("admit, 50.00 EUR held", "wine 9.00 EUR (refunded)", "deny, debt-open of 15.00"),
    "h_webhooks": (
        "invalid-body",
        "trip.settled of visit 1, trip.settled of visit 2",
        "back and hears: trip.settled of visit 3",
        "same id: trip.settled of visit 1",
    ),
    "b_item_store": ("not-the-addressee", "pays 2.98 EUR, she 6.99 EUR", "47.02 EUR are left"),
    "d_market_cart": ("cart-changed", "Ben buys the fish for 11.00 EUR", "line-taken"),
    "f_bids": ("bids-sealed", "The best is cheap", "costs it 6.50 EUR", "near delivers"),
    "g_checkout": ("totals-changed", "handed over: 40.00 EUR", "Anna owes 40.00 EUR"),
    "e_screening": ("The door opens: entry, wine_door", "token-used", "no door"),
    "j_association": ("none, then none, then proposed", "consent-needed", "fourth visit: removed"),
    "k_promotion": ("frame-altered", "1.25 EUR off", "already-used", "99.17 EUR left"),
    "c_statements": ("8.48 EUR", "credit note", "0.99 EUR", "The kiosk gets"),
    "i_wallet": ("code-spent", "Ben has 5.00 EUR", "Anna has 16.25 EUR"),
}


@pytest.mark.parametrize("name", sorted(STORIES))
def test_example_runs_and_says_what_happened(
    broker: Broker, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    live, example = importlib.import_module("live"), importlib.import_module(name)
    example.story(live.Client(broker.url, broker.data))
    said = capsys.readouterr().out
    assert [wanted for wanted in STORIES[name] if wanted not in said] == []
    ledger = Ledger(broker.where()) if broker.database else None
    if ledger is not None:
        assert Desk(ledger).breaches() == {}
        ledger.close()


def test_example_alone_starts_a_broker_of_its_own(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["i_wallet.py"])
    live, example = importlib.import_module("live"), importlib.import_module("i_wallet")
    live.tell(example.story)
    assert "Ben has 5.00 EUR" in capfd.readouterr().out
