"""Walking indoors: to a place at a shelf, after the first of the party, to the exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from messages.arrays import Floats
from sim.geometry import pushed_out
from sim.shoppers import INDOORS, Party, Person, Phase, Signal

if TYPE_CHECKING:
    from sim.crowd import Crowd
    from sim.lanes import Lane

NS = 1_000_000_000
WAIT_INSIDE_M = 0.8  # before the line of the exit
STAND_GAP_M = (0.36, 0.50)  # from the fixture to the body's centre
ELBOW_M = 0.46  # two people do not stand nearer to each other at a shelf
STUCK_NS = 2_500_000_000
STUCK_M = 0.25
STUCK_MAX = 6  # then the stop is given up
ARRIVED_M = 0.12
ROUND_CORNER_M = 0.28
EXIT_NEAR_M = 0.45
ASIDE_M = (0.0, 0.3, -0.3, 0.5, -0.5, 0.7, -0.7)  # places along the shelf, the best one first
SECOND_ROW_M = 0.82  # from the fixture: an arm reaches between two who stand there
BESIDE_SHELF_M = 0.2  # beyond the shelf's end, when it is crowded
CROSSED_M = (0.45, -0.45, 0.6, -0.6)  # before a neighbour's goods
LOOK_AHEAD_NS = 400_000_000  # between two looks at who stands in the way
LOOK_AHEAD_M = 2.5
PASS_M = 0.5  # who stands nearer to the line of the way is in it
STEP_ROUND_M = 0.62  # beside a standing person
FOLLOW_M = 0.85  # about an arm's length
ROMP_M = 1.4  # children run about


# --- what a shopper with a list of stops does ----------------------------------------------------


def walk(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """To the next stop, after the leader, or to the exit."""
    if not person.stops:
        follow_or_leave(crowd, party, person, now_ns)
        return
    stop = person.stops[0]
    if person.stand is None or not free(crowd, person, person.stand):
        _choose_stand(crowd, party, person, now_ns)
    advance(crowd, party, person, now_ns)
    if person.stand is None:
        return
    if np.hypot(*(person.position - person.stand)) < ARRIVED_M:
        person.signal(Signal.ARRIVED)
        person.way, person.stuck = [], 0
        person.busy_until_ns = now_ns + int(party.rng.uniform(*party.look_s) * NS)
        person.heading = towards_shelf(crowd, stop.facing)
    elif person.stuck > STUCK_MAX:
        person.stops.pop(0)
        person.stand, person.stuck = None, 0


def act(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """One task after another, then on."""
    if now_ns < person.busy_until_ns:
        return
    person.gesture = None
    stop = person.stops[0]
    if stop.tasks:
        person.gesture = crowd.hands.perform(party, person, stop.tasks.pop(0), now_ns)
        pause_ns = int(party.rng.uniform(0.1, 0.9) * NS)
        ended_ns = person.gesture.ended_at_ns if person.gesture else now_ns
        person.busy_until_ns = ended_ns + pause_ns
        return
    person.stops.pop(0)
    person.stand = None
    person.signal(Signal.DONE_HERE)
    progress(person, now_ns)


def _choose_stand(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Set off to a free place; where all are taken wait, and after a while go elsewhere first."""
    if person.stand is None and now_ns < person.busy_until_ns:
        return
    person.stand = stand_before(crowd, party, person, person.stops[0].facing)
    if person.stand is not None:
        person.way = crowd.routes.way(person.position, person.stand)
        return
    person.way, person.busy_until_ns = [], now_ns + NS // 2
    if party.rng.random() < 0.2:
        person.stops.append(person.stops.pop(0))


# --- for everybody indoors ------------------------------------------------------------------------


def stand_before(
    crowd: Crowd,
    party: Party,
    person: Person,
    facing: int,
    asides_m: tuple[float, ...] = ASIDE_M,
) -> Floats | None:
    """Where to stand for a facing: in front of it, beside others who stand there, or behind and
    between them."""
    shelves = crowd.stock.shelves
    shelf = shelves.facing_shelf[facing]
    low, high = shelves.facing_span_m[facing]
    gap = float(party.rng.uniform(*STAND_GAP_M))
    half = float(shelves.upper_m[shelf][-1]) + BESIDE_SHELF_M
    wish = (low + high) / 2 + float(party.rng.normal(0.0, 0.12))
    for out, aside in (*((gap, a) for a in asides_m), *((SECOND_ROW_M, a) for a in asides_m[:5])):
        place = float(np.clip(wish + aside, -half, half))
        point = shelves.origin_store_m[shelf][:2] + place * shelves.along[shelf]
        point = point + shelves.front[shelf] * (0.2 + out)
        if free(crowd, person, point):
            return np.asarray(point)
    return None


def free(crowd: Crowd, person: Person, point: Floats) -> bool:
    """True when nobody else stands at a point or is about to, nearer than an elbow.

    Plain floats: everybody who walks asks each tick.
    """
    x_m, y_m, me = float(point[0]), float(point[1]), (person.shopper, person.index)
    for other, other_x_m, other_y_m in crowd.standers:
        near = (other_x_m - x_m) ** 2 + (other_y_m - y_m) ** 2 < ELBOW_M**2
        if near and other is not person and other.phase is Phase.ACT:
            return False
    for other in crowd.people:
        stand = other.stand
        if stand is None or other is person or other.phase not in INDOORS:
            continue
        if (stand[0] - x_m) ** 2 + (stand[1] - y_m) ** 2 < ELBOW_M**2:
            acts = other.phase is Phase.ACT and near_own_stand(other)
            if acts or (other.shopper, other.index) < me:
                return False
    return True


