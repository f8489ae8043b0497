"""The store core in one call: ``outputs = engine.step(now_ns, observations)``.

Live, simulated and replayed runs differ only in who calls it. A step puts observations in order
(timeline), turns samples into weight steps and detections into tracks, lets the gates decide,
attributes the steps to carts, and closes the carts of those who left. It has no clock, no chance
and no I/O: given the same state and arguments, events and ids are the same, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edge.cart_tracker import NEVER_NS, CartTracker, CartTrackerState, InvalidAnswer
from edge.carts.clip_requests import ClipRequests
from edge.gate import Admitted, GateKeeper, GateKeeperState, GateOutputs
from edge.passage_order import WaitingPassage, in_order
from edge.sensors.weight_steps import WeightSensing, WeightState
from edge.timeline import Timeline, TimelineState
from edge.vision.person_tracker import PersonTracker
from edge.vision.tracks import PersonTrackerState
from messages.codec import decode_state, encode_state
from messages.commands import Command
from messages.events import (
    AlarmCleared,
    AlarmRaised,
    CartClosed,
    EndReason,
    Event,
    Evidence,
    Joined,
    VisitEnded,
    VisitJoined,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CommandId, CredentialId, DeviceId, EventId, GateId, VisitId
from messages.observations import (
    ClockAnchor,
    ConfigLoaded,
    DeviceHealth,
    DeviceState,
    GateSignal,
    GateSignalKind,
    ItemSightings,
    Observation,
    OperatorAction,
    OperatorActionKind,
    PersonDetections,
    StepSetAside,
)
from messages.store_config import StoreConfig

# After the passage of a party's last person: steps of mass they caused are reported by then (a step
# is final about 0.6 s after the release; twice the largest shelf latency on top). With an engine
# step of 0.1 s the cart is closed within 2 s of the passage.
SETTLE_NS = 1_800_000_000
# A cart waits no longer than this for steps that the tracker still holds back.
SETTLE_MAX_NS = 15_000_000_000
# Below this an exit is not clear enough to say who left without an alarm.
EXIT_PROBABILITY_MIN = 0.8
# Below this the one who left may have been of another visit, if that has at least as much as ...
EXIT_SURE = 0.98
EXIT_NOTICEABLE = 0.01
# All cameras see, and nobody: who is still booked inside left uncounted (a carried child, a second
# person in one passage). Somebody who crouches behind a fixture comes out again within this.
EMPTY_STORE_NS = 45_000_000_000
CAMERA_AWAKE_NS = 2_000_000_000
PASSAGES_KNOWN = 1024  # numbers of passages kept per controller, four times what it repeats


@dataclass(slots=True)
class Visit:
    """A party inside, or outside with a cart that is not closed yet."""

    credential: CredentialId
    account: AccountRef
    kind: VisitKind
    party_size: int
    entry_gate: GateId
    started_at_ns: int
    started_at_wall_ns: int
    entered: int = 0
    left: int = 0
    ended_at_ns: int = 0  # 0: inside
    exit_gate: GateId | None = None
    passed_at_ns: int = 0  # the passage behind which it ended; 0: none was seen
    joined: list[Joined] = field(default_factory=list)  # credentials after the first


@dataclass(slots=True)
class EngineState:
    """Everything a restart needs."""

    gate: GateKeeperState
    timeline: TimelineState
    people: PersonTrackerState
    sensing: WeightState
    carts: CartTrackerState
    config_digest: str
    step: int = 0
    now_ns: int = 0
    visits: dict[str, Visit] = field(default_factory=dict)
    passages: dict[str, list[int]] = field(default_factory=dict)  # device -> latest numbers
    waiting: list[WaitingPassage] = field(default_factory=list)
    strangers_inside: int = 0  # came in without a credential
    unplaced_exits: int = 0  # people who left and were taken for nobody inside
    occupied_ns: int = 0  # when somebody was last seen inside, came in, or could not be ruled out
    devices: dict[str, str] = field(default_factory=dict)  # device -> DeviceState
    alarms: dict[str, str] = field(default_factory=dict)  # key -> detail
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()


class Engine:
    """One store. See the module's head."""

    def __init__(self, config: StoreConfig, state: EngineState | None = None) -> None:
        self.config = config
        self.gate = GateKeeper(config, state.gate if state else None)
        self.timeline = Timeline(config, state.timeline if state else None)
        self.people = PersonTracker(config, state.people if state else None)
        self.sensing = WeightSensing(config, state.sensing if state else None)
        self.carts = CartTracker(config, state.carts if state else None)
        self.state = state or EngineState(
            gate=self.gate.state,
            timeline=self.timeline.state,
            people=self.people.state,
            sensing=self.sensing.state,
            carts=self.carts.state,
            config_digest=config_digest(config),
        )
        self._clips = ClipRequests(config)
        self._nodes = {str(node.id) for node in config.shelf_nodes}
        self._events: list[Event] = []
        self._commands: list[Command] = []

    def step(self, now_ns: int, observations: Sequence[Observation]) -> Outputs:
        """Apply what was seen up to ``now_ns`` and return what follows from it.

        Args:
            now_ns: store time; never less than in the step before.
            observations: what arrived since, in order of arrival.

        Raises:
            ValueError: time went backwards. The state is then unchanged.
        """
        if now_ns < self.state.now_ns:
            raise ValueError(f"store time went backwards: {self.state.now_ns} -> {now_ns}")
        self.state.step += 1
        self.state.now_ns = now_ns
        self._events, self._commands = [], []
        due = self.timeline.push(now_ns, observations)
        for seen in due.signals:
            self._signal(now_ns, seen)
        self._follow_people(now_ns, due.detections)
        self._gate_outputs(now_ns, self.gate.tick(now_ns))
        steps = self.sensing.step(now_ns, due.batches)
        strangers = self.state.strangers_inside
        self._emit(self.carts.step(now_ns, steps, self.people, strangers=strangers))
        if len(steps):
            self._emit(self.carts.look_at_shelves(now_ns, self.sensing.level_g(steps.shelf)))
        self._end_overdue_visits(now_ns)
        self._end_visits_of_empty_store(now_ns)
        self._close_carts(now_ns)
        self._commands += self._clips.of(self._events)
        return self._stamped()

    def foresee(self, observations: Iterable[Observation]) -> None:
        """What later steps may bring, for those who know (a replay does): prepared many at a time.

        No answer hangs on it; steps without it take longer.
        """
        self.people.foresee(o for o in observations if isinstance(o, PersonDetections))

    def people_inside(self) -> int:
        return sum(v.entered - v.left for v in self.state.visits.values() if not v.ended_at_ns)

    def _follow_people(self, now_ns: int, detections: Sequence[PersonDetections]) -> None:
        """Images and passages, each at its own instant."""
        until_ns = self.timeline.complete_until_ns(now_ns)
        for before, passage in in_order(self.state.waiting, detections, until_ns):
            if passage is None:
                self.people.step(now_ns, before)
                continue
            self.people.step(passage.at_ns, before)
            if passage.visit is None:
                self._somebody_left(now_ns, passage)
            else:
                self.people.entered(passage.visit, passage.gate, passage.at_ns)

    # --- signals -----------------------------------------------------------------------------

    def _signal(self, now_ns: int, seen: Observation) -> None:
        match seen:
            case GateSignal() if self._repeated(seen):
                self._count("gate_signals_repeated")
            case GateSignal(kind=GateSignalKind.EXIT):
                self._passed(seen.gate, min(seen.received_at_ns, now_ns), None)
            case GateSignal():
                out = self.gate.signal(now_ns, seen, self.people_inside())
                self._gate_outputs(now_ns, out, passed_at_ns=min(seen.received_at_ns, now_ns))
            case DeviceHealth():
                self._device_health(now_ns, seen)
            case ClockAnchor():
                self.gate.anchor(seen)
            case OperatorAction():
                self._operator(now_ns, seen)
            case ItemSightings():
                self.carts.seen_in_hands(now_ns, seen)
            case StepSetAside():
                self._set_aside(now_ns, seen)
            case ConfigLoaded():
                self._count("configs_loaded")
                self._nobody_watched()
            case _:
                self._count(f"ignored_{type(seen).__name__}")

    def _nobody_watched(self) -> None:
        """The daemon starts: several parties inside may have changed places unseen meanwhile."""
        inside = [VisitId(v) for v, visit in self.state.visits.items() if not visit.ended_at_ns]
        if len(inside) > 1:
            self.carts.exit_uncertain(inside, NEVER_NS)

    def _repeated(self, seen: GateSignal) -> bool:
        """A controller repeats what was not acknowledged, also across our restarts."""
        if seen.number is None:
            return False
        known = self.state.passages.setdefault(seen.device, [])
        if seen.number in known:
            return True
        known.append(seen.number)
        del known[:-PASSAGES_KNOWN]
        return False

    def _gate_outputs(self, now_ns: int, out: GateOutputs, passed_at_ns: int = 0) -> None:
        """Visits that begin or end at a gate, and people who came in, at ``passed_at_ns``."""
        for event in out.events:
            match event:
                case VisitStarted():
                    self._visit_started(now_ns, event)
                case VisitJoined():
                    self._visit_joined(event)
                case VisitEnded():
                    self._visit_ended(now_ns, event.visit, event.reason, event.gate)
                    continue
            self._events.append(event)
        self._commands.extend(out.commands)
        for person in out.admitted:
            self._admitted(passed_at_ns or now_ns, person)

    def _visit_started(self, now_ns: int, event: VisitStarted) -> None:
        self.state.visits[event.visit] = Visit(
            credential=event.credential,
            account=event.account,
            kind=event.kind,
            party_size=event.party_size,
            entry_gate=event.gate,
            started_at_ns=now_ns,
            started_at_wall_ns=self.gate.wall_ns(now_ns),
        )
        self.carts.visit_started(event)

    def _visit_joined(self, event: VisitJoined) -> None:
        self.carts.visit_joined(event)
        visit = self.state.visits[event.visit]
        visit.party_size += event.party_size
        visit.joined.append(
            Joined(
                credential=event.credential,
                at_ns=event.at_ns,
                gate=event.gate,
                party_size=event.party_size,
            )
        )

    def _admitted(self, at_ns: int, person: Admitted) -> None:
        visit = self.state.visits.get(person.visit)
        if visit is not None:
            visit.entered += 1
        else:
            self.state.strangers_inside += 1
        self._passed(person.gate, at_ns, person.visit)

    def _passed(self, gate: GateId, at_ns: int, visit: VisitId | None) -> None:
        """A passage waits for the images of its instant; ``visit``: whose, inwards."""
        if gate in self.config.gate_index:
            self.state.waiting.append(WaitingPassage(at_ns=at_ns, gate=gate, visit=visit))
        else:
            self._count("signals_of_unknown_gate")

    def _somebody_left(self, now_ns: int, seen: WaitingPassage) -> None:
        """Decide whose party is one person smaller. The gate was free; this only counts."""
        guess = self.people.left(seen.gate, seen.at_ns)
        inside = {
            visit: float(probability)
            for visit, probability in guess.items()
            if visit in self.state.visits and not self.state.visits[visit].ended_at_ns
        }
        if not inside:
            self._nobody_known_left(now_ns, seen.gate)
            return
        visit_id = max(sorted(inside), key=lambda v: inside[v])
        if inside[visit_id] < EXIT_PROBABILITY_MIN:
            self._count("exits_ambiguous")
        if inside[visit_id] < EXIT_SURE:
            others = [v for v in inside if v != visit_id and inside[v] >= EXIT_NOTICEABLE]
            self.carts.exit_uncertain((VisitId(v) for v in others), now_ns)
        visit = self.state.visits[VisitId(visit_id)]
        visit.left += 1
        if visit.left >= visit.entered:
            visit.passed_at_ns = seen.at_ns
            self._visit_ended(now_ns, VisitId(visit_id), EndReason.EXIT, seen.gate)

    def _nobody_known_left(self, now_ns: int, gate: GateId) -> None:
        """A stranger, or somebody whose identity was lost.

        The store is a closed world: once as many left unplaced as are thought to be inside,
        nobody is, and every open visit has ended.
        """
        self._count("exits_of_nobody_known")
        if self.state.strangers_inside:
            self.state.strangers_inside -= 1
            return
        self.state.unplaced_exits += 1
        if self.people_inside() > self.state.unplaced_exits:
            return
        self.state.unplaced_exits = 0
        for visit_id, visit in list(self.state.visits.items()):
            if visit.entered and not visit.ended_at_ns:
                self._visit_ended(now_ns, VisitId(visit_id), EndReason.EXIT, gate)

    def _device_health(self, now_ns: int, seen: DeviceHealth) -> None:
        before = self.state.devices.get(seen.device)
        self.state.devices[seen.device] = seen.state
        if seen.state is DeviceState.ONLINE:
            self._clear_alarm(now_ns, f"device:{seen.device}", seen.device)
            return
        if before == seen.state:
            return
        self.timeline.forget(seen.device)
        if seen.device in self._nodes:
            self.sensing.device_lost(seen.device, now_ns)
        detail = f"{seen.device} is {seen.state}: its readings are unknown. {seen.detail}".strip()
        self._raise_alarm(now_ns, f"device:{seen.device}", "warning", detail, seen.device)

    def _operator(self, now_ns: int, seen: OperatorAction) -> None:
        if seen.kind is OperatorActionKind.REVIEW_ANSWER and seen.review_answer is not None:
            answer = seen.review_answer
            with self._refusals_as_alarms(now_ns, f"answer:{answer.review}"):
                self._emit(self.carts.answer(answer, now_ns, seen.operator))
        elif seen.kind is OperatorActionKind.PLANOGRAM_CHANGE and seen.facing_sku is not None:
            facing, sku = seen.facing_sku
            with self._refusals_as_alarms(now_ns, f"planogram:{facing}"):
                self.carts.planogram_changed(facing, sku)
        else:
            self.gate.operator(seen)

    @contextmanager
    def _refusals_as_alarms(self, now_ns: int, key: str) -> Iterator[None]:
        """What an operator asked and cannot be is told to people, never raised."""
        try:
            yield
        except InvalidAnswer as error:
            self._count("answers_refused")
            self._raise_alarm(now_ns, key, "warning", str(error), None)

    def _set_aside(self, now_ns: int, seen: StepSetAside) -> None:
        """A step is not what the record says: what happened is unknown, open carts are doubtful."""
        detail = f"step {seen.step} is in doubt: {seen.error}"
        self._raise_alarm(now_ns, f"step:{seen.step}", "critical", detail, None)
        self._emit(self.carts.doubt_all(now_ns, detail))

    # --- ends --------------------------------------------------------------------------------

    def _visit_ended(
        self, now_ns: int, visit_id: VisitId, reason: EndReason, gate: GateId | None
    ) -> None:
        visit = self.state.visits.get(visit_id)
        if visit is None or visit.ended_at_ns:
            return
        visit.ended_at_ns, visit.exit_gate = now_ns, gate
        self.gate.visit_ended(visit_id)
        place = len(self._events)  # it is told before the questions that it raises
        self._emit(self.carts.visit_left(visit_id, now_ns))
        self._events.insert(place, self._goodbye(now_ns, visit_id, visit, reason))
        self.people.visit_ended(visit_id)

    def _goodbye(
        self, now_ns: int, visit_id: VisitId, visit: Visit, reason: EndReason
    ) -> VisitEnded:
        """The cart as it is known at the exit, and until when it may change."""
        cart, wall_ns = self.carts.carts[visit_id], self.gate.wall_ns(now_ns)
        deadline_ns = round(self.config.decision.review_deadline_s * 1e9)
        waits_ns = deadline_ns if cart.reviews else SETTLE_MAX_NS
        return VisitEnded(
            at_ns=now_ns,
            visit=visit_id,
            reason=reason,
            gate=visit.exit_gate,
            lines=tuple(replace(line, evidence=Evidence()) for line in cart.lines),
            ended_at_wall_ns=wall_ns,
            due_at_wall_ns=wall_ns + waits_ns if wall_ns else 0,
        )

    def _end_overdue_visits(self, now_ns: int) -> None:
        limit_ns = round(self.config.decision.visit_timeout_s * 1e9)
        for visit_id, visit in list(self.state.visits.items()):
            if not visit.ended_at_ns and now_ns - visit.started_at_ns >= limit_ns:
                self._visit_ended(now_ns, VisitId(visit_id), EndReason.TIMEOUT, None)
                detail = f"{visit_id} was inside longer than the store allows: exit not seen"
                self._raise_alarm(now_ns, f"visit:{visit_id}", "warning", detail, None)

    def _end_visits_of_empty_store(self, now_ns: int) -> None:
        """Gates may count wrong; when all cameras agree that nobody is inside, nobody is."""
        state = self.state
        seen_ns = self.people.somebody_seen_ns()
        awake = self.people.all_cameras_see(CAMERA_AWAKE_NS) and not state.waiting
        state.occupied_ns = max(state.occupied_ns, seen_ns if awake else now_ns)
        if now_ns - state.occupied_ns < EMPTY_STORE_NS:
            return
        state.strangers_inside = state.unplaced_exits = 0
        for visit_id, visit in list(state.visits.items()):
            old = now_ns - visit.started_at_ns >= EMPTY_STORE_NS
            if old and visit.entered and not visit.ended_at_ns:
                self._visit_ended(now_ns, VisitId(visit_id), EndReason.EMPTY_STORE, None)
                self._count("visits_ended_by_empty_store")

    def _close_carts(self, now_ns: int) -> None:
        for visit_id, visit in list(self.state.visits.items()):
            if visit.ended_at_ns and self._may_close(now_ns, VisitId(visit_id), visit):
                self._close_cart(now_ns, VisitId(visit_id), visit)

    def _may_close(self, now_ns: int, visit_id: VisitId, visit: Visit) -> bool:
        """Everything the party did is known, and no doubt is open or its deadline passed."""
        waited_ns = now_ns - (visit.passed_at_ns or visit.ended_at_ns)
        if waited_ns < SETTLE_NS:
            return False
        if self.carts.pending(visit_id) and waited_ns < SETTLE_MAX_NS:
            return False
        deadline_ns = round(self.config.decision.review_deadline_s * 1e9)
        if self.carts.carts[visit_id].reviews and waited_ns < deadline_ns:
            return False
        self._emit(self.carts.expire(visit_id, now_ns))
        return True

    def _close_cart(self, now_ns: int, visit_id: VisitId, visit: Visit) -> None:
        cart = self.carts.close(visit_id)
        del self.state.visits[visit_id]
        self._events.append(
            CartClosed(
                at_ns=now_ns,
                visit=visit_id,
                credential=visit.credential,
                account=visit.account,
                kind=visit.kind,
                party_size=visit.party_size,
                entry_gate=visit.entry_gate,
                exit_gate=visit.exit_gate,
                started_at_ns=visit.started_at_ns,
                ended_at_ns=visit.ended_at_ns,
                started_at_wall_ns=visit.started_at_wall_ns,
                ended_at_wall_ns=self.gate.wall_ns(visit.ended_at_ns),
                state=cart.state,
                lines=cart.lines,
                joined=tuple(visit.joined),
            )
        )

    # --- alarms, counters, ids ---------------------------------------------------------------

    def _raise_alarm(
        self, now_ns: int, key: str, severity: str, detail: str, device: DeviceId | None
    ) -> None:
        self.state.alarms[key] = detail
        self._events.append(
            AlarmRaised(at_ns=now_ns, key=key, severity=severity, detail=detail, device=device)
        )

    def _clear_alarm(self, now_ns: int, key: str, device: DeviceId | None) -> None:
        if self.state.alarms.pop(key, None) is not None:
            self._events.append(AlarmCleared(at_ns=now_ns, key=key, device=device))

    def _emit(self, events: Sequence[Event]) -> None:
        self._events.extend(events)

    def _count(self, name: str) -> None:
        self.state.counters[name] = self.state.counters.get(name, 0) + 1

    def _stamped(self) -> Outputs:
        """Ids from counters: the same events get the same ids in every replay."""
        prefix = f"{self.config.store}-{self.state.step}"
        return Outputs(
            events=tuple(
                replace(event, id=EventId(f"{prefix}-{i}")) for i, event in enumerate(self._events)
            ),
            commands=tuple(
                replace(command, id=CommandId(f"{prefix}-c{i}"))
                for i, command in enumerate(self._commands)
            ),
        )

    # --- views -------------------------------------------------------------------------------

    def view(self) -> dict[str, object]:
        """What a console shows, as plain JSON-able values. Never needed to go on."""
        return {
            "store": self.config.store,
            "step": self.state.step,
            "mode": self.gate.state.mode,
            "visits": [self._visit_view(v, visit) for v, visit in self.state.visits.items()],
            "people": self._people_view(),
            "devices": dict(self.state.devices),
            "alarms": dict(self.state.alarms),
            "proposals": self._proposals_view(),
            "sold_out": dict(self.carts.state.sold_out),
            "counters": {
                "engine": dict(self.state.counters),
                "gate": dict(self.gate.state.counters),
                "timeline": dict(self.timeline.state.counters),
                "sensing": dict(self.sensing.state.counters),
                "people": dict(self.people.state.counters),
                "carts": dict(self.carts.state.counters),
            },
        }

    def _visit_view(self, visit_id: str, visit: Visit) -> dict[str, object]:
        cart = self.carts.carts[VisitId(visit_id)]
        return {
            "visit": visit_id,
            "kind": visit.kind,
            "credential": visit.credential,
            "party_size": visit.party_size,
            "inside": 0 if visit.ended_at_ns else visit.entered - visit.left,
            "started_at_ns": visit.started_at_ns,
            "ended_at_ns": visit.ended_at_ns,
            "lines": [
                {
                    "line": line.line,
                    "sku": line.sku,
                    "quantity": line.quantity,
                    "probability": line.probability,
                    "state": line.state,
                }
                for line in cart.lines
            ],
            "reviews": [review.review for review in cart.reviews],
        }

    def _proposals_view(self) -> list[dict[str, object]]:
        """Facings that probably hold other goods than the books say, and which."""
        return [
            {
                "facing": facing,
                "sku": suspicion.proposed,
                "takes": suspicion.takes,
                "probability": round(self.carts.state.facing_wrong.get(facing, 0.0), 3),
                "candidates": {sku: round(p, 3) for sku, p in suspicion.fit if p >= 0.05},
            }
            for facing, suspicion in self.carts.state.suspicions.items()
            if suspicion.proposed is not None
        ]

    def _people_view(self) -> list[dict[str, object]]:
        tracks = self.people.tracks
        names = [*map(str, tracks.visits), ""]
        return [
            {
                "track": int(tracks.track_id[i]),
                "x_m": round(float(tracks.position_store_m[i, 0]), 2),
                "y_m": round(float(tracks.position_store_m[i, 1]), 2),
                "visit": names[int(tracks.identity[i].argmax())],
                "probability": round(float(tracks.identity[i].max()), 3),
            }
            for i in range(len(tracks.track_id))
        ]


def config_digest(config: StoreConfig) -> str:
    """SHA-256 of store.toml's text, hexadecimal."""
    return hashlib.sha256(config.toml.encode()).hexdigest()


def snapshot(engine: Engine) -> bytes:
    """The engine's whole state; the codec is the journal's."""
    return encode_state(engine.state)


def restore(config: StoreConfig, data: bytes) -> Engine:
    """The engine of a snapshot.

    With another configuration than the snapshot's, what hangs on the layout (levels, tracks)
    starts anew; gates, used credentials, visits and carts go on.

    Raises:
        CodecError: the bytes are no snapshot of this version.
    """
    state = decode_state(data, EngineState)
    if state.config_digest != config_digest(config):
        state.sensing = WeightSensing(config).state
        state.people = PersonTracker(config).state
        state.timeline = Timeline(config).state
        state.config_digest = config_digest(config)
    return Engine(config, state)
