"""Merchants that sign, for tests of carts, checkouts and bids."""

from __future__ import annotations

import hashlib
from typing import Any

from both_databases import account_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from desk import Desk

from broker import store
from broker.systems import cart_rows, carts, merchants
from broker.systems.cart_types import CartRequest, MarketLine, PartRequest
from broker.systems.merchants import MerchantRequest


def private_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def registered(desk: Desk, *names: str, fee_permille: int = 0) -> None:
    """Merchants, each with a key made from its name."""
    for name in names:
        asked = MerchantRequest(
            public_key=private_key(name).public_key().public_bytes_raw().hex(),
            fee_permille=fee_permille,
        )
        desk.if_match = 0
        desk.do(merchants.set_merchant, asked, id=name)
        desk.if_match = None


def shopper(desk: Desk, name: str, limit_minor: int = 50_000) -> None:
    desk.ledger.do(lambda db: store.open_account(db, account_of(name, limit_minor), 0))


def paid(desk: Desk, name: str, amount_minor: int) -> None:
    """The provider collected from the shopper."""
    asked = store.PaymentRequest(
        payment=f"paid-{name}-{amount_minor}",
        account=name,
        amount_minor=amount_minor,
        currency="EUR",
    )
    desk.ledger.do(lambda db: store.record_payment(db, asked, desk.now_s))


def owed(desk: Desk, name: str) -> int:
    state = desk.ledger.ask(lambda db: store.account(db, name, desk.now_s))
    return int(state.owed_minor)


def held(desk: Desk, name: str) -> int:
    state = desk.ledger.ask(lambda db: store.account(db, name, desk.now_s))
    return int(state.held_minor)


def part_of(desk: Desk, cart: str, merchant: str, prices: dict[str, int]) -> PartRequest:
    """A signed quote, good for ten minutes. ``prices``: line -> minor."""
    lines = [
        MarketLine(line_id=name, name=f"{name} of {merchant}", quantity=1, total_minor=minor)
        for name, minor in prices.items()
    ]
    asked = PartRequest(
        merchant=merchant, lines=lines, valid_until_s=desk.now_s + 600, merchant_signature=""
    )
    promise = cart_rows.promised(cart, "EUR", asked)
    signature = merchants.sign(private_key(merchant), carts.PURPOSE, promise)
    return PartRequest(
        merchant=merchant,
        lines=lines,
        valid_until_s=asked.valid_until_s,
        merchant_signature=signature,
    )


def filled_cart(
    desk: Desk, name: str, account: str, parts: dict[str, dict[str, int]]
) -> dict[str, Any]:
    """A cart with a signed part of each merchant, as the shopper sees it."""
    desk.do(carts.open_cart, CartRequest(cart=name, account=account, currency="EUR"))
    for merchant, prices in parts.items():
        desk.do(carts.quote, part_of(desk, name, merchant, prices), id=name)
    return shown_cart(desk, name)


def shown_cart(desk: Desk, name: str) -> dict[str, Any]:
    cart = desk.ask(carts.cart, name)
    return {"total_minor": cart.total_minor, "shown": cart.shown, "cart": cart}
