"""System D: one cart over several merchants, one purchase.

Each merchant prices its part and signs the quote; the shopper sees one total and confirms exactly
that; one journal charges it and splits it. A part without a signed quote is *pending*, a rejected
one is not charged. A merchant sees its own part alone.
"""

from __future__ import annotations

from broker.chart import payable
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import cart_rows, charges, funds, merchants
from broker.systems.cart_types import (
    CART_STATES,
    PART_STATES,
    CartPurchaseRequest,
    CartRefund,
    CartRefundRequest,
    CartRequest,
    CartSignal,
    CartState,
    MarketCart,
    MarketPart,
    PartRequest,
    PartSignal,
    PartState,
)
from broker.systems.states import advance

PURPOSE = "cart part"  # what a merchant's signature is for


# --- effects ----------------------------------------------------------------------------------


async def open_cart(db: Transaction, call: Call, asked: CartRequest) -> Answer:
    merchants.check_operator(call)
    state = await _account_currency(db, asked.account)
    if state != asked.currency:
        detail = f"{asked.currency} asked, the account is in {state}"
        raise ProblemError(422, "currency-mismatch", detail, param="$.currency")
    if not await cart_rows.add_cart(db, asked.cart, asked.account, asked.currency, "", call.now_s):
        known = await cart_rows.row_of(db, asked.cart)
        if (known.account, known.currency) != (asked.account, asked.currency):
            raise funds.same_id_other_content("cart")
        return answer(201, await cart_rows.reply(db, known), replayed=True)
    return answer(201, await cart_rows.reply(db, await cart_rows.row_of(db, asked.cart)))


async def quote(db: Transaction, call: Call, asked: PartRequest) -> Answer:
    """A merchant's part, priced and signed; a later quote takes the place of an earlier one.

    Raises:
        ProblemError: 403 not that merchant's signature, 409 the cart takes no parts any more,
            422 a quote that has expired.
    """
    merchants.check_party(call, asked.merchant)
    row = await cart_rows.locked(db, call.named)
    advance(CART_STATES, row.state, CartSignal.EDIT, "cart")
    of = await merchants.merchant(db, asked.merchant)
    promise = cart_rows.promised(row.cart, row.currency, asked)
    merchants.check_signature(of, asked.merchant_signature, PURPOSE, promise)
    if asked.valid_until_s <= call.now_s:
        raise ProblemError(422, "quote-expired", "the quote is too old", param="$.valid_until_s")
    await cart_rows.write_part(db, row.cart, asked.merchant, asked.lines, PartSignal.QUOTE,
                     asked.valid_until_s)  # fmt: skip
    await db.run(_TOUCH, row.cart)
    return answer(201, await part(db, call, row.cart, asked.merchant))


async def reject(db: Transaction, call: Call, _: Nothing) -> Answer:
    """A merchant cannot deliver its part: it will not be charged."""
    name = call.path["merchant"]
    merchants.check_party(call, name)
    row = await cart_rows.locked(db, call.named)
    advance(CART_STATES, row.state, CartSignal.EDIT, "cart")
    before = await part(db, call, row.cart, name)
    after = advance(PART_STATES, PartState(before.state), PartSignal.REJECT, "part")
    await db.run(_STATE, row.cart, name, after)
    await db.run(_TOUCH, row.cart)
    return answer(200, await part(db, call, row.cart, name))


async def purchase(db: Transaction, call: Call, asked: CartPurchaseRequest) -> Answer:
    """One charge for all confirmed parts, split to the cent.

    Raises:
        ProblemError: 409 not what was shown, a part not priced or its quote too old, or bought.
        LedgerRefusalError: the account is blocked or has no room; nothing was done.
    """
    merchants.check_operator(call)
    row = await cart_rows.locked(db, call.named)
    if row.state is CartState.PAID and row.purchase == asked.purchase:
        return answer(201, await cart_rows.purchased(db, row), replayed=True)
    advance(CART_STATES, row.state, CartSignal.PAY, "cart")
    cart = await cart_rows.reply(db, row)
    cart_rows.check_shown(cart, asked.total_minor, asked.shown)
    for one in cart.parts:
        cart_rows.check_quote(one, call.now_s)
    await cart_rows.settle(db, row, asked.purchase, cart.parts, call.now_s)
    return answer(201, await cart_rows.purchased(db, await cart_rows.row_of(db, row.cart)))


