"""System K, the exit: which tokens come off which lines, locked for a visit, then redeemed once.

A retailer locks the tokens of a client while it prices the cart; each is checked, its discount cut
to its terms and to what its lines still cost, split over the lines by largest remainder, and held
on the campaign's fund. ``commit`` pays the merchant from the funds; ``release`` and time free them.
A piece that comes back gives back its share of the discount to the fund.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import campaigns, coupon_rows, funds, promo_tokens
from broker.systems.campaigns import BASIS_POINTS, CampaignRow, CampaignStatus, Terms
from broker.systems.coupon_rows import Allocation, LockRow
from broker.systems.goods import CartLine, normal, unit_prices
from broker.systems.merchants import check_party
from broker.systems.promo_tokens import (
    TOKEN_STATES,
    TokenRow,
    TokenSignal,
    TokenState,
    token_id_of,
    token_row,
)
from broker.systems.states import advance
from messages.contract import CaptureRequest
from messages.money import Money, allocate

LOCKED_S = 6 * 3600  # a visit
TOKENS_MAX = 50  # of one cart


class LockState(StrEnum):
    LOCKED = "locked"
    COMMITTED = "committed"
    RELEASED = "released"


class LockSignal(StrEnum):
    COMMIT = "commit"
    RELEASE = "release"
    EXPIRE = "expire"


LOCK_STATES: Mapping[tuple[LockState, LockSignal], LockState] = {
    (LockState.LOCKED, LockSignal.COMMIT): LockState.COMMITTED,
    (LockState.LOCKED, LockSignal.RELEASE): LockState.RELEASED,
    (LockState.LOCKED, LockSignal.EXPIRE): LockState.RELEASED,
    (LockState.RELEASED, LockSignal.RELEASE): LockState.RELEASED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """POST /v1/coupon-locks: the cart that is being priced, and the client's tokens."""

    coupon_lock: str
    store: str
    visit: str
    client: str
    currency: str
    promo_tokens: list[str]
    lines: list[CartLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Why a token is worth nothing here: one of ``REJECTIONS``."""

    place: int
    token_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponLock:
    """The allocations add up to ``discount_minor``; a line never costs less than nothing."""

    coupon_lock: str
    state: str
    currency: str
    discount_minor: int
    allocations: list[Allocation]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """POST /v1/coupon-locks/{id}/commit: the cart was paid; the funds pay the discounts."""

    merchant: str
    purchase: str


REJECTIONS = (
    "bad-token",
    "wrong-store",
    "other-client",
    "other-currency",
    "expired",
    "withdrawn",
    "ended",
    "not-kept",
    "already-used",
    "not-applicable",
    "not-stackable",
    "fund-exhausted",
)


class RejectedError(Exception):
    """A token that is worth nothing here."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


# --- rules ------------------------------------------------------------------------------------


def discounts(
    terms: Terms, lines: Sequence[CartLine], taken: Mapping[str, int], currency: str
) -> dict[str, int]:
    """What a token takes off each line, cut to its terms and to what the lines still cost.

    Args:
        taken: what other tokens took off already, by line.

    Raises:
        RejectedError: it takes nothing off.
    """
    if sum(line.total_minor for line in lines) < terms.min_total_minor:
        raise RejectedError("not-applicable")
    wanted, pieces = dict[str, int](), terms.max_pieces
    for line in lines:
        if line.gtin not in terms.gtins or not pieces:
            continue
        if taken.get(line.line_id) and not terms.stackable:
            raise RejectedError("not-stackable")
        prices = unit_prices(line)[:pieces]
        pieces -= len(prices)
        off_minor = sum(min(price, terms.off_minor) for price in prices)
        off_minor += sum(prices) * terms.percent_bp // BASIS_POINTS
        wanted[line.line_id] = min(off_minor, line.total_minor - taken.get(line.line_id, 0))
    return _cut(wanted, terms.max_discount_minor, currency)


def _cut(wanted: dict[str, int], most_minor: int, currency: str) -> dict[str, int]:
    total_minor = min(sum(wanted.values()), most_minor)
    if total_minor <= 0:
        raise RejectedError("not-applicable")
    total = Money(minor=total_minor, currency=currency)
    parts = allocate(total, list(wanted.values()))
    return {line: part.minor for line, part in zip(wanted, parts, strict=True) if part.minor}


# --- effects ----------------------------------------------------------------------------------


async def lock(db: Transaction, call: Call, asked: LockRequest) -> Answer:
    """Check each token, and hold what it is worth."""
    known = await coupon_rows.lock_or_none(db, asked.coupon_lock)
    if known is not None:
        if (known.visit, known.client) != (asked.visit, asked.client):
            raise funds.same_id_other_content("coupon lock")
        return answer(201, await _reply(db, known), replayed=True)
    names = [token_id_of(token, call.service.signing) for token in asked.promo_tokens]
    usable = await _locked_tokens(db, call, names)
    row = LockRow(
        coupon_lock=asked.coupon_lock,
        store=asked.store,
        visit=asked.visit,
        client=asked.client,
        currency=asked.currency,
        state=LockState.LOCKED.value,
        expires_s=call.now_s + LOCKED_S,
    )
    await coupon_rows.insert_lock(db, row, call.now_s)
    rejected, taken, lines = list[Rejected](), dict[str, int](), normal(asked.lines)
    for place, name in enumerate(names):
        try:
            await _apply(db, call, row, usable, name, lines, taken)
        except RejectedError as error:
            rejected.append(Rejected(place=place, token_id=name or "", why=error.why))
    return answer(201, await _reply(db, row, rejected))


async def commit(db: Transaction, call: Call, asked: CommitRequest) -> Answer:
    """Redeem: each fund pays its part to the merchant, each token is used up.

    Raises:
        ProblemError: 409 when it was released or its time is over.
    """
    check_party(call, asked.merchant)
    row = await _locked_lock(db, call, call.named)
    if row.state == LockState.COMMITTED:
        return answer(200, await _reply(db, row), replayed=True)
    after = advance(LOCK_STATES, LockState(row.state), LockSignal.COMMIT, "coupon lock")
    for campaign, hold_name in await coupon_rows.shares(db, row.coupon_lock):
        hold = await funds.hold_of(db, hold_name, call.now_s)
        request = CaptureRequest(
            capture=f"coupon:{row.coupon_lock}:{campaign}",
            merchant=asked.merchant,
            purchase=asked.purchase,
            amount_minor=hold.amount_minor,
            currency=hold.currency,
            line_totals=[hold.amount_minor],
        )
        await funds.capture(db, hold, request, call.now_s)
    await _end_tokens(db, row, TokenSignal.REDEEM, call.now_s)
    return answer(200, await _reply(db, await coupon_rows.set_state(db, row, after.value)))


async def release(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The cart was not paid: the tokens are good again."""
    row = await _locked_lock(db, call, call.named)
    return answer(200, await _reply(db, await _free(db, row, LockSignal.RELEASE, call.now_s)))


async def release_lapsed(db: Transaction, now_s: int, most: int = 100) -> int:
    """Locks whose visit never ended, whoever's; how many."""
    due = await coupon_rows.lapsed(db, now_s, most)
    for name in due:
        await _lock_funds(db, await coupon_rows.shares(db, name), now_s)
        row = await coupon_rows.locked_lock(db, name)
        if row.state == LockState.LOCKED:
            await _free(db, row, LockSignal.EXPIRE, now_s)
    return len(due)


async def coupon_lock(db: Transaction, call: Call, name: str) -> CouponLock:
    """A lock with its allocations; raises ProblemError 404."""
    return await _reply(db, await coupon_rows.lock_row(db, name))


# --- helpers ----------------------------------------------------------------------------------


async def _locked_tokens(
    db: Transaction, call: Call, names: Sequence[str | None]
) -> dict[str, tuple[TokenRow, CampaignRow]]:
    """Funds first, then tokens, each in one order everywhere: nobody waits in a circle."""
    wanted = sorted({name for name in names if name})
    rows = [row for name in wanted if (row := await token_row(db, name)) is not None]
    for campaign in sorted({row.campaign for row in rows}):
        await campaigns.locked_row(db, campaign, call.now_s)
    found = dict[str, tuple[TokenRow, CampaignRow]]()
    for row in rows:
        locked = await token_row(db, row.token_id, lock=True)
        assert locked is not None
        found[row.token_id] = locked, await campaigns.campaign_row(db, row.campaign)
    return found


async def _apply(
    db: Transaction,
    call: Call,
    row: LockRow,
    usable: dict[str, tuple[TokenRow, CampaignRow]],
    name: str | None,
    lines: Sequence[CartLine],
    taken: dict[str, int],
) -> None:
    """One token on the cart; ``taken`` grows by what it took off."""
    if name is None or name not in usable:
        raise RejectedError("bad-token")
    token, campaign = usable.pop(name)  # a token that comes twice is bad the second time
    _check(call, row, token, campaign)
    off = discounts(campaign.terms, lines, taken, campaign.currency)
    amount = Money(minor=sum(off.values()), currency=campaign.currency)
    try:
        await coupon_rows.hold_share(db, row, campaign, amount, call.now_s)
    except LedgerRefusalError:
        raise RejectedError("fund-exhausted") from None
    await coupon_rows.insert_allocations(db, row, token, off, lines)
    await promo_tokens.set_token_state(
        db, name, advance(TOKEN_STATES, token.state, TokenSignal.LOCK, "token"), row.coupon_lock
    )
    await campaigns.note(db, name, "locked", call.now_s)
    for line, minor in off.items():
        taken[line] = taken.get(line, 0) + minor


def _check(call: Call, row: LockRow, token: TokenRow, campaign: CampaignRow) -> None:
    """Raises RejectedError."""
    reasons = (
        ("wrong-store", token.store != row.store),
        ("other-client", token.client != row.client),
        ("already-used", token.state in (TokenState.LOCKED, TokenState.REDEEMED)),
        ("expired", call.now_s >= token.expires_s),
        ("not-kept", token.state is TokenState.ISSUED),
        ("withdrawn", token.withdrawn),
        ("other-currency", campaign.currency != row.currency),
        ("ended", campaign.status is not CampaignStatus.RUNNING),
    )
    for why, so in reasons:
        if so:
            raise RejectedError(why)


async def _locked_lock(db: Transaction, call: Call, name: str) -> LockRow:
    """The lock with its funds; one whose time is over is freed first."""
    await coupon_rows.lock_row(db, name)
    await _lock_funds(db, await coupon_rows.shares(db, name), call.now_s)
    row = await coupon_rows.locked_lock(db, name)
    if row.state == LockState.LOCKED and call.now_s >= row.expires_s:
        detail = "the visit took too long: lock the tokens again"
        raise ProblemError(409, "lock-lapsed", detail)
    return row


async def _lock_funds(db: Transaction, shares: Sequence[tuple[str, str]], now_s: int) -> None:
    for campaign, _ in shares:
        await campaigns.locked_row(db, campaign, now_s)


async def _free(db: Transaction, row: LockRow, signal: LockSignal, now_s: int) -> LockRow:
    after = advance(LOCK_STATES, LockState(row.state), signal, "coupon lock")
    if row.state != after.value:
        for _, hold_name in await coupon_rows.shares(db, row.coupon_lock):
            await funds.release(db, await funds.hold_of(db, hold_name, now_s), signal.value)
        await _end_tokens(db, row, TokenSignal.RELEASE, now_s)
    return await coupon_rows.set_state(db, row, after.value)


async def _end_tokens(db: Transaction, row: LockRow, signal: TokenSignal, now_s: int) -> None:
    redeemed = signal is TokenSignal.REDEEM
    for name, minor in await coupon_rows.token_discounts(db, row.coupon_lock):
        after = advance(TOKEN_STATES, TokenState.LOCKED, signal, "token")
        await promo_tokens.set_token_state(db, name, after, row.coupon_lock if redeemed else None)
        await campaigns.note(db, name, after.value, now_s, minor if redeemed else 0)


async def _reply(db: Transaction, row: LockRow, rejected: Sequence[Rejected] = ()) -> CouponLock:
    allocations = await coupon_rows.allocations(db, row.coupon_lock)
    return CouponLock(
        coupon_lock=row.coupon_lock,
        state=row.state,
        currency=row.currency,
        discount_minor=sum(one.discount_minor for one in allocations),
        allocations=allocations,
        rejected=list(rejected),
    )
