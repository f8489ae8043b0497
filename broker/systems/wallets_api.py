"""Routes of system I: wallets, one-time codes, transactions, gifts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi, web
from broker.database import Transaction
from broker.routes import PAGE, AtOnce, Call, Command, Nothing, Question, Route
from broker.systems import code_payments, funds, gifts, parties, payment_codes, qr, wallets
from broker.systems.secret_codes import CODE, CodeCommand
from broker.systems.wallets import WalletSignal
from broker.validation import AMOUNT, ID, NOT_NEGATIVE, PRINTED, Text, also

also(
    {
        "wallet": ID,
        "topup": ID,
        "payout": ID,
        "payment_request": ID,
        "transaction": ID,
        "gift": ID,
        "code": CODE,
        "confirm_above_minor": NOT_NEGATIVE,
        "balance_max_minor": AMOUNT,
        "max_amount_minor": AMOUNT,
        "note": PRINTED,
        "only_merchant": PRINTED,
        "contact": Text(r"[^\x00-\x1f\x7f]*", 200),
    }
)


def _entries(call: Call) -> Callable[[Transaction], Awaitable[wallets.EntryPage]]:
    after = web.query_counter(call.query, "after", 0)
    limit = max(1, web.query_counter(call.query, "limit", PAGE, wallets.ENTRIES_PAGE_MAX))
    return lambda db: wallets.entries(db, call, call.named, after, limit)


def _status(verb: WalletSignal) -> Command:
    return Command(
        path=f"/v1/wallets/{{id}}/{verb.value}",
        scope="admin",
        takes=Nothing,
        gives=wallets.Wallet,
        status=200,
        effect=wallets.signalled(verb),
    )


_ROWS: tuple[Route, ...] = (
    Command(
        path="/v1/wallets",
        scope="accounts",
        takes=wallets.WalletRequest,
        gives=wallets.Wallet,
        effect=wallets.open_wallet,
    ),
    Question(
        path="/v1/wallets/{id}",
        scope="accounts",
        gives=wallets.Wallet,
        ask=lambda call: lambda db: wallets.wallet(db, call, call.named),
    ),
    Question(
        path="/v1/wallets/{id}/entries",
        scope="accounts",
        gives=wallets.EntryPage,
        ask=_entries,
        query=(openapi.whole("after", 0, 2**53 - 1), openapi.LIMIT),
    ),
    *(_status(verb) for verb in WalletSignal),
    Command(
        path="/v1/wallets/{id}/topups",
        scope="admin",
        takes=wallets.TopupRequest,
        gives=wallets.Topup,
        effect=wallets.top_up,
    ),
    Command(
        path="/v1/wallets/{id}/payouts",
        scope="admin",
        takes=wallets.WalletPayoutRequest,
        gives=wallets.WalletPayout,
        effect=wallets.pay_out,
    ),
    CodeCommand(
        path="/v1/payment-requests",
        scope="accounts",
        takes=payment_codes.PaymentCodeRequest,
        gives=payment_codes.PaymentCode,
        effect=payment_codes.issue,
        purpose=payment_codes.PURPOSE,
        names="payment_request",
        at_once=AtOnce(function="show_code", given="currency", values=payment_codes.issue_at_once),
    ),
    Command(
        path="/v1/payment-requests/reserve",
        scope="holds",
        takes=payment_codes.ReserveRequest,
        gives=payment_codes.PaymentCode,
        status=200,
        effect=payment_codes.reserve,
    ),
    Question(
        path="/v1/payment-requests/{id}",
        scope="accounts",
        gives=payment_codes.PaymentCode,
        ask=lambda call: lambda db: payment_codes.payment_code(db, call, call.named),
    ),
    qr.Picture(
        path="/v1/payment-requests/{id}/qr",
        scope="accounts",
        gives=qr.Svg,
        ask=lambda call: lambda db: qr.of_payment_code(db, call),
    ),
    Command(
        path="/v1/payment-requests/{id}/cancel",
        scope="accounts",
        takes=Nothing,
        gives=payment_codes.PaymentCode,
        status=200,
        effect=payment_codes.cancel_asked,
    ),
    Command(
        path="/v1/transactions",
        scope="captures",
        takes=code_payments.TransactionRequest,
        gives=code_payments.CodePayment,
        effect=code_payments.charge,
        at_once=AtOnce(
            function="pay_code", given="payment_request", values=code_payments.charge_at_once
        ),
    ),
    Question(
        path="/v1/transactions/{id}",
        scope="captures",
        gives=code_payments.CodePayment,
        ask=lambda call: lambda db: code_payments.transaction(db, call, call.named),
    ),
    Command(
        path="/v1/transactions/{id}/confirm",
        scope="accounts",
        takes=code_payments.ConfirmRequest,
        gives=code_payments.CodePayment,
        status=200,
        effect=code_payments.confirm,
    ),
    Command(
        path="/v1/transactions/{id}/revoke",
        scope="captures",
        takes=Nothing,
        gives=code_payments.CodePayment,
        status=200,
        effect=code_payments.revoke,
    ),
    Command(
        path="/v1/transactions/{id}/refund",
        scope="captures",
        takes=code_payments.CodeRefundRequest,
        gives=funds.Given,
        effect=code_payments.refund,
    ),
    CodeCommand(
        path="/v1/prepay-messages",
        scope="accounts",
        takes=gifts.GiftRequest,
        gives=gifts.Gift,
        effect=gifts.send,
        purpose=gifts.PURPOSE,
        names="gift",
    ),
    Command(
        path="/v1/prepay-messages/claim",
        scope="accounts",
        takes=gifts.GiftClaim,
        gives=gifts.Gift,
        status=200,
        effect=gifts.claim,
    ),
    Question(
        path="/v1/prepay-messages/{id}",
        scope="accounts",
        gives=gifts.Gift,
        ask=lambda call: lambda db: gifts.gift(db, call, call.named),
    ),
    Command(
        path="/v1/prepay-messages/{id}/revoke",
        scope="accounts",
        takes=Nothing,
        gives=gifts.Gift,
        status=200,
        effect=gifts.revoke,
    ),
)

ROUTES = parties.operators(
    _ROWS,
    but=(
        "POST /v1/payment-requests/reserve",
        "POST /v1/transactions",
        "GET /v1/transactions/{id}",
        "POST /v1/transactions/{id}/revoke",
        "POST /v1/transactions/{id}/refund",
    ),
)
