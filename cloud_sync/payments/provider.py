"""Payment providers behind one interface, and what to do when they do not answer.

Settlement asks for holds, raises, captures, releases and refunds in the words of our own contract
(``messages/contract.py``). The Walkout broker answers them over HTTP itself; for any other provider
``ProviderSender`` stands in for it: it takes the same requests from the queue, makes the provider's
calls and answers as the broker would, so that the queue and the settlement table are the same.

A call that was not answered is *unknown*. Before it leaves, the ``PspBook`` notes its key; then

1. the **same key** again: the provider repeats its answer, or makes the effect it has not made
2. after ``ASK_AFTER`` tries, or once the provider may have forgotten the key, **ask** it whether
   the effect is there; only when it says no, the call goes under a new key
3. what is left, the **janitor** finds (``janitor.py``): money held or taken there without a
   purchase of ours

Providers are synchronous, as their kits are: each call runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from cloud_sync.outbox import Request
from cloud_sync.outcomes import Answer, BadAnswer, read
from cloud_sync.payments.psp_book import PspBook, Step
from cloud_sync.purchase import Operation, RefundBody
from messages.contract import (
    AdjustRequest,
    Capture,
    CaptureRequest,
    Hold,
    HoldRequest,
    VoidRequest,
)

ASK_AFTER = 3  # tries of one key without an answer, then the provider is asked
KEY_LIFE_S = 20 * 3600  # Stripe keeps a key for at least 24 h; then the same key is a new charge
LIST_MAX = 1_000  # authorizations that the janitor looks at in one pass
UNSUPPORTED = "the provider cannot raise this hold"

T = TypeVar("T")


class State(StrEnum):
    HELD = "held"
    CAPTURED = "captured"
    RELEASED = "released"
    REFUNDED = "refunded"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a provider answered. ``amount_minor``: held, captured or refunded."""

    state: State
    reference: str = ""
    amount_minor: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An authorization at the provider, as the janitor sees it."""

    reference: str
    hold: str
    state: State
    amount_minor: int


class Unknown(Exception):  # noqa: N818 - a state, not a failure
    """The provider did not answer, or answered with a fault of its own."""


class Throttled(Unknown):
    """It asks for less."""


class Rejected(Exception):  # noqa: N818 - an answer
    """It will not do this however often it is asked. ``status`` as the queue reads it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Unsupported(Exception):  # noqa: N818 - an answer
    """The hold cannot be raised there: the rest needs an authorization of its own."""


class Provider(Protocol):
    """What an adapter does. Calls raise Unknown, Rejected or Unsupported (``increase`` alone)."""

    name: str

    def authorize(self, hold: HoldRequest, amount_minor: int, key: str) -> Outcome: ...

    def increase(self, reference: str, amount_minor: int, key: str) -> Outcome: ...

    def capture(self, reference: str, amount_minor: int, key: str) -> Outcome: ...

    def release(self, reference: str, key: str) -> Outcome: ...

    def refund(self, reference: str, amount_minor: int, key: str) -> Outcome: ...

    def look(self, reference: str) -> Outcome:
        """An authorization as it is now."""
        ...

    def find_authorization(self, hold: HoldRequest, key: str) -> Outcome | None:
        """What ``authorize`` made under this key, or None."""
        ...

    def find_refund(self, reference: str, key: str) -> Outcome | None:
        """What ``refund`` made under this key, or None."""
        ...

    def listed(self, limit: int) -> Iterable[Found]:
        """Our authorizations there, newest first."""
        ...


