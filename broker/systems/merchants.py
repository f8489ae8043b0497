"""Merchants as parties: their fee, and the key that they sign carts and quotes with.

A merchant's signature is Ed25519 over a text that says what it is for and the canonical JSON of
what is promised (``signed_text``); it travels as base64 in a field, through apps that cannot change
what it says. A key of the API that is bound to a merchant does and sees that merchant's alone.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.database import Transaction
from broker.idempotency import Answer, answer, canonical
from broker.problems import ProblemError
from broker.routes import Call, same_version


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantRequest:
    """PUT /v1/merchants/{merchant}, If-Match "0" at first. ``public_key``: 32 bytes as hex."""

    public_key: str
    fee_permille: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """``fee_permille``: our share of what it sells, rounded down to a minor unit."""

    merchant: str
    version: int
    public_key: str
    fee_permille: int

    def fee_minor(self, amount_minor: int) -> int:
        return amount_minor * self.fee_permille // 1000


async def set_merchant(db: Transaction, call: Call, asked: MerchantRequest) -> Answer:
    """Register a merchant, or change its key or fee.

    Raises:
        ProblemError: 412, somebody was faster; 422, no Ed25519 key.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(asked.public_key))
    except ValueError:
        detail = "not an Ed25519 public key"
        raise ProblemError(422, "invalid-body", detail, param="$.public_key") from None
    known = await find(db, call.named)
    same_version(call, known.version if known else 0)
    made = Merchant(
        merchant=call.named,
        version=(known.version if known else 0) + 1,
        public_key=asked.public_key,
        fee_permille=asked.fee_permille,
    )
    row = (made.merchant, made.version, made.fee_permille, made.public_key, call.now_s)
    if not await db.run(_SAVE, *row):
        raise ProblemError(412, "version-mismatch", "somebody was faster", param="If-Match")
    return answer(200, made)


async def find(db: Transaction, name: str) -> Merchant | None:
    row = await db.one(_MERCHANT, name)
    if row is None:
        return None
    return Merchant(merchant=row[0], version=row[1], fee_permille=row[2], public_key=row[3])


async def seen(db: Transaction, call: Call) -> Merchant:
    """A merchant as its own key, or the operator's, sees it."""
    check_party(call, call.named)
    return await merchant(db, call.named)


async def merchant(db: Transaction, name: str) -> Merchant:
    """Raises ProblemError 404."""
    found = await find(db, name)
    if found is None:
        raise ProblemError(404, "unknown-merchant", "no merchant has this name: PUT it first")
    return found


def check_party(call: Call, name: str) -> None:
    """Raises ProblemError 404 for a key that is bound to another merchant."""
    if call.key.party not in ("", name):
        raise ProblemError(404, "unknown-merchant", "no merchant of this key")


def check_operator(call: Call) -> None:
    """Raises ProblemError 403 for a key that is bound to a merchant."""
    if call.key.party:
        detail = "a merchant's key sees and does that merchant's part alone"
        raise ProblemError(403, "merchants-key", detail)


def signed_text(purpose: str, promise: object) -> bytes:
    """What a merchant signs: the purpose, and the promise as canonical JSON."""
    return f"walkout {purpose} v1\n".encode() + canonical(promise)


def sign(private: Ed25519PrivateKey, purpose: str, promise: object) -> str:
    """A merchant's signature, as its own system makes it."""
    return base64.b64encode(private.sign(signed_text(purpose, promise))).decode()


def check_signature(of: Merchant, signature: str, purpose: str, promise: object) -> None:
    """Raises ProblemError 403 unless this merchant signed exactly this for this purpose."""
    try:
        raw = base64.b64decode(signature, validate=True)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(of.public_key))
        key.verify(raw, signed_text(purpose, promise))
    except (InvalidSignature, binascii.Error, ValueError):
        detail = "not this merchant's signature over this content"
        raise ProblemError(
            403, "merchant-signature", detail, param="$.merchant_signature"
        ) from None


_MERCHANT = "SELECT merchant, version, fee_permille, public_key FROM merchant WHERE merchant = $1"
_SAVE = (
    "INSERT INTO merchant VALUES ($1, $2, $3, $4, $5) ON CONFLICT (merchant) DO UPDATE"
    " SET version = excluded.version, fee_permille = excluded.fee_permille,"
    " public_key = excluded.public_key WHERE merchant.version = excluded.version - 1"
)
