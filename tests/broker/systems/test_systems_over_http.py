"""The systems' routes as a stranger, a merchant and a thief of the database meet them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from both_databases import Ledger, account_of, capture_of, hold_of
from desk import Desk
from running_broker import Broker

from broker import privacy, store
from broker.problems import ProblemError
from broker.routes import Call, Command, Route
from broker.systems import (
    associations_api,
    code_payments,
    item_stores_api,
    payment_codes,
    promotions_api,
    statements,
    statements_api,
    wallets,
    wallets_api,
)
from broker.systems.code_payments import TransactionRequest
from broker.systems.statement_types import PurchaseLine, PurchaseRequest

CARD = "4111111111111111"
TOPICS = (wallets_api, item_stores_api, promotions_api, statements_api, associations_api)
ROWS: tuple[Route, ...] = tuple(row for topic in TOPICS for row in topic.ROUTES)
MERCHANTS_OWN = {  # rows that look at the merchant themselves
    "POST /v1/payment-requests/reserve",
    "POST /v1/transactions",
    "GET /v1/transactions/{id}",
    "POST /v1/transactions/{id}/revoke",
    "POST /v1/transactions/{id}/refund",
    "POST /v1/redemptions/{id}/fulfil",
    "POST /v1/coupon-locks/{id}/commit",
    "POST /v1/micro-purchases",
    "GET /v1/micro-purchases/{id}",
    "GET /v1/sellers/{id}",
    "GET /v1/payouts/{id}",
    "PUT /v1/merchants/{id}/association-rule",
    "GET /v1/merchants/{id}/association-rule",
    "GET /v1/merchants/{id}/followers",
    "POST /v1/interactions",
}


def test_code_is_told_again_to_who_asks_again_and_stands_in_no_table(
    broker: Broker, databases: Any
) -> None:
    broker.post("/v1/wallets", {"wallet": "codes", "currency": "EUR"})
    money = {"topup": "codes-t", "amount_minor": 500, "currency": "EUR"}
    broker.post("/v1/wallets/codes/topups", money)
    wish = {"payment_request": "codes-p", "wallet": "codes", "max_amount_minor": 300}
    first = broker.post("/v1/payment-requests", wish, "codes-key")
    again = broker.post("/v1/payment-requests", wish, "codes-key")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json() == again.json()
    code = first.json()["code"]
    assert re.fullmatch(r"[A-Z2-7]{26}", code)
    assert broker.get("/v1/payment-requests/codes-p").json()["code"] == ""
    picture = broker.get("/v1/payment-requests/codes-p/qr")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in picture.content
    ledger = Ledger(broker.where())
    for table in ("answer", "payment_request", "audit"):
        assert code.encode() not in repr(ledger.rows(f"SELECT * FROM {table}")).encode()
    ledger.close()


def test_card_number_in_any_field_of_any_command_is_refused(broker: Broker) -> None:
    refused, forms = set[int](), itertools.cycle([CARD, [CARD], [{"gtin": CARD}], int(CARD)])
    headers = {
        "Authorization": f"Bearer {broker.key()}",
        "Idempotency-Key": "card",
        "If-Match": '"0"',
    }
    for row in ROWS:
        taken = row.takes.__dataclass_fields__ if isinstance(row, Command) else ()
        path = re.sub(r"{\w+}", "x", row.path)
        for name in taken:
            body = {name: next(forms)}
            reply = broker.session.request(
                row.method, broker.url + path, json=body, headers=headers, timeout=20
            )
            assert reply.json()["type"].endswith("/card-number"), (row.path, name)
            assert CARD not in reply.text
            refused.add(reply.status_code)
    assert refused == {422}
    assert CARD not in broker.log()


def test_bar_code_is_no_card_number_where_bar_codes_belong(broker: Broker) -> None:
    gtin = "4006381333023"  # passes the check digit of GTINs and that of card numbers
    for body, slug in (
        ({"redemption": "x", "lines": [{"gtin": gtin}]}, "invalid-body"),
        ({"redemption": gtin}, "card-number"),
    ):
        reply = broker.post("/v1/redemptions", body)
        assert reply.json()["type"].endswith(f"/{slug}"), reply.text


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    desk = Desk(ledger)
    desk.party = "other"
    return desk


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_merchants_key_is_refused_on_every_row_that_is_the_operators(desk: Desk) -> None:
    own = {f"{row.method} {row.path}" for row in ROWS} & MERCHANTS_OWN
    assert own == MERCHANTS_OWN
    call = desk.call(id="x", account="x", merchant="x")
    for row in ROWS:
        if f"{row.method} {row.path}" in MERCHANTS_OWN:
            continue
        with pytest.raises(ProblemError, match="merchants-key"):
            _use(desk, row, call)


def _use(desk: Desk, row: Route, call: Call) -> None:
    if isinstance(row, Command):
        desk.ledger.do(lambda db: row.effect(db, call, None))
    else:
        row.ask(call)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_merchant_sees_and_does_nothing_of_another(desk: Desk) -> None:
    desk.ledger.do(lambda db: store.open_account(db, account_of("anna"), desk.now_s))
    desk.ledger.do(lambda db: store.place_hold(db, hold_of("v", "anna", 100), desk.now_s))
    taken = capture_of("c", 100)
    desk.ledger.do(lambda db: store.capture_hold(db, "hold-v", taken, desk.now_s))
    line = PurchaseLine(line_id="1", name="x", quantity=1, gross_minor=100, vat_bp=0)
    theirs = PurchaseRequest(capture="c", purchase_lines=[line])
    assert desk.refused(statements.accrue, theirs) == "unknown-merchant"
    charge = TransactionRequest(
        transaction="t", code="A" * 26, merchant="shop", amount_minor=1, currency="EUR",
        purchase="p",
    )  # fmt: skip
    assert desk.refused(code_payments.charge, charge) == "unknown-merchant"
    rules = {f"{row.method} {row.path}": row for row in ROWS}
    for name in ("association-rule", "followers"):
        row = rules[f"GET /v1/merchants/{{id}}/{name}"]
        assert not isinstance(row, Command)
        with pytest.raises(ProblemError, match="unknown-merchant"):
            row.ask(desk.call(id="shop"))


def test_erasure_waits_for_prepaid_money_and_then_forgets_where_the_shopper_was(
    ledger: Ledger,
) -> None:
    desk = Desk(ledger)
    ledger.do(lambda db: store.open_account(db, account_of("anna"), desk.now_s))
    desk.do(wallets.open_wallet, wallets.WalletRequest(wallet="anna", currency="EUR"))
    paid = wallets.TopupRequest(topup="t", amount_minor=500, currency="EUR")
    desk.do(wallets.top_up, paid, id="anna")
    wish = payment_codes.PaymentCodeRequest(
        payment_request="p", wallet="anna", max_amount_minor=500
    )
    desk.do(payment_codes.issue, wish)
    code = desk.code(payment_codes.PURPOSE, "p")
    gate = payment_codes.ReserveRequest(code=code, merchant="shop", store="lab", visit="v")
    desk.do(payment_codes.reserve, gate)
    with pytest.raises(ProblemError, match="account-not-settled"):
        ledger.do(lambda db: privacy.erase(db, "anna", desk.now_s, "test"))
    charge = TransactionRequest(
        transaction="t", code=code, merchant="shop", amount_minor=500, currency="EUR", purchase="p"
    )
    desk.do(code_payments.charge, charge)
    shown = ledger.ask(lambda db: privacy.export(db, "anna"))["tables"]
    assert [row["amount_minor"] for row in shown["capture"]["rows"]] == [500]
    ledger.do(lambda db: privacy.erase(db, "anna", desk.now_s, "test"))
    assert ledger.rows("SELECT store, visit FROM hold") == [("erased", "erased")]
    assert desk.breaches() == {}
