"""One run, visit by visit: which receipt belongs to which true visit, and what is wrong with it.

Everything is counted in units of a SKU, so it does not matter how a receipt cuts them into rows.
Pure; the measures over many visits are in ``score_metrics.py``, the definitions in docs/SCORES.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from sim.score_input import Receipt, ReceiptLine, RunFiles, Truth, TruthLine, TruthVisit, held

Lines = Mapping[str, int]  # SKU -> units, more than 0 each


class ErrorKind(StrEnum):
    """Every unit that differs belongs to one error of the first five; the last one overlays them.

    A wrong shopper or SKU explains two units: one too many and one missing.
    """

    WRONG_SHOPPER = "wrong_shopper"  # on another visit's receipt, both were inside together
    WRONG_SKU = "wrong_sku"  # something else instead, in the same visit
    WRONG_QUANTITY = "wrong_quantity"  # the SKU is right, the number is not
    MISSED = "missed"  # nothing of the SKU on the receipt
    PHANTOM = "phantom"  # nothing of the SKU in truth
    NOT_REVIEWED = "not_reviewed"  # units charged above the truth without a person's look


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitError:
    """``quantity`` units of one kind of error. ``visit``: index into the run's visits.

    Of wrong_shopper it is the visit that got the units, ``other`` the one that lacks them; of
    wrong_sku ``sku`` is what the receipt says and ``true_sku`` what it was.
    """

    kind: ErrorKind
    visit: int
    sku: str
    quantity: int
    other: int | None = None
    true_sku: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitScore:
    """A true visit and its receipt. ``visit`` "": a receipt of nobody who was inside (phantom).

    ``lost``: stands for all visits of a run that crashed before it could say who was inside.
    ``rows``: (probability, right) of each row of the receipt.
    """

    visit: str
    credential: str
    receipt: str | None
    entered_at_s: float | None
    exited_at_s: float | None
    closed_at_s: float | None
    truth: Lines
    charged: Lines
    review: Lines
    reviewed: bool
    rows: tuple[tuple[float, bool], ...] = ()
    lost: bool = False

    @property
    def phantom(self) -> bool:
        return not self.visit

    @property
    def guess(self) -> dict[str, int]:
        """Charged and review units together: the best guess."""
        return _sum(self.charged, self.review)

    @property
    def right_units(self) -> int:
        return sum(min(n, self.truth.get(sku, 0)) for sku, n in self.guess.items())

    @property
    def f1(self) -> float:
        """Of units: 2 right / (guessed + true); 1 when both are empty."""
        both = sum(self.guess.values()) + sum(self.truth.values())
        if self.lost:
            return 0.0
        return 2 * self.right_units / both if both else 1.0

    @property
    def exact(self) -> bool:
        return not self.lost and self.guess == dict(self.truth)

    @property
    def over_charged(self) -> dict[str, int]:
        """SKU -> units charged above the truth."""
        return _above(self.charged, self.truth)

    @property
    def missing(self) -> dict[str, int]:
        """SKU -> units that the best guess lacks."""
        return _above(self.truth, self.guess)

    @property
    def latency_s(self) -> float | None:
        """From the exit to the receipt, store time."""
        if self.exited_at_s is None or self.closed_at_s is None:
            return None
        return self.closed_at_s - self.exited_at_s


def visits_of(files: RunFiles) -> tuple[tuple[VisitScore, ...], dict[str, int]]:
    """The run's shoppers in order of entry, then phantom receipts; and the findings, counted.

    Staff are left out, and so are empty receipts of people who never came in.
    """
    findings: Counter[str] = Counter()
    if files.truth is None:
        return (_lost(),), {}
    _look_at_truth(files.truth, findings)
    _look_at_receipts(files.receipts, findings)
    scored = []
    for true, receipt in _pairs(files.truth.visits, files.receipts):
        if (true is not None and true.kind == "staff") or (true is None and _empty(receipt)):
            continue
        scored.append(_visit(true, receipt))
    found = tuple(sorted(scored, key=_order))
    findings["visits_without_receipt"] += sum(v.receipt is None for v in found)
    findings["phantom_receipts"] += sum(v.phantom for v in found)
    findings["receipts_before_exit"] += sum((v.latency_s or 0.0) < 0 for v in found)
    return found, {name: n for name, n in sorted(findings.items()) if n}


def errors_of(visits: Sequence[VisitScore]) -> tuple[UnitError, ...]:
    """Every unit of the run that differs, by kind; the order of explanation is ErrorKind's."""
    missing = {i: v.missing for i, v in enumerate(visits) if v.missing}
    extra = {i: e for i, v in enumerate(visits) if (e := _above(v.guess, v.truth))}
    found = [
        *_wrong_shoppers(visits, extra, missing),
        *_wrong_skus(extra, missing),
        *_left(visits, extra, missing),
    ]
    for i, visit in enumerate(visits):
        found += [
            UnitError(kind=ErrorKind.NOT_REVIEWED, visit=i, sku=sku, quantity=n)
            for sku, n in visit.over_charged.items()
        ]
    return tuple(found)


