"""System J: a shopper follows a shop after enough settled visits, as far as the shopper allows.

Each captured visit that is told with its categories is judged at once, under the account's lock.
When the merchant's condition holds, the shopper is asked, or joins where that was allowed. What it
rested on is kept beside it, so that it can be recomputed; removing it deletes that and leaves a
mark that nothing passes. A merchant sees those who joined, under ids that no other merchant has.
Sensitive goods are no signal: a visit with some counts for nothing; which they were is not kept.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from broker import store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import association_rules, events, funds, statement_rows
from broker.systems.association_rules import DAY_S, OFF, ON, AssociationRule
from broker.systems.merchants import check_party
from broker.systems.states import advance

PAIRWISE_BYTES = 16  # 128 bits
EVIDENCE_MAX = 500  # visits that one judgement reads: the newest

# Article 9 GDPR and what comes near: never a signal, whatever a merchant's rule says.
SENSITIVE = frozenset({"pharmacy", "health", "adult", "alcohol", "tobacco", "religious"})


class AssociationState(StrEnum):
    NONE = "none"
    ELIGIBLE = "eligible"
    PROPOSED = "proposed"
    ACTIVE = "active"
    REMOVED = "removed"


class AssociationSignal(StrEnum):
    MEET = "meet"
    PROPOSE = "propose"
    JOIN = "join"
    ACCEPT = "accept"
    REMOVE = "remove"


ASSOCIATION_STATES: Mapping[tuple[AssociationState, AssociationSignal], AssociationState] = {
    (AssociationState.NONE, AssociationSignal.MEET): AssociationState.ELIGIBLE,
    (AssociationState.ELIGIBLE, AssociationSignal.PROPOSE): AssociationState.PROPOSED,
    (AssociationState.ELIGIBLE, AssociationSignal.JOIN): AssociationState.ACTIVE,
    (AssociationState.PROPOSED, AssociationSignal.ACCEPT): AssociationState.ACTIVE,
    (AssociationState.ACTIVE, AssociationSignal.ACCEPT): AssociationState.ACTIVE,
    (AssociationState.PROPOSED, AssociationSignal.REMOVE): AssociationState.REMOVED,
    (AssociationState.ACTIVE, AssociationSignal.REMOVE): AssociationState.REMOVED,
    (AssociationState.REMOVED, AssociationSignal.REMOVE): AssociationState.REMOVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionRequest:
    """POST /v1/interactions: of a captured visit, the categories of its goods."""

    capture: str
    categories: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """``state``: of the association with the visit's merchant, as the shopper may see it."""

    capture: str
    account: str
    merchant: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """The shopper's view. ``trips``: how many visits it rests on."""

    account: str
    merchant: str
    state: str
    trips: int
    since_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationList:
    associations: list[Association]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """The merchant's view: its own id for the shopper, and whether it may advertise."""

    pairwise: str
    since_s: int
    marketing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerPage:
    """By ``pairwise``; go on from ``after`` while ``more``."""

    followers: list[Follower]
    after: str
    more: bool


# --- effects ----------------------------------------------------------------------------------


async def record(db: Transaction, call: Call, asked: InteractionRequest) -> Answer:
    """Keep what the visit says, and judge.

    Raises:
        ProblemError: 404 without such a capture.
    """
    captured = await store_rows.capture_or_none(db, asked.capture)
    if captured is None:
        raise ProblemError(404, "unknown-capture", "no capture has this id")
    account, merchant = captured.account, captured.merchant
    check_party(call, merchant)
    await store_rows.locked_account(db, account, call.now_s)
    sensitive = int(bool(SENSITIVE & set(asked.categories)))
    kept = sorted(set(asked.categories) - SENSITIVE)
    row = (asked.capture, account, merchant, sensitive, call.now_s)
    if await db.run(_INTERACTION, *row):
        await db.many(
            "INSERT INTO interaction_category VALUES ($1, $2)",
            [(asked.capture, category) for category in kept],
        )
        await _judge(db, account, merchant, call.now_s)
    elif await _kept(db, asked.capture) != (sensitive, kept):
        raise funds.same_id_other_content("interaction")
    state = (await _row(db, account, merchant))[0]
    done = Interaction(capture=asked.capture, account=account, merchant=merchant, state=state.value)
    return answer(201, done)


