"""What must hold in every run, whatever was seen: carts, ends, and the same again in a replay.

Rules over the store's events alone. How right the carts are is no rule but a score (``score.py``);
a broken rule is a defect of ours, and a ``Breach`` says where in the run it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from messages.cart import Cart
from messages.events import (
    CartClosed,
    Event,
    ItemHandedOver,
    ItemReturned,
    ItemTaken,
    ReviewRequested,
    ReviewResolved,
    TailgateSuspected,
    VisitEnded,
    VisitStarted,
)
from messages.ids import ReviewId, Sku, VisitId

NS = 1_000_000_000
QUESTION_SLACK_S = 1.0  # deadlines are looked at once a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A promise that a run broke. ``kind``: money, mass, cart, visit or replay."""

    kind: str
    at_s: float
    visit: str
    text: str


@dataclass(slots=True)
class _Book:
    """What the events said so far."""

    carts: dict[VisitId, Cart] = field(default_factory=dict)  # open ones
    reviews: dict[ReviewId, ReviewRequested] = field(default_factory=dict)  # open ones
    asked: set[ReviewId] = field(default_factory=set)
    ended: set[VisitId] = field(default_factory=set)
    closed: set[VisitId] = field(default_factory=set)
    started_at_ns: dict[VisitId, int] = field(default_factory=dict)


def event_breaches(
    events: Iterable[Event], *, all_over: bool, now_ns: int, review_deadline_s: float
) -> list[Breach]:
    """Broken rules of carts and visits, in the order in which they show.

    Args:
        all_over: the run went to its end, so every visit must have ended and every cart closed.
        now_ns: when it ended.
        review_deadline_s: for how long a question may stay open that no cart waits for.
    """
    book, found = _Book(), list[Breach]()
    for event in events:
        found += [_breach(event.at_ns, *one) for one in _checked(book, event)]
        _apply(book, event)
    if all_over:
        found += [_breach(now_ns, *one) for one in _unfinished(book, now_ns, review_deadline_s)]
    return found


Told = tuple[str, str, str]  # kind, visit, text


def _unfinished(book: _Book, now_ns: int, review_deadline_s: float) -> Iterator[Told]:
    """What is still open when everybody is out.

    A question that waits for an open cart is that cart's trouble. One that no cart waits for may
    stay open until its deadline: a run ends with its last cart, not with its last question.
    """
    for visit in book.started_at_ns:
        if visit not in book.closed:
            missing = "its cart never closed" if visit in book.ended else "it never ended"
            yield "visit", visit, f"everybody is out, and {missing}"
    for name, review in book.reviews.items():
        waited_s = (now_ns - review.at_ns) / NS - review_deadline_s
        if waited_s > QUESTION_SLACK_S and not book.carts.keys() & set(review.visits):
            yield "visit", "", f"question {name} was not settled at its deadline"


def _checked(book: _Book, event: Event) -> Iterator[Told]:
    """What is wrong with an event after those before it."""
    name = type(event).__name__
    for visit in _visits_of(event):
        if visit in book.closed:
            yield "visit", visit, f"{name} after its cart was closed"
        elif visit not in book.started_at_ns and not isinstance(event, VisitStarted):
            yield "visit", visit, f"{name} of a visit that never started"
    match event:
        case VisitStarted() if event.visit in book.started_at_ns:
            yield "visit", event.visit, "it started twice"
        case VisitEnded() if event.visit in book.ended:
            yield "visit", event.visit, "it ended twice"
        case ItemTaken() | ItemReturned() | ItemHandedOver() if event.quantity <= 0:
            yield "cart", _visits_of(event)[0], f"{name} of {event.quantity} {event.sku}"
        case ItemReturned():
            yield from _off(book, event.visit, event.sku, event.quantity, "returned")
        case ItemHandedOver():
            yield from _off(book, event.from_visit, event.sku, event.quantity, "handed over")
        case ReviewRequested() if event.review in book.asked:
            yield "cart", "", f"question {event.review} was asked twice"
        case ReviewResolved() if event.review not in book.reviews:
            yield "cart", event.visit or "", f"question {event.review} is not open"
        case CartClosed():
            yield from _closed(book, event)


def _off(book: _Book, visit: VisitId, sku: Sku, quantity: int, how: str) -> Iterator[Told]:
    """Units that leave a cart must be in it, or be what an open question may give it."""
    cart = book.carts.get(visit, Cart(visit=visit))
    held, possible = cart.quantity(sku), _in_question(cart, sku, book.reviews)
    if quantity > held + possible:
        less = held + possible - quantity
        yield "cart", visit, f"{how} {quantity} {sku} of {held + possible}: quantity {less}"


def _in_question(cart: Cart, sku: Sku, reviews: Mapping[ReviewId, ReviewRequested]) -> int:
    """Units of takes in doubt that are not a line of this cart, but may be its own."""
    mine = {line.line for line in cart.lines}
    total = 0
    for open_ in cart.reviews:
        asked = reviews.get(open_.review)
        if asked is None or str(open_.review) in mine:
            continue
        total += max(
            (c.quantity for c in asked.candidates if c.visit == cart.visit and c.sku == sku),
            default=0,
        )
    return max(total, 0)


def _closed(book: _Book, event: CartClosed) -> Iterator[Told]:
    """A closed cart is what its events add up to, after the visit ended."""
    if event.visit not in book.ended:
        yield "visit", event.visit, "its cart was closed before it ended"
    for line in event.lines:
        if line.quantity <= 0:
            yield "cart", event.visit, f"line {line.line} of {line.quantity} {line.sku}"
    cart = book.carts.get(event.visit)
    if cart is not None and (cart.lines, cart.state) != (event.lines, event.state):
        yield "cart", event.visit, f"closed with {_text(event)}, its events say {_text(cart)}"


def _apply(book: _Book, event: Event) -> None:
    match event:
        case VisitStarted():
            book.started_at_ns.setdefault(event.visit, event.at_ns)
            book.carts.setdefault(event.visit, Cart(visit=event.visit))
            return
        case VisitEnded():
            book.ended.add(event.visit)
            return
        case CartClosed():
            book.closed.add(event.visit)
            book.carts.pop(event.visit, None)
            return
        case ReviewRequested():
            book.asked.add(event.review)
            book.reviews[event.review] = event
        case ReviewResolved():
            book.reviews.pop(event.review, None)
        case ItemTaken() | ItemReturned() | ItemHandedOver():
            pass
        case _:
            return
    book.carts = {visit: cart.after(event) for visit, cart in book.carts.items()}


def _visits_of(event: Event) -> tuple[VisitId, ...]:
    """Visits that an event is about. An answer may come late, for another visit's sake (ADR 2)."""
    match event:
        case ItemHandedOver():
            return (event.from_visit, event.to_visit)
        case ReviewRequested():
            named = (c.visit for c in event.candidates if c.visit is not None)
            return tuple(dict.fromkeys((*event.visits, *named)))
        case TailgateSuspected() | ReviewResolved():
            return (event.visit,) if event.visit is not None else ()
        case VisitStarted() | VisitEnded() | ItemTaken() | ItemReturned() | CartClosed():
            return (event.visit,)
    return ()


def _text(cart: Cart | CartClosed) -> str:
    units = ", ".join(f"{line.quantity} {line.sku} ({line.state})" for line in cart.lines)
    return units or "nothing"


def _breach(at_ns: int, kind: str, visit: str, text: str) -> Breach:
    return Breach(kind=kind, at_s=at_ns / NS, visit=visit, text=text)
