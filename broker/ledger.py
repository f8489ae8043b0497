"""The rules of money: holds, captures, payments, and journals that sum to zero.

Double entry. A debit is positive, a credit negative; a journal is never changed, a correction is
another journal. A *hold* reserves part of an account's limit in two phases (as TigerBeetle's
pending transfers do): it is resolved once - captured in part or whole with the rest released,
voided, or expired - and the reserved amount counts against the limit from the start, so that the
second phase can never break it. Nothing here reads a clock, a disk or a socket.

A hold is on a ledger account with a floor; which accounts there are stands in ``chart.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.chart import PSP_CLEARING, REFUND_CLEARING, payable, receivable
from messages.contract import AccountRequest, CaptureRequest, HoldRequest
from messages.money import Money

HOLD_VALIDITY_S = 7 * 24 * 3600  # card schemes keep an online authorization five to seven days


class HoldStatus(StrEnum):
    HELD = "held"
    CAPTURED = "captured"
    VOID = "void"
    DECLINED = "declined"
    EXPIRED = "expired"


class HoldSignal(StrEnum):
    ADJUST = "adjust"
    CAPTURE = "capture"
    VOID = "void"
    EXPIRE = "expire"


# What is not in the table is refused. Voiding what holds nothing is no mistake: it stays as it is.
TRANSITIONS: dict[tuple[HoldStatus, HoldSignal], HoldStatus] = {
    (HoldStatus.HELD, HoldSignal.ADJUST): HoldStatus.HELD,
    (HoldStatus.HELD, HoldSignal.CAPTURE): HoldStatus.CAPTURED,
    (HoldStatus.HELD, HoldSignal.VOID): HoldStatus.VOID,
    (HoldStatus.HELD, HoldSignal.EXPIRE): HoldStatus.EXPIRED,
    (HoldStatus.VOID, HoldSignal.VOID): HoldStatus.VOID,
    (HoldStatus.DECLINED, HoldSignal.VOID): HoldStatus.DECLINED,
    (HoldStatus.EXPIRED, HoldSignal.VOID): HoldStatus.EXPIRED,
}


class Reason(StrEnum):
    """Why the ledger refuses; the last part of the problem's type URI."""

    ACCOUNT_BLOCKED = "account-blocked"
    LIMIT_EXCEEDED = "limit-exceeded"
    CURRENCY_MISMATCH = "currency-mismatch"
    HOLD_RESOLVED = "hold-resolved"
    CAPTURE_ABOVE_HOLD = "capture-above-hold"
    LINES_DO_NOT_ADD_UP = "lines-do-not-add-up"
    PAYMENT_ABOVE_DEBT = "payment-above-debt"
    REFUND_ABOVE_CAPTURE = "refund-above-capture"
    INSUFFICIENT_FUNDS = "insufficient-funds"


DECLINES = frozenset({Reason.ACCOUNT_BLOCKED, Reason.LIMIT_EXCEEDED, Reason.INSUFFICIENT_FUNDS})


