"""Looks into hands as evidence of what was taken: bounded, discounted, and never for an old one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.carts.outcomes import Kind, Rows
from edge.carts.sightings import (
    KEPT_MAX,
    KEPT_NS,
    OF_ALL,
    OF_CAMERA,
    kept,
    sighting_log_ratio,
    with_looks,
)
from messages.codec import decode, decode_state, encode, encode_state
from messages.ids import CameraId, Sku
from messages.observations import ItemSightings

RICE, FLOUR, OIL = Sku("rice"), Sku("flour"), Sku("oil")
PRODUCTS = {RICE: 0, FLOUR: 1, OIL: 2}
PLACE = np.array([2.0, 3.0, 1.0])
START_NS, END_NS = 10_000_000_000, 10_400_000_000
PRIOR = (0.25, 0.2)  # of rice and flour; a hand is empty as often as not


def look(
    rice: float,
    flour: float,
    at_s: float = 10.6,
    *,
    camera: str = "cam-1",
    hand: tuple[float, float, float] = (2.0, 2.8, 1.1),
    prior: tuple[float, float] | None = PRIOR,
) -> ItemSightings:
    return ItemSightings(
        camera=CameraId(camera),
        received_at_ns=0,
        captured_at_ns=round(at_s * 1e9),
        positions_store_m=np.array([hand]),
        skus=(RICE, FLOUR),
        probability=np.array([[rice, flour]]),
        prior=None if prior is None else np.array([prior]),
    )


def ratio(*sightings: ItemSightings, put: bool = False) -> np.ndarray:
    return sighting_log_ratio(sightings, PRODUCTS, PLACE, START_NS, END_NS, put=put)


def test_what_the_hand_shows_after_the_lift_is_likelier() -> None:
    found = ratio(look(0.9, 0.02))
    assert found[0] > 0.4
    assert found[1] < -0.8
    assert found[2] == 0.0  # not listed: neither likelier nor less likely
    assert (ratio() == 0.0).all()


def test_any_number_of_looks_of_one_camera_is_worth_little_more_than_one() -> None:
    one = ratio(look(0.6, 0.2))
    many = ratio(*(look(0.6, 0.2, 10.5 + 0.1 * i) for i in range(12)))
    assert one[0] < many[0] < 1.7 * one[0]
    sure = [look(1.0, 0.0, 10.5 + 0.1 * i) for i in range(12)]
    assert np.ptp(ratio(*sure)[:2]) <= 2 * OF_CAMERA + 1e-9


def test_two_cameras_that_agree_say_more_and_any_number_no_more_than_the_bound() -> None:
    def seen(*cameras: str) -> np.ndarray:
        return ratio(*(look(1.0, 0.0, at, camera=c) for c in cameras for at in (10.5, 10.7, 10.9)))

    assert seen("a")[0] < seen("a", "b")[0]
    crowd = seen(*"abcdefgh")
    assert crowd[1] == pytest.approx(-OF_ALL)
    assert np.exp(np.ptp(crowd)) <= 200.0 + 1e-6


def test_cameras_that_disagree_leave_a_doubt() -> None:
    found = ratio(look(0.95, 0.02, camera="a"), look(0.02, 0.95, camera="b"))
    assert abs(found[0] - found[1]) < 0.5


def test_an_empty_hand_and_a_hand_far_away_say_nothing() -> None:
    assert (ratio(look(0.02, 0.02)) == 0.0).all()
    assert (ratio(look(0.95, 0.01, hand=(4.0, 3.0, 1.0))) == 0.0).all()
    near, aside = ratio(look(0.95, 0.01)), ratio(look(0.95, 0.01, hand=(2.6, 2.6, 1.1)))
    assert 0.0 < aside[0] < near[0]


def test_what_was_in_the_hand_before_the_lift_is_not_what_was_taken() -> None:
    """Who still holds rice from before, and takes flour, is not charged for rice by looks."""
    held = [look(0.95, 0.01, at) for at in (9.2, 9.5, 9.8)]
    still = [look(0.95, 0.01, at) for at in (10.6, 10.8)]
    assert ratio(*held, *still)[0] <= 0.0
    assert ratio(*still)[0] > 0.5


def test_a_put_is_told_by_what_the_hand_held_before() -> None:
    assert ratio(look(0.9, 0.02, 9.6), put=True)[0] > 0.4
    assert ratio(look(0.9, 0.02, 10.9), put=True)[0] <= 0.0  # it is still in the hand
    assert (ratio(look(0.9, 0.02, 8.0), put=True) == 0.0).all()  # long before


def test_the_planogram_is_not_counted_twice() -> None:
    """A look that says no more than the prior did says nothing."""
    assert ratio(look(*PRIOR)) == pytest.approx(0.0, abs=1e-9)
    unsure = ratio(look(0.4, 0.4, prior=None))  # a sender without a prior
    assert unsure[0] == pytest.approx(unsure[1])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.5), st.floats(0.0, 0.5), st.floats(8.0, 13.0), st.sampled_from("abc")
        ),
        max_size=12,
    ),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_it_is_bounded_and_the_order_means_nothing(rows, put, random) -> None:  # type: ignore[no-untyped-def]
    looks = [look(a, b, at, camera=c) for a, b, at, c in rows]
    found = ratio(*looks, put=put)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= OF_ALL + 1e-12).all()
    random.shuffle(looks)
    assert ratio(*looks, put=put) == pytest.approx(found, abs=1e-9)


def test_rows_of_goods_are_weighed_and_others_stay() -> None:
    none = np.full(3, -1)
    rows = Rows(
        kind=Kind.ITEM,
        log_w=np.zeros(3),
        actor=np.stack([none * 0, none], axis=1),
        product=np.array([[0, -1], [1, -1], [0, 1]]),
        quantity=np.array([[1, 0], [1, 0], [1, 1]]),
        entry=np.stack([none, none], axis=1),
    )
    looks = np.array([1.5, -1.5, 0.0])
    found = with_looks(rows, looks).log_w
    assert found[:2].tolist() == [1.5, -1.5]
    assert -1.5 < found[2] < 1.5
    nothing = replace(rows, kind=Kind.NOTHING)
    assert with_looks(nothing, looks) is nothing
    assert with_looks(rows, None) is rows
    assert with_looks(rows, np.zeros(3)) is rows


def test_what_is_remembered_is_bounded_and_survives_a_restart() -> None:
    held: list[ItemSightings] = []
    for i in range(KEPT_MAX + 40):
        held = kept(held, look(0.5, 0.1, 10.0 + 0.001 * i), 11_500_000_000)
    assert len(held) == KEPT_MAX
    later = held[-1].captured_at_ns + KEPT_NS + 1
    assert len(kept(held, look(0.5, 0.1, later / 1e9), later)) == 1
    nobody = replace(look(0.1, 0.1), positions_store_m=np.zeros((0, 3)))
    assert kept(held, nobody, 0) == held
    back = decode_state(encode_state(held[-2:]), list[ItemSightings])
    assert ratio(*back) == pytest.approx(ratio(*held[-2:]))


def test_sightings_of_an_old_journal_have_no_prior() -> None:
    new = decode(encode(look(0.4, 0.1)))
    assert new.prior.tolist() == [list(PRIOR)]
    old = decode(encode(look(0.4, 0.1, prior=None)))
    assert old.prior is None
