"""Nobody has hands at two places at once; two people at one facing are two tracks."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge.carts.touches import NEAR_NS, Touch, apart, near, one_person, touches_of
from edge.carts.who import Actors
from messages.arrays import Floats
from messages.ids import PlateId, VisitId

A, B = VisitId("a"), VisitId("b")
P1, P2 = PlateId("p1"), PlateId("p2")
S = 1_000_000_000


@dataclass(frozen=True)
class Step:
    step_id: int = 1
    ended_at_ns: int = 10 * S
    started_at_ns: int = 9 * S
    mass_g: float = -300.0
    plates: tuple[PlateId, ...] = (P1, P2)
    plate_mass_g: Floats = field(default_factory=lambda: np.array([-290.0, -10.0]))


def actors(*probability: float, touch: Floats | None = None, identity: Floats | None = None):
    """Who may have made a step; the last probability is nobody's."""
    visits = (A, B)[: len(probability) - 1]
    column = np.array(probability)[:, None]
    return Actors(
        visits=visits,
        probability=np.hstack([column, column]),
        tracks=(),
        seen=True,
        weight=np.full(2, 60.0),
        touch=np.zeros((0, 2)) if touch is None else touch,
        identity=np.zeros((0, len(probability))) if identity is None else identity,
    )


def touch(visit: VisitId, probability: float, ended_at_ns: int = 10 * S, step_id: int = 2) -> Touch:
    return Touch(
        step_id=step_id,
        visit=visit,
        plate=P2,
        started_at_ns=ended_at_ns - S,
        ended_at_ns=ended_at_ns,
        probability=probability,
    )


def test_who_reached_elsewhere_at_that_time_did_not_reach_here():
    doubt = actors(0.6, 0.39, 0.01)
    sure = apart(doubt, Step(), [touch(A, 0.98)], set())
    assert sure.probability[1, 0] > 0.85 > doubt.probability[1, 0]
    assert sure.probability.sum(axis=0) == pytest.approx(1.0)


def test_two_steps_are_judged_as_their_joint_distribution():
    one, other, k = np.array([0.6, 0.4]), np.array([0.7, 0.3]), one_person(0)
    joint = np.outer(one, other)
    joint[np.diag_indices(2)] *= k
    expected = joint.sum(axis=1) / joint.sum()
    found = apart(actors(0.6, 0.4, 0.0), Step(), [touch(A, 0.7), touch(B, 0.3)], set())
    assert np.allclose(found.probability[:2, 0], expected)


def test_later_steps_and_parties_of_several_people_say_nothing():
    doubt = actors(0.6, 0.39, 0.01)
    late = apart(doubt, Step(), [touch(A, 0.98, 10 * S + NEAR_NS)], set())
    assert np.allclose(late.probability, doubt.probability)
    family = apart(doubt, Step(), [touch(A, 0.98)], {A})
    assert np.allclose(family.probability, doubt.probability)


def test_parts_of_one_lift_are_no_two_steps():
    step = Step()
    assert near(step, 2, P2, 10 * S + NEAR_NS // 2)
    assert not near(step, 2, P1, 10 * S)
    assert not near(step, 1, P2, 10 * S)
    assert not near(step, 2, P2, 10 * S + NEAR_NS)


def test_a_knock_tells_nothing_of_hands():
    who = actors(0.9, 0.09, 0.01)
    assert touches_of(replace(Step(), mass_g=-6.0), who) == []
    assert [(t.visit, t.plate) for t in touches_of(Step(), who)] == [(A, P1), (B, P1)]


def test_two_hands_at_the_goods_are_two_people_but_one_track_is_not():
    at = np.array([0])
    both = actors(
        0.5,
        0.5,
        0.0,
        touch=np.full((2, 2), 30.0),
        identity=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    ).two(at, at)
    assert both[0, 1, 0] > 10.0
    unsure = actors(
        0.5, 0.5, 0.0, touch=np.full((1, 2), 60.0), identity=np.array([[0.5, 0.5, 0.0]])
    ).two(at, at)
    assert unsure[0, 1, 0] == pytest.approx(0.0, abs=1e-9)
