"""Hands on goods: turns a shopper's task into a gesture, its loads, new stock and truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats, Ints
from sim import gestures
from sim.gestures import Gesture, Handling
from sim.shelf_physics import ShelfPhysics
from sim.shoppers import Party, Task, Wish
from sim.stock import Stock, shares, unit_width_m
from sim.truth import TrueAction, Truth


@dataclass(slots=True)
class Landing:
    """A unit on its way back to a shelf: nobody can take it before it stands there."""

    at_ns: int
    unit: int
    facing: int
    place_m: float


@dataclass(slots=True)
class Hands:
    """Owns the stock's changes. ``mass_out_g``: what has left the shelves for good or for now."""

    stock: Stock
    physics: ShelfPhysics
    truth: Truth
    handling: Handling
    landings: list[Landing] = field(default_factory=list)
    mass_out_g: float = 0.0

    def settle(self, now_ns: int) -> None:
        """Units that have been set down become part of the stock."""
        for landing in [x for x in self.landings if x.at_ns <= now_ns]:
            self.stock.put(landing.unit, landing.facing, landing.place_m)
            self.landings.remove(landing)

    def perform(self, party: Party, task: Task, now_ns: int) -> Gesture | None:
        """Start a task; None when it cannot be done (sold out, nothing to put back)."""
        match task.wish:
            case Wish.TAKE:
                gesture = self._take(party, task, now_ns)
            case Wish.RETURN:
                gesture = self._put_back(party, task, now_ns)
            case Wish.TOUCH:
                gesture = self._touch(party, task, now_ns)
        if gesture is not None:
            for load in gesture.loads:
                self.physics.add(load)
        return gesture

    def _take(self, party: Party, task: Task, now_ns: int) -> Gesture | None:
        units = self._choose(party.rng, task)
        if not units:
            return None
        place_m = self.stock.units[units[0]].place_m
        items = [(*self.stock.shares_of(u), self.stock.units[u].mass_g) for u in units]
        gesture = gestures.take(
            party.rng, self.handling, now_ns, items, *self._hand(party.rng, task, place_m)
        )
        for unit in units:
            self.stock.take(unit)
            party.carried.append((unit, task.facing))
            self.mass_out_g += self.stock.units[unit].mass_g
        sku = self.stock.units[units[0]].sku
        self._record(party, "take", task.facing, sku, len(units), gesture.moved_at_ns)
        return gesture

    def _choose(self, rng: np.random.Generator, task: Task) -> list[int]:
        """A unit of the facing, and its nearest neighbours for the others."""
        there = self.stock.available(task.facing)
        if not there:
            return []
        first = int(rng.choice(there))
        place_m = self.stock.units[first].place_m
        there.sort(key=lambda u: (u != first, abs(self.stock.units[u].place_m - place_m), u))
        return there[: task.quantity]

    def _put_back(self, party: Party, task: Task, now_ns: int) -> Gesture | None:
        carried = [c for c in party.carried if self.stock.units[c[0]].sku == task.sku]
        if not carried:
            return None
        party.carried.remove(carried[-1])
        unit = self.stock.units[carried[-1][0]]
        place_m = self.stock.place_for(task.facing, unit.sku, party.rng)
        shelf = self.stock.shelves.facing_shelf[task.facing]
        on = shares(self.stock.shelves, shelf, place_m, unit_width_m(unit.sku))
        gesture = gestures.put_back(
            party.rng,
            self.handling,
            now_ns,
            [(*on, unit.mass_g)],
            *self._hand(party.rng, task, place_m),
        )
        self.landings.append(Landing(gesture.ended_at_ns, carried[-1][0], task.facing, place_m))
        self.mass_out_g -= unit.mass_g
        self._record(party, "return", task.facing, unit.sku, 1, gesture.moved_at_ns)
        return gesture

    def _touch(self, party: Party, task: Task, now_ns: int) -> Gesture:
        place_m = float(party.rng.uniform(*self.stock.shelves.facing_span_m[task.facing]))
        return gestures.touch(party.rng, now_ns, *self._hand(party.rng, task, place_m))

    def _hand(
        self, rng: np.random.Generator, task: Task, place_m: float
    ) -> tuple[tuple[Ints, Floats], Floats]:
        shelf = self.stock.shelves.facing_shelf[task.facing]
        pressed = gestures.hand_at(rng, self.stock.shelves, shelf, place_m)
        return pressed, self.stock.point_store_m(task.facing, place_m)

    def _record(
        self, party: Party, kind: str, facing: int, sku: str, quantity: int, at_ns: int
    ) -> None:
        self.truth.actions.append(
            TrueAction(
                at_ns=at_ns,
                kind=kind,
                visit=party.shopper,
                sku=sku,
                quantity=quantity,
                facing=str(self.stock.config.facings[facing].id),
            )
        )
