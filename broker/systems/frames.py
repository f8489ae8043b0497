"""System K, the shelf's side: signed frames.

A frame is a page for one shelf of one store. Its signature (Ed25519) covers the campaign, the hash
of the terms, the store, the shelf, the end and the domain that its link leads to; a frame that was
altered, or a sticker over its QR code, gets no token (``promo_tokens.py``).
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.credentials import SigningKey
from broker.database import Transaction
from broker.idempotency import Answer, answer, canonical
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import campaigns, funds, qr
from broker.systems.campaigns import CampaignStatus
from broker.systems.secret_codes import key_named
from broker.systems.states import advance


class FrameState(StrEnum):
    DRAFT = "draft"
    SIGNED = "signed"
    DISTRIBUTED = "distributed"
    WITHDRAWN = "withdrawn"


class FrameSignal(StrEnum):
    SIGN = "sign"
    DISTRIBUTE = "distribute"
    WITHDRAW = "withdraw"


FRAME_STATES: Mapping[tuple[FrameState, FrameSignal], FrameState] = {
    (FrameState.DRAFT, FrameSignal.SIGN): FrameState.SIGNED,
    (FrameState.SIGNED, FrameSignal.DISTRIBUTE): FrameState.DISTRIBUTED,
    (FrameState.DISTRIBUTED, FrameSignal.DISTRIBUTE): FrameState.DISTRIBUTED,
    (FrameState.SIGNED, FrameSignal.WITHDRAW): FrameState.WITHDRAWN,
    (FrameState.DISTRIBUTED, FrameSignal.WITHDRAW): FrameState.WITHDRAWN,
    (FrameState.WITHDRAWN, FrameSignal.WITHDRAW): FrameState.WITHDRAWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRequest:
    """POST /v1/frames: a page for one shelf."""

    frame: str
    campaign: str
    store: str
    shelf: str
    valid_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """``link``: a GS1 Digital Link of the goods, which the shelf's QR code says."""

    frame: str
    campaign: str
    store: str
    shelf: str
    valid_until_s: int
    terms_hash: str
    frame_sig: str
    kid: str
    state: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFrame:
    """POST /v1/frames/{id}/distribute: the frame as the retailer got it, signature and all."""

    frame_sig: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRow:
    frame: str
    campaign: str
    store: str
    shelf: str
    valid_until_s: int
    terms_hash: str
    domain: str
    gtin: str
    frame_sig: str
    kid: str
    state: FrameState

    @property
    def link(self) -> str:
        return f"https://{self.domain}/01/{self.gtin}?frame={self.frame}&sig={self.frame_sig}"

    def reply(self) -> Frame:
        return Frame(
            frame=self.frame,
            campaign=self.campaign,
            store=self.store,
            shelf=self.shelf,
            valid_until_s=self.valid_until_s,
            terms_hash=self.terms_hash,
            frame_sig=self.frame_sig,
            kid=self.kid,
            state=self.state.value,
            link=self.link,
        )


# --- signatures -------------------------------------------------------------------------------


def frame_content(
    frame: str, terms_hash: str, domain: str, asked: FrameRequest | FrameRow
) -> bytes:
    """What a frame's signature covers."""
    return canonical(
        {
            "frame": frame,
            "campaign": asked.campaign,
            "store": asked.store,
            "shelf": asked.shelf,
            "valid_until_s": asked.valid_until_s,
            "terms_hash": terms_hash,
            "domain": domain,
        }
    )


def sign(key: SigningKey, content: bytes) -> str:
    """An Ed25519 signature, base64url without padding."""
    private = serialization.load_pem_private_key(key.private_pem, password=None)
    assert isinstance(private, Ed25519PrivateKey)
    return base64.urlsafe_b64encode(private.sign(content)).decode().rstrip("=")


def frame_is_whole(row: FrameRow, key: SigningKey) -> bool:
    """Whether the stored frame is what was signed."""
    content = frame_content(row.frame, row.terms_hash, row.domain, row)
    try:
        signature = base64.urlsafe_b64decode(row.frame_sig + "==")
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- effects ----------------------------------------------------------------------------------


