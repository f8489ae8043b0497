"""Entry: signed, bound to the store, short-lived, used once; a table decides the rest."""

import json
from datetime import UTC, datetime, timedelta

import pyseto
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from edge.gate import TABLE, GateKeeper, GateKeeperState, GateState, Signal, verify_token
from messages.codec import decode_state, encode_state
from messages.commands import UnlockGate
from messages.events import (
    EndReason,
    EntryRefused,
    RefusalReason,
    TailgateSuspected,
    VisitEnded,
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
from messages.store_config import Gate, StoreConfig

S = 1_000_000_000
NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
NOON_NS = round(NOON.timestamp()) * S
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_HEX = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def signing_key(private: Ed25519PrivateKey = PRIVATE) -> pyseto.KeyInterface:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pyseto.Key.new(4, "public", pem)


def token(jti="t1", *, at=NOON, valid_s=60, kid="k1", key=None, **claims) -> str:
    payload = {
        "jti": jti,
        "store": "s",
        "acct": "acct-1",
        "party": 1,
        "iat": at.isoformat(),
        "exp": (at + timedelta(seconds=valid_s)).isoformat(),
        **claims,
    }
    body = json.dumps(payload).encode()
    return pyseto.encode(key or signing_key(), body, footer=json.dumps({"kid": kid})).decode()


@pytest.fixture
def keeper() -> GateKeeper:
    config = StoreConfig(
        store="s",
        gates=(Gate(id="g1", x_m=0, y_m=0), Gate(id="g2", x_m=1, y_m=0)),
        credential_keys=(CredentialKey(kid="k1", public_key=PUBLIC_HEX),),
    )
    keeper = GateKeeper(config)
    keeper.anchor(ClockAnchor(received_at_ns=0, wall_ns=NOON_NS, uncertainty_ms=10.0))
    return keeper


def shows(keeper, text, *, at_s=1, gate="g1", inside=0):
    seen = GateSignal(
        gate=gate,
        device="r",
        kind=GateSignalKind.CREDENTIAL,
        received_at_ns=at_s * S,
        credential=text,
    )
    return keeper.signal(at_s * S, seen, inside)


def enters(keeper, *, at_s=2, gate="g1", kind=GateSignalKind.ENTER):
    seen = GateSignal(gate=gate, device="b", kind=kind, received_at_ns=at_s * S)
    return keeper.signal(at_s * S, seen, 0)


def refusal(out) -> RefusalReason:
    (event,) = out.events
    assert isinstance(event, EntryRefused)
    assert not any(isinstance(c, UnlockGate) for c in out.commands)
    return event.reason


def test_a_good_token_starts_a_visit_and_unlocks_the_gate(keeper):
    out = shows(keeper, token())
    (started,) = out.events
    assert isinstance(started, VisitStarted)
    assert (started.visit, started.credential, started.account) == ("s-v1", "t1", "acct-1")
    (unlock,) = out.commands
    assert isinstance(unlock, UnlockGate)
    assert unlock.passages == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RefusalReason.MALFORMED),
        ("v4.public.", RefusalReason.UNKNOWN_KEY),
        ("v4.public." + "A" * 2000, RefusalReason.MALFORMED),
        (token(kid="other"), RefusalReason.UNKNOWN_KEY),
        (
            token(key=signing_key(Ed25519PrivateKey.from_private_bytes(bytes(32)))),
            RefusalReason.BAD_SIGNATURE,
        ),
        (token(store="elsewhere"), RefusalReason.WRONG_STORE),
        (token(at=NOON - timedelta(seconds=70)), RefusalReason.EXPIRED),
        (token(at=NOON + timedelta(seconds=30)), RefusalReason.NOT_YET_VALID),
        (token(valid_s=61), RefusalReason.MALFORMED),
        (token(party=0), RefusalReason.MALFORMED),
        (token(iat="yesterday"), RefusalReason.MALFORMED),
    ],
)
def test_a_bad_token_is_refused_with_its_reason(keeper, text, reason):
    assert refusal(shows(keeper, text)) is reason


def test_a_token_works_once_also_at_another_reader(keeper):
    shows(keeper, token())
    assert refusal(shows(keeper, token(), gate="g2")) is RefusalReason.ALREADY_USED


