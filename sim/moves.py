"""What acts are made of: pause, gesture, go somewhere, come to another person, wait at a mark.

Each is a generator of ``sim.actors``: one ``yield`` a tick, and in the end whether it came about.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from messages.arrays import Floats
from sim import walking
from sim.actors import TICK_NS, Actor, Mark, Ticks
from sim.gestures import Gesture
from sim.lanes import Lane
from sim.shoppers import INDOORS, Phase

NS = 1_000_000_000
GO_MAX_S = 45.0  # to a place in the store
PARTNER_MAX_S = 90.0  # until another person can be met: it may not be in the store yet
MARK_MAX_S = 90.0  # after the first one was ready
IDLE_MAX_S = 90.0  # for somebody who still wants something of the person
HOLD_M = 1.6  # a word from here makes somebody stop
NEAR_M = 0.9
BESIDE_M = 0.68  # between two people who deal with each other
ELBOW_ROOM_M = 0.45
RETHINK_S = 0.5  # between two looks at where the other is
AT_POINT_M = 0.35
CLOSE_TO_POINT_M = 0.9  # good enough where others stand in the way
STUCK_ENOUGH = 3
LANE_MOUTH_M = 1.4  # who stands nearer to a gate blocks its lane
DOOR_M = 2.0  # who waits does not wait nearer to a gate
LOOK_S = (0.3, 1.5)  # before goods, before the first reach
REACH_ASIDE_M = 0.35  # along the shelf, without a step
CROSSED_FAR_M = 0.75


def pause(actor: Actor, lasts_s: float) -> Ticks:
    """Do nothing for a while."""
    ends_ns = actor.awake_ns + int(lasts_s * NS)
    while actor.awake_ns < ends_ns:
        yield
    return True


def gesture(actor: Actor, made: Gesture | None) -> Ticks:
    """Carry out a gesture to its end; False where there is none."""
    if made is None:
        return False
    actor.person.gesture = made
    while actor.now_ns < made.ended_at_ns:
        yield
    return True


def walk_to(actor: Actor, point: Floats) -> Ticks:
    """To a point of the floor, or close to it where others stand in the way."""
    actor.set_off()
    person, ends_ns = actor.person, actor.awake_ns + int(GO_MAX_S * NS)
    goal = walking.on_floor(actor.crowd, point)
    while (gap_m := np.hypot(*(person.position - goal))) > AT_POINT_M:
        blocked = person.stuck >= STUCK_ENOUGH and gap_m < CLOSE_TO_POINT_M
        if blocked or actor.awake_ns > ends_ns:
            return bool(gap_m < CLOSE_TO_POINT_M)
        _go_on(actor, goal)
        yield
    return True


def clear_of_doors(actor: Actor) -> Ticks:
    """A step aside for who would stand still in a gate's lane."""
    lane = min(actor.crowd.lanes.values(), key=lambda x: x.gap_m(actor.person.position))
    if lane.gap_m(actor.person.position) < DOOR_M:
        yield from walk_to(actor, _aside_of(actor, lane))
    actor.stop()
    return True


def before_facing(actor: Actor, facing: int, *, crossed: bool = False) -> Ticks:
    """To a free place from where the hand reaches a facing.

    Crossed: before a neighbour's goods, so that the arm reaches past whoever stands there.
    """
    if _reaches(actor, facing, crossed):
        return True
    actor.set_off()
    person, ends_ns = actor.person, actor.awake_ns + int(GO_MAX_S * NS)
    asides_m = walking.CROSSED_M if crossed else walking.ASIDE_M
    while actor.awake_ns < ends_ns:
        if person.stand is None or not walking.free(actor.crowd, person, person.stand):
            person.stand = walking.stand_before(actor.crowd, actor.party, person, facing, asides_m)
            person.way = []
        if person.stand is None:
            yield from pause(actor, RETHINK_S)
            continue
        if np.hypot(*(person.position - person.stand)) < walking.ARRIVED_M:
            actor.stop(walking.towards_shelf(actor.crowd, facing))
            actor.before = facing
            yield from pause(actor, actor.drawn(LOOK_S))
            return True
        _go_on(actor, person.stand)
        yield
    return False


def come_to(actor: Actor, other: Actor | None, near_m: float = NEAR_M) -> Ticks:
    """To another person, who is held until the act is over; both then look at each other.

    False when the other one has gone, or could not be had for too long.
    """
    if other is None:
        return False
    ends_ns, think_ns = actor.awake_ns + int(PARTNER_MAX_S * NS), 0
    while actor.awake_ns < ends_ns and not other.gone:
        if not other.indoors:
            _wait_aside(actor)
            yield
            continue
        gap_m, mutual = actor.gap_m(other), actor.mutual(other)
        if mutual:
            actor.release()
        held = mutual or (gap_m < max(HOLD_M, near_m) and _may_stop(other) and actor.hold(other))
        if held and gap_m <= near_m:
            face(actor, other)
            return True
        if gap_m > near_m and actor.awake_ns >= think_ns:
            think_ns = actor.awake_ns + int(RETHINK_S * NS)
            _approach(actor, other)
        if gap_m > near_m and actor.person.way:
            walking.advance(actor.crowd, actor.party, actor.person, actor.now_ns)
        yield
    return False


