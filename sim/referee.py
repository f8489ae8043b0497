"""The referee knows the truth: it compares carts and money with what really happened.

``check`` looks for broken promises of a run: money, mass, carts, ends of visits, and the same
events again in a replay. ``judge`` and the problems below it are for runs on devices, over given
data. Words: *best guess* = charged and review lines together; a line is *over-charged* when a visit
is charged for more of a SKU than it holds; *missed* when the best guess has less; *wrong visit*
when what one visit is over-charged another is missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from messages.contract import Books, Capture
from messages.events import CartClosed, CartState, Event, LineState, ReceiptIssued, VisitKind
from messages.store_config import StoreConfig
from sim.money_leg import MoneyLeg
from sim.referee_mass import mass_breaches
from sim.referee_rules import NS, Breach, event_breaches
from sim.replay import events_sha
from sim.retailer.pricing import CartError
from sim.truth import Truth

if TYPE_CHECKING:
    from sim.in_process import Run

__all__ = ["Breach", "Verdict", "check", "judge", "money_breaches"]

Units = Mapping[str, int]  # SKU -> units


def check(run: Run, replayed_events_sha: str | None, *, crashed: bool = False) -> list[Breach]:
    """Every promise that the run broke, in order of store time; none: [].

    Args:
        replayed_events_sha: ``sim.replay.events_sha`` of the recording's replay; None: no replay.
        crashed: it ended in the middle, so nothing is said about ends and sums.
    """
    all_over = not crashed
    found = event_breaches(
        run.events,
        all_over=all_over,
        now_ns=run.now_ns,
        review_deadline_s=run.config.decision.review_deadline_s,
    )
    found += money_breaches(run.config, run.events)
    if all_over and not run.world.empty:
        text = f"{run.world.people_inside} people never left"
        found.append(Breach(kind="visit", at_s=run.now_ns / NS, visit="", text=text))
    elif all_over and run.watch is not None:
        world = run.world
        found += mass_breaches(run.watch, run.events, world.stock, world.faults, run.now_ns)
    if replayed_events_sha is not None and replayed_events_sha != events_sha(run.events):
        text = "the replay of the recording gives other events than the run"
        found.append(Breach(kind="replay", at_s=run.now_ns / NS, visit="", text=text))
    return sorted(found, key=lambda breach: breach.at_s)


def money_breaches(
    config: StoreConfig, events: Sequence[Event], leg: MoneyLeg | None = None
) -> list[Breach]:
    """Settle the events in process; what is captured must be each cart's price, once."""
    leg = leg or MoneyLeg.of(config)
    leg.feed(events)
    carts = [event for event in events if isinstance(event, CartClosed)]
    issued = [event for event in leg.events if isinstance(event, ReceiptIssued)]
    captures, closed_ns = leg.captures(), {str(cart.visit): cart.at_ns for cart in carts}
    told = [(t.at_ns, t.visit, t.text) for t in leg.troubles]
    told += [
        (closed_ns.get(visit, leg.now_ns), visit, text)
        for visit, text in cart_money_problems(carts, issued, captures)
    ]
    told += _wrong_prices(leg, carts, captures)
    told += [(leg.now_ns, "", text) for text in books_problems(leg.books(), captures)]
    return [Breach(kind="money", at_s=ns / NS, visit=who, text=text) for ns, who, text in told]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """One SKU of one visit that differs from the truth."""

    credential: str
    sku: str
    true_units: int
    charged_units: int
    guessed_units: int  # charged or in review
    wrong_visit: bool = False  # another visit misses it


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Everything about a run's carts. Units are pieces; lines are (visit, SKU) pairs."""

    visits: int = 0  # true visits that ended, with a cart
    carts_missing: list[str] = field(default_factory=list)  # credentials that left without a cart
    carts_unknown: list[str] = field(default_factory=list)  # carts of nobody who was inside
    charged_lines: int = 0
    true_lines: int = 0
    charged_units: int = 0
    guessed_units: int = 0
    true_units: int = 0
    right_charged_units: int = 0
    right_guessed_units: int = 0
    review_units: int = 0
    exact: int = 0  # best guess equals the truth
    reviewed: int = 0  # closed with a doubt
    auto_exact: int = 0  # exact among those without a doubt
    over_charged: list[LineError] = field(default_factory=list)
    missed: list[LineError] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Of the charged units, the part that the visit really holds; 1 when none is charged."""
        return self.right_charged_units / self.charged_units if self.charged_units else 1.0

    @property
    def recall(self) -> float:
        """Of the units held, the part in the best guess."""
        return self.right_guessed_units / self.true_units if self.true_units else 1.0

    @property
    def charged_recall(self) -> float:
        """Of the units held, the part that is charged without a person's look."""
        return self.right_charged_units / self.true_units if self.true_units else 1.0

    @property
    def review_rate(self) -> float:
        """Visits closed with a doubt."""
        return self.reviewed / self.visits if self.visits else 0.0

    def figures(self) -> dict[str, float]:
        """Named as ``walkout score`` names them."""
        return {
            "visits": self.visits,
            "carts_missing": len(self.carts_missing),
            "receipts_exact_rate": self.exact / max(self.visits, 1),
            "auto_exact_rate": self.auto_exact / max(self.visits - self.reviewed, 1),
            "review_rate": self.review_rate,
            "charged_lines": self.charged_lines,
            "charged_precision": self.precision,
            "charged_recall": self.charged_recall,
            "guess_recall": self.recall,
            "overcharged_lines": len(self.over_charged),
            "overcharged_per_1000_lines": 1000
            * len(self.over_charged)
            / max(self.charged_lines, 1),
            "missed_per_1000_lines": 1000 * len(self.missed) / max(self.true_lines, 1),
            "wrong_visit_lines": sum(e.wrong_visit for e in self.over_charged),
        }


