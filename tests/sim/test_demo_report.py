"""The demo's verdict: each way in which a day can go wrong is a problem by name."""

import io
import sqlite3

import pytest
from rich.console import Console

from cloud_sync import book, outbox
from cloud_sync.database import SCHEMA as STATUS_SCHEMA
from edge import journal_schema
from messages import codec
from messages.contract import Books, Capture
from messages.events import (
    CartClosed,
    CartLine,
    CartState,
    LineState,
    PricedLine,
    ReceiptIssued,
    VisitKind,
)
from messages.money import Money
from messages.store_config import Paths, StoreConfig
from sim.demo import DemoError, _folder
from sim.demo_report import Report, compare, show
from sim.first_store import first_store
from sim.live_view import floor_map, letter_of, screen
from sim.retailer.store import RetailerBooks
from sim.truth import TrueAction, Truth

PRICE_MINOR = 150


class Day:
    """One visit that holds ``true`` milks and pays for ``charged``."""

    def __init__(self, tmp_path, true=2, charged=2, left=True):
        self.config = StoreConfig(
            store="s", paths=Paths(journal=str(tmp_path / "j.db"), sync=str(tmp_path / "s.db"))
        )
        self.total = charged * PRICE_MINOR
        self.truth = Truth()
        visit = self.truth.visit("shopper-1")
        visit.credential, visit.entered_at_ns = "code-1", 1
        visit.exited_at_ns = 2 if left else None
        self.truth.actions.append(
            TrueAction(
                at_ns=1, kind="take", visit="shopper-1", sku="milk", quantity=true, facing="f"
            )
        )
        self._journal(charged)
        self._sync(charged)
        self.retailer = RetailerBooks(
            currency="EUR",
            purchases=1,
            purchased_minor=self.total,
            webhooks=1,
            receipts=1,
            paid_minor=self.total,
        )
        self.broker = Books(
            currency="EUR",
            balances={"a": self.total, "m": -self.total},
            journals=1,
            captures=1,
            captured_minor=self.total,
            holds_open=0,
            unbalanced_journals=0,
        )
        self.captures = [
            Capture(
                capture="capture-s-v1",
                hold="hold-s-v1",
                account="a",
                merchant="m",
                purchase="p",
                amount_minor=self.total,
                currency="EUR",
                journal=1,
            )
        ]

    def _journal(self, charged):
        line = CartLine(
            line="l",
            sku="milk",
            quantity=charged,
            probability=0.99,
            state=LineState.CHARGED,
            taken_at_ns=1,
        )
        cart = CartClosed(
            visit="s-v1",
            credential="code-1",
            account="a",
            kind=VisitKind.SHOPPER,
            party_size=1,
            entry_gate="g",
            exit_gate="g",
            started_at_ns=1,
            ended_at_ns=2,
            started_at_wall_ns=1,
            ended_at_wall_ns=2,
            state=CartState.CLOSED,
            lines=(line,),
        )
        with sqlite3.connect(self.config.paths.journal) as db:
            db.executescript(journal_schema.SCHEMA)
            body = codec.encode(cart)
            db.execute("INSERT INTO event VALUES(1, 'e', 1, 1, 'CartClosed', ?)", (body,))
            db.execute("INSERT INTO outbox VALUES(1, 'e', 'a', 'cart_closed', ?, 1)", (body,))

    def _sync(self, charged):
        line = PricedLine(
            line="l",
            sku="milk",
            name="Milk",
            quantity=charged,
            unit_price_minor=PRICE_MINOR,
            discount_minor=0,
            tax_minor=0,
            total_minor=self.total,
        )
        issued = ReceiptIssued(
            visit="s-v1",
            account="a",
            purchase="p",
            capture="c",
            total=Money(minor=self.total, currency="EUR"),
            lines=(line,),
        )
        with sqlite3.connect(self.config.paths.sync) as db:
            db.executescript(STATUS_SCHEMA + outbox.SCHEMA + book.SCHEMA)
            lines = f'[{{"sku": "milk", "quantity": {charged}}}]'
            db.execute(
                "INSERT INTO receipt VALUES('s-v1','a','paid','EUR',?,'p','c',?,'[]',1,2,3,'',0,"
                "'[]',1,'[]',0,0)",
                (self.total, lines),
            )
            db.execute(
                "INSERT INTO settlement_event VALUES(1,'e','s-v1',1,1,'ReceiptIssued',?)",
                (codec.encode(issued),),
            )

    def report(self):
        report = Report(seed=1, duration_s=1.0, folder="there")
        compare(report, self.truth, self.config, self.retailer, self.broker, self.captures)
        return report


