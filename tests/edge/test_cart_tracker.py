"""Small stories of takes: who is charged, who is asked about, who is left alone."""

from __future__ import annotations

import pytest
from cart_study import (
    MASSES,
    SECOND,
    Story,
    charged,
    no_steps,
    only,
    store,
)

from edge.sensors.weight_steps import StepFlag
from messages.events import (
    CartState,
    ItemTaken,
    ReviewRequested,
    VisitKind,
)


@pytest.fixture
def story() -> Story:
    return Story(store(MASSES))


def test_one_shopper_takes_one_item(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    taken = only(story.move(0, {5: -975.0, 6: -20.0}), ItemTaken)
    assert isinstance(taken, ItemTaken)
    assert (taken.visit, taken.sku, taken.quantity) == (a, "sku05", 1)
    assert taken.line == "st-v1-l1"
    assert taken.probability >= 0.95
    assert taken.evidence.step_ids == (1,)
    assert taken.evidence.plates == ("p0-05", "p0-06")
    assert sum(taken.evidence.plate_share) == pytest.approx(1.0)
    assert taken.evidence.track_ids == (1,)
    assert charged(story, a) == {"sku05": 1}


@pytest.mark.parametrize("quantity", [2, 3, 4])
def test_several_of_one_kind_at_once(story: Story, quantity: int) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 0)
    story.move(0, {0: -500.0 * quantity})
    assert charged(story, a) == {"sku00": quantity}


def test_two_different_items_in_one_step(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 6, 0.4)
    story.move(0, {5: -990.0, 7: -705.0})
    assert charged(story, a) == {"sku05": 1, "sku07": 1}


def test_place_tells_apart_what_mass_cannot(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 2)
    story.move(0, {2: -330.5, 1: -2.0})  # nearer to the neighbour's mass
    assert charged(story, a) == {"sku02": 1}


def test_two_shoppers_at_one_plate_ask_for_review(story: Story) -> None:
    a, b, c = story.enter("v1"), story.enter("v2"), story.enter("v3")
    story.stand(a, 0, 3)
    story.stand(b, 0, 7)
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert set(asked.visits) == {a, b}
    assert asked.candidates[0].sku == "sku05"
    assert asked.reason == "More than one shopper was near enough to take this."
    assert story.tracker.carts[a].state is CartState.REVIEW
    assert story.tracker.carts[c].state is CartState.CLOSED
    assert not charged(story, a)
    assert not charged(story, b)


def test_a_wrist_at_the_plate_settles_who_of_two_took_it(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 3).wrist = (0.5, 0.05, 1.0)
    story.stand(b, 0, 10).wrist = (1.3, 0.5, 1.0)
    story.move(0, {5: -1000.0})
    assert charged(story, a) == {"sku05": 1}


def test_an_uncertain_identity_is_never_charged(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 5).identity = {a: 0.8, b: 0.2}
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert set(asked.visits) == {a, b}
    assert asked.candidates[0].probability == pytest.approx(0.8, abs=0.03)


def test_nobody_near_the_shelf_charges_nobody(story: Story) -> None:
    a = story.enter("v1")
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.visits == ()
    assert asked.candidates[0].visit is None
    assert asked.evidence.note == "nobody seen near the shelf"
    assert story.tracker.carts[a].state is CartState.CLOSED


def test_dark_cameras_make_everybody_inside_a_candidate(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.scene.bodies.clear()
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert set(asked.visits) == {a, b}


def test_who_left_before_cannot_have_taken_it(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 5)
    story.stand(b, 0, 5, 0.6)
    story.tracker.visit_left(b, story.now_ns - 3 * SECOND)
    story.scene.bodies.pop()
    story.move(0, {5: -1000.0})
    assert charged(story, a) == {"sku05": 1}


def test_staff_are_never_charged(story: Story) -> None:
    staff = story.enter("v1", VisitKind.STAFF)
    story.stand(staff, 0, 5)
    assert story.move(0, {5: -1000.0}) == []
    assert not story.tracker.carts[staff].lines
    assert story.tracker.state.counters["takes_staff"] == 1


def test_staff_beside_a_shopper_is_a_doubt_that_only_the_shopper_waits_for(story: Story) -> None:
    staff, a = story.enter("v1", VisitKind.STAFF), story.enter("v2")
    story.stand(staff, 0, 3)
    story.stand(a, 0, 7)
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.visits == (a,)
    assert {c.visit for c in asked.candidates} >= {a, staff}


def test_a_mass_of_no_product_there_is_asked_about(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    asked = only(story.move(0, {5: -1480.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.visits == (a,)
    assert not charged(story, a)


def test_a_knock_gives_no_event_but_is_counted(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    assert story.move(0, {5: -4.0, 6: 3.0, 7: -2.0}) == []
    assert story.move(0, {2: 5.0, 6: -1.0}) == []
    assert story.tracker.state.counters["nothing"] == 2


def test_after_a_gap_a_person_decides(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    asked = only(story.move(0, {5: -1000.0}, StepFlag.AFTER_GAP), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.reason == "The sensors were off while this happened."
    assert asked.visits == (a,)


def test_an_unreadable_plate_makes_a_step_doubtful(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    asked = only(story.move(0, {5: -1000.0}, StepFlag.CLIPPED), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.reason == "A plate of this shelf could not be read."


def test_nan_and_empty_steps_are_counted_and_harmless(story: Story) -> None:
    story.enter("v1")
    assert story.move(0, {}) == []
    assert story.move(0, {5: float("nan")}) == []
    assert story.tracker.state.counters["steps_without_place"] == 2


def test_a_step_waits_for_people_and_no_longer_than_a_second(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    story.scene.covered_ns = 0
    assert story.tracker.step(story.now_ns, story.weights(0, {5: -1000.0}), story.scene) == []
    assert story.tracker.pending(a)
    later = story.now_ns + SECOND - 1
    assert story.tracker.step(later, no_steps(story.config), story.scene) == []
    events = story.tracker.step(later + 1, no_steps(story.config), story.scene)
    assert [type(e) for e in events] == [ItemTaken]
    assert not story.tracker.pending(a)


def test_a_step_is_not_pending_for_who_came_later(story: Story) -> None:
    story.scene.covered_ns = 0
    story.tracker.step(story.now_ns, story.weights(0, {5: -1000.0}), story.scene)
    story.now_ns += SECOND
    assert not story.tracker.pending(story.enter("v1"))