def judge(truth: Truth, carts: Iterable[CartClosed]) -> Verdict:
    """Compare closed carts with the truth; visits match by credential.

    Visits that have not left, and staff, are not counted.
    """
    by_credential = {str(c.credential): c for c in carts if c.kind is VisitKind.SHOPPER}
    held = {
        v.credential: truth.lines(v.visit)
        for v in truth.visits.values()
        if v.entered_at_ns is not None
    }
    gone = [v.credential for v in truth.visits.values() if v.exited_at_ns is not None]
    # An empty cart of somebody whom the gate let in and who never came in is as it should be.
    with_lines = {name for name, cart in by_credential.items() if cart.lines}
    verdict = Verdict(carts_unknown=sorted(with_lines - set(held)))
    for credential in gone:
        cart = by_credential.get(credential)
        if cart is None:
            verdict.carts_missing.append(credential)
        else:
            _judge_visit(verdict, credential, held[credential], cart)
    _mark_wrong_visits(verdict)
    return verdict


def units_of(cart: CartClosed, *, charged_only: bool) -> dict[str, int]:
    """SKU -> units of a cart."""
    units: Counter[str] = Counter()
    for line in cart.lines:
        if line.state is LineState.CHARGED or not charged_only:
            units[str(line.sku)] += line.quantity
    return dict(units)


def _judge_visit(verdict: Verdict, credential: str, true: Units, cart: CartClosed) -> None:
    charged, guessed = units_of(cart, charged_only=True), units_of(cart, charged_only=False)
    verdict.visits += 1
    verdict.charged_lines += len(charged)
    verdict.true_lines += len(true)
    verdict.charged_units += sum(charged.values())
    verdict.guessed_units += sum(guessed.values())
    verdict.true_units += sum(true.values())
    verdict.right_charged_units += _common(charged, true)
    verdict.right_guessed_units += _common(guessed, true)
    verdict.review_units += sum(guessed.values()) - sum(charged.values())
    exact, doubtful = dict(guessed) == dict(true), cart.state is CartState.REVIEW
    verdict.exact += exact
    verdict.reviewed += doubtful
    verdict.auto_exact += exact and not doubtful
    for sku in sorted({*true, *guessed}):
        error = LineError(
            credential=credential,
            sku=sku,
            true_units=true.get(sku, 0),
            charged_units=charged.get(sku, 0),
            guessed_units=guessed.get(sku, 0),
        )
        if error.charged_units > error.true_units:
            verdict.over_charged.append(error)
        if error.guessed_units < error.true_units:
            verdict.missed.append(error)


def _common(a: Units, b: Units) -> int:
    return sum(min(units, b.get(sku, 0)) for sku, units in a.items())