# --- matching ---------------------------------------------------------------------------------


def _pairs(
    truths: Sequence[TruthVisit], receipts: Sequence[Receipt]
) -> list[tuple[TruthVisit | None, Receipt | None]]:
    """By credential, repeats by order of entry. No credential matches nothing."""
    waiting: dict[str, list[Receipt]] = {}
    for receipt in sorted(receipts, key=_order_of_receipt):
        if receipt.kind == "shopper":
            waiting.setdefault(receipt.credential or "", []).append(receipt)
    nobodys = waiting.pop("", [])
    pairs: list[tuple[TruthVisit | None, Receipt | None]] = []
    for true in sorted(truths, key=lambda t: (_late(t.entered_at_s), t.visit)):
        mine = waiting.get(true.credential or "", [])
        pairs.append((true, mine.pop(0) if mine else None))
    rest = [receipt for left in waiting.values() for receipt in left]
    return pairs + [(None, receipt) for receipt in (*nobodys, *rest)]


def _order_of_receipt(receipt: Receipt) -> tuple[object, ...]:
    """Order of entry: as the receipt says, else of closing, else of the visits' numbers."""
    number = [(int(n), text) for text, n in re.findall(r"(\D*)(\d{1,18})", receipt.visit)]
    return (_late(receipt.entered_at_s), _late(receipt.closed_at_s), number, receipt.visit)


def _late(at_s: float | None) -> float:
    return inf if at_s is None else at_s


def _order(visit: VisitScore) -> tuple[object, ...]:
    entered, closed = _late(visit.entered_at_s), _late(visit.closed_at_s)
    return (visit.phantom, entered, visit.visit, closed, visit.credential, visit.receipt or "")


def _empty(receipt: Receipt | None) -> bool:
    return receipt is None or not any(line.quantity for line in receipt.lines)


def _visit(true: TruthVisit | None, receipt: Receipt | None) -> VisitScore:
    lines = receipt.lines if receipt else []
    truth = _units(true.lines) if true else {}
    in_review = any(line.state == "review" and line.quantity for line in lines)
    return VisitScore(
        visit=true.visit if true else "",
        credential=(true.credential if true else receipt.credential if receipt else None) or "",
        receipt=receipt.visit if receipt else None,
        entered_at_s=true.entered_at_s if true else None,
        exited_at_s=true.exited_at_s if true else None,
        closed_at_s=receipt.closed_at_s if receipt else None,
        truth=truth,
        charged=_units(line for line in lines if line.state == "charged"),
        review=_units(line for line in lines if line.state == "review"),
        reviewed=in_review or (receipt is not None and receipt.state == "review"),
        rows=_rows(lines, truth),
    )


def _lost() -> VisitScore:
    return VisitScore(
        visit="(crashed)",
        credential="",
        receipt=None,
        entered_at_s=None,
        exited_at_s=None,
        closed_at_s=None,
        truth={},
        charged={},
        review={},
        reviewed=False,
        lost=True,
    )


def _rows(lines: Sequence[ReceiptLine], truth: Lines) -> tuple[tuple[float, bool], ...]:
    """Is each row right? True units go to rows in turn: charged first, then the surer ones."""
    left, found = dict(truth), []
    order = sorted(lines, key=lambda x: (x.state, -x.probability, x.sku, x.quantity))
    for line in order:
        if line.quantity:
            right = left.get(line.sku, 0) >= line.quantity
            left[line.sku] = max(0, left.get(line.sku, 0) - line.quantity)
            found.append((line.probability, right))
    return tuple(found)


# --- findings ---------------------------------------------------------------------------------