class ProviderSender:
    """Answers the queue's payment requests through a provider. ``now_s``: wall clock."""

    def __init__(self, provider: Provider, book: PspBook, now_s: Callable[[], int]) -> None:
        self.provider, self.book, self._now_s = provider, book, now_s

    async def send(self, request: Request) -> Answer:
        """One attempt; whatever the provider does comes back as an answer."""
        return await asyncio.to_thread(self.answer, request)

    def answer(self, request: Request) -> Answer:
        try:
            return self._do(request)
        except Throttled as error:
            return Answer(status=429, body=str(error).encode())
        except Unknown as error:
            return Answer(status=None, error=str(error)[:300])
        except Rejected as error:
            return Answer(status=error.status, body=str(error)[:300].encode())
        except BadAnswer as error:
            return Answer(status=422, body=str(error).encode())

    def _do(self, request: Request) -> Answer:
        match Operation(request.operation):
            case Operation.HOLD:
                return self._hold(request, read(request.body, HoldRequest))
            case Operation.ADJUST:
                return self._adjust(request, read(request.body, AdjustRequest))
            case Operation.CAPTURE:
                return self._capture(request, read(request.body, CaptureRequest))
            case Operation.VOID:
                read(request.body, VoidRequest)
                return self._void(request)
            case Operation.REFUND:
                return self._refund(request, read(request.body, RefundBody))
        raise Rejected(422, f"{self.provider.name} does no {request.operation}")

    # --- one method per operation ---------------------------------------------------------------

    def _hold(self, request: Request, body: HoldRequest) -> Answer:
        self.book.opened(body)
        made = self._authorized(request.idem, body, body.amount_minor)
        return self._hold_answer(body, made, body.amount_minor)

    def _adjust(self, request: Request, body: AdjustRequest) -> Answer:
        """Raise the hold; where that cannot be done, authorize the rest beside it."""
        hold = self._opened(request.subject)
        steps = self.book.open(hold.hold)
        have = sum(step.amount_minor for step in steps)
        if not steps:
            raise Rejected(409, f"{hold.hold} holds nothing that could be raised")
        if have >= body.amount_minor:
            made = Outcome(state=State.HELD)
            return self._hold_answer(hold, made, have)
        try:
            more = self._increased(request, steps[0], body.amount_minor - have)
        except Unsupported:
            more = self._authorized(f"{request.idem}:rest", hold, body.amount_minor - have)
        return self._hold_answer(hold, more, body.amount_minor)

    def _increased(self, request: Request, first: Step, more_minor: int) -> Outcome:
        wanted = first.amount_minor + more_minor
        made = self._changed(
            request.idem,
            first,
            lambda key: self.provider.increase(first.reference, wanted, key),
            lambda now: now.state is State.HELD and now.amount_minor >= wanted,
        )
        if made.reason == UNSUPPORTED:
            raise Unsupported(UNSUPPORTED)
        if made.state is State.HELD:
            self.book.resized(first.reference, wanted)
        return made

    def _capture(self, request: Request, body: CaptureRequest) -> Answer:
        hold, left = self._opened(request.subject), body.amount_minor
        for step in self.book.held(hold.hold):
            part = min(left, step.amount_minor)
            if part == 0:
                self._released(f"{request.idem}:spare:{step.reference}", step)
                continue
            made = self._changed(
                f"{request.idem}:{step.reference}",
                step,
                partial(self.provider.capture, step.reference, part),
                lambda now: now.state is State.CAPTURED,
            )
            if made.state is not State.CAPTURED or made.amount_minor != part:
                return self._cut_short("captured", body.amount_minor, left, made)
            self.book.captured(step.reference, part)
            left -= part
        if left:
            return _declined(f"{left} more than what is held")
        return self._capture_answer(hold, body)

    def _void(self, request: Request) -> Answer:
        hold = self._opened(request.subject)
        for step in self.book.open(hold.hold):
            self._released(f"{request.idem}:{step.reference}", step)
        return self._hold_answer(hold, Outcome(state=State.RELEASED), 0)

    def _released(self, key: str, step: Step) -> None:
        made = self._changed(
            key,
            step,
            lambda key: self.provider.release(step.reference, key),
            lambda now: now.state is State.RELEASED,
        )
        if made.state is not State.RELEASED:
            raise Rejected(409, f"{step.reference} is {made.state}, it cannot be released")
        self.book.released(step.reference)

    def _refund(self, request: Request, body: RefundBody) -> Answer:
        """Give back from the captured parts, the newest first."""
        known = self.book.refund(request.idem)
        if known is not None:
            return Answer(status=201, body=known)
        left, visit = body.amount_minor, request.subject.removeprefix("capture-")
        for step in reversed(self.book.taken(visit)):
            part = min(left, step.amount_minor - step.refunded_minor)
            if part <= 0:
                continue
            made = self._given_back(f"{request.idem}:{step.reference}", step.reference, part)
            if made.state is not State.REFUNDED:
                return self._cut_short("refunded", body.amount_minor, left, made)
            left -= part
        if left:
            raise Rejected(422, f"{left} more than what was captured and not refunded")
        fields = {"refund": body.refund, "amount_minor": body.amount_minor}
        answer = {**fields, "capture": request.subject, "currency": body.currency}
        raw = msgspec.json.encode(answer)
        self.book.refunded(request.idem, raw, body.amount_minor, visit)
        return Answer(status=201, body=raw)

    def _cut_short(self, what: str, whole: int, left: int, made: Outcome) -> Answer:
        """A decline: an answer where nothing happened yet, else a case for a person."""
        if left == whole:
            return _declined(made.reason)
        raise Rejected(409, f"{what} {whole - left} of {whole}, then: {made.reason or made.state}")

    # --- unknown ------------------------------------------------------------------------------

    def _authorized(self, name: str, hold: HoldRequest, amount_minor: int) -> Outcome:
        """Hold once; ``name`` is our key for it."""
        made = self._once(
            name,
            lambda key: self.provider.authorize(hold, amount_minor, key),
            lambda key: self.provider.find_authorization(hold, key),
        )
        if made.state is State.HELD:
            self.book.authorized(hold.hold, made.reference, made.amount_minor)
        return made

    def _given_back(self, name: str, reference: str, amount_minor: int) -> Outcome:
        return self._once(
            name,
            lambda key: self.provider.refund(reference, amount_minor, key),
            lambda key: self.provider.find_refund(reference, key),
        )

    def _changed(
        self,
        name: str,
        step: Step,
        call: Callable[[str], Outcome],
        done: Callable[[Outcome], bool],
    ) -> Outcome:
        """Change an authorization once."""

        def asked(key: str) -> Outcome | None:
            now = self.provider.look(step.reference)
            return now if done(now) else None

        return self._once(name, call, asked)

    def _once(
        self,
        name: str,
        call: Callable[[str], Outcome],
        asked: Callable[[str], Outcome | None],
    ) -> Outcome:
        """Same key, then ask, then a new key; the book knows of it before the call leaves."""
        known = self.book.known(name)
        if known is not None:
            return msgspec.json.decode(known, type=Outcome)
        tries, first_s, key = self.book.trying(name, self._now_s())
        if tries > ASK_AFTER or self._now_s() - first_s > KEY_LIFE_S:
            made = asked(key)
            if made is None:
                made = _or_unsupported(call, self.book.new_key(name, self._now_s()))
        else:
            made = _or_unsupported(call, key)
        self.book.answered(name, msgspec.json.encode(made))
        return made

    # --- answers as the broker gives them -------------------------------------------------------

    def _opened(self, hold: str) -> HoldRequest:
        body = self.book.hold(hold)
        if body is None:
            raise Rejected(404, f"no hold {hold} was asked of {self.provider.name}")
        return body

    def _hold_answer(self, hold: HoldRequest, made: Outcome, amount_minor: int) -> Answer:
        if made.state is State.DECLINED:
            return _declined(made.reason)
        status = "held" if made.state is State.HELD else "void"
        body = Hold(
            hold=hold.hold,
            account=hold.account,
            status=status,
            amount_minor=amount_minor,
            captured_minor=0,
            currency=hold.currency,
        )
        return Answer(status=200, body=msgspec.json.encode(body))

    def _capture_answer(self, hold: HoldRequest, body: CaptureRequest) -> Answer:
        done = Capture(
            capture=body.capture,
            hold=hold.hold,
            account=hold.account,
            merchant=body.merchant,
            purchase=body.purchase,
            amount_minor=body.amount_minor,
            currency=body.currency,
            journal=0,
        )
        return Answer(status=201, body=msgspec.json.encode(done))


def _declined(reason: str) -> Answer:
    return Answer(status=402, body=msgspec.json.encode({"reason": reason or "declined"}))


def _or_unsupported(call: Callable[[str], Outcome], key: str) -> Outcome:
    """That a hold cannot be raised is an answer too, and kept as one."""
    try:
        return call(key)
    except Unsupported:
        return Outcome(state=State.DECLINED, reason=UNSUPPORTED)
