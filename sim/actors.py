"""People who follow a script: one actor a person, and the scene in which they find each other.

What an actor does is a generator (``sim.acts.live``): each ``yield`` is one tick of the world, so
that an act reads in the order in which it happens. Nobody waits for ever: going somewhere, waiting
for a partner and waiting at a mark each have a limit, after which the act is given up and the next
one begins. Limits are taken on an actor's own clock, which stands while somebody else holds it.

Who wants something of another person walks up and *holds* that person. One who holds is never
held, so that holds cannot form a circle.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from messages.arrays import Floats
from sim import walking
from sim.crowd import Crowd
from sim.script import Act, Do, Span
from sim.shoppers import INDOORS, Party, Person, Phase, Signal

NS = 1_000_000_000
TICK_NS = 50_000_000
Ticks: TypeAlias = Generator[None, None, bool]  # gives back whether it came about

ANYBODY = "*"  # ``Do.to``: whoever is nearest


@dataclass(slots=True, eq=False)
class Mark:
    """Acts that begin together. ``out``: those who gave up or went on."""

    members: list[Actor] = field(default_factory=list)
    ready: list[Actor] = field(default_factory=list)
    out: list[Actor] = field(default_factory=list)
    first_ns: int | None = None
    begins_ns: int | None = None

    def complete(self) -> bool:
        return all(m in self.ready or m in self.out or m.gone for m in self.members)


@dataclass(slots=True, eq=False)
class Scene:
    """Everybody with a script, by name ("b/1"; "b" is its first member), and the marks."""

    crowd: Crowd
    facing_index: dict[str, int]
    actors: dict[str, Actor] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)

    @staticmethod
    def of(crowd: Crowd) -> Scene:
        return Scene(crowd, {str(f.id): i for i, f in enumerate(crowd.config.facings)})

    def add(self, actor: Actor) -> None:
        self.actors[actor.name] = actor
        for do in actor.todo:
            if do.mark:
                self.marks.setdefault(do.mark, Mark()).members.append(actor)

    def find(self, name: str, seeker: Actor) -> Actor | None:
        """The person of a name; of ``ANYBODY`` the nearest one indoors of another party."""
        if name != ANYBODY:
            return self.actors.get(name if "/" in name else f"{name}/0")
        others = [a for a in self.actors.values() if a.indoors and a.party is not seeker.party]
        return min(others, key=seeker.gap_m, default=None)

    def wanted(self, actor: Actor, act: Act | None = None) -> bool:
        """True while somebody still has an act (of one sort) that is to be done with the actor."""
        return any(
            self.actors.get(do.to if "/" in do.to else f"{do.to}/0") is actor
            for other in self.actors.values()
            if other is not actor and not other.gone
            for do in other.todo[other.at :]
            if do.to and do.act is not Act.PUT_DOWN_CHILD and act in (None, do.act)
        )


@dataclass(slots=True, eq=False)
class Actor:
    """One person's mind. ``acting``: its hands are full, it cannot be interrupted."""

    scene: Scene
    party: Party
    person: Person
    todo: list[Do]
    at: int = 0
    now_ns: int = 0
    awake_ns: int = 0
    life: Generator[None, None, None] | None = None  # ``sim.acts.live``
    held_by: Actor | None = None
    holding: Actor | None = None
    acting: bool = False
    led: bool = False  # trades places, and the other one sees to it
    waiting: bool = False  # idle, for somebody who wants something
    leaving: bool = False
    before: int | None = None  # the facing that it stands before
    given_up: list[Do] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.person.shopper}/{self.person.index}"

    @property
    def crowd(self) -> Crowd:
        return self.scene.crowd

    @property
    def current(self) -> Do | None:
        return self.todo[self.at] if self.at < len(self.todo) else None

    @property
    def busy(self) -> bool:
        return self.current is not None or self.waiting

    @property
    def indoors(self) -> bool:
        return self.person.phase in INDOORS and self.person.carrier is None

    @property
    def gone(self) -> bool:
        return self.person.phase in (Phase.LEAVE, Phase.GONE)

    def gap_m(self, other: Actor) -> float:
        return float(np.hypot(*(other.person.position - self.person.position)))

    def drawn(self, span: Span) -> float:
        return float(self.party.rng.uniform(*span))

    def step(self, crowd: Crowd, now_ns: int) -> None:
        del crowd  # the scene has it
        self.now_ns = now_ns
        person = self.person
        if person.gesture is not None and now_ns >= person.gesture.ended_at_ns:
            person.gesture = None
        if person.carrier is not None or self._held():
            return
        self.awake_ns += TICK_NS
        if self.life is not None:
            next(self.life)

    # --- standing and going ------------------------------------------------------------------

    def stop(self, heading: Floats | None = None) -> None:
        """Stand here and act."""
        if self.person.phase is Phase.WALK:
            self.person.signal(Signal.ARRIVED)
        self.person.way = []
        if heading is not None and np.hypot(*heading) > 1e-6:
            self.person.heading = heading / np.hypot(*heading)

    def set_off(self) -> None:
        """No longer stand where it stood."""
        if self.person.phase is Phase.ACT:
            self.person.signal(Signal.DONE_HERE)
        self.person.stand, self.before, self.person.stuck = None, None, 0
        self.person.way = []
        walking.progress(self.person, self.now_ns)

    # --- holding -----------------------------------------------------------------------------

    def hold(self, other: Actor) -> bool:
        """Make another person stand and wait; True when it does."""
        if other.held_by is self:
            return True
        free = other.indoors and other.held_by is None and other.holding is None
        if not free or other.acting or other.person.gesture is not None or self.held_by:
            return False
        self.release()
        self.holding, other.held_by = other, self
        other.person.still, other.person.way = True, []
        return True

    def release(self) -> None:
        """Let go of whom it held."""
        if self.holding is not None:
            self.holding.held_by = None
            self.holding.person.still = False
            self.holding = None

    def _held(self) -> bool:
        if self.held_by is not None and self.held_by.gone:
            self.held_by.release()
        if self.held_by is not None and self.person.still:
            self.person.way = []
        return self.held_by is not None

    def mutual(self, other: Actor) -> bool:
        """True when the other one is about to do the same act with this one."""
        mine, its = self.current, other.current
        if mine is None or its is None or mine.act is not its.act or not its.to:
            return False
        return self.scene.find(its.to, other) is self
