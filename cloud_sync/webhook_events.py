"""What webhooks tell: types, their data, one example each; the documentation is drawn from here.

A body is a CloudEvent (1.0, structured, JSON) with the ``timestamp`` of Standard Webhooks beside
it. An endpoint of order ``batch`` gets an array of them, oldest first. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cloud_sync.outbox import BATCH_MAX
from cloud_sync.purchase import Receipt
from cloud_sync.wall_time import rfc3339
from messages.contract import WebhookBody
from messages.events import CartLine, PricedLine
from messages.ids import StoreId

SPEC_VERSION = "1.0"  # of CloudEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLine:
    """What we were not sure of: shown to the shopper, not charged."""

    line: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One credential that let people in, and when."""

    id: str
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionalLine:
    """What the cart held at the exit, as far as known; without a price, which is not asked yet."""

    line: str
    sku: str
    quantity: int
    unit: str
    state: str  # "charged": sure; "review": waits for an answer, and is dropped without one
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptData:
    """``data`` of every type: the receipt as it is now. Amounts in minor units of ``currency``."""

    store: str
    visit: str
    account: str
    state: str
    purchase: str  # the retailer's purchaseId, "" where nothing was priced
    capture: str  # "" where nothing was captured
    total: int
    currency: str
    lines: list[PricedLine] = field(default_factory=list)
    in_review: list[ReviewLine] = field(default_factory=list)
    exited_at: str
    reason: str = ""
    refunded: int = 0  # of all refunds together
    auth_events: list[Entry] = field(default_factory=list)  # every credential of the trip
    party_size: int = 1  # people who came in on them
    provisional: list[ProvisionalLine] = field(default_factory=list)  # of `receipt.provisional`
    due_at: str = ""  # of `receipt.provisional`: by then it is final


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """``states``: of the receipt in it."""

    name: str
    when: str
    states: tuple[str, ...]
    example: dict[str, Any] = field(default_factory=dict)  # what differs from a paid receipt


EVENTS: tuple[EventType, ...] = (
    EventType(
        name="receipt.issued",
        when="charged, or nothing to charge; `settled`: an unpaid one was paid elsewhere",
        states=("paid", "free", "settled"),
    ),
    EventType(
        name="receipt.provisional",
        when="the party is out: what its cart holds as far as known, sure or in doubt, and by when"
        " it is final; lines may still come and go. Told once, at the exit",
        states=("provisional",),
        example={
            **{"state": "provisional", "purchase": "", "capture": "", "total": 0, "lines": []},
            "provisional": [
                {
                    **{"line": "s1-v12-l1", "sku": "oat-milk", "quantity": 2, "unit": "piece"},
                    **{"state": "charged", "probability": 0.998},
                },
                {
                    **{"line": "s1-r3", "sku": "wine", "quantity": 1, "unit": "piece"},
                    **{"state": "review", "probability": 0.71},
                },
            ],
            "due_at": "2026-09-21T14:29:19.000Z",
        },
    ),
    EventType(
        name="payment.declined",
        when="priced, but not paid; `reason` says why, `total` what is owed",
        states=("unpaid",),
        example={"state": "unpaid", "capture": "", "reason": "limit-exceeded"},
    ),
    EventType(
        name="purchase.cancelled",
        when="given up before it was paid; `total` is 0",
        states=("void",),
        example={"state": "void", "capture": "", "total": 0, "reason": "cancelled by the retailer"},
    ),
    EventType(
        name="purchase.contested",
        when="the shopper says that lines are wrong; a person has to look",
        states=("contested",),
        example={"state": "contested", "reason": "NOT_TAKEN: s1-v12-l1: took one, not two"},
    ),
    EventType(
        name="purchase.reviewed",
        when="a person looked, and the receipt stands",
        states=("reviewed",),
        example={"state": "reviewed", "reason": "seen on the clip"},
    ),
    EventType(
        name="payment.refunded",
        when="part (`paid`) or all (`refunded`) went back; `refunded` is the sum so far",
        states=("paid", "refunded"),
        example={"refunded": 199, "reason": "refund case-81-a"},
    ),
    EventType(
        name="payment.refund_failed",
        when="a refund that was asked for was not made; the receipt stands",
        states=("paid",),
        example={"reason": "refund case-81-a was not made: declined"},
    ),
)
NAMES = tuple(event.name for event in EVENTS)

# receipt state -> type; open states are not told
BY_STATE = {
    "provisional": "receipt.provisional",
    "paid": "receipt.issued",
    "free": "receipt.issued",
    "settled": "receipt.issued",
    "unpaid": "payment.declined",
    "void": "purchase.cancelled",
    "contested": "purchase.contested",
    "reviewed": "purchase.reviewed",
    "refunded": "payment.refunded",
}


