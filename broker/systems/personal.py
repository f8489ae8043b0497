"""What the systems' tables hold about a shopper (see ``privacy.py``).

A wallet that belongs to a shopper has the shopper's account id as its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.privacy import ERASED, Personal

_WALLET = "wallet = $1"

PERSONAL: tuple[Personal, ...] = (
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
)

IMPERSONAL: Mapping[str, str] = {
    "code_payment": "a merchant's purchase and amount under the id of a code",
}
