"""The OpenAPI document of the routes, bounds included; FastAPI writes it and carries no request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response

from broker.openapi_examples import example
from broker.validation import schema_of
from messages.contract import Problem
from messages.money import EXPONENT

STRING: dict[str, Any] = {"type": "string"}
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": STRING | {"pattern": "^[\\x21-\\x7e]{1,255}$"},
}
IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": STRING | {"pattern": '^"[0-9]{1,15}"$'},
}
LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 500},
}
AFTER = {"name": "after", "in": "query", "schema": STRING | {"maxLength": 256}}
CURRENCY = {"name": "currency", "in": "query", "schema": STRING | {"enum": sorted(EXPONENT)}}
# Or a signature of RFC 9421, for which OpenAPI has no word.
SECURITY = {"key": {"type": "http", "scheme": "bearer"}}
WITH_KEY: list[dict[str, list[str]]] = [{"key": []}]
PAGED = (AFTER, LIMIT)  # of a question that answers page by page


class Documented(Protocol):
    """What the document needs to know of a route."""

    @property
    def path(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def types(self) -> tuple[type, ...]:
        """What is taken, and last what is given; nothing of a route that gives no JSON."""

    def openapi(self) -> dict[str, Any]: ...


def document(routes: Iterable[Documented]) -> dict[str, Any]:
    """The whole document."""
    app = FastAPI(title="Walkout broker", version="1")
    taken, given = set[type](), set[type]((Problem,))
    for route in routes:
        taken |= {kind for kind in route.types[:-1] if _named(kind)}
        given |= {kind for kind in route.types[-1:] if _named(kind)}
        app.add_api_route(
            route.path,
            _described,
            methods=[route.method],
            response_model=None,
            status_code=route.status,
            name=route.name,
            openapi_extra=route.openapi(),
        )
    found: dict[str, Any] = app.openapi()
    components = found.setdefault("components", {})
    components["schemas"] = schema_of(taken, given)
    components["securitySchemes"] = SECURITY
    return found


def content(kind: type) -> dict[str, Any]:
    """A message as JSON, with an example."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"application/json": {"schema": schema, "example": dict(example(kind))}}


def responses(status: int, gives: type) -> dict[str, Any]:
    """The good answer, and the problem that every other one is."""
    body = content(gives) if _named(gives) else {"application/json": {"schema": {"type": "object"}}}
    problem = {"application/problem+json": content(Problem)["application/json"]}
    return {
        str(status): {"description": "done", "content": body},
        "default": {"description": "RFC 9457 problem", "content": problem},
    }


def path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": STRING | {"minLength": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def whole(name: str, least: int, most: int) -> dict[str, Any]:
    """A whole number in the query."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return {"name": name, "in": "query", "schema": schema}


def text(name: str, **schema: Any) -> dict[str, Any]:
    """A text in the query."""
    return {"name": name, "in": "query", "schema": STRING | schema}


def _named(kind: type) -> bool:
    return hasattr(kind, "__dataclass_fields__")


async def _described(request: Request) -> Response:
    raise AssertionError("stands in for a handler in the document alone")
