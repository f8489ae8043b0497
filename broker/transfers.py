"""Transfers between ledger accounts: ``POST /v1/transfers``, the ledger's hot path.

Here as an effect in the SQL that both databases understand; PostgreSQL has the same as a function
(``migrations/0003_transfers.postgresql.sql``), which spares the round trips. Both pass the same
tests, against each other too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from broker import accounts, chart, ledger
from broker.idempotency import Answer
from broker.problems import ProblemError, problem_body
from messages.money import Money

if TYPE_CHECKING:
    from broker.database import Transaction

DECLINED = problem_body(
    402,
    ledger.Reason.INSUFFICIENT_FUNDS.value,
    ledger.DECLINE_TEXT[ledger.Reason.INSUFFICIENT_FUNDS],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """POST /v1/transfers -> 201: move an amount; debit and credit are accounts of the chart."""

    transfer: str
    debit: str
    credit: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    transfer: str
    debit: str
    credit: str
    amount_minor: int
    currency: str
    journal: int  # last: the database completes the answer with it


def checked(request: TransferRequest) -> TransferRequest:
    """The request, if its accounts are of the chart and free to use.

    Raises:
        ProblemError: 422 with the field.
    """
    for name in ("debit", "credit"):
        try:
            kind = chart.kind_of(getattr(request, name))
        except chart.UnknownAccountError as error:
            raise ProblemError(422, "invalid-body", str(error), param=f"$.{name}") from None
        if not kind.free:
            detail = "what shoppers owe changes by captures, payments and refunds alone"
            raise ProblemError(422, "invalid-body", detail, param=f"$.{name}")
    if request.debit == request.credit:
        detail = "debit and credit are the same account"
        raise ProblemError(422, "invalid-body", detail, param="$.credit")
    return request


def body_head(request: TransferRequest) -> bytes:
    """The answer up to the journal's number."""
    return msgspec.json.encode(request)[:-1] + b',"journal":'


async def effect(db: Transaction, request: TransferRequest, now_s: int) -> Answer:
    """Move the amount, or decline; a transfer that came before gets its answer again."""
    journal = ledger.transfer(
        "transfer",
        request.transfer,
        now_s,
        debit=request.debit,
        credit=request.credit,
        amount=Money(minor=request.amount_minor, currency=request.currency),
    )
    known = await db.all(
        "SELECT journal, account, amount_minor, currency FROM journal JOIN posting USING (journal)"
        " WHERE kind = 'transfer' AND reference = $1 ORDER BY line",
        request.transfer,
    )
    if known:
        wanted = [(p.account, p.amount.minor, p.amount.currency) for p in journal.postings]
        if [row[1:] for row in known] != wanted:
            raise conflict()
        return _answer(request, known[0][0], replayed=True)
    await accounts.expire_due(db, request.debit, request.currency, now_s)
    try:
        return _answer(request, await accounts.post(db, journal))
    except ledger.LedgerRefusalError as refusal:
        if refusal.reason is not ledger.Reason.INSUFFICIENT_FUNDS:
            raise
        return Answer(status=402, body=DECLINED)  # floors come first: nothing was written


def conflict() -> ProblemError:
    detail = "this id came before with other content"
    return ProblemError(409, "transfer-exists", detail, param="$.transfer")


def _answer(request: TransferRequest, journal: int, *, replayed: bool = False) -> Answer:
    return Answer(status=201, body=b"%s%d}" % (body_head(request), journal), replayed=replayed)
