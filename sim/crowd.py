"""The people of the store: who queues, walks, stands, acts and leaves, tick by tick.

Each phase of ``shoppers.TABLE`` has one function here that sets where a person wants to go and
raises the signals. Motion itself is one array call for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from messages.arrays import Floats
from messages.ids import DeviceId, GateId
from messages.store_config import StoreConfig
from sim.geometry import gate_inward, pushed_out
from sim.hands import Hands
from sim.motion import Walls, moved, wanted_velocity
from sim.outputs import Passage, Scan
from sim.routes import Routes
from sim.shoppers import INDOORS, Party, Person, Phase, Signal, Stop
from sim.stock import Stock

NS = 1_000_000_000
READER_M = 0.7  # where people stand before the gate's line
QUEUE_SPACING_M = 0.8
INSIDE_M = 0.8  # behind the line a person is in the store
OUTSIDE_M = 1.2  # beyond the line a person is gone
LANE_GAP_M = 0.75  # between two people in a lane
CODE_S = (0.4, 1.2)  # to hold the code to the reader
REPLY_MAX_NS = 6 * NS  # then they try again
ATTEMPTS_MAX = 3
STAND_GAP_M = (0.36, 0.50)  # from the fixture to the body's centre
ELBOW_M = 0.5  # two people do not stand nearer to each other at a shelf
STUCK_NS = 2_500_000_000
STUCK_M = 0.25
STUCK_MAX = 6  # then the stop is given up
LOOK_S = (0.4, 2.5)  # at a shelf before the first reach
ARRIVED_M = 0.12
ROUND_CORNER_M = 0.28


@dataclass(slots=True, eq=False)
class Lane:
    """One gate as people see it."""

    gate: GateId
    line: Floats  # (2,)
    inward: Floats  # (2,)
    reader: DeviceId | None
    queue: list[Party] = field(default_factory=list)
    allowed: int = 0
    leaving: Person | None = None

    def depth_m(self, point: Floats) -> float:
        """How far a point lies behind the line, inwards positive."""
        return float((point - self.line) @ self.inward)


@dataclass(slots=True, eq=False)
class Crowd:
    config: StoreConfig
    routes: Routes
    walls: Walls
    hands: Hands
    lanes: dict[GateId, Lane]
    parties: list[Party] = field(default_factory=list)
    signals: list[Scan | Passage] = field(default_factory=list)

    @staticmethod
    def of(config: StoreConfig, hands: Hands) -> Crowd:
        return Crowd(config, Routes.of(config), Walls.of(config), hands, _lanes(config))

    @property
    def people(self) -> list[Person]:
        return [p for party in self.parties for p in party.people if p.phase is not Phase.GONE]

    @property
    def stock(self) -> Stock:
        return self.hands.stock

    def join(self, party: Party, gate: GateId) -> None:
        self.parties.append(party)
        self.lanes[gate].queue.append(party)

    def step(self, now_ns: int, dt_s: float) -> list[Scan | Passage]:
        """One tick: decide, move, and see who crossed a line."""
        self.signals = []
        for party in self.parties:
            for person in party.people:
                DECIDE.get(person.phase, _stay)(self, party, person, now_ns)
        self._move(dt_s)
        self._crossings(now_ns)
        for lane in self.lanes.values():
            if lane.queue and all(p.phase not in QUEUING for p in lane.queue[0].people):
                lane.queue.pop(0)
        self.parties = [p for p in self.parties if any(x.phase is not Phase.GONE for x in p.people)]
        return self.signals

    def unlocked(self, gate: GateId, passages: int) -> None:
        """The barrier is open for so many people: the party at the reader goes in."""
        lane = self.lanes[gate]
        if lane.queue and lane.queue[0].people[0].phase is Phase.SCAN:
            lane.allowed = passages
            for person in lane.queue[0].people:
                if person.phase is Phase.QUEUE:  # companions come along
                    person.signal(Signal.SHOWED_CODE)
                person.signal(Signal.UNLOCKED)

    def refused(self, gate: GateId, now_ns: int) -> None:
        lane = self.lanes[gate]
        if lane.queue and lane.queue[0].people[0].phase is Phase.SCAN:
            _try_again(lane.queue[0], now_ns)

    def _move(self, dt_s: float) -> None:
        people = self.people
        if not people:
            return
        position = np.array([p.position for p in people])
        target = np.array([p.way[0] if p.way else p.position for p in people])
        last = np.array([len(p.way) <= 1 and p.phase is not Phase.LEAVE for p in people])
        speed = np.array([p.speed_m_s for p in people])
        wanted = wanted_velocity(position, target, speed, last)
        fixed = np.array([p.phase in STANDING for p in people])
        indoors = np.array([p.phase in INDOORS for p in people])
        velocity = np.array([p.velocity for p in people])
        goal, velocity = moved(position, velocity, wanted, fixed, indoors, self.walls, dt_s)
        for i, person in enumerate(people):
            person.before, person.position, person.velocity = position[i], goal[i], velocity[i]
            speed_now = float(np.hypot(*velocity[i]))
            if speed_now > 0.2:
                person.heading = velocity[i] / speed_now

    def _crossings(self, now_ns: int) -> None:
        for party in self.parties:
            for person in party.people:
                for lane in self.lanes.values():
                    self._crossing(party, person, lane, now_ns)

    def _crossing(self, party: Party, person: Person, lane: Lane, now_ns: int) -> None:
        near = np.hypot(*(person.position - lane.line)) < 1.0
        was, now = lane.depth_m(person.before), lane.depth_m(person.position)
        if not near or (was <= 0) == (now <= 0):
            return
        if person.phase is Phase.ENTER and now > 0 and not person.crossed_in:
            person.crossed_in = True
            lane.allowed -= 1
            self._passed(party, lane, now_ns, inward=True)
        elif person.phase is Phase.LEAVE and now <= 0 and not person.crossed_out:
            person.crossed_out = True
            self._passed(party, lane, now_ns, inward=False)

    def _passed(self, party: Party, lane: Lane, now_ns: int, *, inward: bool) -> None:
        self.signals.append(
            Passage(at_ns=now_ns, gate=lane.gate, inward=inward, shopper=party.shopper)
        )
        visit = self.hands.truth.visit(party.shopper)
        visit.credential = party.credential
        if inward and party.entered_at_ns is None:
            party.entered_at_ns = visit.entered_at_ns = now_ns
        if not inward and all(p.crossed_out for p in party.people if p.crossed_in):
            party.exited_at_ns = visit.exited_at_ns = now_ns


# --- what each phase does -----------------------------------------------------------------------


def _stay(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    del crowd, party, now_ns
    person.way = []


def _queue(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Walk to one's place in the queue; the head holds its code to the reader."""
    lane = _entry_lane(crowd, party)
    ahead = sum(len(p.people) for p in lane.queue[: lane.queue.index(party)])
    back = READER_M + QUEUE_SPACING_M * (ahead + person.index)
    place = lane.line - lane.inward * back
    person.way = [place]
    at_reader = ahead == 0 and np.hypot(*(person.position - place)) < 0.2
    if person.index or not at_reader or now_ns < person.busy_until_ns or lane.reader is None:
        return
    if party.scanned_at_ns == 0:
        party.scanned_at_ns = now_ns + int(party.rng.uniform(*CODE_S) * NS)
    elif now_ns >= party.scanned_at_ns:
        party.attempt += 1
        person.signal(Signal.SHOWED_CODE)
        crowd.signals.append(
            Scan(
                at_ns=now_ns,
                reader=lane.reader,
                gate=lane.gate,
                shopper=party.shopper,
                party_size=len(party.people),
                attempt=party.attempt,
            )
        )


