"""Each act of a script: what it does to the stock, the truth, the load cells and the wrists."""

from __future__ import annotations

import numpy as np
import pytest

from sim.acts import ACTS
from sim.script import Act, Do, Member, PartyScript, WrongFacing
from tests.sim.acting import NS, STORE, Played, one, play

TAKE, RETURN = Act.TAKE, Act.RETURN
SKU = {str(f.id): str(f.sku) for f in STORE.facings}


def _mass_g(sku: str) -> float:
    return next(p.mass_g for p in STORE.products if p.id == sku)


def _rows(played: Played) -> list[tuple[str, str, str, str, int]]:
    return [(a.kind, a.visit, a.facing, a.sku, a.quantity) for a in played.actions]


def _level_matches_stock(played: Played) -> bool:
    world = played.world
    return bool(np.abs(world.physics.level_g - world.stock.load_g()).max() < 0.5)


def test_taken_units_leave_the_facing_its_plates_and_come_into_the_hand() -> None:
    played = play(one("a", Do(act=TAKE, facing="f003", quantity=2)))
    world, (action,) = played.world, played.actions
    assert _rows(played) == [("take", "a", "f003", SKU["f003"], 2)]
    assert world.truth.lines("a") == {SKU["f003"]: 2}
    assert len(world.stock.on[2]) == 24 - 2
    assert played.wrist_gap_m("a/0", played.target("f003"), action.at_ns / NS) < 0.2
    at_s, grams = played.shelf_grams("f003")
    before = grams[at_s < action.at_ns / NS - 2].mean()
    after = grams[at_s > action.at_ns / NS + 2].mean()
    taken_g = world.mass_out_g()
    assert before - after == pytest.approx(taken_g, rel=0.03)  # neighbours carry a little more
    assert taken_g == pytest.approx(2 * _mass_g(SKU["f003"]), rel=0.2)
    assert _level_matches_stock(played)


def test_units_that_are_not_lifted_together_leave_one_by_one() -> None:
    played = play(one("a", Do(act=TAKE, facing="f003", quantity=3, together=False)))
    assert [a.quantity for a in played.actions] == [1, 1, 1]
    gaps_s = np.diff([a.at_ns for a in played.actions]) / NS
    assert (gaps_s > 0.5).all()
    assert (gaps_s < 4.0).all()


def test_held_item_stays_half_lifted_on_its_plate_and_presses_less_than_it_weighs() -> None:
    played = play(one("a", Do(act=TAKE, facing="f010", hold_s=(4.0, 4.0), slow=True)))
    (action,) = played.actions
    at_s, grams = played.shelf_grams("f010")
    before = grams[at_s < action.at_ns / NS - 7].mean()
    after = grams[at_s > action.at_ns / NS + 3].mean()
    moving = (grams < before - 0.02 * (before - after)) & (grams > after + 0.05 * (before - after))
    assert 3.0 < moving.sum() / 60 < 7.5  # seconds between standing and gone


def test_hand_that_presses_shows_on_the_plates_while_it_is_there_only() -> None:
    played = play(one("a", Do(act=TAKE, facing="f010", press_g=300.0)))
    (action,) = played.actions
    at_s, grams = played.shelf_grams("f010")
    before = grams[at_s < action.at_ns / NS - 3].mean()
    assert grams.max() - before > 200.0
    assert _level_matches_stock(played)


def test_goods_put_back_elsewhere_stand_there_for_the_next_shopper() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003"), Do(act=RETURN, facing="f020")),
        one(
            "b",
            Do(act=Act.WAIT, lasts_s=(15.0, 15.0)),
            Do(act=TAKE, facing="f020", sku=SKU["f003"]),
            arrives_s=(6.0, 7.0),
        ),
    )
    sku = SKU["f003"]
    assert _rows(played) == [
        ("take", "a", "f003", sku, 1),
        ("return", "a", "f020", sku, 1),
        ("take", "b", "f020", sku, 1),
    ]
    assert played.world.truth.lines("a") == {}
    assert played.world.truth.lines("b") == {sku: 1}
    put = played.actions[1]
    assert played.wrist_gap_m("a/0", played.target("f020"), put.at_ns / NS) < 0.25
    assert _level_matches_stock(played)


