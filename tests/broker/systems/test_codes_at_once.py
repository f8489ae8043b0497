"""Codes shown and paid by PostgreSQL in one call: the same as the effects on SQLite."""

from __future__ import annotations

import asyncio
from typing import Any

from both_databases import Databases, Ledger, claim_of
from desk import RACERS, Desk
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import idempotency
from broker.ledger import LedgerRefusalError
from broker.problems import ProblemError
from broker.routes import Command, Nothing
from broker.systems import payment_codes, wallets, wallets_api
from broker.systems.code_payments import TransactionRequest
from broker.systems.payment_codes import PaymentCodeRequest

ROWS = {row.path: row for row in wallets_api.ROUTES if row.method == "POST"}
SHOW, PAY = "/v1/payment-requests", "/v1/transactions"
FUNDS_MINOR = 300


async def asked(desk: Desk, path: str, request: Any, key: str) -> Any:
    """As the API does it: in one call where that is possible, else by the effect."""
    row, call = ROWS[path], desk.call()
    assert isinstance(row, Command)
    claim = claim_of(key, repr(request).encode())
    database, now_s = desk.ledger.database, desk.now_s
    try:
        done = await row._at_once(database, call, request, claim, path)
        if done is None:
            done = await database.submit(
                lambda db: idempotency.claimed(
                    db, claim, now_s, lambda: row._done(db, call, request, path)
                )
            )
    except (ProblemError, LedgerRefusalError) as refusal:
        return refusal.slug if isinstance(refusal, ProblemError) else refusal.reason.value
    return done.status, done.body


def desk_of(databases: Databases, kind: str) -> Desk:
    desk = Desk(Ledger(databases.new(kind)))
    for name, limit in (("w0", 40), ("w1", 1_000)):
        wish = wallets.WalletRequest(wallet=name, currency="EUR", confirm_above_minor=limit)
        desk.do(wallets.open_wallet, wish)
        paid = wallets.TopupRequest(topup=name, amount_minor=FUNDS_MINOR, currency="EUR")
        desk.do(wallets.top_up, paid, id=name)
    return desk


shows = st.tuples(
    st.just("show"),
    st.integers(0, 3),
    st.sampled_from(["w0", "w1", "w2"]),
    st.sampled_from([30, 90, 301]),
    st.sampled_from(["", "shop"]),
)
pays = st.tuples(
    st.just("pay"),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([1, 30, 60]),
    st.sampled_from(["shop", "rival"]),
)
others = st.tuples(
    st.sampled_from(["wait", "block", "unblock"]), *(st.just(0),) * 4
)  # fmt: skip


def step(desk: Desk, number: int, wish: tuple[Any, ...]) -> Any:
    """One thing that happens; what was said."""
    verb, name, other, minor, merchant = wish
    if verb == "wait":
        desk.now_s += 61
        return ""
    if verb in ("block", "unblock"):
        signal = wallets.WalletSignal(verb)
        try:
            return desk.do(wallets.signalled(signal), Nothing(), id="w1")
        except ProblemError as problem:
            return problem.slug
    if verb == "show":
        request: Any = PaymentCodeRequest(
            payment_request=f"p{name}", wallet=other, max_amount_minor=minor, only_merchant=merchant
        )
        path = SHOW
    else:
        request = TransactionRequest(
            transaction=f"t{name}",
            code=desk.code(payment_codes.PURPOSE, f"p{other}"),
            amount_minor=minor,
            currency="EUR",
            merchant=merchant,
            purchase=f"b{name}",
        )
        path = PAY
    key = f"k{number // 2}"  # every other one takes a key that was used
    return desk.ledger.runner.run(asked(desk, path, request, key))


@settings(max_examples=10, deadline=None)
@given(wishes=st.lists(st.one_of(shows, pays, pays, others), min_size=1, max_size=14))
def test_both_databases_say_the_same_of_codes(
    databases: Databases, wishes: list[tuple[Any, ...]]
) -> None:
    desks = [desk_of(databases, kind) for kind in ("sqlite", "postgresql")]
    for number, wish in enumerate(wishes):
        first, second = (step(desk, number, wish) for desk in desks)
        assert first == second, (number, wish)
    for desk in desks:
        assert desk.breaches() == {}
    for question in (
        "SELECT payment_request, wallet, merchant, hold FROM payment_request ORDER BY 1",
        "SELECT txn, payment_request, merchant, amount_minor, state FROM code_payment ORDER BY 1",
        "SELECT hold, CASE WHEN status = 'held' AND expires_s <= $1 THEN 'expired' ELSE status END,"
        " amount_minor, captured_minor, expires_s FROM hold ORDER BY 1",
        "SELECT action, object, status FROM audit ORDER BY seq",
        "SELECT kind, reference FROM journal ORDER BY journal",
    ):
        values = (desks[0].now_s,) if "$1" in question else ()
        first, second = (desk.ledger.rows(question, *values) for desk in desks)
        assert first == second, question
    for desk in desks:
        desk.ledger.close()
        databases.drop(desk.ledger.where)


def test_sixty_four_racers_on_one_code_pay_once(databases: Databases) -> None:
    desk = desk_of(databases, "postgresql")
    show = PaymentCodeRequest(payment_request="p", wallet="w1", max_amount_minor=50)
    code = desk.code(payment_codes.PURPOSE, "p")

    async def race() -> list[Any]:
        await asked(desk, SHOW, show, "show")
        wishes = [
            TransactionRequest(
                transaction=f"t{n}",
                code=code,
                amount_minor=40,
                currency="EUR",
                merchant="shop",
                purchase="b",
            )
            for n in range(RACERS)
        ]
        return await asyncio.gather(
            *(asked(desk, PAY, wish, f"k{n}") for n, wish in enumerate(wishes))
        )

    said = desk.ledger.runner.run(race())
    assert sum(isinstance(one, tuple) for one in said) == 1
    assert {one for one in said if isinstance(one, str)} <= {"code-spent"}
    assert desk.balance("merchant_payable:shop") == 40
    assert desk.breaches() == {}
    desk.ledger.close()
    databases.drop(desk.ledger.where)