def _scan(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Wait for the gate; no reply: try again."""
    del crowd
    person.way = []
    if person.index == 0 and now_ns - party.scanned_at_ns > REPLY_MAX_NS:
        _try_again(party, now_ns)


def _enter(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Through the lane one after another; whoever finds it shut again goes away."""
    lane = _entry_lane(crowd, party)
    depth_m = lane.depth_m(person.position)
    if depth_m > INSIDE_M - 0.05:
        person.signal(Signal.INSIDE)
        _progress(person, now_ns)
        return
    if not person.crossed_in and lane.allowed <= 0:
        person.signal(Signal.GAVE_UP)
        return
    person.way = [lane.line + lane.inward * (INSIDE_M + 0.1)]
    if person.index and not _room_ahead(party, person, lane):
        person.way = []


def _walk(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """To the next stop, after the leader, or to the exit."""
    if not person.stops:
        _follow_or_leave(crowd, party, person, now_ns)
        return
    stop = person.stops[0]
    if person.stand is None or not _free(crowd, person, person.stand):
        _choose_stand(crowd, party, person, now_ns)
    _advance(crowd, party, person, now_ns)
    if person.stand is None:
        return
    if np.hypot(*(person.position - person.stand)) < ARRIVED_M:
        person.signal(Signal.ARRIVED)
        person.way, person.stuck = [], 0
        person.busy_until_ns = now_ns + int(party.rng.uniform(*LOOK_S) * NS)
        shelf = crowd.stock.shelves.facing_shelf[stop.facing]
        person.heading = -crowd.stock.shelves.front[shelf]
    elif person.stuck > STUCK_MAX:
        person.stops.pop(0)
        person.stand, person.stuck = None, 0


def _act(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """One task after another, then on."""
    if now_ns < person.busy_until_ns:
        return
    person.gesture = None
    stop = person.stops[0]
    if stop.tasks:
        person.gesture = crowd.hands.perform(party, stop.tasks.pop(0), now_ns)
        pause_ns = int(party.rng.uniform(0.1, 0.9) * NS)
        ended_ns = person.gesture.ended_at_ns if person.gesture else now_ns
        person.busy_until_ns = ended_ns + pause_ns
        return
    person.stops.pop(0)
    person.stand = None
    person.signal(Signal.DONE_HERE)
    _progress(person, now_ns)


def _leave(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    del party, now_ns
    lane = crowd.lanes[person.exit_gate]
    person.way = [lane.line - lane.inward * (OUTSIDE_M + 0.4)]
    if lane.leaving is person and lane.depth_m(person.position) < -LANE_GAP_M:
        lane.leaving = None
    if lane.depth_m(person.position) < -OUTSIDE_M:
        person.signal(Signal.OUTSIDE)


DECIDE: dict[Phase, Callable[[Crowd, Party, Person, int], None]] = {
    Phase.QUEUE: _queue,
    Phase.SCAN: _scan,
    Phase.ENTER: _enter,
    Phase.WALK: _walk,
    Phase.ACT: _act,
    Phase.LEAVE: _leave,
}
QUEUING = frozenset({Phase.QUEUE, Phase.SCAN, Phase.ENTER})
STANDING = frozenset({Phase.ACT, Phase.SCAN})


# --- helpers ------------------------------------------------------------------------------------


def _lanes(config: StoreConfig) -> dict[GateId, Lane]:
    readers = {reader.gate: reader.id for reader in config.readers}
    return {
        g.id: Lane(
            gate=g.id,
            line=np.array([g.x_m, g.y_m]),
            inward=gate_inward(config, g.x_m, g.y_m),
            reader=readers.get(g.id) if g.direction != "exit" else None,
        )
        for g in config.gates
    }


def _entry_lane(crowd: Crowd, party: Party) -> Lane:
    return next(lane for lane in crowd.lanes.values() if party in lane.queue)


def _try_again(party: Party, now_ns: int) -> None:
    """Step back and show a new code, or give up after a few."""
    party.scanned_at_ns = 0
    given_up = party.attempt >= ATTEMPTS_MAX
    for person in party.people:
        if given_up:
            person.signal(Signal.GAVE_UP)
        elif person.phase is Phase.SCAN:
            person.signal(Signal.REFUSED)
            person.busy_until_ns = now_ns + 2 * NS


def _room_ahead(party: Party, person: Person, lane: Lane) -> bool:
    """True when the one before has gone on far enough."""
    before = party.people[person.index - 1]
    if before.phase is not Phase.ENTER:
        return bool(np.hypot(*(before.position - person.position)) > LANE_GAP_M)
    return lane.depth_m(before.position) - lane.depth_m(person.position) > LANE_GAP_M


def _choose_stand(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Set off to a free place; where all are taken wait, and after a while go elsewhere first."""
    if person.stand is None and now_ns < person.busy_until_ns:
        return
    person.stand = _stand(crowd, party, person, person.stops[0])
    if person.stand is not None:
        person.way = crowd.routes.way(person.position, person.stand)
        return
    person.way, person.busy_until_ns = [], now_ns + NS // 2
    if party.rng.random() < 0.2:
        person.stops.append(person.stops.pop(0))


def _stand(crowd: Crowd, party: Party, person: Person, stop: Stop) -> Floats | None:
    """Where to stand for a facing: in front of it, beside others who stand there."""
    shelves = crowd.stock.shelves
    shelf = shelves.facing_shelf[stop.facing]
    low, high = shelves.facing_span_m[stop.facing]
    gap = float(party.rng.uniform(*STAND_GAP_M))
    half = float(shelves.upper_m[shelf][-1])
    wish = (low + high) / 2 + float(party.rng.normal(0.0, 0.12))
    for aside in (0.0, 0.4, -0.4, 0.65, -0.65):
        place = float(np.clip(wish + aside, -half, half))
        point = shelves.origin_store_m[shelf][:2] + place * shelves.along[shelf]
        point = point + shelves.front[shelf] * (0.2 + gap)
        if _free(crowd, person, point):
            return np.asarray(point)
    return None


def _free(crowd: Crowd, person: Person, point: Floats) -> bool:
    """True when nobody else stands at a point or is about to, nearer than an elbow."""
    for other in crowd.people:
        if other is person or other.phase not in INDOORS:
            continue
        if other.phase is Phase.ACT and np.hypot(*(other.position - point)) < ELBOW_M:
            return False
        first = (other.shopper, other.index) < (person.shopper, person.index)
        if first and other.stand is not None and np.hypot(*(other.stand - point)) < ELBOW_M:
            return False
    return True


def _follow_or_leave(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    leader = party.people[0]
    if person.index and leader.phase in INDOORS and leader.stops:
        _follow(crowd, party, person, leader, now_ns)
        return
    lane = _exit_lane(crowd, person)
    wait = lane.line + lane.inward * INSIDE_M
    if not person.way or np.hypot(*(person.way[-1] - wait)) > 0.01:
        person.way = crowd.routes.way(person.position, wait)
    _advance(crowd, party, person, now_ns)
    near = np.hypot(*(person.position - wait)) < 0.45
    if near and lane.leaving is None:
        lane.leaving, person.exit_gate = person, lane.gate
        person.signal(Signal.INTO_EXIT)


def _follow(crowd: Crowd, party: Party, person: Person, leader: Person, now_ns: int) -> None:
    """Stay about an arm's length from the leader."""
    if now_ns >= person.busy_until_ns:
        person.busy_until_ns = now_ns + NS
        angle = float(party.rng.uniform(0, 2 * np.pi))
        beside = leader.position + 0.85 * np.array([np.cos(angle), np.sin(angle)])
        walls = crowd.walls
        beside = pushed_out(beside[None], walls.lower - 0.12, walls.upper + 0.12)[0]
        beside = np.clip(beside, walls.area_lower, walls.area_upper)
        far = np.hypot(*(leader.position - person.position)) > 1.3
        person.way = crowd.routes.way(person.position, beside) if far else []
    _advance(crowd, party, person, now_ns)


def _exit_lane(crowd: Crowd, person: Person) -> Lane:
    directions = {g.id: g.direction for g in crowd.config.gates}
    exits = [x for x in crowd.lanes.values() if directions[x.gate] != "entry"]
    return min(exits, key=lambda x: float(np.hypot(*(x.line - person.position))))


def _advance(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Drop points of the way that are reached; take a detour when nothing moves."""
    while len(person.way) > 1 and np.hypot(*(person.way[0] - person.position)) < ROUND_CORNER_M:
        person.way.pop(0)
    if np.hypot(*(person.position - person.progress_from)) > STUCK_M or not person.way:
        _progress(person, now_ns)
    elif now_ns - person.progress_at_ns > STUCK_NS:
        _progress(person, now_ns)
        person.stuck += 1
        angle = float(party.rng.uniform(0, 2 * np.pi))
        aside = person.position + 0.7 * np.array([np.cos(angle), np.sin(angle)])
        aside = pushed_out(aside[None], crowd.walls.lower - 0.1, crowd.walls.upper + 0.1)[0]
        aside = np.clip(aside, crowd.walls.area_lower, crowd.walls.area_upper)
        person.way = [aside, *crowd.routes.way(aside, person.way[-1])]


def _progress(person: Person, now_ns: int) -> None:
    person.progress_at_ns, person.progress_from = now_ns, person.position.copy()
