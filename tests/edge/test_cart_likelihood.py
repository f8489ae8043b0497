"""Mass, place and reach: the pure pieces."""

from __future__ import annotations

import numpy as np
import pytest

from edge.carts.likelihood import (
    centre_log_likelihood,
    hand_ratio,
    log_sum,
    mass_log_likelihood,
    pair_log_likelihood,
    reach,
    spill_table,
    walk_ratio,
)
from edge.carts.who import actors_at
from edge.vision.track_history import TrackWindow
from messages.arrays import Floats
from messages.ids import VisitId

QUIET = np.full(12, 1.0)


def shelf(**grams: float) -> Floats:
    plates = np.zeros(12)
    for name, g in grams.items():
        plates[int(name[1:])] = g
    return plates


def test_every_row_of_the_spill_table_adds_up_to_the_whole_item() -> None:
    for plates in (1, 2, 3, 12):
        share, tolerance, log_w = spill_table(plates)
        assert share.sum(axis=-1) == pytest.approx(1.0)
        assert (tolerance > 0).all()
        assert np.exp(log_w).sum() == pytest.approx(1.0)


def test_the_place_is_where_most_of_the_mass_changed() -> None:
    clean = centre_log_likelihood(shelf(p4=-500.0), QUIET)
    assert clean.argmax() == 4
    assert clean[4] - np.delete(clean, 4).max() > 5.0


def test_a_bag_over_three_plates_belongs_to_the_first_or_the_middle_one() -> None:
    """57 g, 25 g and 18 g on three plates: measured in a real store."""
    middle = centre_log_likelihood(shelf(p4=-25.0, p5=-57.0, p6=-18.0), QUIET)
    assert middle.argmax() == 5
    edge = centre_log_likelihood(shelf(p4=-57.0, p5=-25.0, p6=-18.0), QUIET)
    assert abs(edge[4] - edge[5]) < 5.0  # honest doubt between these two
    assert np.sort(edge)[-3] < min(edge[4], edge[5]) - 8.0  # and no other


def test_half_on_either_side_of_an_edge_is_doubtful() -> None:
    place = centre_log_likelihood(shelf(p4=-250.0, p5=-250.0), QUIET)
    assert place[4] == pytest.approx(place[5], abs=0.1)


def test_mass_prefers_the_right_quantity() -> None:
    q = np.arange(1.0, 7.0)
    for true in range(1, 7):
        ll = mass_log_likelihood(true * 500.0, 3.0, np.full(6, 500.0), np.full(6, 10.0), q)
        assert ll.argmax() + 1 == true


def test_a_gain_error_of_nine_percent_is_still_one_bottle() -> None:
    q = np.arange(1.0, 3.0)
    ll = mass_log_likelihood(538.0 * 1.09, 5.0, np.full(2, 538.0), np.full(2, 8.0), q)
    assert ll[0] - ll[1] > 5.0


def test_two_far_plates_are_two_things_rather_than_one() -> None:
    grams = shelf(p2=-300.0, p9=-700.0)
    stands = np.eye(12)
    pair = pair_log_likelihood(grams, QUIET, stands[[2]], stands[[9]], np.array([0.3]))
    assert pair[0] > centre_log_likelihood(grams, QUIET).max() + 20.0


def test_reach_falls_with_distance_and_gives_out_past_an_arm() -> None:
    away = np.array([0.4, 0.7, 0.9, 1.1, 1.5, 3.0])
    r = reach(np.zeros(6), away, np.full(6, 0.1))
    assert (np.diff(r) < 0).all()
    assert r[0] > 0.7
    assert r[-2] < 0.005
    assert r[-1] < 1e-6


def test_somebody_hidden_within_metres_is_a_weak_explanation() -> None:
    at = np.array([0.0])
    assert reach(at, at + 0.5, np.array([3.0])) < 0.05 * reach(at, at + 0.5, np.array([0.1]))


def test_an_absent_track_reaches_nothing() -> None:
    nan = np.array([np.nan])
    assert reach(nan, nan, np.array([0.1]))[0] == 0.0


def hands(at: int, near: int, elsewhere: float, samples: int = 10) -> float:
    one = np.array([[at]]), np.array([[near]]), np.array([[elsewhere]]), np.array([samples])
    return float(hand_ratio(*one)[0, 0])


def test_hands_at_the_goods_speak_for_their_owner() -> None:
    assert hands(5, 6, 0.0) > 10 * hands(0, 0, 0.0)
    assert hands(1, 1, 0.0) < 2 * hands(0, 0, 0.0)  # one sighting may be a bad key point


def test_hands_that_were_elsewhere_all_the_time_speak_against_it() -> None:
    assert hands(0, 0, 1.0) < 0.01 * hands(0, 0, 0.0)
    assert hands(0, 0, 0.2) > 0.5 * hands(0, 0, 0.0)


