"""System C: pieces of a small purchase that come back.

While its statement is open the refund makes the statement smaller. Once it is issued it never
changes: the refund goes back through the payment provider, and a credit note corrects the invoice.
"""

from __future__ import annotations

from broker import accounts, chart, ledger, store, store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import funds, invoices, statement_rows
from broker.systems.statement_rows import StatementRow
from broker.systems.statement_types import (
    MicroPurchase,
    MicroRefund,
    MicroRefundRequest,
    StatementState,
)
from broker.systems.vat import GrossLine
from messages.money import Money


async def refund(db: Transaction, call: Call, asked: MicroRefundRequest) -> Answer:
    """Give pieces of a line back.

    Raises:
        ProblemError: 404 without such a purchase or line, 409 while its statement closes, 422 for
            more pieces than are left.
    """
    purchase = await statement_rows.purchase_or_none(db, call.named)
    if purchase is None:
        raise ProblemError(404, "unknown-purchase", "no purchase of this capture")
    await store_rows.locked_account(db, purchase.account, call.now_s)
    known = await db.one(_REFUND, asked.refund)
    if known is not None:
        if known[1:4] != (call.named, asked.line_id, asked.quantity):
            raise funds.same_id_other_content("refund")
        return answer(201, _reply(known, purchase.currency), replayed=True)
    back = await _pieces(db, call.named, asked)
    row = await statement_rows.statement_row(db, purchase.statement)
    if row.state is StatementState.CLOSING:
        detail = "its statement is being issued: try again in a moment"
        raise ProblemError(409, "statement-closing", detail, headers={"Retry-After": "5"})
    if row.state is StatementState.OPEN:
        wish = store.RefundRequest(
            refund=asked.refund,
            amount_minor=back.gross_minor,
            currency=purchase.currency,
            reason=asked.reason,
        )
        await store.refund_capture(db, call.named, wish, call.now_s)
        return await _keep(db, call, asked, purchase, back.gross_minor, row.statement, None)
    note = await _after_issue(db, call, asked, purchase, row, back)
    return await _keep(db, call, asked, purchase, back.gross_minor, None, note)


async def _after_issue(
    db: Transaction,
    call: Call,
    asked: MicroRefundRequest,
    purchase: MicroPurchase,
    row: StatementRow,
    back: GrossLine,
) -> str:
    """All of it by the provider: the statement is collected in full. The credit note's number."""
    if await db.one("SELECT 1 FROM refund WHERE refund = $1", asked.refund) is not None:
        raise funds.same_id_other_content("refund")
    captured = ledger.Captured(
        account=chart.receivable(purchase.account),
        merchant=purchase.merchant,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        refunded_minor=await store_rows.refunded_minor(db, purchase.capture),
        owed_minor=0,
    )
    amount = Money(minor=back.gross_minor, currency=purchase.currency)
    journal = await accounts.post(db, ledger.refund(captured, asked.refund, amount, call.now_s))
    given = (asked.refund, purchase.capture, amount.minor, amount.currency, amount.minor)
    await db.run("INSERT INTO refund VALUES ($1, $2, $3, $4, $5, $6, $7)", *given, asked.reason,
                 journal)  # fmt: skip
    about = await invoices.of_purchase(db, purchase.statement, purchase.merchant)
    return await invoices.credit(db, row, about, back, call.now_s)


async def _pieces(db: Transaction, capture: str, asked: MicroRefundRequest) -> GrossLine:
    lines = {line.line_id: line for line in await statement_rows.lines(db, capture)}
    line = lines.get(asked.line_id)
    if line is None:
        raise ProblemError(404, "unknown-line", "the purchase has no such line", param="$.line_id")
    row = await db.one(_BACK, capture, asked.line_id)
    assert row is not None
    if row[0] + asked.quantity > line.quantity:
        detail = f"{line.quantity - row[0]} of the line are left to come back"
        raise ProblemError(422, "more-than-bought", detail, param="$.quantity")
    whole = GrossLine(
        name=line.name, quantity=line.quantity, gross_minor=line.gross_minor, vat_bp=line.vat_bp
    )
    back = invoices.pieces_of(whole, row[0], asked.quantity)
    if not back.gross_minor:
        raise ProblemError(422, "nothing-to-refund", "these pieces cost nothing")
    return back


async def _keep(
    db: Transaction,
    call: Call,
    asked: MicroRefundRequest,
    purchase: MicroPurchase,
    amount_minor: int,
    statement: str | None,
    note: str | None,
) -> Answer:
    what = (asked.refund, purchase.capture, asked.line_id, asked.quantity, amount_minor)
    await db.run(_INSERT, *what, statement, note, call.now_s)
    return answer(201, _reply((*what, note), purchase.currency))


def _reply(row: tuple[object, ...], currency: str) -> MicroRefund:
    refund, capture, _line, _quantity, amount_minor, note = row
    return MicroRefund(
        refund=str(refund),
        capture=str(capture),
        amount_minor=int(str(amount_minor)),
        currency=currency,
        credit_note=str(note) if note else "",
    )


_REFUND = (
    "SELECT refund, capture, line_id, quantity, amount_minor, credit_note FROM micro_refund"
    " WHERE refund = $1"
)
_BACK = (
    "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) FROM micro_refund"
    " WHERE capture = $1 AND line_id = $2"
)
_INSERT = "INSERT INTO micro_refund VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8)"
