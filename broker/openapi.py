"""The OpenAPI document of the routes, bounds included; FastAPI writes it and carries no request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response

from broker.validation import schema_of
from messages.contract import Problem

STRING = {"type": "string"}


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
    def types(self) -> tuple[type, ...]: ...
    def openapi(self) -> dict[str, Any]: ...


def document(routes: Iterable[Documented]) -> dict[str, Any]:
    """The whole document."""
    app = FastAPI(title="Walkout broker", version="1")
    kinds: set[type] = {Problem}
    for route in routes:
        kinds |= {kind for kind in route.types if _named(kind)}
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
    found.setdefault("components", {})["schemas"] = schema_of(*kinds)
    return found


def content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def responses(status: int, gives: type) -> dict[str, Any]:
    """The good answer, and the problem that every other one is."""
    body = content(gives) if _named(gives) else {"application/json": {"schema": {"type": "object"}}}
    problem = {"application/problem+json": content(Problem)["application/json"]}
    return {
        str(status): {"description": "done", "content": body},
        "default": {"description": "RFC 9457 problem", "content": problem},
    }


def path_parameters(path: str) -> list[dict[str, Any]]:
    if "{id}" not in path:
        return []
    return [{"name": "id", "in": "path", "required": True, "schema": STRING}]


def _named(kind: type) -> bool:
    return hasattr(kind, "__dataclass_fields__")


async def _described(request: Request) -> Response:
    raise AssertionError("stands in for a handler in the document alone")
