"""System A, after the visit: a shopper contests lines, evidence is gathered, a person decides.

A line is contested once. What is upheld is given back in the transaction of the decision: off the
debt first, if the visit left one, then as a refund of its capture, at the merchant's cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from broker import store, store_rows
from broker.database import Transaction
from broker.idempotency import Answer, answer
from broker.problems import ProblemError
from broker.routes import Call
from broker.systems import debts, events, funds, trips
from broker.systems.merchants import check_party
from broker.systems.states import advance
from messages.contract import Capture

EVIDENCE_MAX = 50  # pieces of one dispute
PERIOD_S = 180 * 24 * 3600  # how long a purchase may be contested


class DisputeState(StrEnum):
    CONTESTED = "contested"
    REVIEWED = "reviewed"  # it stands as it was
    REFUNDED = "refunded"


class DisputeSignal(StrEnum):
    REVIEW = "review"
    REFUND = "refund"


DISPUTE_STATES: Mapping[tuple[DisputeState, DisputeSignal], DisputeState] = {
    (DisputeState.CONTESTED, DisputeSignal.REVIEW): DisputeState.REVIEWED,
    (DisputeState.REVIEWED, DisputeSignal.REFUND): DisputeState.REFUNDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestedLine:
    """``total_minor``: what it cost; of a trip's line the trip knows it."""

    line_id: str
    total_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRequest:
    """POST /v1/disputes, by the shopper's app."""

    dispute: str
    capture: str
    contested: list[ContestedLine]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRequest:
    """POST /v1/disputes/{dispute}/evidence. ``said``: what is seen, or where it is kept."""

    evidence_id: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRequest:
    """POST /v1/disputes/{dispute}/decide. ``upheld``: the lines that the shopper is right about."""

    upheld: list[str]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedLine:
    """``confidence_permille`` and ``seen``: what the store knows of it; -1 when it said nothing."""

    line_id: str
    gtin: str
    units: int
    total_minor: int
    confidence_permille: int
    seen: str
    upheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    evidence_id: str
    by_whom: str
    said: str
    at_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """``forgiven_minor`` came off the debt, the rest of ``upheld_minor`` was refunded."""

    dispute: str
    capture: str
    account: str
    merchant: str
    currency: str
    state: str
    reason: str
    note: str
    asked_minor: int
    upheld_minor: int
    forgiven_minor: int
    refund: str
    opened_s: int
    lines: list[DisputedLine]
    evidence: list[Evidence]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputePage:
    """GET /v1/disputes."""

    disputes: list[Dispute]
    after: str
    more: bool


# --- effects ----------------------------------------------------------------------------------


async def contest(db: Transaction, call: Call, asked: DisputeRequest) -> Answer:
    """Open a dispute over lines of a purchase.

    Raises:
        ProblemError: 404, 409 a line was contested before or the id is taken, 422 no such line or
            more than it cost.
    """
    captured = await _captured(db, asked.capture, call.now_s)
    known = await _or_none(db, asked.dispute)
    if known is not None:
        if known.capture != asked.capture or known.reason != asked.reason:
            raise funds.same_id_other_content("dispute")
        return answer(201, known, replayed=True)
    lines = await _priced(db, captured, asked)
    head = (asked.dispute, captured.capture, captured.account, captured.merchant)
    rest = (captured.currency, asked.reason, sum(lines.values()), call.now_s)
    if not await db.run(_INSERT, *head, *rest):
        raise funds.same_id_other_content("dispute")
    for line_id, total_minor in lines.items():
        if not await db.run(_LINE, captured.capture, line_id, asked.dispute, total_minor):
            raise ProblemError(409, "line-contested", "a line is contested once")
    return await _told(db, asked.dispute, "dispute.opened", call.now_s, 201)


async def add_evidence(db: Transaction, call: Call, asked: EvidenceRequest) -> Answer:
    """What a camera, a scale or a person saw; by the store or the merchant.

    Raises:
        ProblemError: 404, 409 decided, the id is taken, or there is too much.
    """
    found = await _locked(db, call)
    for one in found.evidence:
        if one.evidence_id == asked.evidence_id:
            if one.said != asked.said:
                raise funds.same_id_other_content("evidence")
            return answer(201, found, replayed=True)
    if found.state != DisputeState.CONTESTED:
        raise ProblemError(409, "wrong-state", f"the dispute is {found.state}")
    if len(found.evidence) >= EVIDENCE_MAX:
        raise ProblemError(409, "too-much-evidence", f"{EVIDENCE_MAX} pieces are the most")
    row = (found.dispute, asked.evidence_id, call.key.party or call.key.name, asked.said)
    await db.run("INSERT INTO dispute_evidence VALUES ($1, $2, $3, $4, $5)", *row, call.now_s)
    return answer(201, await dispute(db, call, found.dispute))