def near_own_stand(person: Person) -> bool:
    """True where it has just come to its place."""
    assert person.stand is not None
    return bool(np.hypot(*(person.stand - person.position)) < ELBOW_M)


def towards_shelf(crowd: Crowd, facing: int) -> Floats:
    """Where somebody looks who stands before a facing."""
    return np.asarray(-crowd.stock.shelves.front[crowd.stock.shelves.facing_shelf[facing]])


def follow_or_leave(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """After the first of the party while that one is busy, then out."""
    leader = party.people[0]
    if person.index and person.follows and leader.phase in INDOORS and leader.busy:
        follow(crowd, party, person, leader, now_ns)
    else:
        leave_store(crowd, party, person, now_ns)


def leave_store(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """To the nearest exit, and into its lane when it is free."""
    lane = exit_lane(crowd, person)
    wait = lane.line + lane.inward * WAIT_INSIDE_M
    if not person.way or np.hypot(*(person.way[-1] - wait)) > 0.01:
        person.way = crowd.routes.way(person.position, wait)
    advance(crowd, party, person, now_ns)
    near = np.hypot(*(person.position - wait)) < EXIT_NEAR_M
    if near and lane.leaving is None:
        lane.leaving, person.exit_gate = person, lane.gate
        person.signal(Signal.INTO_EXIT)


def follow(crowd: Crowd, party: Party, person: Person, leader: Person, now_ns: int) -> None:
    """Stay about an arm's length from the leader; children run about."""
    if now_ns >= person.busy_until_ns:
        person.busy_until_ns = now_ns + NS
        angle = float(party.rng.uniform(0, 2 * np.pi))
        apart_m = ROMP_M if person.child else FOLLOW_M
        beside = leader.position + apart_m * np.array([np.cos(angle), np.sin(angle)])
        beside = on_floor(crowd, beside)
        far = np.hypot(*(leader.position - person.position)) > 1.3
        person.way = crowd.routes.way(person.position, beside) if far or person.child else []
    advance(crowd, party, person, now_ns)


def on_floor(crowd: Crowd, point: Floats, margin_m: float = 0.12) -> Floats:
    """The nearest point where a body can stand."""
    walls = crowd.walls
    out = pushed_out(point[None], walls.lower - margin_m, walls.upper + margin_m)[0]
    return np.asarray(np.clip(out, walls.area_lower, walls.area_upper))


def exit_lane(crowd: Crowd, person: Person) -> Lane:
    return min(crowd.exits, key=lambda x: float(np.hypot(*(x.line - person.position))))


def advance(crowd: Crowd, party: Party, person: Person, now_ns: int) -> None:
    """Drop points of the way that are reached; step round who stands in it; take a detour when
    nothing moves."""
    while len(person.way) > 1 and np.hypot(*(person.way[0] - person.position)) < ROUND_CORNER_M:
        person.way.pop(0)
    if now_ns >= person.look_at_ns and person.way:
        person.look_at_ns = now_ns + LOOK_AHEAD_NS
        _step_round(crowd, person)
    if np.hypot(*(person.position - person.progress_from)) > STUCK_M or not person.way:
        progress(person, now_ns)
    elif now_ns - person.progress_at_ns > STUCK_NS:
        progress(person, now_ns)
        person.stuck += 1
        angle = float(party.rng.uniform(0, 2 * np.pi))
        aside = person.position + 0.7 * np.array([np.cos(angle), np.sin(angle)])
        aside = on_floor(crowd, aside, 0.1)
        person.way = [aside, *crowd.routes.way(aside, person.way[-1])]


def _step_round(crowd: Crowd, person: Person) -> None:
    """Put a point beside the nearest person who stands in the next leg into the way."""
    if person.round is not None and person.way[0] is person.round and len(person.way) > 1:
        person.way.pop(0)
    person.round = None
    leg = person.way[0] - person.position
    length_m = float(np.hypot(*leg))
    others = crowd.standing[(crowd.standing != person.position).any(axis=1)]
    if length_m < ROUND_CORNER_M or not len(others):
        return
    ahead = leg / length_m
    along = (others - person.position) @ ahead
    aside = (others - person.position) @ np.array([-ahead[1], ahead[0]])
    blocks = (along > 0) & (along < min(length_m - STEP_ROUND_M / 2, LOOK_AHEAD_M))
    blocks &= np.abs(aside) < PASS_M
    if not blocks.any():
        return
    first = int(np.flatnonzero(blocks)[along[blocks].argmin()])
    person.round = _beside(crowd, person, others, first, ahead)
    if person.round is not None:
        person.way.insert(0, person.round)


def _beside(
    crowd: Crowd, person: Person, others: Floats, which: int, ahead: Floats
) -> Floats | None:
    """The point left or right of a standing person by which the way is shorter and free."""
    left = np.array([-ahead[1], ahead[0]])
    points = [others[which] + side * STEP_ROUND_M * left for side in (1.0, -1.0)]
    points.sort(key=lambda point: float(np.hypot(*(point - person.position))))
    rest = np.delete(others, which, axis=0)
    for point in points:
        moved_m = float(np.hypot(*(on_floor(crowd, point, 0.0) - point)))
        if moved_m < 1e-9 and (np.hypot(*(rest - point).T) > PASS_M).all():
            return np.asarray(point)
    return None


def progress(person: Person, now_ns: int) -> None:
    """The person got on: not stuck."""
    person.progress_at_ns, person.progress_from = now_ns, person.position.copy()
