"""At the exit: what a cart holds as far as known, per line, and by when it is final."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from second_systems import (
    WALL_NS,
    SecondSystems,
    cart_closed,
    visit_ended,
    visit_started,
    whole_visit,
)
from test_retailer_calls import Store, told
from test_settling_over_http import receipts, settle

from cloud_sync import views
from cloud_sync.purchase import Held, HoldDeclined, Purchase, Terms
from cloud_sync.settlement import settle as settled
from messages import codec
from messages.events import EndReason, VisitEnded, VisitKind
from messages.ids import StoreId, VisitId

S = 1_000_000_000
EXIT_NS, DUE_NS = WALL_NS + 59 * S, WALL_NS + 959 * S
ENDED = visit_ended("v1", "apple", in_review=("wine",))


def test_sure_lines_and_doubtful_ones_are_told_at_the_exit_with_a_deadline(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        store.journal.append(visit_started("v1", "ann"), ENDED)
        await store.trip("v1", state="held")
        row = store.receipt("v1")
        assert (row["state"], row["issued_wall_ns"]) == ("provisional", 0)
        assert (row["exit_wall_ns"], row["due_wall_ns"]) == (EXIT_NS, DUE_NS)
        assert row["provisional_wall_ns"] > 0
        shown = [(one["sku"], one["quantity"], one["state"]) for one in row["provisional"]]
        assert shown == [("apple", 1, "charged"), ("wine", 1, "review")]
        assert [one["sku"] for one in row["in_review"]] == ["wine"]
        store.journal.append(cart_closed("v1", "ann", "apple", in_review=("wine",)))
        await store.trip("v1", state="paid", totalMinor=120)
        final = store.receipt("v1")
        assert (final["state"], final["provisional"]) == ("paid", [])
        assert final["provisional_wall_ns"] == row["provisional_wall_ns"]

    systems = told(story, tmp_path)
    assert systems.captured == {"capture-v1": 120}
    first, _ = views.deliveries(tmp_path / "sync.db")
    assert first["message"] == "v1:receipt.provisional"
    found = views.delivery(tmp_path / "sync.db", first["id"])
    assert found is not None
    data = found["body"]["data"]
    assert data["due_at"] == "2026-09-21T14:29:19.000Z"
    assert [(one["line"], one["state"], one["probability"]) for one in data["provisional"]] == [
        ("v1-l0", "charged", 0.99),
        ("v1-l100", "review", 0.6),
    ]
    assert (data["total"], data["lines"], data["state"]) == (0, [], "provisional")


def test_it_is_told_before_the_final_one_and_charges_nothing(tmp_path: Path) -> None:
    started, closed = whole_visit("v1", "ann", "apple")
    systems = SecondSystems()
    config = settle(tmp_path, systems, started, visit_ended("v1", "apple", "bread"), closed)
    assert receipts(config)["v1"]["total_minor"] == 120  # the cart's word, not the exit's
    kinds = [body["type"] for _, body in systems.webhooks]
    assert kinds == ["receipt.provisional", "receipt.issued"]
    assert len({message for message, _ in systems.webhooks}) == 2


@pytest.mark.parametrize(
    "ended",
    [replace(ENDED, reason=EndReason.NO_PASSAGE, lines=()), replace(ENDED, visit=VisitId("v2"))],
)
def test_nobody_who_came_in_gets_none(tmp_path: Path, ended: VisitEnded) -> None:
    """The gate opened and nobody passed; staff, whose start we are not told."""
    systems = SecondSystems()
    config = settle(tmp_path, systems, visit_started("v1", "ann"), ended)
    assert receipts(config) == {}
    assert systems.webhooks == []


def test_one_of_an_older_journal_has_no_lines_and_no_deadline() -> None:
    bare = VisitEnded(id=ENDED.id, visit=VisitId("v1"), reason=EndReason.EXIT)
    assert codec.decode(codec.encode(bare)) == bare
    terms = Terms(store=StoreId("s1"), merchant="m", currency="EUR", hold_minor=1)
    purchase = settled(
        Purchase(visit=VisitId("v1")), visit_started("v1", "ann"), WALL_NS, terms
    ).purchase
    step = settled(purchase, bare, WALL_NS + S, terms)
    assert step.receipt is not None
    assert (step.receipt.due_wall_ns, step.receipt.exit_wall_ns) == (0, WALL_NS + S)
    assert step.purchase.told == 0  # final receipts alone are numbered


def test_who_has_left_is_no_alarm_for_the_staff_any_more() -> None:
    terms = Terms(store=StoreId("s1"), merchant="m", currency="EUR", hold_minor=1)
    purchase = Purchase(visit=VisitId("v1"))
    for signal in (visit_started("v1", "ann"), ENDED):
        purchase = settled(purchase, signal, WALL_NS, terms).purchase
    late = settled(purchase, HoldDeclined(reason="limit"), WALL_NS, terms)
    assert (late.inside, late.purchase.decline_reason) == ("", "limit")
    assert settled(purchase, Held(amount_minor=1), WALL_NS, terms).purchase.held_minor == 1
    assert purchase.kind is VisitKind.SHOPPER
