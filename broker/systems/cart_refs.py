"""System D: a cart published under a reference, "the lunch of our team".

A reference is a one-time code of 128 bits that carries no person and no payment data. Opening it
shows lines and nothing else: it never orders, charges or reserves. A *copy* is a new cart that is
priced anew; of a *shared* cart every line is bought once, by whoever is first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import cart_rows, charges, funds, merchants, secret_codes
from broker.systems.cart_types import (
    CART_STATES,
    CartRow,
    CartSignal,
    CartState,
    MarketLine,
    MarketPart,
    PartState,
)
from broker.systems.states import advance

PURPOSE = "cart reference"
LIVES_S_MAX = 30 * 24 * 3600


class RefState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class RefSignal(StrEnum):
    EXPIRE = "expire"
    REVOKE = "revoke"


REF_STATES: Mapping[tuple[RefState, RefSignal], RefState] = {
    (RefState.ACTIVE, RefSignal.EXPIRE): RefState.EXPIRED,
    (RefState.ACTIVE, RefSignal.REVOKE): RefState.REVOKED,
    (RefState.EXPIRED, RefSignal.REVOKE): RefState.EXPIRED,
    (RefState.REVOKED, RefSignal.REVOKE): RefState.REVOKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefRequest:
    """POST /v1/carts/{cart}/refs. ``mode``: copy or shared; a shared cart is frozen."""

    ref: str
    mode: str
    lives_s: int = LIVES_S_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class CartRef:
    """``code``: the reference that is passed on."""

    ref: str
    cart: str
    mode: str
    state: str
    expires_s: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefLine:
    """``total_minor``: 0 in a copy, which is priced anew. ``taken``: somebody bought it."""

    line_id: str
    name: str
    gtin: str
    quantity: int
    total_minor: int
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefPart:
    merchant: str
    lines: list[RefLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefView:
    """GET /v1/cart-refs/{code}: what is in it; opening it does nothing."""

    mode: str
    state: str
    currency: str
    expires_s: int
    parts: list[RefPart]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """POST /v1/cart-refs/copy: a cart of one's own with the same lines, nobody's prices."""

    code: str
    cart: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PickedLine:
    merchant: str
    line_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPurchaseRequest:
    """POST /v1/cart-refs/purchase: some lines of a shared cart, at the price that was shown."""

    code: str
    cart: str
    purchase: str
    account: str
    lines: list[PickedLine]
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _RefRow:
    ref: str
    cart: str
    mode: str
    kid: str
    state: RefState
    expires_s: int


# --- effects ----------------------------------------------------------------------------------


async def publish(db: Transaction, call: Call, asked: RefRequest) -> Answer:
    """A reference to a cart; the reply names the key that its code is derived with.

    Raises:
        ProblemError: 409 the cart cannot be published so, or the id came otherwise.
    """
    merchants.check_operator(call)
    row = await cart_rows.locked(db, call.named)
    known = await _row(db, "ref = $1", asked.ref, call.now_s)
    if known is not None:
        if (known.cart, known.mode) != (row.cart, asked.mode):
            raise funds.same_id_other_content("ref")
        return answer(201, _reply(known), replayed=True)
    until_s = call.now_s + asked.lives_s
    if asked.mode == "shared":
        until_s = min(until_s, await _freeze(db, row, call.now_s))
    elif row.state is CartState.CANCELED:
        raise ProblemError(409, "wrong-state", "the cart was canceled")
    key = call.service.signing[0]
    code_hash = secret_codes.hashed(secret_codes.code_of(key, PURPOSE, asked.ref))
    given = (asked.ref, row.cart, asked.mode, code_hash, key.kid, RefState.ACTIVE.value)
    await db.run(_ADD_REF, *given, until_s, call.now_s)
    made = await _row(db, "ref = $1", asked.ref, call.now_s)
    assert made is not None
    return answer(201, _reply(made))


async def revoke(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Nobody opens or buys by it any more."""
    merchants.check_operator(call)
    known = await _row(db, "ref = $1", call.named, call.now_s)
    if known is None:
        raise _unknown()
    after = advance(REF_STATES, known.state, RefSignal.REVOKE, "reference")
    await db.run("UPDATE cart_ref SET state = $2 WHERE ref = $1", known.ref, after)
    return answer(200, _view(replace(known, state=after), "", []))


