"""Cases about ``POST /v1/order/purchases``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec

from cloud_sync.conformance.plan import Case
from cloud_sync.conformance.session import Reply, Session, problem, require
from cloud_sync.pricing import PriceMismatch, check_reply
from cloud_sync.wall_time import rfc3339, unix_ns
from messages.contract import (
    AuthEvent,
    CartItem,
    PurchaseReply,
    PurchaseRequest,
    Quantity,
    ShopperIdentity,
    ShoppingTrip,
)
from messages.retailer_contract import PURCHASES_PATH

DAY_S = 86_400
HOUR_NS = 3_600_000_000_000
RACERS = 8
LONG_CART_LINES = 200  # a big week's shopping; the contract allows 1,000
LOOSE_G = 333  # a mass whose price has to be rounded at nearly any price a kilogram
PRICED = (200, 201)


def cart(
    session: Session,
    case: str,
    *items: tuple[str, int],
    unit: str = "piece",
    taken_at: str = "",
    ended_ago_s: int = 10,
    people: int = 1,
) -> PurchaseRequest:
    """A cart of this run: SKU and quantity per line."""
    trip, target = session.name(case), session.target
    ended_ns = (session.now_s - ended_ago_s) * 1_000_000_000
    started = rfc3339(ended_ns - 300 * 1_000_000_000)
    events = [AuthEvent(id=f"{trip}-c{i}", timestamp=started) for i in range(people)]
    lines = [
        CartItem(
            id=sku,
            quantity=Quantity(value=quantity, unit=unit),
            lineItemId=f"{trip}-l{number}",
            confidence=0.997,
            takenAt=taken_at or started,
            evidence={"shelf": "check"},
        )
        for number, (sku, quantity) in enumerate(items)
    ]
    return PurchaseRequest(
        requestId=f"{trip}:price",
        idempotentShoppingTripId=trip,
        storeId=target.store,
        shoppingTrip=ShoppingTrip(
            startTime=started, endTime=rfc3339(ended_ns), authEvents=events, partySize=people
        ),
        cartItems=lines,
        shopperIdentity=ShopperIdentity(id=target.shopper),
    )


def ask(session: Session, wanted: PurchaseRequest, key: str = "") -> Reply:
    return session.post(PURCHASES_PATH, wanted, key or wanted.requestId)


def priced(session: Session, wanted: PurchaseRequest, key: str = "") -> PurchaseReply:
    """The answer to a cart that has to be priced, checked line by line."""
    reply = ask(session, wanted, key)
    require(reply.status in PRICED, reply.excerpt())
    answer = session.read(reply, PurchaseReply)
    try:
        check_reply(wanted, answer, session.target.currency)
    except PriceMismatch as error:
        require(False, f"PriceMismatch: {error}")
    return answer


def _two_lines(session: Session, case: str) -> PurchaseRequest:
    return cart(session, case, (session.target.sku, 1), (session.target.second_sku, 3))


def without_key(session: Session) -> None:
    wanted = _two_lines(session, "no-key")
    reply = session.post(PURCHASES_PATH, wanted, wanted.requestId, authorization="")
    require(reply.status == 401, reply.excerpt())


def wrong_key(session: Session) -> None:
    wanted = _two_lines(session, "wrong-key")
    reply = session.post(
        PURCHASES_PATH, wanted, wanted.requestId, authorization=f"Bearer {session.name('x')}"
    )
    require(reply.status in (401, 403), reply.excerpt())


def cart_is_priced(session: Session) -> None:
    priced(session, _two_lines(session, "priced"))


def line_by_line(session: Session) -> None:
    """One SKU on two lines: a promotion has to be spread so that it adds up."""
    sku = session.target.second_sku
    priced(session, cart(session, "spread", (sku, 1), (sku, 2)))


def same_key(session: Session) -> None:
    wanted = _two_lines(session, "same-key")
    first, again = priced(session, wanted), priced(session, wanted)
    require(first == again, f"first {first.purchaseId} {first.total}, then {again}")


def same_key_other_body(session: Session) -> None:
    wanted = _two_lines(session, "other-body")
    priced(session, wanted)
    other = replace(wanted, cartItems=wanted.cartItems[:1])
    problem(ask(session, other), 422)


def same_trip(session: Session) -> None:
    wanted = _two_lines(session, "same-trip")
    first = priced(session, wanted)
    again = priced(session, replace(wanted, requestId=f"{wanted.requestId}~1"), "")
    same = (first.purchaseId, first.total) == (again.purchaseId, again.total)
    require(same, f"first {first.purchaseId} {first.total}, then {again.purchaseId} {again.total}")


def racers(session: Session) -> None:
    wanted = _two_lines(session, "race")
    with ThreadPoolExecutor(RACERS) as pool:
        replies = list(pool.map(lambda _: ask(session, wanted), range(RACERS)))
    waits = [r for r in replies if r.status == 409 and r.headers.get("retry-after")]
    done = [r for r in replies if r.status in PRICED]
    odd = [r for r in replies if r not in waits and r not in done]
    require(not odd, odd[0].excerpt() if odd else "")
    found = {session.read(r, PurchaseReply).purchaseId for r in done}
    found.add(priced(session, wanted).purchaseId)
    require(len(found) == 1, f"purchases {sorted(found)[:3]}")


def empty_cart(session: Session) -> None:
    reply = ask(session, cart(session, "empty"))
    require(reply.status in PRICED, reply.excerpt())
    answer = session.read(reply, PurchaseReply)
    empty = not answer.purchaseId and not answer.lines and answer.total == 0
    require(empty, reply.excerpt())


def unknown_sku(session: Session) -> None:
    wanted = cart(session, "bad-cart", (session.target.sku, 1), (session.target.unknown_sku, 1))
    found = problem(ask(session, wanted), 422, slug="unknown-sku")
    named = found.param == "$.cartItems[1].id" or session.target.unknown_sku in found.detail
    require(named, f"param {found.param!r}, detail {found.detail!r} do not name the SKU")


def bad_cart_mended(session: Session) -> None:
    bad = cart(session, "mended", (session.target.sku, 1), (session.target.unknown_sku, 1))
    problem(ask(session, bad), 422, slug="unknown-sku")
    good = replace(bad, cartItems=bad.cartItems[:1], requestId=f"{bad.requestId}~1")
    priced(session, good)


def unknown_attributes(session: Session) -> None:
    wanted = _two_lines(session, "attributes")
    tree: dict[str, Any] = msgspec.to_builtins(wanted)
    tree["walkoutCheck"] = {"new": [1, 2.5, None]}
    tree["cartItems"][0]["walkoutCheck"] = "new"
    reply = session.post(PURCHASES_PATH, msgspec.json.encode(tree), wanted.requestId)
    require(reply.status in PRICED, reply.excerpt())


def by_weight(session: Session) -> None:
    wanted = cart(session, "weight", (session.target.weight_sku, LOOSE_G), unit="gram")
    priced(session, wanted)


def pick_price(session: Session) -> None:
    """Taken an hour before the change and an hour after it."""
    sku, changed_ns = session.target.changed_sku, unix_ns(session.target.changed_at)
    before, after = (
        priced(session, cart(session, f"pick-{name}", (sku, 1), taken_at=rfc3339(at_ns)))
        for name, at_ns in (("before", changed_ns - HOUR_NS), ("after", changed_ns + HOUR_NS))
    )
    was, now = before.lines[0].unitPrice, after.lines[0].unitPrice
    require(was != now, f"both are charged {now}: takenAt is not looked at")


def group_trip(session: Session) -> None:
    priced(session, cart(session, "group", (session.target.sku, 2), people=3))


def late_cart(session: Session) -> None:
    wanted = cart(session, "late", (session.target.sku, 1), ended_ago_s=7 * DAY_S)
    priced(session, wanted)


def long_cart(session: Session) -> None:
    priced(session, cart(session, "long", *[(session.target.sku, 1)] * LONG_CART_LINES))


def malformed(session: Session) -> None:
    for number, body in enumerate((b"{", b"[]", b'{"requestId": 7}', b"\xff\xfe")):
        key = session.name(f"malformed-{number}")
        problem(session.post(PURCHASES_PATH, body, key), 400, 415, 422)


CASES = (
    Case(id="no-key", expects="401 without the key", run=without_key),
    Case(id="wrong-key", expects="401 or 403 with a key that is not yours", run=wrong_key),
    Case(
        id="cart-is-priced",
        expects="201; every line once, each total = unitPrice x quantity - discount, the sum right",
        run=cart_is_priced,
    ),
    Case(
        id="promotion-adds-up",
        expects="one SKU on two lines: a discount is spread so that lines and total add up",
        run=line_by_line,
    ),
    Case(id="same-key", expects="the same Idempotency-Key: the same answer", run=same_key),
    Case(
        id="same-key-other-body",
        expects="422 problem when a key comes again with another body",
        run=same_key_other_body,
    ),
    Case(
        id="same-trip",
        expects="the same trip under another key: the same purchaseId and total",
        run=same_trip,
    ),
    Case(
        id="racing-retries",
        expects=f"{RACERS} at once under one key: one purchase (or 409 with Retry-After)",
        run=racers,
    ),
    Case(
        id="empty-cart",
        expects='200 with purchaseId "", no lines and total 0: the hold is cancelled',
        run=empty_cart,
    ),
    Case(
        id="unknown-sku",
        expects="422 problem of type unknown-sku that names the SKU in param or detail",
        run=unknown_sku,
    ),
    Case(
        id="bad-cart-mended",
        expects="after unknown-sku the trip is priced once its cart is right, under a new key",
        run=bad_cart_mended,
    ),
    Case(
        id="unknown-attributes",
        expects="attributes that you do not know are ignored",
        run=unknown_attributes,
    ),
    Case(
        id="sold-by-weight",
        expects="unit gram: unitPrice per kilogram, unitPrice x grams / 1000 rounded half up",
        run=by_weight,
        needs=("weight_sku",),
    ),
    Case(
        id="price-at-pick-time",
        expects="the price that held at takenAt, not the one of today",
        run=pick_price,
        needs=("changed_sku", "changed_at"),
    ),
    Case(id="group-trip", expects="three authEvents, one purchase", run=group_trip),
    Case(id="late-cart", expects="a cart that was closed a week ago is priced", run=late_cart),
    Case(id="long-cart", expects=f"{LONG_CART_LINES} lines within 10 s", run=long_cart),
    Case(
        id="malformed-body",
        expects="400, 415 or 422 problem for what is not the contract's, never 5xx",
        run=malformed,
    ),
)
