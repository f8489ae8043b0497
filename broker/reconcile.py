"""Nightly: the payment provider's report against our clearing accounts, every difference listed.

The report is CSV with a header: ``kind,reference,amount_minor,currency`` and, if it likes, more
columns. ``kind`` is ``payment`` (collected: positive for us) or ``refund`` and ``payout`` (given
away: negative); ``reference`` is the id that we gave. Ours is what was posted to ``psp_clearing``
and ``refund_clearing`` under that reference. Nothing is corrected here: a person decides.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from broker.chart import PSP_CLEARING, REFUND_CLEARING
from broker.database import Transaction
from messages.money import EXPONENT

SIGN = {"payment": 1, "refund": -1, "payout": -1}
COLUMNS = ("kind", "reference", "amount_minor", "currency")
LINES_MAX = 1_000_000  # of a report: a day of a thousand stores


class ReportError(ValueError):
    """A report that cannot be read: file, line, what to do."""


class Difference(StrEnum):
    MISSING_WITH_US = "missing-with-us"
    MISSING_WITH_PROVIDER = "missing-with-provider"
    AMOUNT = "amount"
    TWICE_WITH_PROVIDER = "twice-with-provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One movement. ``amount_minor``: positive for what came to us."""

    reference: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One difference; an amount that a side does not have is 0."""

    kind: Difference
    reference: str
    currency: str
    provider_minor: int
    our_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """``agreed``: how many references are the same on both sides."""

    agreed: int
    differences: tuple[Found, ...]
    provider_minor: dict[str, int]  # sums per currency
    our_minor: dict[str, int]

    def document(self) -> dict[str, Any]:
        return asdict(self)


def read_report(path: Path) -> list[Line]:
    """The provider's report.

    Raises:
        ReportError: with file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise ReportError(f"{path}:1: no column {missing[0]}; needed: {','.join(COLUMNS)}")
            return [_line(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path}: {error}: give the provider's report as CSV text") from error


async def ours(db: Transaction, from_s: int, to_s: int) -> list[Line]:
    """What we posted to the clearing accounts from one instant until before another."""
    rows = await db.all(_OURS, PSP_CLEARING, REFUND_CLEARING, from_s, to_s)
    return [
        Line(reference=reference, currency=currency, amount_minor=minor)
        for reference, currency, minor in rows
        if minor
    ]


def compare(provider: Iterable[Line], books: Iterable[Line]) -> Reconciled:
    """Every reference of either side, in order."""
    theirs, twice = dict[tuple[str, str], int](), list[Found]()
    for line in provider:
        key = (line.reference, line.currency)
        if key in theirs:
            twice.append(_found(Difference.TWICE_WITH_PROVIDER, key, line.amount_minor, 0))
        theirs.setdefault(key, line.amount_minor)
    mine = {(line.reference, line.currency): line.amount_minor for line in books}
    differences = [*twice]
    for key in sorted(theirs.keys() | mine.keys()):
        given, booked = theirs.get(key), mine.get(key)
        if booked is None:
            differences.append(_found(Difference.MISSING_WITH_US, key, given or 0, 0))
        elif given is None:
            differences.append(_found(Difference.MISSING_WITH_PROVIDER, key, 0, booked))
        elif given != booked:
            differences.append(_found(Difference.AMOUNT, key, given, booked))
    agreed = sum(theirs.get(key) == minor for key, minor in mine.items())
    return Reconciled(
        agreed=agreed,
        differences=tuple(differences),
        provider_minor=_sums([*theirs.items(), *(_item(found) for found in twice)]),
        our_minor=_sums(mine.items()),
    )


def _line(path: Path, number: int, row: dict[str, str | None]) -> Line:
    if number > LINES_MAX:
        raise ReportError(f"{path}:{number}: more than {LINES_MAX} lines: split the report")
    kind, reference, amount, currency = ((row[name] or "").strip() for name in COLUMNS)
    if kind not in SIGN:
        raise ReportError(f"{path}:{number}: kind {kind!r}: write {', '.join(SIGN)}")
    if not (amount.isascii() and amount.isdigit()):
        raise ReportError(f"{path}:{number}: amount_minor {amount!r}: write a whole number")
    if currency not in EXPONENT:
        raise ReportError(f"{path}:{number}: unknown currency {currency!r}")
    if not reference:
        raise ReportError(f"{path}:{number}: no reference: write the id that we gave")
    return Line(reference=reference, currency=currency, amount_minor=SIGN[kind] * int(amount))


def _found(kind: Difference, key: tuple[str, str], provider_minor: int, our_minor: int) -> Found:
    return Found(
        kind=kind,
        reference=key[0],
        currency=key[1],
        provider_minor=provider_minor,
        our_minor=our_minor,
    )


def _item(found: Found) -> tuple[tuple[str, str], int]:
    return (found.reference, found.currency), found.provider_minor


def _sums(items: Iterable[tuple[tuple[str, str], int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for (_, currency), minor in items:
        totals[currency] = totals.get(currency, 0) + minor
    return totals


_OURS = """
SELECT j.reference, p.currency, CAST(SUM(p.amount_minor) AS BIGINT)
FROM posting p JOIN journal j ON j.journal = p.journal
WHERE p.account IN ($1, $2) AND j.at_s >= $3 AND j.at_s < $4
GROUP BY j.reference, p.currency
"""
