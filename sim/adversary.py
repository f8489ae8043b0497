"""Shoppers who want to confuse: a share of the background's actions is chosen from ``TRICKS``.

An ordinary stop of a shopping list becomes the acts of a script, or is replaced by a trick. The
chance of a trick is set so that in the long run the wished share of all acts belongs to tricks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.actors import ANYBODY, Actor, Scene
from sim.script import Act, Do
from sim.scripted import with_mind
from sim.shoppers import Habits, Party, Stop, Task, Wish
from sim.stock import Stock

ACT_OF = {Wish.TAKE: Act.TAKE, Wish.RETURN: Act.RETURN, Wish.TOUCH: Act.TOUCH}
LONG_HOLD_S = (2.0, 6.0)
LEAN_S = (2.0, 5.0)
SAME_MASS_G = 5.0  # goods nearer than this are told apart by place only


@dataclass(frozen=True, slots=True, eq=False)
class Trick:
    """What a trick needs to know: the stock, a facing to begin at, and chance."""

    stock: Stock
    facing: int
    rng: np.random.Generator

    def id(self, facing: int) -> str:
        return str(self.stock.config.facings[facing].id)

    @property
    def take(self) -> Do:
        return Do(act=Act.TAKE, facing=self.id(self.facing))

    @property
    def sku(self) -> str:
        return self.stock.home[self.facing]


def confuse(party: Party, scene: Scene, habits: Habits, share: float) -> None:
    """Give everybody of a background party a mind; turn some of what it does into tricks."""
    del habits
    stock = scene.crowd.stock
    for person in party.people:
        todo = tricked(person.stops, stock, share, party.rng)
        person.stops = []
        with_mind(Actor(scene, party, person, todo))


def tricked(
    stops: Sequence[Stop], stock: Stock, share: float, rng: np.random.Generator
) -> list[Do]:
    """The acts of a shopping list, some stops replaced by tricks."""
    todo: list[Do] = []
    for stop in stops:
        plain = [_do(task, stock) for task in stop.tasks]
        if plain and rng.random() < trick_probability(share, len(plain)):
            trick = Trick(stock, stop.facing, rng)
            todo += TRICKS[int(rng.integers(len(TRICKS)))](trick)
        else:
            todo += plain or [Do(act=Act.READ, facing=str(stock.config.facings[stop.facing].id))]
    return todo


def trick_probability(share: float, plain_acts: int) -> float:
    """Of a stop with so many ordinary acts, so that ``share`` of all acts are tricks'.

    p * t / (p * t + (1 - p) * n) = share, with t the acts of a trick on average.
    """
    return share * plain_acts / (TRICK_ACTS_MEAN * (1 - share) + share * plain_acts)


# --- tricks ---------------------------------------------------------------------------------------


def same_mass_elsewhere(t: Trick) -> list[Do]:
    """Put back where goods of the same mass live."""
    masses = {str(p.id): p.mass_g for p in t.stock.config.products}
    others = [f for f in range(len(t.stock.home)) if t.stock.home[f] != t.sku]
    others.sort(key=lambda f: (abs(masses[t.stock.home[f]] - masses[t.sku]), f))
    near = [f for f in others if abs(masses[t.stock.home[f]] - masses[t.sku]) <= SAME_MASS_G]
    near = near or others[:1]
    if not near:
        return take_two_return_one(t)
    there = near[int(t.rng.integers(len(near)))]
    return [t.take, Do(act=Act.RETURN, facing=t.id(there), sku=t.sku)]


def wrong_place(t: Trick) -> list[Do]:
    """Put back before a neighbour on the shelf."""
    return [t.take, Do(act=Act.RETURN, facing=t.id(_neighbours(t, 2)[-1]), sku=t.sku)]


def take_two_return_one(t: Trick) -> list[Do]:
    two = replace(t.take, quantity=2, together=bool(t.rng.random() < 0.5))
    return [two, Do(act=Act.RETURN, facing=two.facing, sku=t.sku)]


def long_hold(t: Trick) -> list[Do]:
    return [replace(t.take, hold_s=LONG_HOLD_S, slow=True)]


def pass_it_on(t: Trick) -> list[Do]:
    """Hand it to whoever is near; who finds nobody keeps it."""
    return [t.take, Do(act=Act.HAND_OVER, to=ANYBODY, sku=t.sku)]


def beside_somebody(t: Trick) -> list[Do]:
    """From the same facing at the same moment as somebody else, past that one's arm."""
    return [Do(act=Act.TAKE, facing=ANYBODY, crossed=bool(t.rng.random() < 0.5))]


def lean_and_take(t: Trick) -> list[Do]:
    return [Do(act=Act.LEAN, facing=t.take.facing, lasts_s=LEAN_S), t.take]


def leave_on_floor(t: Trick) -> list[Do]:
    return [t.take, Do(act=Act.DROP, sku=t.sku)]


def many_quick_picks(t: Trick) -> list[Do]:
    """Neighbours one after another, then one of them back."""
    row = _neighbours(t, 3)
    picks = [Do(act=Act.TAKE, facing=t.id(f)) for f in row]
    back = row[int(t.rng.integers(len(row)))]
    return [*picks, Do(act=Act.RETURN, facing=t.id(back), sku=t.stock.home[back])]


TRICKS: tuple[Callable[[Trick], list[Do]], ...] = (
    same_mass_elsewhere,
    wrong_place,
    take_two_return_one,
    long_hold,
    pass_it_on,
    beside_somebody,
    lean_and_take,
    leave_on_floor,
    many_quick_picks,
)
TRICK_ACTS_MEAN = (2 + 2 + 2 + 1 + 2 + 1 + 2 + 2 + 4) / len(TRICKS)


def _neighbours(t: Trick, count: int) -> list[int]:
    """A facing and the next ones of its shelf."""
    shelf = t.stock.shelves.facing_shelf
    row = [f for f in range(len(shelf)) if shelf[f] == shelf[t.facing]]
    row.sort(key=lambda f: (abs(f - t.facing), f))
    return row[:count]


def _do(task: Task, stock: Stock) -> Do:
    facing = str(stock.config.facings[task.facing].id)
    if task.wish is Wish.TOUCH:
        return Do(act=Act.TOUCH, facing=facing)
    return Do(act=ACT_OF[task.wish], facing=facing, sku=task.sku, quantity=task.quantity)
