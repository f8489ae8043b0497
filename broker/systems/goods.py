"""Goods as the systems name them: GTIN-14, categories, and lines of a cart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import biip
from biip.gtin import Gtin

from broker.problems import ProblemError


@dataclass(frozen=True, slots=True, kw_only=True)
class CartLine:
    """A priced line. Goods by weight are one piece; ``gtin`` and ``category`` may be empty."""

    line_id: str
    quantity: int
    total_minor: int
    gtin: str = ""
    category: str = ""


def gtin14(text: str, param: str) -> str:
    """A bar code's digits, or a GS1 Digital Link, as GTIN-14.

    Raises:
        ProblemError: 422, no GTIN in it or a wrong check digit.
    """
    try:
        found = Gtin.parse(text) if text.isdigit() else biip.parse(text).gtin
    except biip.ParseError:
        found = None
    if found is None:
        raise ProblemError(422, "not-a-gtin", "no GTIN with its check digit", param=param)
    return found.as_gtin_14()


def gtins14(texts: Sequence[str], param: str) -> list[str]:
    """All of them, each once, in order."""
    return sorted({gtin14(text, f"{param}[{i}]") for i, text in enumerate(texts)})


def normal(lines: Sequence[CartLine]) -> list[CartLine]:
    """The lines with GTIN-14s.

    Raises:
        ProblemError: 422, a wrong GTIN, or an id that comes twice.
    """
    if len({line.line_id for line in lines}) != len(lines):
        raise ProblemError(422, "line-twice", "a line_id comes twice", param="$.lines")
    return [
        CartLine(
            line_id=line.line_id,
            quantity=line.quantity,
            total_minor=line.total_minor,
            gtin=gtin14(line.gtin, f"$.lines[{i}].gtin") if line.gtin else "",
            category=line.category,
        )
        for i, line in enumerate(lines)
    ]


def unit_prices(line: CartLine) -> list[int]:
    """What each piece of a line costs; they add up to its total."""
    return equal_parts(line.total_minor, line.quantity)


def equal_parts(minor: int, pieces: int) -> list[int]:
    """An amount in equal parts by largest remainder: the first ones are a minor unit larger."""
    each, left = divmod(minor, pieces)
    return [each + 1] * left + [each] * (pieces - left)
