"""The world and the real engine in one process, in virtual time: no wires, no waiting.

For scenarios, tests and benchmarks. Entry tokens are real ones, signed by a key that belongs to
the simulator; the engine's unlock commands go back to the world. The same seed gives the same
events, and the same visits as a run on devices (``sim.on_devices``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from edge.config import parse
from edge.engine import Engine
from messages.commands import Command, RefuseEntry, UnlockGate
from messages.events import CartClosed, Event
from messages.ids import DeviceId
from messages.observations import (
    ClockAnchor,
    GateSignal,
    GateSignalKind,
    Observation,
    PersonDetections,
    ShelfSamples,
)
from messages.store_config import StoreConfig
from sim.barriers import Barriers
from sim.driver_health import DriverHealth
from sim.outputs import CameraPacket, HandPacket, Output, Passage, Scan, ShelfBatch
from sim.referee_mass import StepWatch
from sim.script import Scenario
from sim.store_toml import store_toml
from sim.tokens import TokenIssuer
from sim.truth import Truth
from sim.world import Options, World

__all__ = ["NS", "STEP_NS", "ObservedWorld", "Run", "TokenIssuer", "observed", "prepared", "run"]

NS = 1_000_000_000
STEP_NS = 100_000_000
WALL_START_NS = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z: when every simulated store opens
ANCHOR_EVERY_NS = 60 * NS
DRAIN_MAX_NS = 240 * NS  # for those inside to finish after the doors close
SETTLE_S = 65.0  # an exit that no gate counted shows 45 s after all cameras saw an empty store


class Tap(Protocol):
    """Sees each step as it happens; a recording's writer is one."""

    def step(self, step: int, now_ns: int, observations: Sequence[Observation]) -> None: ...
    def events(
        self, now_ns: int, events: Sequence[Event], commands: Sequence[Command] = ()
    ) -> None: ...


@dataclass(slots=True)
class ObservedWorld:
    """A world whose outputs come as observations; gate commands go back in."""

    world: World
    issuer: TokenIssuer
    barriers: Barriers
    health: DriverHealth
    next_anchor_ns: int = 0
    scans: int = 0

    def observations(self, until_ns: int) -> list[Observation]:
        """What the daemon would have received up to an instant, in order."""
        seen: list[Observation] = []
        if until_ns >= self.next_anchor_ns:
            self.next_anchor_ns = until_ns + ANCHOR_EVERY_NS
            wall_ns = WALL_START_NS + until_ns
            seen.append(ClockAnchor(received_at_ns=until_ns, wall_ns=wall_ns, uncertainty_ms=20.0))
        seen += [self._observation(output) for output in self.barriers.advance(until_ns)]
        return seen + self.health.after(until_ns, seen)

    def obey(self, commands: Sequence[Command], at_ns: int) -> None:
        del at_ns  # the barrier's own time counts
        for command in commands:
            match command:
                case UnlockGate():
                    self.barriers.unlocked(command.gate, command.passages)
                case RefuseEntry():
                    self.barriers.refused(command.gate)

    def _observation(self, output: Output) -> Observation:
        match output:
            case ShelfBatch():
                return shelf_samples(output)
            case CameraPacket():
                return person_detections(output)
            case HandPacket():
                return replace(output.seen, received_at_ns=output.sent_at_ns)
            case Scan():
                self.scans += 1
                token = shown_code(self.world, self.issuer, output, WALL_START_NS + output.at_ns)
                return _credential(output, token)
            case Passage():
                return _passage(output)


@dataclass(slots=True)
class Run:
    """What came out of a run; it grows while the run goes on, so a crash leaves what was."""

    config: StoreConfig
    world: World
    engine: Engine
    events: list[Event] = field(default_factory=list)
    now_ns: int = 0  # store time of the last step
    doors_closed_ns: int = 0
    zero_ns: int = 0  # store time at the world's time 0: 0 in virtual time
    emptied_ns: int = 0  # when the last one had left; 0 = people were inside to the end
    watch: StepWatch | None = None  # for the referee; none where the engine runs elsewhere

    @property
    def truth(self) -> Truth:
        return self.world.truth

    @property
    def carts(self) -> list[CartClosed]:
        return [event for event in self.events if isinstance(event, CartClosed)]

    @property
    def settled(self) -> bool:
        """Everybody is out and every cart is closed."""
        return self.world.empty and not self.engine.state.visits


def observed(
    config: StoreConfig, options: Options | None = None, script: Scenario | None = None
) -> tuple[StoreConfig, ObservedWorld]:
    """A world for the store, and the store's configuration with the simulator's key in it.

    The configuration is read back from its own text, which a recording keeps.
    """
    issuer = TokenIssuer(str(config.store))
    config = parse(store_toml(with_key(config, issuer)))
    world = World.of(config, options, script)
    return config, ObservedWorld(world, issuer, Barriers(world), DriverHealth.of(config))


