"""Routes of system J: rules, insiders, consent, interactions, associations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi
from broker.database import Transaction
from broker.routes import Call, Command, Nothing, Question, Route
from broker.systems import association_rules, associations, merchants, parties
from broker.validation import NOT_NEGATIVE, Listed, OneOf, Text, Whole, also

CATEGORY = Text(r"[a-z0-9][a-z0-9._-]*", 64)

also(
    {
        "min_trips": Whole(2, 100),  # one visit is no custom, and would tell a single shopper apart
        "min_minor": NOT_NEGATIVE,
        "window_days": Whole(7, 730),
        "exclude_categories": Listed(100, each=CATEGORY),
        "categories": Listed(100, each=CATEGORY),
        "auto_join": OneOf((association_rules.OFF, association_rules.ASK, association_rules.ON)),
    }
)


def _followers(call: Call) -> Callable[[Transaction], Awaitable[associations.FollowerPage]]:
    after, limit = call.page()
    merchants.check_party(call, call.named)
    return lambda db: associations.followers(db, call.named, after, limit)


def _rule(
    call: Call,
) -> Callable[[Transaction], Awaitable[association_rules.AssociationRule]]:
    merchants.check_party(call, call.named)
    return lambda db: association_rules.rule(db, call.named)


_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/merchants/{id}/association-rule",
        scope="admin",
        takes=association_rules.RuleRequest,
        gives=association_rules.AssociationRule,
        method="PUT",
        status=200,
        edits=True,
        effect=association_rules.set_rule,
    ),
    Question(
        path="/v1/merchants/{id}/association-rule",
        scope="admin",
        gives=association_rules.AssociationRule,
        ask=_rule,
    ),
    Command(
        path="/v1/merchants/{id}/insiders",
        scope="admin",
        takes=association_rules.InsiderRequest,
        gives=association_rules.Insider,
        effect=association_rules.add_insider,
    ),
    Command(
        path="/v1/merchants/{id}/insiders/{account}",
        scope="admin",
        takes=Nothing,
        gives=association_rules.Insider,
        method="DELETE",
        status=200,
        effect=association_rules.remove_insider,
    ),
    Question(
        path="/v1/merchants/{id}/followers",
        scope="admin",
        gives=associations.FollowerPage,
        ask=_followers,
        query=openapi.PAGED,
    ),
    Command(
        path="/v1/interactions",
        scope="captures",
        takes=associations.InteractionRequest,
        gives=associations.Interaction,
        effect=associations.record,
    ),
    Command(
        path="/v1/accounts/{id}/association-setting",
        scope="accounts",
        takes=association_rules.SettingRequest,
        gives=association_rules.AssociationSetting,
        method="PUT",
        status=200,
        edits=True,
        effect=association_rules.set_setting,
    ),
    Question(
        path="/v1/accounts/{id}/association-setting",
        scope="accounts",
        gives=association_rules.AssociationSetting,
        ask=lambda call: lambda db: association_rules.shown_setting(db, call),
    ),
    Question(
        path="/v1/accounts/{id}/associations",
        scope="accounts",
        gives=associations.AssociationList,
        ask=lambda call: lambda db: associations.of_shopper(db, call),
    ),
    Command(
        path="/v1/accounts/{id}/associations/{merchant}/accept",
        scope="accounts",
        takes=Nothing,
        gives=associations.Association,
        status=200,
        effect=associations.accept,
    ),
    Command(
        path="/v1/accounts/{id}/associations/{merchant}",
        scope="accounts",
        takes=Nothing,
        gives=associations.Association,
        method="DELETE",
        status=200,
        effect=associations.remove,
    ),
)

ROUTES = parties.operators(
    _ROWS,
    but=(
        "PUT /v1/merchants/{id}/association-rule",
        "GET /v1/merchants/{id}/association-rule",
        "GET /v1/merchants/{id}/followers",
        "POST /v1/interactions",
    ),
)
