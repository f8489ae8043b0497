"""System I, the purse: prepaid wallets of a store group.

Money comes in by top-ups, leaves by paid codes (``payment_codes.py``), gifts (``gifts.py``) and
payouts. The balance is that of the ledger account ``wallet:<id>``, whose floor 0 counts holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker import accounts, chart
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.store_rows import named
from broker.systems import funds
from broker.systems.states import advance
from messages.money import Money

BALANCE_MAX_MINOR = 25_000  # a prepaid purse, not a bank account; a wallet may ask for less
CONFIRM_ABOVE_MINOR = 5_000  # 50 EUR: the contactless limit without a PIN (RTS art. 11)
ENTRIES_PAGE_MAX = 500


class WalletStatus(StrEnum):
    OPEN = "open"
    BLOCKED = "blocked"
    CLOSED = "closed"


class WalletSignal(StrEnum):
    BLOCK = "block"
    UNBLOCK = "unblock"
    CLOSE = "close"


WALLET_STATES: Mapping[tuple[WalletStatus, WalletSignal], WalletStatus] = {
    (WalletStatus.OPEN, WalletSignal.BLOCK): WalletStatus.BLOCKED,
    (WalletStatus.BLOCKED, WalletSignal.BLOCK): WalletStatus.BLOCKED,
    (WalletStatus.BLOCKED, WalletSignal.UNBLOCK): WalletStatus.OPEN,
    (WalletStatus.OPEN, WalletSignal.UNBLOCK): WalletStatus.OPEN,
    (WalletStatus.OPEN, WalletSignal.CLOSE): WalletStatus.CLOSED,
    (WalletStatus.BLOCKED, WalletSignal.CLOSE): WalletStatus.CLOSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletRequest:
    """POST /v1/wallets. ``confirm_above_minor``: the shopper is asked for larger payments."""

    wallet: str
    currency: str
    confirm_above_minor: int = CONFIRM_ABOVE_MINOR
    balance_max_minor: int = BALANCE_MAX_MINOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """``available_minor``: the balance less what shown codes hold."""

    wallet: str
    currency: str
    status: str
    balance_minor: int
    held_minor: int
    available_minor: int
    confirm_above_minor: int
    balance_max_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopupRequest:
    """POST /v1/wallets/{id}/topups: the payment provider collected the amount."""

    topup: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topup:
    topup: str
    wallet: str
    amount_minor: int
    currency: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletPayoutRequest:
    """POST /v1/wallets/{id}/payouts: give prepaid money back through the payment provider."""

    payout: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletPayout:
    payout: str
    wallet: str
    amount_minor: int
    currency: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of a wallet; what came in is positive."""

    journal: int
    movement: str
    reference: str
    amount_minor: int
    at_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Oldest first; go on from ``after`` while ``more``."""

    entries: list[Entry]
    after: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletRow:
    wallet: str
    currency: str
    confirm_above_minor: int
    balance_max_minor: int
    status: WalletStatus

    @property
    def account(self) -> str:
        return account_of(self.wallet)


def account_of(wallet: str) -> str:
    """The ledger account of a wallet."""
    return f"wallet:{wallet}"


# --- effects ----------------------------------------------------------------------------------


async def open_wallet(db: Transaction, call: Call, asked: WalletRequest) -> Answer:
    """A new wallet with nothing in it."""
    known = await db.one(f"{_WALLET} WHERE wallet = $1", asked.wallet)
    given = (asked.currency, asked.confirm_above_minor, asked.balance_max_minor)
    if known is not None:
        if known[1:4] != given:
            raise funds.same_id_other_content("wallet")
        return answer(201, await wallet(db, call, asked.wallet), replayed=True)
    row = (asked.wallet, *given, WalletStatus.OPEN.value, call.now_s)
    await db.run("INSERT INTO wallet VALUES ($1, $2, $3, $4, $5, $6)", *row)
    await funds.open_fund(db, account_of(asked.wallet), asked.currency)
    return answer(201, await wallet(db, call, asked.wallet))


def signalled(signal: WalletSignal) -> Callable[[Transaction, Call, Nothing], Awaitable[Answer]]:
    """The effect of a signal on the wallet of the path."""
    return lambda db, call, _: set_status(db, call, signal)


async def set_status(db: Transaction, call: Call, signal: WalletSignal) -> Answer:
    """Block, unblock or close; what codes already hold is paid all the same: goods have left.

    Raises:
        ProblemError: 409, a wallet with money in it, or on its way back, is not closed.
    """
    row = await locked_wallet(db, call, call.named)
    after = advance(WALLET_STATES, row.status, signal, "wallet")
    if after is WalletStatus.CLOSED:
        state = await accounts.state(db, row.account, row.currency, call.now_s)
        waiting = await db.one(_GIFTS_OUT, row.wallet)
        if state.balance_minor or waiting is not None:
            detail = f"{state.balance_minor} are in it, or a gift may return: pay out or wait first"
            raise ProblemError(409, "wallet-not-empty", detail)
    await db.run("UPDATE wallet SET status = $2 WHERE wallet = $1", row.wallet, after.value)
    return answer(200, await wallet(db, call, row.wallet))


async def top_up(db: Transaction, call: Call, asked: TopupRequest) -> Answer:
    """The payment provider collected: clearing and wallet grow by the same amount."""
    row = await usable_wallet(db, call, call.named)
    known = await db.one(_TOPUP, asked.topup)
    if known is not None:
        if known[1:4] != (row.wallet, asked.amount_minor, asked.currency):
            raise funds.same_id_other_content("top-up")
        return answer(201, Topup(**named(Topup, known)), replayed=True)
    check_currency(asked.currency, row.currency)
    await check_room(db, row, asked.amount_minor, call.now_s)
    amount = Money(minor=asked.amount_minor, currency=asked.currency)
    journal = await funds.move(
        db, "topup", asked.topup, chart.PSP_CLEARING, row.account, amount, call.now_s
    )
    done = (asked.topup, row.wallet, asked.amount_minor, asked.currency, journal)
    await db.run("INSERT INTO wallet_topup VALUES ($1, $2, $3, $4, $5)", *done)
    return answer(201, Topup(**named(Topup, done)))


async def pay_out(db: Transaction, call: Call, asked: WalletPayoutRequest) -> Answer:
    """What is left, or part of it, goes back through the payment provider."""
    row = await locked_wallet(db, call, call.named)
    known = await db.one(_PAYOUT, asked.payout)
    if known is not None:
        if known[1:4] != (row.wallet, asked.amount_minor, asked.currency):
            raise funds.same_id_other_content("payout")
        return answer(201, WalletPayout(**named(WalletPayout, known)), replayed=True)
    check_currency(asked.currency, row.currency)
    amount = Money(minor=asked.amount_minor, currency=asked.currency)
    journal = await funds.move(
        db, "wallet-payout", asked.payout, row.account, chart.REFUND_CLEARING, amount, call.now_s
    )
    done = (asked.payout, row.wallet, asked.amount_minor, asked.currency, journal)
    await db.run("INSERT INTO wallet_payout VALUES ($1, $2, $3, $4, $5)", *done)
    return answer(201, WalletPayout(**named(WalletPayout, done)))


# --- questions --------------------------------------------------------------------------------


async def wallet(db: Transaction, call: Call, name: str) -> Wallet:
    """The wallet as it is now."""
    row = await wallet_row(db, name)
    state = await accounts.state(db, row.account, row.currency, call.now_s)
    return Wallet(
        wallet=row.wallet,
        currency=row.currency,
        status=row.status.value,
        balance_minor=state.balance_minor,
        held_minor=state.held_minor,
        available_minor=state.balance_minor - state.held_minor,
        confirm_above_minor=row.confirm_above_minor,
        balance_max_minor=row.balance_max_minor,
    )


async def entries(db: Transaction, call: Call, name: str, after: int, limit: int) -> EntryPage:
    """What moved in a wallet, in the order of the journals."""
    row = await wallet_row(db, name)
    found = await db.all(_ENTRIES, row.account, row.currency, after, limit + 1)
    page = [
        Entry(journal=journal, movement=kind, reference=reference, amount_minor=-minor, at_s=at_s)
        for journal, kind, reference, minor, at_s in found[:limit]
    ]
    last = page[-1].journal if page else after
    return EntryPage(entries=page, after=last, more=len(found) > limit)


# --- for the neighbours -----------------------------------------------------------------------


async def wallet_row(db: Transaction, name: str) -> WalletRow:
    """A wallet by its id; raises ProblemError 404."""
    row = await db.one(f"{_WALLET} WHERE wallet = $1", name)
    if row is None:
        raise ProblemError(404, "unknown-wallet", "no wallet has this id")
    return WalletRow(
        wallet=row[0],
        currency=row[1],
        confirm_above_minor=row[2],
        balance_max_minor=row[3],
        status=WalletStatus(row[4]),
    )


async def locked_wallet(db: Transaction, call: Call, name: str) -> WalletRow:
    """The wallet once no other transaction has it; raises ProblemError 404."""
    row = await wallet_row(db, name)
    await funds.locked(db, row.account, row.currency, call.now_s)
    return await wallet_row(db, name)


async def usable_wallet(db: Transaction, call: Call, name: str) -> WalletRow:
    """A locked wallet that is open.

    Raises:
        ProblemError: 404, or 402 for one that is blocked or closed.
    """
    row = await locked_wallet(db, call, name)
    if row.status is not WalletStatus.OPEN:
        raise ProblemError(402, "wallet-not-open", f"the wallet is {row.status.value}")
    return row


async def check_room(db: Transaction, row: WalletRow, more_minor: int, now_s: int) -> None:
    """A prepaid wallet has a ceiling.

    Raises:
        ProblemError: 402.
    """
    state = await accounts.state(db, row.account, row.currency, now_s)
    if state.balance_minor + more_minor > row.balance_max_minor:
        detail = f"a wallet holds at most {row.balance_max_minor}"
        raise ProblemError(402, "wallet-full", detail, param="$.amount_minor")


def check_currency(given: str, wanted: str) -> None:
    """Raises ProblemError 422 when they differ."""
    if given != wanted:
        detail = f"{given} given, the account is in {wanted}"
        raise ProblemError(422, "currency-mismatch", detail, param="$.currency")


_WALLET = "SELECT wallet, currency, confirm_above_minor, balance_max_minor, status FROM wallet"
_TOPUP = "SELECT topup, wallet, amount_minor, currency, journal FROM wallet_topup WHERE topup = $1"
_PAYOUT = (
    "SELECT payout, wallet, amount_minor, currency, journal FROM wallet_payout WHERE payout = $1"
)
_GIFTS_OUT = "SELECT 1 FROM gift WHERE wallet = $1 AND state = 'sent' LIMIT 1"
_ENTRIES = """
SELECT p.journal, j.kind, j.reference, p.amount_minor, j.at_s
FROM posting p JOIN journal j ON j.journal = p.journal
WHERE p.account = $1 AND p.currency = $2 AND p.journal > $3 ORDER BY p.journal LIMIT $4
"""
