"""Shoppers who want to confuse: the share of tricks, what they do, and that everybody leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.adversary import TRICK_ACTS_MEAN, TRICKS, Trick, tricked
from sim.script import Act, Background
from sim.shoppers import Habits, Stop, Task, Wish
from sim.stock import Stock
from sim.world import Options, World
from tests.sim.acting import NS, STORE, TICK_NS, scenario

HABITS = Habits(stops_mean=4.0, touch_probability=0.0, undo_probability=0.0)


def _stock() -> Stock:
    return Stock.filled(STORE, np.random.default_rng(1))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_share_of_acts_that_belong_to_tricks_is_as_wished(share: float) -> None:
    stock, rng = _stock(), np.random.default_rng(2)
    facings = rng.integers(len(stock.on), size=3000)
    plain = Task(wish=Wish.TAKE, facing=0, quantity=9)  # no trick takes nine
    stops = [Stop(int(f), [replace(plain, facing=int(f))]) for f in facings]
    todo = tricked(stops, stock, share, rng)
    tricks = sum(do.quantity != plain.quantity for do in todo)
    assert tricks / len(todo) == pytest.approx(share, abs=0.03)


def test_mean_length_of_tricks_is_what_the_share_is_reckoned_with() -> None:
    stock, rng = _stock(), np.random.default_rng(3)
    lengths = [len(make(Trick(stock, f, rng))) for make in TRICKS for f in range(60)]
    assert np.mean(lengths) == pytest.approx(TRICK_ACTS_MEAN, abs=0.05)


def test_same_mass_trick_chooses_goods_that_weigh_alike() -> None:
    stock, rng = _stock(), np.random.default_rng(4)
    masses = {str(p.id): p.mass_g for p in STORE.products}
    index = {str(f.id): i for i, f in enumerate(STORE.facings)}
    gaps = []
    for facing in range(60):
        take, back = TRICKS[0](Trick(stock, facing, rng))
        assert take.act is Act.TAKE
        gaps.append(abs(masses[stock.home[index[back.facing]]] - masses[stock.home[facing]]))
        assert stock.home[index[back.facing]] != stock.home[facing]
    assert np.median(gaps) <= 5.0


def test_confusing_crowd_hands_over_drops_and_misplaces_and_everybody_leaves() -> None:
    background = Background(every_s=3.0, people_max=8, adversary_share=0.6)
    habits = replace(HABITS, empty_visit_probability=0.0)
    world = World.of(STORE, Options(seed=3), scenario(habits=habits, background=background))
    while world.now_ns < 400 * NS and not (world.now_ns > 60 * NS and world.empty):
        for output in world.advance(world.now_ns + TICK_NS):
            if hasattr(output, "reader"):
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, world.now_ns)
        if world.now_ns > 60 * NS:
            world.close_doors()
    assert world.empty
    actions = world.truth.actions
    home = {str(f.id): str(f.sku) for f in STORE.facings}
    misplaced = [a for a in actions if a.kind == "return" and home.get(a.facing) != a.sku]
    assert len(actions) > 25
    assert any(a.kind == "hand_over" for a in actions)
    assert misplaced
    for name, visit in world.truth.visits.items():
        assert visit.exited_at_ns is not None
        assert all(n > 0 for n in world.truth.lines(name).values())
