"""System C: small purchases of a buyer are gathered into statements, each charged once.

A captured visit of a buyer goes, with its lines, into the buyer's one open statement. The statement
closes by amount, by age, when it is full, or when it is asked to; what comes later goes into the
next. Closing and issuing are two transactions, so that a crash between them loses nothing: a closed
statement takes no more, an issued one never changes. What is collected for it is its total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from broker import chart, store, store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import funds, invoices, micro_parties, statement_rows
from broker.systems.merchants import check_party
from broker.systems.statement_rows import StatementRow
from broker.systems.statement_types import (
    STATEMENT_STATES,
    MicroPurchase,
    PurchaseLine,
    PurchaseRequest,
    Statement,
    StatementPage,
    StatementPayment,
    StatementReason,
    StatementSignal,
    StatementState,
)
from broker.systems.states import advance
from messages.contract import Capture
from messages.money import Money

PURCHASES_MAX = 500  # of a statement: its invoice stays readable
CLOSED_AT_ONCE = 200  # statements a run of the command takes at a time


# --- effects: gathering -----------------------------------------------------------------------


async def accrue(db: Transaction, call: Call, asked: PurchaseRequest) -> Answer:
    """A captured visit goes into its buyer's open statement, once.

    Raises:
        ProblemError: 404 without such a capture, buyer or seller; 409 when buyer and seller are
            one; 422 for lines that do not add up.
    """
    captured = await store_rows.capture_or_none(db, asked.capture)
    if captured is None:
        raise ProblemError(404, "unknown-capture", "no capture has this id")
    check_party(call, captured.merchant)
    buyer = await micro_parties.buyer(db, call, captured.account)
    await store_rows.locked_account(db, buyer.account, call.now_s)
    known = await statement_rows.purchase_or_none(db, asked.capture)
    if known is not None:
        if await statement_rows.lines(db, asked.capture) != asked.purchase_lines:
            raise funds.same_id_other_content("purchase")
        return answer(201, known, replayed=True)
    await _check(db, captured, asked.purchase_lines)
    statement = await _open_statement(db, buyer, call.now_s)
    row = (asked.capture, captured.account, captured.merchant, statement.statement)
    await db.run(_PURCHASE, *row, captured.amount_minor, captured.currency, call.now_s)
    rows = [
        (asked.capture, place, *astuple(line)) for place, line in enumerate(asked.purchase_lines)
    ]
    await db.many("INSERT INTO micro_line VALUES ($1, $2, $3, $4, $5, $6, $7)", rows)
    done = await statement_rows.purchase_or_none(db, asked.capture)
    assert done is not None
    return answer(201, done)


async def _check(db: Transaction, captured: Capture, lines: Sequence[PurchaseLine]) -> None:
    seller = await micro_parties.seller(db, captured.merchant)
    if sum(line.gross_minor for line in lines) != captured.amount_minor:
        detail = f"the lines do not add up to the {captured.amount_minor} captured"
        raise ProblemError(422, "lines-do-not-add-up", detail, param="$.purchase_lines")
    if len({line.line_id for line in lines}) != len(lines):
        raise ProblemError(422, "line-twice", "a line_id comes twice", param="$.purchase_lines")
    if seller.currency != captured.currency:
        raise ProblemError(422, "currency-mismatch", f"the seller is paid in {seller.currency}")
    if await statement_rows.is_insider(db, captured.merchant, captured.account):
        raise ProblemError(409, "self-dealing", "the buyer belongs to the seller: look into it")


async def _open_statement(db: Transaction, buyer: micro_parties.Buyer, now_s: int) -> StatementRow:
    """The buyer's open one, a new one when there is none or it is full."""
    known = await statement_rows.open_of(db, buyer.account)
    if known is not None and await statement_rows.count(db, known.statement) < PURCHASES_MAX:
        return known
    if known is not None:
        await _advance(db, known, StatementSignal.CLOSE)
    return await statement_rows.insert(db, buyer.account, buyer.currency, now_s)


# --- effects: closing, issuing, collecting ----------------------------------------------------


