"""The ledger in the database, on both: what each request does, and what never changes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from both_databases import (
    LIMIT_MINOR,
    Databases,
    Ledger,
    account_of,
    capture_of,
    claim_of,
    hold_of,
    transfer_of,
)

from broker import (
    accounts,
    books,
    chain,
    idempotency,
    postgresql_database,
    store,
    transfers,
)
from broker.database import CommitError, Transaction
from broker.group_commit import Writer, connect
from broker.idempotency import KEPT_S, Answer
from broker.ledger import HOLD_VALIDITY_S, LedgerRefusalError
from broker.problems import ProblemError
from broker.schema import APPEND_ONLY
from messages.contract import VoidRequest


@pytest.fixture
def opened(ledger: Ledger) -> Ledger:
    """With anna's account."""
    ledger.do(lambda db: store.open_account(db, account_of("anna"), 0))
    return ledger


def placed(ledger: Ledger, visit: str, amount_minor: int, now_s: int = 0) -> int:
    wish = hold_of(visit, "anna", amount_minor)
    status: int = ledger.do(lambda db: store.place_hold(db, wish, now_s)).status
    return status


def captured(ledger: Ledger, visit: str, name: str, amount_minor: int, now_s: int = 0) -> Answer:
    wish = capture_of(name, amount_minor)
    answer: Answer = ledger.do(lambda db: store.capture_hold(db, f"hold-{visit}", wish, now_s))
    return answer


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_nobody_edits_or_deletes_what_was_posted(opened: Ledger, table: str) -> None:
    placed(opened, "v1", 500)
    captured(opened, "v1", "c1", 300)
    paid = store.PaymentRequest(payment="p1", account="anna", amount_minor=100, currency="EUR")
    opened.do(lambda db: store.record_payment(db, paid, 0))
    back = store.RefundRequest(refund="r1", amount_minor=50, currency="EUR")
    opened.do(lambda db: store.refund_capture(db, "c1", back, 0))
    opened.do(chain.seal)
    before = opened.rows(f"SELECT * FROM {table} ORDER BY 1, 2")
    assert before
    column = {"journal": "at_s", "chain": "digest"}.get(table, "amount_minor")
    statements = [f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"]
    if opened.kind == "sqlite":
        statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    else:
        statements.append(f"TRUNCATE {table} CASCADE")
    for statement in statements:
        with pytest.raises(Exception, match="append-only"):
            opened.change(statement)
    assert opened.rows(f"SELECT * FROM {table} ORDER BY 1, 2") == before


def test_role_that_serves_can_do_its_work_and_not_change_the_past(databases: Databases) -> None:
    where = databases.new("postgresql")
    databases.start().sql("CREATE ROLE server LOGIN")
    asyncio.run(postgresql_database.migrate(where, "server"))
    ledger = Ledger(replace(where, url=where.url.replace("walkout@", "server@")))
    ledger.do(lambda db: store.open_account(db, account_of("anna"), 0))
    placed(ledger, "v1", 500)
    captured(ledger, "v1", "c1", 300)
    assert ledger.transfer(claim_of("k"), transfer_of("t", 5)).status == 201
    assert ledger.do(chain.seal) == 2
    ledger.do(lambda db: store.sweep(db, HOLD_VALIDITY_S))
    ledger.do(lambda db: accounts.snapshot(db, HOLD_VALIDITY_S))
    ledger.do(lambda db: idempotency.purge(db, 2 * KEPT_S))
    assert ledger.ask(chain.verify).broken == ()
    for table in APPEND_ONLY:
        for statement in (f"DELETE FROM {table}", f"ALTER TABLE {table} DISABLE TRIGGER ALL"):
            with pytest.raises(Exception, match=r"permission denied|must be owner"):
                ledger.change(statement)
    ledger.close()
    databases.drop(where)


def test_expired_hold_frees_its_amount_and_cannot_be_captured(opened: Ledger) -> None:
    placed(opened, "v1", LIMIT_MINOR)
    assert placed(opened, "v2", 1, 10) == 402
    later_s = HOLD_VALIDITY_S
    assert opened.ask(lambda db: store.hold(db, "hold-v1", later_s)).status == "expired"
    assert opened.ask(lambda db: store.account(db, "anna", later_s)).held_minor == 0
    assert placed(opened, "v3", LIMIT_MINOR, later_s) == 201
    with pytest.raises(LedgerRefusalError, match="expired"):
        captured(opened, "v1", "c1", 1, later_s)


def test_sweep_writes_expiries_down_account_by_account(opened: Ledger) -> None:
    opened.do(lambda db: store.open_account(db, account_of("ben"), 0))
    for visit, name in (("v1", "anna"), ("v2", "anna"), ("v3", "ben")):
        opened.do(lambda db, v=visit, n=name: store.place_hold(db, hold_of(v, n, 100), 0))
    assert opened.do(lambda db: store.sweep(db, HOLD_VALIDITY_S - 1)) == 0
    assert opened.do(lambda db: store.sweep(db, HOLD_VALIDITY_S)) == 2
    assert opened.rows("SELECT DISTINCT status FROM hold") == [("expired",)]
    assert opened.rows("SELECT SUM(held_minor) FROM ledger_account") == [(0,)]


def test_clock_that_is_set_back_revives_no_expired_hold(opened: Ledger) -> None:
    placed(opened, "v1", LIMIT_MINOR)
    placed(opened, "v2", LIMIT_MINOR, HOLD_VALIDITY_S)
    assert opened.ask(lambda db: store.hold(db, "hold-v1", 0)).status == "expired"
    account = opened.ask(lambda db: store.account(db, "anna", 0))
    assert account.held_minor + account.owed_minor <= LIMIT_MINOR


def test_journal_that_lost_its_postings_shows_in_the_books(opened: Ledger) -> None:
    opened.change("INSERT INTO journal (kind, reference, at_s) VALUES ('capture', 'lost', 0)")
    opened.change("INSERT INTO journal (kind, reference, at_s) VALUES ('capture', 'half', 0)")
    opened.change("INSERT INTO posting VALUES (2, 0, 'merchant_payable:shop', 5, 'EUR')")
    assert opened.ask(lambda db: books.books(db, "EUR", 0)).unbalanced_journals == 2


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE ledger_account SET balance_minor = balance_minor + 1", "stored balance"),
        ("UPDATE ledger_account SET held_minor = held_minor + 1", "what is held"),
        ("UPDATE hold SET status = 'void' WHERE status = 'captured'", "captured hold"),
        ("UPDATE hold SET status = 'captured' WHERE status = 'held'", "captured hold"),
        ("DELETE FROM outbox", "outbox or sealed"),
        ("UPDATE answer SET status = 0", "every claimed key"),
        ("INSERT INTO balance_snapshot VALUES ('fees', 'EUR', 9, 1)", "every snapshot"),
        ("INSERT INTO refund VALUES ('r', 'c1', 301, 'EUR', 0, '', 99)", "refunds are within"),
        ("INSERT INTO payment VALUES ('p', 'anna', 5, 'EUR', 1)", "is its journal"),
        ("INSERT INTO payment VALUES ('p', 'anna', 5, 'EUR', 1)", "what clearing shows"),
    ],
)
def test_each_invariant_query_finds_a_planted_fault(
    opened: Ledger, statement: str, broken: str
) -> None:
    placed(opened, "v1", 500)
    captured(opened, "v1", "c1", 300)
    placed(opened, "v2", 100)
    opened.transfer(claim_of("k"), transfer_of("t1", 5))
    assert opened.ask(books.breaches) == {}
    if "99" in statement:
        opened.change("INSERT INTO journal (kind, reference, at_s) VALUES ('refund', 'r', 0)")
        ((number,),) = opened.rows("SELECT MAX(journal) FROM journal")
        statement = statement.replace("99", str(number))
    opened.change(statement)
    found = opened.ask(books.breaches)
    assert any(broken in name for name in found), found


