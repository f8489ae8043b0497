"""What happens on a shelf while the daemon is down shows as a difference of level afterwards.

The world goes on for seconds without anybody listening: shelf batches and images of that time are
lost, the gate controllers deliver their passages late (they resend until acknowledged).
"""

from dataclasses import dataclass, field, replace

import pytest

from edge.engine import Engine, restore, snapshot
from messages.events import CartClosed, Event, ItemTaken, ReviewRequested
from messages.observations import GateSignal, Observation
from messages.store_config import Decision, StoreConfig
from sim.first_store import first_store
from sim.in_process import observed
from sim.referee import judge
from sim.truth import TrueAction
from sim.world import World, options

S = 1_000_000_000
STEP_NS = 100_000_000
DAY_S, OPEN_S = 150, 45
SEEDS = (2, 4, 6)


@dataclass
class Day:
    world: World
    events: list[Event] = field(default_factory=list)

    @property
    def takes(self) -> list[TrueAction]:
        return [action for action in self.world.truth.actions if action.kind == "take"]


def live_through(seed: int, down: tuple[float, float] = (0.0, 0.0)) -> Day:
    """A short store day; between the two instants (seconds) the daemon is dead."""
    config: StoreConfig = replace(first_store(), decision=Decision(review_deadline_s=5.0))
    config, world = observed(config, options("honest", seed))
    day, engine = Day(world.world), Engine(config)
    late: list[Observation] = []
    for k in range(1, DAY_S * 10):
        now_ns = k * STEP_NS
        if now_ns == OPEN_S * S:
            world.world.close_doors()
        seen = world.observations(now_ns)
        if down[0] * S <= now_ns < down[1] * S:
            late += [one for one in seen if isinstance(one, GateSignal)]
            continue
        if late:
            engine = restore(config, snapshot(engine))
        outputs = engine.step(now_ns, [*late, *seen])
        late = []
        day.events += outputs.events
        world.obey(outputs.commands, now_ns)
    return day


@pytest.fixture(scope="module", params=SEEDS)
def gap(request) -> tuple[Day, TrueAction]:
    """A day in which the daemon was down while the second item was taken, and that action."""
    action = live_through(request.param).takes[1]
    at_s = action.at_ns / S
    day = live_through(request.param, (at_s - 1.2, at_s + 1.8))
    same = [a for a in day.takes if a.at_ns == action.at_ns and a.sku == action.sku]
    assert same, "the gap changed what people did: choose another seed"
    return day, action


def test_an_item_taken_while_the_daemon_was_down_is_attributed_or_asked_about(gap):
    day, action = gap
    about = [
        event
        for event in day.events
        if isinstance(event, ItemTaken | ReviewRequested)
        and event.evidence.started_at_ns <= action.at_ns <= event.evidence.ended_at_ns + 2 * S
        and event.evidence.mass_g < 0
    ]
    assert about
    named = {e.sku for e in about if isinstance(e, ItemTaken)}
    asked = {c.sku for e in about if isinstance(e, ReviewRequested) for c in e.candidates}
    assert action.sku in named | asked


def test_nobody_is_over_charged_after_the_gap_and_every_visit_ends(gap):
    day, _ = gap
    carts = [event for event in day.events if isinstance(event, CartClosed)]
    verdict = judge(day.world.truth, carts)
    assert verdict.over_charged == []
    assert verdict.carts_missing == []
    assert verdict.visits >= 3
