"""Mass: every weight step has an explanation, and the steps add up to what left the shelves.

A ``StepWatch`` hangs on the engine's cart tracker from the start of a run and notes each final
weight step on its way in. In the end the referee compares three accounts of the same mass: the
stock's (what really stands on each shelf), the sensors' (the steps), and the carts' (items,
questions, or nothing).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import hypot

import numpy as np

from edge.cart_tracker import BOTH_WAYS, CartTracker, People
from edge.engine import Engine
from edge.sensors.weight_steps import WeightSteps
from messages.arrays import Floats
from messages.events import Event, ItemReturned, ItemTaken, ReviewRequested
from messages.store_config import StoreConfig
from sim.faults import OF_PLATE, FaultPlan
from sim.referee_rules import NS, Breach
from sim.script import FaultKind
from sim.stock import Stock

SIGMAS = 4.0  # of a difference that chance explains; a run has some hundred steps
KNOCK_SD_G = 12.0  # a knocked gondola keeps -5 to +4 g a shelf (real shelves); we allow the double
GAIN_SD = 0.05  # span error of a plate that the steps inherit: 3.5 % beside its shelf's 2 %
SHELF_SLACK_G = 25.0  # drift of a shelf within a run, and steps below the smallest one reported
# Verdicts that explain a step of real mass without an event: it is no shopper's business.
SILENT = (
    "foreign_removed",
    "foreign_put",
    "stocked",
    "takes_staff",
    "returns_staff",
    "returns_of_takes_in_doubt",  # its question is resolved "by evidence"
    "steps_without_place",
)
NOT_VERDICTS = ("steps", "reviews_")  # counters that count something else; the second is a prefix
# Failures under which a shelf cannot tell what left it.
BLIND = frozenset(
    {
        FaultKind.STUCK_CELL,
        FaultKind.SATURATED_CELL,
        FaultKind.NOISY_SHELF,
        FaultKind.DRIFTING_PLATE,
        FaultKind.LOST_NODE,
        FaultKind.LOST_BATCHES,
        FaultKind.LATE_BATCHES,
        FaultKind.CLOCK_STEP,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One final weight step."""

    step_id: int
    shelf: int
    ended_at_ns: int
    mass_g: float
    mass_sd_g: float


@dataclass(slots=True)
class StepWatch:
    """``start_g``: (plates,) what stood on the plates when the run began."""

    carts: CartTracker
    start_g: Floats
    steps: list[Step] = field(default_factory=list)

    @staticmethod
    def on(engine: Engine, stock: Stock) -> StepWatch:
        """Look over the cart tracker's shoulder from now on."""
        watch = StepWatch(engine.carts, stock.load_g())
        judge = engine.carts.step

        def step(
            now_ns: int, steps: WeightSteps, people: People, *, strangers: int = 0
        ) -> list[Event]:
            watch.note(steps)
            return judge(now_ns, steps, people, strangers=strangers)

        engine.carts.step = step  # type: ignore[method-assign]
        return watch

    def note(self, steps: WeightSteps) -> None:
        for i in range(len(steps)):
            self.steps.append(
                Step(
                    step_id=int(steps.step_id[i]),
                    shelf=int(steps.shelf[i]),
                    ended_at_ns=int(steps.ended_at_ns[i]),
                    mass_g=float(steps.mass_g[i]),
                    mass_sd_g=float(steps.mass_sd_g[i]),
                )
            )


def mass_breaches(
    watch: StepWatch, events: Sequence[Event], stock: Stock, faults: FaultPlan, now_ns: int
) -> list[Breach]:
    """Every broken account of mass; the run is over and everybody is out."""
    return [
        *_not_judged(watch, now_ns),
        *_unexplained(watch, events),
        *_misnamed(watch, events, stock.config),
        *_shelves(watch, stock, faults, now_ns),
    ]


def _not_judged(watch: StepWatch, now_ns: int) -> Iterable[Breach]:
    """Each step gets one verdict, or two when it went both ways."""
    counters = watch.carts.state.counters
    judged = sum(
        n
        for name, n in counters.items()
        if name not in (NOT_VERDICTS[0], BOTH_WAYS) and not name.startswith(NOT_VERDICTS[1])
    )
    waiting = len(watch.carts.state.held)
    if judged + waiting != len(watch.steps) + counters.get(BOTH_WAYS, 0):
        text = f"{len(watch.steps)} weight steps, {judged} verdicts, {waiting} waiting"
        yield _mass(now_ns, text)


