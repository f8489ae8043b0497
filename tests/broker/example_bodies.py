"""A well-formed body for every route, made from the published document alone."""

from __future__ import annotations

import re
from typing import Any

WORD = "matrix"
TEXTS = (WORD, "A" * 26, "0" * 64, "A" * 86 + "==", "DE", "2027-01-31", "2027-01-31T00:00:00Z", "")


def body_of(document: dict[str, Any], path: str, method: str) -> Any:
    """None of a route that takes no body."""
    route = document["paths"][path][method.lower()]
    if "requestBody" not in route:
        return None
    return example(document, route["requestBody"]["content"]["application/json"]["schema"])


def example(document: dict[str, Any], schema: dict[str, Any], name: str = "") -> Any:
    """The smallest value that the schema allows; ids are ``WORD``."""
    if "$ref" in schema:
        kind = schema["$ref"].rpartition("/")[2]
        return example(document, document["components"]["schemas"][kind], name)
    if "anyOf" in schema:
        return example(document, schema["anyOf"][0], name)
    if "enum" in schema:
        return "EUR" if "EUR" in schema["enum"] else schema["enum"][0]
    return _MADE[schema.get("type", "object")](document, schema)


def _object(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    properties = schema.get("properties", {})
    return {name: example(document, properties[name], name) for name in schema.get("required", ())}


def _array(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    return [example(document, schema["items"])] * max(1, schema.get("minItems", 0))


def _text(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    pattern = schema.get("pattern", "")
    return next((text for text in TEXTS if re.fullmatch(pattern or ".*", text)), WORD)


def _number(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    return max(1, schema.get("minimum", 1))


_MADE = {
    "object": _object,
    "array": _array,
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda document, schema: True,
}
