"""A hand that goes down to the floor makes doubtful what its owner holds."""

from types import SimpleNamespace

import numpy as np

from edge.carts.handing import left_behind
from edge.carts.stoops import stooped
from messages.cart import Cart, fold
from messages.events import Evidence, ItemTaken
from messages.ids import LineId, Sku, VisitId

A = VisitId("a")
SHELF_M = np.array([[0.0, 0.0]])


def person(x_m: float, height_m: float, low_samples: int, low_m: float = 0.2, sd_m: float = 0.05):
    """Three seconds of one person whose right wrist is low at the end."""
    k = 30
    wrists = np.full((k, 1, 2, 3), np.nan)
    wrists[:, 0, 0] = (x_m, 0.2, height_m)
    wrists[:, 0, 1] = (x_m, -0.2, height_m)
    if low_samples:
        wrists[-low_samples:, 0, 1, 2] = low_m
    return SimpleNamespace(
        at_ns=np.arange(k) * 100_000_000,
        position_store_m=np.broadcast_to(np.array([x_m, 0.0]), (k, 1, 2)).copy(),
        position_sd_m=np.full((k, 1), sd_m),
        wrists_store_m=wrists,
        wrists_along=np.zeros_like(wrists),
    )


def test_a_hand_on_the_floor_for_a_while_is_a_stoop():
    assert stooped(person(3.0, 1.0, 8), SHELF_M).tolist() == [0]
    assert stooped(person(3.0, 1.0, 3), SHELF_M).tolist() == []
    assert stooped(person(3.0, 1.0, 0), SHELF_M).tolist() == []


def test_a_low_shelf_is_not_the_floor():
    assert stooped(person(0.1, 1.0, 8), SHELF_M).tolist() == []


def test_a_childs_hands_are_always_low():
    assert stooped(person(3.0, 0.5, 8), SHELF_M).tolist() == []


def test_a_hidden_body_has_no_hands():
    assert stooped(person(3.0, 1.0, 8, sd_m=1.0), SHELF_M).tolist() == []


def test_nobody_stoops_in_an_empty_store():
    empty = person(3.0, 1.0, 0)
    empty.wrists_store_m = np.zeros((0, 0, 2, 3))
    assert stooped(empty, SHELF_M).tolist() == []


def test_only_sure_goods_that_were_held_then_are_asked_about():
    def take(line: str, at_ns: int) -> ItemTaken:
        return ItemTaken(
            visit=A,
            sku=Sku(line),
            quantity=1,
            probability=0.999,
            line=LineId(line),
            evidence=Evidence(started_at_ns=at_ns),
        )

    cart = fold(A, [take("l1", 5), take("l2", 15)])
    (line,) = left_behind(A, cart, 10, 0.99)
    assert line.sku == "l1"
    assert line.doubt().visits == (A,)
    assert left_behind(A, Cart(visit=A), 10, 0.99) == []
