"""Rows of the settlement table about the entry: who is it, and how much may be held?

The gate has let the shopper in by the store's own rules; these questions go to the retailer behind
it. A shopper whom it refuses gets no hold, so the cart ends ``unpaid``, as after a declined hold.
"""

from __future__ import annotations

from dataclasses import replace

from cloud_sync.demands import Admitted, Verified
from cloud_sync.purchase import Ask, GivenUp, Operation, Purchase, Stage, Step
from cloud_sync.turn import Turn, hold
from cloud_sync.wall_time import rfc3339
from messages.contract import AuthEvent, ShopperIdentity
from messages.retailer_contract import Amount, EntryRequest, IdentityRequest


def verify(turn: Turn) -> Step:
    """Ask whose key it is."""
    purchase = turn.purchase
    body = IdentityRequest(
        requestId=f"{purchase.visit}:verify",
        storeId=turn.terms.store,
        identityKey=purchase.account,
        authEvent=_event(purchase),
    )
    ask = Ask(operation=Operation.VERIFY, body=body)
    return Step(purchase=turn.to(Stage.VERIFYING), asks=(ask,))


def verified(turn: Turn, signal: Verified) -> Step:
    """Ask how much to hold."""
    turn.purchase = replace(turn.purchase, shopper=signal.shopper)
    purchase, terms = turn.purchase, turn.terms
    body = EntryRequest(
        requestId=f"{purchase.visit}:admit",
        storeId=terms.store,
        shoppingTripId=purchase.visit,
        shopperIdentity=ShopperIdentity(id=signal.shopper),
        authEvent=_event(purchase),
        authorizedAmount=Amount(amount=terms.hold_minor, currencyCode=terms.currency),
        partySize=purchase.party_size,
    )
    ask = Ask(operation=Operation.ADMIT, body=body)
    return Step(purchase=turn.to(Stage.DECIDING), asks=(ask,))


def admitted(turn: Turn, signal: Admitted) -> Step:
    """Hold what it says, at most what we asked for."""
    turn.purchase = replace(turn.purchase, unpaid_minor=signal.unpaid_minor)
    return hold(turn, min(signal.hold_minor, turn.terms.hold_minor))


def unasked(turn: Turn, signal: GivenUp) -> Step:
    """An operator gave the question up: the store's own rules hold."""
    return hold(turn, turn.terms.hold_minor)


def _event(purchase: Purchase) -> AuthEvent:
    return AuthEvent(id=purchase.credential, timestamp=rfc3339(purchase.started_wall_ns))
