"""The provider's report against our books: every difference is listed, none absorbed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from both_databases import Ledger, account_of, capture_of, hold_of
from typer.testing import CliRunner

import walkout
from broker import chain, store
from broker.database import DatabaseError, DatabaseUrl
from broker.reconcile import Line, ReportError, compare, read_report

HEAD = "kind,reference,amount_minor,currency,fee\n"
DAY_S = 24 * 3600


@pytest.fixture
def booked(ledger: Ledger) -> Ledger:
    """Two payments and a refund of which 60 goes back by the provider."""
    ledger.do(lambda db: store.open_account(db, account_of("anna"), 0))
    ledger.do(lambda db: store.place_hold(db, hold_of("v1", "anna", 900), 0))
    ledger.do(lambda db: store.capture_hold(db, "hold-v1", capture_of("c1", 900), 0))
    for name, minor, now_s in (("p1", 500, 10), ("p2", 400, DAY_S)):
        wish = store.PaymentRequest(
            payment=name, account="anna", amount_minor=minor, currency="EUR"
        )
        ledger.do(lambda db, w=wish, n=now_s: store.record_payment(db, w, n))
    back = store.RefundRequest(refund="r1", amount_minor=60, currency="EUR")
    ledger.do(lambda db: store.refund_capture(db, "c1", back, DAY_S))
    return ledger


def asked(ledger: Ledger, *arguments: object) -> tuple[int, dict[str, Any]]:
    """A broker command on the ledger's database."""
    where = str(ledger.where.path or ledger.where.url)
    line = ["broker", *map(str, arguments), "--db", where, "--json"]
    done = CliRunner().invoke(walkout.app, line)
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, json.loads(done.output)


def test_equal_books_agree_and_each_difference_is_listed(booked: Ledger, tmp_path: Path) -> None:
    report = tmp_path / "psp.csv"
    good = "payment,p1,500,EUR,8\npayment,p2,400,EUR,7\nrefund,r1,60,EUR,0\n"
    report.write_text(HEAD + good)
    status, found = asked(booked, "reconcile", "--report", report)
    assert (status, found["agreed"], found["differences"]) == (0, 3, [])
    assert found["provider_minor"] == found["our_minor"] == {"EUR": 840}
    report.write_text(HEAD + "payment,p1,499,EUR,8\npayment,p1,499,EUR,8\npayment,p9,5,EUR,0\n")
    status, found = asked(booked, "reconcile", "--report", report)
    told = {(one["kind"], one["reference"]) for one in found["differences"]}
    assert status == 1
    assert told == {
        ("twice-with-provider", "p1"),
        ("amount", "p1"),
        ("missing-with-us", "p9"),
        ("missing-with-provider", "p2"),
        ("missing-with-provider", "r1"),
    }


def test_days_bound_what_is_compared(booked: Ledger, tmp_path: Path) -> None:
    report = tmp_path / "psp.csv"
    report.write_text(HEAD + "payment,p1,500,EUR,8\n")
    status, _ = asked(booked, "reconcile", "--report", report, "--until", "1970-01-02")
    assert status == 0
    status, found = asked(booked, "reconcile", "--report", report, "--since", "1970-01-02")
    assert (status, len(found["differences"])) == (1, 3)


def test_verify_chain_command_says_sound_and_broken(booked: Ledger) -> None:
    booked.do(chain.seal)
    status, found = asked(booked, "verify-chain")
    assert (status, found["links"], found["broken"], found["breaches"]) == (0, 4, [], {})
    status, again = asked(booked, "verify-chain", "--expect", found["head"])
    assert (status, again["head"]) == (0, found["head"])
    booked.unprotected("posting", "UPDATE posting SET amount_minor = 1 WHERE line = 0")
    status, found = asked(booked, "verify-chain")
    assert status == 1
    assert len(found["broken"]) == 4
    assert "every journal sums to zero" in found["breaches"]


def test_migrate_command_has_nothing_to_do_twice(ledger: Ledger) -> None:
    assert asked(ledger, "migrate") == (0, {"migrated": []})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference,amount_minor,currency\n", "psp.csv:1: no column kind"),
        (HEAD + "payment,p1,5.00,EUR,0\n", "psp.csv:2: amount_minor '5.00'"),
        (HEAD + "payment,p1,5,EUR,0\nloan,p1,5,EUR,0\n", "psp.csv:3: kind 'loan'"),
        (HEAD + "payment,p1,5,ZZZ,0\n", "unknown currency 'ZZZ'"),
        (HEAD + "payment,,5,EUR,0\n", "no reference"),
        (HEAD + "payment\n", "psp.csv:2: amount_minor ''"),
    ],
)
def test_unreadable_report_is_refused_with_file_and_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "psp.csv"
    path.write_text(text)
    with pytest.raises(ReportError) as refused:
        read_report(path)
    assert said in str(refused.value)
    with pytest.raises(ReportError, match=r"none\.csv"):
        read_report(tmp_path / "none.csv")


def test_currencies_are_kept_apart() -> None:
    euro = Line(reference="p1", currency="EUR", amount_minor=5)
    yen = Line(reference="p1", currency="JPY", amount_minor=5)
    found = compare([euro], [yen])
    assert [one.currency for one in found.differences] == ["EUR", "JPY"]


# --- where the database is --------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:secret@h/db", "postgresql://h/db?password=x", "mysql://h/db"],
)
def test_password_in_a_url_and_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        DatabaseUrl.of(url)
    assert "secret" not in str(refused.value)


def test_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o644)
    where = DatabaseUrl.of("postgresql://u@h/db", path)
    with pytest.raises(DatabaseError, match="chmod 600"):
        where.password()
    path.chmod(0o600)
    assert where.password() == "s3cret"
    assert DatabaseUrl.of("sqlite:///a/b.db").path == Path("/a/b.db")
    assert DatabaseUrl.of("b.db").path == Path("b.db")


@pytest.mark.parametrize("command", ["verify-chain", "reconcile"])
def test_missing_database_is_named_in_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "r.csv").write_text(HEAD)
    line = ["broker", command, "--db", str(tmp_path / "none.db")]
    if command == "reconcile":
        line += ["--report", str(tmp_path / "r.csv")]
    done = CliRunner().invoke(walkout.app, line)
    assert done.exit_code == 2
    assert "does not exist" in done.output
    assert not (tmp_path / "none.db").exists()
