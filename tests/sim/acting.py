"""A small stage for tests of scripted people: a gate that lets everybody in, and what was seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from messages.arrays import Floats
from messages.store_config import StoreConfig
from sim.actors import Actor
from sim.bodies import bodies_at
from sim.first_store import first_store
from sim.gestures import Handling
from sim.outputs import Output, Passage, Scan, ShelfBatch
from sim.script import Do, Kind, Member, PartyScript, Scenario, WrongFacing
from sim.shelf_physics import Quirks
from sim.shoppers import Habits
from sim.truth import TrueAction
from sim.world import Options, World

NS = 1_000_000_000
TICK_NS = 50_000_000
STORE = replace(first_store(), cameras=())
PERFECT = Quirks(noise=0.0, gain=0.0, drift=0.0, clock=0.0)
CALM = Habits(
    handling=Handling(
        hand_probability=0.0,
        brush_probability=0.0,
        slow_probability=0.0,
        long_hold_probability=0.0,
    )
)


@dataclass
class Played:
    """What came out. Wrists and places are the true ones, each tick, while somebody is indoors."""

    world: World
    passages: list[Passage] = field(default_factory=list)
    scans: list[Scan] = field(default_factory=list)
    wrists: dict[str, list[tuple[float, Floats]]] = field(default_factory=lambda: defaultdict(list))
    places: dict[str, list[tuple[float, Floats]]] = field(default_factory=lambda: defaultdict(list))
    grams: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def actions(self) -> list[TrueAction]:
        return sorted(self.world.truth.actions, key=lambda a: a.at_ns)

    def actor(self, name: str) -> Actor:
        return self.world.scene.actors[name]

    def wrist_gap_m(self, name: str, point: Floats, at_s: float) -> float:
        """How near a wrist of somebody was to a point within a quarter of a second."""
        near = [w for t, w in self.wrists[name] if abs(t - at_s) <= 0.25]
        return min(float(np.linalg.norm(w - point, axis=1).min()) for w in near)

    def place_at(self, name: str, at_s: float) -> Floats:
        return min(self.places[name], key=lambda row: abs(row[0] - at_s))[1]

    def target(self, facing: str) -> Floats:
        """Middle of a facing where wrists reach it."""
        index = self.world.scene.facing_index[facing]
        low, high = self.world.stock.shelves.facing_span_m[index]
        return self.world.stock.point_store_m(index, (low + high) / 2)

    def shelf_grams(self, facing: str) -> tuple[Floats, Floats]:
        """(seconds, grams) of the facing's shelf node, the sum over its plates."""
        plate = next(f for f in STORE.facings if str(f.id) == facing).plates[0]
        node = next(n for n in STORE.shelf_nodes if plate in n.plates)
        rows = np.array(self.grams[str(node.id)])
        return rows[:, 0], rows[:, 1]


def scenario(*parties: PartyScript, habits: Habits = CALM, **more: object) -> Scenario:
    return Scenario(
        name="acts",
        title="Acts",
        kind=Kind.HARD,
        parties=parties,
        habits=habits,
        quirks=PERFECT,
        **more,  # type: ignore[arg-type]
    )


def one(name: str, *do: Do, **more: object) -> PartyScript:
    """A party of one."""
    keep = {k: more.pop(k) for k in ("arrives_s", "staff", "tailgates") if k in more}
    return PartyScript(name=name, members=(Member(do=do, **more),), **keep)  # type: ignore[arg-type]


def play(
    *parties: PartyScript,
    seed: int = 1,
    planogram: Sequence[WrongFacing] = (),
    habits: Habits = CALM,
    limit_s: float = 300.0,
) -> Played:
    """Until everybody is out and all hands have left the shelves."""
    script = scenario(*parties, planogram=tuple(planogram), habits=habits)
    world = World.of(STORE, Options(seed=seed), script)
    return run(world, limit_s)


def run(world: World, limit_s: float = 300.0) -> Played:
    played, now_ns = Played(world), 0
    while now_ns < limit_s * NS and not (now_ns > NS and world.empty and not world.coming):
        now_ns += TICK_NS
        _note(played, world.advance(now_ns), now_ns)
    assert world.empty, "somebody is still in the store"
    _note(played, world.advance(now_ns + 6 * NS), now_ns)
    return played


def _note(played: Played, outputs: Sequence[Output], now_ns: int) -> None:
    world = played.world
    for output in outputs:
        match output:
            case Scan():
                played.scans.append(output)
                world.set_credential(output.shopper, f"code-{output.shopper}")
                world.unlocked(output.gate, output.party_size, now_ns)
            case Passage():
                played.passages.append(output)
            case ShelfBatch():
                _weigh(played, world.config, output)
    people = world.crowd.people
    bodies = bodies_at(people, np.array([now_ns]), now_ns, TICK_NS)
    for i, name in enumerate(bodies.key):
        played.wrists[name].append((now_ns / NS, bodies.wrists_store_m[0, i]))
        played.places[name].append((now_ns / NS, bodies.position_store_m[0, i]))


def _weigh(played: Played, config: StoreConfig, batch: ShelfBatch) -> None:
    node = next(n for n in config.shelf_nodes if n.id == batch.device)
    plates = [config.plates[config.plate_index[p]] for p in node.plates]
    zero = np.array([p.zero_counts for p in plates])
    grams = ((batch.counts - zero) * plates[0].grams_per_count).sum(axis=1)
    start_s = batch.sent_at_ns / NS - 0.21
    for i, value in enumerate(grams):
        played.grams[str(batch.device)].append((start_s + i / 60, float(value)))