def kind_of(receipt: Receipt) -> str | None:
    """The type that tells a receipt; None while it is open."""
    return receipt.kind or BY_STATE.get(receipt.state)


def body_of(receipt: Receipt, kind: str, store: StoreId, message: str) -> WebhookBody:
    """The event, under the id that is its dedupe key."""
    data = ReceiptData(
        store=store,
        visit=receipt.visit,
        account=receipt.account,
        state=receipt.state,
        purchase=receipt.purchase,
        capture=receipt.capture,
        total=receipt.total.minor,
        currency=receipt.total.currency,
        lines=list(receipt.lines),
        in_review=[
            ReviewLine(line=one.line, sku=one.sku, quantity=one.quantity)
            for one in receipt.in_review
        ],
        exited_at=rfc3339(receipt.exit_wall_ns),
        reason=receipt.detail,
        refunded=receipt.refunded_minor,
        auth_events=[Entry(id=one.id, timestamp=one.timestamp) for one in receipt.auth_events],
        party_size=receipt.party_size,
        provisional=[_provisional(one) for one in receipt.provisional],
        due_at=rfc3339(receipt.due_wall_ns) if receipt.due_wall_ns else "",
    )
    told_ns = receipt.issued_wall_ns or receipt.provisional_wall_ns
    return event(kind, data, store=store, message=message, at=rfc3339(told_ns))


def _provisional(line: CartLine) -> ProvisionalLine:
    return ProvisionalLine(
        line=line.line,
        sku=line.sku,
        quantity=line.quantity,
        unit=line.unit,
        state=line.state,
        probability=round(line.probability, 6),
    )


def event(kind: str, data: ReceiptData, *, store: str, message: str, at: str) -> WebhookBody:
    return WebhookBody(
        type=kind,
        timestamp=at,
        data=msgspec.to_builtins(data),
        specversion=SPEC_VERSION,
        id=message,
        source=f"/stores/{store}",
        subject=data.visit,
        time=at,
    )


# --- documentation ------------------------------------------------------------------------------

_PAID = ReceiptData(
    store="s1",
    visit="s1-v12",
    account="acct-7",
    state="paid",
    purchase="po-5512",
    capture="capture-s1-v12",
    total=398,
    currency="EUR",
    lines=[
        PricedLine(
            line="s1-v12-l1",  # type: ignore[arg-type]
            sku="oat-milk",  # type: ignore[arg-type]
            name="Oat milk 1 l",
            quantity=2,
            unit_price_minor=219,
            discount_minor=40,
            tax_minor=26,
            total_minor=398,
        )
    ],
    in_review=[ReviewLine(line="s1-r3", sku="wine", quantity=1)],
    exited_at="2026-09-21T14:14:19.000Z",
    auth_events=[
        Entry(id="c-771", timestamp="2026-09-21T14:13:20.000Z"),
        Entry(id="c-772", timestamp="2026-09-21T14:13:27.000Z"),
    ],
    party_size=2,
)


def example(kind: EventType) -> WebhookBody:
    """A whole body of that type."""
    data = msgspec.convert(msgspec.to_builtins(_PAID) | kind.example, ReceiptData)
    message = f"msg_s1-v12:{kind.name.replace('.', '-')}"
    return event(kind.name, data, store="s1", message=message, at="2026-09-21T14:14:21.512Z")


def schemas() -> dict[str, Any]:
    """JSON Schema 2020-12: the body, and the data of each type under ``$defs``."""
    _, parts = msgspec.json.schema_components(
        [WebhookBody, ReceiptData],
        schema_hook=lambda kind: {"description": "see ReceiptData"},  # values of ``data``
        ref_template="#/$defs/{name}",
    )
    body = parts.pop("WebhookBody")
    body["properties"]["type"] = {"enum": list(NAMES)}
    body["properties"]["data"] = {"$ref": "#/$defs/ReceiptData"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Walkout webhook",
        "oneOf": [
            {"$ref": "#/$defs/Event"},
            {"type": "array", "items": {"$ref": "#/$defs/Event"}, "maxItems": BATCH_MAX},
        ],
        "$defs": {"Event": body, **dict(sorted(parts.items()))},
    }


def schemas_json() -> str:
    return msgspec.json.format(msgspec.json.encode(schemas()), indent=1).decode() + "\n"


def page() -> str:
    """The drawn part of docs/webhook-events.md."""
    lines = ["| type | when | `state` |", "|---|---|---|"]
    for kind in EVENTS:
        states = ", ".join(f"`{state}`" for state in kind.states)
        lines.append(f"| `{kind.name}` | {kind.when} | {states} |")
    for kind in EVENTS:
        text = msgspec.json.format(msgspec.json.encode(example(kind)), indent=1).decode()
        lines += ["", f"### `{kind.name}`", "", "```json", text, "```"]
    return "\n".join(lines)
