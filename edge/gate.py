"""The gates: who may come in, under which credential, and who passed.

Each gate runs the state machine of ``TABLE``. A credential is a PASETO v4.public token (Ed25519),
bound to this store, valid for at most a minute, and used once: its id goes into the used set in
the same step that emits ``VisitStarted``, which is committed before ``UnlockGate`` runs. All is
checked offline. Wall time comes from the last ``ClockAnchor``; without one nobody is let in,
because validity cannot be judged. The way out is the controller's own business and stays free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias, cast

import msgspec
import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from messages.commands import Command, RefuseEntry, UnlockGate
from messages.events import (
    EndReason,
    EntryRefused,
    Event,
    RefusalReason,
    TailgateSuspected,
    VisitEnded,
    VisitJoined,
    VisitKind,
    VisitStarted,
)
from messages.ids import AccountRef, CredentialId, GateId, VisitId
from messages.observations import (
    ClockAnchor,
    CredentialKey,
    GateSignal,
    GateSignalKind,
    OperatorAction,
    OperatorActionKind,
)
from messages.store_config import StoreConfig

TOKEN_CHARS_MAX = 1024  # a PASETO of ours has about 300
COMMAND_VALID_NS = 3_000_000_000  # an unlock older than this would surprise the next person
OFFLINE_DAY_NS = 86_400_000_000_000  # the offline limit counts anew after a day without a link
USED_KEPT_NS = 86_400_000_000_000  # after expiry, in case the wall clock steps back
JOINED_MAX = 16  # further credentials of one visit: more is no family, and a record has a bound
UNKNOWN_PARTY = VisitId("")


class GateState(StrEnum):
    IDLE = "idle"
    UNLOCKED = "unlocked"  # the first person of a party may pass
    PASSING = "passing"  # more of the party are expected


class Signal(StrEnum):
    ACCEPTED = "accepted"  # a valid credential
    JOINED = "joined"  # one more of the account that came in last: the same visit
    ENTER_MORE = "enter_more"  # a person came in, more of the party may follow
    ENTER_LAST = "enter_last"  # the last one of the party, or one without a party
    TIMEOUT = "timeout"
    FORCED = "forced"


class Action(StrEnum):
    START_VISIT = "start_visit"
    JOIN_VISIT = "join_visit"
    REFUSE_BUSY = "refuse_busy"
    ADMIT = "admit"
    TAILGATE = "tailgate"
    CANCEL_VISIT = "cancel_visit"
    ACCEPT_SMALLER_PARTY = "accept_smaller_party"


S, G, A = GateState, Signal, Action
TABLE: dict[tuple[GateState, Signal], tuple[GateState, tuple[Action, ...]]] = {
    (S.IDLE, G.ACCEPTED): (S.UNLOCKED, (A.START_VISIT,)),
    (S.IDLE, G.JOINED): (S.PASSING, (A.JOIN_VISIT,)),
    (S.IDLE, G.ENTER_MORE): (S.IDLE, (A.TAILGATE,)),
    (S.IDLE, G.ENTER_LAST): (S.IDLE, (A.TAILGATE,)),
    (S.IDLE, G.FORCED): (S.IDLE, (A.TAILGATE,)),
    (S.IDLE, G.TIMEOUT): (S.IDLE, ()),
    (S.UNLOCKED, G.ACCEPTED): (S.UNLOCKED, (A.REFUSE_BUSY,)),
    (S.UNLOCKED, G.JOINED): (S.UNLOCKED, (A.JOIN_VISIT,)),
    (S.UNLOCKED, G.ENTER_MORE): (S.PASSING, (A.ADMIT,)),
    (S.UNLOCKED, G.ENTER_LAST): (S.IDLE, (A.ADMIT,)),
    (S.UNLOCKED, G.FORCED): (S.UNLOCKED, (A.TAILGATE,)),
    (S.UNLOCKED, G.TIMEOUT): (S.IDLE, (A.CANCEL_VISIT,)),
    (S.PASSING, G.ACCEPTED): (S.PASSING, (A.REFUSE_BUSY,)),
    (S.PASSING, G.JOINED): (S.PASSING, (A.JOIN_VISIT,)),
    (S.PASSING, G.ENTER_MORE): (S.PASSING, (A.ADMIT,)),
    (S.PASSING, G.ENTER_LAST): (S.IDLE, (A.ADMIT,)),
    (S.PASSING, G.FORCED): (S.PASSING, (A.TAILGATE,)),
    (S.PASSING, G.TIMEOUT): (S.IDLE, (A.ACCEPT_SMALLER_PARTY,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says once its signature is right."""

    jti: CredentialId
    store: str
    acct: AccountRef
    iat: str  # RFC 3339
    exp: str
    party: int = 1
    kind: VisitKind = VisitKind.SHOPPER


