"""Two published ways to say who took what, written from their descriptions.

* **Competition winner** (AutoCheckout, CPS-IoT Week 2020): an event of a shelf (``weight_rules``)
  whose plates lie in separate groups is split; the product is the one with the greatest 0.8 x share
  of the mass on plates where the planogram has it + 0.2 x fit of its mass (a normal curve of 10 g);
  the shopper is the one with the nearest body point; a put-back is chosen among what that shopper
  carries, and the planogram follows what is put down in another place.
* **Nearest person + nearest mass**: whoever stands nearest, and of the shelf's products (for a
  put-back: of what is carried) the one whose mass is nearest.

Neither knows doubt: every line is charged, with probability 1. What the descriptions leave open is
decided in their favour: people are our own tracks with their likeliest visit, staff are known, an
event that nothing explains is dropped, and of what is carried the nearest mass comes back, where
equal masses are told apart by place. ``winner_our_steps`` is the winner with our weight steps
in place of its own events, and the nearest mass always gets ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bench.weight_match import Report
from edge.carts.who import Window, mean_identity
from edge.sensors.weight_steps import WeightSteps
from messages.arrays import Bools, Floats, Ints
from messages.events import CartClosed, VisitKind
from messages.ids import VisitId
from messages.store_config import StoreConfig

PLACE_PART, MASS_PART, MASS_SD_G = 0.8, 0.2, 10.0  # the winner's report
APART_G = 10.0  # plates that moved by more belong to an event; less closes none (the same report)
UNITS_MAX = 3  # at once; beyond, a light product explains any mass
NEAREST_UNITS_MAX = 2  # ... even sooner where mass alone decides
SCORE_MIN = 0.1  # neither the place nor the mass of anything fits
OPENS_LATE_NS, CLOSES_LATE_NS = 500_000_000, 1_000_000_000  # half a window, and half and calm
PEOPLE_WAIT_NS, WAIT_MAX_NS = 200_000_000, 1_000_000_000  # for tracks up to an event's end
HAND_ABOVE_M = 0.1  # of goods over their plate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Event:
    """Mass of one shelf changed. ``moved_g``: (plates of the store,), negative = taken."""

    shelf: int
    from_ns: int
    to_ns: int
    moved_g: Floats


@dataclass(slots=True, eq=False)
class Book:
    """What the rules know of the goods: masses, and where they stand."""

    mass_g: Floats  # (products,)
    stands: Bools  # (products, plates) by the planogram
    shelf_of: Ints  # (plates,)
    strays: Counter[tuple[int, int]] = field(default_factory=Counter)  # (product, plate) -> units

    @staticmethod
    def of(config: StoreConfig) -> Book:
        stands = np.zeros((len(config.products), len(config.plates)), dtype=bool)
        for facing in config.facings:
            row = config.product_index.get(facing.sku, -1)
            known = [i for p in facing.plates if (i := config.plate_index.get(p, -1)) >= 0]
            if row >= 0:
                stands[row, known] = True
        return Book(
            mass_g=np.array([product.mass_g for product in config.products]),
            stands=stands,
            shelf_of=np.array([config.shelf_index[p.shelf] for p in config.plates], np.int64),
        )

    def places(self) -> Bools:
        """(products, plates) with what was put down in other places."""
        stands = self.stands.copy()
        for (product, plate), units in self.strays.items():
            stands[product, plate] |= units > 0
        return stands

    def moved(self, product: int, units: int, event: Event) -> None:
        """The planogram follows: a unit put down elsewhere stands there until it is taken."""
        plate = int(np.abs(event.moved_g).argmax())
        if not self.stands[product, plate]:
            left = self.strays[product, plate] + (units if event.moved_g.sum() > 0 else -units)
            self.strays[product, plate] = max(left, 0)


# (book, event, (products,) units that may be meant) -> (product, units), or nothing
Choose = Callable[[Book, Event, Ints], tuple[int, int] | None]


def by_place_and_mass(book: Book, event: Event, units_max: Ints) -> tuple[int, int] | None:
    """The winner's score."""
    total_g = float(event.moved_g.sum())
    share = np.maximum(event.moved_g * np.sign(total_g), 0.0)
    place = book.places() @ (share / share.sum())
    units = np.clip(np.rint(abs(total_g) / book.mass_g), 1, np.maximum(units_max, 1))
    off_g = np.abs(abs(total_g) - units * book.mass_g)
    if total_g > 0:  # what is carried is known, and people put things back anywhere
        off_g = np.where(units_max > 0, off_g - MASS_SD_G * place, np.inf)
        best = int(off_g.argmin())
        return (best, int(units[best])) if units_max[best] > 0 else None
    fit = np.exp(-0.5 * (off_g / MASS_SD_G) ** 2)
    score = np.where(units_max > 0, PLACE_PART * place + MASS_PART * fit, -1.0)
    best = int(score.argmax())
    return (best, int(units[best])) if score[best] > SCORE_MIN else None