async def decide(db: Transaction, call: Call, asked: DecisionRequest) -> Answer:
    """A person looked: what is upheld is given back at once, all else stands.

    Raises:
        ProblemError: 404, 409 decided otherwise before, 422 a line that is not contested.
    """
    found = await _locked(db, call)
    upheld = {
        line.line_id: line.total_minor for line in found.lines if line.line_id in asked.upheld
    }
    if len(upheld) != len(set(asked.upheld)):
        raise ProblemError(422, "lines-differ", "not a contested line", param="$.upheld")
    if found.state != DisputeState.CONTESTED:
        if {line.line_id for line in found.lines if line.upheld} != set(upheld):
            raise ProblemError(409, "wrong-state", f"the dispute is {found.state}")
        return answer(200, found, replayed=True)
    state = advance(DISPUTE_STATES, DisputeState(found.state), DisputeSignal.REVIEW, "dispute")
    forgiven_minor, refund = 0, None
    if total_minor := sum(upheld.values()):
        state = advance(DISPUTE_STATES, state, DisputeSignal.REFUND, "dispute")
        forgiven_minor, refund = await _give_back(db, found, total_minor, call.now_s)
    await db.many(_UPHELD, [(found.capture, line_id) for line_id in upheld])
    done = (state.value, asked.note, total_minor, forgiven_minor, refund, call.now_s)
    await db.run(_DECIDED, found.dispute, *done)
    return await _told(db, found.dispute, "dispute.decided", call.now_s, 200)


# --- questions --------------------------------------------------------------------------------


async def dispute(db: Transaction, call: Call, name: str) -> Dispute:
    """Raises ProblemError 404."""
    found = await _or_none(db, name)
    if found is None:
        raise ProblemError(404, "unknown-dispute", "no dispute has this id")
    check_party(call, found.merchant)
    return found


async def page(db: Transaction, call: Call, after: str, limit: int) -> DisputePage:
    """A merchant's key sees its own."""
    rows = await db.all(_PAGE, after, call.key.party, limit + 1)
    names = [name for (name,) in rows]
    found = [await dispute(db, call, name) for name in names[:limit]]
    last = found[-1].dispute if found else after
    return DisputePage(disputes=found, after=last, more=len(names) > limit)


# --- helpers ----------------------------------------------------------------------------------


async def _captured(db: Transaction, name: str, now_s: int) -> Capture:
    """The capture, its account locked, while it may be contested."""
    captured = await store_rows.capture_or_none(db, name)
    if captured is None or captured.account.startswith(_FUNDS):
        raise ProblemError(404, "unknown-capture", "no capture of a shopper has this id")
    await store_rows.locked_account(db, captured.account, now_s)
    row = await db.one("SELECT at_s FROM journal WHERE journal = $1", captured.journal)
    if row is not None and row[0] < now_s - PERIOD_S:
        raise ProblemError(409, "too-late", f"contested within {PERIOD_S // 86_400} days")
    return captured


async def _priced(db: Transaction, captured: Capture, asked: DisputeRequest) -> dict[str, int]:
    """The contested lines with what each cost; those of a trip are the trip's."""
    row = await db.one("SELECT trip FROM trip WHERE capture = $1", captured.capture)
    named = {line.line_id: line.total_minor for line in asked.contested}
    if len(named) != len(asked.contested):
        raise ProblemError(422, "line-twice", "a line_id comes twice", param="$.contested")
    if row is not None:
        cost = {line[0]: line[6] for line in await trips.lines_of(db, row[0])}
        if not set(named) <= set(cost):
            raise ProblemError(422, "lines-differ", "no such line", param="$.contested")
        return {line_id: cost[line_id] for line_id in named}
    before = await db.one(_CONTESTED, captured.capture)
    assert before is not None
    if sum(named.values()) + before[0] > captured.amount_minor:
        detail = "more is contested than was captured"
        raise ProblemError(422, "refund-above-capture", detail, param="$.contested")
    return named