def run(
    config: StoreConfig,
    options: Options | None = None,
    *,
    duration_s: float = 120.0,
    review_deadline_s: float = 10.0,
) -> Run:
    """A store day: open for ``duration_s``, then until everybody is out and every cart closed.

    Reviews get nobody's answer here, so their deadline is short.
    """
    done, seen = prepared(config, options, review_deadline_s=review_deadline_s)
    play(done, seen, duration_s=duration_s)
    return done


def prepared(
    config: StoreConfig,
    options: Options | None = None,
    *,
    script: Scenario | None = None,
    review_deadline_s: float = 10.0,
) -> tuple[Run, ObservedWorld]:
    """A run that has not begun, and its world."""
    decision = replace(config.decision, review_deadline_s=review_deadline_s)
    config, seen = observed(replace(config, decision=decision), options, script)
    engine = Engine(config)
    watch = StepWatch.on(engine, seen.world.stock)
    return Run(config, seen.world, engine, watch=watch), seen


def play(done: Run, seen: ObservedWorld, *, duration_s: float, tap: Tap | None = None) -> None:
    """Take a run to its end: everybody is out and all carts are closed, or the bounds are met."""
    seen.barriers.at(round(duration_s * NS), seen.world.close_doors)
    now_ns, last_ns = done.now_ns, round(duration_s * NS) + DRAIN_MAX_NS
    settle_ns = round((done.config.decision.review_deadline_s + SETTLE_S) * NS)
    while now_ns < last_ns and not (done.emptied_ns and done.settled):
        now_ns += STEP_NS
        if now_ns >= duration_s * NS:
            done.doors_closed_ns = done.doors_closed_ns or now_ns
            if seen.world.empty and not done.emptied_ns:
                done.emptied_ns, last_ns = now_ns, min(last_ns, now_ns + settle_ns)
        _step(done, seen, now_ns, tap)


def _step(done: Run, seen: ObservedWorld, now_ns: int, tap: Tap | None) -> None:
    observations = seen.observations(now_ns)
    if tap is not None:
        tap.step(done.engine.state.step + 1, now_ns, observations)
    outputs = done.engine.step(now_ns, observations)
    if tap is not None:
        tap.events(now_ns, outputs.events, outputs.commands)
    done.now_ns = now_ns
    done.events.extend(outputs.events)
    seen.obey(outputs.commands, now_ns)


def with_key(config: StoreConfig, issuer: TokenIssuer) -> StoreConfig:
    """The store trusts the issuer's tokens."""
    others = tuple(key for key in config.credential_keys if key.kid != issuer.kid)
    return replace(config, credential_keys=(*others, issuer.credential_key))


def shown_code(world: World, issuer: TokenIssuer, scan: Scan, wall_ns: int) -> str:
    """The token that a shopper holds to a reader; the world learns its id."""
    jti = f"{scan.shopper}-code-{scan.attempt}"
    world.set_credential(scan.shopper, jti)
    account = f"account-{scan.shopper}"
    return issuer.token(jti, account, scan.party_size, wall_ns, kind=scan.kind)


def shelf_samples(batch: ShelfBatch) -> ShelfSamples:
    return ShelfSamples(
        device=batch.device,
        received_at_ns=batch.sent_at_ns,
        sequence=batch.sequence,
        ticks_us=batch.ticks_us,
        sample_period_us=batch.sample_period_us,
        flags=batch.flags,
        readings=batch.counts,
    )


def person_detections(packet: CameraPacket) -> PersonDetections:
    seen = not np.isnan(packet.wrists_px).all()
    return PersonDetections(
        camera=packet.camera,
        received_at_ns=packet.sent_at_ns,
        captured_at_ns=packet.captured_at_ns,
        sequence=packet.sequence,
        boxes_px=packet.boxes_px,
        feet_px=packet.feet_px,
        scores=packet.scores,
        wrists_px=packet.wrists_px if seen else None,
        embeddings=packet.embeddings,
        image_state=packet.image_state,
    )


def _credential(scan: Scan, token: str) -> GateSignal:
    return GateSignal(
        gate=scan.gate,
        device=scan.reader,
        kind=GateSignalKind.CREDENTIAL,
        received_at_ns=scan.at_ns,
        credential=token,
    )


def _passage(passage: Passage) -> GateSignal:
    return GateSignal(
        gate=passage.gate,
        device=DeviceId(f"gate-node-{passage.gate}"),
        kind=GateSignalKind.ENTER if passage.inward else GateSignalKind.EXIT,
        received_at_ns=passage.at_ns,
    )
