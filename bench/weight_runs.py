"""Simulated shelves with the truth of every lasting change of mass, for ``bench weights``.

Scenarios run in virtual time without cameras and without an engine: every code opens the gate. What
hands do to plates is noted where it happens (the loads on the shelf physics), so the truth holds
each change's shelf, plates, mass, and the instants in which it moved and was let go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from messages.observations import ShelfSamples
from messages.store_config import StoreConfig
from sim import gestures, scenario
from sim.barriers import Barriers
from sim.first_store import scaled
from sim.gestures import Handling, Load
from sim.in_process import shelf_samples
from sim.layouts import layout
from sim.outputs import Scan, ShelfBatch
from sim.script import Scenario
from sim.shelf_physics import Quirks, ShelfPhysics
from sim.stock import Shelves as Geometry
from sim.stock import shares, shelves_of
from sim.world import Options, World

NS = 1_000_000_000
STEP_NS = 100_000_000  # the engine's
MASS_MIN_G = 8.0  # a lasting change; a knocked shelf keeps less
PLATEAU_NS = 200_000_000  # without any load: changes on one plate with less between are one
DRILL = 4_711  # keeps a drill's chance apart from that of scenarios with the same seed
WARM_NS = 3 * NS  # levels are learned first; the first shopper is at a shelf later
TAIL_NS = 3 * NS  # changes that end so late may be reported after the end: not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueStep:
    """One lasting change. ``plates``: what it lay on, the largest part first."""

    shelf: int
    plates: tuple[int, ...]
    mass_g: float
    from_ns: int  # first touch of what moved
    to_ns: int  # it has gone, or stands
    released_ns: int  # then nothing loads its plates for 200 ms
    sigma_g: float  # noise of one sample of its plates together
    counts: bool  # far enough from both ends of the run
    overlaps: bool  # another change of the shelf lies within a second


@dataclass(slots=True, kw_only=True)
class Shelves:
    """One run: what nodes sent, in order of arrival, and what was true."""

    name: str
    seed: int
    noise: float
    config: StoreConfig
    batches: list[ShelfSamples] = field(default_factory=list)
    truth: list[TrueStep] = field(default_factory=list)
    ended_ns: int = 0
    link_ns: list[int] = field(default_factory=list)  # of each node: a batch's time on the wire


@dataclass(slots=True)
class _Noted:
    """Stands before the shelf physics and notes the loads that hands put on it."""

    physics: ShelfPhysics
    loads: list[Load] = field(default_factory=list)

    def add(self, load: Load) -> None:
        self.loads.append(load)
        self.physics.add(load)


def scenario_run(name: str, seed: int, noise: float) -> Shelves:
    """A scenario of the library with its cells' noise multiplied."""
    script = scenario.load(scenario.find(name))
    script = replace(script, quirks=replace(script.quirks, noise=noise * script.quirks.noise))
    return _run(
        name, seed, noise, layout(script.store), Options(seed=seed), script, script.duration_s
    )


def busy_store(seed: int, plates: int, people: int, seconds: float) -> Shelves:
    """The benchmark's store: a full room, no script."""
    busy = Options(seed=seed, arrival_every_s=1.5, people_max=people, quirks=Quirks())
    return _run("busy-store", seed, 1.0, scaled(plates), busy, None, seconds)


def _run(
    name: str,
    seed: int,
    noise: float,
    config: StoreConfig,
    options: Options,
    script: Scenario | None,
    seconds: float,
) -> Shelves:
    config = replace(config, cameras=())
    world = World.of(config, options, script)
    hands: Any = world.crowd.hands
    noted = hands.physics = _Noted(world.physics)
    shelves = Shelves(name=name, seed=seed, noise=noise, config=config)
    gates = Barriers(world)
    gates.at(round(seconds * NS), world.close_doors)
    now_ns, last_ns = 0, round(seconds * NS) + 20 * NS
    while now_ns < last_ns and not (now_ns > seconds * NS and world.empty):
        now_ns += STEP_NS
        for output in gates.advance(now_ns):
            if isinstance(output, ShelfBatch):
                shelves.batches.append(shelf_samples(output))
            elif isinstance(output, Scan):
                gates.unlocked(output.gate, output.party_size)
    shelves.ended_ns, shelves.link_ns = now_ns, world.physics.nodes.link_ns.tolist()
    shelves.truth = true_steps(config, noted.loads, world.physics.cells.noise_g, now_ns)
    return shelves


