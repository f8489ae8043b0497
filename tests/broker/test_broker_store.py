"""The ledger on a real file: invariants under any sequence of requests, and what never changes."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from broker import idempotency, store
from broker.group_commit import CommitError, Writer, connect
from broker.idempotency import KEPT_S, Answer, Claim
from broker.ledger import HOLD_VALIDITY_S, LedgerRefusalError
from broker.problems import ProblemError
from broker.schema import APPEND_ONLY, SCHEMA
from messages.contract import (
    AccountRequest,
    AdjustRequest,
    CaptureRequest,
    HoldRequest,
    VoidRequest,
)

LIMIT_MINOR = 1_000


def opened(path: Path) -> sqlite3.Connection:
    db = connect(path)
    db.execute("PRAGMA synchronous = OFF")  # many small steps; what a crash does is tested apart
    db.executescript(SCHEMA)
    return db


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(opened(tmp_path / "broker.db")) as connection:
        store.open_account(connection, account_of("anna"), 0)
        yield connection


def account_of(name: str, limit_minor: int = LIMIT_MINOR) -> AccountRequest:
    return AccountRequest(account=name, currency="EUR", limit_minor=limit_minor)


def hold_of(visit: str, account: str, amount_minor: int) -> HoldRequest:
    return HoldRequest(
        hold=f"hold-{visit}",
        account=account,
        store="lab",
        visit=visit,
        credential=f"cred-{visit}",
        amount_minor=amount_minor,
        currency="EUR",
    )


def capture_of(name: str, amount_minor: int) -> CaptureRequest:
    return CaptureRequest(
        capture=name,
        merchant="shop",
        purchase="p",
        amount_minor=amount_minor,
        currency="EUR",
        line_totals=[amount_minor],
    )


class Books(RuleBasedStateMachine):
    """Any requests in any order, at any time: the books stay sound."""

    holds = Bundle("holds")
    amounts = st.integers(1, LIMIT_MINOR + 200)
    accounts = st.sampled_from(["anna", "ben"])

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.db = opened(Path(self.directory.name) / "broker.db")
        self.now_s = 0
        self.numbers = itertools.count()
        for name in ("anna", "ben"):
            store.open_account(self.db, account_of(name), 0)

    def teardown(self) -> None:
        self.db.close()
        self.directory.cleanup()

    def attempt(self, effect: object) -> None:
        self.db.execute("SAVEPOINT job")
        try:
            effect()  # type: ignore[operator]
        except (LedgerRefusalError, ProblemError):
            self.db.execute("ROLLBACK TO job")
        self.db.execute("RELEASE job")

    @rule(target=holds, account=accounts, amount=amounts)
    def place(self, account: str, amount: int) -> str:
        visit = f"v{next(self.numbers)}"
        store.place_hold(self.db, hold_of(visit, account, amount), self.now_s)
        return f"hold-{visit}"

    @rule(hold=holds, amount=amounts)
    def adjust(self, hold: str, amount: int) -> None:
        wish = AdjustRequest(amount_minor=amount)
        self.attempt(lambda: store.adjust_hold(self.db, hold, wish, self.now_s))

    @rule(hold=holds, amount=amounts)
    def capture(self, hold: str, amount: int) -> None:
        wish = capture_of(f"capture-{next(self.numbers)}", amount)
        self.attempt(lambda: store.capture_hold(self.db, hold, wish, self.now_s))

    @rule(hold=holds)
    def void(self, hold: str) -> None:
        self.attempt(lambda: store.void_hold(self.db, hold, VoidRequest(), self.now_s))

    @rule(account=accounts, amount=amounts)
    def pay(self, account: str, amount: int) -> None:
        wish = store.PaymentRequest(
            payment=f"pay-{next(self.numbers)}",
            account=account,
            amount_minor=amount,
            currency="EUR",
        )
        self.attempt(lambda: store.record_payment(self.db, wish, self.now_s))

    @rule(seconds=st.sampled_from([1, HOLD_VALIDITY_S // 2, HOLD_VALIDITY_S]))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @rule(back=st.integers(1, HOLD_VALIDITY_S))
    def clock_is_set_back(self, back: int) -> None:
        self.now_s = max(0, self.now_s - back)

    @invariant()
    def every_journal_sums_to_zero(self) -> None:
        books = store.books(self.db, "EUR", self.now_s)
        assert books.unbalanced_journals == 0
        assert sum(books.balances.values()) == 0
        assert -books.balances.get("merchant_payable:shop", 0) == books.captured_minor

    @invariant()
    def nothing_captured_exceeds_its_hold(self) -> None:
        bad = self.db.execute(
            "SELECT COUNT(*) FROM capture JOIN hold USING (hold)"
            " WHERE capture.amount_minor > hold.amount_minor OR hold.status <> 'captured'"
            " OR hold.captured_minor <> capture.amount_minor"
        ).fetchone()
        assert bad == (0,)

    @invariant()
    def no_limit_is_broken_and_stored_debt_is_the_sum_of_postings(self) -> None:
        balances = store.books(self.db, "EUR", self.now_s).balances
        for name in ("anna", "ben"):
            account = store.account(self.db, name, self.now_s)
            assert 0 <= account.held_minor + account.owed_minor <= LIMIT_MINOR
            assert account.owed_minor == balances.get(f"shopper_receivable:{name}", 0)


Books.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_nobody_edits_or_deletes_what_was_posted(db: sqlite3.Connection, table: str) -> None:
    store.place_hold(db, hold_of("v1", "anna", 500), 0)
    store.capture_hold(db, "hold-v1", capture_of("c1", 300), 0)
    paid = store.PaymentRequest(payment="p1", account="anna", amount_minor=100, currency="EUR")
    store.record_payment(db, paid, 0)
    column = db.execute(f"SELECT name FROM pragma_table_info('{table}') LIMIT 1").fetchone()[0]
    row = db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
    marks = ", ".join("?" * len(row))
    for statement, values in (
        (f"UPDATE {table} SET {column} = {column}", ()),
        (f"DELETE FROM {table}", ()),
        (f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row),
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement, values)


def test_expired_hold_frees_its_amount_and_cannot_be_captured(db: sqlite3.Connection) -> None:
    store.place_hold(db, hold_of("v1", "anna", LIMIT_MINOR), 0)
    assert store.place_hold(db, hold_of("v2", "anna", 1), 10).status == 402
    later_s = HOLD_VALIDITY_S
    assert store.hold(db, "hold-v1", later_s).status == "expired"
    assert store.place_hold(db, hold_of("v3", "anna", LIMIT_MINOR), later_s).status == 201
    with pytest.raises(LedgerRefusalError, match="expired"):
        store.capture_hold(db, "hold-v1", capture_of("c1", 1), later_s)


def test_clock_that_is_set_back_revives_no_expired_hold(db: sqlite3.Connection) -> None:
    store.place_hold(db, hold_of("v1", "anna", LIMIT_MINOR), 0)
    store.place_hold(db, hold_of("v2", "anna", LIMIT_MINOR), HOLD_VALIDITY_S)
    assert store.hold(db, "hold-v1", 0).status == "expired"
    account = store.account(db, "anna", 0)
    assert account.held_minor + account.owed_minor <= LIMIT_MINOR


def test_journal_that_lost_its_postings_shows_in_the_books(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO journal (kind, reference, at_s) VALUES ('capture', 'lost', 0)")
    db.execute("INSERT INTO journal (kind, reference, at_s) VALUES ('capture', 'half', 0)")
    db.execute("INSERT INTO posting VALUES (2, 0, 'shopper_receivable:anna', 5, 'EUR')")
    assert store.books(db, "EUR", 0).unbalanced_journals == 2


def test_captures_are_read_page_by_page_without_gap_or_repeat(db: sqlite3.Connection) -> None:
    for i in range(7):
        store.place_hold(db, hold_of(f"v{i}", "anna", 10), 0)
        store.capture_hold(db, f"hold-v{i}", capture_of(f"c{i}", 10), 0)
    seen, after, more = list[str](), 0, True
    while more:
        page = store.captures(db, after, 3)
        seen += [capture.capture for capture in page.captures]
        after, more = page.after, page.more
    assert seen == [f"c{i}" for i in range(7)]


# --- one key, one effect, one answer ----------------------------------------------------------


def claim_of(key: str, body: object = None) -> Claim:
    return Claim(tenant="t", path="/p", key=key, digest=idempotency.digest(body))


def test_bodies_are_equal_when_their_canonical_json_is() -> None:
    same = [{"a": 1, "b": [1.0, None]}, {"b": [1, None], "a": 1.0}]
    assert idempotency.digest(same[0]) == idempotency.digest(same[1])
    for other in ({"a": 1, "b": [None, 1]}, {"a": 1, "b": [1]}, {"a": "1", "b": [1, None]}):
        assert idempotency.digest(other) != idempotency.digest(same[0])


def test_answer_is_kept_for_thirty_days_and_then_forgotten(db: sqlite3.Connection) -> None:
    calls = list[int]()

    def effect(_: sqlite3.Connection) -> Answer:
        calls.append(1)
        return Answer(status=201, body=b"{}")

    assert not idempotency.once(db, claim_of("k"), 0, effect).replayed
    assert idempotency.once(db, claim_of("k"), KEPT_S - 1, effect).replayed
    assert not idempotency.once(db, claim_of("k"), KEPT_S, effect).replayed
    idempotency.once(db, claim_of("other"), 3 * KEPT_S, effect)
    assert db.execute("SELECT key FROM answer").fetchall() == [("other",)]
    assert len(calls) == 3


@pytest.mark.parametrize(("status", "kept"), [(201, True), (402, True), (409, False), (503, False)])
def test_only_what_did_or_decided_something_uses_up_the_key(
    db: sqlite3.Connection, status: int, kept: bool
) -> None:
    idempotency.once(db, claim_of("k"), 0, lambda _: Answer(status=status, body=b"{}"))
    again = idempotency.once(db, claim_of("k"), 0, lambda _: Answer(status=200, body=b"{}"))
    assert again.replayed is kept


def test_job_that_fails_undoes_itself_and_leaves_its_neighbours(tmp_path: Path) -> None:
    def insert(name: str, *, fail: bool = False) -> object:
        def job(db: sqlite3.Connection) -> str:
            db.execute("INSERT INTO t VALUES (?)", (name,))
            if fail:
                raise KeyError(name)
            return name

        return job

    async def story() -> list[object]:
        writer = Writer(tmp_path / "x.db", "CREATE TABLE t (name TEXT)")
        jobs = [insert("a"), insert("b", fail=True), insert("c")]
        results = await asyncio.gather(
            *(writer.submit(job) for job in jobs),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        writer.close()
        return list(results)

    results = asyncio.run(story())
    assert results[0] == "a"
    assert isinstance(results[1], KeyError)
    with closing(connect(tmp_path / "x.db")) as db:
        assert db.execute("SELECT name FROM t").fetchall() == [("a",), ("c",)]


def test_disk_that_refuses_the_commit_fails_every_caller_and_the_next_ones_work(
    tmp_path: Path,
) -> None:
    schema = (
        "CREATE TABLE t (x INTEGER PRIMARY KEY,"
        " y INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
    )

    async def story() -> tuple[list[object], object]:
        writer = Writer(tmp_path / "x.db", schema)
        # A deferred constraint is judged at COMMIT, as a full disk is.
        broken = [
            writer.submit(lambda db: db.execute("INSERT INTO t VALUES (1, 99)").rowcount),
            writer.submit(lambda db: db.execute("INSERT INTO t VALUES (2, NULL)").rowcount),
        ]
        first = await asyncio.gather(*broken, return_exceptions=True)
        then = await writer.submit(lambda db: db.execute("SELECT COUNT(*) FROM t").fetchone())
        writer.close()
        return list(first), then

    first, then = asyncio.run(story())
    assert any(isinstance(result, CommitError) for result in first)
    assert then[0] == sum(result == 1 for result in first)  # type: ignore[index]
