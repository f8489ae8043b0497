"""The OpenAPI document of retailer contract v1, made from the types: ``make docs`` writes it.

Each operation names its body, its answers and one example of each; a test reads every example as
the type it stands for. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cloud_sync.retailer_examples import EXAMPLES
from messages.contract import PROBLEM_BASE, Problem, PurchaseReply, PurchaseRequest
from messages.retailer_contract import (
    ENTRY_PATH,
    IDENTITY_PATH,
    PURCHASES_PATH,
    CancelRequest,
    CatalogueUpload,
    ChargeRequest,
    ContestRequest,
    EntryReply,
    EntryRequest,
    IdentityReply,
    IdentityRequest,
    IngestionAccepted,
    IngestionReport,
    PaymentStatusRequest,
    RefundRequest,
    TripState,
)

REFERENCE = "#/components/schemas/{name}"
BODY_REFUSED = "not the contract's"
STATUS_TEXT = {
    "200": "done",
    "201": "priced",
    "202": "taken; the report follows",
    "401": "no key, or not one that is known",
    "404": "no such trip or upload here",
    "409": "not possible in this state",
    "422": BODY_REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation. ``answers``: status -> type (None: no body) or a problem's slug."""

    path: str
    tag: str
    summary: str
    body: type | None
    answers: dict[str, type | str | None] = field(default_factory=dict)
    method: str = "post"

    @property
    def name(self) -> str:
        return self.path.strip("/").replace("/", "-").replace("{", "").replace("}", "")


STORE_ASKS, RETAILER_ASKS = "the store asks the retailer", "the retailer asks the store"
TAKEN: dict[str, type | str | None] = {
    **{"200": None, "401": "unauthorized", "404": "unknown-trip"},
    **{"409": "not-in-this-state", "422": "invalid-body"},
}
CALLS: tuple[Call, ...] = (
    Call(
        path=IDENTITY_PATH,
        tag=STORE_ASKS,
        summary="Whose key is that? (optional)",
        body=IdentityRequest,
        answers={"200": IdentityReply, "401": "unauthorized"},
    ),
    Call(
        path=ENTRY_PATH,
        tag=STORE_ASKS,
        summary="May this shopper buy, and how much may be held? (optional)",
        body=EntryRequest,
        answers={"200": EntryReply, "401": "unauthorized"},
    ),
    Call(
        path=PURCHASES_PATH,
        tag=STORE_ASKS,
        summary="Price a cart. An empty one: 200 with an empty purchaseId.",
        body=PurchaseRequest,
        answers={"201": PurchaseReply, "401": "unauthorized", "422": "unknown-sku"},
    ),
    *(
        Call(path=path, tag=RETAILER_ASKS, summary=summary, body=kind, answers=TAKEN)
        for path, kind, summary in (
            ("/v1/adjust/charge", ChargeRequest, "Payment mode: raise the hold to this amount."),
            ("/v1/capture/charge", ChargeRequest, "Payment mode: take this much of the hold."),
            ("/v1/cancel/charge", CancelRequest, "Payment mode: take nothing."),
            ("/v1/refund", RefundRequest, "Give back part of a captured amount, or all of it."),
            ("/v1/contest", ContestRequest, "The shopper says that lines are wrong."),
            (
                "/v1/feedback/payment-status",
                PaymentStatusRequest,
                "An unpaid purchase was paid by other means.",
            ),
        )
    ),
    Call(
        path="/v1/trips/{id}",
        tag=RETAILER_ASKS,
        summary="Where a purchase stands.",
        body=None,
        answers={"200": TripState, "401": "unauthorized", "404": "unknown-trip"},
        method="get",
    ),
    Call(
        path="/v1/catalog/upload",
        tag=RETAILER_ASKS,
        summary="Names and prices; read later, with a report.",
        body=CatalogueUpload,
        answers={"202": IngestionAccepted, "401": "unauthorized", "422": "invalid-body"},
    ),
    Call(
        path="/v1/catalog/uploads/{id}",
        tag=RETAILER_ASKS,
        summary="What became of an upload.",
        body=None,
        answers={"200": IngestionReport, "401": "unauthorized", "404": "not-found"},
        method="get",
    ),
)


def document(calls: tuple[Call, ...] = CALLS) -> dict[str, Any]:
    """OpenAPI 3.1."""
    kinds = {kind for call in calls for kind in (call.body, *call.answers.values())}
    types = sorted((k for k in kinds if isinstance(k, type)), key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Walkout retailer contract",
            "version": "1",
            "description": "Amounts are integers in minor units (1299), or text with the currency's"
            ' decimals ("12.99") where that was agreed. Ignore attributes that you do not know.',
        },
        "tags": [{"name": name} for name in dict.fromkeys(call.tag for call in calls)],
        "paths": {path: _path(path, calls) for path in dict.fromkeys(c.path for c in calls)},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(schemas.items())),
        },
        "security": [{"key": []}],
    }


def document_json() -> str:
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"


def examples() -> list[tuple[str, type, Any]]:
    """Name, type and value of every example in the document."""
    found: list[tuple[str, type, Any]] = []
    for call in CALLS:
        if call.body is not None:
            found.append((f"{call.name} request", call.body, EXAMPLES[call.name]["request"]))
        for status, kind in call.answers.items():
            if isinstance(kind, type):
                found.append((f"{call.name} {status}", kind, EXAMPLES[call.name][status]))
    return found


def _path(path: str, calls: tuple[Call, ...]) -> dict[str, Any]:
    return {call.method: _operation(call) for call in calls if call.path == path}


def _operation(call: Call) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": call.name,
        "tags": [call.tag],
        "summary": call.summary,
        "parameters": _parameters(call),
        "responses": {s: _answer(call, s, kind) for s, kind in call.answers.items()},
    }
    if call.body is not None:
        content = _content(call.body, EXAMPLES[call.name]["request"])
        shown["requestBody"] = {"required": True, "content": content}
    return shown


def _parameters(call: Call) -> list[dict[str, Any]]:
    in_path = [part.strip("{}") for part in call.path.split("/") if part.startswith("{")]
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in in_path
    ]
    if call.method == "post":
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": True, "schema": schema}
        )
    return found


def _answer(call: Call, status: str, kind: type | str | None) -> dict[str, Any]:
    described: dict[str, Any] = {"description": STATUS_TEXT[status]}
    if isinstance(kind, str):
        body = {"type": PROBLEM_BASE + kind, "title": kind.replace("-", " "), "status": int(status)}
        content = _content(Problem, EXAMPLES.get(kind, body))
        described["content"] = {"application/problem+json": content["application/json"]}
    elif kind is not None:
        described["content"] = _content(kind, EXAMPLES[call.name][status])
    return described


def _content(kind: type, example: Any) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name=kind.__name__)}
    return {"application/json": {"schema": schema, "example": example}}
