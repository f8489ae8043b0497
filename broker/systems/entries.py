"""System A, the gate: may this shopper come in, and how much is held.

A credential - a code that this broker issued, a card's token, an app - leads to an account. What
the shopper saw at the gate is held at once; a limit that is smaller gets a smaller hold
(``limited``), one that is too small, a blocked account or one on the deny list is turned away with
a reason. The hold is the ceiling of what the visit can take.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from broker import store_rows
from broker.chart import receivable
from broker.database import Transaction
from broker.idempotency import Answer, answer, digest
from broker.ledger import HOLD_VALIDITY_S, HoldState
from broker.routes import Call
from broker.systems import debts, funds
from broker.systems.merchants import check_operator, check_party

CODE, CARD, APP = "code", "card", "app"
REF_BYTES = 15  # 120 bits: nobody guesses another merchant's name for a shopper


class Decision(StrEnum):
    ADMIT = "admit"
    LIMITED = "limited"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRequest:
    """POST /v1/entries. ``presented``: a credential id, the card's token, or the account's id.

    ``wanted_minor`` is held, or ``least_minor`` at least.
    """

    entry: str
    merchant: str
    store: str
    gate: str
    credential_kind: str
    presented: str
    currency: str
    wanted_minor: int
    least_minor: int = 1
    party_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``account_ref``: what this merchant calls the shopper; "" of one who was turned away."""

    entry: str
    decision: str
    reason: str
    account_ref: str
    hold: str
    held_minor: int
    currency: str
    capture_before_s: int
    debt_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    entry: str
    merchant: str
    store: str
    account: str
    decision: Decision
    reason: str
    hold: str | None
    trip: str | None
    digest: str


async def enter(db: Transaction, call: Call, asked: EntryRequest) -> Answer:
    """Decide; the decision is kept, a shopper who was turned away comes with a new entry.

    Raises:
        ProblemError: 403 a merchant that names an account without anything the shopper showed, 404
            another merchant, 409 the id came before with other content.
    """
    check_party(call, asked.merchant)
    if asked.credential_kind == APP:
        check_operator(call)
    account = await _account_of(db, asked)
    if account:
        await store_rows.locked_account(db, account, call.now_s)
    known = await row_or_none(db, asked.entry)
    if known is not None:
        if known.digest != _digest(asked):
            raise funds.same_id_other_content("entry")
        return answer(201, await _reply(db, known, asked.currency, call.now_s), replayed=True)
    hold, reason = await _decide(db, asked, account, call.now_s)
    if hold is not None:
        await funds.reserve(db, hold)
        made = base64.b32encode(secrets.token_bytes(REF_BYTES)).decode().lower()
        await db.run(_NEW_REF, account, asked.merchant, made)
    await _insert(db, asked, account, hold, reason, call.now_s)
    row = await row_or_none(db, asked.entry)
    assert row is not None
    return answer(201, await _reply(db, row, asked.currency, call.now_s))


async def row_or_none(db: Transaction, name: str, lock: str = "") -> EntryRow | None:
    row = await db.one(f"{_SELECT} WHERE entry = $1{lock}", name)
    if row is None:
        return None
    found = EntryRow(**store_rows.named(EntryRow, row))
    return replace(found, decision=Decision(found.decision))


async def ref_of(db: Transaction, account: str, merchant: str) -> str:
    """What the merchant calls the shopper, the same each time and another at each merchant."""
    row = await db.one(_REF, account, merchant)
    return "" if row is None else str(row[0])  # erasure took it


# --- deciding ---------------------------------------------------------------------------------


