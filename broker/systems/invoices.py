"""System C: invoices and credit notes, one for each seller in a statement, never changed.

An invoice holds what its purchases' lines cost when the statement was issued; a credit note what
came back later. Both are numbered by their seller without a gap and kept as UBL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from broker.credentials import rfc3339
from broker.database import Transaction
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import micro_parties, ubl
from broker.systems.goods import equal_parts
from broker.systems.micro_parties import Party
from broker.systems.qr import Svg
from broker.systems.statement_rows import StatementRow
from broker.systems.ubl import Document
from broker.systems.vat import Amounts, GrossLine, amounts

XML = "application/xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """``about``: the invoice that a credit note corrects, else ""."""

    invoice: str
    merchant: str
    account: str
    statement: str
    about: str
    currency: str
    net_minor: int
    vat_minor: int
    rounding_minor: int
    payable_minor: int


async def of_statement(db: Transaction, row: StatementRow, now_s: int) -> None:
    """An invoice for each seller whose goods are still in the statement."""
    for (merchant,) in await db.all(_SELLERS, row.statement):
        lines = [
            left
            for line in await db.all(_LINES, row.statement, merchant)
            if (left := _left(line)).quantity
        ]
        if lines:
            await _write(db, row, merchant, lines, now_s)


async def credit(
    db: Transaction, row: StatementRow, about: str, line: GrossLine, now_s: int
) -> str:
    """A credit note on an invoice; its number."""
    known = await db.one(_INVOICE, about)
    assert known is not None
    return await _write(db, row, known[1], [line], now_s, about=about)


async def of_purchase(db: Transaction, statement: str, merchant: str) -> str:
    """The number of the invoice that a purchase of the seller in a statement is on."""
    row = await db.one(_ABOUT, statement, merchant)
    assert row is not None
    return str(row[0])


async def invoice(db: Transaction, call: Call, name: str) -> Invoice:
    """Raises ProblemError 404."""
    row = await db.one(_INVOICE, name)
    if row is None:
        raise _unknown()
    return Invoice(
        invoice=row[0],
        merchant=row[1],
        account=row[2],
        statement=row[3],
        about=row[4] or "",
        currency=row[5],
        net_minor=row[6],
        vat_minor=row[7],
        rounding_minor=row[8],
        payable_minor=row[9],
    )


async def as_ubl(db: Transaction, call: Call) -> Svg:
    """The document itself."""
    row = await db.one("SELECT ubl FROM invoice WHERE invoice = $1", call.named)
    if row is None:
        raise _unknown()
    return Svg(picture=str(row[0]).encode())


def pieces_of(line: GrossLine, first: int, pieces: int) -> GrossLine:
    """Some pieces of a line, from the first one on; all of them add up to it."""
    parts = equal_parts(line.gross_minor, line.quantity)
    return GrossLine(
        name=line.name,
        quantity=pieces,
        gross_minor=sum(parts[first : first + pieces]),
        vat_bp=line.vat_bp,
    )


def _left(row: tuple[object, ...]) -> GrossLine:
    """A line without the pieces that came back before the statement was issued."""
    name, quantity, gross_minor, vat_bp, returned = row
    line = GrossLine(
        name=str(name),
        quantity=int(str(quantity)),
        gross_minor=int(str(gross_minor)),
        vat_bp=int(str(vat_bp)),
    )
    back = int(str(returned))
    return pieces_of(line, back, line.quantity - back) if back else line


async def _write(
    db: Transaction,
    row: StatementRow,
    merchant: str,
    lines: Sequence[GrossLine],
    now_s: int,
    about: str = "",
) -> str:
    number = await micro_parties.next_invoice(db, merchant)
    document = Document(
        number=number,
        issued_on=rfc3339(now_s)[:10],
        currency=row.currency,
        seller=(await micro_parties.seller(db, merchant)).invoice_from,
        buyer=await _invoice_to(db, row.account),
        amounts=amounts(lines, row.currency),
        note=f"Charged to the stored account by statement {row.statement}",
        about=about,
        about_issued_on=await _issued_on(db, about),
    )
    await _keep(db, row, merchant, document, now_s)
    return number


async def _keep(
    db: Transaction, row: StatementRow, merchant: str, document: Document, now_s: int
) -> None:
    made: Amounts = document.amounts
    who = (document.number, merchant, row.account, row.statement, document.about or None)
    money = (made.net_minor, made.vat_minor, made.rounding_minor, made.payable_minor)
    await db.run(_INSERT, *who, row.currency, *money, now_s, ubl.write(document))
    rates = [
        (document.number, rate.vat_bp, rate.taxable_minor, rate.vat_minor) for rate in made.rates
    ]
    await db.many("INSERT INTO invoice_vat VALUES ($1, $2, $3, $4)", rates)


async def _invoice_to(db: Transaction, account: str) -> Party:
    row = await db.one("SELECT invoice_to FROM buyer WHERE account = $1", account)
    assert row is not None
    return Party(**json.loads(row[0]))


async def _issued_on(db: Transaction, about: str) -> str:
    row = await db.one("SELECT issued_s FROM invoice WHERE invoice = $1", about)
    return "" if row is None else rfc3339(row[0])[:10]


def _unknown() -> ProblemError:
    return ProblemError(404, "unknown-invoice", "no invoice has this number")


_SELLERS = "SELECT DISTINCT merchant FROM micro_purchase WHERE statement = $1 ORDER BY merchant"
_LINES = """
SELECT l.name, l.quantity, l.gross_minor, l.vat_bp, CAST((SELECT COALESCE(SUM(r.quantity), 0)
    FROM micro_refund r WHERE r.capture = l.capture AND r.line_id = l.line_id) AS BIGINT)
FROM micro_line l JOIN micro_purchase p ON p.capture = l.capture
WHERE p.statement = $1 AND p.merchant = $2 ORDER BY p.accrued_s, p.capture, l.place
"""
_INVOICE = (
    "SELECT invoice, merchant, account, statement, about, currency, net_minor, vat_minor,"
    " rounding_minor, payable_minor FROM invoice WHERE invoice = $1"
)
_ABOUT = "SELECT invoice FROM invoice WHERE statement = $1 AND merchant = $2 AND about IS NULL"
_INSERT = "INSERT INTO invoice VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
