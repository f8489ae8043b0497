"""System E: a screening token describes a client by yes/no facts and opens features once.

A kiosk, a page or staff collect evidence: passive (past trips, known to the broker) and active
(age check, deposit, terms). What comes of it is a token - a one-time code - that names one store,
lives a minute or so, and is used once over all gates. What it opens is the store's policy on its
facts: data, in versions, and nothing by default. A fact is true or false; there is no field for a
birth date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import msgspec

from broker import store_rows
from broker.chart import receivable
from broker.database import Row, Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing, same_version
from broker.systems import funds, secret_codes
from broker.systems.states import advance

PURPOSE = "screening"
VALIDITY_S = 90  # to walk from the kiosk to the gate; a screenshot is old by then
VALIDITY_S_MAX = 600
PER_HOUR_MAX = 30  # screenings of one account: nobody collects tokens for others
FACTS_MAX = 32
RULES_MAX = 50
REGULAR_TRIPS = 5  # paid trips that make a regular

# What the broker knows by itself of an account; evidence cannot say otherwise.
OWN_FACTS = ("known", "not_blocked", "no_debt", "regular")


class ScreeningState(StrEnum):
    ISSUED = "issued"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ScreeningSignal(StrEnum):
    USE = "use"
    EXPIRE = "expire"
    REVOKE = "revoke"


SCREENING_STATES: Mapping[tuple[ScreeningState, ScreeningSignal], ScreeningState] = {
    (ScreeningState.ISSUED, ScreeningSignal.USE): ScreeningState.USED,
    (ScreeningState.ISSUED, ScreeningSignal.EXPIRE): ScreeningState.EXPIRED,
    (ScreeningState.ISSUED, ScreeningSignal.REVOKE): ScreeningState.REVOKED,
    (ScreeningState.REVOKED, ScreeningSignal.REVOKE): ScreeningState.REVOKED,
    (ScreeningState.EXPIRED, ScreeningSignal.REVOKE): ScreeningState.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One answer. ``source``: who or what found it out, for example staff, kiosk, terms."""

    fact: str
    answer: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """All facts of ``needs`` open ``features``; the largest ``limit_minor`` of such rules holds."""

    needs: list[str]
    features: list[str]
    limit_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSource:
    """A fact counts only when one of these sources found it out."""

    fact: str
    sources: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """PUT /v1/screening-policies/{store}: If-Match "0" makes the first version."""

    rules: list[PolicyRule]
    sources: list[FactSource] = field(default_factory=list)
    ttl_s: int = VALIDITY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    store: str
    version: int
    rules: list[PolicyRule]
    sources: list[FactSource]
    ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningRequest:
    """POST /v1/screenings. ``account``: whose past trips count; none of a stranger."""

    screening: str
    store: str
    evidence: list[Evidence]
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """``facts``: what was found out and is true."""

    screening: str
    store: str
    facts: list[str]
    state: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningToken(Screening):
    """``code``: the token, for the QR code."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemRequest:
    """POST /v1/screenings/redeem: what does this token open here?"""

    code: str
    store: str
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """``features``: what may be opened, nothing else; ``limit_minor``: 0 = no higher limit."""

    screening: str
    gate: str
    features: list[str]
    limit_minor: int
    policy_version: int


# --- effects ----------------------------------------------------------------------------------


async def set_policy(db: Transaction, call: Call, asked: PolicyRequest) -> Answer:
    """A new version of a store's policy.

    Raises:
        ProblemError: 412, somebody was faster.
    """
    known = await _latest(db, call.named)
    same_version(call, known.version if known else 0)
    made = Policy(
        store=call.named,
        version=(known.version if known else 0) + 1,
        rules=asked.rules,
        sources=asked.sources,
        ttl_s=asked.ttl_s,
    )
    row = (made.store, made.version, made.ttl_s, _json(made.rules), _json(made.sources))
    await db.run(f"INSERT INTO screening_policy VALUES {_SIX}", *row, call.now_s)
    return answer(200, made)


async def issue(db: Transaction, call: Call, asked: ScreeningRequest) -> Answer:
    """A token for what is true of the client; the reply names the key that it is derived with.

    Raises:
        ProblemError: 404 without a policy, 409 the id came before otherwise, 429 too many.
    """
    account = asked.account or ""
    known = await _row(db, asked.screening)
    if known is not None:
        if (known[1], known[2]) != (asked.store, account):
            raise funds.same_id_other_content("screening")
        return answer(201, _token(known, call.now_s), replayed=True)
    policy = await _policy(db, asked.store)
    await _check_often(db, call, account)
    true = _found_out(asked.evidence, policy) | await _own_facts(db, call, account)
    key = call.service.signing[0]
    token_hash = secret_codes.hashed(secret_codes.code_of(key, PURPOSE, asked.screening))
    row = (asked.screening, asked.store, account, " ".join(sorted(true)), token_hash)
    times = (call.now_s, call.now_s + policy.ttl_s)
    await db.run(f"INSERT INTO screening VALUES {_NINE}", *row, key.kid, "issued", *times)
    made = (*row, key.kid, "issued", *times)
    return answer(201, _token(made, call.now_s))


async def redeem(db: Transaction, call: Call, asked: RedeemRequest) -> Answer:
    """Use a token: one conditional write decides, however many gates ask at once.

    Raises:
        ProblemError: 403 or 409, and nothing opens.
    """
    token_hash = secret_codes.hashed(asked.code)
    kids = {key.kid for key in call.service.signing}
    row = await db.one(_USE, token_hash, asked.store, call.now_s)
    if row is None or row[1] not in kids:  # what raises undoes the write
        raise _closed(await db.one(f"{_SELECT} WHERE token_hash = $1", token_hash), asked, kids)
    policy = await _policy(db, asked.store)
    features, limit_minor = opened(policy, set(row[2].split()))
    used = (row[0], asked.gate, call.now_s, policy.version, " ".join(features), limit_minor)
    await db.run(f"INSERT INTO screening_use VALUES {_SIX}", *used)
    return answer(
        200,
        Redeemed(
            screening=row[0],
            gate=asked.gate,
            features=features,
            limit_minor=limit_minor,
            policy_version=policy.version,
        ),
    )


async def revoke(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Take a token back before it is used."""
    row = await db.one(f"{_SELECT} WHERE screening = $1 FOR UPDATE", call.named)
    if row is None:
        raise _unknown()
    state = _state(row, call.now_s)
    after = advance(SCREENING_STATES, state, ScreeningSignal.REVOKE, "screening")
    await db.run("UPDATE screening SET state = $2 WHERE screening = $1", call.named, after)
    return answer(200, _reply((*row[:6], after.value, *row[7:]), call.now_s))