async def create(db: Transaction, call: Call, asked: FrameRequest) -> Answer:
    """A signed frame of a campaign that runs."""
    campaign = await campaigns.campaign_row(db, asked.campaign)
    known = await _row_or_none(db, asked.frame)
    if known is not None:
        given = (asked.campaign, asked.store, asked.shelf, asked.valid_until_s)
        if (known.campaign, known.store, known.shelf, known.valid_until_s) != given:
            raise funds.same_id_other_content("frame")
        return answer(201, known.reply(), replayed=True)
    if campaign.status is not CampaignStatus.RUNNING:
        raise ProblemError(409, "campaign-not-running", f"the campaign is {campaign.status.value}")
    key, domain = call.service.signing[0], campaign.terms.domain
    content = frame_content(asked.frame, campaign.terms_hash, domain, asked)
    state = advance(FRAME_STATES, FrameState.DRAFT, FrameSignal.SIGN, "frame")
    where = (asked.frame, asked.campaign, asked.store, asked.shelf, asked.valid_until_s)
    what = (campaign.terms_hash, domain, campaign.terms.gtins[0], sign(key, content), key.kid)
    await db.run(_INSERT, *where, *what, state.value, call.now_s)
    return answer(201, (await frame_row(db, asked.frame)).reply())


async def distribute(db: Transaction, call: Call, asked: SignedFrame) -> Answer:
    """The retailer's server sends the frame in: from now on it gives tokens."""
    row = await locked_frame(db, call.named)
    check_signature(call, row, asked.frame_sig)
    return await _set_state(db, row, FrameSignal.DISTRIBUTE)


async def withdraw(db: Transaction, call: Call, _: Nothing) -> Answer:
    """No more tokens; those that are out are worth nothing at the exit."""
    return await _set_state(db, await locked_frame(db, call.named), FrameSignal.WITHDRAW)


# --- questions --------------------------------------------------------------------------------


async def frame(db: Transaction, call: Call, name: str) -> Frame:
    return (await frame_row(db, name)).reply()


async def page(db: Transaction, call: Call) -> qr.Svg:
    """The frame as a page to print or to show on a shelf display."""
    row = await frame_row(db, call.named)
    terms = (await campaigns.campaign_row(db, row.campaign)).terms
    worth = (
        f"{terms.percent_bp / 100:g} % off"
        if terms.percent_bp
        else f"{terms.off_minor} minor units off"
    )
    picture = qr.svg(row.link).decode().partition("?>")[2]
    text = _PAGE.format(worth=html.escape(worth), shelf=html.escape(row.shelf), picture=picture)
    return qr.Svg(picture=text.encode())


async def frame_row(db: Transaction, name: str) -> FrameRow:
    """Raises ProblemError 404."""
    row = await _row_or_none(db, name)
    if row is None:
        raise ProblemError(404, "unknown-frame", "no frame has this id")
    return row


async def locked_frame(db: Transaction, name: str) -> FrameRow:
    """The frame once no other transaction has it: caps are counted under this lock."""
    await db.one("SELECT 1 FROM frame WHERE frame = $1 FOR UPDATE", name)
    return await frame_row(db, name)


# --- helpers ----------------------------------------------------------------------------------


def check_signature(call: Call, row: FrameRow, given: str) -> None:
    key = key_named(call.service.signing, row.kid)
    same = (
        hashlib.sha256(given.encode()).digest() == hashlib.sha256(row.frame_sig.encode()).digest()
    )
    if not same or not frame_is_whole(row, key):
        detail = "the signature is not this frame's: it was altered, or is another's"
        raise ProblemError(403, "frame-altered", detail, param="$.frame_sig")


async def _set_state(db: Transaction, row: FrameRow, signal: FrameSignal) -> Answer:
    after = advance(FRAME_STATES, row.state, signal, "frame")
    await db.run("UPDATE frame SET state = $2 WHERE frame = $1", row.frame, after.value)
    return answer(200, (await frame_row(db, row.frame)).reply())


async def _row_or_none(db: Transaction, name: str) -> FrameRow | None:
    row = await db.one(_FRAME, name)
    if row is None:
        return None
    return FrameRow(
        frame=row[0],
        campaign=row[1],
        store=row[2],
        shelf=row[3],
        valid_until_s=row[4],
        terms_hash=row[5],
        domain=row[6],
        gtin=row[7],
        frame_sig=row[8],
        kid=row[9],
        state=FrameState(row[10]),
    )


_FRAME = (
    "SELECT frame, campaign, store, shelf, valid_until_s, terms_hash, domain, gtin, frame_sig, kid,"
    " state FROM frame WHERE frame = $1"
)
_INSERT = "INSERT INTO frame VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{worth}</title></head>
<body><h1>{worth}</h1><p>Shelf {shelf}: scan, keep, and it comes off at the exit.</p>
{picture}
</body></html>
"""