async def close(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Close and issue by hand."""
    row = await _locked(db, call.named, call.now_s)
    if row.state is StatementState.OPEN:
        row = await _advance(db, row, StatementSignal.CLOSE)
    if row.state is StatementState.CLOSING:
        row = await issue(db, row, call.now_s)
    return answer(200, await statement_rows.reply(db, row))


async def close_due(db: Transaction, now_s: int, most: int = CLOSED_AT_ONCE) -> list[str]:
    """Those that are due by their buyers' rules take no more; their ids."""
    due = await statement_rows.due(db, now_s, most)
    for name in due:
        row = await _locked(db, name, now_s)
        if row.state is StatementState.OPEN:
            await _advance(db, row, StatementSignal.CLOSE)
    return due


async def issue_closed(db: Transaction, now_s: int, most: int = CLOSED_AT_ONCE) -> list[Statement]:
    """Number and invoice what is closed, also after a crash; the statements."""
    done = list[Statement]()
    for name in await statement_rows.closing(db, most):
        row = await _locked(db, name, now_s)
        if row.state is StatementState.CLOSING:
            done.append(await statement_rows.reply(db, await issue(db, row, now_s)))
    return done


async def issue(db: Transaction, row: StatementRow, now_s: int) -> StatementRow:
    """Fix the total and write an invoice for each seller; nothing to pay is paid."""
    total_minor = await statement_rows.total(db, row.statement)
    await statement_rows.fix_total(db, row.statement, total_minor, now_s)
    await invoices.of_statement(db, row, now_s)
    issued = await _advance(db, row, StatementSignal.ISSUE)
    return issued if total_minor else await _advance(db, issued, StatementSignal.PAY)


async def pay(db: Transaction, call: Call, asked: StatementPayment) -> Answer:
    """The provider collected; a debtor who pays all is let in again.

    Raises:
        ProblemError: 409 when it is not due, 422 for another amount than what is.
    """
    row = await _locked(db, call.named, call.now_s)
    due_minor = await statement_rows.due_minor(db, row.statement)
    if (asked.amount_minor, asked.currency) != (due_minor, row.currency):
        detail = f"{due_minor} {row.currency} are due, to be paid in one"
        raise ProblemError(422, "not-the-total", detail, param="$.amount_minor")
    if row.state is StatementState.PAID and row.payment == asked.payment:
        return answer(200, await statement_rows.reply(db, row), replayed=True)
    after = await _advance(db, row, StatementSignal.PAY)
    wish = store.PaymentRequest(
        payment=asked.payment,
        account=row.account,
        amount_minor=asked.amount_minor,
        currency=asked.currency,
    )
    await store.record_payment(db, wish, call.now_s)
    await db.run(_PAID_BY, row.statement, asked.payment)
    await let_in_again(db, row.account, call.now_s)
    return answer(200, await statement_rows.reply(db, after))


async def decline(db: Transaction, call: Call, _: StatementReason) -> Answer:
    """The card is dead or refused: a debt, and no gate opens for it until it is paid."""
    row = await _locked(db, call.named, call.now_s)
    after = await _advance(db, row, StatementSignal.DECLINE)
    if not (await store_rows.account_state(db, row.account, call.now_s)).blocked:
        await statement_rows.block(db, row.statement)
        await store.block_account(db, row.account, True, call.now_s)
    return answer(200, await statement_rows.reply(db, after))


async def set_off(db: Transaction, row: StatementRow, now_s: int) -> None:
    """After a refund that made a debt smaller: one that is gone is paid."""
    if not await statement_rows.due_minor(db, row.statement):
        await _advance(db, row, StatementSignal.PAY)
        await let_in_again(db, row.account, now_s)


async def let_in_again(db: Transaction, account: str, now_s: int) -> None:
    """Unblock who was blocked for debts and has none left; not whom the operator blocked."""
    if await statement_rows.unblock(db, account):
        await store.block_account(db, account, False, now_s)


async def write_off(db: Transaction, call: Call, _: StatementReason) -> Answer:
    """Give a debt up: it is our loss, not the sellers'. The account stays blocked."""
    row = await _locked(db, call.named, call.now_s)
    after = await _advance(db, row, StatementSignal.WRITE_OFF)
    due_minor = await statement_rows.due_minor(db, row.statement)
    amount = Money(minor=due_minor, currency=row.currency)
    debtor = chart.receivable(row.account)
    await funds.move(db, "write-off", row.statement, "bad_debt", debtor, amount, call.now_s)
    return answer(200, await statement_rows.reply(db, after))


# --- questions --------------------------------------------------------------------------------


async def statement(db: Transaction, call: Call, name: str) -> Statement:
    """A statement with its purchases and invoices; raises ProblemError 404."""
    return await statement_rows.reply(db, await statement_rows.statement_row(db, name))


async def of_buyer(db: Transaction, call: Call, name: str, after: str, limit: int) -> StatementPage:
    """A buyer's statements, oldest first; raises ProblemError 404."""
    await micro_parties.buyer(db, call, name)
    return await _page(db, name, after, limit)


async def of_everybody(db: Transaction, after: str, limit: int) -> StatementPage:
    """For the operator."""
    return await _page(db, "", after, limit)


async def _page(db: Transaction, account: str, after: str, limit: int) -> StatementPage:
    rows = await statement_rows.page(db, account, after, limit + 1)
    found = [await statement_rows.reply(db, row) for row in rows[:limit]]
    last = found[-1].statement if found else after
    return StatementPage(statements=found, after=last, more=len(rows) > limit)


async def purchase(db: Transaction, call: Call, name: str) -> MicroPurchase:
    """Raises ProblemError 404."""
    found = await statement_rows.purchase_or_none(db, name)
    if found is None:
        raise ProblemError(404, "unknown-purchase", "no purchase of this capture")
    check_party(call, found.merchant)
    return found


# --- helpers ----------------------------------------------------------------------------------


async def _locked(db: Transaction, name: str, now_s: int) -> StatementRow:
    """The statement once no other transaction has its buyer's account."""
    row = await statement_rows.statement_row(db, name)
    await store_rows.locked_account(db, row.account, now_s)
    return await statement_rows.statement_row(db, name)


async def _advance(db: Transaction, row: StatementRow, signal: StatementSignal) -> StatementRow:
    after = advance(STATEMENT_STATES, row.state, signal, "statement")
    return await statement_rows.set_state(db, row, after)


_PURCHASE = "INSERT INTO micro_purchase VALUES ($1, $2, $3, $4, $5, $6, NULL, $7)"
_PAID_BY = "UPDATE statement SET payment = $2 WHERE statement = $1"
