"""A small store and scripted people for the cart tracker's tests: steps and tracks, no sensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge.cart_tracker import CartTracker
from edge.sensors.shelf_changes import SPAN_SD
from edge.sensors.weight_steps import WeightSteps
from edge.vision.track_history import TrackWindow
from messages.events import Event, LineState, ReviewRequested, VisitKind, VisitStarted
from messages.ids import (
    AccountRef,
    CredentialId,
    GateId,
    PlateId,
    ReviewId,
    ShelfId,
    Sku,
    StoreId,
    VisitId,
)
from messages.store_config import Decision, Facing, Plate, Product, StoreConfig

SECOND = 1_000_000_000
SHELVES, PLATES = 5, 12  # one facing a plate: 60 facings
PLATE_M = 0.10
FAR = (50.0, 50.0)
# For stories. Shelf 0: plate k holds sku k. Plates 1 and 2 hold nearly the same mass.
MASSES = [500.0, 330.0, 332.0, 120.0, 45.0, 1000.0, 250.0, 700.0, 90.0, 410.0, 610.0, 850.0]


def store(masses: list[float], spread: float = 0.02) -> StoreConfig:
    """Five shelves of twelve plates along y = 0, 10, 20 ...; SKUs repeat over the facings."""
    plates = [
        Plate(
            id=PlateId(f"p{s}-{i:02d}"),
            shelf=ShelfId(f"s{s}"),
            x_m=PLATE_M * i,
            y_m=10.0 * s,
            z_m=1.0,
            width_m=PLATE_M,
            depth_m=0.4,
        )
        for s in range(SHELVES)
        for i in range(PLATES)
    ]
    products = [
        Product(id=Sku(f"sku{k:02d}"), mass_g=m, mass_sd_g=spread * m) for k, m in enumerate(masses)
    ]
    facings = [
        Facing(sku=products[k % len(products)].id, plates=(plate.id,))
        for k, plate in enumerate(plates)
    ]
    return StoreConfig(
        store=StoreId("st"),
        plates=tuple(plates),
        products=tuple(products),
        facings=tuple(facings),
        decision=Decision(charge_probability_min=0.95),  # what the stories and the study are about
    )


def forty_masses(rng: np.random.Generator) -> list[float]:
    """Packaged goods: 30 g to 1.5 kg, and as in real stores many pairs within 5 g."""
    base = np.exp(rng.uniform(np.log(30.0), np.log(1500.0), 20))
    return [float(m) for m in np.concatenate([base, base + rng.uniform(-5.0, 5.0, 20)])]


@dataclass
class Body:
    """One person: where, and who the tracker thinks it is."""

    position: tuple[float, float]
    identity: dict[VisitId, float]
    track: int = 0
    wrist: tuple[float, float, float] | None = None


@dataclass
class Scene:
    """Stands in for the person tracker: bodies that do not move while something happens."""

    bodies: list[Body] = field(default_factory=list)
    visits: list[VisitId] = field(default_factory=list)
    covered_ns: int = 2**62

    def covered_until_ns(self) -> int:
        return self.covered_ns

    def looks_the_same(self, visit: VisitId, since_ns: int) -> bool:
        return False

    def between(self, start_ns: int, end_ns: int) -> TrackWindow:
        k, n, v = 10, len(self.bodies), len(self.visits)  # a step of a second at 10 Hz
        identity = np.zeros((k, n, v + 1))
        position = np.zeros((k, n, 2))
        wrists = np.full((k, n, 2, 3), np.nan)
        for i, body in enumerate(self.bodies):
            position[:, i] = body.position
            for j, visit in enumerate(self.visits):
                identity[:, i, j] = body.identity.get(visit, 0.0)
            identity[:, i, -1] = 1.0 - identity[:, i, :-1].sum(axis=-1)
            if body.wrist is not None:
                wrists[:, i, 0] = body.wrist
        return TrackWindow(
            at_ns=np.linspace(start_ns, end_ns, k).astype(np.int64),
            track_id=np.array(
                [b.track or i + 1 for i, b in enumerate(self.bodies)], dtype=np.int64
            ),
            position_store_m=position,
            position_sd_m=np.full((k, n), 0.12),
            wrists_store_m=wrists,
            wrists_along=np.zeros_like(wrists),
            visits=tuple(self.visits),
            identity=identity,
        )


class Story:
    """A tracker with scripted bodies and steps, for tests that tell a small story."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self.tracker = CartTracker(config)
        self.scene = Scene()
        self.now_ns = 10 * SECOND
        self.steps_made = 0
        self.events: list[Event] = []

    def enter(self, name: str, kind: VisitKind = VisitKind.SHOPPER) -> VisitId:
        visit = VisitId(f"st-{name}")
        self.tracker.visit_started(started(visit, self.now_ns, kind))
        self.scene.visits.append(visit)
        self.scene.bodies.append(Body(position=FAR, identity={visit: 0.999}))
        return visit

    def stand(self, visit: VisitId, shelf: int, plate: float, away_m: float = 0.5) -> Body:
        """Put the visit's body in front of a plate."""
        body = next(b for b in self.scene.bodies if b.identity.get(visit, 0.0) > 0.5)
        body.position = (PLATE_M * plate, 10.0 * shelf + away_m)
        return body

    def leave_shelf(self, visit: VisitId) -> None:
        self.stand(visit, 5, 0).position = FAR

    def move(self, shelf: int, grams: dict[int, float], flags: int = 0) -> list[Event]:
        """A step: plate -> change of mass. Everybody stays where they stand."""
        events = self.tracker.step(
            self.now_ns + SECOND, self.weights(shelf, grams, flags), self.scene
        )
        self.now_ns += 5 * SECOND
        events += self.tracker.step(self.now_ns, no_steps(self.config), self.scene)
        self.events += events
        return events

    def weights(self, shelf: int, grams: dict[int, float], flags: int = 0) -> WeightSteps:
        self.steps_made += 1
        return one_step(self.config, self.steps_made, shelf, grams, self.now_ns, flags)


