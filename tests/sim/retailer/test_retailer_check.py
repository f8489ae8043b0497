"""The retailers' test plan: the reference retailer passes, a retailer that breaks a rule fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from running_retailer import RunningRetailer, start_retailer
from typer.testing import CliRunner
from wrong_retailer import HOOKS, VIOLATIONS, Wrong, serving

import walkout
from cloud_sync.amounts import Amounts
from cloud_sync.conformance.command import CASES, CheckError, chosen
from cloud_sync.conformance.plan import Result, carry_out
from cloud_sync.conformance.session import Session, Target
from messages.retailer_contract import ENTRY_PATH


def options(retailer: RunningRetailer, url: str = "") -> list[str]:
    return [
        *("retailer", "check", "--json", "--url", url or retailer.url),
        *("--key-file", str(retailer.data / "retailer.key")),
        *("--webhook-secret-file", str(retailer.data / "webhook.secret")),
    ]


def told(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(walkout.app, arguments)
    return done.exit_code, json.loads(done.output)


def failed(found: dict[str, Any]) -> set[str]:
    return {case["case"] for case in found["cases"] if case["result"] == "fail"}


def test_the_reference_retailer_passes_every_case(retailer: RunningRetailer) -> None:
    status, found = told(options(retailer))
    assert (status, found["passed"]) == (0, True), failed(found)
    assert found["counts"] == {"pass": len(CASES), "fail": 0, "not run": 0}


@pytest.mark.parametrize("wrong", VIOLATIONS)
def test_a_retailer_that_breaks_one_rule_fails_its_cases(
    retailer: RunningRetailer, wrong: str
) -> None:
    meddle, cases = VIOLATIONS[wrong]
    bearer = retailer.bearer()["Authorization"]
    with serving(Wrong(retailer.url, meddle, bearer)) as url:
        chosen_cases = [part for case in sorted(cases) for part in ("--case", case)]
        status, found = told([*options(retailer, url), *chosen_cases])
    assert (status, found["passed"]) == (1, False)
    assert failed(found) == cases, found
    assert all(case["found"] and case["expected"] for case in found["cases"])


def test_an_honest_proxy_passes_so_the_proxy_itself_breaks_nothing(
    retailer: RunningRetailer,
) -> None:
    with serving(Wrong(retailer.url, Wrong.forward)) as url:
        status, found = told(options(retailer, url))
    assert (status, failed(found)) == (0, set())


def test_amounts_as_text_pass_where_that_was_agreed_and_fail_where_not(tmp_path: Path) -> None:
    retailer = start_retailer(tmp_path, amounts="decimal")
    try:
        status, found = told([*options(retailer), "--amounts", "decimal"])
        assert (status, failed(found)) == (0, set())
        status, found = told([*options(retailer), "--case", "cart-is-priced"])
        assert (status, failed(found)) == (1, {"cart-is-priced"})
        body = {"requestId": "r", "authorizedAmount": {"amount": "12.3", "currencyCode": "EUR"}}
        reply = requests.post(
            retailer.url + ENTRY_PATH, json=body, headers=retailer.bearer(), timeout=20
        )
        assert reply.status_code == 422
        assert "exactly 2 decimals" in reply.json()["detail"]
    finally:
        retailer.end()


def test_what_was_not_given_or_is_not_offered_is_not_run_and_said(
    retailer: RunningRetailer,
) -> None:
    def without_entry(wrong: Wrong, asked: Any) -> Any:
        return (404, {}, b"") if asked.path == ENTRY_PATH else wrong.forward(asked)

    with serving(Wrong(retailer.url, without_entry)) as url:
        key = retailer.bearer()["Authorization"].removeprefix("Bearer ")
        session = Session(Target(url=url, key=key, webhook_url=url + HOOKS), "n1", 1_790_000_000)
        findings = {one.case: one for one in carry_out(CASES, session)}
    assert findings["entry-adjusted"].result is Result.NOT_RUN
    assert "optional" in findings["entry-adjusted"].found
    assert "--webhook-secret" in findings["webhook-genuine"].found
    assert findings["cart-is-priced"].result is Result.PASS


def test_nobody_at_home_fails_and_a_slip_on_the_command_line_is_named(tmp_path: Path) -> None:
    status, found = told(
        ["retailer", "check", "--json", "--url", "http://127.0.0.1:9", "--case", "cart-is-priced"]
    )
    assert status == 1
    assert "no answer" in found["cases"][0]["found"]
    with pytest.raises(CheckError, match="cart-is-priced"):
        chosen(["cart-is-prized"])
    empty = tmp_path / "key"
    empty.write_text("\n")
    wrong: list[Callable[[], list[str]]] = [
        lambda: ["--url", "ftp://x"],
        lambda: ["--url", "http://x", "--key-file", str(empty)],
        lambda: ["--url", "http://x", "--amounts", "cents"],
    ]
    for more in wrong:
        assert CliRunner().invoke(walkout.app, ["retailer", "check", *more()]).exit_code == 2
    assert Amounts("decimal") is Amounts.DECIMAL
