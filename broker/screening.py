"""Card numbers are refused before anything is stored or logged.

A card number (PAN) is 13 to 19 digits whose last one is the Luhn check digit (ISO/IEC 7812-1),
written in one run or in the groups that are printed on cards. One in ten other numbers of that
length passes the check too, so identifiers must not be long plain numbers such as Unix
milliseconds; UUIDs and hexadecimal digests are told apart. The answer names the field and never
repeats the value.
"""

from __future__ import annotations

import re

GTIN_DIGITS = (8, 12, 13, 14)
HEX_MIN = 24  # a hexadecimal token this long with a letter in it is an id, not a card
_HEX = re.compile(rf"(?<![0-9A-Za-z])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{{{HEX_MIN},}}(?![0-9A-Za-z])")
_WORTH_A_LOOK = re.compile(r"\d(?:[\s./-]?\d){12}")
_RUN = re.compile(r"(?<!\d)\d{13,19}(?!\d)")
# Printed groups, one separator throughout. Whole groups only: those of a UUID are 8-4-4-4-12.
_LAYOUTS = (
    r"\d{4}([\s./-])\d{4}\2\d{4}\2\d{1,7}",  # most cards; the last group may be short or long
    r"\d{4}([\s./-])\d{4}\2\d{4}\2\d{4}\2\d{1,3}",  # 17 to 19 digits
    r"\d{4}([\s./-])\d{6}\2\d{4,5}",  # American Express, Diners Club
    r"\d{4}([\s./-])\d{3}\2\d{3}\2\d{3}",  # 13 digits
    r"\d{6}([\s./-])\d{7,13}",
)
_GROUPED = tuple(
    re.compile(rf"(?<![0-9A-Za-z])(?=({layout})(?![0-9A-Za-z]))") for layout in _LAYOUTS
)


def luhn_valid(digits: str) -> bool:
    """Every second digit from the right doubled, digits summed: a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def has_card_number(text: str) -> bool:
    """Whether digits in the text, in one run or grouped as on a card, could be a card number."""
    if not _WORTH_A_LOOK.search(text):
        return False
    plain = _HEX.sub("", text)
    if any(luhn_valid(run) for run in _RUN.findall(plain)):
        return True
    return any(
        luhn_valid(re.sub(r"\D", "", found[1]))
        for layout in _GROUPED
        for found in layout.finditer(plain)
    )


def card_number_at(value: object, path: str = "$") -> str | None:
    """JSONPath of the first field (or of the object with such a key), None when there is none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if has_card_number(str(key)):
                return path
            if _goods(key, inner):
                continue
            found = card_number_at(inner, f"{path}.{key}")
            if found:
                return found
        return None
    if isinstance(value, list):
        inner_paths = (card_number_at(inner, f"{path}[{i}]") for i, inner in enumerate(value))
        return next((found for found in inner_paths if found), None)
    return path if has_card_number(_text(value)) else None


def gtin_valid(text: str) -> bool:
    """8, 12, 13 or 14 digits; the last checks the others, weights 3 and 1 from the right (GS1)."""
    if len(text) not in GTIN_DIGITS or not (text.isascii() and text.isdigit()):
        return False
    digits = [int(digit) for digit in text]
    weighted = sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(digits[::-1]))
    return weighted % 10 == 0


def _goods(key: object, value: object) -> bool:
    """Bar codes where bar codes belong: one in ten passes the check of card numbers too."""
    if key == "gtin":
        return isinstance(value, str) and gtin_valid(value)
    return key == "gtins" and isinstance(value, list) and all(_goods("gtin", v) for v in value)


def _text(value: object) -> str:
    """Numbers as they would be printed: 4111111111111111.0 is the same sixteen digits."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or isinstance(value, bool) else str(value)
