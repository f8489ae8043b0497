"""Hands on goods: turns what somebody does into a gesture, its loads, new stock and truth.

Each public function starts one gesture at ``now_ns`` and gives it back, or ``None`` when it cannot
be done (sold out, nothing to put back). Loads act on the plates from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats, Ints
from sim import gestures
from sim.gestures import HAND_WIDTH_M, PLAIN, Gesture, Handling, Manner
from sim.shelf_physics import ShelfPhysics
from sim.shoppers import Party, Person, Task, Wish
from sim.stock import Stock, shares, unit_width_m
from sim.truth import TrueAction, Truth

ARM_WIDTH_M = 0.28  # of shelf under a forearm, a bag or a basket
BASKET_M = 2.0  # members of a party share what lies in their basket within this distance
HAND_OVER_S = (0.7, 1.2)  # that two hands are at the goods
FLOOR_HAND_M = 0.12  # height of the wrist of one who picks up from the floor
GIVING_HAND_M = 1.08
BEND_S = (0.5, 1.0)
NOWHERE = -1  # the facing that goods from the floor came from


@dataclass(slots=True)
class Landing:
    """A unit on its way back to a shelf: nobody can take it before it stands there."""

    at_ns: int
    unit: int
    facing: int
    place_m: float


@dataclass(slots=True)
class Falling:
    """A unit on its way to the floor."""

    at_ns: int
    unit: int
    point: Floats


@dataclass(slots=True)
class Hands:
    """Owns the stock's changes. ``mass_out_g``: what has left the shelves for good or for now."""

    stock: Stock
    physics: ShelfPhysics
    truth: Truth
    handling: Handling
    landings: list[Landing] = field(default_factory=list)
    falling: list[Falling] = field(default_factory=list)
    mass_out_g: float = 0.0

    def settle(self, now_ns: int) -> None:
        """Units that have been set down become part of the stock, or lie on the floor."""
        for landing in [x for x in self.landings if x.at_ns <= now_ns]:
            self.stock.put(landing.unit, landing.facing, landing.place_m)
            self.landings.remove(landing)
        for drop in [x for x in self.falling if x.at_ns <= now_ns]:
            self.stock.floor[drop.unit] = drop.point
            self.falling.remove(drop)

    def perform(self, party: Party, person: Person, task: Task, now_ns: int) -> Gesture | None:
        """Start one task of a shopping list."""
        manner = Manner(bag=True) if person.bag else PLAIN
        match task.wish:
            case Wish.TAKE:
                return self.take(party, person, task.facing, task.quantity, now_ns, manner=manner)
            case Wish.RETURN:
                carried = [u for u, _ in party.carried if self.stock.units[u].sku == task.sku]
                return self.put_back(party, carried[-1:], task.facing, now_ns, manner)
            case Wish.TOUCH:
                return self.touch(party, task.facing, now_ns, manner)

    def take(
        self,
        party: Party,
        person: Person,
        facing: int,
        quantity: int,
        now_ns: int,
        *,
        sku: str = "",
        manner: Manner = PLAIN,
    ) -> Gesture | None:
        """Lift up to ``quantity`` units of a SKU (the facing's own without one) in one go."""
        units = self._choose(party.rng, facing, sku, quantity)
        if not units:
            return None
        place_m = self.stock.units[units[0]].place_m
        items = [(*self.stock.shares_of(u), self.stock.units[u].mass_g) for u in units]
        hand = self._hand(party.rng, facing, place_m)
        gesture = gestures.take(party.rng, self.handling, now_ns, items, *hand, manner)
        for unit in units:
            self.stock.take(unit)
            self._grab(party, person, unit, facing)
            self.mass_out_g += self.stock.units[unit].mass_g
        self._record(party, "take", facing, units, gesture.moved_at_ns)
        return self._begun(gesture)

    def put_back(
        self, party: Party, units: list[int], facing: int, now_ns: int, manner: Manner = PLAIN
    ) -> Gesture | None:
        """Set carried units of one SKU down on a facing, in one go."""
        if not units:
            return None
        for unit in units:
            self._let_go(party, unit)
        gesture = self._set_down(party, units, facing, now_ns, manner)
        self._record(party, "return", facing, units, gesture.moved_at_ns)
        return gesture

    def restock(
        self, party: Party, facing: int, sku: str, quantity: int, now_ns: int
    ) -> Gesture | None:
        """Set new units down on a facing, in one go."""
        sku = sku or self.stock.home[facing]
        units = [self.stock.new_unit(sku, party.rng) for _ in range(quantity)]
        self.mass_out_g += sum(self.stock.units[u].mass_g for u in units)  # they come from outside
        return self._set_down(party, units, facing, now_ns, PLAIN)

    def touch(
        self, party: Party, facing: int, now_ns: int, manner: Manner = PLAIN
    ) -> Gesture | None:
        """Rummage somewhere before a facing."""
        hand = self._hand(party.rng, facing, self._somewhere(party.rng, facing))
        return self._begun(gestures.touch(party.rng, now_ns, *hand, manner))

    def lean(
        self, party: Party, facing: int, lasts_s: float, now_ns: int, manner: Manner
    ) -> Gesture:
        """Lay an arm or a bag on a facing."""
        place_m = self._somewhere(party.rng, facing)
        arm = self._hand(party.rng, facing, place_m, ARM_WIDTH_M)
        return self._begun(gestures.lean(party.rng, now_ns, lasts_s, *arm, manner))

    def hand_over(
        self,
        giver: tuple[Party, Person],
        taker: tuple[Party, Person],
        units: list[int],
        now_ns: int,
    ) -> Gesture:
        """Pass carried units of one SKU from hand to hand between two who stand together.

        The gesture is both people's.
        """
        (party, person), (to_party, to_person) = giver, taker
        middle = np.append((person.position + to_person.position) / 2, GIVING_HAND_M)
        lasts_s = float(party.rng.uniform(*HAND_OVER_S))
        out = gestures.in_the_air(party.rng, now_ns, lasts_s, middle)
        origin = dict(party.carried)
        for unit in units:
            self._let_go(party, unit)
            self._grab(to_party, to_person, unit, origin[unit])
        if party is not to_party:
            self._record(party, "hand_over", NOWHERE, units, out.moved_at_ns, to_party.shopper)
        return out

    def drop(self, party: Party, person: Person, units: list[int], now_ns: int) -> Gesture | None:
        """Leave carried units of one SKU on the floor beside the feet."""
        if not units:
            return None
        point = person.position + 0.3 * person.heading
        gesture = self._bend(party, point, now_ns)
        for unit in units:
            self._let_go(party, unit)
            self.falling.append(Falling(gesture.moved_at_ns, unit, point))
        self._record(party, "return", NOWHERE, units, gesture.moved_at_ns)
        return gesture

    def pick_up(
        self, party: Party, person: Person, units: list[int], now_ns: int
    ) -> Gesture | None:
        """Take units of one SKU from the floor."""
        units = [u for u in units if u in self.stock.floor]
        if not units:
            return None
        gesture = self._bend(party, self.stock.floor[units[0]], now_ns)
        for unit in units:
            del self.stock.floor[unit]
            self._grab(party, person, unit, NOWHERE)
        self._record(party, "take", NOWHERE, units, gesture.moved_at_ns)
        return gesture

    def bump(self, party: Party, shelves: list[int], facing: int, now_ns: int) -> Gesture:
        """Knock a gondola with an elbow: all its shelves ring."""
        for load in gestures.bump(party.rng, self.stock.shelves, shelves, now_ns):
            self.physics.add(load)
        target = self.stock.point_store_m(facing, self._somewhere(party.rng, facing))
        return gestures.in_the_air(party.rng, now_ns, 0.3, target)

    def carried(self, party: Party, person: Person, sku: str, quantity: int) -> list[int]:
        """Units of one SKU that a person can put down: the last ones taken first.

        Without a SKU it is that of the last one taken. What is not in the person's own hands may
        lie in the basket of a member who stands near.
        """
        mine = self._of_sku(person.holds, sku)
        for other in party.people:
            near = np.hypot(*(other.position - person.position)) < BASKET_M
            if not mine and near:
                mine = self._of_sku(other.holds, sku)
        return mine[-quantity:] if quantity > 0 else []

    def _of_sku(self, held: list[int], sku: str) -> list[int]:
        wanted = sku or (self.stock.units[held[-1]].sku if held else "")
        return [u for u in held if self.stock.units[u].sku == wanted]

    def _choose(self, rng: np.random.Generator, facing: int, sku: str, quantity: int) -> list[int]:
        """A unit of the facing, and its nearest neighbours for the others."""
        there = self.stock.available(facing, sku)
        if not there:
            return []
        first = int(rng.choice(there))
        place_m = self.stock.units[first].place_m
        there.sort(key=lambda u: (u != first, abs(self.stock.units[u].place_m - place_m), u))
        return there[:quantity]

    def _set_down(
        self, party: Party, units: list[int], facing: int, now_ns: int, manner: Manner
    ) -> Gesture:
        sku = self.stock.units[units[0]].sku
        shelf = self.stock.shelves.facing_shelf[facing]
        places = [self.stock.place_for(facing, sku, party.rng) for _ in units]
        items = [
            (
                *shares(self.stock.shelves, shelf, place, unit_width_m(sku)),
                self.stock.units[unit].mass_g,
            )
            for unit, place in zip(units, places, strict=True)
        ]
        hand = self._hand(party.rng, facing, places[0])
        gesture = gestures.put_back(party.rng, self.handling, now_ns, items, *hand, manner)
        for unit, place in zip(units, places, strict=True):
            self.landings.append(Landing(gesture.ended_at_ns, unit, facing, place))
            self.mass_out_g -= self.stock.units[unit].mass_g
        return self._begun(gesture)

    def _bend(self, party: Party, point: Floats, now_ns: int) -> Gesture:
        lasts_s = float(party.rng.uniform(*BEND_S))
        return gestures.in_the_air(party.rng, now_ns, lasts_s, np.append(point, FLOOR_HAND_M))

    def _begun(self, gesture: Gesture) -> Gesture:
        for load in gesture.loads:
            self.physics.add(load)
        return gesture

    def _grab(self, party: Party, person: Person, unit: int, facing: int) -> None:
        party.carried.append((unit, facing))
        person.holds.append(unit)

    def _let_go(self, party: Party, unit: int) -> None:
        party.carried = [c for c in party.carried if c[0] != unit]
        for person in party.people:
            if unit in person.holds:
                person.holds.remove(unit)

    def _somewhere(self, rng: np.random.Generator, facing: int) -> float:
        return float(rng.uniform(*self.stock.shelves.facing_span_m[facing]))

    def _hand(
        self,
        rng: np.random.Generator,
        facing: int,
        place_m: float,
        width_m: float = HAND_WIDTH_M,
    ) -> tuple[tuple[Ints, Floats], Floats]:
        shelf = self.stock.shelves.facing_shelf[facing]
        pressed = gestures.hand_at(rng, self.stock.shelves, shelf, place_m, width_m)
        return pressed, self.stock.point_store_m(facing, place_m)

    def _record(
        self,
        party: Party,
        kind: str,
        facing: int,
        units: list[int],
        at_ns: int,
        to_visit: str | None = None,
    ) -> None:
        """What staff do to the shelves is nobody's cart; what they give or get by hand is."""
        if party.staff and kind != "hand_over":
            return
        name = "" if facing == NOWHERE else str(self.stock.config.facings[facing].id)
        self.truth.actions.append(
            TrueAction(
                at_ns=at_ns,
                kind=kind,
                visit=party.shopper,
                sku=self.stock.units[units[0]].sku,
                quantity=len(units),
                facing=name,
                to_visit=to_visit,
            )
        )
