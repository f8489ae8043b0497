"""How long a receipt took, read from a journal and a sync file: each span, and what waited."""

import sqlite3
from dataclasses import replace

import zstandard

from cloud_sync import book, outbox
from cloud_sync.database import SCHEMA as STATUS_SCHEMA
from edge import journal_schema
from messages import codec
from messages.events import CartClosed, CartState, ReviewRequested, ReviewResolved, VisitKind
from messages.observations import GateSignal, GateSignalKind
from sim.receipt_times import receipt_times, span_text, summary

S = 1_000_000_000
WALL_NS = 1_790_000_000 * S  # wall clock at store time 0
CART = CartClosed(
    at_ns=12 * S,
    visit="v1",
    credential="c",
    account="a",
    kind=VisitKind.SHOPPER,
    party_size=1,
    entry_gate="g",
    exit_gate="g",
    started_at_ns=1 * S,
    ended_at_ns=10 * S + S // 10,
    started_at_wall_ns=WALL_NS + S,
    ended_at_wall_ns=WALL_NS + 10 * S + S // 10,
    state=CartState.CLOSED,
    lines=(),
)


class Run:
    """The files of a run."""

    def __init__(self, folder):
        self.journal, self.sync = folder / "journal.db", folder / "sync.db"
        with sqlite3.connect(self.journal) as db:
            db.executescript(journal_schema.SCHEMA)
        with sqlite3.connect(self.sync) as db:
            db.executescript(STATUS_SCHEMA + outbox.SCHEMA + book.SCHEMA)
        self.rows = 0

    def passages(self, *at_ns, gate="g"):
        seen = [
            GateSignal(gate=gate, device="d", kind=GateSignalKind.EXIT, received_at_ns=at)
            for at in at_ns
        ]
        block = zstandard.ZstdCompressor().compress(codec.encode_many(seen))
        self.rows += 1
        with sqlite3.connect(self.journal) as db:
            db.execute("INSERT INTO step VALUES(?,?,?)", (self.rows, max(at_ns), block))

    def event(self, event):
        self.rows += 1
        row = (self.rows, str(self.rows), 1, event.at_ns, type(event).__name__)
        with sqlite3.connect(self.journal) as db:
            db.execute("INSERT INTO event VALUES(?,?,?,?,?,?)", (*row, codec.encode(event)))

    def receipt(self, cart, issued_s, state="paid", provisional_s=0.5):
        """Its cart is committed 10 ms after its step, its receipt ``issued_s`` after that."""
        committed_ns = WALL_NS + cart.at_ns + S // 100
        with sqlite3.connect(self.journal) as db:
            db.execute(
                "INSERT INTO outbox(event_id,grp,kind,body,created_wall_ns) VALUES(?,?,?,?,?)",
                (cart.visit, cart.account, "cart_closed", codec.encode(cart), committed_ns),
            )
        with sqlite3.connect(self.sync) as db:
            told_ns = cart.ended_at_wall_ns + round(provisional_s * S) if provisional_s else 0
            issued_ns = committed_ns + round(issued_s * S)
            db.execute(
                "INSERT INTO receipt VALUES(?,'a',?,'EUR',1,'p','c','[]','[]',1,?,?,'',0,"
                "'[]',1,'[]',?,0)",
                (cart.visit, state, cart.ended_at_wall_ns, issued_ns, told_ns),
            )

    def times(self):
        return {one.visit: one for one in receipt_times(self.journal, self.sync)}


def test_each_span_of_a_receipt_is_told(tmp_path):
    run = Run(tmp_path)
    run.passages(3 * S, 10 * S)
    run.receipt(CART, issued_s=0.25)
    (times,) = run.times().values()
    assert times.passage_to_provisional_s == 0.6  # the visit ended 0.1 s after the passage
    assert times.passage_to_cart_s == 2.0
    assert round(times.cart_to_receipt_s, 6) == 0.25
    assert round(times.passage_to_receipt_s, 6) == 2.25
    assert not times.in_review


def test_of_two_who_left_together_the_first_counts(tmp_path):
    run = Run(tmp_path)
    run.passages(10 * S - S // 5, 10 * S)
    run.receipt(CART, issued_s=0.25)
    assert run.times()["v1"].passage_to_cart_s == 2.2


def test_a_visit_whose_exit_no_gate_saw_has_no_passage(tmp_path):
    run = Run(tmp_path)
    run.passages(10 * S, gate="another")
    run.receipt(CART, issued_s=0.25)
    assert run.times()["v1"].passage_to_receipt_s is None
    assert run.times()["v1"].passage_to_provisional_s is None
    assert summary(list(run.times().values()))["passage_to_receipt_s"] == {"count": 0}
    assert span_text({"count": 0}) == "none"


def test_only_a_question_that_was_open_at_the_exit_makes_a_receipt_wait(tmp_path):
    run = Run(tmp_path)
    run.passages(10 * S, 20 * S)
    later = replace(CART, visit="v2", ended_at_ns=20 * S, at_ns=30 * S)
    for review, visit, answered_ns in (("r1", "v1", 5 * S), ("r2", "v2", 29 * S)):
        run.event(ReviewRequested(review=review, reason="x", candidates=(), visits=(visit,)))
        run.event(
            ReviewResolved(
                at_ns=answered_ns, review=review, visit=visit, sku="s", quantity=1, by="evidence"
            )
        )
    run.receipt(CART, issued_s=0.1)
    run.receipt(later, issued_s=0.1)
    times = run.times()
    assert (times["v1"].in_review, times["v2"].in_review) == (False, True)
    shown = summary(list(times.values()))
    assert shown["in_review"] == 1
    assert shown["passage_to_cart_s"] == {"count": 1, "p50": 2.0, "p99": 2.0, "max": 2.0}
    assert shown["cart_to_receipt_s"]["count"] == 2
    assert "p99 2.00 s" in span_text(shown["passage_to_cart_s"])


def test_a_receipt_that_is_open_is_not_told(tmp_path):
    run = Run(tmp_path)
    run.passages(10 * S)
    run.receipt(CART, issued_s=0.1, state="pending")
    assert run.times() == {}


def test_before_there_are_files_there_are_no_times(tmp_path):
    assert receipt_times(tmp_path / "journal.db", tmp_path / "sync.db") == []
