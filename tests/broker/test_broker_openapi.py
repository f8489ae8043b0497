"""The published document: every request and reply has an example, and every request's is good."""

from __future__ import annotations

import json

import msgspec

from broker import openapi, validation
from broker.api import ROUTES
from broker.openapi_examples import example
from broker.routes import Command, Nothing
from broker.screening import card_number_at
from messages.contract import CaptureRequest


def test_example_of_every_request_is_one_that_the_broker_takes() -> None:
    document = openapi.document(ROUTES)
    seen = 0
    for route in ROUTES:
        if not isinstance(route, Command) or route.takes is Nothing:
            continue
        described = document["paths"][route.path][route.method.lower()]
        (shown,) = described["requestBody"]["content"].values()
        asked = json.loads(json.dumps(shown["example"]))
        assert validation.typed(asked, route.takes) is not None, route.path
        assert card_number_at(asked) is None
        seen += 1
    assert seen >= 60


def test_every_reply_has_an_example_of_its_own_type() -> None:
    document = openapi.document(ROUTES)
    for route in ROUTES:
        replies = document["paths"][route.path][route.method.lower()]["responses"]
        for media_type, shown in replies[str(route.status)].get("content", {}).items():
            if media_type == "application/json" and "$ref" in shown["schema"]:
                given = msgspec.convert(shown["example"], route.gives, strict=True)
                assert given is not None, route.path


def test_example_adds_up() -> None:

    shown = example(CaptureRequest)
    assert sum(shown["line_totals"]) == shown["amount_minor"]
