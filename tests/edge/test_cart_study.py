"""How often the cart tracker is right: random steps and tracks, with a truth to compare.

The generator knows nothing of the tracker's model beyond what real shelves do: plates with a gain
of their own, items whose mass varies, spill to neighbours that is small mostly and large at times,
noise, bumps, objects that are no products, wrong put-backs, two things at once, two people at
once, and identities that are right exactly as often as they claim.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from cart_study import (
    FAR,
    PLATE_M,
    PLATES,
    SECOND,
    SHELVES,
    Body,
    Scene,
    forty_masses,
    no_steps,
    one_step,
    started,
    store,
)

from edge.cart_tracker import CartTracker
from messages.events import Event, ItemReturned, ItemTaken, LineState, ReviewRequested
from messages.ids import Sku, VisitId
from messages.store_config import Decision

ACTIONS = 300  # of each seed
SHOPPERS = (2, 3)  # by turns of the seed
CROWDED = 0.14  # another shopper browses 70 % of the time, at one of five shelves
APART_M = 0.45  # two bodies cannot stand closer
WRIST_SEEN = 0.5  # how often a camera sees a wrist while something happens
TWO_HANDS = 5  # plates between two things that one person takes in the same second
LEANING = 0.15  # how often a shopper reaches aside instead of standing in front


Spot = tuple[float, float]


@dataclass
class Figures:
    """What a run counts. Lines are compared step by step, carts when a visit ends."""

    actions: int = 0
    takes: int = 0
    returns: int = 0
    charged: int = 0
    charged_right: int = 0
    off: int = 0  # returns taken off by themselves
    off_right: int = 0
    actions_reviewed: int = 0
    truth_in_review: int = 0
    carts: int = 0
    units_charged_at_end: int = 0
    units_charged_wrongly_at_end: int = 0
    claimed: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.charged_right / self.charged

    @property
    def recall(self) -> float:
        return self.charged_right / self.takes

    @property
    def review_rate(self) -> float:
        return self.actions_reviewed / self.actions

    def add(self, other: Figures) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            value.update(getattr(other, name)) if isinstance(value, Counter) else setattr(
                self, name, value + getattr(other, name)
            )


@dataclass(frozen=True)
class Done:
    """One true handling: quantity > 0 taken, < 0 put back."""

    visit: VisitId
    sku: Sku
    quantity: int


class Shop:
    """The simulated truth and the tracker under test."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.config = store(forty_masses(self.rng), spread=float(self.rng.uniform(0.01, 0.03)))
        self.mass = {p.id: (p.mass_g, p.mass_sd_g) for p in self.config.products}
        self.gain = 1.0 + self.rng.normal(0.0, 0.03, len(self.config.plates))
        self.tracker = CartTracker(self.config)
        self.scene = Scene()
        self.now_ns = 100 * SECOND
        self.held: dict[VisitId, list[tuple[Sku, float]]] = {}  # truth: units with their mass
        self.misplaced: list[tuple[int, int, Sku, float]] = []  # truth: shelf, plate, unit
        self.doubtful: dict[VisitId, bool] = {}
        self.visits_made = 0
        self.step_id = 0
        self.figures = Figures()
        for _ in range(SHOPPERS[seed % 2]):
            self.enter()

    # --- people ---

    def enter(self) -> None:
        self.visits_made += 1
        visit = VisitId(f"st-v{self.visits_made}")
        self.tracker.visit_started(started(visit, self.now_ns))
        self.held[visit] = []
        self.scene.visits.append(visit)

    def leave(self, visit: VisitId) -> None:
        """Close the cart and compare what is charged with what was carried out."""
        self.now_ns += 5 * SECOND
        self.tracker.visit_left(visit, self.now_ns)
        self.tracker.step(self.now_ns, no_steps(self.config), self.scene)
        assert not self.tracker.pending(visit)
        self.tracker.expire(visit, self.now_ns)
        cart = self.tracker.close(visit)
        truth = Counter(sku for sku, _ in self.held.pop(visit))
        charged: Counter[Sku] = Counter()
        for line in cart.lines:
            charged[line.sku] += line.quantity if line.state is LineState.CHARGED else 0
        self.figures.carts += 1
        self.figures.units_charged_at_end += charged.total()
        self.figures.units_charged_wrongly_at_end += (charged - truth).total()
        self.scene.visits.remove(visit)

    def place_bodies(self, where: dict[VisitId, tuple[int, float]]) -> None:
        """Bodies with noise; identities are mixed up exactly as often as they admit."""
        bodies, spots = list[Body](), list[Spot]()
        visits = list(self.scene.visits)
        visits.sort(key=lambda visit: visit not in where)
        for visit in visits:
            if visit in where:
                spots.append(self.in_front_of(*where[visit], spots))
            else:
                spots.append(self.elsewhere(where, spots))
        for visit, spot in zip(visits, spots, strict=True):
            seen = (spot[0] + self.rng.normal(0.0, 0.1), spot[1] + self.rng.normal(0.0, 0.1))
            bodies.append(Body(position=seen, identity={visit: 1.0}))
        for i, (visit, body) in enumerate(zip(visits, bodies, strict=True)):
            body.track = i + 1
            body.wrist = self.hand_of(spots[i], where.get(visit))
        self.confuse(bodies, visits)
        self.scene.bodies = bodies

    def in_front_of(self, shelf: int, plate: float, taken: list[Spot]) -> Spot:
        """A place from which the plate can be reached; crowding pushes aside."""
        for _ in range(100):
            leaning = self.rng.random() < LEANING
            aside = self.rng.normal(0.0, 0.4 if leaning else 0.18)
            away = self.rng.uniform(0.35, 0.75)
            spot = (PLATE_M * plate + aside, 10.0 * shelf + away)
            if np.hypot(aside, away) < 0.95 and all(
                np.hypot(*np.subtract(spot, t)) > APART_M for t in taken
            ):
                break
        return spot

    def hand_of(
        self, spot: Spot, at: tuple[int, float] | None
    ) -> tuple[float, float, float] | None:
        """A wrist, where a camera saw it: in front of the goods, or somewhere about the body."""
        if self.rng.random() > WRIST_SEEN:
            return None
        if at is not None:
            point = np.array([PLATE_M * at[1], 10.0 * at[0] + 0.2, 1.1])  # bodies are at y > 0
            return tuple(point + self.rng.normal(0.0, 0.1, 3))
        return tuple(np.array([*spot, 1.0]) + self.rng.uniform(-0.35, 0.35, 3))

    def elsewhere(self, where: dict[VisitId, tuple[int, float]], taken: list[Spot]) -> Spot:
        """Somebody else's place: at times in front of the same shelf."""
        shelf = next(iter(where.values()))[0]
        for _ in range(100 if self.rng.random() < CROWDED else 0):
            spot = (self.rng.uniform(-0.5, 1.7), 10.0 * shelf + self.rng.uniform(0.35, 0.75))
            if all(np.hypot(*np.subtract(spot, t)) > APART_M for t in taken):
                return spot
        return (FAR[0] + self.rng.uniform(0, 9), FAR[1])

    def confuse(self, bodies: list[Body], visits: list[VisitId]) -> None:
        i, j = self.rng.choice(len(bodies), 2, replace=False)
        p = 1.0 - float(np.exp(self.rng.uniform(np.log(1e-4), np.log(0.5))))
        if self.rng.random() < 0.1:
            i_is, j_is = (visits[i], visits[j])
            if self.rng.random() > p:  # they really were swapped
                i_is, j_is = j_is, i_is
            bodies[i].identity = {i_is: p, j_is: 1.0 - p}
            bodies[j].identity = {j_is: p, i_is: 1.0 - p}
        else:
            for body, visit in zip(bodies, visits, strict=True):
                body.identity = {visit: 0.998}

    # --- handling ---

    def spread(self, plate: int, grams: float) -> np.ndarray:
        """The mass of one unit over the plates of a shelf."""
        shares = np.zeros(PLATES)
        shares[plate] = 1.0
        for side in (plate - 1, plate + 1):
            if 0 <= side < PLATES:
                big = self.rng.random() < 0.1
                spill = self.rng.uniform(0.05, 0.18) if big else self.rng.uniform(0.0, 0.03)
                shares[side] += spill
                shares[plate] -= spill
        return shares * grams

    def unit(self, sku: Sku) -> float:
        mass, sd = self.mass[sku]
        return float(self.rng.normal(mass, sd))

    def take(
        self, visit: VisitId, shelf: int, plate: int, quantity: int
    ) -> tuple[Done, np.ndarray]:
        here = [m for m in self.misplaced if m[:2] == (shelf, plate)]
        if here and self.rng.random() < 0.3:
            self.misplaced.remove(here[0])
            self.held[visit].append((here[0][2], here[0][3]))
            return Done(visit, here[0][2], 1), -self.spread(plate, here[0][3])
        sku = self.config.facings[shelf * PLATES + plate].sku
        units = [(sku, self.unit(sku)) for _ in range(quantity)]
        self.held[visit] += units
        return Done(visit, sku, quantity), -sum(self.spread(plate, g) for _, g in units)

    def put_back(self, visit: VisitId) -> tuple[Done, int, int, np.ndarray]:
        sku, grams = self.held[visit].pop(int(self.rng.integers(len(self.held[visit]))))
        homes = [i for i, f in enumerate(self.config.facings) if f.sku == sku]
        wrong = self.rng.random() < 0.1
        at = int(self.rng.integers(len(self.config.facings)) if wrong else self.rng.choice(homes))
        shelf, plate = divmod(at, PLATES)
        if at not in homes:
            self.misplaced.append((shelf, plate, sku, grams))
        return Done(visit, sku, -1), shelf, plate, self.spread(plate, grams)

    def feel(self, shelf: int, grams: np.ndarray) -> list[Event]:
        """What the plates say, and what the tracker makes of it."""
        noise_g = float(np.exp(self.rng.normal(np.log(0.8), 0.5)))
        gain = self.gain[shelf * PLATES : (shelf + 1) * PLATES]
        seen = grams * gain + self.rng.normal(0.0, noise_g, PLATES)
        self.step_id += 1
        step = one_step(
            self.config, self.step_id, shelf, dict(enumerate(seen)), self.now_ns, 0, noise_g
        )
        events = self.tracker.step(self.now_ns + SECOND, step, self.scene)
        self.now_ns += 4 * SECOND
        return events + self.tracker.step(self.now_ns, no_steps(self.config), self.scene)

    def act(self) -> None:
        rng = self.rng
        visit = self.scene.visits[int(rng.integers(len(self.scene.visits)))]
        shelf, plate = int(rng.integers(SHELVES)), int(rng.integers(PLATES))
        kind = rng.choice(
            ["take", "put", "nothing", "foreign", "pair", "together"],
            p=[0.67, 0.25, 0.03, 0.02, 0.015, 0.015],
        )
        if kind == "put" and not self.held[visit]:
            kind = "take"
        self.figures.kinds[str(kind)] += 1
        where, done = {visit: (shelf, float(plate))}, list[Done]()
        grams = np.zeros(PLATES)
        if kind == "take":
            one, grams = self.take(
                visit, shelf, plate, int(rng.choice([1, 2, 3], p=[0.85, 0.11, 0.04]))
            )
            done = [one]
        elif kind == "put":
            one, shelf, plate, grams = self.put_back(visit)
            done, where = [one], {visit: (shelf, float(plate))}
        elif kind == "nothing":
            grams = rng.normal(0.0, 3.0, PLATES) * (rng.random(PLATES) < 0.3)
        elif kind == "foreign":
            grams = self.spread(plate, float(np.exp(rng.uniform(np.log(100.0), np.log(3000.0)))))
        else:
            second = self.second_plate(plate, PLATES if kind == "together" else TWO_HANDS)
            others = [v for v in self.scene.visits if v != visit]
            other = visit if kind == "pair" else others[int(rng.integers(len(others)))]
            one, first_grams = self.take(visit, shelf, plate, 1)
            two, second_grams = self.take(other, shelf, second, 1)
            done, grams = [one, two], first_grams + second_grams
            if kind == "pair":  # one body in front of both plates
                where = {visit: (shelf, (plate + second) / 2.0)}
            else:
                where[other] = (shelf, float(second))
        self.place_bodies(where)
        self.compare(done, self.feel(shelf, grams), shelf, plate, str(kind))

    def second_plate(self, plate: int, within: int) -> int:
        near = [i for i in range(PLATES) if 0 < abs(i - plate) <= within]
        return int(self.rng.choice(near))

    def compare(
        self, done: list[Done], events: list[Event], shelf: int, plate: int, kind: str
    ) -> None:
        f, left = self.figures, list(done)
        f.actions += 1
        f.takes += sum(d.quantity > 0 for d in done)
        f.returns += sum(d.quantity < 0 for d in done)
        for event in events:
            if isinstance(event, ItemTaken | ItemReturned):
                sign = 1 if isinstance(event, ItemTaken) else -1
                line = Done(event.visit, event.sku, sign * event.quantity)
                right = line in left
                if right:
                    left.remove(line)
                else:
                    f.wrong.append(
                        f"{kind} {done} -> {line} {event.probability:.3f} s{shelf} p{plate}"
                    )
                if sign > 0:
                    f.charged, f.charged_right = f.charged + 1, f.charged_right + right
                    f.claimed.append(event.probability)
                else:
                    f.off, f.off_right = f.off + 1, f.off_right + right
        asked = [e for e in events if isinstance(e, ReviewRequested)]
        f.actions_reviewed += bool(asked)
        named = {
            Done(c.visit, c.sku, c.quantity)
            for e in asked
            for c in e.candidates
            if c.visit and c.sku
        }
        f.truth_in_review += bool(asked) and all(d in named for d in left)


