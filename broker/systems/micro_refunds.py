"""System C: pieces of a small purchase that come back.

While its statement is open the refund makes the statement smaller. An issued one never changes: a
credit note corrects the invoice, and the money goes back through the provider when it was
collected, or is set off against the debt when it was declined; in between one has to wait.
"""

from __future__ import annotations

from broker import accounts, chart, ledger, store, store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import funds, invoices, statement_rows, statements
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
        ProblemError: 404 without such a purchase or line, 409 while its statement is collected,
            422 for more pieces than are left.
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
    _check_state(row.state)
    if row.state is StatementState.PAID:
        await _by_provider(db, call, asked, purchase, back)
    else:
        await _off_the_debt(db, call, asked, purchase, back)
    done = await _keep(db, call, asked, purchase, row, back)
    if row.state is StatementState.DUNNING:
        await statements.set_off(db, row, call.now_s)
    return done


def _check_state(state: StatementState) -> None:
    """Raises ProblemError 409 where nobody knows yet, or any more, against what to set it off."""
    if state in (StatementState.CLOSING, StatementState.ISSUED):
        detail = "its statement is being collected: try again when it is paid or declined"
        raise ProblemError(409, "statement-in-collection", detail, headers={"Retry-After": "60"})
    if state is StatementState.WRITTEN_OFF:
        raise ProblemError(409, "wrong-state", "its debt was given up: nothing is to be given back")


async def _off_the_debt(
    db: Transaction,
    call: Call,
    asked: MicroRefundRequest,
    purchase: MicroPurchase,
    back: GrossLine,
) -> None:
    wish = store.RefundRequest(
        refund=asked.refund,
        amount_minor=back.gross_minor,
        currency=purchase.currency,
        reason=asked.reason,
    )
    await store.refund_capture(db, purchase.capture, wish, call.now_s)


async def _by_provider(
    db: Transaction,
    call: Call,
    asked: MicroRefundRequest,
    purchase: MicroPurchase,
    back: GrossLine,
) -> None:
    """What was collected goes back the way it came."""
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
    row: StatementRow,
    back: GrossLine,
) -> Answer:
    """Note it, with a credit note where the purchase was invoiced already."""
    is_open = row.state is StatementState.OPEN
    note = None
    if not is_open:
        about = await invoices.of_purchase(db, purchase.statement, purchase.merchant)
        note = await invoices.credit(db, row, about, back, call.now_s)
    what = (asked.refund, purchase.capture, asked.line_id, asked.quantity, back.gross_minor)
    set_off = row.statement if row.state is StatementState.DUNNING else None
    where = (row.statement if is_open else None, note, set_off)
    await db.run(_INSERT, *what, *where, call.now_s)
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
_INSERT = "INSERT INTO micro_refund VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9)"