def _unexplained(watch: StepWatch, events: Sequence[Event]) -> Iterable[Breach]:
    """A step with no item and no question has no mass worth a name, or a silent verdict."""
    told = {step for event in events for step in _step_ids(event)}
    silent = sum(watch.carts.state.counters.get(name, 0) for name in SILENT)
    large = [
        step
        for step in watch.steps
        if step.step_id not in told
        and abs(step.mass_g) > SIGMAS * hypot(step.mass_sd_g, KNOCK_SD_G)
    ]
    for step in large[silent:]:
        moved = "left" if step.mass_g < 0 else "came to"
        shelf = watch.carts.config.shelves[step.shelf]
        text = f"{abs(step.mass_g):.0f} g {moved} {shelf}: no item event, no review says why"
        yield _mass(step.ended_at_ns, text)


def _misnamed(watch: StepWatch, events: Sequence[Event], config: StoreConfig) -> Iterable[Breach]:
    """Items that a step is booked as weigh what the step does. Questions may name other things."""
    in_question = {s for e in events if isinstance(e, ReviewRequested) for s in _step_ids(e)}
    booked: dict[int, list[ItemTaken | ItemReturned]] = defaultdict(list)
    for event in events:
        if isinstance(event, ItemTaken | ItemReturned):
            for step_id in _step_ids(event):
                booked[step_id].append(event)
    by_id = {step.step_id: step for step in watch.steps}
    for step in watch.steps:
        items = booked.get(step.step_id, [])
        if not items or step.step_id in in_question:
            continue
        ids = {i for event in items for i in _step_ids(event)}
        parts = [by_id[i] for i in sorted(ids & by_id.keys())]  # a lift may come in two steps
        measured_g = sum(part.mass_g for part in parts)
        mass_g, sd_g = _mass_of(items, config)
        spread_g = hypot(sd_g, *(part.mass_sd_g for part in parts), GAIN_SD * mass_g, KNOCK_SD_G)
        if abs(-mass_g - measured_g) > SIGMAS * spread_g:
            names = ", ".join(f"{event.quantity} {event.sku}" for event in items)
            text = f"a step of {measured_g:.0f} g is booked as {names} ({-mass_g:.0f} g)"
            yield _mass(step.ended_at_ns, text, items[0].visit)


def _shelves(watch: StepWatch, stock: Stock, faults: FaultPlan, now_ns: int) -> Iterable[Breach]:
    """The steps of each sound shelf add up to what really left it."""
    config = stock.config
    change_g, blind = stock.load_g() - watch.start_g, blind_shelves(faults, config)
    shelf_of = np.array([config.shelf_index[p.shelf] for p in config.plates])
    for shelf, name in enumerate(config.shelves):
        mine = [step for step in watch.steps if step.shelf == shelf]
        true_g = float(change_g[shelf_of == shelf].sum())
        seen_g = sum(step.mass_g for step in mine)
        gross_g = sum(abs(step.mass_g) for step in mine)
        variance = sum(step.mass_sd_g**2 for step in mine) + (GAIN_SD * gross_g) ** 2
        if abs(seen_g - true_g) > SIGMAS * variance**0.5 + SHELF_SLACK_G and shelf not in blind:
            text = f"{name} changed by {true_g:.0f} g, its weight steps add up to {seen_g:.0f} g"
            yield _mass(now_ns, text)


def blind_shelves(faults: FaultPlan, config: StoreConfig) -> set[int]:
    """Shelves with a plate whose cell, node or link is made to fail."""
    every = [*faults.physical, *(f for mine in faults.by_device.values() for f in mine)]
    plates: set[str] = set()
    for failing in every:
        if failing.fault.kind not in BLIND:
            continue
        if failing.fault.kind in OF_PLATE:
            plates.add(failing.fault.device)
        plates |= {
            str(plate)
            for node in config.shelf_nodes
            if node.id == failing.fault.device
            for plate in node.plates
        }
    return {config.shelf_index[p.shelf] for p in config.plates if str(p.id) in plates}


def _mass_of(items: Sequence[ItemTaken | ItemReturned], config: StoreConfig) -> tuple[float, float]:
    """What the items weigh, returns negative, and the spread of that."""
    mass_g = variance = 0.0
    for event in items:
        product = config.products[config.product_index[event.sku]]
        sign = 1 if isinstance(event, ItemTaken) else -1
        mass_g += sign * event.quantity * product.mass_g
        variance += event.quantity * product.mass_sd_g**2
    return mass_g, variance**0.5


def _step_ids(event: Event) -> tuple[int, ...]:
    if isinstance(event, ItemTaken | ItemReturned | ReviewRequested):
        return event.evidence.step_ids
    return ()


def _mass(at_ns: int, text: str, visit: str = "") -> Breach:
    return Breach(kind="mass", at_s=at_ns / NS, visit=visit, text=text)
