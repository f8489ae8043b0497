"""System K, the brand's side: a campaign, its terms, and the fund that pays its discounts.

Terms never change once a frame is signed over their hash; who wants others makes another campaign.
The fund is the ledger account ``promo_fund:<id>`` with floor 0: a discount that it cannot pay is
not promised. Statistics are counts of events, which are only ever added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from broker import accounts, chart
from broker.database import Transaction
from broker.idempotency import Answer, answer, canonical
from broker.problems import ProblemError
from broker.routes import Call, Nothing
from broker.store_rows import named
from broker.systems import funds
from broker.systems.goods import gtins14
from broker.systems.states import advance
from messages.money import Money

BASIS_POINTS = 10_000


class CampaignStatus(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class CampaignSignal(StrEnum):
    START = "start"
    PAUSE = "pause"
    END = "end"


CAMPAIGN_STATES: Mapping[tuple[CampaignStatus, CampaignSignal], CampaignStatus] = {
    (CampaignStatus.DRAFT, CampaignSignal.START): CampaignStatus.RUNNING,
    (CampaignStatus.RUNNING, CampaignSignal.START): CampaignStatus.RUNNING,
    (CampaignStatus.PAUSED, CampaignSignal.START): CampaignStatus.RUNNING,
    (CampaignStatus.RUNNING, CampaignSignal.PAUSE): CampaignStatus.PAUSED,
    (CampaignStatus.PAUSED, CampaignSignal.PAUSE): CampaignStatus.PAUSED,
    (CampaignStatus.DRAFT, CampaignSignal.END): CampaignStatus.ENDED,
    (CampaignStatus.RUNNING, CampaignSignal.END): CampaignStatus.ENDED,
    (CampaignStatus.PAUSED, CampaignSignal.END): CampaignStatus.ENDED,
    (CampaignStatus.ENDED, CampaignSignal.END): CampaignStatus.ENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a token is worth: ``percent_bp`` hundredths of a percent, or ``off_minor`` a piece.

    At most ``max_pieces`` and ``max_discount_minor`` of one visit whose goods are worth
    ``min_total_minor`` or more; together with other tokens on one line only where ``stackable``.
    ``per_client_max`` and ``per_frame_max`` tokens are minted. ``domain``: the only one that a
    printed link may lead to.
    """

    gtins: list[str]
    max_discount_minor: int
    domain: str
    percent_bp: int = 0
    off_minor: int = 0
    max_pieces: int = 1
    min_total_minor: int = 0
    stackable: bool = False
    per_client_max: int = 1
    per_frame_max: int = 10_000
    token_validity_s: int = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRequest:
    """POST /v1/campaigns."""

    campaign: str
    brand: str
    currency: str
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """``terms_hash``: SHA-256 of the terms as canonical JSON; frames are signed over it."""

    campaign: str
    brand: str
    currency: str
    status: str
    fund_minor: int
    available_minor: int
    terms_hash: str
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFunding:
    funding: str
    campaign: str
    amount_minor: int
    currency: str
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of events, and money: each is the sum over what happened, kept nowhere else."""

    campaign: str
    issued: int
    stored: int
    locked: int
    released: int
    redeemed: int
    returned: int
    redeemed_minor: int
    returned_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    campaign: str
    brand: str
    currency: str
    terms: Terms
    terms_hash: str
    status: CampaignStatus

    @property
    def account(self) -> str:
        return f"promo_fund:{self.campaign}"


# --- effects ----------------------------------------------------------------------------------


async def create(db: Transaction, call: Call, asked: CampaignRequest) -> Answer:
    """A draft without money.

    Raises:
        ProblemError: 422, no goods, or neither or both of percent and amount.
    """
    if not asked.terms.gtins:
        detail = "name the goods that it is for"
        raise ProblemError(422, "nothing-covered", detail, param="$.terms.gtins")
    if bool(asked.terms.percent_bp) == bool(asked.terms.off_minor):
        detail = "give percent_bp or off_minor, one of them"
        raise ProblemError(422, "no-discount", detail, param="$.terms")
    terms = asdict(asked.terms) | {"gtins": gtins14(asked.terms.gtins, "$.terms.gtins")}
    text = canonical(terms).decode()
    terms_hash = hashlib.sha256(text.encode()).hexdigest()
    known = await db.one(_CONTENT, asked.campaign)
    if known is not None:
        if known != (asked.brand, asked.currency, terms_hash):
            raise funds.same_id_other_content("campaign")
        return answer(201, await campaign(db, call, asked.campaign), replayed=True)
    given = (asked.campaign, asked.brand, asked.currency, text, terms_hash)
    await db.run(_INSERT, *given, CampaignStatus.DRAFT.value, call.now_s)
    await funds.open_fund(db, f"promo_fund:{asked.campaign}", asked.currency)
    return answer(201, await campaign(db, call, asked.campaign))


def signalled(signal: CampaignSignal) -> Callable[[Transaction, Call, Nothing], Awaitable[Answer]]:
    """The effect of start, pause or end on the campaign of the path."""
    return lambda db, call, _: set_status(db, call, signal)


async def set_status(db: Transaction, call: Call, signal: CampaignSignal) -> Answer:
    """Ending gives the unspent fund back; what is locked is waited for.

    Raises:
        ProblemError: 409.
    """
    row = await locked_row(db, call.named, call.now_s)
    after = advance(CAMPAIGN_STATES, row.status, signal, "campaign")
    if after is CampaignStatus.ENDED and row.status is not after:
        await _give_back(db, row, call.now_s)
    await db.run("UPDATE campaign SET status = $2 WHERE campaign = $1", row.campaign, after.value)
    return answer(200, await campaign(db, call, row.campaign))


async def fund(db: Transaction, call: Call, asked: funds.FundingRequest) -> Answer:
    """The fund grows by what the provider collected from the brand."""
    row = await locked_row(db, call.named, call.now_s)
    known = await db.one(_FUNDING, asked.funding)
    if known is not None:
        if known[1:4] != (row.campaign, asked.amount_minor, asked.currency):
            raise funds.same_id_other_content("funding")
        return answer(201, CampaignFunding(**named(CampaignFunding, known)), replayed=True)
    if row.status is CampaignStatus.ENDED or asked.currency != row.currency:
        detail = f"the campaign is {row.status.value} and in {row.currency}"
        raise ProblemError(409, "campaign-not-running", detail)
    amount = Money(minor=asked.amount_minor, currency=asked.currency)
    journal = await funds.move(
        db, "promo-funding", asked.funding, chart.PSP_CLEARING, row.account, amount, call.now_s
    )
    done = (asked.funding, row.campaign, asked.amount_minor, asked.currency, journal)
    await db.run("INSERT INTO campaign_funding VALUES ($1, $2, $3, $4, $5)", *done)
    return answer(201, CampaignFunding(**named(CampaignFunding, done)))


async def note(db: Transaction, token: str, event: str, now_s: int, minor: int = 0) -> None:
    """Add an event of a token that is locked, or new; statistics count these."""
    await db.run(_NOTE, token, event, now_s, minor)


# --- questions --------------------------------------------------------------------------------


async def campaign(db: Transaction, call: Call, name: str) -> Campaign:
    """The campaign as it is now."""
    row = await campaign_row(db, name)
    state = await accounts.state(db, row.account, row.currency, call.now_s)
    return Campaign(
        campaign=row.campaign,
        brand=row.brand,
        currency=row.currency,
        status=row.status.value,
        fund_minor=state.balance_minor,
        available_minor=state.balance_minor - state.held_minor,
        terms_hash=row.terms_hash,
        terms=row.terms,
    )


async def stats(db: Transaction, call: Call, name: str) -> Stats:
    """What happened so far; raises ProblemError 404."""
    await campaign_row(db, name)
    counts = {event: (count, minor) for event, count, minor in await db.all(_STATS, name)}
    none = (0, 0)
    return Stats(
        campaign=name,
        issued=counts.get("issued", none)[0],
        stored=counts.get("stored", none)[0],
        locked=counts.get("locked", none)[0],
        released=counts.get("released", none)[0],
        redeemed=counts.get("redeemed", none)[0],
        returned=counts.get("returned", none)[0],
        redeemed_minor=counts.get("redeemed", none)[1],
        returned_minor=counts.get("returned", none)[1],
    )


async def campaign_row(db: Transaction, name: str) -> CampaignRow:
    """Raises ProblemError 404."""
    row = await db.one(_CAMPAIGN, name)
    if row is None:
        raise ProblemError(404, "unknown-campaign", "no campaign has this id")
    return CampaignRow(
        campaign=row[0],
        brand=row[1],
        currency=row[2],
        terms=Terms(**json.loads(row[3])),
        terms_hash=row[4],
        status=CampaignStatus(row[5]),
    )


async def locked_row(db: Transaction, name: str, now_s: int) -> CampaignRow:
    """The campaign once no other transaction has its fund; raises ProblemError 404."""
    row = await campaign_row(db, name)
    await funds.locked(db, row.account, row.currency, now_s)
    return await campaign_row(db, name)


async def _give_back(db: Transaction, row: CampaignRow, now_s: int) -> None:
    state = await accounts.state(db, row.account, row.currency, now_s)
    if state.held_minor:
        detail = f"{state.held_minor} are locked for visits: wait until they are over"
        raise ProblemError(409, "reservations-open", detail)
    if state.balance_minor:
        amount = Money(minor=state.balance_minor, currency=row.currency)
        await funds.move(
            db, "promo-return", row.campaign, row.account, chart.REFUND_CLEARING, amount, now_s
        )


_CAMPAIGN = (
    "SELECT campaign, brand, currency, terms, terms_hash, status FROM campaign WHERE campaign = $1"
)
_CONTENT = "SELECT brand, currency, terms_hash FROM campaign WHERE campaign = $1"
_INSERT = "INSERT INTO campaign VALUES ($1, $2, $3, $4, $5, $6, $7)"
_FUNDING = (
    "SELECT funding, campaign, amount_minor, currency, journal FROM campaign_funding"
    " WHERE funding = $1"
)
_NOTE = """
INSERT INTO promo_event (token_id, place, event, at_s, minor)
SELECT CAST($1 AS TEXT), COUNT(*), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT)
FROM promo_event WHERE token_id = CAST($1 AS TEXT)
"""
_STATS = """
SELECT e.event, COUNT(*), CAST(SUM(e.minor) AS BIGINT)
FROM promo_event e JOIN promo_token t ON t.token_id = e.token_id JOIN frame f ON f.frame = t.frame
WHERE f.campaign = $1 GROUP BY e.event
"""
