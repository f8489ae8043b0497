"""Routes of system A: entries, trips, receipts, debts, the deny list, disputes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker import openapi
from broker.database import Transaction
from broker.routes import Call, Command, Nothing, Question, Route
from broker.systems import debts, disputes, entries, receipts, trips
from broker.systems.parties import operators
from broker.validation import (
    AMOUNT,
    ID,
    LINES_MAX,
    NAMED,
    NOT_NEGATIVE,
    PRINTED,
    Listed,
    OneOf,
    Text,
    Whole,
    also,
)
from messages.contract import VoidRequest

also(
    {
        "entry": ID,
        "credential_kind": OneOf((entries.CODE, entries.CARD, entries.APP)),
        "presented": NAMED,
        "wanted_minor": AMOUNT,
        "least_minor": AMOUNT,
        "trip": ID,
        "entries": Listed(trips.ENTRIES_MAX, 1, ID),
        "cart_state": OneOf((trips.DRAFT, trips.FINAL)),
        "cart_lines": Listed(LINES_MAX),
        "units": Whole(1, 1_000_000),
        "unit": OneOf(("piece", "gram")),
        "confidence_permille": Whole(0, 1000),
        "shelf_minor": NOT_NEGATIVE,
        "seen": PRINTED,
        "priced": Listed(LINES_MAX),
        "recovery": ID,
        "dispute": ID,
        "contested": Listed(LINES_MAX, 1),
        "evidence_id": ID,
        "said": Text(r"[^\x00-\x1f\x7f]+", 2000),
        "upheld": Listed(LINES_MAX, 0, ID),
    }
)


def _trips(call: Call) -> Callable[[Transaction], Awaitable[receipts.TripPage]]:
    after, limit = call.page()
    return lambda db: receipts.trips_page(db, call, after, limit)


def _debts(call: Call) -> Callable[[Transaction], Awaitable[debts.DebtPage]]:
    after, limit = call.page()
    return lambda db: debts.page(db, after, limit)


def _denied(call: Call) -> Callable[[Transaction], Awaitable[debts.DeniedPage]]:
    after, limit = call.page()
    return lambda db: debts.deny_list(db, after, limit)


def _disputes(call: Call) -> Callable[[Transaction], Awaitable[disputes.DisputePage]]:
    after, limit = call.page()
    return lambda db: disputes.page(db, call, after, limit)


# These look at the merchant themselves.
_MERCHANTS: tuple[Route, ...] = (
    Command(
        path="/v1/entries",
        scope="holds",
        takes=entries.EntryRequest,
        gives=entries.Entry,
        effect=entries.enter,
    ),
    Command(
        path="/v1/trips",
        scope="holds",
        takes=trips.TripRequest,
        gives=trips.Trip,
        effect=trips.begin,
    ),
    Question(
        path="/v1/trips",
        scope="holds",
        gives=receipts.TripPage,
        ask=_trips,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/trips/{id}",
        scope="holds",
        gives=trips.Trip,
        ask=lambda call: lambda db: trips.trip(db, call, call.named),
    ),
    Command(
        path="/v1/trips/{id}/cart",
        scope="holds",
        takes=trips.TripCart,
        gives=trips.Trip,
        effect=trips.set_cart,
        method="PUT",
        status=200,
        edits=True,
    ),
    Command(
        path="/v1/trips/{id}/settle",
        scope="captures",
        takes=trips.SettleRequest,
        gives=trips.Trip,
        effect=trips.settle,
    ),
    Command(
        path="/v1/trips/{id}/void",
        scope="holds",
        takes=VoidRequest,
        gives=trips.Trip,
        effect=trips.void,
        status=200,
    ),
    Question(
        path="/v1/disputes",
        scope="captures",
        gives=disputes.DisputePage,
        ask=_disputes,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/disputes/{id}",
        scope="captures",
        gives=disputes.Dispute,
        ask=lambda call: lambda db: disputes.dispute(db, call, call.named),
    ),
    Command(
        path="/v1/disputes/{id}/evidence",
        scope="captures",
        takes=disputes.EvidenceRequest,
        gives=disputes.Dispute,
        effect=disputes.add_evidence,
    ),
)

_OPERATORS: tuple[Route, ...] = (
    Question(
        path="/v1/trips/{id}/receipt",
        scope="accounts",
        gives=receipts.Receipt,
        ask=lambda call: lambda db: receipts.receipt(db, call.named),
    ),
    Command(
        path="/v1/disputes",
        scope="accounts",
        takes=disputes.DisputeRequest,
        gives=disputes.Dispute,
        effect=disputes.contest,
    ),
    Command(
        path="/v1/disputes/{id}/decide",
        scope="admin",
        takes=disputes.DecisionRequest,
        gives=disputes.Dispute,
        effect=disputes.decide,
        status=200,
    ),
    Question(
        path="/v1/debts",
        scope="admin",
        gives=debts.DebtPage,
        ask=_debts,
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/debts/{id}",
        scope="admin",
        gives=debts.Debt,
        ask=lambda call: lambda db: debts.debt(db, call.named),
    ),
    Command(
        path="/v1/debts/{id}/recoveries",
        scope="admin",
        takes=debts.RecoveryRequest,
        gives=debts.Debt,
        effect=debts.recover,
    ),
    Command(
        path="/v1/debts/{id}/write-off",
        scope="admin",
        takes=Nothing,
        gives=debts.Debt,
        effect=debts.write_off,
        status=200,
    ),
    Question(
        path="/v1/deny-list",
        scope="admin",
        gives=debts.DeniedPage,
        ask=_denied,
        query=openapi.PAGED,
    ),
    Command(
        path="/v1/deny-list",
        scope="admin",
        takes=debts.DenyRequest,
        gives=debts.Denied,
        effect=debts.deny,
    ),
    Command(
        path="/v1/deny-list/{id}",
        scope="admin",
        takes=Nothing,
        gives=debts.Denied,
        effect=debts.allow,
        method="DELETE",
        status=200,
    ),
)

ROUTES = (*_MERCHANTS, *operators(_OPERATORS))
