"""System J, what is set: a merchant's condition, its insiders, a shopper's consent.

A rule's versions are kept, so that what held once can be recomputed. A shopper decides whether
being associated is off, asked for (the default), or automatic; the last needs consent to profiling,
and marketing is a consent of its own (GDPR: one consent cannot serve several purposes).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker import store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing, same_version
from broker.systems.merchants import check_party

DAY_S = 24 * 3600
OFF, ASK, ON = "off", "ask", "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRequest:
    """PUT /v1/merchants/{id}/association-rule, If-Match "0" at first.

    So many settled visits, worth so much together, within the last so many days, none of them with
    goods of an excluded category.
    """

    min_trips: int
    min_minor: int
    currency: str
    window_days: int
    exclude_categories: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRule:
    merchant: str
    version: int
    min_trips: int
    min_minor: int
    currency: str
    window_days: int
    exclude_categories: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRequest:
    """PUT /v1/accounts/{id}/association-setting, If-Match "0" at first: the shopper decides."""

    auto_join: str
    profiling: bool = False
    marketing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationSetting:
    account: str
    version: int
    auto_join: str
    profiling: bool
    marketing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InsiderRequest:
    """POST /v1/merchants/{id}/insiders: an account of the merchant itself, or of its staff."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Insider:
    merchant: str
    account: str


async def set_rule(db: Transaction, call: Call, asked: RuleRequest) -> Answer:
    """A new version; it counts from the next visit on.

    Raises:
        ProblemError: 412, somebody was faster.
    """
    check_party(call, call.named)
    known = await rule_or_none(db, call.named)
    same_version(call, known.version if known else 0)
    version = (known.version if known else 0) + 1
    given = (asked.min_trips, asked.min_minor, asked.currency, asked.window_days, call.now_s)
    await db.run(_NEW_RULE, call.named, version, *given)
    await db.many(
        "INSERT INTO association_exclusion VALUES ($1, $2, $3)",
        [(call.named, version, category) for category in sorted(set(asked.exclude_categories))],
    )
    return answer(200, await rule(db, call.named))


async def rule(db: Transaction, merchant: str) -> AssociationRule:
    """Raises ProblemError 404."""
    found = await rule_or_none(db, merchant)
    if found is None:
        raise ProblemError(404, "unknown-rule", "this merchant has set no rule")
    return found


async def rule_or_none(db: Transaction, merchant: str) -> AssociationRule | None:
    """The version in force."""
    row = await db.one(_RULE, merchant)
    if row is None:
        return None
    version, trips, minor, currency, days = row
    excluded = await db.all(_EXCLUDED, merchant, version)
    return AssociationRule(
        merchant=merchant,
        version=version,
        min_trips=trips,
        min_minor=minor,
        currency=currency,
        window_days=days,
        exclude_categories=[category for (category,) in excluded],
    )


async def set_setting(db: Transaction, call: Call, asked: SettingRequest) -> Answer:
    """What the shopper allows from now on.

    Raises:
        ProblemError: 404, 412, or 422 for automatic without consent to profiling.
    """
    await store_rows.locked_account(db, call.named, call.now_s)
    if asked.auto_join == ON and not asked.profiling:
        detail = "joining without being asked needs consent to profiling"
        raise ProblemError(422, "consent-needed", detail, param="$.profiling")
    known = await setting(db, call.named)
    same_version(call, known.version)
    given = (asked.auto_join, int(asked.profiling), int(asked.marketing))
    await db.run(_SETTING, call.named, known.version + 1, *given, call.now_s)
    return answer(200, await setting(db, call.named))


async def setting(db: Transaction, account: str) -> AssociationSetting:
    """Of who has set nothing: asked first, no profiling, no marketing."""
    row = await db.one(_KNOWN_SETTING, account) or (0, ASK, 0, 0)
    return AssociationSetting(
        account=account,
        version=row[0],
        auto_join=row[1],
        profiling=bool(row[2]),
        marketing=bool(row[3]),
    )


async def shown_setting(db: Transaction, call: Call) -> AssociationSetting:
    """Raises ProblemError 404."""
    await store_rows.account_state(db, call.named, call.now_s)
    return await setting(db, call.named)


async def add_insider(db: Transaction, call: Call, asked: InsiderRequest) -> Answer:
    """Its visits count for nothing at this merchant; raises ProblemError 404."""
    await store_rows.account_state(db, asked.account, call.now_s)
    await db.run(_INSIDER, call.named, asked.account, call.now_s)
    return answer(201, Insider(merchant=call.named, account=asked.account))


async def remove_insider(db: Transaction, call: Call, _: Nothing) -> Answer:
    """From now on its visits count."""
    await db.run(_NO_INSIDER, call.named, call.path["account"])
    return answer(200, Insider(merchant=call.named, account=call.path["account"]))


_RULE = (
    "SELECT version, min_trips, min_minor, currency, window_days FROM association_rule"
    " WHERE merchant = $1 ORDER BY version DESC LIMIT 1"
)
_NEW_RULE = "INSERT INTO association_rule VALUES ($1, $2, $3, $4, $5, $6, $7)"
_EXCLUDED = (
    "SELECT category FROM association_exclusion WHERE merchant = $1 AND version = $2"
    " ORDER BY category"
)
_KNOWN_SETTING = (
    "SELECT version, auto_join, profiling, marketing FROM association_setting WHERE account = $1"
)
_SETTING = (
    "INSERT INTO association_setting VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account)"
    " DO UPDATE SET version = excluded.version, auto_join = excluded.auto_join,"
    " profiling = excluded.profiling, marketing = excluded.marketing,"
    " updated_s = excluded.updated_s"
)
_INSIDER = "INSERT INTO merchant_insider VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_NO_INSIDER = "DELETE FROM merchant_insider WHERE merchant = $1 AND account = $2"