def test_floor_is_kept_by_the_database_itself(opened: Ledger) -> None:
    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        opened.change("UPDATE ledger_account SET held_minor = held_minor + 1001")


def test_captures_are_read_page_by_page_without_gap_or_repeat(opened: Ledger) -> None:
    for i in range(7):
        placed(opened, f"v{i}", 10)
        captured(opened, f"v{i}", f"c{i}", 10)
    seen, after, more = list[str](), 0, True
    while more:
        page = opened.ask(lambda db, after=after: books.captures(db, after, 3))
        seen += [capture.capture for capture in page.captures]
        after, more = page.after, page.more
    assert seen == [f"c{i}" for i in range(7)]


def test_balance_without_a_floor_is_the_same_with_and_without_snapshots(opened: Ledger) -> None:
    def balance(account: str) -> int:
        state = opened.ask(lambda db: accounts.state(db, account, "EUR", 0))
        minor: int = state.balance_minor
        return minor

    day_s = 24 * 3600
    for i in range(6):
        opened.transfer(claim_of(f"k{i}"), transfer_of(f"t{i}", i + 1), i * day_s)
    assert balance("psp_clearing") == -21
    assert opened.do(lambda db: accounts.snapshot(db, 3 * day_s)) > 0
    assert balance("psp_clearing") == -21
    opened.transfer(claim_of("k9"), transfer_of("t9", 100), 6 * day_s)
    assert balance("psp_clearing") == -121
    opened.do(lambda db: accounts.snapshot(db, 30 * day_s))
    assert balance("psp_clearing") == -121
    assert balance("wallet:anna") == 121
    assert opened.rows("SELECT account FROM balance_snapshot") == [("psp_clearing",)]
    assert opened.ask(books.breaches) == {}