async def screening(db: Transaction, call: Call, name: str) -> Screening:
    row = await _row(db, name)
    if row is None:
        raise _unknown()
    return _reply(row, call.now_s)


async def policy_of(db: Transaction, call: Call, store: str) -> Policy:
    return await _policy(db, store)


def opened(policy: Policy, facts: set[str]) -> tuple[list[str], int]:
    """What the facts open, and the limit: the policy and nothing else."""
    met = [rule for rule in policy.rules if facts.issuperset(rule.needs)]
    features = {feature for rule in met for feature in rule.features}
    return sorted(features), max((rule.limit_minor for rule in met), default=0)


# --- helpers ----------------------------------------------------------------------------------


def _found_out(evidence: list[Evidence], policy: Policy) -> set[str]:
    """Facts that all their answers call true, from sources that may say so."""
    allowed = {one.fact: one.sources for one in policy.sources}
    said: dict[str, bool] = {}
    for one in evidence:
        if one.fact in OWN_FACTS or one.source not in allowed.get(one.fact, [one.source]):
            continue
        said[one.fact] = said.get(one.fact, True) and one.answer
    return {fact for fact, true in said.items() if true}


async def _own_facts(db: Transaction, call: Call, account: str) -> set[str]:
    if not account:
        return set()
    state = await store_rows.account_state(db, account, call.now_s)
    trips = await db.one("SELECT COUNT(*) FROM capture WHERE account IN ($1, $2)",
                         account, receivable(account))  # fmt: skip
    assert trips is not None
    facts = {
        "known": trips[0] > 0,
        "regular": trips[0] >= REGULAR_TRIPS,
        "not_blocked": not state.blocked,
        "no_debt": state.owed_minor == 0,
    }
    return {fact for fact, true in facts.items() if true}


