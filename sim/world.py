"""The simulated store: people, shelves and cameras, deterministic by one seed.

``World.advance(until_ns)`` gives what the devices send up to an instant; ``unlocked`` and
``refused`` are the gate's answers. The world moves in ticks of 50 ms from store time 0 whatever
the caller's steps are, knows no wall time, and draws shelves, cameras and every party from their
own generators: one party's choices do not change when another's gate opens later.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from messages.ids import GateId
from messages.store_config import StoreConfig
from sim import adversary, gestures, scripted
from sim.actors import Scene
from sim.bodies import Exposed, bodies_at, joined
from sim.cameras import Cameras, Faults
from sim.crowd import Crowd
from sim.faults import FaultPlan
from sim.geometry import fixture_of_shelf
from sim.hand_looks import HandLooks
from sim.hands import Hands
from sim.outputs import CameraPacket, Output, Passage, Scan, ShelfBatch
from sim.paths import Paths
from sim.script import Fault, Scenario
from sim.scripted import Coming
from sim.shelf_physics import Quirks, ShelfPhysics
from sim.shoppers import Habits, new_party
from sim.stock import Stock
from sim.truth import Truth

__all__ = ["CameraPacket", "Options", "Passage", "Scan", "ShelfBatch", "World", "options"]

NS = 1_000_000_000
TICK_NS = 50_000_000
ARRIVAL_SHAPE = 4.0  # gamma: arrivals are spread a little more evenly than by chance alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run of the world."""

    seed: int = 7
    arrival_every_s: float = 9.0
    first_arrival_s: float = 1.5
    people_max: int = 5  # inside or at the gate; others come later
    bump_every_s: float = 90.0  # over the whole store; 0 = never
    habits: Habits = Habits()
    quirks: Quirks = Quirks()
    faults: Faults = Faults()


def options(difficulty: str = "honest", seed: int = 7) -> Options:
    """Named difficulties: "easy" (one person, careful), "honest" (a usual day), "hard" (crowded).

    Raises:
        ValueError: another name.
    """
    base = Options(seed=seed)
    match difficulty:
        case "honest":
            return base
        case "easy":
            calm = replace(
                base.habits,
                party_of_two_probability=0.0,
                change_mind_probability=0.0,
                undo_probability=0.0,
                touch_probability=0.0,
            )
            return replace(base, people_max=1, bump_every_s=0.0, habits=calm)
        case "hard":
            busy = replace(
                base.habits,
                popular=1.3,
                touch_probability=0.3,
                undo_probability=0.15,
                change_mind_probability=0.35,
                wrong_place_probability=0.6,
                handling=replace(
                    base.habits.handling, hand_probability=0.85, long_hold_probability=0.12
                ),
            )
            return replace(base, arrival_every_s=5.0, people_max=10, bump_every_s=30.0, habits=busy)
    raise ValueError(f"no difficulty {difficulty!r}; there are: easy, honest, hard")


