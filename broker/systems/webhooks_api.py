"""Routes of system H: endpoints of webhooks, their messages, and the queue's groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi, web
from broker.database import Transaction
from broker.routes import PAGE, PAGE_MAX, Call, Command, Nothing, Question, Route
from broker.systems import webhook_desk, webhook_endpoints
from broker.systems.events import KINDS
from broker.systems.parties import operators
from broker.validation import Listed, OneOf, Text, also

also(
    {
        "endpoint": Text(r"[A-Za-z0-9][A-Za-z0-9._-]*", 100),
        "party": Text(r"((merchant|sponsor|store):[^\x00-\x1f\x7f]+)?", 210),
        "url": Text(r"https?://[\x21-\x7e]+", 500),
        "kinds": Listed(len(KINDS), 0, OneOf(tuple(KINDS))),
        "ordering": OneOf((webhook_endpoints.ORDERED, webhook_endpoints.PARALLEL)),
        "network": OneOf((webhook_endpoints.PUBLIC, webhook_endpoints.PRIVATE)),
    }
)


def _endpoints(call: Call) -> Callable[[Transaction], Awaitable[webhook_endpoints.EndpointPage]]:
    after, limit = call.page()
    return lambda db: webhook_endpoints.page(db, call, after, limit)


def _messages(call: Call) -> Callable[[Transaction], Awaitable[webhook_desk.MessagePage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = web.query_counter(call.query, "limit", PAGE, PAGE_MAX)
    return lambda db: webhook_desk.messages(db, call, call.named, after, limit)


_ENDPOINTS: tuple[Route, ...] = (
    webhook_endpoints.SecretCommand(
        path="/v1/webhook-endpoints",
        scope="merchants",
        takes=webhook_endpoints.WebhookEndpointRequest,
        gives=webhook_endpoints.WebhookEndpoint,
        effect=webhook_endpoints.create,
        purpose="webhook",
        names="endpoint",
        field="secret",
    ),
    Question(
        path="/v1/webhook-endpoints",
        scope="merchants",
        gives=webhook_endpoints.EndpointPage,
        ask=_endpoints,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/webhook-endpoints/{id}",
        scope="merchants",
        gives=webhook_endpoints.WebhookEndpoint,
        ask=lambda call: lambda db: webhook_endpoints.shown(db, call),
    ),
    Command(
        path="/v1/webhook-endpoints/{id}",
        scope="merchants",
        takes=webhook_endpoints.EndpointChange,
        gives=webhook_endpoints.WebhookEndpoint,
        effect=webhook_endpoints.change,
        method="PUT",
        status=200,
        edits=True,
    ),
    webhook_endpoints.SecretCommand(
        path="/v1/webhook-endpoints/{id}/rotate",
        scope="merchants",
        takes=Nothing,
        gives=webhook_endpoints.WebhookEndpoint,
        effect=webhook_endpoints.rotate,
        status=200,
        purpose="webhook",
        names="endpoint",
        field="secret",
    ),
    Question(
        path="/v1/webhook-endpoints/{id}/messages",
        scope="merchants",
        gives=webhook_desk.MessagePage,
        ask=_messages,
        query=(openapi.whole("after", 0, web.COUNTER_MAX), openapi.LIMIT),
    ),
    Question(
        path="/v1/webhook-messages/{id}",
        scope="merchants",
        gives=webhook_desk.WebhookMessage,
        ask=lambda call: lambda db: webhook_desk.message(db, call),
    ),
    Command(
        path="/v1/webhook-messages/{id}/replay",
        scope="merchants",
        takes=Nothing,
        gives=webhook_desk.WebhookMessage,
        effect=webhook_desk.replay,
        status=200,
    ),
)

_QUEUE: tuple[Route, ...] = (
    Question(
        path="/v1/queue",
        scope="admin",
        gives=webhook_desk.Queue,
        ask=lambda call: webhook_desk.queue,
    ),
    *(
        Command(
            path=f"/v1/queue/groups/{{id}}/{verb}",
            scope="admin",
            takes=Nothing,
            gives=webhook_desk.QueueGroup,
            effect=effect,
            status=200,
        )
        for verb, effect in (
            ("retry", webhook_desk.retry),
            ("skip", webhook_desk.skip),
            ("cancel", webhook_desk.cancel),
        )
    ),
)

ROUTES = (*_ENDPOINTS, *operators(_QUEUE))  # endpoints look at the party themselves
