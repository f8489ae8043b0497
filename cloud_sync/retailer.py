"""The retailer's systems: a price with three kinds of answers, and two questions at the entry.

    priced, and the reply adds up          -> Priced
    priced, and it does not (PriceMismatch) -> PriceRefused, the group parks
    422 unknown-sku                         -> CartRefused naming the SKU, the group parks

Pure; ``service.py`` sends. The contract for retailers is docs/retailer-api.md.
"""

from __future__ import annotations

import re

import msgspec

from cloud_sync.amounts import decode, encode
from cloud_sync.demands import Admitted, NotAdmitted, Verified
from cloud_sync.outcomes import DETAIL_LENGTH_MAX, BadAnswer, read
from cloud_sync.pricing import NAME_LENGTH_MAX, PriceMismatch, check_reply, purchase_request
from cloud_sync.purchase import Ask, CartRefused, Operation, Priced, PriceRefused, Signal, Terms
from messages.contract import PROBLEM_BASE, Problem, PurchaseReply, PurchaseRequest
from messages.events import CartClosed
from messages.money import MINOR_MAX
from messages.retailer_contract import (
    ENTRY_PATH,
    IDENTITY_PATH,
    PURCHASES_PATH,
    Choice,
    EntryReason,
    EntryReply,
    EntryRequest,
    IdentityReply,
)

DESTINATION = "retailer"
PATH = PURCHASES_PATH
ADJUST = "ADJUST"  # the one condition of an entry decision
UNKNOWN_SKU = PROBLEM_BASE + "unknown-sku"
UNPROCESSABLE = 422
_ITEM = re.compile(r"cartItems\[(\d{1,6})\]")  # JSONPath of the item that was refused


OPERATIONS = frozenset({Operation.VERIFY, Operation.ADMIT, Operation.PRICE})


def request(ask: Ask, terms: Terms) -> tuple[str, bytes]:
    """Path and JSON body of a question to the retailer."""
    if isinstance(ask.body, CartClosed):
        return PATH, msgspec.json.encode(purchase_request(ask.body, terms.store))
    path = IDENTITY_PATH if ask.operation is Operation.VERIFY else ENTRY_PATH
    return path, encode(ask.body, terms.amounts, terms.currency)


def signal(operation: Operation, asked: bytes, body: bytes, terms: Terms) -> Signal:
    """What a 2xx reply means. Raises BadAnswer when it is not the contract's at all."""
    match operation:
        case Operation.VERIFY:
            return _verified(decode(body, IdentityReply, terms.amounts, terms.currency))
        case Operation.ADMIT:
            return _admitted(asked, decode(body, EntryReply, terms.amounts, terms.currency), terms)
        case _:
            return _priced(asked, decode(body, PurchaseReply, terms.amounts, terms.currency), terms)


def _priced(asked: bytes, reply: PurchaseReply, terms: Terms) -> Signal:
    try:
        lines, total = check_reply(read(asked, PurchaseRequest), reply, terms.currency)
    except PriceMismatch as error:
        return PriceRefused(detail=f"PriceMismatch: {error}")
    return Priced(purchase=reply.purchaseId, total=total, lines=lines)


def _verified(reply: IdentityReply) -> Signal:
    if reply.decision is Choice.REJECT:
        return NotAdmitted(reason=reply.reason or EntryReason.UNKNOWN_SHOPPER)
    shopper = reply.shopperIdentity.id if reply.shopperIdentity else ""
    if not 0 < len(shopper) <= NAME_LENGTH_MAX:
        raise BadAnswer("an accepted key without a shopperIdentity")
    return Verified(shopper=shopper)


def _admitted(asked: bytes, reply: EntryReply, terms: Terms) -> Signal:
    most = decode(asked, EntryRequest, terms.amounts, terms.currency).authorizedAmount.amount
    unpaid = reply.unpaidBalance.amount if reply.unpaidBalance else 0
    if not 0 <= unpaid <= MINOR_MAX:
        raise BadAnswer(f"unpaidBalance {unpaid}")
    if not reply.shopperAuthorized:
        return NotAdmitted(reason=reply.reason or EntryReason.OTHER, unpaid_minor=unpaid)
    for condition in reply.authorizationConditions:
        amount = condition.amount
        if condition.type != ADJUST or amount.currencyCode != terms.currency:
            raise BadAnswer(f"condition {condition.type!r} in {amount.currencyCode!r}")
        if not 0 < amount.amount <= most:
            raise BadAnswer(f"hold adjusted to {amount.amount}, asked for {most}")
        most = amount.amount
    return Admitted(hold_minor=most, unpaid_minor=unpaid)


def refusal(asked: bytes, status: int, body: bytes) -> Signal | None:
    """The refusal that says something about the cart, or None for any other."""
    if status != UNPROCESSABLE:
        return None
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if problem.type != UNKNOWN_SKU:
        return None
    sku = _named_sku(read(asked, PurchaseRequest), problem)
    detail = problem.detail[:DETAIL_LENGTH_MAX]
    return CartRefused(detail=f"the retailer does not know SKU {sku}: {detail}".rstrip(": "))


def _named_sku(wanted: PurchaseRequest, problem: Problem) -> str:
    """The SKU that ``param`` points at, else the first one that the detail mentions."""
    found = _ITEM.search(problem.param)
    if found and int(found[1]) < len(wanted.cartItems):
        return wanted.cartItems[int(found[1])].id
    named = (item.id for item in wanted.cartItems if item.id in problem.detail)
    return next(named, "(not named)")