def test_goods_go_back_where_they_came_from_when_no_facing_is_named() -> None:
    played = play(
        one(
            "a",
            Do(act=TAKE, facing="f003"),
            Do(act=TAKE, facing="f030"),
            Do(act=RETURN, sku=SKU["f003"]),
        )
    )
    assert played.actions[-1].facing == "f003"
    assert len(played.world.stock.on[2]) == 24


def test_second_shopper_cannot_take_what_nobody_has_misplaced() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f020", sku=SKU["f003"]), Do(act=TAKE, facing="f030"))
    )
    assert [d.facing for d in played.actor("a/0").given_up] == ["f020"]
    assert [a.facing for a in played.actions] == ["f030"]


def test_crossed_arm_reaches_past_the_place_where_the_body_stands() -> None:
    played = play(one("a", Do(act=TAKE, facing="f008", crossed=True)))
    at_s = played.actions[0].at_ns / NS
    target = played.target("f008")
    body = played.place_at("a/0", at_s)
    assert abs(body[0] - target[0]) > 0.3  # gondola A stands along x
    assert played.wrist_gap_m("a/0", target, at_s) < 0.2


def test_goods_pass_from_hand_to_hand_between_two_who_stand_together() -> None:
    played = play(
        one(
            "a", Do(act=TAKE, facing="f003", quantity=2), Do(act=Act.HAND_OVER, to="b", quantity=2)
        ),
        one("b", Do(act=Act.READ, facing="f030", lasts_s=(20.0, 20.0)), arrives_s=(2.0, 3.0)),
    )
    given = played.actions[-1]
    assert (given.kind, given.visit, given.to_visit) == ("hand_over", "a", "b")
    assert given.quantity == 2
    assert played.world.truth.lines("a") == {}
    assert played.world.truth.lines("b") == {SKU["f003"]: 2}
    at_s = given.at_ns / NS
    places = [played.place_at(name, at_s) for name in ("a/0", "b/0")]
    assert 0.4 < np.hypot(*(places[0] - places[1])) < 0.95
    middle = np.append((places[0] + places[1]) / 2, 1.08)
    assert all(played.wrist_gap_m(name, middle, at_s) < 0.1 for name in ("a/0", "b/0"))


def test_two_exchange_items_in_the_aisle() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003"), Do(act=Act.HAND_OVER, to="b")),
        one("b", Do(act=TAKE, facing="f030"), Do(act=Act.HAND_OVER, to="a", sku=SKU["f030"])),
    )
    assert played.world.truth.lines("a") == {SKU["f030"]: 1}
    assert played.world.truth.lines("b") == {SKU["f003"]: 1}


def test_goods_that_somebody_is_yet_to_hand_over_are_waited_for() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003"), Do(act=Act.HAND_OVER, to="b")),
        one("b", Do(act=RETURN, sku=SKU["f003"], facing="f010")),
    )
    assert [a.kind for a in played.actions] == ["take", "hand_over", "return"]
    assert played.actions[-1].visit == "b"
    assert not played.actor("b/0").given_up


def test_goods_dropped_on_the_floor_load_no_plate_and_the_next_one_picks_them_up() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003"), Do(act=Act.DROP, point=(4.4, 3.3))),
        one("b", Do(act=Act.PICK_UP), arrives_s=(2.0, 3.0)),
    )
    sku = SKU["f003"]
    assert _rows(played) == [
        ("take", "a", "f003", sku, 1),
        ("return", "a", "", sku, 1),
        ("take", "b", "", sku, 1),
    ]
    assert played.world.truth.lines("b") == {sku: 1}
    low = min(w[1, 2] for _, w in played.wrists["b/0"])
    assert low < 0.3
    assert _level_matches_stock(played)


def test_goods_that_nobody_picks_up_stay_on_the_floor() -> None:
    played = play(one("a", Do(act=TAKE, facing="f003"), Do(act=Act.DROP, point=(4.4, 3.3))))
    assert played.world.truth.lines("a") == {}
    (point,) = played.world.stock.floor.values()
    assert np.hypot(*(point - (4.4, 3.3))) < 1.2