def _may_stop(other: Actor) -> bool:
    """Nobody is stopped in a gate's lane."""
    lanes = other.crowd.lanes.values()
    return all(lane.gap_m(other.person.position) > LANE_MOUTH_M for lane in lanes)


def face(actor: Actor, other: Actor) -> None:
    """Both stand and look at each other."""
    gap = other.person.position - actor.person.position
    actor.stop(gap)
    if np.hypot(*gap) > 1e-6:
        other.person.heading = -gap / np.hypot(*gap)


def at_mark(actor: Actor, mark: Mark) -> Ticks:
    """Wait until everybody with the mark is ready, then begin in the same tick."""
    mark.ready.append(actor)
    mark.first_ns = mark.first_ns or actor.now_ns
    while mark.begins_ns is None or actor.now_ns < mark.begins_ns:
        too_long = actor.now_ns - mark.first_ns > MARK_MAX_S * NS
        if mark.begins_ns is None and (mark.complete() or too_long):
            mark.begins_ns = actor.now_ns + TICK_NS
        yield
    return True


def idle(actor: Actor) -> Generator[None, None, None]:
    """With nothing to do: after the first of the party, wait for who wants something, or leave."""
    since_ns = actor.awake_ns
    while True:
        leader = actor.party.people[0]
        follows = actor.person.index > 0 and actor.person.follows and not actor.leaving
        wait = not actor.leaving and actor.awake_ns - since_ns < IDLE_MAX_S * NS
        actor.waiting = wait and actor.scene.wanted(actor)
        if follows and leader.busy and leader.phase in INDOORS:
            _leave_stand(actor)
            walking.follow(actor.crowd, actor.party, actor.person, leader, actor.now_ns)
        elif actor.waiting:
            _wait_aside(actor)
        else:
            actor.set_off()
            break
        yield
    while True:
        walking.leave_store(actor.crowd, actor.party, actor.person, actor.now_ns)
        yield


# --- helpers --------------------------------------------------------------------------------------


def _go_on(actor: Actor, goal: Floats) -> None:
    person = actor.person
    if not person.way:
        person.way = actor.crowd.routes.way(person.position, goal)
    walking.advance(actor.crowd, actor.party, person, actor.now_ns)


def _reaches(actor: Actor, facing: int, crossed: bool) -> bool:
    """True when the person stands where it can reach the facing without a step."""
    if actor.before is None:
        return False
    shelves = actor.crowd.stock.shelves
    here, there = (shelves.facing_shelf[f] for f in (actor.before, facing))
    gap = shelves.origin_store_m[there][:2] - shelves.origin_store_m[here][:2]
    same_side = np.abs(gap).max() < 0.05 and shelves.front[here] @ shelves.front[there] > 0
    if not same_side:
        return False
    middle_m = sum(shelves.facing_span_m[facing]) / 2
    offset = actor.person.position - shelves.origin_store_m[there][:2]
    aside_m = abs(float(offset @ shelves.along[there]) - middle_m)
    return REACH_ASIDE_M < aside_m < CROSSED_FAR_M if crossed else aside_m < REACH_ASIDE_M


def _approach(actor: Actor, other: Actor) -> None:
    """Set off to a free place beside another person; stand where that is not to be had."""
    place = _beside(actor, other)
    if place is None:
        actor.person.way = []
        return
    if actor.person.phase is not Phase.WALK or not actor.person.way:
        actor.set_off()
    actor.person.way = actor.crowd.routes.way(actor.person.position, place)


def _beside(actor: Actor, other: Actor) -> Floats | None:
    """The nearest free place at arm's length of somebody."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = other.person.position + BESIDE_M * np.column_stack([np.cos(angle), np.sin(angle)])
    ring = ring[np.argsort(np.hypot(*(ring - actor.person.position).T), kind="stable")]
    others = [p.position for p in actor.crowd.people if p not in (actor.person, other.person)]
    for point in ring:
        moved = np.hypot(*(walking.on_floor(actor.crowd, point, 0.02) - point)) > 1e-9
        clear = all(x.gap_m(point) > LANE_MOUTH_M for x in actor.crowd.lanes.values())
        if not moved and clear and all(np.hypot(*(o - point)) > ELBOW_ROOM_M for o in others):
            return np.asarray(point)
    return None


def _leave_stand(actor: Actor) -> None:
    if actor.person.phase is not Phase.WALK:
        actor.set_off()


def _wait_aside(actor: Actor) -> None:
    """Wait, but not in a gate's lane."""
    _leave_stand(actor)
    person = actor.person
    for lane in actor.crowd.lanes.values():
        if lane.gap_m(person.position) < DOOR_M and not person.way:
            person.way = actor.crowd.routes.way(person.position, _aside_of(actor, lane))
    if person.way and np.hypot(*(person.way[-1] - person.position)) < AT_POINT_M:
        person.way = []
    walking.advance(actor.crowd, actor.party, person, actor.now_ns)


def _aside_of(actor: Actor, lane: Lane) -> Floats:
    """A point inside, not straight before the gate."""
    angle = float(actor.party.rng.uniform(0.3, 1.0)) * (1 if actor.party.rng.random() < 0.5 else -1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return walking.on_floor(actor.crowd, lane.line + (DOOR_M + 0.5) * turn @ lane.inward)