async def _check_often(db: Transaction, call: Call, account: str) -> None:
    if not account:
        return
    await store_rows.locked_account(db, account, call.now_s)
    row = await db.one(_OFTEN, account, call.now_s - 3600)
    assert row is not None
    if row[0] >= PER_HOUR_MAX:
        detail = f"{PER_HOUR_MAX} screenings of one account an hour are enough"
        raise ProblemError(429, "too-many-screenings", detail, headers={"Retry-After": "600"})


def _closed(row: Row | None, asked: RedeemRequest, kids: set[str]) -> ProblemError:
    """Why nothing opens."""
    if row is None or row[5] not in kids:
        return ProblemError(403, "unknown-token", "no token of ours", param="$.code")
    if row[1] != asked.store:
        return ProblemError(403, "token-elsewhere", "the token is another store's")
    if row[6] == ScreeningState.USED:
        return ProblemError(409, "token-used", "the token was used before")
    if row[6] == ScreeningState.REVOKED:
        return ProblemError(403, "token-revoked", "the token was taken back")
    return ProblemError(403, "token-expired", "the token is too old: screen again")


def _unknown() -> ProblemError:
    return ProblemError(404, "unknown-screening", "no screening has this id")


def _state(row: Row, now_s: int) -> ScreeningState:
    state = ScreeningState(row[6])
    return state if state is not ScreeningState.ISSUED or now_s < row[8] else ScreeningState.EXPIRED


def _reply(row: Row, now_s: int) -> Screening:
    return Screening(
        screening=row[0],
        store=row[1],
        facts=row[3].split(),
        state=_state(row, now_s).value,
        expires_s=row[8],
    )


def _token(row: Row, now_s: int) -> ScreeningToken:
    """With the key's id where the code belongs: it is written into what leaves."""
    return ScreeningToken(
        screening=row[0],
        store=row[1],
        facts=row[3].split(),
        state=_state(row, now_s).value,
        expires_s=row[8],
        code=row[5],
    )


async def _row(db: Transaction, name: str) -> Row | None:
    return await db.one(f"{_SELECT} WHERE screening = $1", name)


async def _policy(db: Transaction, store: str) -> Policy:
    found = await _latest(db, store)
    if found is None:
        raise ProblemError(404, "unknown-policy", "this store has no screening policy: PUT one")
    return found


async def _latest(db: Transaction, store: str) -> Policy | None:
    row = await db.one(_LATEST, store)
    return None if row is None else read_policy(row)


def read_policy(row: Row) -> Policy:
    return Policy(
        store=row[0],
        version=row[1],
        ttl_s=row[2],
        rules=msgspec.json.decode(row[3], type=list[PolicyRule]),
        sources=msgspec.json.decode(row[4], type=list[FactSource]),
    )


def _json(entries: list[PolicyRule] | list[FactSource]) -> str:
    return msgspec.json.encode([asdict(entry) for entry in entries]).decode()


_SIX = "($1, $2, $3, $4, $5, $6)"
_NINE = "($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_SELECT = (
    "SELECT screening, store, account, facts, token_hash, kid, state, issued_s, expires_s"
    " FROM screening"
)
_USE = (
    "UPDATE screening SET state = 'used' WHERE token_hash = $1 AND store = $2"
    " AND state = 'issued' AND expires_s > $3 RETURNING screening, kid, facts"
)
_LATEST = (
    "SELECT store, version, ttl_s, rules, sources FROM screening_policy"
    " WHERE store = $1 ORDER BY version DESC LIMIT 1"
)
_OFTEN = "SELECT COUNT(*) FROM screening WHERE account = $1 AND issued_s > $2"