async def _decide(
    db: Transaction, asked: EntryRequest, account: str, now_s: int
) -> tuple[HoldState | None, str]:
    """The hold, or none and why. The account is locked."""
    if not account:
        return None, "unknown-credential"
    state = await store_rows.account_state(db, account, now_s)
    if state.currency != asked.currency:
        return None, "currency-mismatch"
    if state.blocked:
        return None, "account-blocked"
    if reason := await debts.denial(db, account):
        return None, reason
    if asked.credential_kind == CODE and (wrong := await _spent(db, asked)):
        return None, wrong
    amount_minor = min(asked.wanted_minor, state.room_minor)
    if amount_minor < asked.least_minor:
        return None, "limit-exceeded"
    hold = HoldState(
        hold=f"entry:{asked.entry}",
        account=receivable(account),
        store=asked.store,
        visit=asked.entry,
        credential=asked.presented if asked.credential_kind == CODE else f"entry:{asked.entry}",
        amount_minor=amount_minor,
        currency=asked.currency,
        created_s=now_s,
        expires_s=now_s + HOLD_VALIDITY_S,
    )
    return hold, "" if amount_minor == asked.wanted_minor else "limit-small"


async def _account_of(db: Transaction, asked: EntryRequest) -> str:
    """Whose credential it is, "" of nobody we know."""
    if asked.credential_kind == APP:
        row = await db.one("SELECT account FROM account WHERE account = $1", asked.presented)
    elif asked.credential_kind == CARD:
        row = await db.one(_BY_CARD, asked.presented, asked.currency)
    else:
        row = await db.one(_BY_CODE, asked.presented, asked.store)
    return "" if row is None else str(row[0])


async def _spent(db: Transaction, asked: EntryRequest) -> str:
    """A code opens once, whatever it opened."""
    used = await db.one(_USED, asked.presented)
    return "" if used is None else "credential-used"


# --- helpers ----------------------------------------------------------------------------------


async def _insert(
    db: Transaction,
    asked: EntryRequest,
    account: str,
    hold: HoldState | None,
    reason: str,
    now_s: int,
) -> None:
    decision = Decision.DENY if hold is None else Decision.LIMITED if reason else Decision.ADMIT
    shown = asked.presented if asked.credential_kind == CODE else ""  # a token is kept once
    where = (asked.entry, asked.merchant, asked.store, asked.gate)
    who = (account, asked.credential_kind, shown, asked.party_size)
    rest = (decision.value, reason, hold.hold if hold else None, None, _digest(asked), now_s)
    if not await db.run(_INSERT, *where, *who, *rest):
        raise funds.same_id_other_content("entry")


async def _reply(db: Transaction, row: EntryRow, currency: str, now_s: int) -> Entry:
    hold = await funds.hold_of(db, row.hold, now_s) if row.hold else None
    owing = row.reason == debts.DEBT_OPEN
    return Entry(
        entry=row.entry,
        decision=row.decision.value,
        reason=row.reason,
        account_ref=await ref_of(db, row.account, row.merchant) if hold else "",
        hold=row.hold or "",
        held_minor=hold.reserved_minor if hold else 0,
        currency=currency,
        capture_before_s=hold.expires_s if hold else 0,
        debt_minor=await debts.open_minor(db, row.account) if owing else 0,
    )


def _digest(asked: EntryRequest) -> str:
    return digest(msgspec.to_builtins(asked)).hex()


_SELECT = "SELECT entry, merchant, store, account, decision, reason, hold, trip, digest FROM entry"
_INSERT = (
    "INSERT INTO entry VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    " ON CONFLICT DO NOTHING"
)
_BY_CARD = (
    "SELECT account FROM account WHERE payment_ref = $1 AND payment_ref <> '' AND currency = $2"
    " ORDER BY created_s, account LIMIT 1"
)
_BY_CODE = (
    "SELECT account FROM credential WHERE credential = $1 AND store = $2 AND kind = 'shopper'"
)
_USED = "SELECT 1 FROM hold WHERE credential = $1"
_NEW_REF = "INSERT INTO account_ref VALUES ($1, $2, $3) ON CONFLICT (account, merchant) DO NOTHING"
_REF = "SELECT ref FROM account_ref WHERE account = $1 AND merchant = $2"
