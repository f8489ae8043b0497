"""The people of the store: who queues, walks, stands, acts and leaves, tick by tick.

Each phase of ``shoppers.TABLE`` has one function (``lanes``, ``walking``) that sets where a person
wants to go and raises the signals; somebody with a mind of its own (``Person.mind``) is asked
instead while indoors. Motion itself is one array call for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats
from messages.ids import GateId
from messages.store_config import StoreConfig
from sim import lanes, walking
from sim.hands import Hands
from sim.lanes import Lane, lanes_of
from sim.motion import Walls, moved, wanted_velocity
from sim.outputs import Passage, Scan
from sim.routes import Routes
from sim.shoppers import INDOORS, Party, Person, Phase
from sim.stock import Stock

SETTLE_M = 0.9  # before a place at a shelf people begin to squeeze in
FELT_MIN = 0.05  # of the push of others that is left at the place itself


@dataclass(slots=True, eq=False)
class Crowd:
    config: StoreConfig
    routes: Routes
    walls: Walls
    hands: Hands
    lanes: dict[GateId, Lane]
    exits: list[Lane]
    parties: list[Party] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)  # of all parties, without the gone
    signals: list[Scan | Passage] = field(default_factory=list)
    standing: Floats = field(default_factory=lambda: np.empty((0, 2)))  # who is not pushed aside
    standers: list[tuple[Person, float, float]] = field(default_factory=list)  # who acts, where

    @staticmethod
    def of(config: StoreConfig, hands: Hands) -> Crowd:
        found = lanes_of(config)
        exits = [found[g.id] for g in config.gates if g.direction != "entry"]
        return Crowd(config, Routes.of(config), Walls.of(config), hands, found, exits)

    @property
    def stock(self) -> Stock:
        return self.hands.stock

    def join(self, party: Party, gate: GateId) -> None:
        party.gate = gate
        self.parties.append(party)
        self.people.extend(party.people)
        self.lanes[gate].join(party)

    def step(self, now_ns: int, dt_s: float) -> list[Scan | Passage]:
        """One tick: decide, move, and see who crossed a line."""
        self.signals = []
        fixed = [p.position for p in self.people if p.phase in STANDING or p.still]
        self.standing = np.array(fixed).reshape(-1, 2)
        acting = [p for p in self.people if p.phase is Phase.ACT]
        self.standers = [(p, float(p.position[0]), float(p.position[1])) for p in acting]
        for party in self.parties:
            for person in party.people:
                self._decide(party, person, now_ns)
        self._move(dt_s)
        lanes.crossings(self, now_ns)
        for lane in self.lanes.values():
            lane.advance()
        self.parties = [p for p in self.parties if any(x.phase is not Phase.GONE for x in p.people)]
        self.people = [x for p in self.parties for x in p.people if x.phase is not Phase.GONE]
        return self.signals

    def unlocked(self, gate: GateId, passages: int) -> None:
        """The barrier is open for so many people: the party at the reader goes in."""
        lanes.unlocked(self.lanes[gate], passages)

    def refused(self, gate: GateId, now_ns: int) -> None:
        lanes.refused(self.lanes[gate], now_ns)

    def _decide(self, party: Party, person: Person, now_ns: int) -> None:
        if person.mind is not None and person.phase in INDOORS:
            person.mind.step(self, now_ns)
        else:
            DECIDE[person.phase](self, party, person, now_ns)

    def _move(self, dt_s: float) -> None:
        people = [p for p in self.people if p.phase is not Phase.GONE and p.carrier is None]
        if people:
            self._walked(people, dt_s)
        for person in self.people:
            if person.carrier is not None:  # on the arm
                person.before = person.carrier.before
                person.position = person.carrier.position.copy()

    def _walked(self, people: list[Person], dt_s: float) -> None:
        position = np.array([p.position for p in people])
        target = np.array([p.way[0] if p.way else p.position for p in people])
        last = np.array([len(p.way) <= 1 and p.phase is not Phase.LEAVE for p in people])
        speed = np.array([p.speed_m_s for p in people])
        wanted = wanted_velocity(position, target, speed, last)
        fixed = np.array([p.phase in STANDING or p.still for p in people])
        indoors = np.array([p.phase in INDOORS for p in people])
        velocity = np.array([p.velocity for p in people])
        squeezes = last & np.array([p.stand is not None for p in people])
        gap_m = np.hypot(*(target - position).T)
        felt = np.where(squeezes, np.clip(gap_m / SETTLE_M, FELT_MIN, 1.0), 1.0)
        radius_m = np.array([p.radius_m for p in people])
        goal, velocity = moved(
            position, velocity, wanted, fixed, indoors, self.walls, dt_s, felt, radius_m
        )
        speed_now = np.hypot(velocity[:, 0], velocity[:, 1])
        for i, person in enumerate(people):
            person.before, person.position, person.velocity = position[i], goal[i], velocity[i]
            if speed_now[i] > 0.2:
                person.heading = velocity[i] / speed_now[i]


def _stay(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    del crowd, party, now_ns
    person.way = []


DECIDE: dict[Phase, Callable[[Crowd, Party, Person, int], None]] = {
    Phase.QUEUE: lanes.queue,
    Phase.SCAN: lanes.scan,
    Phase.ENTER: lanes.enter,
    Phase.WALK: walking.walk,
    Phase.ACT: walking.act,
    Phase.LEAVE: lanes.leave,
    Phase.GONE: _stay,
}
STANDING = frozenset({Phase.ACT, Phase.SCAN})
