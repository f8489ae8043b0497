"""Small stories of returns: what comes off whose cart, and what the shelves remember."""

from __future__ import annotations

import pytest
from cart_study import (
    MASSES,
    SECOND,
    Story,
    charged,
    one_step,
    only,
    store,
)

from messages.events import (
    CartState,
    ItemReturned,
    ItemTaken,
    ReviewRequested,
    ReviewResolved,
    VisitKind,
)
from messages.ids import Sku
from messages.observations import ReviewAnswer


@pytest.fixture
def story() -> Story:
    return Story(store(MASSES))


def test_an_item_put_back_comes_off_the_cart(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    story.move(0, {5: -1000.0})
    back = only(story.move(0, {5: 1003.0}), ItemReturned)
    assert isinstance(back, ItemReturned)
    assert (back.visit, back.sku, back.line) == (a, "sku05", "st-v1-l1")
    assert story.tracker.carts[a].lines == ()


def test_take_two_and_return_one(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 0)
    story.move(0, {0: -1000.0})
    story.move(0, {0: 500.0})
    assert charged(story, a) == {"sku00": 1}


def test_an_item_put_back_on_another_shelf_comes_off_too_and_is_remembered_there(
    story: Story,
) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 5)
    story.move(0, {5: -1000.0})
    story.stand(a, 1, 3)
    story.move(1, {3: 1000.0})
    assert not charged(story, a)
    (left,) = story.tracker.state.misplaced
    assert (left.sku, left.shelf, left.units) == ("sku05", "s1", 1)
    story.leave_shelf(a)
    story.stand(b, 1, 3)
    story.move(1, {3: -1000.0})
    assert charged(story, b) == {"sku05": 1}
    assert story.tracker.state.misplaced == []


def test_an_item_put_back_where_one_of_the_same_mass_lives_makes_the_next_take_doubtful(
    story: Story,
) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 1)
    story.move(0, {1: -330.0})
    story.move(0, {2: 330.0})  # sku01 now stands among sku02
    assert not charged(story, a)
    story.leave_shelf(a)
    story.stand(b, 0, 2)
    asked = only(story.move(0, {2: -331.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert {c.sku for c in asked.candidates} >= {"sku01", "sku02"}
    assert asked.visits == (b,)


def test_only_who_holds_the_item_can_have_put_it_back(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 5)
    story.move(0, {5: -1000.0})
    story.stand(a, 0, 8)
    story.stand(b, 0, 4)  # nearer, but without the item
    story.move(0, {5: 1000.0})
    assert not charged(story, a)
    assert story.tracker.carts[b].state is CartState.CLOSED


def test_two_holders_near_a_return_are_both_left_uncharged_until_somebody_decides(
    story: Story,
) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    for visit in (a, b):
        story.stand(visit, 0, 5)
        story.move(0, {5: -1000.0})
        story.leave_shelf(visit)
    story.stand(a, 0, 3)
    story.stand(b, 0, 7)
    asked = only(story.move(0, {5: 1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert not charged(story, a)
    assert not charged(story, b)
    answer = ReviewAnswer(review=asked.review, visit=b, sku=Sku("sku05"), quantity=-1)
    story.tracker.answer(answer, story.now_ns, "console")
    assert charged(story, a) == {"sku05": 1}
    assert story.tracker.carts[b].lines == ()


def test_an_item_that_no_cart_has_is_asked_about(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    asked = only(story.move(0, {5: 1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.reason == "An item was put back that the shopper's cart does not have."


def test_an_item_passed_on_and_put_back_by_the_other_is_not_left_charged(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 5)
    story.move(0, {5: -1000.0})
    story.leave_shelf(a)
    story.stand(b, 0, 5)
    asked = only(story.move(0, {5: 1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert set(asked.visits) == {a, b}
    assert not charged(story, a)


def test_staff_fill_a_shelf_without_any_event(story: Story) -> None:
    staff = story.enter("v1", VisitKind.STAFF)
    story.stand(staff, 0, 5)
    assert story.move(0, {5: 6000.0}) == []
    assert story.tracker.state.counters["stocked"] == 1


def test_a_bag_laid_on_the_shelf_and_taken_away_again_costs_nothing(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    assert story.move(0, {5: 1400.0, 6: 900.0}) == []
    assert story.move(0, {5: -1400.0, 6: -900.0}) == []
    assert story.tracker.state.foreign == []


def test_a_put_waits_for_the_take_that_another_shelf_reports_late(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    story.now_ns += 10 * SECOND
    now = story.now_ns
    put = story.weights(0, {5: 1000.0})
    assert story.tracker.step(now, put, story.scene) == []
    assert story.tracker.pending(a)
    take = one_step(story.config, 99, 0, {5: -1000.0}, now - 3 * SECOND)
    first = story.tracker.step(now + SECOND // 2, take, story.scene)
    assert [type(e) for e in first] == [ItemTaken, ItemReturned]
    assert not story.tracker.pending(a)


def test_a_doubtful_take_whose_unit_comes_back_is_resolved_by_evidence(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 3)
    story.stand(b, 0, 7)
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    resolved = only(story.move(0, {5: 1000.0}), ReviewResolved)
    assert isinstance(asked, ReviewRequested)
    assert isinstance(resolved, ReviewResolved)
    assert (resolved.review, resolved.visit, resolved.by) == (asked.review, None, "evidence")
    for visit in (a, b):
        assert story.tracker.carts[visit].state is CartState.CLOSED
        assert story.tracker.carts[visit].lines == ()
