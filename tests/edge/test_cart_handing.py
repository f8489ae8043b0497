"""Goods that go from hand to hand: hands that met make lines doubtful, and put-backs decide."""

from dataclasses import dataclass, replace

import numpy as np

from edge.carts.handing import REASON, handed, proven
from edge.carts.meetings import (
    LOOK_EVERY_NS,
    RUN_ODDS,
    RUN_POWER,
    Look,
    Meeting,
    after_look,
    hands_met,
    passings,
    shared,
)
from edge.carts.touches import Touch
from messages.cart import Cart, fold
from messages.codec import decode_state, encode_state
from messages.events import (
    Evidence,
    ItemHandedOver,
    ItemTaken,
    LineState,
    ReviewRequested,
    ReviewResolved,
)
from messages.ids import LineId, PlateId, ReviewId, Sku, VisitId

A, B, NOBODY = VisitId("a"), VisitId("b"), VisitId("")
CAN, BREAD = Sku("can"), Sku("bread")


@dataclass
class Seen:
    """Two people ``apart_m`` from each other, their right wrists ``gap_m``, for k samples."""

    apart_m: float = 0.8
    gap_m: float = 0.2
    samples: int = 10
    seen: int = 10
    visits: tuple[VisitId, ...] = (A, B)
    sight: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of both wrists
    walks_m_s: float = 0.0

    @property
    def at_ns(self):
        return np.arange(self.samples) * 100_000_000

    @property
    def track_id(self):
        return np.array([1, 2])

    @property
    def position_store_m(self):
        both = np.array([[0.0, 0.0], [self.apart_m, 0.0]])
        return both + self._way_m()[:, None, None] * np.array([0.0, 1.0])

    @property
    def position_sd_m(self):
        return np.full((self.samples, 2), 0.05)

    @property
    def wrists_store_m(self):
        wrists = np.full((self.samples, 2, 2, 3), np.nan)
        middle = self.apart_m / 2
        wrists[: self.seen, 0, 1] = (middle - self.gap_m / 2, 0.0, 1.1)
        wrists[: self.seen, 1, 1] = (middle + self.gap_m / 2, 0.0, 1.1)
        wrists[..., 1] += self._way_m()[:, None, None]
        return wrists

    @property
    def wrists_along(self):
        return np.broadcast_to(np.array(self.sight), (self.samples, 2, 2, 3)).copy()

    def _way_m(self):
        return self.walks_m_s * self.at_ns / 1e9

    @property
    def identity(self):
        return np.broadcast_to(np.array([[1.0, 0, 0], [0, 1.0, 0]]), (self.samples, 2, 3)).copy()


def chance(seen: Seen) -> float:
    return float(hands_met(seen).probability.sum())


def test_hands_that_meet_are_a_passing_and_hands_apart_are_none():
    assert chance(Seen(gap_m=0.1)) > 0.7
    assert chance(Seen(gap_m=0.1)) > chance(Seen(gap_m=0.25)) > chance(Seen(gap_m=0.4))
    assert chance(Seen(gap_m=0.7)) == 0.0
    assert chance(Seen(apart_m=1.5, gap_m=0.15)) == 0.0


def test_hands_behind_each_other_on_one_line_of_sight_may_have_met():
    across = Seen(gap_m=0.5, sight=(1.0, 0.0, 0.0))
    assert chance(across) > chance(Seen(gap_m=0.5))


def test_people_who_walk_on_pass_nothing():
    assert chance(Seen(gap_m=0.15, walks_m_s=1.0)) < 0.2 * chance(Seen(gap_m=0.15))


def test_two_glimpses_of_hands_say_nothing():
    assert chance(Seen(gap_m=0.1, seen=3)) == 0.0
    assert chance(Seen(gap_m=0.1, seen=4)) > 0.5


def test_nobody_or_one_person_never_meets():
    seen = Seen(samples=0, seen=0)
    assert hands_met(seen).probability.shape == (0,)


def looks(*gaps: float) -> Meeting:
    """One meeting looked at again and again."""
    meetings: list[Meeting] = []
    for i, gap in enumerate(gaps):
        near = hands_met(Seen(gap_m=gap))
        meetings = after_look(meetings, near, (A, B), i * LOOK_EVERY_NS)
    (meeting,) = meetings
    return meeting


def test_looks_that_follow_each_other_see_one_passing():
    assert len(passings(looks(0.3, 0.15, 0.3), ())) == 1
    assert passings(looks(0.15, 0.15, 0.15), ()) > passings(looks(0.15), ())


def test_hands_that_part_between_make_two_passings():
    assert len(passings(looks(0.15, 0.9, 0.15), ())) == 2


def test_hands_that_stay_together_for_long_may_pass_more():
    few, many = passings(looks(*(0.1,) * 3), ()), passings(looks(*(0.1,) * 10), ())
    assert sum(few) < 1.0 < sum(many)


def test_a_hand_at_a_shelf_passes_nothing_on():
    meeting = looks(0.15, 0.9, 0.15)
    last_ns = 2 * LOOK_EVERY_NS
    busy = Touch(
        step_id=1,
        visit=A,
        plate=PlateId("p"),
        started_at_ns=0,
        ended_at_ns=last_ns,
        probability=0.9,
    )
    assert passings(meeting, (busy,)) == []
    assert passings(meeting, (replace(busy, visit=VisitId("c")),)) == passings(meeting, ())
    later = replace(busy, started_at_ns=last_ns + 1, ended_at_ns=last_ns + 2)
    assert passings(meeting, (later,)) == passings(meeting, ())