async def accept(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The shopper says yes to what was proposed."""
    return await _signal(db, call, AssociationSignal.ACCEPT)


async def remove(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The shopper leaves, or says no: for good, whatever comes after."""
    return await _signal(db, call, AssociationSignal.REMOVE)


async def _signal(db: Transaction, call: Call, signal: AssociationSignal) -> Answer:
    account, merchant = call.named, call.path["merchant"]
    await store_rows.locked_account(db, account, call.now_s)
    state, since_s = await _row(db, account, merchant)
    if state is AssociationState.NONE:
        raise ProblemError(404, "unknown-association", "nothing is known with this merchant")
    after = advance(ASSOCIATION_STATES, state, signal, "association")
    if after is AssociationState.REMOVED:
        await db.run(_FORGET, account, merchant)
        await db.run(_SET, account, merchant, after.value, None)
    elif after is not state:
        await db.run(_SET, account, merchant, after.value, _pairwise())
    await _tell(db, merchant, state, after, call.now_s)
    return answer(200, await _view(db, account, merchant, after, since_s))


# --- judging ----------------------------------------------------------------------------------


async def _judge(db: Transaction, account: str, merchant: str, now_s: int) -> None:
    """Propose or join when the condition holds and nothing was decided before."""
    setting = await association_rules.setting(db, account)
    rule = await association_rules.rule_or_none(db, merchant)
    state, _ = await _row(db, account, merchant)
    if rule is None or setting.auto_join == OFF or state is not AssociationState.NONE:
        return
    if await statement_rows.is_insider(db, merchant, account):
        return
    visits = await _visits(db, account, rule, now_s)
    if not meets(rule, [minor for _, minor in visits]):
        return
    state = advance(ASSOCIATION_STATES, state, AssociationSignal.MEET, "association")
    joins = setting.auto_join == ON and setting.profiling
    signal = AssociationSignal.JOIN if joins else AssociationSignal.PROPOSE
    after = advance(ASSOCIATION_STATES, state, signal, "association")
    pairwise = _pairwise() if after is AssociationState.ACTIVE else None
    await db.run(_ASSOCIATE, account, merchant, after.value, pairwise, rule.version, now_s)
    await db.many(
        "INSERT INTO association_evidence VALUES ($1, $2, $3, $4)",
        [(account, merchant, capture, minor) for capture, minor in visits],
    )
    await _tell(db, merchant, AssociationState.NONE, after, now_s)


async def _tell(
    db: Transaction, merchant: str, before: AssociationState, after: AssociationState, now_s: int
) -> None:
    """That the list of followers changed, and not by whom: erasure has to reach everywhere."""
    active = AssociationState.ACTIVE
    if (before is active) != (after is active):
        kind = "association.joined" if after is active else "association.removed"
        party = f"{events.MERCHANT}{merchant}"
        await events.tell(db, party, kind, merchant, now_s, once=_pairwise())


def meets(rule: AssociationRule, amounts: Sequence[int]) -> bool:
    """Whether visits of these amounts, all within the window, satisfy the rule."""
    return len(amounts) >= rule.min_trips and sum(amounts) >= rule.min_minor


async def _visits(
    db: Transaction, account: str, rule: AssociationRule, now_s: int
) -> list[tuple[str, int]]:
    """Settled, unrefunded visits that may count, with their amounts."""
    since_s = now_s - rule.window_days * DAY_S
    who = (account, rule.merchant, rule.currency, since_s, rule.version, EVIDENCE_MAX)
    return [(capture, minor) for capture, minor in await db.all(_VISITS, *who)]


# --- questions --------------------------------------------------------------------------------


async def of_shopper(db: Transaction, call: Call) -> AssociationList:
    """The shopper's own view; raises ProblemError 404."""
    await store_rows.account_state(db, call.named, call.now_s)
    found = await db.all(_OF_SHOPPER, call.named)
    return AssociationList(
        associations=[
            await _view(db, call.named, merchant, AssociationState(state), since_s)
            for merchant, state, since_s in found
        ]
    )


async def followers(db: Transaction, merchant: str, after: str, limit: int) -> FollowerPage:
    """Who joined; never who could have, nor by which account."""
    found = await db.all(_FOLLOWERS, merchant, after, limit + 1)
    page = [
        Follower(pairwise=pairwise, since_s=since_s, marketing=bool(marketing))
        for pairwise, since_s, marketing in found[:limit]
    ]
    last = page[-1].pairwise if page else after
    return FollowerPage(followers=page, after=last, more=len(found) > limit)


# --- helpers ----------------------------------------------------------------------------------


def _pairwise() -> str:
    """An id that this merchant alone gets: two merchants cannot join their lists by it."""
    return base64.b32encode(secrets.token_bytes(PAIRWISE_BYTES)).decode().rstrip("=").lower()


async def _row(db: Transaction, account: str, merchant: str) -> tuple[AssociationState, int]:
    row = await db.one(_STATE, account, merchant)
    return (AssociationState.NONE, 0) if row is None else (AssociationState(row[0]), row[1])


async def _kept(db: Transaction, capture: str) -> tuple[int, list[str]]:
    row = await db.one("SELECT sensitive FROM interaction WHERE capture = $1", capture)
    assert row is not None
    return row[0], [category for (category,) in await db.all(_CATEGORIES, capture)]


async def _view(
    db: Transaction, account: str, merchant: str, state: AssociationState, since_s: int
) -> Association:
    row = await db.one(_TRIPS, account, merchant)
    assert row is not None
    return Association(
        account=account, merchant=merchant, state=state.value, trips=row[0], since_s=since_s
    )


_INTERACTION = (
    "INSERT INTO interaction VALUES ($1, $2, $3, $4, $5) ON CONFLICT (capture) DO NOTHING"
)
_CATEGORIES = "SELECT category FROM interaction_category WHERE capture = $1 ORDER BY category"
_STATE = "SELECT state, judged_s FROM association WHERE account = $1 AND merchant = $2"
_SET = "UPDATE association SET state = $3, pairwise = $4 WHERE account = $1 AND merchant = $2"
_FORGET = "DELETE FROM association_evidence WHERE account = $1 AND merchant = $2"
_ASSOCIATE = "INSERT INTO association VALUES ($1, $2, $3, $4, $5, $6)"
_VISITS = """
SELECT i.capture, c.amount_minor FROM interaction i JOIN capture c ON c.capture = i.capture
JOIN journal j ON j.journal = c.journal
WHERE i.account = $1 AND i.merchant = $2 AND c.currency = $3 AND j.at_s >= $4 AND i.sensitive = 0
    AND NOT EXISTS (SELECT 1 FROM refund r WHERE r.capture = i.capture)
    AND NOT EXISTS (SELECT 1 FROM interaction_category g JOIN association_exclusion e
        ON e.category = g.category
        WHERE g.capture = i.capture AND e.merchant = i.merchant AND e.version = $5)
ORDER BY j.at_s DESC, i.capture LIMIT $6
"""
_OF_SHOPPER = (
    "SELECT merchant, state, judged_s FROM association WHERE account = $1 ORDER BY merchant"
)
_TRIPS = "SELECT COUNT(*) FROM association_evidence WHERE account = $1 AND merchant = $2"
_FOLLOWERS = """
SELECT a.pairwise, a.judged_s, COALESCE(s.marketing, 0) FROM association a
LEFT JOIN association_setting s ON s.account = a.account
WHERE a.merchant = $1 AND a.state = 'active' AND a.pairwise > $2 ORDER BY a.pairwise LIMIT $3
"""