async def _give_back(
    db: Transaction, found: Dispute, total_minor: int, now_s: int
) -> tuple[int, str | None]:
    row = await db.one("SELECT trip FROM trip WHERE capture = $1", found.capture)
    forgiven_minor = await debts.forgive(db, row[0], total_minor) if row else 0
    if forgiven_minor == total_minor:
        return forgiven_minor, None
    wish = store.RefundRequest(
        refund=f"dispute:{found.dispute}",
        amount_minor=total_minor - forgiven_minor,
        currency=found.currency,
        reason="a dispute was upheld",
    )
    await store.refund_capture(db, found.capture, wish, now_s)
    return forgiven_minor, wish.refund


async def _locked(db: Transaction, call: Call) -> Dispute:
    await db.one("SELECT 1 FROM dispute WHERE dispute = $1 FOR UPDATE", call.named)
    return await dispute(db, call, call.named)


async def _told(db: Transaction, name: str, kind: str, now_s: int, status: int) -> Answer:
    found = await _or_none(db, name)
    assert found is not None
    said: dict[str, object] = {
        field: getattr(found, field)
        for field in ("capture", "state", "currency", "asked_minor", "upheld_minor")
    }
    said["lines"] = [line.line_id for line in found.lines]
    await events.tell(db, f"{events.MERCHANT}{found.merchant}", kind, name, now_s, said)
    return answer(status, found)


async def _or_none(db: Transaction, name: str) -> Dispute | None:
    row = await db.one(f"{_SELECT} WHERE dispute = $1", name)
    if row is None:
        return None
    head = dict(zip(_HEAD, row, strict=True))
    lines = [
        DisputedLine(
            line_id=line_id,
            gtin=gtin,
            units=units,
            total_minor=total_minor,
            confidence_permille=permille,
            seen=seen,
            upheld=bool(upheld),
        )
        for line_id, gtin, units, total_minor, permille, seen, upheld in await db.all(_LINES, name)
    ]
    evidence = [
        Evidence(**store_rows.named(Evidence, found)) for found in await db.all(_EVIDENCE, name)
    ]
    made = Dispute(**head, lines=lines, evidence=evidence)
    return replace(made, refund=made.refund or "")


_FUNDS = ("wallet:", "sponsor_budget:", "promo_fund:", "shopper_receivable:")
_HEAD = (
    "dispute", "capture", "account", "merchant", "currency", "state", "reason", "note",
    "asked_minor", "upheld_minor", "forgiven_minor", "refund", "opened_s",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(_HEAD)} FROM dispute"
_INSERT = (
    "INSERT INTO dispute VALUES ($1, $2, $3, $4, $5, 'contested', $6, '', $7, 0, 0, NULL, $8, 0)"
    " ON CONFLICT DO NOTHING"
)
_LINE = (
    "INSERT INTO dispute_line VALUES ($1, $2, $3, $4, 0) ON CONFLICT (capture, line_id) DO NOTHING"
)
_CONTESTED = (
    "SELECT CAST(COALESCE(SUM(total_minor), 0) AS BIGINT) FROM dispute_line WHERE capture = $1"
)
_LINES = """
SELECT l.line_id, COALESCE(t.gtin, ''), COALESCE(t.units, 0), l.total_minor,
    COALESCE(t.confidence_permille, -1), COALESCE(t.evidence, ''), l.upheld
FROM dispute_line l LEFT JOIN trip v ON v.capture = l.capture
LEFT JOIN trip_line t ON t.trip = v.trip AND t.line_id = l.line_id
WHERE l.dispute = $1 ORDER BY l.line_id
"""
_EVIDENCE = (
    "SELECT evidence_id, by_whom, said, at_s FROM dispute_evidence WHERE dispute = $1"
    " ORDER BY at_s, evidence_id"
)
_UPHELD = "UPDATE dispute_line SET upheld = 1 WHERE capture = $1 AND line_id = $2"
_DECIDED = (
    "UPDATE dispute SET state = $2, note = $3, upheld_minor = $4, forgiven_minor = $5, refund = $6,"
    " decided_s = $7 WHERE dispute = $1"
)
_PAGE = (
    "SELECT dispute FROM dispute WHERE dispute > $1 AND (CAST($2 AS TEXT) = '' OR merchant = $2)"
    " ORDER BY dispute LIMIT $3"
)
