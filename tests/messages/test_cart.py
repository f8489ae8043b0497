"""The cart as a fold: what each event does, and what no order of events can break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.cart import DEADLINE, Cart, fold
from messages.codec import decode_state, encode_state
from messages.events import (
    Candidate,
    CartState,
    Event,
    Evidence,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
)
from messages.ids import EventId, LineId, ReviewId, Sku, VisitId

A, B, C = VisitId("v1"), VisitId("v2"), VisitId("v3")
X, Y = Sku("x"), Sku("y")


def taken(visit: VisitId, sku: Sku, quantity: int = 1, line: str = "l1") -> ItemTaken:
    return ItemTaken(
        visit=visit,
        sku=sku,
        quantity=quantity,
        probability=0.97,
        line=LineId(line),
        evidence=Evidence(started_at_ns=5),
    )


def returned(visit: VisitId, sku: Sku, quantity: int = 1, line: str = "") -> ItemReturned:
    return ItemReturned(
        visit=visit, sku=sku, quantity=quantity, probability=0.97, line=LineId(line)
    )


def asked(
    review: str, candidates: Sequence[tuple[VisitId | None, Sku | None, int, float]]
) -> ReviewRequested:
    found = tuple(
        Candidate(visit=v, sku=sku, quantity=q, probability=p) for v, sku, q, p in candidates
    )
    visits = tuple(dict.fromkeys(c.visit for c in found if c.visit))
    return ReviewRequested(
        at_ns=7, review=ReviewId(review), reason="doubt", candidates=found, visits=visits
    )


def resolved(
    review: str, visit: VisitId | None, sku: Sku | None = None, quantity: int = 0, by: str = "shop"
) -> ReviewResolved:
    return ReviewResolved(review=ReviewId(review), visit=visit, sku=sku, quantity=quantity, by=by)


def lines(cart: Cart) -> list[tuple[str, str, int, str]]:
    return [(ln.line, ln.sku, ln.quantity, str(ln.state)) for ln in cart.lines]


TAKE_DOUBT = asked("r1", [(A, X, 1, 0.6), (B, X, 1, 0.4)])
RETURN_DOUBT = asked("r1", [(A, X, -1, 0.6), (B, X, -1, 0.4)])


# --- takes and returns -----------------------------------------------------------------------


def test_an_empty_cart_is_closed() -> None:
    assert fold(A, []) == Cart(visit=A)
    assert Cart(visit=A).state is CartState.CLOSED


def test_a_take_is_a_charged_line_with_its_evidence() -> None:
    (line,) = fold(A, [taken(A, X, 2)]).lines
    assert (line.sku, line.quantity, line.state) == (X, 2, LineState.CHARGED)
    assert (line.taken_at_ns, line.probability) == (5, 0.97)


def test_events_of_other_visits_change_nothing() -> None:
    cart = fold(A, [taken(A, X)])
    others = [
        taken(B, X),
        returned(B, X),
        asked("r1", [(B, X, 1, 0.6), (C, X, 1, 0.4)]),
        resolved("r1", B, X, 1),
        ItemHandedOver(from_visit=B, to_visit=C, sku=X, quantity=1, probability=1.0),
    ]
    for event in others:
        assert cart.after(event) is cart or cart.after(event) == cart


def test_a_return_comes_off_the_named_line_first_then_the_latest() -> None:
    cart = fold(A, [taken(A, X, 2, "l1"), taken(A, X, 2, "l2"), returned(A, X, 1, "l1")])
    assert [(ln.line, ln.quantity) for ln in cart.lines] == [("l1", 1), ("l2", 2)]
    assert [(ln.line, ln.quantity) for ln in cart.after(returned(A, X, 3)).lines] == []
    assert [(ln.line, ln.quantity) for ln in cart.after(returned(A, X, 2)).lines] == [("l1", 1)]


def test_returning_more_than_held_leaves_nothing_and_owes_nothing() -> None:
    cart = fold(A, [taken(A, X), returned(A, X, 5), taken(A, X, 1, "l2")])
    assert lines(cart) == [("l2", X, 1, "charged")]


def test_a_hand_over_moves_the_units() -> None:
    event = ItemHandedOver(
        id=EventId("e9"), from_visit=A, to_visit=B, sku=X, quantity=1, probability=0.96
    )
    events = [taken(A, X, 2), event]
    assert lines(fold(A, events)) == [("l1", X, 1, "charged")]
    assert lines(fold(B, events)) == [("e9", X, 1, "charged")]


def test_a_hand_over_to_oneself_changes_nothing() -> None:
    event = ItemHandedOver(from_visit=A, to_visit=A, sku=X, quantity=1, probability=1.0)
    assert lines(fold(A, [taken(A, X), event])) == [("l1", X, 1, "charged")]


# --- doubtful takes --------------------------------------------------------------------------


def test_a_doubtful_take_is_shown_to_the_best_guess_and_charged_to_nobody() -> None:
    a, b, c = (fold(v, [TAKE_DOUBT]) for v in (A, B, C))
    assert lines(a) == [("r1", X, 1, "review")]
    assert b.lines == ()
    assert (a.state, b.state, c.state) == (CartState.REVIEW, CartState.REVIEW, CartState.CLOSED)
    assert a.quantity(X) == 1
    assert a.quantity(X, charged_only=True) == 0


@pytest.mark.parametrize(
    ("answer", "a_has", "b_has"),
    [
        (resolved("r1", A, X, 1), 1, 0),
        (resolved("r1", B, X, 1), 0, 1),
        (resolved("r1", None), 0, 0),
        (resolved("r1", A, Y, 2), 0, 0),
    ],
)
def test_an_answer_settles_a_doubtful_take(answer: ReviewResolved, a_has: int, b_has: int) -> None:
    a, b = fold(A, [TAKE_DOUBT, answer]), fold(B, [TAKE_DOUBT, answer])
    assert (a.quantity(X, charged_only=True), b.quantity(X, charged_only=True)) == (a_has, b_has)
    assert a.quantity(Y) == (answer.quantity if answer.sku == Y else 0)
    assert a.state is b.state is CartState.CLOSED


def test_an_answered_line_keeps_the_time_and_evidence_of_the_doubt() -> None:
    doubt = replace(TAKE_DOUBT, evidence=Evidence(started_at_ns=3, step_ids=(4,)))
    for visit in (A, B):
        (line,) = fold(visit, [doubt, resolved("r1", visit, X, 1)]).lines
        assert (line.taken_at_ns, line.evidence.step_ids) == (3, (4,))


def test_at_the_deadline_a_doubtful_take_stays_shown_and_uncharged() -> None:
    cart = fold(A, [TAKE_DOUBT, resolved("r1", None, by=DEADLINE)])
    assert lines(cart) == [("r1", X, 1, "review")]
    assert cart.reviews == ()
    assert cart.state is CartState.REVIEW


def test_an_answer_may_name_a_visit_that_the_doubt_did_not() -> None:
    answer = resolved("r1", C, X, 1)
    assert lines(fold(C, [TAKE_DOUBT, answer])) == [("r1", X, 1, "charged")]
    assert fold(A, [TAKE_DOUBT, answer]).lines == ()


def test_the_same_answer_twice_counts_once() -> None:
    answer = resolved("r1", B, X, 1)
    assert fold(B, [TAKE_DOUBT, answer, answer]) == fold(B, [TAKE_DOUBT, answer])


def test_what_came_back_of_a_doubtful_take_is_not_charged_by_the_answer() -> None:
    back = [TAKE_DOUBT, returned(A, X)]
    assert fold(A, back).lines == ()
    assert fold(A, [*back, resolved("r1", A, X, 1)]).lines == ()
    assert fold(A, [*back, resolved("r1", A, X, 3)]).quantity(X, charged_only=True) == 2
    assert fold(A, [*back, resolved("r1", B, X, 1)]).owed == ()


def test_what_came_back_counts_for_a_visit_that_was_not_the_best_guess() -> None:
    events = [TAKE_DOUBT, returned(B, X), resolved("r1", B, X, 1)]
    assert fold(B, events).quantity(X) == 0


def test_a_return_comes_off_sure_units_before_doubtful_ones() -> None:
    cart = fold(A, [taken(A, X), TAKE_DOUBT, returned(A, X)])
    assert lines(cart) == [("r1", X, 1, "review")]
    assert cart.after(resolved("r1", A, X, 1)).quantity(X, charged_only=True) == 1
    assert cart.after(resolved("r1", B, X, 1)).quantity(X) == 0


def test_a_debt_outlives_the_doubt_it_did_not_fit_and_pays_the_next() -> None:
    again = asked("r2", [(A, X, 1, 0.5), (B, X, 1, 0.5)])
    cart = fold(A, [TAKE_DOUBT, again, returned(A, X), resolved("r1", B, X, 1)])
    assert cart.after(resolved("r2", A, X, 1)).quantity(X, charged_only=True) == 0


# --- doubtful returns ------------------------------------------------------------------------


def test_a_doubtful_return_puts_the_units_of_every_holder_in_review() -> None:
    for visit in (A, B):
        cart = fold(visit, [taken(visit, X, 3), RETURN_DOUBT])
        assert lines(cart) == [("l1", X, 2, "charged"), ("l1~r1", X, 1, "review")]


@pytest.mark.parametrize(
    ("answer", "a_has", "b_has"),
    [
        (resolved("r1", A, X, -1), 0, 1),
        (resolved("r1", B, X, -1), 1, 0),
        (resolved("r1", None), 1, 1),
        (resolved("r1", A, X, -9), 0, 1),
    ],
)
def test_an_answer_settles_a_doubtful_return(
    answer: ReviewResolved, a_has: int, b_has: int
) -> None:
    for visit, has in ((A, a_has), (B, b_has)):
        before = fold(visit, [taken(visit, X)])
        cart = before.after(RETURN_DOUBT).after(answer)
        assert cart.quantity(X, charged_only=True) == has
        assert cart.lines == (before.lines if has else ())
        assert cart.state is CartState.CLOSED


def test_a_doubt_between_two_products_doubts_both_and_the_answer_takes_off_one() -> None:
    doubt = asked("r1", [(A, X, -1, 0.5), (A, Y, -1, 0.4)])
    before = fold(A, [taken(A, X, 1, "l1"), taken(A, Y, 1, "l2")])
    cart = before.after(doubt)
    assert [ln.state for ln in cart.lines] == [LineState.REVIEW] * 2
    assert lines(cart.after(resolved("r1", A, Y, -1))) == [("l1", X, 1, "charged")]
    assert cart.after(resolved("r1", None)) == before


def test_a_doubt_about_how_many_came_back_doubts_the_most() -> None:
    doubt = asked("r1", [(A, X, -1, 0.6), (A, X, -2, 0.4)])
    cart = fold(A, [taken(A, X, 3), doubt])
    assert cart.quantity(X, charged_only=True) == 1
    assert cart.after(resolved("r1", A, X, -1)).quantity(X, charged_only=True) == 2


def test_a_sure_return_after_a_doubtful_one_leaves_what_either_answer_allows() -> None:
    events = [taken(A, X, 2), RETURN_DOUBT, returned(A, X)]
    cart = fold(A, events)
    assert cart.quantity(X, charged_only=True) == 0
    assert cart.after(resolved("r1", A, X, -1)).quantity(X) == 0
    assert cart.after(resolved("r1", B, X, -1)).quantity(X, charged_only=True) == 1


def test_two_doubtful_returns_of_one_unit_can_take_it_off_only_once() -> None:
    again = asked("r2", [(A, X, -1, 0.5), (B, X, -1, 0.5)])
    cart = fold(A, [taken(A, X), RETURN_DOUBT, again])
    assert cart.quantity(X) == 1
    assert cart.after(resolved("r2", A, X, -1)).after(resolved("r1", None)).quantity(X) == 0
    assert cart.after(resolved("r2", None)).after(resolved("r1", None)).quantity(X) == 1


def test_at_the_deadline_doubtful_returns_stay_uncharged() -> None:
    doubt = asked("r1", [(A, X, -1, 0.4), (B, X, -1, 0.3)])
    cart = fold(A, [taken(A, X), doubt, resolved("r1", None, by=DEADLINE)])
    assert lines(cart) == [("l1~r1", X, 1, "review")]


def test_at_the_deadline_a_unit_that_was_probably_returned_goes_off() -> None:
    doubt = asked("r1", [(A, X, -1, 0.8), (B, X, -1, 0.1)])
    cart = fold(A, [taken(A, X), taken(A, Y, line="l2"), doubt])
    assert [row[0] for row in lines(cart)] == ["l1~r1", "l2"]
    cart = cart.after(resolved("r1", None, by=DEADLINE))
    assert lines(cart) == [("l2", Y, 1, "charged")]
    assert cart.state is CartState.REVIEW  # nobody said that it was returned


def test_a_doubt_without_candidates_only_holds_the_cart() -> None:
    doubt = replace(asked("r1", []), visits=(A,))
    cart = fold(A, [taken(A, X), doubt])
    assert cart.quantity(X, charged_only=True) == 1
    assert cart.state is CartState.REVIEW
    assert cart.after(resolved("r1", None)).state is CartState.CLOSED


# --- properties ------------------------------------------------------------------------------

visits = st.sampled_from([A, B, C])
skus = st.sampled_from([X, Y])
units = st.integers(1, 4)
review_ids = st.sampled_from(["r1", "r2", "r3"])
takes = st.builds(taken, visits, skus, units, st.sampled_from(["l1", "l2", "l3"]))
returns = st.builds(returned, visits, skus, units, st.sampled_from(["", "l1", "l2", "r1"]))
candidates = st.lists(
    st.tuples(st.none() | visits, st.none() | skus, units, st.floats(0.0, 1.0)), max_size=4
)
doubts = st.builds(
    lambda review, found, sign: asked(review, [(v, s, sign * q, p) for v, s, q, p in found]),
    review_ids,
    candidates,
    st.sampled_from([1, -1]),
)
answers = st.builds(
    lambda review, visit, sku, q, by: resolved(review, visit, sku, q, by),
    review_ids,
    st.none() | visits,
    skus,
    st.integers(-4, 4),
    st.sampled_from(["console", "evidence", DEADLINE]),
)
hand_overs = st.builds(
    lambda a, b, sku, q: ItemHandedOver(
        id=EventId("e"), from_visit=a, to_visit=b, sku=sku, quantity=q, probability=1.0
    ),
    visits,
    visits,
    skus,
    units,
)
histories = st.lists(takes | returns | doubts | answers | hand_overs, max_size=14)


def named_apart(history: list[Event]) -> list[Event]:
    """The same history with the ids that the store's counters would give.

    Each review is asked once, and answered at most once, after it was asked.
    """
    result, open_, asked_before = list[Event](), set[ReviewId](), set[ReviewId]()
    for i, event in enumerate(history):
        match event:
            case ItemTaken():
                event = replace(event, line=LineId(f"{event.visit}-l{i}"))
            case ItemHandedOver():
                event = replace(event, id=EventId(f"e{i}"))
            case ReviewRequested(review=review):
                if review in asked_before:
                    continue
                asked_before.add(review)
                open_.add(review)
            case ReviewResolved(review=review):
                if review not in open_:
                    continue
                open_.remove(review)
        result.append(event)
    return result


@given(histories)
@settings(max_examples=150)
def test_quantities_are_never_below_one_and_lines_never_share_an_id(history: list[Event]) -> None:
    for visit in (A, B, C):
        cart = Cart(visit=visit)
        for event in named_apart(history):
            cart = cart.after(event)
            assert all(line.quantity >= 1 for line in cart.lines)
            assert all(debt.quantity >= 1 for debt in cart.owed)
            names = [line.line for line in cart.lines]
            assert len(names) == len(set(names))
            assert decode_state(encode_state(cart), Cart) == cart


@given(histories)
def test_a_cart_never_charges_more_than_was_taken_or_answered(history: list[Event]) -> None:
    for visit in (A, B, C):
        for sku in (X, Y):
            most = 0
            for event in history:
                match event:
                    case ItemTaken() if event.visit == visit and event.sku == sku:
                        most += event.quantity
                    case ItemHandedOver() if event.to_visit == visit and event.sku == sku:
                        most += event.quantity
                    case ReviewResolved() if event.visit == visit and event.sku == sku:
                        most += max(event.quantity, 0)
            cart = fold(visit, named_apart(history))
            assert cart.quantity(sku, charged_only=True) <= most


@given(st.lists(takes | returns, max_size=12))
def test_without_doubts_units_are_conserved(history: list[Event]) -> None:
    for visit in (A, B, C):
        held = {X: 0, Y: 0}
        for event in history:
            assert isinstance(event, ItemTaken | ItemReturned)
            if event.visit == visit:
                sign = 1 if isinstance(event, ItemTaken) else -1
                held[event.sku] = max(held[event.sku] + sign * event.quantity, 0)
        cart = fold(visit, named_apart(history))
        assert {sku: cart.quantity(sku) for sku in held} == held


@given(st.lists(takes, max_size=6), doubts.filter(lambda d: bool(d.candidates)))
def test_a_doubtful_return_keeps_every_unit_and_nobody_undoes_it(
    history: list[Event], doubt: ReviewRequested
) -> None:
    back = replace(
        doubt,
        candidates=tuple(replace(c, quantity=-abs(c.quantity)) for c in doubt.candidates),
    )
    for visit in (A, B, C):
        before = fold(visit, named_apart(history))
        after = before.after(back)
        for sku in (X, Y):
            assert after.quantity(sku) == before.quantity(sku)
        nobody = after.after(
            ReviewResolved(review=back.review, visit=None, sku=None, quantity=0, by="shop")
        )
        assert nobody == before


@given(histories)
def test_resolved_reviews_settle(history: list[Event]) -> None:
    """Once every doubt is answered by a person, no line is in review and nothing is owed."""
    named = [
        replace(e, by="shop") if isinstance(e, ReviewResolved) else e for e in named_apart(history)
    ]
    closing = [resolved(review, None) for review in ("r1", "r2", "r3")]
    # a second answer to a review that is settled changes nothing
    for visit in (A, B, C):
        cart = fold(visit, [*named, *closing])
        assert cart.state is CartState.CLOSED
        assert cart.reviews == ()
        assert cart.owed == ()
        assert all(line.state is LineState.CHARGED for line in cart.lines)


@given(histories)
def test_the_order_of_unrelated_events_is_irrelevant(history: list[Event]) -> None:
    """Events of different visits may interleave in any way; each cart is the same."""
    named = named_apart(history)
    for visit in (A, B, C):
        mine = [e for e in named if _concerns(e, visit)]
        others = [e for e in named if not _concerns(e, visit)]
        expected = fold(visit, named)
        assert fold(visit, [*others, *mine]) == expected
        assert fold(visit, [*mine, *others]) == expected


@given(histories)
def test_a_cart_folded_in_two_parts_is_the_cart_folded_at_once(history: list[Event]) -> None:
    named = named_apart(history)
    for cut in range(len(named) + 1):
        cart = decode_state(encode_state(fold(A, named[:cut])), Cart)
        for event in named[cut:]:
            cart = cart.after(event)
        assert cart == fold(A, named)


def _concerns(event: Event, visit: VisitId) -> bool:
    match event:
        case ItemTaken() | ItemReturned():
            return event.visit == visit
        case ItemHandedOver():
            return visit in (event.from_visit, event.to_visit)
        case ReviewRequested():
            return visit in event.visits
        case _:
            return True
