"""Parties: one credential for several people, children, staff, tailgaters, and who comes when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.bodies import bodies_at
from sim.script import Act, Background, Do, Member, PartyScript, Scenario
from sim.world import Options, World
from tests.sim.acting import CALM, NS, STORE, TICK_NS, one, play, run, scenario

TAKE = Act.TAKE
SKU = {str(f.id): str(f.sku) for f in STORE.facings}


def test_members_of_one_party_act_apart_under_one_credential_and_meet_again() -> None:
    first = Member(do=(Do(act=TAKE, facing="f003"), Do(act=Act.MEET, to="a/1")))
    second = Member(do=(Do(act=TAKE, facing="f045"), Do(act=Act.MEET, to="a")))
    played = play(PartyScript(name="a", members=(first, second)))
    took_s = min(a.at_ns for a in played.actions) / NS
    apart = np.hypot(*(played.place_at("a/0", took_s) - played.place_at("a/1", took_s)))
    assert apart > 1.0
    assert played.world.truth.lines("a") == {SKU["f003"]: 1, SKU["f045"]: 1}
    assert played.scans[0].party_size == 2
    assert len(played.scans) == 1
    assert not played.actor("a/0").given_up
    assert not played.actor("a/1").given_up


def test_what_members_hand_each_other_changes_no_cart() -> None:
    first = Member(do=(Do(act=TAKE, facing="f003"), Do(act=Act.HAND_OVER, to="a/1")))
    played = play(PartyScript(name="a", members=(first, Member())))
    assert [a.kind for a in played.actions] == ["take"]
    assert played.actor("a/0").person.holds == []
    assert len(played.actor("a/1").person.holds) == 1


def test_follower_stays_near_the_first_member_and_a_child_runs_about() -> None:
    do = tuple(Do(act=Act.READ, facing=f, lasts_s=(6.0, 6.0)) for f in ("f003", "f030", "f045"))
    played = play(
        PartyScript(name="a", members=(Member(do=do), Member(), Member(child=True))), seed=3
    )
    leader = dict(played.places["a/0"])
    gaps, steps = {}, {}
    for name in ("a/1", "a/2"):
        way = [(t, p) for t, p in played.places[name] if t in leader and p[1] > 1.0]
        gaps[name] = np.median([np.hypot(*(p - leader[t])) for t, p in way])
        steps[name] = np.hypot(*np.diff([p for _, p in way], axis=0).T).sum()
    assert gaps["a/1"] < 1.8
    assert gaps["a/2"] < 2.2
    assert steps["a/2"] > steps["a/1"]
    heights = [played.actor(f"a/{i}").person.height_m for i in range(3)]
    assert heights[2] < 1.3 < min(heights[:2])


def test_bag_makes_its_wearer_wider_and_presses_on_the_plates() -> None:
    pressed, widths = [], []
    for bag in (False, True):
        played = play(one("a", Do(act=TAKE, facing="f010"), bag=bag))
        _, grams = played.shelf_grams("f010")
        pressed.append(float(grams.max() - np.median(grams[:120])))
        widths.append(played.actor("a/0").person.radius_m)
    assert pressed[1] > pressed[0] + 30.0
    assert widths[1] > widths[0] + 0.05


def test_given_height_and_pace_are_kept() -> None:
    played = play(one("a", Do(act=Act.GO, facing="f003"), height_m=1.9, speed_m_s=0.6))
    person = played.actor("a/0").person
    assert (person.height_m, person.speed_m_s) == (1.9, 0.6)


def test_tailgater_walks_in_behind_its_victim_and_has_a_visit_without_a_credential() -> None:
    played = play(
        one("victim", Do(act=TAKE, facing="f003")),
        one("thief", Do(act=TAKE, facing="f030"), tailgates="victim"),
        one("later", Do(act=TAKE, facing="f045")),
    )
    inward = [(p.shopper, p.at_ns / NS) for p in played.passages if p.inward]
    names = [name for name, _ in inward]
    assert names.index("thief") == names.index("victim") + 1
    gap_s = dict(inward)["thief"] - dict(inward)["victim"]
    assert gap_s < 2.5
    assert {s.shopper for s in played.scans} == {"victim", "later"}
    visits = played.world.truth.visits
    assert visits["thief"].credential == ""
    assert visits["victim"].credential == "code-victim"
    assert played.world.truth.lines("thief") == {SKU["f030"]: 1}


def test_tailgater_of_somebody_who_is_refused_goes_away() -> None:
    script = scenario(one("victim"), one("thief", tailgates="victim"))
    world = World.of(STORE, Options(), script)
    for step in range(1, 900):
        for output in world.advance(step * TICK_NS):
            if hasattr(output, "reader"):
                world.refused(output.gate, step * TICK_NS)
    assert world.empty
    assert world.truth.document()["visits"] == []


def test_person_who_waits_for_goods_from_somebody_does_not_leave_before() -> None:
    played = play(
        one("a", Do(act=Act.WAIT, lasts_s=(12.0, 12.0)), Do(act=TAKE, facing="f003"),
            Do(act=Act.HAND_OVER, to="b")),
        one("b"),
    )  # fmt: skip
    assert played.world.truth.lines("b") == {SKU["f003"]: 1}


def test_act_with_somebody_who_has_gone_is_given_up_and_the_next_one_done() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003"), Do(act=Act.READ, facing="f003", lasts_s=(25.0, 25.0)),
            Do(act=Act.HAND_OVER, to="b"), Do(act=TAKE, facing="f030")),
        one("b", Do(act=Act.LEAVE)),
    )  # fmt: skip
    assert [d.act for d in played.actor("a/0").given_up] == [Act.HAND_OVER]
    assert played.world.truth.lines("a") == {SKU["f003"]: 1, SKU["f030"]: 1}


def test_sold_out_facing_is_given_up() -> None:
    clerk = one("clerk", Do(act=Act.CLEAR, facing="f030"), staff=True)
    late = one(
        "a",
        Do(act=Act.READ, facing="f003", lasts_s=(35.0, 35.0)),
        Do(act=TAKE, facing="f030"),
        Do(act=TAKE, facing="f003"),
    )
    played = play(clerk, late)
    assert played.world.truth.lines("a") == {SKU["f003"]: 1}
    assert [d.facing for d in played.actor("a/0").given_up] == ["f030"]


def test_everybody_leaves_though_all_want_something_of_each_other() -> None:
    ring = ("a", "b", "c")
    parties = [
        one(name, Do(act=Act.MEET, to=ring[(i + 1) % 3]), Do(act=Act.SWAP, to=ring[(i + 2) % 3]),
            Do(act=Act.HAND_OVER, to=ring[(i + 1) % 3]))
        for i, name in enumerate(ring)
    ]  # fmt: skip
    played = play(*parties, limit_s=500.0)
    assert played.world.visits_completed == 3


def test_probability_leaves_acts_out_by_the_seed() -> None:
    do = tuple(Do(act=TAKE, facing=f"f0{i:02}", probability=0.5) for i in range(10, 20))
    kept = []
    for seed in range(6):
        world = World.of(STORE, Options(seed=seed), scenario(one("a", *do)))
        kept.append(len(world.scene.actors["a/0"].todo))
    assert 20 < sum(kept) < 40
    assert len(set(kept)) > 1


def test_one_seed_gives_the_same_truth_and_paths_and_another_does_not() -> None:
    parties = (
        one("a", Do(act=TAKE, facing="f003"), Do(act=Act.HAND_OVER, to="b")),
        one("b", Do(act=TAKE, facing="f010"), arrives_s=(2.0, 9.0)),
    )
    runs = [play(*parties, seed=seed).world for seed in (5, 5, 6)]
    truths = [w.truth.document() for w in runs]
    assert truths[0] == truths[1] != truths[2]
    assert runs[0].paths() == runs[1].paths()


def test_gate_that_opens_later_does_not_change_what_a_party_has_in_mind() -> None:
    parties = (one("a", Do(act=TAKE, facing="f003")), one("b", Do(act=TAKE, facing="f045")))
    heights = []
    for other in (parties, (*parties, one("c", arrives_s=(0.1, 0.2)))):
        world = World.of(STORE, Options(seed=4), scenario(*other))
        at_s = {c.party.shopper: c.at_ns for c in world.coming}
        heights.append([(world.scene.actors[f"{n}/0"].person.height_m, at_s[n]) for n in "ab"])
    assert heights[0] == heights[1]


def test_paths_are_sampled_five_times_a_second() -> None:
    played = play(one("a", Do(act=TAKE, facing="f003")))
    (path,) = played.world.paths()
    assert (path["visit"], path["member"]) == ("a", 0)
    assert np.diff(path["t_s"]) == pytest.approx(0.2)  # type: ignore[call-overload]
    assert len(path["x_m"]) == len(path["y_m"]) == len(path["t_s"])  # type: ignore[arg-type]


def test_background_shoppers_come_beside_the_script() -> None:
    background = Background(every_s=4.0, people_max=4)
    script: Scenario = scenario(one("a", Do(act=TAKE, facing="f003")), background=background)
    world = World.of(STORE, Options(seed=2), script)
    for step in range(1, 400):
        for output in world.advance(step * TICK_NS):
            if hasattr(output, "reader"):
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, step * TICK_NS)
    assert {"a", "shopper-1", "shopper-2"} <= set(world.truth.visits)
    world.close_doors()
    played = run_on(world)
    assert played.empty


def run_on(world: World) -> World:
    """Until everybody is out."""
    start_ns = world.now_ns
    while not world.empty and world.now_ns < start_ns + 240 * NS:
        for output in world.advance(world.now_ns + TICK_NS):
            if hasattr(output, "reader"):
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, world.now_ns)
    return world


def test_lifted_child_is_left_out_of_the_cameras_bodies() -> None:
    world = World.of(
        STORE, Options(), scenario(PartyScript(name="a", members=(Member(), Member())))
    )
    parent, child = (world.scene.actors[f"a/{i}"].person for i in range(2))
    child.carrier = parent
    bodies = bodies_at([parent, child], np.array([0]), 0, TICK_NS)
    assert bodies.key == ("a/0",)


def test_nobody_comes_once_the_doors_are_closed() -> None:
    script = replace(scenario(one("a", arrives_s=(9.0, 9.5))), habits=CALM)
    world = World.of(STORE, Options(), script)
    world.advance(2 * NS)
    world.close_doors()
    world.advance(20 * NS)
    assert world.empty
    assert world.truth.visits == {}
    assert run(World.of(STORE, Options(), script)).world.visits_completed == 1