async def copy(db: Transaction, call: Call, asked: CopyRequest) -> Answer:
    """A new cart with the lines of a published one; every part waits for its merchant's price."""
    merchants.check_operator(call)
    ref = await _usable(db, asked.code, "copy", call.now_s)
    source = await cart_rows.row_of(db, ref.cart)
    await charges.chargeable(db, asked.account, source.currency, 0, call.now_s)
    added = await cart_rows.add_cart(
        db, asked.cart, asked.account, source.currency, ref.ref, call.now_s
    )
    if not added:
        known = await cart_rows.row_of(db, asked.cart)
        origin = await db.one("SELECT copied_from FROM market_cart WHERE cart = $1", asked.cart)
        if known.account != asked.account or origin != (ref.ref,):
            raise funds.same_id_other_content("cart")
        return answer(201, await cart_rows.reply(db, known), replayed=True)
    for one in await cart_rows.parts(db, source):
        lines = [replace(line, total_minor=0) for line in one.lines]
        await cart_rows.write_part(db, asked.cart, one.merchant, lines, None, 0)
    return answer(201, await cart_rows.reply(db, await cart_rows.row_of(db, asked.cart)))


async def purchase(db: Transaction, call: Call, asked: SharedPurchaseRequest) -> Answer:
    """Buy lines of a shared cart: each once, in one charge, or none of them.

    Raises:
        ProblemError: 404, 409 a line is taken, the price is another, a quote too old.
        LedgerRefusalError: the account is blocked or has no room; nothing was taken.
    """
    merchants.check_operator(call)
    known = await db.one("SELECT purchase FROM market_cart WHERE cart = $1", asked.cart)
    if known is not None:
        if known != (asked.purchase,):
            raise funds.same_id_other_content("cart")
        row = await cart_rows.row_of(db, asked.cart)
        return answer(201, await cart_rows.purchased(db, row), replayed=True)
    ref = await _usable(db, asked.code, "shared", call.now_s)
    source = await cart_rows.locked(db, ref.cart)
    picked = {(line.merchant, line.line_id) for line in asked.lines}
    bought = _bought(await cart_rows.parts(db, source), picked)
    for one in bought:
        cart_rows.check_quote(one, call.now_s)
    total_minor = sum(one.total_minor for one in bought)
    if total_minor != asked.total_minor:
        detail = f"these lines are {total_minor} in all: show them again"
        raise ProblemError(409, "cart-changed", detail, param="$.total_minor")
    await charges.chargeable(db, asked.account, source.currency, total_minor, call.now_s)
    for merchant, line_id in sorted(picked):
        if not await db.run(_TAKE, source.cart, merchant, line_id, asked.cart):
            raise ProblemError(409, "line-taken", f"somebody bought line {line_id} of {merchant}")
    await cart_rows.add_cart(db, asked.cart, asked.account, source.currency, ref.ref, call.now_s)
    for one in bought:
        await cart_rows.write_part(db, asked.cart, one.merchant, one.lines, None, 0)
    row = await cart_rows.row_of(db, asked.cart)
    await cart_rows.settle(db, row, asked.purchase, bought, call.now_s)
    await db.run(_CONFIRM, asked.cart)
    row = await cart_rows.row_of(db, asked.cart)
    return answer(201, await cart_rows.purchased(db, row))


