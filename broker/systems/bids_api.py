"""Routes of system F: display items, sales, requests for bids, quotes, awards."""

from __future__ import annotations

from broker import openapi
from broker.routes import Command, Nothing, Question, Route
from broker.systems import awards, bids, display_sales
from broker.systems.parties import operators
from broker.validation import AMOUNT, ID, NAMED, NOT_NEGATIVE, Listed, OneOf, Whole, also

also(
    {
        "request": ID,
        "bid_id": ID,
        "item": ID,
        "items": Listed(100, 1, NAMED),
        "ceiling_minor": AMOUNT,
        "closes_in_s": Whole(1, bids.CLOSES_IN_S_MAX),
        "criteria": Listed(3, 1, OneOf(("total", "eta", "defaults"))),
        "margin_permille": Whole(0, 500),
        "shipping_minor": NOT_NEGATIVE,
        "eta_days": Whole(0, 365),
        "stock_until_s": Whole(0, 2**40),
        "sale": ID,
        "quote": ID,
    }
)

_DISPLAY: tuple[Route, ...] = (
    Command(
        path="/v1/display-items/{id}",
        scope="admin",
        takes=display_sales.DisplayItemRequest,
        gives=display_sales.DisplayItem,
        effect=display_sales.set_item,
        method="PUT",
        status=200,
        edits=True,
    ),
    Question(
        path="/v1/display-items/{id}",
        scope="quotes",
        gives=display_sales.DisplayItem,
        ask=lambda call: lambda db: display_sales.item(db, call, call.named),
    ),
    Command(
        path="/v1/display-sales",
        scope="quotes",
        takes=display_sales.SaleRequest,
        gives=awards.Sale,
        effect=display_sales.sell,
    ),
    Question(
        path="/v1/display-sales/{id}",
        scope="quotes",
        gives=awards.Sale,
        ask=lambda call: lambda db: awards.sale(db, call, call.named),
    ),
    Command(
        path="/v1/quotes",
        scope="quotes",
        takes=display_sales.QuoteRequest,
        gives=display_sales.Quote,
        effect=display_sales.quote,
    ),
    Question(
        path="/v1/quotes/{id}",
        scope="quotes",
        gives=display_sales.Quote,
        ask=lambda call: lambda db: display_sales.one_quote(db, call, call.named),
    ),
    Command(
        path="/v1/quotes/{id}/accept",
        scope="quotes",
        takes=display_sales.AcceptRequest,
        gives=awards.Sale,
        effect=display_sales.accept,
    ),
)

_BIDS: tuple[Route, ...] = (
    Command(
        path="/v1/bid-requests",
        scope="quotes",
        takes=bids.BidCall,
        gives=bids.BidCallState,
        effect=bids.call_for_bids,
    ),
    Question(
        path="/v1/bid-requests",
        scope="merchants",
        gives=bids.BidCallPage,
        ask=lambda call: (lambda page: lambda db: bids.open_requests(db, *page))(call.page()),
        query=openapi.PAGED,
    ),
    Question(
        path="/v1/bid-requests/{id}",
        scope="merchants",
        gives=bids.BidCallState,
        ask=lambda call: lambda db: bids.request(db, call, call.named),
    ),
    Command(
        path="/v1/bid-requests/{id}/bids",
        scope="merchants",
        takes=bids.BidRequest,
        gives=bids.BidReceipt,
        effect=bids.bid,
    ),
    Question(
        path="/v1/bid-requests/{id}/log",
        scope="merchants",
        gives=bids.BidLog,
        ask=lambda call: lambda db: bids.log(db, call, call.named),
    ),
    Question(
        path="/v1/bid-requests/{id}/award",
        scope="merchants",
        gives=awards.Award,
        ask=lambda call: lambda db: awards.award(db, call, call.named),
    ),
    *(
        Command(
            path=f"/v1/bid-requests/{{id}}/award/{verb}",
            scope="merchants",
            takes=Nothing,
            gives=awards.Award,
            effect=effect,
            status=200,
        )
        for verb, effect in (
            ("confirm", awards.confirm),
            ("fulfill", awards.fulfill),
            ("decline", awards.decline),
        )
    ),
)

# Bids and awards look at the merchant themselves; requests and logs are for every merchant.
ROUTES = (*operators((*_DISPLAY, *_BIDS[:1])), *_BIDS[1:])
