"""A test plan: cases, what each expects, and what came of them.

A case is a function that talks to the retailer through a ``Session`` and raises ``Violation`` with
what it found. Cases whose test data was not given, or whose endpoint the retailer does not offer,
are *not run*, and the report says so: a plan that was not run is not a plan that was passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloud_sync.conformance.session import NotOffered, Session, Violation


class Result(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``needs``: fields of the session's ``Target`` that must be set."""

    id: str
    expects: str
    run: Callable[[Session], None]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``found``: what was not as expected, or why the case was not run."""

    case: str
    result: Result
    expects: str
    found: str = ""


def carry_out(
    cases: Iterable[Case], session: Session, told: Callable[[Finding], None] = lambda finding: None
) -> list[Finding]:
    """Run the cases in order; ``told`` hears of each as it ends."""
    findings = list[Finding]()
    for case in cases:
        findings.append(_finding(case, session))
        told(findings[-1])
    return findings


def summary(url: str, findings: Iterable[Finding]) -> dict[str, Any]:
    """One JSON-able object; ``passed`` is whether nothing failed and something passed."""
    rows = list(findings)
    counts = {result: sum(row.result is result for row in rows) for result in Result}
    return {
        "url": url,
        "passed": counts[Result.FAIL] == 0 and counts[Result.PASS] > 0,
        "counts": {result.value: count for result, count in counts.items()},
        "cases": [
            {"case": row.case, "result": row.result, "expected": row.expects, "found": row.found}
            for row in rows
        ],
    }


def _finding(case: Case, session: Session) -> Finding:
    def finding(result: Result, found: str = "") -> Finding:
        return Finding(case=case.id, result=result, expects=case.expects, found=found)

    missing = [name for name in case.needs if not getattr(session.target, name)]
    if missing:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        return finding(Result.NOT_RUN, f"needs {options}")
    try:
        case.run(session)
    except NotOffered as error:
        return finding(Result.NOT_RUN, str(error))
    except Violation as error:
        return finding(Result.FAIL, str(error))
    return finding(Result.PASS)
