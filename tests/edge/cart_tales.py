"""Random tales for the cart tracker: people who come, stand, reach and go, and mass that moves.

A tale is drawn by Hypothesis and told to a tracker; the same tale can be told with other names or
in a store whose origin lies elsewhere. Anything may happen in it: mass that nobody moved, plates
that jump by kilograms, identities that are mixed up, answers that nobody would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from cart_study import (
    MASSES,
    PLATE_M,
    PLATES,
    SECOND,
    Body,
    Scene,
    no_steps,
    one_step,
    started,
    store,
)
from hypothesis import strategies as st

from edge.cart_tracker import CartTracker, InvalidAnswer
from messages.events import Event, VisitKind
from messages.ids import VisitId
from messages.observations import ReviewAnswer
from messages.store_config import Decision, StoreConfig

SHELVES, PEOPLE_MAX = 2, 4
Point = tuple[float, float, float]
HERE: Point = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Enter:
    staff: bool


@dataclass(frozen=True, kw_only=True)
class Stand:
    person: int
    at_m: tuple[float, float]
    wrist: tuple[float, float, float] | None
    sure: float  # of the tracker, who it is


@dataclass(frozen=True, kw_only=True)
class Move:
    shelf: int
    grams: Mapping[int, float]
    flags: int
    noise_g: float


@dataclass(frozen=True, kw_only=True)
class Leave:
    person: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    candidate: int  # of the oldest open question; beyond the last: nobody


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Somebody known stands before goods, alone or not, and takes or puts back units of them."""

    person: int
    shelf: int
    plate: int
    units: int  # negative: taken
    off: float  # of the mass
    back_at: int | None = None  # one unit comes back at once, on this plate


Act = Enter | Stand | Move | Reach | Leave | Answer
Tale = list[Act]
PERSON = st.integers(0, PEOPLE_MAX - 1)
PLATE = st.integers(0, PLATES - 1)
GOODS = st.tuples(PLATE, st.sampled_from([-2, -1, 1]), st.floats(0.97, 1.03)).map(
    lambda g: {g[0]: g[1] * g[2] * MASSES[g[0]]}
)
ANYTHING = st.dictionaries(PLATE, st.floats(-3000.0, 3000.0).filter(bool), min_size=1, max_size=3)
AT = st.tuples(st.integers(0, PLATES - 1), st.integers(0, SHELVES - 1), st.floats(0.3, 1.5))
MOVES = st.builds(
    Move,
    shelf=st.integers(0, SHELVES - 1),
    grams=GOODS | GOODS | ANYTHING,
    flags=st.sampled_from([0, 0, 0, 1, 2]),
    noise_g=st.sampled_from([1.0, 1.0, 8.0]),
)
STANDS = st.builds(
    lambda person, at, wrist, sure: Stand(
        person=person,
        at_m=(PLATE_M * at[0], 10.0 * at[1] + at[2]),
        wrist=(PLATE_M * at[0], 10.0 * at[1] + 0.2, 1.1) if wrist else None,
        sure=sure,
    ),
    person=PERSON,
    at=AT,
    wrist=st.booleans(),
    sure=st.sampled_from([0.999, 0.999, 0.8, 0.5]),
)
REACHES = st.builds(
    Reach,
    person=PERSON,
    shelf=st.integers(0, SHELVES - 1),
    plate=PLATE,
    units=st.sampled_from([-2, -1, -1, 1]),
    off=st.floats(0.98, 1.02),
)
COMES_BACK = st.builds(
    lambda reach, elsewhere: replace(
        reach, units=-abs(reach.units), back_at=elsewhere if elsewhere % 2 else reach.plate
    ),
    REACHES,
    PLATE,
)
TALES = st.lists(
    REACHES
    | REACHES
    | COMES_BACK
    | COMES_BACK
    | st.builds(Enter, staff=st.sampled_from([False, False, False, True]))
    | STANDS
    | STANDS
    | MOVES
    | MOVES
    | st.builds(Leave, person=PERSON)
    | st.builds(Answer, candidate=st.integers(0, 3)),
    min_size=4,
    max_size=14,
).map(lambda acts: [Enter(staff=False), *acts])


