"""System B, the way in: a single-use invitation becomes one consumer's grant.

The code of an invitation is claimed by one conditional write, so two claimers of a forwarded link
make one grant; one may be bound to a contact. A leaver loses the grant, not only the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker.credentials import rfc3339
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import funds, item_stores
from broker.systems.secret_codes import code_of, contact_hash, hashed
from broker.systems.states import advance

PURPOSE = "invitation"
VALIDITY_S = 14 * 24 * 3600
INVITATIONS_MAX = 10_000  # of one store: an event, not a mailing


class InvitationState(StrEnum):
    ISSUED = "issued"
    CLAIMED = "claimed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class InvitationSignal(StrEnum):
    CLAIM = "claim"
    EXPIRE = "expire"
    REVOKE = "revoke"


INVITATION_STATES: Mapping[tuple[InvitationState, InvitationSignal], InvitationState] = {
    (InvitationState.ISSUED, InvitationSignal.CLAIM): InvitationState.CLAIMED,
    (InvitationState.ISSUED, InvitationSignal.EXPIRE): InvitationState.EXPIRED,
    (InvitationState.ISSUED, InvitationSignal.REVOKE): InvitationState.REVOKED,
    (InvitationState.CLAIMED, InvitationSignal.REVOKE): InvitationState.REVOKED,
    (InvitationState.REVOKED, InvitationSignal.REVOKE): InvitationState.REVOKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRequest:
    """POST /v1/item-stores/{id}/invitations. ``contact``: who alone may claim it; "" = anybody."""

    invitation: str
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """``code``: what the link holds, told once. ``claimed_by``: only where privacy is items."""

    invitation: str
    item_store: str
    state: str
    expires_at: str
    claimed_by: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """POST /v1/claims: a consumer takes an invitation."""

    code: str
    consumer: str
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a consumer may take; nothing of the sponsor's payment."""

    grant: str
    item_store: str
    organizer: str
    state: str
    currency: str
    params: item_stores.Params


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRow:
    grant: str
    item_store: str
    consumer: str
    active: bool


# --- effects ----------------------------------------------------------------------------------


async def invite(db: Transaction, call: Call, asked: InvitationRequest) -> Answer:
    """A new invitation; its code is in the answer alone."""
    store = await item_stores.locked_row(db, call.named, call.now_s)
    known = await db.one(_BY_ID, asked.invitation)
    if known is not None:
        if (known[1], known[3]) != (store.item_store, contact_hash(asked.contact)):
            raise funds.same_id_other_content("invitation")
        return answer(201, _reply(store, known, code=known[2]), replayed=True)
    await _check_many(db, store.item_store)
    key = call.service.signing[0]
    code_hash = hashed(code_of(key, PURPOSE, asked.invitation))
    expires_s = min(call.now_s + VALIDITY_S, store.params.valid_until_s)
    given = (asked.invitation, store.item_store, code_hash, key.kid, contact_hash(asked.contact))
    await db.run(_INSERT, *given, InvitationState.ISSUED.value, expires_s, call.now_s)
    row = await db.one(_BY_ID, asked.invitation)
    assert row is not None
    return answer(201, _reply(store, row, code=key.kid))


async def claim(db: Transaction, call: Call, asked: ClaimRequest) -> Answer:
    """One invitation, one grant.

    Raises:
        ProblemError: 404 without such an invitation, 403 for another contact, 409 when it is
            claimed, expired or revoked, or the store is not open.
    """
    row = await db.one(_BY_CODE, hashed(asked.code))
    if row is None:
        raise ProblemError(404, "unknown-invitation", "no invitation has this code")
    name, store_name, _, bound_to, *_ = row
    if bound_to not in ("", contact_hash(asked.contact)):
        raise ProblemError(403, "not-the-addressee", "the invitation is somebody else's")
    store = await item_stores.store_row(db, store_name)
    item_stores.check_usable(store, call.now_s)
    if not await db.run(_CLAIM, name, call.now_s):
        return await _claimed_before(db, store, name, asked)
    given = (f"grant:{name}", name, store_name, asked.consumer, call.now_s)
    await db.run("INSERT INTO item_grant VALUES ($1, $2, $3, $4, 1, $5)", *given)
    return answer(201, await _grant(db, store, given[0]))