async def cancel(db: Transaction, call: Call, _: Nothing) -> Answer:
    merchants.check_operator(call)
    row = await cart_rows.locked(db, call.named)
    after = advance(CART_STATES, row.state, CartSignal.CANCEL, "cart")
    await db.run("UPDATE market_cart SET state = $2 WHERE cart = $1", row.cart, after)
    return answer(200, await cart_rows.reply(db, await cart_rows.row_of(db, row.cart)))


async def refund(db: Transaction, call: Call, asked: CartRefundRequest) -> Answer:
    """Part or all of one merchant's split goes back; no other split is touched.

    Raises:
        ProblemError: 404 no such split, 409 the id came otherwise, 422 more than is left of it.
    """
    merchants.check_party(call, asked.merchant)
    row = await cart_rows.locked(db, call.named)
    known = await db.one(_REFUND, asked.refund)
    if known is not None:
        if known[1:4] != (row.cart, asked.merchant, asked.amount_minor):
            raise funds.same_id_other_content("refund")
        return answer(201, _refunded(known), replayed=True)
    split = await db.one(_LEFT, row.cart, asked.merchant)
    if split is None:
        raise ProblemError(404, "unknown-split", "this merchant has no share in this purchase")
    if asked.amount_minor > split[0]:
        detail = f"{asked.amount_minor} is more than the {split[0]} left of the split"
        raise ProblemError(422, "refund-above-split", detail, param="$.amount_minor")
    debits = {payable(asked.merchant): asked.amount_minor}
    journal = await charges.give_back(
        db, row.account, "cart-refund", asked.refund, debits, row.currency, call.now_s
    )
    given = (asked.refund, row.cart, asked.merchant, asked.amount_minor)
    await db.run(_ADD_REFUND, *given, asked.reason, journal)
    return answer(201, _refunded((*given, journal)))


# --- questions --------------------------------------------------------------------------------


async def cart(db: Transaction, call: Call, name: str) -> MarketCart:
    """The whole cart, for whom it belongs to."""
    merchants.check_operator(call)
    return await cart_rows.reply(db, await cart_rows.row_of(db, name))


async def part(db: Transaction, call: Call, name: str, merchant: str) -> MarketPart:
    """One merchant's part; raises ProblemError 404."""
    merchants.check_party(call, merchant)
    row = await cart_rows.row_of(db, name)
    found = [one for one in await cart_rows.parts(db, row) if one.merchant == merchant]
    if not found:
        raise ProblemError(404, "unknown-part", "this merchant has no part in this cart")
    return found[0]


# --- helpers ----------------------------------------------------------------------------------


async def _account_currency(db: Transaction, account: str) -> str:
    row = await db.one("SELECT currency FROM account WHERE account = $1", account)
    if row is None:
        raise ProblemError(404, "unknown-account", "no account has this id")
    return str(row[0])


def _refunded(row: tuple[object, ...]) -> CartRefund:
    refund, cart, merchant, amount_minor, journal = row
    return CartRefund(
        refund=str(refund),
        cart=str(cart),
        merchant=str(merchant),
        amount_minor=int(str(amount_minor)),
        journal=int(str(journal)),
    )


_TOUCH = "UPDATE market_cart SET version = version + 1 WHERE cart = $1"
_STATE = "UPDATE market_part SET state = $3 WHERE cart = $1 AND merchant = $2"
_LEFT = (
    "SELECT CAST(s.amount_minor - (SELECT COALESCE(SUM(r.amount_minor), 0) FROM market_refund r"
    " WHERE r.cart = s.cart AND r.merchant = s.merchant) AS BIGINT)"
    " FROM market_split s WHERE s.cart = $1 AND s.merchant = $2"
)
_REFUND = (
    "SELECT refund, cart, merchant, amount_minor, journal FROM market_refund WHERE refund = $1"
)
_ADD_REFUND = "INSERT INTO market_refund VALUES ($1, $2, $3, $4, $5, $6)"