def test_hands_that_no_camera_saw_say_less_than_hands_seen_elsewhere() -> None:
    assert hands(0, 0, 1.0) < hands(0, 0, 0.0, samples=0) < hands(0, 0, 0.0)


def test_a_walker_is_less_likely_than_one_who_stands() -> None:
    ratio = walk_ratio(np.array([0.05, 0.3, 1.0, np.nan]))
    assert ratio[0] > 0.9
    assert 0.1 < ratio[1] < 0.7
    assert ratio[2] < 0.05
    assert ratio[3] == 1.0


def test_log_sum_of_the_impossible_is_impossible() -> None:
    assert log_sum(np.full((2, 3), -np.inf), axis=1).tolist() == [-np.inf, -np.inf]
    assert log_sum(np.zeros((1, 0)), axis=1).tolist() == [-np.inf]


class NoWindow:
    """No camera saw anything."""

    at_ns = np.zeros(1, np.int64)
    track_id = np.zeros(0, np.int64)
    position_store_m = np.zeros((0, 0, 2))
    position_sd_m = np.zeros((0, 0))
    wrists_store_m = np.zeros((0, 0, 2, 3))
    wrists_along = np.zeros((0, 0, 2, 3))
    visits: tuple[VisitId, ...] = ()
    identity = np.zeros((0, 0, 1))


def test_without_cameras_everybody_inside_is_equally_possible_and_nobody_sure() -> None:
    inside = [VisitId("a"), VisitId("b")]
    along = np.array([1.0, 0.0])
    actors = actors_at(NoWindow(), inside, np.zeros((2, 3)), along, strangers=0, after_gap=False)
    assert actors.probability.sum(axis=0) == pytest.approx(1.0)
    assert actors.probability[0] == pytest.approx(actors.probability[1])
    assert actors.probability.max() < 0.5
    assert not actors.seen


def test_an_empty_store_leaves_it_to_nobody() -> None:
    along = np.array([1.0, 0.0])
    actors = actors_at(NoWindow(), [], np.zeros((1, 3)), along, strangers=0, after_gap=False)
    assert actors.probability.tolist() == [[1.0]]


def two_at_the_shelf(**changes: Floats) -> TrackWindow:
    """a stands in front of the plate at the origin, b reaches sideways to it; ten samples."""
    position = np.tile([[0.0, 0.6], [0.9, 0.4]], (10, 1, 1))
    wrists = np.full((10, 2, 2, 3), np.nan)
    known = {"position": position, "wrists": wrists, **changes}
    return TrackWindow(
        at_ns=np.arange(10) * 100_000_000,
        track_id=np.array([1, 2]),
        position_store_m=known["position"],
        position_sd_m=np.full((10, 2), 0.08),
        wrists_store_m=known["wrists"],
        wrists_along=known.get("along", np.zeros((10, 2, 2, 3))),
        visits=(VisitId("a"), VisitId("b")),
        identity=np.tile([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], (10, 1, 1)),
    )


def who(window: TrackWindow) -> Floats:
    inside = [VisitId("a"), VisitId("b")]
    place, along = np.array([[0.0, 0.0, 1.0]]), np.array([1.0, 0.0])
    return actors_at(window, inside, place, along, strangers=0, after_gap=False).probability[:, 0]


def test_without_wrists_the_nearer_one_is_likelier_but_not_sure() -> None:
    p = who(two_at_the_shelf())
    assert 0.9 < p[0] < 0.99


def test_a_long_arm_past_another_shopper_charges_neither_unasked() -> None:
    """The one in front keeps the hands to herself, the other's wrist is at the plate."""
    wrists = np.full((10, 2, 2, 3), np.nan)
    wrists[:, 0] = [[-0.2, 0.6, 0.9], [0.2, 0.6, 0.9]]
    wrists[3:7, 1, 1] = [0.1, 0.1, 1.0]
    p = who(two_at_the_shelf(wrists=wrists))
    assert p[1] > 0.25
    assert p[0] < 0.75


def test_one_bad_key_point_at_the_plate_is_no_hand() -> None:
    wrists = np.full((10, 2, 2, 3), np.nan)
    wrists[:, 1] = [1.1, 0.4, 0.9]
    often = who(two_at_the_shelf(wrists=wrists.copy()))
    wrists[5, 1, 1] = [0.0, 0.1, 1.0]
    assert who(two_at_the_shelf(wrists=wrists)) == pytest.approx(often, abs=0.01)


def test_somebody_who_walks_past_does_not_make_the_one_who_stands_doubtful() -> None:
    position = np.tile([[0.0, 0.6], [0.0, 0.9]], (10, 1, 1))
    position[:, 1, 0] = np.linspace(-0.5, 0.5, 10)
    p = who(two_at_the_shelf(position=position))
    assert p[0] > 0.95
    assert p[1] < 0.05