async def revoke(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The code is worth nothing any more, nor is the grant that came of it."""
    await db.one(_LOCK, call.named)
    row = await db.one(_BY_ID, call.named)
    if row is None:
        raise ProblemError(404, "unknown-invitation", "no invitation has this id")
    store = await item_stores.locked_row(db, row[1], call.now_s)
    state = InvitationState(row[4])
    after = advance(INVITATION_STATES, state, InvitationSignal.REVOKE, "invitation")
    await db.run("UPDATE invitation SET state = $2 WHERE invitation = $1", call.named, after.value)
    await db.run("UPDATE item_grant SET active = 0 WHERE invitation = $1", call.named)
    again = await db.one(_BY_ID, call.named)
    assert again is not None
    return answer(200, _reply(store, again))


# --- questions --------------------------------------------------------------------------------


async def invitation(db: Transaction, call: Call, name: str) -> Invitation:
    """An invitation's state, without its code."""
    row = await db.one(_BY_ID, name)
    if row is None:
        raise ProblemError(404, "unknown-invitation", "no invitation has this id")
    reply = _reply(await item_stores.store_row(db, row[1]), row)
    if reply.state == InvitationState.ISSUED and call.now_s >= row[5]:
        state = advance(
            INVITATION_STATES, InvitationState.ISSUED, InvitationSignal.EXPIRE, "invitation"
        )
        return Invitation(
            invitation=reply.invitation,
            item_store=reply.item_store,
            state=state.value,
            expires_at=reply.expires_at,
        )
    return reply


async def grant(db: Transaction, call: Call, name: str) -> Grant:
    """A grant with its store's limits; raises ProblemError 404."""
    row = await grant_row(db, name)
    return await _grant(db, await item_stores.store_row(db, row.item_store), name)


async def grant_row(db: Transaction, name: str) -> GrantRow:
    """Raises ProblemError 404."""
    row = await db.one(_GRANT, name)
    if row is None:
        raise ProblemError(404, "unknown-grant", "no grant has this id")
    return GrantRow(grant=row[0], item_store=row[1], consumer=row[2], active=bool(row[3]))


# --- helpers ----------------------------------------------------------------------------------


async def _claimed_before(
    db: Transaction, store: item_stores.StoreRow, name: str, asked: ClaimRequest
) -> Answer:
    """The same consumer gets the same grant; everybody else is told that it is gone."""
    row = await db.one("SELECT consumer, active FROM item_grant WHERE invitation = $1", name)
    if row is not None and row == (asked.consumer, 1):
        return answer(201, await _grant(db, store, f"grant:{name}"), replayed=True)
    raise ProblemError(409, "invitation-spent", "it was claimed or revoked, or its time is over")


async def _check_many(db: Transaction, store: str) -> None:
    found = await db.one("SELECT COUNT(*) FROM invitation WHERE item_store = $1", store)
    assert found is not None
    if found[0] >= INVITATIONS_MAX:
        raise ProblemError(
            409, "too-many-invitations", f"{INVITATIONS_MAX} are the most of a store"
        )


async def _grant(db: Transaction, store: item_stores.StoreRow, name: str) -> Grant:
    row = await grant_row(db, name)
    return Grant(
        grant=row.grant,
        item_store=row.item_store,
        organizer=store.organizer,
        state="active" if row.active else "revoked",
        currency=store.currency,
        params=store.params,
    )


def _reply(store: item_stores.StoreRow, row: tuple[object, ...], code: str = "") -> Invitation:
    name, store_name, _, _, state, expires_s, consumer = row
    seen = store.params.privacy == "items" and consumer is not None
    return Invitation(
        invitation=str(name),
        item_store=str(store_name),
        state=str(state),
        expires_at=rfc3339(int(str(expires_s))),
        claimed_by=str(consumer) if seen else "",
        code=code,
    )


_SELECT = (
    "SELECT i.invitation, i.item_store, i.kid, i.contact_hash, i.state, i.expires_s, g.consumer"
    " FROM invitation i LEFT JOIN item_grant g ON g.invitation = i.invitation"
)
_BY_ID = f"{_SELECT} WHERE i.invitation = $1"
_BY_CODE = f"{_SELECT} WHERE i.code_hash = $1"
_LOCK = "SELECT 1 FROM invitation WHERE invitation = $1 FOR UPDATE"
_INSERT = "INSERT INTO invitation VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
_CLAIM = (
    "UPDATE invitation SET state = 'claimed'"
    " WHERE invitation = $1 AND state = 'issued' AND expires_s > $2"
)
_GRANT = "SELECT item_grant, item_store, consumer, active FROM item_grant WHERE item_grant = $1"
