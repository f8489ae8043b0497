"""What the systems' tables hold about a shopper (see ``privacy.py``).

A wallet that belongs to a shopper has the shopper's account id as its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.privacy import ERASED, Personal

_WALLET = "wallet = $1"

PERSONAL: tuple[Personal, ...] = (
    Personal(
        table="screening",
        columns="screening, store, account, facts, state, issued_s, expires_s",
        holds="yes/no facts found out about the shopper, for which store",
        where="account = $1",
        why="that a token was used once stays; whose it was and what was true does not",
        blank={"account": "", "facts": ""},
    ),
    Personal(
        table="market_cart",
        columns="cart, currency, state, total_minor, purchase, journal, created_s",
        holds="carts over several merchants and what was paid for them",
        where="account = $1",
        why="books; its lines say what was bought, under the cart's id alone",
    ),
    Personal(
        table="checkout",
        columns="checkout, merchant, state, destination, way, total_minor, created_s",
        holds="what was chosen, and the address it goes to",
        where="account = $1",
        why="amounts stay for the order's books; the address does not",
        blank={"destination": ""},
    ),
    Personal(
        table="shop_order",
        columns="order_id, merchant, state, authorised_minor, captured_minor, created_s",
        holds="orders and what was paid for them",
        where="account = $1",
        why="books",
    ),
    Personal(
        table="wallet",
        columns="wallet, currency, status, created_s",
        holds="that the shopper has a prepaid wallet",
        where=_WALLET,
        why="its money is paid out first; the id stays taken",
    ),
    Personal(
        table="wallet_topup",
        columns="topup, amount_minor, currency, journal",
        holds="amounts paid in",
        where=_WALLET,
        why="books (append-only)",
    ),
    Personal(
        table="wallet_payout",
        columns="payout, amount_minor, currency, journal",
        holds="amounts paid out",
        where=_WALLET,
        why="books (append-only)",
    ),
    Personal(
        table="payment_request",
        columns="payment_request, merchant, max_amount_minor, created_s",
        holds="at which merchants a code was shown",
        where=_WALLET,
        why="amounts stay for the books; where the shopper was does not",
        blank={"merchant": ERASED},
    ),
    Personal(
        table="gift",
        columns="gift, amount_minor, currency, contact_hash, note, state, sent_s, claimed_by",
        holds="gifts sent and received, the digest of the receiver's contact, the note",
        where="wallet = $1 OR claimed_by = $1",
        why="amounts stay for the books",
        blank={"contact_hash": "", "note": ""},
    ),
    Personal(
        table="redemption",
        columns="redemption, item_grant, store, visit, sponsor_minor, consumer_minor, ship_to,"
        " handover, state, created_s",
        holds="what was taken at a sponsor's cost, where, and where it was shipped to",
        where="item_grant IN (SELECT item_grant FROM item_grant WHERE consumer = $1)",
        why="amounts stay for the books; places and addresses do not",
        blank={"store": ERASED, "visit": ERASED, "ship_to": ""},
    ),
    Personal(
        table="item_grant",
        columns="item_grant, invitation, item_store, active, created_s",
        holds="which sponsor lets the shopper take goods",
        where="consumer = $1",
        why="limits are counted by grant; whose it was does not stay, and it is good no more",
        blank={"consumer": ERASED, "active": 0},
    ),
    Personal(
        table="promo_token",
        columns="token_id, frame, client, state, expires_s, minted_s",
        holds="coupons that the shopper kept, by the id that one store knows",
        where="client = $1",
        why="funds are counted by token; whose it was does not stay",
        blank={"client": ERASED},
    ),
    Personal(
        table="coupon_lock",
        columns="coupon_lock, store, visit, client, state, created_s",
        holds="visits on which coupons came off",
        where="client = $1",
        why="amounts stay for the books; where the shopper was does not",
        blank={"client": ERASED, "visit": ERASED},
    ),
)

IMPERSONAL: Mapping[str, str] = {
    "merchant_notice": "ids of orders and bids that a merchant was told of",
    "shipment": "which lines of an order went together, and their amount",
    "shipment_event": "what carriers said of a shipment",
    "merchant": "merchants' public keys and fees",
    "market_part": "which merchant has a part in which cart",
    "market_line": "goods of a cart",
    "market_split": "amounts of merchants",
    "market_refund": "amounts given back, by cart",
    "cart_ref": "references to carts, as digests",
    "screening_policy": "what facts open, by store",
    "screening_use": "which gate a token opened, and what",
    "campaign": "a brand's terms",
    "campaign_funding": "what a brand paid in",
    "frame": "signed pages of shelves",
    "coupon_share": "holds on funds",
    "coupon_allocation": "what came off which line, by token",
    "coupon_return": "pieces that came back",
    "promo_event": "what happened to a token",
    "item_store": "a sponsor's limits; the sponsor is an organization",
    "item_store_funding": "what a sponsor paid in",
    "invitation": "codes and contacts, hashed",
    "redemption_line": "goods of a redemption",
    "sponsor_notice": "what a sponsor was told of a redemption",
    "code_payment": "a merchant's purchase and amount under the id of a code",
}
