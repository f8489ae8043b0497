"""The scenario format as a JSON Schema, drawn from the types: editors complete and check by it."""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import StrEnum
from typing import Any, get_args, get_origin

from sim.described import comments, summary
from sim.scenario_read import bare, is_span, keys_of, needed_keys, range_of
from sim.scenario_rules import ACTS
from sim.script import Do, PartyScript, Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Every file of the library fulfils it; ``walkout sim check`` looks at the names as well."""
    defs: dict[str, Any] = {}
    top = _object(Scenario, defs)
    return {"$schema": DIALECT, "title": "Walkout scenario", **top, "$defs": defs}


def _object(kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    said = comments(kind)
    found: dict[str, Any] = {
        "type": "object",
        "description": summary(kind),
        "properties": {
            name: _described(_of_hint(key.hint, name, defs), said.get(key.field, ""))
            for name, key in keys_of(kind).items()
        },
        "additionalProperties": False,
    }
    if needed := needed_keys(kind):
        found["required"] = list(needed)
    if kind is PartyScript:
        alone = "of a party of one: instead of [[party.member]]"
        found["properties"]["do"] = _described(_list({"$ref": "#/$defs/Do"}), alone)
        found["not"] = {"required": ["do", "member"]}
    if kind is Do:
        found["allOf"] = [_act_needs(act.value, keys.needs) for act, keys in ACTS.items()]
    return found


def _of_hint(hint: Any, name: str, defs: dict[str, Any]) -> dict[str, Any]:
    least, most = range_of(name)
    number = {"type": "number", "minimum": least, "maximum": most}
    if is_span(hint):
        return {"anyOf": [number, _pair(number)]}
    hint = bare(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in defs:
            defs[hint.__name__] = {}  # first, so that a type may hold itself
            defs[hint.__name__] = _object(hint, defs)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [member.value for member in hint]}
    if get_origin(hint) is tuple:
        item = _of_hint(get_args(hint)[0], name, defs)
        return _list(item) if get_args(hint)[-1] is Ellipsis else _pair(item)
    if hint is bool:
        return {"type": "boolean"}
    if hint is int:
        return {**number, "type": "integer"}
    return number if hint is float else {"type": "string"}


def _act_needs(act: str, needs: tuple[str, ...]) -> dict[str, Any]:
    return {
        "if": {"properties": {"act": {"const": act}}},
        "then": {"required": ["act", *needs]},
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _pair(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 2, "maxItems": 2}


def _described(value: dict[str, Any], text: str) -> dict[str, Any]:
    return {**value, "description": text} if text else value
