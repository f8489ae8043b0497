"""Entry while nobody can be asked for a hold: a few times a day for each account."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from test_gate import NOON, NOON_NS, PUBLIC_HEX, S, enters, refusal, shows, token

from cloud_sync.link_report import AGAIN_NS, LinkReport
from edge.control import ControlError, action_of
from edge.gate import OFFLINE_DAY_NS, GateKeeper, GateKeeperState
from messages.codec import decode_state, encode_state
from messages.events import RefusalReason, VisitStarted
from messages.observations import ClockAnchor, CredentialKey, OperatorAction, OperatorActionKind
from messages.store_config import Gate, GatePolicy, Paths, StoreConfig


def gate_keeper(most: int = 2, state: GateKeeperState | None = None) -> GateKeeper:
    config = StoreConfig(
        store="s",
        gates=(Gate(id="g1", x_m=0, y_m=0),),
        credential_keys=(CredentialKey(kid="k1", public_key=PUBLIC_HEX),),
        gate_policy=GatePolicy(offline_entries_max=most),
    )
    keeper = GateKeeper(config, state)
    keeper.anchor(ClockAnchor(received_at_ns=0, wall_ns=NOON_NS, uncertainty_ms=10.0))
    return keeper


def link(keeper: GateKeeper, up: bool, at_s: int = 0) -> None:
    kind = OperatorActionKind.LINK
    keeper.operator(OperatorAction(kind=kind, received_at_ns=at_s * S, operator="sync", link_up=up))


def tries(keeper: GateKeeper, at_s: int, account: str = "ann", **claims: str) -> str:
    """One entry with a fresh token: "in", or the reason."""
    fresh = token(f"t{at_s}-{account}", at=NOON + timedelta(seconds=at_s), acct=account, **claims)
    out = shows(keeper, fresh, at_s=at_s)
    if isinstance(out.events[0], VisitStarted):
        enters(keeper, at_s=at_s + 1)
        return "in"
    return refusal(out)


def test_an_account_comes_in_a_few_times_while_nobody_can_be_asked() -> None:
    keeper = gate_keeper()
    assert [tries(keeper, 2 * i) for i in range(3)] == ["in"] * 3  # the link is up
    link(keeper, up=False)
    found = [tries(keeper, 10 + 2 * i) for i in range(3)]
    assert found == ["in", "in", RefusalReason.OFFLINE_LIMIT]
    assert tries(keeper, 20, "bob") == "in"  # each account for itself
    assert tries(keeper, 22, kind="staff") == "in"
    link(keeper, up=True)
    assert tries(keeper, 24) == "in"


def test_the_limit_outlives_a_restart_and_counts_anew_after_a_day() -> None:
    keeper = gate_keeper(1)
    link(keeper, up=False)
    assert tries(keeper, 2) == "in"
    link(keeper, up=False, at_s=3)  # told again: nothing changes
    state = decode_state(encode_state(keeper.state), GateKeeperState)
    again = gate_keeper(1, state)
    assert tries(again, 4) == RefusalReason.OFFLINE_LIMIT
    assert tries(again, 5 + OFFLINE_DAY_NS // S) == "in"


def test_zero_is_no_limit() -> None:
    keeper = gate_keeper(0)
    link(keeper, up=False)
    assert [tries(keeper, 2 * i) for i in range(1, 9)] == ["in"] * 8


def test_a_line_of_the_control_socket_says_it() -> None:
    action = action_of(b'{"do":"link","up":false,"operator":"sync"}', 7)
    assert (action.kind, action.link_up) == (OperatorActionKind.LINK, False)
    with pytest.raises(ControlError):
        action_of(b'{"do":"link","up":"no","operator":"sync"}', 7)


def test_the_sync_process_tells_at_each_change_and_again_while_it_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "control.sock"
    config = StoreConfig(store="s", paths=replace(Paths(), control_socket=str(socket)))
    heard = list[bool]()
    monkeypatch.setattr("cloud_sync.link_report.set_link", lambda _, up: heard.append(up))
    report = LinkReport(config)
    assert not report.due(False, 0)  # no daemon: nobody to tell
    socket.touch()

    def beat(up: bool, now_ns: int) -> None:
        if report.due(up, now_ns):
            asyncio.run(report.tell(up, now_ns))

    for now_ns, up in enumerate([True, True, False, False]):
        beat(up, now_ns)
    assert heard == [True, False]
    beat(False, 2 + AGAIN_NS)
    beat(True, 3 + AGAIN_NS)
    assert heard == [True, False, False, True]


def test_a_daemon_that_does_not_answer_is_told_again(tmp_path: Path) -> None:
    socket = tmp_path / "control.sock"
    socket.touch()  # a dead daemon's
    report = LinkReport(StoreConfig(store="s", paths=replace(Paths(), control_socket=str(socket))))
    asyncio.run(report.tell(False, 0))
    assert report.due(False, 1)
