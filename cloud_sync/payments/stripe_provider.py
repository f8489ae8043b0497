"""Stripe as payment provider, through its official SDK (``pip install walkout[payments]``).

At the entry: a PaymentIntent with ``capture_method=manual``, off-session, on the payment method
that the account left with the retailer's app. At the exit: ``increment_authorization`` where the
card allows it, else a second PaymentIntent for the rest; then ``capture``. Card data never comes
here: accounts are known by ``cus_...`` and ``pm_...``. Our key stands in the metadata, so that what
a lost answer made can be found again; listing by customer is consistent, searching is not.

The SDK does not retry by itself: the queue does, under the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import stripe

from cloud_sync.payments.provider import (
    LIST_MAX,
    Found,
    Outcome,
    Rejected,
    State,
    Throttled,
    Unknown,
    Unsupported,
)
from messages.contract import HoldRequest

PAGE = 100  # the most that Stripe lists at once
TIMEOUT_S = 20.0  # Stripe's own guidance is 80; the queue would rather ask again
KEY, HOLD, STORE = "walkout_key", "walkout_hold", "walkout_store"  # metadata
STATES = {
    "requires_capture": State.HELD,
    "succeeded": State.CAPTURED,
    "canceled": State.RELEASED,
    "requires_action": State.DECLINED,  # nobody is there to confirm it
    "requires_confirmation": State.DECLINED,
    "requires_payment_method": State.DECLINED,
}

T = TypeVar("T")


class PayersError(ValueError):
    """A file of payers that cannot be read; never shows its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    customer: str  # cus_...
    payment_method: str  # pm_...


