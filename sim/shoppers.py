"""Who comes shopping and what they have in mind: parties, their people and their stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from messages.arrays import Floats
from messages.ids import GateId
from sim.gestures import Gesture, Handling
from sim.stock import Stock

if TYPE_CHECKING:
    from sim.crowd import Crowd

ADULT_HEIGHT_M = (1.5, 1.95)
CHILD_HEIGHT_M = (0.9, 1.25)
BAG_M = 0.09  # a basket or trolley bag adds so much to a body's radius


class Wish(StrEnum):
    TAKE = "take"
    RETURN = "return"  # put back something carried
    TOUCH = "touch"  # lean or rummage, nothing leaves the shelf


class Phase(StrEnum):
    QUEUE = "queue"  # outside, on the way to the reader
    SCAN = "scan"  # code shown, waiting for the gate
    ENTER = "enter"  # in the entry lane
    WALK = "walk"
    ACT = "act"  # stands at a shelf
    LEAVE = "leave"  # in the exit lane
    GONE = "gone"


class Signal(StrEnum):
    SHOWED_CODE = "showed_code"
    UNLOCKED = "unlocked"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    SLIPPED_IN = "slipped_in"  # behind somebody else, without a code
    INSIDE = "inside"
    ARRIVED = "arrived"
    DONE_HERE = "done_here"
    INTO_EXIT = "into_exit"
    OUTSIDE = "outside"


TABLE: dict[tuple[Phase, Signal], Phase] = {
    (Phase.QUEUE, Signal.SHOWED_CODE): Phase.SCAN,
    (Phase.QUEUE, Signal.GAVE_UP): Phase.GONE,
    (Phase.QUEUE, Signal.SLIPPED_IN): Phase.ENTER,
    (Phase.SCAN, Signal.UNLOCKED): Phase.ENTER,
    (Phase.SCAN, Signal.REFUSED): Phase.QUEUE,
    (Phase.SCAN, Signal.GAVE_UP): Phase.GONE,
    (Phase.ENTER, Signal.INSIDE): Phase.WALK,
    (Phase.ENTER, Signal.GAVE_UP): Phase.GONE,
    (Phase.WALK, Signal.ARRIVED): Phase.ACT,
    (Phase.ACT, Signal.DONE_HERE): Phase.WALK,
    (Phase.WALK, Signal.INTO_EXIT): Phase.LEAVE,
    (Phase.WALK, Signal.OUTSIDE): Phase.GONE,  # a child on somebody's arm
    (Phase.LEAVE, Signal.OUTSIDE): Phase.GONE,
}
INDOORS = frozenset({Phase.WALK, Phase.ACT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What shoppers are like. Probabilities are per stop unless they say otherwise."""

    stops_mean: float = 2.8  # per party, at least one unless the visit is an empty one
    empty_visit_probability: float = 0.05
    quantity_probability: tuple[float, ...] = (0.70, 0.22, 0.08)  # of 1, 2, 3 units
    together_probability: float = 0.5  # several units in one lift
    touch_probability: float = 0.12
    undo_probability: float = 0.05  # put back at once
    change_mind_probability: float = 0.10  # per visit: put back later
    wrong_place_probability: float = 0.3  # of those put back later
    popular: float = 0.4  # 0: every facing alike; larger: most go to the same few
    party_of_two_probability: float = 0.2
    companion_shops_probability: float = 0.4
    speed_m_s: tuple[float, float] = (0.85, 1.35)
    look_s: tuple[float, float] = (0.4, 2.5)  # before a shelf, until the first reach
    handling: Handling = Handling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to do at a facing. ``sku``: of a return, the one to put back."""

    wish: Wish
    facing: int
    quantity: int = 1
    sku: str = ""


@dataclass(slots=True)
class Stop:
    """A stand in front of a facing and what to do there, in order."""

    facing: int
    tasks: list[Task]


class Mind(Protocol):
    """What a person indoors wants, where it does not go by ``Person.stops``."""

    @property
    def busy(self) -> bool:
        """True while there is more to do than to leave."""

    def step(self, crowd: Crowd, now_ns: int) -> None:
        """One tick: set the person's way, phase and gesture."""


@dataclass(slots=True, eq=False)
class Person:
    """One body. ``way``: points still to reach; ``stand``: where it acts or will act."""

    shopper: str  # the party's name
    index: int  # 0: holds the code
    position: Floats
    velocity: Floats
    before: Floats  # position one tick ago
    speed_m_s: float
    height_m: float
    radius_m: float
    phase: Phase = Phase.QUEUE
    stops: list[Stop] = field(default_factory=list)
    way: list[Floats] = field(default_factory=list)
    stand: Floats | None = None
    exit_gate: GateId = GateId("")
    gesture: Gesture | None = None
    heading: Floats = field(default_factory=lambda: np.array([0.0, 1.0]))
    busy_until_ns: int = 0
    progress_at_ns: int = 0
    progress_from: Floats = field(default_factory=lambda: np.zeros(2))
    stuck: int = 0
    look_at_ns: int = 0  # when it looks next who stands in its way
    round: Floats | None = None  # the point of its way that leads round somebody
    crossed_in: bool = False
    crossed_out: bool = False
    mind: Mind | None = None
    child: bool = False
    bag: bool = False
    follows: bool = True
    still: bool = False  # somebody wants it to stand
    carrier: Person | None = None  # has it on the arm
    holds: list[int] = field(default_factory=list)  # units, the last one taken last

    @property
    def busy(self) -> bool:
        """True while it has more to do than to leave."""
        return self.mind.busy if self.mind is not None else bool(self.stops)

    def signal(self, signal: Signal) -> None:
        """One transition of ``TABLE``; a signal that has no row there is a defect of ours."""
        self.phase = TABLE[self.phase, signal]


