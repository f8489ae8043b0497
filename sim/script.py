"""What a scenario can say: frozen types that ``sim/scenario.py`` fills from a TOML file.

A scenario names people and items; the seed varies everything else (walking, masses, noise, exact
instants within their ranges). Instants and durations are ``Span``s, drawn evenly between two ends.
``docs/SCENARIOS.md`` is the handbook; its tables are drawn from the enums here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from sim.cameras import Faults
from sim.shelf_physics import Quirks
from sim.shoppers import Habits

Span: TypeAlias = tuple[float, float]
NOW: Span = (0.0, 0.0)


class Kind(StrEnum):
    """Which split of the scores a scenario belongs to."""

    HARD = "hard"  # one hard case each
    ORDINARY = "ordinary"  # days as they are
    ADVERSARIAL = "adversarial"  # shoppers who want to confuse
    STAFF = "staff"  # restocking and planogram work
    FAULTY = "faulty"  # hardware that fails


class Act(StrEnum):
    """One thing that a member of a party does."""

    TAKE = "take"  # lift units of a facing's goods
    RETURN = "return"  # put a carried unit back: its own facing, or ``facing``
    TOUCH = "touch"  # rummage: a hand on the shelf, nothing leaves
    LEAN = "lean"  # an arm or a bag lies on the shelf for ``lasts_s``
    HAND_OVER = "hand_over"  # give carried units to ``to``, standing beside each other
    DROP = "drop"  # leave carried units on the floor, or in another place without a plate
    PICK_UP = "pick_up"  # take units that lie on the floor
    BUMP = "bump"  # knock the gondola of ``facing``
    READ = "read"  # stand before ``facing`` and read for ``lasts_s``; hands stay off
    GO = "go"  # walk to ``point`` or before ``facing``
    MEET = "meet"  # walk to ``to`` and wait until both stand together
    SWAP = "swap"  # trade places with ``to``, passing closely
    WAIT = "wait"  # stand still for ``lasts_s``
    LIFT_CHILD = "lift_child"  # carry the child ``to``: one body for the cameras
    PUT_DOWN_CHILD = "put_down_child"  # set the child down again
    RESTOCK = "restock"  # staff: set ``quantity`` units of ``sku`` (default: the facing's) down
    CLEAR = "clear"  # staff: take everything off the facing
    LEAVE = "leave"  # go to the exit now; what follows is not done


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """An act and its particulars; fields that the act does not know must stay at their default."""

    act: Act  # what is done; the table of acts says which keys it needs
    facing: str = ""  # id of a facing
    sku: str = ""  # which carried goods; "" = the last that was taken
    quantity: int = 1  # units
    together: bool = True  # several units in one lift
    hold_s: Span = NOW  # held half lifted on the plate before it leaves
    slow: bool = False  # a lift of a second or two
    press_g: float = 0.0  # weight of the hand, arm or bag; 0 = drawn
    crossed: bool = False  # reach across the neighbour instead of standing before the facing
    to: str = ""  # another person: "b" (its first member) or "b/1"
    point: tuple[float, float] | None = None  # store frame, metres
    lasts_s: Span = NOW  # how long a lean, a read or a wait takes
    after_s: Span = NOW  # pause before
    mark: str = ""  # all acts of one mark begin in the same instant
    probability: float = 1.0  # drawn by the seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One body of a party."""

    do: tuple[Do, ...] = ()  # in this order
    child: bool = False  # small, runs about near the first member
    follows: bool = True  # with nothing to do: stays near the first member
    bag: bool = False  # a basket or trolley bag: wider, and hangs over plates
    height_m: float = 0.0  # 0 = drawn
    speed_m_s: float = 0.0  # 0 = drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyScript:
    """Some people under one credential."""

    name: str  # a-z, 0-9, "-" and "_": how others and the truth call it
    arrives_s: Span = (1.0, 2.0)  # in front of the gate
    gate: str = ""  # "" = any entry
    members: tuple[Member, ...] = (Member(),)  # the first one holds the credential
    staff: bool = False  # a staff credential: never charged
    tailgates: str = ""  # walks in behind this party without a credential


class FaultKind(StrEnum):
    """What can fail. ``device`` is the id of a camera, shelf node, gate node or plate."""

    DARK_CAMERA = "dark_camera"  # sees nothing, goes on sending empty packets
    FROZEN_CAMERA = "frozen_camera"  # repeats its last detections with new capture times
    LOST_CAMERA = "lost_camera"  # sends nothing
    LATE_CAMERA = "late_camera"  # ``amount`` s later than usual
    BLIND_SPOT = "blind_spot"  # ``amount``: share of people it misses
    STUCK_CELL = "stuck_cell"  # a plate repeats its last count
    SATURATED_CELL = "saturated_cell"  # a plate at the end of its converter
    NOISY_SHELF = "noisy_shelf"  # ``amount`` times the noise, on a shelf node
    DRIFTING_PLATE = "drifting_plate"  # ``amount`` g per minute
    LOST_NODE = "lost_node"  # unplugged: silent
    LOST_BATCHES = "lost_batches"  # ``amount``: share of batches lost
    REPEATED_BATCHES = "repeated_batches"  # ``amount``: share of batches sent twice
    LATE_BATCHES = "late_batches"  # ``amount`` s later than usual
    CLOCK_STEP = "clock_step"  # the node's ticks jump by ``amount`` s
    BUMP = "bump"  # a gondola (id of the fixture) is knocked


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something fails for a while."""

    kind: FaultKind  # what fails and how
    device: str  # id of what fails; the table of faults says of which sort
    at_s: Span  # store time
    lasts_s: Span = (1e9, 1e9)  # not said: for good
    amount: float = 0.0  # how bad, in the unit that the table of faults says


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongFacing:
    """The store's books are wrong: ``facing`` really holds ``holds``."""

    facing: str  # id of a facing
    holds: str  # SKU that really stands there


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Shoppers of their own mind, beside the scripted ones; ``every_s`` 0: nobody."""

    every_s: float = 0.0  # mean time between arrivals; 0 = nobody
    first_s: float = 1.5  # store time of the first arrival
    people_max: int = 5  # inside or at the gate; others come later
    adversary_share: float = 0.0  # of actions that are chosen to confuse
    bump_every_s: float = 0.0  # mean time between knocks at a gondola; 0 = never


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who, what, when, where."""

    name: str
    title: str  # one line, for `walkout sim list`
    kind: Kind  # which split of the scores it belongs to
    hard_cases: tuple[str, ...] = ()  # tags that scores are broken down by
    store: str = "first-store"  # a layout of sim/layouts, or the path of a store.toml
    duration_s: float = 45.0  # doors open
    long: bool = False  # a day: left out of the default suite
    review_deadline_s: float = 10.0  # after the exit; nobody answers reviews in a simulation
    parties: tuple[PartyScript, ...] = ()  # who comes and what they do
    background: Background = Background()  # others, who shop as they like
    faults: tuple[Fault, ...] = ()  # hardware that fails
    planogram: tuple[WrongFacing, ...] = ()  # where the books are wrong
    habits: Habits = field(default_factory=Habits)  # of the background
    quirks: Quirks = Quirks()  # how bad the load cells are; 1 = a real store, 0 = perfect
    detector: Faults = Faults()  # how bad the cameras' detectors are