def _look_at_truth(truth: Truth, findings: Counter[str]) -> None:
    for visit in truth.visits:
        skus = [line.sku for line in visit.lines]
        findings["truth_lines_of_the_same_sku"] += len(skus) - len(set(skus))
        findings["truth_lines_of_nothing"] += sum(not line.quantity for line in visit.lines)
        findings["visits_without_credential"] += not visit.credential
        findings["staff_with_lines"] += visit.kind == "staff" and bool(visit.lines)
    if truth.actions:
        fold = held((v.visit for v in truth.visits if v.kind == "shopper"), truth.actions)
        findings["visits_whose_actions_give_other_lines"] += sum(
            fold[v.visit] != _units(v.lines) for v in truth.visits if v.kind == "shopper"
        )


def _look_at_receipts(receipts: Sequence[Receipt], findings: Counter[str]) -> None:
    ids = Counter(receipt.visit for receipt in receipts)
    findings["receipts_of_the_same_visit"] += len(receipts) - len(ids)
    for receipt in receipts:
        findings["receipts_without_credential"] += not receipt.credential
        findings["receipt_lines_of_nothing"] += sum(not x.quantity for x in receipt.lines)
        findings["closed_receipts_with_review_lines"] += receipt.state == "closed" and any(
            line.state == "review" for line in receipt.lines
        )


# --- kinds of errors --------------------------------------------------------------------------

Open = dict[int, dict[str, int]]  # visit -> SKU -> units not yet explained


def _wrong_shoppers(visits: Sequence[VisitScore], extra: Open, missing: Open) -> list[UnitError]:
    """Units too many here that another visit lacks, who was inside at the same time."""
    lacking: dict[str, list[int]] = {}
    for i, mine in missing.items():
        for sku in mine:
            lacking.setdefault(sku, []).append(i)
    found = []
    for i, mine in extra.items():
        for sku in sorted(mine):
            for j in lacking.get(sku, []):
                if mine[sku] and missing[j][sku] and _together(visits[i], visits[j]):
                    units = _explain(mine, sku, missing[j], sku)
                    found.append(
                        UnitError(
                            kind=ErrorKind.WRONG_SHOPPER, visit=i, sku=sku, quantity=units, other=j
                        )
                    )
    return found


def _wrong_skus(extra: Open, missing: Open) -> list[UnitError]:
    """Units too many of one SKU where the same visit lacks another."""
    found = []
    for i in extra:
        for sku in sorted(extra[i]):
            for true_sku in sorted(missing.get(i, {})):
                units = _explain(extra[i], sku, missing[i], true_sku)
                if units:
                    kind = ErrorKind.WRONG_SKU
                    found.append(
                        UnitError(kind=kind, visit=i, sku=sku, quantity=units, true_sku=true_sku)
                    )
    return found


def _left(visits: Sequence[VisitScore], extra: Open, missing: Open) -> list[UnitError]:
    """What no pair explains: a wrong number, or all of a SKU missed or invented."""
    found = []
    for alone, units_of in ((ErrorKind.MISSED, missing), (ErrorKind.PHANTOM, extra)):
        for i, mine in units_of.items():
            both = visits[i].truth.keys() & visits[i].guess.keys()
            found += [
                UnitError(
                    kind=ErrorKind.WRONG_QUANTITY if sku in both else alone,
                    visit=i,
                    sku=sku,
                    quantity=units,
                )
                for sku, units in sorted(mine.items())
                if units
            ]
    return found


def _explain(extra: dict[str, int], sku: str, missing: dict[str, int], true_sku: str) -> int:
    units = min(extra[sku], missing[true_sku])
    extra[sku] -= units
    missing[true_sku] -= units
    return units


def _together(a: VisitScore, b: VisitScore) -> bool:
    """Both may have been inside at once; what is not known (a phantom's times) does not exclude."""
    return _starts(a) <= _late(b.exited_at_s) and _starts(b) <= _late(a.exited_at_s)


def _starts(visit: VisitScore) -> float:
    return -inf if visit.entered_at_s is None else visit.entered_at_s


# --- units ------------------------------------------------------------------------------------


def _units(lines: Iterable[TruthLine | ReceiptLine]) -> dict[str, int]:
    """SKU -> units; rows of one SKU together, rows of nothing left out."""
    found: Counter[str] = Counter()
    for line in lines:
        found[line.sku] += line.quantity
    return {sku: found[sku] for sku in sorted(found) if found[sku]}


def _sum(a: Lines, b: Lines) -> dict[str, int]:
    return {sku: a.get(sku, 0) + b.get(sku, 0) for sku in sorted({*a, *b})}


def _above(a: Lines, b: Lines) -> dict[str, int]:
    """Units of ``a`` beyond those of ``b``."""
    return {sku: n - b.get(sku, 0) for sku, n in a.items() if n > b.get(sku, 0)}