@dataclass(slots=True)
class Passing:
    """One gate's state: the party that is passing."""

    state: GateState = GateState.IDLE
    visit: VisitId = UNKNOWN_PARTY
    party_size: int = 0
    entered: int = 0
    deadline_ns: int = 0
    account: AccountRef = AccountRef("")  # whose next credential may join; "": nobody's
    kind: VisitKind = VisitKind.SHOPPER
    joined: int = 0
    last_ns: int = 0  # of the last credential or passage


@dataclass(slots=True)
class GateKeeperState:
    passing: dict[str, Passing] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)  # credential -> wall ns of its expiry
    denied_accounts: list[str] = field(default_factory=list)
    denied_credentials: list[str] = field(default_factory=list)
    owing_accounts: list[str] = field(default_factory=list)
    pushed_keys: list[CredentialKey] = field(default_factory=list)
    anchor_store_ns: int = 0
    anchor_wall_ns: int = 0
    anchor_uncertainty_ms: float = float("inf")
    mode: str = "open"
    visits: int = 0  # counter for visit ids
    offline_since_ns: int = -1  # store time; -1: payments can be asked, as far as we know
    offline_entries: dict[str, int] = field(default_factory=dict)  # account -> entries since then
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """One person of a visit passed inwards; visit "" = nobody knows who."""

    visit: VisitId
    gate: GateId


@dataclass(slots=True)
class GateOutputs:
    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)


