"""What one weight step costs the cart tracker while many people are elsewhere in the store.

One shopper takes things off a shelf; 5, 60 or 250 others stand in other aisles, each with an open
visit. Tracks come from the person tracker's own history of 90 s; no wrists are seen. CPU time of
the call with the step less that of a call without one, the median of some fifty: flat means that
only those near count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from edge.cart_tracker import CartTracker
from edge.sensors.weight_steps import WeightSteps
from edge.vision import track_history
from edge.vision.track_history import TrackHistory, TrackWindow
from messages.arrays import Floats
from messages.events import VisitKind, VisitStarted
from messages.ids import AccountRef, CredentialId, GateId, VisitId
from messages.store_config import StoreConfig
from sim.first_store import scaled

ELSEWHERE = (5, 60, 250)
PLATES = 350
TAKES = 25  # of a thing, and as many steps without one between
NS, STEP_NS = 1_000_000_000, 100_000_000
APART_M = 1.5  # between those elsewhere, who stand in rows well away from the shelf
FAR_M = 20.0


@dataclass(slots=True)
class Crowd:
    """Stands in for the person tracker: people who stand still, in its own ring of samples."""

    visits: tuple[VisitId, ...]
    position_m: Floats  # (n, 2), the first one is at the shelf
    history: TrackHistory = field(default_factory=TrackHistory)

    def __post_init__(self) -> None:
        self.history.names.update(enumerate(self.visits, start=1))

    def look(self, now_ns: int) -> None:
        """One more sample."""
        n = len(self.visits)
        identity = np.full((n, n + 1), 0.0)
        identity[np.arange(n), np.arange(n)] = 0.999
        identity[:, -1] = 0.001
        track_history.record(
            self.history,
            now_ns,
            np.arange(1, n + 1),
            self.position_m,
            np.full(n, 0.1),
            identity,
            np.arange(1, n + 1),
            None,
        )

    def between(self, start_ns: int, end_ns: int) -> TrackWindow:
        return track_history.window(self.history, start_ns, end_ns)

    def covered_until_ns(self) -> int:
        return self.history.newest_ns()

    def looks_the_same(self, visit: VisitId, since_ns: int) -> bool:
        return True


def step_ms_by_people() -> dict[str, float]:
    """``weight_step_ms_5_elsewhere`` and so on, and how much dearer the most is than the least."""
    config = scaled(PLATES)
    cost_ms = {n: weight_step_ms(config, n) for n in ELSEWHERE}
    found = {f"weight_step_ms_{n}_elsewhere": round(ms, 3) for n, ms in cost_ms.items()}
    ratio = cost_ms[ELSEWHERE[-1]] / cost_ms[ELSEWHERE[0]]
    return found | {f"weight_step_ratio_{ELSEWHERE[-1]}_to_{ELSEWHERE[0]}": round(ratio, 2)}


def weight_step_ms(config: StoreConfig, elsewhere: int, takes: int = TAKES) -> float:
    """CPU milliseconds that one take adds to a step."""
    tracker, crowd = CartTracker(config), _crowd(config, elsewhere)
    for visit in crowd.visits:
        tracker.visit_started(_started(visit))
    spent_ms: dict[bool, list[float]] = {False: [], True: []}
    now_ns = NS
    for turn in range(2 * takes):
        for _ in range(10):  # a second of people, and calls without a step
            now_ns += STEP_NS
            crowd.look(now_ns)
            tracker.step(now_ns, _takes(config, 0, turn, now_ns), crowd)
        taken = turn % 2 == 1
        steps = _takes(config, int(taken), turn, now_ns - 3 * STEP_NS)
        began_s = time.process_time()
        tracker.step(now_ns, steps, crowd)
        spent_ms[taken].append(1000 * (time.process_time() - began_s))
    return float(np.median(spent_ms[True]) - np.median(spent_ms[False]))


def _crowd(config: StoreConfig, elsewhere: int) -> Crowd:
    plate = config.plates[0]
    rows = np.arange(elsewhere)
    far = FAR_M + APART_M * np.stack([rows % 16, rows // 16], axis=1)
    return Crowd(
        visits=tuple(VisitId(f"v{i}") for i in range(elsewhere + 1)),
        position_m=np.vstack([[plate.x_m, plate.y_m - 0.5], far]),
    )


def _takes(config: StoreConfig, n: int, turn: int, ended_at_ns: int) -> WeightSteps:
    """One unit off the first facing's first plate, or nothing."""
    mass_g = config.products[config.product_index[config.facings[0].sku]].mass_g
    plate_mass_g = np.zeros((n, len(config.plates)))
    plate_mass_g[:, 0] = -mass_g
    return WeightSteps(
        step_id=np.full(n, turn),
        shelf=np.zeros(n, np.int64),
        started_at_ns=np.full(n, ended_at_ns - NS),
        ended_at_ns=np.full(n, ended_at_ns),
        mass_g=plate_mass_g.sum(axis=1),
        mass_sd_g=np.full(n, 4.0),
        plate_mass_g=plate_mass_g,
        plate_sd_g=np.full((n, len(config.plates)), 1.0),
        flags=np.zeros(n, np.int64),
    )


def _started(visit: VisitId) -> VisitStarted:
    return VisitStarted(
        at_ns=0,
        visit=visit,
        credential=CredentialId(f"c-{visit}"),
        account=AccountRef("a"),
        gate=GateId("g"),
        party_size=1,
        kind=VisitKind.SHOPPER,
    )
