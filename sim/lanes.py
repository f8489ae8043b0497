"""Gates as people see them: the queue before the reader, the lanes in and out, who crossed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from messages.arrays import Floats
from messages.ids import DeviceId, GateId
from messages.store_config import StoreConfig
from sim.geometry import gate_inward
from sim.outputs import Passage, Scan
from sim.shoppers import Party, Person, Phase, Signal
from sim.walking import progress

if TYPE_CHECKING:
    from sim.crowd import Crowd

NS = 1_000_000_000
READER_M = 0.7  # where people stand before the gate's line
QUEUE_SPACING_M = 0.8
INSIDE_M = 0.8  # behind the line a person is in the store
OUTSIDE_M = 1.2  # beyond the line a person is gone
MOUTH_M = 0.25  # from here somebody who stands in the way can be walked round
BLOCKED_NS = 1_500_000_000
LANE_STEP_M = 0.1
LANE_GAP_M = 0.75  # between two people in a lane
CODE_S = (0.4, 1.2)  # to hold the code to the reader
REPLY_MAX_NS = 6 * NS  # then they try again
ATTEMPTS_MAX = 3
QUEUING = frozenset({Phase.QUEUE, Phase.SCAN, Phase.ENTER})


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

    def gap_m(self, point: Floats) -> float:
        """How far a point is from the middle of the gate."""
        return float(np.hypot(*(point - self.line)))

    def join(self, party: Party) -> None:
        """Go to the end of the queue; who tailgates keeps right behind its victim."""
        if party.tailgates in self.queue:
            self.queue.insert(self.queue.index(party.tailgates) + 1, party)
        else:
            self.queue.append(party)

    def advance(self) -> None:
        """Parties that are in or have gone away leave the queue."""
        while self.queue and all(p.phase not in QUEUING for p in self.queue[0].people):
            self.queue.pop(0)


def lanes_of(config: StoreConfig) -> dict[GateId, Lane]:
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


# --- what each phase in a lane does --------------------------------------------------------------


def queue(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Walk to one's place in the queue; the head holds its code to the reader."""
    lane = _entry_lane(crowd, party)
    ahead = sum(len(p.people) for p in lane.queue[: lane.queue.index(party)])
    back = READER_M + QUEUE_SPACING_M * (ahead + person.index)
    place = lane.line - lane.inward * back
    person.way = [place]
    if party.tailgates is not None:
        _slip_in(party, party.tailgates, person)
        return
    at_reader = ahead == 0 and np.hypot(*(person.position - place)) < 0.2
    if person.index or not at_reader or now_ns < person.busy_until_ns or lane.reader is None:
        return
    if party.scanned_at_ns == 0:
        party.scanned_at_ns = now_ns + int(party.rng.uniform(*CODE_S) * NS)
    elif now_ns >= party.scanned_at_ns:
        party.attempt += 1
        person.signal(Signal.SHOWED_CODE)
        crowd.signals.append(_scan_of(party, lane, lane.reader, now_ns))


