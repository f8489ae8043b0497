"""System C: purchases gathered into statements, invoices, payouts, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from both_databases import Ledger, account_of, capture_of, hold_of
from desk import RACERS, Desk
from hypothesis import given
from hypothesis import strategies as st

from broker import store
from broker.routes import Nothing
from broker.systems import (
    en16931,
    invoices,
    micro_parties,
    micro_refunds,
    payouts,
    statements,
    vat,
)
from broker.systems.close_command import close_statements
from broker.systems.commands import check
from broker.systems.micro_parties import BuyerRequest, Party, SellerRequest
from broker.systems.payouts import PayoutRequest, PayoutSignal
from broker.systems.statement_types import (
    MicroRefundRequest,
    PurchaseLine,
    PurchaseRequest,
    StatementPayment,
    StatementReason,
)
from broker.systems.vat import GrossLine

DAY_S = 24 * 3600
HOME = Party(name="A & B Household", country="DE", city="Berlin", postcode="10115")
KIOSK = Party(name="Kiosk <Nord>", country="DE", street="Street 1", vat_id="DE123456789")


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """Anna buys coffee at the shop; her purchases are gathered until they come to five euro."""
    desk = Desk(ledger)
    ledger.do(lambda db: store.open_account(db, account_of("anna", 2_000), desk.now_s))
    wish = BuyerRequest(account="anna", invoice_to=HOME, close_minor=500, close_after_days=30)
    desk.do(micro_parties.register_buyer, wish)
    seller = SellerRequest(
        merchant="shop",
        currency="EUR",
        payout_ref="iban-token",
        invoice_prefix="KIOSK",
        invoice_from=KIOSK,
        fee_bp=150,
        fee_minor=25,
    )
    desk.do(micro_parties.register_seller, seller)
    return desk


def bought(desk: Desk, name: str, *lines: PurchaseLine) -> PurchaseRequest:
    """A captured visit, with its lines."""
    cart = list(lines) or [coffee()]
    total = sum(line.gross_minor for line in cart)
    desk.ledger.do(lambda db: store.place_hold(db, hold_of(name, "anna", total), desk.now_s))
    capture = capture_of(name, total)
    desk.ledger.do(lambda db: store.capture_hold(db, f"hold-{name}", capture, desk.now_s))
    return PurchaseRequest(capture=name, purchase_lines=cart)


def coffee(quantity: int = 1, gross_minor: int = 130, vat_bp: int = 1_900) -> PurchaseLine:
    return PurchaseLine(
        line_id="1", name="Coffee", quantity=quantity, gross_minor=gross_minor, vat_bp=vat_bp
    )


def bun() -> PurchaseLine:
    return PurchaseLine(line_id="2", name="Bun", quantity=3, gross_minor=299, vat_bp=700)


def accrued(desk: Desk, name: str, *lines: PurchaseLine) -> Any:
    return desk.do(statements.accrue, bought(desk, name, *lines))


def document(desk: Desk, number: str) -> str:
    ((text,),) = desk.ledger.rows("SELECT ubl FROM invoice WHERE invoice = $1", number)
    return str(text)


def test_purchases_are_gathered_and_charged_as_one(desk: Desk) -> None:
    accrued(desk, "p1")
    first = accrued(desk, "p2", coffee(), bun())
    assert (first["statement"], first["state"]) == ("anna:000001", "accrued")
    (issued,) = desk.ledger.runner.run(_closed(desk))
    assert (issued.total_minor, issued.invoices) == (559, ["KIOSK-000001"])
    assert accrued(desk, "p3")["statement"] == "anna:000002"  # late: the issued one never changes
    wrong = StatementPayment(payment="pay1", amount_minor=558, currency="EUR")
    assert desk.refused(statements.pay, wrong, id="anna:000001") == "not-the-total"
    paid = StatementPayment(payment="pay1", amount_minor=559, currency="EUR")
    for _ in range(2):
        assert desk.do(statements.pay, paid, id="anna:000001")["state"] == "paid"
    assert desk.balance("shopper_receivable:anna") == -130
    assert desk.ask(statements.purchase, "p1").state == "paid"
    assert desk.breaches() == {}


async def _closed(desk: Desk) -> Any:
    """As the nightly command does it."""
    database, now_s = desk.ledger.database, desk.now_s
    await database.submit(lambda db: statements.close_due(db, now_s))
    return await database.submit(lambda db: statements.issue_closed(db, now_s))


def test_statement_closes_by_age_and_a_crash_between_closing_and_issuing_loses_nothing(
    desk: Desk,
) -> None:
    accrued(desk, "p1")
    assert desk.ledger.do(lambda db: statements.close_due(db, desk.now_s)) == []
    desk.now_s += 30 * DAY_S
    assert desk.ledger.do(lambda db: statements.close_due(db, desk.now_s)) == ["anna:000001"]
    assert accrued(desk, "p2")["statement"] == "anna:000002"  # closed takes no more
    (issued,) = desk.ledger.do(lambda db: statements.issue_closed(db, desk.now_s))
    assert (issued.statement, issued.total_minor) == ("anna:000001", 130)
    assert desk.ledger.do(lambda db: statements.issue_closed(db, desk.now_s)) == []
    assert desk.breaches() == {}


def test_sixty_four_reports_of_one_visit_are_one_purchase(desk: Desk) -> None:
    wish = bought(desk, "p1")
    done, slugs = desk.race(statements.accrue, [wish] * RACERS)
    assert (len(done), slugs) == (RACERS, [])
    assert {reply["statement"] for reply in done} == {"anna:000001"}
    assert desk.ask(statements.statement, "anna:000001").total_minor == 130
    assert desk.breaches() == {}


def test_invoice_is_sound_and_payable_is_what_was_charged(desk: Desk) -> None:
    accrued(desk, "p1", coffee(3, 389), bun())
    desk.do(statements.close, Nothing(), id="anna:000001")
    text = document(desk, "KIOSK-000001")
    assert en16931.faults(text) == []
    invoice = desk.ask(invoices.invoice, "KIOSK-000001")
    assert (invoice.payable_minor, invoice.net_minor + invoice.vat_minor) == (688, 688)
    assert "Kiosk &lt;Nord&gt;" in text
    assert "A &amp; B Household" in text


def test_refund_makes_an_open_statement_smaller_and_corrects_an_issued_one(desk: Desk) -> None:
    accrued(desk, "p1", coffee(), bun())
    piece = MicroRefundRequest(refund="r1", line_id="2", quantity=1)
    assert desk.do(micro_refunds.refund, piece, id="p1")["credit_note"] == ""
    issued = desk.do(statements.close, Nothing(), id="anna:000001")
    assert issued["total_minor"] == 429 - 100
    assert en16931.faults(document(desk, "KIOSK-000001")) == []
    later = MicroRefundRequest(refund="r2", line_id="2", quantity=2)
    assert desk.refused(micro_refunds.refund, later, id="p1") == "statement-in-collection"
    paid = StatementPayment(payment="pay1", amount_minor=329, currency="EUR")
    desk.do(statements.pay, paid, id="anna:000001")
    for _ in range(2):
        note = desk.do(micro_refunds.refund, later, id="p1")["credit_note"]
    assert note == "KIOSK-000002"
    assert en16931.faults(document(desk, note)) == []
    assert "<cbc:ID>KIOSK-000001</cbc:ID>" in document(desk, note)
    assert desk.balance("refund_clearing") == 199  # the statement is collected in full
    assert desk.ask(statements.statement, "anna:000001").total_minor == 329
    more = MicroRefundRequest(refund="r3", line_id="2", quantity=1)
    assert desk.refused(micro_refunds.refund, more, id="p1") == "more-than-bought"
    assert desk.breaches() == {}


def test_fully_refunded_statement_is_paid_without_an_invoice(desk: Desk) -> None:
    accrued(desk, "p1")
    gone = MicroRefundRequest(refund="r1", line_id="1", quantity=1)
    desk.do(micro_refunds.refund, gone, id="p1")
    reply = desk.do(statements.close, Nothing(), id="anna:000001")
    assert (reply["state"], reply["invoices"]) == ("paid", [])
    assert desk.breaches() == {}


def test_debtor_is_not_let_in_until_all_is_paid_or_given_up(desk: Desk) -> None:
    accrued(desk, "p1")
    desk.do(statements.close, Nothing(), id="anna:000001")
    bought(desk, "p2")
    desk.do(statements.decline, StatementReason(reason="dead card"), id="anna:000001")
    answer = desk.ledger.do(lambda db: store.place_hold(db, hold_of("v3", "anna", 100), desk.now_s))
    assert answer.status == 402
    paid = StatementPayment(payment="pay1", amount_minor=130, currency="EUR")
    assert desk.do(statements.pay, paid, id="anna:000001")["state"] == "paid"
    assert desk.ledger.ask(lambda db: store.account(db, "anna", desk.now_s)).status == "active"
    accrued(desk, "p4")
    desk.do(statements.close, Nothing(), id="anna:000002")
    desk.do(statements.decline, StatementReason(), id="anna:000002")
    desk.do(statements.write_off, StatementReason(), id="anna:000002")
    assert desk.balance("bad_debt") == -130
    assert desk.ledger.ask(lambda db: store.account(db, "anna", desk.now_s)).status == "blocked"
    assert desk.breaches() == {}


def test_refund_to_a_debtor_makes_the_debt_smaller_and_pays_nobody_out(desk: Desk) -> None:
    accrued(desk, "p1", coffee(), bun())
    desk.do(statements.close, Nothing(), id="anna:000001")
    desk.do(statements.decline, StatementReason(), id="anna:000001")
    buns = MicroRefundRequest(refund="r1", line_id="2", quantity=3)
    assert desk.do(micro_refunds.refund, buns, id="p1")["credit_note"] == "KIOSK-000002"
    reply = desk.ask(statements.statement, "anna:000001")
    assert (reply.state, reply.total_minor, reply.due_minor) == ("dunning", 429, 130)
    assert desk.balance("refund_clearing") == 0
    assert desk.breaches() == {}
    desk.do(micro_refunds.refund, MicroRefundRequest(refund="r2", line_id="1", quantity=1), id="p1")
    assert desk.ask(statements.statement, "anna:000001").state == "paid"
    assert desk.ledger.ask(lambda db: store.account(db, "anna", desk.now_s)).status == "active"
    assert desk.breaches() == {}


def test_paying_a_debt_lifts_no_block_of_the_operator(desk: Desk) -> None:
    accrued(desk, "p1")
    desk.do(statements.close, Nothing(), id="anna:000001")
    desk.ledger.do(lambda db: store.block_account(db, "anna", True, desk.now_s))
    desk.do(statements.decline, StatementReason(), id="anna:000001")
    paid = StatementPayment(payment="pay1", amount_minor=130, currency="EUR")
    desk.do(statements.pay, paid, id="anna:000001")
    assert desk.ledger.ask(lambda db: store.account(db, "anna", desk.now_s)).status == "blocked"


def test_seller_is_paid_each_sale_once_and_a_returned_payout_can_be_sent_again(desk: Desk) -> None:
    for name in ("p1", "p2"):
        accrued(desk, name)
    gone = MicroRefundRequest(refund="r1", line_id="1", quantity=1)
    desk.do(micro_refunds.refund, gone, id="p1")
    wishes = [PayoutRequest(payout=f"o{i}", merchant="shop") for i in range(RACERS)]
    (made,), slugs = desk.race(payouts.make, wishes)
    assert set(slugs) == {"nothing-due"}
    assert [made[key] for key in ("gross_minor", "refunds_minor", "fee_minor", "net_minor")] == [
        260, 130, 29, 101,
    ]  # fmt: skip
    for signal in (PayoutSignal.SEND, PayoutSignal.RETURN, PayoutSignal.SEND, PayoutSignal.CONFIRM):
        desk.do(payouts.signalled(signal), Nothing(), id=made["payout"])
    assert (desk.balance("merchant_payable:shop"), desk.balance("fees")) == (0, 29)
    assert desk.balance("psp_clearing") == 101
    assert desk.breaches() == {}


def test_seller_that_buys_from_itself_and_lines_that_do_not_add_up_are_refused(desk: Desk) -> None:
    wrong = PurchaseRequest(capture="p1", purchase_lines=[coffee(1, 131)])
    bought(desk, "p1")
    assert desk.refused(statements.accrue, wrong) == "lines-do-not-add-up"
    desk.ledger.change("INSERT INTO merchant_insider VALUES ('shop', 'anna', 0)")
    wish = PurchaseRequest(capture="p1", purchase_lines=[coffee()])
    assert desk.refused(statements.accrue, wish) == "self-dealing"
    assert desk.breaches() == {}


def test_nightly_command_closes_every_statement_that_is_due(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    accrued(desk, "p1", coffee(5, 650))
    assert close_statements(desk.ledger.where, json_output=False) == 0
    assert "main: anna:000001: 650 EUR for anna: KIOSK-000001" in capsys.readouterr().out
    assert close_statements(desk.ledger.where, json_output=True) == 0
    assert json.loads(capsys.readouterr().out) == {"main": []}
    assert check(desk.ledger.where, json_output=True) == 0
    assert json.loads(capsys.readouterr().out)["breaches"] == {"main": {}}
    desk.ledger.change("UPDATE seller SET invoices = 7")
    assert check(desk.ledger.where, json_output=False) == 1
    assert "broken: main: statements: a seller's invoices" in capsys.readouterr().out


# --- VAT --------------------------------------------------------------------------------------

BASKET = st.lists(
    st.builds(
        GrossLine,
        name=st.just("x"),
        quantity=st.integers(1, 5),
        gross_minor=st.integers(0, 5_000),
        vat_bp=st.sampled_from([0, 250, 700, 1_900, 2_550]),
    ),
    min_size=1,
    max_size=40,
)


@given(lines=BASKET)
def test_vat_is_exact_lines_add_up_and_payable_is_the_gross(lines: list[GrossLine]) -> None:
    made = vat.amounts(lines, "EUR")
    assert made.payable_minor == sum(line.gross_minor for line in lines)
    assert made.payable_minor == made.net_minor + made.vat_minor + made.rounding_minor
    assert abs(made.rounding_minor) <= len(made.rates)
    assert sum(line.net_minor for line in made.lines) == made.net_minor
    for rate in made.rates:
        exact = rate.taxable_minor * rate.vat_bp / 10_000
        assert abs(rate.vat_minor - exact) <= 0.5


@given(line=BASKET.map(lambda lines: lines[0]), cut=st.integers(0, 5))
def test_pieces_of_a_line_add_up_to_it(line: GrossLine, cut: int) -> None:
    first = min(cut, line.quantity)
    parts = (
        invoices.pieces_of(line, 0, first),
        invoices.pieces_of(line, first, line.quantity - first),
    )
    assert sum(part.gross_minor for part in parts) == line.gross_minor


PLANTED = {
    "a purchase is in one statement of its buyer and at most one payout of its seller": (
        "micro_purchase", "UPDATE micro_purchase SET payout = 'nobody'",
    ),
    "a purchase is its capture, and its lines add up to it": (
        "micro_purchase", "UPDATE micro_purchase SET amount_minor = amount_minor + 1",
    ),
    "an issued statement is the sum of its purchases, and of its invoices": (
        "statement", "UPDATE statement SET total_minor = total_minor + 1",
    ),
    "a statement is paid in full, once, or given up by one journal": (
        "statement", "UPDATE statement SET state = 'written-off'",
    ),
    "a buyer owes what is not paid: gathered, or captured and not gathered yet": (
        "statement", "UPDATE statement SET state = 'dunning'",
    ),
    "a payout is its sales less refunds and fee": (
        "micro_payout", "UPDATE micro_payout SET fee_minor = fee_minor - 1",
    ),
    "a seller got what its sent payouts say": (
        "micro_payout", "UPDATE micro_payout SET state = 'sent'",
    ),
    "VAT is exact, to the minor unit": (
        "invoice_vat", "UPDATE invoice_vat SET vat_minor = vat_minor + 1",
    ),
    "an invoice adds up, and its rounding is a minor unit a rate at most": (
        "invoice", "UPDATE invoice SET rounding_minor = rounding_minor + 1",
    ),
    "a credit note is what came back of its invoice's purchase": (
        "micro_refund", "UPDATE micro_refund SET credit_note = 'KIOSK-000001'",
    ),
    "a seller's invoices are numbered without a gap": (
        "seller", "UPDATE seller SET invoices = invoices + 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_fault_in_a_statement_is_found(desk: Desk, name: str) -> None:
    _told(desk, name)


def test_planted_wrong_vat_is_found_on_both_databases(desk: Desk) -> None:
    _told(desk, "VAT is exact, to the minor unit")


def _told(desk: Desk, name: str) -> None:
    accrued(desk, "p1", coffee(), bun())
    desk.do(statements.close, Nothing(), id="anna:000001")
    paid = StatementPayment(payment="pay1", amount_minor=429, currency="EUR")
    desk.do(statements.pay, paid, id="anna:000001")
    desk.do(micro_refunds.refund, MicroRefundRequest(refund="r", line_id="2", quantity=1), id="p1")
    desk.do(payouts.make, PayoutRequest(payout="o", merchant="shop"))
    assert desk.breaches() == {}
    table, statement = PLANTED[name]
    if table in ("invoice", "invoice_vat"):
        desk.ledger.unprotected(table, statement)
    else:
        desk.ledger.change(statement)
    assert f"statements: {name}" in desk.breaches()