def read_payers(path: Path) -> dict[str, Payer]:
    """``{"acct-7": {"customer": "cus_1", "payment_method": "pm_1"}}``. Raises PayersError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Payer])
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise PayersError(f"{path}: {type(error).__name__}; see docs/guides/payments.md") from None


class StripeProvider:
    """``payers``: account -> customer and payment method; ``api``: another address, for tests."""

    name = "stripe"

    def __init__(
        self,
        key: str,
        payers: Callable[[], Mapping[str, Payer]],
        store: str,
        *,
        api: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._payers, self._store = payers, store
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": api} if api else {},
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=timeout_s),
        )
        self._intents = self._client.v1.payment_intents

    def authorize(self, hold: HoldRequest, amount_minor: int, key: str) -> Outcome:
        payer = self._payers().get(hold.account)
        if payer is None:
            return Outcome(state=State.DECLINED, reason="no payment method is known")
        card = {"request_incremental_authorization": "if_available"}
        params: Any = {
            "amount": amount_minor,
            "currency": hold.currency.lower(),
            "customer": payer.customer,
            "payment_method": payer.payment_method,
            "capture_method": "manual",
            "confirm": True,
            "off_session": True,
            "payment_method_options": {"card": card},
            "metadata": {KEY: key, HOLD: hold.hold, STORE: self._store},
        }
        made = _asked(lambda: self._intents.create(params, {"idempotency_key": key}))
        return _outcome(made)

    def increase(self, reference: str, amount_minor: int, key: str) -> Outcome:
        try:
            made = _asked(
                lambda: self._intents.increment_authorization(
                    reference, {"amount": amount_minor}, {"idempotency_key": key}
                )
            )
        except Rejected as error:
            if error.status == 400:  # this card, or this charge, knows no increments
                raise Unsupported(str(error)) from None
            raise
        return _outcome(made)

    def capture(self, reference: str, amount_minor: int, key: str) -> Outcome:
        params: Any = {"amount_to_capture": amount_minor}
        return _outcome(
            _asked(lambda: self._intents.capture(reference, params, {"idempotency_key": key}))
        )

    def release(self, reference: str, key: str) -> Outcome:
        return _outcome(
            _asked(lambda: self._intents.cancel(reference, {}, {"idempotency_key": key}))
        )

    def refund(self, reference: str, amount_minor: int, key: str) -> Outcome:
        params: Any = {
            "payment_intent": reference,
            "amount": amount_minor,
            "metadata": {KEY: key},
        }
        return _refund_outcome(
            _asked(lambda: self._client.v1.refunds.create(params, {"idempotency_key": key}))
        )

    def look(self, reference: str) -> Outcome:
        return _outcome(_asked(lambda: self._intents.retrieve(reference)))

    def find_authorization(self, hold: HoldRequest, key: str) -> Outcome | None:
        payer = self._payers().get(hold.account)
        if payer is None:
            return None
        params: Any = {"customer": payer.customer, "limit": PAGE}
        page = _asked(lambda: self._intents.list(params))
        return next((_outcome(one) for one in page.data if _meta(one, KEY) == key), None)

    def find_refund(self, reference: str, key: str) -> Outcome | None:
        params: Any = {"payment_intent": reference, "limit": PAGE}
        page = _asked(lambda: self._client.v1.refunds.list(params))
        return next((_refund_outcome(one) for one in page.data if _meta(one, KEY) == key), None)

    def listed(self, limit: int = LIST_MAX) -> Iterable[Found]:
        after: dict[str, str] = {}
        while limit > 0:
            params: Any = {"limit": min(PAGE, limit), **after}
            page = _asked(partial(self._intents.list, params))
            for one in page.data:
                if _meta(one, STORE) == self._store and one.status != "processing":
                    made = _outcome(one)
                    yield Found(
                        reference=one.id,
                        hold=_meta(one, HOLD),
                        state=made.state,
                        amount_minor=made.amount_minor,
                    )
            limit -= len(page.data)
            if not page.has_more or not page.data:
                return
            after = {"starting_after": page.data[-1].id}


def _outcome(intent: Any) -> Outcome:
    """A PaymentIntent in our words. Raises Unknown while Stripe itself does not know."""
    if intent.status not in STATES:
        raise Unknown(f"{intent.id} is {intent.status!r}")
    state = STATES[intent.status]
    amount = {State.HELD: intent.amount_capturable, State.CAPTURED: intent.amount_received}
    reason = ""
    if state is State.DECLINED:
        reason = getattr(intent, "reason", "") or str(intent.status)
    return Outcome(
        state=state, reference=intent.id, amount_minor=amount.get(state, 0), reason=reason
    )


def _refund_outcome(refund: Any) -> Outcome:
    if isinstance(refund, _Declined):
        return Outcome(state=State.DECLINED, reason=refund.reason)
    if refund.status in ("failed", "canceled"):
        return Outcome(state=State.DECLINED, reference=refund.id, reason=f"refund {refund.status}")
    return Outcome(state=State.REFUNDED, reference=refund.id, amount_minor=refund.amount)


def _asked(call: Callable[[], T]) -> Any:
    """The SDK's answer; its errors as what they mean for the queue."""
    try:
        return call()
    except stripe.CardError as error:
        return _Declined(_decline_code(error))
    except stripe.RateLimitError as error:
        raise Throttled(f"stripe: {error}") from None
    except stripe.IdempotencyError as error:
        raise Rejected(422, f"stripe: {error}") from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise Rejected(401, f"stripe: {type(error).__name__}") from None
    except stripe.InvalidRequestError as error:
        status = error.http_status or 400
        if status == 409:  # the same key is still at work over there
            raise Unknown(f"stripe: {error}") from None
        raise Rejected(status, f"stripe: {error}") from None
    except stripe.StripeError as error:  # connection, 5xx: an effect may or may not be there
        raise Unknown(f"stripe: {type(error).__name__}") from None


def _decline_code(error: stripe.CardError) -> str:
    code = getattr(error.error, "decline_code", None) or error.code
    return str(code or "card_declined")


class _Declined:
    """What a declined card looks like to ``_outcome``."""

    id = ""
    amount = amount_capturable = amount_received = 0

    def __init__(self, reason: str) -> None:
        self.status, self.reason = "requires_payment_method", reason


def _meta(thing: Any, name: str) -> str:
    kept = thing.metadata
    return str(kept.to_dict().get(name, "")) if kept else ""  # no dict itself