def scan(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Wait for the gate; no reply: try again."""
    del crowd
    person.way = []
    if person.index == 0 and now_ns - party.scanned_at_ns > REPLY_MAX_NS:
        try_again(party, now_ns)


def enter(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Through the lane one after another; whoever finds it shut again goes away."""
    lane = _entry_lane(crowd, party)
    depth_m = lane.depth_m(person.position)
    blocked = person.crossed_in and now_ns - person.progress_at_ns > BLOCKED_NS
    if np.hypot(*(person.position - person.progress_from)) > LANE_STEP_M:
        progress(person, now_ns)
    if depth_m > INSIDE_M - 0.05 or (blocked and depth_m > MOUTH_M):
        person.signal(Signal.INSIDE)
        progress(person, now_ns)
        return
    shut = lane.allowed <= 0 and party.tailgates is None
    if not person.crossed_in and shut:
        person.signal(Signal.GAVE_UP)
        return
    person.way = [lane.line + lane.inward * (INSIDE_M + 0.1)]
    before = _before(party, person)
    if before is not None and not _room_behind(before, person, lane):
        person.way = []


def leave(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Out through the lane that the person waited for."""
    del party, now_ns
    lane = crowd.lanes[person.exit_gate]
    person.way = [lane.line - lane.inward * (OUTSIDE_M + 0.4)]
    if lane.leaving is person and lane.depth_m(person.position) < -LANE_GAP_M:
        lane.leaving = None
    if lane.depth_m(person.position) < -OUTSIDE_M:
        person.signal(Signal.OUTSIDE)


def unlocked(lane: Lane, passages: int) -> None:
    """The barrier is open for so many people: the party at the reader goes in."""
    if lane.queue and lane.queue[0].people[0].phase is Phase.SCAN:
        lane.allowed = passages
        for person in lane.queue[0].people:
            if person.phase is Phase.QUEUE:  # companions come along
                person.signal(Signal.SHOWED_CODE)
            person.signal(Signal.UNLOCKED)


def refused(lane: Lane, now_ns: int) -> None:
    if lane.queue and lane.queue[0].people[0].phase is Phase.SCAN:
        try_again(lane.queue[0], now_ns)


def try_again(party: Party, now_ns: int) -> None:
    """Step back and show a new code, or give up after a few."""
    party.scanned_at_ns = 0
    given_up = party.attempt >= ATTEMPTS_MAX
    for person in party.people:
        if given_up:
            person.signal(Signal.GAVE_UP)
        elif person.phase is Phase.SCAN:
            person.signal(Signal.REFUSED)
            person.busy_until_ns = now_ns + 2 * NS


# --- who crossed a line ---------------------------------------------------------------------------


def crossings(crowd: Crowd, now_ns: int) -> None:
    """Everybody who crossed a gate's line in this tick."""
    for party in crowd.parties:
        for person in party.people:
            if person.phase is Phase.ENTER and not person.crossed_in:
                _crossed(crowd, party, person, _entry_lane(crowd, party), now_ns)
            elif person.phase is Phase.LEAVE and not person.crossed_out:
                _crossed(crowd, party, person, crowd.lanes[person.exit_gate], now_ns)


def _crossed(crowd: Crowd, party: Party, person: Person, lane: Lane, now_ns: int) -> None:
    was, now = lane.depth_m(person.before), lane.depth_m(person.position)
    if (was <= 0) == (now <= 0):
        return
    inward = person.phase is Phase.ENTER
    if inward != (now > 0):
        return
    crowd.signals.append(
        Passage(at_ns=now_ns, gate=lane.gate, inward=inward, shopper=party.shopper)
    )
    if inward:
        person.crossed_in = True
        lane.allowed -= party.tailgates is None
        _came_in(crowd, party, now_ns)
    else:
        person.crossed_out = True
        _carried_out(crowd, person)
        for gone in crowd.parties:
            _went_out(crowd, gone, now_ns)


def _came_in(crowd: Crowd, party: Party, now_ns: int) -> None:
    visit = crowd.hands.truth.visit(party.shopper)
    visit.credential = party.credential
    visit.kind = "staff" if party.staff else "shopper"
    visit.people += 1
    if party.entered_at_ns is None:
        party.entered_at_ns = visit.entered_at_ns = now_ns


def _carried_out(crowd: Crowd, carrier: Person) -> None:
    """A child on the arm leaves with its carrier; the beam saw one body."""
    for person in crowd.people:
        if person.carrier is carrier:
            person.crossed_out = True
            person.signal(Signal.OUTSIDE)


def _went_out(crowd: Crowd, party: Party, now_ns: int) -> None:
    inside = [p for p in party.people if p.crossed_in and not p.crossed_out]
    coming = any(p.phase is Phase.ENTER and not p.crossed_in for p in party.people)
    if party.entered_at_ns is not None and party.exited_at_ns is None and not inside and not coming:
        party.exited_at_ns = crowd.hands.truth.visit(party.shopper).exited_at_ns = now_ns


# --- helpers --------------------------------------------------------------------------------------


def _scan_of(party: Party, lane: Lane, reader: DeviceId, now_ns: int) -> Scan:
    return Scan(
        at_ns=now_ns,
        reader=reader,
        gate=lane.gate,
        shopper=party.shopper,
        party_size=len(party.people),
        attempt=party.attempt,
        kind="staff" if party.staff else "shopper",
    )


def _entry_lane(crowd: Crowd, party: Party) -> Lane:
    return crowd.lanes[party.gate]


def _slip_in(party: Party, victim: Party, person: Person) -> None:
    """After the last of the party in front while its barrier is open; without one: go away."""
    last = victim.people[-1]
    if last.phase is Phase.ENTER:
        person.signal(Signal.SLIPPED_IN)
    elif last.phase not in QUEUING:
        person.signal(Signal.GAVE_UP)


def _before(party: Party, person: Person) -> Person | None:
    """Who goes in right before a person."""
    if person.index:
        return party.people[person.index - 1]
    return party.tailgates.people[-1] if party.tailgates is not None else None


def _room_behind(before: Person, person: Person, lane: Lane) -> bool:
    """True when the one before has gone on far enough."""
    if before.phase is not Phase.ENTER:
        return bool(np.hypot(*(before.position - person.position)) > LANE_GAP_M)
    return lane.depth_m(before.position) - lane.depth_m(person.position) > LANE_GAP_M