# --- one key, one effect, one answer ----------------------------------------------------------


def test_bodies_are_equal_when_their_canonical_json_is() -> None:
    same = [{"a": 1, "b": [1.0, None]}, {"b": [1, None], "a": 1.0}]
    assert idempotency.digest(same[0]) == idempotency.digest(same[1])
    for other in ({"a": 1, "b": [None, 1]}, {"a": 1, "b": [1]}, {"a": "1", "b": [1, None]}):
        assert idempotency.digest(other) != idempotency.digest(same[0])


def once(ledger: Ledger, key: str, now_s: int, status: int, body: bytes = b"{}") -> Answer:
    async def effect() -> Answer:
        return Answer(status=status, body=body)

    answer: Answer = ledger.do(lambda db: idempotency.claimed(db, claim_of(key), now_s, effect))
    return answer


def test_answer_is_kept_for_thirty_days_and_then_forgotten(ledger: Ledger) -> None:
    assert once(ledger, "k", 0, 201, b"first") == Answer(status=201, body=b"first")
    assert once(ledger, "k", KEPT_S - 1, 201).body == b"first"
    assert once(ledger, "k", KEPT_S, 201, b"second") == Answer(status=201, body=b"second")
    once(ledger, "other", 3 * KEPT_S, 201)
    assert ledger.do(lambda db: idempotency.purge(db, 3 * KEPT_S)) == 1
    assert ledger.rows("SELECT key FROM answer") == [("other",)]


@pytest.mark.parametrize(("status", "kept"), [(201, True), (402, True), (409, False), (503, False)])
def test_only_what_did_or_decided_something_uses_up_the_key(
    ledger: Ledger, status: int, kept: bool
) -> None:
    once(ledger, "k", 0, status)
    assert once(ledger, "k", 0, 200).replayed is kept


def test_plain_connection_of_another_service_claims_in_the_same_way(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "x.db")) as db:
        db.executescript(idempotency.SCHEMA)
        claim, done = claim_of("k"), Answer(status=201, body=b"{}")
        assert idempotency.once(db, claim, 0, lambda _: done) == done
        assert idempotency.once(db, claim, 0, lambda _: done).replayed
        with pytest.raises(ProblemError, match="idempotency-key-reused"):
            idempotency.once(db, replace(claim, digest=b"other"), 0, lambda _: done)
        idempotency.once(db, claim_of("later"), KEPT_S, lambda _: done)
        assert db.execute("SELECT key FROM answer").fetchall() == [("later",)]


# --- races ------------------------------------------------------------------------------------

RACERS = 64
Effect = Callable[[Transaction], Awaitable[Answer]]


def raced(ledger: Ledger, effects: list[tuple[str, Effect]]) -> list[Any]:
    """Each effect under its key, all at once."""

    def work(key: str, effect: Effect) -> Callable[[], Awaitable[Any]]:
        def job(db: Transaction) -> Awaitable[Answer]:
            return idempotency.claimed(db, claim_of(key), 0, lambda: effect(db))

        return lambda: ledger.database.submit(job)

    return ledger.together([work(key, effect) for key, effect in effects])