def test_touch_and_lean_load_the_shelf_for_a_while_and_change_nothing() -> None:
    played = play(
        one(
            "a",
            Do(act=Act.TOUCH, facing="f010", press_g=150.0),
            Do(act=Act.LEAN, facing="f010", lasts_s=(5.0, 5.0), press_g=900.0),
        )
    )
    _, grams = played.shelf_grams("f010")
    base = np.median(grams[:120])
    assert grams.max() - base > 700.0
    assert 4.0 < (grams - base > 450.0).sum() / 60 < 7.0
    assert played.actions == []
    assert grams[-60:].mean() == pytest.approx(base, abs=0.5)
    assert (
        min(
            np.linalg.norm(w - played.target("f010"), axis=1).min() for _, w in played.wrists["a/0"]
        )
        < 0.25
    )


def test_bumped_gondola_rings_on_all_its_shelves_and_keeps_a_few_grams() -> None:
    played = play(one("a", Do(act=Act.BUMP, facing="f010")))
    swings, nets = [], []
    for facing in ("f001", "f006", "f011"):  # the three shelves of gondola A
        _, grams = played.shelf_grams(facing)
        swings.append(np.ptp(grams))
        nets.append(grams[-60:].mean() - np.median(grams[:120]))
    assert min(swings) > 50.0
    assert all(-6.0 < net < 5.0 for net in nets)
    _, other = played.shelf_grams("f030")
    assert np.ptp(other) < 1.0
    assert played.actions == []


def test_reader_stands_before_the_goods_with_hands_off() -> None:
    played = play(one("a", Do(act=Act.READ, facing="f010", lasts_s=(6.0, 6.0))))
    _, grams = played.shelf_grams("f010")
    assert np.ptp(grams) < 1.0
    target = played.target("f010")[:2]
    near = [t for t, place in played.places["a/0"] if np.hypot(*(place - target)) < 0.9]
    assert max(near) - min(near) > 5.5


def test_go_leads_to_a_point_and_before_a_facing() -> None:
    played = play(one("a", Do(act=Act.GO, point=(8.2, 5.2)), Do(act=Act.GO, facing="f003")))
    gaps = [np.hypot(*(place - (8.2, 5.2))) for _, place in played.places["a/0"]]
    at_shelf = [np.hypot(*(p - played.target("f003")[:2])) for _, p in played.places["a/0"]]
    assert min(gaps) < 0.4
    assert min(at_shelf) < 0.9
    assert int(np.argmin(gaps)) < int(np.argmin(at_shelf))


def test_two_who_meet_stand_together_whoever_has_more_to_do_before() -> None:
    played = play(
        one("a", Do(act=Act.MEET, to="b"), Do(act=TAKE, facing="f003")),
        one("b", Do(act=TAKE, facing="f045"), Do(act=Act.MEET, to="a"), arrives_s=(3.0, 4.0)),
    )
    together = [
        t
        for (t, a), (_, b) in zip(played.places["a/0"], played.places["b/0"], strict=False)
        if np.hypot(*(a - played.place_at("b/0", t))) < 0.95 and b is not None
    ]
    took = {a.visit: a.at_ns / NS for a in played.actions}
    assert took["b"] < max(together) < took["a"]
    assert not played.actor("a/0").given_up
    assert not played.actor("b/0").given_up


def test_two_who_swap_are_where_the_other_one_was_and_pass_closely() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f006", mark="now"), Do(act=Act.SWAP, to="b")),
        one("b", Do(act=TAKE, facing="f010", mark="now"), Do(act=Act.SWAP, to="a")),
    )
    at_s = max(a.at_ns for a in played.actions) / NS
    was = {n: played.place_at(n, at_s) for n in ("a/0", "b/0")}
    later = [t for t, _ in played.places["a/0"] if at_s < t < at_s + 12]
    swapped = [
        t
        for t in later
        if np.hypot(*(played.place_at("a/0", t) - was["b/0"])) < 0.6
        and np.hypot(*(played.place_at("b/0", t) - was["a/0"])) < 0.6
    ]
    gaps = [np.hypot(*(played.place_at("a/0", t) - played.place_at("b/0", t))) for t in later]
    assert swapped
    assert min(gaps) < 0.75
    assert not played.actor("a/0").given_up


