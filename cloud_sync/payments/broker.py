"""The Walkout broker as payment provider: holds, raises, captures and releases.

Pure request builders and answer readers; ``service.py`` sends. A new provider is a file like this:
``request`` turns an ``Ask`` into a path and a body, ``signal`` turns the answer into what
settlement reads. An answer must repeat the ids and the currency asked for; anything else is a
named error and parks the group, since guessing here moves money.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from cloud_sync.demands import RefundDeclined, Refunded
from cloud_sync.outcomes import PAYMENT_REQUIRED, BadAnswer, read
from cloud_sync.purchase import (
    AdjustDeclined,
    Adjusted,
    Ask,
    Captured,
    CaptureDeclined,
    Held,
    HoldDeclined,
    HoldVoided,
    Operation,
    RefundBody,
    Signal,
    Terms,
)
from messages.contract import AdjustRequest, Capture, CaptureRequest, Hold, HoldRequest
from messages.money import MINOR_MAX

DESTINATION = "broker"
REFUNDS = "refunds"  # the same broker under a key of its own: paying back is another right
REASON_LENGTH_MAX = 200  # characters of a decline reason that reach events and receipts
RELEASED = frozenset({"void", "expired", "declined"})  # nothing is held any more
OPERATIONS = frozenset(
    {Operation.HOLD, Operation.ADJUST, Operation.CAPTURE, Operation.VOID, Operation.REFUND}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReply:
    """The part of the broker's ``Refund`` that we check."""

    refund: str
    capture: str
    amount_minor: int
    currency: str


def request(ask: Ask, terms: Terms) -> tuple[str, bytes]:
    """Path and JSON body of an operation on a hold."""
    body = msgspec.json.encode(ask.body)
    if ask.operation is Operation.HOLD:
        return "/v1/holds", body
    if ask.operation is Operation.REFUND:
        return f"/v1/captures/{quote(ask.hold, safe='')}/refund", body
    return f"/v1/holds/{quote(ask.hold, safe='')}/{ask.operation}", body


def signal(operation: Operation, hold: str, asked: bytes, status: int, body: bytes) -> Signal:
    """What the broker's answer means.

    Args:
        hold: the id the request was about; asked: its body; status, body: the reply's, 2xx or 402.

    Raises:
        BadAnswer: not the contract's, or about another hold, amount or currency.
    """
    if status == PAYMENT_REQUIRED:
        return _declined(operation, _reason(body))
    if operation is Operation.CAPTURE:
        return _captured(asked, hold, read(body, Capture))
    if operation is Operation.REFUND:
        return _refunded(asked, hold, read(body, RefundReply))
    answer = read(body, Hold)
    _require(answer.hold == hold, f"about hold {answer.hold!r}, asked about {hold!r}")
    match operation:
        case Operation.HOLD:
            return _held(asked, answer)
        case Operation.ADJUST:
            return _adjusted(asked, answer)
        case _:
            _require(answer.status in RELEASED, f"the hold is {answer.status!r}")
            return HoldVoided()


def _held(asked: bytes, answer: Hold) -> Signal:
    wanted = read(asked, HoldRequest)
    if answer.status == "declined":
        return HoldDeclined(reason=_short(answer.reason))
    _require(answer.status == "held", f"the hold is {answer.status!r}")
    _require(answer.currency == wanted.currency, f"currency {answer.currency!r}")
    _require(0 < answer.amount_minor <= wanted.amount_minor, f"amount {answer.amount_minor}")
    return Held(amount_minor=answer.amount_minor)


def _adjusted(asked: bytes, answer: Hold) -> Signal:
    """A hold may have been higher already; it is never lower than asked for."""
    wanted = read(asked, AdjustRequest).amount_minor
    if answer.status == "declined":
        return AdjustDeclined(reason=_short(answer.reason))
    _require(answer.status == "held", f"the hold is {answer.status!r}")
    _require(wanted <= answer.amount_minor <= MINOR_MAX, f"amount {answer.amount_minor}")
    return Adjusted(amount_minor=answer.amount_minor)


def _captured(asked: bytes, hold: str, answer: Capture) -> Signal:
    wanted = read(asked, CaptureRequest)
    if answer.status == "declined":
        return CaptureDeclined(reason="declined")
    _require(answer.status == "captured", f"the capture is {answer.status!r}")
    _require(answer.hold == hold, f"about hold {answer.hold!r}, asked about {hold!r}")
    for field in ("capture", "merchant", "purchase", "amount_minor", "currency"):
        got, asked_for = getattr(answer, field), getattr(wanted, field)
        _require(got == asked_for, f"{field} is {got!r}, asked for {asked_for!r}")
    return Captured(capture=answer.capture, amount_minor=answer.amount_minor)


def _refunded(asked: bytes, capture: str, answer: RefundReply) -> Signal:
    wanted = read(asked, RefundBody)
    _require(answer.capture == capture, f"about capture {answer.capture!r}, asked {capture!r}")
    for field in ("refund", "amount_minor", "currency"):
        got, asked_for = getattr(answer, field), getattr(wanted, field)
        _require(got == asked_for, f"{field} is {got!r}, asked for {asked_for!r}")
    return Refunded(refund=answer.refund, amount_minor=answer.amount_minor)


def _declined(operation: Operation, reason: str) -> Signal:
    match operation:
        case Operation.HOLD:
            return HoldDeclined(reason=reason)
        case Operation.ADJUST:
            return AdjustDeclined(reason=reason)
        case Operation.CAPTURE:
            return CaptureDeclined(reason=reason)
        case Operation.REFUND:
            return RefundDeclined(reason=reason)
    raise BadAnswer(f"402 is no answer to {operation}")


def _reason(body: bytes) -> str:
    """Why it was declined: ``reason`` of a hold, else ``detail`` or ``title`` of a problem."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "declined"
    found = (fields.get(name) for name in ("reason", "detail", "title"))
    return _short(next((text for text in found if isinstance(text, str) and text), ""))


def _short(reason: str) -> str:
    return reason[:REASON_LENGTH_MAX] or "declined"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadAnswer(otherwise)
