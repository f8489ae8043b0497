"""System D in the database: carts with their parts, quotes and splits."""

from __future__ import annotations

from dataclasses import asdict

from broker.chart import payable
from broker.database import Transaction
from broker.idempotency import canonical, digest
from broker.problems import ProblemError
from broker.systems import charges, funds, merchants
from broker.systems.cart_types import (
    PART_STATES,
    CartPurchase,
    CartRow,
    CartState,
    MarketCart,
    MarketLine,
    MarketPart,
    PartRequest,
    PartSignal,
    PartState,
    Split,
)
from broker.systems.states import advance

PARTS_MAX = 20


def promised(cart: str, currency: str, asked: PartRequest) -> dict[str, object]:
    """What a merchant's signature covers."""
    return {
        "cart": cart,
        "merchant": asked.merchant,
        "currency": currency,
        "lines": [asdict(line) for line in asked.lines],
        "valid_until_s": asked.valid_until_s,
    }


def shown(of: list[MarketPart]) -> str:
    """A digest of what a shopper sees: merchants, lines, prices."""
    seen = [[one.merchant, one.state, [asdict(line) for line in one.lines]] for one in of]
    return digest(canonical(seen).decode()).hex()


def check_shown(of: MarketCart, total_minor: int, seen: str) -> None:
    """Raises ProblemError 409 when the cart is not what the shopper saw."""
    if seen != of.shown or total_minor != of.total_minor:
        detail = f"the cart is another now, {of.total_minor} in all: show it again"
        raise ProblemError(409, "cart-changed", detail)


def check_quote(one: MarketPart, now_s: int) -> None:
    """Raises ProblemError 409 for a part that nobody priced, or too long ago."""
    if one.state == PartState.PENDING:
        raise ProblemError(409, "part-pending", f"{one.merchant} has not priced its part")
    if one.state == PartState.CONFIRMED and one.valid_until_s <= now_s:
        raise ProblemError(409, "quote-expired", f"the quote of {one.merchant} is too old")


async def add_cart(
    db: Transaction, name: str, account: str, currency: str, copied_from: str, now_s: int
) -> int:
    return await db.run(_ADD, name, account, currency, copied_from, now_s)


async def write_part(
    db: Transaction,
    cart: str,
    merchant: str,
    lines: list[MarketLine],
    signal: PartSignal | None,
    valid_until_s: int,
) -> None:
    """Put a part in the place of the one before. ``signal`` None: copied, nobody priced it."""
    names = [line.line_id for line in lines]
    if len(set(names)) != len(names):
        raise ProblemError(422, "invalid-body", "a line_id comes twice", param="$.lines")
    before = await db.one(_PART, cart, merchant)
    count = await db.one("SELECT COUNT(*) FROM market_part WHERE cart = $1", cart)
    assert count is not None
    if before is None and count[0] >= PARTS_MAX:
        raise ProblemError(409, "too-many-parts", f"{PARTS_MAX} merchants are the most")
    state = PartState(before[0]) if before else PartState.PENDING
    after = advance(PART_STATES, state, signal, "part") if signal else PartState.PENDING
    await db.run(_SET_PART, cart, merchant, after, valid_until_s)
    await db.run("DELETE FROM market_line WHERE cart = $1 AND merchant = $2", cart, merchant)
    rows = [
        (cart, merchant, line.line_id, line.name, line.gtin, line.quantity, line.total_minor)
        for line in lines
    ]
    await db.many(_ADD_LINE, rows)


async def settle(
    db: Transaction, row: CartRow, purchase: str, of: list[MarketPart], now_s: int
) -> None:
    """Charge the shopper once for the confirmed parts and write each merchant's split."""
    if await db.one("SELECT 1 FROM market_cart WHERE purchase = $1", purchase) is not None:
        raise funds.same_id_other_content("purchase")
    splits = list[Split]()
    for one in of:
        if one.state == PartState.CONFIRMED and one.total_minor:
            fee_minor = (await merchants.merchant(db, one.merchant)).fee_minor(one.total_minor)
            splits.append(
                Split(merchant=one.merchant, amount_minor=one.total_minor, fee_minor=fee_minor)
            )
    if not splits:
        raise ProblemError(409, "nothing-to-pay", "no confirmed part has a price")
    credits = {payable(one.merchant): one.amount_minor - one.fee_minor for one in splits}
    credits["fees"] = sum(one.fee_minor for one in splits)
    journal = await charges.charge(
        db, row.account, "cart-purchase", purchase, credits, row.currency, now_s
    )
    total_minor = sum(one.amount_minor for one in splits)
    await db.run(_PAID, row.cart, purchase, total_minor, journal)
    rows = [(row.cart, one.merchant, one.amount_minor, one.fee_minor) for one in splits]
    await db.many("INSERT INTO market_split VALUES ($1, $2, $3, $4)", rows)


