"""From a scenario's parties to people with minds: who comes when, by which gate, with what in mind.

Every party draws from its own generator, in an order that does not depend on what happens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from messages.arrays import Floats
from messages.ids import GateId
from sim.actors import Actor, Scene
from sim.acts import live
from sim.crowd import Crowd
from sim.lanes import Lane
from sim.script import Member, PartyScript, Scenario
from sim.shoppers import BAG_M, CHILD_HEIGHT_M, Habits, Party, Person, new_person

NS = 1_000_000_000
OUTSIDE_M = 2.6  # before the line, where people appear
CHILD_RADIUS_M = (0.13, 0.17)
CHILD_SPEED_M_S = (1.1, 1.6)  # they run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coming:
    """A party on its way."""

    at_ns: int
    party: Party
    gate: GateId


def cast(scenario: Scenario, scene: Scene, seeds: np.random.SeedSequence) -> list[Coming]:
    """All scripted parties, the first one to come last in the list.

    A party that tailgates comes with its victim.
    """
    rngs = [np.random.default_rng(s) for s in seeds.spawn(len(scenario.parties))]
    made = {
        script.name: _coming(script, scenario.habits, scene, rng)
        for script, rng in zip(scenario.parties, rngs, strict=True)
    }
    for script in scenario.parties:
        if script.tailgates:
            victim = made[script.tailgates]
            made[script.name].party.tailgates = victim.party
            made[script.name] = replace(made[script.name], at_ns=victim.at_ns + 1, gate=victim.gate)
    return sorted(made.values(), key=lambda c: c.at_ns, reverse=True)


def with_mind(actor: Actor) -> Actor:
    """Let the person act by its script."""
    actor.life = live(actor)
    actor.person.mind = actor
    actor.scene.add(actor)
    return actor


def entries(lanes: dict[GateId, Lane]) -> list[Lane]:
    """Lanes by which shoppers come in."""
    return [lane for lane in lanes.values() if lane.reader is not None]


def outside(lane: Lane) -> Floats:
    """Where people appear: before the gate, behind those who queue."""
    queued = sum(len(party.people) for party in lane.queue)
    return np.asarray(lane.line - max(OUTSIDE_M, 0.8 * (queued + 1)) * lane.inward)


def arrive(crowd: Crowd, coming: Coming) -> None:
    """The party is in front of the store, and goes to the end of the queue."""
    lane = crowd.lanes[coming.gate]
    further = outside(lane) - (lane.line - OUTSIDE_M * lane.inward)
    for person in coming.party.people:
        person.position = person.position + further
        person.before = person.position.copy()
    crowd.join(coming.party, coming.gate)


def _coming(script: PartyScript, habits: Habits, scene: Scene, rng: np.random.Generator) -> Coming:
    lanes = entries(scene.crowd.lanes)
    lane = lanes[int(rng.integers(len(lanes)))]
    if script.gate:
        lane = scene.crowd.lanes[GateId(script.gate)]
    at_ns = int(rng.uniform(*script.arrives_s) * NS)
    start = np.asarray(lane.line - OUTSIDE_M * lane.inward)
    people = [
        _body(new_person(script.name, i, habits, rng, start), member, rng)
        for i, member in enumerate(script.members)
    ]
    party = Party(shopper=script.name, people=people, rng=rng, staff=script.staff)
    for person, member in zip(people, script.members, strict=True):
        todo = [do for do in member.do if rng.random() < do.probability]
        with_mind(Actor(scene, party, person, todo))
    return Coming(at_ns=at_ns, party=party, gate=lane.gate)


def _body(person: Person, member: Member, rng: np.random.Generator) -> Person:
    """The member's own size, pace and bag."""
    height_m, radius_m = rng.uniform(*CHILD_HEIGHT_M), rng.uniform(*CHILD_RADIUS_M)
    speed_m_s = rng.uniform(*CHILD_SPEED_M_S)
    if member.child:
        person.height_m, person.radius_m = float(height_m), float(radius_m)
        person.speed_m_s = float(speed_m_s)
    person.child, person.bag, person.follows = member.child, member.bag, member.follows
    person.radius_m += BAG_M * member.bag
    person.height_m = member.height_m or person.height_m
    person.speed_m_s = member.speed_m_s or person.speed_m_s
    return person
