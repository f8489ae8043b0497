"""Laws of the cart tracker that hold for any input: quantities, mass, names and the origin."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cart_tales import TALES, Enter, Point, Reach, Tale, Telling, concluded, told
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.cart import fold
from messages.events import (
    Event,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    ReviewRequested,
    ReviewResolved,
)

# The same tales each time: a law that one tale in millions breaks must not break another's build.
FEW = settings(max_examples=25, deadline=None, derandomize=True)
SAME = 1e-6  # probabilities of two tellings of one tale
ORIGINS: st.SearchStrategy[Point] = st.tuples(
    st.floats(-200.0, 200.0), st.floats(-200.0, 200.0), st.floats(-2.0, 2.0)
)


@FEW
@given(TALES)
def test_quantities_and_probabilities_are_possible_in_every_cart(tale: Tale) -> None:
    assert_possible(told(tale))


@FEW
@given(TALES)
def test_what_was_taken_less_what_came_back_is_what_the_cart_holds(tale: Tale) -> None:
    assert_balanced(told(tale))


@FEW
@given(TALES)
def test_nobody_is_charged_for_more_than_the_shelf_lost(tale: Tale) -> None:
    assert_weighed(told(tale))


@FEW
@given(TALES)
def test_staff_have_no_line_and_nobody_waits_for_them(tale: Tale) -> None:
    telling = told(tale)
    for visit in telling.staff:
        assert not telling.tracker.carts[visit].lines
        assert not telling.tracker.carts[visit].reviews


@FEW
@given(TALES, ORIGINS)
def test_moving_the_stores_origin_changes_nothing(tale: Tale, origin_m: Point) -> None:
    assert_same(told(tale), told(tale, origin_m=origin_m))


@FEW
@given(TALES, st.permutations(["a", "st-9", "zz", "v1"]))
def test_renaming_people_changes_nothing_but_names(tale: Tale, names: list[str]) -> None:
    assert_same(told(tale), told(tale, names=tuple(names)))


def test_a_planted_fault_breaks_each_law() -> None:
    tale: Tale = [
        Enter(staff=False),
        Reach(person=0, shelf=0, plate=5, units=-1, off=1.0),
        Reach(person=0, shelf=0, plate=0, units=-1, off=1.0),
    ]
    telling = told(tale)
    first, second = telling.events
    assert isinstance(first, ItemTaken)
    for planted in ([first, first, second], [first, replace(second, probability=1.1)]):
        with pytest.raises(AssertionError):
            assert_possible(replace(telling, events=planted))
    with pytest.raises(AssertionError):
        assert_balanced(replace(telling, events=[first, replace(second, quantity=2)]))
    with pytest.raises(AssertionError):
        assert_weighed(replace(telling, events=[replace(first, quantity=2), second]))
    with pytest.raises(AssertionError):
        assert_same(telling, told(tale[:2]))


def assert_possible(telling: Telling) -> None:
    for event in telling.events:
        for probability in probabilities(event):
            assert 0.0 <= probability <= 1.0
    for visit, cart in telling.tracker.carts.items():
        assert all(line.quantity > 0 for line in cart.lines)
        assert all(0.0 <= line.probability <= 1.0 for line in cart.lines)
        assert all(debt.quantity > 0 for debt in cart.owed)
        assert cart == fold(visit, telling.events)


def assert_balanced(telling: Telling) -> None:
    for visit, cart in telling.tracker.carts.items():
        if any(answered(event) for event in telling.events):
            continue
        booked = Counter[str]()
        for event in telling.events:
            match event:
                case ItemTaken(visit=who, sku=sku, quantity=units) if who == visit:
                    booked[sku] += units
                case ItemReturned(visit=who, sku=sku, quantity=units) if who == visit:
                    booked[sku] -= units
                case ItemHandedOver(sku=sku, quantity=units):
                    booked[sku] += units * ((event.to_visit == visit) - (event.from_visit == visit))
        asked = {str(review.review) for review in cart.reviews}
        held = Counter[str]()
        for line in cart.lines:
            held[line.sku] += line.quantity if str(line.line) not in asked else 0
        for sku in booked | held:
            assert held[sku] == max(booked[sku], 0), sku


def assert_weighed(telling: Telling) -> None:
    by_step: dict[tuple[int, ...], list[ItemTaken | ItemReturned]] = {}
    for event in telling.events:
        if isinstance(event, ItemTaken | ItemReturned):
            by_step.setdefault(event.evidence.step_ids, []).append(event)
    mass_g = {p.id: p.mass_g for p in telling.config.products}
    for events in by_step.values():
        seen = events[0].evidence
        for sign, kind in ((-1, ItemTaken), (1, ItemReturned)):
            booked_g = sum(mass_g[e.sku] * e.quantity for e in events if isinstance(e, kind))
            moved_g = max(sign * seen.mass_g for seen in (e.evidence for e in events))
            if booked_g:
                assert abs(booked_g - moved_g) <= 0.3 * moved_g + 5.0 * seen.mass_sd_g


def assert_same(one: Telling, other: Telling) -> None:
    rows, probability = concluded(one)
    rows_too, probability_too = concluded(other)
    assert rows == rows_too
    assert np.abs(probability - probability_too).max(initial=0.0) <= SAME


def probabilities(event: Event) -> list[float]:
    if isinstance(event, ItemTaken | ItemReturned | ItemHandedOver):
        return [event.probability]
    if isinstance(event, ReviewRequested):
        return [c.probability for c in event.candidates]
    return []


def answered(event: Event) -> bool:
    """A person, a deadline or later evidence decided: lines follow other laws then."""
    return isinstance(event, ReviewResolved)