def test_racers_on_one_key_have_one_effect_and_one_answer(opened: Ledger) -> None:
    placed(opened, "v1", 500)
    wish = capture_of("c1", 300)
    results = raced(
        opened, [("key", lambda db: store.capture_hold(db, "hold-v1", wish, 0))] * RACERS
    )
    assert {result.body for result in results} == {results[0].body}
    assert sum(not result.replayed for result in results) == 1
    assert opened.ask(lambda db: store.account(db, "anna", 0)).owed_minor == 300


def test_racers_on_one_hold_resolve_it_once(opened: Ledger) -> None:
    placed(opened, "v1", 500)

    def racer(i: int) -> Effect:
        if i % 2:
            return lambda db: store.void_hold(db, "hold-v1", VoidRequest(), 0)
        return lambda db: store.capture_hold(db, "hold-v1", capture_of(f"c{i}", 300), 0)

    results = raced(opened, [(f"k{i}", racer(i)) for i in range(RACERS)])
    done = [result for result in results if isinstance(result, Answer)]
    refused = [result for result in results if isinstance(result, LedgerRefusalError)]
    assert len(done) + len(refused) == RACERS
    state = opened.ask(lambda db: store.account(db, "anna", 0))
    assert state.held_minor == 0
    captures = opened.ask(lambda db: books.books(db, "EUR", 0)).captures
    assert captures == (1 if state.owed_minor else 0)
    assert captures == sum(b"capture" in one.body and b"journal" in one.body for one in done)
    assert opened.ask(books.breaches) == {}


def test_racers_with_one_new_id_and_many_keys_have_one_effect(opened: Ledger) -> None:
    wish = hold_of("v1", "anna", 400)
    results = raced(
        opened, [(f"k{i}", lambda db: store.place_hold(db, wish, 0)) for i in range(RACERS)]
    )
    assert [result.status for result in results] == [201] * RACERS
    assert sum(not result.replayed for result in results) == 1
    assert opened.ask(lambda db: store.account(db, "anna", 0)).held_minor == 400


def test_racers_for_the_last_of_a_limit_never_break_it(opened: Ledger) -> None:
    results = raced(
        opened,
        [
            (f"k{i}", lambda db, i=i: store.place_hold(db, hold_of(f"v{i}", "anna", 90), 0))
            for i in range(RACERS)
        ],
    )
    assert sorted(result.status for result in results) == [201] * 11 + [402] * (RACERS - 11)
    assert opened.ask(books.breaches) == {}


def test_racing_transfers_take_each_cent_of_a_wallet_once(ledger: Ledger) -> None:
    ledger.transfer(claim_of("top-up"), transfer_of("top-up", 100))

    def racer(i: int) -> Callable[[], Awaitable[Answer]]:
        wish = transfer_of(f"t{i // 2}", 9, "wallet:anna", "merchant_payable:shop")
        return lambda: ledger.database.transfer(claim_of(f"k{i // 2}"), wish, 0)

    results = ledger.together([racer(i) for i in range(2 * RACERS)])
    assert all(isinstance(result, Answer) for result in results), results
    assert sum(one.status == 201 and not one.replayed for one in results) == 11
    pairs = zip(results[::2], results[1::2], strict=True)
    assert all(first.body == second.body for first, second in pairs)
    state = ledger.ask(lambda db: accounts.state(db, "wallet:anna", "EUR", 0))
    assert state.balance_minor == 1
    assert ledger.ask(books.breaches) == {}


def test_gifts_back_and_forth_never_block_each_other_for_good(ledger: Ledger) -> None:
    for name in ("anna", "ben"):
        credit = f"wallet:{name}"
        ledger.transfer(claim_of(name), transfer_of(name, 1_000, "psp_clearing", credit))

    def gift(i: int) -> Callable[[], Awaitable[Answer]]:
        giver, taker = ("anna", "ben") if i % 2 else ("ben", "anna")
        wish = transfer_of(f"gift{i}", 1 + i, f"wallet:{giver}", f"wallet:{taker}")
        if i % 3:
            return lambda: ledger.database.transfer(claim_of(f"gift{i}"), wish, 0)
        return lambda: ledger.database.submit(lambda db: transfers.effect(db, wish, 0))

    results = ledger.together([gift(i) for i in range(40)])
    assert [result.status for result in results] == [201] * 40
    assert ledger.ask(books.breaches) == {}


# --- group commit -----------------------------------------------------------------------------


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