def drill(seed: int, noise: float, seconds: float = 60.0) -> Shelves:
    """Hands without people, as many as fit: overlaps, long holds, slow lifts, leans, knocks.

    Six shelves of twelve plates. A third of the gestures begin while the one before on the shelf
    still goes on, somewhere else on it.
    """
    rng = np.random.default_rng([seed, DRILL])
    config = replace(scaled(360), cameras=())
    config = _first_shelves(config, 6)
    geometry = shelves_of(config)
    level_g = rng.uniform(500.0, 8_000.0, len(config.plates))
    physics = ShelfPhysics.of(config, level_g, Quirks(noise=noise), rng)
    noted = _Noted(physics)
    for shelf in range(len(config.shelves)):
        at_s = 4.0 + float(rng.uniform(0.0, 3.0))
        while at_s < seconds:
            for load in _gesture(rng, geometry, shelf, int(at_s * NS)):
                noted.add(load)
            overlapping = rng.random() < 0.35
            at_s += float(rng.uniform(0.3, 1.0) if overlapping else rng.uniform(3.0, 6.0))
    for load in gestures.bump(rng, geometry, list(range(6)), int(rng.uniform(5, seconds) * NS)):
        noted.add(load)
    shelves = Shelves(name="drill", seed=seed, noise=noise, config=config)
    shelves.link_ns = physics.nodes.link_ns.tolist()
    shelves.ended_ns = round((seconds + 12.0) * NS)
    for now_ns in range(0, shelves.ended_ns, STEP_NS):
        shelves.batches += [shelf_samples(batch) for batch in physics.due(now_ns)]
    shelves.batches.sort(key=lambda batch: batch.received_at_ns)
    shelves.truth = true_steps(config, noted.loads, physics.cells.noise_g, shelves.ended_ns)
    return shelves


def _first_shelves(config: StoreConfig, shelves: int) -> StoreConfig:
    plates = tuple(p for p in config.plates if config.shelf_index[p.shelf] < shelves)
    kept = {plate.id for plate in plates}
    nodes = tuple(node for node in config.shelf_nodes if kept.issuperset(node.plates))
    return replace(config, plates=plates, shelf_nodes=nodes, facings=())


def _gesture(rng: np.random.Generator, geometry: Geometry, shelf: int, at_ns: int) -> list[Load]:
    """A take (60 %), put-back (22 %), rummage (10 %) or lean (8 %) at some place of a shelf."""
    lower, upper = geometry.lower_m[shelf][0], geometry.upper_m[shelf][-1]
    place_m = float(rng.uniform(lower + 0.05, upper - 0.05))
    mass_g = float(np.exp(rng.uniform(np.log(25.0), np.log(1_500.0))))
    item = (*shares(geometry, shelf, place_m, float(rng.uniform(0.05, 0.16))), mass_g)
    hand, nowhere = gestures.hand_at(rng, geometry, shelf, place_m), np.zeros(3)
    handling = Handling(long_hold_probability=0.10, slow_probability=0.15)
    match int(np.searchsorted([0.60, 0.82, 0.92], rng.random())):
        case 0:
            return gestures.take(rng, handling, at_ns, [item], hand, nowhere).loads
        case 1:
            return gestures.put_back(rng, handling, at_ns, [item], hand, nowhere).loads
        case 2:
            return gestures.touch(rng, at_ns, hand, nowhere).loads
        case _:
            arm = gestures.hand_at(rng, geometry, shelf, place_m, 0.28)
            return gestures.lean(rng, at_ns, float(rng.uniform(1, 5)), arm, nowhere).loads


# --- truth ----------------------------------------------------------------------------------------


