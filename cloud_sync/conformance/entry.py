"""Cases about the two questions at the entry. Both endpoints are optional for a retailer."""

from __future__ import annotations

from typing import TypeVar

from cloud_sync.conformance.plan import Case
from cloud_sync.conformance.session import Reply, Session, offered, require
from cloud_sync.wall_time import rfc3339
from messages.contract import AuthEvent, ShopperIdentity
from messages.retailer_contract import (
    ENTRY_PATH,
    IDENTITY_PATH,
    Amount,
    Choice,
    EntryReason,
    EntryReply,
    EntryRequest,
    IdentityReply,
    IdentityRequest,
)

HOLD_MINOR = 5000

T = TypeVar("T")


def _event(session: Session, case: str) -> AuthEvent:
    return AuthEvent(id=session.name(case), timestamp=rfc3339(session.now_s * 1_000_000_000))


def _identity(session: Session, case: str, key: str) -> IdentityReply:
    wanted = IdentityRequest(
        requestId=session.name(case),
        storeId=session.target.store,
        identityKey=key,
        authEvent=_event(session, case),
    )
    reply = offered(session.post(IDENTITY_PATH, wanted, wanted.requestId), IDENTITY_PATH)
    return _read(session, reply, IdentityReply)


def _entry(session: Session, case: str, shopper: str) -> EntryReply:
    target = session.target
    wanted = EntryRequest(
        requestId=session.name(case),
        storeId=target.store,
        shoppingTripId=session.name(case),
        shopperIdentity=ShopperIdentity(id=shopper),
        authEvent=_event(session, case),
        authorizedAmount=Amount(amount=HOLD_MINOR, currencyCode=target.currency),
    )
    reply = offered(session.post(ENTRY_PATH, wanted, wanted.requestId), ENTRY_PATH)
    answer = _read(session, reply, EntryReply)
    for condition in answer.authorizationConditions:
        require(condition.type == "ADJUST", f"condition {condition.type!r} is none of ours")
        within = 0 < condition.amount.amount <= HOLD_MINOR
        require(within, f"adjusted to {condition.amount.amount}, asked for {HOLD_MINOR}")
        currency = condition.amount.currencyCode
        require(currency == target.currency, f"currency {currency!r}")
    return answer


def _read(session: Session, reply: Reply, kind: type[T]) -> T:
    require(reply.status == 200, reply.excerpt())
    return session.read(reply, kind)


def known_identity(session: Session) -> None:
    found = _identity(session, "identity", session.target.shopper)
    named = found.shopperIdentity is not None and found.shopperIdentity.id
    require(found.decision is Choice.ACCEPT and bool(named), repr(found))


def unknown_identity(session: Session) -> None:
    found = _identity(session, "nobody", session.target.nobody)
    require(found.decision is Choice.REJECT, repr(found))


def identity_needs_key(session: Session) -> None:
    name = session.name("identity-key")
    reply = session.post(IDENTITY_PATH, {"requestId": name}, name, authorization="")
    require(offered(reply, IDENTITY_PATH).status == 401, reply.excerpt())


def authorized(session: Session) -> None:
    found = _entry(session, "entry", session.target.shopper)
    require(found.shopperAuthorized, repr(found))


def adjusted(session: Session) -> None:
    found = _entry(session, "limited", session.target.limited_shopper)
    require(found.shopperAuthorized and bool(found.authorizationConditions), repr(found))


def debtor(session: Session) -> None:
    found = _entry(session, "debtor", session.target.debtor)
    refused = not found.shopperAuthorized and found.reason is EntryReason.BAD_DEBT
    owed = found.unpaidBalance.amount if found.unpaidBalance else 0
    require(refused and owed > 0, repr(found))


def unknown_shopper(session: Session) -> None:
    found = _entry(session, "stranger", session.target.nobody)
    require(not found.shopperAuthorized and bool(found.reason), repr(found))


def entry_needs_key(session: Session) -> None:
    name = session.name("entry-key")
    reply = session.post(ENTRY_PATH, {"requestId": name}, name, authorization="")
    require(offered(reply, ENTRY_PATH).status == 401, reply.excerpt())


CASES = (
    Case(
        id="identity-known",
        expects="200 ACCEPT with a shopperIdentity",
        run=known_identity,
        needs=("shopper",),
    ),
    Case(
        id="identity-unknown",
        expects="200 REJECT for a key you do not know, no error",
        run=unknown_identity,
        needs=("nobody",),
    ),
    Case(id="identity-no-key", expects="401 without the key", run=identity_needs_key),
    Case(
        id="entry-authorized",
        expects="200 with shopperAuthorized true",
        run=authorized,
        needs=("shopper",),
    ),
    Case(
        id="entry-adjusted",
        expects="authorized with an ADJUST condition, above 0 and at most what was asked for",
        run=adjusted,
        needs=("limited_shopper",),
    ),
    Case(
        id="entry-unpaid-balance",
        expects="not authorized, reason BAD_DEBT, unpaidBalance above 0",
        run=debtor,
        needs=("debtor",),
    ),
    Case(
        id="entry-unknown",
        expects="200, not authorized, with a reason",
        run=unknown_shopper,
        needs=("nobody",),
    ),
    Case(id="entry-no-key", expects="401 without the key", run=entry_needs_key),
)
