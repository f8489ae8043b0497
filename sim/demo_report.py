"""What a demo's day came to: the truth beside the receipts, and three books that must agree.

Everything here is read after the processes ended: carts from the journal, receipts from the sync
file, and what retailer and broker said of their own books before they stopped.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cloud_sync import views
from messages import codec
from messages.contract import Books, Capture
from messages.events import CartClosed
from messages.money import Money
from messages.store_config import StoreConfig
from sim.receipt_times import ReceiptTimes, receipt_times, span_text, summary
from sim.referee import LineError, books_problems, judge, money_problems, units_of
from sim.retailer.store import RetailerBooks
from sim.truth import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One SKU of one visit: pieces held in truth, on the receipt, and shown in review."""

    sku: str
    true_units: int
    charged_units: int
    review_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitRow:
    """One true visit and its receipt; ``receipt`` is its state, "none" when there is none."""

    shopper: str
    visit: str
    lines: tuple[Line, ...]
    receipt: str
    total_minor: int
    exact: bool
    left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """The same total, from each side's own books."""

    by_receipts_minor: int
    by_retailer_minor: int
    by_retailer_webhooks_minor: int
    by_broker_minor: int
    currency: str

    @property
    def agree(self) -> bool:
        amounts = {
            self.by_receipts_minor,
            self.by_retailer_minor,
            self.by_retailer_webhooks_minor,
            self.by_broker_minor,
        }
        return len(amounts) == 1


