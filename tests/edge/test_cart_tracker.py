"""Small stories at a shelf: who is charged, who is asked about, and who is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cart_study import SECOND, Body, Scene, Story, no_steps, one_step, started, store

from edge.cart_answers import BadQuantity, UnknownReview, UnknownSku, UnknownVisit
from edge.cart_tracker import CartTracker, CartTrackerState, InvalidAnswer
from edge.sensors.weight_steps import StepFlag
from messages.cart import fold
from messages.codec import decode_state, encode_state
from messages.events import (
    CartState,
    Event,
    ItemReturned,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
    VisitKind,
)
from messages.ids import FacingId, ReviewId, Sku, VisitId
from messages.observations import ReviewAnswer

# Shelf 0: plate k holds sku k. Plates 1 and 2 hold nearly the same mass.
MASSES = [500.0, 330.0, 332.0, 120.0, 45.0, 1000.0, 250.0, 700.0, 90.0, 410.0, 610.0, 850.0]


@pytest.fixture
def story() -> Story:
    return Story(store(MASSES))


def charged(story: Story, visit: VisitId) -> dict[str, int]:
    cart = story.tracker.carts[visit]
    return {ln.sku: ln.quantity for ln in cart.lines if ln.state is LineState.CHARGED}


def only(events: list[Event], kind: type) -> Event:
    assert [type(e) for e in events] == [kind], events
    return events[0]


# --- takes -----------------------------------------------------------------------------------


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


# --- returns ---------------------------------------------------------------------------------


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


# --- holding ---------------------------------------------------------------------------------


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


# --- answers, deadlines, failures ------------------------------------------------------------


def in_doubt(story: Story) -> tuple[VisitId, VisitId, ReviewId]:
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 3)
    story.stand(b, 0, 7)
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.review == "st-r1"
    return a, b, asked.review


def test_an_answer_charges_exactly_whom_it_names(story: Story) -> None:
    a, b, review = in_doubt(story)
    answer = ReviewAnswer(review=review, visit=b, sku=Sku("sku05"), quantity=1)
    (event,) = story.tracker.answer(answer, story.now_ns, "console")
    assert isinstance(event, ReviewResolved)
    assert (event.by, event.at_ns) == ("console", story.now_ns)
    assert charged(story, b) == {"sku05": 1}
    assert story.tracker.carts[a].lines == ()
    assert story.tracker.reviews == {}


def test_an_answer_of_nobody_charges_nobody(story: Story) -> None:
    a, b, review = in_doubt(story)
    story.tracker.answer(ReviewAnswer(review=review, visit=None), story.now_ns, "console")
    assert story.tracker.carts[a].state is CartState.CLOSED
    assert story.tracker.carts[b].lines == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"review": "st-r99"}, UnknownReview),
        ({"visit": "st-v99"}, UnknownVisit),
        ({"sku": "nonsense"}, UnknownSku),
        ({"sku": None}, UnknownSku),
        ({"quantity": 0}, BadQuantity),
        ({"quantity": -1}, BadQuantity),
        ({"quantity": 10**9}, BadQuantity),
    ],
)
def test_an_answer_that_cannot_be_is_refused_by_name(
    story: Story, change: dict[str, object], error: type[InvalidAnswer]
) -> None:
    a, _, review = in_doubt(story)
    before = encode_state(story.tracker.state)
    good = ReviewAnswer(review=review, visit=a, sku=Sku("sku05"), quantity=1)
    with pytest.raises(error):
        story.tracker.answer(replace(good, **change), story.now_ns, "console")  # type: ignore[arg-type]
    assert encode_state(story.tracker.state) == before
    story.tracker.answer(good, story.now_ns, "console")
    with pytest.raises(UnknownReview):
        story.tracker.answer(good, story.now_ns, "console")


def test_an_answer_may_name_a_visit_that_nobody_suspected(story: Story) -> None:
    _, _, review = in_doubt(story)
    c = story.enter("v3")
    answer = ReviewAnswer(review=review, visit=c, sku=Sku("sku06"), quantity=2)
    story.tracker.answer(answer, story.now_ns, "console")
    assert charged(story, c) == {"sku06": 2}


def test_a_deadline_closes_a_shared_question_only_when_nobody_else_waits(story: Story) -> None:
    a, b, review = in_doubt(story)
    story.tracker.visit_left(a, story.now_ns)
    assert story.tracker.expire(a, story.now_ns) == []
    cart = story.tracker.close(a)
    assert cart.state is CartState.REVIEW
    assert all(line.state is LineState.REVIEW for line in cart.lines)
    (event,) = story.tracker.expire(b, story.now_ns)
    assert isinstance(event, ReviewResolved)
    assert (event.review, event.by, event.visit) == (review, "deadline", None)
    assert not charged(story, b)


def test_a_question_that_no_cart_waits_for_ends_at_the_deadline(story: Story) -> None:
    story.enter("v1")
    story.move(0, {5: -1000.0})
    late = story.now_ns + round(story.config.decision.review_deadline_s * SECOND)
    (event,) = story.tracker.step(late, no_steps(story.config), story.scene)
    assert isinstance(event, ReviewResolved)
    assert event.by == "deadline"
    assert story.tracker.reviews == {}


def test_a_rattling_shelf_cannot_fill_the_memory(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.cart_tracker.REVIEWS_MAX", 3)
    a = story.enter("v1")
    story.stand(a, 0, 5)
    for _ in range(6):
        story.move(0, {5: -1480.0})
    assert len(story.tracker.reviews) == 3
    assert not charged(story, a)


def test_after_a_failure_no_open_cart_is_charged(story: Story) -> None:
    a, b = story.enter("v1"), story.enter("v2")
    staff = story.enter("v3", VisitKind.STAFF)
    story.stand(a, 0, 0)
    story.move(0, {0: -1000.0})
    events = story.tracker.doubt_all(story.now_ns, "step 7 failed twice")
    assert [e.visits for e in events if isinstance(e, ReviewRequested)] == [(a,), (b,)]
    assert not charged(story, a)
    assert story.tracker.carts[b].state is CartState.REVIEW
    assert story.tracker.carts[staff].state is CartState.CLOSED
    first, _ = events
    assert isinstance(first, ReviewRequested)
    answer = ReviewAnswer(review=first.review, visit=a, sku=Sku("sku00"), quantity=-1)
    story.tracker.answer(answer, story.now_ns, "console")
    assert charged(story, a) == {"sku00": 1}


def test_a_closed_visit_is_forgotten(story: Story) -> None:
    a = story.enter("v1")
    story.tracker.close(a)
    assert a not in story.tracker.carts
    with pytest.raises(UnknownVisit):
        story.tracker.close(a)


def test_a_planogram_change_counts_from_the_next_step(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 5)
    story.tracker.planogram_changed("p0-05", Sku("sku03"))
    story.move(0, {5: -120.0})
    assert charged(story, a) == {"sku03": 1}
    with pytest.raises(InvalidAnswer):
        story.tracker.planogram_changed("nowhere", Sku("sku03"))


# --- state -----------------------------------------------------------------------------------


def busy_day() -> list[tuple[str, dict[int, float], int]]:
    """(who stands where is fixed) steps on two shelves, with everything in them."""
    return [
        ("s0", {5: -1000.0}, 0),
        ("s0", {3: -118.0, 4: -2.0}, 0),
        ("s1", {5: 1000.0}, 0),
        ("s0", {6: -250.0, 9: -410.0}, 0),
        ("s0", {8: 640.0}, 0),
        ("s1", {5: -1000.0}, 0),
        ("s0", {7: -700.0}, int(StepFlag.AFTER_GAP)),
        ("s0", {3: 119.0}, 0),
        ("s0", {8: -640.0}, 0),
        ("s0", {2: 3.0}, 0),
    ]


def run_day(restore_at: int | None) -> tuple[list[Event], bytes]:
    config = store(MASSES)
    tracker = CartTracker(config)
    a, b = VisitId("st-v1"), VisitId("st-v2")
    for visit in (a, b):
        tracker.visit_started(started(visit, 0))
    bodies = [Body(position=(0.4, 0.5), identity={a: 0.99}), Body((0.6, 10.5), {b: 0.98})]
    bodies.append(Body(position=(1.0, 0.6), identity={b: 0.02}))
    scene = Scene(bodies=bodies, visits=[a, b])
    events: list[Event] = []
    for i, (shelf, grams, flags) in enumerate(busy_day()):
        now = (i + 1) * 2 * SECOND
        steps = one_step(config, i, int(shelf[1]), grams, now, flags)
        events += tracker.step(now + SECOND, steps, scene)
        if i == restore_at:
            data = encode_state(tracker.state)
            tracker = CartTracker(config, decode_state(data, CartTrackerState))
            assert encode_state(tracker.state) == data
    events += tracker.step(60 * SECOND, no_steps(config), scene)
    return events, encode_state(tracker.state)


def test_a_restart_at_any_step_changes_nothing() -> None:
    expected = run_day(None)
    assert {type(e) for e in expected[0]} >= {ItemTaken, ReviewRequested}
    for i in range(len(busy_day())):
        assert run_day(i) == expected


def test_carts_are_the_folds_of_the_events(story: Story) -> None:
    a, b, review = in_doubt(story)
    story.leave_shelf(b)
    story.move(0, {3: -120.0})
    story.move(0, {3: 120.0})
    answer = ReviewAnswer(review=review, visit=a, sku=Sku("sku05"), quantity=1)
    events = [*story.events, *story.tracker.answer(answer, story.now_ns, "console")]
    for visit in (a, b):
        assert fold(visit, events) == story.tracker.carts[visit]


def test_moving_the_origin_of_the_store_changes_nothing(story: Story) -> None:
    a = story.enter("v1")
    story.stand(a, 0, 4, 0.7)
    before = only(story.move(0, {5: -960.0, 6: -31.0}), ItemTaken)
    turned = replace(
        story.config,
        plates=tuple(replace(p, x_m=7.0 - p.y_m, y_m=p.x_m - 3.0) for p in story.config.plates),
    )
    moved = Story(turned)
    assert moved.enter("v1") == a
    body = moved.stand(a, 0, 0)
    body.position = (7.0 - 0.7, 0.4 - 3.0)
    after = only(moved.move(0, {5: -960.0, 6: -31.0}), ItemTaken)
    assert isinstance(before, ItemTaken)
    assert isinstance(after, ItemTaken)
    assert after.probability == pytest.approx(before.probability, rel=1e-9)


def test_facings_may_span_plates_and_share_them(story: Story) -> None:
    facings = list(story.config.facings)
    wide = replace(facings[0], id=FacingId("wide"), plates=("p0-00", "p0-01"), sku=Sku("sku11"))
    config = replace(story.config, facings=(wide, *facings[2:]))
    wider = Story(config)
    a = wider.enter("v1")
    wider.stand(a, 0, 1)
    wider.move(0, {0: -420.0, 1: -430.0})
    assert charged(wider, a) == {"sku11": 1}


def test_a_store_without_products_or_people_does_not_fail() -> None:
    config = replace(store(MASSES), products=(), facings=())
    tracker = CartTracker(config)
    steps = one_step(config, 1, 0, {3: -100.0}, 10 * SECOND)
    events = tracker.step(10 * SECOND, steps, Scene())
    assert [type(e) for e in events] == [ReviewRequested]
    put = one_step(config, 2, 0, {3: 100.0}, 20 * SECOND)
    assert tracker.step(20 * SECOND, put, Scene()) == []
    assert np.isfinite(tracker.state.counters["steps"])