@dataclass(slots=True, eq=False)
class Party:
    """Some people under one code. ``carried``: units with the facing they came from."""

    shopper: str
    people: list[Person]
    rng: np.random.Generator
    look_s: tuple[float, float] = (0.4, 2.5)
    staff: bool = False
    tailgates: Party | None = None  # walks in behind it without a code
    gate: GateId = GateId("")  # by which it comes in
    credential: str = ""
    attempt: int = 0
    carried: list[tuple[int, int]] = field(default_factory=list)
    entered_at_ns: int | None = None
    exited_at_ns: int | None = None
    scanned_at_ns: int = 0


def new_party(
    number: int, stock: Stock, habits: Habits, rng: np.random.Generator, outside: Floats
) -> Party:
    """A party in front of the store with everything it will do."""
    size = 1 + int(rng.random() < habits.party_of_two_probability)
    name = f"shopper-{number}"
    people = [new_person(name, i, habits, rng, outside) for i in range(size)]
    people[0].stops = shopping_list(stock, habits, rng)
    if rng.random() < habits.empty_visit_probability:
        for stop in people[0].stops:  # they look, and take nothing
            stop.tasks = []
    if size == 2 and rng.random() < habits.companion_shops_probability:
        people[1].stops = shopping_list(stock, habits, rng)[:1]
    return Party(shopper=name, people=people, rng=rng, look_s=habits.look_s)


def shopping_list(stock: Stock, habits: Habits, rng: np.random.Generator) -> list[Stop]:
    """Stops in a random order: people do not walk the shortest way."""
    count = min(len(stock.on), 1 + int(rng.poisson(max(0.0, habits.stops_mean - 1))))
    rank = np.arange(1, len(stock.on) + 1, dtype=np.float64) ** -habits.popular
    # Which facings are popular is the store's, not the party's: the order of their numbers
    # times a constant coprime to it spreads them over the gondolas.
    rank = rank[(np.arange(len(rank)) * 17) % len(rank)]
    chosen = rng.choice(len(rank), size=count, replace=False, p=rank / rank.sum())
    stops = [_stop(int(facing), stock, habits, rng) for facing in chosen]
    if rng.random() < habits.change_mind_probability:
        _change_mind(stops, stock, habits, rng)
    return stops


def _stop(facing: int, stock: Stock, habits: Habits, rng: np.random.Generator) -> Stop:
    sku = stock.home[facing]
    quantity = 1 + int(rng.choice(len(habits.quantity_probability), p=habits.quantity_probability))
    tasks: list[Task] = []
    if rng.random() < habits.touch_probability:
        tasks.append(Task(wish=Wish.TOUCH, facing=facing))
    together = quantity == 1 or rng.random() < habits.together_probability
    lifts = [quantity] if together else [1] * quantity
    tasks += [Task(wish=Wish.TAKE, facing=facing, quantity=q) for q in lifts]
    if rng.random() < habits.undo_probability:
        tasks.append(Task(wish=Wish.RETURN, facing=facing, sku=sku))
    return Stop(facing, tasks)


def _change_mind(stops: list[Stop], stock: Stock, habits: Habits, rng: np.random.Generator) -> None:
    """Add a later put-back of what the first stop took: at its place, or where they stand."""
    first = stops[0].facing
    sku = stock.home[first]
    wrong = len(stops) > 1 and rng.random() < habits.wrong_place_probability
    if wrong:
        stops[-1].tasks.append(Task(wish=Wish.RETURN, facing=stops[-1].facing, sku=sku))
    elif len(stops) > 1:
        stops.append(Stop(first, [Task(wish=Wish.RETURN, facing=first, sku=sku)]))


def new_person(
    shopper: str, index: int, habits: Habits, rng: np.random.Generator, outside: Floats
) -> Person:
    """A grown-up outside the store."""
    start = outside + rng.uniform(-0.15, 0.15, 2)
    return Person(
        shopper=shopper,
        index=index,
        position=start,
        velocity=np.zeros(2),
        before=start.copy(),
        speed_m_s=float(rng.uniform(*habits.speed_m_s)),
        height_m=float(np.clip(rng.normal(1.71, 0.09), *ADULT_HEIGHT_M)),
        radius_m=float(rng.uniform(0.2, 0.26)),
    )
