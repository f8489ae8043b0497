"""System A, what a visit could not be charged: debts, their recovery, and the deny list.

The merchant is owed nothing by us for a debt; what the payment provider collects of it later is
the merchant's. Until then the account, and every account with the same card, is not let in. A
person's word on the list is a cause of its own: a paid debt does not lift it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from broker import store_rows
from broker.chart import PSP_CLEARING, payable
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.systems import events, funds
from broker.systems.states import advance
from messages.money import Money

DEBT_OPEN, LISTED = "debt-open", "deny-listed"
OPERATOR = "operator"


class DebtState(StrEnum):
    OPEN = "open"
    RECOVERED = "recovered"
    WRITTEN_OFF = "written-off"


class DebtSignal(StrEnum):
    RECOVER = "recover"
    WRITE_OFF = "write-off"


DEBT_STATES: Mapping[tuple[DebtState, DebtSignal], DebtState] = {
    (DebtState.OPEN, DebtSignal.RECOVER): DebtState.RECOVERED,
    (DebtState.OPEN, DebtSignal.WRITE_OFF): DebtState.WRITTEN_OFF,
    (DebtState.WRITTEN_OFF, DebtSignal.RECOVER): DebtState.RECOVERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRequest:
    """POST /v1/debts/{trip}/recoveries: the payment provider collected it."""

    recovery: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """Named after its trip. ``forgiven_minor``: what a dispute took off."""

    trip: str
    account: str
    merchant: str
    currency: str
    amount_minor: int
    recovered_minor: int
    forgiven_minor: int
    state: str

    @property
    def left_minor(self) -> int:
        return self.amount_minor - self.recovered_minor - self.forgiven_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtPage:
    """GET /v1/debts."""

    debts: list[Debt]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyRequest:
    """POST /v1/deny-list."""

    account: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """``causes``: the operator's word, or debts; empty of one who may come in."""

    account: str
    causes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedPage:
    """GET /v1/deny-list."""

    denied: list[Denied]
    after: str
    more: bool


# --- debts ------------------------------------------------------------------------------------


async def owe(
    db: Transaction, trip: str, account: str, merchant: str, amount: Money, now_s: int
) -> None:
    """A visit's rest that nobody paid: onto the deny list with it."""
    row = (trip, account, merchant, amount.currency, amount.minor, now_s)
    await db.run(_OWE, *row)
    await _deny(db, account, f"debt:{trip}", "a visit is not paid in full", now_s)


async def recover(db: Transaction, call: Call, asked: RecoveryRequest) -> Answer:
    """Part or all of a debt was collected; it goes to the merchant.

    Raises:
        ProblemError: 404, 409 the id is taken or nothing is owed, 422 more than is left.
    """
    debt = await _locked(db, call.named)
    known = await db.one(_RECOVERY, asked.recovery)
    if known is not None:
        if known != (debt.trip, asked.amount_minor, asked.currency):
            raise funds.same_id_other_content("recovery")
        return answer(201, debt, replayed=True)
    after = advance(DEBT_STATES, DebtState(debt.state), DebtSignal.RECOVER, "debt")
    if asked.currency != debt.currency:
        raise ProblemError(422, "currency-mismatch", "not the debt's currency", param="$.currency")
    if asked.amount_minor > debt.left_minor:
        detail = f"{asked.amount_minor} is more than the {debt.left_minor} left"
        raise ProblemError(422, "payment-above-debt", detail, param="$.amount_minor")
    amount = Money(minor=asked.amount_minor, currency=asked.currency)
    journal = await funds.move(
        db, "debt-recovery", asked.recovery, PSP_CLEARING, payable(debt.merchant), amount,
        call.now_s,
    )  # fmt: skip
    row = (asked.recovery, debt.trip, asked.amount_minor, asked.currency, journal)
    await db.run("INSERT INTO debt_recovery VALUES ($1, $2, $3, $4, $5)", *row)
    await db.run(_RECOVERED, debt.trip, asked.amount_minor)
    await _clear(db, debt.trip, after)
    said = {"amount_minor": asked.amount_minor, "currency": asked.currency}
    party = f"{events.MERCHANT}{debt.merchant}"
    await events.tell(db, party, "debt.recovered", debt.trip, call.now_s, said, once=asked.recovery)
    return answer(201, await _debt(db, debt.trip))


async def forgive(db: Transaction, trip: str, most_minor: int) -> int:
    """Take off what a dispute upheld, as far as it is owed still; how much that was."""
    if await db.one(f"{_SELECT} WHERE trip = $1 FOR UPDATE", trip) is None:
        return 0
    debt = await _debt(db, trip)
    amount_minor = min(most_minor, debt.left_minor)
    if amount_minor:
        await db.run(_FORGIVEN, trip, amount_minor)
        await _clear(db, trip, DebtState.RECOVERED)
    return amount_minor


