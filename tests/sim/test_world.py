"""The world as a whole: determinism, bodies and walls, gates, and the conservation of goods."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from sim.first_store import first_store
from sim.geometry import fixture_boxes
from sim.outputs import CameraPacket, Output, Passage, Scan, ShelfBatch
from sim.shoppers import TABLE, Phase, Signal
from sim.world import World, options

STORE = first_store()
STEP_NS = 100_000_000


def _obeyed(world: World, seconds: float, step_ns: int = STEP_NS):
    """Run with a gate that lets everybody in at once; yields (now_ns, outputs)."""
    for step in range(1, int(seconds * 1e9 / step_ns) + 1):
        outputs = world.advance(step * step_ns)
        for output in outputs:
            if isinstance(output, Scan):
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, step * step_ns)
        yield step * step_ns, outputs


def _digest(outputs: list[Output]) -> str:
    digest = hashlib.sha256()
    for output in outputs:
        match output:
            case ShelfBatch():
                digest.update(f"{output.device}{output.sent_at_ns}{output.ticks_us}".encode())
                digest.update(output.counts.tobytes())
            case CameraPacket():
                digest.update(f"{output.camera}{output.sent_at_ns}".encode())
                digest.update(output.boxes_px.tobytes() + output.wrists_px.tobytes())
            case _:
                digest.update(repr(output).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def day() -> tuple[World, list[Output], list[np.ndarray]]:
    """A busy minute."""
    world = World.of(STORE, options("hard", 3))
    outputs: list[Output] = []
    places = []
    for _, sent in _obeyed(world, 60):
        outputs += sent
        places.append(np.array([p[1:] for p in world.positions()]).reshape(-1, 2))
    return world, outputs, places


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    digests = []
    for seed in (4, 4, 5):
        world = World.of(STORE, options("honest", seed))
        digests.append(_digest([o for _, sent in _obeyed(world, 12) for o in sent]))
    assert digests[0] == digests[1] != digests[2]


def test_callers_step_size_does_not_change_what_devices_send() -> None:
    """With the gate's answers out of the way (nobody is let in), only the world counts."""
    coarse, fine = (World.of(STORE, options("honest", 6)) for _ in range(2))
    a = [o for step in range(1, 9) for o in coarse.advance(step * 500_000_000)]
    b = [o for step in range(1, 161) for o in fine.advance(step * 25_000_000)]
    assert _digest(a) == _digest(b)


def test_outputs_come_in_order_of_sending(day) -> None:
    times = [output.at_ns for output in day[1]]
    assert times == sorted(times)


def test_devices_send_at_their_rates(day) -> None:
    kinds = Counter(type(output).__name__ for output in day[1])
    assert kinds["ShelfBatch"] == pytest.approx(60 * 12 * 5, rel=0.02)
    assert kinds["CameraPacket"] == pytest.approx(60 * 4 * 15, rel=0.02)


def test_nobody_stands_in_a_fixture_or_beyond_the_walls(day) -> None:
    low, high = fixture_boxes(STORE.fixtures, 0.2)
    for points in day[2]:
        inside = (points[:, None] > low[None, :, :2]) & (points[:, None] < high[None, :, :2])
        assert not inside.all(axis=2).any()
        assert (points[:, 0] > 0.2).all()
        assert (points[:, 0] < 8.8).all()


def test_bodies_do_not_walk_through_each_other(day) -> None:
    gaps = []
    for points in day[2]:
        if len(points) > 1:
            gap = np.linalg.norm(points[:, None] - points[None], axis=2)
            gaps.append(gap[np.triu_indices(len(points), 1)].min())
    assert min(gaps) > 0.2
    assert np.percentile(gaps, 1) > 0.35


def test_shoppers_come_near_each_other_sometimes(day) -> None:
    gaps = [
        np.sort(np.linalg.norm(p[:, None] - p[None], axis=2).ravel())[len(p)]
        for p in day[2]
        if len(p) > 1
    ]
    assert np.mean(np.array(gaps) < 0.8) > 0.1


def test_mass_that_left_the_shelves_is_what_people_carry(day) -> None:
    world = day[0]
    for _, _ in _obeyed_from(world, 8):
        pass
    carried = sum(
        world.stock.units[unit].mass_g for party in world.crowd.parties for unit, _ in party.carried
    )
    standing = sum(u.mass_g for u in world.stock.units if u.facing is not None)
    landing = sum(world.stock.units[x.unit].mass_g for x in world.crowd.hands.landings)
    everything = sum(u.mass_g for u in world.stock.units)
    gone = everything - standing - landing
    assert world.crowd.hands.mass_out_g == pytest.approx(gone)
    assert gone >= carried - 1e-6


