"""Amounts on the retailer's wire: minor units (1299) or text with the exact decimals ("12.99").

Which of them is a setting of the retailer's adapter (``cloud.retailer_amounts``). Inside there are
minor units only. Text needs exactly the currency's decimals: "12.9" and "12.990" are refused, as is
any float, since guessing here moves money. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from cloud_sync.outcomes import DETAIL_LENGTH_MAX, BadAnswer
from messages.money import EXPONENT, MINOR_MAX

T = TypeVar("T")

# Fields of the retailer contract that hold an amount, wherever they stand.
FIELDS = frozenset({"unitPrice", "discount", "tax", "total", "amount"})
_WHOLE = re.compile(r"(0|[1-9][0-9]{0,15})")
DEPTH_MAX = 16  # of a body; ours have five levels


class Amounts(StrEnum):
    MINOR = "minor"
    DECIMAL = "decimal"


class AmountError(ValueError):
    """An amount that is not written as agreed; says how it has to be."""


def text_of(minor: int, currency: str) -> str:
    """``1299, "EUR"`` -> ``"12.99"``. Raises AmountError for a currency we do not know."""
    digits = _digits(currency)
    sign = "-" if minor < 0 else ""
    whole, part = divmod(abs(minor), 10**digits)
    return f"{sign}{whole}" + (f".{part:0{digits}d}" if digits else "")


def minor_of(text: object, currency: str) -> int:
    """``"12.99", "EUR"`` -> ``1299``.

    Raises:
        AmountError: no text, other than the currency's number of decimals, or too large.
    """
    digits = _digits(currency)
    shown = repr(text)[:40]
    if not isinstance(text, str):
        raise AmountError(f"amount {shown} has to be text with {digits} decimals")
    body = text.removeprefix("-")
    whole, point, part = body.partition(".")
    if not _WHOLE.fullmatch(whole) or bool(point) != bool(digits):
        raise AmountError(f"amount {shown} has to be text with {digits} decimals")
    if digits and not (len(part) == digits and part.isascii() and part.isdigit()):
        raise AmountError(f"amount {shown} has to have exactly {digits} decimals")
    minor = int(whole) * int(10**digits) + int(part or 0)
    if minor > MINOR_MAX:
        raise AmountError(f"amount {shown} is beyond reason")
    return -minor if text.startswith("-") else minor


def encode(value: object, amounts: Amounts, currency: str) -> bytes:
    """A contract type as JSON, its amounts as agreed."""
    if amounts is Amounts.MINOR:
        return msgspec.json.encode(value)
    tree = _mapped(msgspec.to_builtins(value), lambda minor: text_of(minor, currency))
    return msgspec.json.encode(tree)


def decode(body: bytes, kind: type[T], amounts: Amounts, currency: str) -> T:
    """JSON as a contract type, strictly; amounts come out in minor units.

    Raises:
        BadAnswer: not JSON, not of that type, or an amount that is not written as agreed.
    """
    try:
        if amounts is Amounts.MINOR:
            return msgspec.json.decode(body, type=kind)
        return msgspec.convert(minor(msgspec.json.decode(body), currency), kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadAnswer(f"not a {kind.__name__}: {str(error)[:DETAIL_LENGTH_MAX]}") from None


def minor(tree: object, currency: str) -> object:
    """A decoded body whose amounts are text, with minor units instead. Raises AmountError."""
    return _mapped(tree, lambda text: minor_of(text, currency))


def _mapped(tree: Any, change: Callable[[Any], Any], name: str = "", depth: int = 0) -> Any:
    if depth > DEPTH_MAX:
        raise AmountError(f"the body is nested deeper than {DEPTH_MAX} levels")
    if isinstance(tree, dict):
        return {key: _mapped(value, change, key, depth + 1) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_mapped(one, change, "", depth + 1) for one in tree]
    return change(tree) if name in FIELDS else tree


def _digits(currency: str) -> int:
    if currency not in EXPONENT:
        raise AmountError(f"unknown currency {currency!r}")
    return EXPONENT[currency]
