"""What hands do to plates: loads over time of takes, put-backs, touches and bumps.

A load is a shape in time (grams at knots, linear between) on some plates with fixed parts. The
last value of a shape stays: -mass for a take, +mass for a put-back, 0 for a hand. Magnitudes
follow what a real store shows: a hand rests on the shelf before, during and after most
picks, some lifts are slow, some items are held half lifted for seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats, Ints, read_only
from sim.stock import Shelves, shares

NS = 1_000_000_000
HAND_WIDTH_M = 0.09


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Grams over time on plates. ``plates``, ``parts``: (k,); ``at_ns``, ``grams``: (m,)."""

    plates: Ints
    parts: Floats
    at_ns: Ints
    grams: Floats

    def __post_init__(self) -> None:
        read_only(self.plates, self.parts, self.at_ns, self.grams)

    @property
    def ended_at_ns(self) -> int:
        return int(self.at_ns[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How shoppers handle goods. Probabilities per gesture; times in seconds."""

    hand_probability: float = 0.6  # the hand presses on a plate before the lift
    hand_median_g: float = 50.0
    hand_spread: float = 0.8  # sigma of ln(press)
    brush_probability: float = 0.25  # a short touch after the item is gone
    slow_probability: float = 0.10
    long_hold_probability: float = 0.04
    long_hold_s: tuple[float, float] = (2.0, 6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What is particular about one gesture; 0 and False leave it to ``Handling`` and chance."""

    hold_s: float = 0.0  # held half lifted before it leaves
    slow: bool = False
    press_g: float = 0.0  # the hand, arm or bag on the shelf
    bag: bool = False  # the wearer's bag lies on the shelf too


PLAIN = Manner()
BAG_PRESS = 3.0  # times the hand alone: a basket's edge or a bag rests on the shelf
LEAN_MEDIAN_G = 350.0  # a forearm laid down


@dataclass(frozen=True, slots=True, eq=False)
class Gesture:
    """One reach into a shelf. The hand is at ``target`` from touched to left."""

    started_at_ns: int
    touched_at_ns: int
    moved_at_ns: int  # middle of the lift or of the placing
    left_at_ns: int
    ended_at_ns: int
    target_store_m: Floats
    loads: list[Load] = field(default_factory=list)

    def reach(self, at_ns: int) -> float:
        """How far the hand is out: 0 at the body, 1 at the shelf."""
        times = (self.started_at_ns, self.touched_at_ns, self.left_at_ns, self.ended_at_ns)
        return float(np.interp(at_ns, times, (0.0, 1.0, 1.0, 0.0)))


def seconds(start_ns: int, at_s: list[float]) -> Ints:
    """Knots in nanoseconds after a start, strictly later than the one before."""
    at_ns = start_ns + (np.array(at_s) * NS).astype(np.int64)
    return np.maximum.accumulate(at_ns + np.arange(len(at_ns)))


def take(
    rng: np.random.Generator,
    habits: Handling,
    start_ns: int,
    items: list[tuple[Ints, Floats, float]],
    hand: tuple[Ints, Floats],
    target_store_m: Floats,
    manner: Manner = PLAIN,
) -> Gesture:
    """Reach for items (plates, parts, mass each) and lift them together."""
    touch_s = float(rng.uniform(0.45, 0.9))
    lift_s = touch_s + float(rng.uniform(0.15, 0.6))
    held_s = manner.hold_s or _long_hold(rng, habits)
    gone_s = lift_s + held_s + _lift_duration(rng, habits, manner.slow)
    loads = [_lifted(rng, start_ns, item, touch_s, lift_s, held_s, gone_s) for item in items]
    loads += _hand(rng, habits, start_ns, hand, (touch_s, gone_s), manner)
    left_s = gone_s + float(rng.uniform(0.05, 0.3))
    return _gesture(
        rng, start_ns, touch_s, (lift_s + held_s + gone_s) / 2, left_s, target_store_m, loads
    )


def put_back(
    rng: np.random.Generator,
    habits: Handling,
    start_ns: int,
    items: list[tuple[Ints, Floats, float]],
    hand: tuple[Ints, Floats],
    target_store_m: Floats,
    manner: Manner = PLAIN,
) -> Gesture:
    """Reach in and set items down: a small thud, sometimes a nudge, then the hand leaves."""
    touch_s = float(rng.uniform(0.5, 1.0))
    down_s = touch_s + float(rng.uniform(0.1, 0.35))
    thud = float(rng.uniform(1.0, 1.25))
    left_s = down_s + float(rng.uniform(0.15, 0.6))
    at_ns = seconds(start_ns, [touch_s, down_s, down_s + 0.08])
    loads = [Load(p, w, at_ns, np.array([0.0, thud * mass, mass])) for p, w, mass in items]
    loads += _hand(rng, habits, start_ns, hand, (touch_s, left_s), manner)
    return _gesture(rng, start_ns, touch_s, (touch_s + down_s) / 2, left_s, target_store_m, loads)


def touch(
    rng: np.random.Generator,
    start_ns: int,
    hand: tuple[Ints, Floats],
    target_store_m: Floats,
    manner: Manner = PLAIN,
) -> Gesture:
    """A rummage: a hand on the shelf for a while, and nothing leaves it."""
    touch_s = float(rng.uniform(0.5, 0.9))
    left_s = touch_s + (manner.hold_s or float(rng.uniform(0.4, 3.0)))
    knots = np.linspace(touch_s, left_s, max(4, int((left_s - touch_s) * 4)))
    press_g = manner.press_g or rng.lognormal(np.log(80.0), 0.7) * _bag(manner)
    press = press_g * rng.uniform(0.5, 1.2, len(knots))
    press[[0, -1]] = 0.0
    load = Load(hand[0], hand[1], seconds(start_ns, knots.tolist()), press)
    return _gesture(rng, start_ns, touch_s, left_s, left_s, target_store_m, [load])


def lean(
    rng: np.random.Generator,
    start_ns: int,
    lasts_s: float,
    arm: tuple[Ints, Floats],
    target_store_m: Floats,
    manner: Manner = PLAIN,
) -> Gesture:
    """An arm or a bag laid on the shelf: a nearly steady load, put down and lifted softly."""
    down_s = float(rng.uniform(0.5, 0.9))
    left_s = down_s + 0.3 + lasts_s
    press_g = manner.press_g or float(rng.lognormal(np.log(LEAN_MEDIAN_G), 0.5)) * _bag(manner)
    knots = np.linspace(down_s + 0.3, left_s, max(3, int(lasts_s * 3)))
    press = press_g * np.clip(rng.normal(1.0, 0.06, len(knots)), 0.7, 1.3)
    at_s = [down_s, *knots.tolist(), left_s + 0.25]
    load = Load(*arm, seconds(start_ns, at_s), np.array([0.0, *press, 0.0]))
    return _gesture(rng, start_ns, down_s, left_s, left_s + 0.25, target_store_m, [load])


def in_the_air(
    rng: np.random.Generator, start_ns: int, lasts_s: float, target_store_m: Floats
) -> Gesture:
    """A reach that touches no plate: to another person's hand, or down to the floor."""
    touch_s = float(rng.uniform(0.4, 0.7))
    left_s = touch_s + lasts_s
    return _gesture(rng, start_ns, touch_s, touch_s + lasts_s / 2, left_s, target_store_m, [])


def bump(
    rng: np.random.Generator, shelves: Shelves, on_shelves: list[int], start_ns: int
) -> list[Load]:
    """Somebody knocks a gondola: all its shelves ring for a second; each keeps a net change.

    The net change of a shelf is normal with 2 g, cut to -5 ... +4 g (real shelves).
    """
    at_s = np.arange(0.0, 1.6, 0.012)
    swing = np.exp(-at_s / rng.uniform(0.2, 0.45)) * np.sin(2 * np.pi * rng.uniform(5, 11) * at_s)
    peak_g = float(rng.lognormal(np.log(35.0), 0.5))
    loads = []
    for shelf in on_shelves:
        plates = shelves.plates[shelf]
        parts = rng.dirichlet(np.full(len(plates), 3.0))
        net_g = float(np.clip(rng.normal(0.0, 2.0), -5.0, 4.0))
        shape = peak_g * len(plates) * rng.uniform(0.4, 1.0) * swing + net_g * (at_s > 0.1)
        shape[-1] = net_g
        loads.append(Load(plates, parts, seconds(start_ns, at_s.tolist()), shape))
    return loads


def hand_at(
    rng: np.random.Generator,
    shelves: Shelves,
    shelf: int,
    place_m: float,
    width_m: float = HAND_WIDTH_M,
) -> tuple[Ints, Floats]:
    """Where a hand presses: near the item, not exactly on its plates."""
    return shares(shelves, shelf, place_m + float(rng.normal(0.0, 0.04)), width_m)


def _long_hold(rng: np.random.Generator, habits: Handling) -> float:
    length_s = float(rng.uniform(*habits.long_hold_s))
    return length_s if rng.random() < habits.long_hold_probability else 0.0


def _lift_duration(rng: np.random.Generator, habits: Handling, must_be_slow: bool) -> float:
    quick, slow = float(rng.uniform(0.08, 0.35)), float(rng.uniform(0.8, 2.0))
    return slow if rng.random() < habits.slow_probability or must_be_slow else quick


def _bag(manner: Manner) -> float:
    return BAG_PRESS if manner.bag else 1.0


def _lifted(
    rng: np.random.Generator,
    start_ns: int,
    item: tuple[Ints, Floats, float],
    touch_s: float,
    lift_s: float,
    held_s: float,
    gone_s: float,
) -> Load:
    """The item's part of a take: gripped, held for a while when it is a long hold, then gone."""
    plates, parts, mass_g = item
    grip_g = mass_g * float(rng.uniform(-0.10, 0.12))
    at_s, grams = [touch_s, lift_s], [0.0, grip_g]
    if held_s > 0:
        knots = np.linspace(lift_s + 0.2, lift_s + held_s, max(3, int(held_s * 3)))
        at_s += knots.tolist()
        level = -mass_g * float(rng.uniform(0.1, 0.8))
        grams += (level + 0.1 * mass_g * rng.standard_normal(len(knots))).tolist()
    middle = lift_s + held_s + float(rng.uniform(0.3, 0.7)) * (gone_s - lift_s - held_s)
    at_s += [middle, gone_s]
    grams += [-mass_g * float(rng.uniform(0.3, 0.7)), -mass_g]
    return Load(plates, parts, seconds(start_ns, at_s), np.array(grams))


def _hand(
    rng: np.random.Generator,
    habits: Handling,
    start_ns: int,
    hand: tuple[Ints, Floats],
    between_s: tuple[float, float],
    manner: Manner,
) -> list[Load]:
    """The hand's own weight during a gesture, and a brush after it; either may be absent."""
    touch_s, gone_s = between_s
    drawn_g = float(min(400.0, rng.lognormal(np.log(habits.hand_median_g), habits.hand_spread)))
    press_g = manner.press_g or drawn_g * _bag(manner)
    certain = manner.press_g > 0 or manner.bag
    early, late = float(rng.uniform(0.0, 0.15)), float(rng.uniform(0.02, 0.4))
    loads = []
    if rng.random() < habits.hand_probability or certain:
        at_s = [touch_s - early, touch_s + 0.08, gone_s - 0.02, gone_s + late]
        shape = press_g * np.array([0.0, 1.0, float(rng.uniform(0.3, 1.0)), 0.0])
        loads.append(Load(*hand, seconds(start_ns, at_s), shape))
    brush_s, brush_g = gone_s + float(rng.uniform(0.1, 0.5)), float(rng.uniform(8.0, 50.0))
    if rng.random() < habits.brush_probability:
        at_s = [brush_s, brush_s + 0.08, brush_s + 0.25, brush_s + 0.35]
        loads.append(Load(*hand, seconds(start_ns, at_s), brush_g * np.array([0, 1.0, 0.7, 0])))
    return loads


def _gesture(
    rng: np.random.Generator,
    start_ns: int,
    touch_s: float,
    moved_s: float,
    left_s: float,
    target_store_m: Floats,
    loads: list[Load],
) -> Gesture:
    ended_s = left_s + float(rng.uniform(0.35, 0.7))
    at_ns = [start_ns + int(s * NS) for s in (touch_s, moved_s, left_s, ended_s)]
    return Gesture(start_ns, at_ns[0], at_ns[1], at_ns[2], at_ns[3], target_store_m, loads)