def shown(report, config):
    console = Console(file=io.StringIO(), width=100)
    show(report, config, console)
    return console.file.getvalue()


def test_a_day_without_fault_has_no_problem_and_one_total(tmp_path):
    day = Day(tmp_path)
    report = day.report()
    assert report.problems == []
    document = report.document()
    assert document["ok"] is True
    assert document["totals"]["visits_exact"] == 1
    assert document["totals"]["paid"]["by_broker_minor"] == 300
    assert document["receipt_times"]["cart_to_receipt_s"]["count"] == 1
    text = shown(report, day.config)
    assert "3.00 EUR" in text
    assert "nobody paid too much" in text


def test_an_over_charge_is_a_problem(tmp_path):
    report = Day(tmp_path, true=1, charged=2).report()
    assert len(report.over_charged) == 1
    assert any("over-charged: 2 x milk instead of 1" in problem for problem in report.problems)


def test_an_under_charge_is_counted_and_no_problem(tmp_path):
    report = Day(tmp_path, true=2, charged=1).report()
    assert report.under_charged_lines == 1
    assert report.problems == []
    assert report.document()["totals"]["visits_exact"] == 0


@pytest.mark.parametrize(
    ("side", "field"),
    [
        ("retailer", "purchased_minor"),
        ("retailer", "paid_minor"),
        ("broker", "captured_minor"),
    ],
)
def test_books_that_differ_by_a_cent_are_a_problem(tmp_path, side, field):
    day = Day(tmp_path)
    books = getattr(day, side)
    object.__setattr__(books, field, getattr(books, field) + 1)
    report = day.report()
    assert not report.paid.agree
    assert any("the books differ" in problem for problem in report.problems)
    assert "the books differ" in shown(report, day.config)


def test_somebody_still_inside_is_a_problem(tmp_path):
    report = Day(tmp_path, left=False).report()
    assert any("still inside" in problem for problem in report.problems)


def test_a_day_when_nobody_came_shows_nothing_and_says_so(tmp_path):
    day = Day(tmp_path)
    day.truth = Truth()
    problems = day.report().problems
    assert any("nobody came in" in problem for problem in problems)
    assert any("who was not inside" in problem for problem in problems)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "journal.db").write_text("yesterday")
    with pytest.raises(DemoError, match="not an empty folder"):
        _folder(tmp_path)
    assert _folder(tmp_path / "new").is_dir()


# --- live view --------------------------------------------------------------------------------


def test_the_floor_map_shows_people_where_they_are():
    config = first_store()
    people = [
        {"x_m": 0.0, "y_m": 6.2, "visit": "first-store-v2"},
        {"x_m": 9.0, "y_m": 0.0, "visit": ""},
    ]
    rows = floor_map(config, people).plain.splitlines()
    assert rows[0][0] == "B"
    assert rows[-1][-1] == "?"
    assert len({len(row) for row in rows}) == 1


def test_a_place_outside_the_area_is_drawn_at_its_edge():
    people = [{"x_m": -5.0, "y_m": 99.0, "visit": "first-store-v1"}]
    assert floor_map(first_store(), people).plain[0] == "A"


def test_letters_go_round_after_the_alphabet():
    assert [letter_of(f"s-v{n}") for n in (1, 26, 27)] == ["A", "Z", "A"]


def test_the_screen_stands_before_the_daemon_does():
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(first_store(), {}, [], "headline"))
    text = console.file.getvalue()
    assert "headline" in text
    assert "nobody" in text
    assert "not running" in text


def test_the_screen_names_carts_receipts_and_devices_in_trouble():
    status = {
        "running": True,
        "visits": [
            {
                "visit": "first-store-v3",
                "inside": 1,
                "lines": [{"sku": "water-500ml", "quantity": 2, "state": "review"}],
            }
        ],
        "devices": {"shelf-9": {"state": "silent", "detail": "nothing valid"}},
        "alarms": {"device:shelf-9": "x"},
    }
    receipt = {
        "visit": "first-store-v1",
        "lines": [{"quantity": 3}],
        "in_review": [],
        "state": "paid",
        "total_minor": 1234,
        "currency": "EUR",
    }
    console = Console(file=io.StringIO(), width=160)
    console.print(screen(first_store(), status, [receipt], "headline"))
    text = console.file.getvalue()
    for expected in ("2 x Still water", "12.34 EUR", "3 pieces", "shelf-9: silent", "running"):
        assert expected in text
