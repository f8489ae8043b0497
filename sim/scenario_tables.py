"""The tables of ``docs/SCENARIOS.md``, drawn from the types, the rules and the library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, get_args, get_origin

from sim.described import comments, summary
from sim.layouts import layout, layout_names
from sim.scenario import library
from sim.scenario_read import bare, is_span, keys_of, range_of
from sim.scenario_rules import ACTS, ALWAYS, AMOUNTS
from sim.script import (
    NOW,
    Act,
    Background,
    Do,
    Fault,
    FaultKind,
    Kind,
    Member,
    PartyScript,
    Scenario,
    WrongFacing,
)

TABLES: tuple[tuple[str, type], ...] = (
    ("the file itself", Scenario),
    ("`[[party]]`", PartyScript),
    ("`[[party.member]]`", Member),
    ("an act: a row of `do`", Do),
    ("`[background]`", Background),
    ("`[[fault]]`", Fault),
    ("`[[wrong_facing]]`", WrongFacing),
)
FAR = 1e9  # no limit
FAULT_DEVICES = {
    "camera": "a camera",
    "spot": "a camera",
    "cell": "a plate",
    "plate": "a plate",
    "bump": "a fixture",
}


def markdown() -> str:
    """All tables, one under the other."""
    parts = [_of_table(title, kind) for title, kind in TABLES]
    parts.append(f"### Kinds\n\n{_members(Kind)}")
    parts.append(f"### Acts\n\n{_acts()}")
    parts.append(f"### Faults\n\n{_faults()}")
    parts.append(f"### Layouts\n\n{_layouts()}")
    parts.append(f"### The library\n\n{_library()}")
    return "\n\n".join(parts)


def _of_table(title: str, kind: type) -> str:
    return f"### Keys of {title}\n\n{summary(kind)}\n\n{_keys(kind)}".replace("``", "`")


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(head + ["| " + " | ".join(row) + " |" for row in rows])


def _keys(kind: type) -> str:
    said, by_name = comments(kind), {f.name: f for f in fields(kind)}
    rows = (
        (f"`{key}`", _kind_of(key, shape.hint), _default(by_name[shape.field]), _said(said, shape))
        for key, shape in keys_of(kind).items()
    )
    return _table(("key", "value", "default", "means"), rows)


def _said(said: dict[str, str], shape: Any) -> str:
    return said.get(shape.field, "").replace("``", "`").replace("|", "\\|")


def _kind_of(key: str, hint: Any) -> str:
    if is_span(hint):
        return "number or `[low, high]`" + _limits(key)
    hint = bare(hint)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if is_dataclass(item):
            return "list of tables"
        return f"list of {_kind_of(key, item)}" if get_args(hint)[-1] is ... else "`[x, y]`"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of the table below"
    if is_dataclass(hint):
        return f"table: {', '.join(f'`{name}`' for name in keys_of(hint))}"  # type: ignore[arg-type]
    names = {str: "text", bool: "true or false"}
    return names[hint] if hint in names else _number(hint) + _limits(key)


def _number(hint: Any) -> str:
    return "whole number" if hint is int else "number"


def _limits(key: str) -> str:
    least, most = range_of(key)
    if least <= -FAR:
        return ""
    return f", {least:g} to {most:g}" if most < FAR else f", {least:g} or more"


def _default(field: Any) -> str:
    if field.default_factory is not MISSING or is_dataclass(field.default):
        return ""
    if field.default is MISSING:
        return "**needed**"
    value = field.default
    if isinstance(value, tuple):
        if value == NOW:
            return "0"
        if value[:1] == (FAR,):
            return "for good"
        plain = all(isinstance(v, float) for v in value)
        return f"`[{', '.join(f'{v:g}' for v in value)}]`" if value and plain else ""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return f"`{value}`"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _members(kind: type[StrEnum]) -> str:
    said = comments(kind)
    return _table((kind.__name__.lower(), "means"), ((f"`{m}`", said[m.name]) for m in kind))


def _acts() -> str:
    said = comments(Act)
    always = ", ".join(f"`{key}`" for key in ALWAYS[1:])
    rows = (
        (
            f"`{act}`",
            said[act.name].replace("``", "`"),
            _names(ACTS[act].needs) or (" or ".join(f"`{k}`" for k in ACTS[act].one_of)),
            _names(ACTS[act].knows),
        )
        for act in Act
    )
    return f"Every act knows {always} as well.\n\n" + _table(
        ("act", "means", "needs", "knows"), rows
    )


def _names(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _faults() -> str:
    said = comments(FaultKind)
    rows = (
        (
            f"`{k}`",
            said[k.name].replace("``", "`"),
            _device(k),
            AMOUNTS[k][0] if k in AMOUNTS else "",
        )
        for k in FaultKind
    )
    return _table(("fault", "means", "device", "amount"), rows)


def _device(kind: FaultKind) -> str:
    last = kind.value.rpartition("_")[2]
    return FAULT_DEVICES.get(last, "a shelf node")


def _layouts() -> str:
    rows = []
    for name in layout_names():
        config, area = layout(name), layout(name).area
        size = f"{area.x_max_m - area.x_min_m:g} x {area.y_max_m - area.y_min_m:g} m"
        counts = (len(config.plates), len(config.facings), len(config.cameras), len(config.gates))
        rows.append((f"`{name}`", size, *(str(n) for n in counts)))
    return _table(("layout", "size", "plates", "facings", "cameras", "gates"), iter(rows))


def _library() -> str:
    rows = (
        (f"`{s.name}`", s.title + (" (a day)" if s.long else ""), ", ".join(s.hard_cases))
        for s in library()
    )
    return _table(("scenario", "what happens", "hard cases"), rows)
