"""What must not matter to the core: the origin, names, the order of arrival; and n = 0, n = 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from cart_study import MASSES, SECOND, Body, Scene, no_steps, one_step, started, store

from edge.cart_tracker import CartTracker
from edge.engine import Engine
from messages.commands import Command
from messages.events import CartClosed, Event, ItemTaken, ReviewRequested
from messages.ids import VisitId
from messages.observations import Observation, PersonDetections, ShelfSamples
from messages.store_config import Camera, StoreConfig
from sim.in_process import play, prepared
from sim.layouts import layout
from sim.scenario import library
from sim.script import Scenario
from sim.world import Options

SAME = 1e-6  # probabilities of the same day seen differently
LATE_NS = 290_000_000  # from capture to delivery, within the lateness limit of 300 ms
SEED = 101
Steps = list[tuple[int, list[Observation]]]


@dataclass
class Tap:
    steps: Steps

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None:
        self.steps.append((now_ns, list(observations)))

    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None:
        """The engine's answer is not needed here."""


def crowded() -> Scenario:
    """Three people at one shelf: their lines are in doubt, so their probabilities say much."""
    return next(s for s in library() if s.name == "hard-three-at-one-shelf")


def recorded(scenario: Scenario) -> tuple[StoreConfig, Steps]:
    done, seen = prepared(layout(scenario.store), Options(seed=SEED), script=scenario)
    tap = Tap([])
    play(done, seen, duration_s=scenario.duration_s, tap=tap)
    return done.config, tap.steps


def carts(config: StoreConfig, steps: Steps) -> list[CartClosed]:
    engine, found = Engine(config), list[CartClosed]()
    for now_ns, observations in steps:
        outputs = engine.step(now_ns, observations)
        found += [event for event in outputs.events if isinstance(event, CartClosed)]
    return found


def discrete(found: list[CartClosed]) -> list[Any]:
    return [[(ln.sku, ln.quantity, ln.state) for ln in cart.lines] for cart in found]


def probabilities(found: list[CartClosed]) -> np.ndarray:
    return np.array([line.probability for cart in found for line in cart.lines])


def assert_same(one: list[CartClosed], other: list[CartClosed], within: float = 0.0) -> None:
    assert discrete(one) == discrete(other)
    assert np.abs(probabilities(one) - probabilities(other)).max() <= within


@pytest.fixture(scope="module")
def day() -> tuple[StoreConfig, Steps]:
    return recorded(crowded())


@pytest.fixture(scope="module")
def concluded(day: tuple[StoreConfig, Steps]) -> list[CartClosed]:
    found = carts(*day)
    assert sum(len(cart.lines) for cart in found) >= 4
    assert (probabilities(found) < 0.999).any()
    return found


def elsewhere(config: StoreConfig, x_m: float, y_m: float) -> StoreConfig:
    """The same store, measured from another floor point."""

    def moved(thing: Any) -> Any:
        return replace(thing, x_m=thing.x_m + x_m, y_m=thing.y_m + y_m)

    def camera_moved(camera: Camera) -> Camera:
        pose = np.array(camera.store_from_camera)
        pose[:2, 3] += x_m, y_m
        return replace(camera, store_from_camera=tuple(tuple(row) for row in pose.tolist()))

    area = config.area
    return replace(
        config,
        plates=tuple(map(moved, config.plates)),
        gates=tuple(map(moved, config.gates)),
        fixtures=tuple(map(moved, config.fixtures)),
        cameras=tuple(map(camera_moved, config.cameras)),
        area=replace(
            area,
            x_min_m=area.x_min_m + x_m,
            x_max_m=area.x_max_m + x_m,
            y_min_m=area.y_min_m + y_m,
            y_max_m=area.y_max_m + y_m,
        ),
    )


def shuffled(steps: Steps) -> Steps:
    """Each packet comes up to two steps later, in any order; signals of gates stay in theirs."""
    rng = np.random.default_rng(5)
    arrives: list[list[Observation]] = [[] for _ in steps]
    for i, (_, observations) in enumerate(steps):
        for seen in observations:
            later = int(rng.integers(0, 3)) if isinstance(seen, ShelfSamples) else 0
            if isinstance(seen, PersonDetections):
                in_time = [
                    k
                    for k in range(i, min(i + 3, len(steps)))
                    if steps[k][0] - seen.captured_at_ns < LATE_NS
                ]
                later = int(rng.choice(in_time)) - i if in_time else 0
            arrives[min(i + later, len(steps) - 1)].append(seen)
    return [(now_ns, _packets_mixed(arrives[i], rng)) for i, (now_ns, _) in enumerate(steps)]