@dataclass
class Telling:
    """A tale under way. ``names``: of the visits, in order of entry."""

    config: StoreConfig
    names: tuple[str, ...]
    origin_m: Point
    tracker: CartTracker
    scene: Scene = field(default_factory=Scene)
    now_ns: int = 10 * SECOND
    steps: int = 0
    visits: list[VisitId] = field(default_factory=list)
    staff: set[VisitId] = field(default_factory=set)
    left: set[VisitId] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)

    def act(self, act: Act) -> None:
        match act:
            case Enter():
                self._enter(act)
            case Stand():
                self._stand(act)
            case Move():
                self._move(act)
            case Reach():
                self._reach(act)
            case Leave():
                self._leave(act)
            case Answer():
                self._answer(act)

    def settle(self) -> None:
        """Nothing waits any more."""
        for _ in range(2):
            self.now_ns += 5 * SECOND
            self._step(no_steps(self.config))

    def _enter(self, act: Enter) -> None:
        if len(self.visits) == PEOPLE_MAX:
            return
        visit = VisitId(self.names[len(self.visits)])
        kind = VisitKind.STAFF if act.staff else VisitKind.SHOPPER
        self.tracker.visit_started(started(visit, self.now_ns, kind))
        self.visits.append(visit)
        if act.staff:
            self.staff.add(visit)
        far = (50.0 + 5.0 * len(self.visits), 50.0)
        self.scene.visits.append(visit)
        self.scene.bodies.append(Body(position=self._moved(far), identity={visit: 0.999}))

    def _stand(self, act: Stand) -> None:
        if act.person >= len(self.visits):
            return
        visit, body = self.visits[act.person], self.scene.bodies[act.person]
        body.position = self._moved(act.at_m)
        other = self.visits[act.person - 1]
        body.identity = {visit: act.sure}
        if other != visit:
            body.identity[other] = 0.999 - act.sure
        body.wrist = None
        if act.wrist is not None:
            x, y, z = (a + b for a, b in zip(act.wrist, self.origin_m, strict=True))
            body.wrist = (x, y, z)

    def _move(self, act: Move) -> None:
        self.steps += 1
        grams, noise_g = dict(act.grams), act.noise_g
        steps = one_step(self.config, self.steps, act.shelf, grams, self.now_ns, act.flags, noise_g)
        self.now_ns += SECOND
        self._step(steps)
        self.now_ns += 4 * SECOND
        self._step(no_steps(self.config))

    def _reach(self, act: Reach) -> None:
        x_m, y_m = PLATE_M * act.plate, 10.0 * act.shelf
        person = act.person % max(len(self.visits), 1)
        wrist = (x_m, y_m + 0.2, 1.1)
        self._stand(Stand(person=person, at_m=(x_m, y_m + 0.5), wrist=wrist, sure=0.999))
        mass_g = act.units * act.off * MASSES[act.plate]
        self._move(Move(shelf=act.shelf, grams={act.plate: mass_g}, flags=0, noise_g=1.0))
        if act.back_at is not None:
            back = replace(act, plate=act.back_at, units=1, back_at=None)
            off = act.off * MASSES[act.plate] / MASSES[act.back_at]  # the same unit, elsewhere
            self._reach(replace(back, off=off))

    def _leave(self, act: Leave) -> None:
        visit = self.visits[act.person] if act.person < len(self.visits) else None
        if visit is not None and visit not in self.left:
            self.left.add(visit)
            self.events += self.tracker.visit_left(visit, self.now_ns)
            self.scene.bodies[act.person].position = self._moved((90.0, 90.0))

    def _answer(self, act: Answer) -> None:
        if not self.tracker.reviews:
            return
        review = next(iter(self.tracker.reviews.values()))
        named = review.candidates[act.candidate] if act.candidate < len(review.candidates) else None
        answer = ReviewAnswer(review=review.review, visit=None, sku=None, quantity=0)
        if named is not None and named.visit is not None and named.sku is not None:
            answer = ReviewAnswer(
                review=review.review, visit=named.visit, sku=named.sku, quantity=named.quantity
            )
        try:
            self.events += self.tracker.answer(answer, self.now_ns, "clerk")
        except InvalidAnswer:
            assert review.review in self.tracker.reviews  # refused: nothing was changed

    def _step(self, steps: object) -> None:
        self.events += self.tracker.step(self.now_ns, steps, self.scene)  # type: ignore[arg-type]

    def _moved(self, at_m: tuple[float, float]) -> tuple[float, float]:
        return (at_m[0] + self.origin_m[0], at_m[1] + self.origin_m[1])


def shop(origin_m: Point = HERE) -> StoreConfig:
    """Two shelves of twelve plates, one product each, the origin anywhere."""
    config = store(MASSES)
    x, y, z = origin_m
    plates = tuple(
        replace(p, x_m=p.x_m + x, y_m=p.y_m + y, z_m=p.z_m + z)
        for p in config.plates[: SHELVES * PLATES]
    )
    facings = config.facings[: SHELVES * PLATES]
    decision = Decision(charge_probability_min=0.95)
    return replace(config, plates=plates, facings=facings, decision=decision)


NAMES = ("v1", "v2", "v3", "v4")


def told(tale: Tale, *, names: tuple[str, ...] = NAMES, origin_m: Point = HERE) -> Telling:
    """The tale from its first act to where nothing waits any more."""
    config = shop(origin_m)
    telling = Telling(config=config, names=names, origin_m=origin_m, tracker=CartTracker(config))
    for act in tale:
        telling.act(act)
    telling.settle()
    return telling


def concluded(telling: Telling) -> tuple[list[tuple[object, ...]], np.ndarray]:
    """What a telling came to, with people by number: discrete rows, and all probabilities."""
    number = {visit: i for i, visit in enumerate(telling.visits)}
    rows: list[tuple[object, ...]] = []
    probability: list[float] = []
    for visit in telling.visits:
        for line in telling.tracker.carts[visit].lines:
            rows.append((number[visit], line.sku, line.quantity, line.state))
            probability.append(line.probability)
    for review in telling.tracker.reviews.values():
        rows.append((tuple(sorted(number[v] for v in review.visits)), review.reason))
        candidates = sorted(
            (-1 if c.visit is None else number[c.visit], str(c.sku), c.quantity, c.probability)
            for c in review.candidates
        )
        rows += [c[:3] for c in candidates]
        probability += [c[3] for c in candidates]
    return rows, np.array(probability)
