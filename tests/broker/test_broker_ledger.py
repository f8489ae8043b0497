"""The rules of money alone: no file, no socket, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import ledger
from broker.ledger import (
    AccountState,
    HoldSignal,
    HoldState,
    HoldStatus,
    Journal,
    LedgerRefusalError,
    Posting,
    Reason,
    UnbalancedJournalError,
)
from messages.contract import CaptureRequest, HoldRequest
from messages.money import Money

ANNA = AccountState(account="anna", currency="EUR", limit_minor=10_000)


def wish(amount_minor: int = 5_000, currency: str = "EUR") -> HoldRequest:
    return HoldRequest(
        hold="hold-v1",
        account="anna",
        store="lab",
        visit="v1",
        credential="c1",
        amount_minor=amount_minor,
        currency=currency,
    )


def taken(amount_minor: int, lines: list[int] | None = None) -> CaptureRequest:
    return CaptureRequest(
        capture="capture-v1",
        merchant="shop",
        purchase="p1",
        amount_minor=amount_minor,
        currency="EUR",
        line_totals=[amount_minor] if lines is None else lines,
    )


def test_capture_debits_the_shopper_and_credits_the_merchant() -> None:
    hold = ledger.place(wish(), ANNA, now_s=100)
    captured, journal = ledger.capture(hold, taken(1_825), now_s=200)
    assert captured.status is HoldStatus.CAPTURED
    assert captured.captured_minor == 1_825
    assert journal.postings == (
        Posting(account="shopper_receivable:anna", amount=Money(minor=1_825, currency="EUR")),
        Posting(account="merchant_payable:shop", amount=Money(minor=-1_825, currency="EUR")),
    )


@pytest.mark.parametrize(
    ("held_minor", "owed_minor", "status"),
    [
        (0, 0, HoldStatus.HELD),
        (3_000, 2_000, HoldStatus.HELD),
        (3_000, 2_001, HoldStatus.DECLINED),
        (10_000, 0, HoldStatus.DECLINED),
    ],
)
def test_what_is_held_and_owed_counts_against_the_limit(
    held_minor: int, owed_minor: int, status: HoldStatus
) -> None:
    account = replace(ANNA, held_minor=held_minor, owed_minor=owed_minor)
    assert ledger.place(wish(5_000), account, now_s=0).status is status


def test_blocked_account_gets_no_hold_but_what_left_the_store_is_captured() -> None:
    blocked = replace(ANNA, blocked=True)
    declined = ledger.place(wish(), blocked, now_s=0)
    assert (declined.status, declined.reason) == (HoldStatus.DECLINED, "account-blocked")
    hold = ledger.place(wish(), ANNA, now_s=0)
    with pytest.raises(LedgerRefusalError, match="blocked"):
        ledger.adjust(hold, blocked, 6_000)
    assert ledger.capture(hold, taken(100), now_s=1)[0].status is HoldStatus.CAPTURED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (taken(5_001), Reason.CAPTURE_ABOVE_HOLD),
        (taken(300, [100, 199]), Reason.LINES_DO_NOT_ADD_UP),
        (replace(taken(300), currency="USD"), Reason.CURRENCY_MISMATCH),
    ],
)
def test_capture_that_breaks_a_rule_is_refused(request_: CaptureRequest, reason: Reason) -> None:
    hold = ledger.place(wish(5_000), ANNA, now_s=0)
    with pytest.raises(LedgerRefusalError) as refusal:
        ledger.capture(hold, request_, now_s=1)
    assert refusal.value.reason is reason


def test_hold_in_another_currency_is_refused() -> None:
    with pytest.raises(LedgerRefusalError, match="USD"):
        ledger.place(wish(currency="USD"), ANNA, now_s=0)


def test_hold_expires_after_seven_days_and_not_a_second_earlier() -> None:
    hold = ledger.place(wish(), ANNA, now_s=1_000)
    week_s = 7 * 24 * 3600
    assert ledger.as_of(hold, 1_000 + week_s - 1).status is HoldStatus.HELD
    expired = ledger.as_of(hold, 1_000 + week_s)
    assert expired.status is HoldStatus.EXPIRED
    with pytest.raises(LedgerRefusalError, match="expired"):
        ledger.capture(expired, taken(100), now_s=1_000 + week_s)


def test_resolved_hold_takes_nothing_but_a_void_of_what_holds_nothing() -> None:
    resolved = set(HoldStatus) - {HoldStatus.HELD}
    allowed = {(status, signal) for status, signal in ledger.TRANSITIONS if status in resolved}
    assert allowed == {(status, HoldSignal.VOID) for status in resolved - {HoldStatus.CAPTURED}}
    assert all(
        ledger.TRANSITIONS[status, HoldSignal.VOID] is status for status, _ in allowed
    )  # and changes nothing


def test_payment_shrinks_the_debt_and_never_below_zero() -> None:
    account = replace(ANNA, owed_minor=500)
    journal = ledger.pay(account, "pay-1", Money(minor=500, currency="EUR"), now_s=0)
    assert journal.postings[0].account == "psp_clearing"
    with pytest.raises(LedgerRefusalError, match="501"):
        ledger.pay(account, "pay-2", Money(minor=501, currency="EUR"), now_s=0)


@given(
    st.lists(st.tuples(st.integers(-(10**9), 10**9), st.sampled_from(["EUR", "USD"])), max_size=5)
)
def test_journal_that_does_not_sum_to_zero_per_currency_cannot_be_made(
    rows: list[tuple[int, str]],
) -> None:
    postings = tuple(
        Posting(account=f"a{i}", amount=Money(minor=minor, currency=currency))
        for i, (minor, currency) in enumerate(rows)
    )
    sound = len(rows) >= 2 and all(minor for minor, _ in rows)
    sound &= all(sum(m for m, c in rows if c == currency) == 0 for currency in ("EUR", "USD"))
    if sound:
        Journal(kind="test", reference="r", at_s=0, postings=postings)
    else:
        with pytest.raises(UnbalancedJournalError):
            Journal(kind="test", reference="r", at_s=0, postings=postings)


@given(
    held=st.integers(0, 20_000),
    owed=st.integers(0, 20_000),
    amount=st.integers(1, 20_000),
    raised=st.integers(1, 20_000),
    captured=st.integers(1, 20_000),
)
def test_no_sequence_of_hold_adjust_capture_breaks_the_limit(
    held: int, owed: int, amount: int, raised: int, captured: int
) -> None:
    account = replace(ANNA, held_minor=held, owed_minor=owed)
    if account.room_minor < 0:
        return
    hold = ledger.place(wish(amount), account, now_s=0)
    if hold.status is HoldStatus.DECLINED:
        assert held + owed + amount > account.limit_minor
        return
    with_hold = replace(account, held_minor=held + amount)
    try:
        hold = ledger.adjust(hold, with_hold, raised)
    except LedgerRefusalError:
        assert held + owed + raised > account.limit_minor
    assert held + owed + hold.amount_minor <= account.limit_minor
    try:
        done: HoldState = ledger.capture(hold, taken(captured), now_s=1)[0]
    except LedgerRefusalError:
        assert captured > hold.amount_minor
        return
    assert held + owed + done.captured_minor <= account.limit_minor
