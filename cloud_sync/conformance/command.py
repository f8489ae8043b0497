"""``walkout retailer check``: the whole plan against one server, told case by case."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cloud_sync.conformance import entry, hooks, purchases
from cloud_sync.conformance.plan import Case, Finding, Result, carry_out, summary
from cloud_sync.conformance.session import Session, Target

CASES: tuple[Case, ...] = (*purchases.CASES, *entry.CASES, *hooks.CASES)
FAILED, UNUSABLE = 1, 2
SECRET_LENGTH_MAX = 4096


class CheckError(ValueError):
    """A check that cannot start: a case, a file or an address that is none."""


def read_secret(path: Path | None) -> str:
    """The line of a key file; "" without one. Raises CheckError, which never shows its content."""
    if path is None:
        return ""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckError(f"{path} cannot be read: {type(error).__name__}") from None
    if not 0 < len(text) <= SECRET_LENGTH_MAX:
        raise CheckError(f"{path} does not hold a key")
    return text


def chosen(names: Sequence[str]) -> tuple[Case, ...]:
    """The cases of these names, all without any; raises CheckError for an unknown one."""
    known = {case.id: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CheckError(f"no case {unknown[0]!r}; known: {', '.join(known)}")
    return tuple(known[name] for name in names) if names else CASES


def check(target: Target, cases: Sequence[Case] = CASES, *, as_json: bool = False) -> int:
    """Run and print the plan; 0: nothing failed, 1: something did, or nothing could be run."""
    if not target.url.startswith(("http://", "https://")):
        raise CheckError(f"{target.url!r} is no http(s) address")
    session = Session(target, secrets.token_hex(4), int(time.time()))
    findings = carry_out(cases, session, told=(lambda _: None) if as_json else _tell)
    told = summary(target.url, findings)
    if as_json:
        print(json.dumps(told))
    else:
        counts = ", ".join(f"{count} {name}" for name, count in told["counts"].items())
        print(f"\n{'PASSED' if told['passed'] else 'FAILED'}: {counts}")
    return 0 if told["passed"] else FAILED


def _tell(finding: Finding) -> None:
    mark = {Result.PASS: "pass", Result.FAIL: "FAIL", Result.NOT_RUN: " -- "}[finding.result]
    print(f"{mark}  {finding.case:22}  {finding.expects}")
    if finding.found:
        print(f"      {'':22}  found: {finding.found}")
    sys.stdout.flush()