@dataclass(slots=True, kw_only=True)
class Report:
    """The whole run. ``problems``: why the exit status is not 0; empty when all is well."""

    seed: int
    duration_s: float
    folder: str
    visits: list[VisitRow] = field(default_factory=list)
    receipts: int = 0
    paid_receipts: int = 0
    reviews: int = 0
    over_charged: list[LineError] = field(default_factory=list)
    under_charged_lines: int = 0
    paid: Paid | None = None
    waits: list[ReceiptTimes] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    wires: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As plain values, for ``--json``."""
        paid = asdict(self.paid) | {"agree": self.paid.agree} if self.paid else None
        return {
            "ok": not self.problems,
            "seed": self.seed,
            "duration_s": self.duration_s,
            "folder": self.folder,
            "totals": {
                "visits": len(self.visits),
                "visits_exact": sum(row.exact for row in self.visits),
                "receipts": self.receipts,
                "paid_receipts": self.paid_receipts,
                "over_charged_lines": len(self.over_charged),
                "under_charged_lines": self.under_charged_lines,
                "reviews": self.reviews,
                "paid": paid,
            },
            "visits": [asdict(row) for row in self.visits],
            "receipt_times": summary(self.waits),
            "restarts": self.restarts,
            "wires": self.wires,
            "problems": self.problems,
        }


def compare(
    report: Report,
    truth: Truth,
    config: StoreConfig,
    retailer: RetailerBooks,
    broker: Books,
    captures: Sequence[Capture],
) -> None:
    """Fill the report from the files of the run and the books of both sides."""
    carts = _events(Path(config.paths.journal), "event", "CartClosed")
    issued = _events(Path(config.paths.sync), "settlement_event", "ReceiptIssued")
    receipts = {row["visit"]: row for row in views.receipts(Path(config.paths.sync))}
    verdict = judge(truth, carts)
    report.visits = _rows(truth, carts, receipts)
    report.receipts = len(receipts)
    report.paid_receipts = sum(row["state"] == "paid" for row in receipts.values())
    report.reviews = len(_events(Path(config.paths.journal), "event", "ReviewRequested"))
    report.over_charged = verdict.over_charged
    report.under_charged_lines = sum(
        line.charged_units < line.true_units for row in report.visits for line in row.lines
    )
    report.paid = _paid(receipts.values(), retailer, broker, config.currency)
    report.waits = receipt_times(Path(config.paths.journal), Path(config.paths.sync))
    report.problems += [
        *_visit_problems(report, verdict.carts_unknown),
        *_paid_problems(report.paid),
        *money_problems(carts, issued, captures),
        *books_problems(broker, captures),
    ]


def show(report: Report, config: StoreConfig, console: Console) -> None:
    """The table of visits and the totals, for people."""
    names = {str(product.id): product.name or str(product.id) for product in config.products}
    console.print(_visits_table(report, names, config.currency))
    console.print(_totals(report))


# --- gathering --------------------------------------------------------------------------------


def _events(path: Path, table: str, kind: str) -> list[Any]:
    """Messages of one type from a journal or a sync file; none where there is no file."""
    if not path.exists():
        return []
    query = f"SELECT body FROM {table} WHERE type = ? ORDER BY seq"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [codec.decode(body) for (body,) in db.execute(query, (kind,))]


def _rows(
    truth: Truth, carts: Sequence[CartClosed], receipts: Mapping[str, Mapping[str, Any]]
) -> list[VisitRow]:
    by_credential = {str(cart.credential): cart for cart in carts}
    rows = []
    for seen in truth.visits.values():
        if seen.entered_at_ns is None:
            continue
        cart = by_credential.get(seen.credential)
        receipt = receipts.get(str(cart.visit)) if cart else None
        lines = _lines(truth.lines(seen.visit), cart, receipt)
        rows.append(
            VisitRow(
                shopper=seen.visit,
                visit=str(cart.visit) if cart else "",
                lines=lines,
                receipt=receipt["state"] if receipt else "none",
                total_minor=receipt["total_minor"] if receipt else 0,
                exact=all(line.charged_units == line.true_units for line in lines),
                left=seen.exited_at_ns is not None,
            )
        )
    return rows


def _lines(
    held: Mapping[str, int], cart: CartClosed | None, receipt: Mapping[str, Any] | None
) -> tuple[Line, ...]:
    """What was held, beside what the receipt asks money for."""
    charged: Counter[str] = Counter()
    for line in receipt["lines"] if receipt else ():
        charged[line["sku"]] += line["quantity"]
    guessed = units_of(cart, charged_only=False) if cart else {}
    return tuple(
        Line(
            sku=sku,
            true_units=held.get(sku, 0),
            charged_units=charged[sku],
            review_units=max(0, guessed.get(sku, 0) - charged[sku]),
        )
        for sku in sorted({*held, *charged, *guessed})
    )


def _paid(receipts: Any, retailer: RetailerBooks, broker: Books, currency: str) -> Paid:
    return Paid(
        by_receipts_minor=sum(r["total_minor"] for r in receipts if r["state"] == "paid"),
        by_retailer_minor=retailer.purchased_minor,
        by_retailer_webhooks_minor=retailer.paid_minor,
        by_broker_minor=broker.captured_minor,
        currency=currency,
    )


def _visit_problems(report: Report, unknown: Sequence[str]) -> list[str]:
    problems = [f"a cart was closed for {c}, who was not inside" for c in unknown]
    if not report.visits:
        problems.append("nobody came in: nothing was shown")
    for row in report.visits:
        if not row.left:
            problems.append(f"{row.shopper} was still inside when the time was over")
        elif row.receipt not in ("paid", "free", "void"):
            problems.append(f"{row.shopper} left and has no finished receipt ({row.receipt})")
    return problems + [
        f"over-charged: {e.charged_units} x {e.sku} instead of {e.true_units} ({e.credential})"
        for e in report.over_charged
    ]


def _paid_problems(paid: Paid) -> list[str]:
    if paid.agree:
        return []
    return [
        f"the books differ: receipts {paid.by_receipts_minor}, retailer {paid.by_retailer_minor} "
        f"(by webhooks {paid.by_retailer_webhooks_minor}), broker {paid.by_broker_minor}"
    ]


# --- showing ----------------------------------------------------------------------------------


def _visits_table(report: Report, names: Mapping[str, str], currency: str) -> Table:
    table = Table(title="What they took, and what they paid for", title_justify="left")
    table.add_column("visit")
    table.add_column("truth")
    table.add_column("receipt")
    table.add_column("total", justify="right")
    table.add_column("")
    waits = {one.visit: one for one in report.waits}
    for row in report.visits:
        table.add_row(
            f"{row.shopper}\n[dim]{row.visit or 'no cart'}[/dim]",
            "\n".join(_piece(line.true_units, line.sku, names) for line in row.lines) or "nothing",
            _receipt_text(row, names),
            str(Money(minor=row.total_minor, currency=currency)),
            _verdict(row) + _waited(waits.get(row.visit)),
            end_section=True,
        )
    return table


def _piece(units: int, sku: str, names: Mapping[str, str]) -> str:
    return f"{units} x {names.get(sku, sku)}" if units else "-"


def _receipt_text(row: VisitRow, names: Mapping[str, str]) -> Text:
    text = Text()
    for line in row.lines:
        style = "red" if line.charged_units > line.true_units else ""
        if line.charged_units < line.true_units:
            style = "yellow"
        text.append(_piece(line.charged_units, line.sku, names), style)
        if line.review_units:
            text.append(f"  ({line.review_units} not charged: in doubt)", "cyan")
        text.append("\n")
    text.rstrip()
    return text if row.lines else Text("nothing")


def _verdict(row: VisitRow) -> str:
    if not row.left:
        return "[red]still inside[/red]"
    words = {"paid": "paid", "free": "nothing to pay", "void": "void"}
    state = words.get(row.receipt, f"[red]{row.receipt}[/red]")
    return f"{state}, exact" if row.exact else f"{state}, [yellow]not exact[/yellow]"


def _waited(times: ReceiptTimes | None) -> str:
    """When the receipt came, told from the passage out."""
    if times is None or times.passage_to_receipt_s is None:
        return ""
    why = ", answered first" if times.in_review else ""
    closed, receipt = times.passage_to_cart_s, times.passage_to_receipt_s
    return f"\n[dim]cart {closed:.2f} s, receipt {receipt:.2f} s after the exit{why}[/dim]"


def _totals(report: Report) -> RenderableType:
    table = Table(show_header=False, title="Totals", title_justify="left")
    exact = sum(row.exact for row in report.visits)
    table.add_row("visits", f"{len(report.visits)}, {exact} receipts exact")
    table.add_row("paid receipts", str(report.paid_receipts))
    if report.paid is not None:
        table.add_row("paid, by receipts", _money(report.paid.by_receipts_minor, report.paid))
        table.add_row("paid, by the retailer", _money(report.paid.by_retailer_minor, report.paid))
        table.add_row("paid, by the broker", _money(report.paid.by_broker_minor, report.paid))
    table.add_row("over-charged lines", str(len(report.over_charged)))
    table.add_row("under-charged lines", str(report.under_charged_lines))
    table.add_row("doubts that went to review", str(report.reviews))
    waits = summary(report.waits)
    provisional = span_text(waits["passage_to_provisional_s"])
    table.add_row("exit passage to provisional receipt", provisional)
    table.add_row("exit passage to closed cart", span_text(waits["passage_to_cart_s"]))
    table.add_row("closed cart to receipt", span_text(waits["cart_to_receipt_s"]))
    table.add_row("exit passage to receipt", span_text(waits["passage_to_receipt_s"]))
    table.add_row("receipts that waited for an answer", str(waits["in_review"]))
    table.add_row("restarts", ", ".join(f"{k} {n}" for k, n in report.restarts.items()) or "none")
    table.add_row("files of this run", report.folder)
    verdict = Text("The three books agree and nobody paid too much.", "green")
    if report.problems:
        verdict = Text("\n".join(report.problems), "red")
    return Group(table, verdict)


def _money(minor: int, paid: Paid) -> str:
    return str(Money(minor=minor, currency=paid.currency))
