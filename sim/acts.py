"""The acts of a script: for each where it is done and how, one row of ``ACTS`` each.

An act of an actor: pause, go to its place, wait there for everybody with the same mark, do it. An
act that cannot be done (sold out, partner gone, no way) is given up, and the actor goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from messages.arrays import Floats
from sim import places, walking
from sim.actors import ANYBODY, NS, Actor, Ticks
from sim.geometry import fixture_of_shelf
from sim.gestures import Manner, in_the_air
from sim.moves import NEAR_M, at_mark, clear_of_doors, come_to, face, gesture, idle, pause
from sim.places import facing_of, held, on_floor, other_of
from sim.script import NOW, Act, Do, Span
from sim.shoppers import Person, Phase

BREATH_S = (0.1, 0.5)  # between two acts
QUICK_S = (0.05, 0.35)  # between two lifts of one act
READ_S = (3.0, 8.0)  # where the script does not say how long
LEAN_S = (1.5, 6.0)
MEET_S = (0.5, 2.0)
GIVES = frozenset({Act.RETURN, Act.HAND_OVER, Act.DROP})
STAFF_LIFT = 4  # units that staff handle in one go
PICK_UP_M = 0.5
PROMISE_MAX_S = 60.0  # for goods that somebody is yet to hand over
SWAP_MAX_S = 7.0
SWAP_HURRY = 1.25
LIFT_S = 0.8  # to take a child on the arm
CHILD_BESIDE_M = 0.5
GIVE_MAX_S = 15.0  # somebody who walked away while a mark was waited for


@dataclass(frozen=True, slots=True)
class Play:
    """How an act goes. ``still``: it leaves the hands free, somebody else may interrupt it."""

    place: Callable[[Actor, Do], Ticks]
    perform: Callable[[Actor, Do], Ticks]
    still: bool = False


def live(actor: Actor) -> Generator[None, None, None]:
    """All acts in turn, then out; it never ends while the person is indoors."""
    while (do := actor.current) is not None:
        if do.act in GIVES:
            yield from _goods_promised(actor, do)
        do = actor.todo[actor.at] = _resolved(actor, do)
        done = yield from _one(actor, do, ACTS[do.act])
        actor.release()
        actor.acting = False
        if not done:
            actor.given_up.append(do)
        if do.mark:
            actor.scene.marks[do.mark].out.append(actor)
        actor.at += 1
    yield from idle(actor)


def _one(actor: Actor, do: Do, play: Play) -> Ticks:
    yield from pause(actor, actor.drawn(do.after_s) + actor.drawn(BREATH_S))
    if not (yield from play.place(actor, do)):
        return False
    if do.mark:
        _let_go_for_mark(actor, do)
        stood = actor.before
        yield from at_mark(actor, actor.scene.marks[do.mark])
        if actor.before != stood and not (yield from play.place(actor, do)):
            return False  # somebody traded places with it meanwhile
    actor.acting = not play.still
    return (yield from play.perform(actor, do))


def _goods_promised(actor: Actor, do: Do) -> Ticks:
    """Wait for goods that somebody is yet to hand over, when there are none to give away."""
    ends_ns = actor.awake_ns + int(PROMISE_MAX_S * NS)
    if not held(actor, do) and actor.scene.wanted(actor, Act.HAND_OVER):
        yield from clear_of_doors(actor)
    while not held(actor, do) and actor.scene.wanted(actor, Act.HAND_OVER):
        if actor.awake_ns > ends_ns:
            return False
        yield
    return True


def _let_go_for_mark(actor: Actor, do: Do) -> None:
    """Somebody held could not get ready for the same mark."""
    other = actor.holding
    if other is not None and any(d.mark == do.mark for d in other.todo[other.at :]):
        actor.release()


def _resolved(actor: Actor, do: Do) -> Do:
    """What the act is about, settled when it begins: later somebody may have handed over more.

    ``ANYBODY`` as a facing is the one that somebody else stands before now.
    """
    if do.act in GIVES and not do.sku and (units := held(actor, do)):
        do = replace(do, sku=actor.crowd.stock.units[units[-1]].sku)
    if do.facing != ANYBODY:
        return do
    others = [a for a in actor.scene.actors.values() if a.indoors and a.before is not None]
    others = [a for a in others if a.party is not actor.party]
    facings = actor.crowd.config.facings
    drawn = int(actor.party.rng.integers(len(facings)))
    nearest = min(others, key=actor.gap_m, default=None)
    index = drawn if nearest is None or nearest.before is None else nearest.before
    return replace(do, facing=str(facings[index].id))


# --- how ------------------------------------------------------------------------------------------


def take(actor: Actor, do: Do) -> Ticks:
    """One lift, or one for each unit."""
    facing, hands = facing_of(actor, do), actor.crowd.hands
    for quantity in _lifts(do):
        made = hands.take(
            actor.party,
            actor.person,
            facing,
            quantity,
            actor.now_ns,
            sku=do.sku,
            manner=_manner(actor, do),
        )
        if not (yield from gesture(actor, made)):
            return False
        yield from _breath(actor, do)
    return True


def put_back(actor: Actor, do: Do) -> Ticks:
    for quantity in _lifts(do):
        units = held(actor, replace(do, quantity=quantity))
        facing = actor.before if not do.facing else facing_of(actor, do)
        if facing is None:
            return False
        manner = _manner(actor, do)
        made = actor.crowd.hands.put_back(actor.party, units, facing, actor.now_ns, manner)
        if not (yield from gesture(actor, made)):
            return False
        yield from _breath(actor, do)
    return True


def touch(actor: Actor, do: Do) -> Ticks:
    manner = replace(_manner(actor, do), hold_s=actor.drawn(do.lasts_s))
    made = actor.crowd.hands.touch(actor.party, facing_of(actor, do), actor.now_ns, manner)
    return (yield from gesture(actor, made))


def lean(actor: Actor, do: Do) -> Ticks:
    lasts_s = actor.drawn(_or(do.lasts_s, LEAN_S))
    made = actor.crowd.hands.lean(
        actor.party, facing_of(actor, do), lasts_s, actor.now_ns, _manner(actor, do)
    )
    return (yield from gesture(actor, made))


def hand_over(actor: Actor, do: Do) -> Ticks:
    """Hands meet; both stand until the goods have passed."""
    other, units = other_of(actor, do), held(actor, do)
    if other is None or not units or not (yield from _again_beside(actor, other)):
        return False
    face(actor, other)
    made = actor.crowd.hands.hand_over(
        (actor.party, actor.person), (other.party, other.person), units, actor.now_ns
    )
    other.person.gesture = made
    return (yield from gesture(actor, made))


def drop(actor: Actor, do: Do) -> Ticks:
    units = held(actor, do)
    made = actor.crowd.hands.drop(actor.party, actor.person, units, actor.now_ns)
    return (yield from gesture(actor, made))


def pick_up(actor: Actor, do: Do) -> Ticks:
    lying = on_floor(actor, do)
    stock = actor.crowd.stock
    same = [u for u in lying if stock.units[u].sku == stock.units[lying[0]].sku]
    near = [u for u in same if np.hypot(*(stock.floor[u] - stock.floor[same[0]])) < PICK_UP_M]
    units = near[: do.quantity]
    made = actor.crowd.hands.pick_up(actor.party, actor.person, units, actor.now_ns)
    return (yield from gesture(actor, made))


def bump(actor: Actor, do: Do) -> Ticks:
    """Knock the gondola: every shelf of it rings."""
    facing, config = facing_of(actor, do), actor.crowd.config
    fixtures = fixture_of_shelf(config)
    knocked = fixtures[actor.crowd.stock.shelves.facing_shelf[facing]]
    shelves = [s for s, fixture in enumerate(fixtures) if fixture == knocked]
    made = actor.crowd.hands.bump(actor.party, shelves, facing, actor.now_ns)
    return (yield from gesture(actor, made))


def read(actor: Actor, do: Do) -> Ticks:
    return (yield from pause(actor, actor.drawn(_or(do.lasts_s, READ_S))))


def stand(actor: Actor, do: Do) -> Ticks:
    return (yield from pause(actor, actor.drawn(do.lasts_s)))


def meet(actor: Actor, do: Do) -> Ticks:
    return (yield from pause(actor, actor.drawn(_or(do.lasts_s, MEET_S))))


def swap(actor: Actor, do: Do) -> Ticks:
    """Both walk at once to where the other one stands; of two who both want it, one leads."""
    other = other_of(actor, do)
    if other is None or other.gone:
        return False
    if actor.mutual(other) and other.name < actor.name:
        return (yield from _led(actor, other))
    if not (yield from _partner_ready(actor, other)):
        return False
    walkers = (actor.person, other.person)
    goals = (other.person.position.copy(), actor.person.position.copy())
    other_stood = other.person.phase is Phase.ACT
    speeds = [p.speed_m_s for p in walkers]
    for one, goal in zip((actor, other), goals, strict=True):
        one.set_off()
        one.person.still, one.person.way = False, [goal]
        one.person.speed_m_s *= SWAP_HURRY
    ends_ns = actor.awake_ns + int(SWAP_MAX_S * NS)
    while actor.awake_ns < ends_ns and not _there(walkers, goals):
        yield
    for one, speed_m_s in zip((actor, other), speeds, strict=True):
        one.person.speed_m_s, one.person.way = speed_m_s, []
    if other_stood:
        other.stop()
    actor.stop()
    return _there(walkers, goals)


def lift_child(actor: Actor, do: Do) -> Ticks:
    """Take a child on the arm: from then on it is where its carrier is."""
    other = other_of(actor, do)
    if other is None or not other.person.child or other.person.carrier is not None:
        return False
    chest = np.append(other.person.position, 0.7 * other.person.height_m)
    made = in_the_air(actor.party.rng, actor.now_ns, LIFT_S, chest)
    other.acting = True
    yield from gesture(actor, made)
    actor.release()
    other.set_off()
    other.person.carrier, other.person.gesture, other.acting = actor.person, None, False
    return True


def put_down_child(actor: Actor, do: Do) -> Ticks:
    """Set the child ``to``, or every one it carries, down beside the feet."""
    named = other_of(actor, do) if do.to else None
    carried = [p for p in actor.crowd.people if p.carrier is actor.person]
    if named is not None:
        carried = [p for p in carried if p is named.person]
    for child in carried:
        feet = walking.on_floor(actor.crowd, _aside(actor.person))
        made = in_the_air(actor.party.rng, actor.now_ns, LIFT_S, np.append(feet, 0.5))
        yield from gesture(actor, made)
        child.carrier = None
        child.position, child.before, child.velocity = feet, feet.copy(), np.zeros(2)
        walking.progress(child, actor.now_ns)
    return bool(carried)


def restock(actor: Actor, do: Do) -> Ticks:
    """Several units in one go, until all are set down."""
    left, facing, hands = do.quantity, facing_of(actor, do), actor.crowd.hands
    while left > 0:
        lift = min(left, STAFF_LIFT)
        made = hands.restock(actor.party, facing, do.sku, lift, actor.now_ns)
        yield from gesture(actor, made)
        yield from pause(actor, actor.drawn(QUICK_S))
        left -= lift
    return True


def clear(actor: Actor, do: Do) -> Ticks:
    """Everything off the facing, whatever stands there."""
    facing, stock = facing_of(actor, do), actor.crowd.stock
    while stock.on[facing]:
        sku = stock.units[stock.on[facing][-1]].sku
        made = actor.crowd.hands.take(
            actor.party, actor.person, facing, STAFF_LIFT, actor.now_ns, sku=sku
        )
        yield from gesture(actor, made)
        yield from pause(actor, actor.drawn(QUICK_S))
    return True


def go_home(actor: Actor, do: Do) -> Ticks:
    """What follows is not done."""
    for later in actor.todo[actor.at + 1 :]:
        if later.mark:
            actor.scene.marks[later.mark].out.append(actor)
    del actor.todo[actor.at + 1 :]
    actor.leaving = True
    yield
    return do.act is Act.LEAVE


ACTS: dict[Act, Play] = {
    Act.TAKE: Play(places.at_facing, take),
    Act.RETURN: Play(places.at_shelf_of_return, put_back),
    Act.TOUCH: Play(places.at_facing, touch),
    Act.LEAN: Play(places.at_facing, lean),
    Act.HAND_OVER: Play(places.beside_other, hand_over),
    Act.DROP: Play(places.somewhere, drop),
    Act.PICK_UP: Play(places.at_goods, pick_up),
    Act.BUMP: Play(places.at_facing, bump),
    Act.READ: Play(places.at_facing, read, still=True),
    Act.GO: Play(places.somewhere, stand, still=True),
    Act.MEET: Play(places.where_both_meet, meet, still=True),
    Act.SWAP: Play(places.near_other, swap),
    Act.WAIT: Play(places.here, stand, still=True),
    Act.LIFT_CHILD: Play(places.beside_other, lift_child),
    Act.PUT_DOWN_CHILD: Play(places.here, put_down_child),
    Act.RESTOCK: Play(places.at_facing, restock),
    Act.CLEAR: Play(places.at_facing, clear),
    Act.LEAVE: Play(places.at_once, go_home),
}


# --- helpers --------------------------------------------------------------------------------------


def _lifts(do: Do) -> list[int]:
    return [do.quantity] if do.together else [1] * do.quantity


def _or(span: Span, otherwise: Span) -> Span:
    return otherwise if span == NOW else span


def _manner(actor: Actor, do: Do) -> Manner:
    return Manner(
        hold_s=actor.drawn(do.hold_s), slow=do.slow, press_g=do.press_g, bag=actor.person.bag
    )


def _breath(actor: Actor, do: Do) -> Ticks:
    if not do.together:
        yield from pause(actor, actor.drawn(QUICK_S))
    return True


def _again_beside(actor: Actor, other: Actor) -> Ticks:
    """Who was let go for a mark may have stepped away: hold again, go after."""
    ends_ns = actor.awake_ns + int(GIVE_MAX_S * NS)
    while actor.awake_ns < ends_ns and not other.gone:
        if actor.gap_m(other) <= NEAR_M and (actor.mutual(other) or actor.hold(other)):
            return True
        if actor.gap_m(other) > NEAR_M:
            return (yield from come_to(actor, other))
        yield
    return False


def _led(actor: Actor, other: Actor) -> Ticks:
    """The other one leads the trade of places; this one is walked by it."""
    at, ends_ns = other.at, actor.awake_ns + int(2 * SWAP_MAX_S * NS)
    actor.led = True
    while other.at == at and actor.awake_ns < ends_ns:
        yield
    actor.led = False
    return True


def _partner_ready(actor: Actor, other: Actor) -> Ticks:
    """Whoever is to trade places stands still for it, or lets itself be led."""
    ends_ns = actor.awake_ns + int(SWAP_MAX_S * NS)
    while actor.awake_ns < ends_ns and not other.gone:
        if other.led or (not actor.mutual(other) and actor.hold(other)):
            return True
        yield
    return False


def _there(walkers: tuple[Person, Person], goals: tuple[Floats, Floats]) -> bool:
    gaps = [np.hypot(*(p.position - goal)) for p, goal in zip(walkers, goals, strict=True)]
    return bool(max(gaps) < 0.3)


def _aside(person: Person) -> Floats:
    right = np.array([person.heading[1], -person.heading[0]])
    return np.asarray(person.position + CHILD_BESIDE_M * right)