async def opened(db: Transaction, call: Call, code: str) -> RefView:
    """What is in a published cart. Nothing is written."""
    ref = await _row(db, "code_hash = $1", secret_codes.hashed(code), call.now_s)
    if ref is None:
        raise _unknown()
    source = await cart_rows.row_of(db, ref.cart)
    if ref.state is not RefState.ACTIVE:
        return _view(ref, source.currency, [])
    taken = {(m, n) for m, n in await db.all(_TAKEN, ref.cart)}
    shared = ref.mode == "shared"
    parts = [
        RefPart(
            merchant=one.merchant,
            lines=[
                RefLine(
                    line_id=line.line_id,
                    name=line.name,
                    gtin=line.gtin,
                    quantity=line.quantity,
                    total_minor=line.total_minor if shared else 0,
                    taken=(one.merchant, line.line_id) in taken,
                )
                for line in one.lines
            ],
        )
        for one in await cart_rows.parts(db, source)
        if one.state != PartState.REJECTED
    ]
    return _view(ref, source.currency, parts)


# --- helpers ----------------------------------------------------------------------------------


async def _freeze(db: Transaction, row: CartRow, now_s: int) -> int:
    """No edits from now on; until when the prices hold."""
    after = advance(CART_STATES, row.state, CartSignal.PUBLISH, "cart")
    of = await cart_rows.parts(db, row)
    confirmed = [one for one in of if one.state == PartState.CONFIRMED]
    for one in of:
        cart_rows.check_quote(one, now_s)
    if not confirmed:
        raise ProblemError(409, "nothing-to-pay", "no confirmed part has a price")
    await db.run("UPDATE market_cart SET state = $2 WHERE cart = $1", row.cart, after)
    return min(one.valid_until_s for one in confirmed)


async def _usable(db: Transaction, code: str, mode: str, now_s: int) -> _RefRow:
    ref = await _row(db, "code_hash = $1", secret_codes.hashed(code), now_s)
    if ref is None:
        raise _unknown()
    if ref.mode != mode:
        raise ProblemError(409, "other-mode", f"this reference is for {ref.mode}", param="$.code")
    if ref.state is not RefState.ACTIVE:
        raise ProblemError(409, "ref-over", f"the reference is {ref.state.value}", param="$.code")
    return ref


def _bought(of: list[MarketPart], picked: set[tuple[str, str]]) -> list[MarketPart]:
    """The parts with the picked lines alone."""
    found = list[MarketPart]()
    for one in of:
        lines = [line for line in one.lines if (one.merchant, line.line_id) in picked]
        if lines and one.state == PartState.CONFIRMED:
            found.append(replace(one, lines=lines, total_minor=_total(lines)))
    if sum(len(one.lines) for one in found) != len(picked):
        raise ProblemError(404, "unknown-line", "no such line in this cart", param="$.lines")
    return found


def _total(lines: list[MarketLine]) -> int:
    return sum(line.total_minor for line in lines)


async def _row(db: Transaction, where: str, value: str, now_s: int) -> _RefRow | None:
    row = await db.one(f"SELECT {_COLUMNS} FROM cart_ref WHERE {where}", value)
    if row is None:
        return None
    state = RefState(row[4])
    if state is RefState.ACTIVE and now_s >= row[5]:
        state = advance(REF_STATES, state, RefSignal.EXPIRE, "reference")
    return _RefRow(ref=row[0], cart=row[1], mode=row[2], kid=row[3], state=state, expires_s=row[5])


def _reply(row: _RefRow) -> CartRef:
    return CartRef(
        ref=row.ref,
        cart=row.cart,
        mode=row.mode,
        state=row.state.value,
        expires_s=row.expires_s,
        code=row.kid,
    )


def _view(row: _RefRow, currency: str, parts: list[RefPart]) -> RefView:
    return RefView(
        mode=row.mode,
        state=row.state.value,
        currency=currency,
        expires_s=row.expires_s,
        parts=parts,
    )


def _unknown() -> ProblemError:
    return ProblemError(404, "unknown-ref", "no reference of ours")


_COLUMNS = "ref, cart, mode, kid, state, expires_s"
_ADD_REF = "INSERT INTO cart_ref VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_TAKE = (
    "UPDATE market_line SET taken_by = $4 WHERE cart = $1 AND merchant = $2 AND line_id = $3"
    " AND taken_by = ''"
)
_TAKEN = "SELECT merchant, line_id FROM market_line WHERE cart = $1 AND taken_by <> ''"
_CONFIRM = "UPDATE market_part SET state = 'confirmed' WHERE cart = $1"