def _mark_wrong_visits(verdict: Verdict) -> None:
    lacking = {(e.sku, e.credential) for e in verdict.missed}
    verdict.over_charged = [
        LineError(
            credential=e.credential,
            sku=e.sku,
            true_units=e.true_units,
            charged_units=e.charged_units,
            guessed_units=e.guessed_units,
            wrong_visit=any(s == e.sku and c != e.credential for s, c in lacking),
        )
        for e in verdict.over_charged
    ]


def _wrong_prices(
    leg: MoneyLeg, carts: Sequence[CartClosed], captures: Sequence[Capture]
) -> list[tuple[int, str, str]]:
    """The retailer is asked once more: what was captured is the price of the closed cart."""
    paid: Counter[str] = Counter()
    for capture in captures:
        paid[capture.hold] += capture.amount_minor
    problems = []
    for cart in carts:
        try:
            due = leg.price_minor(cart)
        except CartError as error:
            problems.append((cart.at_ns, str(cart.visit), f"cannot be priced: {error}"))
            continue
        if paid[f"hold-{cart.visit}"] != due:
            text = f"captured {paid[f'hold-{cart.visit}']}, its price is {due}"
            problems.append((cart.at_ns, str(cart.visit), text))
    return problems


# --- money ----------------------------------------------------------------------------------------


def money_problems(
    carts: Sequence[CartClosed], receipts: Sequence[ReceiptIssued], captures: Sequence[Capture]
) -> list[str]:
    """Each closed cart of a shopper with charged lines is captured exactly once, for its price.

    The price is the receipt's total, whose lines must be those charged. Empty list: all is well.
    """
    return [text for _, text in cart_money_problems(carts, receipts, captures)]


def cart_money_problems(
    carts: Sequence[CartClosed], receipts: Sequence[ReceiptIssued], captures: Sequence[Capture]
) -> list[tuple[str, str]]:
    """``money_problems`` with the visit that each is about; "" = of no closed cart."""
    issued: dict[str, list[ReceiptIssued]] = defaultdict(list)
    for receipt in receipts:
        issued[receipt.visit].append(receipt)
    paid: dict[str, list[Capture]] = defaultdict(list)
    for capture in captures:
        paid[capture.hold].append(capture)
    problems = [
        (str(cart.visit), text)
        for cart in carts
        for text in _cart_problems(cart, issued[cart.visit], paid[f"hold-{cart.visit}"])
    ]
    known = {f"hold-{cart.visit}" for cart in carts}
    return problems + [
        ("", f"{c.capture}: captured for no closed cart") for c in captures if c.hold not in known
    ]


def books_problems(books: Books, captures: Sequence[Capture]) -> list[str]:
    """The broker's ledger says the same as the captures. Empty list: all is well."""
    problems = []
    mine = [c for c in captures if c.currency == books.currency]
    total = sum(c.amount_minor for c in mine)
    if books.unbalanced_journals:
        problems.append(f"{books.unbalanced_journals} unbalanced journals")
    if books.captures != len(mine):
        problems.append(f"ledger has {books.captures} captures, there were {len(mine)}")
    if books.captured_minor != total:
        problems.append(f"ledger captured {books.captured_minor}, captures add up to {total}")
    if sum(books.balances.values()) != 0:
        problems.append(f"balances add up to {sum(books.balances.values())}, not 0")
    return problems


def _cart_problems(
    cart: CartClosed, receipts: Sequence[ReceiptIssued], captures: Sequence[Capture]
) -> list[str]:
    charged = units_of(cart, charged_only=True) if cart.kind is VisitKind.SHOPPER else {}
    if len(receipts) != 1:
        return [f"{cart.visit}: {len(receipts)} receipts instead of one"]
    receipt = receipts[0]
    priced: Counter[str] = Counter()
    for line in receipt.lines:
        priced[str(line.sku)] += line.quantity
    problems = []
    if dict(priced) != charged:
        problems.append(f"{cart.visit}: priced {dict(priced)}, charged {charged}")
    if sum(line.total_minor for line in receipt.lines) != receipt.total.minor:
        problems.append(f"{cart.visit}: the receipt's lines do not add up to {receipt.total}")
    expected = [receipt.total.minor] if charged and receipt.total.minor else []
    amounts = [c.amount_minor for c in captures]
    if amounts != expected:
        problems.append(f"{cart.visit}: captured {amounts} instead of {expected}")
    return problems