def test_a_token_stays_used_after_a_restart(keeper):
    shows(keeper, token())
    state = decode_state(encode_state(keeper.state), GateKeeperState)
    again = GateKeeper(keeper._config, state)
    assert refusal(shows(again, token(), gate="g2")) is RefusalReason.ALREADY_USED


def test_a_busy_gate_refuses_and_leaves_the_token_unused(keeper):
    shows(keeper, token("t1"))
    assert refusal(shows(keeper, token("t2"))) is RefusalReason.GATE_BUSY
    enters(keeper)
    assert isinstance(shows(keeper, token("t2"), at_s=3).events[0], VisitStarted)


def test_without_wall_time_nobody_is_let_in(keeper):
    fresh = GateKeeper(keeper._config)
    assert refusal(shows(fresh, token())) is RefusalReason.CLOCK_UNCERTAIN


def test_a_denied_account_and_a_closed_store_are_refused(keeper):
    deny = OperatorAction(
        kind=OperatorActionKind.DENY_LIST,
        received_at_ns=0,
        operator="sync",
        denied_accounts=("acct-1",),
    )
    keeper.operator(deny)
    assert refusal(shows(keeper, token())) is RefusalReason.DENIED
    closed = OperatorAction(
        kind=OperatorActionKind.STORE_MODE, received_at_ns=0, operator="c", store_mode="closing"
    )
    keeper.operator(closed)
    assert refusal(shows(keeper, token(acct="acct-2"))) is RefusalReason.STORE_CLOSED


def test_a_full_store_is_refused(keeper):
    assert refusal(shows(keeper, token(), inside=200)) is RefusalReason.STORE_FULL


def test_a_party_of_two_passes_and_a_third_is_a_tailgater(keeper):
    shows(keeper, token(party=2))
    first, second, third = (enters(keeper, at_s=t) for t in (2, 3, 4))
    assert [a.visit for a in first.admitted + second.admitted] == ["s-v1", "s-v1"]
    (alarm,) = third.events
    assert isinstance(alarm, TailgateSuspected)
    assert third.admitted[0].visit == ""


def test_nobody_passing_cancels_the_visit(keeper):
    shows(keeper, token())
    assert keeper.tick(10 * S).events == []
    (ended,) = keeper.tick(11 * S).events
    assert isinstance(ended, VisitEnded)
    assert ended.reason is EndReason.NO_PASSAGE
    assert keeper.state.passing["g1"].state is GateState.IDLE


def test_a_forced_barrier_is_a_tailgater(keeper):
    out = enters(keeper, kind=GateSignalKind.FORCED)
    assert isinstance(out.events[0], TailgateSuspected)


def test_a_wall_clock_that_steps_back_does_not_revive_a_used_token(keeper):
    shows(keeper, token())
    enters(keeper)
    hour_later = ClockAnchor(received_at_ns=2 * S, wall_ns=NOON_NS + 3600 * S, uncertainty_ms=1.0)
    keeper.anchor(hour_later)
    keeper.tick(3 * S)
    keeper.anchor(ClockAnchor(received_at_ns=4 * S, wall_ns=NOON_NS, uncertainty_ms=1.0))
    assert refusal(shows(keeper, token(), at_s=5)) is RefusalReason.ALREADY_USED


def test_every_state_answers_every_signal():
    assert set(TABLE) == {(state, signal) for state in GateState for signal in Signal}


@given(st.text(max_size=400) | st.text(max_size=300).map(lambda text: "v4.public." + text))
def test_no_text_a_reader_can_send_raises(text):
    from edge.gate import _paseto_keys

    keys = _paseto_keys((CredentialKey(kid="k1", public_key=PUBLIC_HEX),))
    assert verify_token(text, keys).reason in (
        RefusalReason.MALFORMED,
        RefusalReason.UNKNOWN_KEY,
        RefusalReason.BAD_SIGNATURE,
    )


@given(st.integers(0, 300), st.integers(1, 255))
def test_no_changed_byte_of_a_token_is_accepted(position, change):
    from edge.gate import Refusal, _paseto_keys

    keys = _paseto_keys((CredentialKey(kid="k1", public_key=PUBLIC_HEX),))
    good = bytearray(token().encode())
    position %= len(good)
    good[position] ^= change
    text = good.decode("latin-1")
    verdict = verify_token(text, keys)
    # Base64's unused last bits may differ without changing what was signed.
    assert isinstance(verdict, Refusal) or verdict.jti == "t1"
    if isinstance(verdict, Refusal):
        assert verdict.credential is None