@dataclass(slots=True, eq=False)
class World:
    """See the module's head. Make one with ``World.of``."""

    config: StoreConfig
    options: Options
    truth: Truth
    stock: Stock
    physics: ShelfPhysics
    cameras: Cameras
    crowd: Crowd
    rng: np.random.Generator
    party_seeds: np.random.SeedSequence
    faults: FaultPlan
    scene: Scene
    looks: HandLooks | None
    coming: list[Coming]  # of the script, the first one last
    now_ns: int = 0
    arrived: int = 0
    open: bool = True
    adversary_share: float = 0.0
    paths_walked: Paths = field(default_factory=Paths)
    next_arrival_ns: int = 0
    next_bump_ns: int = 0
    exposed: list[Exposed] = field(default_factory=list)
    pending: list[tuple[int, str, int, Output]] = field(default_factory=list)
    counter: int = 0

    @staticmethod
    def of(
        config: StoreConfig,
        options: Options | None = None,
        script: Scenario | None = None,
        *,
        faults: Sequence[Fault] = (),
    ) -> World:
        """A store before its first shopper.

        Args:
            script: who comes and what fails; of ``options`` only the seed counts then.
        """
        opt = _of_script(script, options) if script else options or Options()
        streams = np.random.SeedSequence(opt.seed).spawn(8)
        stock_rng, shelf_rng, camera_rng, own_rng = map(np.random.default_rng, streams[:4])
        truth = Truth()
        wrong = {w.facing: w.holds for w in script.planogram} if script else {}
        stock = Stock.filled(config, stock_rng, wrong)
        physics = ShelfPhysics.of(config, stock.load_g(), opt.quirks, shelf_rng)
        crowd = Crowd.of(config, Hands(stock, physics, truth, opt.habits.handling))
        scene = Scene.of(crowd)
        world = World(
            config=config,
            options=opt,
            truth=truth,
            stock=stock,
            physics=physics,
            cameras=Cameras.of(config, opt.faults, camera_rng),
            crowd=crowd,
            rng=own_rng,
            party_seeds=streams[4],
            faults=FaultPlan.of((*faults, *(script.faults if script else ())), config, streams[5]),
            scene=scene,
            looks=HandLooks.of(config, np.random.default_rng(streams[7]))
            if opt.faults.items
            else None,
            coming=scripted.cast(script, scene, streams[6]) if script else [],
            adversary_share=script.background.adversary_share if script else 0.0,
            next_arrival_ns=int(opt.first_arrival_s * NS),
        )
        world.next_bump_ns = world._bump_after(0)
        return world

    # --- the caller's side --------------------------------------------------------------------

    def advance(self, until_ns: int) -> list[Output]:
        """What devices sent up to the last tick at or before ``until_ns``, in order of sending."""
        while self.now_ns + TICK_NS <= until_ns:
            self._tick()
        self._develop()
        sent: list[Output] = []
        while self.pending and self.pending[0][0] <= self.now_ns:
            sent.append(heapq.heappop(self.pending)[3])
        return sent

    def set_credential(self, shopper: str, credential: str) -> None:
        """The id of the code that a shopper just held to the reader."""
        for party in self.crowd.parties:
            if party.shopper == shopper:
                party.credential = credential

    def unlocked(self, gate: GateId, passages: int, at_ns: int = 0) -> None:
        """The gate opened for so many people; they go in from the next tick on."""
        del at_ns
        self.crowd.unlocked(gate, passages)

    def refused(self, gate: GateId, at_ns: int = 0) -> None:
        """The gate said no to whoever stands at its reader."""
        self.crowd.refused(gate, max(at_ns, self.now_ns))

    def close_doors(self) -> None:
        """Nobody new comes; those inside finish."""
        self.open = False

    @property
    def people_inside(self) -> int:
        return sum(p.crossed_in and not p.crossed_out for p in self.crowd.people)

    @property
    def empty(self) -> bool:
        return not self.crowd.people

    def mass_out_g(self) -> float:
        """What has left the shelves, for good or for now."""
        return self.crowd.hands.mass_out_g

    def paths(self) -> list[dict[str, object]]:
        """Who was where, for the report."""
        return self.paths_walked.document()

    @property
    def visits_completed(self) -> int:
        return sum(v.exited_at_ns is not None for v in self.truth.visits.values())

    def positions(self) -> list[tuple[str, float, float]]:
        """Who is where now: for pictures and checks, never for the store."""
        return [(p.shopper, float(p.position[0]), float(p.position[1])) for p in self.crowd.people]

    # --- one tick -----------------------------------------------------------------------------

    def _tick(self) -> None:
        self.now_ns += TICK_NS
        self._arrivals()
        self._bumps()
        self.faults.before(self.now_ns, self.physics, self.stock.shelves)
        self.crowd.hands.settle(self.now_ns)
        for signal in self.crowd.step(self.now_ns, TICK_NS / NS):
            self._send(signal)
        self.paths_walked.sample(self.now_ns, self.crowd.people)
        for batch in self.physics.due(self.now_ns):
            self._send(batch)
        if self.looks is not None:
            for packet in self.looks.packets(self.now_ns, self.crowd.people, self.truth):
                self._send(packet)
        due = self.cameras.due(self.now_ns)
        if due:
            at_ns = np.array([at for at, _ in due], dtype=np.int64)
            bodies = bodies_at(self.crowd.people, at_ns, self.now_ns, TICK_NS)
            self.exposed.append((due, bodies))

    def _develop(self) -> None:
        """The packets of the images taken since; together, for that is cheaper."""
        for due, bodies in joined(self.exposed):
            for packet in self.cameras.packets(due, bodies):
                self._send(packet)
        self.exposed.clear()

    def _send(self, output: Output) -> None:
        for left in self.faults.passed([output]):
            self.counter += 1
            heapq.heappush(self.pending, (left.at_ns, left.source, self.counter, left))

    def _arrivals(self) -> None:
        while self.open and self.coming and self.coming[-1].at_ns <= self.now_ns:
            coming = self.coming.pop()
            scripted.arrive(self.crowd, coming)
        waiting = len(self.crowd.people)
        due = self.open and self.now_ns >= self.next_arrival_ns
        if due and self.options.arrival_every_s > 0 and waiting < self.options.people_max:
            self._shopper(waiting)

    def _shopper(self, waiting: int) -> None:
        """One more party of the background."""
        self.arrived += 1
        rng = np.random.default_rng(self.party_seeds.spawn(1)[0])
        lanes = scripted.entries(self.crowd.lanes)
        lane = lanes[int(rng.integers(len(lanes)))]
        habits = self.options.habits
        party = new_party(self.arrived, self.stock, habits, rng, scripted.outside(lane))
        del party.people[max(1, self.options.people_max - waiting) :]
        if self.adversary_share > 0:
            adversary.confuse(party, self.scene, habits, self.adversary_share)
        self.crowd.join(party, lane.gate)
        gap_s = rng.gamma(ARRIVAL_SHAPE, self.options.arrival_every_s / ARRIVAL_SHAPE)
        self.next_arrival_ns = self.now_ns + int(gap_s * NS)

    def _bumps(self) -> None:
        """Now and then somebody knocks a gondola that a person stands or walks at."""
        if self.options.bump_every_s <= 0 or self.now_ns < self.next_bump_ns:
            return
        self.next_bump_ns = self._bump_after(self.now_ns)
        fixtures = fixture_of_shelf(self.config)
        knocked = int(self.rng.integers(len(self.config.fixtures)))
        shelves = [s for s, f in enumerate(fixtures) if f == knocked]
        for load in gestures.bump(self.rng, self.stock.shelves, shelves, self.now_ns):
            self.physics.add(load)

    def _bump_after(self, at_ns: int) -> int:
        return at_ns + int(self.rng.exponential(max(self.options.bump_every_s, 1e-9)) * NS)


def _of_script(script: Scenario, options: Options | None) -> Options:
    """What the scenario says of the background, its people and its devices."""
    background = script.background
    return Options(
        seed=(options or Options()).seed,
        arrival_every_s=background.every_s,
        first_arrival_s=background.first_s,
        people_max=background.people_max,
        bump_every_s=background.bump_every_s,
        habits=script.habits,
        quirks=script.quirks,
        faults=script.detector,
    )
