"""``Scenario`` -> the TOML text that ``sim.scenario`` reads back equal, defaults left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from sim.scenario_read import is_span, keys_of
from sim.script import Do, Scenario


def scenario_toml(scenario: Scenario) -> str:
    """The scenario as a file. Its name is not in it: the file's name is."""
    return "\n".join(_table(scenario, "")) + "\n"


def _table(value: Any, name: str) -> Iterator[str]:
    """Plain keys first, then tables and lists of tables, as TOML wants it."""
    kind: type = type(value)
    shapes = keys_of(kind)
    by_field = {f.name: f for f in fields(value)}
    pairs = [(key, shape, getattr(value, shape.field)) for key, shape in shapes.items()]
    told = [p for p in pairs if not _is_default(by_field[p[1].field], p[2])]
    for key, shape, found in told:
        if not _is_table(found):
            yield f"{key} = {_plain(found, is_span(shape.hint))}"
    for key, _, found in told:
        if not _is_table(found):
            continue
        path = f"{name}.{key}" if name else key
        if is_dataclass(found):
            yield from ("", f"[{path}]", *_table(found, path))
        elif isinstance(found[0], Do):
            yield from (f"{key} = [", *(f"  {_inline(do)}," for do in found), "]")
        else:
            for row in found:
                yield from ("", f"[[{path}]]", *_table(row, path))


def _is_default(field: Field[Any], found: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(found == field.default_factory())
    return field.default is not MISSING and bool(found == field.default)


def _is_table(found: Any) -> bool:
    return is_dataclass(found) or (
        isinstance(found, tuple) and bool(found) and is_dataclass(found[0])
    )


def do_values(do: Do) -> dict[str, Any]:
    """Key -> value of an act, defaults left out."""
    by_name = {f.name: f for f in fields(Do)}
    found = {key: getattr(do, key) for key in keys_of(Do)}
    return {key: value for key, value in found.items() if not _is_default(by_name[key], value)}


def _inline(do: Do) -> str:
    shapes = keys_of(Do)
    pairs = (f"{k} = {_plain(v, is_span(shapes[k].hint))}" for k, v in do_values(do).items())
    return "{ " + ", ".join(pairs) + " }"


def _plain(value: Any, span: bool = False) -> str:
    if span and value[0] == value[1]:
        return _plain(value[0])
    if isinstance(value, tuple):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """The shortest text that reads back equal; whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
