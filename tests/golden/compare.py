"""Events against events: discrete fields exactly, floats within the tolerance of their field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Another machine's arithmetic (BLAS, libm) moves the last digits, and what is rounded from them.
TOLERANCES: dict[str, float] = {
    "probability": 1e-3,
    "mass_g": 0.1,
    "mass_sd_g": 0.05,
    "plate_share": 1e-3,
    "started_at_ns": 1_000_000,  # of a mass step: interpolated on the node's clock
    "ended_at_ns": 1_000_000,
}
EXACT_IN = {"CartClosed": ("started_at_ns", "ended_at_ns")}  # there they are instants of steps


def unlike(expected: Sequence[Any], found: Sequence[Any]) -> list[str]:
    """Every place where two lists of events differ by more than they may; alike: []."""
    told = [] if len(expected) == len(found) else [f"{len(found)} events, not {len(expected)}"]
    for k, (a, b) in enumerate(zip(expected, found, strict=False)):
        told += _unlike(a, b, f"event {k} {a.get('type')}", "", str(a.get("type")))
    return told


def _unlike(a: Any, b: Any, place: str, name: str, kind: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        inner = "" if name else kind
        for key in sorted({*a, *b}):
            yield from _unlike(a.get(key), b.get(key), f"{place}.{key}", key, inner)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _unlike(x, y, f"{place}[{k}]", name, kind)
    elif not _alike(a, b, name, kind):
        yield f"{place}: {b!r}, not {a!r}"


def _alike(a: Any, b: Any, name: str, kind: str) -> bool:
    tolerance = 0.0 if name in EXACT_IN.get(kind, ()) else TOLERANCES.get(name, 0.0)
    numbers = _is_number(a) and _is_number(b)
    return bool(abs(a - b) <= tolerance) if numbers and tolerance else bool(a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
