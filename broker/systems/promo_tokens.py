"""System K, the shopper's side: tokens, each of exactly one frame, one client and one store.

A token is PASETO v4.public: serial, frame, store, client and end; its row says whether it is still
good. Minting is capped by frame and by client under the frame's lock. When a client keeps one, the
retailer of its store learns of the coupon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyseto
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.credentials import SigningKey, rfc3339
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import campaigns, events, frames, funds
from broker.systems.frames import FrameRow, FrameState
from broker.systems.secret_codes import CodeCommand
from broker.systems.states import advance


class TokenState(StrEnum):
    ISSUED = "issued"
    STORED = "stored"
    LOCKED = "locked"
    REDEEMED = "redeemed"
    RELEASED = "released"
    EXPIRED = "expired"


class TokenSignal(StrEnum):
    STORE = "store"
    LOCK = "lock"
    REDEEM = "redeem"
    RELEASE = "release"
    EXPIRE = "expire"


TOKEN_STATES: Mapping[tuple[TokenState, TokenSignal], TokenState] = {
    (TokenState.ISSUED, TokenSignal.STORE): TokenState.STORED,
    (TokenState.STORED, TokenSignal.STORE): TokenState.STORED,
    (TokenState.STORED, TokenSignal.LOCK): TokenState.LOCKED,
    (TokenState.RELEASED, TokenSignal.LOCK): TokenState.LOCKED,
    (TokenState.LOCKED, TokenSignal.REDEEM): TokenState.REDEEMED,
    (TokenState.LOCKED, TokenSignal.RELEASE): TokenState.RELEASED,
    (TokenState.ISSUED, TokenSignal.EXPIRE): TokenState.EXPIRED,
    (TokenState.STORED, TokenSignal.EXPIRE): TokenState.EXPIRED,
    (TokenState.RELEASED, TokenSignal.EXPIRE): TokenState.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """POST /v1/frames/{id}/tokens: a shopper's phone opened the page."""

    token_id: str
    frame_sig: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoToken:
    """``token``: PASETO v4.public, in the first answer alone."""

    token_id: str
    frame: str
    client: str
    store: str
    state: str
    expires_s: int
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTokenRequest:
    """POST /v1/promo-tokens/store: the client's wallet keeps it, the retailer learns of it."""

    promo_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """What the retailer is told: never who the client is, only the id that this store knows."""

    token_id: str
    frame_sig: str
    client: str
    terms_hash: str
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponPage:
    """By ``token_id``; go on from ``after`` while ``more``."""

    coupons: list[Coupon]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token with what its frame says. ``withdrawn``: the frame was."""

    token_id: str
    frame: str
    client: str
    store: str
    campaign: str
    state: TokenState
    expires_s: int
    withdrawn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCommand(CodeCommand):
    """A reply whose token is signed anew when it leaves (Ed25519 signs the same each time)."""

    purpose: str = "promo-token"
    names: str = "token_id"
    field: str = "token"

    def secret(self, key: SigningKey, reply: Mapping[str, Any]) -> str:
        return signed_token(key, reply)


# --- signatures -------------------------------------------------------------------------------


def signed_token(key: SigningKey, reply: Mapping[str, Any]) -> str:
    """The token of a client: PASETO v4.public with serial, frame, store, client and end."""
    claims = {
        "jti": reply["token_id"],
        "frm": reply["frame"],
        "aud": reply["store"],
        "sub": reply["client"],
        "exp": rfc3339(int(reply["expires_s"])),
    }
    paseto = pyseto.Key.new(4, "public", key.private_pem)
    footer = json.dumps({"kid": key.kid}).encode()
    return pyseto.encode(paseto, json.dumps(claims).encode(), footer=footer).decode()


def token_id_of(token: str, keys: tuple[SigningKey, ...]) -> str | None:
    """The serial of a token that one of our keys signed; None for anything else."""
    for key in keys:
        try:
            public = Ed25519PublicKey.from_public_bytes(key.public_key).public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            found = pyseto.decode(pyseto.Key.new(4, "public", public), token)
            return str(json.loads(_bytes(found.payload))["jti"])
        except (pyseto.PysetoError, ValueError, KeyError, TypeError):
            continue
    return None


def _bytes(payload: Any) -> bytes:
    assert isinstance(payload, bytes)
    return payload


# --- effects ----------------------------------------------------------------------------------


async def mint(db: Transaction, call: Call, asked: TokenRequest) -> Answer:
    """A token for one client, under the caps of the frame.

    Raises:
        ProblemError: 403 for a signature that is not this frame's, 409 when the frame is not
            distributed, its time is over, or its caps are reached.
    """
    row = await frames.locked_frame(db, call.named)
    frames.check_signature(call, row, asked.frame_sig)
    known = await db.one(_KNOWN, asked.token_id)
    if known is not None:
        if known[1:3] != (row.frame, asked.client):
            raise funds.same_id_other_content("token")
        return answer(201, _reply(known, call.service.signing[0].kid), replayed=True)
    if row.state is not FrameState.DISTRIBUTED or call.now_s >= row.valid_until_s:
        detail = f"the frame is {row.state.value}, valid until {row.valid_until_s}"
        raise ProblemError(409, "frame-not-distributed", detail)
    terms = (await campaigns.campaign_row(db, row.campaign)).terms
    await _check_caps(db, row, asked.client, terms)
    expires_s = call.now_s + terms.token_validity_s
    state = TokenState.ISSUED.value
    await db.run(_MINT, asked.token_id, row.frame, asked.client, state, expires_s, call.now_s)
    await campaigns.note(db, asked.token_id, "issued", call.now_s)
    made = (asked.token_id, row.frame, asked.client, row.store, state, expires_s)
    return answer(201, _reply(made, call.service.signing[0].kid))


async def store_token(db: Transaction, call: Call, asked: StoreTokenRequest) -> Answer:
    """The client keeps it; with that the retailer of its store learns of the coupon."""
    name = token_id_of(asked.promo_token, call.service.signing)
    if name is None:
        raise ProblemError(401, "bad-token", "no token that we signed", param="$.promo_token")
    await db.one("SELECT 1 FROM promo_token WHERE token_id = $1 FOR UPDATE", name)
    row = await db.one(_KNOWN, name)
    if row is None:
        raise ProblemError(404, "unknown-token", "no token has this serial")
    state = TokenState(row[4])
    after = advance(TOKEN_STATES, state, TokenSignal.STORE, "token")
    if after is not state:
        await set_token_state(db, name, after)
        await campaigns.note(db, name, "stored", call.now_s)
        said = {"frame": row[1], "expires_s": row[5]}
        await events.tell(db, f"{events.STORE}{row[3]}", "coupon.stored", name, call.now_s, said)
    return answer(200, _reply((*row[:4], after.value, row[5])))


async def set_token_state(
    db: Transaction, name: str, state: TokenState, lock: str | None = None
) -> None:
    """``lock``: the coupon lock that has it."""
    await db.run(_STATE, name, state.value, lock)


# --- questions --------------------------------------------------------------------------------


async def coupons(db: Transaction, store: str, after: str, limit: int) -> CouponPage:
    """The coupons that clients keep for a store."""
    found = await db.all(_COUPONS, store, after, limit + 1)
    page = [
        Coupon(token_id=name, frame_sig=sig, client=client, terms_hash=terms, expires_s=expires_s)
        for name, sig, client, terms, expires_s in found[:limit]
    ]
    last = page[-1].token_id if page else after
    return CouponPage(coupons=page, after=last, more=len(found) > limit)


async def token_row(db: Transaction, name: str, *, lock: bool = False) -> TokenRow | None:
    """A token; ``lock``: once no other transaction has it."""
    if lock:
        await db.one("SELECT 1 FROM promo_token WHERE token_id = $1 FOR UPDATE", name)
    row = await db.one(_ROW, name)
    if row is None:
        return None
    return TokenRow(
        token_id=row[0],
        frame=row[1],
        client=row[2],
        store=row[3],
        campaign=row[4],
        state=TokenState(row[5]),
        expires_s=row[6],
        withdrawn=row[7] == FrameState.WITHDRAWN,
    )


# --- helpers ----------------------------------------------------------------------------------


async def _check_caps(db: Transaction, row: FrameRow, client: str, terms: campaigns.Terms) -> None:
    found = await db.one(_MINTED, row.frame, client)
    assert found is not None
    if found[0] >= terms.per_frame_max or found[1] >= terms.per_client_max:
        raise ProblemError(409, "no-more-tokens", "this frame, or this client, has had its share")


def _reply(row: tuple[Any, ...], token: str = "") -> PromoToken:
    return PromoToken(
        token_id=row[0],
        frame=row[1],
        client=row[2],
        store=row[3],
        state=row[4],
        expires_s=row[5],
        token=token,
    )


_KNOWN = (
    "SELECT t.token_id, t.frame, t.client, f.store, t.state, t.expires_s FROM promo_token t"
    " JOIN frame f ON f.frame = t.frame WHERE t.token_id = $1"
)
_MINT = "INSERT INTO promo_token VALUES ($1, $2, $3, $4, $5, $6, NULL)"
_MINTED = (
    "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN client = $2 THEN 1 ELSE 0 END), 0) AS BIGINT)"
    " FROM promo_token WHERE frame = $1"
)
_COUPONS = """
SELECT t.token_id, f.frame_sig, t.client, f.terms_hash, t.expires_s
FROM promo_token t JOIN frame f ON f.frame = t.frame
WHERE f.store = $1 AND t.token_id > $2 AND t.state IN ('stored', 'released')
ORDER BY t.token_id LIMIT $3
"""
_ROW = (
    "SELECT t.token_id, t.frame, t.client, f.store, f.campaign, t.state, t.expires_s, f.state"
    " FROM promo_token t JOIN frame f ON f.frame = t.frame WHERE t.token_id = $1"
)
_STATE = "UPDATE promo_token SET state = $2, coupon_lock = $3 WHERE token_id = $1"
