"""Rows of coupon locks: the lock, its share of each fund, what comes off each line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from broker import accounts
from broker.database import Transaction
from broker.problems import ProblemError
from broker.systems import funds
from broker.systems.campaigns import CampaignRow
from broker.systems.goods import CartLine
from broker.systems.promo_tokens import TokenRow
from messages.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    coupon_lock: str
    store: str
    visit: str
    client: str
    currency: str
    state: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What one token takes off one line of ``quantity`` pieces."""

    line_id: str
    token_id: str
    campaign: str
    quantity: int
    discount_minor: int


async def lock_or_none(db: Transaction, name: str) -> LockRow | None:
    row = await db.one(_LOCK, name)
    if row is None:
        return None
    return LockRow(
        coupon_lock=row[0],
        store=row[1],
        visit=row[2],
        client=row[3],
        currency=row[4],
        state=row[5],
        expires_s=row[6],
    )


async def lock_row(db: Transaction, name: str) -> LockRow:
    """Raises ProblemError 404."""
    row = await lock_or_none(db, name)
    if row is None:
        raise ProblemError(404, "unknown-coupon-lock", "no coupon lock has this id")
    return row


async def locked_lock(db: Transaction, name: str) -> LockRow:
    """The lock once no other transaction has it."""
    await db.one("SELECT 1 FROM coupon_lock WHERE coupon_lock = $1 FOR UPDATE", name)
    return await lock_row(db, name)


async def insert_lock(db: Transaction, row: LockRow, now_s: int) -> None:
    given = (row.coupon_lock, row.store, row.visit, row.client, row.currency, row.state)
    await db.run(_INSERT, *given, row.expires_s, now_s)


async def set_state(db: Transaction, row: LockRow, state: str) -> LockRow:
    await db.run("UPDATE coupon_lock SET state = $2 WHERE coupon_lock = $1", row.coupon_lock, state)
    return replace(row, state=state)


async def hold_share(
    db: Transaction, row: LockRow, campaign: CampaignRow, amount: Money, now_s: int
) -> None:
    """One hold a campaign; a second token of it makes the hold larger.

    Raises:
        LedgerRefusalError: the fund has too little free.
    """
    name = f"coupon:{row.coupon_lock}:{campaign.campaign}"
    if await db.one("SELECT 1 FROM coupon_share WHERE hold = $1", name) is not None:
        await accounts.hold_more(db, campaign.account, campaign.currency, amount.minor)
        await db.run(_GROW, name, amount.minor)
        return
    hold = funds.new_hold(
        name, campaign.account, amount, now_s=now_s, expires_s=row.expires_s, visit=row.visit
    )
    await funds.reserve(db, hold)
    share = (row.coupon_lock, campaign.campaign, name)
    await db.run("INSERT INTO coupon_share VALUES ($1, $2, $3)", *share)


async def insert_allocations(
    db: Transaction,
    row: LockRow,
    token: TokenRow,
    off: Mapping[str, int],
    lines: Sequence[CartLine],
) -> None:
    of = (row.coupon_lock, token.token_id)
    rows = [
        (*of, line.line_id, token.campaign, line.quantity, line.total_minor, off[line.line_id])
        for line in lines
        if line.line_id in off
    ]
    await db.many("INSERT INTO coupon_allocation VALUES ($1, $2, $3, $4, $5, $6, $7)", rows)


async def shares(db: Transaction, name: str) -> list[tuple[str, str]]:
    """Campaign and hold of each, in the order in which funds are locked."""
    return [(campaign, hold) for campaign, hold in await db.all(_SHARES, name)]


async def token_discounts(db: Transaction, name: str) -> list[tuple[str, int]]:
    """The lock's tokens and what each took off."""
    return [(token, minor) for token, minor in await db.all(_TOKENS, name)]


async def allocations(db: Transaction, name: str) -> list[Allocation]:
    return [
        Allocation(
            line_id=line,
            token_id=token,
            campaign=campaign,
            quantity=quantity,
            discount_minor=minor,
        )
        for line, token, campaign, quantity, minor in await db.all(_ALLOCATIONS, name)
    ]


async def lapsed(db: Transaction, now_s: int, most: int) -> list[str]:
    return [row[0] for row in await db.all(_LAPSED, now_s, most)]


_LOCK = (
    "SELECT coupon_lock, store, visit, client, currency, state, expires_s FROM coupon_lock"
    " WHERE coupon_lock = $1"
)
_INSERT = "INSERT INTO coupon_lock VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_GROW = "UPDATE hold SET amount_minor = amount_minor + $2 WHERE hold = $1"
_SHARES = "SELECT campaign, hold FROM coupon_share WHERE coupon_lock = $1 ORDER BY campaign"
_TOKENS = """
SELECT token_id, CAST(SUM(discount_minor) AS BIGINT) FROM coupon_allocation
WHERE coupon_lock = $1 GROUP BY token_id ORDER BY token_id
"""
_ALLOCATIONS = (
    "SELECT line_id, token_id, campaign, quantity, discount_minor FROM coupon_allocation"
    " WHERE coupon_lock = $1 ORDER BY line_id, token_id"
)
_LAPSED = (
    "SELECT coupon_lock FROM coupon_lock WHERE state = 'locked' AND expires_s <= $1"
    " ORDER BY coupon_lock LIMIT $2"
)
