"""Routes of system C: buyers, sellers, small purchases, statements, invoices, payouts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi
from broker.database import Transaction
from broker.routes import Call, Command, Nothing, Question, Route
from broker.systems import (
    invoices,
    merchants,
    micro_parties,
    micro_refunds,
    parties,
    payouts,
    qr,
    statements,
)
from broker.systems import statement_types as types
from broker.validation import AMOUNT, ID, NAMED, NOT_NEGATIVE, PRINTED, Listed, Text, Whole, also

LINES_OF_PURCHASE_MAX = 100

also(
    {
        "payout": ID,
        "payout_ref": NAMED,
        "invoice_prefix": Text(r"[A-Z][A-Z0-9-]{1,15}", 16),
        "close_minor": AMOUNT,
        "close_after_days": Whole(1, 90),
        "fee_bp": Whole(0, 5_000),
        "fee_minor": NOT_NEGATIVE,
        "name": NAMED,
        "street": PRINTED,
        "city": PRINTED,
        "postcode": Text(r"[A-Za-z0-9 -]*", 16),
        "country": Text(r"[A-Z]{2}", 2),
        "vat_id": Text(r"([A-Z]{2}[A-Z0-9+*.]{2,15})?", 17),
        "purchase_lines": Listed(LINES_OF_PURCHASE_MAX, least=1),
        "line_id": ID,
        "gross_minor": NOT_NEGATIVE,
        "vat_bp": Whole(0, 5_000),
    }
)


def _statements(call: Call) -> Callable[[Transaction], Awaitable[types.StatementPage]]:
    after, limit = call.page()
    return lambda db: statements.of_buyer(db, call, call.named, after, limit)


def _every_statement(call: Call) -> Callable[[Transaction], Awaitable[types.StatementPage]]:
    after, limit = call.page()
    return lambda db: statements.of_everybody(db, after, limit)


def _seller(call: Call) -> Callable[[Transaction], Awaitable[micro_parties.Seller]]:
    merchants.check_party(call, call.named)
    return lambda db: micro_parties.seller(db, call.named)


def _payout(verb: payouts.PayoutSignal) -> Command:
    return Command(
        path=f"/v1/payouts/{{id}}/{verb.value}",
        scope="admin",
        takes=Nothing,
        gives=payouts.Payout,
        status=200,
        effect=payouts.signalled(verb),
    )


_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/buyers",
        scope="admin",
        takes=micro_parties.BuyerRequest,
        gives=micro_parties.Buyer,
        effect=micro_parties.register_buyer,
    ),
    Question(
        path="/v1/buyers/{id}",
        scope="admin",
        gives=micro_parties.Buyer,
        ask=lambda call: lambda db: micro_parties.buyer(db, call, call.named),
    ),
    Question(
        path="/v1/buyers/{id}/statements",
        scope="admin",
        gives=types.StatementPage,
        ask=_statements,
        query=openapi.PAGED,
    ),
    Command(
        path="/v1/sellers",
        scope="admin",
        takes=micro_parties.SellerRequest,
        gives=micro_parties.Seller,
        effect=micro_parties.register_seller,
    ),
    Question(
        path="/v1/sellers/{id}",
        scope="admin",
        gives=micro_parties.Seller,
        ask=_seller,
    ),
    Command(
        path="/v1/micro-purchases",
        scope="captures",
        takes=types.PurchaseRequest,
        gives=types.MicroPurchase,
        effect=statements.accrue,
    ),
    Question(
        path="/v1/micro-purchases/{id}",
        scope="captures",
        gives=types.MicroPurchase,
        ask=lambda call: lambda db: statements.purchase(db, call, call.named),
    ),
    Command(
        path="/v1/micro-purchases/{id}/refunds",
        scope="admin",
        takes=types.MicroRefundRequest,
        gives=types.MicroRefund,
        effect=micro_refunds.refund,
    ),
    Question(
        path="/v1/statements",
        scope="admin",
        gives=types.StatementPage,
        ask=_every_statement,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/statements/{id}",
        scope="admin",
        gives=types.Statement,
        ask=lambda call: lambda db: statements.statement(db, call, call.named),
    ),
    Command(
        path="/v1/statements/{id}/close",
        scope="admin",
        takes=Nothing,
        gives=types.Statement,
        status=200,
        effect=statements.close,
    ),
    Command(
        path="/v1/statements/{id}/payments",
        scope="admin",
        takes=types.StatementPayment,
        gives=types.Statement,
        status=200,
        effect=statements.pay,
    ),
    Command(
        path="/v1/statements/{id}/decline",
        scope="admin",
        takes=types.StatementReason,
        gives=types.Statement,
        status=200,
        effect=statements.decline,
    ),
    Command(
        path="/v1/statements/{id}/write-off",
        scope="admin",
        takes=types.StatementReason,
        gives=types.Statement,
        status=200,
        effect=statements.write_off,
    ),
    Question(
        path="/v1/invoices/{id}",
        scope="admin",
        gives=invoices.Invoice,
        ask=lambda call: lambda db: invoices.invoice(db, call, call.named),
    ),
    qr.Picture(
        path="/v1/invoices/{id}/ubl",
        scope="admin",
        gives=qr.Svg,
        ask=lambda call: lambda db: invoices.as_ubl(db, call),
        media_type=invoices.XML,
    ),
    Command(
        path="/v1/payouts",
        scope="admin",
        takes=payouts.PayoutRequest,
        gives=payouts.Payout,
        effect=payouts.make,
    ),
    Question(
        path="/v1/payouts/{id}",
        scope="admin",
        gives=payouts.Payout,
        ask=lambda call: lambda db: payouts.shown(db, call),
    ),
    *(_payout(verb) for verb in payouts.PayoutSignal),
)

ROUTES = parties.operators(
    _ROWS,
    but=(
        "POST /v1/micro-purchases",
        "GET /v1/micro-purchases/{id}",
        "GET /v1/sellers/{id}",
        "GET /v1/payouts/{id}",
    ),
)