def study(seed: int, actions: int = ACTIONS) -> Figures:
    """Charges at the default threshold, as a store does."""
    shop = Shop(seed)
    shop.tracker.config = replace(shop.config, decision=Decision())
    for i in range(actions):
        shop.act()
        if i % 15 == 14:
            shop.leave(shop.scene.visits[0])
            shop.enter()
    for visit in list(shop.scene.visits):
        shop.leave(visit)
    return shop.figures


def test_charged_lines_are_right_and_few_actions_need_a_person() -> None:
    figures = Figures()
    for seed in (1, 2, 3, 4):
        figures.add(study(seed))
    assert figures.actions == 4 * ACTIONS
    assert figures.precision >= 0.995, figures.wrong  # a claim of 0.99 may be wrong that often
    assert figures.precision >= np.mean(figures.claimed) - 0.005  # as often as claimed
    assert figures.review_rate <= 0.19  # at 0.95 instead of 0.99: 0.10, but 4 wrong lines of 815
    # 0.79 before it doubted what stands on a facing; the charged line that was wrong then is gone
    assert figures.recall >= 0.78
    assert figures.off_right >= 0.98 * figures.off
    assert figures.truth_in_review >= 0.95 * figures.actions_reviewed
    assert figures.units_charged_wrongly_at_end <= 0.002 * figures.units_charged_at_end


def test_the_study_sees_a_tracker_that_guesses() -> None:
    """The canary: with a threshold that charges the best guess, precision falls below the bar."""
    shop = Shop(7)
    shop.tracker.config = replace(
        shop.config, decision=replace(shop.config.decision, charge_probability_min=0.3)
    )
    for _ in range(250):
        shop.act()
    assert shop.figures.precision < 0.985
    assert shop.figures.review_rate < 0.05


def test_the_same_study_gives_the_same_figures() -> None:
    assert study(9, 40) == study(9, 40)
