"""Each rule of the referee with one history that breaks it, and a sound history that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from messages.cart import fold
from messages.events import (
    Candidate,
    CartClosed,
    EndReason,
    Event,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    ReviewRequested,
    ReviewResolved,
    VisitEnded,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CredentialId, EventId, GateId, LineId, ReviewId, Sku, VisitId
from sim.first_store import first_store
from sim.referee import money_breaches
from sim.referee_rules import Breach, event_breaches

A, B = VisitId("v1"), VisitId("v2")
MILK, RICE = Sku("milk-1l"), Sku("rice-1kg")
GATE = GateId("gate-in")
S = 1_000_000_000


def started(visit: VisitId, at_s: int = 1) -> VisitStarted:
    return VisitStarted(
        id=EventId(f"e-{visit}-{at_s}"),
        at_ns=at_s * S,
        visit=visit,
        credential=CredentialId(f"code-{visit}"),
        account=AccountRef(f"account-{visit}"),
        gate=GATE,
        party_size=1,
    )


def taken(visit: VisitId, sku: Sku, quantity: int = 1, at_s: int = 2) -> ItemTaken:
    return ItemTaken(
        at_ns=at_s * S,
        visit=visit,
        sku=sku,
        quantity=quantity,
        probability=0.99,
        line=LineId(f"{visit}-{sku}-{at_s}"),
    )


def returned(visit: VisitId, sku: Sku, quantity: int = 1, at_s: int = 3) -> ItemReturned:
    return ItemReturned(
        at_ns=at_s * S, visit=visit, sku=sku, quantity=quantity, probability=0.99, line=LineId("")
    )


def asked(review: str, *who: VisitId, sku: Sku = MILK, at_s: int = 2) -> ReviewRequested:
    return ReviewRequested(
        at_ns=at_s * S,
        review=ReviewId(review),
        reason="who?",
        candidates=tuple(Candidate(visit=v, sku=sku, quantity=1, probability=0.5) for v in who),
        visits=who,
    )


def resolved(review: str, visit: VisitId | None = None, at_s: int = 8) -> ReviewResolved:
    return ReviewResolved(
        at_ns=at_s * S,
        review=ReviewId(review),
        visit=visit,
        sku=MILK if visit else None,
        quantity=1 if visit else 0,
        by="console",
    )


def ended(visit: VisitId, at_s: int = 7) -> VisitEnded:
    return VisitEnded(at_ns=at_s * S, visit=visit, reason=EndReason.EXIT, gate=GATE)


def closed(visit: VisitId, history: Sequence[Event], at_s: int = 9) -> CartClosed:
    cart = fold(visit, history)
    return CartClosed(
        at_ns=at_s * S,
        visit=visit,
        credential=CredentialId(f"code-{visit}"),
        account=AccountRef(f"account-{visit}"),
        kind=VisitKind.SHOPPER,
        party_size=1,
        entry_gate=GATE,
        exit_gate=GATE,
        started_at_ns=S,
        ended_at_ns=7 * S,
        started_at_wall_ns=S,
        ended_at_wall_ns=7 * S,
        state=cart.state,
        lines=cart.lines,
    )


def whole(*middle: Event, visits: Sequence[VisitId] = (A,)) -> list[Event]:
    """A history that begins and ends as it should around what happens."""
    history: list[Event] = [*(started(v) for v in visits), *middle]
    ends: list[Event] = [ended(v) for v in visits]
    return [*history, *ends, *(closed(v, history) for v in visits)]


def broken(events: Sequence[Event], *, all_over: bool = True) -> list[Breach]:
    return event_breaches(events, all_over=all_over, now_ns=20 * S, review_deadline_s=10.0)


SOUND = {
    "take and return": whole(taken(A, MILK, 2), returned(A, MILK)),
    "return of what a doubt may give": whole(
        asked("r1", A, B), returned(B, MILK), resolved("r1", B), visits=(A, B)
    ),
    "return of a unit in review": whole(asked("r1", A), returned(A, MILK), resolved("r1")),
    "hand over": whole(
        taken(A, MILK),
        ItemHandedOver(
            id=EventId("e-hand"),
            at_ns=4 * S,
            from_visit=A,
            to_visit=B,
            sku=MILK,
            quantity=1,
            probability=0.99,
        ),
        visits=(A, B),
    ),
    "nobody did anything": whole(),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_history_breaks_no_rule(name: str) -> None:
    assert broken(SOUND[name]) == []
    assert money_breaches(first_store(), SOUND[name]) == []


def test_question_that_no_cart_waits_for_may_outlive_the_last_cart() -> None:
    assert broken([*whole(), asked("r1", at_s=12)]) == []


def test_answer_for_another_visit_may_come_after_a_cart_closed() -> None:
    history = [started(A), started(B), asked("r1", A, B), ended(A)]
    late = [resolved("r1", B), ended(B)]
    events = [*history, closed(A, history), *late, closed(B, [*history, *late])]
    assert broken(events) == []


BROKEN: dict[str, tuple[list[Event], str, str, str]] = {
    "more returned than held": (
        whole(taken(A, MILK), returned(A, MILK, 2)),
        "cart",
        A,
        "returned 2 milk-1l of 1: quantity -1",
    ),
    "returned by who never had it": (
        whole(taken(A, MILK), returned(B, MILK), visits=(A, B)),
        "cart",
        B,
        "quantity -1",
    ),
    "handed over by who never had it": (
        whole(
            ItemHandedOver(
                at_ns=4 * S, from_visit=A, to_visit=B, sku=RICE, quantity=1, probability=0.9
            ),
            visits=(A, B),
        ),
        "cart",
        A,
        "handed over 1 rice-1kg of 0",
    ),
    "nothing taken": (whole(taken(A, MILK, 0)), "cart", A, "ItemTaken of 0"),
    "started twice": (whole(started(A, 2)), "visit", A, "started twice"),
    "ended twice": (whole(ended(A, 5)), "visit", A, "ended twice"),
    "never started": (whole(taken(B, MILK)), "visit", B, "never started"),
    "never ended": ([started(A), taken(A, MILK)], "visit", A, "never ended"),
    "never closed": ([started(A), ended(A)], "visit", A, "never closed"),
    "closed before it ended": ([started(A), closed(A, [])], "visit", A, "before it ended"),
    "closed twice": ([*whole(), closed(A, [])], "visit", A, "CartClosed after its cart"),
    "item after the end": ([*whole(), taken(A, MILK, at_s=12)], "visit", A, "ItemTaken after"),
    "doubt after the end": (
        [*whole(), asked("r1", A, at_s=12), resolved("r1", at_s=13)],
        "visit",
        A,
        "ReviewRequested after",
    ),
    "question asked twice": (whole(asked("r1", A), asked("r1", A)), "cart", "", "asked twice"),
    "answer to no question": (whole(resolved("r9")), "cart", "", "r9 is not open"),
    "question without an end": (
        [*whole(visits=(A,)), asked("r1")],
        "visit",
        "",
        "r1 was not settled at its deadline",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_rule_is_told_with_time_visit_and_words(name: str) -> None:
    events, kind, visit, words = BROKEN[name]
    found = [b for b in broken(events) if words in b.text]
    assert found, broken(events)
    assert (found[0].kind, found[0].visit) == (kind, visit)
    assert found[0].at_s > 0


def test_closed_cart_that_is_not_the_sum_of_its_events_is_told() -> None:
    events = whole(taken(A, MILK))
    last = events[-1]
    assert isinstance(last, CartClosed)
    line = replace(last.lines[0], quantity=2)
    found = broken([*events[:-1], replace(last, lines=(line,))])
    assert [b.text for b in found] == [
        "closed with 2 milk-1l (charged), its events say 1 milk-1l (charged)"
    ]


def test_line_of_minus_one_is_told() -> None:
    events = whole(taken(A, MILK))
    last = events[-1]
    assert isinstance(last, CartClosed)
    line = replace(last.lines[0], quantity=-1)
    texts = [b.text for b in broken([*events[:-1], replace(last, lines=(line,))])]
    assert any("of -1 milk-1l" in text for text in texts)


def test_run_that_crashed_may_stop_anywhere() -> None:
    assert broken([started(A), taken(A, MILK), asked("r1", A)], all_over=False) == []


def test_goods_that_nobody_sells_are_told_by_the_money_leg() -> None:
    found = money_breaches(first_store(), whole(taken(A, Sku("unicorn"))))
    assert any("CartError" in b.text or "cannot be priced" in b.text for b in found)
    assert {b.visit for b in found if b.visit} == {A}
