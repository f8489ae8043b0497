"""The world against the real engine, in virtual time: nobody is over-charged, every cart closes."""

from __future__ import annotations

from collections import Counter

import pytest

from messages.codec import encode
from messages.events import CartClosed, EntryRefused, VisitEnded, VisitStarted
from sim.first_store import first_store
from sim.in_process import Run, run
from sim.referee import judge
from sim.world import options


@pytest.fixture(scope="module")
def day() -> Run:
    """A usual minute and a half, then until everybody is out."""
    return run(first_store(), options("honest", 7), duration_s=90)


def test_every_visit_ends_in_exactly_one_cart_under_its_credential(day: Run) -> None:
    gone = [v.credential for v in day.truth.visits.values() if v.exited_at_ns is not None]
    closed = Counter(str(cart.credential) for cart in day.carts)
    assert len(gone) >= 6
    assert closed == Counter(gone)
    assert day.world.empty


def test_real_tokens_open_the_gate_for_everybody(day: Run) -> None:
    kinds = Counter(type(event) for event in day.events)
    assert kinds[EntryRefused] == 0
    assert kinds[VisitStarted] == kinds[VisitEnded] == kinds[CartClosed]


def test_nobody_is_charged_for_what_they_do_not_hold(day: Run) -> None:
    verdict = judge(day.truth, day.carts)
    assert verdict.over_charged == []
    assert verdict.precision == 1.0


def test_best_guess_finds_most_of_what_was_taken(day: Run) -> None:
    verdict = judge(day.truth, day.carts)
    assert verdict.true_units >= 10
    assert verdict.recall > 0.6


def test_careful_shoppers_alone_are_charged_without_a_look() -> None:
    done = run(first_store(), options("easy", 3), duration_s=45)
    verdict = judge(done.truth, done.carts)
    assert verdict.visits >= 2
    assert verdict.over_charged == []
    assert verdict.charged_recall > 0.6


def test_same_seed_gives_the_same_events_byte_for_byte() -> None:
    events = [
        [encode(event) for event in run(first_store(), options("honest", 5), duration_s=15).events]
        for _ in range(2)
    ]
    assert events[0] == events[1]
    assert len(events[0]) >= 4