def test_acts_with_one_mark_begin_in_the_same_tick() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003", mark="now")),
        one("b", Do(act=TAKE, facing="f003", mark="now"), arrives_s=(9.0, 10.0)),
        one("c", Do(act=TAKE, facing="f004", mark="now"), arrives_s=(3.0, 4.0)),
    )
    taken_s = [a.at_ns / NS for a in played.actions]
    assert len(taken_s) == 3
    assert max(taken_s) - min(taken_s) < 1.6  # reaches differ, beginnings do not


def test_who_waits_at_a_mark_for_somebody_who_went_home_goes_on() -> None:
    played = play(
        one("a", Do(act=TAKE, facing="f003", mark="now")),
        one("b", Do(act=Act.LEAVE), Do(act=TAKE, facing="f004", mark="now")),
    )
    assert [a.visit for a in played.actions] == ["a"]


def test_what_follows_leave_is_not_done() -> None:
    played = play(one("a", Do(act=Act.LEAVE), Do(act=TAKE, facing="f003")))
    assert played.actions == []
    assert played.world.truth.visits["a"].exited_at_ns is not None


def test_waiting_and_pauses_take_their_time() -> None:
    quick = play(one("a", Do(act=Act.GO, facing="f003")))
    slow = play(
        one(
            "a",
            Do(act=Act.GO, facing="f003"),
            Do(act=Act.WAIT, lasts_s=(8.0, 8.0), after_s=(5.0, 5.0)),
        )
    )
    stay = [p.passages[-1].at_ns - p.passages[0].at_ns for p in (quick, slow)]
    assert (stay[1] - stay[0]) / NS == pytest.approx(13.3, abs=1.5)


def test_child_on_the_arm_is_no_body_of_its_own_until_it_is_put_down() -> None:
    do = (
        Do(act=Act.LIFT_CHILD, to="a/1"),
        Do(act=TAKE, facing="f003"),
        Do(act=Act.PUT_DOWN_CHILD, to="a/1"),
        Do(act=TAKE, facing="f030"),
    )
    played = play(PartyScript(name="a", members=(Member(do=do), Member(child=True))))
    first, second = (a.at_ns / NS for a in played.actions)
    seen = np.array([t for t, _ in played.places["a/1"]])
    assert not ((seen > first - 1) & (seen < first + 1)).any()
    assert ((seen > second - 1) & (seen < second + 1)).any()
    assert len([p for p in played.passages if not p.inward]) == 2
    assert 0.9 <= played.actor("a/1").person.height_m <= 1.25


def test_child_carried_out_leaves_with_one_passage_and_the_visit_ends() -> None:
    do = (Do(act=Act.LIFT_CHILD, to="a/1"), Do(act=TAKE, facing="f003"))
    played = play(PartyScript(name="a", members=(Member(do=do), Member(child=True))))
    assert [p.inward for p in played.passages] == [True, True, False]
    assert played.world.truth.visits["a"].exited_at_ns == played.passages[-1].at_ns


def test_staff_restock_and_clear_change_shelves_and_nobodys_cart() -> None:
    played = play(
        one(
            "clerk",
            Do(act=Act.CLEAR, facing="f030"),
            Do(act=Act.RESTOCK, facing="f030", quantity=9),
            Do(act=Act.RESTOCK, facing="f030", quantity=2, sku=SKU["f003"]),
            staff=True,
        )
    )
    stock = played.world.stock
    there = [stock.units[u].sku for u in stock.on[29]]
    assert there == [SKU["f030"]] * 9 + [SKU["f003"]] * 2
    assert played.actions == []
    assert played.scans[0].kind == "staff"
    (row,) = played.world.truth.document()["visits"]  # type: ignore[misc]
    assert (row["kind"], row["lines"]) == ("staff", [])
    assert _level_matches_stock(played)


def test_wrong_planogram_puts_other_goods_on_the_plates_than_the_books_say() -> None:
    wrong = WrongFacing(facing="f003", holds=SKU["f030"])
    played = play(one("a", Do(act=TAKE, facing="f003")), planogram=(wrong,))
    assert _rows(played) == [("take", "a", "f003", SKU["f030"], 1)]
    assert played.world.mass_out_g() == pytest.approx(_mass_g(SKU["f030"]), rel=0.2)


def test_every_act_has_a_row_in_the_table() -> None:
    assert set(ACTS) == set(Act)
