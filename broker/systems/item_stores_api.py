"""Routes of system B: item stores, invitations, grants, redemptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi, web
from broker.database import Transaction
from broker.routes import PAGE, PAGE_MAX, Call, Command, Nothing, Question, Route
from broker.systems import funds, invitations, item_stores, parties, redemptions
from broker.systems import redemption_types as types
from broker.systems.secret_codes import CodeCommand
from broker.validation import (
    AMOUNT,
    ID,
    LINES_MAX,
    NAMED,
    NOT_NEGATIVE,
    PRINTED,
    Listed,
    OneOf,
    Text,
    Whole,
    also,
)

GTIN = Text(r"(\d{8}|\d{12,14})?|https?://[\x21-\x7e]{1,180}", 200)
CATEGORY = Text(r"[a-z0-9][a-z0-9._-]*", 64)
PIECES_MAX = 1000  # of one line
also(
    {
        "item_store": ID,
        "organizer": NAMED,
        "funding": ID,
        "invitation": ID,
        "consumer": ID,
        "grant": ID,
        "redemption": ID,
        "handover": OneOf(("gate", "shipped")),
        "consumer_hold": Text(r"([A-Za-z0-9][A-Za-z0-9._:~@+=-]*)?", 128),
        "ship_to": PRINTED,
        "max_item_minor": AMOUNT,
        "max_items": Whole(1, 100_000),
        "valid_until_s": Whole(0, 2**40),
        "interval": OneOf(tuple(item_stores.INTERVAL_S)),
        "privacy": OneOf(("amounts", "items")),
        "gtins": Listed(500, each=GTIN),
        "categories": Listed(100, each=CATEGORY),
        "places": Listed(500, each=ID),
        "lines": Listed(LINES_MAX, least=1),
        "line_id": ID,
        "gtin": GTIN,
        "category": Text(rf"({CATEGORY.pattern})?", 64),
        "quantity": Whole(1, PIECES_MAX),
        "total_minor": NOT_NEGATIVE,
    }
)


def _notices(call: Call) -> Callable[[Transaction], Awaitable[item_stores.NoticePage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = max(1, web.query_counter(call.query, "limit", PAGE, PAGE_MAX))
    return lambda db: item_stores.notices(db, call, call.named, after, limit)


def _status(verb: item_stores.StoreSignal) -> Command:
    return Command(
        path=f"/v1/item-stores/{{id}}/{verb.value}",
        scope="accounts",
        takes=Nothing,
        gives=item_stores.ItemStore,
        status=200,
        effect=item_stores.signalled(verb),
    )


_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/item-stores",
        scope="accounts",
        takes=item_stores.ItemStoreRequest,
        gives=item_stores.ItemStore,
        effect=item_stores.create,
    ),
    Question(
        path="/v1/item-stores/{id}",
        scope="accounts",
        gives=item_stores.ItemStore,
        ask=lambda call: lambda db: item_stores.item_store(db, call, call.named),
    ),
    *(_status(verb) for verb in item_stores.ASKED),
    Command(
        path="/v1/item-stores/{id}/fundings",
        scope="admin",
        takes=funds.FundingRequest,
        gives=item_stores.Funding,
        effect=item_stores.fund,
    ),
    Question(
        path="/v1/item-stores/{id}/notices",
        scope="accounts",
        gives=item_stores.NoticePage,
        ask=_notices,
        query=(openapi.whole("after", 0, 2**53 - 1), openapi.LIMIT),
    ),
    CodeCommand(
        path="/v1/item-stores/{id}/invitations",
        scope="accounts",
        takes=invitations.InvitationRequest,
        gives=invitations.Invitation,
        effect=invitations.invite,
        purpose=invitations.PURPOSE,
        names="invitation",
    ),
    Question(
        path="/v1/invitations/{id}",
        scope="accounts",
        gives=invitations.Invitation,
        ask=lambda call: lambda db: invitations.invitation(db, call, call.named),
    ),
    Command(
        path="/v1/invitations/{id}/revoke",
        scope="accounts",
        takes=Nothing,
        gives=invitations.Invitation,
        status=200,
        effect=invitations.revoke,
    ),
    Command(
        path="/v1/claims",
        scope="accounts",
        takes=invitations.ClaimRequest,
        gives=invitations.Grant,
        effect=invitations.claim,
    ),
    Question(
        path="/v1/grants/{id}",
        scope="accounts",
        gives=invitations.Grant,
        ask=lambda call: lambda db: invitations.grant(db, call, call.named),
    ),
    Command(
        path="/v1/redemptions",
        scope="holds",
        takes=types.RedemptionRequest,
        gives=types.Redemption,
        effect=redemptions.reserve,
    ),
    Question(
        path="/v1/redemptions/{id}",
        scope="holds",
        gives=types.Redemption,
        ask=lambda call: lambda db: redemptions.redemption(db, call, call.named),
    ),
    Command(
        path="/v1/redemptions/{id}/fulfil",
        scope="captures",
        takes=types.FulfilRequest,
        gives=types.Redemption,
        status=200,
        effect=redemptions.fulfil,
    ),
    Command(
        path="/v1/redemptions/{id}/release",
        scope="holds",
        takes=Nothing,
        gives=types.Redemption,
        status=200,
        effect=redemptions.release,
    ),
)

ROUTES = parties.operators(
    _ROWS,
    but=("POST /v1/redemptions/{id}/fulfil",),
)