def _packets_mixed(seen: list[Observation], rng: np.random.Generator) -> list[Observation]:
    packets = [x for x in seen if isinstance(x, ShelfSamples | PersonDetections)]
    signals = [x for x in seen if not isinstance(x, ShelfSamples | PersonDetections)]
    return [*signals, *(packets[i] for i in rng.permutation(len(packets)))]


def test_moving_the_origin_of_the_store_changes_no_cart(
    day: tuple[StoreConfig, Steps], concluded: list[CartClosed]
) -> None:
    config, steps = day
    assert_same(concluded, carts(elsewhere(config, 64.0, -37.5), steps), SAME)


def test_the_order_of_arrival_within_the_lateness_window_changes_no_cart(
    day: tuple[StoreConfig, Steps], concluded: list[CartClosed]
) -> None:
    config, steps = day
    mixed = shuffled(steps)
    assert [len(seen) for _, seen in mixed] != [len(seen) for _, seen in steps]
    assert_same(concluded, carts(config, mixed))


def test_other_names_and_credentials_change_nothing_but_the_names(
    concluded: list[CartClosed],
) -> None:
    scenario = crowded()
    parties = tuple(replace(p, name=f"z{p.name[::-1]}") for p in scenario.parties)
    renamed = carts(*recorded(replace(scenario, parties=parties)))
    assert_same(concluded, renamed)
    assert not {c.credential for c in concluded} & {c.credential for c in renamed}


def test_a_planted_difference_is_seen(concluded: list[CartClosed]) -> None:
    line = concluded[0].lines[0]
    off = replace(line, probability=line.probability - 1e-5)
    other = [replace(concluded[0], lines=(off, *concluded[0].lines[1:])), *concluded[1:]]
    with pytest.raises(AssertionError):
        assert_same(concluded, other, SAME)


def test_a_store_without_plates_goods_or_people_steps_on() -> None:
    empty = replace(store(MASSES), products=(), plates=(), facings=())
    tracker = CartTracker(empty)
    assert tracker.step(SECOND, no_steps(empty), Scene()) == []
    tracker.visit_started(started(VisitId("v1"), SECOND))
    scene = Scene(bodies=[Body(position=(0.0, 0.0), identity={})], visits=[VisitId("v1")])
    assert tracker.step(2 * SECOND, no_steps(empty), scene) == []
    assert tracker.close(VisitId("v1")).lines == ()
    assert Engine(empty).step(SECOND, []).events == ()


def test_plates_without_goods_ask_and_charge_nobody() -> None:
    bare = replace(store(MASSES), products=(), facings=())
    tracker = CartTracker(bare)
    tracker.visit_started(started(VisitId("v1"), SECOND))
    body = Body(position=(0.0, 0.5), identity={VisitId("v1"): 0.999})
    scene = Scene(bodies=[body], visits=[VisitId("v1")])
    for step, grams in enumerate((-300.0, 300.0)):
        now_ns = (10 + 10 * step) * SECOND
        moved = one_step(bare, step + 1, 0, {0: grams}, now_ns)
        events = tracker.step(now_ns + SECOND, moved, scene)
        events += tracker.step(now_ns + 5 * SECOND, no_steps(bare), scene)
        assert all(isinstance(event, ReviewRequested) for event in events)
    assert tracker.carts[VisitId("v1")].lines == ()


def test_one_plate_one_product_and_one_person_are_a_store() -> None:
    whole = store(MASSES[:1])
    one = replace(whole, plates=whole.plates[:1], facings=whole.facings[:1])
    tracker, visit = CartTracker(one), VisitId("v1")
    tracker.visit_started(started(visit, SECOND))
    body = Body(position=(0.0, 0.5), identity={visit: 0.999}, wrist=(0.0, 0.2, 1.1))
    scene = Scene(bodies=[body], visits=[visit])
    steps = replace(
        one_step(whole, 1, 0, {0: -500.0}, 10 * SECOND),
        plate_mass_g=np.array([[-500.0]]),
        plate_sd_g=np.array([[1.0]]),
    )
    events = tracker.step(11 * SECOND, steps, scene)
    (taken,) = events
    assert isinstance(taken, ItemTaken)
    assert (taken.visit, taken.sku, taken.quantity) == (visit, "sku00", 1)
    assert tracker.step(20 * SECOND, no_steps(one), Scene()) == []
