"""Export and erasure per shopper; the books stay as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from both_databases import KINDS, Databases, Ledger, account_of, capture_of, hold_of

from broker import books, chain, idempotency, privacy, privacy_commands, store
from broker.database import DatabaseError
from broker.idempotency import Claim
from broker.problems import ProblemError
from messages.contract import AccountRequest, Credential, CredentialRequest

ROOT = Path(__file__).parents[2]
PAY = store.PaymentRequest(payment="pay", account="anna", amount_minor=300, currency="EUR")


def one_visit(ledger: Ledger) -> None:
    """Anna entered, bought for 3.00; the answer to opening her account is stored."""
    asked = AccountRequest(account="anna", currency="EUR", limit_minor=1_000, payment_ref="tok_7")
    claim = Claim(tenant="main", path="/v1/accounts", key="k", digest=b"d")
    ledger.do(
        lambda db: idempotency.claimed(db, claim, 5, lambda: store.open_account(db, asked, 5))
    )
    issued = Credential(credential="cred-v1", token="t", expires_at="")
    entry = CredentialRequest(account="anna", store="lab")
    ledger.do(lambda db: store.record_credential(db, entry, issued, 5))
    ledger.do(lambda db: store.place_hold(db, hold_of("v1", "anna", 500), 6))
    ledger.do(lambda db: store.capture_hold(db, "hold-v1", capture_of("cap", 300), 7))


def test_export_shows_everything_and_erasure_leaves_balanced_books(ledger: Ledger) -> None:
    one_visit(ledger)
    ledger.do(lambda db: store.open_account(db, account_of("ben"), 5))
    found = ledger.ask(lambda db: privacy.export(db, "anna"))
    text = json.dumps(found)
    assert all(word in text for word in ("tok_7", "cred-v1", "hold-v1", "cap", '"v1"'))
    assert "ben" not in text
    with pytest.raises(ProblemError) as refusal:
        ledger.do(lambda db: privacy.erase(db, "anna", 9, "test"))
    assert refusal.value.slug == "account-not-settled"
    ledger.do(lambda db: store.record_payment(db, PAY, 8))
    ledger.do(chain.seal)
    before = ledger.ask(lambda db: books.books(db, "EUR", 9))
    removed = ledger.do(lambda db: privacy.erase(db, "anna", 9, "test"))
    assert removed["credential"] == removed["answer"] == removed["account"] == 1
    assert ledger.ask(lambda db: books.books(db, "EUR", 9)) == before
    assert ledger.ask(books.breaches) == {}
    assert ledger.ask(chain.verify).broken == ()
    text = json.dumps(ledger.ask(lambda db: privacy.export(db, "anna")))
    assert not any(word in text for word in ("tok_7", "cred-v1", '"v1"', "lab"))
    reply = ledger.do(lambda db: store.place_hold(db, hold_of("v2", "anna", 1), 10))
    assert reply.status == 402
    assert ledger.rows("SELECT account FROM erased") == [("anna",)]
    assert ledger.do(lambda db: privacy.erase(db, "anna", 11, "test"))["credential"] == 0
    assert ledger.ask(lambda db: store.account(db, "ben", 9)).status == "active"
    with pytest.raises(ProblemError):
        ledger.do(lambda db: privacy.erase(db, "nobody", 9, "test"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_is_on_the_list_of_personal_data_or_said_to_hold_none(
    databases: Databases, kind: str
) -> None:
    ledger = Ledger(databases.new(kind))
    tables = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        "postgresql": "SELECT table_name::TEXT FROM information_schema.tables"
        " WHERE table_schema = current_schema()",
    }
    made = {row[0] for row in ledger.rows(tables[kind])}
    listed = {one.table for one in privacy.personal()} | privacy.impersonal().keys()
    assert made - listed == set()
    assert listed - made == set()
    ledger.close()
    databases.drop(ledger.where)


def test_the_page_is_drawn_from_the_list() -> None:
    assert privacy.page() in (ROOT / "docs" / "privacy.md").read_text()


def test_command_line_exports_to_a_private_file_and_says_what_is_wrong(
    tmp_path: Path, databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(databases.new("sqlite"))
    one_visit(ledger)
    out = tmp_path / "anna.json"
    privacy_commands.export_shopper(ledger.where, "anna", out)
    assert out.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text())["account"] == "anna"
    for call in (
        lambda: privacy_commands.export_shopper(ledger.where, "anna", out),
        lambda: privacy_commands.export_shopper(ledger.where, "nobody", None),
        lambda: privacy_commands.erase_shopper(ledger.where, "anna", False),
    ):
        with pytest.raises(DatabaseError):
            call()
    ledger.do(lambda db: store.record_payment(db, PAY, 8))
    capsys.readouterr()
    assert privacy_commands.erase_shopper(ledger.where, "anna", True) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["credential"] == 1
    ledger.close()
    databases.drop(ledger.where)
