"""Looks into hands in the simulator: as good as measured, off unless asked for, and of use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from messages.events import ReviewRequested
from messages.observations import ItemSightings
from sim.hand_looks import BRAND, DIMENSIONS, EMPTY, OWN, _posterior
from sim.in_process import Run, play, prepared
from sim.layouts import layout
from sim.outputs import HandPacket, Output
from sim.scenario import find, load
from sim.script import Fault, FaultKind
from sim.world import Options, World, options

S = 1_000_000_000


def outputs(*, items: bool, faults: tuple[Fault, ...] = ()) -> list[Output]:
    usual = options("hard", seed=3)
    usual = replace(usual, faults=replace(usual.faults, items=items))
    world = World.of(layout("corner"), usual, faults=faults)
    seen: list[Output] = []
    for second in range(1, 26):
        seen += world.advance(second * S)
        for party in world.crowd.parties:
            party.credential = party.credential or "code"
        for gate in world.config.gates:
            world.unlocked(gate.id, 2)
    return seen


def named(seen: list[Output]) -> list[tuple[object, ...]]:
    return [(type(o).__name__, o.at_ns, o.source) for o in seen if not isinstance(o, HandPacket)]


def test_nothing_else_changes_when_hands_are_looked_into() -> None:
    without, with_it = outputs(items=False), outputs(items=True)
    assert named(without) == named(with_it)
    assert not any(isinstance(o, HandPacket) for o in without)
    looks = [o for o in with_it if isinstance(o, HandPacket)]
    assert len(looks) > 10
    for packet in looks:
        seen = packet.seen
        assert len(seen.positions_store_m) == len(seen.probability) > 0
        assert (seen.probability.sum(axis=1) <= 1.0 + 1e-9).all()
        assert seen.prior is not None
        assert packet.sent_at_ns > seen.captured_at_ns
    again = [o for o in outputs(items=True) if isinstance(o, HandPacket)]
    assert all(
        (a.seen.probability == b.seen.probability).all() for a, b in zip(looks, again, strict=True)
    )


def test_a_dark_camera_sees_no_hands() -> None:
    faults = tuple(
        Fault(kind=FaultKind.DARK_CAMERA, device=c.id, at_s=(0, 0))
        for c in layout("corner").cameras
    )
    assert not any(isinstance(o, HandPacket) for o in outputs(items=True, faults=faults))


def test_a_look_is_right_about_as_often_as_was_measured() -> None:
    """24 products of 8 brands: 62 % right, 90 % of the brand (docs/PRODUCTS.md)."""
    rng, found = np.random.default_rng(1), []
    k, d = 24, DIMENSIONS
    for _ in range(30):
        brand = np.repeat(BRAND * rng.standard_normal((8, d)), 3, axis=0)
        places = np.vstack(
            [brand + OWN * rng.standard_normal((k, d)), EMPTY * rng.standard_normal(d)]
        )
        true = np.repeat(np.arange(k + 1), 20)
        looks = places[true] + rng.standard_normal((len(true), d))
        prior = np.full((len(true), k), 0.5 / k)
        probability = _posterior(looks, places, prior)
        best, item = probability.argmax(axis=1), true < k
        empty = probability[~item].sum(axis=1)
        found.append(
            (
                (best[item] == true[item]).mean(),
                (best[item] // 3 == true[item] // 3).mean(),
                (empty > 0.5).mean(),
            )
        )
    right, of_brand, false = np.mean(found, axis=0)
    assert right == pytest.approx(0.62, abs=0.04)
    assert of_brand == pytest.approx(0.90, abs=0.04)
    assert false < 0.06


def story(seed: int, *, items: bool) -> Run:
    scenario = load(find("hard-told-by-looks"))
    scenario = replace(scenario, detector=replace(scenario.detector, items=items))
    run, seen = prepared(
        layout(scenario.store), Options(seed=seed), script=scenario, review_deadline_s=10.0
    )
    play(run, seen, duration_s=scenario.duration_s)
    return run


def judged(run: Run) -> Counter[str]:
    truth = {v.credential: run.truth.lines(name) for name, v in run.truth.visits.items()}
    count = Counter(
        questions=sum(isinstance(e, ReviewRequested) for e in run.events), charged=0, wrong=0
    )
    for cart in run.carts:
        for line in cart.lines:
            if line.state == "charged":
                true = truth.get(cart.credential, {}).get(line.sku, 0)
                count["charged"] += line.quantity
                count["wrong"] += max(0, line.quantity - true)
    return count


def test_looks_answer_questions_and_charge_nobody_wrongly() -> None:
    """Tins and bars of one mass in each other's places."""
    without, with_looks = Counter[str](), Counter[str]()
    for seed in (1, 3):
        without += judged(story(seed, items=False))
        run = story(seed, items=True)
        with_looks += judged(run)
        assert "ignored_ItemSightings" not in run.engine.state.counters
        assert all(isinstance(kept, ItemSightings) for kept in run.engine.state.carts.in_hands)
    assert with_looks["wrong"] == 0
    assert with_looks["questions"] < 0.7 * without["questions"]
    assert with_looks["charged"] >= without["charged"]