async def row_of(db: Transaction, name: str, lock: str = "") -> CartRow:
    """Raises ProblemError 404."""
    row = await db.one(f"{_CART} WHERE cart = $1{lock}", name)
    if row is None:
        raise ProblemError(404, "unknown-cart", "no cart has this id")
    return CartRow(
        cart=row[0],
        account=row[1],
        currency=row[2],
        state=CartState(row[3]),
        version=row[4],
        total_minor=row[5],
        purchase=row[6],
        journal=row[7],
    )


async def locked(db: Transaction, name: str) -> CartRow:
    """The same once no other transaction has the cart."""
    return await row_of(db, name, " FOR UPDATE")


async def reply(db: Transaction, row: CartRow) -> MarketCart:
    of = await parts(db, row)
    confirmed = [one.total_minor for one in of if one.state == PartState.CONFIRMED]
    return MarketCart(
        cart=row.cart,
        account=row.account,
        currency=row.currency,
        state=row.state.value,
        version=row.version,
        parts=of,
        total_minor=sum(confirmed),
        shown=shown(of),
    )


async def parts(db: Transaction, row: CartRow) -> list[MarketPart]:
    found = await db.all(_PARTS, row.cart)
    lines: dict[str, list[MarketLine]] = {}
    for merchant, *line in await db.all(_LINES, row.cart):
        made = MarketLine(
            line_id=line[0], name=line[1], gtin=line[2], quantity=line[3], total_minor=line[4]
        )
        lines.setdefault(merchant, []).append(made)
    return [
        MarketPart(
            cart=row.cart,
            merchant=merchant,
            state=state,
            currency=row.currency,
            lines=lines.get(merchant, []),
            total_minor=sum(line.total_minor for line in lines.get(merchant, [])),
            valid_until_s=valid_until_s,
        )
        for merchant, state, valid_until_s in found
    ]


async def purchased(db: Transaction, row: CartRow) -> CartPurchase:
    splits = await db.all(_SPLITS, row.cart)
    return CartPurchase(
        purchase=row.purchase or "",
        cart=row.cart,
        total_minor=row.total_minor,
        currency=row.currency,
        splits=[Split(merchant=m, amount_minor=a, fee_minor=f) for m, a, f in splits],
        journal=row.journal or 0,
    )


_CART = (
    "SELECT cart, account, currency, state, version, total_minor, purchase, journal"
    " FROM market_cart"
)
_ADD = (
    "INSERT INTO market_cart VALUES ($1, $2, $3, 'open', 1, 0, $4, NULL, NULL, $5)"
    " ON CONFLICT (cart) DO NOTHING"
)
_PAID = (
    "UPDATE market_cart SET state = 'paid', purchase = $2, total_minor = $3, journal = $4"
    " WHERE cart = $1"
)
_PART = "SELECT state FROM market_part WHERE cart = $1 AND merchant = $2"
_SET_PART = (
    "INSERT INTO market_part VALUES ($1, $2, $3, $4) ON CONFLICT (cart, merchant)"
    " DO UPDATE SET state = excluded.state, valid_until_s = excluded.valid_until_s"
)
_PARTS = "SELECT merchant, state, valid_until_s FROM market_part WHERE cart = $1 ORDER BY merchant"
_LINES = (
    "SELECT merchant, line_id, name, gtin, quantity, total_minor FROM market_line"
    " WHERE cart = $1 ORDER BY merchant, line_id"
)
_ADD_LINE = (
    "INSERT INTO market_line (cart, merchant, line_id, name, gtin, quantity, total_minor)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
)
_SPLITS = (
    "SELECT merchant, amount_minor, fee_minor FROM market_split WHERE cart = $1 ORDER BY merchant"
)
