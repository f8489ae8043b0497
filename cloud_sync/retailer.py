"""The retailer's pricing system: one request, three kinds of answers.

    priced, and the reply adds up          -> Priced
    priced, and it does not (PriceMismatch) -> PriceRefused, the group parks
    422 unknown-sku                         -> CartRefused naming the SKU, the group parks

Pure; ``service.py`` sends. The contract for retailers is docs/retailer-api.md.
"""

from __future__ import annotations

import re

import msgspec

from cloud_sync.amounts import Amounts, decode
from cloud_sync.outcomes import DETAIL_LENGTH_MAX, read
from cloud_sync.pricing import PriceMismatch, check_reply, purchase_request
from cloud_sync.purchase import Ask, CartRefused, Priced, PriceRefused, Signal, Terms
from messages.contract import PROBLEM_BASE, Problem, PurchaseReply, PurchaseRequest
from messages.events import CartClosed

DESTINATION = "retailer"
PATH = "/v1/order/purchases"
UNKNOWN_SKU = PROBLEM_BASE + "unknown-sku"
UNPROCESSABLE = 422
_ITEM = re.compile(r"cartItems\[(\d{1,6})\]")  # JSONPath of the item that was refused


def request(ask: Ask, terms: Terms) -> tuple[str, bytes]:
    """Path and JSON body of a purchase."""
    assert isinstance(ask.body, CartClosed)
    return PATH, msgspec.json.encode(purchase_request(ask.body, terms.store))


def signal(asked: bytes, body: bytes, currency: str, amounts: Amounts = Amounts.MINOR) -> Signal:
    """What a 2xx reply means. Raises BadAnswer when it is not the contract's at all."""
    wanted = read(asked, PurchaseRequest)
    reply = decode(body, PurchaseReply, amounts, currency)
    try:
        lines, total = check_reply(wanted, reply, currency)
    except PriceMismatch as error:
        return PriceRefused(detail=f"PriceMismatch: {error}")
    return Priced(purchase=reply.purchaseId, total=total, lines=lines)


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