async def write_off(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Given up; the account stays on the deny list."""
    debt = await _locked(db, call.named)
    after = advance(DEBT_STATES, DebtState(debt.state), DebtSignal.WRITE_OFF, "debt")
    await db.run("UPDATE trip_debt SET state = $2 WHERE trip = $1", debt.trip, after.value)
    return answer(200, await _debt(db, debt.trip))


async def open_minor(db: Transaction, account: str) -> int:
    """What the account owes of visits."""
    row = await db.one(_OPEN, account)
    assert row is not None
    return int(row[0])


async def debt(db: Transaction, name: str) -> Debt:
    """Raises ProblemError 404."""
    return await _debt(db, name)


async def page(db: Transaction, after: str, limit: int) -> DebtPage:
    rows = await db.all(f"{_SELECT} WHERE trip > $1 ORDER BY trip LIMIT $2", after, limit + 1)
    found = [Debt(**store_rows.named(Debt, row)) for row in rows[:limit]]
    last = found[-1].trip if found else after
    return DebtPage(debts=found, after=last, more=len(rows) > limit)


# --- the deny list ----------------------------------------------------------------------------


async def denial(db: Transaction, account: str) -> str:
    """Why the account is not let in, "" when it is; one with the same card counts."""
    row = await db.one(_DENIED, account, await _card_hash(db, account))
    if row is None:
        return ""
    return LISTED if row[0] == OPERATOR else DEBT_OPEN


async def deny(db: Transaction, call: Call, asked: DenyRequest) -> Answer:
    """By the operator's word.

    Raises:
        ProblemError: 404.
    """
    await store_rows.account_state(db, asked.account, call.now_s)
    await _deny(db, asked.account, OPERATOR, asked.reason, call.now_s)
    return answer(201, await _denied(db, asked.account))


async def allow(db: Transaction, call: Call, _: Nothing) -> Answer:
    """Take the operator's word back; what is owed still denies."""
    await store_rows.account_state(db, call.named, call.now_s)
    await db.run("DELETE FROM denied WHERE account = $1 AND cause = $2", call.named, OPERATOR)
    return answer(200, await _denied(db, call.named))


async def deny_list(db: Transaction, after: str, limit: int) -> DeniedPage:
    names = [name for (name,) in await db.all(_LIST, after, limit + 1)]
    page = [await _denied(db, name) for name in names[:limit]]
    last = page[-1].account if page else after
    return DeniedPage(denied=page, after=last, more=len(names) > limit)


# --- helpers ----------------------------------------------------------------------------------


async def _locked(db: Transaction, name: str) -> Debt:
    await db.one("SELECT 1 FROM trip_debt WHERE trip = $1 FOR UPDATE", name)
    return await _debt(db, name)


async def _debt(db: Transaction, name: str) -> Debt:
    row = await db.one(f"{_SELECT} WHERE trip = $1", name)
    if row is None:
        raise ProblemError(404, "unknown-debt", "no debt of a trip with this id")
    return Debt(**store_rows.named(Debt, row))


async def _clear(db: Transaction, trip: str, after: DebtState) -> None:
    """Nothing is left: the debt's cause goes from the deny list."""
    if (await _debt(db, trip)).left_minor == 0:
        await db.run("UPDATE trip_debt SET state = $2 WHERE trip = $1", trip, after.value)
        await db.run("DELETE FROM denied WHERE cause = $1", f"debt:{trip}")


async def _deny(db: Transaction, account: str, cause: str, reason: str, now_s: int) -> None:
    card = await _card_hash(db, account)
    await db.run(_DENY, account, cause, card, reason, now_s)


async def _card_hash(db: Transaction, account: str) -> str:
    row = await db.one("SELECT payment_ref FROM account WHERE account = $1", account)
    return hashlib.sha256(row[0].encode()).hexdigest() if row and row[0] else ""


async def _denied(db: Transaction, account: str) -> Denied:
    rows = await db.all("SELECT cause FROM denied WHERE account = $1 ORDER BY cause", account)
    return Denied(account=account, causes=[cause for (cause,) in rows])


_SELECT = (
    "SELECT trip, account, merchant, currency, amount_minor, recovered_minor, forgiven_minor,"
    " state FROM trip_debt"
)
_OWE = "INSERT INTO trip_debt VALUES ($1, $2, $3, $4, $5, 0, 0, 'open', $6)"
_RECOVERY = "SELECT trip, amount_minor, currency FROM debt_recovery WHERE recovery = $1"
_RECOVERED = "UPDATE trip_debt SET recovered_minor = recovered_minor + $2 WHERE trip = $1"
_FORGIVEN = "UPDATE trip_debt SET forgiven_minor = forgiven_minor + $2 WHERE trip = $1"
_OPEN = (
    "SELECT CAST(COALESCE(SUM(amount_minor - recovered_minor - forgiven_minor), 0) AS BIGINT)"
    " FROM trip_debt WHERE account = $1 AND state <> 'recovered'"
)
_DENIED = (
    "SELECT cause FROM denied WHERE account = $1 OR (card_hash = $2 AND card_hash <> '')"
    " ORDER BY cause DESC LIMIT 1"
)
_DENY = (
    "INSERT INTO denied VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, cause)"
    " DO UPDATE SET reason = excluded.reason"
)
_LIST = "SELECT DISTINCT account FROM denied WHERE account > $1 ORDER BY account LIMIT $2"