def _obeyed_from(world: World, seconds: float):
    start = world.now_ns
    for step in range(1, int(seconds * 10) + 1):
        yield step, world.advance(start + step * STEP_NS)


def test_plates_weigh_what_stands_on_them_when_all_hands_are_gone() -> None:
    world = World.of(STORE, options("honest", 8))
    for now_ns, _ in _obeyed(world, 90):
        if now_ns > 20e9:
            world.close_doors()
        if now_ns > 25e9 and world.empty:
            break
    assert world.empty
    world.advance(world.now_ns + 6_000_000_000)
    assert world.physics.level_g == pytest.approx(world.stock.load_g(), abs=25.0)
    bumped = np.abs(world.physics.level_g - world.stock.load_g())
    assert np.median(bumped) < 1.0  # only bumps may leave some grams


def test_truth_lines_are_the_units_that_left_with_the_visit() -> None:
    world = World.of(STORE, options("hard", 9))
    carried: dict[str, Counter[str]] = {}
    for _, _ in _obeyed(world, 40):
        for party in world.crowd.parties:
            skus = Counter(world.stock.units[u].sku for u, _ in party.carried)
            carried[party.shopper] = skus
    held = {name: dict(sorted(skus.items())) for name, skus in carried.items()}
    assert held == {name: world.truth.lines(name) for name in carried}
    assert sum(len(lines) for lines in held.values()) > 5


def test_every_action_lies_within_its_visit(day) -> None:
    truth = day[0].truth
    for action in truth.actions:
        visit = truth.visits[action.visit]
        assert visit.entered_at_ns is not None
        assert action.at_ns > visit.entered_at_ns
        assert visit.exited_at_ns is None or action.at_ns < visit.exited_at_ns


def test_nobody_passes_before_the_gate_opens() -> None:
    world = World.of(STORE, options("honest", 10))
    sent = [o for step in range(1, 150) for o in world.advance(step * STEP_NS)]
    scans = [o for o in sent if isinstance(o, Scan)]
    assert len({s.shopper for s in scans}) >= 1
    assert scans[1].attempt == 2  # no answer: they try again
    assert not [o for o in sent if isinstance(o, Passage)]


def test_refused_shopper_tries_again_and_then_goes_away() -> None:
    world = World.of(STORE, options("easy", 11))
    tries: Counter[str] = Counter()
    for step in range(1, 400):
        for output in world.advance(step * STEP_NS):
            if isinstance(output, Scan):
                tries[output.shopper] += 1
                world.refused(output.gate, step * STEP_NS)
    assert tries["shopper-1"] == 3
    assert len(tries) > 1  # the next one had a turn
    assert world.people_inside == 0


def test_demo_sees_at_least_ten_visits_in_three_minutes_and_parties_pass_one_by_one() -> None:
    world = World.of(STORE, options("honest", 7))
    inside: list[int] = []
    passed: list[Passage] = []
    sizes: dict[str, int] = {}
    for _, sent in _obeyed(world, 180):
        inside.append(world.people_inside)
        passed += [o for o in sent if isinstance(o, Passage)]
        sizes |= {o.shopper: o.party_size for o in sent if isinstance(o, Scan)}
    entered = Counter(p.shopper for p in passed if p.inward)
    left = Counter(p.shopper for p in passed if not p.inward)
    gaps_s = np.diff([p.at_ns for p in passed if not p.inward]) / 1e9
    assert world.visits_completed >= 10
    assert max(inside) <= 5
    assert np.mean(inside) > 1.0
    assert 2 in sizes.values()
    assert all(entered[name] == sizes[name] for name in left)
    assert all(left[name] <= entered[name] for name in left)
    assert gaps_s.min() > 0.3


def test_phase_table_ends_and_has_no_dead_end() -> None:
    leads = {phase: {TABLE[p, s] for p, s in TABLE if p is phase} for phase in Phase}
    assert leads[Phase.GONE] == set()
    assert all(leads[phase] for phase in Phase if phase is not Phase.GONE)
    assert {signal for _, signal in TABLE} == set(Signal)
