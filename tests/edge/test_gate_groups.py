"""A family on several codes of one account: one visit, which names them all."""

from dataclasses import replace

from test_gate import NOON_NS, PUBLIC_HEX, S, enters, refusal, shows, token

from edge.engine import Engine
from edge.gate import GateKeeper
from edge.journal import Journal
from messages.commands import UnlockGate
from messages.events import (
    CartClosed,
    EndReason,
    EntryRefused,
    RefusalReason,
    VisitEnded,
    VisitJoined,
    VisitStarted,
)
from messages.observations import (
    ClockAnchor,
    CredentialKey,
    GateSignal,
    GateSignalKind,
    OperatorAction,
    OperatorActionKind,
)
from messages.store_config import Gate, GatePolicy, StoreConfig

CONFIG = StoreConfig(
    store="s",
    gates=(Gate(id="g1", x_m=0, y_m=0), Gate(id="g2", x_m=1, y_m=0)),
    credential_keys=(CredentialKey(kid="k1", public_key=PUBLIC_HEX),),
    gate_policy=GatePolicy(group_window_s=20.0),
)


def keeper(config=CONFIG):
    made = GateKeeper(config)
    made.anchor(ClockAnchor(received_at_ns=0, wall_ns=NOON_NS, uncertainty_ms=10.0))
    return made


def joined(out):
    (event,), (unlock,) = out.events, out.commands
    assert isinstance(event, VisitJoined)
    assert isinstance(unlock, UnlockGate)
    return event, unlock.passages


def test_a_second_code_before_anybody_passed_lets_two_in():
    gates = keeper()
    shows(gates, token("t1"))
    event, passages = joined(shows(gates, token("t2"), at_s=2))
    assert (event.visit, event.credential, passages) == ("s-v1", "t2", 2)
    assert [a.visit for at_s in (3, 4) for a in enters(gates, at_s=at_s).admitted] == ["s-v1"] * 2


def test_a_code_after_the_first_one_is_in_lets_one_more_in():
    gates = keeper()
    shows(gates, token("t1"))
    enters(gates, at_s=2)
    event, passages = joined(shows(gates, token("t2"), at_s=12))
    assert (event.visit, passages) == ("s-v1", 1)
    assert [a.visit for a in enters(gates, at_s=14).admitted] == ["s-v1"]


def test_one_who_joined_and_does_not_come_leaves_the_visit_as_it_is():
    gates = keeper()
    shows(gates, token("t1"))
    enters(gates, at_s=2)
    shows(gates, token("t2"), at_s=3)
    assert gates.tick(40 * S).events == []
    late = enters(gates, at_s=41)
    assert [a.visit for a in late.admitted] == [""]


def test_another_account_too_late_or_another_gate_is_another_visit():
    gates = keeper()
    shows(gates, token("t1"))
    enters(gates, at_s=2)
    for code, at_s, gate in (
        (token("t2"), 3, "g2"),
        (token("t3"), 23, "g1"),
        (token("t4", acct="acct-2"), 40, "g1"),
    ):
        (event,) = shows(gates, code, at_s=at_s, gate=gate).events
        assert isinstance(event, VisitStarted)
        enters(gates, at_s=at_s, gate=gate)


def test_a_visit_that_ended_is_joined_by_nobody():
    gates = keeper()
    shows(gates, token("t1"))
    enters(gates, at_s=2)
    gates.visit_ended("s-v1")
    (event,) = shows(gates, token("t2"), at_s=5).events
    assert isinstance(event, VisitStarted)


def test_a_visit_has_a_bounded_number_of_codes_and_each_works_once():
    gates = keeper()
    shows(gates, token("t0"))
    for number in range(1, 17):
        joined(shows(gates, token(f"t{number}"), at_s=1))
    assert refusal(shows(gates, token("t99"))) is RefusalReason.GATE_BUSY
    assert refusal(shows(gates, token("t3"))) is RefusalReason.ALREADY_USED


def test_without_a_window_a_second_code_meets_a_busy_gate():
    gates = keeper(replace(CONFIG, gate_policy=GatePolicy()))
    shows(gates, token("t1"))
    assert refusal(shows(gates, token("t2"))) is RefusalReason.GATE_BUSY


def test_who_owes_is_refused_until_it_is_paid():
    gates = keeper()

    def told(*accounts):
        gates.operator(
            OperatorAction(
                kind=OperatorActionKind.OWING,
                received_at_ns=S,
                operator="sync",
                denied_accounts=accounts,
            )
        )

    told("acct-1")
    assert refusal(shows(gates, token("t1"))) is RefusalReason.DENIED
    assert isinstance(shows(gates, token("t2", kind="staff"), gate="g2").events[0], VisitStarted)
    told()
    assert isinstance(shows(gates, token("t3")).events[0], VisitStarted)


def test_the_engine_closes_one_cart_with_every_code(tmp_path):
    engine = Engine(CONFIG)
    events, now_ns = [], 0

    def step(*seen, at_s):
        nonlocal now_ns
        now_ns = round(at_s * S)
        events.extend(engine.step(now_ns, list(seen)).events)

    def signal(kind, at_s, code=None):
        return GateSignal(
            gate="g1", device="d", kind=kind, received_at_ns=round(at_s * S), credential=code
        )

    anchor = ClockAnchor(received_at_ns=0, wall_ns=NOON_NS, uncertainty_ms=10.0)
    step(anchor, signal(GateSignalKind.CREDENTIAL, 1, token("t1")), at_s=1)
    step(signal(GateSignalKind.CREDENTIAL, 2, token("t2")), at_s=2)
    for at_s in (3, 4):
        step(signal(GateSignalKind.ENTER, at_s), at_s=at_s)
    for at_s in (30, 31):
        step(signal(GateSignalKind.EXIT, at_s), at_s=at_s)
    for tenths in range(320, 360):
        step(at_s=tenths / 10)
    (cart,) = [e for e in events if isinstance(e, CartClosed)]
    assert (cart.credential, cart.party_size) == ("t1", 2)
    assert [(j.credential, j.at_ns) for j in cart.joined] == [("t2", 2 * S)]
    assert [e.reason for e in events if isinstance(e, VisitEnded)] == [EndReason.EXIT]
    assert not any(isinstance(e, EntryRefused) for e in events)


async def _kept(path, events):
    journal = await Journal.open(path, store="s")
    try:
        await journal.commit_outputs(1, events, [], wall_ns=1)
        return [jti for (jti,) in await journal.fetch("SELECT jti FROM used_credential", ())]
    finally:
        await journal.close()


def test_a_code_that_joined_is_used_up_in_the_journal_too(tmp_path):
    import asyncio

    gates = keeper()
    events = [
        *shows(gates, token("t1")).events,
        *shows(gates, token("t2"), at_s=2).events,
    ]
    stamped = [replace(event, id=f"e{i}") for i, event in enumerate(events)]
    assert asyncio.run(_kept(tmp_path / "journal.db", stamped)) == ["t1", "t2"]
