"""Money that is set aside before it is spent: wallets, sponsors' budgets, promotion funds.

All of them are ledger accounts with floor 0. A hold on one counts against its floor from the start;
it is captured once, at most in full, and the rest returns; released; or it expires. The account's
row is the lock of all that, so what is read after ``locked`` stays true until the commit.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from broker import accounts, ledger, store_rows
from broker.chart import payable
from broker.database import Transaction
from broker.ledger import HoldState, Journal, Posting
from broker.problems import ProblemError
from messages.contract import CaptureRequest
from messages.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Part of a capture that went back."""

    refund: str
    capture: str
    amount_minor: int
    reason: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRequest:
    """The payment provider collected from a sponsor or a brand: POST /v1/.../{id}/fundings."""

    funding: str
    amount_minor: int
    currency: str


async def open_fund(db: Transaction, account: str, currency: str) -> None:
    """A row for the account, unless money came to it before."""
    if not await accounts.lock(db, account, currency):
        await accounts.open_floored(db, account, currency, 0)


async def locked(db: Transaction, account: str, currency: str, now_s: int) -> None:
    """Wait for the account; what expired on it is written down."""
    await accounts.lock(db, account, currency)
    await accounts.expire_due(db, account, currency, now_s)


async def reserve(db: Transaction, hold: HoldState) -> None:
    """Set an amount aside on an account that is locked.

    Raises:
        LedgerRefusalError: there is not enough; answered with 402.
        ProblemError: 409, the hold's id is taken.
    """
    await accounts.hold_more(db, hold.account, hold.currency, hold.amount_minor)
    if not await db.run(_INSERT_HOLD, *astuple(hold)):
        raise same_id_other_content("hold")


async def hold_of(db: Transaction, name: str, now_s: int) -> HoldState:
    """The hold at an instant."""
    return await store_rows.hold(db, name, now_s)


async def keep_until(db: Transaction, hold: HoldState, expires_s: int) -> None:
    """Another end for a hold that is held."""
    await db.run("UPDATE hold SET expires_s = $2 WHERE hold = $1", hold.hold, expires_s)


async def release(db: Transaction, hold: HoldState, reason: str) -> None:
    """Give a hold's amount back to its account; one that holds nothing stays as it is."""
    await _resolve(db, hold, ledger.void(hold, reason))


async def capture(db: Transaction, hold: HoldState, request: CaptureRequest, now_s: int) -> int:
    """Pay a merchant out of a hold, once; the journal's number.

    Raises:
        LedgerRefusalError: it is resolved, or less than is asked for.
        ProblemError: 409, the capture's id is taken.
    """
    if await store_rows.capture_or_none(db, request.capture) is not None:
        raise same_id_other_content("capture")
    after, journal = ledger.capture(hold, request, now_s)
    await _resolve(db, hold, after)
    number = await accounts.post(db, journal)
    given = (request.capture, hold.hold, hold.account, request.merchant, request.purchase)
    await db.run(_INSERT_CAPTURE, *given, request.amount_minor, request.currency, number)
    return number


async def give_back(
    db: Transaction, name: str, refund: str, amount_minor: int, reason: str, now_s: int
) -> Given:
    """Return part of a capture, at the merchant's cost, to the account it came from.

    Raises:
        ProblemError: 409, the refund came before with other content.
        LedgerRefusalError: more than is left of the capture.
    """
    captured = await store_rows.capture_or_none(db, name)
    if captured is None:
        raise ProblemError(404, "unknown-capture", "no capture has this id")
    known = await db.one(_KNOWN_REFUND, refund)
    if known is not None:
        if known[:2] != (name, amount_minor):
            raise same_id_other_content("refund")
        return Given(
            refund=refund, capture=name, amount_minor=known[1], reason=known[2], journal=known[3]
        )
    left_minor = captured.amount_minor - await store_rows.refunded_minor(db, name)
    if amount_minor > left_minor:
        detail = f"{amount_minor} is more than the {left_minor} left of the capture"
        raise ledger.LedgerRefusalError(
            ledger.Reason.REFUND_ABOVE_CAPTURE, detail, "$.amount_minor"
        )
    number = await move(
        db, "refund", refund, payable(captured.merchant), captured.account,
        Money(minor=amount_minor, currency=captured.currency), now_s,
    )  # fmt: skip
    row = (refund, name, amount_minor, captured.currency, 0, reason, number)
    await db.run("INSERT INTO refund VALUES ($1, $2, $3, $4, $5, $6, $7)", *row)
    return Given(
        refund=refund, capture=name, amount_minor=amount_minor, reason=reason, journal=number
    )


async def move(
    db: Transaction, kind: str, reference: str, debit: str, credit: str, amount: Money, now_s: int
) -> int:
    """Post one amount from an account to another; the journal's number.

    Raises:
        LedgerRefusalError: the debit's floor holds it back.
    """
    journal = ledger.transfer(kind, reference, now_s, debit=debit, credit=credit, amount=amount)
    return await accounts.post(db, journal)


async def post(
    db: Transaction, kind: str, reference: str, lines: dict[str, int], currency: str, now_s: int
) -> int:
    """Post several amounts that sum to zero, debits positive; the journal's number."""
    postings = tuple(
        Posting(account=account, amount=Money(minor=minor, currency=currency))
        for account, minor in lines.items()
        if minor
    )
    journal = Journal(kind=kind, reference=reference, at_s=now_s, postings=postings)
    return await accounts.post(db, journal)


def new_hold(
    name: str, account: str, amount: Money, *, now_s: int, expires_s: int, visit: str = ""
) -> HoldState:
    """A hold on a fund; store and credential are those of the visit, not of the fund."""
    return HoldState(
        hold=name,
        account=account,
        store="",
        visit=visit,
        credential="",
        amount_minor=amount.minor,
        currency=amount.currency,
        created_s=now_s,
        expires_s=expires_s,
    )


def same_id_other_content(what: str) -> ProblemError:
    """The refusal of an id that comes again with something else."""
    detail = f"this {what} id came before with other content"
    return ProblemError(409, "id-taken", detail)


async def _resolve(db: Transaction, before: HoldState, after: HoldState) -> None:
    row = (after.hold, after.status, after.captured_minor, after.reason)
    await db.run(
        "UPDATE hold SET status = $2, captured_minor = $3, reason = $4 WHERE hold = $1", *row
    )
    more_minor = after.reserved_minor - before.reserved_minor
    await accounts.hold_more(db, after.account, after.currency, more_minor)


_INSERT_HOLD = (
    "INSERT INTO hold VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    " ON CONFLICT (hold) DO NOTHING"
)
_INSERT_CAPTURE = "INSERT INTO capture VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_KNOWN_REFUND = "SELECT capture, amount_minor, reason, journal FROM refund WHERE refund = $1"
