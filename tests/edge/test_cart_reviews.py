"""Answers, deadlines and failures of the cart tracker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cart_study import (
    MASSES,
    SECOND,
    Story,
    charged,
    in_doubt,
    no_steps,
    store,
)

from edge.cart_tracker import InvalidAnswer
from edge.carts.answers import BadQuantity, UnknownReview, UnknownSku, UnknownVisit
from messages.codec import encode_state
from messages.events import (
    CartState,
    LineState,
    ReviewRequested,
    ReviewResolved,
    VisitKind,
)
from messages.ids import Sku
from messages.observations import ReviewAnswer


@pytest.fixture
def story() -> Story:
    return Story(store(MASSES))


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