def by_mass(book: Book, event: Event, units_max: Ints) -> tuple[int, int] | None:
    """The nearest mass; for a take among the products of the shelf."""
    total_g = float(event.moved_g.sum())
    if total_g < 0:
        here = book.stands[:, book.shelf_of == event.shelf].any(axis=1)
        units_max = np.where(here, np.minimum(units_max, NEAREST_UNITS_MAX), 0)
    if not units_max.any():
        return None
    units = np.clip(np.rint(abs(total_g) / book.mass_g), 1, np.maximum(units_max, 1))
    off_g = np.where(units_max > 0, np.abs(abs(total_g) - units * book.mass_g), np.inf)
    best = int(off_g.argmin())
    return best, int(units[best])


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way of attribution."""

    own_events: bool  # the winner's rule over samples; else our weight steps
    choose: Choose
    splits: bool  # an event whose plates lie apart is several
    remembers: bool  # the planogram follows what is put down elsewhere
    hands: bool  # wrists are body points too


METHODS = {
    "competition_winner": Method(
        own_events=True, choose=by_place_and_mass, splits=True, remembers=True, hands=True
    ),
    "winner_our_steps": Method(
        own_events=False, choose=by_place_and_mass, splits=True, remembers=True, hands=True
    ),
    "nearest_person_nearest_mass": Method(
        own_events=False, choose=by_mass, splits=False, remembers=False, hands=False
    ),
}


class People(Protocol):
    """Tracks, as the engine's person tracker has them."""

    def between(self, start_ns: int, end_ns: int) -> Window: ...
    def covered_until_ns(self) -> int: ...


