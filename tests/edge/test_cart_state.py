"""The cart tracker's state: restarts, folds, odd configurations, hostile input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cart_study import (
    MASSES,
    SECOND,
    Body,
    Scene,
    Story,
    charged,
    in_doubt,
    no_steps,
    one_step,
    only,
    started,
    store,
)

from edge.cart_tracker import CartTracker, CartTrackerState
from edge.carts.state import HeldStep, both_ways
from edge.sensors.weight_steps import StepFlag
from messages.cart import fold
from messages.codec import decode, decode_state, encode, encode_state
from messages.events import (
    Event,
    ItemTaken,
    ReviewRequested,
)
from messages.ids import FacingId, PlateId, ShelfId, Sku, VisitId
from messages.observations import ReviewAnswer


@pytest.fixture
def story() -> Story:
    return Story(store(MASSES))


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


def test_facts_no_shelf_should_report_do_not_break_the_tracker() -> None:
    """Any masses on any plates: an answer of some kind, no crash, nothing negative."""
    config = store(MASSES)
    rng = np.random.default_rng(3)
    tracker, scene = CartTracker(config), Scene()
    for i in range(3):
        visit = VisitId(f"st-v{i}")
        tracker.visit_started(started(visit, 0))
        scene.visits.append(visit)
        scene.bodies.append(Body(position=(0.4 * i, 0.5), identity={visit: 0.99}))
    for i in range(120):
        size = 10.0 ** rng.uniform(-3, 7)
        plates = rng.normal(0.0, size, 12) * (rng.random(12) < rng.random())
        if i % 7 == 0:
            plates -= plates.mean()  # mass moved along the shelf, none left it
        flags = int(rng.integers(0, 8))
        noise_g = float(10.0 ** rng.uniform(-6, 3))
        now = (i + 1) * 3 * SECOND
        grams = {k: float(g) for k, g in enumerate(plates)}
        events = tracker.step(now, one_step(config, i, 0, grams, now, flags, noise_g), scene)
        for event in [*events, *tracker.step(now + 2 * SECOND, no_steps(config), scene)]:
            assert decode(encode(event)) == event
        assert all(line.quantity > 0 for cart in tracker.carts.values() for line in cart.lines)


def shelf_step(*plate_mass_g: float) -> HeldStep:
    mass = np.array(plate_mass_g)
    return HeldStep(
        step_id=7,
        shelf=ShelfId("s1"),
        plates=tuple(PlateId(f"p{i}") for i in range(len(mass))),
        started_at_ns=1,
        ended_at_ns=2,
        mass_g=float(mass.sum()),
        mass_sd_g=5.0,
        plate_mass_g=mass,
        plate_sd_g=np.maximum(1.0, 0.04 * np.abs(mass)),
        flags=0,
        held_at_ns=3,
    )


def test_one_thing_in_and_another_out_at_once_is_a_take_and_a_put() -> None:
    taken, put = both_ways(shelf_step(0.0, -476.0, 465.0, 0.5))
    assert taken.mass_g == -476.0
    assert put.mass_g == pytest.approx(465.5)
    assert taken.plate_mass_g.tolist() == [0.0, -476.0, 0.0, 0.0]
    assert taken.mass_sd_g == pytest.approx(0.04 * 476.0)


@pytest.mark.parametrize(
    "plates", [(-300.0, -90.0, -12.0), (-300.0, 4.0, 0.0), (-300.0, 30.0, 0.0), (0.0, 250.0)]
)
def test_a_step_with_spill_or_noise_stays_one(plates: tuple[float, ...]) -> None:
    step = shelf_step(*plates)
    assert both_ways(step) == [step]
