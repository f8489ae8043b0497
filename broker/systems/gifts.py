"""System I, prepayment messages: money sent to a friend, in escrow until somebody claims it.

It leaves the sender's wallet at once for ``gift_escrow`` and ends exactly once: claimed into
another wallet by whoever has the code (and, when it is bound, the contact it was sent to), revoked
by the sender, or returned when its time is over. Caps keep gifts from laundering money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.credentials import rfc3339
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import funds, wallets
from broker.systems.secret_codes import code_of, contact_hash, hashed
from broker.systems.states import advance
from messages.money import Money

ESCROW = "gift_escrow"
PURPOSE = "gift"
GIFT_MAX_MINOR = 10_000  # one gift
DAY_MAX_MINOR = 15_000  # of one wallet in a day, sent; and as much received
DAY_S = 24 * 3600
VALIDITY_S = 30 * DAY_S
RETURNED_AT_ONCE = 200  # gifts a transaction of the housekeeping


class GiftState(StrEnum):
    SENT = "sent"
    CLAIMED = "claimed"
    REVOKED = "revoked"
    RETURNED = "returned"


class GiftSignal(StrEnum):
    CLAIM = "claim"
    REVOKE = "revoke"
    EXPIRE = "expire"


GIFT_STATES: Mapping[tuple[GiftState, GiftSignal], GiftState] = {
    (GiftState.SENT, GiftSignal.CLAIM): GiftState.CLAIMED,
    (GiftState.SENT, GiftSignal.REVOKE): GiftState.REVOKED,
    (GiftState.SENT, GiftSignal.EXPIRE): GiftState.RETURNED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GiftRequest:
    """POST /v1/prepay-messages. ``contact``: who alone may claim it; "" = whoever has the code."""

    gift: str
    wallet: str
    amount_minor: int
    contact: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """``code``: what the link holds; empty when only asked for."""

    gift: str
    wallet: str
    amount_minor: int
    currency: str
    note: str
    state: str
    expires_at: str
    claimed_by: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiftClaim:
    """POST /v1/prepay-messages/claim: into the wallet of whoever was sent the code."""

    code: str
    wallet: str
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiftRow:
    gift: str
    wallet: str
    amount_minor: int
    currency: str
    contact_hash: str
    note: str
    kid: str
    state: GiftState
    expires_s: int
    claimed_by: str

    def as_of(self, now_s: int) -> GiftState:
        """What a claim finds: after its time a gift is on its way back."""
        lapsed = self.state is GiftState.SENT and now_s >= self.expires_s
        return GiftState.RETURNED if lapsed else self.state

    def reply(self, code: str = "") -> Gift:
        return Gift(
            gift=self.gift,
            wallet=self.wallet,
            amount_minor=self.amount_minor,
            currency=self.currency,
            note=self.note,
            state=self.state.value,
            expires_at=rfc3339(self.expires_s),
            claimed_by=self.claimed_by,
            code=code,
        )


# --- effects ----------------------------------------------------------------------------------


async def send(db: Transaction, call: Call, asked: GiftRequest) -> Answer:
    """The money leaves the wallet now.

    Raises:
        ProblemError: 402 above the caps; LedgerRefusalError when the wallet has too little.
    """
    wallet = await wallets.usable_wallet(db, call, asked.wallet)
    known = await _row(db, "gift", asked.gift)
    if known is not None:
        if (known.wallet, known.amount_minor) != (asked.wallet, asked.amount_minor):
            raise funds.same_id_other_content("gift")
        return answer(201, known.reply(known.kid), replayed=True)
    await _check_caps(db, call, "wallet", asked.wallet, asked.amount_minor)
    key = call.service.signing[0]
    row = GiftRow(
        gift=asked.gift,
        wallet=asked.wallet,
        amount_minor=asked.amount_minor,
        currency=wallet.currency,
        contact_hash=contact_hash(asked.contact),
        note=asked.note,
        kid=key.kid,
        state=GiftState.SENT,
        expires_s=call.now_s + VALIDITY_S,
        claimed_by="",
    )
    journal = await _move(db, "gift", row, wallet.account, ESCROW, call.now_s)
    code_hash = hashed(code_of(key, PURPOSE, asked.gift))
    what = (row.gift, row.wallet, row.amount_minor, row.currency, row.contact_hash, row.note)
    when = (code_hash, row.kid, row.state.value, row.expires_s, call.now_s, journal)
    await db.run(_INSERT, *what, *when)
    return answer(201, row.reply(key.kid))


async def claim(db: Transaction, call: Call, asked: GiftClaim) -> Answer:
    """The money enters the claimer's wallet, once.

    Raises:
        ProblemError: 404 without such a gift, 403 for another contact, 409 when it has ended.
    """
    found = await _row(db, "code_hash", hashed(asked.code))
    if found is None:
        raise ProblemError(404, "unknown-gift", "no gift has this code")
    row = await _locked(db, found.gift)
    if row.contact_hash not in ("", contact_hash(asked.contact)):
        raise ProblemError(403, "not-the-addressee", "the gift was sent to somebody else")
    if row.state is GiftState.CLAIMED and row.claimed_by == asked.wallet:
        return answer(200, row.reply(), replayed=True)
    after = advance(GIFT_STATES, row.as_of(call.now_s), GiftSignal.CLAIM, "gift")
    wallet = await wallets.usable_wallet(db, call, asked.wallet)
    wallets.check_currency(row.currency, wallet.currency)
    await _check_caps(db, call, "claimed_by", asked.wallet, row.amount_minor)
    await wallets.check_room(db, wallet, row.amount_minor, call.now_s)
    return await _end(db, call.now_s, row, after, asked.wallet)


async def revoke(db: Transaction, call: Call, _: Nothing) -> Answer:
    """The sender takes back what nobody has claimed."""
    if await _row(db, "gift", call.named) is None:
        raise ProblemError(404, "unknown-gift", "no gift has this id")
    row = await _locked(db, call.named)
    if row.state is GiftState.REVOKED:
        return answer(200, row.reply(), replayed=True)
    after = advance(GIFT_STATES, row.state, GiftSignal.REVOKE, "gift")
    return await _end(db, call.now_s, row, after, row.wallet)


async def return_due(db: Transaction, now_s: int, most: int = RETURNED_AT_ONCE) -> int:
    """Give back what nobody claimed in time, whoever's; how many."""
    due = await db.all(_DUE, now_s, most)
    for (name,) in due:
        row = await _locked(db, name)
        if row.state is GiftState.SENT:
            after = advance(GIFT_STATES, row.state, GiftSignal.EXPIRE, "gift")
            await _end(db, now_s, row, after, row.wallet)
    return len(due)


