"""System F's rules: which bid wins, computed from what is published after the close.

Nothing here reads a clock or a database, so anybody can compute a winner anew from the log. Valid
is the last bid of each merchant that is within the ceiling and whose stock lasts; the published
criteria are compared in their order; what is still equal is decided by a hash that nobody could
know before the close, since it contains every bid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from broker.idempotency import canonical

GENESIS = "0" * 64
CONFIRM_S = 2 * 3600  # a winner answers within; then the next is asked


class RequestState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    AWARDED = "awarded"
    FAILED = "failed"


class RequestSignal(StrEnum):
    CLOSE = "close"
    AWARD = "award"
    FAIL = "fail"


REQUEST_STATES: Mapping[tuple[RequestState, RequestSignal], RequestState] = {
    (RequestState.OPEN, RequestSignal.CLOSE): RequestState.CLOSED,
    (RequestState.CLOSED, RequestSignal.AWARD): RequestState.AWARDED,
    (RequestState.CLOSED, RequestSignal.FAIL): RequestState.FAILED,
    (RequestState.AWARDED, RequestSignal.FAIL): RequestState.FAILED,
}


class AwardState(StrEnum):
    OFFERED = "offered"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    DEFAULTED = "defaulted"


class AwardSignal(StrEnum):
    CONFIRM = "confirm"
    FULFILL = "fulfill"
    DEFAULT = "default"


AWARD_STATES: Mapping[tuple[AwardState, AwardSignal], AwardState] = {
    (AwardState.OFFERED, AwardSignal.CONFIRM): AwardState.CONFIRMED,
    (AwardState.CONFIRMED, AwardSignal.CONFIRM): AwardState.CONFIRMED,
    (AwardState.CONFIRMED, AwardSignal.FULFILL): AwardState.FULFILLED,
    (AwardState.OFFERED, AwardSignal.DEFAULT): AwardState.DEFAULTED,
    (AwardState.CONFIRMED, AwardSignal.DEFAULT): AwardState.DEFAULTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is published when a request opens. ``criteria``: total, eta, defaults, in this order."""

    request: str
    items: list[str]
    region: str
    currency: str
    ceiling_minor: int
    criteria: list[str]
    closes_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBid:
    """One bid as it was received. ``defaults``: the merchant's, as known then."""

    seq: int
    bid_id: str
    merchant: str
    price_minor: int
    shipping_minor: int
    eta_days: int
    stock_until_s: int
    defaults: int
    received_s: int

    @property
    def total_minor(self) -> int:
        return self.price_minor + self.shipping_minor


def link(head: str, terms: Terms, bid: LoggedBid) -> str:
    """The digest after a bid: the bidder's receipt, and the head of the log."""
    content = canonical({"terms": asdict(terms), "bid": asdict(bid)})
    return hashlib.sha256(bytes.fromhex(head) + content).hexdigest()


def head_of(terms: Terms, bids: Sequence[LoggedBid]) -> str:
    """The digest over all bids in the order they came."""
    head = GENESIS
    for bid in bids:
        head = link(head, terms, bid)
    return head


def ranked(terms: Terms, bids: Sequence[LoggedBid]) -> list[LoggedBid]:
    """The valid bids, best first; empty when there is none."""
    head = head_of(terms, bids)
    last = {bid.merchant: bid for bid in sorted(bids, key=lambda bid: bid.seq)}
    valid = [bid for bid in last.values() if _valid(terms, bid)]
    return sorted(valid, key=lambda bid: (*_merits(terms, bid), _lot(head, bid)))


def quoted_minor(total_minor: int, margin_permille: int) -> int:
    """What a customer pays for the best bid: our margin on top, rounded up to a minor unit."""
    return -(-total_minor * (1000 + margin_permille) // 1000)


def _valid(terms: Terms, bid: LoggedBid) -> bool:
    in_time = bid.received_s < terms.closes_s
    return (
        in_time
        and bid.total_minor <= terms.ceiling_minor
        and bid.stock_until_s >= terms.closes_s + CONFIRM_S
    )


def _merits(terms: Terms, bid: LoggedBid) -> tuple[int, ...]:
    merits = {"total": bid.total_minor, "eta": bid.eta_days, "defaults": bid.defaults}
    return tuple(merits[name] for name in terms.criteria)


def _lot(head: str, bid: LoggedBid) -> str:
    return hashlib.sha256(f"{head}{bid.bid_id}".encode()).hexdigest()
