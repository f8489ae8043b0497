"""What an answer means for the queue, and how long to wait before the next attempt.

An answer moves the group on; no answer is *unknown*, and the same request goes again under the
same key; a refusal parks its group until a person decides; a rejected key or a redirect bars the
whole destination, because every other request would get the same. Pure: chance is a number given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

NS = 1_000_000_000
RETRY_AFTER_MAX_S = 3600.0  # a longer wish is a slip or an attack; we ask again within the hour
# Standard Webhooks, "deliverability": the waits between its ten tries, 75 hours in all.
WEBHOOK_WAITS_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
WEBHOOK_BACKOFF_START_S = 0.5  # config.cloud.backoff_start_s at which those waits hold as written
DETAIL_LENGTH_MAX = 200  # characters of a library's error that we repeat
JITTER = 0.2  # of a webhook's wait: spreads receivers' load, keeps the schedule recognisable


T = TypeVar("T")


class BadAnswer(ValueError):  # noqa: N818 - the word that alarms use
    """A reply that is not the contract's, or answers another question. Says what was wrong."""


class Verdict(StrEnum):
    ANSWERED = "answered"  # done: the next request of the group may go
    UNKNOWN = "unknown"  # the same request again, later
    REFUSED = "refused"  # parks the group
    BARRED = "barred"  # stops the destination
    GONE = "gone"  # the endpoint wants no more: stops it until an operator enables it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. ``status`` None: nothing did, and ``error`` says why."""

    status: int | None
    body: bytes = b""
    retry_after_s: float | None = None
    error: str = ""
    took_s: float = 0.0


AGAIN = frozenset({408, 425, 429})  # RFC 9110, 8470, 6585: not now
BARRING = frozenset({401, 403})
PAYMENT_REQUIRED = 402
CONFLICT = 409
GONE = 410
UNAVAILABLE = 503


def judge(answer: Answer, *, declines: bool = False) -> Verdict:
    """What a reply to a request of ours means; ``declines``: 402 is an answer to this one."""
    status = answer.status
    if status is None or status in AGAIN or status >= 500 or status < 200:
        return Verdict.UNKNOWN
    if status < 300 or (declines and status == PAYMENT_REQUIRED):
        return Verdict.ANSWERED
    if status == CONFLICT and answer.retry_after_s is not None:
        return Verdict.UNKNOWN  # the first attempt is still being worked on over there
    if status < 400 or status in BARRING:
        return Verdict.BARRED  # a redirect: the address in the configuration is wrong
    return Verdict.REFUSED


def judge_webhook(answer: Answer, failures: int) -> Verdict:
    """Standard Webhooks: 2xx is delivered, 410 disables, all else is tried for three days."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Verdict.ANSWERED
    if answer.status == GONE:
        return Verdict.GONE
    return Verdict.REFUSED if failures >= len(WEBHOOK_WAITS_S) else Verdict.UNKNOWN


def throttles(answer: Answer) -> bool:
    """Whether it says "not so fast" rather than "I cannot": its system is there."""
    waits = answer.retry_after_s is not None
    return answer.status in (425, 429, CONFLICT) or (answer.status == UNAVAILABLE and waits)


def backoff_s(failures: int, start_s: float, max_s: float, chance: float) -> float:
    """Exponential back-off with full jitter; ``failures`` counts from 0, ``chance`` in [0, 1).

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    ceiling: float = min(max_s, start_s * 2 ** min(failures, 32))
    return ceiling * chance


def webhook_wait_s(failures: int, start_s: float, chance: float) -> float:
    """The wait after the given number of earlier failures, +-20 %.

    The standard's schedule, scaled by ``start_s`` over its default, so that a demonstration
    with shorter waits keeps the shape.
    """
    scale = start_s / WEBHOOK_BACKOFF_START_S
    wait = WEBHOOK_WAITS_S[min(failures, len(WEBHOOK_WAITS_S) - 1)] * scale
    return wait * (1.0 + JITTER * (2.0 * chance - 1.0))


def wait_ns(answer: Answer, own_s: float) -> int:
    """Our own wait, or the one the other side asked for where that is longer (bounded)."""
    asked_s = min(answer.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
    return round((asked_s + own_s if asked_s else own_s) * NS)


def read(body: bytes, kind: type[T]) -> T:
    """The JSON body as a contract type, strictly. Raises BadAnswer."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadAnswer(f"not a {kind.__name__}: {str(error)[:DETAIL_LENGTH_MAX]}") from None
