"""What merchants are told: an order to fill, one that is over, a bid won or lost.

A notice is written in the transaction of what it is about, once for each thing, and read in order
with ``?after=`` by the merchant's own system, which may ask again as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.database import Transaction
from broker.routes import Call
from broker.systems import events, merchants


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantNotice:
    """``what``: order.placed, bid.won, ...; ``about``: the id of what it is about."""

    seq: int
    what: str
    about: str
    at_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantNoticePage:
    """GET /v1/merchants/{merchant}/notices: ``after`` is where the next page starts."""

    notices: list[MerchantNotice]
    after: int
    more: bool


async def tell(db: Transaction, merchant: str, what: str, about: str, now_s: int) -> None:
    """Once; a second telling of the same is none. Its webhook leaves with the commit."""
    await db.run(_TELL, merchant, what, about, now_s)
    await events.tell(db, f"{events.MERCHANT}{merchant}", what, about, now_s)


async def page(db: Transaction, call: Call, after: int, limit: int) -> MerchantNoticePage:
    merchants.check_party(call, call.named)
    await merchants.merchant(db, call.named)
    rows = await db.all(_PAGE, call.named, after, limit + 1)
    notices = [MerchantNotice(seq=s, what=k, about=a, at_s=t) for s, k, a, t in rows[:limit]]
    last = notices[-1].seq if notices else after
    return MerchantNoticePage(notices=notices, after=last, more=len(rows) > limit)


_TELL = (
    "INSERT INTO merchant_notice (merchant, kind, about, at_s) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (merchant, kind, about) DO NOTHING"
)
_PAGE = (
    "SELECT seq, kind, about, at_s FROM merchant_notice WHERE merchant = $1 AND seq > $2"
    " ORDER BY seq LIMIT $3"
)
