"""What the services share, without a process."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running_broker import SERVE, Broker

from broker import web
from broker.api import ROUTES
from broker.idempotency import Answer, Claim
from broker.problems import ProblemError


def claim_of(key: str, path: str = "/p") -> Claim:
    return Claim(tenant="t", path=path, key=key, digest=b"")


def test_second_request_with_a_key_at_work_is_told_to_come_back() -> None:
    async def story() -> tuple[list[Answer], ProblemError]:
        in_flight, gate = web.InFlight(), asyncio.Event()

        async def work() -> Answer:
            await gate.wait()
            return Answer(status=201, body=b"{}")

        first = asyncio.create_task(in_flight.run(claim_of("k"), work))
        other = asyncio.create_task(in_flight.run(claim_of("k", "/q"), work))
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refusal:
            await in_flight.run(claim_of("k"), work)
        gate.set()
        after = [await first, await other, await in_flight.run(claim_of("k"), work)]
        return after, refusal.value

    answers, refusal = asyncio.run(story())
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert (refusal.status, refusal.slug) == (409, "idempotency-in-flight")
    assert refusal.headers == {"Retry-After": "1"}


def test_listener_is_one_on_which_asyncio_turns_nagle_off() -> None:
    with web.listener("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_taken_port_is_said_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = SERVE.replace("ready=", f"port={taken.getsockname()[1]}, ready=")
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "data"), str(tmp_path / "port")],
            capture_output=True,
            timeout=30,
            check=False,
            text=True,
        )
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("control", ["%00", "%1f", "%7f"])
def test_control_character_in_a_path_is_no_id(broker: Broker, control: str) -> None:
    """PostgreSQL cannot even be asked for NUL."""
    for route in ROUTES:
        if "{" in route.path and route.method == "GET":
            reply = broker.get(re.sub(r"{\w+}", f"a{control}", route.path))
            assert reply.status_code == 404, route.path
            assert reply.json()["type"].endswith("/not-found")
