"""System C, who takes part: buyers with their close rule, sellers with their terms.

A buyer is a shopper's account; what it may owe is the account's limit, which the gate asks before
it opens. A seller is a merchant; its invoices are numbered one after another.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from broker import store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import funds

CLOSE_MINOR = 1_000  # ten euro: fees of a card charge are then some four percent
CLOSE_AFTER_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A name and an address as EN 16931 wants them; ``vat_id`` "" of who has none."""

    name: str
    country: str
    street: str = ""
    city: str = ""
    postcode: str = ""
    vat_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerRequest:
    """POST /v1/buyers: gather an account's purchases; a statement closes by amount or by age."""

    account: str
    invoice_to: Party
    close_minor: int = CLOSE_MINOR
    close_after_days: int = CLOSE_AFTER_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """``exposure_max_minor``: the account's limit; ``owed_minor`` never exceeds it."""

    account: str
    currency: str
    close_minor: int
    close_after_days: int
    exposure_max_minor: int
    owed_minor: int
    invoice_to: Party


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerRequest:
    """POST /v1/sellers. ``invoice_prefix``: of its invoice numbers, its own."""

    merchant: str
    currency: str
    payout_ref: str
    invoice_prefix: str
    invoice_from: Party
    fee_bp: int = 0
    fee_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """``fee_bp``: hundredths of a percent of what it sells; ``fee_minor``: a payout."""

    merchant: str
    currency: str
    invoice_prefix: str
    fee_bp: int
    fee_minor: int
    invoice_from: Party


async def register_buyer(db: Transaction, call: Call, asked: BuyerRequest) -> Answer:
    """An account whose purchases are gathered from now on; raises ProblemError 404."""
    state = await store_rows.locked_account(db, asked.account, call.now_s)
    text = json.dumps(asdict(asked.invoice_to), sort_keys=True)
    given = (asked.close_minor, asked.close_after_days, text)
    known = await db.one(_BUYER, asked.account)
    if known is not None:
        if known[2:] != given:
            raise funds.same_id_other_content("buyer")
        return answer(201, await buyer(db, call, asked.account), replayed=True)
    await db.run(_NEW_BUYER, asked.account, state.currency, *given, call.now_s)
    return answer(201, await buyer(db, call, asked.account))


async def register_seller(db: Transaction, call: Call, asked: SellerRequest) -> Answer:
    """A merchant that is paid out; VAT on invoices needs a VAT id, so a seller has one."""
    if not asked.invoice_from.vat_id:
        detail = "an invoice with VAT needs the seller's VAT id"
        raise ProblemError(422, "vat-id-needed", detail, param="$.invoice_from.vat_id")
    text = json.dumps(asdict(asked.invoice_from), sort_keys=True)
    given = (asked.currency, asked.payout_ref, asked.invoice_prefix, text)
    known = await db.one(_SELLER, asked.merchant)
    if known is not None:
        if known[1:7] != (*given, asked.fee_bp, asked.fee_minor):
            raise funds.same_id_other_content("seller")
        return answer(201, await seller(db, asked.merchant), replayed=True)
    if await db.one("SELECT 1 FROM seller WHERE invoice_prefix = $1", asked.invoice_prefix):
        detail = "another seller numbers its invoices so"
        raise ProblemError(409, "prefix-taken", detail, param="$.invoice_prefix")
    fees = (asked.fee_bp, asked.fee_minor)
    await db.run(_NEW_SELLER, asked.merchant, *given, *fees, call.now_s)
    return answer(201, await seller(db, asked.merchant))


async def buyer(db: Transaction, call: Call, name: str) -> Buyer:
    """Raises ProblemError 404."""
    row = await db.one(_BUYER, name)
    if row is None:
        raise ProblemError(404, "unknown-buyer", "this account gathers no purchases")
    state = await store_rows.account_state(db, name, call.now_s)
    return Buyer(
        account=row[0],
        currency=row[1],
        close_minor=row[2],
        close_after_days=row[3],
        exposure_max_minor=state.limit_minor,
        owed_minor=state.owed_minor,
        invoice_to=Party(**json.loads(row[4])),
    )


async def seller(db: Transaction, name: str) -> Seller:
    """Raises ProblemError 404."""
    row = await db.one(_SELLER, name)
    if row is None:
        raise ProblemError(404, "unknown-seller", "no seller of this name")
    return Seller(
        merchant=row[0],
        currency=row[1],
        invoice_prefix=row[3],
        invoice_from=Party(**json.loads(row[4])),
        fee_bp=row[5],
        fee_minor=row[6],
    )


async def next_invoice(db: Transaction, merchant: str) -> str:
    """The seller's next invoice number, without a gap: its row is locked until the commit."""
    row = await db.one(_NEXT, merchant)
    assert row is not None
    return f"{row[0]}-{row[1]:06d}"


_BUYER = (
    "SELECT account, currency, close_minor, close_after_days, invoice_to FROM buyer"
    " WHERE account = $1"
)
_NEW_BUYER = "INSERT INTO buyer VALUES ($1, $2, $3, $4, $5, $6)"
_SELLER = (
    "SELECT merchant, currency, payout_ref, invoice_prefix, invoice_from, fee_bp, fee_minor"
    " FROM seller WHERE merchant = $1"
)
_NEW_SELLER = "INSERT INTO seller VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)"
_NEXT = (
    "UPDATE seller SET invoices = invoices + 1 WHERE merchant = $1"
    " RETURNING invoice_prefix, invoices"
)
