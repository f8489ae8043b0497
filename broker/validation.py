"""What a field may hold: one table, for checking requests and for the published schema.

Types are the dataclasses of ``messages/contract.py``; amounts are JSON integers and nothing else
(1825.0, "1825" and true are refused). Unknown fields are ignored: new senders add some.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from broker.problems import ProblemError
from messages.money import EXPONENT

AMOUNT_MINOR_MAX = 100_000_000  # a million euro: no cart comes near, and no id looks like it
LINES_MAX = 1000
PARTY_MAX = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Text:
    pattern: str
    length_max: int

    def wrong(self, value: Any) -> str | None:
        if len(value) > self.length_max:
            return f"longer than {self.length_max} characters"
        return None if re.fullmatch(self.pattern, value) else f"does not match {self.pattern}"

    def schema(self) -> dict[str, Any]:
        return {"pattern": f"^{self.pattern}$", "maxLength": self.length_max}


@dataclass(frozen=True, slots=True)
class Whole:
    least: int
    most: int

    def wrong(self, value: Any) -> str | None:
        inside = self.least <= value <= self.most
        return None if inside else f"not within {self.least} and {self.most}"

    def schema(self) -> dict[str, Any]:
        return {"minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class OneOf:
    values: tuple[str, ...]

    def wrong(self, value: Any) -> str | None:
        return None if value in self.values else f"not one of {', '.join(self.values)}"

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Many:
    each: Whole
    most: int

    def wrong(self, value: Any) -> str | None:
        if not 1 <= len(value) <= self.most:
            return f"not 1 to {self.most} entries"
        return next((wrong for entry in value if (wrong := self.each.wrong(entry))), None)

    def schema(self) -> dict[str, Any]:
        items = {"type": "integer", **self.each.schema()}
        return {"minItems": 1, "maxItems": self.most, "items": items}


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of texts, or of objects whose fields have rules of their own."""

    most: int
    least: int = 0
    each: Text | OneOf | None = None

    def wrong(self, value: Any) -> str | None:
        if not self.least <= len(value) <= self.most:
            return f"not {self.least} to {self.most} entries"
        each = self.each
        return next((w for entry in value if each and (w := each.wrong(entry))), None)

    def schema(self) -> dict[str, Any]:
        items = {"items": {"type": "string", **self.each.schema()}} if self.each else {}
        return {"minItems": self.least, "maxItems": self.most, **items}


Rule = Text | Whole | OneOf | Many | Listed

ID = Text(r"[A-Za-z0-9][A-Za-z0-9._:~@+=-]*", 128)
PRINTED = Text(r"[^\x00-\x1f\x7f]*", 200)
NAMED = Text(r"[^\x00-\x1f\x7f]+", 200)
AMOUNT = Whole(1, AMOUNT_MINOR_MAX)
NOT_NEGATIVE = Whole(0, AMOUNT_MINOR_MAX)

# A field means the same in every message, so its name is enough.
RULES: dict[str, Rule] = {
    "account": ID,
    "store": ID,
    "visit": ID,
    "hold": ID,
    "capture": ID,
    "payment": ID,
    "refund": ID,
    "transfer": ID,
    "debit": NAMED,
    "credit": NAMED,
    "credential": ID,
    "merchant": NAMED,
    "purchase": NAMED,
    "payment_ref": PRINTED,
    "reason": PRINTED,
    "currency": OneOf(tuple(sorted(EXPONENT))),
    "amount_minor": AMOUNT,
    "limit_minor": NOT_NEGATIVE,
    "line_totals": Many(NOT_NEGATIVE, LINES_MAX),
    "party_size": Whole(1, PARTY_MAX),
    "kind": OneOf(("shopper", "staff")),
}


def typed(value: object, kind: type[T]) -> T:
    """The parsed JSON as a request of the contract.

    Raises:
        ProblemError: 422 with the JSONPath of the field; its value is never repeated.
    """
    try:
        request = msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        detail, _, path = str(error).partition(" - at ")
        raise ProblemError(422, "invalid-body", detail, param=path.strip("`") or "$") from None
    _check(request, "$")
    return request


def also(rules: Mapping[str, Rule]) -> None:
    """Rules for the fields of another topic's messages.

    Raises:
        ValueError: a name that has another rule already.
    """
    for name, rule in rules.items():
        if RULES.setdefault(name, rule) != rule:
            raise ValueError(f"{name} has another rule: a field means the same in every message")


def schema_of(taken: Iterable[type], given: Iterable[type]) -> dict[str, Any]:
    """JSON schemas of the types by name, for the OpenAPI document.

    What is taken has the bounds of its fields; a reply may say what no request may, such as "".
    """
    asked, components = _components(taken), _components(given)
    for kind, component in asked.items():
        components[kind] = component
        for name, field in component.get("properties", {}).items():
            if name in RULES:
                _bound(field, RULES[name].schema())
    return components


def _components(kinds: Iterable[type]) -> dict[str, Any]:
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return found


def _bound(field: dict[str, Any], bounds: dict[str, Any]) -> None:
    """The bounds beside the type; of a field that may be null, beside its other type."""
    types = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    items = bounds.get("items")
    if items and "$ref" not in field.get("items", {}):
        bounds = bounds | {"items": field.get("items", {}) | items}
    (types[0] if types else field).update(bounds)


def _check(value: object, path: str) -> None:
    """The rules of a message's fields, and of the messages inside it."""
    for name in _names(cast("Hashable", type(value))):
        inner, rule = getattr(value, name), RULES.get(name)
        if rule and inner is not None and (wrong := rule.wrong(inner)):
            raise ProblemError(422, "invalid-body", wrong, param=f"{path}.{name}")
        if isinstance(inner, list):
            for i, entry in enumerate(inner):
                if is_dataclass(entry):
                    _check(entry, f"{path}.{name}[{i}]")
        elif is_dataclass(inner):
            _check(inner, f"{path}.{name}")


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast("Any", kind)))
