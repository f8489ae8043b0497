"""A small deterministic engine for tests of the journal and the daemon.

Every gate signal with a credential becomes a visit and an unlock; ``boom`` raises, ``boom-once``
raises the first time in this process, ``die`` kills the process. Weights add up. Everything that
came is folded into ``chain``, so that one lost or doubled observation shows for ever.
"""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge.durable_engine import EngineKind
from messages import codec
from messages.commands import Command, UnlockGate
from messages.events import (
    AlarmRaised,
    Candidate,
    Event,
    ReviewRequested,
    ReviewResolved,
    VisitStarted,
)
from messages.ids import AccountRef, CommandId, CredentialId, EventId, ReviewId, Sku, VisitId
from messages.observations import (
    ConfigLoaded,
    GateSignal,
    Observation,
    OperatorAction,
    ShelfSamples,
    StepSetAside,
)
from messages.store_config import StoreConfig

UNLOCK_FOR_NS = 3_000_000_000
raised_once: set[str] = set()


@dataclass(slots=True)
class TinyState:
    step: int = 0
    now_ns: int = 0
    visits: int = 0
    chain: int = 0
    total: int = 0
    mode: str = "open"
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyOutputs:
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()


class TinyEngine:
    def __init__(self, config: StoreConfig, state: TinyState | None = None) -> None:
        self.config = config
        self.state = state or TinyState()

    def step(self, now_ns: int, observations: Sequence[Observation]) -> TinyOutputs:
        state = self.state
        state.step += 1
        state.now_ns = now_ns
        events: list[Event] = []
        commands: list[Command] = []
        for seen in observations:
            if not isinstance(seen, ConfigLoaded):  # its text holds the test's folder
                state.chain = zlib.crc32(codec.encode(seen), state.chain)
            match seen:
                case GateSignal(credential=str(credential)):
                    self._credential(seen, credential, events, commands)
                case ShelfSamples():
                    state.total += int(seen.readings.sum())
                    if state.total % 5 == 0:
                        alarm = AlarmRaised(key="five", severity="warning", detail=f"{state.total}")
                        events.append(alarm)
                case OperatorAction(review_answer=answer) if answer is not None:
                    if answer.review == "r1":
                        resolved = ReviewResolved(
                            review=answer.review, visit=answer.visit, sku=None, quantity=0, by="x"
                        )
                        events.append(resolved)
                case OperatorAction(store_mode=str(mode)):
                    state.mode = mode
                case StepSetAside():
                    key = f"step:{seen.step}"
                    events.append(AlarmRaised(key=key, severity="critical", detail=seen.error))
        prefix = f"{self.config.store}-{state.step}"
        return TinyOutputs(
            events=tuple(
                replace(e, id=EventId(f"{prefix}-{i}"), at_ns=now_ns) for i, e in enumerate(events)
            ),
            commands=tuple(
                replace(c, id=CommandId(f"{prefix}-c{i}")) for i, c in enumerate(commands)
            ),
        )

    def _credential(
        self, seen: GateSignal, credential: str, events: list[Event], commands: list[Command]
    ) -> None:
        if credential == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if credential.startswith("boom") and credential not in raised_once:
            if credential == "boom-once":
                raised_once.add(credential)
            raise ArithmeticError("boom on v4.public.c2VjcmV0dG9rZW4")
        if credential == "review":
            candidate = Candidate(visit=None, sku=Sku("milk"), quantity=1, probability=0.5)
            events.append(
                ReviewRequested(review=ReviewId("r1"), reason="doubt", candidates=(candidate,))
            )
            return
        self.state.visits += 1
        visit = VisitId(f"{self.config.store}-v{self.state.visits}")
        self.state.seen.append(credential)
        events.append(
            VisitStarted(
                visit=visit,
                credential=CredentialId(credential),
                account=AccountRef(f"account of {credential}"),
                gate=seen.gate,
                party_size=1,
            )
        )
        not_after_ns = seen.received_at_ns + UNLOCK_FOR_NS
        commands.append(
            UnlockGate(not_after_ns=not_after_ns, gate=seen.gate, visit=visit, passages=1)
        )

    def view(self) -> dict[str, object]:
        return {"store": self.config.store, "mode": self.state.mode, "seen": self.state.seen}


def snapshot(engine: TinyEngine) -> bytes:
    return codec.encode_state(engine.state)


def restore(config: StoreConfig, data: bytes) -> TinyEngine:
    return TinyEngine(config, codec.decode_state(data, TinyState))


def tiny_engine() -> EngineKind:
    return EngineKind(fresh=TinyEngine, restore=restore, snapshot=snapshot)