def true_steps(
    config: StoreConfig, loads: Sequence[Load], noise_g: Any, ended_ns: int
) -> list[TrueStep]:
    """The lasting changes among loads, in order of time.

    Loads of one gesture on plates that touch are one change; so are two changes of one plate
    without ``PLATEAU_NS`` at rest between them, which no load cell could tell apart.
    """
    shelf = [config.shelf_index[plate.shelf] for plate in config.plates]
    lasting = [load for load in loads if abs(_mass_g(load)) > MASS_MIN_G]
    groups = _grouped(lasting, lambda load: shelf[int(load.plates[0])])
    found = [_joined_group(group, loads) for group in groups]
    found = [one for one in _merged(found) if abs(one[1]) > MASS_MIN_G]
    steps = []
    for plates, mass_g, from_ns, to_ns, released_ns in found:
        near = [
            o
            for o in found
            if o[0] is not plates
            and shelf[o[0][0]] == shelf[plates[0]]
            and o[2] < released_ns + NS
            and from_ns < o[4] + NS
        ]
        steps.append(
            TrueStep(
                shelf=shelf[plates[0]],
                plates=plates,
                mass_g=mass_g,
                from_ns=from_ns,
                to_ns=to_ns,
                released_ns=released_ns,
                sigma_g=float(np.sqrt((noise_g[list(plates)] ** 2).sum())),
                counts=from_ns > WARM_NS and released_ns < ended_ns - TAIL_NS,
                overlaps=bool(near),
            )
        )
    return steps


_Change = tuple[tuple[int, ...], float, int, int, int]


def _mass_g(load: Load) -> float:
    return float(load.grams[-1] * load.parts.sum())


def _grouped(loads: Sequence[Load], shelf_of: Callable[[Load], int]) -> list[list[Load]]:
    """Loads that end together on one shelf, with one sign, on plates that touch."""

    def together(load: Load) -> tuple[int, int, bool]:
        return (shelf_of(load), load.ended_at_ns, _mass_g(load) > 0)

    groups: list[list[Load]] = []
    for _, alike in groupby(sorted(loads, key=together), together):
        last = -9
        for load in sorted(alike, key=lambda one: int(one.plates.min())):
            if int(load.plates.min()) > last + 1:
                groups.append([])
            groups[-1].append(load)
            last = max(last, int(load.plates.max()))
    return groups


def _joined_group(group: list[Load], loads: Sequence[Load]) -> _Change:
    parts: dict[int, float] = {}
    for load in group:
        for plate, part in zip(load.plates.tolist(), load.parts.tolist(), strict=True):
            parts[plate] = parts.get(plate, 0.0) + part * float(load.grams[-1])
    plates = tuple(sorted(parts, key=lambda plate: -abs(parts[plate])))
    from_ns = min(int(load.at_ns[0]) for load in group)
    to_ns = max(load.ended_at_ns for load in group)
    return plates, sum(parts.values()), from_ns, to_ns, _released_ns(set(plates), to_ns, loads)


def _released_ns(plates: set[int], to_ns: int, loads: Sequence[Load]) -> int:
    """From here on nothing loads the plates for 200 ms."""
    on_them = [load for load in loads if not plates.isdisjoint(load.plates.tolist())]
    free_ns = to_ns
    for load in sorted(on_them, key=lambda one: int(one.at_ns[0])):
        if load.ended_at_ns > free_ns and int(load.at_ns[0]) < free_ns + PLATEAU_NS:
            free_ns = load.ended_at_ns
    return free_ns


def _merged(changes: list[_Change]) -> list[_Change]:
    """Changes of one plate that no plateau separates, as one."""
    done: list[_Change] = []
    for one in sorted(changes, key=lambda change: change[2]):
        for i, other in enumerate(done):
            if one[0][0] == other[0][0] and one[2] < other[4]:
                plates = tuple(dict.fromkeys((*other[0], *one[0])))
                ends = (max(other[3], one[3]), max(other[4], one[4]))
                done[i] = (plates, other[1] + one[1], other[2], *ends)
                break
        else:
            done.append(one)
    return done