class LedgerRefusalError(ValueError):
    """The rule that a request would break; nothing was changed."""

    def __init__(self, reason: Reason, detail: str, param: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.param = reason, detail, param


class UnbalancedJournalError(ValueError):
    """A journal of ours that does not sum to zero: a broken promise, never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of a journal: debit positive, credit negative."""

    account: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Postings that belong together.

    Raises:
        UnbalancedJournalError: fewer than two postings, an empty one, or a sum that is not zero.
    """

    kind: str
    reference: str  # the capture or payment it came from; unique together with the kind
    at_s: int  # Unix time
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        empty = any(posting.amount.minor == 0 for posting in self.postings)
        if len(self.postings) < 2 or empty or any(sums(self.postings).values()):
            raise UnbalancedJournalError(f"{self.kind} {self.reference} does not sum to zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """A shopper's account: ``held_minor`` in open holds, ``owed_minor`` captured and unpaid."""

    account: str
    currency: str
    limit_minor: int
    held_minor: int = 0
    owed_minor: int = 0
    blocked: bool = False

    @property
    def room_minor(self) -> int:
        return self.limit_minor - self.held_minor - self.owed_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldState:
    """One hold; resolved once."""

    hold: str
    account: str  # of the ledger, with a floor
    store: str
    visit: str
    credential: str
    amount_minor: int
    currency: str
    created_s: int
    expires_s: int
    status: HoldStatus = HoldStatus.HELD
    captured_minor: int = 0
    reason: str = ""

    @property
    def reserved_minor(self) -> int:
        """What it counts against the floor."""
        return self.amount_minor if self.status is HoldStatus.HELD else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A capture as a refund sees it. ``owed_minor``: what its shopper still owes in all."""

    account: str  # of the ledger
    merchant: str
    amount_minor: int
    currency: str
    refunded_minor: int
    owed_minor: int


def sums(postings: Sequence[Posting]) -> dict[str, int]:
    """Debits less credits per currency: all zero in sound books."""
    totals: dict[str, int] = {}
    for posting in postings:
        currency = posting.amount.currency
        totals[currency] = totals.get(currency, 0) + posting.amount.minor
    return totals


def open_account(request: AccountRequest) -> AccountState:
    """A new account that owes nothing."""
    return AccountState(
        account=request.account, currency=request.currency, limit_minor=request.limit_minor
    )


def place(request: HoldRequest, account: AccountState, now_s: int) -> HoldState:
    """A new hold, held or declined; a declined one reserves nothing and keeps its reason.

    Raises:
        LedgerRefusalError: the currency is not the account's.
    """
    _same_currency(request.currency, account.currency)
    reason = _decline_reason(account, request.amount_minor)
    return HoldState(
        hold=request.hold,
        account=receivable(request.account),
        store=request.store,
        visit=request.visit,
        credential=request.credential,
        amount_minor=request.amount_minor,
        currency=request.currency,
        created_s=now_s,
        expires_s=now_s + HOLD_VALIDITY_S,
        status=HoldStatus.DECLINED if reason else HoldStatus.HELD,
        reason=reason.value if reason else "",
    )


def as_of(hold: HoldState, now_s: int) -> HoldState:
    """The hold at an instant: one that nobody resolved in time has expired."""
    if hold.status is HoldStatus.HELD and now_s >= hold.expires_s:
        return replace(hold, status=_next(hold, HoldSignal.EXPIRE))
    return hold


def adjust(hold: HoldState, account: AccountState, amount_minor: int) -> HoldState:
    """The hold with another amount. ``account`` counts the hold as it was.

    Raises:
        LedgerRefusalError: the hold is resolved, the account blocked, or the limit too small.
    """
    status = _next(hold, HoldSignal.ADJUST)
    reason = _decline_reason(account, amount_minor - hold.amount_minor)
    if reason:
        raise LedgerRefusalError(reason, DECLINE_TEXT[reason])
    return replace(hold, status=status, amount_minor=amount_minor)


def capture(hold: HoldState, request: CaptureRequest, now_s: int) -> tuple[HoldState, Journal]:
    """Turn a hold into a debt; the rest of the hold is released.

    A blocked account is captured all the same: the goods have left the store.

    Raises:
        LedgerRefusalError: resolved before, above the hold, another currency, or lines that do not
            add up to the amount.
    """
    status = _next(hold, HoldSignal.CAPTURE)
    _same_currency(request.currency, hold.currency)
    if sum(request.line_totals) != request.amount_minor:
        detail = f"the lines add up to {sum(request.line_totals)}, not to {request.amount_minor}"
        raise LedgerRefusalError(Reason.LINES_DO_NOT_ADD_UP, detail, "$.line_totals")
    if request.amount_minor > hold.amount_minor:
        detail = f"{request.amount_minor} is more than the {hold.amount_minor} held: adjust first"
        raise LedgerRefusalError(Reason.CAPTURE_ABOVE_HOLD, detail, "$.amount_minor")
    journal = transfer(
        "capture",
        request.capture,
        now_s,
        debit=hold.account,
        credit=payable(request.merchant),
        amount=Money(minor=request.amount_minor, currency=request.currency),
    )
    return replace(hold, status=status, captured_minor=request.amount_minor), journal


def void(hold: HoldState, reason: str) -> HoldState:
    """Release a hold.

    Raises:
        LedgerRefusalError: it was captured.
    """
    status = _next(hold, HoldSignal.VOID)
    return replace(hold, status=status, reason=hold.reason or reason)


def pay(account: AccountState, payment: str, amount: Money, now_s: int) -> Journal:
    """The payment provider collected from the shopper: the debt shrinks, clearing grows.

    Raises:
        LedgerRefusalError: another currency, or more than is owed.
    """
    _same_currency(amount.currency, account.currency)
    if amount.minor > account.owed_minor:
        detail = f"{amount.minor} is more than the {account.owed_minor} owed"
        raise LedgerRefusalError(Reason.PAYMENT_ABOVE_DEBT, detail, "$.amount_minor")
    return transfer(
        "payment",
        payment,
        now_s,
        debit=PSP_CLEARING,
        credit=receivable(account.account),
        amount=amount,
    )


def refund(captured: Captured, reference: str, amount: Money, now_s: int) -> Journal:
    """Give back part or all of a capture, at the merchant's cost.

    What the shopper still owes shrinks first; what was paid already goes back by the provider.

    Raises:
        LedgerRefusalError: another currency, or more than is left of the capture.
    """
    _same_currency(amount.currency, captured.currency)
    left_minor = captured.amount_minor - captured.refunded_minor
    if amount.minor > left_minor:
        detail = f"{amount.minor} is more than the {left_minor} left of the capture"
        raise LedgerRefusalError(Reason.REFUND_ABOVE_CAPTURE, detail, "$.amount_minor")
    unpaid_minor = min(amount.minor, captured.owed_minor)
    given = (
        (payable(captured.merchant), amount.minor),
        (captured.account, -unpaid_minor),
        (REFUND_CLEARING, unpaid_minor - amount.minor),
    )
    postings = tuple(
        Posting(account=account, amount=Money(minor=minor, currency=amount.currency))
        for account, minor in given
        if minor
    )
    return Journal(kind="refund", reference=reference, at_s=now_s, postings=postings)


def transfer(
    kind: str, reference: str, at_s: int, *, debit: str, credit: str, amount: Money
) -> Journal:
    """A journal that moves one amount."""
    against = Money(minor=-amount.minor, currency=amount.currency)
    postings = (
        Posting(account=debit, amount=amount),
        Posting(account=credit, amount=against),
    )
    return Journal(kind=kind, reference=reference, at_s=at_s, postings=postings)


DECLINE_TEXT = {
    Reason.ACCOUNT_BLOCKED: "the account is blocked",
    Reason.LIMIT_EXCEEDED: "what is held and owed would exceed the account's limit",
    Reason.INSUFFICIENT_FUNDS: "the account's balance less its holds is too small",
}


def _decline_reason(account: AccountState, more_minor: int) -> Reason | None:
    if account.blocked:
        return Reason.ACCOUNT_BLOCKED
    return Reason.LIMIT_EXCEEDED if more_minor > account.room_minor else None


def _next(hold: HoldState, signal: HoldSignal) -> HoldStatus:
    status = TRANSITIONS.get((hold.status, signal))
    if status is None:
        detail = f"the hold is {hold.status.value}; it cannot take {signal.value}"
        raise LedgerRefusalError(Reason.HOLD_RESOLVED, detail)
    return status


def _same_currency(given: str, wanted: str) -> None:
    if given != wanted:
        detail = f"{given} given, the account is in {wanted}"
        raise LedgerRefusalError(Reason.CURRENCY_MISMATCH, detail, "$.currency")