class Baseline:
    """The carts of one method. Events wait until people are known up to their end."""

    def __init__(self, config: StoreConfig, method: Method) -> None:
        self.config, self.method, self.book = config, method, Book.of(config)
        self.carts: dict[VisitId, Counter[int]] = {}
        self.charged = self.dropped = 0
        self._staff: set[VisitId] = set()
        self._waiting: list[Event] = []
        position = [(p.x_m, p.y_m, p.z_m + HAND_ABOVE_M) for p in config.plates]
        self._plates_m = np.array(position).reshape(-1, 3)

    def visit_started(self, visit: VisitId, kind: VisitKind) -> None:
        self.carts[visit] = Counter()
        if kind is VisitKind.STAFF:
            self._staff.add(visit)

    def step(self, now_ns: int, events: Iterable[Event], people: People) -> None:
        """Attribute what is known by now, in order of its end."""
        new = [part for event in events for part in self._parts(event)]
        covered_ns, waiting = people.covered_until_ns(), []
        for event in sorted([*self._waiting, *new], key=lambda e: (e.to_ns, e.shelf)):
            known = covered_ns >= event.to_ns + PEOPLE_WAIT_NS
            if known or now_ns - event.to_ns >= WAIT_MAX_NS + CLOSES_LATE_NS:
                self._judge(event, people)
            else:
                waiting.append(event)
        self._waiting = waiting

    def receipt(self, closed: CartClosed) -> dict[str, Any]:
        """One row of receipts.json: all lines charged, none doubted."""
        cart = self.carts.get(closed.visit, Counter())
        return {
            "visit": closed.visit,
            "credential": closed.credential,
            "state": "closed",
            "lines": [
                {"sku": sku, "quantity": n, "probability": 1.0, "state": "charged"}
                for sku, n in sorted((self.config.products[p].id, n) for p, n in cart.items())
                if n > 0
            ],
            "closed_at_s": None,
            "entered_at_s": closed.started_at_ns / 1e9,
        }

    def _parts(self, event: Event) -> Sequence[Event]:
        return apart(event, self.book.shelf_of) if self.method.splits else [event]

    def _judge(self, event: Event, people: People) -> None:
        visit = self._nearest(event, people)
        if visit is None or visit in self._staff or not event.moved_g.sum():
            self.dropped += 1
            return
        cart, take = self.carts[visit], event.moved_g.sum() < 0
        products = range(len(self.config.products))
        limit = np.array([UNITS_MAX if take else min(cart[p], UNITS_MAX) for p in products])
        found = self.method.choose(self.book, event, limit)
        if found is None:
            self.dropped += 1
            return
        product, units = found
        self.charged += 1
        cart[product] += units if take else -units
        if self.method.remembers:
            self.book.moved(product, units, event)

    def _nearest(self, event: Event, people: People) -> VisitId | None:
        """The likeliest visit of the track whose body points came nearest during the event."""
        window = people.between(event.from_ns, event.to_ns)
        if not window.position_store_m.size:
            return None
        size = np.abs(event.moved_g)
        place = size / size.sum() @ self._plates_m
        gap = np.linalg.norm(window.position_store_m - place[:2], axis=-1)  # (k, n)
        if self.method.hands:
            wrists = np.linalg.norm(window.wrists_store_m - place, axis=-1)  # (k, n, 2)
            gap = np.fmin(gap, np.fmin(wrists[..., 0], wrists[..., 1]))
        gap = np.where(np.isfinite(gap), gap, np.inf)
        order = np.argsort(gap.min(axis=0) if self.method.hands else _middle(gap), kind="stable")
        visits = [v for v in self.carts if v in window.visits]
        identity = mean_identity(window, visits)[order[0]]
        best = int(identity.argmax())
        return visits[best] if best < len(visits) else None


def _middle(gap: Floats) -> Floats:
    """(n,) at the sample in the middle, where somebody was seen then."""
    rows = np.flatnonzero(np.isfinite(gap).any(axis=1))
    return np.asarray(gap[rows[len(rows) // 2]] if len(rows) else gap.min(axis=0))


def apart(event: Event, shelf_of: Ints) -> list[Event]:
    """An event whose plates lie in groups with quiet plates between them, as one event a group."""
    mine = np.flatnonzero(shelf_of == event.shelf)
    loud = np.abs(event.moved_g[mine]) > APART_G
    begins = np.flatnonzero(loud & ~np.r_[False, loud[:-1]])
    if len(begins) < 2:
        return [event]
    group = np.searchsorted(begins, np.arange(len(mine)), side="right") - 1
    parts = []
    for i in range(len(begins)):
        moved_g = np.zeros(len(event.moved_g))
        rows = mine[(group == i) & loud]
        moved_g[rows] = event.moved_g[rows]
        if abs(moved_g.sum()) > APART_G:
            parts.append(
                Event(shelf=event.shelf, from_ns=event.from_ns, to_ns=event.to_ns, moved_g=moved_g)
            )
    return parts or [event]


def events_of_reports(reports: Iterable[Report], plates: int) -> list[Event]:
    """The winner's events; its window makes it open and close late, so the time is moved back."""
    found = []
    for report in reports:
        moved_g = np.zeros(plates)
        for plate, grams in report.moved:
            moved_g[plate] = grams
        from_ns = report.from_ns - OPENS_LATE_NS
        to_ns = max(report.to_ns - CLOSES_LATE_NS, report.from_ns)
        found.append(Event(shelf=report.shelf, from_ns=from_ns, to_ns=to_ns, moved_g=moved_g))
    return found


def events_of_steps(steps: WeightSteps) -> list[Event]:
    """Our own weight steps."""
    return [
        Event(
            shelf=int(steps.shelf[i]),
            from_ns=int(steps.started_at_ns[i]),
            to_ns=int(steps.ended_at_ns[i]),
            moved_g=np.nan_to_num(steps.plate_mass_g[i]),
        )
        for i in range(len(steps))
    ]
