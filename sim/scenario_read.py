"""TOML tables -> frozen types, strictly: every problem is collected with the place it stands at.

The types say what is allowed: a field's name is the key, its type the kind of value. A ``Span`` is
written as ``[low, high]`` or as one number.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from edge.toml_lines import Path
from sim.script import PartyScript, Scenario, Span

# A list of tables is named in the singular; this is where its key differs from the field.
KEY_OF_FIELD: dict[type, dict[str, str]] = {
    Scenario: {"parties": "party", "faults": "fault", "planogram": "wrong_facing"},
    PartyScript: {"members": "member"},
}
NOT_WRITTEN: dict[type, tuple[str, ...]] = {Scenario: ("name",)}  # the file's name is the name
ROWS_MAX = 500  # of one list: a script longer than that is another program's output


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and what with its remedy."""

    path: Path
    text: str


@dataclass(slots=True)
class Reading:
    """Collects problems instead of stopping at the first."""

    problems: list[Problem] = field(default_factory=list)

    def table(self, kind: type, row: Any, path: Path) -> Any:
        """The table as ``kind``; None (and problems) where it cannot be."""
        if not isinstance(row, dict):
            self._say(path, "is a table; write its keys in [brackets] or { braces }")
            return None
        before, hints = len(self.problems), keys_of(kind)
        for key in row:
            if key not in hints:
                self._say((*path, key), f"{key}: unknown key; {nearest(key, hints)}")
        for key in needed_keys(kind):
            if key not in row:
                self._say(path, f"{key} is missing; add {key} = ...")
        values = {
            hints[key].field: self._value(row[key], hints[key].hint, (*path, key))
            for key in row
            if key in hints
        }
        unwritten = dict.fromkeys(NOT_WRITTEN.get(kind, ()), "")
        return kind(**values, **unwritten) if len(self.problems) == before else None

    def _value(self, value: Any, hint: Any, path: Path) -> Any:
        if is_dataclass(hint) and isinstance(hint, type):
            return self.table(hint, value, path)
        item = get_args(hint)[0] if get_origin(hint) is tuple else None
        if is_dataclass(item) and isinstance(item, type):
            return self._tables(item, value, path)
        try:
            converted = _converted(value, hint)
            _judge(str(path[-1]), converted, hint)
        except ValueError as error:
            self._say(path, f"= {_short(value)}: {error}")
            return None
        return converted

    def _tables(self, kind: type, rows: Any, path: Path) -> tuple[Any, ...]:
        if not isinstance(rows, list):
            self._say(path, f"is a list of tables; write [[{path[-1]}]] or [ {{...}}, ... ]")
            return ()
        if len(rows) > ROWS_MAX:
            self._say(path, f"has {len(rows)} rows, more than {ROWS_MAX}; split the scenario")
            return ()
        return tuple(self.table(kind, row, (*path, i)) for i, row in enumerate(rows))

    def _say(self, path: Path, text: str) -> None:
        key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
        self.problems.append(Problem(path, text if text.startswith(key) else f"{key} {text}"))


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: the field it fills and that field's type."""

    field: str
    hint: Any
    needed: bool


@cache
def keys_of(kind: type) -> dict[str, Key]:
    """The keys of a table in the order of the type's fields."""
    hints, names = get_type_hints(kind), KEY_OF_FIELD.get(kind, {})
    return {
        names.get(f.name, f.name): Key(
            f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING
        )
        for f in fields(kind)
        if f.name not in NOT_WRITTEN.get(kind, ())
    }


def needed_keys(kind: type) -> tuple[str, ...]:
    return tuple(name for name, key in keys_of(kind).items() if key.needed)


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy: the known name most like this one, or all of them."""
    names = [str(k) for k in known]
    within = [known for known in names if name and name in known]
    if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5) or within:
        return f"did you mean {near[0]!r}?"
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    return f"there are: {shown}" if names else "there is none"


# --- one value ----------------------------------------------------------------------------------


def is_span(hint: Any) -> bool:
    return bool(hint == Span)


def bare(hint: Any) -> Any:
    """The type without ``| None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def _converted(value: Any, hint: Any) -> Any:
    if is_span(hint):
        return _pair(value) if isinstance(value, list) else (_number(value),) * 2
    hint = bare(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _choice(value, hint)
    if get_origin(hint) is tuple:
        if get_args(hint)[-1] is not Ellipsis:
            return _pair(value)
        if not isinstance(value, list):
            raise ValueError("a list is needed; write [...]")
        return tuple(_converted(entry, get_args(hint)[0]) for entry in value)
    return PLAIN[hint](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text is needed; put it in quotes")
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError("has control characters; write one line without them")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a whole number is needed; write 1, without a point or quotes")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number is needed; write 0.5, without quotes")
    if not math.isfinite(value):
        raise ValueError("is not finite; write a number")
    return float(value)


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false, without quotes")
    return value


def _pair(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("two numbers are needed; write [1.5, 3]")
    return (_number(value[0]), _number(value[1]))


def _choice(value: Any, kind: type[StrEnum]) -> StrEnum:
    known = [member.value for member in kind]
    if value not in known:
        raise ValueError(f"no such {kind.__name__.lower()}; {nearest(_text(value), known)}")
    return kind(value)


PLAIN: Mapping[Any, Callable[[Any], Any]] = {str: _text, int: _whole, float: _number, bool: _yes}


# --- ranges -------------------------------------------------------------------------------------

PROBABILITY = (0.0, 1.0)
# key -> least and greatest value; of a span both ends
RANGES: dict[str, tuple[float, float]] = {
    "duration_s": (5.0, 86_400.0),
    "review_deadline_s": (0.1, 86_400.0),
    "quantity": (1, 20),
    "probability": PROBABILITY,
    "press_g": (0.0, 15_000.0),
    "height_m": (0.0, 2.3),
    "speed_m_s": (0.0, 2.5),
    "hold_s": (0.0, 120.0),
    "lasts_s": (0.0, 1e9),
    "after_s": (0.0, 86_400.0),
    "at_s": (0.0, 86_400.0),
    "arrives_s": (0.0, 86_400.0),
    "every_s": (0.0, 86_400.0),
    "first_s": (0.0, 86_400.0),
    "bump_every_s": (0.0, 86_400.0),
    "people_max": (1, 200),
    "adversary_share": PROBABILITY,
    "stops_mean": (0.0, 100.0),
    "popular": (0.0, 5.0),
    "misses": (0.0, 0.99),
    "miss_run_images": (1.0, 1000.0),
    "false_boxes": (0.0, 5.0),
    "jitter": (0.0, 1.0),
    "latency_ms": (0.0, 5_000.0),
    "rate_hz": (1.0, 60.0),
}
ANY_RANGE = (-1e9, 1e9)


def _judge(key: str, value: Any, hint: Any) -> None:
    """Raise ValueError where a number is out of its range or a span runs backwards."""
    numbers = [v for v in (value if isinstance(value, tuple) else (value,)) if _is_number(v)]
    if is_span(hint) and value[0] > value[1]:
        raise ValueError(f"{value[0]:g} is after {value[1]:g}; write the smaller one first")
    least, most = range_of(key)
    for number in numbers:
        if not least <= number <= most:
            raise ValueError(f"must lie in {least:g} to {most:g}")


def range_of(key: str) -> tuple[float, float]:
    if key in RANGES:
        return RANGES[key]
    if key.endswith("_probability"):
        return PROBABILITY
    return (0.0, 1e9) if key.endswith(("_s", "_g", "_ms", "_hz")) else ANY_RANGE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