def started(visit: VisitId, at_ns: int, kind: VisitKind = VisitKind.SHOPPER) -> VisitStarted:
    return VisitStarted(
        at_ns=at_ns,
        visit=visit,
        credential=CredentialId(f"c-{visit}"),
        account=AccountRef("a"),
        gate=GateId("g"),
        party_size=1,
        kind=kind,
    )


def one_step(
    config: StoreConfig,
    step_id: int,
    shelf: int,
    grams: dict[int, float],
    now_ns: int,
    flags: int = 0,
    noise_g: float = 1.0,
) -> WeightSteps:
    """One row: plate of the shelf -> grams, over the second before ``now_ns``."""
    plate = np.zeros((1, len(config.plates)))
    sd = np.zeros((1, len(config.plates)))
    sd[0, shelf * PLATES : (shelf + 1) * PLATES] = noise_g
    for i, g in grams.items():
        plate[0, shelf * PLATES + i] = g
    return WeightSteps(
        step_id=np.array([step_id]),
        shelf=np.array([shelf]),
        started_at_ns=np.array([now_ns - SECOND]),
        ended_at_ns=np.array([now_ns]),
        mass_g=plate.sum(axis=1),
        mass_sd_g=np.hypot(noise_g * np.sqrt(PLATES), SPAN_SD * plate.sum(axis=1)),
        plate_mass_g=plate,
        plate_sd_g=sd,
        flags=np.array([flags]),
    )


def no_steps(config: StoreConfig) -> WeightSteps:
    none, rows = np.zeros(0, np.int64), np.zeros((0, len(config.plates)))
    return WeightSteps(
        step_id=none,
        shelf=none,
        started_at_ns=none,
        ended_at_ns=none,
        mass_g=np.zeros(0),
        mass_sd_g=np.zeros(0),
        plate_mass_g=rows,
        plate_sd_g=rows,
        flags=none,
    )


def charged(story: Story, visit: VisitId) -> dict[str, int]:
    cart = story.tracker.carts[visit]
    return {ln.sku: ln.quantity for ln in cart.lines if ln.state is LineState.CHARGED}


def only(events: list[Event], kind: type) -> Event:
    assert [type(e) for e in events] == [kind], events
    return events[0]


def in_doubt(story: Story) -> tuple[VisitId, VisitId, ReviewId]:
    """Two shoppers, either of whom took sku05."""
    a, b = story.enter("v1"), story.enter("v2")
    story.stand(a, 0, 3)
    story.stand(b, 0, 7)
    asked = only(story.move(0, {5: -1000.0}), ReviewRequested)
    assert isinstance(asked, ReviewRequested)
    assert asked.review == "st-r1"
    return a, b, asked.review
