"""The world and the real engine in one process, in virtual time: no wires, no waiting.

For tests and benchmarks. Entry tokens are real ones, signed by a key that belongs to the
simulator; the engine's unlock commands go back to the world. The same seed gives the same events.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from edge.engine import Engine, Outputs
from messages.commands import Command, RefuseEntry, UnlockGate
from messages.events import CartClosed, Event
from messages.ids import DeviceId
from messages.observations import (
    ClockAnchor,
    CredentialKey,
    GateSignal,
    GateSignalKind,
    Observation,
    PersonDetections,
    ShelfSamples,
)
from messages.store_config import StoreConfig
from sim.outputs import CameraPacket, Output, Passage, Scan, ShelfBatch
from sim.truth import Truth
from sim.world import Options, World

NS = 1_000_000_000
STEP_NS = 100_000_000
WALL_START_NS = 1_767_225_600 * NS  # 2026-01-01T00:00:00Z: when every simulated store opens
ANCHOR_EVERY_NS = 60 * NS
TOKEN_VALID_S = 55
DRAIN_MAX_NS = 240 * NS  # for those inside to finish after the doors close
SIMULATOR_KEY_SEED = bytes(range(32))  # signs simulated tokens only; no store trusts it


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs entry tokens as a broker does, with the simulator's own key."""

    store: str
    kid: str = "simulator"

    @property
    def credential_key(self) -> CredentialKey:
        public = _private_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return CredentialKey(kid=self.kid, public_key=public.hex())

    def token(self, jti: str, account: str, party: int, wall_ns: int) -> str:
        """A PASETO v4.public token that is valid for ``TOKEN_VALID_S`` from now."""
        issued = datetime.fromtimestamp(wall_ns / NS, tz=UTC)
        claims = {
            "jti": jti,
            "store": self.store,
            "acct": account,
            "party": party,
            "kind": "shopper",
            "iat": issued.isoformat(timespec="seconds"),
            "exp": (issued + timedelta(seconds=TOKEN_VALID_S)).isoformat(timespec="seconds"),
        }
        pem = _private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = pyseto.Key.new(version=4, purpose="public", key=pem)
        footer = json.dumps({"kid": self.kid}).encode()
        return pyseto.encode(key, json.dumps(claims).encode(), footer).decode()


@dataclass(slots=True)
class ObservedWorld:
    """A world whose outputs come as observations; gate commands go back in."""

    world: World
    issuer: TokenIssuer
    next_anchor_ns: int = 0
    scans: int = 0

    def observations(self, until_ns: int) -> list[Observation]:
        """What the daemon would have received up to an instant, in order."""
        seen: list[Observation] = []
        if until_ns >= self.next_anchor_ns:
            self.next_anchor_ns = until_ns + ANCHOR_EVERY_NS
            wall_ns = WALL_START_NS + until_ns
            seen.append(ClockAnchor(received_at_ns=until_ns, wall_ns=wall_ns, uncertainty_ms=20.0))
        return seen + [self._observation(output) for output in self.world.advance(until_ns)]

    def obey(self, commands: Sequence[Command], at_ns: int) -> None:
        for command in commands:
            match command:
                case UnlockGate():
                    self.world.unlocked(command.gate, command.passages, at_ns)
                case RefuseEntry():
                    self.world.refused(command.gate, at_ns)

    def _observation(self, output: Output) -> Observation:
        match output:
            case ShelfBatch():
                return shelf_samples(output)
            case CameraPacket():
                return person_detections(output)
            case Scan():
                return self._credential(output)
            case Passage():
                return _passage(output)

    def _credential(self, scan: Scan) -> GateSignal:
        self.scans += 1
        jti = f"{scan.shopper}-code-{scan.attempt}"
        self.world.set_credential(scan.shopper, jti)
        wall_ns = WALL_START_NS + scan.at_ns
        return GateSignal(
            gate=scan.gate,
            device=scan.reader,
            kind=GateSignalKind.CREDENTIAL,
            received_at_ns=scan.at_ns,
            credential=self.issuer.token(jti, f"account-{scan.shopper}", scan.party_size, wall_ns),
        )


@dataclass(slots=True)
class Run:
    """What came out of a run. ``step_s``: wall seconds are not kept here; see ``bench``."""

    config: StoreConfig
    world: World
    engine: Engine
    events: list[Event] = field(default_factory=list)

    @property
    def truth(self) -> Truth:
        return self.world.truth

    @property
    def carts(self) -> list[CartClosed]:
        return [event for event in self.events if isinstance(event, CartClosed)]


def observed(
    config: StoreConfig, options: Options | None = None
) -> tuple[StoreConfig, ObservedWorld]:
    """A world for the store, and the store's configuration with the simulator's key in it."""
    issuer = TokenIssuer(str(config.store))
    config = replace(config, credential_keys=(*config.credential_keys, issuer.credential_key))
    return config, ObservedWorld(World.of(config, options), issuer)


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
    decision = replace(config.decision, review_deadline_s=review_deadline_s)
    config, seen = observed(replace(config, decision=decision), options)
    done = Run(config, seen.world, Engine(config))
    now_ns, last_ns = 0, round(duration_s * NS) + DRAIN_MAX_NS
    settle_ns = round((review_deadline_s + 20) * NS)
    while now_ns < last_ns:
        now_ns += STEP_NS
        if now_ns >= duration_s * NS:
            seen.world.close_doors()
            if seen.world.empty:
                last_ns = min(last_ns, now_ns + settle_ns)
                settle_ns = DRAIN_MAX_NS
        outputs: Outputs = done.engine.step(now_ns, seen.observations(now_ns))
        done.events.extend(outputs.events)
        seen.obey(outputs.commands, now_ns)
    return done


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
    )


def _passage(passage: Passage) -> GateSignal:
    return GateSignal(
        gate=passage.gate,
        device=DeviceId(f"gate-node-{passage.gate}"),
        kind=GateSignalKind.ENTER if passage.inward else GateSignalKind.EXIT,
        received_at_ns=passage.at_ns,
    )


def _private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(SIMULATOR_KEY_SEED)