class GateKeeper:
    """All gates of a store, the used credentials, and the store's mode."""

    def __init__(self, config: StoreConfig, state: GateKeeperState | None = None) -> None:
        self._config = config
        self._policy = config.gate_policy
        self.state = state or GateKeeperState()
        self._keys = _paseto_keys((*config.credential_keys, *self.state.pushed_keys))

    def signal(self, now_ns: int, seen: GateSignal, people_inside: int) -> GateOutputs:
        """What one signal of a gate leads to. Exits are the engine's: they need the tracks."""
        out = GateOutputs()
        if seen.gate not in self._config.gate_index:
            self._count("signals_of_unknown_gate")
            return out
        match seen.kind:
            case GateSignalKind.CREDENTIAL:
                self._credential(now_ns, seen, people_inside, out)
            case GateSignalKind.ENTER:
                self._enter(now_ns, seen.gate, out)
            case GateSignalKind.FORCED:
                self._run(now_ns, seen.gate, Signal.FORCED, out, None)
            case _:
                self._count(f"signal_{seen.kind}")
        return out

    def tick(self, now_ns: int) -> GateOutputs:
        """Deadlines that have passed, and credentials that can be forgotten."""
        out = GateOutputs()
        for gate, passing in sorted(self.state.passing.items()):
            if passing.state is not GateState.IDLE and now_ns >= passing.deadline_ns:
                self._run(now_ns, GateId(gate), Signal.TIMEOUT, out, None)
        self._forget_used(now_ns)
        return out

    def anchor(self, seen: ClockAnchor) -> None:
        self.state.anchor_store_ns = seen.received_at_ns
        self.state.anchor_wall_ns = seen.wall_ns
        self.state.anchor_uncertainty_ms = seen.uncertainty_ms

    def wall_ns(self, at_ns: int) -> int:
        """Unix time at an instant of store time; 0 while the wall clock is unknown."""
        if self.state.anchor_wall_ns == 0:
            return 0
        return self.state.anchor_wall_ns + (at_ns - self.state.anchor_store_ns)

    def visit_ended(self, visit: VisitId) -> None:
        """Nobody joins it any more."""
        for passing in self.state.passing.values():
            if passing.visit == visit:
                passing.account = AccountRef("")

    def operator(self, action: OperatorAction) -> None:
        """Store mode, key set and deny lists."""
        match action.kind:
            case OperatorActionKind.STORE_MODE if action.store_mode in (
                "open",
                "closing",
                "closed",
            ):
                self.state.mode = action.store_mode
            case OperatorActionKind.KEYS:
                self.state.pushed_keys = list(action.keys)
                self._keys = _paseto_keys((*self._config.credential_keys, *action.keys))
            case OperatorActionKind.DENY_LIST:
                self.state.denied_accounts = sorted(map(str, action.denied_accounts))
                self.state.denied_credentials = sorted(map(str, action.denied_credentials))
            case OperatorActionKind.OWING:
                self.state.owing_accounts = sorted(map(str, action.denied_accounts))
            case OperatorActionKind.LINK:
                self._link(action.received_at_ns, action.link_up)
            case _:
                self._count("operator_actions_ignored")

    def _link(self, now_ns: int, up: bool) -> None:
        """Payments can be asked again, or not any more. Being told twice changes nothing."""
        if up:
            self.state.offline_since_ns = -1
            self.state.offline_entries.clear()
        elif self.state.offline_since_ns < 0:
            self.state.offline_since_ns = now_ns

    def _over_offline_limit(self, now_ns: int, claims: Claims) -> bool:
        """Whether an account came in too often while nobody could be asked for a hold."""
        state, most = self.state, self._policy.offline_entries_max
        if state.offline_since_ns < 0 or not most or claims.kind is VisitKind.STAFF:
            return False
        if now_ns - state.offline_since_ns >= OFFLINE_DAY_NS:
            state.offline_since_ns = now_ns
            state.offline_entries.clear()
        return state.offline_entries.get(claims.acct, 0) >= most

    def _credential(
        self, now_ns: int, seen: GateSignal, people_inside: int, out: GateOutputs
    ) -> None:
        verdict = self._judge(now_ns, seen, people_inside)
        if isinstance(verdict, Refusal):
            self._refuse(now_ns, seen.gate, verdict, out)
        else:
            joins = self._joins(now_ns, self._passing(seen.gate), verdict)
            self._run(now_ns, seen.gate, Signal.JOINED if joins else Signal.ACCEPTED, out, verdict)

    def _joins(self, now_ns: int, passing: Passing, claims: Claims) -> bool:
        """Whether this is one more of the party that came in last here: one account, one visit."""
        window_ns = round(self._policy.group_window_s * 1e9)
        if not window_ns or not passing.account or passing.joined >= JOINED_MAX:
            return False
        recent = passing.state is not GateState.IDLE or now_ns - passing.last_ns <= window_ns
        return recent and (passing.account, passing.kind) == (claims.acct, claims.kind)

    def _judge(self, now_ns: int, seen: GateSignal, people_inside: int) -> Claims | Refusal:
        """The whole entry policy, cheapest and most telling reason first."""
        claims = verify_token(seen.credential or "", self._keys)
        if isinstance(claims, Refusal):
            return claims
        reason = self._objection(now_ns, claims, people_inside)
        return claims if reason is None else Refusal(reason=reason, credential=claims.jti)

    def _objection(self, now_ns: int, claims: Claims, people_inside: int) -> RefusalReason | None:
        state, policy = self.state, self._policy
        if claims.store != self._config.store:
            return RefusalReason.WRONG_STORE
        validity = self._validity(now_ns, claims)
        if validity is not None:
            return validity
        if claims.jti in state.used:
            return RefusalReason.ALREADY_USED
        if claims.acct in state.denied_accounts or claims.jti in state.denied_credentials:
            return RefusalReason.DENIED
        if claims.acct in state.owing_accounts and claims.kind is not VisitKind.STAFF:
            return RefusalReason.DENIED
        if state.mode != "open":
            return RefusalReason.STORE_CLOSED
        if people_inside + claims.party > policy.people_max:
            return RefusalReason.STORE_FULL
        if self._over_offline_limit(now_ns, claims):
            return RefusalReason.OFFLINE_LIMIT
        return None

    def _validity(self, now_ns: int, claims: Claims) -> RefusalReason | None:
        if self.state.anchor_uncertainty_ms > self._policy.clock_uncertainty_max_ms:
            return RefusalReason.CLOCK_UNCERTAIN
        wall_ns = self.wall_ns(now_ns)
        skew_ns = round(self._policy.clock_skew_max_s * 1e9)
        issued_ns, expires_ns = _unix_ns(claims.iat), _unix_ns(claims.exp)
        if expires_ns - issued_ns > round(self._policy.token_validity_max_s * 1e9):
            return RefusalReason.MALFORMED
        if wall_ns < issued_ns - skew_ns:
            return RefusalReason.NOT_YET_VALID
        if wall_ns > expires_ns + skew_ns:
            return RefusalReason.EXPIRED
        return None

    def _enter(self, now_ns: int, gate: GateId, out: GateOutputs) -> None:
        passing = self._passing(gate)
        last = passing.entered + 1 >= passing.party_size
        self._run(now_ns, gate, Signal.ENTER_LAST if last else Signal.ENTER_MORE, out, None)

    def _run(
        self, now_ns: int, gate: GateId, signal: Signal, out: GateOutputs, claims: Claims | None
    ) -> None:
        """One transition of the table and its actions."""
        passing = self._passing(gate)
        passing.state, actions = TABLE[passing.state, signal]
        for action in actions:
            match action:
                case Action.START_VISIT:
                    assert claims is not None
                    self._start_visit(now_ns, gate, claims, out)
                case Action.JOIN_VISIT:
                    assert claims is not None
                    self._join_visit(now_ns, gate, claims, out)
                case Action.REFUSE_BUSY:
                    assert claims is not None
                    busy = Refusal(reason=RefusalReason.GATE_BUSY, credential=claims.jti)
                    self._refuse(now_ns, gate, busy, out)
                case Action.ADMIT:
                    self._admit(now_ns, gate, out)
                case Action.TAILGATE:
                    visit = passing.visit or None
                    out.events.append(
                        TailgateSuspected(at_ns=now_ns, gate=gate, visit=visit, people=1)
                    )
                    out.admitted.append(Admitted(visit=UNKNOWN_PARTY, gate=gate))
                case Action.CANCEL_VISIT:
                    out.events.append(
                        VisitEnded(
                            at_ns=now_ns,
                            visit=passing.visit,
                            reason=EndReason.NO_PASSAGE,
                            gate=gate,
                        )
                    )
                case Action.ACCEPT_SMALLER_PARTY:
                    self._count("parties_smaller_than_said")

    def _start_visit(self, now_ns: int, gate: GateId, claims: Claims, out: GateOutputs) -> None:
        self.state.visits += 1
        visit = VisitId(f"{self._config.store}-v{self.state.visits}")
        self.state.used[claims.jti] = _unix_ns(claims.exp)
        if self.state.offline_since_ns >= 0:
            entries = self.state.offline_entries
            entries[claims.acct] = entries.get(claims.acct, 0) + 1
        size = min(claims.party, self._config.gates[self._config.gate_index[gate]].party_size_max)
        passing = self._passing(gate)
        passing.visit, passing.party_size, passing.entered = visit, size, 0
        passing.account, passing.kind, passing.joined = claims.acct, claims.kind, 0
        passing.last_ns = now_ns
        passing.deadline_ns = now_ns + round(self._policy.passage_timeout_s * 1e9)
        out.events.append(
            VisitStarted(
                at_ns=now_ns,
                visit=visit,
                credential=claims.jti,
                account=claims.acct,
                gate=gate,
                party_size=size,
                kind=claims.kind,
            )
        )
        out.commands.append(
            UnlockGate(
                not_after_ns=now_ns + COMMAND_VALID_NS, gate=gate, visit=visit, passages=size
            )
        )

    def _join_visit(self, now_ns: int, gate: GateId, claims: Claims, out: GateOutputs) -> None:
        """More people for the party; who is still to come has the whole time anew."""
        self.state.used[claims.jti] = _unix_ns(claims.exp)
        size = min(claims.party, self._config.gates[self._config.gate_index[gate]].party_size_max)
        passing = self._passing(gate)
        passing.party_size = max(passing.party_size, passing.entered) + size
        passing.joined += 1
        passing.last_ns = now_ns
        passing.deadline_ns = now_ns + round(self._policy.passage_timeout_s * 1e9)
        out.events.append(
            VisitJoined(
                at_ns=now_ns,
                visit=passing.visit,
                credential=claims.jti,
                account=claims.acct,
                gate=gate,
                party_size=size,
            )
        )
        out.commands.append(  # a controller replaces its count of passages by this one
            UnlockGate(
                not_after_ns=now_ns + COMMAND_VALID_NS,
                gate=gate,
                visit=passing.visit,
                passages=passing.party_size - passing.entered,
            )
        )

    def _admit(self, now_ns: int, gate: GateId, out: GateOutputs) -> None:
        passing = self._passing(gate)
        passing.entered += 1
        passing.last_ns = now_ns
        passing.deadline_ns = now_ns + round(self._policy.passage_gap_s * 1e9)
        out.admitted.append(Admitted(visit=passing.visit, gate=gate))

    def _refuse(self, now_ns: int, gate: GateId, refusal: Refusal, out: GateOutputs) -> None:
        self._count(f"refused_{refusal.reason}")
        out.events.append(
            EntryRefused(
                at_ns=now_ns, gate=gate, reason=refusal.reason, credential=refusal.credential
            )
        )
        out.commands.append(
            RefuseEntry(not_after_ns=now_ns + COMMAND_VALID_NS, gate=gate, reason=refusal.reason)
        )

    def _passing(self, gate: GateId) -> Passing:
        return self.state.passing.setdefault(gate, Passing())

    def _forget_used(self, now_ns: int) -> None:
        wall_ns = self.wall_ns(now_ns)
        old = [jti for jti, end_ns in self.state.used.items() if wall_ns > end_ns + USED_KEPT_NS]
        for jti in old:
            del self.state.used[jti]

    def _count(self, name: str) -> None:
        self.state.counters[name] = self.state.counters.get(name, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a credential is not accepted; its id is known only behind a right signature."""

    reason: RefusalReason
    credential: CredentialId | None = None


Keys: TypeAlias = dict[str, pyseto.KeyInterface]


def verify_token(text: str, keys: Keys) -> Claims | Refusal:
    """The claims of a token whose signature is right, or why not. Any text is safe to give.

    Expiry is not judged here: that needs a clock (``GateKeeper``).

    Source: PASETO v4.public (github.com/paseto-standard/paseto-spec).
    """
    if not text.startswith("v4.public.") or len(text) > TOKEN_CHARS_MAX:
        return Refusal(reason=RefusalReason.MALFORMED)
    key = keys.get(_key_id(text))
    if key is None:
        return Refusal(reason=RefusalReason.UNKNOWN_KEY)
    try:
        payload = pyseto.decode(key, text).payload
    except Exception:  # the library raises many kinds; each means: not signed by this key
        return Refusal(reason=RefusalReason.BAD_SIGNATURE)
    try:
        claims = msgspec.json.decode(cast(bytes, payload), type=Claims)
        _unix_ns(claims.iat), _unix_ns(claims.exp)
    except (msgspec.MsgspecError, ValueError, OverflowError, TypeError):
        return Refusal(reason=RefusalReason.MALFORMED)
    if not 1 <= claims.party <= 99 or not claims.jti or not claims.acct:
        return Refusal(reason=RefusalReason.MALFORMED)
    return claims


def token_keys(keys: tuple[CredentialKey, ...]) -> Keys:
    """What ``verify_token`` needs of a configuration's keys."""
    return _paseto_keys(keys)


def _key_id(text: str) -> str:
    """The ``kid`` of the token's footer, unverified: it only chooses the key."""
    try:
        footer = pyseto.Token.new(text).footer
        return str(msgspec.json.decode(cast(bytes, footer), type=dict[str, str]).get("kid", ""))
    except Exception:  # any malformed footer names no key
        return ""


def _paseto_keys(keys: tuple[CredentialKey, ...]) -> Keys:
    return {key.kid: _paseto_key(key.public_key) for key in keys}


def _paseto_key(public_hex: str) -> pyseto.KeyInterface:
    """A verification key from 32 bytes in hexadecimal."""
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pyseto.Key.new(4, "public", pem)


def _unix_ns(text: str) -> int:
    """RFC 3339 with a zone -> Unix nanoseconds. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"instant without a zone: {text}")
    return round(instant.timestamp() * 1e6) * 1000