async def gift(db: Transaction, call: Call, name: str) -> Gift:
    """A gift's state, without its code."""
    row = await _row(db, "gift", name)
    if row is None:
        raise ProblemError(404, "unknown-gift", "no gift has this id")
    return row.reply()


# --- helpers ----------------------------------------------------------------------------------


async def _end(db: Transaction, now_s: int, row: GiftRow, after: GiftState, to: str) -> Answer:
    """Out of escrow, once: the row is locked, and its journal's name is the gift's."""
    journal = await _move(db, f"gift-{after.value}", row, ESCROW, wallets.account_of(to), now_s)
    claimed_by = to if after is GiftState.CLAIMED else ""
    await db.run(_ENDED, row.gift, after.value, claimed_by, journal, now_s)
    return answer(200, replace(row, state=after, claimed_by=claimed_by).reply())


async def _move(
    db: Transaction, kind: str, row: GiftRow, debit: str, credit: str, now_s: int
) -> int:
    amount = Money(minor=row.amount_minor, currency=row.currency)
    return await funds.move(db, kind, row.gift, debit, credit, amount, now_s)


async def _check_caps(db: Transaction, call: Call, side: str, name: str, more_minor: int) -> None:
    """One gift, and one wallet's day, have a ceiling, sending and receiving."""
    since = "sent_s" if side == "wallet" else "ended_s"
    found = await db.one(_DAY.format(side=side, since=since), name, call.now_s - DAY_S)
    assert found is not None
    if more_minor > GIFT_MAX_MINOR or found[0] + more_minor > DAY_MAX_MINOR:
        detail = f"a gift is at most {GIFT_MAX_MINOR}, a wallet's day {DAY_MAX_MINOR}"
        raise ProblemError(402, "gift-limit", detail, param="$.amount_minor")


async def _locked(db: Transaction, name: str) -> GiftRow:
    row = await _one(db, f"{_GIFT} WHERE gift = $1 FOR UPDATE", name)
    assert row is not None
    return row


async def _row(db: Transaction, column: str, value: str) -> GiftRow | None:
    return await _one(db, f"{_GIFT} WHERE {column} = $1", value)


async def _one(db: Transaction, statement: str, *values: object) -> GiftRow | None:
    row = await db.one(statement, *values)
    if row is None:
        return None
    name, wallet, amount_minor, currency, bound_to, note, kid, state, expires_s, by = row
    return GiftRow(
        gift=name,
        wallet=wallet,
        amount_minor=amount_minor,
        currency=currency,
        contact_hash=bound_to,
        note=note,
        kid=kid,
        state=GiftState(state),
        expires_s=expires_s,
        claimed_by=by,
    )


_GIFT = (
    "SELECT gift, wallet, amount_minor, currency, contact_hash, note, kid, state, expires_s,"
    " claimed_by FROM gift"
)
_INSERT = (
    "INSERT INTO gift (gift, wallet, amount_minor, currency, contact_hash, note, code_hash, kid,"
    " state, expires_s, sent_s, sent_journal, claimed_by)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '')"
)
_ENDED = (
    "UPDATE gift SET state = $2, claimed_by = $3, ended_journal = $4, ended_s = $5 WHERE gift = $1"
)
_DUE = "SELECT gift FROM gift WHERE state = 'sent' AND expires_s <= $1 ORDER BY gift LIMIT $2"
_DAY = (
    "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM gift"
    " WHERE {side} = $1 AND {since} > $2"
)