def test_people_of_one_visit_pass_nothing_on():
    assert after_look([], hands_met(Seen()), (A, A), 0) == []
    assert after_look([], hands_met(Seen()), (NOBODY, NOBODY), 0) == []


def test_two_passings_of_two_things_are_an_exchange():
    exchange = [0.9, 0.8]
    assert shared(exchange, 2) > 0.8
    assert shared(exchange, 1) == 0.9
    assert shared(exchange, 8) < 0.25
    assert shared([], 1) == 0.0


def took(visit: VisitId, sku: Sku, line: str, at_ns: int = 5) -> ItemTaken:
    evidence = Evidence(started_at_ns=at_ns)
    return ItemTaken(
        visit=visit, sku=sku, quantity=1, probability=0.999, line=LineId(line), evidence=evidence
    )


def carts_of(*events) -> dict[VisitId, Cart]:
    return {visit: fold(visit, events) for visit in (A, B)}


def met(*probability: float) -> Meeting:
    clear = [(p / (1.0 - p) / RUN_ODDS) ** (1.0 / RUN_POWER) for p in probability]
    looks = [Look(at_ns=i * 10**9, probability=p) for i, p in enumerate(clear)]
    return Meeting(tracks=(1, 2), visits=(A, B), at_ns=10, looks=looks)


def test_what_was_taken_after_the_meeting_is_not_in_doubt():
    carts = carts_of(took(A, CAN, "l1"), took(A, BREAD, "l2", at_ns=11))
    assert [line.sku for line in handed(met(0.9), (), carts, (A, B), 0.99)] == [CAN]


def test_a_faint_passing_leaves_lines_charged():
    assert handed(met(0.006), (), carts_of(took(A, CAN, "l1")), (A, B), 0.99) == []


def test_goods_that_a_stranger_may_have_got_are_asked_about_only():
    carts = {A: fold(A, [took(A, CAN, "l1")])}
    (line,) = handed(replace(met(0.9), visits=(A, NOBODY)), (), carts, (A,), 0.99)
    assert not line.moves
    assert line.doubt().visits == (A,)


def asked(carts: dict[VisitId, Cart], probability: float):
    """The carts after the events that a passing of A's only can makes."""
    (line,) = handed(met(probability), (), carts, (A, B), 0.99)
    events = []
    if line.moves:
        events.append(
            ItemHandedOver(
                from_visit=A,
                to_visit=B,
                sku=CAN,
                quantity=1,
                probability=line.claim,
                line=LineId("b-l1"),
            )
        )
    doubt = line.doubt()
    review = ReviewRequested(
        review=ReviewId("r1"),
        reason=doubt.reason,
        candidates=doubt.candidates,
        visits=doubt.visits,
    )
    return [*events, review]


def answered(probability: float, visit: VisitId | None) -> dict[VisitId, list[tuple[Sku, str]]]:
    take = took(A, CAN, "l1")
    events = [take, *asked(carts_of(take), probability)]
    sku, quantity = (CAN, 1) if visit else (None, 0)
    events.append(
        ReviewResolved(review=ReviewId("r1"), visit=visit, sku=sku, quantity=quantity, by="clerk")
    )
    return {
        v: [(line.sku, line.state) for line in cart.lines] for v, cart in carts_of(*events).items()
    }


def test_while_the_question_is_open_nobody_is_charged():
    for probability, holder in ((0.3, A), (0.8, B)):
        take = took(A, CAN, "l1")
        carts = carts_of(take, *asked(carts_of(take), probability))
        shown = {v: [line.state for line in cart.lines] for v, cart in carts.items()}
        assert shown[holder] == [LineState.REVIEW]
        assert sum(len(lines) for lines in shown.values()) == 1


def test_each_answer_charges_exactly_one_cart():
    charged = [(CAN, LineState.CHARGED)]
    assert answered(0.3, None) == {A: charged, B: []}  # it was not passed on
    assert answered(0.3, B) == {A: [], B: charged}
    assert answered(0.3, A) == {A: charged, B: []}
    assert answered(0.8, None) == {A: [], B: charged}  # it was, as we thought
    assert answered(0.8, A) == {A: charged, B: []}
    assert answered(0.8, B) == {A: [], B: charged}


def test_a_put_back_proves_who_had_it():
    take = took(A, CAN, "l1")
    (review,) = asked(carts_of(take), 0.3)
    carts = carts_of(take, review)
    reviews = {review.review: review}
    assert review.reason == REASON
    assert proven(B, CAN, carts[B], reviews) == (review, 1)
    assert proven(A, CAN, carts[A], reviews) == (review, 0)
    assert proven(B, BREAD, carts[B], reviews) is None
    assert proven(A, CAN, carts_of(take, review, took(A, CAN, "l2"))[A], reviews) is None


def test_meetings_survive_a_restart():
    meeting = met(0.5, 0.25)
    assert decode_state(encode_state(meeting), Meeting) == meeting
