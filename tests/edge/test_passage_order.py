"""Passages and images by their instants, whatever step they came in."""

from __future__ import annotations

import numpy as np
import pytest

from edge.engine import Engine
from edge.passage_order import WAITING_MAX, WaitingPassage, in_order
from edge.recording import RecordedStep
from messages.events import CartClosed
from messages.ids import GateId
from messages.observations import PersonDetections
from sim.first_store import first_store
from sim.in_process import Run, play, prepared
from sim.world import options

MS = 1_000_000
S = 1_000_000_000


def image(captured_ms: int) -> PersonDetections:
    empty = np.empty((0, 2), np.float32)
    return PersonDetections(
        camera="c1",
        received_at_ns=0,
        captured_at_ns=captured_ms * MS,
        sequence=captured_ms,
        boxes_px=np.empty((0, 4), np.float32),
        feet_px=empty,
        scores=np.empty(0, np.float32),
    )


def passage(at_ms: int) -> WaitingPassage:
    return WaitingPassage(at_ns=at_ms * MS, gate=GateId("g"))


def told(waiting, images, until_ms):
    return [
        ([d.captured_at_ns // MS for d in before], after.at_ns // MS if after else None)
        for before, after in in_order(waiting, images, until_ms * MS)
    ]


def test_a_passage_comes_after_the_images_up_to_its_instant_and_before_the_later_ones():
    images = [image(0), image(60), image(120)]
    assert told([passage(70)], images, 130) == [([0, 60], 70), ([120], None)]


def test_a_passage_waits_for_images_that_have_not_come():
    waiting = [passage(200)]
    assert told(waiting, [image(60)], 130) == [([60], None)]
    assert told(waiting, [image(190), image(210)], 210) == [([190], 200), ([210], None)]
    assert waiting == []


def test_passages_are_told_in_the_order_in_which_they_happened():
    waiting = [passage(90), passage(30)]
    assert told(waiting, [], 100) == [([], 30), ([], 90), ([], None)]


def test_a_flood_of_passages_does_not_wait():
    waiting = [passage(k) for k in range(1000, 1000 + WAITING_MAX + 3)]
    assert len(told(waiting, [], 0)) == 3 + 1
    assert len(waiting) == WAITING_MAX


# --- the whole engine ----------------------------------------------------------------------------


class Kept:
    """A tap that keeps every observation."""

    def __init__(self) -> None:
        self.observations = []

    def step(self, step, now_ns, observations):
        self.observations += observations

    def events(self, now_ns, events, commands=()):
        pass


@pytest.fixture(scope="module")
def day() -> tuple[Run, list]:
    done, seen = prepared(first_store(), options("honest", 7))
    kept = Kept()
    play(done, seen, duration_s=20, tap=kept)
    return done, sorted(kept.observations, key=lambda one: one.received_at_ns)


def carts(config, steps):
    engine = Engine(config)
    events = [
        event for step in steps for event in engine.step(step.now_ns, step.observations).events
    ]
    return [
        (cart.credential, cart.state, [(n.sku, n.quantity, n.probability) for n in cart.lines])
        for cart in events
        if isinstance(cart, CartClosed)
    ]


def cut(observations, first_ms):
    """The same observations, with every boundary of a step elsewhere."""
    now_ns, pending = first_ms * MS, []
    for seen in [*observations, None]:
        while seen is None or seen.received_at_ns > now_ns:
            yield RecordedStep(step=1, now_ns=now_ns, observations=pending)
            pending, now_ns = [], now_ns + 100 * MS
            if seen is None and now_ns > observations[-1].received_at_ns + 20 * S:
                return
        pending.append(seen)


def test_where_steps_end_changes_no_line_and_no_probability(day):
    done, observations = day
    found = [carts(done.config, cut(observations, first_ms)) for first_ms in (100, 137, 162)]
    assert len(found[0]) == len(done.carts) >= 2
    assert sum(len(lines) for _, _, lines in found[0]) >= 2
    assert found[0] == found[1] == found[2]
